//! The handle that everyone uses: the image to read, and the operations.
//!
//! An operation is decided by the controller's task on the image as it will then be, shares an entry with its
//! neighbours, and is answered when that entry stands.

use std::ops::Range;
use std::sync::Arc;

use base::{BrokerId, Entropy, Incarnation, MetaSequence, ObjectId, StreamEpoch, StreamId, Uuid, WalPosition};
use futures::FutureExt;
use futures::future::BoxFuture;
use stream::catalogue::client::{TrimAnswers, TrimError};
use stream::catalogue::{
    Catalogue, CatalogueClient, CommitError, CommitRequest, Committed, Decision, IncarnationError, IncarnationPhase,
    IncarnationRejection, OpenStream, Recovered, StreamRejection, TrimRequest, WalPlace,
};
use tokio::sync::{mpsc, oneshot, watch};
use wire::meta::{
    BrokerStateRecord, ConfigRecord, MetadataRecord, PartitionRecord, ProducerIdsRecord, RemoveTopicRecord,
    TopicRecord, UnregisterBrokerRecord,
};

use crate::controller::{Decide, Moment, Shared};
use crate::error::{BrokerError, ConfigError, LogLost, MetaError, TopicError};
use crate::image::{BrokerState, Configs, Image, TopicImage};

/// Producer ids in one block.
pub const PRODUCER_IDS_BLOCK: i64 = 1_000;
/// Most partitions of one topic, so that its creation fits one entry.
pub const PARTITIONS_PER_TOPIC_MAX: usize = 50_000;
/// Streams that change owner in one batch when a broker opens its WAL.
const ADOPT_STREAMS_MAX: usize = 50_000;
/// Kafka's resource type of a topic.
const TOPIC_RESOURCE: i8 = 2;

/// A topic to create.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewTopic {
    /// Its name, already validated.
    pub name: String,
    /// How many partitions.
    pub partitions: usize,
    /// Its settings, already validated.
    pub configs: Vec<(String, String)>,
}

/// A topic that was (or, when only validated, would be) created.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CreatedTopic {
    /// Its id.
    pub id: Uuid,
    /// The stream of each partition.
    pub partitions: Vec<StreamId>,
}

/// What has settings.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ConfigResource {
    /// Kafka's resource type (2 topic, 4 broker).
    pub kind: i8,
    /// The topic's name or the broker's id; empty for the default of all brokers.
    pub name: String,
}

/// One setting to change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigChange {
    /// The setting.
    pub key: String,
    /// Its new value, or `None` to fall back to the default.
    pub value: Option<String>,
}

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

    /// Runs one operation: decided by the controller, answered when its records stand.
    async fn submit<T: Send + 'static>(
        &self,
        decide: impl FnOnce(&Image, Moment) -> Decision<T> + Send + 'static,
    ) -> Result<T, MetaError> {
        let (reply, answer) = oneshot::channel();
        let operation: Decide = Box::new(move |image, moment| {
            let Decision { records, response } = decide(image, moment);
            let answer = Box::new(move |outcome: Result<(), MetaError>| {
                // A caller that went away does not undo what was decided.
                drop(reply.send(outcome.map(|()| response)));
            });
            (records, answer)
        });
        let closed = || self.shared.lost.borrow().clone().map_or(MetaError::Closed, MetaError::from);
        self.operations.send(operation).await.map_err(|_| closed())?;
        answer.await.map_err(|_| closed())?
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
    ) -> Result<Vec<Result<CreatedTopic, TopicError>>, MetaError> {
        let ids: Vec<Uuid> = topics.iter().map(|_| self.entropy.uuid()).collect();
        self.submit(move |image, _| {
            let mut draft = image.clone();
            let mut records = Vec::new();
            let mut results = Vec::with_capacity(topics.len());
            for (topic, id) in topics.iter().zip(ids) {
                // Names of one request may collide with each other, as Kafka has it.
                if image.topic(&topic.name).is_none()
                    && let Some(other) = image.collision(&topic.name)
                {
                    results.push(Err(TopicError::Collides { name: topic.name.clone(), other: other.to_string() }));
                    continue;
                }
                results.push(create_topic(&draft, topic, id).and_then(|(new, created)| {
                    apply_all(&mut draft, &new)?;
                    records.extend(new);
                    Ok(created)
                }));
            }
            Decision { records: if validate_only { Vec::new() } else { records }, response: results }
        })
        .await
    }

    /// Deletes topics with their streams and settings; the objects of those are retired in the same batch.
    ///
    /// # Errors
    /// When there is no answer; each topic has its own result.
    pub async fn delete_topics(&self, ids: Vec<Uuid>) -> Result<Vec<Result<Arc<TopicImage>, TopicError>>, MetaError> {
        self.submit(move |image, moment| {
            let mut draft = image.clone();
            let mut records = Vec::new();
            let mut results = Vec::with_capacity(ids.len());
            for id in ids {
                results.push(delete_topic(&draft, id).and_then(|(new, topic)| {
                    apply_all(&mut draft, &new)?;
                    records.extend(new);
                    Ok(topic)
                }));
            }
            records.extend(draft.catalogue.retire(moment.now).records);
            Decision { records, response: results }
        })
        .await
    }

    /// Adds partitions to a topic until there are `total`. Answers the streams of the new ones.
    ///
    /// # Errors
    /// See [`TopicError`].
    pub async fn create_partitions(
        &self,
        topic: Uuid,
        total: usize,
        validate_only: bool,
    ) -> Result<Vec<StreamId>, TopicError> {
        self.submit(move |image, _| match add_partitions(image, topic, total) {
            Ok((records, streams)) => {
                Decision { records: if validate_only { Vec::new() } else { records }, response: Ok(streams) }
            }
            Err(error) => Decision::unchanged(Err(error)),
        })
        .await?
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
        self.submit(move |image, _| {
            if of.kind == TOPIC_RESOURCE && image.topic(&of.name).is_none() {
                return Decision::unchanged(Err(ConfigError::UnknownTopic(of.name)));
            }
            let same = image.configs_of(of.kind, &of.name).map_or(saw.is_empty(), |configs| **configs == saw);
            if !same {
                return Decision::unchanged(Err(ConfigError::Changed));
            }
            let records = changes.iter().map(|change| {
                MetadataRecord::from(ConfigRecord {
                    resource_type: of.kind,
                    resource_name: of.name.as_str().into(),
                    key: change.key.as_str().into(),
                    value: change.value.as_deref().map(Into::into),
                    ..Default::default()
                })
            });
            Decision { records: records.collect(), response: Ok(()) }
        })
        .await?
    }

    /// Hands out a block of [`PRODUCER_IDS_BLOCK`] producer ids that nobody else ever gets.
    ///
    /// # Errors
    /// When there is no answer; the block is then lost, never given twice.
    pub async fn allocate_producer_ids(&self, owner: Incarnation) -> Result<Range<i64>, MetaError> {
        self.submit(move |image, _| {
            let start = image.next_producer_id;
            let next = start.saturating_add(PRODUCER_IDS_BLOCK);
            let record = ProducerIdsRecord {
                broker_id: owner.broker.0,
                broker_epoch: owner.epoch.0,
                next_producer_id: next,
                ..Default::default()
            };
            Decision { records: vec![record.into()], response: start..next }
        })
        .await
    }

    /// Records that the broker's own WAL exists, and opens for it the streams that wait for an owner and fall to it
    /// ([`Catalogue::falls_to`]). Only then may it append.
    ///
    /// # Errors
    /// See [`BrokerError`].
    pub async fn open_incarnation(&self, id: Incarnation, wal: WalPlace) -> Result<Vec<StreamId>, BrokerError> {
        self.submit(move |image, _| {
            let step = image.catalogue.open_incarnation(id, wal);
            Decision { records: step.records, response: step.response }
        })
        .await??;
        let mut all = Vec::new();
        loop {
            let adopted = self
                .submit(move |image, _| {
                    let Decision { records, response } = image.catalogue.adopt_orphans(id, ADOPT_STREAMS_MAX);
                    Decision { records, response }
                })
                .await?;
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
        self.submit(move |image, _| {
            let Some(broker) = image.brokers.get(&id.broker).filter(|b| b.incarnation() == id) else {
                return Decision::unchanged(Err(BrokerError::Stale(id)));
            };
            if broker.state() == state {
                return Decision::unchanged(Ok(()));
            }
            let record = BrokerStateRecord {
                broker_id: id.broker.0,
                broker_epoch: id.epoch.0,
                state: state.code(),
                ..Default::default()
            };
            Decision { records: vec![record.into()], response: Ok(()) }
        })
        .await?
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
        self.submit(move |image, _| {
            if image.brokers.get(&id.broker).is_none_or(|b| b.incarnation() != id) {
                return Decision::unchanged(Err(BrokerError::Stale(id)));
            }
            if image.catalogue.incarnation(id).is_some_and(|wal| !wal.phase.is_final()) {
                return Decision::unchanged(Err(BrokerError::NotDrained(id)));
            }
            let record =
                UnregisterBrokerRecord { broker_id: id.broker.0, broker_epoch: id.epoch.0, ..Default::default() };
            Decision { records: vec![record.into()], response: Ok(()) }
        })
        .await?
    }

    /// The operator gives up what a WAL incarnation held and was not committed.
    ///
    /// # Errors
    /// When it is still in use.
    pub async fn abandon(&self, id: Incarnation) -> Result<(), BrokerError> {
        Ok(self.submit(move |image, _| image.catalogue.abandon(id)).await??)
    }

    /// The files of a WAL incarnation that was given up were found and removed: it is forgotten as soon as no stream names it
    /// as its last owner.
    ///
    /// # Errors
    /// When it was not given up.
    pub async fn cleared(&self, id: Incarnation) -> Result<(), BrokerError> {
        Ok(self.submit(move |image, _| image.catalogue.cleared(id)).await??)
    }

    /// Forgets a WAL incarnation whose life has ended and whose files are gone.
    ///
    /// # Errors
    /// When its life has not ended, or streams still name it as their last owner.
    pub async fn remove_incarnation(&self, id: Incarnation) -> Result<(), BrokerError> {
        Ok(self.submit(move |image, _| image.catalogue.remove_incarnation(id)).await??)
    }

    /// Opens streams for new owners, all or none.
    ///
    /// # Errors
    /// See [`StreamRejection`].
    pub async fn open_streams(&self, requests: Vec<OpenStream>) -> Result<Result<(), StreamRejection>, MetaError> {
        self.submit(move |image, _| image.catalogue.open_streams(&requests)).await
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
        self.submit(move |image, _| image.catalogue.close_stream(stream, epoch)).await
    }

    /// Retires objects that batches before had no room for.
    pub(crate) async fn retire(&self) -> Result<(), MetaError> {
        self.submit(move |image, moment| image.catalogue.retire(moment.now)).await
    }

    pub(crate) async fn objects_removed(&self, objects: Vec<ObjectId>) -> Result<(), MetaError> {
        self.submit(move |image, _| image.catalogue.objects_removed(&objects)).await
    }

    fn incarnation_step<T: Send + 'static>(
        &self,
        decide: impl FnOnce(&Catalogue) -> Decision<Result<T, IncarnationRejection>> + Send + 'static,
    ) -> BoxFuture<'static, Result<T, IncarnationError>> {
        let this = self.clone();
        async move {
            let answer = this.submit(move |image, _| decide(&image.catalogue)).await;
            Ok(answer.map_err(|e| IncarnationError::Client(e.into()))??)
        }
        .boxed()
    }
}

impl CatalogueClient for MetaHandle {
    fn view(&self) -> Arc<Catalogue> {
        self.shared.image.load().catalogue.clone()
    }

    fn commit(&self, request: CommitRequest) -> BoxFuture<'static, Result<Committed, CommitError>> {
        let this = self.clone();
        async move {
            let answer = this.submit(move |image, moment| image.catalogue.commit(&request, moment.now)).await;
            Ok(answer.map_err(|e| CommitError::Client(e.into()))??)
        }
        .boxed()
    }

    fn trim(&self, requests: Vec<TrimRequest>) -> BoxFuture<'static, Result<TrimAnswers, TrimError>> {
        let this = self.clone();
        async move { Ok(this.submit(move |image, moment| image.catalogue.trim(&requests, moment.now)).await?) }.boxed()
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
                let step = this.incarnation_step(move |catalogue| catalogue.recovered(log, taker, final_position));
                let Recovered { opened, more } = step.await?;
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
        self.incarnation_step(move |catalogue| catalogue.damaged(log, taker, &reason))
    }

    fn drained(
        &self,
        log: Incarnation,
        final_position: WalPosition,
    ) -> BoxFuture<'static, Result<(), IncarnationError>> {
        self.incarnation_step(move |catalogue| catalogue.drained(log, final_position))
    }
}

fn apply_all(draft: &mut Image, records: &[MetadataRecord]) -> Result<(), TopicError> {
    let unfit = |e: crate::image::ImageError| TopicError::Meta(MetaError::Unfit(e.to_string().into()));
    records.iter().try_for_each(|record| draft.apply(record)).map_err(unfit)
}

/// The active broker with an open WAL that owns the fewest streams.
fn least_loaded(image: &Image) -> Result<Incarnation, TopicError> {
    let able = |id: Incarnation| image.catalogue.incarnation(id).is_some_and(|wal| wal.phase == IncarnationPhase::Open);
    let candidates: Vec<(BrokerId, Incarnation)> = image
        .brokers
        .iter()
        .filter(|(_, b)| b.state() == BrokerState::Active && able(b.incarnation()))
        .map(|(id, b)| (*id, b.incarnation()))
        .collect();
    match candidates.as_slice() {
        [] => Err(TopicError::NoBroker),
        // Counting streams costs a walk over all of them, which a lone broker need not pay for.
        [(_, only)] => Ok(*only),
        many => many
            .iter()
            .min_by_key(|(id, b)| (image.catalogue.streams_of(*b).count(), *id))
            .map(|(_, b)| *b)
            .ok_or(TopicError::NoBroker),
    }
}

type Made<T> = Result<(Vec<MetadataRecord>, T), TopicError>;

fn partitions_of(image: &Image, topic: Uuid, first: usize, count: usize) -> Made<Vec<StreamId>> {
    let owner = least_loaded(image)?;
    let Decision { mut records, response: streams } = image.catalogue.create_streams(count, owner);
    records.extend(streams.iter().zip(first..).map(|(stream, index)| {
        MetadataRecord::from(PartitionRecord {
            topic_id: topic,
            partition: i32::try_from(index).unwrap_or(i32::MAX),
            stream_id: stream.0.cast_signed(),
            ..Default::default()
        })
    }));
    Ok((records, streams))
}

fn create_topic(image: &Image, topic: &NewTopic, id: Uuid) -> Made<CreatedTopic> {
    if image.topic(&topic.name).is_some() {
        return Err(TopicError::Exists(topic.name.clone()));
    }
    if topic.partitions == 0 {
        return Err(TopicError::NoPartitions);
    }
    if topic.partitions > PARTITIONS_PER_TOPIC_MAX {
        return Err(TopicError::TooManyPartitions { wanted: topic.partitions, limit: PARTITIONS_PER_TOPIC_MAX });
    }
    let name = topic.name.as_str();
    let mut records = vec![TopicRecord { topic_id: id, name: name.into(), ..Default::default() }.into()];
    let (made, partitions) = partitions_of(image, id, 0, topic.partitions)?;
    records.extend(made);
    records.extend(topic.configs.iter().map(|(key, value)| {
        MetadataRecord::from(ConfigRecord {
            resource_type: TOPIC_RESOURCE,
            resource_name: name.into(),
            key: key.as_str().into(),
            value: Some(value.as_str().into()),
            ..Default::default()
        })
    }));
    Ok((records, CreatedTopic { id, partitions }))
}

fn add_partitions(image: &Image, id: Uuid, total: usize) -> Made<Vec<StreamId>> {
    let topic = image.topic_by_id(id).ok_or(TopicError::Unknown(id))?;
    let present = topic.partitions.len();
    if total <= present {
        return Err(TopicError::NotMore { present, wanted: total });
    }
    if total > PARTITIONS_PER_TOPIC_MAX {
        return Err(TopicError::TooManyPartitions { wanted: total, limit: PARTITIONS_PER_TOPIC_MAX });
    }
    partitions_of(image, id, present, total - present)
}

fn delete_topic(image: &Image, id: Uuid) -> Made<Arc<TopicImage>> {
    let topic = image.topic_by_id(id).ok_or(TopicError::Unknown(id))?.clone();
    let Decision { mut records, .. } = image.catalogue.delete_streams(&topic.partitions);
    for key in image.configs_of(TOPIC_RESOURCE, &topic.name).iter().flat_map(|configs| configs.keys()) {
        records.push(MetadataRecord::from(ConfigRecord {
            resource_type: TOPIC_RESOURCE,
            resource_name: (&*topic.name).into(),
            key: (&**key).into(),
            value: None,
            ..Default::default()
        }));
    }
    records.push(RemoveTopicRecord { topic_id: id, ..Default::default() }.into());
    Ok((records, topic))
}
