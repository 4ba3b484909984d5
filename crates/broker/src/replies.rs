//! The memory of replies that are no Fetch's, from before they are made until clients have taken them (I-10).
//!
//! How large a reply becomes is known only when it is there: a small Metadata request may list a million partitions. So a
//! request waits *before* it is looked at, until there is room for a reply as large as the largest that was made to its kind
//! lately, and its client with it: the largest counts for half as much each [`REPLY_EXPECTED_HALF_LIFE`], so that one that
//! was once very large does not make all that follow wait for as much. It waits for an [`EXPECTED_SHARE`]th of the memory
//! at most, or it would have to wait until hardly anybody has a reply, and those behind it too. A reply that is larger takes
//! more than there was room for, and nobody is let in until it is gone. Where a small request can have a very large
//! reply and it is known beforehand about how large (DescribeConfigs), it waits for that, within the same share; those
//! foreseen to take more than the share are made one at a time, since each overdraws when it is there. Clients
//! that do not take their replies are cut off when others wait for that (see `net::connection`), so that silent ones slow
//! down the rest for some [`REPLY_STALL_MAX`] and not for ever.
//!
//! A request that waits for the store while it is answered, or for metadata to change, waits for a little only: it would keep
//! the rest from others for as long. OffsetFetch has memory of its own, since the heartbeats of a member wait behind it.
//!
//! What keeps groups and producers alive never waits: those replies are no larger than their requests, or than the group
//! that they tell of, which both have bounds of their own. They are charged all the same.
//!
//! [`EXPECTED_SHARE`]: crate::limits::REPLY_EXPECTED_SHARE
//! [`REPLY_STALL_MAX`]: crate::limits::REPLY_STALL_MAX

use std::sync::Arc;
use std::time::Duration;

use base::Clock;
use base::memory::{Budget, Charge};
use bytes::Buf;
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use wire::ApiKey;

use crate::api::{self, ReplyCost, SERVED};
use crate::limits::{REPLY_CHARGE_BYTES_MIN, REPLY_EXPECTED_HALF_LIFE, REPLY_EXPECTED_SHARE, REPLY_RESERVED_BYTES_MIN};
use crate::net::service::Reply;

/// The memory of a broker's replies.
#[derive(Debug)]
pub(crate) struct ReplyMemory {
    budget: Budget,
    /// The turn of replies that are foreseen to take more than they may wait for.
    large: Arc<Semaphore>,
    /// For the offsets of groups.
    offsets: Budget,
    clock: Clock,
    /// In the order of [`SERVED`].
    largest: Vec<Mutex<Largest>>,
}

/// The largest reply of a kind, and when it was made.
#[derive(Clone, Copy, Debug, Default)]
struct Largest {
    bytes: u64,
    at: Duration,
}

impl Largest {
    /// What it counts for by this minute.
    fn counts(&self, now: Duration) -> u64 {
        let halves = now.saturating_sub(self.at).as_secs() / REPLY_EXPECTED_HALF_LIFE.as_secs();
        u32::try_from(halves).ok().and_then(|halves| self.bytes.checked_shr(halves)).unwrap_or(0)
    }
}

/// What a request may take for its reply.
#[derive(Debug)]
pub(crate) struct Reserved {
    api: Option<ApiKey>,
    /// None of what never waits: it has its reply charged when it is there.
    charge: Option<Charge>,
    /// Until the reply is there, and charged for what it is.
    _turn: Option<OwnedSemaphorePermit>,
}

impl ReplyMemory {
    /// `limit` and, for the offsets of groups, `offsets_limit`.
    pub(crate) fn new(limit: u64, offsets_limit: u64, clock: Clock) -> Self {
        let largest = SERVED.iter().map(|_| Mutex::default()).collect();
        let (budget, offsets, large) = (Budget::new(limit), Budget::new(offsets_limit), Arc::new(Semaphore::new(1)));
        Self { budget, large, offsets, clock, largest }
    }

    /// Bytes held now.
    pub(crate) fn used(&self) -> u64 {
        self.budget.used() + self.offsets.used()
    }

    /// Lets a request in as soon as there is room for its reply, foreseen to take so many bytes; one of a kind that is
    /// not known at once.
    pub(crate) async fn reserve(&self, api: Option<ApiKey>, foreseen: u64) -> Reserved {
        let mut turn = None;
        let charge = match api.map_or(&ReplyCost::AsItsRequest, api::reply_cost) {
            ReplyCost::Elsewhere | ReplyCost::AsItsRequest => None,
            ReplyCost::AsItsKind | ReplyCost::Foreseen(_) => {
                if foreseen > self.budget.limit() / REPLY_EXPECTED_SHARE {
                    // Never closed. Who waits here has no place among those who wait for memory yet.
                    turn = self.large.clone().acquire_owned().await.ok();
                }
                Some(self.budget.charge(api.map_or(0, |api| self.expected(api, foreseen))).await)
            }
            ReplyCost::Little => Some(self.budget.charge(REPLY_RESERVED_BYTES_MIN).await),
            ReplyCost::Offsets => Some(self.offsets.charge(REPLY_RESERVED_BYTES_MIN).await),
        };
        Reserved { api, charge, _turn: turn }
    }

    /// Gives a reply what it takes, and back what it does not.
    pub(crate) fn charge(&self, reply: Reply, reserved: Reserved) -> Reply {
        let Reserved { api, charge, _turn } = reserved;
        match reply {
            Reply::Frame(frame, None) => {
                let bytes = frame.remaining() as u64;
                if let Some(largest) = api.and_then(api::position).and_then(|position| self.largest.get(position)) {
                    let (mut largest, now) = (largest.lock(), self.clock.monotonic());
                    if bytes >= largest.counts(now) {
                        *largest = Largest { bytes, at: now };
                    }
                }
                if bytes < REPLY_CHARGE_BYTES_MIN as u64 {
                    return Reply::Frame(frame, None);
                }
                let mut charge = charge.unwrap_or_else(|| self.budget.force_charge(0));
                charge.resize(bytes);
                Reply::Frame(frame, Some(charge))
            }
            other => other,
        }
    }

    /// Charges for a large reply that waited for nothing.
    pub(crate) fn charge_now(&self, reply: Reply) -> Reply {
        match reply {
            Reply::Frame(frame, None) if frame.remaining() >= REPLY_CHARGE_BYTES_MIN => {
                let charge = self.budget.force_charge(frame.remaining() as u64);
                Reply::Frame(frame, Some(charge))
            }
            other => other,
        }
    }

    fn expected(&self, api: ApiKey, foreseen: u64) -> u64 {
        let largest = api::position(api).and_then(|position| self.largest.get(position));
        let largest = largest.map_or(0, |largest| largest.lock().counts(self.clock.monotonic()));
        largest.max(foreseen).min(self.budget.limit() / REPLY_EXPECTED_SHARE).max(REPLY_RESERVED_BYTES_MIN)
    }
}

#[cfg(test)]
mod tests {
    use base::clock::ManualTime;
    use futures::FutureExt;
    use wire::Writer;

    use super::*;

    const KIB: u64 = 1024;

    fn reply(bytes: u64) -> Reply {
        let mut writer = Writer::new();
        writer.raw(&vec![7; bytes as usize]);
        Reply::Frame(writer.finish(), None)
    }

    /// A reply to `api` that nobody has taken yet.
    async fn made(memory: &ReplyMemory, api: ApiKey, bytes: u64) -> Reply {
        let reserved = memory.reserve(Some(api), 0).await;
        memory.charge(reply(bytes), reserved)
    }

    #[tokio::test]
    async fn requests_wait_while_replies_that_nobody_takes_use_up_the_memory() {
        let memory = ReplyMemory::new(256 * KIB, 64 * KIB, Clock::system());
        let first = made(&memory, ApiKey::Metadata, 200 * KIB).await;
        assert_eq!(memory.used(), 200 * KIB);
        assert!(memory.reserve(Some(ApiKey::Metadata), 0).now_or_never().is_none(), "another as large has no room");
        assert!(
            memory.reserve(Some(ApiKey::DescribeConfigs), 0).now_or_never().is_none(),
            "nobody goes past who waits"
        );
        drop(first);
        let _second = made(&memory, ApiKey::Metadata, 200 * KIB).now_or_never().expect("its client has taken it");
    }

    #[tokio::test]
    async fn what_is_foreseen_has_its_room_and_never_keeps_out_all_others() {
        let memory = ReplyMemory::new(1024 * KIB, 64 * KIB, Clock::system());
        let first = memory.reserve(Some(ApiKey::DescribeConfigs), 100 * KIB).await;
        assert_eq!(memory.used(), 100 * KIB);
        let second = memory.reserve(Some(ApiKey::DescribeConfigs), 1 << 40).await;
        assert_eq!(memory.used(), 228 * KIB);
        assert!(memory.reserve(Some(ApiKey::DescribeConfigs), 1 << 40).now_or_never().is_none(), "two very large ones");
        let small = memory.reserve(Some(ApiKey::Metadata), 0).now_or_never();
        assert!(small.is_some(), "others go past who waits for its turn");
        drop((small, memory.charge(reply(900 * KIB), second)));
        let next = memory.reserve(Some(ApiKey::DescribeConfigs), 1 << 40).now_or_never();
        assert!(next.is_some(), "the one before is charged, and gone");
        drop(next);
        let _made = memory.charge(reply(20 * KIB), first);
        assert_eq!(memory.used(), 20 * KIB, "it took less");
    }

    #[tokio::test]
    async fn a_thousand_silent_clients_hold_no_more_than_the_limit_and_one_reply() {
        let memory = ReplyMemory::new(1024 * KIB, 64 * KIB, Clock::system());
        let mut held = Vec::new();
        for _ in 0..1_000 {
            if let Some(reply) = made(&memory, ApiKey::Metadata, 300 * KIB).now_or_never() {
                held.push(reply);
            }
        }
        assert_eq!(held.len(), 3);
        assert!(memory.used() <= 1024 * KIB, "{}", memory.used());
    }

    #[tokio::test]
    async fn what_keeps_a_group_alive_never_waits() {
        let memory = ReplyMemory::new(64 * KIB, 64 * KIB, Clock::system());
        let _held = made(&memory, ApiKey::Metadata, 100 * KIB).await;
        for api in [ApiKey::Heartbeat, ApiKey::JoinGroup, ApiKey::SyncGroup, ApiKey::OffsetCommit, ApiKey::Fetch] {
            assert!(memory.reserve(Some(api), 0).now_or_never().is_some(), "{api:?}");
        }
        for api in [ApiKey::Metadata, ApiKey::CreateTopics] {
            assert!(memory.reserve(Some(api), 0).now_or_never().is_none(), "{api:?}");
        }
        // A heartbeat waits behind it, and it waits for its like.
        let offsets = made(&memory, ApiKey::OffsetFetch, 100 * KIB).now_or_never().unwrap();
        assert!(memory.reserve(Some(ApiKey::OffsetFetch), 0).now_or_never().is_none());
        drop(offsets);
        assert!(memory.reserve(Some(ApiKey::OffsetFetch), 0).now_or_never().is_some());
    }

    #[tokio::test]
    async fn who_waits_for_the_store_holds_little() {
        let memory = ReplyMemory::new(1024 * KIB, 64 * KIB, Clock::system());
        let kinds = [ApiKey::CreateTopics, ApiKey::ListOffsets, ApiKey::DescribeLogDirs];
        for api in kinds {
            drop(made(&memory, api, 500 * KIB).await);
        }
        let _waiting = kinds.map(|api| memory.reserve(Some(api), 0).now_or_never().unwrap());
        assert_eq!(memory.used(), 3 * REPLY_RESERVED_BYTES_MIN);
    }

    #[tokio::test]
    async fn a_reply_that_was_once_very_large_is_soon_not_expected_any_more() {
        let time = ManualTime::starting_at(0);
        let memory = ReplyMemory::new(8 * 1024 * KIB, 64 * KIB, Clock::from_source(time.clone()));
        let expects =
            async || memory.reserve(Some(ApiKey::Metadata), 0).await.charge.map_or(0, |charge| charge.bytes());
        drop(made(&memory, ApiKey::Metadata, 1024 * KIB).await);
        assert_eq!(expects().await, 1024 * KIB);
        for halved in [512, 256, 128, 64, 64] {
            time.advance(REPLY_EXPECTED_HALF_LIFE);
            assert_eq!(expects().await, halved * KIB);
        }
        drop(made(&memory, ApiKey::Metadata, 100 * KIB).await);
        drop(made(&memory, ApiKey::Metadata, KIB).await);
        assert_eq!(expects().await, 100 * KIB, "the largest counts");
        time.advance(1_000 * REPLY_EXPECTED_HALF_LIFE);
        assert_eq!(expects().await, REPLY_RESERVED_BYTES_MIN);
    }

    #[tokio::test]
    async fn after_a_reply_larger_than_the_memory_others_of_its_kind_go_on_side_by_side() {
        let memory = ReplyMemory::new(1024 * KIB, 64 * KIB, Clock::system());
        drop(made(&memory, ApiKey::Metadata, 2000 * KIB).await);
        let _others: Vec<_> = (0..REPLY_EXPECTED_SHARE)
            .map(|_| memory.reserve(Some(ApiKey::Metadata), 0).now_or_never().expect("room for each"))
            .collect();
        assert_eq!(memory.used(), 1024 * KIB);
        assert!(memory.reserve(Some(ApiKey::DescribeConfigs), 0).now_or_never().is_none());
    }

    #[tokio::test]
    async fn small_replies_and_closed_connections_give_everything_back() {
        let memory = ReplyMemory::new(64 * KIB, 64 * KIB, Clock::system());
        let _small = made(&memory, ApiKey::Metadata, KIB).await;
        assert_eq!(memory.used(), 0);
        let reserved = memory.reserve(Some(ApiKey::Metadata), 0).await;
        drop(memory.charge(Reply::Nothing, reserved));
        assert_eq!(memory.used(), 0);
    }
}
