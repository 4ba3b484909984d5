//! Entries that are whole in the bucket, and damaged on their way out of it.

use std::sync::atomic::{AtomicUsize, Ordering};

use blob::Payload;
use blob::StoreError;
use blob::backend::{BoxFuture, CreateAttempt, Evidence, ListPage, ObjectMeta, ReadRange};

use super::*;

/// What becomes of the reading of that number, counted from 0, of the object of that name.
type Spoil = Box<dyn Fn(usize, &str, Vec<u8>) -> Vec<u8> + Send + Sync>;

/// A store whose reads go through a hook.
struct Spoiled {
    beneath: Arc<dyn Backend>,
    readings: AtomicUsize,
    spoil: Spoil,
}

impl std::fmt::Debug for Spoiled {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Spoiled")
    }
}

impl Backend for Spoiled {
    fn name(&self) -> String {
        self.beneath.name()
    }

    fn is_remote(&self) -> bool {
        self.beneath.is_remote()
    }

    fn put<'a>(&'a self, key: &'a str, body: Payload) -> BoxFuture<'a, Result<Evidence, StoreError>> {
        self.beneath.put(key, body)
    }

    fn create<'a>(&'a self, key: &'a str, body: Payload) -> BoxFuture<'a, CreateAttempt> {
        self.beneath.create(key, body)
    }

    fn get<'a>(&'a self, key: &'a str, range: ReadRange) -> BoxFuture<'a, Result<Bytes, StoreError>> {
        Box::pin(async move {
            let bytes = self.beneath.get(key, range).await?.to_vec();
            if !key.starts_with("meta/log/") {
                return Ok(bytes.into());
            }
            Ok((self.spoil)(self.readings.fetch_add(1, Ordering::SeqCst), key, bytes).into())
        })
    }

    fn head<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<ObjectMeta, StoreError>> {
        self.beneath.head(key)
    }

    fn list<'a>(
        &'a self,
        prefix: &'a str,
        start_after: Option<&'a str>,
        limit: usize,
    ) -> BoxFuture<'a, Result<ListPage, StoreError>> {
        self.beneath.list(prefix, start_after, limit)
    }

    fn delete_batch<'a>(&'a self, keys: &'a [String]) -> BoxFuture<'a, Result<(), StoreError>> {
        self.beneath.delete_batch(keys)
    }
}

/// A log whose last entry, which makes the topic "t", was acknowledged; and its bucket.
async fn acknowledged() -> (Bucket, Arc<dyn Backend>, MetaSequence) {
    let beneath: Arc<dyn Backend> = Arc::new(MemoryBackend::new());
    let faults = FaultyBackend::new(beneath.clone(), FaultPlan::default(), 7);
    let store = Store::with_backend(Arc::new(faults.clone()), StoreOptions::default());
    let bucket = Bucket { faults, store, plain: Store::with_backend(beneath.clone(), StoreOptions::default()) };
    let (handle, _) = serve(&bucket.store, options(1)).await;
    create(&handle, "t").await;
    let last = MetaSequence(handle.image().next_sequence.0 - 1);
    (bucket, beneath, last)
}

/// The same bucket, behind a way that does this to readings of its log.
fn behind(
    beneath: &Arc<dyn Backend>,
    spoil: impl Fn(usize, &str, Vec<u8>) -> Vec<u8> + Send + Sync + 'static,
) -> Store {
    let spoiled = Spoiled { beneath: beneath.clone(), readings: AtomicUsize::new(0), spoil: Box::new(spoil) };
    Store::with_backend(Arc::new(spoiled), StoreOptions::default())
}

fn flipped(mut bytes: Vec<u8>, nth: usize) -> Vec<u8> {
    let at = nth % bytes.len();
    bytes[at] ^= 1 << (nth % 7);
    bytes
}

async fn give_up(store: &Store) -> Result<Vec<MetaSequence>, GiveUpError> {
    Meta::give_up_last(store.clone(), BrokerId(1), &Entropy::system()).await
}

/// Nothing is known of it then: neither that it is damaged, nor that it stands last.
#[tokio::test(start_paused = true)]
async fn what_is_read_otherwise_each_time_is_not_damaged_and_is_not_given_up() {
    let (bucket, beneath, last) = acknowledged().await;
    let log = || bucket.plain.list_all(Purpose::Metadata, "meta/log/");
    let before = log().await.unwrap();
    for name in [last, MetaSequence(last.0 - 1)] {
        let key = names::entry(name);
        let store = behind(&beneath, move |nth, read, bytes| if read == key { flipped(bytes, nth) } else { bytes });
        let error = Meta::inspect(store.clone()).await.unwrap_err();
        assert!(matches!(&error, LogError::Store(why) if why.is_transient()), "{error}");
        let error = give_up(&store).await.unwrap_err();
        assert!(matches!(&error, GiveUpError::Log(LogError::Store(_))), "{error}");
    }
    assert_eq!(log().await.unwrap(), before);
    assert!(from_bucket(&bucket).await.topic("t").is_some());
}

#[tokio::test(start_paused = true)]
async fn one_whole_reading_among_damaged_ones_is_what_stands_there() {
    let (bucket, beneath, last) = acknowledged().await;
    let key = names::entry(last);
    let readings = AtomicUsize::new(0);
    let store = behind(&beneath, move |_, read, bytes| {
        if read != key {
            return bytes;
        }
        let nth = readings.fetch_add(1, Ordering::SeqCst);
        if nth % 5 == 4 { bytes } else { flipped(bytes, nth) }
    });
    for _ in 0..3 {
        assert_eq!(Meta::inspect(store.clone()).await.unwrap(), from_bucket(&bucket).await);
    }
    assert_eq!(give_up(&store).await.unwrap(), [], "the log is whole");
}

/// An entry behind it is damaged by its reading, so that it seems to be the last one.
#[tokio::test(start_paused = true)]
async fn an_entry_is_not_the_last_because_the_next_one_was_read_badly() {
    let (bucket, beneath, last) = acknowledged().await;
    let rotten = MetaSequence(last.0 - 1);
    let key = names::entry(rotten);
    let bytes = flipped(bucket.plain.get(Purpose::Metadata, &key, ..).await.unwrap().to_vec(), 3);
    bucket.plain.put(Purpose::Metadata, &key, bytes).await.unwrap();
    let behind_it = names::entry(last);
    let store = behind(&beneath, move |nth, read, bytes| if read == behind_it { flipped(bytes, nth) } else { bytes });
    let error = give_up(&store).await.unwrap_err();
    assert!(matches!(&error, GiveUpError::Log(LogError::Store(_))), "{error}");
}

/// It cannot be told from damage at rest, and an operator may give it up: but only what the load saw, on every reading.
#[tokio::test(start_paused = true)]
async fn only_the_damage_that_was_seen_is_given_up() {
    let (bucket, beneath, last) = acknowledged().await;
    let key = names::entry(last);
    // Readings 1 to 3 are those of the load; a second look finds another damage, or none.
    for then in [Some(9), None] {
        let (key, readings) = (key.clone(), AtomicUsize::new(0));
        let store = behind(&beneath, move |_, read, bytes| {
            if read != key {
                return bytes;
            }
            match (readings.fetch_add(1, Ordering::SeqCst), then) {
                (0..3, _) => flipped(bytes, 8),
                (_, Some(other)) => flipped(bytes, other),
                (_, None) => bytes,
            }
        });
        let error = give_up(&store).await.unwrap_err();
        assert!(matches!(&error, GiveUpError::Unsettled(name) if *name == last), "{then:?}: {error}");
        assert!(from_bucket(&bucket).await.topic("t").is_some());
    }
    let store = behind(&beneath, move |_, read, bytes| if read == key { flipped(bytes, 8) } else { bytes });
    let error = Meta::inspect(store.clone()).await.unwrap_err();
    assert!(matches!(&error, LogError::LastEntry { sequence, .. } if *sequence == last), "{error}");
    assert_eq!(give_up(&store).await.unwrap(), [last]);
    assert!(from_bucket(&bucket).await.topic("t").is_none());
}

/// A way on which a snapshot takes 40 s, and which says of each that it has 32 MiB.
#[derive(Debug)]
struct Slow {
    beneath: Arc<dyn Backend>,
    snapshots_read: AtomicUsize,
}

impl Backend for Slow {
    fn name(&self) -> String {
        self.beneath.name()
    }

    fn is_remote(&self) -> bool {
        true
    }

    fn put<'a>(&'a self, key: &'a str, body: Payload) -> BoxFuture<'a, Result<Evidence, StoreError>> {
        self.beneath.put(key, body)
    }

    fn create<'a>(&'a self, key: &'a str, body: Payload) -> BoxFuture<'a, CreateAttempt> {
        self.beneath.create(key, body)
    }

    fn get<'a>(&'a self, key: &'a str, range: ReadRange) -> BoxFuture<'a, Result<Bytes, StoreError>> {
        Box::pin(async move {
            if key.starts_with(names::SNAPSHOTS) {
                self.snapshots_read.fetch_add(1, Ordering::SeqCst);
                tokio::time::sleep(Duration::from_secs(40)).await;
            }
            self.beneath.get(key, range).await
        })
    }

    fn head<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<ObjectMeta, StoreError>> {
        self.beneath.head(key)
    }

    fn list<'a>(
        &'a self,
        prefix: &'a str,
        start_after: Option<&'a str>,
        limit: usize,
    ) -> BoxFuture<'a, Result<ListPage, StoreError>> {
        Box::pin(async move {
            let mut page = self.beneath.list(prefix, start_after, limit).await?;
            for object in page.objects.iter_mut().filter(|object| object.key.starts_with(names::SNAPSHOTS)) {
                object.len = 32 << 20;
            }
            Ok(page)
        })
    }

    fn delete_batch<'a>(&'a self, keys: &'a [String]) -> BoxFuture<'a, Result<(), StoreError>> {
        self.beneath.delete_batch(keys)
    }
}

#[tokio::test(start_paused = true)]
async fn a_snapshot_has_the_time_that_it_takes_at_the_first_attempt() {
    let (bucket, beneath, _) = acknowledged().await;
    let (handle, _) = serve(&bucket.store, options(1)).await;
    let log = Log { store: bucket.plain.clone() };
    crate::housekeeping::round(&log, &handle.image(), &parking_lot::Mutex::default()).await.unwrap();
    let slow = Arc::new(Slow { beneath, snapshots_read: AtomicUsize::new(0) });
    let store = Store::with_backend(slow.clone(), StoreOptions::default());
    assert_eq!(Meta::inspect(store).await.unwrap(), *handle.image());
    assert_eq!(slow.snapshots_read.load(Ordering::SeqCst), 1, "it was tried in vain before");
}
