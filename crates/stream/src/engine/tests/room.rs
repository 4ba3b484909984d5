//! Room in the log cache: who makes it, and what is freed where.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
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

/// Memory of one payload, which sees whether its stream's tail is locked when it is freed.
struct Watched {
    stream: Weak<SharedStream>,
    freed: Arc<AtomicUsize>,
    held_up: Arc<AtomicUsize>,
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
            self.held_up.fetch_add(1, Ordering::Relaxed);
        }
        self.freed.fetch_add(1, Ordering::Relaxed);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_leaves_the_cache_is_freed_where_no_acknowledgement_waits() {
    const ENTRIES: u64 = 3000;
    let durable = Durable::new();
    let broker = durable.start(small()).await;
    let id = durable.catalogue.create_streams(1, broker.me).unwrap()[0];
    let stream = broker.open(id);
    let (freed, held_up) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let fill = || {
        for i in 0..ENTRIES {
            let watched =
                Watched { stream: Arc::downgrade(&stream.shared), freed: freed.clone(), held_up: held_up.clone() };
            stream.shared.tail.lock().push(Entry {
                range: OffsetRange::new(Offset(i), Offset(i + 1)),
                max_timestamp: TimestampMs(0),
                payload: Fragments::from_elem(Bytes::from_owner(watched), 1),
                bytes: 1,
                _room: Room::new(broker.engine.inner.cache.charge_existing(1)),
            });
        }
    };
    fill();
    stream.shared.evict_below(Offset(ENTRIES - 10));
    assert_eq!(freed.load(Ordering::Relaxed) as u64, ENTRIES - 10);
    assert_eq!(stream.shared.tail_start(), Some(Offset(ENTRIES - 10)));
    stream.shared.evict_below(Offset(ENTRIES));
    assert_eq!(freed.load(Ordering::Relaxed) as u64, ENTRIES);
    fill();
    broker.engine.forget(id);
    assert_eq!(freed.load(Ordering::Relaxed) as u64, 2 * ENTRIES);
    assert_eq!(broker.engine.log_cache().0, 0);
    assert_eq!(held_up.load(Ordering::Relaxed), 0, "acknowledgements wait for the tail's lock");
}
