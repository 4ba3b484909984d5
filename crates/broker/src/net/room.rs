//! The request memory that one frame holds.
//!
//! While there is plenty, a frame is charged whole when it begins. When more than half is taken, announcements count for
//! nothing: a frame is charged in steps that double as its bytes come, so that nobody holds more than twice what was
//! sent. Frames that wait for a step hold what they have, and could wait for each other for ever: one at a time may
//! therefore overdraw the memory and go on to its end.
//!
//! A frame is charged for the most that it can decode to, and gives back what it did not take once it is decoded.

use std::sync::Arc;
use std::task::{Context, Poll, ready};

use base::memory::{Budget, Charge};
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::service::Later;
use crate::limits::{FRAME_CHARGE_STEP_MIN, REQUEST_CHARGE_BYTES_MIN, REQUEST_LET_IN_BYTES_MAX};

/// The request memory of a broker.
#[derive(Clone, Debug)]
pub(crate) struct RequestMemory {
    budget: Budget,
    overdraft: Arc<Semaphore>,
}

impl RequestMemory {
    pub(crate) fn new(budget: Budget) -> Self {
        Self { budget, overdraft: Arc::new(Semaphore::new(1)) }
    }

    /// For a frame that has begun and costs `total` bytes in the end. One that `waits` not is let in at first even when
    /// memory is used up.
    pub(crate) fn begin(&self, total: u64, waits: bool) -> Room {
        let plenty = self.budget.used() < self.budget.limit() / 2;
        let charge = plenty.then(|| self.budget.try_charge(total)).flatten();
        let at_first = if waits { 0 } else { total.min(REQUEST_LET_IN_BYTES_MAX) };
        let charge = charge.unwrap_or_else(|| self.budget.force_charge(at_first));
        Room { total, granted: charge.bytes(), charge, overdraft: None, waiting: None }
    }
}

enum Granted {
    Bytes(Charge),
    Overdraft(OwnedSemaphorePermit),
}

/// What a frame holds, until its request is answered.
pub(crate) struct Room {
    total: u64,
    /// What the frame may have; less than the charge where more came with one read.
    granted: u64,
    charge: Charge,
    overdraft: Option<OwnedSemaphorePermit>,
    waiting: Option<Later<Granted>>,
}

impl Room {
    /// Bytes that the frame may have in memory.
    pub(crate) fn granted(&self) -> u64 {
        self.granted
    }

    /// Whether more memory is awaited.
    pub(crate) fn is_waiting(&self) -> bool {
        self.waiting.is_some()
    }

    /// Whether nobody else can overdraw the memory because of this frame.
    pub(crate) fn overdraws(&self) -> bool {
        self.overdraft.is_some()
    }

    /// Gets what the frame needs next: all of its cost when it is complete, else room for more than the `received`
    /// bytes.
    pub(crate) fn poll(
        &mut self,
        memory: &RequestMemory,
        received: u64,
        complete: bool,
        cx: &mut Context<'_>,
    ) -> Poll<()> {
        // They are there, whether that was foreseen or not.
        if received > self.charge.bytes() {
            self.charge.resize(received);
        }
        let need = if complete {
            self.total
        } else if received < self.granted {
            self.granted
        } else {
            self.total.min((2 * received).max(FRAME_CHARGE_STEP_MIN))
        };
        loop {
            if let Some(waiting) = &mut self.waiting {
                match ready!(waiting.as_mut().poll(cx)) {
                    Granted::Bytes(charge) => {
                        self.charge.merge(charge);
                        self.granted = need;
                    }
                    Granted::Overdraft(permit) => self.overdraft = Some(permit),
                }
                self.waiting = None;
            }
            let missing = need.saturating_sub(self.charge.bytes());
            if need <= self.granted || self.charge.try_grow(missing) {
                self.granted = self.granted.max(need);
                return Poll::Ready(());
            }
            if self.overdraft.is_some() {
                self.charge.resize(self.charge.bytes() + missing);
                self.granted = need;
                return Poll::Ready(());
            }
            let RequestMemory { budget, overdraft } = memory.clone();
            self.waiting = Some(Box::pin(async move {
                let permit = async {
                    match overdraft.acquire_owned().await {
                        Ok(permit) => permit,
                        // Never closed.
                        Err(_) => std::future::pending().await,
                    }
                };
                base::select! {
                    biased;
                    charge = budget.charge(missing) => Granted::Bytes(charge),
                    permit = permit => Granted::Overdraft(permit),
                }
            }));
        }
    }
}

/// The request memory of a whole frame, until its request is answered.
#[derive(Clone)]
pub(crate) struct Held(Arc<Mutex<Room>>);

impl Held {
    pub(crate) fn new(room: Room) -> Self {
        Self(Arc::new(Mutex::new(room)))
    }

    /// The request is decoded and takes so many bytes, its frame included: no more than it was charged for, unless that
    /// was not known before.
    pub(crate) fn settle(&self, bytes: u64) {
        let bytes = bytes.max(REQUEST_CHARGE_BYTES_MIN as u64);
        let mut room = self.0.lock();
        if room.charge.bytes() != bytes {
            room.charge.resize(bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KIB: u64 = 1024;

    fn poll(room: &mut Room, memory: &RequestMemory, received: u64, complete: bool) -> bool {
        room.poll(memory, received, complete, &mut Context::from_waker(std::task::Waker::noop())).is_ready()
    }

    #[test]
    fn announcements_hold_no_more_than_half_of_the_memory_and_then_twice_what_came() {
        let budget = Budget::new(1024 * KIB);
        let memory = RequestMemory::new(budget.clone());
        let mut rooms: Vec<_> = (0..5).map(|_| memory.begin(600 * KIB, true)).collect();
        assert_eq!(rooms[0].granted(), 600 * KIB, "there was plenty");
        for room in &mut rooms[1..] {
            assert!(poll(room, &memory, 14, false));
            assert_eq!(room.granted(), 64 * KIB);
        }
        assert!(poll(&mut rooms[1], &memory, 64 * KIB, false));
        assert_eq!(rooms[1].granted(), 128 * KIB);
        drop(rooms);
        assert_eq!(budget.used(), 0);
    }

    #[test]
    fn frames_that_wait_for_each_other_go_on_one_by_one() {
        let budget = Budget::new(256 * KIB);
        let memory = RequestMemory::new(budget.clone());
        let _held = budget.force_charge(130 * KIB);
        let (mut a, mut b) = (memory.begin(200 * KIB, true), memory.begin(200 * KIB, true));
        assert!(poll(&mut a, &memory, 14, false) && !a.overdraws());
        assert!(poll(&mut b, &memory, 14, false) && b.overdraws(), "the first that does not fit");
        assert!(!poll(&mut a, &memory, 64 * KIB, false) && a.is_waiting());
        assert!(poll(&mut b, &memory, 200 * KIB, true), "it goes on to its end");
        drop(b);
        assert!(poll(&mut a, &memory, 200 * KIB, true), "the next one has its turn");
        drop(a);
        assert_eq!(budget.used(), 130 * KIB);
    }

    #[test]
    fn who_does_not_wait_is_let_in_when_memory_is_used_up() {
        let budget = Budget::new(64 * KIB);
        let memory = RequestMemory::new(budget.clone());
        let _full = budget.force_charge(100 * KIB);
        let _overdrawn = memory.overdraft.clone().try_acquire_owned().unwrap();
        assert!(poll(&mut memory.begin(KIB, false), &memory, KIB, true));
        assert!(!poll(&mut memory.begin(KIB, true), &memory, KIB, true));
    }

    #[test]
    fn what_a_request_did_not_take_is_given_back_when_it_is_decoded() {
        let budget = Budget::new(1024 * KIB);
        let memory = RequestMemory::new(budget.clone());
        let mut room = memory.begin(100 * KIB, false);
        assert!(poll(&mut room, &memory, 10 * KIB, true));
        let held = Held::new(room);
        assert_eq!(budget.used(), 100 * KIB);
        held.settle(12 * KIB);
        assert_eq!(budget.used(), 12 * KIB);
        held.settle(1);
        assert_eq!(budget.used(), REQUEST_CHARGE_BYTES_MIN as u64);
        drop(held);
        assert_eq!(budget.used(), 0);
    }
}
