//! Pages, and clients that do not let others have them.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use base::net::Stream;
use base::net::memory::MemoryNetwork;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::watch;
use tokio::time::timeout;

use super::limits::{CLIENT_WAIT_MAX, CONNECTIONS_MAX, CROWDED_WAIT, PAGE_CROWDED_WAIT, PAGE_TAKEN_MIN, PAGES_MAX};
use super::*;

const HALF: Duration = Duration::from_secs(CLIENT_WAIT_MAX.as_secs() / 2);
/// Longer than anything may take.
const LONG: Duration = CLIENT_WAIT_MAX.saturating_mul(10);

/// What a server that closed the connection said before.
async fn rest(stream: &mut Stream) -> String {
    let mut reply = String::new();
    // One that is closed for its silence may be reset.
    drop(timeout(LONG, stream.read_to_string(&mut reply)).await.expect("it is closed"));
    reply
}

async fn ask(network: &Network, address: SocketAddr, path: &str) -> Stream {
    let mut stream = network.connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    stream
}

async fn get(network: &Network, address: SocketAddr, path: &str) -> String {
    rest(&mut ask(network, address, path).await).await
}

fn memory() -> Network {
    Network::from_source(Arc::new(MemoryNetwork::default()))
}

/// A console with a page of this size, and how often it was made.
async fn serving(network: &Network, page_bytes: usize) -> (SocketAddr, Arc<AtomicUsize>) {
    let console = Console::bind(network, "127.0.0.1:0").await.unwrap();
    let (address, made) = (console.address(), Arc::new(AtomicUsize::new(0)));
    let count = made.clone();
    let metrics = move || {
        count.fetch_add(1, Ordering::Relaxed);
        "x".repeat(page_bytes)
    };
    console.serve(Sources { metrics: Arc::new(metrics), readiness: Arc::new(|| Readiness::Ready) });
    (address, made)
}

#[tokio::test]
async fn readiness_follows_the_broker_and_liveness_does_not() {
    for network in [Network::system(), memory()] {
        readiness_over(&network).await;
    }
}

async fn readiness_over(network: &Network) {
    let console = Console::bind(network, "127.0.0.1:0").await.unwrap();
    let address = console.address();
    let (state, readiness) = watch::channel(Readiness::NotReady("starting".into()));
    let readiness = Arc::new(move || readiness.borrow().clone());
    let serving = console.serve(Sources { metrics: Arc::new(|| "up 1\n".to_owned()), readiness });
    let before = get(network, address, "/readyz").await;
    assert!(before.starts_with("HTTP/1.1 503") && before.contains("starting"), "{before}");
    assert!(get(network, address, "/livez").await.starts_with("HTTP/1.1 200"));
    state.send_replace(Readiness::Ready);
    assert!(get(network, address, "/readyz").await.starts_with("HTTP/1.1 200"));
    assert!(get(network, address, "/metrics").await.contains("up 1"));
    serving.abort();
}

/// Time passes only while nobody has anything to do, which a real socket may have without the clock's knowing; that
/// makes the end no other one.
#[tokio::test(start_paused = true)]
async fn half_a_header_does_not_keep_a_connection() {
    for network in [Network::system(), memory()] {
        let (address, _) = serving(&network, 1).await;
        let mut slow = network.connect(address).await.unwrap();
        slow.write_all(b"GET /livez HTTP/1.1\r\nHos").await.unwrap();
        assert_eq!(rest(&mut slow).await, "");
        tokio::time::resume();
        assert!(get(&network, address, "/livez").await.starts_with("HTTP/1.1 200"));
        tokio::time::pause();
    }
}

#[tokio::test(start_paused = true)]
async fn a_header_that_comes_byte_by_byte_does_not_keep_a_connection() {
    let network = memory();
    let (address, _) = serving(&network, 1).await;
    let mut slow = network.connect(address).await.unwrap();
    let mut sent = 0;
    while slow.write_all(b"G").await.is_ok() {
        tokio::time::sleep(Duration::from_secs(1)).await;
        sent += 1;
        assert!(sent < 100, "it may go on for ever");
    }
}

#[tokio::test(start_paused = true)]
async fn whoever_comes_when_all_places_are_taken_has_that_of_who_was_idle_for_longest() {
    let network = memory();
    let (address, _) = serving(&network, 1).await;
    let mut idle = Vec::new();
    for _ in 0..CONNECTIONS_MAX {
        idle.push(network.connect(address).await.unwrap());
    }
    let alive = timeout(HALF, get(&network, address, "/livez")).await;
    assert!(alive.expect("idle ones make room").starts_with("HTTP/1.1 200"));
    assert_eq!(rest(&mut idle[0]).await, "");
    assert!(timeout(Duration::from_millis(1), idle[1].read_u8()).await.is_err(), "no more than one had to go");
    for idle in &mut idle {
        assert_eq!(rest(idle).await, "");
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_is_used_again_as_long_as_it_is_used() {
    let network = memory();
    let (address, _) = serving(&network, 1).await;
    let mut kept = network.connect(address).await.unwrap();
    for _ in 0..10 {
        tokio::time::sleep(HALF).await;
        kept.write_all(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
        let mut reply = Vec::new();
        while !reply.ends_with(b"ok\n") {
            assert_ne!(kept.read_buf(&mut reply).await.unwrap(), 0);
        }
    }
    assert_eq!(rest(&mut kept).await, "");
}

/// Asks for as many pages as may be in memory, and takes none.
async fn take_all_pages(network: &Network, address: SocketAddr, made: &AtomicUsize) -> Vec<Stream> {
    let mut silent = Vec::new();
    for _ in 0..PAGES_MAX {
        silent.push(ask(network, address, "/metrics").await);
    }
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert_eq!(made.load(Ordering::Relaxed), PAGES_MAX);
    silent
}

/// Longer than who waits for a page waits for one that is not being taken.
const CROWDED: Duration = PAGE_CROWDED_WAIT.saturating_add(CROWDED_WAIT).saturating_add(CROWDED_WAIT);

#[tokio::test(start_paused = true)]
async fn pages_that_nobody_takes_hold_up_other_pages_only_and_give_up_their_places_one_by_one() {
    let network = memory();
    let page_bytes = 1 << 20;
    let (address, made) = serving(&network, page_bytes).await;
    let mut silent = take_all_pages(&network, address, &made).await;
    for others in 1..=PAGES_MAX {
        let mut next = ask(&network, address, "/metrics").await;
        tokio::time::sleep(CROWDED_WAIT / 2).await;
        assert_eq!(made.load(Ordering::Relaxed), PAGES_MAX + 2 * (others - 1), "as many pages as may be are in memory");
        let alive = timeout(CROWDED_WAIT / 4, get(&network, address, "/livez")).await;
        assert!(alive.expect("it waits for no page").starts_with("HTTP/1.1 200"));
        let page = timeout(CROWDED, rest(&mut next)).await.expect("one that is not taken gives up its place");
        assert!(page.len() > page_bytes);
        assert!(rest(&mut silent[others - 1]).await.len() < page_bytes, "it was the one that was silent for longest");
        silent.push(ask(&network, address, "/metrics").await);
    }
}

#[tokio::test(start_paused = true)]
async fn a_page_that_is_being_taken_keeps_its_place_whoever_waits() {
    let network = memory();
    let page_bytes = 1 << 20;
    let (address, made) = serving(&network, page_bytes).await;
    let mut slow = take_all_pages(&network, address, &made).await;
    let mut next = ask(&network, address, "/metrics").await;
    // Each time more than goes into the pipe between them.
    for _ in 0..8 {
        for slow in &mut slow {
            let mut some = vec![0; PAGE_TAKEN_MIN + PAGE_TAKEN_MIN / 4];
            slow.read_exact(&mut some).await.unwrap();
        }
        tokio::time::sleep(PAGE_CROWDED_WAIT / 2).await;
    }
    assert_eq!(made.load(Ordering::Relaxed), PAGES_MAX);
    for slow in &mut slow {
        assert!(rest(slow).await.len() > page_bytes / 4);
    }
    assert!(rest(&mut next).await.len() > page_bytes);
}

#[tokio::test(start_paused = true)]
async fn a_request_that_waits_for_a_page_is_no_idle_connection() {
    let network = memory();
    let page_bytes = 1 << 20;
    let (address, made) = serving(&network, page_bytes).await;
    let mut silent = take_all_pages(&network, address, &made).await;
    let mut next = ask(&network, address, "/metrics").await;
    tokio::time::sleep(Duration::from_millis(1)).await;
    let mut idle = Vec::new();
    for _ in 0..CONNECTIONS_MAX - PAGES_MAX - 1 {
        idle.push(network.connect(address).await.unwrap());
    }
    assert!(get(&network, address, "/livez").await.starts_with("HTTP/1.1 200"));
    let gone = timeout(CROWDED_WAIT, rest(&mut idle[0])).await;
    assert_eq!(gone.expect("it asked for nothing for longest"), "");
    assert!(rest(&mut next).await.len() > page_bytes);
    assert!(rest(&mut silent[0]).await.len() < page_bytes);
}

/// More wait for pages than are taken in the time that a client has for a request.
#[tokio::test(start_paused = true)]
async fn a_request_that_waits_for_a_page_has_no_deadline() {
    let network = memory();
    let page_bytes = 1 << 20;
    let (address, made) = serving(&network, page_bytes).await;
    let count = PAGES_MAX * 3;
    let mut all = Vec::new();
    for _ in 0..count {
        all.push(ask(&network, address, "/metrics").await);
    }
    tokio::time::sleep(Duration::from_millis(1)).await;
    // Each is taken just fast enough to be kept by its client's deadline alone.
    for some in all.chunks_mut(PAGES_MAX) {
        for n in 0..12 {
            for taking in &mut *some {
                let mut bytes = vec![0; PAGE_TAKEN_MIN + PAGE_TAKEN_MIN / 4];
                taking.read_exact(&mut bytes).await.unwrap_or_else(|error| panic!("{error} at {n}"));
            }
            tokio::time::sleep(PAGE_CROWDED_WAIT * 9 / 10).await;
        }
        for taking in some {
            assert!(rest(taking).await.ends_with('x'));
        }
    }
    assert_eq!(made.load(Ordering::Relaxed), count);
}

/// Each page is taken just fast enough to be kept.
#[tokio::test(start_paused = true)]
async fn clients_that_take_and_await_pages_in_all_places_keep_no_health_probe_waiting() {
    let network = memory();
    let (address, made) = serving(&network, 16 << 20).await;
    let mut taking = Vec::new();
    for _ in 0..PAGES_MAX {
        taking.push(ask(&network, address, "/metrics").await);
    }
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert_eq!(made.load(Ordering::Relaxed), PAGES_MAX);
    let mut waiting = Vec::new();
    for _ in 0..CONNECTIONS_MAX - PAGES_MAX {
        waiting.push(ask(&network, address, "/metrics").await);
    }
    let take = async {
        loop {
            for taking in &mut taking {
                let mut bytes = vec![0; PAGE_TAKEN_MIN + PAGE_TAKEN_MIN / 4];
                taking.read_exact(&mut bytes).await.unwrap();
            }
            tokio::time::sleep(PAGE_CROWDED_WAIT * 9 / 10).await;
        }
    };
    let probe = timeout(PAGE_CROWDED_WAIT * 2, get(&network, address, "/livez"));
    tokio::select! {
        () = take => {}
        told = probe => assert!(told.expect("somebody gives way").starts_with("HTTP/1.1 200")),
    }
}

#[tokio::test]
async fn a_request_without_end_is_refused() {
    let network = memory();
    let (address, _) = serving(&network, 1).await;
    let mut stream = network.connect(address).await.unwrap();
    let header = format!("X-Long: {}\r\n", "x".repeat(1_000));
    let mut sent = b"GET /livez HTTP/1.1\r\n".to_vec();
    while sent.len() < 1 << 20 {
        sent.extend_from_slice(header.as_bytes());
    }
    // The server closes before it has read all of it.
    drop(stream.write_all(&sent).await);
    assert!(rest(&mut stream).await.starts_with("HTTP/1.1 431"));
}
