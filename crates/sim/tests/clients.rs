//! The simulator's clients against a real node in this process, on a network in memory.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use base::net::Network;
use base::net::memory::MemoryNetwork;
use base::{Clock, Entropy};
use broker::config::BrokerConfig;
use judge::{History, Outcome, Start, Value, What};
use node::{Afterwards, LogPlace, NodeOptions, Order, Segments, Status};
use sim::client::admin::Admin;
use sim::client::consumer::{Consumer, ConsumerSettings};
use sim::client::member::{Member, MemberSettings};
use sim::client::metadata::Topic;
use sim::client::offsets::Which;
use sim::client::producer::{Producer, ProducerSettings};
use sim::client::{Cluster, Place, Recorder, Settings, Surroundings, Workload, WorkloadOptions, final_reader};
use sim::dice::Dice;
use sim::faults::Faults;
use sim::trace::Trace;
use tokio::sync::{oneshot, watch};

const ADDRESS: &str = "127.0.0.1:9092";

/// A node that serves, and what its clients share.
struct World {
    around: Surroundings,
    trace: Trace,
    _orders: watch::Sender<Order>,
}

impl World {
    async fn start() -> Self {
        let network = Network::from_source(Arc::new(MemoryNetwork::default()));
        let settings = [("listeners", "PLAINTEXT://127.0.0.1:9092"), ("group.initial.rebalance.delay.ms", "0")];
        let options = NodeOptions {
            broker: BrokerConfig::parse(settings).expect("it is a configuration").config,
            store: "memory://".to_owned(),
            log: LogPlace::Memory,
            home: None,
            console: None,
            segments: Segments::default(),
            snapshots: meta::SnapshotPolicy::default(),
            deletion_period: meta::DELETION_PERIOD,
            stores: blob::Stores::system(),
            network: network.clone(),
            files: base::file::Files::system(),
            clock: Clock::system(),
            entropy: Entropy::system(),
            afterwards: Afterwards::ProcessExits,
        };
        let (orders, given) = watch::channel(Order::Serve);
        let (serving, serves) = oneshot::channel();
        base::task::spawn("node", async move {
            let serving = |_: &node::Facts| serving.send(()).expect("somebody waits");
            node::run(options, &Status::default(), given, serving).await
        });
        serves.await.expect("it serves");
        let trace = Trace::new(None);
        let around = Surroundings {
            dice: Dice::new(1),
            network,
            bootstrap: vec![ADDRESS.to_owned()],
            clock: Clock::system(),
            recorder: Recorder::new(Arc::default(), trace.clone()),
            faults: Faults::default(),
        };
        Self { around, trace, _orders: orders }
    }

    fn client(&self, name: &str) -> Arc<Cluster> {
        self.speaking(name, Settings::default())
    }

    fn speaking(&self, name: &str, settings: Settings) -> Arc<Cluster> {
        let Surroundings { dice, network, bootstrap, clock, recorder, .. } = self.around.clone();
        Cluster::new(recorder.life(name), settings, network, bootstrap, clock, dice.branch(name))
    }

    fn history(&self) -> History {
        assert_eq!(self.around.recorder.complaints(), Vec::<String>::new());
        self.around.recorder.history()
    }

    async fn topic(&self, name: &str, partitions: i32) -> Vec<Place> {
        let name: Arc<str> = name.into();
        let topic = Admin::new(self.client("admin")).create(&name, partitions, &[]).await;
        topic.places(&name).collect()
    }

    /// Sends so many records to each.
    async fn send(&self, settings: ProducerSettings, places: &[Place], count: usize) {
        let mut producer = Producer::new(self.client("producer"), settings);
        for number in 0..count {
            for place in places {
                producer.hand_over(place, 30 + number);
            }
            producer.drive(Duration::from_millis(2)).await;
        }
        producer.flush().await;
    }
}

/// What was sent and acknowledged, with its offset where that was said.
fn acknowledged(history: &History) -> BTreeMap<Value, Option<i64>> {
    let done = |event: &judge::Event| match &event.what {
        What::SendEnded { value, outcome: Outcome::Done(offset) } => Some((*value, *offset)),
        _ => None,
    };
    history.0.iter().filter_map(done).collect()
}

/// What was read, by partition, offset and value; nothing of it was garbage.
fn polled(history: &History) -> BTreeSet<(judge::Key, i64, Value)> {
    let mut found = BTreeSet::new();
    for event in &history.0 {
        if let What::Polled { key, records, garbage, .. } = &event.what {
            assert!(garbage.is_empty(), "{garbage:?}");
            found.extend(records.iter().map(|(offset, value)| (key.clone(), *offset, *value)));
        }
    }
    found
}

fn count(history: &History, is: impl Fn(&What) -> bool) -> usize {
    history.0.iter().filter(|event| is(&event.what)).count()
}

async fn within<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(40), work).await.expect("it takes no such time")
}

#[tokio::test]
async fn what_producers_of_every_kind_send_is_read_back_at_its_offset() {
    let world = World::start().await;
    let places = world.topic("t", 2).await;
    let idempotent = ProducerSettings::default();
    let plain = ProducerSettings { idempotent: false, acks: 1, ..ProducerSettings::default() };
    let packed = ProducerSettings { compression: records::Compression::Zstd, ..ProducerSettings::default() };
    for settings in [idempotent, plain, packed] {
        within(world.send(settings, &places, 20)).await;
    }
    let unheard = ProducerSettings { idempotent: false, acks: 0, ..ProducerSettings::default() };
    within(world.send(unheard, &places, 1)).await;
    let acknowledged = acknowledged(&world.history());
    assert_eq!(acknowledged.len(), 3 * 20 * 2);
    for (place, settings) in places.iter().zip([
        ConsumerSettings::default(),
        ConsumerSettings { with_sessions: false, isolation_level: 1, partition_bytes_max: 300, ..Default::default() },
    ]) {
        let cluster = world.client("reader");
        assert!(final_reader::read_whole(&cluster, place, settings, Duration::from_secs(20)).await.unwrap());
    }
    let history = world.history();
    let read = polled(&history);
    for (value, offset) in acknowledged {
        let offset = offset.expect("the answer says it");
        assert!(read.iter().any(|(_, at, found)| (*at, *found) == (offset, value)), "{value:?} at {offset}");
    }
    let whole = |what: &What| matches!(what, What::ReadWhole { from: 0, end: 62, .. });
    assert_eq!(count(&history, whole), 2, "each has 60, one that nobody heard of, and the reader's own");
}

#[tokio::test]
async fn a_client_that_knows_topics_by_their_names_alone_sends_and_reads() {
    let world = World::start().await;
    let places = world.topic("t", 1).await;
    let cluster = world.speaking("old", Settings::old());
    assert!(
        final_reader::read_whole(&cluster, &places[0], ConsumerSettings::default(), Duration::from_secs(20))
            .await
            .unwrap()
    );
    assert_eq!(polled(&world.history()).len(), 1);
}

#[tokio::test]
async fn a_group_shares_partitions_and_goes_on_where_it_had_committed() {
    let world = World::start().await;
    let places = world.topic("t", 2).await;
    within(world.send(ProducerSettings::default(), &places, 10)).await;
    let settings =
        MemberSettings { commit_every: Duration::from_millis(100), ..MemberSettings::new("g", vec!["t".into()]) };
    let mut first = Member::new(world.client("first"), settings.clone());
    let mut second = Member::new(world.client("second"), settings.clone());
    let alone = tokio::time::timeout(Duration::from_secs(3), first.live()).await;
    assert!(alone.is_err(), "it lives on");
    let both = async { tokio::join!(first.live(), second.live()) };
    assert!(tokio::time::timeout(Duration::from_secs(4), both).await.is_err(), "they live on");
    assert!(first.generations() >= 2 && second.generations() >= 1, "{:?}", world.trace.last(40));
    within(async { tokio::join!(first.leave(), second.leave()) }).await;
    let history = world.history();
    let shares = history.0.iter().filter_map(|event| match &event.what {
        What::Assigned { keys, group: Some(_), .. } => Some(keys.clone()),
        _ => None,
    });
    let shares: Vec<_> = shares.collect();
    assert!(shares[0].len() == 2 && shares[0].iter().all(|(_, start)| *start == Start::At(0)), "{shares:?}");
    let later = &shares[1..];
    assert!(later.iter().flatten().all(|(_, start)| *start == Start::Committed(10)), "{shares:?}");
    assert!(later.iter().any(|share| share.len() == 1), "{shares:?}");
    assert_eq!(polled(&history).len(), 20);
    assert!(count(&history, |what| matches!(what, What::CommitEnded { outcome: Outcome::Done(()), .. })) >= 2);
    assert!(count(&history, |what| matches!(what, What::CommittedEnded { offset: Some(10), .. })) >= 2);
}

#[tokio::test]
async fn a_topic_that_was_made_again_is_another() {
    let world = World::start().await;
    let before = world.topic("t", 1).await;
    within(world.send(ProducerSettings::default(), &before, 3)).await;
    let cluster = world.client("deleter");
    within(Admin::new(cluster).delete(&before[0].name, before[0].topic)).await;
    let after = world.topic("t", 1).await;
    assert_ne!(before[0].key(), after[0].key());
    // Who has not heard of it: a send to what was ends, and not as done.
    let sender = ProducerSettings { delivery_time_max: Duration::from_secs(4), ..ProducerSettings::default() };
    within(world.send(sender, &before, 1)).await;
    within(world.send(ProducerSettings::default(), &after, 2)).await;
    let history = world.history();
    assert_eq!(acknowledged(&history).len(), 5);
    assert_eq!(count(&history, |what| matches!(what, What::DeleteEnded { outcome: Outcome::Done(()), .. })), 1);
    let reader = world.client("reader");
    assert!(
        final_reader::read_whole(&reader, &after[0], ConsumerSettings::default(), Duration::from_secs(20))
            .await
            .unwrap()
    );
    assert_eq!(polled(&world.history()).len(), 3);
}

#[tokio::test]
async fn a_consumer_whose_position_was_trimmed_goes_on_at_the_log_start() {
    let world = World::start().await;
    let places = world.topic("t", 1).await;
    within(world.send(ProducerSettings::default(), &places, 10)).await;
    let cluster = world.client("trimmer");
    within(cluster.refresh_surely(&["t".into()])).await;
    within(Admin::new(cluster).trim(&places[0], 6)).await;
    let mut consumer = Consumer::new(world.client("consumer"), ConsumerSettings::default());
    consumer.assign(&BTreeMap::from([(places[0].clone(), Start::At(2))]), None);
    within(async {
        while consumer.positions()[&places[0]].offset < 10 {
            consumer.poll().await;
        }
    })
    .await;
    assert_eq!(within(consumer.offset(&places[0], Which::Earliest)).await, Some(6));
    let history = world.history();
    assert_eq!(count(&history, |what| matches!(what, What::TrimEnded { outcome: Outcome::Done(6), .. })), 1);
    assert_eq!(count(&history, |what| matches!(what, What::Reset { to: 6, .. })), 1);
    assert_eq!(polled(&history).iter().map(|(_, offset, _)| *offset).collect::<Vec<_>>(), [6, 7, 8, 9]);
}

#[tokio::test]
async fn a_workload_lives_and_all_that_it_was_promised_is_there_at_the_end() {
    let world = World::start().await;
    let options = WorkloadOptions { life: Duration::from_secs(1)..Duration::from_secs(5), ..Default::default() };
    let workload = Workload::new(options, world.around.clone());
    tokio::time::timeout(Duration::from_secs(60), workload.run(Duration::from_secs(12))).await.expect("it ends");
    let healed = workload.heal_and_read(world.trace.now() + Duration::from_secs(30)).await;
    assert!(healed.is_ok(), "{healed:?}\n{}", world.trace.last(200).join("\n"));
    let history = world.history();
    let acknowledged = acknowledged(&history);
    assert!(acknowledged.len() > 100, "{} records", acknowledged.len());
    assert!(count(&history, |what| matches!(what, What::Gone)) > 0 && !world.around.faults.counts().is_empty());
    let values: BTreeSet<Value> = polled(&history).into_iter().map(|(.., value)| value).collect();
    assert!(values.len() * 2 > acknowledged.len(), "{} of {} were read", values.len(), acknowledged.len());
    let failed = |what: &What| matches!(what, What::SendEnded { outcome: Outcome::Failed(_), .. });
    println!("{} events, {} acknowledged, {} failed", history.0.len(), acknowledged.len(), count(&history, failed));
}

#[test]
fn a_topic_names_its_places() {
    let topic = Topic { id: base::Uuid::from_u128(7), leaders: BTreeMap::from([(0, (1, 0)), (1, (1, 0))]) };
    let names: Vec<String> = topic.places(&"t".into()).map(|place| place.to_string()).collect();
    assert_eq!(names, ["t-0", "t-1"]);
}
