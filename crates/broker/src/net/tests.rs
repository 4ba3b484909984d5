//! A connection over a real socket with a service of the test's own.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Wake};
use std::time::Duration;

use base::Clock;
use base::collections::HashMap;
use base::memory::Budget;
use base::net::memory::MemoryNetwork;
use base::net::{ListenOptions, Network};
use bytes::Bytes;
use parking_lot::Mutex;
use telemetry::Metrics;
use tokio::io::{AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::{Notify, watch};

use super::complaints::Complaints;
use super::connection::{Connection, Ended, Shared};
use super::listener::{Acceptor, SocketOptions, bind};
use super::peer::{Peer, unless_draining};
use super::quota::{ConnectionLimits, Quota};
use super::room::{Held, RequestMemory};
use super::service::{CloseReason, Cost, Later, Order, Reply, Service};
use crate::limits::{
    ANSWER_TURN_REQUESTS_MAX, FRAME_STALL_MAX, FRAME_STALL_OVERDRAWN_MAX, HALF_CLOSED_MAX, REPLY_STALL_MAX,
    REPLY_TAKEN_SHARE_MIN,
};

/// `a…` appends and waits for `durable`; `p…` polls until `arrived` or the drain; `l…` gets a reply of [`LARGE`] bytes as
/// soon as there is memory for it; `m…` costs [`COST_FACTOR`] times its size; `x…` closes; others echo.
struct Echo {
    durable: Notify,
    arrived: Notify,
    log: Mutex<Vec<String>>,
    replies: Budget,
}

/// What some requests can decode to.
const COST_FACTOR: u64 = 32;

/// More than the buffers of two sockets take.
const LARGE: usize = 24 << 20;

impl Default for Echo {
    fn default() -> Self {
        let replies = Budget::new(2 * LARGE as u64);
        Self { durable: Notify::new(), arrived: Notify::new(), log: Mutex::default(), replies }
    }
}

impl Echo {
    fn note(&self, what: &str, frame: &Bytes) {
        self.log.lock().push(format!("{what} {}", String::from_utf8_lossy(frame)));
    }
}

fn reply(bytes: &Bytes) -> Reply {
    let mut writer = wire::Writer::new();
    writer.share(bytes);
    Reply::Frame(writer.finish_framed().unwrap(), None)
}

impl Service for Echo {
    fn order(&self, frame: &[u8]) -> Order {
        match frame.first() {
            Some(b'a') => Order::Append,
            Some(b'p') => Order::Poll,
            _ => Order::Alone,
        }
    }

    #[allow(clippy::async_yields_async, reason = "an append has two stages")]
    fn append(self: &Arc<Self>, _: &Arc<Peer>, frame: Bytes, _: &Held) -> Later<Later<Reply>> {
        let service = self.clone();
        Box::pin(async move {
            service.note("append", &frame);
            let durable: Later<Reply> = Box::pin(async move {
                service.durable.notified().await;
                reply(&frame)
            });
            durable
        })
    }

    fn answer(self: &Arc<Self>, peer: &Arc<Peer>, frame: Bytes, held: &Held) -> Later<Reply> {
        let (service, peer, held) = (self.clone(), peer.clone(), held.clone());
        Box::pin(async move {
            held.decode().await;
            service.note("answer", &frame);
            match frame.first() {
                Some(b'p') => {
                    unless_draining(&peer, service.arrived.notified()).await;
                }
                Some(b'l') => {
                    let charge = service.replies.charge(LARGE as u64).await;
                    let Reply::Frame(frame, _) = reply(&vec![b'l'; LARGE].into()) else { return Reply::Nothing };
                    return Reply::Frame(frame, Some(charge));
                }
                Some(b'x') => return Reply::Close(CloseReason { kind: "x", detail: "asked to".into() }),
                _ => {}
            }
            reply(&frame)
        })
    }

    fn frame_bytes_max(&self, _: &Peer) -> usize {
        8 << 20
    }

    fn admit(&self, head: [u8; 2], size: usize) -> Result<Cost, usize> {
        let factor = if head[0] == b'm' { COST_FACTOR } else { 1 };
        let cost = Cost { bytes: factor * size as u64, waits: !matches!(head[0], b'e' | b'm') };
        if head == *b"sm" && size > 1_000 { Err(1_000) } else { Ok(cost) }
    }
}

struct Server {
    service: Arc<Echo>,
    address: SocketAddr,
    stop: watch::Sender<bool>,
    metrics: Metrics,
}

fn start(change: impl FnOnce(&mut SocketOptions)) -> Server {
    start_with_memory(Budget::new(64 << 20), change)
}

fn start_with_memory(memory: Budget, change: impl FnOnce(&mut SocketOptions)) -> Server {
    start_with(memory, 100, change)
}

fn start_with(memory: Budget, per_ip: usize, change: impl FnOnce(&mut SocketOptions)) -> Server {
    let mut options =
        SocketOptions { backlog: 50, send_buffer: None, receive_buffer: None, idle_max: Duration::from_secs(60) };
    change(&mut options);
    let bound = bind(&Network::system(), "TEST", "127.0.0.1:0".parse().unwrap(), &options).unwrap();
    let address = bound.address;
    let (stop, stopped) = watch::channel(false);
    let service = Arc::new(Echo::default());
    let metrics = Metrics::new();
    let acceptor = Acceptor {
        service: service.clone(),
        options,
        clock: Clock::system(),
        memory: RequestMemory::new(memory),
        metrics: metrics.clone(),
        complaints: Arc::new(Complaints::default()),
        console: Some("http://127.0.0.1:9080".into()),
        stop: stopped,
        quota: Quota::new(ConnectionLimits { all: 100, per_ip, per_ip_overrides: HashMap::default() }),
    };
    acceptor.serve(bound);
    Server { service, address, stop, metrics }
}

/// A client and its connection, which the test polls itself. Their network is in memory and their clock the one that the
/// runtime's timers follow.
async fn polled(memory: Budget, idle_max: Duration) -> (base::net::Stream, Arc<Echo>, impl Future<Output = Ended>) {
    let network = Network::from_source(Arc::new(MemoryNetwork::default()));
    let listener = network.listen("127.0.0.1:0".parse().unwrap(), ListenOptions::default()).unwrap();
    let client = network.connect(listener.local_addr()).await.unwrap();
    let stream = listener.accept().await.unwrap();
    let shared = Shared { clock: Clock::runtime(0), memory: RequestMemory::new(memory), idle_max, console: None };
    let peer = Arc::new(Peer::new(stream.peer_addr(), stream.local_addr(), "TEST".into()));
    let service = Arc::new(Echo::default());
    let connection = Connection::new(stream, service.clone(), peer, shared, Box::pin(std::future::pending()));
    (client, service, connection.run())
}

/// How often a connection is polled within so long, and what became of it.
async fn polls(connection: impl Future<Output = Ended>, time: Duration) -> (usize, Option<Ended>) {
    let (mut polls, mut connection) = (0, std::pin::pin!(connection));
    let counted = std::future::poll_fn(|cx| {
        polls += 1;
        connection.as_mut().poll(cx)
    });
    let ended = tokio::time::timeout(time, counted).await.ok();
    (polls, ended)
}

async fn send(stream: &mut (impl AsyncWrite + Unpin), frame: &[u8]) {
    let mut bytes = (frame.len() as u32).to_be_bytes().to_vec();
    bytes.extend_from_slice(frame);
    stream.write_all(&bytes).await.unwrap();
}

async fn receive(stream: &mut TcpStream) -> Vec<u8> {
    let size = stream.read_u32().await.unwrap();
    let mut frame = vec![0; size as usize];
    stream.read_exact(&mut frame).await.unwrap();
    frame
}

async fn is_closed(stream: &mut TcpStream) -> bool {
    let mut rest = Vec::new();
    match tokio::time::timeout(Duration::from_secs(20), stream.read_to_end(&mut rest)).await {
        Ok(Ok(_)) => rest.is_empty(),
        Ok(Err(_)) => true,
        Err(_) => false,
    }
}

async fn eventually(what: &str, test: impl Fn() -> bool) {
    for _ in 0..2_000 {
        if test() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("never: {what}");
}

#[tokio::test]
async fn appends_do_not_wait_for_each_other_and_replies_keep_the_order() {
    let server = start(|_| {});
    let mut client = TcpStream::connect(server.address).await.unwrap();
    for frame in [&b"a1"[..], b"a2", b"e3", b"a4"] {
        send(&mut client, frame).await;
    }
    let log = || server.service.log.lock().clone();
    eventually("both appends are in the log", || log().len() == 2).await;
    assert_eq!(log(), ["append a1", "append a2"], "what is behind a plain request waits for it");
    server.service.durable.notify_one();
    assert_eq!(receive(&mut client).await, b"a1");
    server.service.durable.notify_one();
    assert_eq!(receive(&mut client).await, b"a2");
    assert_eq!(receive(&mut client).await, b"e3");
    eventually("the last append begins", || log().len() == 4).await;
    server.service.durable.notify_one();
    assert_eq!(receive(&mut client).await, b"a4");
    assert_eq!(log(), ["append a1", "append a2", "answer e3", "append a4"]);
}

#[tokio::test(start_paused = true)]
async fn a_turn_of_a_connection_ends_however_many_of_its_requests_are_ready() {
    let (mut client, service, connection) = polled(Budget::new(64 << 20), Duration::from_secs(60)).await;
    for _ in 0..1_000 {
        send(&mut client, b"e").await;
    }
    let mut connection = std::pin::pin!(connection);
    let mut answered = 0;
    while answered < 1_000 {
        let woken = Arc::new(AtomicBool::new(false));
        let waker = Arc::new(Woken(woken.clone())).into();
        assert!(connection.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        let now = service.log.lock().len();
        assert!(now - answered <= ANSWER_TURN_REQUESTS_MAX, "{} in one turn", now - answered);
        assert!(now == 1_000 || woken.load(Ordering::Relaxed), "it wants another turn");
        answered = now;
    }
}

struct Woken(Arc<AtomicBool>);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_that_waits_for_longer_than_clients_may_be_idle_costs_nothing() {
    let (mut client, _service, connection) = polled(Budget::new(64 << 20), Duration::from_secs(2)).await;
    send(&mut client, b"p").await;
    let (polls, ended) = polls(connection, Duration::from_secs(600)).await;
    assert!(ended.is_none() && polls < 1_000, "{polls} times in ten minutes, {ended:?}");
}

/// The longer wait is for a frame that takes nothing from others.
#[tokio::test(start_paused = true)]
async fn a_frame_that_stops_half_way_is_not_waited_for_because_its_client_reads_no_reply() {
    for (memory, longest) in [(64 << 20, FRAME_STALL_MAX), (1, FRAME_STALL_OVERDRAWN_MAX)] {
        let budget = Budget::new(memory);
        let _taken = budget.force_charge(1);
        let (client, _service, connection) = polled(budget, Duration::from_secs(600)).await;
        // More than the pipe takes, and less than the outbox does; then a part of an append, which waits for memory.
        let sending = async {
            let mut client = client;
            send(&mut client, &[b'e'; 200_000]).await;
            client.write_all(b"\0\0\x01\0a half").await.unwrap();
            client
        };
        let polling = polls(connection, Duration::from_secs(300));
        let (_client, (polls, ended)) = tokio::join!(sending, polling);
        assert!(
            matches!(&ended, Some(Ended::Refused(reason)) if reason.kind == "stalled_frame"
            && reason.detail.ends_with(&format!("for {} s", longest.as_secs()))),
            "{ended:?}"
        );
        assert!(polls < 1_000, "{polls} times");
    }
}

/// So Kafka does: it appends and answers what came before a frame of which it can read nothing.
#[tokio::test]
async fn what_came_before_a_bad_frame_is_answered() {
    let server = start(|_| {});
    let mut client = TcpStream::connect(server.address).await.unwrap();
    let frames: [&[u8]; 5] = [b"\0\0\0\x02e1", b"\0\0\0\x02a2", b"\0\0\0\x02p3", b"\0\0\0\x02e4", b"\x7f\xff\xff\xff"];
    client.write_all(&frames.concat()).await.unwrap();
    assert_eq!(receive(&mut client).await, b"e1");
    eventually("the append begins", || server.service.log.lock().contains(&"append a2".to_owned())).await;
    server.service.durable.notify_one();
    for answered in [&b"a2"[..], b"p3", b"e4"] {
        assert_eq!(receive(&mut client).await, answered);
    }
    assert!(is_closed(&mut client).await);
    let page = server.metrics.render();
    assert!(page.contains("headwater_connections_refused_total{reason=\"bad_frame_size\"} 1"), "{page}");
}

/// What is not answered soon ends, and the connection with it.
#[tokio::test(start_paused = true)]
async fn what_came_before_a_bad_frame_is_not_waited_for_long() {
    let (mut client, service, connection) = polled(Budget::new(64 << 20), Duration::from_secs(600)).await;
    send(&mut client, b"a").await;
    client.write_all(&i32::MAX.to_be_bytes()).await.unwrap();
    let (polls, ended) = polls(connection, HALF_CLOSED_MAX + Duration::from_secs(1)).await;
    assert!(matches!(ended, Some(Ended::Refused(_))) && polls < 1_000, "{polls} times, {ended:?}");
    assert_eq!(Arc::strong_count(&service), 1, "its requests have ended");
}

/// What it holds may be what others wait for.
#[tokio::test(start_paused = true)]
async fn a_client_that_is_refused_and_reads_nothing_keeps_neither_its_requests_nor_its_connection() {
    let (client, service, connection) = polled(Budget::new(64 << 20), Duration::from_secs(600)).await;
    let sending = async {
        let mut client = client;
        // More than the pipe takes, and less than the outbox does.
        send(&mut client, &[b'e'; 200_000]).await;
        send(&mut client, b"p").await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        let while_it_waits = Arc::strong_count(&service);
        client.write_all(&i32::MAX.to_be_bytes()).await.unwrap();
        tokio::time::sleep(Duration::from_secs(1)).await;
        (client, while_it_waits, Arc::strong_count(&service))
    };
    let polling = polls(connection, Duration::from_secs(300));
    let ((_client, while_it_waits, afterwards), (polls, ended)) = tokio::join!(sending, polling);
    assert_eq!(afterwards, while_it_waits - 1, "the request has ended");
    assert!(matches!(ended, Some(Ended::Refused(_))) && polls < 1_000, "{polls} times, {ended:?}");
}

#[tokio::test]
async fn an_append_behind_a_long_poll_begins_at_once() {
    let server = start(|_| {});
    let mut client = TcpStream::connect(server.address).await.unwrap();
    for frame in [&b"p1"[..], b"a2"] {
        send(&mut client, frame).await;
    }
    eventually("the append begins", || server.service.log.lock().contains(&"append a2".to_owned())).await;
    server.service.durable.notify_one();
    server.service.arrived.notify_one();
    assert_eq!(receive(&mut client).await, b"p1");
    assert_eq!(receive(&mut client).await, b"a2");
}

#[tokio::test]
async fn frames_of_every_size_come_back_whole_under_pipelining() {
    let server = start(|_| {});
    let client = TcpStream::connect(server.address).await.unwrap();
    let frames: Vec<Vec<u8>> =
        (0..300_usize).map(|n| vec![b'e'; [0, 1, 100, 4_095, 4_096, 70_000, 1_500_000][n % 7] + n]).collect();
    let (mut read, mut write) = client.into_split();
    let expected = frames.clone();
    let reader = base::task::spawn("reader", async move {
        for frame in expected {
            let size = read.read_u32().await.unwrap();
            let mut got = vec![0; size as usize];
            read.read_exact(&mut got).await.unwrap();
            assert!(got == frame, "a frame of {} bytes", frame.len());
        }
    });
    for frame in &frames {
        write.write_all(&(frame.len() as u32).to_be_bytes()).await.unwrap();
        write.write_all(frame).await.unwrap();
    }
    reader.await.unwrap();
}

#[tokio::test]
async fn request_memory_bounds_what_is_read_and_every_request_is_answered() {
    let memory = Budget::new(1 << 20);
    let server = start_with_memory(memory.clone(), |_| {});
    let mut clients = Vec::new();
    for _ in 0..4 {
        let mut client = TcpStream::connect(server.address).await.unwrap();
        send(&mut client, &[b'p'; 400_000]).await;
        clients.push(client);
    }
    eventually("two requests fit, one overdraws", || server.service.log.lock().len() == 3).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(server.service.log.lock().len(), 3, "the last waits outside");
    assert!(memory.used() <= memory.limit() + 2 * 400_000);
    // What is answered at once is answered.
    let mut other = TcpStream::connect(server.address).await.unwrap();
    send(&mut other, b"echo").await;
    assert_eq!(receive(&mut other).await, b"echo");
    let waker = server.service.clone();
    let waking = base::task::spawn("waker", async move {
        loop {
            waker.arrived.notify_one();
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    });
    for client in &mut clients {
        assert_eq!(receive(client).await.len(), 400_000);
    }
    waking.abort();
    eventually("memory is given back", || memory.used() == 0).await;
}

/// Many clients say that a request comes, and then send nothing more of it.
#[tokio::test]
async fn what_silent_clients_announce_keeps_nobody_from_producing() {
    let memory = Budget::new(4 << 20);
    let server = start_with_memory(memory.clone(), |_| {});
    let mut silent = Vec::new();
    for announced in std::iter::once(6 << 20).chain(std::iter::repeat_n(8_000_u32, 90)) {
        let mut client = TcpStream::connect(server.address).await.unwrap();
        client.write_all(&announced.to_be_bytes()).await.unwrap();
        client.write_all(b"mm").await.unwrap();
        silent.push(client);
    }
    eventually("all are read", || server.metrics.connections().get() == 91).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(memory.used() <= memory.limit() / 2 + 91 * 8_192, "{} bytes are held", memory.used());
    let mut producers = Vec::new();
    for _ in 0..4 {
        let mut client = TcpStream::connect(server.address).await.unwrap();
        send(&mut client, &[b'a'; 100_000]).await;
        producers.push(client);
    }
    eventually("all produce at the same time", || server.service.log.lock().len() == 4).await;
    for producer in &mut producers {
        server.service.durable.notify_one();
        assert!(!receive(producer).await.is_empty());
    }
}

#[tokio::test]
async fn a_request_behind_another_holds_no_more_than_its_bytes() {
    let memory = Budget::new(64 << 20);
    let server = start_with_memory(memory.clone(), |_| {});
    let mut client = TcpStream::connect(server.address).await.unwrap();
    send(&mut client, b"p").await;
    send(&mut client, &[b'm'; 1 << 20]).await;
    eventually("both are read", || memory.used() > 1 << 20).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(memory.used(), (1 << 20) + 1024);
    server.service.arrived.notify_one();
    assert_eq!(receive(&mut client).await, b"p");
    assert_eq!(receive(&mut client).await.len(), 1 << 20);
    eventually("memory is given back", || memory.used() == 0).await;
}

#[tokio::test]
async fn a_browser_gets_a_page_and_a_tls_client_an_alert() {
    let server = start(|_| {});
    let mut browser = TcpStream::connect(server.address).await.unwrap();
    browser.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    let mut page = String::new();
    browser.read_to_string(&mut page).await.unwrap();
    assert!(page.starts_with("HTTP/1.1 400 "), "{page}");
    assert!(page.contains("http://127.0.0.1:9080"), "{page}");
    let mut tls = TcpStream::connect(server.address).await.unwrap();
    tls.write_all(&[0x16, 3, 1, 0, 200, 1, 0, 0]).await.unwrap();
    let mut alert = Vec::new();
    tls.read_to_end(&mut alert).await.unwrap();
    assert_eq!(alert, [0x15, 3, 1, 0, 2, 2, 40]);
    let page = server.metrics.render();
    assert!(page.contains("headwater_connections_refused_total{reason=\"http\"} 1"), "{page}");
}

#[tokio::test]
async fn a_bad_size_and_a_refused_request_close_the_connection() {
    let server = start(|_| {});
    let mut client = TcpStream::connect(server.address).await.unwrap();
    client.write_all(&[0x7f, 0xff, 0xff, 0xff, 0]).await.unwrap();
    assert!(is_closed(&mut client).await);
    // Too large for its kind: refused before its bytes come.
    let mut client = TcpStream::connect(server.address).await.unwrap();
    client.write_all(&[0, 0, 0x10, 0, b's', b'm']).await.unwrap();
    assert!(is_closed(&mut client).await);
    let mut client = TcpStream::connect(server.address).await.unwrap();
    send(&mut client, b"x").await;
    assert!(is_closed(&mut client).await);
}

#[tokio::test]
async fn an_idle_connection_is_closed_and_a_waiting_one_is_not() {
    let server = start(|options| options.idle_max = Duration::from_millis(150));
    let mut idle = TcpStream::connect(server.address).await.unwrap();
    let mut waiting = TcpStream::connect(server.address).await.unwrap();
    send(&mut waiting, b"p").await;
    assert!(is_closed(&mut idle).await);
    tokio::time::sleep(Duration::from_millis(400)).await;
    server.service.arrived.notify_one();
    assert_eq!(receive(&mut waiting).await, b"p");
}

#[tokio::test]
async fn one_address_cannot_take_more_than_its_connections() {
    let server = start_with(Budget::new(64 << 20), 1, |_| {});
    let mut first = TcpStream::connect(server.address).await.unwrap();
    send(&mut first, b"e").await;
    assert_eq!(receive(&mut first).await, b"e");
    let mut second = TcpStream::connect(server.address).await.unwrap();
    assert!(is_closed(&mut second).await);
    drop(first);
    eventually("the place is free again", || server.metrics.connections().get() == 0).await;
    let mut third = TcpStream::connect(server.address).await.unwrap();
    send(&mut third, b"e").await;
    assert_eq!(receive(&mut third).await, b"e");
}

/// Two clients take nothing of their replies, and hold all the memory that there is for replies; a third one waits for it.
#[tokio::test]
async fn who_takes_nothing_is_cut_off_when_others_wait_for_its_memory() {
    let server = start(|_| {});
    let mut silent = Vec::new();
    for _ in 0..2 {
        let mut client = TcpStream::connect(server.address).await.unwrap();
        send(&mut client, b"l").await;
        silent.push(client);
    }
    let budget = &server.service.replies;
    eventually("the memory is used up", || budget.used() == budget.limit()).await;
    tokio::time::sleep(REPLY_STALL_MAX + Duration::from_secs(1)).await;
    assert_eq!(budget.used(), budget.limit(), "while nobody waits everybody has time");
    let mut client = TcpStream::connect(server.address).await.unwrap();
    send(&mut client, b"l").await;
    let answer = tokio::time::timeout(3 * REPLY_STALL_MAX, receive(&mut client)).await.expect("an answer");
    assert_eq!(answer.len(), LARGE);
    // Once the third has its room nobody waits, and a silent client that is left has time again.
    drop(silent);
    eventually("all memory is given back", || budget.used() == 0).await;
    let page = server.metrics.render();
    assert!(page.contains("headwater_connections_refused_total{reason=\"stalled_reply\"}"), "{page}");
}

/// Two clients hold all the memory that there is for replies, and take just enough of it to be seen to move.
#[tokio::test]
async fn who_takes_next_to_nothing_is_cut_off_when_others_wait_for_its_memory() {
    // The smaller the buffers between the two, the smaller the bits that are seen to move.
    let server = start(|options| options.send_buffer = Some(256 << 10));
    let budget = &server.service.replies;
    let mut trickling = Vec::new();
    for _ in 0..2 {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(32 << 10).unwrap();
        let mut client = socket.connect(server.address).await.unwrap();
        send(&mut client, b"l").await;
        trickling.push(base::task::spawn("trickle", async move {
            let mut bit = vec![0; LARGE / REPLY_TAKEN_SHARE_MIN as usize / 40];
            while client.read_exact(&mut bit).await.is_ok() {
                tokio::time::sleep(REPLY_STALL_MAX / 20).await;
            }
        }));
    }
    eventually("the memory is used up", || budget.used() == budget.limit()).await;
    let mut client = TcpStream::connect(server.address).await.unwrap();
    send(&mut client, b"l").await;
    let answer = tokio::time::timeout(4 * REPLY_STALL_MAX, receive(&mut client)).await.expect("an answer");
    assert_eq!(answer.len(), LARGE);
    trickling.iter().for_each(tokio::task::JoinHandle::abort);
}

/// Taking a reply bit by bit is slow, and not nothing.
#[tokio::test]
async fn a_slow_reader_is_not_cut_off() {
    const BITS: u64 = 8;
    let server = start(|_| {});
    let mut slow = TcpStream::connect(server.address).await.unwrap();
    send(&mut slow, b"l").await;
    let budget = server.service.replies.clone();
    eventually("its reply is there", || budget.used() > 0).await;
    // Somebody waits all the while.
    let mut other = TcpStream::connect(server.address).await.unwrap();
    let held = budget.charge(LARGE as u64).await;
    send(&mut other, b"l").await;
    let size = slow.read_u32().await.unwrap() as usize;
    let mut bit = vec![0; size.div_ceil(BITS as usize)];
    let mut left = size;
    while left > 0 {
        let take = left.min(bit.len());
        slow.read_exact(&mut bit[..take]).await.unwrap();
        left -= take;
        tokio::time::sleep(REPLY_STALL_MAX / 4).await;
    }
    assert_eq!(size, LARGE);
    drop(held);
    assert_eq!(receive(&mut other).await.len(), LARGE);
}

#[tokio::test]
async fn a_stopping_broker_answers_what_it_has_and_closes() {
    let server = start(|_| {});
    let mut client = TcpStream::connect(server.address).await.unwrap();
    send(&mut client, b"p1").await;
    send(&mut client, b"a2").await;
    eventually("both began", || server.service.log.lock().len() == 2).await;
    server.stop.send(true).unwrap();
    assert_eq!(receive(&mut client).await, b"p1", "a long poll is cut short");
    tokio::time::sleep(Duration::from_millis(30)).await;
    server.service.durable.notify_one();
    assert_eq!(receive(&mut client).await, b"a2", "an append is answered when it is durable");
    assert!(is_closed(&mut client).await);
    assert!(TcpStream::connect(server.address).await.is_err(), "nobody is accepted any more");
}
