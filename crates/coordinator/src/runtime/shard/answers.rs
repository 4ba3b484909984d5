//! How a shard decides, and what it waits for before it answers: nobody is told what a crash could take back, nor what a
//! broker that has taken this one's place could contradict (I-3).

use std::sync::Arc;

use tokio::sync::oneshot;

use super::{Shard, ShardError, State, moment};
use crate::limits::WRITES_WAITING_MAX;
use crate::runtime::{Machine, Output};

/// What a decision is for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// A request, whose answer may follow from what was decided before it.
    Request,
    /// A request that takes part in what several bring about. The machine answers it when that has come about.
    Part,
    /// A request that only says that somebody is still there. Time passes whatever waits to be written, and so must this.
    SignOfLife,
    /// Nothing but to wait for what was decided before.
    Barrier,
    /// What is due.
    Tick,
}

impl Purpose {
    /// Whether it is refused when too much waits.
    fn is_refused(self) -> bool {
        matches!(self, Self::Request | Self::Part)
    }

    /// Whether it waits for what was decided before even if it decides nothing. An answer that says of a group that it is
    /// gone acknowledges its removal, whoever asked for that.
    fn waits_for_others(self) -> bool {
        matches!(self, Self::Request | Self::Barrier)
    }
}

/// What was decided under the lock.
pub(super) struct Decided<R> {
    result: R,
    /// Told when everything is durable that must be before it is answered.
    done: Option<oneshot::Receiver<()>>,
    /// Whether it has records of its own. They are appended from now on, so that once they are durable no other broker had
    /// taken this one's place when it was decided.
    has_records: bool,
}

impl<M: Machine> Shard<M> {
    /// Looks at what the log says: at replicated state alone, soft state may be ahead of it.
    ///
    /// # Errors
    /// [`ShardError`] unless the shard is loaded, and this broker its coordinator.
    pub async fn read<R>(&self, look: impl FnOnce(&M) -> R) -> Result<R, ShardError> {
        let seen = self.look(look)?;
        self.check_unfenced().await?;
        Ok(seen)
    }

    /// Looks at the machine as it is, without a word on whether it still holds.
    pub(super) fn look<R>(&self, look: impl FnOnce(&M) -> R) -> Result<R, ShardError> {
        match &*self.lock() {
            State::Active(active) => Ok(look(&active.machine)),
            State::Loading => Err(ShardError::Loading),
            State::Closed => Err(ShardError::NotCoordinator),
        }
    }

    /// Decides something and waits until it is durable, and whatever it may follow from: if it decides nothing, all that was
    /// decided before.
    ///
    /// # Errors
    /// [`ShardError`]; after [`ShardError::NotCoordinator`] what was decided may or may not stand.
    pub async fn write<R>(
        self: &Arc<Self>,
        decide: impl FnOnce(&mut M, &mut Output<'_, M::After>) -> R,
    ) -> Result<R, ShardError> {
        self.decide_durably(decide, Purpose::Request).await
    }

    /// As [`Shard::write`], for a request that takes part in what several bring about: the machine answers it when that has
    /// come about. It does not wait for what others wrote, as in Kafka: it is told of soft state, and a session that ends
    /// while a log does not move would take its member out.
    ///
    /// # Errors
    /// As [`Shard::write`].
    pub async fn take_part<R>(
        self: &Arc<Self>,
        decide: impl FnOnce(&mut M, &mut Output<'_, M::After>) -> oneshot::Receiver<R>,
    ) -> Result<R, ShardError> {
        let Decided { result, done, .. } = self.decide(decide, Purpose::Part)?;
        wait(done).await?;
        let answer = result.await.map_err(|_| ShardError::NotCoordinator)?;
        self.check_unfenced().await?;
        Ok(answer)
    }

    /// As [`Shard::write`], for a decision that adds nothing to what waits to be written and does not follow from it: it is
    /// made however much that is, and waits for no other.
    ///
    /// # Errors
    /// As [`Shard::write`], but never [`ShardError::Overloaded`].
    pub async fn sign_of_life<R>(
        self: &Arc<Self>,
        decide: impl FnOnce(&mut M, &mut Output<'_, M::After>) -> R,
    ) -> Result<R, ShardError> {
        self.decide_durably(decide, Purpose::SignOfLife).await
    }

    async fn decide_durably<R>(
        self: &Arc<Self>,
        decide: impl FnOnce(&mut M, &mut Output<'_, M::After>) -> R,
        purpose: Purpose,
    ) -> Result<R, ShardError> {
        let Decided { result, done, has_records } = self.decide(decide, purpose)?;
        wait(done).await?;
        if !has_records {
            self.check_unfenced().await?;
        }
        Ok(result)
    }

    /// Makes sure that what was known before this call could not be contradicted yet: whoever takes this broker's place
    /// serves only once its log is fenced (I-3). Every answer passes it, unless records of its own have.
    ///
    /// # Errors
    /// [`ShardError::NotCoordinator`] when another broker has taken this one's place.
    pub async fn check_unfenced(&self) -> Result<(), ShardError> {
        self.log.check_unfenced().await.map_err(|error| {
            tracing::debug!(shard = self.index, %error, "a coordinator that may be replaced does not tell what it knows");
            ShardError::NotCoordinator
        })
    }

    /// Looks at the replicated state once everything decided so far is durable.
    ///
    /// # Errors
    /// As [`Shard::write`].
    pub async fn read_stable<R>(self: &Arc<Self>, look: impl FnOnce(&M) -> R) -> Result<R, ShardError> {
        wait(self.decide(|_, _| (), Purpose::Barrier)?.done).await?;
        self.read(look).await
    }

    /// Looks at the machine as it is decided, soft state with the rest, and answers once all of that is durable.
    ///
    /// # Errors
    /// As [`Shard::write`], but never [`ShardError::Overloaded`].
    pub async fn read_decided<R>(self: &Arc<Self>, look: impl FnOnce(&M) -> R) -> Result<R, ShardError> {
        self.decide_durably(|machine, _| look(machine), Purpose::Barrier).await
    }

    /// Decides under the lock.
    pub(super) fn decide<R>(
        self: &Arc<Self>,
        decide: impl FnOnce(&mut M, &mut Output<'_, M::After>) -> R,
        purpose: Purpose,
    ) -> Result<Decided<R>, ShardError> {
        let mut state = self.lock();
        let active = match &mut *state {
            State::Active(active) => &mut **active,
            State::Loading => return Err(ShardError::Loading),
            State::Closed => return Err(ShardError::NotCoordinator),
        };
        let full = active.writes.len() >= WRITES_WAITING_MAX || active.memory.is_used_up();
        if purpose.is_refused() && full {
            return Err(ShardError::Overloaded);
        }
        let max = self.batch_bytes_max();
        let mut out = Output::new(moment(&self.clock), max, Some(&active.writes));
        let result = decide(&mut active.machine, &mut out);
        let Output { records, after, .. } = out;
        active.machine.queued(&records);
        let has_records = !records.is_empty();
        let waits = has_records || (purpose.waits_for_others() && !active.writes.is_empty());
        let done = waits.then(|| {
            let (done, waiting) = oneshot::channel();
            active.queue(records, after, Some(done), max);
            waiting
        });
        self.after_change(active);
        Ok(Decided { result, done, has_records })
    }
}

/// Waits until what was decided is durable.
async fn wait(done: Option<oneshot::Receiver<()>>) -> Result<(), ShardError> {
    match done {
        Some(done) => done.await.map_err(|_| ShardError::NotCoordinator),
        None => Ok(()),
    }
}
