//! Agreement with Kafka's Java clients, through the record sets in `golden/` that they wrote.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;

use base::TimestampMs;
use bytes::Bytes;
use records::batch::MAGIC;
use records::compression::DECOMPRESSED_BYTES_MAX as LIMIT;
use records::legacy::{self, Message, MessageSetBuilder};
use records::{
    Batch, BatchBuilder, Compression, Header, Record, TimestampType, ValidationConfig, batches, convert, validate,
};

const BASE_OFFSET: i64 = 100;
const TIMESTAMP: i64 = 1_700_000_000_000;
const APPEND_TIME: i64 = 1_800_000_000_000;
const RECORDS: usize = 5;
const NOW: TimestampMs = TimestampMs(TIMESTAMP + 5000);

/// What the Java program appends as record `index`; the formulas are its own.
fn expected(index: usize, base_offset: i64, magic: i8, append: bool) -> Record {
    let own_time = TIMESTAMP + if index == 3 { 1000 } else { index as i64 };
    let headers = if magic == 2 && index == 3 {
        vec![
            Header { key: Bytes::from_static(b"h"), value: Some(Bytes::from_static(&[1, 2])) },
            Header { key: Bytes::from_static(b"null"), value: None },
        ]
    } else {
        Vec::new()
    };
    Record {
        offset: base_offset + index as i64,
        timestamp: match (magic, append) {
            (0, _) => -1,
            (_, true) => APPEND_TIME,
            (_, false) => own_time,
        },
        key: (index != 1).then(|| Bytes::from(format!("key-{index}"))),
        value: (index != 2).then(|| Bytes::from(format!("value-{index}-").repeat(50 * index + 1))),
        headers,
    }
}

fn all_expected(base_offset: i64, magic: i8, append: bool) -> Vec<Record> {
    (0..RECORDS).map(|index| expected(index, base_offset, magic, append)).collect()
}

fn golden(name: &str) -> Bytes {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    Bytes::from(std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display())))
}

const CODECS: [Compression; 5] =
    [Compression::None, Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd];

fn legacy_codecs() -> impl Iterator<Item = Compression> {
    CODECS.into_iter().filter(|&codec| codec != Compression::Zstd)
}

fn kind(append: bool) -> &'static str {
    if append { "append" } else { "create" }
}

fn records_of(bytes: &Bytes) -> Vec<Record> {
    batches(bytes)
        .flat_map(|batch| {
            let batch = batch.unwrap();
            batch.verify_crc().unwrap();
            batch.records(LIMIT).unwrap().map(Result::unwrap).collect::<Vec<_>>()
        })
        .collect()
}

fn messages_of(bytes: &Bytes) -> Vec<Record> {
    let record = |message: Message| {
        message.verify_crc().unwrap();
        Record {
            offset: message.offset,
            timestamp: message.timestamp,
            key: message.key,
            value: message.value,
            headers: Vec::new(),
        }
    };
    legacy::messages(bytes)
        .flat_map(|outer| {
            let outer = outer.unwrap();
            outer.verify_crc().unwrap();
            outer.inner(LIMIT).unwrap().map(|message| record(message.unwrap())).collect::<Vec<_>>()
        })
        .collect()
}

/// What we write for the golden records.
fn written(magic: i8, codec: Compression, append: bool) -> Bytes {
    let records = all_expected(BASE_OFFSET, magic, false);
    if magic < 2 {
        let mut builder = MessageSetBuilder::new(magic, codec, append.then_some(APPEND_TIME));
        for record in &records {
            builder.append(record.offset, record.timestamp, record.key.as_deref(), record.value.as_deref()).unwrap();
        }
        return Bytes::from(builder.build().unwrap());
    }
    let mut builder = BatchBuilder::new(codec).base_offset(BASE_OFFSET).leader_epoch(7);
    if append {
        builder = builder.log_append_time(APPEND_TIME);
    }
    for record in &records {
        builder.append(record.timestamp, record.key.as_deref(), record.value.as_deref(), &record.headers).unwrap();
    }
    builder.build().unwrap()
}

#[test]
fn reads_every_batch_that_java_writes() {
    for codec in CODECS {
        for append in [false, true] {
            let bytes = golden(&format!("m2-{codec}-{}.bin", kind(append)));
            let batch = Batch::first(&bytes).unwrap();
            assert_eq!(batch.header.compression().unwrap(), codec);
            assert_eq!(batch.header.leader_epoch, 7);
            assert_eq!(batch.header.next_offset(), BASE_OFFSET + RECORDS as i64);
            assert_eq!(batch.header.timestamp_type() == TimestampType::LogAppendTime, append);
            assert_eq!(records_of(&bytes), all_expected(BASE_OFFSET, MAGIC, append), "{codec} {append}");
        }
    }
}

#[test]
fn reads_every_message_set_that_java_writes() {
    for codec in legacy_codecs() {
        for (magic, append) in [(0, false), (1, false), (1, true)] {
            let bytes = golden(&format!("m{magic}-{codec}-{}.bin", kind(append)));
            assert_eq!(messages_of(&bytes), all_expected(BASE_OFFSET, magic, append), "{magic} {codec} {append}");
        }
        assert_eq!(messages_of(&golden(&format!("old-{codec}.bin"))), all_expected(0, 0, false), "0.9 {codec}");
    }
}

#[test]
fn writes_the_same_bytes_as_java_where_no_codec_is_free_to_choose() {
    for (magic, append) in [(0, false), (1, false), (1, true), (2, false), (2, true)] {
        let want = golden(&format!("m{magic}-none-{}.bin", kind(append)));
        assert_eq!(written(magic, Compression::None, append), want, "magic {magic}");
    }
    // The wrong header hash of magic 0 is part of the format.
    let frame = |set: &Bytes| legacy::messages(set).next().unwrap().unwrap().value.unwrap();
    for magic in [0, 1] {
        let (ours, javas) =
            (frame(&written(magic, Compression::Lz4, false)), frame(&golden(&format!("m{magic}-lz4-create.bin"))));
        assert_eq!(ours[..7], javas[..7], "lz4 frame header of magic {magic}");
    }
}

#[test]
fn what_is_written_reads_back_in_every_format() {
    for codec in CODECS {
        for append in [false, true] {
            assert_eq!(records_of(&written(2, codec, append)), all_expected(BASE_OFFSET, 2, append));
        }
    }
    for codec in legacy_codecs() {
        for (magic, append) in [(0, false), (1, false), (1, true)] {
            let set = written(magic, codec, append);
            assert_eq!(messages_of(&set), all_expected(BASE_OFFSET, magic, append), "{magic} {codec}");
        }
    }
}

#[test]
fn old_producers_messages_become_one_batch() {
    for codec in legacy_codecs() {
        for name in [format!("old-{codec}.bin"), format!("m0-{codec}-create.bin"), format!("m1-{codec}-create.bin")] {
            let magic = if name.starts_with("m1") { 1 } else { 0 };
            let validated = validate(&golden(&name), &ValidationConfig::default(), NOW).unwrap();
            assert!(validated.converted);
            assert_eq!(validated.batch.header().compression().unwrap(), codec, "{name}");
            assert_eq!(records_of(&validated.batch.to_bytes()), all_expected(0, magic, false), "{name}");
            let up = convert::up_convert(&golden(&name), codec, LIMIT).unwrap().unwrap();
            assert_eq!(up, validated.batch.to_bytes());
        }
    }
}

#[test]
fn old_consumers_get_messages_without_control_batches_and_headers() {
    for codec in legacy_codecs() {
        for append in [false, true] {
            let batch = golden(&format!("m2-{codec}-{}.bin", kind(append)));
            for magic in [0, 1] {
                let set = convert::down_convert(&batch, magic, 0, LIMIT).unwrap();
                assert_eq!(messages_of(&set), all_expected(BASE_OFFSET, magic, append), "{codec} {magic}");
            }
        }
    }
    let from_the_middle = convert::down_convert(&golden("m2-none-create.bin"), 1, BASE_OFFSET + 3, LIMIT).unwrap();
    assert_eq!(messages_of(&from_the_middle), all_expected(BASE_OFFSET, 1, false)[3..]);
    assert!(convert::down_convert(&golden("m2-zstd-create.bin"), 1, 0, LIMIT).is_err());

    let mut control = BatchBuilder::new(Compression::None).producer(1, 0, -1).transactional().control();
    control.append(TIMESTAMP, Some(&[0, 0, 0, 1]), Some(&[0; 6]), &[]).unwrap();
    let stub = convert::down_convert(&control.build().unwrap(), 1, 0, LIMIT).unwrap();
    assert_eq!(stub[..], [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 61]);
}

/// Run with `HEADWATER_GOLDEN_OUT=<folder>`, then `tests/java-golden/run check <folder>`: Java reads what we write.
#[test]
fn writes_sets_for_java_to_check() {
    let Ok(folder) = std::env::var("HEADWATER_GOLDEN_OUT") else { return };
    for codec in CODECS {
        for (magic, append) in [(0, false), (1, false), (1, true), (2, false), (2, true)] {
            if codec != Compression::Zstd || magic == 2 {
                let path = Path::new(&folder).join(format!("m{magic}-{codec}-{}.bin", kind(append)));
                std::fs::write(path, written(magic, codec, append)).unwrap();
            }
        }
    }
}
