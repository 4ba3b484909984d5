//! A snapshot under way: which part of the state is next, and what must not be in it.
//!
//! ```text
//! queue and log:  … decisions … │begin│ decisions … piece … decisions … piece … │end│ …
//! ```
//!
//! Pieces are made only when the begin marker is replayed. So what the queue holds by then stands behind the marker, and the
//! value of a key is either replayed, and given out once, or in the log that a load reads.

use std::collections::VecDeque;
use std::ops::ControlFlow;

use base::Offset;
use base::collections::HashMap;
use bytes::Bytes;
use wire::EncodeError;

use super::marker::{Edge, Marker};
use super::{Machine, Record};
use crate::limits::{
    RECORD_OVERHEAD_BYTES, SNAPSHOT_KEY_BYTES_AT_ONCE, SNAPSHOT_PIECE_KEYS_MAX, SNAPSHOT_PIECES_WAITING_MAX,
};

/// A snapshot that is not complete.
pub(super) struct Snapshot {
    id: i64,
    /// Where the begin marker stands, once that is replayed.
    begin: Option<Offset>,
    /// Keys of decisions that were queued behind the begin marker and are not replayed, with how often: the oldest of
    /// them.
    newer: HashMap<Bytes, u32>,
    /// How many records these are.
    counted: usize,
    /// The rest of the keys, in the order of the queue. A decision may be of very many and long ones: they are hashed a
    /// few at a time, before a piece is made, and not at all if they are replayed before.
    uncounted: VecDeque<Bytes>,
    /// The last key that was looked at.
    after: Option<Bytes>,
    /// Records given out so far.
    records: i64,
    /// Pieces in the queue.
    waiting: usize,
    /// Whether everything was given out, and the end marker is in the queue.
    is_given: bool,
}

/// What follows in the queue.
pub(super) struct Piece {
    /// Records of the state; there may be none.
    pub records: Vec<Record>,
    /// The end marker, behind the last of them.
    pub end: Option<Record>,
}

impl Snapshot {
    /// Begins one of a machine that has replayed everything below `replayed`; its begin marker is to join the queue.
    pub fn begin(replayed: Offset, records: u64) -> (Self, Record) {
        let id = replayed.kafka();
        let snapshot = Self {
            id,
            begin: None,
            newer: HashMap::default(),
            counted: 0,
            uncounted: VecDeque::new(),
            after: None,
            records: 0,
            waiting: 0,
            is_given: false,
        };
        let records = i64::try_from(records).unwrap_or(i64::MAX);
        (snapshot, Marker { edge: Edge::Begin, snapshot: id, records }.encode())
    }

    /// Decided records join the queue.
    pub fn queued(&mut self, records: &[Record]) {
        self.uncounted.extend(records.iter().map(|record| record.key.clone()));
    }

    /// A decided record is replayed.
    pub fn replayed(&mut self, record: &Record) {
        // Before the begin marker is, only such come that were queued before it.
        if self.begin.is_none() {
            return;
        }
        if self.counted == 0 {
            self.uncounted.pop_front();
            return;
        }
        self.counted -= 1;
        if let Some(count) = self.newer.get_mut(&record.key) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.newer.remove(&record.key);
            }
        }
    }

    /// The begin marker is replayed.
    pub fn begun(&mut self, at: Offset) {
        self.begin = Some(at);
    }

    /// A piece is replayed.
    pub fn piece_replayed(&mut self) {
        self.waiting = self.waiting.saturating_sub(1);
    }

    /// Where it begins.
    pub fn start(&self) -> Option<Offset> {
        self.begin
    }

    /// Goes on with counting the keys that are queued; whether all are.
    fn count(&mut self) -> bool {
        let mut bytes = 0;
        while bytes < SNAPSHOT_KEY_BYTES_AT_ONCE
            && let Some(key) = self.uncounted.pop_front()
        {
            bytes += key.len() + RECORD_OVERHEAD_BYTES;
            *self.newer.entry(key).or_default() += 1;
            self.counted += 1;
        }
        self.uncounted.is_empty()
    }

    /// The next piece, of at most `bytes_max` if a record is not larger itself, unless enough waits.
    pub fn next<M: Machine>(&mut self, machine: &M, bytes_max: usize) -> Result<Option<Piece>, EncodeError> {
        if self.begin.is_none() || self.is_given || self.waiting >= SNAPSHOT_PIECES_WAITING_MAX {
            return Ok(None);
        }
        // It is asked for again with each batch that is written or replayed, and once nothing is queued all are counted.
        if !self.count() {
            return Ok(None);
        }
        let (mut records, mut bytes, mut looked_at) = (Vec::new(), 0, 0);
        let (newer, mut after, mut is_last) = (&self.newer, None, true);
        machine.snapshot(self.after.as_ref(), &mut |record| {
            let is_newer = newer.contains_key(&record.key);
            let is_full = !is_newer && !records.is_empty() && bytes + record.bytes() > bytes_max;
            if looked_at == SNAPSHOT_PIECE_KEYS_MAX || is_full {
                is_last = false;
                return ControlFlow::Break(());
            }
            looked_at += 1;
            after = Some(record.key.clone());
            if !is_newer {
                bytes += record.bytes();
                records.push(record);
            }
            ControlFlow::Continue(())
        })?;
        self.after = after.or(self.after.take());
        self.records += records.len() as i64;
        self.waiting += usize::from(!records.is_empty());
        self.is_given = is_last;
        let end = Marker { edge: Edge::End, snapshot: self.id, records: self.records };
        Ok(Some(Piece { records, end: is_last.then(|| end.encode()) }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The shard's lock is held meanwhile.
    #[test]
    fn what_is_queued_behind_a_snapshot_is_counted_a_few_at_a_time_before_the_next_piece() {
        let record = |at: usize| Record { key: Bytes::from(format!("{at}{}", "k".repeat(32_000))), value: None };
        let records: Vec<Record> = (0..1_000).map(record).collect();
        let (mut snapshot, _) = Snapshot::begin(Offset(0), 1);
        snapshot.begun(Offset(0));
        snapshot.queued(&records);
        assert_eq!(snapshot.newer.len(), 0, "nothing is hashed when it is decided");
        let mut looks = 0;
        while !snapshot.count() {
            looks += 1;
            assert!(snapshot.newer.len() <= looks * (1 + SNAPSHOT_KEY_BYTES_AT_ONCE / 32_000));
            // The oldest are replayed meanwhile.
            snapshot.replayed(&records[looks - 1]);
        }
        assert!(looks > 10, "{looks}");
        assert_eq!((snapshot.newer.len(), snapshot.counted), (1_000 - looks, 1_000 - looks));
        records[looks..].iter().for_each(|record| snapshot.replayed(record));
        assert_eq!((snapshot.newer.len(), snapshot.counted), (0, 0));
        // What is replayed before it is counted never is.
        snapshot.queued(&records);
        records.iter().for_each(|record| snapshot.replayed(record));
        assert!(snapshot.count() && snapshot.newer.is_empty());
    }
}
