//! A consumer: reads partitions that it was given, or took, from where it was told.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use judge::{GroupName, Start, What};
use wire::ErrorCode;
use wire::messages::fetch_response::PartitionData;
use wire::messages::{FetchRequest, FetchResponse};

use super::connection::Called;
use super::fetching::{self, Session, Wanted};
use super::offsets::{self, Which};
use super::position::{self, Answered, Leader, NO_EPOCH, Position};
use super::{Cluster, Place};
use crate::deeds::Deed;

/// How a consumer reads.
#[derive(Clone, Copy, Debug)]
pub struct ConsumerSettings {
    /// As on the wire: 1 for committed records alone.
    pub isolation_level: i8,
    /// Whether brokers remember what it reads.
    pub with_sessions: bool,
    /// How long a broker may keep a request for which there is nothing.
    pub wait_max: Duration,
    /// Bytes of an answer.
    pub bytes_max: i32,
    /// Bytes of an answer's partition.
    pub partition_bytes_max: i32,
    /// Where it goes on when its position is gone.
    pub reset_to: Which,
}

impl Default for ConsumerSettings {
    fn default() -> Self {
        Self {
            isolation_level: 0,
            with_sessions: true,
            wait_max: Duration::from_millis(500),
            bytes_max: 4 << 20,
            partition_bytes_max: 256 << 10,
            reset_to: Which::Earliest,
        }
    }
}

/// A consumer and its positions.
#[derive(Debug)]
pub struct Consumer {
    cluster: Arc<Cluster>,
    settings: ConsumerSettings,
    positions: BTreeMap<Place, Position>,
    sessions: BTreeMap<i32, Session>,
    /// Positions that brokers do not have.
    out_of_range: Vec<Place>,
    /// Polls in a row that met an error.
    failures: u32,
}

impl Consumer {
    /// A consumer of nothing yet.
    pub fn new(cluster: Arc<Cluster>, settings: ConsumerSettings) -> Self {
        Self {
            cluster,
            settings,
            positions: BTreeMap::new(),
            sessions: BTreeMap::new(),
            out_of_range: Vec::new(),
            failures: 0,
        }
    }

    /// From here on reads these and no others; a group may have said so, in one of its generations.
    pub fn assign(&mut self, starts: &BTreeMap<Place, Start>, group: Option<(GroupName, i32)>) {
        if group.is_some() {
            self.cluster.life.did(Deed::Generation);
        }
        let keys = starts.iter().map(|(place, start)| (place.key(), *start)).collect();
        let (group, generation) = group.unzip();
        self.cluster.life.event(What::Assigned { keys, group, generation });
        self.positions = starts.iter().map(|(place, start)| (place.clone(), Position::at(*start))).collect();
        self.out_of_range.clear();
    }

    /// These positions were committed, with the leader epochs of what lies before them.
    pub fn believe(&mut self, committed: &BTreeMap<Place, Position>) {
        for (place, position) in &mut self.positions {
            if let Some(committed) = committed.get(place) {
                *position = *committed;
            }
        }
    }

    /// Where it stands in each partition.
    pub fn positions(&self) -> &BTreeMap<Place, Position> {
        &self.positions
    }

    /// An offset of a partition, as brokers say; `None` when its topic is gone.
    pub async fn offset(&self, place: &Place, which: Which) -> Option<i64> {
        offsets::list_surely(&self.cluster, place, which, self.settings.isolation_level).await
    }

    /// Asks each leader once, and waits when that did not work. The number of records that came.
    pub async fn poll(&mut self) -> usize {
        for place in std::mem::take(&mut self.out_of_range) {
            if let Some(to) = self.offset(&place, self.settings.reset_to).await {
                self.cluster.life.note(format_args!("{place}: goes on at {to}"));
                self.cluster.life.event(What::Reset { key: place.key(), to });
                self.positions.insert(place, Position::new(to, NO_EPOCH));
            }
        }
        if self.positions.is_empty() {
            tokio::time::sleep(self.settings.wait_max).await;
            return 0;
        }
        let is_led = |place: &Place| self.cluster.leader(place).is_some() || self.cluster.is_gone(place);
        let is_lost = !self.positions.keys().all(is_led);
        if self.failures > 0 || is_lost || self.cluster.is_stale() {
            if self.failures > 0 {
                self.cluster.back_off(self.failures).await;
            }
            let mut names: Vec<Arc<str>> = self.positions.keys().map(|place| place.name.clone()).collect();
            names.dedup();
            if self.cluster.refresh(&names).await.is_err() {
                self.failures += 1;
                return 0;
            }
        }
        let (mut leaders, mut in_doubt) = (BTreeMap::<i32, Wanted>::new(), Vec::new());
        for (place, position) in &mut self.positions {
            let Some(leader) = self.cluster.leader(place) else { continue };
            if position.is_in_doubt(leader) {
                in_doubt.push((place.clone(), *position, leader));
            } else {
                *position = position.under(leader);
                leaders.entry(leader.0).or_default().insert(place.clone(), (position.offset, leader.1));
            }
        }
        if leaders.is_empty() && in_doubt.is_empty() {
            self.failures += 1;
            return 0;
        }
        let mut asked = Vec::new();
        for (leader, wanted) in leaders {
            asked.push(self.fetch(leader, wanted));
        }
        let validating = in_doubt.into_iter().map(|(place, position, leader)| {
            let cluster = self.cluster.clone();
            async move { (position::validate(&cluster, &place, position, leader).await, place, leader) }
        });
        let (validated, answers) = tokio::join!(join_all(validating), join_all(asked));
        let (mut count, mut is_well) = (0, true);
        for (answered, place, leader) in validated {
            match answered {
                Ok(answered) => self.go_on(place, answered, leader),
                Err(why) => {
                    self.cluster.life.note(format_args!("epoch of {place}: {why}"));
                    is_well = false;
                }
            }
        }
        for (leader, wanted, answer) in answers {
            match self.take(leader, &wanted, answer) {
                Ok(records) => count += records,
                Err(why) => {
                    self.cluster.life.note(format_args!("fetch from {leader}: {why}"));
                    is_well = false;
                }
            }
        }
        self.failures = if is_well { 0 } else { self.failures + 1 };
        count
    }

    /// Asks a leader for what is wanted of it.
    fn fetch(
        &mut self,
        leader: i32,
        wanted: Wanted,
    ) -> impl Future<Output = (i32, Wanted, Called<(u64, FetchResponse)>)> + use<> {
        let session = self.sessions.entry(leader).or_default();
        let mut request = FetchRequest {
            replica_id: -1,
            max_wait_ms: self.settings.wait_max.as_millis() as i32,
            min_bytes: 1,
            max_bytes: self.settings.bytes_max,
            isolation_level: self.settings.isolation_level,
            ..FetchRequest::default()
        };
        session.ask(&wanted, self.settings.partition_bytes_max, self.settings.with_sessions, &mut request);
        let cluster = self.cluster.clone();
        async move {
            let answer = async {
                let connection = cluster.connection(leader).await?;
                Ok((connection.number, connection.call(&request).await?))
            };
            (leader, wanted, answer.await)
        }
    }

    /// Goes on as the leader says: where it stands, where the log was cut, or wherever nobody knows of its position.
    fn go_on(&mut self, place: Place, answered: Answered, leader: Leader) {
        let Some(position) = self.positions.get_mut(&place) else { return };
        match answered {
            Answered::Good => *position = position.under(leader),
            Answered::CutTo(cut) => {
                *position = cut;
                self.cluster.life.event(What::Reset { key: place.key(), to: cut.offset });
            }
            Answered::Unknown => self.out_of_range.push(place),
        }
    }

    /// The number of records in an answer, or what is wrong with it.
    fn take(&mut self, leader: i32, wanted: &Wanted, answer: Called<(u64, FetchResponse)>) -> Result<usize, String> {
        let session = self.sessions.entry(leader).or_default();
        let (connection, answer) = answer.inspect_err(|_| session.lost()).map_err(|error| error.to_string())?;
        let error = ErrorCode::from_code(answer.error_code);
        if error == ErrorCode::FetchSessionIdNotFound {
            session.reset();
            return Err(error.name().to_owned());
        }
        if !error.is_none() {
            session.lost();
            return Err(error.name().to_owned());
        }
        let mut held = Vec::new();
        for topic in answer.responses {
            for data in topic.partitions {
                let is = |place: &&Place| {
                    place.partition == data.partition_index
                        && (place.topic == topic.topic_id || *place.name == *topic.topic)
                };
                held.push((wanted.keys().find(is), data));
            }
        }
        let places: Vec<Option<&Place>> = held.iter().map(|(place, _)| *place).collect();
        if let Err(why) = session.answered(answer.session_id, &places) {
            // All of it is thrown away.
            self.cluster.life.complain(format_args!("a fetch answer of {leader} {why}"));
            return Err(why);
        }
        let (mut count, mut wrong) = (0, None);
        for (place, data) in held {
            let Some(place) = place else { continue };
            match self.take_partition(place, data, connection) {
                Ok(records) => count += records,
                Err(error) => wrong = Some(format!("{place}: {}", error.name())),
            }
        }
        wrong.map_or(Ok(count), Err)
    }

    fn take_partition(&mut self, place: &Place, data: PartitionData, connection: u64) -> Result<usize, ErrorCode> {
        let Some(position) = self.positions.get(place).copied() else { return Ok(0) };
        match ErrorCode::from_code(data.error_code) {
            ErrorCode::None => {}
            ErrorCode::OffsetOutOfRange => {
                self.cluster.life.note(format_args!("{place}: {} is out of range", position.offset));
                self.out_of_range.push(place.clone());
                return Ok(0);
            }
            error => return Err(error),
        }
        let found = fetching::read(&data.records.unwrap_or_default(), position.offset);
        found.complain(&self.cluster.life, place);
        // Without transactions nothing is unstable.
        let (stable, high) = (data.last_stable_offset, data.high_watermark);
        if stable != high {
            let words = format_args!("{place}: the last stable offset is {stable}, and the high watermark is {high}");
            self.cluster.life.complain(words);
        }
        let count = found.records.len();
        for (offset, why) in &found.garbage {
            self.cluster.life.note(format_args!("{place}: garbage at {offset}: {why}"));
        }
        let is_damaged = !found.garbage.is_empty() && found.next == position.offset;
        self.positions.insert(place.clone(), position.moved(found.next, found.epoch.unwrap_or(position.epoch)));
        self.cluster.life.event(What::Polled {
            key: place.key(),
            records: found.records,
            garbage: found.garbage,
            high_watermark: data.high_watermark,
            log_start: data.log_start_offset,
            connection: Some(connection),
        });
        // Nothing comes after it: the next attempt may see something else, but not at once.
        if is_damaged { Err(ErrorCode::CorruptMessage) } else { Ok(count) }
    }
}
