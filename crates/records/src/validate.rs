//! What a broker checks before it takes a producer's records, after Kafka's `LogValidator`.
//!
//! The usual batch (magic 2, offsets 0, 1, 2…, the topic's codec) is checked in one pass without copying or allocating:
//! over the frame's bytes, or over a decompressor's output through one reused buffer. Anything else that is legal is
//! rebuilt into such a batch: messages of magic 0 and 1, batches whose offsets do not count up by one, and batches whose
//! codec is not the topic's.

use base::TimestampMs;
use bytes::Bytes;

use crate::batch::{
    AT_ATTRIBUTES, AT_LENGTH, AT_MAGIC, LENGTH_OVERHEAD, MAGIC, NONE, TRANSACTIONAL_BIT, TimestampType,
};
use crate::compression::{DECOMPRESSED_BYTES_MAX, StreamInput};
use crate::legacy::{self, Message};
use crate::record::{self, RecordScan};
use crate::varint::{Input, SliceInput};
use crate::{
    Batch, BatchBuilder, BatchHeader, Compression, Encoding, InvalidRecord, RecordError, RecordErrors, RecordFault,
    RecordsError, StampedBatch,
};

/// How many records of a batch are blamed one by one; a batch of a million bad ones is refused with as much.
pub const RECORD_ERRORS_MAX: usize = 100;

/// How deep to look into a batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ValidationLevel {
    /// At every record, decompressing where needed: Kafka's behaviour.
    #[default]
    Full,
    /// At header and CRC only. Compacted topics, conversion and recompression look at every record all the same.
    HeaderAndCrc,
}

/// A topic's rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ValidationConfig {
    /// `max.message.bytes`: the largest batch.
    pub max_message_bytes: usize,
    /// `message.timestamp.type`.
    pub timestamp_type: TimestampType,
    /// `message.timestamp.before.max.ms`: how old a record may claim to be.
    pub timestamp_before_max_ms: i64,
    /// `message.timestamp.after.max.ms`: how far in the future.
    pub timestamp_after_max_ms: i64,
    /// Whether `cleanup.policy` has `compact`: every record needs a key.
    pub compacted: bool,
    /// `compression.type`: `None` for `producer`.
    pub compression: Option<Encoding>,
    /// How deep to look.
    pub level: ValidationLevel,
    /// `max.decompressed.message.bytes`: the largest record of a compressed batch.
    pub decompressed_record_bytes_max: usize,
    /// The most that one batch may decompress to.
    pub decompressed_bytes_max: usize,
}

impl Default for ValidationConfig {
    /// Kafka's defaults.
    fn default() -> Self {
        Self {
            max_message_bytes: 1024 * 1024 + LENGTH_OVERHEAD,
            timestamp_type: TimestampType::CreateTime,
            timestamp_before_max_ms: i64::MAX,
            timestamp_after_max_ms: 3_600_000,
            compacted: false,
            compression: None,
            level: ValidationLevel::Full,
            decompressed_record_bytes_max: i32::MAX as usize - 8,
            decompressed_bytes_max: DECOMPRESSED_BYTES_MAX,
        }
    }
}

/// Records that passed: always one batch, whatever they came as.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Validated {
    /// The batch to append, its offsets counted from 0 until it is stamped.
    pub batch: StampedBatch,
    /// Highest timestamp, or the append time; -1 for none.
    pub max_timestamp: TimestampMs,
    /// Delta from the base offset of the first record that has it; -1 for none. After a check of header and CRC only,
    /// the last record's.
    pub offset_of_max_timestamp: i32,
    /// Records in the batch.
    pub record_count: i32,
    /// Whether the batch was rebuilt, so that none of its bytes are the producer's.
    pub converted: bool,
}

/// The rules for a Produce request's records by its version, besides those of [`validate()`]: from version 3 exactly one
/// batch, of magic 2; zstd only from version 7.
///
/// # Errors
/// INVALID_RECORD, UNSUPPORTED_COMPRESSION_TYPE, and what Kafka fails on.
pub fn check_produce_version(input: &Bytes, version: i16) -> Result<(), InvalidRecord> {
    if version < 3 {
        return Ok(());
    }
    let Some(first) = cut(input)? else {
        return Err(InvalidRecord::Batch(format!("Produce v{version} must carry exactly one record batch, not none")));
    };
    if first.magic != MAGIC {
        return Err(InvalidRecord::Batch(format!(
            "Produce v{version} must carry record format (magic) 2, not {}",
            first.magic
        )));
    }
    // Later versions find an unknown codec behind the checksum: it may be damage.
    if version < 7 && BatchHeader::parse(input)?.compression()? == Compression::Zstd {
        return Err(InvalidRecord::UnsupportedCompression(Compression::Zstd));
    }
    if cut(&input.slice(first.size..))?.is_some() {
        return Err(InvalidRecord::Batch(format!("Produce v{version} must carry exactly one record batch, not more")));
    }
    Ok(())
}

/// What Kafka looks at in the first batch of every partition before it looks at anything else: whether it is there, and
/// is part of a transaction.
///
/// # Errors
/// Its length or format makes no sense; Kafka then refuses the whole request.
pub fn is_first_transactional(input: &[u8]) -> Result<bool, RecordsError> {
    match cut(input) {
        Ok(Some(first)) if first.magic == MAGIC => {
            let attributes = input.get(AT_ATTRIBUTES..).and_then(|rest| rest.first_chunk());
            Ok(attributes.is_some_and(|bits| i16::from_be_bytes(*bits) & TRANSACTIONAL_BIT != 0))
        }
        Err(InvalidRecord::Corrupt(error)) => Err(error),
        _ => Ok(false),
    }
}

/// Whether a record set holds nothing at all, or only the start of its first batch or message. Kafka appends nothing then
/// and calls it a success, where [`check_produce_version`] lets it through.
pub fn holds_nothing(input: &[u8]) -> bool {
    matches!(cut(input), Ok(None))
}

/// What the first bytes of a batch or message say.
struct Cut {
    magic: i8,
    size: usize,
}

/// Looks at the start of `input`; none if no whole batch or message is there, which Kafka passes over.
fn cut(input: &[u8]) -> Result<Option<Cut>, InvalidRecord> {
    let Some(length) = input.get(AT_LENGTH..).and_then(|rest| rest.first_chunk()) else { return Ok(None) };
    let length = i32::from_be_bytes(*length);
    let size = usize::try_from(length)
        .ok()
        .filter(|&size| size >= legacy::OVERHEAD_V0)
        .ok_or(InvalidRecord::Corrupt(RecordsError::BadLength(length)))?;
    let Some(&magic) = input.get(AT_MAGIC) else { return Ok(None) };
    let magic = magic as i8;
    if !(0..=MAGIC).contains(&magic) {
        return Err(InvalidRecord::Corrupt(RecordsError::BadMagic(magic)));
    }
    Ok((input.len() >= LENGTH_OVERHEAD + size).then_some(Cut { magic, size: LENGTH_OVERHEAD + size }))
}

/// Checks a producer's records of one partition and makes of them one batch for the log.
///
/// # Errors
/// [`InvalidRecord`]; nothing of the input may then be appended.
pub fn validate(input: &Bytes, config: &ValidationConfig, now: TimestampMs) -> Result<Validated, InvalidRecord> {
    let first = cut(input)?.ok_or_else(|| InvalidRecord::Batch("there is no complete record batch".to_owned()))?;
    if first.magic == MAGIC {
        let batch = Batch::first(input)?;
        if cut(&input[first.size..])?.is_some() {
            return Err(InvalidRecord::Batch("more than one record batch".to_owned()));
        }
        Current { config, now, batch }.validate()
    } else {
        validate_legacy(input, config, now)
    }
}

fn check_size(size: usize, config: &ValidationConfig) -> Result<(), InvalidRecord> {
    if size > config.max_message_bytes {
        return Err(InvalidRecord::TooLarge { size, max: config.max_message_bytes, which: "max.message.bytes" });
    }
    Ok(())
}

/// The errors of single records, as they are found.
#[derive(Default)]
struct Blamed {
    errors: RecordErrors,
    any_timestamp: bool,
}

impl Blamed {
    #[cold]
    fn add(&mut self, batch_index: i32, fault: impl FnOnce() -> RecordFault) {
        let RecordErrors { first, count } = &mut self.errors;
        *count += 1;
        if first.len() < RECORD_ERRORS_MAX {
            let fault = fault();
            self.any_timestamp |= fault.is_of_timestamp();
            first.push(RecordError { batch_index, fault });
        } else if !self.any_timestamp {
            // Whether any is of the timestamp decides the code.
            self.any_timestamp = fault().is_of_timestamp();
        }
    }

    fn into_result(self) -> Result<(), InvalidRecord> {
        match (self.errors.count, self.any_timestamp) {
            (0, _) => Ok(()),
            (_, true) => Err(InvalidRecord::Timestamp(self.errors)),
            (_, false) => Err(InvalidRecord::Records(self.errors)),
        }
    }

    /// The rules for one record, in Kafka's order: the key's, and only then the timestamp's. `shown` is the record as
    /// Kafka shows it.
    #[inline]
    fn check(
        &mut self,
        index: i32,
        record: Checked,
        config: &ValidationConfig,
        now: TimestampMs,
        shown: impl FnOnce() -> String,
    ) {
        let Checked { has_key, timestamp, timestamp_type, offset } = record;
        if config.compacted && !has_key {
            self.add(index, || RecordFault::NoKey);
        } else if config.timestamp_type == TimestampType::LogAppendTime || timestamp == NONE {
            if timestamp_type == TimestampType::LogAppendTime {
                self.add(index, || RecordFault::AppendTime { record: shown() });
            }
        } else if !timestamp_in_range(timestamp, config, now) {
            self.add(index, || RecordFault::OutOfRange {
                timestamp,
                offset,
                oldest: now.0.wrapping_sub(config.timestamp_before_max_ms),
                newest: now.0.wrapping_add(config.timestamp_after_max_ms),
            });
        }
    }
}

/// What the rules for a record look at.
#[derive(Clone, Copy)]
struct Checked {
    has_key: bool,
    timestamp: i64,
    /// Its batch's or message's.
    timestamp_type: TimestampType,
    /// As the producer counts.
    offset: i64,
}

/// Differences wrap around, as Kafka's do.
#[inline]
fn timestamp_in_range(timestamp: i64, config: &ValidationConfig, TimestampMs(now): TimestampMs) -> bool {
    let age = now.wrapping_sub(timestamp);
    age <= config.timestamp_before_max_ms && age.wrapping_neg() <= config.timestamp_after_max_ms
}

/// What a pass over the records found.
struct Pass {
    max_timestamp: i64,
    offset_of_max_timestamp: i32,
    offsets_count_up: bool,
}

/// The validation of a batch of magic 2.
struct Current<'a> {
    config: &'a ValidationConfig,
    now: TimestampMs,
    batch: Batch,
}

impl Current<'_> {
    fn validate(&self) -> Result<Validated, InvalidRecord> {
        let (config, header) = (self.config, &self.batch.header);
        // Base offset and size first, as in Kafka; all else lies under the checksum, and is damage if that is wrong.
        if header.base_offset != 0 {
            return Err(InvalidRecord::Batch(format!("the base offset must be 0, not {}", header.base_offset)));
        }
        check_size(self.batch.bytes.len(), config)?;
        self.batch.verify_crc()?;
        self.check_header()?;
        let codec = header.compression()?;
        let target = config.compression.unwrap_or(Encoding::from(codec));
        let deep = config.level == ValidationLevel::Full || config.compacted || target.codec != codec;
        let pass = if deep { self.check_records(codec)? } else { self.check_header_times()? };
        if target.codec != codec || !pass.offsets_count_up {
            return self.rebuild(target);
        }
        let mut batch = StampedBatch::new(&self.batch);
        let (max_timestamp, offset_of_max_timestamp) = match config.timestamp_type {
            TimestampType::CreateTime => (pass.max_timestamp, pass.offset_of_max_timestamp),
            TimestampType::LogAppendTime => (self.now.0, 0),
        };
        batch.set_timestamps(config.timestamp_type, max_timestamp);
        Ok(Validated {
            max_timestamp: TimestampMs(max_timestamp),
            offset_of_max_timestamp,
            record_count: header.record_count,
            batch,
            converted: false,
        })
    }

    /// The rules that the header's checksummed part alone can break.
    fn check_header(&self) -> Result<(), InvalidRecord> {
        let header = &self.batch.header;
        let invalid = |reason: String| Err(InvalidRecord::Batch(reason));
        if header.record_count <= 0 {
            return invalid(format!("the record count must be positive, not {}", header.record_count));
        }
        if i64::from(header.last_offset_delta) + 1 != i64::from(header.record_count) {
            return invalid(format!(
                "last offset delta {} and record count {} contradict each other",
                header.last_offset_delta, header.record_count
            ));
        }
        if header.is_control() {
            return invalid("clients are not allowed to write control records".to_owned());
        }
        if header.has_producer() && header.base_sequence < 0 {
            return invalid(format!(
                "invalid sequence number {} in a batch of producer {}",
                header.base_sequence, header.producer_id
            ));
        }
        Ok(())
    }

    fn check_header_times(&self) -> Result<Pass, InvalidRecord> {
        let header = &self.batch.header;
        let mut errors = Blamed::default();
        let (timestamp, offset) = (header.max_timestamp, header.last_offset());
        let last = Checked { has_key: true, timestamp, timestamp_type: header.timestamp_type(), offset };
        errors.check(header.last_offset_delta, last, self.config, self.now, || format!("at offset {offset}"));
        errors.into_result()?;
        Ok(Pass {
            max_timestamp: header.max_timestamp,
            offset_of_max_timestamp: header.last_offset_delta,
            offsets_count_up: true,
        })
    }

    fn check_records(&self, codec: Compression) -> Result<Pass, InvalidRecord> {
        const BYTES_LEFT: RecordsError = RecordsError::Malformed("bytes follow the last record of the batch");
        let mut errors = Blamed::default();
        let payload = &self.batch.bytes[crate::batch::HEADER_BYTES..];
        let pass = if codec == Compression::None {
            let mut input = SliceInput::new(payload);
            let pass = self.pass(&mut input, usize::MAX, &mut errors)?;
            if input.remaining() > 0 {
                return Err(BYTES_LEFT.into());
            }
            pass
        } else {
            StreamInput::with(codec, MAGIC, payload, self.config.decompressed_bytes_max, |input| {
                let pass = self.pass(input, self.config.decompressed_record_bytes_max, &mut errors)?;
                if input.at_end()? { Ok(pass) } else { Err(BYTES_LEFT) }
            })?
        };
        errors.into_result()?;
        Ok(pass)
    }

    fn pass<I: Input>(
        &self,
        input: &mut I,
        record_bytes_max: usize,
        errors: &mut Blamed,
    ) -> Result<Pass, RecordsError> {
        let header = &self.batch.header;
        let timestamp_type = header.timestamp_type();
        let append_time = record::append_time(header);
        let mut pass = Pass { max_timestamp: NONE, offset_of_max_timestamp: -1, offsets_count_up: true };
        for index in 0..header.record_count {
            let scan = record::scan(input, record_bytes_max)?;
            let timestamp = append_time.unwrap_or(header.base_timestamp.wrapping_add(scan.timestamp_delta));
            let (has_key, offset) = (scan.key_bytes >= 0, header.base_offset + i64::from(scan.offset_delta));
            let checked = Checked { has_key, timestamp, timestamp_type, offset };
            errors.check(index, checked, self.config, self.now, || self.shown(timestamp, offset, &scan));
            pass.offsets_count_up &= scan.offset_delta == index;
            if timestamp > pass.max_timestamp {
                pass.max_timestamp = timestamp;
                pass.offset_of_max_timestamp = index;
            }
        }
        Ok(pass)
    }

    /// A record as Kafka shows it: with the lengths of its fields as they stand there, where it passes over them, and
    /// else with none for null.
    fn shown(&self, timestamp: i64, offset: i64, scan: &RecordScan) -> String {
        let codec = self.batch.header.compression().unwrap_or_default();
        let is_passed_over = codec != Compression::None && self.config.compression.is_none_or(|to| to.codec == codec);
        let (partial, least) = if is_passed_over { ("Partial", i32::MIN) } else { ("", 0) };
        let (key, value) = (scan.key_bytes.max(least), scan.value_bytes.max(least));
        format!("{partial}DefaultRecord(offset={offset}, timestamp={timestamp}, key={key} bytes, value={value} bytes)")
    }

    /// Writes the records anew, with offsets that count up by one and the topic's codec.
    fn rebuild(&self, target: Encoding) -> Result<Validated, InvalidRecord> {
        let header = &self.batch.header;
        let mut builder =
            BatchBuilder::new(target).producer(header.producer_id, header.producer_epoch, header.base_sequence);
        if header.is_transactional() {
            builder = builder.transactional();
        }
        let mut builder = with_timestamp_type(builder, self.config, self.now);
        for record in self.batch.records(self.config.decompressed_bytes_max)? {
            let record = record?;
            builder.append(record.timestamp, record.key.as_deref(), record.value.as_deref(), &record.headers)?;
        }
        finish(builder, self.config)
    }
}

fn with_timestamp_type(builder: BatchBuilder, config: &ValidationConfig, now: TimestampMs) -> BatchBuilder {
    match config.timestamp_type {
        TimestampType::CreateTime => builder,
        TimestampType::LogAppendTime => builder.log_append_time(now.0),
    }
}

/// Builds what was written anew and checks its size, which may have grown.
fn finish(builder: BatchBuilder, config: &ValidationConfig) -> Result<Validated, InvalidRecord> {
    let (max_timestamp, offset_of_max_timestamp) = builder.max_timestamp();
    let record_count = builder.record_count();
    let bytes = builder.build()?;
    check_size(bytes.len(), config)?;
    Ok(Validated {
        batch: StampedBatch::new(&Batch::first(&bytes)?),
        max_timestamp: TimestampMs(max_timestamp),
        offset_of_max_timestamp,
        record_count,
        converted: true,
    })
}

/// The validation of a message set of magic 0 or 1, which becomes one batch of magic 2.
fn validate_legacy(input: &Bytes, config: &ValidationConfig, now: TimestampMs) -> Result<Validated, InvalidRecord> {
    let mut outer: Option<Message> = None;
    let mut source = Compression::None;
    let mut count = 0usize;
    for message in whole_messages(input) {
        let message = message?;
        check_size(message.message_bytes(), config)?;
        message.verify_crc()?;
        count += 1;
        if message.is_compressed() {
            source = message.compression()?;
        }
        if source != Compression::None && count > 1 {
            return Err(InvalidRecord::Batch("more than one message beside a compressed one".to_owned()));
        }
        let magic = outer.get_or_insert_with(|| message.clone()).magic;
        if message.magic != magic {
            return Err(InvalidRecord::Batch(format!(
                "message format (magic) {} is not that of the first message, {magic}",
                message.magic
            )));
        }
    }
    let target = config.compression.unwrap_or(Encoding::from(source));
    let mut builder = with_timestamp_type(BatchBuilder::new(target), config, now);
    let mut errors = Blamed::default();
    let mut index = 0;
    for message in whole_messages(input) {
        let message = message?;
        for inner in message.inner(config.decompressed_bytes_max)? {
            let inner = inner?;
            if message.is_compressed() && inner.body_bytes() > config.decompressed_record_bytes_max {
                let (size, max) = (inner.body_bytes(), config.decompressed_record_bytes_max);
                return Err(RecordsError::RecordTooLarge { size, max }.into());
            }
            if inner.magic != message.magic {
                errors.add(index, || RecordFault::Magic { inner: inner.magic, outer: message.magic });
            } else {
                inner.verify_crc()?;
                if inner.timestamp < NONE {
                    errors.add(index, || RecordFault::Negative { timestamp: inner.timestamp });
                } else {
                    let (timestamp, offset) = (inner.timestamp, inner.offset);
                    let (has_key, timestamp_type) = (inner.key.is_some(), message.timestamp_type());
                    let checked = Checked { has_key, timestamp, timestamp_type, offset };
                    errors.check(index, checked, config, now, || format!("at offset {offset}"));
                }
            }
            builder.append(inner.timestamp, inner.key.as_deref(), inner.value.as_deref(), &[])?;
            index += 1;
        }
    }
    errors.into_result()?;
    finish(builder, config)
}

/// The messages of a set without a cut-off one at its end.
fn whole_messages(input: &Bytes) -> impl Iterator<Item = Result<Message, RecordsError>> {
    legacy::messages(input).take_while(|message| !matches!(message, Err(RecordsError::Truncated { .. })))
}
