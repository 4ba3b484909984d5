//! The rules for producers, one test a rule.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use base::TimestampMs;
use bytes::Bytes;
use records::compression::DECOMPRESSED_BYTES_MAX as LIMIT;
use records::legacy::MessageSetBuilder;
use records::{
    Batch, BatchBuilder, Compression, InvalidRecord, TimestampType, ValidationConfig, ValidationLevel, batches,
    check_produce_version, find_max_timestamp, find_offset_by_timestamp, holds_nothing, validate,
};

const NOW: TimestampMs = TimestampMs(1_000_000_000);
const CODECS: [Compression; 5] =
    [Compression::None, Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd];

fn builder(codec: Compression, times: &[i64]) -> BatchBuilder {
    let mut builder = BatchBuilder::new(codec);
    for (index, &time) in times.iter().enumerate() {
        builder.append(time, Some(format!("k{index}").as_bytes()), Some(&[7; 100]), &[]).unwrap();
    }
    builder
}

fn batch(codec: Compression, times: &[i64]) -> Bytes {
    builder(codec, times).build().unwrap()
}

fn refuse(input: &Bytes, config: &ValidationConfig) -> InvalidRecord {
    validate(input, config, NOW).unwrap_err()
}

/// Changes header bytes and makes the CRC right again.
fn edited(batch: &Bytes, at: usize, bytes: &[u8]) -> Bytes {
    let mut batch = batch.to_vec();
    batch[at..at + bytes.len()].copy_from_slice(bytes);
    let crc = base::checksum::crc32c(&batch[21..]);
    batch[17..21].copy_from_slice(&crc.to_be_bytes());
    Bytes::from(batch)
}

#[test]
fn an_ordinary_batch_passes_with_its_records_shared_and_is_stamped_without_touching_its_checksum() {
    for codec in CODECS {
        let input = batch(codec, &[NOW.0, NOW.0 + 7, NOW.0 + 5]);
        let mut validated = validate(&input, &ValidationConfig::default(), NOW).unwrap();
        assert_eq!((validated.max_timestamp.0, validated.offset_of_max_timestamp), (NOW.0 + 7, 1));
        assert_eq!((validated.record_count, validated.converted), (3, false));
        assert_eq!(validated.batch.slices()[1].as_ptr(), input[61..].as_ptr(), "records must not be copied");
        validated.batch.stamp(5000, 9);
        let stored = validated.batch.to_bytes();
        let stored = Batch::first(&stored).unwrap();
        stored.verify_crc().unwrap();
        assert_eq!((stored.header.base_offset, stored.header.leader_epoch), (5000, 9));
        assert_eq!(stored.header, *validated.batch.header());
        assert_eq!(stored.records(LIMIT).unwrap().last().unwrap().unwrap().offset, 5002);
    }
}

#[test]
fn damage_is_corrupt_message_and_shape_is_invalid_record() {
    let config = ValidationConfig::default();
    let good = batch(Compression::None, &[NOW.0, NOW.0]);
    let mut damaged = good.to_vec();
    damaged[80] ^= 1;
    assert_eq!(refuse(&Bytes::from(damaged), &config).code(), 2);
    assert_eq!(refuse(&edited(&good, 16, &[3]), &config).code(), 2, "unknown magic");
    assert_eq!(refuse(&edited(&good, 0, &1i64.to_be_bytes()), &config).code(), 87, "base offset");
    assert_eq!(refuse(&edited(&good, 23, &7i32.to_be_bytes()), &config).code(), 87, "last offset delta");
    assert_eq!(refuse(&edited(&good, 57, &0i32.to_be_bytes()), &config).code(), 87, "no records");
    let more = edited(&edited(&good, 57, &3i32.to_be_bytes()), 23, &2i32.to_be_bytes());
    assert_eq!(refuse(&more, &config).code(), 87, "fewer records than counted");
    let fewer = edited(&edited(&good, 57, &1i32.to_be_bytes()), 23, &0i32.to_be_bytes());
    assert_eq!(refuse(&fewer, &config).code(), 87, "more records than counted");
    assert_eq!(refuse(&edited(&good, 22, &[0x07]), &config).code(), -1, "unknown codec");
    assert_eq!(refuse(&edited(&good, 22, &[0x01]), &config).code(), -1, "no gzip");
    assert_eq!(refuse(&edited(&good, 22, &[0x20]), &config).code(), 87, "control batch");
    assert_eq!(refuse(&edited(&good, 43, &5i64.to_be_bytes()), &config).code(), 87, "producer without sequence");
    assert_eq!(refuse(&Bytes::from([&good[..], &good[..]].concat()), &config).code(), 87, "two batches");
    assert_eq!(refuse(&good.slice(..good.len() - 1), &config).code(), 87, "cut off");
}

/// Shape can be damage: what the checksum covers is judged after it, or a client would give up what it may send again.
#[test]
fn whatever_bit_flips_under_the_checksum_is_corrupt_message() {
    let config = ValidationConfig::default();
    for codec in CODECS {
        let good = batch(codec, &[NOW.0, NOW.0]);
        for bit in 21 * 8..good.len() * 8 {
            let mut damaged = good.to_vec();
            damaged[bit / 8] ^= 1 << (bit % 8);
            let damaged = Bytes::from(damaged);
            let code = check_produce_version(&damaged, 9).and_then(|()| validate(&damaged, &config, NOW).map(drop));
            assert_eq!(code.unwrap_err().code(), 2, "{codec}, bit {bit}");
        }
    }
    for magic in [0, 1] {
        let mut set = MessageSetBuilder::new(magic, Compression::None, None);
        set.append(0, NOW.0, Some(b"key"), Some(b"value")).unwrap();
        let good = set.build().unwrap();
        // From the attributes on: the magic says how to read on.
        for bit in 17 * 8..good.len() * 8 {
            let mut damaged = good.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(refuse(&Bytes::from(damaged), &config).code(), 2, "magic {magic}, bit {bit}");
        }
    }
}

#[test]
fn the_limit_on_decompressed_records_is_for_each_record_and_for_compressed_batches_alone() {
    // Each has a value of 100 bytes, and about 10 of other fields.
    let times = [NOW.0; 50];
    let with = |max| ValidationConfig { decompressed_record_bytes_max: max, ..ValidationConfig::default() };
    for codec in CODECS {
        validate(&batch(codec, &times), &with(120), NOW).unwrap();
        let tight = validate(&batch(codec, &times), &with(100), NOW).map(drop).map_err(|error| error.code());
        assert_eq!(tight, if codec == Compression::None { Ok(()) } else { Err(87) }, "{codec}");
    }
    for (codec, refused) in [(Compression::None, false), (Compression::Gzip, true)] {
        let mut set = MessageSetBuilder::new(1, codec, None);
        set.append(0, NOW.0, None, Some(&[7; 100])).unwrap();
        let set = Bytes::from(set.build().unwrap());
        validate(&set, &with(122), NOW).unwrap();
        assert_eq!(validate(&set, &with(121), NOW).is_err(), refused, "{codec}");
    }
}

#[test]
fn a_claim_of_append_time_is_told_with_the_record_as_kafka_shows_it() {
    let append_time = ValidationConfig { timestamp_type: TimestampType::LogAppendTime, ..ValidationConfig::default() };
    let gzip = Compression::Gzip;
    for (codec, target, shown) in [
        (Compression::None, None, "DefaultRecord(offset=1, timestamp=7, key=0 bytes, value=3 bytes)"),
        (gzip, None, "PartialDefaultRecord(offset=1, timestamp=7, key=-1 bytes, value=3 bytes)"),
        (gzip, Some(Compression::None), "DefaultRecord(offset=1, timestamp=7, key=0 bytes, value=3 bytes)"),
    ] {
        let mut claims = BatchBuilder::new(codec).log_append_time(7);
        claims.append(7, Some(b"k"), None, &[]).unwrap();
        claims.append(7, None, Some(b"abc"), &[]).unwrap();
        let config = ValidationConfig { compression: target.map(Into::into), ..append_time };
        let refused = refuse(&claims.build().unwrap(), &config);
        let message = format!(
            "Invalid timestamp type in message {shown}. Producer should not set timestamp type to LogAppendTime."
        );
        assert_eq!(refused.record_errors()[1].message("t-0"), message);
    }
}

#[test]
fn a_claim_of_append_time_is_refused_where_kafka_looks_at_it() {
    let claims = |time| {
        let mut claims = BatchBuilder::new(Compression::None).log_append_time(time);
        claims.append(time, None, None, &[]).unwrap();
        claims.build().unwrap()
    };
    let create_time = ValidationConfig::default();
    let append_time = ValidationConfig { timestamp_type: TimestampType::LogAppendTime, ..create_time };
    assert_eq!(refuse(&claims(NOW.0), &append_time).code(), 32);
    assert_eq!(refuse(&claims(-1), &create_time).code(), 32);
    // Kafka's LogValidator checks a real timestamp's range, and makes the batch one of CreateTime.
    assert_eq!(refuse(&claims(NOW.0 + 3_600_001), &create_time).code(), 32);
    let validated = validate(&claims(NOW.0), &create_time, NOW).unwrap();
    assert_eq!(validated.max_timestamp, NOW);
    assert_eq!(validated.batch.header().timestamp_type(), TimestampType::CreateTime);
}

#[test]
fn a_set_that_holds_nothing_is_told_from_a_broken_one() {
    let good = batch(Compression::None, &[NOW.0]);
    for nothing in [&b""[..], &good[..11], &good[..16], &good[..good.len() - 1]] {
        assert!(holds_nothing(nothing));
    }
    assert!(!holds_nothing(&good));
    assert!(!holds_nothing(&edited(&good, 8, &3i32.to_be_bytes())), "a length too small for a message");
}

#[test]
fn large_batches_are_refused_also_when_they_grow_by_recompression() {
    let input = batch(Compression::Zstd, &[NOW.0; 50]);
    let config = ValidationConfig { max_message_bytes: input.len(), ..ValidationConfig::default() };
    validate(&input, &config, NOW).unwrap();
    assert_eq!(refuse(&input, &ValidationConfig { max_message_bytes: input.len() - 1, ..config }).code(), 10);
    let grown = ValidationConfig { compression: Some(Compression::None.into()), ..config };
    assert_eq!(refuse(&input, &grown).code(), 10);
}

#[test]
fn timestamps_out_of_range_are_blamed_record_by_record() {
    let hour = 3_600_000;
    for codec in CODECS {
        let config = ValidationConfig { timestamp_before_max_ms: hour, ..ValidationConfig::default() };
        let refused = refuse(&batch(codec, &[NOW.0, NOW.0 + hour + 1, -1, NOW.0 - hour - 1, NOW.0 - hour]), &config);
        assert_eq!(refused.code(), 32);
        let blamed: Vec<_> = refused.record_errors().iter().map(|error| error.batch_index).collect();
        assert_eq!(blamed, [1, 3]);
        let rejected = "One or more records have been rejected due to invalid timestamp";
        assert_eq!(refused.message("t-0").as_deref(), Some(rejected));
        let (now, first) = (NOW.0, &refused.record_errors()[0]);
        let message = format!(
            "Timestamp {} of message with offset 1 is out of range. The timestamp should be within [{}, {}]",
            now + hour + 1,
            now - hour,
            now + hour
        );
        assert_eq!(first.message("t-0"), message);
        let append_time = ValidationConfig { timestamp_type: TimestampType::LogAppendTime, ..config };
        let validated = validate(&batch(codec, &[0, i64::MAX / 2]), &append_time, NOW).unwrap();
        assert_eq!(validated.max_timestamp, NOW);
        let stored = Batch::first(&validated.batch.to_bytes()).unwrap();
        stored.verify_crc().unwrap();
        assert!(stored.records(LIMIT).unwrap().all(|record| record.unwrap().timestamp == NOW.0));
    }
}

#[test]
fn compacted_topics_want_keys_at_every_level_of_checking() {
    for (codec, level) in CODECS
        .into_iter()
        .flat_map(|codec| [ValidationLevel::Full, ValidationLevel::HeaderAndCrc].map(|level| (codec, level)))
    {
        let config = ValidationConfig { compacted: true, level, ..ValidationConfig::default() };
        let mut builder = builder(codec, &[NOW.0]);
        builder.append(NOW.0, None, Some(b"v"), &[]).unwrap();
        let refused = refuse(&builder.build().unwrap(), &config);
        assert_eq!(refused.code(), 87);
        assert_eq!(refused.record_errors().len(), 1);
        assert_eq!(refused.record_errors()[0].batch_index, 1);
        let message = "Compacted topic cannot accept message without key in topic partition t-0";
        assert_eq!(refused.record_errors()[0].message("t-0"), message);
        let whole = format!(
            "One or more records have been rejected due to 1 record errors in total, and only showing the first three \
             errors at most: [RecordError(batchIndex=1, message='{message}')]"
        );
        assert_eq!(refused.message("t-0"), Some(whole));
    }
}

#[test]
fn a_wrong_max_timestamp_is_put_right() {
    let input = edited(&batch(Compression::None, &[NOW.0, NOW.0 + 1]), 35, &i64::MAX.to_be_bytes());
    let stored = validate(&input, &ValidationConfig::default(), NOW).unwrap().batch.to_bytes();
    let stored = Batch::first(&stored).unwrap();
    stored.verify_crc().unwrap();
    assert_eq!(stored.header.max_timestamp, NOW.0 + 1);
}

#[test]
fn offsets_with_gaps_are_written_anew_and_producer_state_survives() {
    let mut gaps = BatchBuilder::new(Compression::None).producer(42, 3, 17).transactional();
    gaps.append_at(0, NOW.0, None, Some(b"a"), &[]).unwrap();
    gaps.append_at(2, NOW.0, None, Some(b"b"), &[]).unwrap();
    let input = edited(&gaps.build().unwrap(), 23, &1i32.to_be_bytes());
    let validated = validate(&input, &ValidationConfig::default(), NOW).unwrap();
    assert!(validated.converted);
    let header = validated.batch.header();
    assert_eq!((header.producer_id, header.producer_epoch, header.base_sequence), (42, 3, 17));
    assert!(header.is_transactional());
    let stored = Batch::first(&validated.batch.to_bytes()).unwrap();
    let offsets: Vec<_> = stored.records(LIMIT).unwrap().map(|record| record.unwrap().offset).collect();
    assert_eq!(offsets, [0, 1]);
}

#[test]
fn the_topics_codec_replaces_the_producers() {
    for from in CODECS {
        for to in CODECS {
            let config = ValidationConfig { compression: Some(to.into()), ..ValidationConfig::default() };
            let input = batch(from, &[NOW.0, NOW.0 + 1]);
            let validated = validate(&input, &config, NOW).unwrap();
            assert_eq!(validated.converted, from != to);
            assert_eq!(validated.batch.header().compression().unwrap(), to);
            let stored = validated.batch.to_bytes();
            let read = |bytes: &Bytes| -> Vec<_> {
                batches(bytes).flat_map(|batch| batch.unwrap().records(LIMIT).unwrap()).map(Result::unwrap).collect()
            };
            assert_eq!(read(&stored), read(&input));
        }
    }
}

#[test]
fn old_wrappers_at_offset_zero_are_legal_and_nested_ones_are_not() {
    let mut set = MessageSetBuilder::new(1, Compression::Gzip, None);
    for offset in 0..3 {
        set.append(offset, NOW.0, Some(b"k"), Some(b"v")).unwrap();
    }
    let set = set.build().unwrap();
    let mut at_zero = set.clone();
    at_zero[..8].fill(0);
    assert_eq!(validate(&Bytes::from(at_zero), &ValidationConfig::default(), NOW).unwrap().record_count, 3);

    // The wrapper becomes the value of another one: compress its bytes as if they were plain messages.
    let value = records::compression::compress(Compression::Gzip.into(), 1, &set).unwrap();
    let mut outer = MessageSetBuilder::new(1, Compression::None, None);
    outer.append(2, NOW.0, None, Some(&value)).unwrap();
    let mut outer = outer.build().unwrap();
    outer[17] = 1;
    let crc = crc32fast::hash(&outer[16..]);
    outer[12..16].copy_from_slice(&crc.to_be_bytes());
    assert_eq!(refuse(&Bytes::from(outer), &ValidationConfig::default()).code(), 87);
}

#[test]
fn request_versions_limit_formats_and_codecs() {
    let code = |input: &Bytes, version| check_produce_version(input, version).map_err(|error| error.code());
    let current = batch(Compression::Zstd, &[NOW.0]);
    assert_eq!(code(&current, 7), Ok(()));
    assert_eq!(code(&current, 6), Err(76));
    let mut old = MessageSetBuilder::new(1, Compression::None, None);
    old.append(0, NOW.0, None, Some(&[0; 60])).unwrap();
    let old = Bytes::from(old.build().unwrap());
    assert_eq!((code(&old, 2), code(&old, 3)), (Ok(()), Err(87)));
    assert_eq!(code(&Bytes::new(), 3), Err(87));
    assert_eq!(code(&Bytes::from([&current[..], &current[..]].concat()), 9), Err(87));
}

#[test]
fn records_are_found_by_time() {
    for codec in CODECS {
        let bytes = Bytes::from([&batch(codec, &[10, 30, 20])[..], &batch(codec, &[40, 30])[..]].concat());
        let find = |timestamp, first| {
            let found = find_offset_by_timestamp(&bytes, timestamp, first, LIMIT).unwrap();
            found.map(|found| (found.offset, found.timestamp))
        };
        assert_eq!(find(15, 0), Some((1, 30)));
        assert_eq!(find(15, 2), Some((2, 20)));
        assert_eq!(find(35, 0), Some((0, 40)));
        assert_eq!(find(41, 0), None);
        assert_eq!(find_max_timestamp(&bytes, LIMIT).unwrap().unwrap().timestamp, 40);
    }
}
