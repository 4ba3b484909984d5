//! Hostile bytes at every decoder: no panic, and no more memory than the bytes justify.

mod common;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use bytes::Bytes;
use common::{RANDOM, Source};
use wire::messages::MetadataRequest;
use wire::produce::ProduceView;
use wire::registry::MESSAGES;
use wire::{DecodeError, Message, Reader};

const MUTATIONS: u64 = 60;

/// Memory a decoder may hold at once for each byte of input: the largest struct against the fewest bytes that encode
/// it, doubled because vectors grow by doubling, and a constant for the first reservation of each nested array.
const BYTES_PER_INPUT_BYTE_MAX: usize = 200;
const CONSTANT_BYTES_MAX: usize = 128 * 1024;

struct Counting;

thread_local! {
    static HELD: Cell<isize> = const { Cell::new(0) };
    static PEAK: Cell<isize> = const { Cell::new(0) };
}

fn count(bytes: isize) {
    // Not counted while the thread's storage is being torn down.
    let _ = HELD.try_with(|held| {
        held.set(held.get() + bytes);
        let _ = PEAK.try_with(|peak| peak.set(peak.get().max(held.get())));
    });
}

// SAFETY: hands every call on to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(-(layout.size() as isize));
        // SAFETY: the caller's promises are passed on.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The most memory that `work` held at a time.
fn peak_of(work: impl FnOnce()) -> usize {
    let before = HELD.with(Cell::get);
    PEAK.with(|peak| peak.set(before));
    work();
    (PEAK.with(Cell::get) - before).max(0) as usize
}

/// Breaks valid bytes in the ways that hurt decoders: flipped bits, huge and negative lengths, cuts, repeats.
fn mutate(source: &mut Source, valid: &Bytes) -> Bytes {
    let mut bytes = valid.to_vec();
    for _ in 0..=source.below(3) {
        let at = source.below(bytes.len() as u64 + 1) as usize;
        match source.below(7) {
            0 if at < bytes.len() => bytes[at] ^= 1 << source.below(8),
            1 if at < bytes.len() => bytes[at] = source.next() as u8,
            2 => bytes.truncate(at),
            3 => drop(bytes.splice(at..(at + 4).min(bytes.len()), [0x7f, 0xff, 0xff, 0xff])),
            4 => drop(bytes.splice(at..(at + 1).min(bytes.len()), [0xff, 0xff, 0xff, 0xff, 0x0f])),
            5 => bytes.extend((0..source.below(40)).map(|_| source.next() as u8)),
            _ => drop(bytes.splice(at..at, bytes[..at.min(8)].to_vec())),
        }
    }
    bytes.into()
}

#[test]
fn no_decoder_panics_or_takes_more_memory_than_its_input_justifies() {
    for (index, (entry, random)) in MESSAGES.iter().zip(RANDOM).enumerate() {
        for version in entry.versions.clone() {
            let mut source = Source::new((index as u64) << 20 | version as u64);
            for round in 0..MUTATIONS {
                let input = match round % 4 {
                    0 => (0..source.below(300)).map(|_| source.next() as u8).collect(),
                    _ => mutate(&mut source, &random(&mut Source::new(round), version).unwrap().bytes),
                };
                let allowed = CONSTANT_BYTES_MAX + BYTES_PER_INPUT_BYTE_MAX * input.len();
                let peak = peak_of(|| drop((entry.recode)(input.clone(), version)));
                assert!(peak <= allowed, "{} {version}: {peak} bytes for {input:?}", entry.name);
            }
        }
    }
}

/// Long runs of the same byte make the largest arrays of the smallest elements.
#[test]
fn long_runs_of_small_elements_stay_within_the_factor() {
    for entry in MESSAGES {
        for version in entry.versions.clone() {
            for byte in [0u8, 1, 2] {
                for length in [[0x00, 0x00, 0x40, 0x00], [0x81, 0x80, 0x01, 0x00]] {
                    let mut input = length.to_vec();
                    input.extend(vec![byte; 100_000]);
                    let allowed = CONSTANT_BYTES_MAX + BYTES_PER_INPUT_BYTE_MAX * input.len();
                    let input = Bytes::from(input);
                    let peak = peak_of(|| drop((entry.decode)(input, version)));
                    assert!(peak <= allowed, "{} {version}: {peak} bytes for runs of {byte}", entry.name);
                }
            }
        }
    }
}

#[test]
fn four_byte_metadata_body_with_a_huge_length_is_a_typed_error() {
    let body = Bytes::from_static(&[0x7f, 0xff, 0xff, 0xff]);
    let mut outcome = None;
    let peak = peak_of(|| outcome = Some(MetadataRequest::from_bytes(body, 1)));
    assert_eq!(
        outcome,
        Some(Err(DecodeError::LengthTooLarge { field: "MetadataRequest.topics", length: 0x7fff_ffff, remaining: 0 }))
    );
    assert!(peak < 1024, "{peak} bytes");
}

#[test]
fn millions_of_tiny_elements_are_refused_before_they_take_memory() {
    let count = 4_000_000_i32;
    let mut body = count.to_be_bytes().to_vec();
    body.resize(4 + 2 * count as usize, 0);
    let mut outcome = None;
    let peak = peak_of(|| outcome = Some(MetadataRequest::from_bytes(body.into(), 1)));
    assert!(matches!(outcome, Some(Err(DecodeError::TooMuchMemory { field: "MetadataRequest.topics", .. }))));
    assert!(peak < 1024, "{peak} bytes");
}

#[test]
fn produce_view_refuses_what_the_generated_code_refuses() {
    use wire::messages::ProduceRequest;
    let at = MESSAGES.iter().position(|e| e.name == ProduceRequest::NAME).unwrap();
    for version in ProduceRequest::VERSIONS {
        let mut source = Source::new(version as u64);
        for round in 0..3000 {
            let valid = RANDOM[at](&mut Source::new(round), version).unwrap().bytes;
            let input = if round % 3 == 0 { valid } else { mutate(&mut source, &valid) };
            let generated = ProduceRequest::from_bytes(input.clone(), version);
            let view = ProduceView::decode(&mut Reader::new(input.clone()), version);
            match (generated, view) {
                (Ok(generated), Ok(view)) => {
                    assert_eq!(view.acks, generated.acks);
                    assert_eq!(view.timeout_ms, generated.timeout_ms);
                    assert_eq!(view.transactional_id, generated.transactional_id);
                    assert_eq!(view.topics().len(), generated.topic_data.len());
                    for (topic, expected) in view.topics().iter().zip(&generated.topic_data) {
                        assert_eq!((&topic.name, topic.topic_id), (&expected.name, expected.topic_id));
                        let partitions = view.partitions_of(topic);
                        assert_eq!(partitions.len(), expected.partition_data.len());
                        for (partition, expected) in partitions.iter().zip(&expected.partition_data) {
                            assert_eq!(
                                (partition.index, view.records_of(partition)),
                                (expected.index, expected.records.clone())
                            );
                        }
                    }
                }
                (Err(generated), Err(view)) => assert_eq!(view, generated, "version {version}: {input:?}"),
                (generated, view) => panic!("version {version}: {generated:?} and {view:?} for {input:?}"),
            }
        }
    }
}
