//! Produce (key 0), versions 0–13.
//!
//! | Version | What changes |
//! |---|---|
//! | 0–2 | message sets of magic 0 and 1, converted on arrival; v1 adds throttle time, v2 the append time |
//! | 3 | one magic 2 batch a partition; transactional id (KIP-98), whose records are refused here |
//! | 5 | log start offset in the reply |
//! | 7 | zstd (KIP-110) |
//! | 8 | errors of single records (KIP-467) |
//! | 10 | who leads a partition that this broker does not (KIP-951) |
//! | 13 | topic ids (KIP-516) |
//!
//! Two stages, so that a connection can pipeline: [`append`] ends when every partition's batch has its place in the log,
//! the future it returns ends when all of them are durable (acks 1 and all wait for the same: nothing is acknowledged
//! before it is durable, I-1) or, with acks all, the time that the request has for it has passed. With acks 0 there is no
//! reply, and an error closes the connection.
//!
//! Topics and partitions are answered once each, however often they are named: of a partition the last mention counts, as in
//! Kafka's maps. A text comes with an error where Kafka gives one, for records that are refused one by one, and where Kafka
//! knows no such error.
//!
//! What is wrong with a producer's epoch or sequence depends on what the log holds, and a broker that was replaced does not
//! know that any more: such a refusal ends a client's producer for good. So it passes the check of the fence (I-3).

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use base::Uuid;
use base::collections::HashMap;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream;
use partition::{AppendError, AppendOptions, Appended, Partition, PartitionError, Room};
use records::{BatchHeader, InvalidRecord, RecordsError};
use wire::messages::produce_response::{
    BatchIndexAndErrorMessage, NodeEndpoint, PartitionProduceResponse, ProduceResponse, TopicProduceResponse,
};
use wire::produce::{ProducePartition, ProduceTopic, ProduceView};
use wire::{ErrorCode, Reader, Str};

use crate::call::{Call, Refusal};
use crate::core::Core;
use crate::endpoints::{self, LeaderHint};
use crate::errors::code;
use crate::fenced::told_if_unfenced;
use crate::fetch::session::TopicRef;
use crate::limits::{
    FRAME_SHARE_MIN, PRODUCE_WAIT_DEFAULT, PRODUCE_WAIT_MIN, PRODUCER_LOADS_MAX, REFUSAL_BYTES_MIN,
    REFUSAL_BYTES_PER_BYTE,
};
use crate::net::peer::until;
use crate::net::service::{Later, Reply};
use crate::topics::is_internal;

/// Before this version Kafka looks at the codec of a batch first of all.
const CODECS_CHECKED_BEFORE: i16 = 7;
/// Answers tell leaders from this version on.
const LEADERS_FROM: i16 = 10;
/// Requests name topics by id from this version on.
const TOPIC_IDS_FROM: i16 = 13;

const NOT_LEADER: i16 = ErrorCode::NotLeaderOrFollower.code();

/// One partition's part, appended or refused.
struct Part {
    response: PartitionProduceResponse,
    /// What must be durable before the reply says that it is.
    durable: Option<partition::Durable>,
    /// Refused for what the log holds of its producer, which only an unfenced broker knows.
    by_producer_state: bool,
}

struct Topic {
    head: TopicProduceResponse,
    parts: Vec<Part>,
}

/// Appends and says what to wait for.
#[allow(clippy::async_yields_async, reason = "an append has two stages")]
pub(crate) async fn append(core: Arc<Core>, call: Call, mut reader: Reader) -> Later<Reply> {
    let request = match ProduceView::decode(&mut reader, call.version) {
        Ok(request) => request,
        Err(error) => return ready(call.malformed(error).into()),
    };
    call.settle(request.memory_bytes());
    // The records hold the frame's memory from here on.
    drop(reader);
    let timeout = patience(request.timeout_ms);
    let acks = request.acks;
    let asked = Asked::all_of(&core, &call, &request).await;
    let refused = match refuse_whole(&core, &call, &request, &asked).await {
        Some(whole) => Some(whole),
        None => refuse(&request),
    };
    let mut topics = Vec::with_capacity(asked.len());
    let mut unloaded = match refused {
        None => load_producers(&core, call.version, &request).await,
        Some(_) => HashMap::default(),
    };
    let mut memory = Memory::of(call.frame_bytes, record_sizes(&request));
    let mut texts = Texts::of(&call, acks);
    for topic in &asked {
        let of = (&mut memory, &mut texts, &mut unloaded);
        topics.push(append_topic(&core, &call, &request, of, topic, refused.as_ref()).await);
    }
    if texts.bytes > 0 {
        call.settle(request.memory_bytes() + texts.bytes);
    }
    base::plant::place("in-produce");
    // What was appended holds it on; what was refused or copied does not.
    drop(memory);
    if acks == 0 {
        let failed = topics.iter().flat_map(|topic| &topic.parts).find(|part| part.response.error_code != 0);
        return ready(failed.map_or(Reply::Nothing, |part| {
            Refusal::SilentProduceFailed { error: ErrorCode::from_code(part.response.error_code) }.into()
        }));
    }
    // From the append on, as in Kafka: waiting for room in the log cache slows a producer down and fails nothing.
    let deadline = core.clock.monotonic() + timeout;
    Box::pin(async move {
        let topics = told_of_producers(&core, topics).await;
        let mut responses = Vec::with_capacity(topics.len());
        for Topic { mut head, parts } in topics {
            head.partition_responses.reserve_exact(parts.len());
            for mut part in parts {
                if let Some(durable) = part.durable {
                    // As in Kafka only acks=all has a time limit: told of a timeout, a client would send again.
                    let outcome = match acks {
                        -1 => until(&call.peer, &core.clock, deadline, durable).await,
                        _ => Some(durable.await),
                    };
                    settle(&mut part.response, outcome);
                }
                head.partition_responses.push(part.response);
            }
            responses.push(head);
        }
        let node_endpoints =
            if call.version >= LEADERS_FROM { tell_leaders(&core, &call, &mut responses) } else { Vec::new() };
        call.reply(&ProduceResponse { responses, node_endpoints, ..ProduceResponse::default() })
    })
}

/// The parts, with what was refused for a producer's state as far as this broker may still tell: one check for all.
async fn told_of_producers(core: &Core, topics: Vec<Topic>) -> Vec<Topic> {
    if !topics.iter().flat_map(|topic| &topic.parts).any(|part| part.by_producer_state) {
        return topics;
    }
    told_if_unfenced(std::future::ready(topics), core.partitions.check_unfenced(), |mut topics| {
        let parts = topics.iter_mut().flat_map(|topic| &mut topic.parts);
        for part in parts.filter(|part| part.by_producer_state) {
            let error = PartitionError::NotLeader;
            *part = failed(part.response.index, error.code(), None);
        }
        topics
    })
    .await
}

/// Says who leads what a client took this broker for the leader of; returns where each of them is.
fn tell_leaders(core: &Core, call: &Call, topics: &mut [TopicProduceResponse]) -> Vec<NodeEndpoint> {
    let (mut image, mut ids) = (None, BTreeSet::new());
    for topic in topics {
        let by_name = || TopicRef::Name((&*topic.name).into());
        let mut reference = None;
        for part in topic.partition_responses.iter_mut().filter(|part| part.error_code == NOT_LEADER) {
            let image = image.get_or_insert_with(|| core.image());
            let reference = reference.get_or_insert_with(|| {
                if call.version >= TOPIC_IDS_FROM { TopicRef::Id(topic.topic_id) } else { by_name() }
            });
            if let Some(leader) = LeaderHint::of(image, reference, part.index) {
                (part.current_leader.leader_id, part.current_leader.leader_epoch) = (leader.id, leader.epoch);
                ids.insert(leader.id);
            }
        }
    }
    let endpoint = |node_id| {
        let (host, port) = endpoints::of_leader(core, &call.peer, node_id)?;
        let rack = core.config.rack.as_deref().map(Str::from);
        Some(NodeEndpoint { node_id, host: host.into(), port, rack, ..NodeEndpoint::default() })
    };
    ids.into_iter().filter_map(endpoint).collect()
}

/// How long a producer with acks all waits at most.
///
/// Kafka's time limit is for replicas; what its leader wrote itself it acknowledges whatever the limit. Brokers 3.9.2 and
/// 4.4.0 with one replica, asked with 1, 0, -1 and `i32::MIN`, answer each time with the offset. Durability takes its time
/// here, and a producer that is told of a timeout sends again what is stored: so zero and less are no limit of the
/// producer's own, and a limit that no device can keep is lengthened.
fn patience(timeout_ms: i32) -> Duration {
    let asked = u64::try_from(timeout_ms).ok().filter(|ms| *ms > 0).map(Duration::from_millis);
    asked.map_or(PRODUCE_WAIT_DEFAULT, |asked| asked.max(PRODUCE_WAIT_MIN))
}

fn ready(reply: Reply) -> Later<Reply> {
    Box::pin(std::future::ready(reply))
}

/// A topic as it is answered, once, with the mention of each of its partitions that counts.
struct Asked<'a> {
    topic: &'a ProduceTopic,
    partitions: Vec<&'a ProducePartition>,
}

impl<'a> Asked<'a> {
    /// Those of a request. Topics without a partition are not answered.
    async fn all_of(core: &Core, call: &Call, request: &'a ProduceView) -> Vec<Self> {
        let named = request.topics();
        if let [topic] = named
            && let [partition] = request.partitions_of(topic)
        {
            return vec![Self { topic, partitions: vec![partition] }];
        }
        let mut all: Vec<Self> = Vec::with_capacity(named.len());
        let mut topics = HashMap::with_capacity_and_hasher(named.len(), Default::default());
        let mut partitions = HashMap::default();
        for topic in named {
            call.peer.breathe(&core.clock).await;
            if request.partitions_of(topic).is_empty() {
                continue;
            }
            let (id, name, _) = place(call.version, topic, 0);
            let at = *topics.entry((id, name)).or_insert(all.len());
            if at == all.len() {
                all.push(Self { topic, partitions: Vec::new() });
            }
            for partition in request.partitions_of(topic) {
                call.peer.breathe(&core.clock).await;
                let counting = &mut all[at].partitions;
                match *partitions.entry((at, partition.index)).or_insert(counting.len()) {
                    first if first == counting.len() => counting.push(partition),
                    earlier
                        if breaks_rules(call.version, request, counting[earlier])
                            && !breaks_rules(call.version, request, partition) => {}
                    earlier => counting[earlier] = partition,
                }
            }
        }
        all
    }
}

/// Whether a mention of a partition breaks the rules of the version. Kafka appends what others of it hold, and answers this
/// one all the same; so it is the one that counts, and nothing is appended that is said not to be.
fn breaks_rules(version: i16, request: &ProduceView, partition: &ProducePartition) -> bool {
    let records = request.records_of(partition);
    records.is_some_and(|records| records::check_produce_version(&records, version).is_err())
}

/// Why no partition of a request is appended to.
struct Refused {
    error: ErrorCode,
    message: Option<String>,
    /// Whether it is said of partitions that there are not, too, and of those whose records break other rules.
    of_all: bool,
}

impl Refused {
    fn whole(error: ErrorCode, message: Option<String>) -> Self {
        Self { error, message, of_all: true }
    }
}

/// What Kafka fails on, or refuses with, before it looks at any partition: a first batch without sense, or one of a
/// transaction that the request does not name.
///
/// Null for records it does not even answer; it appends nothing of such a request.
async fn refuse_whole(core: &Core, call: &Call, request: &ProduceView, asked: &[Asked<'_>]) -> Option<Refused> {
    let topics = request.topics().iter();
    let named = topics.flat_map(|topic| std::iter::repeat(topic).zip(request.partitions_of(topic)));
    let is_there = |topic: &ProduceTopic, partition: &ProducePartition| {
        find(core, call.version, place(call.version, topic, partition.index)).is_ok()
    };
    let mut fails = false;
    for (topic, partition) in named {
        call.peer.breathe(&core.clock).await;
        let records = request.records_of(partition);
        match records::is_first_transactional(records.as_deref().unwrap_or_default()) {
            Ok(false) => {}
            Ok(true) if request.transactional_id.is_some() => {}
            Ok(true) => return Some(Refused::whole(ErrorCode::TransactionalIdAuthorizationFailed, None)),
            Err(error) => return Some(Refused::whole(ErrorCode::CorruptMessage, Some(senseless(&error)))),
        }
        // Of later versions what cannot be read is told for each partition.
        let is_failed_on = call.version < CODECS_CHECKED_BEFORE
            && records.is_some_and(|records| {
                let checked = records::check_produce_version(&records, call.version);
                matches!(checked, Err(InvalidRecord::Unreadable(_)))
            });
        // Whatever makes no sense further on is told before.
        fails = fails || is_failed_on && is_there(topic, partition);
    }
    for Asked { topic, partitions } in asked {
        call.peer.breathe(&core.clock).await;
        let is_null = |partition: &&ProducePartition| request.records_of(partition).is_none();
        fails = fails || partitions.iter().copied().filter(is_null).any(|partition| is_there(topic, partition));
    }
    fails.then(|| Refused::whole(ErrorCode::UnknownServerError, None))
}

/// Kafka's words for a first batch that makes no sense.
fn senseless(error: &RecordsError) -> String {
    match error {
        RecordsError::BadLength(length) => {
            format!("Record size {length} is less than the minimum record overhead ({})", records::legacy::OVERHEAD_V0)
        }
        RecordsError::BadMagic(magic) => format!("Invalid magic found in record: {magic}"),
        other => other.to_string(),
    }
}

/// What is wrong with the request. That it names a transaction means nothing for records that are part of none, as in Kafka.
fn refuse(request: &ProduceView) -> Option<Refused> {
    let valid = (-1..=1).contains(&request.acks);
    (!valid).then_some(Refused { error: ErrorCode::InvalidRequiredAcks, message: None, of_all: false })
}

/// A partition of a request: its topic as the request names it, and its index.
type Place<'a> = (Uuid, &'a str, i32);

fn place<'a>(version: i16, topic: &'a ProduceTopic, index: i32) -> Place<'a> {
    (if version >= TOPIC_IDS_FROM { topic.topic_id } else { Uuid::nil() }, &topic.name, index)
}

fn find(core: &Core, version: i16, (id, name, index): Place<'_>) -> Result<Arc<Partition>, PartitionError> {
    // From version 13 on a topic has no other name than its id, not even a nil one.
    if version >= TOPIC_IDS_FROM { core.partitions.get_by_id(id, index) } else { core.partition_of(id, name, index) }
}

/// Loads the producer state that the appends will ask for, several partitions at a time: one after the other each would
/// wait for the store. Answers what could not be loaded, so that the appends do not try it again.
async fn load_producers<'a>(core: &Core, version: i16, request: &'a ProduceView) -> HashMap<Place<'a>, AppendError> {
    let mut loads = Vec::new();
    for topic in request.topics() {
        for partition in request.partitions_of(topic) {
            let records = request.records_of(partition).unwrap_or_default();
            if !BatchHeader::parse(&records).is_ok_and(|header| header.has_producer()) {
                continue;
            }
            let place = place(version, topic, partition.index);
            // What is not found is refused when its turn comes.
            if let Ok(found) = find(core, version, place)
                && found.waits_for_load()
            {
                loads.push(async move { found.ready().await.err().map(|error| (place, error.into())) });
            }
        }
    }
    if loads.is_empty() {
        return HashMap::default();
    }
    stream::iter(loads).buffer_unordered(PRODUCER_LOADS_MAX).filter_map(std::future::ready).collect().await
}

/// How many bytes of records each partition of a request has.
fn record_sizes(request: &ProduceView) -> impl Iterator<Item = usize> {
    let partitions = request.topics().iter().flat_map(move |topic| request.partitions_of(topic));
    partitions.map(move |partition| request.records_of(partition).map_or(0, |records| records.len()))
}

/// The version from which on it is said in words what is wrong, of single records, too.
const TEXTS_FROM: i16 = 8;

/// What may yet be said of what is refused. A small batch may have a hundred records that are wrong, and the text of each
/// may be long.
struct Texts {
    left: usize,
    /// What was said.
    bytes: usize,
}

impl Texts {
    /// Nobody is told anything without an answer, or in old versions.
    fn of(call: &Call, acks: i16) -> Self {
        let is_told = acks != 0 && call.version >= TEXTS_FROM;
        let left = if is_told { REFUSAL_BYTES_MIN.max(REFUSAL_BYTES_PER_BYTE * call.frame_bytes) } else { 0 };
        Self { left, bytes: 0 }
    }

    /// The text, if there is room for it and `more`.
    fn take(&mut self, text: String, more: usize) -> Option<Str> {
        let bytes = text.len() + more;
        self.left = self.left.checked_sub(bytes)?;
        self.bytes += bytes;
        Some(text.into())
    }
}

/// The request's room in the log cache, taken when the first batch is about to be appended.
///
/// Records that are a small part of their frame get memory of their own: from the log cache they go out to readers, and
/// slices would keep all of the frame until the last of these has taken them.
struct Memory {
    frame_bytes: usize,
    /// What the records take: the frame, if any of them stay in it, and what is copied.
    bytes: usize,
    room: Option<Room>,
}

impl Memory {
    /// For a frame with records of these sizes.
    fn of(frame_bytes: usize, sizes: impl Iterator<Item = usize>) -> Self {
        let mut memory = Self { frame_bytes, bytes: 0, room: None };
        let (mut copied, mut is_kept) = (0, false);
        for size in sizes {
            if memory.is_small(size) {
                copied += size;
            } else {
                is_kept = true;
            }
        }
        memory.bytes = copied + if is_kept { frame_bytes } else { 0 };
        memory
    }

    fn is_small(&self, records_bytes: usize) -> bool {
        records_bytes < self.frame_bytes / FRAME_SHARE_MIN
    }

    fn own(&self, records: Bytes) -> Bytes {
        if self.is_small(records.len()) { Bytes::copy_from_slice(&records) } else { records }
    }

    async fn room(&mut self, partition: &Partition) -> &Room {
        match &mut self.room {
            Some(room) => room,
            none => none.insert(partition.reserve(self.bytes).await),
        }
    }
}

async fn append_topic<'a>(
    core: &Core,
    call: &Call,
    request: &ProduceView,
    (memory, texts, unloaded): (&mut Memory, &mut Texts, &mut HashMap<Place<'a>, AppendError>),
    Asked { topic, partitions }: &Asked<'a>,
    refused: Option<&Refused>,
) -> Topic {
    let mut parts = Vec::with_capacity(partitions.len());
    for partition in partitions {
        // A batch may decompress to very much.
        call.peer.breathe(&core.clock).await;
        let place = place(call.version, topic, partition.index);
        let part = match refused {
            Some(Refused { error, message, of_all: true }) => failed(partition.index, code(*error), message.clone()),
            _ => {
                let records = request.records_of(partition).unwrap_or_default();
                // As a rule nothing had to be loaded, and the key need not be hashed.
                let unloaded = if unloaded.is_empty() { None } else { unloaded.remove(&place) };
                append_partition(core, call.version, (memory, texts), place, unloaded, records, refused).await
            }
        };
        parts.push(part);
    }
    let head =
        TopicProduceResponse { name: topic.name.clone(), topic_id: topic.topic_id, ..TopicProduceResponse::default() };
    Topic { head, parts }
}

async fn append_partition(
    core: &Core,
    version: i16,
    (memory, texts): (&mut Memory, &mut Texts),
    place: Place<'_>,
    unloaded: Option<AppendError>,
    records: Bytes,
    refused: Option<&Refused>,
) -> Part {
    let (bytes, index) = (records.len() as u64, place.2);
    let partition = match find(core, version, place) {
        Ok(partition) => partition,
        Err(error) => return failed(index, error.code(), None),
    };
    if let Err(error) = records::check_produce_version(&records, version) {
        return failed(index, error.code(), None);
    }
    if let Some(Refused { error, message, .. }) = refused {
        return failed(index, code(*error), message.clone());
    }
    if is_internal(partition.topic().name()) {
        return failed(index, code(ErrorCode::InvalidTopicException), None);
    }
    if version < 3 && records::holds_nothing(&records) {
        return nothing(index);
    }
    let metrics = core.topic_metrics(partition.topic().name());
    if let Some(error) = unloaded {
        metrics.record_produce_failure(bytes);
        return refused_part(texts, &partition, index, &error);
    }
    let records = memory.own(records);
    let room = memory.room(&partition).await;
    match partition.append(records, room, AppendOptions::client()).await {
        Ok(appended) => {
            metrics.record_produce(appended.last_offset.0 - appended.base_offset.0 + 1, bytes);
            appended_part(index, appended)
        }
        Err(error) => {
            metrics.record_produce_failure(bytes);
            refused_part(texts, &partition, index, &error)
        }
    }
}

/// The success of appending nothing, which Kafka lets versions below 3 do.
fn nothing(index: i32) -> Part {
    let response = PartitionProduceResponse { index, base_offset: -1, ..PartitionProduceResponse::default() };
    Part { response, durable: None, by_producer_state: false }
}

fn appended_part(index: i32, appended: Appended) -> Part {
    let response = PartitionProduceResponse {
        index,
        base_offset: appended.base_offset.kafka(),
        log_append_time_ms: appended.log_append_time.0,
        log_start_offset: appended.log_start.kafka(),
        ..PartitionProduceResponse::default()
    };
    Part { response, durable: Some(appended.durable), by_producer_state: false }
}

/// Whether the log's start goes with a refusal: not where Kafka's `ReplicaManager.appendToLocalLog` knows the error beforehand.
fn tells_log_start(error: &AppendError) -> bool {
    !matches!(
        error.error_code(),
        ErrorCode::UnknownTopicOrPartition
            | ErrorCode::NotLeaderOrFollower
            | ErrorCode::MessageTooLarge
            | ErrorCode::RecordListTooLarge
            | ErrorCode::CorruptMessage
            | ErrorCode::KafkaStorageError
    )
}

fn refused_part(texts: &mut Texts, partition: &Partition, index: i32, error: &AppendError) -> Part {
    let name = format!("{}-{index}", partition.topic().name());
    tracing::debug!(partition = name, %error, "records are refused");
    let mut part = failed(index, error.code(), None);
    if tells_log_start(error) {
        part.response.log_start_offset = partition.log_start().kafka();
    }
    part.by_producer_state = matches!(error, AppendError::Producer(_));
    if texts.left == 0 {
        return part;
    }
    part.response.error_message = error.message(&name).and_then(|text| texts.take(text, 0));
    for record in error.record_errors() {
        let Some(text) = texts.take(record.message(&name), size_of::<BatchIndexAndErrorMessage>()) else {
            // All or none: a client takes those that it is not told of for right.
            texts.left = 0;
            part.response.record_errors = Vec::new();
            break;
        };
        part.response.record_errors.push(BatchIndexAndErrorMessage {
            batch_index: record.batch_index,
            batch_index_error_message: Some(text),
            ..BatchIndexAndErrorMessage::default()
        });
    }
    part
}

fn failed(index: i32, error_code: i16, message: Option<String>) -> Part {
    let response = PartitionProduceResponse {
        index,
        error_code,
        base_offset: -1,
        error_message: message.map(Into::into),
        ..PartitionProduceResponse::default()
    };
    Part { response, durable: None, by_producer_state: false }
}

/// Turns a success into what became of it.
fn settle(response: &mut PartitionProduceResponse, outcome: Option<Result<(), partition::PartitionError>>) {
    let (error_code, message) = match outcome {
        Some(Ok(())) => return,
        Some(Err(error)) => (error.code(), None),
        None => {
            let why = "the records were not durable within the request's timeout; they may still become so";
            (code(ErrorCode::RequestTimedOut), Some(why.to_owned()))
        }
    };
    *response = failed(response.index, error_code, message).response;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_part_of_a_frame_does_not_keep_the_frame() {
        let frame = Bytes::from(vec![7; 100]);
        for (bytes, copied) in [(24, true), (25, false)] {
            let memory = Memory::of(frame.len(), [bytes].into_iter());
            let own = memory.own(frame.slice(..bytes));
            assert_eq!(own.as_ptr() != frame.as_ptr(), copied, "{bytes}");
            assert_eq!(own.len(), bytes);
        }
        for (sizes, bytes) in [(vec![24, 20], 44), (vec![25, 60], 100), (vec![24, 60], 124), (vec![], 0)] {
            assert_eq!(Memory::of(frame.len(), sizes.iter().copied()).bytes, bytes, "{sizes:?}");
        }
    }

    #[test]
    fn a_producer_waits_for_the_device_whatever_it_asks_for() {
        assert_eq!(patience(7_000), Duration::from_secs(7));
        assert_eq!(patience(1), PRODUCE_WAIT_MIN);
        for none in [0, -1, i32::MIN] {
            assert_eq!(patience(none), PRODUCE_WAIT_DEFAULT, "{none}");
        }
    }
}
