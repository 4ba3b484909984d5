//! The writer: what is queued becomes groups, each written at once.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use base::WalPosition;
use base::aligned::AlignedBuffer;

use super::machine::Step;
use super::part::Work;
use super::{Segment, Shared, Stop};
use crate::wal::block::GROUP_BYTES_MAX;
use crate::wal::block::layout::{PAGE, RECORD_HEADER, RecordHeader, SEAL_STREAM};
use crate::wal::{Append, Group, WalFailure};

/// Encodes groups and writes them; seals when idle.
pub(super) struct Writer<T> {
    shared: Arc<Shared<T>>,
    /// Taken from the queue, not yet written.
    backlog: VecDeque<(Append, T)>,
    buffer: AlignedBuffer,
    /// The segment, and how much of it is used.
    current: Option<(Segment, usize)>,
    /// Sequence of the next record; position and CRC of the last.
    last: (u64, WalPosition, u32),
    sealed: bool,
    /// Since when it has been idle: when the clock shows this it seals.
    seal_at: Option<Duration>,
    /// A group in the buffer that waits to be written.
    encoded: Option<Encoded>,
}

/// A group, encoded.
struct Encoded {
    segment: Segment,
    /// Where in the segment it begins.
    used: usize,
    padded: usize,
    /// Appends of the backlog, from the first.
    count: usize,
}

impl<T> Writer<T> {
    pub(super) fn new(shared: Arc<Shared<T>>) -> Self {
        Self {
            shared,
            backlog: VecDeque::new(),
            buffer: AlignedBuffer::zeroed(PAGE),
            current: None,
            last: (0, WalPosition(0), 0),
            sealed: true,
            seal_at: None,
            encoded: None,
        }
    }
}

impl<T: Send> Work for Writer<T> {
    fn step(&mut self) -> Step {
        if let Some(group) = self.encoded.take() {
            return self.write(group);
        }
        let mut state = self.shared.state.lock();
        if state.over() {
            return Step::Ended;
        }
        if !state.queue.is_empty() {
            let queue = std::mem::take(&mut state.queue);
            drop(state);
            if self.backlog.is_empty() {
                self.backlog = queue.into();
            } else {
                self.backlog.extend(queue);
            }
            return self.encode();
        }
        if !self.backlog.is_empty() {
            drop(state);
            return self.encode();
        }
        if state.stop == Stop::Flush {
            state.writer_done = true;
            drop(state);
            self.shared.wake_all();
            return Step::Ended;
        }
        drop(state);
        self.idle()
    }
}

impl<T> Writer<T> {
    /// Encodes what fits into a group, once there is a segment for it.
    fn encode(&mut self) -> Step {
        (self.sealed, self.seal_at) = (false, None);
        let Some((first, _)) = self.backlog.front() else { return Step::Did };
        let needed = RECORD_HEADER + first.payload_bytes();
        let limit = self.shared.max_record_bytes();
        if needed > RECORD_HEADER + limit {
            self.shared.fail(WalFailure::RecordTooLarge { bytes: first.payload_bytes(), limit });
            return Step::Ended;
        }
        let size = self.shared.segment_bytes as usize;
        let (segment, used) = match self.current.take().filter(|(_, used)| used + needed <= size) {
            Some(place) => place,
            None => match self.next_segment() {
                Some(segment) => (segment, PAGE),
                None => return Step::Wait(None),
            },
        };
        // What fits: this segment, and the bound of a group unless its first record alone exceeds it. No more of the
        // backlog is looked at: it is long just when the device was slow.
        let room = (size - used).min(GROUP_BYTES_MAX.max(needed));
        let mut length = 0;
        let mut count = 0;
        for (append, _) in &self.backlog {
            let record = RECORD_HEADER + append.payload_bytes();
            if length + record > room {
                break;
            }
            if append.base >= append.end || append.stream == SEAL_STREAM {
                let (stream, base, end) = (append.stream, append.base, append.end);
                self.shared.fail(WalFailure::BadAppend { stream, base, end });
                return Step::Ended;
            }
            length += record;
            count += 1;
        }
        let padded = length.next_multiple_of(PAGE);
        if self.buffer.len() < padded || self.buffer.len() > 2 * GROUP_BYTES_MAX && padded <= GROUP_BYTES_MAX {
            self.buffer = AlignedBuffer::zeroed(padded.next_power_of_two());
        }
        let start = WalPosition(segment.logical * self.shared.segment_bytes + used as u64);
        let bytes = &mut self.buffer.as_mut_slice()[..padded];
        let mut at = 0;
        for (append, _) in self.backlog.iter().take(count) {
            let (sequence, previous, previous_crc) = self.last;
            let payload_bytes = append.payload_bytes();
            let header = RecordHeader {
                sequence,
                position: WalPosition(start.0 + at as u64),
                previous,
                previous_crc,
                group_offset: at as u32,
                stream: append.stream,
                epoch: append.epoch,
                base: append.base,
                end: append.end,
                max_timestamp: append.max_timestamp,
                payload_bytes: payload_bytes as u32,
            };
            let out = &mut bytes[at..at + RECORD_HEADER + payload_bytes];
            let crc = header.encode(self.shared.stamp, append.payload.iter().map(|slice| &slice[..]), out);
            self.last = (sequence + 1, header.position, crc);
            at += RECORD_HEADER + payload_bytes;
        }
        bytes[length..].fill(0);
        self.write(Encoded { segment, used, padded, count })
    }

    /// Writes what was encoded, once there are zeros below it.
    fn write(&mut self, group: Encoded) -> Step {
        let Encoded { ref segment, used, padded, count } = group;
        if segment.logical == 0 {
            let mut state = self.shared.state.lock();
            if state.over() {
                return Step::Ended;
            }
            if state.zeroed < (used + padded) as u64 {
                if !std::mem::replace(&mut state.writer_starved, true) {
                    self.shared.to_completer.ring();
                }
                drop(state);
                self.encoded = Some(group);
                return Step::Wait(None);
            }
            if std::mem::replace(&mut state.writer_starved, false) {
                self.shared.to_completer.ring();
            }
        }
        let start = WalPosition(segment.logical * self.shared.segment_bytes + used as u64);
        let end = WalPosition(start.0 + padded as u64);
        let is_early = base::plant::bug("ack-before-sync");
        // Planted: the group counts as durable while it is being written.
        if is_early && !self.hand_over(count, start, end) {
            return Step::Ended;
        }
        let bytes = &self.buffer.as_slice()[..padded];
        let mut written = segment.file.write_at(bytes, used as u64);
        if written.is_err() && base::plant::bug("sync-retried") {
            // Planted: a write that failed is tried again on the same descriptor.
            written = segment.file.write_at(bytes, used as u64);
        }
        if let Err(error) = written {
            self.shared.fail_io(format!("writing group at {start}"), error);
            return Step::Ended;
        }
        base::plant::place("after-wal-write");
        if !is_early && !self.hand_over(count, start, end) {
            return Step::Ended;
        }
        self.current = Some((group.segment, used + padded));
        Step::Did
    }

    /// Gives the first `count` of the backlog, which are durable, to the completer; `false` when the log is over.
    fn hand_over(&mut self, count: usize, start: WalPosition, end: WalPosition) -> bool {
        let tokens: Vec<_> = self.backlog.drain(..count).collect();
        if self.backlog.is_empty() {
            // The storage of a long one goes with its last.
            self.backlog = VecDeque::new();
        }
        let mut state = self.shared.state.lock();
        if state.over() {
            // The completer may have ended; nobody would look at them again.
            drop(state);
            drop(tokens);
            return false;
        }
        state.completed.push(Group { tokens, start, end });
        state.durable = end;
        drop(state);
        self.shared.to_completer.ring();
        true
    }

    /// There is nothing to write: waits, and seals once it has waited long enough.
    fn idle(&mut self) -> Step {
        if self.sealed {
            return Step::Wait(None);
        }
        let now = self.shared.clock.monotonic();
        let seal_at = *self.seal_at.get_or_insert(now.saturating_add(self.shared.seal_after));
        if now < seal_at {
            return Step::Wait(Some(seal_at));
        }
        // Where there is no room for it yet, it is tried again after as long a wait.
        self.seal_at = None;
        match self.seal() {
            Ok(done) => {
                self.sealed = done;
                Step::Did
            }
            Err(error) => {
                self.shared.fail_io("sealing the last group", error);
                Step::Ended
            }
        }
    }

    /// Writes a seal behind the last group, where there is room for it without waiting; else (`false`) not yet.
    fn seal(&mut self) -> std::io::Result<bool> {
        let size = self.shared.segment_bytes;
        if self.current.as_ref().is_some_and(|(_, used)| (used + PAGE) as u64 > size) {
            let mut state = self.shared.state.lock();
            let Some(next) = state.ready.pop_front() else { return Ok(false) };
            state.live.push_back(next.clone());
            drop(state);
            self.shared.to_preparer.ring();
            self.current = Some((next, PAGE));
        }
        let Some((segment, used)) = &mut self.current else { return Ok(false) };
        let end = *used + PAGE;
        if segment.logical == 0 && self.shared.state.lock().zeroed < end as u64 {
            return Ok(false);
        }
        let position = WalPosition(segment.logical * size + *used as u64);
        let (sequence, previous, previous_crc) = self.last;
        let bytes = &mut self.buffer.as_mut_slice()[..PAGE];
        bytes.fill(0);
        let header = RecordHeader::seal(sequence, position, previous, previous_crc);
        let crc = header.encode(self.shared.stamp, std::iter::empty(), &mut bytes[..RECORD_HEADER]);
        segment.file.write_at(bytes, *used as u64)?;
        self.last = (sequence + 1, position, crc);
        *used = end;
        Ok(true)
    }

    /// The next prepared segment, if there is one; else the writer starves until there is.
    fn next_segment(&self) -> Option<Segment> {
        let mut state = self.shared.state.lock();
        let was_starved = state.writer_starved;
        let next = state.ready.pop_front();
        state.writer_starved = next.is_none();
        state.writer_between = next.is_none();
        if let Some(segment) = &next {
            state.live.push_back(segment.clone());
        }
        drop(state);
        if next.is_some() {
            self.shared.to_preparer.ring();
        }
        if next.is_some() == was_starved {
            self.shared.to_completer.ring();
        }
        next
    }
}
