//! A node's life from start to end, and what watches it.
//!
//! The node's tasks form one group. However the life ends, the engine is stopped first, so that nothing is acknowledged
//! any more, then every task is aborted, so that nobody is served; neither waits for anything. Then both are waited for:
//! when [`run`] returns, the node's sockets, threads and locks are free, and another node may take its place in the same
//! process. Only where the process exits afterwards is storage that hangs not waited for without limit ([`Afterwards`]): a
//! broker that was replaced, or told to stop, must go even then. A `run` that is dropped half-way ends all the same, only
//! without waiting for it.

use std::panic::AssertUnwindSafe;
use std::sync::OnceLock;
use std::time::Duration;

use base::task::{Group, Panicked};
use blob::Store;
use futures::FutureExt;
use futures::future::BoxFuture;
use meta::MetaHandle;
use stream::Engine;
use tokio::sync::watch;

use crate::drain;
use crate::end::End;
use crate::log::LogThreads;
use crate::options::{Afterwards, NodeOptions};
use crate::start::{self, Facts, Serving, StartError};
use crate::status::{Phase, Status};

/// How long a process that is about to exit waits for storage that its node still uses.
pub const LEAVING_TIME_MAX: Duration = Duration::from_secs(2);

/// What a node shall do. Orders only rise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Order {
    /// Serve.
    Serve,
    /// Finish what was begun, empty the log into the store, leave. A node that does not serve yet just stops.
    Drain,
    /// Stop at once, as in a crash.
    Stop,
}

/// What has to be stopped when a life ends, however it ends.
#[derive(Default)]
pub(crate) struct Remains {
    engine: OnceLock<Engine>,
    log_threads: LogThreads,
}

impl Remains {
    /// From here on the engine ends with the node.
    pub(crate) fn engine_is(&self, engine: &Engine) {
        // One life has one engine.
        let _ = self.engine.set(engine.clone());
    }

    /// Where the threads of the log are to be told, so that they are waited for.
    pub(crate) fn log_threads(&self) -> LogThreads {
        self.log_threads.clone()
    }

    /// Nothing is acknowledged any more. Waits for nothing.
    fn stop(&self, why: &str) {
        if let Some(engine) = self.engine.get() {
            engine.kill(why);
        }
    }
}

impl Drop for Remains {
    fn drop(&mut self) {
        self.stop("the node was dropped");
    }
}

/// Is called when clients are served.
type WhenServing<'a> = Box<dyn FnOnce(&Facts) + Send + 'a>;

/// Lives a node, and returns how its life ended. `serving` is called once, when clients are served.
pub fn run<'a>(
    options: NodeOptions,
    status: &'a Status,
    orders: watch::Receiver<Order>,
    serving: impl FnOnce(&Facts) + Send + 'a,
) -> BoxFuture<'a, End> {
    boxed(options, status, orders, Box::new(serving))
}

/// The life is compiled here, once, and not again by whoever awaits it.
fn boxed<'a>(
    options: NodeOptions,
    status: &'a Status,
    orders: watch::Receiver<Order>,
    serving: WhenServing<'a>,
) -> BoxFuture<'a, End> {
    Box::pin(live_and_leave(options, status, orders, serving))
}

async fn live_and_leave(
    options: NodeOptions,
    status: &Status,
    orders: watch::Receiver<Order>,
    serving: WhenServing<'_>,
) -> End {
    let (group, remains, afterwards) = (Group::default(), Remains::default(), options.afterwards);
    let life = group.run(Box::pin(live(options, status, (&group, &remains), orders, serving)));
    // Nothing of the life is looked at after a panic but what is made to end: the engine and the tasks.
    let mut end = AssertUnwindSafe(life).catch_unwind().await.unwrap_or_else(|_| Panicked { task: "node" }.into());
    status.enter(Phase::Ended(end.to_string()));
    remains.stop(&end.to_string());
    group.abort();
    let leaving = async {
        // The making of a log is among the group's work, so that its threads are known when that has ended.
        let panicked = group.end().await;
        remains.log_threads.ended().await;
        panicked
    };
    let panicked = match afterwards {
        Afterwards::PlaceIsReused => leaving.await,
        Afterwards::ProcessExits => tokio::time::timeout(LEAVING_TIME_MAX, leaving).await.unwrap_or_else(|_| {
            let waited = LEAVING_TIME_MAX;
            tracing::warn!(?waited, "the log or the store does not answer: they are still in use as this node ends");
            None
        }),
    };
    if let Some(panicked) = panicked.filter(|_| end.may_follow_from_a_panic()) {
        tracing::error!(%end, "this followed from a panic");
        end = panicked.into();
        status.enter(Phase::Ended(end.to_string()));
    }
    end
}

async fn live(
    options: NodeOptions,
    status: &Status,
    (group, remains): (&Group, &Remains),
    mut orders: watch::Receiver<Order>,
    serving: WhenServing<'_>,
) -> End {
    let started = base::select! {
        started = Box::pin(start::start(options, status, remains)) => started,
        // A start that is given up half-way is a crash: the next one finds what it left.
        () = told(&mut orders, Order::Drain) => return End::Stopped { serving: false },
        // Planted: nobody listens.
        panicked = group.panicked(), if !base::plant::bug("deaf-to-panics") => return panicked.into(),
    };
    let node = match started {
        Ok(node) => node,
        Err(StartError::MetadataLost(lost)) => return lost.into(),
        Err(error) => return error.into(),
    };
    status.enter(Phase::Serving);
    serving(&node.facts);
    base::select! {
        end = node.vitals.unforeseen(group) => return end,
        () = told(&mut orders, Order::Drain) => {}
    }
    status.enter(Phase::Draining);
    let Serving { broker, vitals, log, me, .. } = node;
    let Vitals { engine, meta, .. } = &vitals;
    base::select! {
        drained = Box::pin(drain::drain(broker, engine, meta, &log, me)) => drained.map_or_else(End::from, |()| End::Drained),
        end = vitals.unforeseen(group) => end,
        () = told(&mut orders, Order::Stop) => End::Stopped { serving: true },
    }
}

/// What a node that serves cannot do without.
pub(crate) struct Vitals {
    pub(crate) engine: Engine,
    pub(crate) meta: MetaHandle,
    pub(crate) store: Store,
}

impl Vitals {
    /// The first thing that ends a node without an order.
    async fn unforeseen(&self, group: &Group) -> End {
        base::select! {
            why = self.engine.failed() => End::LogFailed(why),
            lost = self.meta.fenced() => lost.into(),
            why = self.store.failed() => End::StoreFailed(why),
            // Planted: nobody listens.
            panicked = group.panicked(), if !base::plant::bug("deaf-to-panics") => panicked.into(),
        }
    }
}

/// Resolves when the order, or a higher one, is given.
async fn told(orders: &mut watch::Receiver<Order>, order: Order) {
    let given = orders.wait_for(|given| *given >= order).await.is_ok();
    if !given {
        // Nobody is left who could give one.
        std::future::pending::<()>().await;
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;
    use std::sync::Arc;

    use base::{BrokerId, Clock, Entropy, Uuid};
    use blob::backend::{BoxFuture, CreateAttempt, Evidence};
    use blob::{Backend, ListPage, ObjectMeta, Payload, ReadRange, StoreError, StoreOptions};
    use meta::{Meta, MetaOptions, SnapshotPolicy, WalOptions};
    use stream::EngineOptions;

    use super::*;
    use crate::register::wal_place;

    /// A store that only another start could write again.
    #[derive(Debug)]
    struct Gone;

    impl Backend for Gone {
        fn name(&self) -> String {
            "gone".to_owned()
        }

        fn is_remote(&self) -> bool {
            false
        }

        fn failed(&self) -> BoxFuture<'static, StoreError> {
            Box::pin(async {
                StoreError::Failed { operation: "sync", key: "here".into(), reason: "on purpose".into() }
            })
        }

        fn put<'a>(&'a self, _: &'a str, _: Payload) -> BoxFuture<'a, Result<Evidence, StoreError>> {
            Box::pin(pending())
        }

        fn create<'a>(&'a self, _: &'a str, _: Payload) -> BoxFuture<'a, CreateAttempt> {
            Box::pin(pending())
        }

        fn get<'a>(&'a self, _: &'a str, _: ReadRange) -> BoxFuture<'a, Result<bytes::Bytes, StoreError>> {
            Box::pin(pending())
        }

        fn head<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<ObjectMeta, StoreError>> {
            Box::pin(pending())
        }

        fn list<'a>(&'a self, _: &'a str, _: Option<&'a str>, _: usize) -> BoxFuture<'a, Result<ListPage, StoreError>> {
            Box::pin(pending())
        }

        fn delete_batch<'a>(&'a self, _: &'a [String]) -> BoxFuture<'a, Result<(), StoreError>> {
            Box::pin(pending())
        }
    }

    #[tokio::test]
    async fn a_store_that_only_another_start_can_write_ends_the_node_with_the_reason() {
        let options = MetaOptions {
            broker_id: BrokerId(1),
            directory_id: Uuid::nil(),
            endpoints: Vec::new(),
            address: String::new(),
            rack: None,
            wal: WalOptions { place: wal_place("memory"), reach: String::new() },
            cluster_id: None,
            snapshots: SnapshotPolicy::default(),
            deletion_period: meta::DELETION_PERIOD,
            clock: Clock::system(),
            entropy: Entropy::system(),
        };
        let (meta, registration) = Meta::start(Store::memory(), options).await.unwrap();
        let (client, me) = (Arc::new(meta.clone()), registration.incarnation);
        let engine = Engine::new(EngineOptions::default(), Store::memory(), client, me, Clock::system());
        let store = Store::with_backend(Arc::new(Gone), StoreOptions::default());
        let end = Vitals { engine, meta, store }.unforeseen(&Group::default()).await;
        assert!(matches!(&end, End::StoreFailed(_)) && end.to_string().contains("on purpose"), "{end:?}");
    }
}
