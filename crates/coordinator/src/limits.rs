//! The named bounds of coordinators (I-10). What an operator may want to move is in [`crate::GroupConfig`].

use std::time::Duration;

/// Bytes of records that one batch gathers from waiting writes; also bounded by the topic's `max.message.bytes`.
pub const BATCH_BYTES_MAX: usize = 256 * 1024;

/// Bytes of records of one decision that are one batch all the same, and so stand or fall together; also bounded by the
/// topic's `max.message.bytes`, whose default this is. Kafka refuses what is larger; here it becomes several batches.
pub const WHOLE_DECISION_BYTES_MAX: usize = 1024 * 1024;

/// Bytes that a batch has besides its records' keys and values: its header, and per record lengths and deltas.
pub const BATCH_OVERHEAD_BYTES: usize = 61;

/// As [`BATCH_OVERHEAD_BYTES`], per record.
pub const RECORD_OVERHEAD_BYTES: usize = 36;

/// Batches of one shard that are appended and not durable yet; further writes gather meanwhile.
pub const BATCHES_IN_FLIGHT_MAX: usize = 8;

/// Writes of one shard that are not durable yet; further requests are refused, and clients ask again.
pub const WRITES_WAITING_MAX: usize = 100_000;

/// The same in bytes of their records. One decision may exceed it.
pub const WRITES_WAITING_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// The same for all shards of a topic together.
pub const ALL_WRITES_WAITING_BYTES_MAX: u64 = 256 * 1024 * 1024;

/// What the members of one group may take in memory; one more is refused as in a group of `group.max.size` members. The
/// stored generation, with one of each member's protocols, has to fit a record of `max.message.bytes`, which is far less.
pub const GROUP_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// What the members of all groups may take in memory; who wants to join then is told to ask again.
pub const GROUPS_BYTES_MAX: u64 = 512 * 1024 * 1024;

/// What the ids may take in memory that were given out to clients which have not joined with them yet.
pub const PENDING_MEMBERS_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// What all groups and their offsets may take in memory, whoever is in them: nobody is in most. One more group is told to ask
/// again; those that are there go on. Kafka has no such bound, so it is far above what sane use needs: there is room for
/// some seven hundred thousand groups with three offsets each.
pub const STORED_BYTES_MAX: u64 = 2 * 1024 * 1024 * 1024;

/// What each of a group's offsets and topics, and each record that is carried, is charged of that at least: itself, and its
/// place in a map.
pub const STORED_BYTES_MIN: usize = 192;

/// How far the charge of a shard's offsets may be behind what they take: it is not looked at for each of them.
pub const STORED_BYTES_STEP: u64 = 64 * 1024;

/// What of that the groups may take that are there only because somebody asked to join them. One more, without members,
/// is forgotten at once then.
pub const NEW_GROUPS_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// What each group is charged at least: itself, its record, and its places in maps.
pub const GROUP_BYTES_MIN: usize = 2 * 1024;

/// What a member, or an id that was given out, is charged at least: its places in maps and timers.
pub const MEMBER_BYTES_MIN: usize = 1024;

/// What each of a member's protocols is charged at least.
pub const PROTOCOL_BYTES_MIN: usize = 128;

/// Bytes read at a time when a shard is loaded.
pub const LOAD_READ_BYTES: usize = 1024 * 1024;

/// Bytes of one batch decompressed when a shard is loaded.
pub const LOAD_BATCH_BYTES_MAX: usize = 256 * 1024 * 1024;

/// Shards that the start loads at the same time.
pub const LOAD_CONCURRENCY: usize = 4;

/// How long a request waits for its shard to load before it is told to ask again.
pub const LOAD_WAIT_MAX: Duration = Duration::from_secs(1);

/// How long a shard that could not be loaded is left alone.
pub const LOAD_RETRY: Duration = Duration::from_secs(1);

/// Records appended since the last snapshot that are never worth another one.
pub const SNAPSHOT_RECORDS_MIN: u64 = 10_000;

/// A snapshot is written after this many times as many records as it has itself, so that it costs a bounded part of all
/// writes and a load reads a bounded multiple of the state.
pub const SNAPSHOT_RECORDS_FACTOR: u64 = 2;

/// Keys of a shard's state that are looked at for one piece of a snapshot: the shard's lock is held meanwhile.
pub const SNAPSHOT_PIECE_KEYS_MAX: usize = 500;

/// Bytes of the keys of what is queued behind a snapshot that are counted under the shard's lock at a time: as many as are
/// appended at a time and as many again, so that it keeps up.
pub const SNAPSHOT_KEY_BYTES_AT_ONCE: usize = 2 * WHOLE_DECISION_BYTES_MAX;

/// Pieces of a snapshot that wait to be written, of [`BATCH_BYTES_MAX`] each: the next is made when there are fewer.
pub const SNAPSHOT_PIECES_WAITING_MAX: usize = 2;

/// Committed offsets that are looked at under a shard's lock at a time when all groups are gone through; one group may have
/// more.
pub const GROUPS_WALK_OFFSETS_MAX: usize = 2_000;

/// Groups of one request that are worked on at the same time.
pub const REQUEST_GROUPS_CONCURRENCY: usize = 16;

/// What the offsets of one commit may take once they are encoded, with the name of the group in each. Kafka takes no more
/// than one batch.
pub const COMMIT_BYTES_MAX: u64 = 64 << 20;

/// The same for the commits of all connections that are being encoded, until they are decided and wait to be written.
pub const ALL_COMMITS_BYTES_MAX: u64 = 2 * COMMIT_BYTES_MAX;

/// What an offset takes besides its texts once it is encoded: the rest of its record, and its places in memory.
pub const OFFSET_BYTES_MIN: usize = 256;

/// What offsets of one commit take that are encoded before others may run.
pub const COMMIT_BYTES_AT_ONCE: usize = 256 * 1024;

/// Groups that a request names, of possibly millions, that are gone through before others may run.
pub const NAMES_AT_ONCE: usize = 1_000;

/// Partitions that are looked at in one look, and so under the shard's lock: a group of which more are asked for is looked at
/// several times.
pub const PARTITIONS_AT_A_LOOK: usize = 1_000;

/// Looks of one request for many groups, at whatever shards, after which others may run.
pub const LOOKS_AT_ONCE: usize = 16;

/// A member that joined for the first time and hears nothing for this long is forgotten, Kafka's
/// `group.new.member.join.timeout.ms`.
pub const NEW_MEMBER_JOIN_TIMEOUT_MS: u64 = 5 * 60 * 1000;

/// Static members none of which has joined again are waited for anew for at least this long, whatever they ask for: the wait
/// has no end but their coming or the end of their sessions, and with none in between it would be begun without end.
pub const STATIC_MEMBERS_WAIT_MS_MIN: u64 = 100;

/// The longest sleep of the timer task, so that a clock that jumps is noticed.
pub const TIMER_SLEEP_MAX: Duration = Duration::from_secs(60);
