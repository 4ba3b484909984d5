//! The completer: nothing is acknowledged before a read of the fence page that began after it was durable.

use base::aligned::AlignedBuffer;

use super::Shared;
use crate::wal::block::layout::{FENCE_OFFSET, PAGE, RECORD_HEADER, fence_state};
use crate::wal::{DurableSink, FenceState, WalFailure};

impl<T> Shared<T> {
    /// The completer's thread.
    pub(super) fn complete_groups(&self, mut sink: impl DurableSink<T>) {
        let mut page = AlignedBuffer::zeroed(PAGE);
        let mut told = None;
        loop {
            let mut state = self.state.lock();
            let waiting = loop {
                let waiting = state.waiting();
                let finished = state.writer_done && state.completed.is_empty();
                let asked = !state.completed.is_empty() || !state.checks.is_empty();
                if state.over() || finished || waiting != told || asked {
                    break waiting;
                }
                self.to_completer.wait(&mut state);
            };
            if state.over() || state.writer_done && state.completed.is_empty() {
                let failure = state.failure.clone();
                drop(state);
                if let Some(failure) = failure {
                    sink.failed(failure);
                }
                return;
            }
            // Everything durable by now, and only that, is covered by a read that begins after this.
            let groups = std::mem::take(&mut state.completed);
            let checks = std::mem::take(&mut state.checks);
            drop(state);
            if waiting != told {
                told = waiting;
                sink.waiting(waiting);
            }
            if groups.is_empty() && checks.is_empty() {
                continue;
            }
            let incarnation = self.stamp.incarnation;
            match self.header.read_at(page.as_mut_slice(), FENCE_OFFSET) {
                Err(error) => self.fail(WalFailure::FenceUnreadable { incarnation, reason: error.to_string() }),
                Ok(()) => match fence_state(page.as_slice(), self.stamp) {
                    FenceState::Open => checks.into_iter().for_each(|check| {
                        // Who has gone does not matter.
                        let _ = check.send(());
                    }),
                    FenceState::Fenced => self.fail(WalFailure::Fenced(incarnation)),
                    FenceState::Unreadable => {
                        let reason = "its bytes are not the page that was written".to_owned();
                        self.fail(WalFailure::FenceUnreadable { incarnation, reason });
                    }
                },
            }
            for group in groups {
                let bytes: usize = group.tokens.iter().map(|(a, _)| RECORD_HEADER + a.payload_bytes()).sum();
                let mut state = self.state.lock();
                if state.over() {
                    drop(state);
                    drop(group);
                    continue;
                }
                state.queued_bytes = state.queued_bytes.saturating_sub(bytes as u64);
                state.acknowledged = group.end;
                drop(state);
                sink.durable(group);
            }
        }
    }
}
