//! What every network must do, on the system's and on the one in memory.

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::memory::MemoryNetwork;
use super::*;

fn networks() -> [Network; 2] {
    [Network::system(), Network::from_source(Arc::new(MemoryNetwork::default()))]
}

async fn pair(network: &Network) -> (Stream, Stream) {
    let listener = network.listen("127.0.0.1:0".parse().unwrap(), ListenOptions::default()).unwrap();
    let client = network.connect(listener.local_addr()).await.unwrap();
    let server = listener.accept().await.unwrap();
    assert_eq!((client.local_addr(), client.peer_addr()), (server.peer_addr(), server.local_addr()));
    (client, server)
}

#[tokio::test]
async fn bytes_arrive_in_order_and_then_the_end_while_the_other_way_stays_open() {
    for network in networks() {
        let (mut client, mut server) = pair(&network).await;
        client.write_all(b"one ").await.unwrap();
        client.write_all(b"two").await.unwrap();
        client.shutdown().await.unwrap();
        let mut text = String::new();
        server.read_to_string(&mut text).await.unwrap();
        assert_eq!(text, "one two");
        server.write_all(b"three").await.unwrap();
        drop(server);
        text.clear();
        client.read_to_string(&mut text).await.unwrap();
        assert_eq!(text, "three");
    }
}

#[tokio::test]
async fn halves_serve_two_tasks_and_a_slow_reader_holds_up_the_writer_only() {
    for network in networks() {
        let (client, server) = pair(&network).await;
        let (mut read, mut write) = client.split();
        let writer = crate::task::spawn("writer", async move {
            write.write_all(&vec![7; 8 << 20]).await.unwrap();
        });
        let (mut far_read, mut far_write) = server.split();
        far_write.write_all(b"now").await.unwrap();
        let mut now = [0; 3];
        read.read_exact(&mut now).await.unwrap();
        assert!(!writer.is_finished(), "nobody reads what it writes");
        let mut all = vec![0; 8 << 20];
        far_read.read_exact(&mut all).await.unwrap();
        assert!(all.iter().all(|byte| *byte == 7));
        writer.await.unwrap();
    }
}

#[tokio::test]
async fn a_try_never_waits_and_readiness_follows_the_bytes() {
    for network in networks() {
        let (client, server) = pair(&network).await;
        let (mut read, _keep) = client.split();
        let (_other, mut write) = server.split();
        let mut buffer = BytesMut::with_capacity(16);
        assert_eq!(read.try_read_buf(&mut buffer).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        let slices = [IoSlice::new(b"ab"), IoSlice::new(b"c")];
        poll_fn(|cx| write.poll_ready(cx)).await.unwrap();
        assert_eq!(write.try_write_vectored(&slices).unwrap(), 3);
        while buffer.len() < 3 {
            poll_fn(|cx| read.poll_ready(cx)).await.unwrap();
            match read.try_read_buf(&mut buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                read => assert!(read.unwrap() > 0),
            }
        }
        assert_eq!(&buffer[..], b"abc");
    }
}

#[tokio::test]
async fn an_address_has_one_listener_and_without_it_nobody_connects() {
    for network in networks() {
        let listener = network.listen("127.0.0.1:0".parse().unwrap(), ListenOptions::default()).unwrap();
        let address = listener.local_addr();
        let twice = network.listen(address, ListenOptions::default());
        assert_eq!(twice.unwrap_err().kind(), io::ErrorKind::AddrInUse);
        drop(listener);
        assert_eq!(network.connect(address).await.unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
        assert_eq!(network.resolve("127.0.0.1", 9).await.unwrap(), ["127.0.0.1:9".parse().unwrap()]);
    }
}

#[test]
fn who_does_one_thing_at_a_time_waits_for_it_and_no_longer_than_told() {
    use std::io::{Read, Write};
    use std::time::Duration;

    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let _entered = runtime.enter();
    let network = Network::system();
    let listener = network.listen("127.0.0.1:0".parse().unwrap(), ListenOptions::default()).unwrap();
    let address = format!("localhost:{}", listener.local_addr().port());
    let far = crate::task::spawn("echo", async move {
        let mut stream = listener.accept().await.unwrap();
        let mut bytes = [0; 4];
        stream.read_exact(&mut bytes).await.unwrap();
        stream.write_all(&bytes).await.unwrap();
        std::future::pending::<()>().await;
    });
    let silence = std::thread::scope(|scope| {
        let client = scope.spawn(|| {
            let short = Duration::from_millis(300);
            let mut client = BlockingStream::connect(&network, &address, Duration::from_secs(20), short).unwrap();
            client.write_all(b"ping").unwrap();
            let mut bytes = [0; 4];
            client.read_exact(&mut bytes).unwrap();
            assert_eq!(&bytes, b"ping");
            client.read(&mut bytes).unwrap_err().kind()
        });
        client.join().unwrap()
    });
    assert_eq!(silence, io::ErrorKind::TimedOut);
    far.abort();
}

#[tokio::test]
async fn an_address_that_is_none_is_refused_with_the_text_that_was_given() {
    let network = Network::system();
    for address in ["9080", "host:", "127.0.0.1:http"] {
        assert!(network.resolve_text(address).await.unwrap_err().to_string().contains(address));
    }
    assert_eq!(network.resolve_text("[::1]:80").await.unwrap(), ["[::1]:80".parse().unwrap()]);
}
