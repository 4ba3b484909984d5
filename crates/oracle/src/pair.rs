//! Apache Kafka and Headwater, side by side with the same configuration.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use testkit::{Clients, Headwater, HeadwaterOptions, KafkaBroker, KafkaVersion};

use crate::catalogue::Catalogue;
use crate::codec::encode;
use crate::connection::{Answer, Connection};
use crate::generate::APIS;
use crate::run::Exchange;
use crate::story::{Framing, Spoken, Story};

/// What both are configured with. Times are short, so that stories about them are.
pub const CONFIGURATION: [(&str, &str); 11] = [
    ("auto.create.topics.enable", "false"),
    ("group.initial.rebalance.delay.ms", "0"),
    ("group.min.session.timeout.ms", "100"),
    ("group.max.session.timeout.ms", "600000"),
    ("offsets.topic.num.partitions", "4"),
    ("num.partitions", "2"),
    // Where a log starts is lost when Kafka is killed before. It begins to write that half a minute after its own start.
    ("log.initial.task.delay.ms", "500"),
    ("log.flush.start.offset.checkpoint.interval.ms", "500"),
    // Records are of 2020, and looked at for minutes.
    ("log.retention.ms", "-1"),
    // Else who comes late gets no session, as there are too many of others.
    ("max.incremental.fetch.session.cache.slots", "100000"),
    ("connections.max.idle.ms", "600000"),
];

/// How long a broker may take to drain.
const STOP_TIMEOUT: Duration = Duration::from_secs(60);
/// Some times the interval of [`CONFIGURATION`], as a machine may be busy.
const STARTS_ARE_WRITTEN_WITHIN: Duration = Duration::from_secs(3);

/// How brokers end before they start again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ends {
    /// In order.
    Drained,
    /// At once.
    Killed,
}

/// Versions of APIs.
pub type Versions = BTreeMap<i16, (i16, i16)>;

/// Both brokers, running.
#[derive(Debug)]
pub struct Pair<'c> {
    /// Which Kafka.
    pub judge: KafkaVersion,
    /// The messages.
    pub catalogue: &'c Catalogue,
    kafka: KafkaBroker,
    headwater: Headwater,
    /// What Headwater advertises.
    advertised: Versions,
    /// What both speak.
    spoken: Versions,
    /// Of 3.9: where 4.4 begins to speak. Older versions are this pair's own, and preferred.
    newer: Versions,
    runs: AtomicU32,
}

/// Where stories are told: both brokers as they run now. Several are told at a time.
#[derive(Clone, Copy, Debug)]
pub struct Ground<'p> {
    /// The messages.
    pub catalogue: &'p Catalogue,
    /// The ports: Kafka's, then Headwater's.
    pub ports: [u16; 2],
    newer: &'p Versions,
    runs: &'p AtomicU32,
}

impl Ground<'_> {
    /// Whether this pair judges an answer: of versions that a newer judge speaks, too, it does not, unless the story is
    /// about what only an older one can bring about.
    pub fn judges(&self, story: &Story, of: &Exchange) -> bool {
        let is_own = self.newer.get(&of.api).is_none_or(|(from, _)| (0..*from).contains(&of.version));
        is_own || story.is_of_old && !of.prepares
    }

    /// The prefix of a run's names, which no other run has.
    pub fn prefix(&self) -> String {
        format!("o{:07}-", self.runs.fetch_add(1, Ordering::Relaxed))
    }
}

impl<'c> Pair<'c> {
    /// Starts both, with `more` configuration than [`CONFIGURATION`].
    ///
    /// # Errors
    /// When one does not start.
    pub fn start(
        catalogue: &'c Catalogue,
        clients: &Clients,
        judge: KafkaVersion,
        binary: &Path,
        directory: &Path,
        more: &[(&str, &str)],
    ) -> Result<Self> {
        std::fs::create_dir_all(directory)?;
        let configuration = [&CONFIGURATION, more].concat();
        let kafka = KafkaBroker::start(clients, judge, &directory.join("kafka"), &configuration)?;
        let own = directory.join("headwater");
        std::fs::create_dir_all(&own)?;
        let mut options = HeadwaterOptions::local(binary, &own);
        options.arguments.extend(["--override".to_owned(), "broker.id=1".to_owned()]);
        for (key, value) in configuration {
            options = options.with(key, value);
        }
        let headwater = Headwater::start(options, &directory.join("headwater.log"))?;
        let mut pair = Self {
            judge,
            catalogue,
            kafka,
            headwater,
            advertised: Versions::new(),
            spoken: Versions::new(),
            newer: Versions::new(),
            runs: AtomicU32::new(1),
        };
        let [kafka, headwater] = pair.ports()?.map(|port| versions_of(catalogue, port));
        let (kafka, headwater) = (kafka?, headwater?);
        for api in APIS {
            let key = catalogue.named(api)?.key;
            ensure!(headwater.contains_key(&key), "Headwater does not advertise {api}");
        }
        pair.advertised.clone_from(&headwater);
        for (key, (low, high)) in headwater {
            if let Some((from, to)) = kafka.get(&key) {
                // Kafka 4 names Produce from version 0 on for librdkafka's sake (KAFKA-18659), and takes it from 3 on.
                let from = if judge == KafkaVersion::V4_4 && key == 0 { 3 } else { *from };
                let both = (low.max(from), high.min(*to));
                if both.0 <= both.1 {
                    pair.spoken.insert(key, both);
                }
            }
        }
        Ok(pair)
    }

    /// Where a newer judge begins to speak: versions below are this pair's to judge.
    pub fn leaves_to(&mut self, newer: &Versions) {
        self.newer = newer.clone();
    }

    /// What Headwater advertises.
    pub fn advertised(&self) -> &Versions {
        &self.advertised
    }

    /// What both speak.
    pub fn spoken(&self) -> &Versions {
        &self.spoken
    }

    /// Versions of an API that no newer judge speaks; all of them where there is no newer judge.
    pub fn own(&self, key: i16) -> Option<(i16, i16)> {
        let (low, high) = self.spoken.get(&key).copied()?;
        let high = self.newer.get(&key).map_or(high, |(from, _)| high.min(from - 1));
        (low <= high).then_some((low, high))
    }

    /// The ports: Kafka's, then Headwater's.
    ///
    /// # Errors
    /// When an address is none.
    pub fn ports(&self) -> Result<[u16; 2]> {
        let port = |address: String| -> Result<u16> {
            Ok(address.rsplit(':').next().context("an address without a port")?.parse()?)
        };
        Ok([port(self.kafka.bootstrap())?, port(self.headwater.bootstrap())?])
    }

    /// Starts both again, after they have drained or after they were killed.
    ///
    /// # Errors
    /// When one does not end or start.
    pub fn restart(&mut self, ends: Ends) -> Result<()> {
        match ends {
            Ends::Drained => {
                self.kafka.restart()?;
                self.headwater.stop(STOP_TIMEOUT)?;
                self.headwater.up()
            }
            Ends::Killed => {
                // A killed Kafka's logs begin where they last said so in a file, now and then.
                std::thread::sleep(STARTS_ARE_WRITTEN_WITHIN);
                self.kafka.kill_and_restart()?;
                self.headwater.kill_and_restart()
            }
        }
    }

    /// Both as they run now.
    ///
    /// # Errors
    /// When an address is none.
    pub fn ground(&self) -> Result<Ground<'_>> {
        Ok(Ground { catalogue: self.catalogue, ports: self.ports()?, newer: &self.newer, runs: &self.runs })
    }
}

/// Names of a run begin so: `o`, seven digits, `-`.
pub fn has_prefix(name: &str) -> bool {
    let bytes = name.as_bytes();
    bytes.len() > 8 && bytes[0] == b'o' && bytes[8] == b'-' && bytes[1..8].iter().all(u8::is_ascii_digit)
}

/// What a broker says that it speaks.
///
/// # Errors
/// When it does not answer.
pub fn versions_of(catalogue: &Catalogue, port: u16) -> Result<Versions> {
    let api = catalogue.api(18)?;
    let mut connection = Connection::open(port)?;
    connection.send(api, 0, &encode(&api.request, 0, &json!({}))?, Framing::default());
    let Answer::Reply(reply) = connection.receive(api, 0, Duration::from_secs(10))? else {
        bail!("no answer to ApiVersions");
    };
    let of = |api: &Value, name: &str| api[name].as_i64().and_then(|n| i16::try_from(n).ok()).context("no number");
    let keys = reply["api_keys"].as_array().context("no list of APIs")?;
    keys.iter().map(|api| Ok((of(api, "api_key")?, (of(api, "min_version")?, of(api, "max_version")?)))).collect()
}

impl Spoken for Pair<'_> {
    fn versions(&self, api: &str) -> (i16, Option<(i16, i16)>) {
        match self.catalogue.named(api) {
            Ok(api) => (api.key, self.spoken.get(&api.key).copied()),
            Err(_) => (-1, None),
        }
    }

    fn judges(&self, api: i16, version: i16) -> bool {
        self.newer.get(&api).is_none_or(|(from, _)| (0..*from).contains(&version))
    }
}
