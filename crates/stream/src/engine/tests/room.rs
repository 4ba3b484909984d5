//! Room in the log cache: who makes it, and what is freed where.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::ThreadId;

use super::*;
use crate::engine::cut::CutStream;
use crate::engine::tail::Entry;

/// Whoever waits for room finds nothing to cut while all that fills the cache is on its way through the log. What becomes
/// durable then is too little for a cut by itself, and the next by age is an hour off.
#[tokio::test(flavor = "multi_thread")]
async fn what_becomes_durable_while_room_is_wanted_makes_it() {
    let durable = Durable::new();
    let broker = durable.start(small()).await;
    let id = durable.catalogue.create_streams(1, broker.me).unwrap()[0];
    let stream = broker.open(id);
    let buffer = Bytes::from(payload(0, 200 * KIB as usize));
    let room = broker.engine.reserve(buffer.len() as u64).await;
    let mut waiting = std::pin::pin!(broker.engine.reserve(100 * KIB));
    assert!(futures::poll!(waiting.as_mut()).is_pending());
    let (done, acknowledged) = oneshot::channel();
    stream.append(NewEntry {
        range: OffsetRange::new(Offset(0), Offset(1)),
        max_timestamp: TimestampMs(0),
        payload: Fragments::from_elem(buffer.slice(..8192), 1),
        room: Some(room),
        done: Box::new(move |result| done.send(result).unwrap()),
    });
    acknowledged.await.unwrap().unwrap();
    tokio::time::timeout(Duration::from_secs(60), waiting).await.expect("room is made");
}

/// Memory of one payload, which sees where it is freed, and whether its stream's tail is locked then.
struct Watched {
    stream: Weak<SharedStream>,
    seen: Arc<Seen>,
}

#[derive(Default)]
struct Seen {
    freed: AtomicUsize,
    held_up: AtomicUsize,
    /// Threads that serve.
    serving: Mutex<Vec<ThreadId>>,
    held_up_others: AtomicUsize,
}

impl AsRef<[u8]> for Watched {
    fn as_ref(&self) -> &[u8] {
        b"x"
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        let stream = self.stream.upgrade().unwrap();
        if stream.tail.try_lock().is_none() {
            self.seen.held_up.fetch_add(1, Ordering::Relaxed);
        }
        if self.seen.serving.lock().contains(&std::thread::current().id()) {
            self.seen.held_up_others.fetch_add(1, Ordering::Relaxed);
        }
        self.seen.freed.fetch_add(1, Ordering::Relaxed);
    }
}

const ENTRIES: u64 = 3000;

impl Seen {
    /// Fills a tail with entries that tell it.
    fn fill(self: &Arc<Self>, broker: &Running, stream: &Stream, bytes: u64) {
        let start = stream.durable_end();
        for i in (0..ENTRIES).map(|i| start + i) {
            let watched = Watched { stream: Arc::downgrade(&stream.shared), seen: self.clone() };
            let entry = Entry {
                range: OffsetRange::new(i, i + 1),
                max_timestamp: TimestampMs(0),
                payload: Fragments::from_elem(Bytes::from_owner(watched), 1),
                bytes: 1,
                _room: Room::new(broker.engine.inner.cache.charge_existing(bytes)),
            };
            stream.shared.complete(entry).unwrap();
        }
    }

    fn freed(&self) -> u64 {
        self.freed.load(Ordering::Relaxed) as u64
    }

    async fn have_freed(&self, count: u64) {
        let freeing = async {
            while self.freed() < count {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), freeing).await.expect("it is freed");
    }
}

/// One thread serves. Whatever takes long there, everybody waits for.
#[tokio::test]
async fn what_leaves_the_cache_is_freed_where_nobody_waits() {
    let durable = Durable::new();
    let broker = durable.start(small()).await;
    let seen = Arc::new(Seen::default());
    seen.serving.lock().push(std::thread::current().id());
    let streams: Vec<_> =
        durable.catalogue.create_streams(2, broker.me).unwrap().iter().map(|id| broker.open(*id)).collect();
    let (_, limit) = broker.engine.log_cache();
    let taken = |stream: &Stream| CutStream {
        stream: stream.shared.clone(),
        range: OffsetRange::new(Offset(0), stream.durable_end()),
        checkpoint: None,
    };
    // A commit leaves more than its share.
    seen.fill(&broker, &streams[0], limit / ENTRIES);
    broker.engine.inner.cache.committed(&[taken(&streams[0])]);
    seen.have_freed(ENTRIES).await;
    // Somebody waits for the room that a commit left.
    seen.fill(&broker, &streams[0], limit / 2 / ENTRIES);
    broker.engine.inner.cache.committed(&[taken(&streams[0])]);
    drop(broker.engine.reserve(limit).await);
    seen.have_freed(2 * ENTRIES).await;
    // A stream is deleted.
    seen.fill(&broker, &streams[1], 1);
    broker.engine.forget(&[streams[1].id()]);
    seen.have_freed(3 * ENTRIES).await;
    assert_eq!(seen.held_up.load(Ordering::Relaxed), 0, "acknowledgements wait for the tail's lock");
    assert_eq!(seen.held_up_others.load(Ordering::Relaxed), 0, "freed on a thread that serves");
}

#[tokio::test(flavor = "multi_thread")]
async fn eviction_ends_where_it_is_told() {
    let durable = Durable::new();
    let broker = durable.start(small()).await;
    let stream = broker.open(durable.catalogue.create_streams(1, broker.me).unwrap()[0]);
    let seen = Arc::new(Seen::default());
    seen.fill(&broker, &stream, 1);
    stream.shared.evict_below(Offset(ENTRIES - 10));
    assert_eq!((seen.freed(), stream.shared.tail_start()), (ENTRIES - 10, Some(Offset(ENTRIES - 10))));
    stream.shared.evict_below(Offset(ENTRIES));
    assert_eq!((seen.freed(), stream.shared.tail_start()), (ENTRIES, None));
    assert_eq!(broker.engine.log_cache().0, 0);
}
