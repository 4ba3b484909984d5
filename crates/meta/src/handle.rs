//! The handle that everyone uses: the image to read, and the operations.
//!
//! An operation is decided by the controller's task on the image as it will then be, shares an entry with its
//! neighbours, and is answered when that entry stands.

use std::ops::Range;
use std::sync::Arc;

use base::{Entropy, Incarnation, MetaSequence, ObjectId, StreamEpoch, StreamId, Uuid, WalPosition};
use futures::FutureExt;
use futures::future::BoxFuture;
use stream::catalogue::client::{TrimAnswers, TrimError};
use stream::catalogue::{
    Catalogue, CatalogueClient, CommitError, CommitRequest, Committed, Decision, IncarnationError,
    IncarnationRejection, OpenStream, Recovered, StreamRejection, TrimRequest, WalPlace,
};
use tokio::sync::{mpsc, oneshot, watch};

use crate::control::brokers::{SetBrokerState, UnregisterBroker};
use crate::control::configs::{AlterConfigs, ConfigChange, ConfigResource};
use crate::control::producer_ids::AllocateProducerIds;
use crate::control::streams::{CloseStream, Commit, ObjectsRemoved, OpenStreams, Retire, Trim};
use crate::control::topics::{CreatePartitions, CreateTopics, CreatedTopic, DeleteTopics, NewTopic};
use crate::control::wals::{
    ADOPT_STREAMS_MAX, AbandonWal, AdoptStreams, OpenWal, RemoveWal, WalCleared, WalDamaged, WalDrained, WalRecovered,
};
use crate::control::{Answered, Operation};
use crate::controller::{Decide, Shared};
use crate::error::{
    BrokerError, ConfigError, CreatePartitionsError, CreateTopicError, DeleteTopicError, LogLost, MetaError,
};
use crate::image::{BrokerState, Configs, Image, TopicImage};

/// A clonable handle on the metadata of the cluster.
#[derive(Clone, Debug)]
pub struct MetaHandle {
    pub(crate) shared: Arc<Shared>,
    pub(crate) operations: mpsc::Sender<Decide>,
    pub(crate) entropy: Entropy,
}

/// A handle that does not keep the controller alive.
pub(crate) struct WeakHandle {
    shared: Arc<Shared>,
    operations: mpsc::WeakSender<Decide>,
    entropy: Entropy,
}

impl WeakHandle {
    pub(crate) fn upgrade(&self) -> Option<MetaHandle> {
        let operations = self.operations.upgrade()?;
        Some(MetaHandle { shared: self.shared.clone(), operations, entropy: self.entropy.clone() })
    }
}

impl MetaHandle {
    pub(crate) fn downgrade(&self) -> WeakHandle {
        let operations = self.operations.downgrade();
        WeakHandle { shared: self.shared.clone(), operations, entropy: self.entropy.clone() }
    }

    /// The newest image.
    pub fn image(&self) -> Arc<Image> {
        self.shared.image.load_full()
    }

    /// Tells the newest sequence whenever the image changed.
    pub fn changes(&self) -> watch::Receiver<MetaSequence> {
        self.shared.changes.subscribe()
    }

    /// Resolves with the reason when this process cannot write metadata any more: another has taken the log over, or, as
    /// far as it can tell, may have. It must then exit: nothing it acknowledges from here on is sure to stay.
    pub async fn fenced(&self) -> LogLost {
        let mut lost = self.shared.lost.subscribe();
        loop {
            if let Some(reason) = lost.borrow_and_update().clone() {
                return reason;
            }
            if lost.changed().await.is_err() {
                // The sender lives in `shared`, which this handle holds.
                std::future::pending::<()>().await;
            }
        }
    }

    /// Whether [`MetaHandle::fenced`] has resolved.
    pub fn is_fenced(&self) -> bool {
        self.shared.lost.borrow().is_some()
    }

    /// Runs one operation: decided by the controller, answered when its records stand and the image here shows them.
    async fn submit<O: Operation>(&self, operation: O) -> Result<O::Answer, MetaError> {
        let Answered { sequence, answer } = self.ask_answered(operation).await;
        self.seen(sequence).await;
        answer
    }

    /// Returns once the image here has this entry. It has it already where the controller is in this process, which
    /// publishes an image before it answers from it.
    pub(crate) async fn seen(&self, sequence: MetaSequence) {
        if self.shared.image.load().newest() >= sequence {
            return;
        }
        let mut changes = self.changes();
        while self.shared.image.load().newest() < sequence {
            if changes.changed().await.is_err() {
                // The sender lives in `shared`, which this handle holds.
                std::future::pending::<()>().await;
            }
        }
    }

    /// Runs one operation, and tells which entry its caller must have seen. Where there is no answer, that is the newest one
    /// here.
    pub(crate) async fn ask_answered<O: Operation>(&self, operation: O) -> Answered<Result<O::Answer, MetaError>> {
        let (reply, answer) = oneshot::channel();
        let decide: Decide = Box::new(move |image, now| {
            let Decision { records, response } = operation.decide(image, now);
            let answer = Box::new(move |Answered { sequence, answer }: Answered<Result<(), MetaError>>| {
                // A caller that went away does not undo what was decided.
                drop(reply.send(Answered { sequence, answer: answer.map(|()| response) }));
            });
            (records, answer)
        });
        let answered = match self.operations.send(decide).await {
            Ok(()) => answer.await.ok(),
            Err(_) => None,
        };
        answered.unwrap_or_else(|| {
            let why = self.shared.lost.borrow().clone().map_or(MetaError::Closed, MetaError::from);
            Answered { sequence: self.shared.image.load().newest(), answer: Err(why) }
        })
    }

    /// Creates topics, each by itself, in one batch: a stream per partition, opened in the same batch for the active
    /// broker with the fewest streams, at epoch 0. With `validate_only` nothing is written.
    ///
    /// # Errors
    /// When there is no answer; each topic has its own result.
    pub async fn create_topics(
        &self,
        topics: Vec<NewTopic>,
        validate_only: bool,
    ) -> Result<Vec<Result<CreatedTopic, CreateTopicError>>, MetaError> {
        let topics = topics.into_iter().map(|topic| (self.entropy.uuid(), topic)).collect();
        self.submit(CreateTopics { topics, validate_only }).await
    }

    /// Deletes topics with their streams and settings; the objects of those are retired in the same batch.
    ///
    /// # Errors
    /// When there is no answer; each topic has its own result.
    pub async fn delete_topics(
        &self,
        ids: Vec<Uuid>,
    ) -> Result<Vec<Result<Arc<TopicImage>, DeleteTopicError>>, MetaError> {
        self.submit(DeleteTopics { ids }).await
    }

    /// Adds partitions to a topic until there are `total`. Answers the streams of the new ones.
    ///
    /// # Errors
    /// See [`CreatePartitionsError`].
    pub async fn create_partitions(
        &self,
        topic: Uuid,
        total: usize,
        validate_only: bool,
    ) -> Result<Vec<StreamId>, CreatePartitionsError> {
        self.submit(CreatePartitions { topic, total, validate_only }).await?
    }

    /// Changes settings of one resource, all in one batch, if what is set for it is still what the caller `saw` when it
    /// decided. Validation is the broker's.
    ///
    /// # Errors
    /// See [`ConfigError`].
    pub async fn alter_configs(
        &self,
        of: ConfigResource,
        saw: Configs,
        changes: Vec<ConfigChange>,
    ) -> Result<(), ConfigError> {
        self.submit(AlterConfigs { of, saw, changes }).await?
    }

    /// Hands out a block of [`PRODUCER_IDS_BLOCK`](crate::PRODUCER_IDS_BLOCK) producer ids that nobody else ever gets.
    ///
    /// # Errors
    /// When there is no answer; the block is then lost, never given twice.
    pub async fn allocate_producer_ids(&self, owner: Incarnation) -> Result<Range<i64>, MetaError> {
        self.submit(AllocateProducerIds { owner }).await
    }

    /// Records that the broker's own WAL exists, and opens for it the streams that wait for an owner and fall to it
    /// ([`Catalogue::falls_to`]). Only then may it append.
    ///
    /// # Errors
    /// See [`BrokerError`].
    pub async fn open_incarnation(&self, id: Incarnation, wal: WalPlace) -> Result<Vec<StreamId>, BrokerError> {
        self.submit(OpenWal { id, place: wal }).await??;
        let mut all = Vec::new();
        loop {
            let adopted = self.submit(AdoptStreams { id, max: ADOPT_STREAMS_MAX }).await?;
            let more = adopted.len() == ADOPT_STREAMS_MAX;
            all.extend(adopted);
            if !more {
                return Ok(all);
            }
        }
    }

    /// Says what a broker may do from now on.
    ///
    /// # Errors
    /// [`BrokerError::Stale`] if `id` is not the present registration.
    pub async fn set_broker_state(&self, id: Incarnation, state: BrokerState) -> Result<(), BrokerError> {
        self.submit(SetBrokerState { id, state }).await?
    }

    /// The broker is ready to serve.
    ///
    /// # Errors
    /// As [`MetaHandle::set_broker_state`].
    pub async fn activate(&self, id: Incarnation) -> Result<(), BrokerError> {
        self.set_broker_state(id, BrokerState::Active).await
    }

    /// The broker has drained and leaves.
    ///
    /// # Errors
    /// [`BrokerError::NotDrained`] while its WAL is not `RECOVERED`.
    pub async fn unregister(&self, id: Incarnation) -> Result<(), BrokerError> {
        self.submit(UnregisterBroker { id }).await?
    }

    /// The operator gives up what a WAL incarnation held and was not committed.
    ///
    /// # Errors
    /// When it is still in use.
    pub async fn abandon(&self, id: Incarnation) -> Result<(), BrokerError> {
        Ok(self.submit(AbandonWal { id }).await??)
    }

    /// The files of a WAL incarnation that was given up were found and removed: it is forgotten as soon as no stream names it
    /// as its last owner.
    ///
    /// # Errors
    /// When it was not given up.
    pub async fn cleared(&self, id: Incarnation) -> Result<(), BrokerError> {
        Ok(self.submit(WalCleared { id }).await??)
    }

    /// Forgets a WAL incarnation whose life has ended and whose files are gone.
    ///
    /// # Errors
    /// When its life has not ended, or streams still name it as their last owner.
    pub async fn remove_incarnation(&self, id: Incarnation) -> Result<(), BrokerError> {
        Ok(self.submit(RemoveWal { id }).await??)
    }

    /// Opens streams for new owners, all or none.
    ///
    /// # Errors
    /// See [`StreamRejection`].
    pub async fn open_streams(&self, requests: Vec<OpenStream>) -> Result<Result<(), StreamRejection>, MetaError> {
        self.submit(OpenStreams { requests }).await
    }

    /// Closes a stream at its present epoch.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn close_stream(
        &self,
        stream: StreamId,
        epoch: StreamEpoch,
    ) -> Result<Result<(), StreamRejection>, MetaError> {
        self.submit(CloseStream { stream, epoch }).await
    }

    /// Retires objects that batches before had no room for.
    pub(crate) async fn retire(&self) -> Result<(), MetaError> {
        self.submit(Retire).await
    }

    pub(crate) async fn objects_removed(&self, objects: Vec<ObjectId>) -> Result<(), MetaError> {
        self.submit(ObjectsRemoved { objects }).await
    }

    fn step<T: Send + 'static>(
        &self,
        operation: impl Operation<Answer = Result<T, IncarnationRejection>>,
    ) -> BoxFuture<'static, Result<T, IncarnationError>> {
        let this = self.clone();
        async move { Ok(this.submit(operation).await.map_err(|e| IncarnationError::Client(e.into()))??) }.boxed()
    }
}

impl CatalogueClient for MetaHandle {
    fn view(&self) -> Arc<Catalogue> {
        self.shared.image.load().catalogue.clone()
    }

    fn commit(&self, request: CommitRequest) -> BoxFuture<'static, Result<Committed, CommitError>> {
        let this = self.clone();
        async move { Ok(this.submit(Commit { request }).await.map_err(|e| CommitError::Client(e.into()))??) }.boxed()
    }

    fn trim(&self, requests: Vec<TrimRequest>) -> BoxFuture<'static, Result<TrimAnswers, TrimError>> {
        let this = self.clone();
        async move { Ok(this.submit(Trim { requests }).await?) }.boxed()
    }

    fn recovered(
        &self,
        log: Incarnation,
        taker: Incarnation,
        final_position: WalPosition,
    ) -> BoxFuture<'static, Result<Recovered, IncarnationError>> {
        let this = self.clone();
        async move {
            let mut all = Recovered::default();
            loop {
                let Recovered { opened, more } = this.step(WalRecovered { log, taker, final_position }).await?;
                all.opened.extend(opened);
                if !more {
                    return Ok(all);
                }
            }
        }
        .boxed()
    }

    fn damaged(
        &self,
        log: Incarnation,
        taker: Incarnation,
        reason: String,
    ) -> BoxFuture<'static, Result<(), IncarnationError>> {
        self.step(WalDamaged { log, taker, reason })
    }

    fn drained(
        &self,
        log: Incarnation,
        final_position: WalPosition,
    ) -> BoxFuture<'static, Result<(), IncarnationError>> {
        self.step(WalDrained { log, final_position })
    }
}
