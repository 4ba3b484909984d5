//! Hostile bytes at every decoder: no panic, and no more memory than the bytes justify.

mod common;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use bytes::Bytes;
use common::{RANDOM, Source};
use wire::messages::{DescribeGroupsRequest, MetadataRequest};
use wire::produce::ProduceView;
use wire::registry::MESSAGES;
use wire::{DecodeError, Message, Reader, Str, decoded_bytes_max};

const MUTATIONS: u64 = 60;

/// The largest frame that a broker takes by default.
const FRAME_BYTES: usize = wire::frame::FRAME_BYTES_MAX;

/// What a decoder may hold beyond [`decoded_bytes_max`]: the count of references to the input, and an error's text.
const CONSTANT_BYTES_MAX: usize = 256;

/// What an encoder may hold for each byte that was decoded: segments and the text of small values, grown by doubling.
const ENCODER_FACTOR: usize = 8;

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
                let allowed = CONSTANT_BYTES_MAX + decoded_bytes_max(input.len());
                let peak = peak_of(|| drop((entry.decode)(input.clone(), version)));
                assert!(peak <= allowed, "{} {version}: {peak} bytes for {input:?}", entry.name);
                let allowed = allowed + ENCODER_FACTOR * (input.len() + 1024);
                let peak = peak_of(|| drop((entry.recode)(input.clone(), version)));
                assert!(peak <= allowed, "{} {version}: {peak} bytes for {input:?} and back", entry.name);
            }
        }
    }
}

/// Long runs of the same byte make the largest arrays of the smallest elements, and as many tagged fields as there can be.
fn runs(length: usize) -> impl Iterator<Item = Bytes> {
    [0u8, 1, 2].into_iter().flat_map(move |byte| {
        let count = length / 16;
        let compact =
            [(count & 0x7f) as u8 | 0x80, (count >> 7 & 0x7f) as u8 | 0x80, (count >> 14 & 0x7f) as u8 | 0x80]
                .into_iter()
                .chain([(count >> 21) as u8]);
        let heads = [(count as u32).to_be_bytes().to_vec(), compact.collect()];
        heads.into_iter().map(move |head| {
            let mut input = vec![byte; length];
            input[..4].copy_from_slice(&head);
            Bytes::from(input)
        })
    })
}

#[test]
fn long_runs_of_small_elements_stay_within_the_factor() {
    for input in runs(100_000) {
        for entry in MESSAGES {
            for version in entry.versions.clone() {
                let allowed = CONSTANT_BYTES_MAX + decoded_bytes_max(input.len());
                let peak = peak_of(|| drop((entry.decode)(input.clone(), version)));
                assert!(peak <= allowed, "{} {version}: {peak} bytes for runs of {}", entry.name, input[4]);
            }
        }
    }
}

/// A message of so many bytes that begins with `head`, and whose tagged fields take all the rest, two bytes each.
fn only_tags(head: &[u8], length: usize) -> Bytes {
    let count = (length - head.len() - 5) / 2;
    let varint = [0, 7, 14, 21, 28].map(|shift| (count >> shift) as u8 & 0x7f | if shift < 28 { 0x80 } else { 0 });
    let mut input = vec![0; length];
    input[..head.len()].copy_from_slice(head);
    input[head.len()..head.len() + 5].copy_from_slice(&varint);
    input.into()
}

#[test]
fn a_full_frame_of_tagged_fields_of_a_request_takes_no_memory() {
    // API key, version, correlation id, no client id.
    let header = only_tags(&[0, 3, 0, 13, 0, 0, 0, 1, 0xff, 0xff], FRAME_BYTES);
    let peak = peak_of(|| drop(wire::header::RequestHeader::from_bytes(header.clone(), 2).unwrap()));
    assert!(peak < 1024, "{peak} bytes for a header");
    // No topics, two flags.
    let body = only_tags(&[0, 0, 0], 1 << 20);
    let peak = peak_of(|| drop(MetadataRequest::from_bytes(body.clone(), 13).unwrap()));
    assert!(peak < 1024, "{peak} bytes for a body");
    // Where they are kept, they are refused before they take what the frame does not justify.
    let mut outcome = None;
    let peak = peak_of(|| outcome = Some(wire::header::ResponseHeader::from_bytes(only_tags(&[0; 4], FRAME_BYTES), 1)));
    assert!(matches!(outcome, Some(Err(DecodeError::TooMuchMemory { .. }))), "{outcome:?}");
    assert!(peak < FRAME_BYTES + 1024, "{peak} bytes for a response's header");
}

#[test]
fn a_full_frame_takes_eight_times_its_bytes_at_most() {
    let requests = ["MetadataRequest", "ProduceRequest"];
    for input in runs(FRAME_BYTES) {
        for entry in MESSAGES.iter().filter(|entry| requests.contains(&entry.name)) {
            for version in [*entry.versions.start(), *entry.versions.end()] {
                let peak = peak_of(|| drop((entry.decode)(input.clone(), version)));
                assert!(peak <= 8 * FRAME_BYTES + (5 << 20), "{} {version}: {peak} bytes", entry.name);
            }
        }
    }
}

#[test]
fn any_negative_length_is_null_where_null_may_be() {
    for length in [-1_i32, -2, i32::MIN] {
        let body = Bytes::copy_from_slice(&length.to_be_bytes());
        assert_eq!(MetadataRequest::from_bytes(body.clone(), 1).unwrap().topics, None);
        let error = DescribeGroupsRequest::from_bytes(body, 0).unwrap_err();
        assert!(matches!(error, DecodeError::UnexpectedNull { .. }), "{error}");
    }
}

/// A DescribeGroups v0 as a client sends it, with so many names of so many bytes that are no text.
fn groups_that_are_no_text(count: usize, bytes: usize) -> Bytes {
    let mut frame = b"\0\x0f\0\0\0\0\0\x01\0\x04caf\xe9".to_vec();
    frame.extend((count as u32).to_be_bytes());
    for _ in 0..count {
        frame.extend((bytes as u16).to_be_bytes());
        frame.extend(std::iter::repeat_n(0xff, bytes));
    }
    frame.into()
}

#[test]
fn text_of_a_request_that_is_not_utf8_is_replaced_within_the_memory_it_is_charged_for() {
    let read = |frame: &Bytes| {
        let mut reader = Reader::new(frame.clone());
        let (_, header) = wire::header::decode_request_header(&mut reader).unwrap();
        assert_eq!(header.client_id.as_deref(), Some("caf\u{fffd}"));
        (DescribeGroupsRequest::decode(&mut reader, 0), reader.decoded_bytes())
    };
    let (request, charged) = read(&groups_that_are_no_text(2, 3));
    assert_eq!(request.unwrap().groups, ["\u{fffd}\u{fffd}\u{fffd}"; 2]);
    assert!(charged >= 2 * 9, "{charged}");
    for (count, bytes) in [(1, 10_922), (1, 10_923), (1, 32_767), (3_000, 100), (30_000, 10), (300_000, 1)] {
        let frame = groups_that_are_no_text(count, bytes);
        let allowed = CONSTANT_BYTES_MAX + decoded_bytes_max(frame.len());
        let mut outcome = None;
        let peak = peak_of(|| outcome = Some(read(&frame)));
        assert!(peak <= allowed, "{peak} bytes for {count} names of {bytes}");
        match outcome.unwrap() {
            (Ok(_), charged) => assert!(peak <= CONSTANT_BYTES_MAX + charged, "{peak} bytes of {charged}"),
            (Err(DecodeError::LengthTooLarge { .. }), _) => assert!(bytes > 10_922, "longer than any text may be"),
            (Err(DecodeError::TooMuchMemory { .. }), _) => assert!(bytes < 10),
            (Err(error), _) => panic!("{error}"),
        }
    }
    // What is stored, or comes from a broker, is text.
    let body = groups_that_are_no_text(1, 3).slice(14..);
    let error = DescribeGroupsRequest::from_bytes(body, 0).unwrap_err();
    assert!(matches!(error, DecodeError::InvalidUtf8 { .. }), "{error}");
}

/// Names of one to three letters, each once.
fn shortest_names(most: usize) -> Vec<Str> {
    const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-";
    let mut names: Vec<Vec<u8>> = LETTERS.iter().map(|letter| vec![*letter]).collect();
    let mut from = 0;
    while names.len() < most && names[from].len() < 4 {
        let longer = LETTERS.iter().map(|letter| [&names[from][..], &[*letter]].concat()).collect::<Vec<_>>();
        names.extend(longer);
        from += 1;
    }
    names.truncate(most);
    names.into_iter().map(|name| Str::from_utf8(name.into()).expect("letters are UTF-8")).collect()
}

/// Encodes a request in the oldest, the first compact and the newest version, and reads it again.
fn is_taken<Q: Message>(what: &str, request: impl Fn(i16) -> Q) {
    // Between the two nothing is denser.
    let mut versions = Q::VERSIONS;
    let first_flexible = versions.find(|version| Q::is_flexible(*version)).unwrap_or(*Q::VERSIONS.end());
    for version in [*Q::VERSIONS.start(), first_flexible, *Q::VERSIONS.end()] {
        let bytes = request(version).to_frame(version).expect("it is encodable").into_bytes();
        let length = bytes.len();
        let decoded = Q::from_bytes(bytes, version);
        assert!(decoded.is_ok(), "{what} in version {version}, {length} bytes: {:?}", decoded.err());
    }
}

/// The requests whose structs are largest against their bytes, with the shortest names that clients can send: from a
/// single one to all names of up to three letters; longer ones are less dense.
#[test]
fn the_densest_requests_of_clients_are_taken() {
    use wire::messages::*;
    for count in [1, 65, 4_000, 278_915] {
        let names = shortest_names(count);
        let what = format!("{count} names");
        is_taken(&what, |_| {
            let topic =
                |name: &Str| metadata_request::MetadataRequestTopic { name: Some(name.clone()), ..Default::default() };
            MetadataRequest { topics: Some(names.iter().map(topic).collect()), ..Default::default() }
        });
        is_taken(&what, |_| DescribeGroupsRequest { groups: names.clone(), ..Default::default() });
        is_taken(&what, |_| DeleteGroupsRequest { groups_names: names.clone(), ..Default::default() });
        is_taken(&what, |_| {
            let topic = |name: &Str| describe_topic_partitions_request::TopicRequest {
                name: name.clone(),
                ..Default::default()
            };
            DescribeTopicPartitionsRequest { topics: names.iter().map(topic).collect(), ..Default::default() }
        });
        is_taken(&what, |version| {
            let resource = |name: &Str| describe_configs_request::DescribeConfigsResource {
                resource_type: 2,
                resource_name: name.clone(),
                configuration_keys: if version == 0 { Some(Vec::new()) } else { None },
                ..Default::default()
            };
            DescribeConfigsRequest { resources: names.iter().map(resource).collect(), ..Default::default() }
        });
        if count > 4_000 {
            // The others are not as dense.
            continue;
        }
        is_taken(&what, |_| {
            let topic = |name: &Str| describe_log_dirs_request::DescribableLogDirTopic {
                topic: name.clone(),
                partitions: vec![0],
                ..Default::default()
            };
            DescribeLogDirsRequest { topics: Some(names.iter().map(topic).collect()), ..Default::default() }
        });
        is_taken(&what, |version| {
            let topic = |name: &Str| fetch_request::FetchTopic {
                topic: if version < 13 { name.clone() } else { Str::default() },
                topic_id: if version < 13 { base::Uuid::nil() } else { base::Uuid::from_u128(1) },
                partitions: vec![Default::default()],
                ..Default::default()
            };
            FetchRequest { topics: names.iter().map(topic).collect(), ..Default::default() }
        });
        is_taken(&what, |version| {
            let topic = |name: &Str| fetch_request::ForgottenTopic {
                topic: if version < 13 { name.clone() } else { Str::default() },
                topic_id: if version < 13 { base::Uuid::nil() } else { base::Uuid::from_u128(1) },
                partitions: vec![0],
                ..Default::default()
            };
            let forgotten = if version < 7 { Vec::new() } else { names.iter().map(topic).collect() };
            FetchRequest { forgotten_topics_data: forgotten, ..Default::default() }
        });
        is_taken(&what, |_| {
            let topic = |name: &Str| list_offsets_request::ListOffsetsTopic {
                name: name.clone(),
                partitions: vec![Default::default()],
                ..Default::default()
            };
            ListOffsetsRequest { topics: names.iter().map(topic).collect(), ..Default::default() }
        });
        is_taken(&what, |version| {
            let topic = |name: &Str| offset_commit_request::OffsetCommitRequestTopic {
                name: if version < 10 { name.clone() } else { Str::default() },
                topic_id: if version < 10 { base::Uuid::nil() } else { base::Uuid::from_u128(1) },
                partitions: vec![Default::default()],
                ..Default::default()
            };
            OffsetCommitRequest { topics: names.iter().map(topic).collect(), ..Default::default() }
        });
        is_taken(&what, |_| {
            let topic = |name: &Str| offset_delete_request::OffsetDeleteRequestTopic {
                name: name.clone(),
                partitions: vec![Default::default()],
            };
            OffsetDeleteRequest { topics: names.iter().map(topic).collect(), ..Default::default() }
        });
        is_taken(&what, |_| {
            let topic = |name: &Str| create_topics_request::CreatableTopic { name: name.clone(), ..Default::default() };
            CreateTopicsRequest { topics: names.iter().map(topic).collect(), ..Default::default() }
        });
        is_taken(&what, |_| {
            let topic = |name: &Str| create_partitions_request::CreatePartitionsTopic {
                name: name.clone(),
                assignments: None,
                ..Default::default()
            };
            CreatePartitionsRequest { topics: names.iter().map(topic).collect(), ..Default::default() }
        });
        is_taken(&what, |_| {
            let topic = |name: &Str| offset_for_leader_epoch_request::OffsetForLeaderTopic {
                topic: name.clone(),
                partitions: vec![Default::default()],
                ..Default::default()
            };
            OffsetForLeaderEpochRequest { topics: names.iter().map(topic).collect(), ..Default::default() }
        });
        is_taken(&what, |_| {
            let topic = |name: &Str| delete_records_request::DeleteRecordsTopic {
                name: name.clone(),
                partitions: vec![Default::default()],
                ..Default::default()
            };
            DeleteRecordsRequest { topics: names.iter().map(topic).collect(), ..Default::default() }
        });
        is_taken(&what, |version| {
            let topic =
                |name: &Str| delete_topics_request::DeleteTopicState { name: Some(name.clone()), ..Default::default() };
            if version < 6 {
                DeleteTopicsRequest { topic_names: names.clone(), ..Default::default() }
            } else {
                DeleteTopicsRequest { topics: names.iter().map(topic).collect(), ..Default::default() }
            }
        });
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
                // It accounts for the answer, too, which matters with many topics only.
                (_, Err(DecodeError::TooMuchMemory { .. })) if input.len() > 4096 => {}
                (Err(generated), Err(view)) => assert_eq!(view, generated, "version {version}: {input:?}"),
                (generated, view) => panic!("version {version}: {generated:?} and {view:?} for {input:?}"),
            }
        }
    }
}

/// Kafka 4.4.0 answers such a request, of 2.7 MB.
#[test]
fn a_produce_of_a_small_batch_to_each_of_30000_topics_is_taken() {
    use wire::Writer;
    const TOPICS: usize = 30_000;
    let mut writer = Writer::new();
    writer.i16(-1);
    writer.i16(-1);
    writer.i32(10_000);
    writer.i32(TOPICS as i32);
    for number in 0..TOPICS {
        writer.string(false, &format!("t{number}")).unwrap();
        writer.i32(1);
        writer.i32(0);
        // A batch of one record of one byte.
        writer.i32(69);
        for _ in 0..69 {
            writer.i8(0);
        }
    }
    let frame = writer.finish().into_bytes();
    let view = ProduceView::decode(&mut Reader::new(frame), 3).unwrap();
    assert_eq!(view.topics().len(), TOPICS);
    assert!(view.memory_bytes() >= (TOPICS - 16) * 576, "a topic and its partition are accounted for");
}
