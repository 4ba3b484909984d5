//! Bytes that nobody honest writes: no panic, and no more memory than the limits allow.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use base::TimestampMs;
use bytes::Bytes;
use fuzzing::record_sets::{everything, resealed};
use proptest::prelude::*;
use records::compression::{compress, decompress};
use records::{BatchBuilder, Compression, InvalidRecord, RecordsError, ValidationConfig, validate};

/// Remembers the largest single request for memory by each thread.
struct Watch;

thread_local! {
    static LARGEST: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: passes every call on to the system's allocator.
unsafe impl GlobalAlloc for Watch {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let _ = LARGEST.try_with(|largest| largest.set(largest.get().max(layout.size())));
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promises are passed on.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static WATCH: Watch = Watch;

const LIMIT: usize = 256 * 1024;
/// What codecs may take for themselves: lz4 holds two blocks of up to 8 MiB each at most.
const LARGEST_ALLOWED: usize = 17 * 1024 * 1024;
const CODECS: [Compression; 4] = [Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd];

fn goldens() -> Vec<Bytes> {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../records/tests/golden");
    let mut paths: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "bin"));
    paths.sort();
    paths.into_iter().map(|path| Bytes::from(std::fs::read(path).unwrap())).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

    #[test]
    fn mutated_record_sets_never_panic_and_stay_within_their_limits(
        which in any::<prop::sample::Index>(),
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        cut in prop::option::weighted(0.2, any::<prop::sample::Index>()),
        sealed in any::<bool>(),
    ) {
        let goldens = goldens();
        let mut bytes = which.get(&goldens).to_vec();
        for (at, value) in edits {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        let bytes = sealed.then(|| resealed(&bytes)).flatten().unwrap_or(bytes);
        let bytes = Bytes::from(bytes);
        LARGEST.set(0);
        everything(&bytes);
        prop_assert!(LARGEST.get() <= LARGEST_ALLOWED, "{} bytes were asked for at once", LARGEST.get());
    }

    #[test]
    fn random_bytes_never_panic_in_a_decompressor(
        codec in prop::sample::select(CODECS.to_vec()),
        magic in 0..=2i8,
        bytes in prop::collection::vec(any::<u8>(), 0..300),
    ) {
        LARGEST.set(0);
        let _ = decompress(codec, magic, &bytes, LIMIT);
        prop_assert!(LARGEST.get() <= LARGEST_ALLOWED);
    }

    #[test]
    fn every_codec_gives_back_what_it_got(
        codec in prop::sample::select(CODECS.to_vec()),
        magic in 0..=2i8,
        bytes in prop::collection::vec(any::<u8>(), 0..2000),
        times in 0..60usize,
    ) {
        let bytes = bytes.repeat(times);
        let packed = compress(codec.into(), magic, &bytes).unwrap();
        prop_assert_eq!(decompress(codec, magic, &packed, bytes.len()).unwrap(), bytes);
    }
}

#[test]
fn bombs_are_stopped_at_the_limit() {
    let zeros = vec![0; 32 * 1024 * 1024];
    for codec in CODECS {
        let bomb = compress(codec.into(), 2, &zeros).unwrap();
        LARGEST.set(0);
        assert_eq!(decompress(codec, 2, &bomb, LIMIT), Err(RecordsError::DecompressedTooLarge { limit: LIMIT }));
        assert!(LARGEST.get() < 2 * 1024 * 1024, "{codec} asked for {} bytes at once", LARGEST.get());

        let mut batch = BatchBuilder::new(codec);
        batch.append(0, None, Some(&zeros), &[]).unwrap();
        let config = ValidationConfig {
            decompressed_bytes_max: LIMIT,
            max_message_bytes: usize::MAX,
            ..ValidationConfig::default()
        };
        let refused = validate(&batch.build().unwrap(), &config, TimestampMs(0)).unwrap_err();
        assert!(matches!(refused, InvalidRecord::TooLarge { .. }), "{codec}: {refused}");
        assert_eq!(refused.code(), 10);
    }
    // A raw snappy block that claims 4 GiB.
    assert!(decompress(Compression::Snappy, 2, &[0xff, 0xff, 0xff, 0xff, 0x0f, 0, 0], usize::MAX).is_err());
    let raw = snap::raw::Encoder::new().compress_vec(b"raw, as librdkafka writes it").unwrap();
    assert_eq!(decompress(Compression::Snappy, 2, &raw, LIMIT).unwrap(), "raw, as librdkafka writes it");
}
