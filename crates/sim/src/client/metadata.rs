//! What a client knows of the cluster, and its connections: bootstrap, refresh, back-off.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use base::net::Network;
use base::{Clock, Uuid};
use parking_lot::Mutex;
use wire::messages::metadata_request::MetadataRequestTopic;
use wire::messages::metadata_response::MetadataResponseTopic;
use wire::messages::{MetadataRequest, MetadataResponse};
use wire::{ApiKey, ErrorCode};

use super::{CallError, Connection, Life, Place};
use crate::client::connection::Called;
use crate::dice::Dice;

/// Waits between attempts grow from here.
const BACK_OFF_MIN: Duration = Duration::from_millis(100);
/// And no further.
const BACK_OFF_MAX: Duration = Duration::from_secs(1);

/// A topic that was just made may not be known to the broker that is asked.
const MISSING_TIME_MIN: Duration = Duration::from_secs(2);

/// How a client speaks.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How long a connection may take to come about.
    pub connect_time_max: Duration,
    /// How long an answer may take.
    pub request_time_max: Duration,
    /// Requests under way on one connection.
    pub requests_in_flight_max: usize,
    /// Metadata older than this is asked for again.
    pub metadata_age_max: Duration,
    /// The highest version of an API that this client has heard of, where that is not the newest.
    pub versions_max: BTreeMap<ApiKey, i16>,
    /// Who could not be reached is not tried again at once if there is another.
    pub goes_round: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            connect_time_max: Duration::from_secs(3),
            request_time_max: Duration::from_secs(5),
            requests_in_flight_max: 5,
            metadata_age_max: Duration::from_secs(20),
            versions_max: BTreeMap::new(),
            goes_round: false,
        }
    }
}

impl Settings {
    /// As Kafka's clients do, which back off from an address, so that one that is dead takes no time from who has little.
    #[must_use]
    pub fn going_round(self) -> Self {
        Self { goes_round: true, ..self }
    }

    /// A client of Kafka 2.x: it names topics by their names alone.
    pub fn old() -> Self {
        let versions_max = [
            (ApiKey::Produce, 8),
            (ApiKey::Fetch, 11),
            (ApiKey::ListOffsets, 5),
            (ApiKey::OffsetCommit, 8),
            (ApiKey::OffsetFetch, 7),
            (ApiKey::FindCoordinator, 3),
            (ApiKey::OffsetForLeaderEpoch, 3),
            (ApiKey::JoinGroup, 7),
        ];
        Self { versions_max: versions_max.into(), ..Self::default() }
    }
}

/// A cluster as one client sees it.
#[derive(Debug)]
pub struct Cluster {
    /// Whose view it is.
    pub life: Life,
    /// How it speaks.
    pub settings: Settings,
    /// What time its records carry.
    pub clock: Clock,
    /// Its choices.
    pub dice: Dice,
    network: Network,
    bootstrap: Vec<String>,
    view: Mutex<View>,
}

#[derive(Debug, Default)]
struct View {
    brokers: BTreeMap<i32, String>,
    topics: BTreeMap<Arc<str>, Topic>,
    connections: BTreeMap<String, Arc<Connection>>,
    /// One at a time connects to an address.
    connecting: BTreeMap<String, Arc<tokio::sync::Mutex<()>>>,
    refreshed_at: Option<Duration>,
    /// Names that no topic has, and since when.
    missing: BTreeMap<Arc<str>, Duration>,
    /// Topics whose names others have taken: a broker that lags behind may still tell of them.
    superseded: BTreeSet<Uuid>,
    /// Who could not be reached at the last attempt.
    unreached: Option<String>,
}

/// A topic as metadata shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topic {
    /// Its id.
    pub id: Uuid,
    /// The leader of each partition: broker and epoch.
    pub leaders: BTreeMap<i32, (i32, i32)>,
}

impl Topic {
    /// The places of a topic of this name.
    pub fn places<'a>(&'a self, name: &'a Arc<str>) -> impl Iterator<Item = Place> + 'a {
        self.leaders.keys().map(|partition| Place { topic: self.id, partition: *partition, name: name.clone() })
    }
}

impl Cluster {
    /// Knows nothing but the bootstrap addresses, `host:port` each; there is at least one.
    pub fn new(
        life: Life,
        settings: Settings,
        network: Network,
        bootstrap: Vec<String>,
        clock: Clock,
        dice: Dice,
    ) -> Arc<Self> {
        assert!(!bootstrap.is_empty(), "a client begins somewhere");
        Arc::new(Self { life, settings, clock, dice, network, bootstrap, view: Mutex::default() })
    }

    /// Waits as long as real clients do after that many failed attempts in a row.
    pub async fn back_off(&self, attempts: u32) {
        tokio::time::sleep(self.back_off_time(attempts)).await;
    }

    /// See [`Self::back_off`].
    pub fn back_off_time(&self, attempts: u32) -> Duration {
        let base = (BACK_OFF_MIN * 2_u32.pow(attempts.saturating_sub(1).min(5))).min(BACK_OFF_MAX);
        self.dice.time(base * 8 / 10..base * 12 / 10)
    }

    /// The shared connection to a broker.
    ///
    /// # Errors
    /// When there is none.
    pub async fn connection(&self, broker: i32) -> Called<Arc<Connection>> {
        let address = self.view.lock().brokers.get(&broker).cloned();
        let address = address.ok_or_else(|| CallError::NotSent(format!("broker {broker} is not known").into()))?;
        self.shared(&address).await
    }

    async fn shared(&self, address: &str) -> Called<Arc<Connection>> {
        let turn = self.view.lock().connecting.entry(address.to_owned()).or_default().clone();
        let _turn = turn.lock().await;
        if let Some(connection) = self.view.lock().connections.get(address)
            && !connection.is_closed()
        {
            return Ok(connection.clone());
        }
        let connection = Arc::new(self.separate(address).await?);
        self.view.lock().connections.insert(address.to_owned(), connection.clone());
        Ok(connection)
    }

    /// A connection of the caller's own.
    ///
    /// # Errors
    /// When there is none.
    pub async fn separate(&self, address: &str) -> Called<Connection> {
        let connection = Connection::open(&self.network, address, &self.life, &self.settings).await;
        match &connection {
            Ok(_) => self.life.note(format_args!("connected to {address}")),
            Err(error) => self.life.note(format_args!("not connected: {error}")),
        }
        self.view.lock().unreached = connection.is_err().then(|| address.to_owned());
        connection
    }

    /// A connection to any broker: a known one, or where the client began; one that does not owe answers, if there is one
    /// (as `NetworkClient.leastLoadedNode` of Kafka's Java client chooses).
    ///
    /// # Errors
    /// When there is none.
    pub async fn any(&self) -> Called<Arc<Connection>> {
        let mut known: Vec<String> = self.view.lock().brokers.values().cloned().collect();
        // Now and then from the beginning: all that is known may be gone.
        if known.is_empty() || self.dice.chance(0.2) || known.iter().all(|address| self.is_silent(address)) {
            known.clone_from(&self.bootstrap);
        }
        if !known.iter().all(|address| self.is_silent(address)) {
            known.retain(|address| !self.is_silent(address));
        }
        let mut at = self.dice.index(known.len());
        if self.settings.goes_round && self.view.lock().unreached.as_ref() == Some(&known[at]) {
            at = (at + 1) % known.len();
        }
        self.shared(&known[at]).await
    }

    fn is_silent(&self, address: &str) -> bool {
        let connection = self.view.lock().connections.get(address).cloned();
        connection.is_some_and(|connection| !connection.is_closed() && connection.is_silent())
    }

    /// What is known of a topic.
    pub fn topic(&self, name: &str) -> Option<Topic> {
        self.view.lock().topics.get(name).cloned()
    }

    /// Who leads a partition, and in which epoch.
    pub fn leader(&self, place: &Place) -> Option<(i32, i32)> {
        let view = self.view.lock();
        let topic = view.topics.get(&place.name).filter(|topic| topic.id == place.topic)?;
        topic.leaders.get(&place.partition).copied().filter(|(broker, _)| *broker >= 0)
    }

    /// Whether another topic, or for a while none, has the name of this one.
    pub fn is_gone(&self, place: &Place) -> bool {
        let view = self.view.lock();
        match view.topics.get(&place.name) {
            Some(topic) => topic.id != place.topic,
            None => view.missing.get(&place.name).is_some_and(|since| self.life.now() > *since + MISSING_TIME_MIN),
        }
    }

    /// Knows this topic, as who learned of it once and has not asked since.
    pub fn remember(&self, name: &Arc<str>, topic: Topic) {
        let mut view = self.view.lock();
        view.refreshed_at = Some(self.life.now());
        view.topics.insert(name.clone(), topic);
    }

    /// Whether metadata is to be asked for though nothing is wrong.
    pub fn is_stale(&self) -> bool {
        let refreshed_at = self.view.lock().refreshed_at;
        refreshed_at.is_none_or(|at| self.life.now().saturating_sub(at) > self.settings.metadata_age_max)
    }

    /// Asks for metadata of these topics.
    ///
    /// # Errors
    /// Without an answer.
    pub async fn refresh(&self, names: &[Arc<str>]) -> Called<()> {
        let connection = self.any().await?;
        let answer = ask(&connection, Some(names)).await?;
        self.learn(&answer, names);
        Ok(())
    }

    /// Asks for metadata of all topics, until somebody answers.
    pub async fn all_topics(&self) -> BTreeMap<Arc<str>, Topic> {
        let mut attempts = 0;
        loop {
            let answer = async { ask(&*self.any().await?, None).await }.await;
            if let Ok(answer) = answer {
                self.learn(&answer, &[]);
                return answer.topics.iter().filter(|topic| !topic.is_internal).filter_map(read).collect();
            }
            attempts += 1;
            self.back_off(attempts).await;
        }
    }

    /// Asks for metadata of these topics until somebody answers.
    pub async fn refresh_surely(&self, names: &[Arc<str>]) {
        let mut attempts = 0;
        while self.refresh(names).await.is_err() {
            attempts += 1;
            self.back_off(attempts).await;
        }
    }

    fn learn(&self, answer: &MetadataResponse, names: &[Arc<str>]) {
        let mut view = self.view.lock();
        view.refreshed_at = Some(self.life.now());
        if !answer.brokers.is_empty() {
            let address = |host: &str, port| {
                if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
            };
            view.brokers =
                answer.brokers.iter().map(|broker| (broker.node_id, address(&broker.host, broker.port))).collect();
        }
        let now = self.life.now();
        for name in names {
            let is = |topic: &&MetadataResponseTopic| topic.name.as_ref().is_some_and(|found| **found == **name);
            let error = answer.topics.iter().find(is).map(|topic| ErrorCode::from_code(topic.error_code));
            if error.is_none_or(|error| error == ErrorCode::UnknownTopicOrPartition) {
                view.topics.remove(name);
                view.missing.entry(name.clone()).or_insert(now);
            }
        }
        for (name, mut topic) in answer.topics.iter().filter_map(read) {
            if view.superseded.contains(&topic.id) {
                continue;
            }
            self.life.named(topic.id, &name);
            view.missing.remove(&name);
            if let Some(known) = view.topics.get(&name).map(|known| known.id)
                && known != topic.id
            {
                view.superseded.insert(known);
            }
            // A broker that lags behind does not take back what another one said.
            if let Some(known) = view.topics.get(&name)
                && known.id == topic.id
            {
                for (partition, leader) in &mut topic.leaders {
                    if let Some(known) = known.leaders.get(partition)
                        && known.1 > leader.1
                    {
                        *leader = *known;
                    }
                }
            }
            view.topics.insert(name, topic);
        }
    }
}

/// Asks one broker which topic has this name now.
///
/// # Errors
/// Without an answer.
pub async fn topic_id(connection: &Connection, name: &Arc<str>) -> Called<Option<Uuid>> {
    let answer = ask(connection, Some(std::slice::from_ref(name))).await?;
    Ok(answer.topics.iter().find_map(read).map(|(_, topic)| topic.id))
}

async fn ask(connection: &Connection, names: Option<&[Arc<str>]>) -> Called<MetadataResponse> {
    let topic = |name: &Arc<str>| MetadataRequestTopic { name: Some((&**name).into()), ..Default::default() };
    let topics = names.map(|names| names.iter().map(topic).collect());
    let request = MetadataRequest { topics, allow_auto_topic_creation: false, ..MetadataRequest::default() };
    connection.call(&request).await
}

fn read(topic: &MetadataResponseTopic) -> Option<(Arc<str>, Topic)> {
    let name = topic.name.as_ref().filter(|_| topic.error_code == 0)?;
    let leaders = topic.partitions.iter().map(|found| (found.partition_index, (found.leader_id, found.leader_epoch)));
    Some((name.as_str().into(), Topic { id: topic.topic_id, leaders: leaders.collect() }))
}
