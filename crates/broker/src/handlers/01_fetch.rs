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
//! | 12 | diverging epoch (KIP-595), for followers only; there are none |
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
//! request's for the first partition; the others get what a limit of 0 gives them.

use std::sync::Arc;
use std::time::Duration;

use base::memory::Charge;
use bytes::Buf;
use futures::future::join_all;
use partition::{Isolation, Partition, ReadError, ReadRequest, ReadResult, Watch, Watcher};
use wire::messages::FetchRequest;
use wire::messages::fetch_response::NodeEndpoint;
use wire::{ErrorCode, Reader};

use crate::call::Call;
use crate::core::Core;
use crate::errors::{NONE, code};
use crate::fetch::answer::{PartitionAnswer, READS_ALL_FROM};
use crate::fetch::encode::{self, Sent};
use crate::fetch::leaders;
use crate::fetch::session::{Begin, TopicRef, Want};
use crate::limits::{
    COLD_COPIED_BYTES_MAX, CONVERTED_AT_ONCE_BYTES_MAX, CONVERTED_BYTES_MAX, FETCH_BYTES_SCARCE, FETCH_COLD_READS_MAX,
    FETCH_PARTITION_BYTES, FETCH_WAIT_LET_IN_BYTES_MAX, FETCH_WAIT_MAX, FETCH_WITHOUT_BELLS_WAIT,
    REPLY_MEMORY_EXCESS_MAX,
};
use crate::net::peer::within;
use crate::net::service::Reply;

/// Partitions that are looked up or read before it is asked whether others should run: each takes a microsecond as a rule.
const PARTITIONS_AT_ONCE: usize = 8;

/// Answers tell leaders from this version on.
const LEADERS_FROM: i16 = 16;

/// One partition of the request, looked up once.
struct Target<'a> {
    want: &'a Want,
    partition: Result<Arc<Partition>, i16>,
}

impl Target<'_> {
    /// Where it stands in the answer: first what there is, then topics with an id that nobody knows, then partitions that
    /// are not there. So Kafka sorts them.
    fn rank(&self) -> u8 {
        match self.partition {
            Err(error) if error == code(ErrorCode::UnknownTopicId) => 1,
            Err(error) if error == code(ErrorCode::UnknownTopicOrPartition) => 2,
            _ => 0,
        }
    }

    /// There is no such partition. Kafka tells it with the answer and does not hurry because of it, or a consumer that
    /// has a deleted topic among others would ask without a pause.
    fn is_unknown(&self) -> bool {
        self.rank() > 0
    }
}

/// What one pass over the partitions found.
struct Pass {
    answers: Vec<PartitionAnswer>,
    bytes: usize,
    /// What counts towards the minimum: `bytes`, and the whole limit of a partition that has more than fits.
    available: usize,
    /// Something is worth telling at once, whatever the number of bytes.
    urgent: bool,
    /// What the answers hold of the memory for replies.
    charge: Charge,
}

/// Where records lie.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Cache,
    Store,
}

impl Pass {
    /// Takes account of a read that might return so many bytes.
    fn count(&mut self, result: &Result<ReadResult, ReadError>, max_bytes: usize, from: Place) {
        match result {
            Ok(read) => {
                self.bytes += read.bytes;
                self.available += if read.has_more { read.bytes.max(max_bytes) } else { read.bytes };
                let is_limited = max_bytes == 0;
                self.urgent |= from == Place::Store && (read.bytes > 0 || read.has_more && !is_limited);
            }
            Err(_) => self.urgent = true,
        }
    }
}

/// Answers a fetch.
pub(crate) async fn handle(core: Arc<Core>, call: Call, mut reader: Reader) -> Reply {
    let started = core.clock.monotonic();
    let (context, limits, max_wait, refused) = {
        let request: FetchRequest = match call.decode(&mut reader) {
            Ok(request) => request,
            Err(refusal) => return refusal.into(),
        };
        drop(reader);
        let max_wait = Duration::from_millis(u64::try_from(request.max_wait_ms).unwrap_or(0));
        let isolation = Isolation::from_wire(request.isolation_level);
        // What there is not is told whatever the level.
        let limits = Limits::of(&core, &call, &request, isolation.unwrap_or(Isolation::ReadUncommitted));
        let begin = begin(request, call.version);
        let refused = isolation.is_none().then(|| Refused::of(&begin));
        // Each is copied some times until it is taken over, and what is forgotten is told apart from now on.
        let named = begin.wants.len() + refused.as_ref().map_or(0, |refused| refused.wants.len());
        call.hold(FETCH_PARTITION_BYTES * named + begin.forgotten_bytes());
        match core.sessions.begin(begin, started).await {
            Ok(context) => (context, limits, max_wait.min(FETCH_WAIT_MAX), refused),
            Err(error) => return write(&call, code(error), 0, &[], &[], None),
        }
    };
    let wants = context.wants();
    // A small request may stand for a large session.
    let named = refused.as_ref().map_or(0, |refused| refused.wants.len());
    call.hold(FETCH_PARTITION_BYTES * (wants.len() + named));
    let mut targets = Vec::with_capacity(wants.len());
    for (at, want) in wants.iter().enumerate() {
        if (at + 1).is_multiple_of(PARTITIONS_AT_ONCE) {
            call.peer.breathe(&core.clock).await;
        }
        let partition = core.partition(&want.topic, want.partition).map_err(|error| error.code());
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
    let Pass { mut answers, charge, .. } = pass;
    if call.version < READS_ALL_FROM {
        suit(&core, &call, &targets, &mut answers).await;
    }
    if call.version >= LEADERS_FROM {
        leaders::tell(&core, targets.iter().map(|target| target.want).zip(&mut answers));
    }
    let sent: Vec<Sent<'_>> = targets.iter().map(|target| target.want).zip(&answers).collect();
    let (session_id, news) = context.finish(&core.sessions, &sent, core.clock.monotonic());
    count(&core, &targets, &answers, &news);
    drop(targets);
    let sent: Vec<Sent<'_>> =
        sent.into_iter().zip(news).filter_map(|(sent, is_news)| is_news.then_some(sent)).collect();
    let endpoints = leaders::endpoints(&core, &call, &sent);
    write(&call, NONE, session_id, &sent, &endpoints, Some(charge))
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

/// What is told of a request that is refused as a whole, whatever it asks for: what it names, where topics have names, and
/// the session that it says it is of.
struct Refused {
    session_id: i32,
    wants: Vec<Want>,
}

impl Refused {
    fn of(request: &Begin) -> Self {
        let wants = if request.uses_ids { Vec::new() } else { request.wants.clone() };
        Self { session_id: request.session_id, wants }
    }

    fn told(self, call: &Call) -> Reply {
        let error = code(ErrorCode::UnknownServerError);
        let answer = PartitionAnswer { lists_aborted: true, ..PartitionAnswer::error(error) };
        let sent: Vec<Sent<'_>> = self.wants.iter().map(|want| (want, &answer)).collect();
        write(call, error, self.session_id, &sent, &[], None)
    }
}

/// How much is read, and of what.
struct Limits {
    version: i16,
    max_bytes: usize,
    /// The request's limit is a negative number.
    is_below_zero: bool,
    min_bytes: usize,
    isolation: Isolation,
}

impl Limits {
    fn of(core: &Core, call: &Call, request: &FetchRequest, isolation: Isolation) -> Self {
        let max_bytes = usize::try_from(request.max_bytes).unwrap_or(0).min(core.fetch_bytes_max);
        Self {
            version: call.version,
            max_bytes,
            is_below_zero: request.max_bytes < 0,
            min_bytes: usize::try_from(request.min_bytes).unwrap_or(0).min(max_bytes),
            isolation,
        }
    }
}

/// The request as sessions see it. A topic's name is shared by its partitions and copied out of the request, since a
/// session outlives it. What was taken over of the request is gone before the next topic's is.
fn begin(request: FetchRequest, version: i16) -> Begin {
    let uses_ids = version >= 13;
    let topic_ref = |id, name: &str| if uses_ids { TopicRef::Id(id) } else { TopicRef::Name(name.into()) };
    let mut wants = Vec::with_capacity(request.topics.iter().map(|topic| topic.partitions.len()).sum());
    for topic in request.topics {
        let reference = topic_ref(topic.topic_id, &topic.topic);
        wants.extend(topic.partitions.into_iter().map(|partition| Want {
            topic: reference.clone(),
            partition: partition.partition,
            fetch_offset: partition.fetch_offset,
            current_leader_epoch: partition.current_leader_epoch,
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

/// One pass: every partition in order, until the bytes are used up.
async fn read(core: &Core, call: &Call, targets: &[Target<'_>], limits: &Limits) -> Pass {
    let mut reading = Reading::new(core, targets, limits);
    for at in 0..targets.len() {
        if (at + 1).is_multiple_of(PARTITIONS_AT_ONCE) {
            call.peer.breathe(&core.clock).await;
        }
        reading.target(at).await;
    }
    reading.finish().await
}

/// A read that goes to the store, and whose bytes are spoken for.
struct Cold<'a> {
    at: usize,
    partition: &'a Partition,
    request: ReadRequest,
    /// It may return less than the client would take from the partition.
    is_cut: bool,
}

/// A pass under way.
///
/// What the log cache holds is taken at once. What it does not hold is read from the store, several partitions at a
/// time, and only while there are bytes left that the reads can use: each speaks for as many as it may return, so that
/// all together never exceed what the client asked for, and a partition gets what reading one after the other would give
/// it. The read that may return one batch of any size goes alone, for nobody knows what it leaves to others.
struct Reading<'a> {
    core: &'a Core,
    targets: &'a [Target<'a>],
    limits: &'a Limits,
    pass: Pass,
    cold: Vec<Cold<'a>>,
    /// Bytes that the reads in `cold` may return, and what accounts for them: memory of its own, so that readers of the
    /// store, which may hang, leave to those of the log cache what these need.
    spoken_for: usize,
    cold_charge: Option<Charge>,
    /// Replies that clients do not take hold the memory. Nobody waits for them: who asks meanwhile gets less.
    scarce: bool,
    /// What is left was too little for a batch: further reads from the store would bring nothing that can be used.
    spent: bool,
    /// The next partition is read with the request's limit, which is a negative number.
    below_zero: bool,
}

impl<'a> Reading<'a> {
    fn new(core: &'a Core, targets: &'a [Target<'a>], limits: &'a Limits) -> Self {
        let charge = core.reply_memory.force_charge(0);
        let pass = Pass { answers: Vec::with_capacity(targets.len()), bytes: 0, available: 0, urgent: false, charge };
        let (cold, cold_charge) = (Vec::new(), None);
        Self {
            core,
            targets,
            limits,
            pass,
            cold,
            spoken_for: 0,
            cold_charge,
            scarce: false,
            spent: false,
            below_zero: limits.is_below_zero,
        }
    }

    /// Reads the next partition or, if that needs the store, remembers to.
    async fn target(&mut self, at: usize) {
        let targets = self.targets;
        let Target { want, partition } = &targets[at];
        // Those that there are not stand last.
        let below_zero = std::mem::take(&mut self.below_zero);
        let partition = match partition {
            Ok(partition) => partition,
            Err(error) => {
                let is_unknown = targets[at].is_unknown();
                let mut answer = PartitionAnswer::error(*error);
                // So Kafka says it of what it does not know, and of nothing else.
                answer.lists_aborted = is_unknown;
                self.pass.answers.push(answer);
                self.pass.urgent |= !is_unknown;
                return;
            }
        };
        let mut request = self.request(want);
        if below_zero || want.max_bytes < 0 {
            let answer = less_than_nothing(want, partition, request).await;
            self.pass.urgent |= answer.error_code != NONE;
            self.pass.answers.push(answer);
            return;
        }
        if request.max_bytes < wanted_bytes(want) && !self.cold.is_empty() {
            // The reads that are remembered may leave it more than it would get now.
            self.read_cold().await;
            request = self.request(want);
        }
        let result = partition.try_read(request);
        let useless = request.max_bytes == 0 || self.spent;
        let (result, from) = match result {
            Some(result) => (result, Place::Cache),
            // The ends of the log are told all the same; without bytes to fill nothing is read.
            None if useless && !request.min_one => {
                (partition.read(ReadRequest { max_bytes: 0, ..request }).await, Place::Store)
            }
            None => {
                let request = self.speak_for(request);
                let is_cut = request.max_bytes < wanted_bytes(want);
                self.cold.push(Cold { at, partition, request, is_cut });
                self.pass.answers.push(PartitionAnswer::error(NONE));
                if (request.min_one && self.limits.version >= 3) || self.cold.len() == FETCH_COLD_READS_MAX {
                    self.read_cold().await;
                }
                return;
            }
        };
        self.pass.count(&result, request.max_bytes, from);
        let answer = answer(want, self.limits.isolation, result);
        self.pass.answers.push(answer);
        self.pass.charge.resize(self.pass.bytes as u64);
    }

    /// Charges for a read from the store, of less if there is no memory for all.
    fn speak_for(&mut self, mut request: ReadRequest) -> ReadRequest {
        self.pass.charge.resize(self.pass.bytes as u64);
        let charge = self.cold_charge.get_or_insert_with(|| self.core.cold_memory.force_charge(0));
        if !charge.try_grow(request.max_bytes as u64) {
            self.scarce = true;
            request.max_bytes = request.max_bytes.min(FETCH_BYTES_SCARCE.saturating_sub(self.spoken_for));
            charge.resize((self.spoken_for + request.max_bytes) as u64);
        }
        self.spoken_for += request.max_bytes;
        request
    }

    /// What may be read of the next partition. Charges for it.
    fn request(&mut self, want: &Want) -> ReadRequest {
        let used = self.pass.bytes + self.spoken_for;
        let left = self.limits.max_bytes.saturating_sub(used);
        let mut max_bytes = wanted_bytes(want).min(left);
        self.scarce |= !self.pass.charge.try_grow(max_bytes as u64);
        if self.scarce {
            max_bytes = max_bytes.min(FETCH_BYTES_SCARCE.saturating_sub(used));
        }
        let memory = &self.core.reply_memory;
        let is_exceeded = self.scarce && memory.used() >= REPLY_MEMORY_EXCESS_MAX * memory.limit();
        if is_exceeded {
            // It waits as if there was nothing to read.
            max_bytes = 0;
        }
        ReadRequest {
            offset: want.fetch_offset,
            max_bytes,
            // One batch at least, or a reader whose limits are too small would stand still. From version 3 on it is the
            // first of the whole response; before, every partition's answer is cut to size instead.
            min_one: !is_exceeded && if self.limits.version >= 3 { used == 0 } else { left > 0 },
            isolation: self.limits.isolation,
            leader_epoch: want.current_leader_epoch,
        }
    }

    /// Reads what was remembered, all at once.
    async fn read_cold(&mut self) {
        let (cold, targets) = (std::mem::take(&mut self.cold), self.targets);
        let results = join_all(cold.iter().map(|cold| cold.partition.read(cold.request))).await;
        self.spoken_for = 0;
        self.cold_charge = None;
        for (cold, result) in cold.into_iter().zip(results) {
            let Target { want, .. } = &targets[cold.at];
            self.pass.count(&result, cold.request.max_bytes, Place::Store);
            let mut answer = answer(want, self.limits.isolation, result);
            answer.copy_out(COLD_COPIED_BYTES_MAX);
            self.spent |= answer.error_code == NONE && answer.records_bytes == 0 && cold.is_cut;
            self.pass.answers[cold.at] = answer;
        }
        self.pass.charge.resize(self.pass.bytes as u64);
    }

    async fn finish(mut self) -> Pass {
        self.read_cold().await;
        doubt_ends(&mut self.pass.answers, self.core.partitions.check_unfenced()).await;
        self.pass.urgent |= self.scarce && self.pass.bytes > 0;
        self.pass
    }
}

fn wanted_bytes(want: &Want) -> usize {
    usize::try_from(want.max_bytes).unwrap_or(0)
}

/// The answer for a partition of which fewer than no bytes are wanted. Kafka fails on it where there is something to
/// read.
async fn less_than_nothing(want: &Want, partition: &Partition, request: ReadRequest) -> PartitionAnswer {
    match partition.read(ReadRequest { max_bytes: 0, min_one: false, ..request }).await {
        Ok(read) if read.has_more => PartitionAnswer::error(code(ErrorCode::UnknownServerError)),
        result => answer(want, request.isolation, result),
    }
}

/// What is said about a partition that was read.
fn answer(want: &Want, isolation: Isolation, result: Result<ReadResult, ReadError>) -> PartitionAnswer {
    match result {
        Ok(read) => PartitionAnswer {
            error_code: NONE,
            high_watermark: read.high_watermark.kafka(),
            last_stable_offset: read.last_stable_offset.kafka(),
            log_start_offset: read.log_start.kafka(),
            lists_aborted: isolation == Isolation::ReadCommitted,
            records_bytes: read.bytes,
            records: read.slices.into_iter().collect(),
            ..PartitionAnswer::error(NONE)
        },
        Err(error) => {
            let error_code = error.code();
            if error_code == code(ErrorCode::KafkaStorageError) || error_code == code(ErrorCode::CorruptMessage) {
                tracing::warn!(%error, topic = ?want.topic, partition = want.partition, "records cannot be read");
            }
            PartitionAnswer::error(error_code)
        }
    }
}

/// Takes back that offsets are out of range if another broker took this one's place: they may well exist in its log (I-3).
/// One check is enough for all, and none is made where nothing depends on it: it begins when all answers are known.
async fn doubt_ends<E>(answers: &mut [PartitionAnswer], check: impl Future<Output = Result<(), E>>) {
    let out_of_range = |answer: &&mut PartitionAnswer| answer.error_code == code(ErrorCode::OffsetOutOfRange);
    let mut doubtful = answers.iter_mut().filter(out_of_range).peekable();
    if doubtful.peek().is_some() && check.await.is_err() {
        doubtful.for_each(|answer| answer.error_code = code(ErrorCode::NotLeaderOrFollower));
    }
}

/// Converts what old clients cannot read. That may take long: a few bytes decompress to very many.
async fn suit(core: &Core, call: &Call, targets: &[Target<'_>], answers: &mut [PartitionAnswer]) {
    let version = call.version;
    let mut room = CONVERTED_BYTES_MAX;
    for (target, answer) in targets.iter().zip(answers) {
        call.peer.breathe(&core.clock).await;
        let config = target.partition.as_ref().ok().map(|partition| partition.topic().config());
        let compression = config.and_then(|config| config.compression).map(|encoding| encoding.codec);
        if answer.is_converted(version) {
            answer.cut(room);
            room = room.saturating_sub(answer.records_bytes);
        }
        let converted = if answer.is_converted(version) && answer.records_bytes >= CONVERTED_AT_ONCE_BYTES_MAX {
            let (mut suited, want) = (answer.clone(), target.want.clone());
            let work = move || {
                let converted = suited.suit(version, &want, compression);
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
            answer.suit(version, target.want, compression)
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
            metrics.record_fetch(answer.records_bytes as u64);
        } else {
            metrics.record_fetch_failure();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[tokio::test]
    async fn one_look_at_the_fence_is_for_all_offsets_that_are_out_of_range() {
        const OUT: ErrorCode = ErrorCode::OffsetOutOfRange;
        const NOT: ErrorCode = ErrorCode::NotLeaderOrFollower;
        const UNKNOWN: ErrorCode = ErrorCode::UnknownTopicOrPartition;
        for (asked, fenced, told, looks) in [
            ([OUT, UNKNOWN, OUT], true, [NOT, UNKNOWN, NOT], 1),
            ([OUT, UNKNOWN, OUT], false, [OUT, UNKNOWN, OUT], 1),
            ([UNKNOWN, UNKNOWN, NOT], true, [UNKNOWN, UNKNOWN, NOT], 0),
        ] {
            let answer = |error| PartitionAnswer::error(code(error));
            let mut answers = asked.map(answer);
            let looked = Cell::new(0);
            let check = async {
                looked.set(looked.get() + 1);
                if fenced { Err("replaced") } else { Ok(()) }
            };
            doubt_ends(&mut answers, check).await;
            assert_eq!(answers.map(|answer| answer.error_code), told.map(code), "{asked:?} {fenced}");
            assert_eq!(looked.get(), looks);
        }
    }
}
