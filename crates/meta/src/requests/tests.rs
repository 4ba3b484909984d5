//! Every operation and every answer comes back as it was, and bytes that make no sense are refused.

use std::sync::Arc;

use base::{
    BrokerEpoch, BrokerId, Incarnation, MetaSequence, ObjectId, Offset, OffsetRange, StreamEpoch, StreamId,
    TimestampMs, Uuid, WalPosition,
};
use bytes::Bytes;
use stream::catalogue::{
    CommitRejection, CommitRequest, Committed, IncarnationRejection, NewCheckpoint, NewObject, NewRange, ObjectKind,
    OpenStream, Recovered, ReplayError, StateBelow, StreamRejection, TrimRequest, WalPlace,
};
use wire::broker::{
    MetaAdoptStreamsRequest, MetaAllocateProducerIdsResponse, MetaCommitRequest, MetaCommitResponse,
    MetaCreateTopicsResponse, MetaFailure, MetaRetireResponse, MetaSetBrokerStateRequest, MetaSetBrokerStateResponse,
    MetaTrimRequest, MetaTrimResponse, ObjectToCommit, RangeToCommit, StreamToTrim,
};

use super::*;
use crate::control::configs::{ConfigChange, ConfigResource};
use crate::control::topics::{CreatedTopic, NewTopic};
use crate::control::wals::ADOPT_STREAMS_MAX;
use crate::error::{
    BrokerError, ConfigError, CreatePartitionsError, CreateTopicError, DeleteTopicError, LogLost, NoBroker,
    TooManyPartitions, Unfit,
};
use crate::image::{BrokerState, TopicImage};

const ID: Incarnation = Incarnation { broker: BrokerId(3), epoch: BrokerEpoch(70) };
const OTHER: Incarnation = Incarnation { broker: BrokerId(4), epoch: BrokerEpoch(71) };
const STREAM: StreamId = StreamId(u64::MAX - 1);
const EPOCH: StreamEpoch = StreamEpoch(6);
const OBJECT: ObjectId = ObjectId { writer: OTHER, sequence: 9 };

fn range() -> OffsetRange {
    OffsetRange::new(Offset(5), Offset(8))
}

/// The operation as another process gets it.
fn asked<O: Request>(operation: &O) -> O {
    let bytes = encode_request(operation, 0).unwrap();
    for broken in broken(&bytes) {
        drop(decode_request::<O>(broken, 0));
    }
    decode_request(bytes, 0).unwrap()
}

/// The bytes with one of them changed, or without their end. Whatever they mean, nothing must panic.
fn broken(bytes: &Bytes) -> impl Iterator<Item = Bytes> {
    let positions = 0..bytes.len().min(1_000);
    positions.flat_map(move |at| {
        let changed = [0x00, 0x01, 0x7f, 0x80, 0xff].map(|byte| {
            let mut bytes = bytes.to_vec();
            bytes[at] = byte;
            Bytes::from(bytes)
        });
        changed.into_iter().chain([bytes.slice(..at)])
    })
}

/// The answer as another process gets it.
fn told<O: Request>(answer: Result<O::Answer, MetaError>) -> Result<O::Answer, MetaError> {
    let sequence = MetaSequence(1 << 40);
    let bytes = encode_answer::<O>(Answered { sequence, answer }, 0).unwrap();
    if bytes.len() < 10_000 {
        for broken in broken(&bytes) {
            drop(decode_answer::<O>(broken, 0));
        }
    }
    let answered = decode_answer::<O>(bytes, 0).unwrap();
    assert_eq!(answered.sequence, sequence);
    answered.answer
}

/// Checks that each of these answers comes back as it was, and that there may be none.
macro_rules! answers {
    ($operation:ty: $($answer:expr),* $(,)?) => {
        $(
            let answer: <$operation as Operation>::Answer = $answer;
            assert_eq!(told::<$operation>(Ok(answer.clone())), Ok(answer));
        )*
        for error in meta_errors() {
            assert_eq!(told::<$operation>(Err(error.clone())).unwrap_err(), error);
        }
    };
}

fn meta_errors() -> Vec<MetaError> {
    vec![
        MetaError::Fenced("entry 7 is another's".into()),
        MetaError::OutcomeUnknown("ö".into()),
        MetaError::Unreadable(LogLost::Replaced("by another".into())),
        MetaError::Unreadable(LogLost::Unreadable(MetaSequence(44))),
        MetaError::Closed,
        MetaError::TooLarge { bytes: 9 << 20, limit: 8 << 20 },
        MetaError::Unfit(Unfit("".into())),
        MetaError::GivenUp(MetaSequence(3)),
    ]
}

fn replay_errors() -> Vec<ReplayError> {
    vec![
        ReplayError::Negative { field: "object sequence".into(), value: i64::MIN },
        ReplayError::UnknownCode { field: "object kind".into(), code: -7 },
        ReplayError::Stream { stream: STREAM, reason: "created twice".into() },
        ReplayError::Discontinuous { stream: STREAM, range: range(), end: Offset(1) },
        ReplayError::Object { object: OBJECT, reason: "unknown".into() },
        ReplayError::Incarnation { incarnation: ID, reason: "fenced".into() },
    ]
}

fn stream_rejections() -> Vec<StreamRejection> {
    let mut all = vec![
        StreamRejection::Unknown(STREAM),
        StreamRejection::StaleEpoch { stream: STREAM, epoch: EPOCH, present: StreamEpoch(7) },
        StreamRejection::Owned { stream: STREAM, owner: ID, phase: "OPEN".to_owned() },
        StreamRejection::Uncommitted {
            stream: STREAM,
            start: Offset(2),
            needed: Offset(i64::MAX as u64),
            committed: Offset(3),
        },
        StreamRejection::Untold { stream: STREAM, start: Offset(2), checkpoint: Offset(0) },
    ];
    all.extend(replay_errors().into_iter().map(StreamRejection::Invalid));
    all
}

fn incarnation_rejections() -> Vec<IncarnationRejection> {
    vec![
        IncarnationRejection::Unknown(ID),
        IncarnationRejection::WrongPhase {
            incarnation: ID,
            phase: "DAMAGED (a hole)".to_owned(),
            step: "drained".into(),
        },
        IncarnationRejection::Stale(OTHER),
        IncarnationRejection::BelowCommitted {
            incarnation: ID,
            final_position: WalPosition(4096),
            committed: WalPosition(8192),
        },
    ]
}

fn commit_rejections() -> Vec<CommitRejection> {
    let mut all = vec![
        CommitRejection::WriterFenced { writer: ID },
        CommitRejection::LogFenced { writer: ID, log: OTHER, phase: "FENCED".to_owned() },
        CommitRejection::OutOfOrder { writer: ID, sequence: 5, expected: 4 },
        CommitRejection::SequenceUsed { writer: ID, sequence: 2 },
        CommitRejection::BelowUploadFloor { object: OBJECT, floor: 10 },
        CommitRejection::ObjectExists { object: OBJECT },
        CommitRejection::Hole { stream: STREAM, range: range(), end: Offset(4) },
        CommitRejection::FutureEpoch { stream: STREAM, epoch: StreamEpoch(9), present: EPOCH },
        CommitRejection::NotTaken { stream: STREAM, range: range(), end: Offset(4) },
        CommitRejection::TooLarge { items: 100_001 },
    ];
    all.extend(replay_errors().into_iter().map(CommitRejection::Invalid));
    all
}

fn not_created() -> Vec<CreateTopicError> {
    vec![
        CreateTopicError::Exists("a".to_owned()),
        CreateTopicError::Collides { name: "a.b".to_owned(), other: "a_b".to_owned() },
        CreateTopicError::NoPartitions,
        TooManyPartitions { wanted: 50_001, limit: 50_000 }.into(),
        NoBroker.into(),
        Unfit("why".into()).into(),
    ]
}

fn not_deleted() -> Vec<DeleteTopicError> {
    vec![DeleteTopicError::Unknown(Uuid::from_u128(9)), Unfit("why".into()).into()]
}

fn not_grown() -> Vec<CreatePartitionsError> {
    let mut all = vec![
        CreatePartitionsError::Unknown(Uuid::from_u128(9)),
        CreatePartitionsError::NotMore { present: 3, wanted: 2 },
        TooManyPartitions { wanted: 50_001, limit: 50_000 }.into(),
        NoBroker.into(),
    ];
    all.extend(meta_errors().into_iter().map(CreatePartitionsError::Meta));
    all
}

fn config_errors() -> Vec<ConfigError> {
    let mut all = vec![ConfigError::UnknownTopic("t".to_owned()), ConfigError::Changed];
    all.extend(meta_errors().into_iter().map(ConfigError::Meta));
    all
}

fn broker_errors() -> Vec<BrokerError> {
    let mut all = vec![BrokerError::Stale(ID), BrokerError::NotDrained(OTHER)];
    all.extend(incarnation_rejections().into_iter().map(BrokerError::Incarnation));
    all.extend(meta_errors().into_iter().map(BrokerError::Meta));
    all
}

/// Each refusal as an answer of its own.
fn refused<T, E>(refusals: Vec<E>) -> Vec<Result<T, E>> {
    refusals.into_iter().map(Err).collect()
}

#[test]
fn operations_on_topics_cross_whole() {
    let topic = |name: &str, configs: &[(&str, &str)]| NewTopic {
        name: name.to_owned(),
        partitions: 7,
        configs: configs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect(),
    };
    let topics = vec![
        (Uuid::from_u128(1), topic("a", &[("retention.ms", "-1"), ("cleanup.policy", "")])),
        (Uuid::from_u128(2), topic("é", &[])),
    ];
    let create = CreateTopics { topics, validate_only: true };
    assert_eq!(asked(&create), create);
    let delete = DeleteTopics { ids: vec![Uuid::from_u128(1), Uuid::from_u128(u128::MAX)] };
    assert_eq!(asked(&delete), delete);
    let grow = CreatePartitions { topic: Uuid::from_u128(1), total: 50_001, validate_only: false };
    assert_eq!(asked(&grow), grow);

    let created = |n| Ok(CreatedTopic { id: Uuid::from_u128(n), partitions: vec![STREAM, StreamId(n as u64)] });
    let mut mixed = vec![created(1)];
    mixed.extend(refused(not_created()));
    mixed.push(created(2));
    answers!(CreateTopics: mixed, Vec::new());
    let deleted =
        || Ok(Arc::new(TopicImage { id: Uuid::from_u128(1), name: "a".into(), partitions: vec![StreamId(0)] }));
    let mut mixed = refused(not_deleted());
    mixed.push(deleted());
    answers!(DeleteTopics: mixed, vec![deleted()]);
    answers!(CreatePartitions: Ok(vec![STREAM]), Ok(Vec::new()));
    for error in not_grown() {
        answers!(CreatePartitions: Err(error));
    }
}

#[test]
fn operations_on_settings_cross_whole() {
    let alter = AlterConfigs {
        of: ConfigResource { kind: 4, name: String::new() },
        saw: [("a".into(), "1".into()), ("b".into(), "".into())].into_iter().collect(),
        changes: vec![
            ConfigChange { key: "a".to_owned(), value: None },
            ConfigChange { key: "c".to_owned(), value: Some(String::new()) },
        ],
    };
    assert_eq!(asked(&alter), alter);
    answers!(AlterConfigs: Ok(()));
    for error in config_errors() {
        answers!(AlterConfigs: Err(error));
    }
}

#[test]
fn operations_on_brokers_and_producer_ids_cross_whole() {
    for state in [BrokerState::Starting, BrokerState::Active, BrokerState::Draining, BrokerState::Fenced] {
        let set = SetBrokerState { id: ID, state };
        assert_eq!(asked(&set), set);
    }
    let unregister = UnregisterBroker { id: ID };
    assert_eq!(asked(&unregister), unregister);
    answers!(SetBrokerState: Ok(()));
    answers!(UnregisterBroker: Ok(()));
    for error in broker_errors() {
        answers!(SetBrokerState: Err(error.clone()));
        answers!(UnregisterBroker: Err(error));
    }
    let allocate = AllocateProducerIds { owner: ID };
    assert_eq!(asked(&allocate), allocate);
    answers!(AllocateProducerIds: 1_000..2_000, i64::MAX..i64::MAX);
}

#[test]
fn operations_on_streams_cross_whole() {
    let open = OpenStream { stream: STREAM, epoch: EPOCH, owner: ID };
    assert_eq!(asked(&OpenStreams { requests: vec![open, open] }).requests, [open, open]);
    let CloseStream { stream, epoch } = asked(&CloseStream { stream: STREAM, epoch: EPOCH });
    assert_eq!((stream, epoch), (STREAM, EPOCH));
    let trims = [StateBelow::Checkpointed, StateBelow::NotKept, StateBelow::ToldUpTo(Offset(0))]
        .map(|state| TrimRequest { stream: STREAM, epoch: EPOCH, start: Offset(i64::MAX as u64), state });
    assert_eq!(asked(&Trim { requests: trims.to_vec() }).requests, trims);
    let Retire = asked(&Retire);
    assert_eq!(asked(&ObjectsRemoved { objects: vec![OBJECT] }).objects, [OBJECT]);

    answers!(OpenStreams: Ok(()));
    answers!(CloseStream: Ok(()));
    for rejection in stream_rejections() {
        answers!(OpenStreams: Err(rejection.clone()));
        answers!(CloseStream: Err(rejection));
    }
    let mut mixed = refused(stream_rejections());
    mixed.insert(1, Ok(()));
    answers!(Trim: mixed, vec![Ok(()); 3], Vec::new());
    answers!(Retire: ());
    answers!(ObjectsRemoved: ());
}

#[test]
fn commits_cross_whole() {
    let new = NewRange { stream: STREAM, epoch: EPOCH, range: range(), max_timestamp: TimestampMs(-1), bytes: 77 };
    let object = |sequence, kind| NewObject {
        sequence,
        kind,
        length: 1 << 40,
        crc: u32::MAX,
        ranges: vec![new, new],
        checkpoints: vec![NewCheckpoint { stream: STREAM, epoch: EPOCH, offset: Offset(8) }],
    };
    let request = CommitRequest {
        writer: ID,
        commit_sequence: 12,
        log: OTHER,
        wal_position: WalPosition(1 << 50),
        covers: vec![(STREAM, range())],
        upload_floor: 3,
        objects: vec![object(3, ObjectKind::StreamSet), object(4, ObjectKind::Stream), object(5, ObjectKind::Wal)],
    };
    assert_eq!(asked(&Commit { request: request.clone() }).request, request);
    answers!(Commit: Ok(Committed { repeated: true, ranges_skipped: 0 }));
    answers!(Commit: Ok(Committed { repeated: false, ranges_skipped: 100_000 }));
    for rejection in commit_rejections() {
        answers!(Commit: Err(rejection));
    }
}

#[test]
fn operations_on_wals_cross_whole() {
    let place = WalPlace { kind: 1, location: "/dev/nvme0n1".into() };
    let (log, taker, final_position) = (ID, OTHER, WalPosition(4096));
    assert_eq!(asked(&OpenWal { id: ID, place: place.clone() }), OpenWal { id: ID, place });
    let adopt = AdoptStreams { id: ID, max: ADOPT_STREAMS_MAX };
    assert_eq!(asked(&adopt), adopt);
    let recovered = WalRecovered { log, taker, final_position };
    assert_eq!(asked(&recovered), recovered);
    let damaged = WalDamaged { log, taker, reason: "a hole at 4096".to_owned() };
    assert_eq!(asked(&damaged), damaged);
    let drained = WalDrained { log, final_position };
    assert_eq!(asked(&drained), drained);
    assert_eq!(asked(&AbandonWal { id: ID }), AbandonWal { id: ID });
    assert_eq!(asked(&WalCleared { id: ID }), WalCleared { id: ID });
    assert_eq!(asked(&RemoveWal { id: ID }), RemoveWal { id: ID });

    answers!(AdoptStreams: vec![STREAM, StreamId(0)], Vec::new());
    answers!(WalRecovered: Ok(Recovered { opened: vec![STREAM], more: true }), Ok(Recovered::default()));
    macro_rules! steps {
        ($($operation:ident),*) => {$(
            answers!($operation: Ok(()));
            for rejection in incarnation_rejections() {
                answers!($operation: Err(rejection));
            }
        )*};
    }
    steps!(OpenWal, WalDamaged, WalDrained, AbandonWal, WalCleared, RemoveWal);
    for rejection in incarnation_rejections() {
        answers!(WalRecovered: Err(rejection));
    }
}

fn senseless<T>(outcome: Result<T, Misfit>) -> (&'static str, i64) {
    match outcome {
        Err(Misfit::Senseless { field, value }) => (field, value),
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("taken"),
    }
}

fn request_of<O: Request>(message: &O::Message) -> Result<O, Misfit> {
    decode_request(message.to_frame(0).unwrap().into_bytes(), 0)
}

fn answer_of<O: Request>(message: &ResponseOf<O>) -> Result<Answered<Result<O::Answer, MetaError>>, Misfit> {
    decode_answer::<O>(message.to_frame(0).unwrap().into_bytes(), 0)
}

#[test]
fn requests_that_make_no_sense_are_refused() {
    let state = MetaSetBrokerStateRequest { state: 4, ..Default::default() };
    assert_eq!(senseless(request_of::<SetBrokerState>(&state)), ("broker state", 4));
    let streams_max = ADOPT_STREAMS_MAX as i32 + 1;
    let adopt = MetaAdoptStreamsRequest { streams_max, ..Default::default() };
    assert_eq!(senseless(request_of::<AdoptStreams>(&adopt)), ("streams to adopt", 50_001));
    let trim = |start, state| MetaTrimRequest { trims: vec![StreamToTrim { start, state, ..Default::default() }] };
    assert_eq!(senseless(request_of::<Trim>(&trim(-1, 0))), ("start", -1));
    assert_eq!(senseless(request_of::<Trim>(&trim(0, 3))), ("what tells the state", 3));
    assert_eq!(senseless(request_of::<Trim>(&trim(0, 2))), ("end of what tells the state", -1));
    let object = |kind, start, end| ObjectToCommit {
        kind,
        ranges: vec![RangeToCommit { start, end, ..Default::default() }],
        ..Default::default()
    };
    let commit = |object| MetaCommitRequest { objects: vec![object], ..Default::default() };
    assert_eq!(senseless(request_of::<Commit>(&commit(object(3, 0, 0)))), ("object kind", 3));
    assert_eq!(senseless(request_of::<Commit>(&commit(object(0, 5, 4)))), ("range end", 4));
    assert_eq!(senseless(request_of::<Commit>(&commit(object(0, -5, 4)))), ("range start", -5));
    let whole = encode_request(&Retire, 0).unwrap();
    let longer = Bytes::from([&whole[..], &[0; 3]].concat());
    assert_eq!(decode_request::<Retire>(longer, 0).err(), Some(Misfit::Behind { bytes: 3 }));
    assert!(matches!(decode_request::<Retire>(Bytes::new(), 0), Err(Misfit::Decode(_))));
    assert!(matches!(decode_request::<Retire>(whole, 1), Err(Misfit::Decode(_))));
}

#[test]
fn answers_that_make_no_sense_are_refused() {
    let of_kind = |kind| Some(MetaFailure { kind, ..Default::default() });
    let retired = |sequence, failure| MetaRetireResponse { sequence, failure, ..Default::default() };
    assert_eq!(senseless(answer_of::<Retire>(&retired(-1, None))), ("metadata sequence", -1));
    assert_eq!(senseless(answer_of::<Retire>(&retired(0, of_kind(7)))), ("kind of failure", 7));
    assert_eq!(senseless(answer_of::<Retire>(&retired(0, of_kind(2)))), ("kind of loss", -1));
    assert_eq!(senseless(answer_of::<Retire>(&retired(0, of_kind(4)))), ("bytes", -1));
    let set = |kind| {
        let refusal = wire::broker::BrokerRefusal { kind, ..Default::default() };
        MetaSetBrokerStateResponse { refusal: Some(refusal), ..Default::default() }
    };
    assert_eq!(senseless(answer_of::<SetBrokerState>(&set(4))), ("kind of refusal of a broker", 4));
    assert_eq!(senseless(answer_of::<SetBrokerState>(&set(2))), ("refusals of an incarnation", 0));
    let refusal = wire::broker::CommitRefusal { kind: 11, ..Default::default() };
    let commit = MetaCommitResponse { refusal: Some(refusal), ..Default::default() };
    assert_eq!(senseless(answer_of::<Commit>(&commit)), ("kind of refusal of a commit", 11));
    let commit = MetaCommitResponse { ranges_skipped: -2, ..Default::default() };
    assert_eq!(senseless(answer_of::<Commit>(&commit)), ("ranges skipped", -2));
    let created = MetaCreateTopicsResponse { created: vec![true], ..Default::default() };
    assert_eq!(senseless(answer_of::<CreateTopics>(&created)), ("number of results", 0));
    let trimmed = MetaTrimResponse { trimmed: vec![true, false], ..Default::default() };
    assert_eq!(senseless(answer_of::<Trim>(&trimmed)), ("number of results", 1));
    let block = MetaAllocateProducerIdsResponse { start: 5, end: 4, ..Default::default() };
    assert_eq!(senseless(answer_of::<AllocateProducerIds>(&block)).1, 4);
}

#[test]
fn what_is_too_long_for_a_text_is_cut_and_what_is_too_large_for_a_number_is_refused() {
    let limit = wire::STRING_BYTES_MAX;
    let long = MetaError::Unfit(Unfit("é".repeat(limit).into()));
    let cut = MetaError::Unfit(Unfit("é".repeat(limit / 2).into()));
    assert_eq!(told::<Retire>(Err(long)), Err(cut));
    let position = WalDrained { log: ID, final_position: WalPosition(u64::MAX) };
    let refused = encode_request(&position, 0).unwrap_err();
    assert_eq!(refused, Misfit::TooLarge { field: "final position", value: u64::MAX });
}

/// As many answers as a large request has fit into what a response may decode to.
#[test]
fn many_short_answers_are_not_too_much_memory() {
    let created = || Ok(CreatedTopic { id: Uuid::from_u128(1), partitions: vec![STREAM] });
    assert_eq!(told::<CreateTopics>(Ok((0..200_000).map(|_| created()).collect())).unwrap().len(), 200_000);
    let refused = || Err(CreateTopicError::Exists("a".to_owned()));
    assert_eq!(told::<CreateTopics>(Ok((0..200_000).map(|_| refused()).collect())).unwrap().len(), 200_000);
    assert_eq!(told::<Trim>(Ok(vec![Ok(()); 1_000_000])).unwrap().len(), 1_000_000);
    let unknown = Err(StreamRejection::Unknown(STREAM));
    assert_eq!(told::<Trim>(Ok(vec![unknown; 200_000])).unwrap().len(), 200_000);
}
