//! An end as in a crash, in a process that goes on.

use super::*;
use crate::wal::Append;

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_engine_writes_nothing_more_whoever_holds_its_log() {
    let durable = Durable::new();
    let broker = durable.start(small()).await;
    let id = durable.catalogue.create_streams(1, broker.me).unwrap()[0];
    let stream = broker.open(id);
    broker.append(&stream, 0, b"acknowledged").await.unwrap();
    // As a drain does that waits for the log to empty.
    let held = broker.engine.inner.log.wal().unwrap();
    let end = held.position();
    broker.engine.kill("on purpose");
    let (base, payload) = (Offset(1), Fragments::from_iter([Bytes::from_static(b"late")]));
    let append =
        Append { stream: id, epoch: stream.epoch(), base, end: Offset(2), max_timestamp: TimestampMs(0), payload };
    let pending = Pending { stream: stream.shared.clone(), bytes: 4, room: None, done: None };
    held.append(append, pending);
    let ended = base::task::spawn_blocking("shutdown", move || held.shutdown()).await.unwrap();
    assert_eq!(ended.unwrap(), end, "a killed log went on writing");
}
