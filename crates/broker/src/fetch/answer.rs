//! What a fetch says about one partition, and what old readers need of it.

use bytes::{Bytes, BytesMut};
use partition::EpochEnd;
use records::{Compression, RecordsError, batches, convert};
use wire::ErrorCode;

use super::session::{Answer, Want};
use crate::endpoints::LeaderHint;
use crate::errors::code;
use crate::limits::DOWN_CONVERTED_BYTES_MAX;

/// From this version on a client reads everything as it is stored and knows every error.
pub(crate) const READS_ALL_FROM: i16 = 6;

/// Before this version records are converted.
const CONVERTED_BEFORE: i16 = 4;

/// The answer for one partition; which one, its place among all answers says.
#[derive(Clone, Debug)]
pub(crate) struct PartitionAnswer {
    pub(crate) error_code: i16,
    pub(crate) high_watermark: i64,
    pub(crate) last_stable_offset: i64,
    pub(crate) log_start_offset: i64,
    /// Whether a list of aborted transactions is sent: there are none yet, but read_committed readers expect one.
    pub(crate) lists_aborted: bool,
    /// Where the client's log parts from this one.
    pub(crate) diverging: Option<Box<EpochEnd>>,
    /// Told where the client should look for the leader elsewhere.
    pub(crate) leader: Option<LeaderHint>,
    /// Consecutive slices of the log.
    pub(crate) records: Vec<Bytes>,
}

impl PartitionAnswer {
    /// An answer that is only an error.
    pub(crate) fn error(error_code: i16) -> Self {
        Self {
            error_code,
            high_watermark: -1,
            last_stable_offset: -1,
            log_start_offset: -1,
            lists_aborted: false,
            diverging: None,
            leader: None,
            records: Vec::new(),
        }
    }

    /// The records' size.
    pub(crate) fn records_bytes(&self) -> usize {
        self.records.iter().map(Bytes::len).sum()
    }

    /// Copies slices of less than so many bytes out of the buffers that they lie in, which are larger.
    pub(crate) fn copy_out(&mut self, below_bytes: usize) {
        for slice in self.records.iter_mut().filter(|slice| slice.len() < below_bytes) {
            *slice = Bytes::copy_from_slice(slice);
        }
    }

    /// Whether [`Self::suit`] converts records for this version.
    pub(crate) fn is_converted(&self, version: i16) -> bool {
        version < CONVERTED_BEFORE && !self.has_error() && self.has_records()
    }

    /// Leaves whole batches of no more than `max_bytes`, one at least.
    pub(crate) fn cut(&mut self, max_bytes: usize) {
        if self.records_bytes() <= max_bytes {
            return;
        }
        let records = joined(&self.records);
        let mut end = 0;
        for batch in batches(&records) {
            // What is broken is met again where it is converted.
            let Ok(batch) = batch else { break };
            if end > 0 && end + batch.bytes.len() > max_bytes {
                self.records = vec![records.slice(..end)];
                return;
            }
            end += batch.bytes.len();
        }
    }

    /// Nothing but an error is told.
    pub(crate) fn fail(&mut self, error: ErrorCode) {
        *self = Self::error(code(error));
    }

    /// Brings the records into a form that a client of `version` reads, or says why it cannot. `compression` is the
    /// topic's own `compression.type`, unless that is the producer's.
    ///
    /// | Version | Records |
    /// |---|---|
    /// | 0–1 | magic 0, so no zstd |
    /// | 2–3 | magic 1, so no zstd |
    /// | 4+ | as stored, zstd too |
    ///
    /// Version 10 says that its client knows zstd (KIP-110), but clients that fetch with version 4 know it, too
    /// (kafka-python, aiokafka), and Kafka lets them have it.
    ///
    /// What Kafka would send as it is stored it does not exceed by much when it is converted, and so cuts it, in the middle
    /// of a message if need be: old clients expect it, and it tells them that there is more. Of a batch that is larger than
    /// the limit of versions 0–2 it sends nothing; here they get as much as fits. Says whether records were converted.
    /// `sliced_bytes` is what Kafka would send of them.
    pub(crate) fn suit(
        &mut self,
        version: i16,
        want: &Want,
        compression: Option<Compression>,
        sliced_bytes: usize,
    ) -> bool {
        if version < CONVERTED_BEFORE && compression == Some(Compression::Zstd) {
            // Whatever else would be said, be there a record or not, and whatever the codec of those that are there.
            self.fail(ErrorCode::UnsupportedCompressionType);
            return false;
        }
        if version < READS_ALL_FROM && self.error_code == code(ErrorCode::KafkaStorageError) {
            // Clients that do not know the storage error would take it for a bug and stop; this one makes them retry.
            self.error_code = code(ErrorCode::NotLeaderOrFollower);
        }
        if !self.is_converted(version) {
            return false;
        }
        let magic = if version <= 1 { 0 } else { 1 };
        let (records, most) = (joined(&self.records), DOWN_CONVERTED_BYTES_MAX);
        let max_bytes = usize::try_from(want.max_bytes).unwrap_or(0);
        let is_too_large = version <= 2 && records.len() > max_bytes;
        let size = if is_too_large { max_bytes } else { sliced_bytes };
        match convert::down_convert_within(&records, magic, want.fetch_offset, most, size) {
            Ok(mut converted) => {
                if is_too_large {
                    converted.truncate(max_bytes);
                }
                self.records = vec![converted];
                true
            }
            Err(RecordsError::UnsupportedCompression { .. }) => {
                self.fail(ErrorCode::UnsupportedCompressionType);
                false
            }
            Err(error) => {
                tracing::warn!(%error, partition = want.partition, topic = ?want.topic, "records cannot be converted");
                self.fail(ErrorCode::CorruptMessage);
                false
            }
        }
    }
}

impl Answer for PartitionAnswer {
    fn has_records(&self) -> bool {
        self.records.iter().any(|slice| !slice.is_empty())
    }

    fn has_error(&self) -> bool {
        self.error_code != 0
    }

    fn diverges(&self) -> bool {
        self.diverging.is_some()
    }

    fn high_watermark(&self) -> i64 {
        self.high_watermark
    }

    fn log_start(&self) -> i64 {
        self.log_start_offset
    }
}

fn joined(slices: &[Bytes]) -> Bytes {
    if let [one] = slices {
        return one.clone();
    }
    let mut all = BytesMut::with_capacity(slices.iter().map(Bytes::len).sum());
    slices.iter().for_each(|slice| all.extend_from_slice(slice));
    all.freeze()
}

#[cfg(test)]
mod tests {
    use records::BatchBuilder;

    use super::super::session::TopicRef;
    use super::*;

    fn batch(codec: Compression, base: i64) -> Bytes {
        let mut builder = BatchBuilder::new(codec).base_offset(base);
        builder.append(1, Some(b"k"), Some(&[7; 300]), &[]).unwrap();
        builder.append(2, None, Some(b"v"), &[]).unwrap();
        builder.build().unwrap()
    }

    fn want(max_bytes: i32) -> Want {
        let topic = TopicRef::Name("t".into());
        Want { topic, partition: 0, fetch_offset: 0, current_leader_epoch: -1, last_fetched_epoch: -1, max_bytes }
    }

    fn answer(batches: &[Bytes], cut: usize) -> PartitionAnswer {
        let all = joined(batches);
        let records: Vec<Bytes> =
            (0..all.len()).step_by(cut).map(|at| all.slice(at..all.len().min(at + cut))).collect();
        PartitionAnswer { records, ..PartitionAnswer::error(0) }
    }

    /// Asked on running brokers: Kafka 3.9.2 answers versions 0–3 with error 76, and versions 4–9 only where the topic's
    /// own `compression.type` is zstd; Kafka 4.4.0, which begins at version 4, gives the records as they are in each.
    #[test]
    fn each_version_gets_what_it_reads() {
        let zstd = [batch(Compression::Zstd, 0)];
        for compression in [None, Some(Compression::Zstd)] {
            for version in 0..=18 {
                let mut answer = answer(&zstd, 50);
                assert!(!answer.suit(version, &want(1 << 20), compression, usize::MAX), "version {version}");
                let refused = code(ErrorCode::UnsupportedCompressionType);
                assert_eq!(answer.error_code, if version < 4 { refused } else { 0 }, "version {version}");
                assert_eq!(answer.records.is_empty(), version < 4, "version {version}");
            }
        }
        for (version, magic) in [(0, 0), (1, 0), (2, 1), (3, 1)] {
            let mut old = answer(&[batch(Compression::None, 0)], 50);
            assert!(old.suit(version, &want(1 << 20), Some(Compression::Gzip), usize::MAX));
            assert_eq!(joined(&old.records)[16], magic, "version {version}");
        }
        let mut cut = answer(&[batch(Compression::None, 0)], 50);
        cut.suit(1, &want(40), None, usize::MAX);
        assert_eq!(cut.records_bytes(), 40);
    }

    /// As Kafka 3.9.2, which sends as many bytes as it would of the batches as they are stored, or all of the first one.
    #[test]
    fn what_is_converted_is_as_large_as_it_is_stored_or_the_first_batch_of_it() {
        let (first, second) = (batch(Compression::None, 0), batch(Compression::None, 2));
        let converted = |sliced_bytes| {
            let mut answer = answer(&[first.clone(), second.clone()], 50);
            assert!(answer.suit(3, &want(1 << 20), None, sliced_bytes));
            answer.records_bytes()
        };
        let all = converted(usize::MAX);
        let of_the_first = converted(0);
        assert_eq!(converted(all - 1), all - 1);
        assert_eq!((converted(all + 1), converted(1), 2 * of_the_first), (all, of_the_first, all));
    }

    #[test]
    fn what_is_converted_is_cut_to_whole_batches_and_one_at_least() {
        let all = [batch(Compression::None, 0), batch(Compression::None, 2), batch(Compression::None, 4)];
        let size = all[0].len();
        for (max_bytes, left) in [(3 * size, 3), (3 * size - 1, 2), (size, 1), (1, 1), (0, 1)] {
            let mut answer = answer(&all, 50);
            answer.cut(max_bytes);
            assert_eq!(joined(&answer.records), all[..left].concat(), "{max_bytes}");
            assert_eq!(answer.records_bytes(), left * size);
        }
    }

    #[test]
    fn small_slices_do_not_keep_what_they_lie_in() {
        let block = Bytes::from(vec![7; 1_000]);
        let mut answer = answer(&[], 1);
        answer.records = vec![block.slice(..10), block.slice(10..)];
        answer.copy_out(100);
        let places: Vec<_> = answer.records.iter().map(|slice| slice.as_ptr()).collect();
        assert!(places[0] != block.as_ptr() && places[1] == block[10..].as_ptr());
        assert_eq!(joined(&answer.records), block);
    }

    /// So Kafka 3.9.2 answers: the producer of such a topic may send what it likes, and it is stored as zstd.
    #[test]
    fn a_topic_kept_in_zstd_is_refused_to_old_clients_whatever_else_could_be_said() {
        let out_of_range = PartitionAnswer::error(code(ErrorCode::OffsetOutOfRange));
        let failed = PartitionAnswer::error(code(ErrorCode::KafkaStorageError));
        for version in 0..=4 {
            for said in
                [answer(&[], 50), answer(&[batch(Compression::None, 0)], 50), out_of_range.clone(), failed.clone()]
            {
                let mut told = said.clone();
                told.suit(version, &want(1 << 20), Some(Compression::Zstd), usize::MAX);
                let mut else_told = said;
                else_told.suit(version, &want(1 << 20), None, usize::MAX);
                let refused = code(ErrorCode::UnsupportedCompressionType);
                let expected = if version < 4 { refused } else { else_told.error_code };
                assert_eq!(told.error_code, expected, "version {version}");
            }
        }
        let mut unknown = PartitionAnswer::error(code(ErrorCode::UnknownTopicOrPartition));
        unknown.suit(3, &want(1), None, usize::MAX);
        assert_eq!(
            unknown.error_code,
            code(ErrorCode::UnknownTopicOrPartition),
            "of what there is not nobody knows it"
        );
    }

    #[test]
    fn old_clients_are_not_shown_the_storage_error() {
        let mut old = PartitionAnswer::error(code(ErrorCode::KafkaStorageError));
        old.suit(5, &want(1), None, usize::MAX);
        assert_eq!(old.error_code, code(ErrorCode::NotLeaderOrFollower));
    }
}
