//! Another process asks the controller, over a socket.
//!
//! The test starts itself once more. That process connects, speaks the protocol's frames and headers, and asks everything
//! there is to ask once, with success and with a refusal. There is no such listener in the product yet.

use std::env;
use std::net::SocketAddr;
use std::process::Stdio;

use base::{BrokerEpoch, Offset, OffsetRange, StreamEpoch, TimestampMs, WalPosition};
use bytes::BytesMut;
use futures::FutureExt;
use futures::future::BoxFuture;
use stream::catalogue::{
    CommitRejection, CommitRequest, IncarnationRejection, NewObject, NewRange, ObjectKind, OpenStream, Recovered,
    StateBelow, StreamRejection, TrimRequest,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::Command;
use tokio::sync::Mutex;
use wire::broker::{BrokerApi, REQUEST_HEADER_VERSION, RESPONSE_HEADER_VERSION};
use wire::frame::{FRAME_BYTES_MAX, next_frame};
use wire::header::{RequestHeader, ResponseHeader};
use wire::{Message, Reader, Writer};

use super::*;
use crate::control::Answered;
use crate::control::brokers::{SetBrokerState, UnregisterBroker};
use crate::control::configs::AlterConfigs;
use crate::control::producer_ids::AllocateProducerIds;
use crate::control::streams::{CloseStream, Commit, ObjectsRemoved, OpenStreams, Retire, Trim};
use crate::control::topics::{CreatePartitions, CreateTopics, DeleteTopics};
use crate::control::wals::{
    AbandonWal, AdoptStreams, OpenWal, RemoveWal, WalCleared, WalDamaged, WalDrained, WalRecovered,
};
use crate::requests::{self, Request};

/// Tells the other process where to connect, and the epochs of the registrations of broker 1, oldest first.
const OTHER_PROCESS: &str = "HEADWATER_TEST_ASKS";

async fn read_frame(socket: &mut TcpStream) -> Option<Bytes> {
    let mut received = BytesMut::new();
    loop {
        if let Some(frame) = next_frame(&mut received, FRAME_BYTES_MAX).unwrap() {
            assert!(received.is_empty(), "one at a time");
            return Some(frame);
        }
        if socket.read_buf(&mut received).await.unwrap_or(0) == 0 {
            return None;
        }
    }
}

async fn write_frame(socket: &mut TcpStream, header: impl Message, version: i16, body: &Bytes) {
    let mut writer = Writer::new();
    header.encode(&mut writer, version).unwrap();
    let header = writer.finish().into_bytes();
    let size = i32::try_from(header.len() + body.len()).unwrap();
    socket.write_all(&[&size.to_be_bytes()[..], &header, body].concat()).await.unwrap();
}

/// Serves one connection until it ends, or until a request makes no sense. Answers which APIs were asked.
async fn listen(listener: TcpListener, handle: &MetaHandle) -> Vec<i16> {
    let (mut socket, _) = listener.accept().await.unwrap();
    let mut asked = Vec::new();
    while let Some(frame) = read_frame(&mut socket).await {
        let mut reader = Reader::new(frame);
        let header = RequestHeader::decode(&mut reader, REQUEST_HEADER_VERSION).unwrap();
        let (key, version) = (header.request_api_key, header.request_api_version);
        let request = ControllerRequest { key, version, body: reader.rest() };
        let Ok(answer) = ControllerClient::ask(handle, request).await else { break };
        // Nobody else asks, so that each answer is as new as the image.
        let sequence = i64::from_be_bytes(*answer.first_chunk().unwrap());
        assert_eq!(sequence.cast_unsigned(), handle.image().newest().0);
        asked.push(key);
        let header = ResponseHeader { correlation_id: header.correlation_id, ..Default::default() };
        write_frame(&mut socket, header, RESPONSE_HEADER_VERSION, &answer).await;
    }
    asked
}

#[tokio::test]
async fn another_process_asks_everything_over_a_socket() {
    let bucket = bucket();
    let mut epochs = Vec::new();
    for _ in 0..3 {
        let (handle, registration) = Meta::start(bucket.store.clone(), options(1)).await.unwrap();
        handle.open_incarnation(registration.incarnation, wal()).await.unwrap();
        epochs.push(registration.incarnation.epoch.to_string());
    }
    let (handle, registration) = Meta::start(bucket.store.clone(), options(1)).await.unwrap();
    assert_eq!(registration.recover.len(), 3);
    epochs.push(registration.incarnation.epoch.to_string());
    let before = handle.image().newest();

    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let told = format!("{} {}", listener.local_addr().unwrap(), epochs.join(" "));
    let mut command = Command::new(env::current_exe().unwrap());
    command.args(["--exact", "tests::socket::the_other_process", "--nocapture", "--test-threads=1"]);
    command.env(OTHER_PROCESS, told).stdin(Stdio::null()).kill_on_drop(true);
    let child = command.output();
    let (output, mut asked) = tokio::select! {
        // The process may end before it connects, because it fails.
        both = async { tokio::join!(child, listen(listener, &handle)) } => both,
        () = tokio::time::sleep(Duration::from_secs(60)) => panic!("the other process is not done"),
    };
    let output = output.unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("1 passed"), "{said}{}", String::from_utf8_lossy(&output.stderr));
    asked.sort_unstable();
    asked.dedup();
    assert_eq!(asked, BrokerApi::ALL.iter().map(|api| api.code()).collect::<Vec<_>>());

    let image = handle.image();
    assert!(image.newest() > before);
    assert_eq!(image.topics_from("").map(|topic| &*topic.name).collect::<Vec<_>>(), ["kept"]);
    assert_eq!(image.configs_of(4, "1").unwrap().len(), 1);
    assert_eq!(image.next_producer_id, PRODUCER_IDS_BLOCK);
    assert!(image.brokers.is_empty());
    let me = registration.incarnation;
    let known: Vec<_> = image.catalogue.incarnations().map(|(id, state)| (id, state.phase.to_string())).collect();
    let first = registration.recover[0].incarnation;
    assert_eq!(known, [(first, "RECOVERED at 0".to_owned()), (me, "RECOVERED at 4096".to_owned())]);
    assert_eq!(*image, from_bucket(&bucket).await);
}

/// The way to the controller of the first process.
struct Connection {
    socket: Mutex<(TcpStream, i32)>,
}

impl ControllerClient for Arc<Connection> {
    fn ask(&self, request: ControllerRequest) -> BoxFuture<'static, Result<Bytes, NoAnswer>> {
        let this = self.clone();
        async move {
            let mut guard = this.socket.lock().await;
            let (socket, correlation_id) = &mut *guard;
            *correlation_id += 1;
            let header = RequestHeader {
                request_api_key: request.key,
                request_api_version: request.version,
                correlation_id: *correlation_id,
                client_id: None,
            };
            write_frame(socket, header, REQUEST_HEADER_VERSION, &request.body).await;
            let frame = read_frame(socket).await.ok_or(NoAnswer::Unreachable("the connection ended".into()))?;
            let mut reader = Reader::new(frame);
            let header = ResponseHeader::decode(&mut reader, RESPONSE_HEADER_VERSION).unwrap();
            assert_eq!(header.correlation_id, *correlation_id);
            Ok(reader.rest())
        }
        .boxed()
    }
}

/// Asks, and sees that the log moved on only where something was written.
struct Asker {
    client: Arc<Connection>,
    sequence: MetaSequence,
}

impl Asker {
    async fn ask<O: Request>(&mut self, operation: O, written: bool) -> Result<O::Answer, MetaError> {
        let Answered { sequence, answer } = requests::ask(&self.client, &operation).await.unwrap();
        if self.sequence.0 > 0 {
            assert_eq!(sequence.0, self.sequence.0 + u64::from(written), "{}", std::any::type_name::<O>());
        }
        self.sequence = sequence;
        answer
    }

    /// Of what is written.
    async fn done<O: Request>(&mut self, operation: O) -> O::Answer {
        self.ask(operation, true).await.unwrap()
    }

    /// Of what changes nothing.
    async fn unchanged<O: Request>(&mut self, operation: O) -> O::Answer {
        self.ask(operation, false).await.unwrap()
    }
}

/// Does nothing unless the test above has started it.
#[tokio::test]
async fn the_other_process() {
    let Some(told) = env::var_os(OTHER_PROCESS) else { return };
    let told = told.into_string().unwrap();
    let (address, epochs) = told.split_once(' ').unwrap();
    let registered = |epoch: &str| Incarnation { broker: BrokerId(1), epoch: BrokerEpoch(epoch.parse().unwrap()) };
    let ids: Vec<Incarnation> = epochs.split(' ').map(registered).collect();
    let [first, second, third, me] = ids[..] else { panic!("{told}") };
    let socket = TcpStream::connect(address.parse::<SocketAddr>().unwrap()).await.unwrap();
    let client = Arc::new(Connection { socket: Mutex::new((socket, 0)) });
    let mut asker = Asker { client: client.clone(), sequence: MetaSequence(0) };

    asks_of_wals(&mut asker, [first, second, third, me]).await;
    let streams = asks_of_topics(&mut asker, me).await;
    asks_of_streams(&mut asker, me, &streams).await;
    asks_of_the_end(&mut asker, me).await;
    // A client's API is none of the controller's.
    let request = ControllerRequest { key: 19, version: 0, body: Bytes::new() };
    let refused = ControllerClient::ask(&client, request).await.unwrap_err();
    assert!(matches!(refused, NoAnswer::Unreachable(_)), "{refused}");
}

async fn asks_of_wals(asker: &mut Asker, [first, second, third, me]: [Incarnation; 4]) {
    let zero = WalPosition(0);
    let stale = Err(IncarnationRejection::Stale(first));
    assert_eq!(asker.unchanged(OpenWal { id: first, place: wal() }).await, stale);
    assert_eq!(asker.done(OpenWal { id: me, place: wal() }).await, Ok(()));
    let recovered = WalRecovered { log: first, taker: me, final_position: zero };
    assert_eq!(asker.done(recovered).await, Ok(Recovered::default()));
    let again = asker.unchanged(WalRecovered { final_position: WalPosition(1), ..recovered }).await;
    let step = "recovered by this broker".into();
    let phase = "RECOVERED at 0".to_owned();
    assert_eq!(again, Err(IncarnationRejection::WrongPhase { incarnation: first, phase, step }));
    let damaged = |log| WalDamaged { log, taker: me, reason: "a hole".to_owned() };
    assert_eq!(asker.done(damaged(second)).await, Ok(()));
    let nobody = Incarnation { broker: BrokerId(9), ..me };
    assert_eq!(asker.unchanged(damaged(nobody)).await, Err(IncarnationRejection::Unknown(nobody)));
    let open = |step: &'static str| {
        let phase = "OPEN".to_owned();
        Err(IncarnationRejection::WrongPhase { incarnation: me, phase, step: step.into() })
    };
    assert_eq!(asker.unchanged(AbandonWal { id: me }).await, open("abandoned"));
    assert_eq!(asker.done(AbandonWal { id: second }).await, Ok(()));
    assert_eq!(asker.unchanged(WalCleared { id: me }).await, open("cleared"));
    assert_eq!(asker.done(WalCleared { id: second }).await, Ok(()));
    assert_eq!(asker.done(AbandonWal { id: third }).await, Ok(()));
    assert_eq!(asker.unchanged(RemoveWal { id: me }).await, open("forgotten"));
    assert_eq!(asker.done(RemoveWal { id: third }).await, Ok(()));
    assert_eq!(asker.unchanged(AdoptStreams { id: me, max: 10 }).await, []);
    let set = |id| SetBrokerState { id, state: BrokerState::Active };
    assert_eq!(asker.unchanged(set(first)).await, Err(BrokerError::Stale(first)));
    assert_eq!(asker.done(set(me)).await, Ok(()));
}

/// Answers the streams of the topic that stays.
async fn asks_of_topics(asker: &mut Asker, me: Incarnation) -> Vec<base::StreamId> {
    let id = Uuid::from_u128;
    let topics = vec![(id(1), topic("kept", 2)), (id(2), topic("kept", 1)), (id(3), topic("gone", 1))];
    let made = asker.done(CreateTopics { topics, validate_only: false }).await;
    assert_eq!(made[1], Err(CreateTopicError::Exists("kept".to_owned())));
    let kept = made[0].clone().unwrap();
    assert_eq!((kept.id, made[2].as_ref().unwrap().id), (id(1), id(3)));
    let deleted = asker.done(DeleteTopics { ids: vec![id(3), id(3)] }).await;
    assert_eq!((&*deleted[0].as_ref().unwrap().name, &deleted[1]), ("gone", &Err(DeleteTopicError::Unknown(id(3)))));
    let grow = |total| CreatePartitions { topic: id(1), total, validate_only: false };
    assert_eq!(asker.done(grow(3)).await.unwrap().len(), 1);
    let not_more = Err(CreatePartitionsError::NotMore { present: 3, wanted: 3 });
    assert_eq!(asker.unchanged(grow(3)).await, not_more);

    let of = |kind, name: &str| ConfigResource { kind, name: name.to_owned() };
    let change = |key: usize, bytes| ConfigChange { key: format!("k{key}"), value: Some("x".repeat(bytes)) };
    let alter = |of, count, bytes| {
        let changes = (0..count).map(|key| change(key, bytes)).collect();
        AlterConfigs { of, saw: Configs::new(), changes }
    };
    let unknown = Err(ConfigError::UnknownTopic("t".to_owned()));
    assert_eq!(asker.unchanged(alter(of(2, "t"), 1, 1)).await, unknown);
    let large = asker.ask(alter(of(4, "1"), 300, 30_000), false).await;
    assert!(matches!(large, Err(MetaError::TooLarge { .. })), "{large:?}");
    assert_eq!(asker.done(alter(of(4, "1"), 1, 1)).await, Ok(()));
    assert_eq!(asker.unchanged(alter(of(4, "1"), 1, 1)).await, Err(ConfigError::Changed));
    assert_eq!(asker.done(AllocateProducerIds { owner: me }).await, 0..PRODUCER_IDS_BLOCK);
    kept.partitions
}

async fn asks_of_streams(asker: &mut Asker, me: Incarnation, streams: &[base::StreamId]) {
    let [moved, stream] = *streams else { panic!("two streams") };
    let (epoch, next) = (StreamEpoch(0), StreamEpoch(1));
    let stale = |epoch, present| Err(StreamRejection::StaleEpoch { stream: moved, epoch, present });
    assert_eq!(asker.unchanged(CloseStream { stream: moved, epoch: next }).await, stale(next, epoch));
    assert_eq!(asker.done(CloseStream { stream: moved, epoch }).await, Ok(()));
    let open = |epoch| OpenStreams { requests: vec![OpenStream { stream: moved, epoch, owner: me }] };
    assert_eq!(asker.unchanged(open(epoch)).await, stale(epoch, epoch));
    assert_eq!(asker.done(open(next)).await, Ok(()));

    let range = OffsetRange::new(Offset(0), Offset(10));
    let new = NewRange { stream, epoch, range, max_timestamp: TimestampMs(0), bytes: 4 };
    let object = NewObject {
        sequence: 0,
        kind: ObjectKind::Stream,
        length: 4,
        crc: 7,
        ranges: vec![new],
        checkpoints: Vec::new(),
    };
    let commit = |commit_sequence| CommitRequest {
        writer: me,
        commit_sequence,
        log: me,
        wal_position: WalPosition(4096),
        covers: vec![(stream, range)],
        upload_floor: 1,
        objects: vec![object.clone()],
    };
    let early = asker.unchanged(Commit { request: commit(5) }).await;
    assert_eq!(early, Err(CommitRejection::OutOfOrder { writer: me, sequence: 5, expected: 0 }));
    assert!(!asker.done(Commit { request: commit(0) }).await.unwrap().repeated);
    assert!(asker.unchanged(Commit { request: commit(0) }).await.unwrap().repeated);

    let trim = |stream| TrimRequest { stream, epoch, start: Offset(10), state: StateBelow::NotKept };
    let nowhere = base::StreamId(u64::MAX);
    let trimmed = asker.done(Trim { requests: vec![trim(stream), trim(nowhere)] }).await;
    assert_eq!(trimmed, [Ok(()), Err(StreamRejection::Unknown(nowhere))]);
    asker.unchanged(Retire).await;
    asker.done(ObjectsRemoved { objects: vec![base::ObjectId { writer: me, sequence: 0 }] }).await;
}

async fn asks_of_the_end(asker: &mut Asker, me: Incarnation) {
    assert_eq!(asker.unchanged(UnregisterBroker { id: me }).await, Err(BrokerError::NotDrained(me)));
    let (committed, final_position) = (WalPosition(4096), WalPosition(0));
    let below = IncarnationRejection::BelowCommitted { incarnation: me, final_position, committed };
    assert_eq!(asker.unchanged(WalDrained { log: me, final_position }).await, Err(below));
    assert_eq!(asker.done(WalDrained { log: me, final_position: committed }).await, Ok(()));
    assert_eq!(asker.done(UnregisterBroker { id: me }).await, Ok(()));
}
