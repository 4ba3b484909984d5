//! The named bounds of the broker (I-10). What an operator may want to move is a configuration key instead.

use std::time::Duration;

/// Frames below this size are copied out of the read buffer, so that a small record kept in the log cache never pins a
/// large buffer; larger ones are slices of it, ...
pub const FRAME_COPIED_BYTES_MAX: usize = 4 * 1024;

/// ... if they are at least one part in so many of it.
pub const FRAME_SHARE_MIN: usize = 4;

/// The read buffer of a connection that was idle.
pub const READ_CHUNK_BYTES_MIN: usize = 8 * 1024;

/// The read buffer of a connection that keeps filling it.
pub const READ_CHUNK_BYTES_MAX: usize = 256 * 1024;

/// Bytes one connection may read before it lets the next task run.
pub const READ_TURN_BYTES_MAX: usize = 1024 * 1024;

/// Requests one connection may have answered before it lets the next task run, ...
pub const ANSWER_TURN_REQUESTS_MAX: usize = 32;

/// ... and how long it may work before it does, between two requests or two items of one.
pub const WORK_TURN_MAX: Duration = Duration::from_millis(1);

/// Requests of one connection read and not answered yet, in bytes. A request counts at least
/// [`REQUEST_CHARGE_BYTES_MIN`], which bounds their number too.
pub const PIPELINE_BYTES_MAX: usize = 64 * 1024 * 1024;

/// What a small request is charged: its bookkeeping costs memory beyond its bytes.
pub const REQUEST_CHARGE_BYTES_MIN: usize = 1024;

/// The largest request that is not a Produce. The largest real ones (assignments of a large group, commits of very many
/// partitions) stay far below.
pub const OTHER_FRAME_BYTES_MAX: usize = 8 * 1024 * 1024;

/// What answering a request takes at most, for each byte that it decodes to: a group's description has 190 bytes for a name
/// of 32, what was seen already is looked up, and the answer is written. A fetch charges its answer by itself.
pub const ANSWER_FACTOR: usize = 10;

/// ... each of which takes this much until it is answered: what is wanted of it, where it is, what was found, its place among
/// those that are watched. The records are charged by themselves.
pub const FETCH_PARTITION_BYTES: usize = 256;

/// What all fetches together may take while they wait for records. One for which nothing is left is answered soon, ...
pub const FETCH_WAIT_MEMORY_BYTES: u64 = 256 * 1024 * 1024;

/// ... unless it takes no more than this: it waits all the same.
pub const FETCH_WAIT_LET_IN_BYTES_MAX: u64 = 16 * 1024;

/// How long a fetch waits, without bells, for which there is no memory to wait with.
pub const FETCH_WITHOUT_BELLS_WAIT: Duration = Duration::from_millis(100);

/// How long a fetch waits at most, whatever it asks for: far longer than any client waits for an answer.
pub const FETCH_WAIT_MAX: Duration = Duration::from_secs(300);

/// Answers to requests that decode to no more than this are not charged.
pub const ANSWER_SMALL_BYTES: usize = 128 * 1024;

/// A request that is not a Produce, and that takes no more than this in all, is let in when request memory is used up:
/// heartbeats and commits, so that groups stay alive whatever others send. It is charged for it once it is whole.
pub const REQUEST_LET_IN_BYTES_MAX: u64 = 256 * 1024;

/// A request that overdraws the request memory lets the next one do so once it is decoded and all together take no more than
/// one part in so many beyond the limit.
pub const REQUEST_MEMORY_EXCESS_SHARE: u64 = 8;

/// Replies queued for one connection, in bytes, before its further requests wait. One reply may exceed it.
pub const REPLY_QUEUE_BYTES_MAX: usize = 1024 * 1024;

/// Slices in one vectored write; the kernel takes up to 1,024.
pub const WRITE_SLICES_MAX: usize = 64;

/// How long a frame may stay half received without a byte arriving.
pub const FRAME_STALL_MAX: Duration = Duration::from_secs(60);

/// The same for a frame that overdraws the request memory, for which others wait.
pub const FRAME_STALL_OVERDRAWN_MAX: Duration = Duration::from_secs(2);

/// How much of a frame is charged at first while request memory is scarce: as much as its connection reads at once anyway.
pub const FRAME_CHARGE_STEP_MIN: u64 = READ_CHUNK_BYTES_MIN as u64;

/// How long replies of a half-closed connection may take.
pub const HALF_CLOSED_MAX: Duration = Duration::from_secs(5);

/// How long replies may take once the broker is stopping.
pub const DRAIN_MAX: Duration = Duration::from_secs(10);

/// Partitions that one fetch reads from the store at once. Under way in all fetches together are no more than the block
/// cache has places for.
pub const FETCH_COLD_READS_MAX: usize = 16;

/// Partitions that one ListOffsets looks up at once.
pub const OFFSET_LOOKUPS_MAX: usize = 16;

/// Partitions whose producer state one produce request loads at once.
pub const PRODUCER_LOADS_MAX: usize = 16;

/// Bytes of all requests held when `queued.max.request.bytes` sets no limit.
pub const REQUEST_MEMORY_BYTES_DEFAULT: u64 = 512 * 1024 * 1024;

/// Bytes of records in replies that clients have not taken yet. When they are used up ...
pub const REPLY_MEMORY_BYTES: u64 = 512 * 1024 * 1024;

/// ... a fetch gets no more than this, or one batch, and nobody waits for those who do not read.
pub const FETCH_BYTES_SCARCE: usize = 64 * 1024;

/// Beyond so many times that memory a fetch gets no records at all. What was read already is sent, and each reader may have
/// been told that there is little left: so it may become more than once.
pub const REPLY_MEMORY_EXCESS_MAX: u64 = 2;

/// Bytes of records that fetches are about to read from the store, at most. Those that find them used up read as little as
/// when replies use up their memory; what lies in the log cache is sent all the same.
pub const COLD_READ_MEMORY_BYTES: u64 = 256 * 1024 * 1024;

/// Records from the store below this size are copied out of the block that they lie in: a client that does not take its
/// replies would keep all of it in memory. One part in [`FRAME_SHARE_MIN`] of an ordinary block.
pub const COLD_COPIED_BYTES_MAX: usize = 64 * 1024;

/// Bytes of other replies that are being made or that clients have not taken yet. When they are used up, requests wait.
pub const OTHER_REPLY_MEMORY_BYTES: u64 = 256 * 1024 * 1024;

/// The same for the offsets of groups: their members' heartbeats wait behind them, and for nobody else's replies.
pub const OFFSETS_REPLY_MEMORY_BYTES: u64 = 64 * 1024 * 1024;

/// What the reply to such a request is taken to need at least until it is there.
pub const REPLY_RESERVED_BYTES_MIN: u64 = 64 * 1024;

/// A request waits for no more than one part in so many of this memory, however large replies of its kind have been.
pub const REPLY_EXPECTED_SHARE: u64 = 8;

/// How long until a large reply counts for half as much in what the next one is taken to need.
pub const REPLY_EXPECTED_HALF_LIFE: Duration = Duration::from_secs(60);

/// How long a client has to take some of its replies for whose memory others wait: ...
pub const REPLY_STALL_MAX: Duration = Duration::from_secs(5);

/// ... one part in so many of what it held of that memory at first.
pub const REPLY_TAKEN_SHARE_MIN: u64 = 16;

/// Replies below this size are not charged; a connection has one at a time beyond [`REPLY_QUEUE_BYTES_MAX`].
pub const REPLY_CHARGE_BYTES_MIN: usize = 16 * 1024;

/// Partitions in all fetch sessions together; a session beyond is not made, and its client asks for everything each time.
pub const SESSIONS_PARTITIONS_MAX: usize = 1_000_000;

/// The largest request of a client that has not authenticated, where a listener asks for authentication.
pub const UNAUTHENTICATED_FRAME_BYTES_MAX: usize = 512 * 1024;

/// Wait after `accept` failed for want of descriptors or memory.
pub const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// Different complaints about malformed input that are logged in full; later ones only count.
pub const COMPLAINTS_MAX: usize = 256;

/// Topics created by one CreateTopics, which answers with all of their settings; Kafka's `MAX_PARTITIONS_PER_BATCH`.
pub const CREATED_TOPICS_MAX: usize = 10_000;

/// Changes that one request waits for at once. What is decided together shares an entry of metadata.
pub const CHANGED_AT_ONCE_MAX: usize = 256;

/// Partitions of one DeleteRecords that are trimmed at once: each may wait for its producers' checkpoint besides, and what they
/// take together is less than what the uploads hold that it waits for at most.
pub const TRIMMED_AT_ONCE_MAX: usize = 256;

/// Offsets in one answer to ListOffsets v0, which may ask for any number of every partition; beyond it a partition gets
/// one.
pub const OLD_STYLE_OFFSETS_MAX: usize = 100_000;

/// Keys that no broker knows and that are kept for one broker, or for all, since Kafka keeps them for what is plugged in.
pub const CUSTOM_KEYS_MAX: usize = 100;

/// The longest of them.
pub const CUSTOM_KEY_BYTES_MAX: usize = 256;

/// The bytes of all values of such keys, of one broker or of all: the metadata keep them, and each image has them.
pub const CUSTOM_VALUES_BYTES_MAX: usize = 64 << 10;

/// Times that one DescribeConfigs is told again of what it names again.
pub const DESCRIBED_AGAIN_MAX: usize = 4;

/// Topics auto-created for one Metadata request.
pub const AUTO_CREATED_TOPICS_MAX: usize = 1_000;

/// Topics being auto-created for all clients; one beyond shows as unknown, and the client asks again.
pub const FIRST_USE_CREATIONS_MAX: usize = 10_000;

/// How long FindCoordinator waits for the topic of offsets to be created.
pub const FIRST_USE_WAIT_MAX: Duration = Duration::from_secs(1);

/// How long a change of metadata is waited for on behalf of a client that sets no timeout.
pub const CHANGE_WAIT_DEFAULT: Duration = Duration::from_secs(30);

/// How long a producer with acks all waits for its records to be durable if it sets no time limit, ...
pub const PRODUCE_WAIT_DEFAULT: Duration = Duration::from_secs(30);

/// ... and what it waits at least.
pub const PRODUCE_WAIT_MIN: Duration = Duration::from_secs(1);

/// How long a producer waits for its id before it is told to ask again.
pub const PRODUCER_ID_WAIT_MAX: Duration = Duration::from_secs(1);

/// Bytes of records that one fetch converts for an old reader. Beyond it a partition gets one batch, and the reader asks
/// again for the rest.
pub const CONVERTED_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Records below this size are converted at once, larger ones where nobody waits for it, ...
pub const CONVERTED_AT_ONCE_BYTES_MAX: usize = 4 * 1024;

/// ... so many at a time for all old readers together.
pub const CONVERSIONS_MAX: usize = 1;

/// What a batch that is converted for an old reader may decompress to: all that a producer may have written.
pub const DOWN_CONVERTED_BYTES_MAX: usize = records::compression::DECOMPRESSED_BYTES_MAX;

/// Topics whose counters are kept at hand.
pub const TOPIC_METRICS_KEPT_MAX: usize = 100_000;

/// Partitions answered by one DescribeTopicPartitions, Kafka's `max.request.partition.size.limit`.
pub const DESCRIBED_PARTITIONS_MAX: i32 = 2_000;

/// What is told of groups that a DescribeGroups names again.
pub const DESCRIBED_AGAIN_BYTES_MAX: usize = 1 << 20;

/// Partitions that an OffsetFetch names again and that are answered again; each has up to 4 KiB of metadata.
pub const ASKED_AGAIN_MAX: usize = 1_000;
/// Groups of which an OffsetFetch asks again for all offsets.
pub const ASKED_ALL_AGAIN_MAX: usize = 3;
/// All offsets that are told again.
pub const TOLD_ALL_AGAIN_BYTES_MAX: usize = 1 << 20;

/// What the answer to a Produce says in words of what it refuses, in bytes, whatever the request's size. Of a batch up to 100
/// records may be wrong, and each has a text of up to some hundred bytes.
pub const REFUSAL_BYTES_MIN: usize = 64 << 10;
/// The same for each byte of the request.
pub const REFUSAL_BYTES_PER_BYTE: usize = 2;
