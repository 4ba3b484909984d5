//! The memory of replies that are no Fetch's, from before they are made until clients have taken them (I-10).
//!
//! How large a reply becomes is known only when it is there: a small Metadata request may list a million partitions. So a
//! request waits *before* it is looked at, until there is room for a reply as large as the largest that was made to its kind
//! so far, and its client with it. Only a reply that is larger than all before it takes more than there was room for, and
//! nobody is let in until it is gone. Clients that do not take their replies are cut off when others wait for that (see
//! `net::connection`), so that silent ones slow down the rest for [`REPLY_STALL_MAX`] and not for ever.
//!
//! What keeps groups and producers alive never waits: those replies are no larger than their requests, or than the group
//! that they tell of, which both have bounds of their own. They are charged all the same.
//!
//! [`REPLY_STALL_MAX`]: crate::limits::REPLY_STALL_MAX

use std::sync::atomic::{AtomicU64, Ordering};

use base::memory::{Budget, Charge};
use bytes::Buf;
use wire::ApiKey;

use crate::api::{self, SERVED};
use crate::limits::{REPLY_CHARGE_BYTES_MIN, REPLY_RESERVED_BYTES_MIN};
use crate::net::service::Reply;

/// The memory of a broker's replies.
#[derive(Debug)]
pub(crate) struct ReplyMemory {
    budget: Budget,
    /// In the order of [`SERVED`]: the largest reply so far.
    largest: Vec<AtomicU64>,
}

/// What a request may take for its reply.
#[derive(Debug)]
pub(crate) struct Reserved {
    api: ApiKey,
    charge: Charge,
}

impl ReplyMemory {
    pub(crate) fn new(limit: u64) -> Self {
        Self { budget: Budget::new(limit), largest: SERVED.iter().map(|_| AtomicU64::new(0)).collect() }
    }

    /// Bytes held now.
    pub(crate) fn used(&self) -> u64 {
        self.budget.used()
    }

    /// Lets a request in as soon as there is room for its reply.
    pub(crate) async fn reserve(&self, api: ApiKey) -> Reserved {
        let charge = match waits(api) {
            Waits::Never => self.budget.force_charge(0),
            Waits::ForItsKind => self.budget.charge(self.expected(api)).await,
            Waits::ForTheLeast => self.budget.charge(REPLY_RESERVED_BYTES_MIN).await,
        };
        Reserved { api, charge }
    }

    /// Gives a reply what it takes, and back what it does not.
    pub(crate) fn charge(&self, reply: Reply, reserved: Reserved) -> Reply {
        let Reserved { api, mut charge } = reserved;
        match reply {
            Reply::Frame(frame, None) => {
                let bytes = frame.remaining() as u64;
                if let Some(largest) = api::position(api).and_then(|position| self.largest.get(position)) {
                    largest.fetch_max(bytes, Ordering::Relaxed);
                }
                let charged = bytes >= REPLY_CHARGE_BYTES_MIN as u64;
                charge.resize(if charged { bytes } else { 0 });
                Reply::Frame(frame, charged.then_some(charge))
            }
            other => other,
        }
    }

    fn expected(&self, api: ApiKey) -> u64 {
        let largest = api::position(api).and_then(|position| self.largest.get(position));
        largest.map_or(0, |largest| largest.load(Ordering::Relaxed)).max(REPLY_RESERVED_BYTES_MIN)
    }
}

/// How a request stands to memory that is used up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Waits {
    /// It is answered at once.
    Never,
    /// It waits for room for the largest reply of its kind.
    ForItsKind,
    /// It waits for a little. It holds that while it waits for the metadata store, which may take long.
    ForTheLeast,
}

fn waits(api: ApiKey) -> Waits {
    match api {
        ApiKey::Fetch | ApiKey::Produce => Waits::Never,
        ApiKey::ApiVersions | ApiKey::FindCoordinator | ApiKey::InitProducerId | ApiKey::OffsetCommit => Waits::Never,
        ApiKey::JoinGroup | ApiKey::SyncGroup | ApiKey::Heartbeat | ApiKey::LeaveGroup => Waits::Never,
        ApiKey::CreateTopics | ApiKey::DeleteTopics | ApiKey::CreatePartitions | ApiKey::DeleteRecords => {
            Waits::ForTheLeast
        }
        ApiKey::AlterConfigs | ApiKey::IncrementalAlterConfigs | ApiKey::DeleteGroups | ApiKey::OffsetDelete => {
            Waits::ForTheLeast
        }
        _ => Waits::ForItsKind,
    }
}

#[cfg(test)]
mod tests {
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
        let reserved = memory.reserve(api).await;
        memory.charge(reply(bytes), reserved)
    }

    #[tokio::test]
    async fn requests_wait_while_replies_that_nobody_takes_use_up_the_memory() {
        let memory = ReplyMemory::new(256 * KIB);
        let first = made(&memory, ApiKey::Metadata, 200 * KIB).await;
        assert_eq!(memory.used(), 200 * KIB);
        assert!(memory.reserve(ApiKey::Metadata).now_or_never().is_none(), "another as large has no room");
        assert!(memory.reserve(ApiKey::DescribeConfigs).now_or_never().is_none(), "nobody goes past who waits");
        drop(first);
        let _second = made(&memory, ApiKey::Metadata, 200 * KIB).now_or_never().expect("its client has taken it");
    }

    #[tokio::test]
    async fn a_thousand_silent_clients_hold_no_more_than_the_limit_and_one_reply() {
        let memory = ReplyMemory::new(1024 * KIB);
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
        let memory = ReplyMemory::new(64 * KIB);
        let _held = made(&memory, ApiKey::Metadata, 100 * KIB).await;
        for api in [ApiKey::Heartbeat, ApiKey::JoinGroup, ApiKey::SyncGroup, ApiKey::OffsetCommit, ApiKey::Fetch] {
            assert!(memory.reserve(api).now_or_never().is_some(), "{api:?}");
        }
        for api in [ApiKey::Metadata, ApiKey::CreateTopics] {
            assert!(memory.reserve(api).now_or_never().is_none(), "{api:?}");
        }
    }

    #[tokio::test]
    async fn a_change_that_waits_for_the_store_holds_little() {
        let memory = ReplyMemory::new(1024 * KIB);
        drop(made(&memory, ApiKey::CreateTopics, 500 * KIB).await);
        let _waiting: Vec<_> = (0..3).map(|_| memory.reserve(ApiKey::CreateTopics).now_or_never().unwrap()).collect();
        assert_eq!(memory.used(), 3 * REPLY_RESERVED_BYTES_MIN);
    }

    #[tokio::test]
    async fn small_replies_and_closed_connections_give_everything_back() {
        let memory = ReplyMemory::new(64 * KIB);
        let _small = made(&memory, ApiKey::Metadata, KIB).await;
        assert_eq!(memory.used(), 0);
        let reserved = memory.reserve(ApiKey::Metadata).await;
        drop(memory.charge(Reply::Nothing, reserved));
        assert_eq!(memory.used(), 0);
    }
}
