//! How a shard decides, and what it waits for before it answers: nobody is told what a crash could take back, nor what a
//! broker that has taken this one's place could contradict (I-3).

use std::sync::Arc;

use tokio::sync::{oneshot, watch};

use super::{Shard, ShardError, State, moment};
use crate::limits::LOOKS_AT_ONCE;
use crate::runtime::{Machine, Output};

/// The looks of one request at any number of shards, which may go on side by side in one task: that lets others run after
/// so many of them together.
#[derive(Debug)]
pub struct Looks {
    at_once: usize,
    /// How many there were since others could run. Held by one shard at a time, also while it lets others run: the next one
    /// would go on in the same poll.
    since: tokio::sync::Mutex<usize>,
}

impl Looks {
    /// At one thing each, as a group.
    pub fn small() -> Self {
        Self { at_once: LOOKS_AT_ONCE, since: tokio::sync::Mutex::default() }
    }

    /// At all of a shard each.
    pub fn large() -> Self {
        Self { at_once: 1, ..Self::small() }
    }
}

/// What a decision is for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// A request, whose answer may follow from what was decided before it.
    Request,
    /// A request that takes part in what several bring about. The machine answers it when that has come about.
    Part,
    /// A request that ends what others would have to wait for.
    End,
    /// A request that only says that somebody is still there. Time passes whatever waits to be written, and so must this.
    SignOfLife,
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
        matches!(self, Self::Request | Self::End)
    }
}

/// What was decided under the lock.
pub(super) struct Decided<R> {
    result: R,
    wait: Wait,
}

/// What must be durable before an answer is given.
enum Wait {
    Nothing,
    /// Records of its own. They are appended from now on, so that once they are durable no other broker had taken this
    /// one's place when it was decided.
    Own(oneshot::Receiver<()>),
    /// All that was decided before.
    Others(watch::Receiver<bool>),
}

impl Wait {
    fn is_own(&self) -> bool {
        matches!(self, Self::Own(_))
    }

    async fn over(self) -> Result<(), ShardError> {
        match self {
            Self::Nothing => Ok(()),
            Self::Own(done) => done.await.map_err(|_| ShardError::NotCoordinator),
            Self::Others(mut passed) => {
                passed.wait_for(|passed| *passed).await.map(drop).map_err(|_| ShardError::NotCoordinator)
            }
        }
    }
}

/// What was seen of a machine as it is decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen<R> {
    /// That.
    pub what: R,
    /// Whether no crash takes it back; or else it is told only when all that is decided is durable.
    pub is_durable: bool,
}

impl<R> Seen<R> {
    /// The same, told otherwise.
    pub fn map<T>(self, tell: impl FnOnce(R) -> T) -> Seen<T> {
        Seen { what: tell(self.what), is_durable: self.is_durable }
    }
}

impl<M: Machine> Shard<M> {
    /// As [`Shard::read_each`], once.
    ///
    /// # Errors
    /// As [`Shard::read_each`].
    #[cfg(test)]
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

    /// As [`Shard::write`], for a request after which less is left than before, and whose one record, if it needs any, is a
    /// small one: it is made however much waits to be written.
    ///
    /// # Errors
    /// As [`Shard::write`], but never [`ShardError::Overloaded`].
    pub async fn write_end<R>(
        self: &Arc<Self>,
        decide: impl FnOnce(&mut M, &mut Output<'_, M::After>) -> R,
    ) -> Result<R, ShardError> {
        self.decide_durably(decide, Purpose::End).await
    }

    /// As [`Shard::write`], for a request that takes part in what several bring about: the machine answers it when that has
    /// come about. It waits neither for what others wrote nor for records of its own, as in Kafka: it is told of soft state,
    /// and a session that ends while a log does not move would take its member out.
    ///
    /// # Errors
    /// As [`Shard::write`].
    pub async fn take_part<R>(
        self: &Arc<Self>,
        decide: impl FnOnce(&mut M, &mut Output<'_, M::After>) -> oneshot::Receiver<R>,
    ) -> Result<R, ShardError> {
        let Decided { result, .. } = self.decide(decide, Purpose::Part)?;
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
        let Decided { result, wait } = self.decide(decide, purpose)?;
        let is_vouched_for = wait.is_own();
        wait.over().await?;
        if !is_vouched_for {
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

    /// Looks at the replicated state, once for each of `asked`, when everything is durable that was decided of them: it
    /// waits, once for all, only if `is_being_written` says so of one of them.
    ///
    /// # Errors
    /// As [`Shard::write`], but never [`ShardError::Overloaded`].
    pub async fn read_stable<T, R>(
        &self,
        asked: &[T],
        looks: &Looks,
        is_being_written: impl Fn(&M, &T) -> bool,
        look: impl FnMut(&M, &T) -> R,
    ) -> Result<Vec<R>, ShardError> {
        if self.look_at_each(asked, looks, is_being_written).await?.contains(&true) {
            self.decided()?.over().await?;
        }
        self.read_each(asked, looks, look).await
    }

    /// Looks at what the log says, once for each of `asked`: at replicated state alone, soft state may be ahead of it.
    ///
    /// # Errors
    /// [`ShardError`] unless the shard is loaded, and this broker its coordinator.
    pub async fn read_each<T, R>(
        &self,
        asked: &[T],
        looks: &Looks,
        look: impl FnMut(&M, &T) -> R,
    ) -> Result<Vec<R>, ShardError> {
        let seen = self.look_at_each(asked, looks, look).await?;
        self.check_unfenced().await?;
        Ok(seen)
    }

    /// Looks at the machine as it is decided, soft state with the rest, once for each of `asked`. What a crash could
    /// take back is told when it is durable, all of it after one wait.
    ///
    /// # Errors
    /// As [`Shard::write`], but never [`ShardError::Overloaded`].
    pub async fn read_decided<T, R>(
        &self,
        asked: &[T],
        looks: &Looks,
        look: impl Fn(&M, &T) -> Seen<R>,
    ) -> Result<Vec<R>, ShardError> {
        let seen = self.look_at_each(asked, looks, look).await?;
        if seen.iter().any(|seen| !seen.is_durable) {
            self.decided()?.over().await?;
        }
        self.check_unfenced().await?;
        Ok(seen.into_iter().map(|seen| seen.what).collect())
    }

    /// Lets others run now and then; the lock is held for one of `asked` at a time.
    async fn look_at_each<T, R>(
        &self,
        asked: &[T],
        looks: &Looks,
        mut look: impl FnMut(&M, &T) -> R,
    ) -> Result<Vec<R>, ShardError> {
        let mut seen = Vec::with_capacity(asked.len());
        let mut since = looks.since.lock().await;
        for one in asked {
            if *since >= looks.at_once {
                tokio::task::yield_now().await;
                *since = 0;
            }
            seen.push(self.look(|machine| look(machine, one))?);
            *since += 1;
        }
        Ok(seen)
    }

    /// The wait for all that is decided now.
    fn decided(&self) -> Result<Wait, ShardError> {
        match &mut *self.lock() {
            State::Active(active) => Ok(active.passed().map_or(Wait::Nothing, Wait::Others)),
            State::Loading => Err(ShardError::Loading),
            State::Closed => Err(ShardError::NotCoordinator),
        }
    }

    /// Refuses what a write would be refused for now, before anybody works for it.
    ///
    /// # Errors
    /// As [`Shard::write`].
    pub fn check_room(&self) -> Result<(), ShardError> {
        match &*self.lock() {
            State::Active(active) if active.is_full() => Err(ShardError::Overloaded),
            State::Active(_) => Ok(()),
            State::Loading => Err(ShardError::Loading),
            State::Closed => Err(ShardError::NotCoordinator),
        }
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
        if purpose.is_refused() && active.is_full() {
            return Err(ShardError::Overloaded);
        }
        let max = self.batch_bytes_max();
        let mut out = Output::new(moment(&self.clock), max, Some(&active.writes));
        let result = decide(&mut active.machine, &mut out);
        base::plant::place("in-coordinator-decision");
        let Output { records, after, .. } = out;
        active.machine.queued(&records);
        let wait = if !records.is_empty() {
            let (done, waiting) = oneshot::channel();
            active.queue(records, after, Some(done), max);
            Wait::Own(waiting)
        } else if purpose.waits_for_others() {
            active.passed().map_or(Wait::Nothing, Wait::Others)
        } else {
            Wait::Nothing
        };
        self.after_change(active);
        Ok(Decided { result, wait })
    }
}
