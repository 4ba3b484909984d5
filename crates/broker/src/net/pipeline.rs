//! The requests of one connection, in the order they came.
//!
//! ```text
//!  front                                                       back
//!  [Running] [Running] [Appending] [Waiting] [Waiting] …
//!      │          │          │         └ begins when nothing before it stands in its way
//!      │          │          └ an append that has no place in the log yet: later appends wait
//!      └──────────┴ replies pending; the first one's is awaited, the others' follow in order
//! ```
//!
//! Invariants: replies leave in request order; appends are enqueued in request order; a request that is neither append
//! nor poll begins after every earlier reply and before every later request, exactly as on a broker that takes one
//! request at a time.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;

use super::peer::Peer;
use super::room::{Held, Room};
use super::service::{Later, Order, Reply, Service};
use crate::limits::{PIPELINE_BYTES_MAX, REQUEST_CHARGE_BYTES_MIN};

enum Stage {
    Waiting(Bytes),
    Appending(Later<Later<Reply>>),
    Running(Later<Reply>),
}

struct Entry {
    order: Order,
    stage: Stage,
    bytes: usize,
    /// Accounts for the request until its reply is made.
    held: Held,
}

/// The queue.
pub(crate) struct Pipeline<S> {
    service: Arc<S>,
    peer: Arc<Peer>,
    queue: VecDeque<Entry>,
    /// Entries at the front that need no look when deciding what may begin.
    settled: usize,
    bytes: usize,
}

impl<S: Service> Pipeline<S> {
    pub(crate) fn new(service: Arc<S>, peer: Arc<Peer>) -> Self {
        Self { service, peer, queue: VecDeque::new(), settled: 0, bytes: 0 }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Whether no further request should be read for now.
    pub(crate) fn is_full(&self) -> bool {
        self.bytes >= PIPELINE_BYTES_MAX
    }

    pub(crate) fn push(&mut self, frame: Bytes, room: Room) {
        let bytes = frame.len().max(REQUEST_CHARGE_BYTES_MIN);
        self.bytes += bytes;
        let order = self.service.order(&frame);
        self.queue.push_back(Entry { order, stage: Stage::Waiting(frame), bytes, held: Held::new(room) });
    }

    /// Lets go of all requests, whatever has become of them.
    pub(crate) fn clear(&mut self) {
        self.queue.clear();
        (self.settled, self.bytes) = (0, 0);
    }

    /// Begins what may begin, then yields the next reply in order if it is there.
    pub(crate) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Reply> {
        self.begin(cx);
        let Some(head) = self.queue.front_mut() else {
            return Poll::Pending;
        };
        let Stage::Running(reply) = &mut head.stage else {
            return Poll::Pending;
        };
        let Poll::Ready(reply) = reply.as_mut().poll(cx) else {
            return Poll::Pending;
        };
        if let Some(done) = self.queue.pop_front() {
            self.bytes -= done.bytes;
        }
        self.settled = self.settled.saturating_sub(1);
        Poll::Ready(reply)
    }

    fn begin(&mut self, cx: &mut Context<'_>) {
        // A settled poll that has come to the front may begin.
        if let Some(head) = self.queue.front_mut()
            && head.order != Order::Append
            && let Stage::Waiting(frame) = &mut head.stage
        {
            head.stage = Stage::Running(self.service.answer(&self.peer, std::mem::take(frame), &head.held));
        }
        while let Some(entry) = self.queue.get_mut(self.settled) {
            match (&mut entry.stage, entry.order) {
                (Stage::Running(_), Order::Append) | (_, Order::Poll) => self.settled += 1,
                (Stage::Waiting(frame), Order::Append) => {
                    entry.stage = Stage::Appending(self.service.append(&self.peer, std::mem::take(frame), &entry.held));
                }
                (Stage::Appending(appended), _) => match appended.as_mut().poll(cx) {
                    Poll::Ready(reply) => entry.stage = Stage::Running(reply),
                    Poll::Pending => return,
                },
                (_, Order::Alone) => return,
            }
        }
    }
}
