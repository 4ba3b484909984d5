//! What a producer has for one partition: batches in the order of their sequences, and what Kafka's Java client knows
//! about them (`TransactionManager`, `TxnPartitionEntry`).

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use base::TimestampMs;
use bytes::Bytes;
use judge::{Outcome, Value, What};
use records::{BatchBuilder, Compression, RecordsError};

use super::{Life, Place};
use crate::deeds::Deed;

/// A producer id and its epoch.
pub type Identity = (i64, i16);

/// Records that are sent together, under one sequence.
#[derive(Debug)]
pub struct Batch {
    /// Unique within the producer.
    pub id: u64,
    records: Vec<(Value, Vec<u8>, TimestampMs)>,
    bytes: usize,
    /// Identity and first sequence, once it has them.
    stamp: Option<(Identity, i32)>,
    /// When it ends unresolved.
    deadline: Duration,
    retry_at: Duration,
    attempts: u32,
    /// A request with it is under way.
    is_on_wire: bool,
    /// It may be in the log, whatever else is said about it.
    is_in_doubt: bool,
    /// It may be there under the stamp that it has now.
    is_stamp_in_doubt: bool,
    /// The user was told.
    is_ended: bool,
}

impl Batch {
    fn end(&mut self, life: &Life, outcome: impl Fn(i64) -> Outcome<Option<i64>>) {
        if !std::mem::replace(&mut self.is_ended, true) {
            for (number, (value, ..)) in self.records.iter().enumerate() {
                life.event(What::SendEnded { value: *value, outcome: outcome(number as i64) });
            }
        }
    }

    /// It will not be sent any more.
    fn end_refused(&mut self, life: &Life, why: &Arc<str>) {
        let is_in_doubt = self.is_in_doubt;
        self.end(life, |_| if is_in_doubt { Outcome::Unknown(why.clone()) } else { Outcome::Failed(why.clone()) });
    }

    fn next_sequence(&self) -> Option<i32> {
        self.stamp.map(|(_, first)| after(first, self.records.len()))
    }

    fn build(&self, compression: Compression) -> Result<Bytes, RecordsError> {
        let mut builder = BatchBuilder::new(compression);
        if let Some(((id, epoch), sequence)) = self.stamp {
            builder = builder.producer(id, epoch, sequence);
        }
        for (_, bytes, timestamp) in &self.records {
            builder.append(timestamp.0, None, Some(bytes), &[])?;
        }
        builder.build()
    }
}

/// Sequences begin again at 0 after 2^31 - 1.
fn after(sequence: i32, count: usize) -> i32 {
    ((i64::from(sequence) + count as i64) & i64::from(i32::MAX)) as i32
}

/// What an attempt came to.
#[derive(Clone, Debug)]
pub enum Verdict {
    /// It is in the log, from this offset where that is known.
    Written(Option<i64>),
    /// This attempt was certainly not written.
    Refused {
        /// Why.
        why: Arc<str>,
        /// What follows.
        then: Then,
    },
    /// This attempt may have been written.
    InDoubt {
        /// Why.
        why: Arc<str>,
        /// What follows.
        then: Then,
    },
}

/// What a producer does about a batch that was not acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    /// It sends it again.
    Retry,
    /// The broker misses what comes before it.
    OutOfOrder,
    /// The broker knows nothing of the producer.
    UnknownProducer,
    /// It gives it up.
    GiveUp,
}

/// What a producer has for one partition.
#[derive(Debug)]
pub struct Lane {
    /// Which.
    pub place: Place,
    batches: VecDeque<Batch>,
    identity: Option<Identity>,
    next_sequence: i32,
    /// The last sequence that was acknowledged.
    acked: i32,
    /// What follows a batch that was given up while nobody knew whether it was written.
    unresolved: Option<i32>,
    /// Sequences are to begin again in another epoch.
    wants_bump: bool,
    /// A broker that had not forgotten anything would have taken what it refused, or known it: no correct one has the lane
    /// go on in another epoch.
    is_broker_to_blame: bool,
    /// Records that were acknowledged.
    delivered: u64,
}

impl Lane {
    /// With nothing in it.
    pub fn new(place: Place) -> Self {
        Self {
            place,
            batches: VecDeque::new(),
            identity: None,
            next_sequence: 0,
            acked: -1,
            unresolved: None,
            wants_bump: false,
            is_broker_to_blame: false,
            delivered: 0,
        }
    }

    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.batches.is_empty()
    }

    /// How many records wait for their end.
    pub fn pending(&self) -> usize {
        self.batches.iter().map(|batch| batch.records.len()).sum()
    }

    /// Whether a batch waits for its answer.
    pub fn is_on_wire(&self) -> bool {
        self.batches.iter().any(|batch| batch.is_on_wire)
    }

    /// Records that were acknowledged.
    pub fn delivered(&self) -> u64 {
        self.delivered
    }

    /// Adds a record, to the last batch when that has room and was not sent yet.
    pub fn add(&mut self, record: (Value, Vec<u8>, TimestampMs), limit: usize, deadline: Duration, next_id: &mut u64) {
        let has_room = |batch: &&mut Batch| {
            batch.attempts == 0 && batch.stamp.is_none() && !batch.is_ended && batch.bytes + record.1.len() <= limit
        };
        if let Some(last) = self.batches.back_mut().filter(has_room) {
            last.bytes += record.1.len();
            last.records.push(record);
            return;
        }
        *next_id += 1;
        self.batches.push_back(Batch {
            id: *next_id,
            bytes: record.1.len(),
            records: vec![record],
            stamp: None,
            deadline,
            retry_at: Duration::ZERO,
            attempts: 0,
            is_on_wire: false,
            is_in_doubt: false,
            is_stamp_in_doubt: false,
            is_ended: false,
        });
    }

    /// The next batch that may go out, if one may, as bytes; it is on the wire then. `identity` is the producer's, if it
    /// is idempotent.
    pub fn take(
        &mut self,
        identity: Option<Identity>,
        in_flight_max: usize,
        now: Duration,
        compression: Compression,
    ) -> Result<Option<(u64, Bytes)>, RecordsError> {
        let on_wire = self.batches.iter().filter(|batch| batch.is_on_wire).count();
        let Some(at) = self.batches.iter().position(|batch| !batch.is_on_wire && !batch.is_ended) else {
            return Ok(None);
        };
        if on_wire >= in_flight_max || self.wants_bump || self.batches[at].retry_at > now {
            return Ok(None);
        }
        if let Some(identity) = identity {
            if self.batches[at].stamp.is_some() {
                // Sent again alone, and before all that comes after it.
                if at > 0 {
                    return Ok(None);
                }
            } else {
                if self.unresolved.is_some() {
                    return Ok(None);
                }
                if self.identity != Some(identity) {
                    if self.batches.iter().any(|batch| batch.stamp.is_some()) {
                        return Ok(None);
                    }
                    self.begin_again(identity);
                }
                let batch = &mut self.batches[at];
                batch.stamp = Some((identity, self.next_sequence));
                self.next_sequence = after(self.next_sequence, batch.records.len());
            }
        }
        let batch = &mut self.batches[at];
        let bytes = batch.build(compression)?;
        batch.is_on_wire = true;
        batch.attempts += 1;
        Ok(Some((batch.id, bytes)))
    }

    fn begin_again(&mut self, identity: Identity) {
        self.identity = Some(identity);
        self.next_sequence = 0;
        self.acked = -1;
        self.unresolved = None;
        self.wants_bump = false;
    }

    /// What an attempt came to; `back_off` gives the wait before the next one by the number of attempts.
    pub fn landed(
        &mut self,
        id: u64,
        verdict: Verdict,
        life: &Life,
        now: Duration,
        back_off: impl Fn(u32) -> Duration,
    ) {
        let Some(at) = self.batches.iter().position(|batch| batch.id == id) else { return };
        let batch = &mut self.batches[at];
        batch.is_on_wire = false;
        let (why, then) = match verdict {
            Verdict::Written(offset) => {
                if !batch.is_ended {
                    batch.records.iter().for_each(|_| life.did(Deed::Record));
                }
                batch.end(life, |number| Outcome::Done(offset.map(|first| first + number)));
                let batch = self.batches.remove(at).expect("it was found");
                self.delivered += batch.records.len() as u64;
                if let Some((identity, first)) = batch.stamp
                    && self.identity == Some(identity)
                {
                    self.acked = self.acked.max(after(first, batch.records.len() - 1));
                }
                return;
            }
            Verdict::Refused { why, then } => {
                if then == Then::GiveUp {
                    life.complain(format_args!("{}: a good batch is refused for good: {why}", self.place));
                }
                (why, then)
            }
            Verdict::InDoubt { why, then } => {
                (batch.is_in_doubt, batch.is_stamp_in_doubt) = (true, true);
                (why, then)
            }
        };
        if batch.is_ended {
            self.forget(at);
            return;
        }
        if then == Then::GiveUp {
            batch.end_refused(life, &why);
            let batch = self.batches.remove(at).expect("it was found");
            // What comes after it would leave a gap.
            self.wants_bump |= batch.stamp.is_some();
            self.is_broker_to_blame |= batch.stamp.is_some();
            return;
        }
        batch.retry_at = now + back_off(batch.attempts);
        let Some((_, sequence)) = batch.stamp else { return };
        let bump = match then {
            Then::UnknownProducer => true,
            // Anywhere else the batch before it, which is still on its way, will close the gap.
            Then::OutOfOrder => sequence == self.unresolved.unwrap_or(after(self.acked, 1)),
            Then::Retry | Then::GiveUp => false,
        };
        if bump {
            life.note(format_args!("{}: {why} at sequence {sequence}: another epoch", self.place));
            self.wants_bump = true;
            // All before it was acknowledged; otherwise what was given up before it may still be missing.
            if self.unresolved.is_none() {
                let words = format_args!("{}: {why} at sequence {sequence}, the one that is next", self.place);
                life.complain(words);
            }
            self.is_broker_to_blame |= then == Then::UnknownProducer || self.unresolved.is_none();
        }
    }

    /// Takes out a batch of which nobody knows whether it was written.
    fn forget(&mut self, at: usize) {
        let batch = self.batches.remove(at).expect("it was found");
        if let Some(next) = batch.next_sequence() {
            self.unresolved = Some(next);
        }
    }

    /// Ends what is past its time. What is on the wire stays until the answer is there.
    pub fn expire(&mut self, now: Duration, life: &Life) {
        let why: Arc<str> = "the delivery time is over".into();
        let mut at = 0;
        while at < self.batches.len() {
            let batch = &mut self.batches[at];
            if batch.deadline > now || batch.is_ended {
                at += 1;
            } else if batch.is_on_wire {
                batch.end(life, |_| Outcome::Unknown(why.clone()));
                at += 1;
            } else {
                batch.end_refused(life, &why);
                self.forget(at);
            }
        }
    }

    /// The topic is gone: ends all that is not on the wire.
    pub fn abandon(&mut self, life: &Life) {
        let why: Arc<str> = "the topic is gone".into();
        for batch in self.batches.iter_mut().filter(|batch| !batch.is_on_wire) {
            batch.end_refused(life, &why);
        }
        self.batches.retain(|batch| !batch.is_ended || batch.is_on_wire);
    }

    /// Whether the producer's epoch has to be bumped for this lane now.
    pub fn must_bump(&mut self) -> bool {
        let is_outstanding = self.batches.iter().any(|batch| batch.stamp.is_some());
        if self.unresolved.is_some() && !is_outstanding {
            if self.next_sequence == after(self.acked, 1) {
                self.unresolved = None;
            } else {
                self.wants_bump = true;
            }
        }
        // As librdkafka does: first all answers are in.
        self.wants_bump && self.batches.iter().all(|batch| !batch.is_on_wire)
    }

    /// The epoch was bumped for this lane: its sequences begin again.
    pub fn bump(&mut self, identity: Identity, life: &Life) {
        self.begin_again(identity);
        let is_excused = !std::mem::take(&mut self.is_broker_to_blame);
        for batch in self.batches.iter_mut().filter(|batch| batch.stamp.is_some()) {
            if std::mem::take(&mut batch.is_stamp_in_doubt) && is_excused {
                for (value, ..) in &batch.records {
                    life.event(What::Restamped { value: *value });
                }
            }
            batch.stamp = Some((identity, self.next_sequence));
            self.next_sequence = after(self.next_sequence, batch.records.len());
        }
    }

    /// When something is due: a retry or an end.
    pub fn next_due(&self, now: Duration) -> Option<Duration> {
        let waiting = self.batches.iter().filter(|batch| !batch.is_ended);
        waiting.flat_map(|batch| [batch.retry_at, batch.deadline]).filter(|due| *due > now).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::Recorder;
    use crate::trace::Trace;

    fn lane(records: u64) -> (Lane, Recorder, Life) {
        let place = Place { topic: base::Uuid::from_u128(1), partition: 0, name: "t".into() };
        let (mut lane, mut next) = (Lane::new(place), 0);
        for value in 0..records {
            // Each in a batch of its own.
            let deadline = Duration::from_secs(9 + 10 * value);
            lane.add((Value(value), vec![0; 10], TimestampMs(0)), 10, deadline, &mut next);
        }
        let recorder = Recorder::new(Arc::default(), Trace::new(None));
        let life = recorder.life("producer");
        (lane, recorder, life)
    }

    fn outcomes(recorder: &Recorder) -> Vec<Outcome<Option<i64>>> {
        let ended = |event: judge::Event| match event.what {
            What::SendEnded { outcome, .. } => Some(outcome),
            _ => None,
        };
        recorder.history().0.into_iter().filter_map(ended).collect()
    }

    fn take(lane: &mut Lane, identity: Option<Identity>) -> Option<u64> {
        lane.take(identity, 5, Duration::from_secs(1), Compression::None).unwrap().map(|(id, _)| id)
    }

    #[tokio::test]
    async fn what_was_ever_in_doubt_does_not_fail_later() {
        let why: Arc<str> = "why".into();
        for is_in_doubt in [false, true] {
            let (mut lane, recorder, life) = lane(1);
            let id = take(&mut lane, None).unwrap();
            let (why, then) = (why.clone(), Then::Retry);
            let first = if is_in_doubt { Verdict::InDoubt { why, then } } else { Verdict::Refused { why, then } };
            lane.landed(id, first, &life, Duration::ZERO, |_| Duration::ZERO);
            assert_eq!(take(&mut lane, None), Some(id));
            let last = Verdict::Refused { why: "why".into(), then: Then::GiveUp };
            lane.landed(id, last, &life, Duration::ZERO, |_| Duration::ZERO);
            let expected = if is_in_doubt { Outcome::Unknown("why".into()) } else { Outcome::Failed("why".into()) };
            assert_eq!(outcomes(&recorder), [expected]);
        }
    }

    #[tokio::test]
    async fn a_gap_is_waited_for_and_a_loss_of_state_bumps_the_epoch_once_all_answers_are_in() {
        let (mut lane, recorder, life) = lane(2);
        let identity = Some((7, 0));
        let (one, two) = (take(&mut lane, identity).unwrap(), take(&mut lane, identity).unwrap());
        let refused = || Verdict::Refused { why: "gap".into(), then: Then::OutOfOrder };
        lane.landed(two, refused(), &life, Duration::ZERO, |_| Duration::ZERO);
        assert!(!lane.must_bump() && take(&mut lane, identity).is_none(), "the first is still on its way");
        lane.landed(one, refused(), &life, Duration::ZERO, |_| Duration::ZERO);
        assert!(lane.must_bump() && take(&mut lane, identity).is_none());
        lane.bump((7, 1), &life);
        for id in [one, two] {
            assert_eq!(take(&mut lane, Some((7, 1))), Some(id), "one at a time, in order");
            lane.landed(id, Verdict::Written(Some(5)), &life, Duration::ZERO, |_| Duration::ZERO);
        }
        assert_eq!(outcomes(&recorder), [Outcome::Done(Some(5)), Outcome::Done(Some(5))]);
        assert!(lane.is_empty() && !lane.must_bump());
    }

    #[tokio::test]
    async fn what_is_in_doubt_is_said_to_be_stamped_anew_unless_the_broker_is_to_blame() {
        for is_given_up in [true, false] {
            let (mut lane, recorder, life) = lane(1);
            let identity = Some((7, 0));
            lane.add((Value(1), vec![0; 10], TimestampMs(0)), 10, Duration::from_secs(20), &mut 10);
            let (one, two) = (take(&mut lane, identity).unwrap(), take(&mut lane, identity).unwrap());
            let why: Arc<str> = "why".into();
            let in_doubt = || Verdict::InDoubt { why: why.clone(), then: Then::Retry };
            let first = if is_given_up { in_doubt() } else { Verdict::Written(Some(0)) };
            lane.landed(one, first, &life, Duration::ZERO, |_| Duration::ZERO);
            lane.landed(two, in_doubt(), &life, Duration::ZERO, |_| Duration::ZERO);
            lane.expire(Duration::from_secs(10), &life);
            assert_eq!(take(&mut lane, identity), Some(two));
            let gap = Verdict::Refused { why: why.clone(), then: Then::OutOfOrder };
            lane.landed(two, gap, &life, Duration::ZERO, |_| Duration::ZERO);
            assert!(lane.must_bump());
            lane.bump((7, 1), &life);
            lane.bump((7, 2), &life);
            let history = recorder.history().0;
            let restamped = history.iter().filter(|event| event.what == What::Restamped { value: Value(1) }).count();
            assert_eq!(restamped, usize::from(is_given_up), "of the second stamp there is no doubt");
        }
    }

    #[tokio::test]
    async fn a_broker_is_complained_about_that_refuses_what_it_must_take_or_know() {
        let refused = |then| Verdict::Refused { why: "why".into(), then };
        let complaints = |verdicts: &[Verdict]| {
            let (mut lane, recorder, life) = lane(verdicts.len() as u64);
            let taken: Vec<u64> = verdicts.iter().filter_map(|_| take(&mut lane, Some((7, 0)))).collect();
            for (id, verdict) in taken.into_iter().zip(verdicts) {
                lane.landed(id, verdict.clone(), &life, Duration::ZERO, |_| Duration::ZERO);
                // The first one is given up, unless it was written.
                lane.expire(Duration::from_secs(10), &life);
            }
            recorder.complaints().len()
        };
        for then in [Then::OutOfOrder, Then::UnknownProducer] {
            assert_eq!(complaints(&[refused(then)]), 1);
            assert_eq!(complaints(&[Verdict::Written(None), refused(then)]), 1);
            let in_doubt = Verdict::InDoubt { why: "why".into(), then: Then::Retry };
            assert_eq!(complaints(&[in_doubt, refused(then)]), 0, "the one before it may be missing");
        }
        assert_eq!(complaints(&[refused(Then::GiveUp)]), 1);
        assert_eq!(complaints(&[refused(Then::Retry)]), 0);
        assert_eq!(complaints(&[Verdict::InDoubt { why: "why".into(), then: Then::GiveUp }]), 0);
    }

    #[tokio::test]
    async fn a_gap_that_the_batch_before_closes_is_none() {
        let (mut lane, _, life) = lane(2);
        let identity = Some((7, 0));
        let (one, two) = (take(&mut lane, identity).unwrap(), take(&mut lane, identity).unwrap());
        let gap = Verdict::Refused { why: "gap".into(), then: Then::OutOfOrder };
        lane.landed(two, gap, &life, Duration::ZERO, |_| Duration::ZERO);
        lane.landed(one, Verdict::Written(Some(0)), &life, Duration::ZERO, |_| Duration::ZERO);
        assert!(!lane.must_bump(), "nothing is missing");
        assert_eq!(take(&mut lane, identity), Some(two), "under the sequence that it has");
    }
}
