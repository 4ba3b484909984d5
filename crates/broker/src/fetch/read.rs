//! One pass over the partitions of a fetch, in their order, until its bytes are used up.

use std::sync::Arc;

use base::memory::Charge;
use futures::future::join_all;
use partition::{Isolation, Partition, ReadError, ReadRequest, ReadResult};
use wire::ErrorCode;
use wire::messages::FetchRequest;

use super::answer::PartitionAnswer;
use super::session::{Answer, Want};
use crate::call::Call;
use crate::core::Core;
use crate::errors::{NONE, code};
use crate::limits::{COLD_COPIED_BYTES_MAX, FETCH_BYTES_SCARCE, FETCH_COLD_READS_MAX, REPLY_MEMORY_EXCESS_MAX};

/// Partitions that are looked up or read before it is asked whether others should run: each takes a microsecond as a rule.
pub(crate) const PARTITIONS_AT_ONCE: usize = 8;

/// One partition of the request, looked up once.
pub(crate) struct Target<'a> {
    pub(crate) want: &'a Want,
    pub(crate) partition: Result<Arc<Partition>, i16>,
}

impl Target<'_> {
    /// Where it stands in the answer: first what there is, then topics with an id that nobody knows, then partitions that
    /// are not there. So Kafka sorts them.
    pub(crate) fn rank(&self) -> u8 {
        match self.partition {
            Err(error) if error == code(ErrorCode::UnknownTopicId) => 1,
            Err(error) if error == code(ErrorCode::UnknownTopicOrPartition) => 2,
            _ => 0,
        }
    }

    /// There is no such partition. Kafka tells it with the answer and does not hurry because of it, or a consumer that
    /// has a deleted topic among others would ask without a pause.
    pub(crate) fn is_unknown(&self) -> bool {
        self.rank() > 0
    }
}

/// What one pass over the partitions found.
pub(crate) struct Pass {
    pub(crate) answers: Vec<PartitionAnswer>,
    bytes: usize,
    /// What counts towards the limit: where that cut a read short all that it might have returned, for Kafka fills it with
    /// the start of the next batch, and the partitions behind it get nothing.
    used: usize,
    /// The places of those that were cut short, with what Kafka would have sent of them.
    pub(crate) sliced: Vec<(usize, usize)>,
    /// What counts towards the minimum: `bytes`, and the whole limit of a partition that has more than fits.
    pub(crate) available: usize,
    /// Something is worth telling at once, whatever the number of bytes.
    pub(crate) urgent: bool,
    /// What the answers hold of the memory for replies.
    pub(crate) charge: Charge,
}

/// Where records lie.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Cache,
    Store,
}

impl Pass {
    /// Takes account of a read that might return so many bytes. Returns how many Kafka would have sent if it was cut short.
    fn count(&mut self, result: &Result<ReadResult, ReadError>, max_bytes: usize, from: Place) -> Option<usize> {
        match result {
            Ok(read) => {
                self.bytes += read.bytes;
                let is_cut = read.has_more && read.bytes > 0 && from == Place::Cache;
                let sliced = is_cut.then(|| read.bytes.max(max_bytes));
                self.used += sliced.unwrap_or(read.bytes);
                self.available += if read.has_more { read.bytes.max(max_bytes) } else { read.bytes };
                let is_limited = max_bytes == 0;
                self.urgent |= from == Place::Store && (read.bytes > 0 || read.has_more && !is_limited);
                sliced
            }
            Err(_) => {
                self.urgent = true;
                None
            }
        }
    }
}

/// How much is read, and of what.
pub(crate) struct Limits {
    version: i16,
    max_bytes: usize,
    /// The request's limit is a negative number.
    is_below_zero: bool,
    pub(crate) min_bytes: usize,
    isolation: Isolation,
    /// It says that it is a replica.
    pub(crate) is_replica: bool,
}

impl Limits {
    pub(crate) fn of(core: &Core, call: &Call, request: &FetchRequest, isolation: Isolation) -> Self {
        let max_bytes = usize::try_from(request.max_bytes).unwrap_or(0).min(core.fetch_bytes_max);
        Self {
            version: call.version,
            max_bytes,
            is_below_zero: request.max_bytes < 0,
            min_bytes: usize::try_from(request.min_bytes).unwrap_or(0).min(max_bytes),
            isolation,
            is_replica: request.replica_id >= 0 || request.replica_state.replica_id >= 0,
        }
    }
}

/// One pass: every partition in order, until the bytes are used up.
pub(crate) async fn read(core: &Core, call: &Call, targets: &[Target<'_>], limits: &Limits) -> Pass {
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
        let pass = Pass {
            answers: Vec::with_capacity(targets.len()),
            bytes: 0,
            used: 0,
            sliced: Vec::new(),
            available: 0,
            urgent: false,
            charge,
        };
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
        let refused =
            if self.limits.is_replica { Some(to_replica(want, partition)) } else { diverging(want, partition) };
        if let Some(answer) = refused {
            self.pass.answers.push(answer);
            self.pass.urgent = true;
            return;
        }
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
        if let Some(bytes) = self.pass.count(&result, request.max_bytes, from) {
            self.pass.sliced.push((at, bytes));
        }
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
        let used = self.pass.used + self.spoken_for;
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
            self.spent |= answer.error_code == NONE && !answer.has_records() && cold.is_cut;
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

/// The answer to a replica: the leader is the only one that there is. Kafka's `Partition.followerReplicaOrThrow`.
fn to_replica(want: &Want, partition: &Partition) -> PartitionAnswer {
    let current = want.current_leader_epoch.max(-1);
    PartitionAnswer::error(match partition.offset_for_leader_epoch(0, current) {
        Err(error) => error.code(),
        Ok(_) if current >= 0 => code(ErrorCode::UnknownLeaderEpoch),
        Ok(_) => code(ErrorCode::NotLeaderOrFollower),
    })
}

/// The answer to a client that says in which leader epoch it fetched last, as Kafka's followers do, if there is no going on
/// from there.
fn diverging(want: &Want, partition: &Partition) -> Option<PartitionAnswer> {
    let last = want.last_fetched_epoch;
    if last < 0 {
        return None;
    }
    let out_of_range = || PartitionAnswer::error(code(ErrorCode::OffsetOutOfRange));
    // Kafka takes any negative current epoch of a fetch for none.
    let end = match partition.offset_for_leader_epoch(last, want.current_leader_epoch.max(-1)) {
        Ok(end) if end.epoch == -1 || end.end == -1 => return Some(out_of_range()),
        Ok(end) => end,
        Err(error) => return Some(PartitionAnswer::error(error.code())),
    };
    if want.fetch_offset < partition.log_start().kafka() {
        return Some(out_of_range());
    }
    let diverges = end.epoch < last || end.end < want.fetch_offset;
    diverges.then(|| PartitionAnswer {
        high_watermark: partition.high_watermark().kafka(),
        last_stable_offset: partition.last_stable_offset().kafka(),
        log_start_offset: partition.log_start().kafka(),
        diverging: Some(Box::new(end)),
        ..PartitionAnswer::error(NONE)
    })
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

/// Takes back that offsets are out of range, or the log ends before them, if another broker took this one's place: they may
/// well exist in its log (I-3).
/// One check is enough for all, and none is made where nothing depends on it: it begins when all answers are known.
async fn doubt_ends<E>(answers: &mut [PartitionAnswer], check: impl Future<Output = Result<(), E>>) {
    let tells_ends = |answer: &&mut PartitionAnswer| {
        answer.error_code == code(ErrorCode::OffsetOutOfRange) || answer.diverging.is_some()
    };
    let mut doubtful = answers.iter_mut().filter(tells_ends).peekable();
    if doubtful.peek().is_some() && check.await.is_err() {
        doubtful.for_each(|answer| answer.fail(ErrorCode::NotLeaderOrFollower));
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
