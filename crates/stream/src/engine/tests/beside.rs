//! A takeover by a broker that serves.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn a_recovery_beside_a_serving_broker_leaves_the_log_cache_to_producers() {
    let durable = Durable::new();
    let broker = durable.start(small()).await;
    let id = durable.catalogue.create_streams(1, broker.me).unwrap()[0];
    let stream = broker.open(id);
    for i in 0..50 {
        broker.append(&stream, i, &payload(i, 300)).await.unwrap();
    }
    let first = broker.me;
    drop(stream);
    broker.kill();
    let log = durable.log();
    let (me, _) = durable.catalogue.register(BROKER).unwrap();
    let client: Arc<dyn CatalogueClient> = Arc::new(durable.catalogue.clone());
    let taker = Engine::new(small(), durable.store.clone(), client, me, durable.clock.clone());
    // Its producers have filled it.
    let (_, limit) = taker.log_cache();
    let full = taker.reserve(limit).await;
    let own = memory();
    let recovering = taker.recover(&log, first, WalPosition(0), &own);
    let recovered = tokio::time::timeout(Duration::from_secs(60), recovering).await;
    let recovered = recovered.expect("the recovery waits for room that producers need").unwrap();
    assert_eq!((recovered.records, taker.log_cache().0, own.used()), (50, limit, 0));
    drop(full);
}
