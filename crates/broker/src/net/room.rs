//! The request memory that one frame holds.
//!
//! While a frame is on its way it is charged for its bytes and for nothing else. While there is plenty they are charged when
//! it begins; all announcements together get no more than half of the memory in this way. When that is taken,
//! announcements count for nothing: a frame is charged in steps that double as its bytes come, so that nobody holds more
//! than twice what was sent, or one read buffer.
//!
//! What a frame can decode to, and the answer to it, is charged when it is whole and its turn has come to be decoded; it
//! gives back what it did not take once it is.
//!
//! Frames that wait for memory hold what they have, and could wait for each other for ever: one of those that take no more
//! than their bytes (Produce), and one of all others, may therefore overdraw the memory at a time and go on to its end. It
//! is always the first of its connection, or it would keep the memory from those whose end it has to wait for itself. For
//! the same reason a request that waits for other clients gives back what it holds before it does, and its turn with it.

use std::sync::Arc;
use std::task::{Context, Poll};

use base::memory::{Budget, Charge};
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::service::{Cost, Later};
use crate::limits::{
    FRAME_CHARGE_STEP_MIN, REQUEST_CHARGE_BYTES_MIN, REQUEST_LET_IN_BYTES_MAX, REQUEST_MEMORY_EXCESS_SHARE,
};

/// The request memory of a broker.
#[derive(Clone, Debug)]
pub(crate) struct RequestMemory(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    budget: Budget,
    /// The turn of frames that wait for memory however small they are: they may wait for the store while they have it.
    overdraft: Arc<Semaphore>,
    /// The turn of all others.
    other_overdraft: Arc<Semaphore>,
}

impl RequestMemory {
    pub(crate) fn new(budget: Budget) -> Self {
        let turn = || Arc::new(Semaphore::new(1));
        Self(Arc::new(Inner { budget, overdraft: turn(), other_overdraft: turn() }))
    }

    /// For a frame of `size` bytes that has begun.
    pub(crate) fn begin(&self, size: usize, cost: Cost) -> Room {
        let least = REQUEST_CHARGE_BYTES_MIN as u64;
        let (frame, total) = ((size as u64).max(least), cost.bytes.max(least));
        let plenty = (self.0.budget.limit() / 2).saturating_sub(self.0.budget.used()).min(frame);
        let charge = if plenty == 0 { None } else { self.0.budget.try_charge(plenty) };
        let charge = charge.unwrap_or_else(|| self.0.budget.force_charge(0));
        Room {
            memory: self.clone(),
            frame,
            total,
            waits: cost.waits,
            is_let_in: !cost.waits && total <= REQUEST_LET_IN_BYTES_MAX,
            granted: charge.bytes(),
            charge,
            overdraft: None,
            memory_comes: None,
            turn_comes: None,
        }
    }
}

/// Where a frame stands on its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// Nothing before it waits for its reply.
    First,
    /// Something does.
    Behind,
}

/// What a frame holds, until its request is answered.
pub(crate) struct Room {
    memory: RequestMemory,
    /// What its bytes take.
    frame: u64,
    /// What it takes in all while it is answered.
    total: u64,
    /// Whether it waits when memory is used up, however small it is.
    waits: bool,
    /// Whether it gets its memory even when that is used up, as the first of its connection.
    is_let_in: bool,
    /// What the frame may have; less than the charge where more came with one read.
    granted: u64,
    charge: Charge,
    overdraft: Option<OwnedSemaphorePermit>,
    memory_comes: Option<Later<Charge>>,
    turn_comes: Option<Later<OwnedSemaphorePermit>>,
}

impl Room {
    /// Bytes of the frame that may be in memory.
    pub(crate) fn granted(&self) -> u64 {
        self.granted
    }

    /// Whether more memory is awaited.
    pub(crate) fn is_waiting(&self) -> bool {
        self.memory_comes.is_some()
    }

    /// Whether nobody else can overdraw the memory because of this frame.
    pub(crate) fn overdraws(&self) -> bool {
        self.overdraft.is_some()
    }

    /// Gets room for more of the frame than the `received` bytes, or for all of it if they are.
    pub(crate) fn poll_receive(&mut self, received: u64, place: Place, cx: &mut Context<'_>) -> Poll<()> {
        // They are there, whether that was foreseen or not.
        if received > self.charge.bytes() {
            self.charge.resize(received);
        }
        if received < self.granted {
            return Poll::Ready(());
        }
        let need = self.frame.min((2 * received).max(FRAME_CHARGE_STEP_MIN));
        if self.is_let_in && place == Place::First {
            // It is small: what comes of it is charged as it comes.
            self.grant(need);
            return Poll::Ready(());
        }
        self.poll_for(need, place, cx)
    }

    /// Gets what the frame takes while it is decoded and answered.
    fn poll_decode(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.is_let_in {
            self.charge.resize(self.charge.bytes().max(self.total));
            self.grant(self.total);
        }
        self.poll_for(self.total, Place::First, cx)
    }

    fn poll_for(&mut self, need: u64, place: Place, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            let missing = need.saturating_sub(self.charge.bytes());
            if need <= self.granted || (self.memory_comes.is_none() && self.charge.try_grow(missing)) {
                self.grant(need);
                return Poll::Ready(());
            }
            if self.overdraft.is_some() {
                self.charge.resize(self.charge.bytes() + missing);
                self.grant(need);
                return Poll::Ready(());
            }
            let budget = &self.memory.0.budget;
            let memory_comes = self.memory_comes.get_or_insert_with(|| {
                let budget = budget.clone();
                Box::pin(async move { budget.charge(missing).await })
            });
            if let Poll::Ready(charge) = memory_comes.as_mut().poll(cx) {
                self.charge.merge(charge);
                self.grant(need);
                return Poll::Ready(());
            }
            if place == Place::Behind {
                return Poll::Pending;
            }
            let overdraft = if self.waits { &self.memory.0.overdraft } else { &self.memory.0.other_overdraft };
            let turn_comes = self.turn_comes.get_or_insert_with(|| {
                let overdraft = overdraft.clone();
                Box::pin(async move {
                    match overdraft.acquire_owned().await {
                        Ok(permit) => permit,
                        // Never closed.
                        Err(_) => std::future::pending().await,
                    }
                })
            });
            match turn_comes.as_mut().poll(cx) {
                Poll::Ready(permit) => self.overdraft = Some(permit),
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    /// It has `bytes`, and waits no more.
    fn grant(&mut self, bytes: u64) {
        self.granted = self.granted.max(bytes);
        (self.memory_comes, self.turn_comes) = (None, None);
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
        if room.overdraft.is_none() {
            return;
        }
        let budget = &room.memory.0.budget;
        // Small ones need no turn in the first place.
        let is_small = !room.waits && bytes <= REQUEST_LET_IN_BYTES_MAX;
        if is_small || budget.used() <= budget.limit() + budget.limit() / REQUEST_MEMORY_EXCESS_SHARE {
            // Nothing much is overdrawn any more, and what it still has to do may take long.
            room.overdraft = None;
        }
    }

    /// The frame is whole and waits for something else before it is decoded: nobody's turn to overdraw waits with it.
    pub(crate) fn pause(&self) {
        self.0.lock().overdraft = None;
    }

    /// The request waits for other clients from here on and holds next to nothing, nor anybody's turn: what they do about
    /// it may need both.
    pub(crate) fn let_go(&self) {
        let mut room = self.0.lock();
        room.charge.resize(REQUEST_CHARGE_BYTES_MIN as u64);
        room.overdraft = None;
    }

    /// Waits for what the request takes while it is decoded and answered. It is whole, and the first of its connection.
    pub(crate) async fn decode(&self) {
        std::future::poll_fn(|cx| self.0.lock().poll_decode(cx)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KIB: u64 = 1024;

    fn begin(memory: &RequestMemory, frame: u64, total: u64, waits: bool) -> Room {
        memory.begin(frame as usize, Cost { bytes: total, waits })
    }

    /// A frame that takes nothing but its bytes, and waits for them.
    fn plain(memory: &RequestMemory, frame: u64) -> Room {
        begin(memory, frame, frame, true)
    }

    fn receive(room: &mut Room, received: u64) -> bool {
        room.poll_receive(received, Place::First, &mut Context::from_waker(std::task::Waker::noop())).is_ready()
    }

    fn decode(room: &mut Room) -> bool {
        room.poll_decode(&mut Context::from_waker(std::task::Waker::noop())).is_ready()
    }

    #[test]
    fn announcements_hold_no_more_than_half_of_the_memory_and_then_twice_what_came() {
        let budget = Budget::new(1024 * KIB);
        let memory = RequestMemory::new(budget.clone());
        let mut rooms: Vec<_> = (0..5).map(|_| plain(&memory, 600 * KIB)).collect();
        assert_eq!(rooms[0].granted(), 512 * KIB, "there was plenty");
        assert_eq!(budget.used(), 512 * KIB, "for the first");
        for room in &mut rooms[1..] {
            assert!(receive(room, 14));
            assert_eq!(room.granted(), FRAME_CHARGE_STEP_MIN);
        }
        assert!(receive(&mut rooms[1], 64 * KIB));
        assert_eq!(rooms[1].granted(), 128 * KIB);
        drop(rooms);
        assert_eq!(budget.used(), 0);
    }

    #[test]
    fn what_a_frame_can_decode_to_is_charged_when_its_turn_has_come() {
        let budget = Budget::new(1024 * KIB);
        let memory = RequestMemory::new(budget.clone());
        for (frame, total) in [(8 * KIB, 250 * KIB), (20 * KIB, 900 * KIB)] {
            let mut room = begin(&memory, frame, total, false);
            assert!(receive(&mut room, 2) && receive(&mut room, frame));
            assert_eq!(budget.used(), frame, "it is whole, and others may be before it");
            assert!(decode(&mut room));
            assert_eq!(budget.used(), total);
        }
        assert_eq!(budget.used(), 0);
    }

    #[test]
    fn silent_announcements_hold_what_came_when_memory_is_scarce() {
        let budget = Budget::new(1024 * KIB);
        let memory = RequestMemory::new(budget.clone());
        let _half = budget.force_charge(512 * KIB);
        let mut silent: Vec<_> = (0..100).map(|_| begin(&memory, 8 * KIB - 1, 256 * KIB, false)).collect();
        for room in &mut silent {
            assert!(receive(room, 2));
        }
        assert_eq!(budget.used(), 512 * KIB + 100 * 2);
    }

    #[test]
    fn frames_that_wait_for_each_other_go_on_one_by_one() {
        let budget = Budget::new(256 * KIB);
        let memory = RequestMemory::new(budget.clone());
        let held = budget.force_charge(200 * KIB);
        let (mut a, mut b) = (plain(&memory, 200 * KIB), plain(&memory, 200 * KIB));
        assert!(receive(&mut a, 16 * KIB) && !a.overdraws());
        assert!(receive(&mut b, 16 * KIB) && b.overdraws(), "the first that does not fit");
        assert!(!receive(&mut a, 64 * KIB) && a.is_waiting());
        assert!(receive(&mut b, 200 * KIB) && decode(&mut b), "it goes on to its end");
        drop(b);
        assert!(receive(&mut a, 200 * KIB) && decode(&mut a), "the next one has its turn");
        drop((a, held));
        assert_eq!(budget.used(), 0);
    }

    #[test]
    fn only_the_first_of_a_connection_overdraws() {
        let memory = RequestMemory::new(Budget::new(64 * KIB));
        let _full = memory.0.budget.force_charge(64 * KIB);
        let mut room = plain(&memory, 64 * KIB);
        let cx = &mut Context::from_waker(std::task::Waker::noop());
        assert!(room.poll_receive(KIB, Place::Behind, cx).is_pending());
        assert!(memory.0.overdraft.available_permits() == 1, "what it waits for may need it");
        assert!(room.poll_receive(KIB, Place::First, cx).is_ready() && room.overdraws());
    }

    #[test]
    fn who_does_not_wait_is_let_in_when_memory_is_used_up() {
        let budget = Budget::new(64 * KIB);
        let memory = RequestMemory::new(budget.clone());
        let _full = budget.force_charge(100 * KIB);
        let _overdrawn =
            [&memory.0.overdraft, &memory.0.other_overdraft].map(|turn| turn.clone().try_acquire_owned().unwrap());
        let mut let_in = begin(&memory, KIB, 50 * KIB, false);
        assert!(receive(&mut let_in, KIB) && decode(&mut let_in));
        assert!(!receive(&mut begin(&memory, KIB, KIB, true), KIB));
    }

    #[test]
    fn what_a_request_did_not_take_is_given_back_when_it_is_decoded() {
        let budget = Budget::new(1024 * KIB);
        let memory = RequestMemory::new(budget.clone());
        let mut room = begin(&memory, 10 * KIB, 100 * KIB, false);
        assert!(receive(&mut room, 10 * KIB) && decode(&mut room));
        let held = Held::new(room);
        assert_eq!(budget.used(), 100 * KIB);
        held.settle(12 * KIB);
        assert_eq!(budget.used(), 12 * KIB);
        held.settle(1);
        assert_eq!(budget.used(), REQUEST_CHARGE_BYTES_MIN as u64);
        drop(held);
        assert_eq!(budget.used(), 0);
    }

    #[test]
    fn who_overdrew_lets_the_next_one_do_so_when_there_is_room_again() {
        let memory = RequestMemory::new(Budget::new(64 * KIB));
        let mut room = begin(&memory, 32 * KIB, 900 * KIB, false);
        assert!(receive(&mut room, 32 * KIB) && decode(&mut room) && room.overdraws());
        let held = Held::new(room);
        held.settle(33 * KIB);
        assert_eq!(memory.0.other_overdraft.available_permits(), 1);
    }

    #[test]
    fn who_waits_for_others_keeps_neither_memory_nor_the_turn_to_overdraw() {
        let budget = Budget::new(64 * KIB);
        let memory = RequestMemory::new(budget.clone());
        let _full = budget.force_charge(100 * KIB);
        let mut room = begin(&memory, 32 * KIB, 900 * KIB, false);
        assert!(receive(&mut room, 32 * KIB) && decode(&mut room) && room.overdraws());
        let held = Held::new(room);
        held.settle(600 * KIB);
        assert_eq!(memory.0.other_overdraft.available_permits(), 0, "memory is overdrawn still");
        held.let_go();
        assert_eq!(memory.0.other_overdraft.available_permits(), 1);
        assert_eq!(budget.used(), 100 * KIB + REQUEST_CHARGE_BYTES_MIN as u64);
    }

    #[test]
    fn neither_a_small_request_nor_one_that_is_not_decoded_yet_keeps_the_turn_to_overdraw() {
        let memory = RequestMemory::new(Budget::new(64 * KIB));
        let _full = memory.0.budget.force_charge(100 * KIB);
        let turns = || memory.0.other_overdraft.available_permits();
        let mut room = begin(&memory, 32 * KIB, 900 * KIB, false);
        assert!(receive(&mut room, 32 * KIB) && room.overdraws());
        let held = Held::new(room);
        held.pause();
        assert_eq!(turns(), 1);
        assert!(decode(&mut held.0.lock()) && turns() == 0, "it gets the turn anew");
        held.settle(33 * KIB);
        assert_eq!(turns(), 1, "what it does now may take long");
    }

    #[test]
    fn a_produce_that_overdraws_keeps_no_other_request_from_its_turn() {
        let memory = RequestMemory::new(Budget::new(64 * KIB));
        let _full = memory.0.budget.force_charge(100 * KIB);
        let mut produce = plain(&memory, 64 * KIB);
        assert!(receive(&mut produce, 64 * KIB) && produce.overdraws());
        let mut join = begin(&memory, 32 * KIB, 900 * KIB, false);
        assert!(receive(&mut join, 32 * KIB) && decode(&mut join) && join.overdraws());
    }
}
