//! Who does what in a run: producers, consumers, groups whose members come and go, and an administrator.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use base::Clock;
use base::net::Network;
use futures::future::join_all;
use judge::{GroupName, Start, What};
use parking_lot::Mutex;
use records::Compression;

use super::admin::Admin;
use super::assignments::Assignments;
use super::consumer::{Consumer, ConsumerSettings};
use super::member::{Member, MemberSettings};
use super::metadata::Topic;
use super::names::Names;
use super::offsets::Which;
use super::producer::{Producer, ProducerSettings};
use super::{Cluster, Life, Place, Recorder, Settings};

use crate::dice::Dice;
use crate::faults::{Fault, Faults};

/// How much goes on.
#[derive(Clone, Debug)]
pub struct WorkloadOptions {
    /// Topics that stay.
    pub lasting_topics: usize,
    /// Topics that are deleted and made again.
    pub passing_topics: usize,
    /// Topics whose records go after a while.
    pub retained_topics: usize,
    /// Whether somebody makes and deletes topics all the time.
    pub churn: bool,
    /// A topic has from 1 to so many partitions.
    pub partitions_max: i32,
    /// Producers that live at a time, and are idempotent.
    pub idempotent_producers: usize,
    /// Producers that live at a time, and are not.
    pub plain_producers: usize,
    /// Consumers that live at a time, and assign themselves what they read.
    pub consumers: usize,
    /// Groups.
    pub groups: usize,
    /// Members of a group that live at a time.
    pub members: usize,
    /// Between two handfuls of records of one producer.
    pub send_every: std::ops::Range<Duration>,
    /// Between two acts of the administrator.
    pub administer_every: std::ops::Range<Duration>,
    /// How long a client lives.
    pub life: std::ops::Range<Duration>,
    /// How likely a client goes in the middle of what it is about.
    pub gone: f64,
}

impl Default for WorkloadOptions {
    fn default() -> Self {
        Self {
            lasting_topics: 2,
            passing_topics: 1,
            retained_topics: 1,
            churn: false,
            partitions_max: 4,
            idempotent_producers: 3,
            plain_producers: 1,
            consumers: 2,
            groups: 2,
            members: 2,
            send_every: Duration::from_millis(40)..Duration::from_millis(160),
            administer_every: Duration::from_secs(1)..Duration::from_secs(5),
            life: Duration::from_secs(5)..Duration::from_secs(40),
            gone: 0.5,
        }
    }
}

/// What the clients of a run find around them.
#[derive(Clone, Debug)]
pub struct Surroundings {
    /// All that is random.
    pub dice: Dice,
    /// What leads to the brokers.
    pub network: Network,
    /// Where they are, `host:port` each.
    pub bootstrap: Vec<String>,
    /// What time records carry.
    pub clock: Clock,
    /// Where clients write what they do and see.
    pub recorder: Recorder,
    /// Counts clients that go.
    pub faults: Faults,
}

/// The clients of a run.
#[derive(Debug)]
pub struct Workload {
    pub(super) options: WorkloadOptions,
    pub(super) around: Surroundings,
    pub(super) own: Life,
    pub(super) lasting: Vec<Arc<str>>,
    passing: Vec<Arc<str>>,
    retained: Vec<Arc<str>>,
    /// Who has which static name.
    names: Names,
    /// What leaders of groups assigned.
    pub(super) assignments: Assignments,
    /// Topics that are certainly deleted, the last ones.
    pub(super) deleted: Mutex<VecDeque<(Arc<str>, Topic)>>,
}

/// What a client is.
#[derive(Clone, Debug)]
enum Role {
    Producer {
        idempotent: bool,
    },
    Consumer,
    Member {
        group: GroupName,
        topics: Vec<Arc<str>>,
    },
    /// A static member with the name of another, which may live.
    Namesake {
        group: GroupName,
        topics: Vec<Arc<str>>,
        name: Arc<str>,
    },
    Admin,
    Churn,
}

/// Who make and delete topics all the time, where somebody does.
const CHURNS: usize = 4;
/// How long records of some topics stay.
const RETENTION_MS: u64 = 10_000;
/// How long whoever takes another's static name waits first.
const NAMESAKE_AFTER: std::ops::Range<Duration> = Duration::from_secs(3)..Duration::from_secs(20);
/// Deleted topics that are remembered.
const DELETED_MAX: usize = 4;
/// What a client may take to finish what it is about.
const FINISHING_TIME_MAX: Duration = Duration::from_secs(10);

impl Workload {
    /// A workload that has not begun.
    pub fn new(options: WorkloadOptions, around: Surroundings) -> Self {
        let names = |kind: &str, count| (0..count).map(|number| format!("{kind}-{number}").into()).collect();
        let (lasting, passing) = (names("lasting", options.lasting_topics), names("passing", options.passing_topics));
        let retained = names("retained", options.retained_topics);
        let own = around.recorder.life("workload");
        Self {
            options,
            around,
            own,
            lasting,
            passing,
            retained,
            names: Names::default(),
            assignments: Assignments::default(),
            deleted: Mutex::default(),
        }
    }

    pub(super) fn cluster(&self, life: Life, dice: &Dice, settings: Settings) -> Arc<Cluster> {
        let Surroundings { network, bootstrap, clock, .. } = self.around.clone();
        Cluster::new(life, settings, network, bootstrap, clock, dice.branch("cluster"))
    }

    fn topics(&self) -> Vec<Arc<str>> {
        self.lasting.iter().chain(&self.passing).chain(&self.retained).cloned().collect()
    }

    /// Makes the topics, then lets clients live until that time of the run. Who is not done then has gone.
    pub async fn run(&self, until: Duration) {
        let dice = self.around.dice.branch("topics");
        let making = async {
            let admin = Admin::new(self.cluster(self.around.recorder.life("maker"), &dice, Settings::default()));
            for name in self.topics() {
                self.make(&admin, &name, &dice).await;
            }
        };
        if tokio::time::timeout(until.saturating_sub(self.own.now()), making).await.is_err() {
            return self.own.note("the topics were not made in time");
        }
        let mut roles = vec![("admin".to_owned(), Role::Admin)];
        let mut add = |kind: &str, count: usize, role: Role| {
            roles.extend((0..count).map(|number| (format!("{kind}-{number}"), role.clone())));
        };
        add("idempotent", self.options.idempotent_producers, Role::Producer { idempotent: true });
        add("plain", self.options.plain_producers, Role::Producer { idempotent: false });
        add("consumer", self.options.consumers, Role::Consumer);
        for number in 0..self.options.groups {
            let (group, topics) = self.group(number);
            let name = format!("member-{number}-0").into();
            let namesake = Role::Namesake { group: group.clone(), topics: topics.clone(), name };
            add(&format!("member-{number}"), self.options.members, Role::Member { group, topics });
            add(&format!("namesake-{number}"), 1, namesake);
        }
        if self.options.churn {
            roles.extend((0..CHURNS).map(|number| (format!("churn-{number}"), Role::Churn)));
        }
        join_all(roles.iter().map(|(name, role)| self.lives(name, role, until))).await;
    }

    /// A group and what it reads: every other one what stays, so that it may have members that know topics by their names
    /// alone.
    pub(super) fn group(&self, number: usize) -> (GroupName, Vec<Arc<str>>) {
        let topics = if number.is_multiple_of(2) { self.lasting.clone() } else { self.topics() };
        (format!("group-{number}").into(), topics)
    }

    fn partitions(&self, dice: &Dice) -> i32 {
        1 + dice.index(self.options.partitions_max.max(1) as usize) as i32
    }

    /// One life after the other.
    async fn lives(&self, name: &str, role: &Role, until: Duration) {
        let dice = self.around.dice.branch(name);
        tokio::time::sleep(dice.time(Duration::ZERO..Duration::from_secs(3))).await;
        let left = || until.saturating_sub(self.own.now());
        while left() > Duration::ZERO {
            let life = self.around.recorder.life(name);
            let dice = dice.branch(&format!("life {}", life.client().0));
            let time = dice.time(self.options.life.clone()).min(left());
            let goes = dice.chance(self.options.gone);
            let is_old = dice.chance(0.25);
            let mut settings = if is_old { Settings::old() } else { Settings::default() };
            if dice.branch("metadata age").chance(0.4) {
                // It hears of another leader while it still waits for the one before.
                (settings.metadata_age_max, settings.request_time_max) =
                    (Duration::from_secs(1), Duration::from_secs(15));
            }
            let cluster = self.cluster(life.clone(), &dice, settings);
            life.note(if is_old { "lives, and is old" } else { "lives" });
            // Who goes is not asked when: what it was about is dropped wherever it stands.
            let end = if goes { Duration::MAX } else { self.own.now() + time };
            let limit = if goes { time } else { time + FINISHING_TIME_MAX };
            let acting = self.act(role, name, &cluster, &dice, is_old, end);
            if tokio::time::timeout(limit, acting).await.is_err() {
                life.note("is gone");
                life.event(What::Gone);
                self.around.faults.did(Fault::ClientGone);
            }
            tokio::time::sleep(dice.time(Duration::ZERO..Duration::from_secs(2))).await;
        }
    }

    async fn act(&self, role: &Role, name: &str, cluster: &Arc<Cluster>, dice: &Dice, is_old: bool, end: Duration) {
        // Names alone do not tell topics apart that have the same one.
        let topics = if is_old { self.lasting.clone() } else { self.topics() };
        match role {
            Role::Producer { idempotent } => self.produce(*idempotent, cluster, dice, &topics, end).await,
            Role::Consumer => self.consume(cluster, dice, &topics, end).await,
            Role::Member { group, topics } => {
                let mut settings = self.member(group, topics, dice);
                if is_old && topics.len() > self.lasting.len() {
                    // It would take a topic that was made again for the one that was.
                    return tokio::time::sleep(Duration::from_secs(1)).await;
                }
                if dice.chance(0.3) {
                    settings.instance = Some(name.into());
                }
                self.take_part(cluster, settings, dice, end).await;
            }
            Role::Namesake { topics, .. } if is_old && topics.len() > self.lasting.len() => {
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
            Role::Namesake { group, topics, name } => {
                tokio::time::sleep(dice.time(NAMESAKE_AFTER)).await;
                let instance = Some((&**name).into());
                let settings = MemberSettings { instance, ..self.member(group, topics, dice) };
                self.take_part(cluster, settings, dice, end).await;
            }
            Role::Admin => self.administer(cluster, dice, end).await,
            // Who knows topics by their names alone cannot say which one is to go.
            Role::Churn if is_old => tokio::time::sleep(Duration::from_secs(1)).await,
            Role::Churn => self.churn(cluster, name, end).await,
        }
    }

    fn member(&self, group: &GroupName, topics: &[Arc<str>], dice: &Dice) -> MemberSettings {
        let (names, assignments) = (self.names.clone(), self.assignments.clone());
        MemberSettings { reading: reading(dice), names, assignments, ..MemberSettings::new(group, topics.to_vec()) }
    }

    async fn take_part(&self, cluster: &Arc<Cluster>, settings: MemberSettings, dice: &Dice, end: Duration) {
        let mut member = Member::new(cluster.clone(), settings);
        let _ = tokio::time::timeout(end.saturating_sub(cluster.life.now()), member.live()).await;
        if dice.chance(0.7) {
            member.leave().await;
        }
    }

    async fn produce(&self, idempotent: bool, cluster: &Arc<Cluster>, dice: &Dice, topics: &[Arc<str>], end: Duration) {
        let codecs = [Compression::Lz4, Compression::Zstd, Compression::Gzip, Compression::Snappy];
        let settings = ProducerSettings {
            idempotent,
            acks: if idempotent { -1 } else { *dice.pick(&[-1, -1, 1, 1, 0]) },
            in_flight_max: *dice.pick(&[1, 5, 5]),
            overtakes: dice.branch("overtakes").chance(0.7),
            compression: if dice.chance(0.25) { *dice.pick(&codecs) } else { Compression::None },
            delivery_time_max: dice.time(Duration::from_secs(5)..Duration::from_secs(25)),
            ..ProducerSettings::default()
        };
        let mut producer = Producer::new(cluster.clone(), settings);
        while cluster.life.now() < end {
            if let Some(place) = pick_place(cluster, dice, topics).await
                && producer.pending() < PENDING_MAX
            {
                for _ in 0..1 + dice.index(4) {
                    producer.hand_over(&place, size(dice));
                }
            }
            producer.drive(dice.time(self.options.send_every.clone())).await;
        }
        producer.flush().await;
    }

    async fn consume(&self, cluster: &Arc<Cluster>, dice: &Dice, topics: &[Arc<str>], end: Duration) {
        let mut consumer = Consumer::new(cluster.clone(), reading(dice));
        while cluster.life.now() < end {
            let mut starts = BTreeMap::new();
            for _ in 0..1 + dice.index(4) {
                let Some(place) = pick_place(cluster, dice, topics).await else { continue };
                let which = if dice.chance(0.7) { Which::Earliest } else { Which::Latest };
                if let Some(offset) = consumer.offset(&place, which).await {
                    // Now and then from where nothing may be.
                    let offset = if dice.chance(0.1) { offset + dice.below(100) as i64 } else { offset };
                    starts.insert(place, Start::At(offset));
                }
            }
            consumer.assign(&starts, None);
            let other = (cluster.life.now() + dice.time(Duration::from_secs(3)..Duration::from_secs(15))).min(end);
            while cluster.life.now() < other && !consumer.positions().keys().all(|place| cluster.is_gone(place)) {
                consumer.poll().await;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    async fn administer(&self, cluster: &Arc<Cluster>, dice: &Dice, end: Duration) {
        let admin = Admin::new(cluster.clone());
        let topics = self.topics();
        while cluster.life.now() < end {
            tokio::time::sleep(dice.time(self.options.administer_every.clone())).await;
            let Some(place) = pick_place(cluster, dice, &topics).await else {
                // Somebody deleted a topic and has gone before it made it again.
                self.make_missing(&admin, cluster, dice).await;
                continue;
            };
            match dice.below(10) {
                0..=1 => {
                    let (earliest, latest) =
                        (admin.offset(&place, Which::Earliest).await, admin.offset(&place, Which::Latest).await);
                    if let (Ok(earliest), Ok(latest)) = (earliest, latest)
                        && latest > earliest
                    {
                        let before = earliest + dice.below((latest - earliest + 1) as u64) as i64;
                        admin.trim(&place, before).await;
                    }
                }
                2 if self.passing.contains(&place.name)
                    && !cluster.settings.versions_max.contains_key(&wire::ApiKey::Produce) =>
                {
                    self.delete(&admin, cluster, &place.name).await;
                    tokio::time::sleep(dice.time(Duration::ZERO..Duration::from_secs(3))).await;
                    self.make_missing(&admin, cluster, dice).await;
                }
                3 if self.options.groups > 0 => {
                    let group: GroupName = format!("group-{}", dice.index(self.options.groups)).into();
                    // An administrator that knows topics by their names alone has not been told which one was meant.
                    if self.lasting.contains(&place.name) {
                        let _ = admin.committed(&group, &[place]).await;
                    }
                    let _ = admin.describe(&group).await;
                }
                4..=6 => drop(admin.offset(&place, Which::Earliest).await),
                _ => drop(admin.offset(&place, Which::Latest).await),
            }
        }
    }

    pub(super) async fn make_missing(&self, admin: &Admin, cluster: &Cluster, dice: &Dice) {
        let topics = self.topics();
        cluster.refresh_surely(&topics).await;
        for name in topics.iter().filter(|name| cluster.topic(name).is_none()) {
            self.make(admin, name, dice).await;
        }
    }

    async fn make(&self, admin: &Admin, name: &Arc<str>, dice: &Dice) {
        let partitions = self.partitions(dice);
        if !self.retained.contains(name) {
            admin.create(name, partitions, &[]).await;
            return;
        }
        let topic = admin.create(name, partitions, &[("retention.ms", &RETENTION_MS.to_string())]).await;
        for place in topic.places(name) {
            self.own.event(What::Retained { key: place.key(), milliseconds: RETENTION_MS });
        }
    }

    /// Makes and deletes a topic, again and again: what becomes of many metadata entries is seen within minutes.
    async fn churn(&self, cluster: &Arc<Cluster>, name: &str, end: Duration) {
        let admin = Admin::new(cluster.clone());
        let mut number = 0;
        while cluster.life.now() < end {
            number += 1;
            let name: Arc<str> = format!("of-{name}-{}-{number}", cluster.life.client().0).into();
            admin.create(&name, 1, &[]).await;
            self.delete(&admin, cluster, &name).await;
        }
    }

    async fn delete(&self, admin: &Admin, cluster: &Cluster, name: &Arc<str>) {
        let Some(topic) = cluster.topic(name) else { return };
        if admin.delete(name, topic.id).await {
            let mut deleted = self.deleted.lock();
            deleted.push_back((name.clone(), topic));
            if deleted.len() > DELETED_MAX {
                deleted.pop_front();
            }
        }
    }
}

/// A producer that has so many records pending takes no more.
const PENDING_MAX: usize = 200;

/// A partition of one of these topics, if there is one.
async fn pick_place(cluster: &Cluster, dice: &Dice, topics: &[Arc<str>]) -> Option<Place> {
    let name = dice.pick(topics);
    if cluster.topic(name).is_none() {
        // Who cannot be asked is asked again later.
        let _ = cluster.refresh(topics).await;
    }
    let topic = cluster.topic(name)?;
    let places: Vec<Place> = topic.places(name).collect();
    (!places.is_empty()).then(|| dice.pick(&places).clone())
}

/// Bytes of a record: small ones, and a large one now and then.
fn size(dice: &Dice) -> usize {
    if dice.chance(0.01) { 100_000 } else { 20 + dice.below(*dice.pick(&[60, 300, 2_000])) as usize }
}

pub(super) fn reading(dice: &Dice) -> ConsumerSettings {
    ConsumerSettings {
        isolation_level: i8::from(dice.chance(0.3)),
        with_sessions: dice.chance(0.7),
        wait_max: *dice.pick(&[Duration::from_millis(100), Duration::from_millis(500)]),
        partition_bytes_max: *dice.pick(&[1 << 10, 32 << 10, 256 << 10]),
        reset_to: if dice.branch("reset").chance(0.7) { Which::Earliest } else { Which::Latest },
        ..ConsumerSettings::default()
    }
}
