//! A producer: idempotent as Kafka's Java client is, or plain.
//!
//! It drives itself while [`Producer::drive`] is awaited and at no other time. A batch that was ever sent without a clear
//! answer ends as done or unknown, never as failed, whatever a later attempt is told: the first one may still be served.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use base::Uuid;
use futures::FutureExt;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use judge::{Value, What};
use records::Compression;
use wire::ErrorCode;
use wire::messages::produce_request::{PartitionProduceData, TopicProduceData};
use wire::messages::produce_response::PartitionProduceResponse;
use wire::messages::{InitProducerIdRequest, ProduceRequest, ProduceResponse};

use super::connection::{CallError, Called, Connection};
use super::lane::{Identity, Lane, Then, Verdict};
use super::{Cluster, Place, value};

/// How a producer sends.
#[derive(Clone, Debug)]
pub struct ProducerSettings {
    /// Whether it has a producer id and numbers what it sends. Then `acks` is -1.
    pub idempotent: bool,
    /// As on the wire.
    pub acks: i16,
    /// Batches of one partition under way.
    pub in_flight_max: usize,
    /// Whether what has not been sent yet may overtake, on its way to another broker, what is under way to the one that led
    /// before. Kafka's Java client lets it: with idempotence the sequences keep the order.
    pub overtakes: bool,
    /// Bytes of values in a batch; a larger value is alone in its own.
    pub batch_bytes_max: usize,
    /// After this time a record that was not acknowledged ends.
    pub delivery_time_max: Duration,
    /// Of all its batches.
    pub compression: Compression,
}

impl Default for ProducerSettings {
    fn default() -> Self {
        Self {
            idempotent: true,
            acks: -1,
            in_flight_max: 5,
            overtakes: true,
            batch_bytes_max: 16 << 10,
            delivery_time_max: Duration::from_secs(20),
            compression: Compression::None,
        }
    }
}

/// A request's batches, by place, and its answer.
type Landed = (Vec<(Place, u64)>, Called<ProduceResponse>);

/// A producer and what it has not delivered.
pub struct Producer {
    cluster: Arc<Cluster>,
    settings: ProducerSettings,
    identity: Option<Identity>,
    lanes: BTreeMap<Place, Lane>,
    /// Over which connection each lane has last sent.
    ways: BTreeMap<Place, Arc<Connection>>,
    under_way: FuturesUnordered<Pin<Box<dyn Future<Output = Landed> + Send>>>,
    next_batch: u64,
    /// Failures in a row of what concerns no batch.
    failures: u32,
    /// Metadata has to be asked for.
    is_lost: bool,
}

impl std::fmt::Debug for Producer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "a producer with {} records pending", self.pending())
    }
}

impl Producer {
    /// A producer that has not spoken to anybody.
    pub fn new(cluster: Arc<Cluster>, settings: ProducerSettings) -> Self {
        Self {
            cluster,
            settings,
            identity: None,
            lanes: BTreeMap::new(),
            ways: BTreeMap::new(),
            under_way: FuturesUnordered::new(),
            next_batch: 0,
            failures: 0,
            is_lost: false,
        }
    }

    /// Takes a record of about so many bytes to be sent.
    pub fn hand_over(&mut self, place: &Place, size: usize) -> Value {
        let life = &self.cluster.life;
        let number = life.next_value();
        life.event(What::SendBegan { key: place.key(), value: number, idempotent: self.settings.idempotent });
        let record = (number, value::encode(number, size), self.cluster.clock.now());
        let lane = self.lanes.entry(place.clone()).or_insert_with(|| Lane::new(place.clone()));
        let deadline = life.now() + self.settings.delivery_time_max;
        lane.add(record, self.settings.batch_bytes_max, deadline, &mut self.next_batch);
        number
    }

    /// Records that wait for their end.
    pub fn pending(&self) -> usize {
        self.lanes.values().map(Lane::pending).sum()
    }

    /// Whether a record to this partition was ever acknowledged.
    pub fn has_delivered_to(&self, place: &Place) -> bool {
        self.lanes.get(place).is_some_and(|lane| lane.delivered() > 0)
    }

    /// Sends and receives for that long.
    pub async fn drive(&mut self, time: Duration) {
        let end = self.cluster.life.now() + time;
        while self.cluster.life.now() < end {
            self.step(end).await;
        }
    }

    /// Sends and receives until nothing is pending: after the delivery time at the latest.
    pub async fn flush(&mut self) {
        while self.pending() > 0 {
            self.step(Duration::MAX).await;
        }
    }

    /// Does what is due, then waits for what comes first: an answer, something due, or `end`.
    async fn step(&mut self, end: Duration) {
        let now = self.cluster.life.now();
        for lane in self.lanes.values_mut() {
            lane.expire(now, &self.cluster.life);
            if self.cluster.is_gone(&lane.place) {
                lane.abandon(&self.cluster.life);
            }
        }
        let failed = self.send().await;
        let now = self.cluster.life.now();
        let due = match failed {
            Ok(()) => {
                self.failures = 0;
                self.lanes.values().filter_map(|lane| lane.next_due(now)).min().unwrap_or(end)
            }
            Err(error) => {
                self.failures += 1;
                if self.failures == 1 {
                    self.cluster.life.note(format_args!("cannot send: {error}"));
                }
                now + self.cluster.back_off_time(self.failures)
            }
        };
        // Another look at least each second: metadata changes without being due.
        let wait = due.min(end).saturating_sub(now).min(Duration::from_secs(1)).max(Duration::from_millis(1));
        let landed = base::select! {
            biased;
            Some(landed) = self.under_way.next() => landed,
            () = tokio::time::sleep(wait) => return,
        };
        self.land(landed);
    }

    /// Sends whatever may go out.
    async fn send(&mut self) -> Called<()> {
        self.lanes.retain(|place, lane| !lane.is_empty() || !self.cluster.is_gone(place));
        if self.lanes.values().all(Lane::is_empty) {
            return Ok(());
        }
        let unled = |lane: &Lane| !lane.is_empty() && self.cluster.leader(&lane.place).is_none();
        if self.is_lost || self.cluster.is_stale() || self.lanes.values().any(unled) {
            let mut names: Vec<Arc<str>> = self.lanes.keys().map(|place| place.name.clone()).collect();
            names.sort_unstable();
            names.dedup();
            self.cluster.refresh(&names).await?;
            self.is_lost = false;
        }
        self.identify().await?;
        let mut leaders: BTreeMap<i32, Vec<Place>> = BTreeMap::new();
        for (place, lane) in &self.lanes {
            if let Some((leader, _)) = self.cluster.leader(place)
                && !lane.is_empty()
            {
                leaders.entry(leader).or_default().push(place.clone());
            }
        }
        let mut failed = Ok(());
        for (leader, places) in leaders {
            // One broker that cannot be reached does not keep the others waiting for their records.
            if let Err(error) = self.send_to(leader, &places).await {
                self.is_lost = true;
                failed = Err(error);
            }
        }
        failed
    }

    /// Gets a producer id, or bumps its epoch where a lane cannot go on with it.
    async fn identify(&mut self) -> Called<()> {
        if !self.settings.idempotent {
            return Ok(());
        }
        let Some((id, epoch)) = self.identity else {
            let request = InitProducerIdRequest {
                transactional_id: None,
                transaction_timeout_ms: i32::MAX,
                ..InitProducerIdRequest::default()
            };
            let answer = self.cluster.any().await?.call(&request).await?;
            if answer.error_code != 0 {
                let error = ErrorCode::from_code(answer.error_code);
                return Err(CallError::NotSent(format!("no producer id: {error}").into()));
            }
            self.cluster.life.note(format_args!("is producer {} epoch {}", answer.producer_id, answer.producer_epoch));
            self.identity = Some((answer.producer_id, answer.producer_epoch));
            return Ok(());
        };
        let stuck: Vec<&mut Lane> =
            self.lanes.values_mut().filter_map(|lane| lane.must_bump().then_some(lane)).collect();
        if !stuck.is_empty() {
            // Without asking anybody, as the Java client does: any higher epoch is good.
            let next = (id, epoch + 1);
            self.cluster.life.note(format_args!("bumps producer {id} to epoch {}", epoch + 1));
            self.identity = Some(next);
            stuck.into_iter().for_each(|lane| lane.bump(next, &self.cluster.life));
        }
        Ok(())
    }

    /// One request to a leader, with a batch of each of these places that has one to go.
    async fn send_to(&mut self, leader: i32, places: &[Place]) -> Called<()> {
        let connection = self.cluster.connection(leader).await?;
        // What was under way on a connection that is gone has its answer: it goes out again before all that follows it.
        while let Some(Some(landed)) = self.under_way.next().now_or_never() {
            self.land(landed);
        }
        if !connection.has_room() {
            return Ok(());
        }
        let now = self.cluster.life.now();
        let (mut topics, mut batches) = (BTreeMap::<Uuid, TopicProduceData>::new(), Vec::new());
        for place in places {
            let lane = self.lanes.get_mut(place).expect("places are those of lanes");
            // What is sent again waits for all before it; without sequences nothing overtakes what is still on its way.
            let may_overtake = self.settings.idempotent && self.settings.overtakes;
            let goes_elsewhere = |before: &Arc<Connection>| !Arc::ptr_eq(before, &connection);
            let overtakes = lane.is_on_wire() && self.ways.get(place).is_some_and(goes_elsewhere);
            if overtakes && !may_overtake {
                continue;
            }
            let taken = lane.take(self.identity, self.settings.in_flight_max, now, self.settings.compression);
            let Some((id, records)) = taken.expect("a batch is far from 2 GiB") else { continue };
            if overtakes {
                self.cluster.life.note(format_args!("{place}: batch {id} goes out beside what another broker has"));
            }
            self.ways.insert(place.clone(), connection.clone());
            batches.push((place.clone(), id));
            let topic = topics.entry(place.topic).or_insert_with(|| TopicProduceData {
                name: (&*place.name).into(),
                topic_id: place.topic,
                ..TopicProduceData::default()
            });
            let data = PartitionProduceData { index: place.partition, records: Some(records), ..Default::default() };
            topic.partition_data.push(data);
        }
        if batches.is_empty() {
            return Ok(());
        }
        let request = ProduceRequest {
            transactional_id: None,
            acks: self.settings.acks,
            timeout_ms: self.cluster.settings.request_time_max.as_millis() as i32,
            topic_data: topics.into_values().collect(),
            ..ProduceRequest::default()
        };
        if self.settings.acks == 0 {
            let sent = connection.send_unanswered(&request);
            let answer = sent.and_then(|()| Err(CallError::Unknown("nobody waits for an answer".into())));
            self.land((batches, answer));
            return Ok(());
        }
        match connection.send(self.cluster.settings.request_time_max, &request).await {
            Ok(answer) => self.under_way.push(Box::pin(async move { (batches, answer.await) })),
            Err(error) => self.land((batches, Err(error))),
        }
        Ok(())
    }

    fn land(&mut self, (batches, answer): Landed) {
        let now = self.cluster.life.now();
        if let Err(error) = &answer
            && self.settings.acks != 0
        {
            self.cluster.life.note(format_args!("a produce request has no answer: {error}"));
        }
        for (place, id) in batches {
            let verdict = match &answer {
                Err(CallError::NotSent(why)) => Verdict::Refused { why: why.clone(), then: Then::Retry },
                Err(CallError::Unknown(why)) if self.settings.acks == 0 => {
                    Verdict::InDoubt { why: why.clone(), then: Then::GiveUp }
                }
                Err(CallError::Unknown(why)) => Verdict::InDoubt { why: why.clone(), then: Then::Retry },
                Ok(answer) => match find(answer, &place) {
                    Some(found) => verdict(found),
                    None => {
                        self.cluster.life.complain(format_args!("a produce answer without {place}"));
                        Verdict::InDoubt { why: "the answer does not mention it".into(), then: Then::Retry }
                    }
                },
            };
            if let Verdict::Refused { why, .. } | Verdict::InDoubt { why, .. } = &verdict
                && self.settings.acks != 0
            {
                self.is_lost = true;
                if answer.is_ok() {
                    self.cluster.life.note(format_args!("{place}: batch {id}: {why}"));
                }
            }
            let cluster = &self.cluster;
            if let Some(lane) = self.lanes.get_mut(&place) {
                lane.landed(id, verdict, &cluster.life, now, |attempts| cluster.back_off_time(attempts));
            }
        }
    }
}

fn find<'a>(answer: &'a ProduceResponse, place: &Place) -> Option<&'a PartitionProduceResponse> {
    let topic = answer.responses.iter().find(|topic| topic.topic_id == place.topic || *topic.name == *place.name)?;
    topic.partition_responses.iter().find(|partition| partition.index == place.partition)
}

fn verdict(found: &PartitionProduceResponse) -> Verdict {
    let error = ErrorCode::from_code(found.error_code);
    let why: Arc<str> = error.name().into();
    match error {
        ErrorCode::None => Verdict::Written((found.base_offset >= 0).then_some(found.base_offset)),
        ErrorCode::DuplicateSequenceNumber => Verdict::Written(None),
        ErrorCode::OutOfOrderSequenceNumber => Verdict::Refused { why, then: Then::OutOfOrder },
        ErrorCode::UnknownProducerId => Verdict::Refused { why, then: Then::UnknownProducer },
        // These are found out before anything is written.
        ErrorCode::InvalidProducerEpoch
        | ErrorCode::MessageTooLarge
        | ErrorCode::RecordListTooLarge
        | ErrorCode::InvalidRecord
        | ErrorCode::InvalidTimestamp
        | ErrorCode::InvalidRequiredAcks
        | ErrorCode::InvalidTopicException
        | ErrorCode::UnsupportedCompressionType
        | ErrorCode::UnsupportedForMessageFormat
        | ErrorCode::TopicAuthorizationFailed
        | ErrorCode::ClusterAuthorizationFailed
        | ErrorCode::PolicyViolation => Verdict::Refused { why, then: Then::GiveUp },
        ErrorCode::CorruptMessage | ErrorCode::NotEnoughReplicas | ErrorCode::ThrottlingQuotaExceeded => {
            Verdict::Refused { why, then: Then::Retry }
        }
        // A leader that lost its place may say so after it has written, and so may one whose topic is being deleted.
        error => Verdict::InDoubt { why, then: if error.is_retriable() { Then::Retry } else { Then::GiveUp } },
    }
}
