//! The engine's end of the WAL: runs on the WAL's completion thread.

use std::sync::Arc;

use base::{Offset, OffsetRange, StreamId};
use thiserror::Error;

use super::Inner;
use super::cut::Active;
use super::room::{Room, weight};
use super::stream::{Done, Fenced, Shared};
use super::tail::Entry;
use crate::wal::{Append, DurableSink, Group, WalFailure, WriterWait};

/// What the engine keeps beside an append in the WAL's queue. Dropped without being completed, it tells the appender
/// that no acknowledgement will follow.
pub struct Pending {
    pub(super) stream: Arc<Shared>,
    pub(super) bytes: usize,
    pub(super) room: Option<Room>,
    pub(super) done: Option<Done>,
}

impl Drop for Pending {
    fn drop(&mut self) {
        if let Some(done) = self.done.take() {
            done(Err(Fenced));
        }
    }
}

/// Receives durable groups.
pub struct EngineSink {
    engine: Arc<Inner>,
}

impl EngineSink {
    pub(super) fn new(engine: Arc<Inner>) -> Self {
        Self { engine }
    }
}

impl DurableSink<Pending> for EngineSink {
    fn durable(&mut self, group: Group<Pending>) {
        let engine = &self.engine;
        if engine.has_failed() {
            return;
        }
        let mut done = Vec::with_capacity(group.tokens.len());
        let mut active = engine.log.active();
        let completed = complete(&mut active, group.tokens, &mut done);
        if completed.is_ok() {
            active.group_ended(group.end);
        }
        let is_due = active.is_due(engine.cache.is_wanted());
        drop(active);
        if is_due {
            engine.ring();
        }
        base::plant::place("before-acknowledgement");
        // Whoever is told may do some work; no cut need wait for it.
        for done in done {
            done(Ok(()));
        }
        if let Err(gap) = completed {
            engine.fail(gap.to_string());
        }
    }

    fn failed(&mut self, error: WalFailure) {
        self.engine.fail(error.to_string());
    }

    fn waiting(&mut self, wait: Option<WriterWait>) {
        match wait {
            Some(WriterWait::Trim) => self.engine.request_cut(None),
            Some(WriterWait::Space) => {
                tracing::warn!("the disk of the write-ahead log is full; producers wait until there is room");
                // What is uploaded gives its segments back.
                self.engine.request_cut(None);
            }
            Some(WriterWait::Segment) | None => {}
        }
    }
}

/// Moves a group into its streams' tails; `done` is whom to tell. After a gap nothing more is acknowledged or cut: what is
/// durable waits for recovery, which looks at it again.
fn complete(active: &mut Active, group: Vec<(Append, Pending)>, done: &mut Vec<Done>) -> Result<(), Gap> {
    for (append, mut pending) in group {
        let Some(room) = pending.room.take() else { continue };
        let entry = Entry {
            range: OffsetRange::new(append.base, append.end),
            max_timestamp: append.max_timestamp,
            payload: append.payload,
            bytes: pending.bytes,
            _room: room,
        };
        let is_new = if base::plant::bug("watermark-before-durable") {
            // Planted: it was shown when it was appended.
            pending.stream.mark_dirty()
        } else {
            pending.stream.complete(entry)?
        };
        if is_new {
            active.push(pending.stream.clone());
        }
        active.gather(weight(pending.bytes));
        done.extend(pending.done.take());
    }
    Ok(())
}

/// An append that is durable and does not go on its stream: a bug of whoever ordered it, and no state to serve from.
#[derive(Debug, PartialEq, Eq, Error)]
#[error("an append of offsets {range} became durable in stream {stream}, which ends at {end}; this is a bug")]
pub(crate) struct Gap {
    stream: StreamId,
    end: Offset,
    range: OffsetRange,
}

/// Durable ends move by whole entries, each of at least one offset.
pub(super) fn check_next(stream: StreamId, end: Offset, range: OffsetRange) -> Result<(), Gap> {
    if range.start == end && !range.is_empty() { Ok(()) } else { Err(Gap { stream, end, range }) }
}
