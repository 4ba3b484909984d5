//! What a fetch says about one partition, and what old readers need of it.

use bytes::{Bytes, BytesMut};
use records::{Compression, RecordsError, convert};
use wire::ErrorCode;

use super::session::{Answer, TopicRef};
use crate::errors::code;
use crate::limits::DOWN_CONVERTED_BYTES_MAX;

/// The answer for one partition.
#[derive(Clone, Debug)]
pub(crate) struct PartitionAnswer {
    pub(crate) topic: TopicRef,
    pub(crate) partition: i32,
    pub(crate) error_code: i16,
    pub(crate) high_watermark: i64,
    pub(crate) last_stable_offset: i64,
    pub(crate) log_start_offset: i64,
    /// Whether a list of aborted transactions is sent: there are none yet, but read_committed readers expect one.
    pub(crate) lists_aborted: bool,
    /// Consecutive slices of the log.
    pub(crate) records: Vec<Bytes>,
    pub(crate) records_bytes: usize,
}

impl PartitionAnswer {
    /// An answer that is only an error.
    pub(crate) fn error(topic: TopicRef, partition: i32, error_code: i16) -> Self {
        Self {
            topic,
            partition,
            error_code,
            high_watermark: -1,
            last_stable_offset: -1,
            log_start_offset: -1,
            lists_aborted: false,
            records: Vec::new(),
            records_bytes: 0,
        }
    }

    fn fail(&mut self, error: ErrorCode) {
        *self = Self::error(self.topic.clone(), self.partition, code(error));
    }

    /// Brings the records into a form that a client of `version` reads, or says why it cannot.
    ///
    /// | Version | Records |
    /// |---|---|
    /// | 0–1 | magic 0 |
    /// | 2–3 | magic 1 |
    /// | 4–9 | as stored, but no zstd |
    /// | 10+ | as stored |
    ///
    /// Versions 0–2 cut what does not fit into `max_bytes`, in the middle of a message if need be: their clients
    /// expect it, and it tells them that there is more. Says whether records were converted.
    pub(crate) fn suit(&mut self, version: i16, fetch_offset: i64, max_bytes: usize) -> bool {
        if version < 6 && self.error_code == code(ErrorCode::KafkaStorageError) {
            // Clients that do not know the storage error would take it for a bug and stop; this one makes them retry.
            self.error_code = code(ErrorCode::NotLeaderOrFollower);
        }
        if self.records_bytes == 0 || version >= 10 {
            return false;
        }
        if version >= 4 {
            if has_zstd(&self.records) {
                self.fail(ErrorCode::UnsupportedCompressionType);
            }
            return false;
        }
        let magic = if version <= 1 { 0 } else { 1 };
        match convert::down_convert(&joined(&self.records), magic, fetch_offset, DOWN_CONVERTED_BYTES_MAX) {
            Ok(mut converted) => {
                if version <= 2 {
                    converted.truncate(max_bytes);
                }
                self.records_bytes = converted.len();
                self.records = vec![converted];
                true
            }
            Err(RecordsError::UnsupportedCompression { .. }) => {
                self.fail(ErrorCode::UnsupportedCompressionType);
                false
            }
            Err(error) => {
                tracing::warn!(%error, partition = self.partition, topic = ?self.topic, "records cannot be converted");
                self.fail(ErrorCode::CorruptMessage);
                false
            }
        }
    }
}

impl Answer for PartitionAnswer {
    fn has_records(&self) -> bool {
        self.records_bytes > 0
    }

    fn has_error(&self) -> bool {
        self.error_code != 0
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

/// Whether any batch in the slices, taken as one byte string, is compressed with zstd. Slices may cut batches anywhere.
fn has_zstd(slices: &[Bytes]) -> bool {
    let total: usize = slices.iter().map(Bytes::len).sum();
    let mut cursor = Cursor { slices, skipped: 0 };
    let mut at = 0;
    while at + records::batch::HEADER_BYTES <= total {
        // The codec is in the low three bits of the second attributes byte.
        if cursor.byte(at + 22) & 7 == Compression::Zstd.id() {
            return true;
        }
        let length = u32::from_be_bytes([8, 9, 10, 11].map(|byte| cursor.byte(at + byte)));
        at += records::batch::LENGTH_OVERHEAD + length as usize;
        cursor.forget_before(at);
    }
    false
}

/// Bytes by their place in a list of slices.
struct Cursor<'a> {
    slices: &'a [Bytes],
    skipped: usize,
}

impl Cursor<'_> {
    fn byte(&self, at: usize) -> u8 {
        let mut at = at - self.skipped;
        for slice in self.slices {
            if let Some(byte) = slice.get(at) {
                return *byte;
            }
            at -= slice.len();
        }
        0
    }

    fn forget_before(&mut self, at: usize) {
        while let [first, rest @ ..] = self.slices
            && self.skipped + first.len() <= at
        {
            self.skipped += first.len();
            self.slices = rest;
        }
    }
}

#[cfg(test)]
mod tests {
    use records::BatchBuilder;

    use super::*;

    fn batch(codec: Compression, base: i64) -> Bytes {
        let mut builder = BatchBuilder::new(codec).base_offset(base);
        builder.append(1, Some(b"k"), Some(&[7; 300]), &[]).unwrap();
        builder.append(2, None, Some(b"v"), &[]).unwrap();
        builder.build().unwrap()
    }

    fn answer(batches: &[Bytes], cut: usize) -> PartitionAnswer {
        let all = joined(batches);
        let records: Vec<Bytes> =
            (0..all.len()).step_by(cut).map(|at| all.slice(at..all.len().min(at + cut))).collect();
        let mut answer = PartitionAnswer::error(TopicRef::Name("t".into()), 0, 0);
        (answer.records_bytes, answer.records) = (all.len(), records);
        answer
    }

    #[test]
    fn zstd_is_found_wherever_the_slices_cut() {
        for cut in [1, 7, 61, 100, 10_000] {
            let plain = [batch(Compression::None, 0), batch(Compression::Gzip, 2)];
            assert!(!has_zstd(&answer(&plain, cut).records), "cut {cut}");
            let mixed = [batch(Compression::None, 0), batch(Compression::Zstd, 2), batch(Compression::Gzip, 4)];
            assert!(has_zstd(&answer(&mixed, cut).records), "cut {cut}");
        }
    }

    #[test]
    fn each_version_gets_what_it_reads() {
        let zstd = [batch(Compression::Zstd, 0)];
        for version in 0..=9 {
            let mut answer = answer(&zstd, 50);
            answer.suit(version, 0, 1 << 20);
            assert_eq!(answer.error_code, code(ErrorCode::UnsupportedCompressionType), "version {version}");
        }
        let mut newest = answer(&zstd, 50);
        assert!(!newest.suit(10, 0, 1 << 20));
        assert_eq!(newest.error_code, 0);
        for (version, magic) in [(0, 0), (1, 0), (2, 1), (3, 1)] {
            let mut old = answer(&[batch(Compression::None, 0)], 50);
            assert!(old.suit(version, 0, 1 << 20));
            assert_eq!(joined(&old.records)[16], magic, "version {version}");
        }
        let mut cut = answer(&[batch(Compression::None, 0)], 50);
        cut.suit(1, 0, 40);
        assert_eq!(cut.records_bytes, 40);
    }

    #[test]
    fn old_clients_are_not_shown_the_storage_error() {
        let mut old = PartitionAnswer::error(TopicRef::Name("t".into()), 0, code(ErrorCode::KafkaStorageError));
        old.suit(5, 0, 1);
        assert_eq!(old.error_code, code(ErrorCode::NotLeaderOrFollower));
    }
}
