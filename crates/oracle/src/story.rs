//! What is asked: a story is a list of steps, on one or several connections.
//!
//! Strings of a request's tree that begin with one of these stand for something else:
//!
//! | Written | Sent |
//! |---|---|
//! | `@orders` | the name `orders` behind the run's own prefix: topics and groups of two runs never meet |
//! | `#orders` | the id of the topic `@orders`, as each broker says; kept under another name by [`Step::Pin`] |
//! | `$join/members/0/member_id` | what this broker itself answered to the step labelled `join`, at that place |
//! | `%orders,bills` | a consumer's subscription to `@orders` and `@bills`, as hexadecimal text |
//! | `!now` | the time at which the telling began, the same for both brokers |
//! | `\@orders` | `@orders` |

use std::time::Duration;

use serde_json::Value;

use crate::random::Random;

/// A list of steps that both brokers are taken through.
#[derive(Clone, Debug)]
pub struct Story {
    /// What it is about, such as `fetch: a session forgets topics`.
    pub name: String,
    /// Of its random choices.
    pub seed: u64,
    /// Whether it is about what only an older broker takes, such as old message formats: who judges it, judges all of it.
    pub is_of_old: bool,
    /// What is done.
    pub steps: Vec<Step>,
}

/// One step.
#[derive(Clone, Debug)]
pub enum Step {
    /// A request.
    Ask(Ask),
    /// Reads the answer of an earlier request that was only sent.
    Await(String),
    /// Sends bytes that are no request, and looks whether the connection lives.
    Bytes {
        /// Which connection.
        connection: usize,
        /// What is sent.
        bytes: Vec<u8>,
    },
    /// Closes a connection; the next request on it opens another.
    Close(usize),
    /// Time passes.
    Sleep(Duration),
    /// Waits until topic `@topic` is known no more.
    Gone(String),
    /// Keeps the id of topic `@topic` as `#name`, whatever becomes of the topic.
    Pin {
        /// The topic's name in the story.
        topic: String,
        /// The name of the id.
        name: String,
    },
}

/// What is made of a request's answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Regard {
    /// It is compared.
    Judged,
    /// It prepares what follows: it is repeated while it says that something is not ready, and compared.
    Settled,
    /// As [`Regard::Judged`], and asked once more after a restart, where it is compared again.
    Lasting,
    /// It is asked after a restart only.
    Afterwards,
}

/// A request.
#[derive(Clone, Debug)]
pub struct Ask {
    /// By which later steps refer to its answer; may be empty.
    pub label: String,
    /// On which connection, from 0 on.
    pub connection: usize,
    /// The API's number.
    pub api: i16,
    /// Its version.
    pub version: i16,
    /// The tree that is encoded.
    pub body: Value,
    /// What is made of the answer.
    pub regard: Regard,
    /// It only prepares what is asked afterwards: it is compared, and counts for nothing.
    pub prepares: bool,
    /// The broker itself has compressed what it answers: how tightly is its own affair.
    pub is_repacked: bool,
    /// Only sent; an [`Step::Await`] reads the answer.
    pub is_sent_only: bool,
    /// How long the answer may take; what has none by then is silence, on both sides or on one.
    pub patience: Duration,
    /// What is unusual about its frame.
    pub framing: Framing,
}

/// What may be unusual about a request's frame.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Framing {
    /// The client's id: `oracle`, unless it is said otherwise; `None` is null.
    pub client: Option<Option<&'static str>>,
    /// Bytes behind the body.
    pub trailing: usize,
    /// Bytes that are missing at the end.
    pub cut: usize,
    /// Tagged fields in the header that nobody knows, where there can be some.
    pub has_tags: bool,
    /// Sent in two pieces, the first of so many bytes.
    pub first_piece: Option<usize>,
}

/// What an answer may take, unless a story says otherwise.
pub const PATIENCE: Duration = Duration::from_secs(15);

/// Writes a story: requests in versions that both brokers speak, chosen by the seed.
#[derive(Debug)]
pub struct Author<'a> {
    spoken: &'a dyn Spoken,
    /// The story's random choices.
    pub random: Random,
    steps: Vec<Step>,
    seed: u64,
    is_of_old: bool,
    impossible: bool,
}

/// Which versions both brokers of a pair speak.
pub trait Spoken: std::fmt::Debug {
    /// The number of an API, and its versions; `None` where one of the two lacks it.
    fn versions(&self, api: &str) -> (i16, Option<(i16, i16)>);

    /// Whether this pair judges an answer in a version: of versions that a newer judge speaks, too, it does not.
    fn judges(&self, _api: i16, _version: i16) -> bool {
        true
    }
}

/// A request that is being written. It stands in the story already; what is called on it changes it there.
#[derive(Debug)]
pub struct Asked<'s>(Option<&'s mut Ask>);

impl<'a> Author<'a> {
    /// Begins a story.
    pub fn new(spoken: &'a dyn Spoken, seed: u64) -> Self {
        Self { spoken, random: Random::new(seed), steps: Vec::new(), seed, is_of_old: false, impossible: false }
    }

    /// The story; `None` if it asks in versions that the pair does not speak, or in none that it judges.
    pub fn finish(self, name: String, seed: u64) -> Option<Story> {
        let is_judged = self.is_of_old || self.is_judged();
        (!self.impossible && is_judged).then_some(Story { name, seed, is_of_old: self.is_of_old, steps: self.steps })
    }

    /// Versions of an API that this pair speaks, within bounds.
    pub fn versions(&self, api: &str, low: i16, high: i16) -> Vec<i16> {
        let (_, spoken) = self.spoken.versions(api);
        spoken.map_or_else(Vec::new, |(first, last)| (low.max(first)..=high.min(last)).collect())
    }

    /// Whether the pair has anything to judge of what stands in the story.
    fn is_judged(&self) -> bool {
        self.steps.iter().any(|step| match step {
            Step::Ask(ask) => !ask.prepares && self.spoken.judges(ask.api, ask.version),
            _ => false,
        })
    }

    /// A request in any version.
    pub fn ask(&mut self, api: &str, body: Value) -> Asked<'_> {
        self.ask_in(api, 0, i16::MAX, body)
    }

    /// A request in a version within bounds, one that the pair judges if there is one. Members of `body` that the version lacks are not sent.
    pub fn ask_in(&mut self, api: &str, low: i16, high: i16, body: Value) -> Asked<'_> {
        let mut versions = self.versions(api, low, high);
        let (key, _) = self.spoken.versions(api);
        if versions.iter().any(|version| self.spoken.judges(key, *version)) {
            versions.retain(|version| self.spoken.judges(key, *version));
        }
        // Each seed meets another version of each step.
        let at = usize::try_from(self.seed & u64::from(u32::MAX)).unwrap_or_default() + self.steps.len();
        match versions.get(at % versions.len().max(1)).copied() {
            Some(version) => self.ask_as(api, version, body),
            None => {
                self.impossible = true;
                Asked(None)
            }
        }
    }

    /// A request in a version that there may not be.
    pub fn ask_as(&mut self, api: &str, version: i16, body: Value) -> Asked<'_> {
        let (key, _) = self.spoken.versions(api);
        self.steps.push(Step::Ask(Ask {
            label: String::new(),
            connection: 0,
            api: key,
            version,
            body,
            regard: Regard::Judged,
            prepares: false,
            is_repacked: false,
            is_sent_only: false,
            patience: PATIENCE,
            framing: Framing::default(),
        }));
        match self.steps.last_mut() {
            Some(Step::Ask(ask)) => Asked(Some(ask)),
            _ => Asked(None),
        }
    }

    /// The story is about what only an older broker takes: who judges it, judges all of it.
    pub fn of_old(&mut self) {
        self.is_of_old = true;
    }

    /// All that stands in the story so far only prepares what follows.
    pub fn is_prepared(&mut self) {
        for step in &mut self.steps {
            if let Step::Ask(ask) = step {
                ask.prepares = true;
            }
        }
    }

    /// Any other step.
    pub fn step(&mut self, step: Step) {
        self.steps.push(step);
    }

    /// Reads the answer of a request that was [sent only](Asked::send_only).
    pub fn await_answer(&mut self, label: &str) {
        self.step(Step::Await(label.to_owned()));
    }

    /// Closes a connection.
    pub fn close(&mut self, connection: usize) {
        self.step(Step::Close(connection));
    }

    /// Lets time pass.
    pub fn sleep_ms(&mut self, ms: u64) {
        self.step(Step::Sleep(Duration::from_millis(ms)));
    }

    /// Keeps a topic's present id as `#name`.
    pub fn pin(&mut self, topic: &str, name: &str) {
        self.step(Step::Pin { topic: topic.to_owned(), name: name.to_owned() });
    }

    /// Creates a topic and waits until it can be used.
    pub fn topic(&mut self, name: &str, partitions: i32) {
        self.topic_with(name, partitions, &[]);
    }

    /// As [`Author::topic`], with configurations.
    pub fn topic_with(&mut self, name: &str, partitions: i32, configs: &[(&str, &str)]) {
        let configs: Vec<Value> =
            configs.iter().map(|(name, value)| serde_json::json!({ "name": name, "value": value })).collect();
        let topic = serde_json::json!({
            "name": format!("@{name}"), "num_partitions": partitions, "replication_factor": 1, "configs": configs,
        });
        self.ask_in("create_topics", 2, i16::MAX, serde_json::json!({ "topics": [topic], "timeout_ms": 30_000 }))
            .settled()
            .prepares();
        let wanted =
            serde_json::json!({ "topics": [{ "name": format!("@{name}") }], "allow_auto_topic_creation": false });
        self.ask_in("metadata", 4, i16::MAX, wanted).settled().prepares();
    }

    /// Produces a record set with `acks=-1`.
    pub fn produce(&mut self, topic: &str, partition: i32, records: &Value) -> Asked<'_> {
        self.produce_in(3, i16::MAX, topic, partition, records)
    }

    /// As [`Author::produce`], in a version within bounds.
    pub fn produce_in(&mut self, low: i16, high: i16, topic: &str, partition: i32, records: &Value) -> Asked<'_> {
        let body = serde_json::json!({
            "acks": -1, "timeout_ms": 10_000,
            "topic_data": [{
                "name": format!("@{topic}"), "topic_id": format!("#{topic}"),
                "partition_data": [{ "index": partition, "records": records }],
            }],
        });
        self.ask_in("produce", low, high, body)
    }

    /// Reads a partition from an offset on, once, without waiting and outside of a session.
    pub fn fetch(&mut self, topic: &str, partition: i32, offset: i64) -> Asked<'_> {
        self.fetch_in(0, i16::MAX, topic, partition, offset)
    }

    /// As [`Author::fetch`], in a version within bounds.
    pub fn fetch_in(&mut self, low: i16, high: i16, topic: &str, partition: i32, offset: i64) -> Asked<'_> {
        let body = serde_json::json!({
            "replica_id": -1, "max_wait_ms": 0, "min_bytes": 0, "max_bytes": 10_000_000, "session_epoch": -1,
            "topics": [{
                "topic": format!("@{topic}"), "topic_id": format!("#{topic}"),
                "partitions": [{ "partition": partition, "fetch_offset": offset, "partition_max_bytes": 10_000_000 }],
            }],
        });
        self.ask_in("fetch", low, high, body)
    }
}

impl Asked<'_> {
    fn change(self, change: impl FnOnce(&mut Ask)) -> Self {
        Self(self.0.map(|ask| {
            change(&mut *ask);
            ask
        }))
    }

    /// Later steps refer to its answer by this.
    pub fn label(self, label: &str) -> Self {
        self.change(|ask| label.clone_into(&mut ask.label))
    }

    /// On another connection than 0.
    pub fn on(self, connection: usize) -> Self {
        self.change(|ask| ask.connection = connection)
    }

    /// It prepares what follows ([`Regard::Settled`]).
    pub fn settled(self) -> Self {
        self.change(|ask| ask.regard = Regard::Settled)
    }

    /// It counts for nothing.
    fn prepares(self) -> Self {
        self.change(|ask| ask.prepares = true)
    }

    /// It is asked once more after a restart ([`Regard::Lasting`]).
    pub fn lasting(self) -> Self {
        self.change(|ask| ask.regard = Regard::Lasting)
    }

    /// As [`Asked::lasting`], if so.
    pub fn lasting_if(self, lasts: bool) -> Self {
        if lasts { self.lasting() } else { self }
    }

    /// It is asked after a restart, and not before ([`Regard::Afterwards`]).
    pub fn afterwards(self) -> Self {
        self.change(|ask| ask.regard = Regard::Afterwards)
    }

    /// The broker itself has compressed what is read: its plain records are compared, not the bytes.
    pub fn repacked(self) -> Self {
        self.change(|ask| ask.is_repacked = true)
    }

    /// Its answer is read by [`Author::await_answer`]; it needs a label.
    pub fn send_only(self) -> Self {
        self.change(|ask| ask.is_sent_only = true)
    }

    /// Its frame is unusual.
    pub fn framed(self, framing: Framing) -> Self {
        self.change(|ask| ask.framing = framing)
    }

    /// How long its answer may take.
    pub fn patience_ms(self, ms: u64) -> Self {
        self.change(|ask| ask.patience = Duration::from_millis(ms))
    }
}
