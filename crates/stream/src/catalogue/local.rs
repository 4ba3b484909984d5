//! A catalogue hosted in process and in memory: for a stand-alone S3Stream whose host keeps no log, and for tests.
//!
//! The same decisions and the same replay as under the metadata controller; only the records are kept nowhere.

use std::sync::Arc;

use base::{BrokerEpoch, BrokerId, Clock, Incarnation, StreamId, WalPosition};
use futures::FutureExt;
use futures::future::{BoxFuture, ready};
use parking_lot::Mutex;
use wire::meta::{BrokerRecord, MetadataRecord};

use super::client::{CatalogueClient, ClientError, CommitError, IncarnationError, TrimAnswers, TrimError};
use super::{Catalogue, CommitRequest, Committed, Decision, IncarnationRejection, Recovered, TrimRequest, WalPlace};

/// The host.
#[derive(Clone, Debug)]
pub struct LocalCatalogue {
    image: Arc<Mutex<Arc<Catalogue>>>,
    clock: Clock,
}

impl LocalCatalogue {
    /// An empty catalogue.
    pub fn new(clock: Clock) -> Self {
        Self { image: Arc::default(), clock }
    }

    /// Decides on the present image and replays what was decided.
    pub fn update<T>(&self, decide: impl FnOnce(&Catalogue) -> Decision<T>) -> Result<T, ClientError> {
        let mut image = self.image.lock();
        let Decision { records, response } = decide(&image);
        let mut next = Catalogue::clone(&image);
        for record in &records {
            next.apply(record).map_err(|e| ClientError::Refused(e.to_string().into()))?;
        }
        *image = Arc::new(next);
        Ok(response)
    }

    /// Registers `broker` afresh: a new epoch, all its unfinished WAL incarnations fenced and assigned to it. Answers
    /// its identity and those incarnations.
    pub fn register(&self, broker: BrokerId) -> Result<(Incarnation, Vec<Incarnation>), ClientError> {
        self.update(|image| {
            let epoch = image.writer(broker).map_or(0, |w| w.epoch.0 + 1);
            let me = Incarnation { broker, epoch: BrokerEpoch(epoch) };
            let record = BrokerRecord { broker_id: broker.0, broker_epoch: epoch, ..Default::default() };
            let mut next = image.clone();
            let mut records: Vec<MetadataRecord> = vec![record.into()];
            let mut take = |next: &mut Catalogue, decided: Vec<MetadataRecord>| {
                for record in decided {
                    if next.apply(&record).is_ok() {
                        records.push(record);
                    }
                }
            };
            let registration = BrokerRecord { broker_id: broker.0, broker_epoch: epoch, ..Default::default() };
            if next.apply(&registration.into()).is_err() {
                return Decision::unchanged((me, Vec::new()));
            }
            let old: Vec<Incarnation> = image
                .incarnations()
                .filter(|(id, s)| id.broker == broker && s.phase.is_recoverable())
                .map(|(id, _)| id)
                .collect();
            for id in &old {
                let fenced = next.fence_incarnation(*id).records;
                take(&mut next, fenced);
                let assigned = next.assign(*id, me).records;
                take(&mut next, assigned);
            }
            Decision { records, response: (me, old) }
        })
    }

    /// Records the registration's own WAL.
    pub fn open_incarnation(&self, id: Incarnation, wal: WalPlace) -> Result<(), IncarnationError> {
        self.update(|image| image.open_incarnation(id, wal))?.map_err(IncarnationError::from)
    }

    /// Creates `count` streams owned by `owner` at epoch 0.
    pub fn create_streams(&self, count: usize, owner: Incarnation) -> Result<Vec<StreamId>, ClientError> {
        self.update(|image| image.create_streams(count, owner))
    }

    fn step<T: Send + 'static>(
        &self,
        decide: impl FnOnce(&Catalogue) -> Decision<Result<T, IncarnationRejection>>,
    ) -> BoxFuture<'static, Result<T, IncarnationError>> {
        let answer = self.update(decide).map_err(IncarnationError::from);
        ready(answer.and_then(|a| a.map_err(IncarnationError::from))).boxed()
    }
}

impl CatalogueClient for LocalCatalogue {
    fn view(&self) -> Arc<Catalogue> {
        self.image.lock().clone()
    }

    fn commit(&self, request: CommitRequest) -> BoxFuture<'static, Result<Committed, CommitError>> {
        let now = self.clock.now();
        let answer = self.update(|image| image.commit(&request, now)).map_err(CommitError::from);
        ready(answer.and_then(|a| a.map_err(CommitError::from))).boxed()
    }

    fn trim(&self, requests: Vec<TrimRequest>) -> BoxFuture<'static, Result<TrimAnswers, TrimError>> {
        let now = self.clock.now();
        ready(self.update(|image| image.trim(&requests, now))).boxed()
    }

    fn recovered(
        &self,
        log: Incarnation,
        taker: Incarnation,
        final_position: WalPosition,
    ) -> BoxFuture<'static, Result<Recovered, IncarnationError>> {
        self.step(|image| image.recovered(log, taker, final_position))
    }

    fn damaged(
        &self,
        log: Incarnation,
        taker: Incarnation,
        reason: String,
    ) -> BoxFuture<'static, Result<(), IncarnationError>> {
        self.step(|image| image.damaged(log, taker, &reason))
    }

    fn drained(
        &self,
        log: Incarnation,
        final_position: WalPosition,
    ) -> BoxFuture<'static, Result<(), IncarnationError>> {
        self.step(|image| image.drained(log, final_position))
    }
}
