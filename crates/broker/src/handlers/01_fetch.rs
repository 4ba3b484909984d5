//! Fetch (key 1), versions 0–18.
//!
//! | Version | What changes |
//! |---|---|
//! | 0–1 | records of magic 0; v1 adds throttle time |
//! | 2–3 | records of magic 1; v3 limits the whole response and never cuts the first batch (KIP-74) |
//! | 4 | magic 2, isolation level, aborted transactions (KIP-98); v5 log start |
//! | 7 | fetch sessions (KIP-227) |
//! | 9 | current leader epoch (KIP-320) |
//! | 10 | says that the client knows zstd (KIP-110); older ones from 4 on get it too, as from Kafka 4.4 |
//! | 11 | rack and preferred replica (KIP-392): no replica is preferred |
//! | 12 | where the log of a client that says its last epoch parts from this one (KIP-595) |
//! | 13 | topic ids (KIP-516) |
//! | 16 | who leads a partition, where this broker does not or the client knows an older epoch (KIP-951), 17–18 fields of followers |
//!
//! A fetch that finds fewer than `min_bytes` hangs a bell into its partitions and waits for it, no longer than
//! `max_wait_ms`; each commit of a partition rings once. What counts is what a partition has for the reader within its
//! limits, not what whole batches fill of them: waiting does not make a batch fit. What was deleted during the wait is not
//! sent: where a log's ends moved, it is read again before the answer. Records that come from the store are
//! sent at once, as Kafka sends those of older segments. An offset inside a batch gives the whole batch.
//!
//! A partition that is named more than once is answered once, where it is named first and as it is wanted last. Those that
//! there are not come last.
//!
//! What Kafka fails on is an unknown error. An isolation level that is none is refused with the whole request, each mention
//! of a partition, where there is a partition to read: after the session was looked at and took the request's changes over,
//! and not if nobody knows what is asked for. A partition's negative limit is, where there is something to read, and the
//! request's for the first partition; the others get what a limit of 0 gives them. The whole request is where its answer
//! would have anything behind the topic whose id is nil.

use std::sync::Arc;
use std::time::Duration;

use base::memory::Charge;
use bytes::Buf;
use partition::{Isolation, Watch, Watcher};
use wire::messages::FetchRequest;
use wire::messages::fetch_request::FetchTopic;
use wire::messages::fetch_response::NodeEndpoint;
use wire::{ErrorCode, Reader, Str};

use crate::call::Call;
use crate::core::Core;
use crate::errors::{NONE, code};
use crate::fetch::answer::{PartitionAnswer, READS_ALL_FROM};
use crate::fetch::encode::{self, Sent};
use crate::fetch::leaders;
use crate::fetch::read::{Limits, PARTITIONS_AT_ONCE, Pass, Target, read};
use crate::fetch::session::{Begin, Context, TopicRef, Want};
use crate::limits::{
    CONVERTED_AT_ONCE_BYTES_MAX, CONVERTED_BYTES_MAX, FETCH_PARTITION_BYTES, FETCH_WAIT_LET_IN_BYTES_MAX,
    FETCH_WAIT_MAX, FETCH_WITHOUT_BELLS_WAIT,
};
use crate::net::peer::within;
use crate::net::service::Reply;

/// Requests name topics by id from this version on.
const TOPIC_IDS_FROM: i16 = 13;
/// Answers tell leaders from this version on.
const LEADERS_FROM: i16 = 16;

/// Answers a fetch.
pub(crate) async fn handle(core: Arc<Core>, call: Call, mut reader: Reader) -> Reply {
    let started = core.clock.monotonic();
    let (context, limits, max_wait, refused, asked_session) = {
        let request: FetchRequest = match call.decode(&mut reader) {
            Ok(request) => request,
            Err(refusal) => return refusal.into(),
        };
        drop(reader);
        let max_wait = Duration::from_millis(u64::try_from(request.max_wait_ms).unwrap_or(0));
        let isolation = Isolation::from_wire(request.isolation_level);
        // What there is not is told whatever the level.
        let limits = Limits::of(&core, &call, &request, isolation.unwrap_or(Isolation::ReadUncommitted));
        let refused = isolation.is_none().then(|| Refused::of(&request, call.version));
        let begin = begin(request, call.version);
        let asked_session = begin.session_id;
        // Each is copied some times until it is taken over, and what is forgotten is told apart from now on.
        let told = refused.as_ref().map_or(0, |refused| refused.bytes(&call));
        call.hold(FETCH_PARTITION_BYTES * begin.wants.len() + told + begin.forgotten_bytes());
        match core.sessions.begin(begin, started).await {
            Ok(context) => (context, limits, max_wait.min(FETCH_WAIT_MAX), refused, asked_session),
            Err(error) => return write(&call, code(error), 0, &[], &[], None),
        }
    };
    let wants = context.wants();
    // A small request may stand for a large session.
    let told = refused.as_ref().map_or(0, |refused| refused.bytes(&call));
    call.hold(FETCH_PARTITION_BYTES * wants.len() + told);
    let mut targets = Vec::with_capacity(wants.len());
    for (at, want) in wants.iter().enumerate() {
        if (at + 1).is_multiple_of(PARTITIONS_AT_ONCE) {
            call.peer.breathe(&core.clock).await;
        }
        let partition = core.partition(&want.topic, want.partition).map_err(|error| error.code());
        let partition = partition.map_err(|error| known_before(&core, &context, want).unwrap_or(error));
        targets.push(Target { want, partition });
    }
    targets.sort_by_key(Target::rank);
    if let Some(refused) = refused
        && targets.iter().any(|target| !target.is_unknown())
    {
        return refused.told(&call);
    }
    let (pass, _waited) = read_enough(&core, &call, &targets, &limits, started + max_wait).await;
    base::plant::place("in-fetch");
    let Pass { mut answers, sliced, charge, .. } = pass;
    if call.version < READS_ALL_FROM {
        suit(&core, &call, &targets, &mut answers, sliced).await;
    }
    if call.version >= LEADERS_FROM {
        leaders::tell(&core, targets.iter().map(|target| target.want).zip(&mut answers));
    }
    let sent: Vec<Sent<'_>> = targets.iter().map(|target| target.want).zip(&answers).collect();
    let is_nil = |(want, _): &Sent<'_>| matches!(want.topic, TopicRef::Id(id) if id.is_nil());
    if sent.len() > 1 && sent[..sent.len() - 1].iter().any(is_nil) {
        return write(&call, code(ErrorCode::UnknownServerError), asked_session, &[], &[], None);
    }
    let image = core.image();
    let name_of = |id| image.topic_by_id(id).map(|topic| topic.name.clone());
    let (session_id, news) = context.finish(&core.sessions, &sent, name_of, core.clock.monotonic());
    drop(image);
    count(&core, &targets, &answers, &news);
    drop(targets);
    let sent: Vec<Sent<'_>> =
        sent.into_iter().zip(news).filter_map(|(sent, is_news)| is_news.then_some(sent)).collect();
    // A replica knows where brokers are.
    let endpoints = if limits.is_replica { Vec::new() } else { leaders::endpoints(&core, &call, &sent) };
    write(&call, NONE, session_id, &sent, &endpoints, Some(charge))
}

/// What is said of a topic that nobody knows by its id any more, but that had a name in the session: whether there is one
/// of that name.
fn known_before(core: &Core, context: &Context, want: &Want) -> Option<i16> {
    let TopicRef::Id(id) = &want.topic else { return None };
    if core.image().topic_by_id(*id).is_some() {
        return None;
    }
    let name = context.name_of(want)?;
    Some(match core.partitions.get(&name, want.partition) {
        Ok(_) => code(ErrorCode::InconsistentTopicId),
        Err(error) => error.code(),
    })
}

/// The reply is charged for all of its bytes: those of its records too, which may be converted and have another size.
fn write(
    call: &Call,
    error: i16,
    session_id: i32,
    answers: &[Sent<'_>],
    endpoints: &[NodeEndpoint],
    charge: Option<Charge>,
) -> Reply {
    let mut reply =
        call.reply_with(charge, |writer| encode::response(writer, call.version, error, session_id, answers, endpoints));
    if let Reply::Frame(frame, Some(charge)) = &mut reply {
        charge.resize(frame.remaining() as u64);
    }
    reply
}

/// What is told of a request that is refused as a whole, whatever it asks for: what it names, each time that it does, where
/// topics have names, and the session that it says it is of.
struct Refused {
    session_id: i32,
    topics: Vec<(Str, Vec<i32>)>,
    partitions: usize,
}

impl Refused {
    fn of(request: &FetchRequest, version: i16) -> Self {
        let named = if version >= TOPIC_IDS_FROM { &[] } else { &*request.topics };
        let partitions = named.iter().map(|topic| topic.partitions.len()).sum();
        let of_topic = |topic: &FetchTopic| {
            (topic.topic.clone(), topic.partitions.iter().map(|partition| partition.partition).collect())
        };
        Self { session_id: request.session_id, topics: named.iter().map(of_topic).collect(), partitions }
    }

    /// What it takes, with its answer and the frame that its topics' names are parts of.
    fn bytes(&self, call: &Call) -> usize {
        call.frame_bytes + size_of_val(&*self.topics) + FETCH_PARTITION_BYTES * self.partitions
    }

    fn told(self, call: &Call) -> Reply {
        let error = code(ErrorCode::UnknownServerError);
        let answer = PartitionAnswer { lists_aborted: true, ..PartitionAnswer::error(error) };
        let Self { session_id, topics, .. } = self;
        call.reply_with(None, |writer| {
            encode::response_of_one(writer, call.version, error, session_id, &topics, &answer)
        })
    }
}

/// The request as sessions see it. A topic's name is shared by its partitions and copied out of the request, since a
/// session outlives it. What was taken over of the request is gone before the next topic's is.
fn begin(request: FetchRequest, version: i16) -> Begin {
    let uses_ids = version >= TOPIC_IDS_FROM;
    let topic_ref = |id, name: &str| if uses_ids { TopicRef::Id(id) } else { TopicRef::Name(name.into()) };
    let mut wants = Vec::with_capacity(request.topics.iter().map(|topic| topic.partitions.len()).sum());
    for topic in request.topics {
        let reference = topic_ref(topic.topic_id, &topic.topic);
        wants.extend(topic.partitions.into_iter().map(|partition| Want {
            topic: reference.clone(),
            partition: partition.partition,
            fetch_offset: partition.fetch_offset,
            current_leader_epoch: partition.current_leader_epoch,
            last_fetched_epoch: partition.last_fetched_epoch,
            max_bytes: partition.partition_max_bytes,
        }));
    }
    let mut forgotten = Vec::with_capacity(request.forgotten_topics_data.iter().map(|t| t.partitions.len()).sum());
    for topic in request.forgotten_topics_data {
        let reference = topic_ref(topic.topic_id, &topic.topic);
        forgotten.extend(topic.partitions.into_iter().map(|partition| (reference.clone(), partition)));
    }
    // Before version 7 there are no sessions: the epoch's default is the final one.
    Begin { session_id: request.session_id, epoch: request.session_epoch, uses_ids, wants, forgotten }
}

/// What a fetch takes while it waits; nothing if there is no room for it. Everything else that it holds it gives back: who
/// it waits for may need that.
fn wait_memory(core: &Core, call: &Call, partitions: usize) -> Option<Charge> {
    let bytes = (FETCH_PARTITION_BYTES * partitions) as u64;
    let charge = if bytes <= FETCH_WAIT_LET_IN_BYTES_MAX {
        core.fetch_waits.force_charge(bytes)
    } else {
        core.fetch_waits.try_charge(bytes)?
    };
    call.let_go();
    Some(charge)
}

/// Reads until there is enough to send or the time is up. If it waited, what it took for that is charged on.
async fn read_enough(
    core: &Core,
    call: &Call,
    targets: &[Target<'_>],
    limits: &Limits,
    deadline: Duration,
) -> (Pass, Option<Charge>) {
    let mut pass = read(core, call, targets, limits).await;
    let is_any_known = targets.iter().any(|target| !target.is_unknown());
    let waits = |pass: &Pass| pass.available < limits.min_bytes && !pass.urgent && is_any_known;
    if !waits(&pass) || core.clock.monotonic() >= deadline {
        return (pass, None);
    }
    let Some(waited) = wait_memory(core, call, targets.len()) else {
        // No bell hangs for it. Answered at once it would be asked again at once.
        let _waits = core.fetch_waits.force_charge((FETCH_PARTITION_BYTES * targets.len()) as u64);
        call.let_go();
        let deadline = deadline.min(core.clock.monotonic() + FETCH_WITHOUT_BELLS_WAIT);
        within(&call.peer, &core.clock, deadline, std::future::pending::<()>()).await;
        if moved_since(targets, &pass) {
            pass.charge.resize(0);
            pass = read(core, call, targets, limits).await;
        }
        return (pass, None);
    };
    let watcher = Watcher::new();
    let watches = watch(targets, &watcher);
    // What was committed between the pass and the watch did not ring, nor did what closed.
    let mut moved = moved_since(targets, &pass) || is_any_closed(targets);
    loop {
        if moved {
            pass.charge.resize(0);
            pass = read(core, call, targets, limits).await;
            if !waits(&pass) {
                break;
            }
        }
        let seen = pass.available as u64;
        let mut rung = 0;
        // Small commits that cannot fill the minimum yet are not worth a look. A ring without bytes is news, and so is a
        // partition that closed, whose ring may have been one with another's.
        let enough = async {
            loop {
                watcher.woken().await;
                let now = watcher.bytes();
                if now == rung || seen + now >= limits.min_bytes as u64 || watcher.saw_close() {
                    return;
                }
                rung = now;
            }
        };
        let in_time = within(&call.peer, &core.clock, deadline, enough).await.is_some();
        moved = moved_since(targets, &pass) || in_time;
        if !in_time {
            if moved {
                pass.charge.resize(0);
                pass = read(core, call, targets, limits).await;
            }
            break;
        }
    }
    drop(watches);
    (pass, Some(waited))
}

/// Hangs a bell into each partition.
fn watch(targets: &[Target<'_>], watcher: &Arc<Watcher>) -> Vec<Watch> {
    let known = targets.iter().filter_map(|target| target.partition.as_ref().ok());
    known.map(|partition| partition.watch(watcher)).collect()
}

fn is_any_closed(targets: &[Target<'_>]) -> bool {
    let mut known = targets.iter().filter_map(|target| target.partition.as_ref().ok());
    known.any(|partition| partition.check_open().is_err())
}

/// Whether any partition has other records to read than a pass saw: further ones, or no longer all of those.
fn moved_since(targets: &[Target<'_>], pass: &Pass) -> bool {
    targets.iter().zip(&pass.answers).any(|(target, answer)| match &target.partition {
        Ok(partition) => {
            let ends = (partition.log_start().kafka(), partition.high_watermark().kafka());
            ends != (answer.log_start_offset, answer.high_watermark)
        }
        Err(_) => false,
    })
}

/// Converts what old clients cannot read. That may take long: a few bytes decompress to very many.
async fn suit(
    core: &Core,
    call: &Call,
    targets: &[Target<'_>],
    answers: &mut [PartitionAnswer],
    sliced: Vec<(usize, usize)>,
) {
    let version = call.version;
    let mut room = CONVERTED_BYTES_MAX;
    let mut sliced = sliced.into_iter().peekable();
    for (at, (target, answer)) in targets.iter().zip(answers).enumerate() {
        call.peer.breathe(&core.clock).await;
        let sliced_bytes = sliced.next_if(|(cut, _)| *cut == at).map_or(answer.records_bytes(), |(_, bytes)| bytes);
        let config = target.partition.as_ref().ok().map(|partition| partition.topic().config());
        let compression = config.and_then(|config| config.compression).map(|encoding| encoding.codec);
        if answer.is_converted(version) {
            answer.cut(room);
            room = room.saturating_sub(answer.records_bytes());
        }
        let converted = if answer.is_converted(version) && answer.records_bytes() >= CONVERTED_AT_ONCE_BYTES_MAX {
            let (mut suited, want) = (answer.clone(), target.want.clone());
            let work = move || {
                let converted = suited.suit(version, &want, compression, sliced_bytes);
                (suited, converted)
            };
            match core.conversions.run(work).await {
                Ok((suited, converted)) => {
                    *answer = suited;
                    converted
                }
                Err(error) => {
                    let Want { topic, partition, .. } = target.want;
                    tracing::error!(%error, ?topic, partition, "a conversion failed");
                    answer.fail(ErrorCode::UnknownServerError);
                    false
                }
            }
        } else {
            answer.suit(version, target.want, compression, sliced_bytes)
        };
        if let (true, Ok(partition)) = (converted, &target.partition) {
            core.topic_metrics(partition.topic().name()).record_conversion();
        }
    }
}

/// Counts what is sent.
fn count(core: &Core, targets: &[Target<'_>], answers: &[PartitionAnswer], news: &[bool]) {
    for ((target, answer), is_news) in targets.iter().zip(answers).zip(news) {
        let Ok(partition) = &target.partition else { continue };
        if !is_news {
            continue;
        }
        let metrics = core.topic_metrics(partition.topic().name());
        if answer.error_code == NONE {
            metrics.record_fetch(answer.records_bytes() as u64);
        } else {
            metrics.record_fetch_failure();
        }
    }
}
