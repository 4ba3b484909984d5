//! The committer: the one place of a broker that owns object names, the upload floor and the commit sequence.
//!
//! A task of its own. Whoever commits hands its objects over and may stop waiting at any moment: what was handed over is
//! committed all the same, or refused, under a sequence that nothing else bears. The sequence moves on in the same step
//! that learns that the commit stands, and never because somebody still listens.
//!
//! A commit without an answer is repeated with the same content, until there is one. Where that cannot go on, because the
//! engine failed or the catalogue's host was replaced, the outcome stays open; then no other commit may follow, because
//! nobody knows under which sequence, so the committer ends and refuses whatever is handed over.

use std::sync::Arc;

use base::{Incarnation, OffsetRange, StreamId, WalPosition};
use tokio::sync::{mpsc, oneshot, watch};

use super::lease::{Lease, ObjectNames};
use super::{RETRY_MAX, RETRY_MIN};
use crate::catalogue::{CatalogueClient, ClientError, CommitError, CommitRequest, Committed, NewObject};
use crate::engine::EngineFailure;

/// Commits that wait for their turn; the next one to hand over waits itself.
const QUEUED_MAX: usize = 16;

/// Objects that were put, with the lease on their names.
#[derive(Debug)]
pub(crate) struct Uploaded {
    pub(super) lease: Lease,
    pub(super) objects: Vec<NewObject>,
}

/// The handle; see the module.
#[derive(Clone, Debug)]
pub(crate) struct Committer {
    names: ObjectNames,
    queue: mpsc::Sender<Job>,
}

#[derive(Debug)]
struct Job {
    log: Incarnation,
    position: WalPosition,
    covers: Vec<(StreamId, OffsetRange)>,
    uploaded: Uploaded,
    answer: oneshot::Sender<Result<Committed, Arc<str>>>,
}

impl Committer {
    /// Starts the committer of a fresh registration on the current runtime. It ends with its last handle.
    pub fn start(
        writer: Incarnation,
        catalogue: Arc<dyn CatalogueClient>,
        failure: watch::Receiver<Option<EngineFailure>>,
    ) -> Self {
        let names = ObjectNames::new(writer);
        let (queue, jobs) = mpsc::channel(QUEUED_MAX);
        let clerk = Clerk { writer, catalogue, failure, names: names.clone(), next_commit: 0 };
        base::task::spawn_vital("committer", clerk.run(jobs));
        Self { names, queue }
    }

    /// Names for `count` objects.
    pub fn lease(&self, count: usize) -> Lease {
        self.names.lease(count)
    }

    /// Commits objects with data of the log `log` up to `position`, which `covers` what it held of each stream. Once handed over the commit takes its course, whether
    /// or not this future is polled on.
    ///
    /// # Errors
    /// Why it was refused, or why no outcome will ever be known.
    pub async fn commit(
        &self,
        log: Incarnation,
        position: WalPosition,
        covers: Vec<(StreamId, OffsetRange)>,
        uploaded: Uploaded,
    ) -> Result<Committed, Arc<str>> {
        let (answer, outcome) = oneshot::channel();
        let ended = || -> Arc<str> { "an earlier commit has no outcome, so none can follow it".into() };
        self.queue.send(Job { log, position, covers, uploaded, answer }).await.map_err(|_| ended())?;
        outcome.await.map_err(|_| ended())?
    }
}

struct Clerk {
    writer: Incarnation,
    catalogue: Arc<dyn CatalogueClient>,
    failure: watch::Receiver<Option<EngineFailure>>,
    names: ObjectNames,
    next_commit: u64,
}

/// What became of a commit.
enum Outcome {
    Stands(Committed),
    /// It has no effect and never will.
    Refused(Arc<str>),
    /// It may stand, now or later.
    Open(Arc<str>),
}

impl Clerk {
    async fn run(mut self, mut jobs: mpsc::Receiver<Job>) {
        while let Some(Job { log, position, covers, uploaded, mut answer }) = jobs.recv().await {
            let Uploaded { lease, objects } = uploaded;
            let request = CommitRequest {
                writer: self.writer,
                commit_sequence: self.next_commit,
                log,
                wal_position: position,
                covers,
                upload_floor: self.names.floor_after(&lease),
                objects,
            };
            let outcome = if base::plant::bug("commit-in-callers-future") {
                // Planted: it is driven by whoever waits. When that goes, it ends wherever it is, and nothing is counted.
                base::select! {
                    biased;
                    outcome = self.send(request) => outcome,
                    () = answer.closed() => continue,
                }
            } else {
                self.send(request).await
            };
            base::plant::place("in-commit");
            let is_open = matches!(outcome, Outcome::Open(_));
            let told = match outcome {
                Outcome::Stands(committed) => {
                    self.next_commit += 1;
                    Ok(committed)
                }
                Outcome::Refused(why) | Outcome::Open(why) => Err(why),
            };
            // Its names are settled before anybody hears of it.
            drop(lease);
            if let Err(Err(why)) = answer.send(told) {
                tracing::warn!(%log, %why, "a commit that nobody waits for any more failed");
            }
            if is_open {
                return;
            }
        }
    }

    /// Sends a commit as often as it takes.
    async fn send(&mut self, request: CommitRequest) -> Outcome {
        let mut pause = RETRY_MIN;
        // Whether a copy of it may still be under way.
        let mut repeated = false;
        loop {
            match self.catalogue.commit(request.clone()).await {
                Ok(committed) => return Outcome::Stands(committed),
                Err(CommitError::Client(error @ ClientError::Unavailable(_))) => {
                    tracing::warn!(%error, "a commit is tried again");
                    repeated = true;
                }
                Err(CommitError::Client(error @ (ClientError::Fenced(_) | ClientError::Ended(_)))) => {
                    return Outcome::Open(error.to_string().into());
                }
                Err(refusal @ (CommitError::Rejected(_) | CommitError::Client(ClientError::Refused(_)))) => {
                    let why = refusal.to_string().into();
                    return if repeated { Outcome::Open(why) } else { Outcome::Refused(why) };
                }
            }
            // Either the engine has failed or this pause is over.
            if tokio::time::timeout(pause, self.failure.wait_for(Option::is_some)).await.is_ok() {
                return Outcome::Open("the engine has failed".into());
            }
            pause = (pause * 2).min(RETRY_MAX);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::ops::Range;
    use std::sync::atomic::{AtomicBool, Ordering};

    use base::{BrokerId, Clock, Offset, OffsetRange, StreamEpoch, StreamId, TimestampMs};
    use futures::FutureExt;
    use futures::future::BoxFuture;
    use parking_lot::Mutex;
    use tokio::sync::Semaphore;

    use super::*;
    use crate::catalogue::client::{IncarnationError, TrimAnswers, TrimError};
    use crate::catalogue::local::LocalCatalogue;
    use crate::catalogue::{Catalogue, NewRange, ObjectKind, Recovered, TrimRequest, WalPlace};

    /// A catalogue that takes commits at once and answers when it is let; some of its answers get lost, and some of what it
    /// is sent it refuses.
    #[derive(Clone)]
    struct Late {
        local: LocalCatalogue,
        taken: Arc<Semaphore>,
        answers: Arc<Semaphore>,
        lost: Arc<Mutex<Vec<ClientError>>>,
        refused: Arc<AtomicBool>,
    }

    impl CatalogueClient for Late {
        fn view(&self) -> Arc<Catalogue> {
            self.local.view()
        }

        fn commit(&self, request: CommitRequest) -> BoxFuture<'static, Result<Committed, CommitError>> {
            if self.refused.swap(false, Ordering::AcqRel) {
                return std::future::ready(Err(ClientError::Refused("by a test".into()).into())).boxed();
            }
            let answer = self.local.commit(request);
            self.taken.add_permits(1);
            let this = self.clone();
            async move {
                this.answers.acquire().await.unwrap().forget();
                let lost = this.lost.lock().pop();
                match lost {
                    Some(error) => Err(error.into()),
                    None => answer.await,
                }
            }
            .boxed()
        }

        fn trim(&self, requests: Vec<TrimRequest>) -> BoxFuture<'static, Result<TrimAnswers, TrimError>> {
            self.local.trim(requests)
        }

        fn recovered(
            &self,
            log: Incarnation,
            taker: Incarnation,
            end: WalPosition,
        ) -> BoxFuture<'static, Result<Recovered, IncarnationError>> {
            self.local.recovered(log, taker, end)
        }

        fn damaged(
            &self,
            log: Incarnation,
            taker: Incarnation,
            reason: String,
        ) -> BoxFuture<'static, Result<(), IncarnationError>> {
            self.local.damaged(log, taker, reason)
        }

        fn drained(&self, log: Incarnation, end: WalPosition) -> BoxFuture<'static, Result<(), IncarnationError>> {
            self.local.drained(log, end)
        }
    }

    struct World {
        catalogue: Late,
        me: Incarnation,
        streams: Vec<StreamId>,
        committer: Committer,
        failure: watch::Sender<Option<EngineFailure>>,
    }

    impl World {
        fn new() -> Self {
            let local = LocalCatalogue::new(Clock::system());
            let (me, _) = local.register(BrokerId(1)).unwrap();
            local.open_incarnation(me, WalPlace { kind: 0, location: "test".into() }).unwrap();
            let streams = local.create_streams(2, me).unwrap();
            let catalogue = Late {
                local,
                taken: Arc::new(Semaphore::new(0)),
                answers: Arc::new(Semaphore::new(0)),
                lost: Arc::default(),
                refused: Arc::default(),
            };
            let failure = watch::channel(None).0;
            let committer = Committer::start(me, Arc::new(catalogue.clone()), failure.subscribe());
            Self { catalogue, me, streams, committer, failure }
        }

        /// An object with a range of a stream, as if it had been put.
        fn put(&self, stream: usize, range: Range<u64>) -> Uploaded {
            let lease = self.committer.lease(1);
            let range = NewRange {
                stream: self.streams[stream],
                epoch: StreamEpoch(0),
                range: OffsetRange::new(Offset(range.start), Offset(range.end)),
                max_timestamp: TimestampMs(0),
                bytes: 1,
            };
            let object = NewObject {
                sequence: lease.ids().next().unwrap().sequence,
                kind: ObjectKind::StreamSet,
                length: 100,
                crc: 7,
                ranges: vec![range],
                checkpoints: Vec::new(),
            };
            Uploaded { lease, objects: vec![object] }
        }

        async fn commit(&self, position: u64, uploaded: Uploaded) -> Result<Committed, Arc<str>> {
            self.committer.commit(self.me, WalPosition(position), Vec::new(), uploaded).await
        }

        fn end(&self, stream: usize) -> Offset {
            self.catalogue.view().stream(self.streams[stream]).unwrap().end
        }

        fn floor(&self) -> u64 {
            self.catalogue.view().writer(self.me.broker).unwrap().upload_floor
        }
    }

    #[tokio::test]
    async fn a_commit_whose_sender_stopped_waiting_stands_and_the_next_is_not_taken_for_it() {
        let world = World::new();
        base::select! {
            biased;
            answer = world.commit(100, world.put(0, 0..10)) => panic!("nothing was answered yet: {answer:?}"),
            taken = world.catalogue.taken.acquire() => taken.unwrap().forget(),
        }
        world.catalogue.answers.add_permits(2);
        let next = world.commit(200, world.put(0, 10..20)).await.unwrap();
        assert!(!next.repeated);
        assert_eq!(world.end(0), Offset(20), "the next one has its data in the catalogue");
        assert_eq!(world.catalogue.view().incarnation(world.me).unwrap().committed, WalPosition(200));
    }

    #[tokio::test]
    async fn the_floor_stays_below_whatever_a_slower_upload_has_in_flight() {
        let world = World::new();
        world.catalogue.answers.add_permits(10);
        let (slow, fast, given_up) = (world.put(0, 0..10), world.put(1, 0..10), world.put(1, 10..20));
        world.commit(0, fast).await.unwrap();
        assert_eq!(world.floor(), 0);
        world.commit(100, slow).await.unwrap();
        assert_eq!(world.floor(), 2);
        drop(given_up);
        world.commit(200, world.put(1, 10..20)).await.unwrap();
        assert_eq!(world.floor(), 4, "what was given up is an orphan");
        assert_eq!((world.end(0), world.end(1)), (Offset(10), Offset(20)));
    }

    #[tokio::test]
    async fn a_lost_answer_is_met_by_the_same_commit() {
        let world = World::new();
        world.catalogue.answers.add_permits(10);
        world.catalogue.lost.lock().extend([ClientError::Unavailable("once".into())]);
        assert!(world.commit(100, world.put(0, 0..10)).await.unwrap().repeated);
        assert!(!world.commit(200, world.put(0, 10..20)).await.unwrap().repeated);
        assert_eq!(world.end(0), Offset(20));
    }

    #[tokio::test]
    async fn a_commit_that_the_host_does_not_take_is_not_sent_again_and_uses_up_no_sequence() {
        let world = World::new();
        world.catalogue.answers.add_permits(10);
        world.catalogue.refused.store(true, Ordering::Release);
        let why = world.commit(100, world.put(0, 0..10)).await.unwrap_err();
        assert_eq!(&*why, "the catalogue does not take this: by a test");
        assert_eq!(world.end(0), Offset(0));
        assert!(!world.commit(100, world.put(0, 0..10)).await.unwrap().repeated);
        assert_eq!(world.end(0), Offset(10));
    }

    #[tokio::test]
    async fn a_refusal_of_a_repeated_commit_says_nothing_of_the_first() {
        let world = World::new();
        world.catalogue.answers.add_permits(10);
        world
            .catalogue
            .lost
            .lock()
            .extend([ClientError::Refused("the copy".into()), ClientError::Unavailable("the first".into())]);
        world.commit(100, world.put(0, 0..10)).await.unwrap_err();
        world.commit(200, world.put(0, 10..20)).await.unwrap_err();
        assert_eq!(world.end(0), Offset(10), "it stands, and nothing followed");
    }

    #[tokio::test]
    async fn nothing_follows_a_commit_without_an_outcome() {
        for error in [ClientError::Fenced("by a test".into()), ClientError::Unavailable("for ever".into())] {
            let world = World::new();
            world.catalogue.answers.add_permits(10);
            world.catalogue.lost.lock().push(error);
            world.failure.send_replace(Some(EngineFailure("a test".into())));
            world.commit(100, world.put(0, 0..10)).await.unwrap_err();
            world.commit(200, world.put(0, 10..20)).await.unwrap_err();
            assert_eq!(world.end(0), Offset(10), "only the first may stand");
        }
    }
}
