use proptest::prelude::*;

use super::*;

const NOW: TimestampMs = TimestampMs(1_000);
const EXPIRATION_MS: i64 = 60_000;

fn batch(producer_id: i64, epoch: i16, base_sequence: i32, records: u32) -> Identity {
    Identity { producer_id, epoch, base_sequence, last_offset_delta: records - 1 }
}

fn check(producers: &Producers, batch: Identity) -> Result<Verdict, ProducerError> {
    producers.check(batch, Origin::Client, NOW, EXPIRATION_MS)
}

/// A log whose every batch is durable at once.
#[derive(Default)]
struct Synced {
    producers: Producers,
    end: u64,
}

impl Synced {
    fn append(&mut self, batch: Identity) -> Result<Verdict, ProducerError> {
        let verdict = check(&self.producers, batch)?;
        if verdict == Verdict::Fresh {
            let last = self.end + u64::from(batch.last_offset_delta);
            self.end = last + 1;
            self.producers.record(batch, Offset(last), TimestampMs(7), NOW, Offset(self.end));
        }
        Ok(verdict)
    }

    fn fresh(&mut self, batch: Identity) {
        assert_eq!(self.append(batch), Ok(Verdict::Fresh));
    }
}

fn duplicate_of(first: u64, last: u64) -> Result<Verdict, ProducerError> {
    Ok(Verdict::Duplicate(Original { first: Offset(first), last: Offset(last), timestamp: TimestampMs(7) }))
}

#[test]
fn each_of_the_last_five_batches_is_recognised() {
    let mut log = Synced::default();
    for at in 0..6 {
        log.fresh(batch(1, 0, at * 10, 10));
    }
    for at in 1..6 {
        assert_eq!(log.append(batch(1, 0, at * 10, 10)), duplicate_of(at as u64 * 10, at as u64 * 10 + 9));
    }
    let forgotten = log.append(batch(1, 0, 0, 10));
    let expected = ProducerError::OutOfOrderSequence { producer_id: 1, epoch: 0, sequence: 0, expected: 60 };
    assert_eq!(forgotten, Err(expected));
    // The same first sequence with another length is another batch.
    assert!(log.append(batch(1, 0, 50, 9)).is_err());
}

#[test]
fn what_is_older_than_the_last_five_batches_is_not_recognised_even_while_none_is_durable() {
    let mut producers = Producers::new();
    for at in 0..6 {
        producers.record(batch(1, 0, at, 1), Offset(at as u64), TimestampMs(7), NOW, Offset(0));
    }
    assert_eq!(check(&producers, batch(1, 0, 1, 1)), duplicate_of(1, 1));
    let older = ProducerError::OutOfOrderSequence { producer_id: 1, epoch: 0, sequence: 0, expected: 6 };
    assert_eq!(check(&producers, batch(1, 0, 0, 1)), Err(older));
}

#[test]
fn a_gap_is_refused_and_an_unknown_producer_may_start_anywhere() {
    let mut log = Synced::default();
    log.fresh(batch(1, 3, 500, 2));
    assert!(matches!(log.append(batch(1, 3, 503, 1)), Err(ProducerError::OutOfOrderSequence { expected: 502, .. })));
    log.fresh(batch(1, 3, 502, 1));
}

#[test]
fn a_new_epoch_starts_at_zero_and_fences_the_old() {
    let mut log = Synced::default();
    log.fresh(batch(1, 0, 0, 5));
    assert!(matches!(log.append(batch(1, 1, 5, 1)), Err(ProducerError::OutOfOrderSequence { expected: 0, .. })));
    log.fresh(batch(1, 1, 0, 5));
    let old = log.append(batch(1, 0, 5, 1));
    assert_eq!(old, Err(ProducerError::InvalidEpoch { producer_id: 1, epoch: 0, current: 1 }));
    assert_eq!(log.append(batch(1, 1, 0, 5)), duplicate_of(5, 9));
}

#[test]
fn sequences_wrap_after_the_largest_int32() {
    let mut log = Synced::default();
    log.fresh(batch(1, 0, i32::MAX - 2, 2));
    log.fresh(batch(1, 0, i32::MAX, 3)); // MAX, 0, 1
    assert_eq!(log.append(batch(1, 0, i32::MAX, 3)), duplicate_of(2, 4));
    log.fresh(batch(1, 0, 2, 1));
    let mut exact = Synced::default();
    exact.fresh(batch(1, 0, i32::MAX, 1));
    exact.fresh(batch(1, 0, 0, 1));
}

#[test]
fn coordinators_are_checked_for_their_epoch_only() {
    let mut log = Synced::default();
    log.fresh(batch(1, 2, 0, 1));
    let from_coordinator = |batch| log.producers.check(batch, Origin::Coordinator, NOW, EXPIRATION_MS);
    assert_eq!(from_coordinator(batch(1, 2, -1, 1)), Ok(Verdict::Fresh));
    assert!(from_coordinator(batch(1, 1, -1, 1)).is_err());
}

#[test]
fn a_silent_producer_expires_unless_it_has_a_batch_in_flight() {
    let mut producers = Producers::new();
    producers.record(batch(1, 0, 0, 1), Offset(0), NOW, NOW, Offset(0));
    let later = TimestampMs(NOW.0 + EXPIRATION_MS);
    let gap = batch(1, 0, 9, 1);
    assert!(producers.check(gap, Origin::Client, later, EXPIRATION_MS).is_err(), "in flight");
    producers.expire(later, EXPIRATION_MS, Offset(0));
    assert_eq!(producers.len(), 1);
    producers.expire(TimestampMs(later.0 - 1), EXPIRATION_MS, Offset(1));
    assert_eq!(producers.len(), 1);
    assert_eq!(producers.check(gap, Origin::Client, later, EXPIRATION_MS), Ok(Verdict::Fresh));
    producers.expire(later, EXPIRATION_MS, Offset(1));
    assert!(producers.is_empty());
}

#[test]
fn the_longest_idle_producers_make_room() {
    let mut producers = Producers::new();
    for id in 0..=PRODUCERS_MAX as i64 {
        let at = Offset(id as u64);
        producers.record(batch(id, 0, 5, 1), at, NOW, TimestampMs(id), at);
    }
    assert!(producers.len() <= PRODUCERS_MAX);
    assert_eq!(check(&producers, batch(0, 0, 99, 1)), Ok(Verdict::Fresh), "the oldest is forgotten");
    assert!(check(&producers, batch(PRODUCERS_MAX as i64, 0, 99, 1)).is_err(), "the newest is not");
}

#[test]
fn more_producers_in_flight_than_the_limit_are_all_remembered_and_read_back() {
    let mut producers = Producers::new();
    let count = PRODUCERS_MAX as u64 + 10;
    for id in 0..count {
        producers.record(batch(id.cast_signed(), 0, 0, 1), Offset(id), NOW, NOW, Offset(0));
    }
    assert_eq!(producers.len() as u64, count, "none may be forgotten in flight");
    let restored = Producers::from_checkpoint(&producers.checkpoint(Offset(count)).unwrap(), Offset(count)).unwrap();
    assert_eq!(restored.len() as u64, count);
    assert!(matches!(check(&restored, batch(0, 0, 0, 1)), Ok(Verdict::Duplicate(_))));
}

#[test]
fn a_checkpoint_tells_the_epoch_that_is_durable_while_a_newer_one_is_in_flight() {
    let mut producers = Producers::new();
    producers.record(batch(1, 4, 0, 10), Offset(9), NOW, NOW, Offset(0));
    producers.record(batch(1, 5, 0, 10), Offset(19), NOW, NOW, Offset(10));
    let restored = Producers::from_checkpoint(&producers.checkpoint(Offset(10)).unwrap(), Offset(10)).unwrap();
    // Had the newer epoch been told, the resend of a batch that never became durable would be a duplicate.
    assert!(matches!(check(&restored, batch(1, 4, 0, 10)), Ok(Verdict::Duplicate(_))));
    assert_eq!(check(&restored, batch(1, 5, 0, 10)), Ok(Verdict::Fresh));
    assert_eq!(producers.checkpoint(Offset(9)), None, "what is past cannot be told any more");
}

#[test]
fn a_frozen_state_stays_as_it_was_and_leaves_out_who_has_expired() {
    let mut producers = Producers::new();
    for id in 0..1000 {
        let at = Offset(id as u64);
        producers.record(batch(id, 0, 0, 1), at, NOW, TimestampMs(id), at);
    }
    let (end, alive) = (Offset(1000), TimestampMs(i64::MIN));
    let before = producers.checkpoint(end).unwrap();
    let (whole, young) = (producers.freeze(end, alive).unwrap(), producers.freeze(end, TimestampMs(899)).unwrap());
    // Batches that are in flight at the end were recorded already; those that follow are not the frozen state's.
    producers.record(batch(7, 0, 1, 1), Offset(1000), NOW, NOW, Offset(1000));
    producers.record(batch(5000, 0, 0, 1), Offset(1001), NOW, NOW, Offset(1001));
    producers.expire(TimestampMs(EXPIRATION_MS + 1000), EXPIRATION_MS, Offset(1002));
    assert!(whole.bytes() >= whole.encode().len() as u64);
    assert_eq!(whole.encode(), before);
    let kept = Producers::from_checkpoint(&young.encode(), end).unwrap();
    assert_eq!((kept.len(), kept.by_id.get_min().map(|(id, _)| *id)), (100, Some(900)));
    assert!(producers.freeze(end, alive).is_none(), "what is past cannot be told any more");
}

#[test]
fn checkpoint_bytes_are_golden() {
    let mut producers = Producers::new();
    producers.record(batch(7, 3, 0, 10), Offset(9), TimestampMs(11), NOW, Offset(10));
    producers.record(batch(7, 3, 10, 5), Offset(99), TimestampMs(12), NOW, Offset(100));
    let bytes = producers.checkpoint(Offset(100)).unwrap();
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let golden = [
        "0000000000000001",
        "0000000000000064", // version 0, one producer, end 100
        "0000000000000007",
        "00030002",
        "ffffffff",
        "ffffffffffffffff",
        "00000000000003e8", // id 7, epoch 3, 2 batches
        "00000009",
        "00000009",
        "0000000000000009",
        "000000000000000b", // s9 d9 o9 t11
        "0000000e",
        "00000004",
        "0000000000000063",
        "000000000000000c", // s14 d4 o99 t12
        "00000000",         // no aborted transactions
    ]
    .concat();
    assert_eq!(&hex[..golden.len()], golden);
    assert_eq!(hex.len(), golden.len() + 8, "and a CRC");
    let restored = Producers::from_checkpoint(&bytes, Offset(100)).unwrap();
    assert_eq!(restored.by_id, producers.by_id);
}

#[test]
fn damaged_checkpoints_are_refused() {
    let mut producers = Producers::new();
    producers.record(batch(7, 3, 0, 10), Offset(9), TimestampMs(11), NOW, Offset(10));
    let bytes = producers.checkpoint(Offset(10)).unwrap();
    for at in 0..bytes.len() {
        let mut damaged = bytes.to_vec();
        damaged[at] ^= 0x10;
        assert!(Producers::from_checkpoint(&damaged, Offset(10)).is_err(), "byte {at}");
        assert!(Producers::from_checkpoint(&bytes[..at], Offset(10)).is_err(), "cut at {at}");
    }
    let other = Producers::from_checkpoint(&bytes, Offset(11)).unwrap_err();
    assert!(matches!(other, CheckpointError::OtherOffset { .. }));
}

/// The format has places for what a release with transactions keeps.
#[test]
fn what_a_newer_release_keeps_is_not_taken_for_damage() {
    let mut producers = Producers::new();
    producers.record(batch(7, 3, 0, 10), Offset(9), TimestampMs(11), NOW, Offset(10));
    let written = producers.checkpoint(Offset(10)).unwrap();
    let end = written.len() - 4;
    // The coordinator epoch, the start of a transaction, and aborted ones, which then follow.
    let places = [(28, &5_i32.to_be_bytes()[..], 0), (32, &2_i64.to_be_bytes()[..], 0), (end - 4, &[0, 0, 0, 1], 24)];
    for (at, value, more) in places {
        let mut newer = written[..end].to_vec();
        newer[at..at + value.len()].copy_from_slice(value);
        newer.resize(newer.len() + more, 0);
        newer.extend(base::checksum::crc32c(&newer).to_be_bytes());
        let refused = Producers::from_checkpoint(&newer, Offset(10)).unwrap_err();
        assert!(matches!(refused, CheckpointError::Newer(_)), "at {at}: {refused}");
        assert!(!crate::error::LoadError::from(refused).is_lost_checkpoint());
    }
}

/// A batch as a client sent it and as the log holds it.
#[derive(Clone, Copy, Debug)]
struct Stored {
    batch: Identity,
    last: Offset,
}

/// A client that keeps at most five batches in flight and sends them again, in order, when it does not hear.
#[derive(Clone, Debug, Default)]
struct Client {
    epoch: i16,
    next: i32,
    unacknowledged: VecDeque<Identity>,
}

/// A log with a durable end, checkpoints, crashes, and the clients that write to it.
#[derive(Default)]
struct World {
    producers: Producers,
    log: Vec<Stored>,
    durable: usize,
    checkpoint: Option<(Offset, bytes::Bytes)>,
    clients: [Client; 3],
}

#[derive(Clone, Debug)]
enum Step {
    Send { client: usize, records: u32 },
    Resend { client: usize },
    Bump { client: usize },
    Durable { batches: usize },
    Cut,
    Crash { survivors: usize },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let client = 0..3_usize;
    prop::collection::vec(
        prop_oneof![
            6 => (client.clone(), 1..4_u32).prop_map(|(client, records)| Step::Send { client, records }),
            2 => client.clone().prop_map(|client| Step::Resend { client }),
            1 => client.prop_map(|client| Step::Bump { client }),
            3 => (1..4_usize).prop_map(|batches| Step::Durable { batches }),
            1 => Just(Step::Cut),
            1 => (0..4_usize).prop_map(|survivors| Step::Crash { survivors }),
        ],
        0..120,
    )
}

impl World {
    fn end(log: &[Stored]) -> Offset {
        log.last().map_or(Offset(0), |stored| stored.last + 1)
    }

    fn durable_end(&self) -> Offset {
        Self::end(&self.log[..self.durable])
    }

    /// What the state must be after exactly `log`.
    fn replayed(mut producers: Producers, log: &[Stored]) -> Producers {
        for stored in log {
            producers.record(stored.batch, stored.last, TimestampMs(7), NOW, stored.last + 1);
        }
        producers
    }

    fn send(&mut self, batch: Identity) {
        match check(&self.producers, batch).expect("a client that keeps the rules is never refused") {
            Verdict::Fresh => {
                let last = Self::end(&self.log) + u64::from(batch.last_offset_delta);
                let durable = self.durable_end();
                self.producers.record(batch, last, TimestampMs(7), NOW, durable);
                self.log.push(Stored { batch, last });
            }
            Verdict::Duplicate(original) => {
                let stored = self.log.iter().find(|stored| stored.batch == batch).expect("the original is in the log");
                assert_eq!(
                    (original.first, original.last),
                    (Offset(stored.last.0 - u64::from(batch.last_offset_delta)), stored.last)
                );
            }
        }
    }

    fn step(&mut self, step: &Step) {
        match *step {
            Step::Send { client, records } => {
                let sender = &mut self.clients[client];
                if sender.unacknowledged.len() < PRODUCER_BATCHES {
                    let batch = batch(client as i64, sender.epoch, sender.next, records);
                    sender.next += records as i32;
                    sender.unacknowledged.push_back(batch);
                    self.send(batch);
                }
            }
            Step::Resend { client } => {
                for batch in self.clients[client].unacknowledged.clone() {
                    self.send(batch);
                }
            }
            Step::Bump { client } => {
                let sender = &mut self.clients[client];
                *sender = Client { epoch: sender.epoch + 1, ..Client::default() };
            }
            Step::Durable { batches } => {
                for _ in 0..batches.min(self.log.len() - self.durable) {
                    let stored = self.log[self.durable];
                    self.durable += 1;
                    let sender = &mut self.clients[stored.batch.producer_id as usize];
                    if sender.unacknowledged.front() == Some(&stored.batch) {
                        sender.unacknowledged.pop_front();
                    }
                }
            }
            Step::Cut => {
                let end = self.durable_end();
                let bytes = self.producers.checkpoint(end).expect("the durable end can always be told");
                let exact = Self::replayed(Producers::new(), &self.log[..self.durable]);
                assert_eq!(bytes, exact.checkpoint(end).unwrap(), "the checkpoint is exact");
                self.checkpoint = Some((end, bytes));
            }
            Step::Crash { survivors } => {
                // What was in flight may have reached the WAL without being acknowledged: any prefix of it survives.
                self.log.truncate(self.durable + survivors);
                self.durable = self.log.len();
                let (from, state) = match &self.checkpoint {
                    Some((at, bytes)) => (*at, Producers::from_checkpoint(bytes, *at).unwrap()),
                    None => (Offset(0), Producers::new()),
                };
                let tail = self.log.partition_point(|stored| stored.last < from);
                self.producers = Self::replayed(state, &self.log[tail..]);
                for client in 0..self.clients.len() {
                    self.step(&Step::Resend { client });
                }
            }
        }
    }

    /// Every epoch of every producer stands in the log once, without gap or repetition.
    fn assert_exactly_once(&self) {
        for client in 0..self.clients.len() as i64 {
            let mut last: Option<Identity> = None;
            for stored in self.log.iter().filter(|stored| stored.batch.producer_id == client) {
                let batch = stored.batch;
                let expected = match last {
                    Some(last) if last.epoch == batch.epoch => last.last_sequence() + 1,
                    _ => 0,
                };
                assert!(last.is_none_or(|last| last.epoch <= batch.epoch));
                assert_eq!(batch.base_sequence, expected, "producer {client} epoch {}", batch.epoch);
                last = Some(batch);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn retries_over_cuts_and_crashes_store_every_batch_exactly_once(steps in steps()) {
        let mut world = World::default();
        for step in steps {
            world.step(&step);
            world.assert_exactly_once();
        }
    }

    #[test]
    fn no_bytes_make_a_checkpoint_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(Producers::from_checkpoint(&bytes, Offset(0)).is_err() || bytes.len() == 24);
    }
}
