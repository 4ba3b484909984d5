//! The rules of the log, each with a test that fails without it; `metalog_…` are those that `models/metalog.py` shows
//! to be load-bearing.

mod burnt;
mod deletion;
mod golden;
mod office;
mod operations;
mod readings;
mod recovery;
mod socket;

use std::sync::Arc;
use std::time::Duration;

use base::clock::ManualTime;
use base::{BrokerId, Clock, Entropy, Incarnation, MetaSequence, Uuid};
use blob::backend::Backend;
use blob::faulty::{Fault, FaultPlan, FaultyBackend};
use blob::memory::MemoryBackend;
use blob::{Operation, Purpose, Store, StoreOptions};
use bytes::Bytes;
use stream::catalogue::WalPlace;

use crate::format::{EncodedRecords, EntryKind, Header, encode_entry};
use crate::log::{Appended, Log};
use crate::start::{Meta, MetaOptions, Registration, WalOptions};
use crate::*;

/// Two views of one bucket: through faults, and beneath them.
struct Bucket {
    faults: FaultyBackend,
    store: Store,
    /// The same objects without faults.
    plain: Store,
}

fn bucket() -> Bucket {
    let beneath: Arc<dyn Backend> = Arc::new(MemoryBackend::new());
    let faults = FaultyBackend::new(beneath.clone(), FaultPlan::default(), 7);
    let store = Store::with_backend(Arc::new(faults.clone()), StoreOptions::default());
    Bucket { faults, store, plain: Store::with_backend(beneath, StoreOptions::default()) }
}

fn options(broker: i32) -> MetaOptions {
    MetaOptions {
        broker_id: BrokerId(broker),
        directory_id: Uuid::from_u128(5),
        endpoints: Vec::new(),
        address: "localhost:9093".to_owned(),
        rack: None,
        wal: WalOptions { place: wal(), reach: String::new() },
        cluster_id: None,
        snapshots: SnapshotPolicy { entries: u64::MAX, bytes: u64::MAX },
        deletion_period: crate::DELETION_PERIOD,
        clock: Clock::system(),
        entropy: Entropy::system(),
    }
}

fn wal() -> WalPlace {
    WalPlace { kind: 0, location: "/wal".into() }
}

/// Starts, recovers by word, opens a WAL, serves.
async fn serve(store: &Store, options: MetaOptions) -> (MetaHandle, Registration) {
    let (handle, registration) = Meta::start(store.clone(), options).await.unwrap();
    let me = registration.incarnation;
    for lost in &registration.recover {
        use stream::catalogue::CatalogueClient;
        handle.recovered(lost.incarnation, me, lost.committed).await.unwrap();
    }
    handle.open_incarnation(me, wal()).await.unwrap();
    handle.activate(me).await.unwrap();
    (handle, registration)
}

fn topic(name: &str, partitions: usize) -> NewTopic {
    NewTopic { name: name.to_owned(), partitions, configs: vec![("retention.ms".to_owned(), "7".to_owned())] }
}

async fn create(handle: &MetaHandle, name: &str) -> CreatedTopic {
    handle.create_topics(vec![topic(name, 1)], false).await.unwrap().remove(0).unwrap()
}

/// The image that the bucket alone gives.
async fn from_bucket(bucket: &Bucket) -> Image {
    Meta::inspect(bucket.plain.clone()).await.unwrap()
}

/// An entry without records.
fn entry(sequence: u64, nonce: u128) -> Bytes {
    let header = Header {
        kind: EntryKind::Batch,
        sequence: MetaSequence(sequence),
        epoch: base::ControllerEpoch(1),
        nonce: Uuid::from_u128(nonce),
    };
    encode_entry(&header, &EncodedRecords::default())
}
