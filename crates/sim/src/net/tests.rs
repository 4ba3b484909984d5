//! What the network does under each fault, and that a seed is a run.

use std::io;
use std::ops::Range;

use base::net::{ListenOptions, Listener, Stream};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{sleep, timeout};

use super::*;

struct World {
    net: Net,
    faults: Faults,
    trace: Trace,
}

fn world(seed: u64) -> World {
    let (errands, faults, trace) = (Errands::default(), Faults::default(), Trace::new(None));
    let net = Net::new(Dice::new(seed), faults.clone(), trace.clone(), errands.clone());
    base::task::spawn("errands", async move { errands.serve().await });
    World { net, faults, trace }
}

fn ip(last: u8) -> IpAddr {
    [10, 0, 0, last].into()
}

fn ms(range: Range<u64>) -> Range<Duration> {
    Duration::from_millis(range.start)..Duration::from_millis(range.end)
}

struct Host {
    process: Process,
    network: Network,
}

impl World {
    fn host(&self, name: &str, last: u8) -> Host {
        let process = Process::new(name, u32::from(last));
        let network = self.net.network(&process, ip(last));
        Host { process, network }
    }

    fn die(&self, host: &Host, death: Death) {
        host.process.die();
        self.net.process_died(&host.process, death);
    }
}

impl Host {
    fn listen(&self) -> Listener {
        self.network.listen("0.0.0.0:9092".parse().unwrap(), ListenOptions::default()).unwrap()
    }

    async fn connect(&self, last: u8) -> io::Result<Stream> {
        self.network.connect(SocketAddr::new(ip(last), 9092)).await
    }
}

async fn pair(client: &Host, server: &Host, last: u8) -> (Stream, Stream, Listener) {
    let listener = server.listen();
    let client = client.connect(last).await.unwrap();
    let server = listener.accept().await.unwrap();
    (client, server, listener)
}

async fn kind<T>(result: impl Future<Output = io::Result<T>>) -> Option<io::ErrorKind> {
    let result = timeout(Duration::from_secs(30), result).await;
    result.ok().map(|result| result.map_or_else(|error| error.kind(), |_| panic!("it is answered")))
}

#[tokio::test(start_paused = true)]
async fn bytes_arrive_in_order_after_their_time_and_then_the_end() {
    let world = world(1);
    let (one, two) = (world.host("one", 1), world.host("two", 2));
    let (mut client, mut server, listener) = pair(&one, &two, 2).await;
    assert_eq!((client.local_addr(), client.peer_addr()), (server.peer_addr(), server.local_addr()));
    world.net.set_plan(NetPlan { latency: ms(100..200), partial_write: 0.5, ..NetPlan::default() });
    let before = world.trace.now();
    client.write_all(b"one ").await.unwrap();
    client.write_all(b"two").await.unwrap();
    client.shutdown().await.unwrap();
    let mut text = String::new();
    server.read_to_string(&mut text).await.unwrap();
    assert_eq!(text, "one two");
    assert!((100..=201).contains(&(world.trace.now() - before).as_millis()));
    server.write_all(b"three").await.unwrap();
    drop(server);
    text.clear();
    client.read_to_string(&mut text).await.unwrap();
    assert_eq!(text, "three");
    assert_eq!(client.write_all(b"more").await.unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    // An address has one listener, and a host that is not asked for does not answer.
    let again = two.network.listen("0.0.0.0:9092".parse().unwrap(), ListenOptions::default());
    assert_eq!(again.unwrap_err().kind(), io::ErrorKind::AddrInUse);
    drop(listener);
    assert_eq!(kind(one.connect(2)).await, Some(io::ErrorKind::ConnectionRefused));
    world.net.name("broker-2", ip(2));
    assert_eq!(one.network.resolve("broker-2", 9).await.unwrap(), [SocketAddr::new(ip(2), 9)]);
    assert!(one.network.resolve("broker-3", 9).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_slow_reader_holds_up_the_writer_and_a_line_has_its_width() {
    let world = world(1);
    world.net.set_plan(NetPlan { bytes_per_second: 1 << 20, ..NetPlan::default() });
    let (client, server, _listener) = pair(&world.host("one", 1), &world.host("two", 2), 2).await;
    let (mut read, mut write) = client.split();
    let writer = base::task::spawn("writer", async move { write.write_all(&vec![7; 4 << 20]).await.map(|()| write) });
    let (mut far_read, mut far_write) = server.split();
    far_write.write_all(b"now").await.unwrap();
    let mut now = [0; 3];
    read.read_exact(&mut now).await.unwrap();
    sleep(Duration::from_secs(9)).await;
    assert!(!writer.is_finished(), "nobody reads what it writes");
    let (before, mut all) = (world.trace.now(), vec![0; 4 << 20]);
    far_read.read_exact(&mut all).await.unwrap();
    let took = (world.trace.now() - before).as_millis();
    assert!(all.iter().all(|byte| *byte == 7) && (3_500..=4_100).contains(&took), "{took}");
    writer.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_reset_breaks_both_sides_and_a_stall_only_holds_up() {
    let world = world(1);
    let (one, two) = (world.host("one", 1), world.host("two", 2));
    let (mut client, mut server, _listener) = pair(&one, &two, 2).await;
    let stalls = NetPlan { stalled: 1.0, stall: ms(20_000..20_001), ..NetPlan::default() };
    world.net.set_plan(NetPlan { slow: 1.0, slow_by: ms(100..101), ..stalls });
    client.write_all(b"ab").await.unwrap();
    assert!(timeout(Duration::from_secs(19), server.read_u8()).await.is_err());
    world.net.set_plan(NetPlan { reset: 1.0, latency: ms(5..6), ..NetPlan::default() });
    assert_eq!(server.read_u8().await.unwrap(), b'a');
    server.write_all(b"x").await.unwrap();
    // What was sent before and not read is lost with what was under way.
    sleep(Duration::from_secs(1)).await;
    assert_eq!(client.read_u8().await.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
    assert_eq!(server.read_u8().await.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
    assert_eq!(server.write_all(b"x").await.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
    world.net.set_plan(NetPlan { refused: 1.0, refuse: ms(5_000..5_001), ..NetPlan::default() });
    assert_eq!(kind(one.connect(2)).await, Some(io::ErrorKind::ConnectionRefused));
    world.net.set_plan(NetPlan::default());
    one.connect(2).await.unwrap();
    let expected = [Fault::SlowNetwork, Fault::Reset, Fault::StalledLink, Fault::Refused];
    assert_eq!(world.faults.counts(), expected.map(|fault| (fault, 1)).into());
}

#[tokio::test(start_paused = true)]
async fn who_is_killed_is_missed_at_once_and_a_host_without_power_when_it_is_back() {
    for seed in 0..8 {
        let world = world(seed);
        let (one, two) = (world.host("one", 1), world.host("two", 2));
        let (mut client, mut server, _listener) = pair(&one, &two, 2).await;
        world.die(&two, Death::Kill);
        let seen = timeout(Duration::from_secs(1), client.read_u8()).await.expect("soon").unwrap_err().kind();
        assert!(matches!(seen, io::ErrorKind::ConnectionReset | io::ErrorKind::UnexpectedEof), "{seen}");
        assert!(timeout(Duration::from_secs(1), server.write_all(b"x")).await.is_err(), "the dead send nothing");
        assert_eq!(kind(one.connect(2)).await, Some(io::ErrorKind::ConnectionRefused));

        let three = world.host("three", 3);
        let (mut client, server, listener) = pair(&one, &three, 3).await;
        world.die(&three, Death::PowerLoss);
        drop((server, listener));
        assert_eq!(kind(client.read_u8()).await, None, "silence");
        client.write_all(b"x").await.unwrap();
        assert_eq!(kind(one.connect(3)).await, None, "silence");
        assert_eq!(one.connect(3).await.unwrap_err().kind(), io::ErrorKind::TimedOut);
        let back = world.host("three", 3);
        assert_eq!(kind(client.read_u8()).await, Some(io::ErrorKind::ConnectionReset));
        pair(&one, &back, 3).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_partition_holds_bytes_up_in_the_directions_that_it_cuts() {
    let world = world(1);
    let (one, two) = (world.host("one", 1), world.host("two", 2));
    let (mut client, mut server, _listener) = pair(&one, &two, 2).await;
    world.net.cut(ip(1), ip(2));
    client.write_all(b"a").await.unwrap();
    server.write_all(b"b").await.unwrap();
    assert_eq!(client.read_u8().await.unwrap(), b'b');
    assert_eq!(kind(server.read_u8()).await, None);
    world.net.partition(&[ip(1)], &[ip(2)]);
    server.write_all(b"c").await.unwrap();
    assert_eq!(kind(client.read_u8()).await, None);
    let connects = base::task::spawn("connects", async move { one.connect(2).await.map(|_| ()) });
    sleep(Duration::from_secs(3)).await;
    world.net.heal();
    assert_eq!((client.read_u8().await.unwrap(), server.read_u8().await.unwrap()), (b'c', b'a'));
    connects.await.unwrap().unwrap();
}

/// What each side of each connection sent, and what of it was received.
type Bytes = BTreeMap<(u64, Side), [Vec<u8>; 2]>;

#[derive(Default)]
struct Journal(Mutex<Bytes>);

impl Observer for Journal {
    fn sent(&self, link: &Link, by: Side, bytes: &[u8]) {
        self.0.lock().entry((link.number, by)).or_default()[0].extend_from_slice(bytes);
    }

    fn received(&self, link: &Link, by: Side, bytes: &[u8]) {
        self.0.lock().entry((link.number, by.other())).or_default()[1].extend_from_slice(bytes);
    }
}

/// Clients that send numbered lines to an echo, and connect again when their connection breaks.
async fn echoes(seed: u64) -> (World, Arc<Journal>) {
    let (world, journal) = (world(seed), Arc::new(Journal::default()));
    world.net.observe(journal.clone());
    world.net.set_plan(NetPlan {
        latency: ms(0..20),
        bytes_per_second: 10 << 20,
        partial_write: 0.2,
        slow: 0.05,
        slow_by: ms(50..500),
        stalled: 0.01,
        stall: ms(1_000..5_000),
        reset: 0.02,
        refused: 0.02,
        refuse: ms(1..500),
    });
    let server = world.host("echo", 9);
    let listener = server.listen();
    base::task::spawn("echo", async move {
        while let Ok(stream) = listener.accept().await {
            base::task::spawn("echo", async move {
                let (mut read, mut write) = stream.split();
                let _ = tokio::io::copy(&mut read, &mut write).await;
            });
        }
    });
    let clients = (1..=6).map(|last| {
        let host = world.host(&format!("client-{last}"), last);
        base::task::spawn("client", async move {
            let mut echoed = 0;
            while echoed < 100 {
                let Ok(mut stream) = host.connect(9).await else { continue };
                loop {
                    let line = vec![echoed; usize::from(echoed) * 300 + 1];
                    let mut back = vec![0; line.len()];
                    if stream.write_all(&line).await.is_err() || stream.read_exact(&mut back).await.is_err() {
                        break;
                    }
                    assert_eq!(line, back);
                    echoed += 1;
                    if echoed == 100 {
                        break;
                    }
                }
            }
        })
    });
    for client in clients.collect::<Vec<_>>() {
        client.await.unwrap();
    }
    (world, journal)
}

#[tokio::test(start_paused = true)]
async fn what_arrives_is_a_prefix_of_what_was_sent_in_any_storm() {
    let (world, journal) = echoes(3).await;
    let journal = journal.0.lock();
    assert!(journal.len() > 20 && journal.values().all(|[sent, received]| sent.starts_with(received)));
    assert!(journal.values().any(|[sent, received]| sent.len() > received.len()), "resets lose something");
    assert_eq!(world.faults.counts().len(), 4, "{:?}", world.faults.counts());
}

#[test]
fn one_seed_is_one_run() {
    let run = |seed| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async { echoes(seed).await.0.trace.digest() })
    };
    assert_eq!(run(7), run(7));
    assert_ne!(run(7), run(8));
}
