//! Fetch requests and what comes of them: sessions (KIP-227) and the records within an answer.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::Range;

use bytes::Bytes;
use judge::{Refusal, Value};
use records::{Batch, RecordsError};
use wire::messages::FetchRequest;
use wire::messages::fetch_request::{FetchPartition, FetchTopic, ForgottenTopic};

use super::{Life, Place, value};

/// From where a partition is read, and the leader's epoch.
pub type Wanted = BTreeMap<Place, (i64, i32)>;

/// More than any batch here decompresses to.
const DECOMPRESSED_BYTES_MAX: usize = 32 << 20;

/// What one broker remembers of a reader.
#[derive(Debug, Default)]
pub struct Session {
    id: i32,
    /// 0 begins a session, and -1 wants none.
    epoch: i32,
    /// What the broker knows.
    told: Wanted,
    /// Whether all of it was asked for.
    is_full: bool,
}

/// The epoch of a request that wants no session.
const NO_SESSION: i32 = -1;

impl Session {
    /// Fills in what is wanted: all of it at the beginning of a session, what has changed later on.
    pub fn ask(&mut self, wanted: &Wanted, partition_bytes_max: i32, with_sessions: bool, request: &mut FetchRequest) {
        if !with_sessions {
            (self.id, self.epoch) = (0, NO_SESSION);
        }
        (request.session_id, request.session_epoch) = (self.id, self.epoch);
        let is_full = request.session_epoch <= 0;
        let mut topics: BTreeMap<_, FetchTopic> = BTreeMap::new();
        for (place, (offset, leader_epoch)) in wanted {
            if !is_full && self.told.get(place) == Some(&(*offset, *leader_epoch)) {
                continue;
            }
            let topic = topics.entry(place.topic).or_insert_with(|| FetchTopic {
                topic: (&*place.name).into(),
                topic_id: place.topic,
                ..FetchTopic::default()
            });
            topic.partitions.push(FetchPartition {
                partition: place.partition,
                current_leader_epoch: *leader_epoch,
                fetch_offset: *offset,
                partition_max_bytes: partition_bytes_max,
                ..FetchPartition::default()
            });
        }
        request.topics = topics.into_values().collect();
        if !is_full {
            let mut forgotten: BTreeMap<_, ForgottenTopic> = BTreeMap::new();
            for place in self.told.keys().filter(|place| !wanted.contains_key(place)) {
                let topic = forgotten.entry(place.topic).or_insert_with(|| ForgottenTopic {
                    topic: (&*place.name).into(),
                    topic_id: place.topic,
                    ..ForgottenTopic::default()
                });
                topic.partitions.push(place.partition);
            }
            request.forgotten_topics_data = forgotten.into_values().collect();
        }
        self.told.clone_from(wanted);
        self.is_full = is_full;
    }

    /// An answer without error came, which holds these partitions, or such as were not asked for: the session goes on, if
    /// there is one.
    ///
    /// # Errors
    /// What is wrong with it, in words, when it is none: a full answer holds all that was asked for and nothing else
    /// (Kafka's `FetchSessionHandler.verifyFullFetchResponsePartitions`), any other a part of it, in the same session.
    pub fn answered(&mut self, session_id: i32, held: &[Option<&Place>]) -> Result<(), String> {
        let found: BTreeSet<&Place> = held.iter().copied().flatten().collect();
        let missing = self.told.keys().find(|place| self.is_full && !found.contains(place));
        let wrong = if held.contains(&None) {
            Some("holds a partition that was not asked for".to_owned())
        } else if found.len() < held.len() {
            Some("holds a partition twice".to_owned())
        } else if let Some(place) = missing {
            Some(format!("to a full request does not hold {place}"))
        } else if session_id != 0 && !self.is_full && session_id != self.id {
            Some(format!("in session {} is of session {session_id}", self.id))
        } else if session_id != 0 && self.epoch == NO_SESSION {
            Some("begins a session that nobody asked for".to_owned())
        } else {
            None
        };
        if session_id == 0 || wrong.is_some() {
            self.reset();
        } else {
            self.id = session_id;
            self.epoch = self.epoch.checked_add(1).unwrap_or(1);
        }
        wrong.map_or(Ok(()), Err)
    }

    /// No answer came: another session begins, and ends the one that was.
    pub fn lost(&mut self) {
        self.epoch = 0;
        self.told.clear();
    }

    /// The broker knows nothing of the session.
    pub fn reset(&mut self) {
        *self = Self::default();
    }
}

/// The records of an answer.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Offset and value, as they came.
    pub records: Vec<(i64, Value)>,
    /// Offset, and what is wrong.
    pub garbage: Vec<(i64, Refusal)>,
    /// Batches that hold again what came before them, or nothing that was asked for: their offsets, and what was wanted then.
    pub unasked: Vec<(Range<i64>, i64)>,
    /// The offset of what is wanted next.
    pub next: i64,
    /// The leader epoch of the last batch.
    pub epoch: Option<i32>,
}

impl Found {
    /// Complains about batches that no broker sends.
    pub fn complain(&self, life: &Life, place: &dyn fmt::Display) {
        for (offsets, wanted) in &self.unasked {
            life.complain(format_args!("{place}: a batch of {offsets:?} came where {wanted} was wanted"));
        }
    }
}

/// Reads what a partition's answer holds, from `position` on.
pub fn read(bytes: &Bytes, position: i64) -> Found {
    let mut found = Found { next: position, ..Found::default() };
    for (number, batch) in records::batches(bytes).enumerate() {
        match batch {
            Ok(batch) => {
                // Only the first one may begin below what is wanted.
                let offsets = batch.header.base_offset..batch.header.next_offset();
                if offsets.end <= found.next || (number > 0 && offsets.start < found.next) {
                    found.unasked.push((offsets, found.next));
                }
                read_batch(&batch, &mut found);
            }
            // A batch that did not fit in wholly; the first one always does.
            Err(RecordsError::Truncated { .. }) if number > 0 => {}
            Err(error) => found.garbage.push((found.next, format!("no batch: {error}").into())),
        }
    }
    found
}

fn read_batch(batch: &Batch, found: &mut Found) {
    let position = found.next;
    let first = batch.header.base_offset.max(position);
    let mut read = || -> Result<(), RecordsError> {
        batch.verify_crc()?;
        if batch.header.is_control() {
            found.garbage.push((first, "a control batch, which nobody wrote".into()));
            return Ok(());
        }
        for record in batch.records(DECOMPRESSED_BYTES_MAX)? {
            let record = record?;
            // A reader begins anywhere in a batch.
            if record.offset < position {
                continue;
            }
            match value::decode(record.value.as_deref().unwrap_or_default()) {
                Ok(value) => found.records.push((record.offset, value)),
                Err(why) => found.garbage.push((record.offset, why.into())),
            }
        }
        Ok(())
    };
    match read() {
        Ok(()) => found.epoch = Some(batch.header.leader_epoch),
        Err(error) => found.garbage.push((first, format!("a batch: {error}").into())),
    }
    found.next = position.max(batch.header.next_offset());
}

#[cfg(test)]
mod tests {
    use records::{BatchBuilder, Compression};

    use super::*;

    fn batch(base_offset: i64, values: &[u64], codec: Compression) -> Vec<u8> {
        let mut builder = BatchBuilder::new(codec).base_offset(base_offset);
        for number in values {
            builder.append(0, None, Some(&value::encode(Value(*number), 40)), &[]).unwrap();
        }
        builder.build().unwrap().to_vec()
    }

    #[test]
    fn records_below_the_position_are_passed_over_and_damage_is_named() {
        let good = batch(10, &[1, 2, 3], Compression::Lz4);
        let mut bad = batch(13, &[4], Compression::None);
        *bad.last_mut().unwrap() ^= 1;
        let other = [batch(14, &[5], Compression::None), batch(15, &[6], Compression::Zstd)].concat();
        let all = Bytes::from([good, bad, other].concat());
        let found = read(&all.slice(..all.len() - 1), 11);
        assert_eq!(found.records, [(11, Value(2)), (12, Value(3)), (14, Value(5))]);
        assert!(found.garbage.len() == 1 && found.garbage[0].0 == 13, "{found:?}");
        assert_eq!(found.next, 15);
        assert!(found.unasked.is_empty(), "{found:?}");
        assert_eq!(read(&Bytes::from_static(b"what is this"), 3).garbage[0].0, 3);
    }

    #[test]
    fn batches_that_come_again_or_that_nobody_asked_for_are_named() {
        let [one, two] = [batch(10, &[1, 2], Compression::None), batch(12, &[3], Compression::None)];
        let unasked = |batches: &[&[u8]], position| read(&batches.concat().into(), position).unasked;
        assert!(unasked(&[&one, &two], 11).is_empty());
        assert_eq!(unasked(&[&one, &two], 12), [(10..12, 12)]);
        assert_eq!(unasked(&[&one], 12), [(10..12, 12)]);
        assert_eq!(unasked(&[&one, &one], 10), [(10..12, 12)]);
        let overlapping = batch(11, &[4, 5], Compression::None);
        assert_eq!(unasked(&[&one, &overlapping], 10), [(11..13, 12)]);
    }

    #[test]
    fn a_session_tells_what_has_changed() {
        let place = |partition| Place { topic: base::Uuid::from_u128(1), partition, name: "t".into() };
        let mut session = Session::default();
        let asked = |session: &mut Session, wanted: &[(i32, i64)]| {
            let wanted = wanted.iter().map(|(partition, offset)| (place(*partition), (*offset, 0))).collect();
            let mut request = FetchRequest::default();
            session.ask(&wanted, 1, true, &mut request);
            let partitions = request.topics.iter().flat_map(|topic| &topic.partitions).map(|found| found.partition);
            let forgotten = request.forgotten_topics_data.iter().flat_map(|topic| topic.partitions.clone());
            (request.session_id, request.session_epoch, partitions.collect(), forgotten.collect())
        };
        let none = Vec::<i32>::new;
        assert_eq!(asked(&mut session, &[(0, 5), (1, 5)]), (0, 0, vec![0, 1], none()));
        let (zero, one) = (place(0), place(1));
        assert_eq!(session.answered(7, &[Some(&one), Some(&zero)]), Ok(()));
        assert_eq!(asked(&mut session, &[(0, 6), (1, 5)]), (7, 1, vec![0], none()));
        assert_eq!(session.answered(7, &[]), Ok(()));
        assert_eq!(asked(&mut session, &[(1, 5)]), (7, 2, none(), vec![0]));
        session.lost();
        assert_eq!(asked(&mut session, &[(1, 5)]), (7, 0, vec![1], none()));
        assert_eq!(session.answered(0, &[Some(&one)]), Ok(()));
        assert_eq!(asked(&mut session, &[(1, 5)]), (0, 0, vec![1], none()));
    }

    #[test]
    fn an_answer_that_does_not_fit_its_request_is_none_and_ends_the_session() {
        let place = |partition| Place { topic: base::Uuid::from_u128(1), partition, name: "t".into() };
        let (zero, one) = (place(0), place(1));
        let both: Wanted = [&zero, &one].map(|place| (place.clone(), (5, 0))).into();
        let refused = |was_in: Option<i32>, with_sessions, id, held: &[Option<&Place>]| {
            let (mut session, mut request) = (Session::default(), FetchRequest::default());
            session.ask(&both, 1, with_sessions, &mut request);
            if let Some(id) = was_in {
                session.answered(id, &[Some(&zero), Some(&one)]).unwrap();
                session.ask(&both, 1, with_sessions, &mut request);
            }
            let why = session.answered(id, held).unwrap_err();
            session.ask(&both, 1, true, &mut request);
            assert_eq!(request.session_id, 0, "{why}");
            why
        };
        assert!(refused(None, true, 7, &[Some(&zero)]).contains("does not hold t-1"));
        assert!(refused(None, false, 0, &[Some(&zero)]).contains("does not hold t-1"));
        assert!(refused(None, true, 7, &[Some(&zero), None, Some(&one)]).contains("not asked for"));
        assert!(refused(None, false, 7, &[Some(&zero), Some(&one)]).contains("nobody asked"));
        assert!(refused(Some(7), true, 7, &[None]).contains("not asked for"));
        assert!(refused(Some(7), true, 7, &[Some(&zero), Some(&zero)]).contains("twice"));
        assert!(refused(Some(7), true, 8, &[Some(&zero)]).contains("in session 7 is of session 8"));
    }
}
