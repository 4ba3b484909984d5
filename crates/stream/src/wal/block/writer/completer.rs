//! The completer: nothing is acknowledged before a read of the fence page that began after it was durable.

use std::sync::Arc;

use base::aligned::AlignedBuffer;

use super::Shared;
use super::machine::Step;
use super::part::Work;
use crate::wal::block::layout::{FENCE_OFFSET, PAGE, RECORD_HEADER, fence_state};
use crate::wal::{DurableSink, FenceState, WalFailure, WriterWait};

/// Reads the fence page for what is durable, and hands it to the sink.
pub(super) struct Completer<T, S> {
    shared: Arc<Shared<T>>,
    sink: S,
    page: AlignedBuffer,
    /// What the sink was told that the writer waits for.
    told: Option<WriterWait>,
}

impl<T, S: DurableSink<T>> Completer<T, S> {
    pub(super) fn new(shared: Arc<Shared<T>>, sink: S) -> Self {
        Self { shared, sink, page: AlignedBuffer::zeroed(PAGE), told: None }
    }
}

impl<T: Send, S: DurableSink<T>> Work for Completer<T, S> {
    fn step(&mut self) -> Step {
        let shared = self.shared.clone();
        let mut state = shared.state.lock();
        let waiting = state.waiting();
        if state.over() || state.writer_done && state.completed.is_empty() {
            let failure = state.failure.clone();
            drop(state);
            if let Some(failure) = failure {
                self.sink.failed(failure);
            }
            return Step::Ended;
        }
        // A cut that a waiting writer asks for must cover what is durable by then.
        if waiting != self.told && (waiting.is_none() || state.completed.is_empty()) {
            drop(state);
            self.told = waiting;
            self.sink.waiting(waiting);
            return Step::Did;
        }
        if state.completed.is_empty() && state.checks.is_empty() {
            return Step::Wait(None);
        }
        // Everything durable by now, and only that, is covered by a read that begins after this.
        let groups = std::mem::take(&mut state.completed);
        let checks = std::mem::take(&mut state.checks);
        drop(state);
        let incarnation = shared.stamp.incarnation;
        let fence = if checks.is_empty() && base::plant::bug("ack-before-fence-read") {
            // Planted: nobody looks whether another has taken this one's place.
            Ok(FenceState::Open)
        } else {
            match shared.header.read_at(self.page.as_mut_slice(), FENCE_OFFSET) {
                // Planted: what cannot be read says nothing, and the log goes on.
                Err(_) if base::plant::bug("fence-read-error-is-open") => Ok(FenceState::Open),
                read => read.map(|()| fence_state(self.page.as_slice(), shared.stamp)),
            }
        };
        match fence {
            Err(error) => shared.fail(WalFailure::FenceUnreadable { incarnation, reason: error.to_string() }),
            Ok(FenceState::Open) => checks.into_iter().for_each(|check| {
                // Who has gone does not matter.
                let _ = check.send(());
            }),
            Ok(FenceState::Fenced) => shared.fail(WalFailure::Fenced(incarnation)),
            Ok(FenceState::Unreadable) => {
                let reason = "its bytes are not the page that was written".to_owned();
                shared.fail(WalFailure::FenceUnreadable { incarnation, reason });
            }
        }
        for group in groups {
            let bytes: usize = group.tokens.iter().map(|(a, _)| RECORD_HEADER + a.payload_bytes()).sum();
            let mut state = shared.state.lock();
            if state.over() {
                drop(state);
                drop(group);
                continue;
            }
            state.queued_bytes = state.queued_bytes.saturating_sub(bytes as u64);
            state.acknowledged = group.end;
            drop(state);
            self.sink.durable(group);
        }
        Step::Did
    }
}
