//! The preparer: trim pages, recycling, and the segments that the writer will need next.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use super::machine::Step;
use super::part::Work;
use super::{Segment, Shared, State};
use crate::wal::WriterWait;
use crate::wal::block::SPACE_RETRY_INTERVAL;
use crate::wal::block::layout::{SegmentPage, TrimPage};
use crate::wal::block::log::write_page;
use crate::wal::block::volume::{NewSegment, is_full};

/// Bytes of one write of zeros.
const ZERO_PIECE: u64 = 1 << 20;

/// Keeps segments ready ahead of the writer.
pub(super) struct Preparer<T> {
    shared: Arc<Shared<T>>,
    /// The trim page that was written last.
    trim: TrimPage,
    zeroing: Option<Zeroing>,
    /// There was no room when a segment was last to be made.
    is_full: bool,
}

/// What is left of the first segment to be zeroed, ahead of the writer.
struct Zeroing {
    first: Segment,
    at: u64,
}

impl<T> Preparer<T> {
    /// The first segment is zeroed up to `zeroed`.
    pub(super) fn new(shared: Arc<Shared<T>>, trim: TrimPage, first: Segment, zeroed: u64) -> Self {
        let zeroing = (zeroed < shared.segment_bytes).then_some(Zeroing { first, at: zeroed });
        Self { shared, trim, zeroing, is_full: false }
    }
}

impl<T: Send> Work for Preparer<T> {
    fn step(&mut self) -> Step {
        let shared = self.shared.clone();
        let mut state = shared.state.lock();
        if state.over() || state.writer_done {
            return Step::Ended;
        }
        if let Some(zeroing) = &mut self.zeroing {
            drop(state);
            let step = zeroing.step(&shared);
            if zeroing.at >= shared.segment_bytes {
                self.zeroing = None;
            }
            return step;
        }
        if state.trim_to > self.trim.trimmed {
            let to = state.trim_to;
            drop(state);
            self.trim.trimmed = to;
            if let Err(error) = shared.write_trim(&mut self.trim) {
                shared.fail_io("writing a trim page", error);
                return Step::Ended;
            }
            return Step::Did;
        }
        // There is no room for another segment, and nothing of the last one is needed any more: it is the next.
        if self.is_full
            && state.writer_between
            && self.trim.trimmed >= state.durable
            && let Some(last) = state.live.back().filter(|last| last.logical >= self.trim.left)
        {
            self.trim.left = last.logical + 1;
            drop(state);
            if let Err(error) = shared.write_trim(&mut self.trim) {
                shared.fail_io("writing a trim page", error);
                return Step::Ended;
            }
            return Step::Did;
        }
        // The trim page is durable, so a reader knows that what goes now is not missing. The writer's own segment stays
        // until it has moved on.
        while let Some(first) = state.live.front() {
            let is_trimmed = (first.logical + 1) * shared.segment_bytes <= self.trim.trimmed.0;
            if !(is_trimmed && state.live.len() > 1 || first.logical < self.trim.left) {
                break;
            }
            if let Some(segment) = state.live.pop_front() {
                shared.pool.free.lock().push((segment.id, segment.file));
            }
        }
        if state.ready.len() >= shared.segments_ahead {
            return Step::Wait(None);
        }
        if state.live.len() + state.ready.len() >= shared.segments_max {
            if state.ready.is_empty() {
                shared.starve(&mut state, WriterWait::Trim);
            }
            return Step::Wait(None);
        }
        if state.starved_by == WriterWait::Trim {
            shared.starve(&mut state, WriterWait::Segment);
        }
        drop(state);
        match shared.prepare(&mut self.trim, shared.segment_bytes) {
            Ok((segment, _)) => {
                self.is_full = false;
                let mut state = shared.state.lock();
                state.starved_by = WriterWait::Segment;
                state.ready.push_back(segment);
                drop(state);
                shared.to_writer.ring();
                Step::Did
            }
            Err(error) if is_full(&error) => {
                tracing::warn!(wal = %shared.volume.path(), %error, "no room for the next WAL segment; trying again");
                self.is_full = true;
                Step::Wait(Some(shared.wait_for_space()))
            }
            Err(error) => {
                shared.fail_io("preparing a segment", error);
                Step::Ended
            }
        }
    }
}

impl Zeroing {
    /// Zeroes one more piece. The preparer writes zeros only at or above `zeroed`, the writer records only below it.
    fn step<T>(&mut self, shared: &Shared<T>) -> Step {
        let piece = ZERO_PIECE.min(shared.segment_bytes - self.at);
        match self.first.file.write_zeros(piece, self.at) {
            Ok(()) => {
                self.at += piece;
                let mut state = shared.state.lock();
                state.zeroed = self.at;
                state.starved_by = WriterWait::Segment;
                drop(state);
                shared.to_writer.ring();
                Step::Did
            }
            // Not every file system keeps the room that it promised. No record stands here yet: zeros may be repeated.
            Err(error) if is_full(&error) => {
                tracing::warn!(wal = %shared.volume.path(), %error, "no room for a WAL segment; trying again");
                Step::Wait(Some(shared.wait_for_space()))
            }
            Err(error) => {
                shared.fail_io("zeroing the first segment", error);
                Step::Ended
            }
        }
    }
}

impl<T> Shared<T> {
    fn starve(&self, state: &mut State<T>, by: WriterWait) {
        state.starved_by = by;
        if state.writer_starved {
            self.to_completer.ring();
        }
    }

    /// The writer waits for space; answers when it is tried for again.
    fn wait_for_space(&self) -> Duration {
        self.starve(&mut self.state.lock(), WriterWait::Space);
        self.clock.monotonic().saturating_add(SPACE_RETRY_INTERVAL)
    }

    /// Gives the incarnation one more segment: recycled or new, its page durable, and named by the trim page, so that its
    /// absence would be noticed. Of a new one at least `zeroed` bytes are zeroed; how many are is returned.
    pub(super) fn prepare(&self, trim: &mut TrimPage, zeroed: u64) -> io::Result<(Segment, u64)> {
        let recycled = self.pool.free.lock().pop();
        let (id, file, zeroed) = match recycled {
            Some((id, file)) => (id, file, self.segment_bytes),
            None => {
                let NewSegment { id, file, zeroed } = self.volume.create_segment(zeroed)?;
                (id, file, zeroed)
            }
        };
        let logical = trim.assigned;
        // Only a new segment may find no room. A page that cannot be written over is a failed write, after which nobody
        // knows what stands there.
        write_page(&*file, &SegmentPage::InUse { stamp: self.stamp, logical }.encode(), 0).map_err(broken)?;
        trim.assigned += 1;
        self.write_trim(trim).map_err(broken)?;
        Ok((Segment { logical, id, file }, zeroed))
    }

    fn write_trim(&self, trim: &mut TrimPage) -> io::Result<()> {
        trim.sequence += 1;
        write_page(&*self.header, &trim.encode(), TrimPage::offset(trim.sequence))
    }
}

/// An error that waiting does not mend, whatever it says.
fn broken(error: io::Error) -> io::Error {
    if is_full(&error) { io::Error::other(error) } else { error }
}
