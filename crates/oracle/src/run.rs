//! Takes both brokers of a pair through a story.

use std::collections::HashMap;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use base::Clock;
use schema::{Message, Type};
use serde_json::{Map, Value, json};

use crate::catalogue::{Api, Catalogue};
use crate::codec::{encode, hex_text, structure};
use crate::compare::{Difference, compare};
use crate::connection::{Answer, Connection};
use crate::normal::Normal;
use crate::pair::Ground;
use crate::plant::Plant;
use crate::story::{Ask, Framing, Regard, Step, Story};

/// How long something may take until it is ready.
const SETTLES_WITHIN: Duration = Duration::from_secs(15);
/// The same, for what is asked again after a restart, when both brokers have said that they are ready.
const SETTLES_AGAIN_WITHIN: Duration = Duration::from_millis(200);
/// How much later than the other one may answer, beside taking twice as long.
const LATE: Duration = Duration::from_secs(2);
/// What a reply says while something is not ready: UNKNOWN_TOPIC_OR_PARTITION, LEADER_NOT_AVAILABLE, NOT_LEADER_OR_FOLLOWER,
/// COORDINATOR_LOAD_IN_PROGRESS, COORDINATOR_NOT_AVAILABLE, NOT_COORDINATOR, UNKNOWN_TOPIC_ID.
const TRANSIENT: [i64; 7] = [3, 5, 6, 14, 15, 16, 100];
/// An id that no topic has.
pub const NO_TOPIC: &str = "0badc0de-0bad-40de-8bad-c0de0badc0de";

/// A request, and what came of it.
#[derive(Clone, Debug)]
pub struct Exchange {
    /// The story's name.
    pub story: String,
    /// The step's place in the story.
    pub step: usize,
    /// Whether it was asked again after a restart.
    pub is_again: bool,
    /// Whether it only prepared what follows: it is compared, and no case.
    pub prepares: bool,
    /// The API's number.
    pub api: i16,
    /// Its version.
    pub version: i16,
    /// What was asked, as the story has it.
    pub asked: Value,
    /// The answers, made alike: Kafka's, then Headwater's.
    pub answers: [Answer; 2],
    /// Where they differ.
    pub differences: Vec<Difference>,
    /// Falsifications of Headwater's answer that show, each alone.
    pub exposed: Vec<&'static str>,
}

/// A story under way.
#[derive(Debug)]
pub struct Telling {
    /// Steps that could not be asked: they refer to what was not answered, or cannot be said.
    pub unasked: usize,
    prefix: String,
    sides: [Side; 2],
    sent: HashMap<String, usize>,
    clock: Clock,
    plant: Option<Plant>,
}

/// One broker's part of it.
#[derive(Debug)]
struct Side {
    /// 0 is Kafka.
    at: usize,
    port: u16,
    connections: HashMap<usize, Connection>,
    /// When the telling began.
    started_ms: i64,
    /// By which its topics' ids are asked for.
    aside: Option<Connection>,
    replies: HashMap<String, Value>,
    pins: HashMap<String, String>,
    normal: Normal,
}

impl Telling {
    /// Begins one.
    pub fn begin(ground: Ground<'_>, plant: Option<Plant>) -> Self {
        let clock = Clock::system();
        let (prefix, started) = (ground.prefix(), clock.now().0);
        let [kafka, headwater] = ground.ports;
        let sides = [(0, kafka), (1, headwater)].map(|(at, port)| Side {
            at,
            port,
            connections: HashMap::new(),
            started_ms: started,
            aside: None,
            replies: HashMap::new(),
            pins: HashMap::new(),
            normal: Normal::new(&prefix, port, started),
        });
        Self { unasked: 0, prefix, sides, sent: HashMap::new(), clock, plant }
    }

    /// Closes its connections; what it was answered is kept.
    pub fn rest(&mut self) {
        for side in &mut self.sides {
            side.connections.clear();
            side.aside = None;
        }
    }

    /// Takes both through all steps.
    ///
    /// # Errors
    /// When the harness fails: a broker cannot be reached or answers what was not asked.
    pub fn tell(&mut self, catalogue: &Catalogue, story: &Story) -> Result<Vec<Exchange>> {
        let mut exchanges = Vec::new();
        for (at, step) in story.steps.iter().enumerate() {
            let exchange = self.step(catalogue, story, at, step);
            let exchange = exchange.with_context(|| format!("{}, seed {}, step {at}", story.name, story.seed))?;
            exchanges.extend(exchange.map(|exchange| Exchange { story: story.name.clone(), ..exchange }));
        }
        Ok(exchanges)
    }

    /// Asks once more what lasts, on new connections: the brokers were restarted.
    ///
    /// # Errors
    /// As [`Telling::tell`].
    pub fn again(&mut self, catalogue: &Catalogue, story: &Story) -> Result<Vec<Exchange>> {
        self.rest();
        let (mut exchanges, mut goes_on) = (Vec::new(), false);
        for (at, step) in story.steps.iter().enumerate() {
            let Step::Ask(ask) = step else {
                if let (Step::Sleep(time), true) = (step, goes_on) {
                    std::thread::sleep(*time);
                }
                continue;
            };
            goes_on |= ask.regard == Regard::Afterwards;
            let on_its_own = Ask { connection: 0, ..ask.clone() };
            let exchange = match ask.regard {
                Regard::Afterwards => self.ask(catalogue, at, &on_its_own, SETTLES_WITHIN)?,
                Regard::Lasting => {
                    // As a rule what is not there is not there on purpose, and both say so. Who says anything else is not
                    // asked once more: it may be wrong for a moment only.
                    let exchange = self.ask(catalogue, at, &on_its_own, SETTLES_AGAIN_WITHIN)?;
                    let is_early = |exchange: &Exchange| {
                        !exchange.differences.is_empty() && exchange.answers.iter().any(is_unready)
                    };
                    match exchange {
                        Some(early) if is_early(&early) => self.ask(catalogue, at, &on_its_own, SETTLES_WITHIN)?,
                        exchange => exchange,
                    }
                }
                Regard::Judged | Regard::Settled => None,
            };
            exchanges.extend(exchange.map(|exchange| Exchange {
                story: story.name.clone(),
                is_again: true,
                ..exchange
            }));
        }
        Ok(exchanges)
    }

    fn step(&mut self, catalogue: &Catalogue, story: &Story, at: usize, step: &Step) -> Result<Option<Exchange>> {
        match step {
            Step::Ask(ask) if ask.regard == Regard::Afterwards => {}
            Step::Ask(ask) => {
                let settles_within = if ask.regard == Regard::Settled { SETTLES_WITHIN } else { Duration::ZERO };
                return self.ask(catalogue, at, ask, settles_within);
            }
            Step::Await(label) => {
                let Some(sent) = self.sent.remove(label) else {
                    self.unasked += 1;
                    return Ok(None);
                };
                let Some(Step::Ask(ask)) = story.steps.get(sent) else { return Ok(None) };
                let api = catalogue.api(ask.api)?;
                let answers = self.heard(|side| side.receive(api, ask))?;
                return Ok(Some(self.exchange(catalogue, sent, ask, answers, false)?));
            }
            Step::Bytes { connection, bytes } => {
                // A broker that lives on afterwards answers; one that has closed the connection does not.
                for side in &mut self.sides {
                    side.open(*connection)?.send_bytes(bytes);
                }
            }
            Step::Close(connection) => self.sides.iter_mut().for_each(|side| drop(side.connections.remove(connection))),
            Step::Sleep(time) => std::thread::sleep(*time),
            Step::Gone(topic) => {
                let until = self.clock.monotonic() + SETTLES_WITHIN;
                let name = format!("{}{topic}", self.prefix);
                for side in &mut self.sides {
                    while side.topic_id(catalogue, &name)? != NO_TOPIC && self.clock.monotonic() < until {
                        std::thread::sleep(Duration::from_millis(10));
                    }
                }
            }
            Step::Pin { topic, name } => {
                for side in &mut self.sides {
                    let id = side.topic_id(catalogue, &format!("{}{topic}", self.prefix))?;
                    side.pins.insert(name.clone(), id);
                }
            }
        }
        Ok(None)
    }

    /// Asks both; whoever says that something is not ready is asked again, for so long.
    fn ask(
        &mut self,
        catalogue: &Catalogue,
        at: usize,
        ask: &Ask,
        settles_within: Duration,
    ) -> Result<Option<Exchange>> {
        let api = catalogue.api(ask.api)?;
        let written = api.written_as(ask.version);
        let body = prune(&api.request, written, &ask.body)?;
        let mut bodies = Vec::new();
        for side in &mut self.sides {
            // What a tree cannot say in this version is not asked.
            let body = side.resolve(catalogue, &self.prefix, &body)?;
            bodies.extend(body.and_then(|body| encode(&api.request, written, &body).ok()));
        }
        let Ok([kafka, headwater]) = <[Vec<u8>; 2]>::try_from(bodies) else {
            self.unasked += 1;
            return Ok(None);
        };
        let bodies = [kafka, headwater];
        let gets_none = ask.api == 0 && body["acks"] == json!(0);
        for (side, body) in self.sides.iter_mut().zip(&bodies) {
            let connection = side.open(ask.connection)?;
            connection.send(api, ask.version, body, ask.framing);
            if gets_none {
                connection.expect_none();
            }
        }
        if gets_none {
            let answers = self.heard(|side| side.outlives(catalogue, ask))?;
            return Ok(Some(self.exchange(catalogue, at, ask, answers, false)?));
        }
        if ask.is_sent_only {
            self.sent.insert(ask.label.clone(), at);
            return Ok(None);
        }
        let clock = self.clock.clone();
        let answers = self.heard(|side| {
            let body = &bodies[side.at];
            let mut answer = side.receive(api, ask)?;
            let until = clock.monotonic() + settles_within;
            while is_unready(&answer) && clock.monotonic() < until {
                std::thread::sleep(Duration::from_millis(10));
                side.open(ask.connection)?.send(api, ask.version, body, ask.framing);
                answer = side.receive(api, ask)?;
            }
            Ok(answer)
        })?;
        Ok(Some(self.exchange(catalogue, at, ask, answers, !settles_within.is_zero())?))
    }

    /// Hears both at the same time, and how long each takes.
    fn heard(&mut self, hear: impl Fn(&mut Side) -> Result<Answer> + Sync) -> Result<[(Answer, Duration); 2]> {
        let clock = &self.clock;
        let timed = |side: &mut Side| {
            let start = clock.monotonic();
            let answer = hear(side)?;
            anyhow::Ok((answer, clock.monotonic() - start))
        };
        let [kafka, headwater] = &mut self.sides;
        std::thread::scope(|scope| {
            let other = scope.spawn(|| timed(headwater));
            let kafka = timed(kafka);
            let headwater = other.join().map_err(|_| anyhow::anyhow!("a thread that heard a broker panicked"))?;
            Ok([kafka?, headwater?])
        })
    }

    fn exchange(
        &mut self,
        catalogue: &Catalogue,
        at: usize,
        ask: &Ask,
        heard: [(Answer, Duration); 2],
        settles: bool,
    ) -> Result<Exchange> {
        let api = catalogue.api(ask.api)?;
        let [(kafka, kafka_took), (mut headwater, headwater_took)] = heard;
        if let (Some(plant), Answer::Reply(reply)) = (self.plant, &mut headwater) {
            plant.lie(&api.snake, ask.version, reply);
        }
        let falsified = self.falsified(api, ask, &headwater);
        let mut answers = [kafka, headwater];
        for (side, answer) in self.sides.iter_mut().zip(&mut answers) {
            if let Answer::Reply(reply) = answer {
                if !ask.label.is_empty() {
                    side.replies.insert(ask.label.clone(), reply.clone());
                }
                *reply = alike(&mut side.normal, api, ask, reply);
            }
        }
        let mut differences = compare(&answers[0], &answers[1]);
        let shows = |lie: &Answer| compare(&answers[0], lie) != differences;
        let exposed = falsified.iter().filter(|(_, lie)| shows(lie)).map(|(name, _)| *name).collect();
        // What is not ready is waited for.
        let waited = settles && kafka_took > headwater_took;
        // That one says nothing at all is told already.
        let is_silent = answers.iter().any(|answer| matches!(answer, Answer::Silence));
        if is_of_another_time(kafka_took, headwater_took) && !waited && !is_silent {
            let said = |took: Duration| json!(format!("answers after {} s", took.as_secs_f32().round()));
            differences.push(Difference {
                place: String::new(),
                field: "(when)".to_owned(),
                kafka: said(kafka_took),
                headwater: said(headwater_took),
            });
        }
        Ok(Exchange {
            story: String::new(),
            step: at,
            is_again: false,
            prepares: ask.prepares,
            api: ask.api,
            version: ask.version,
            asked: ask.body.clone(),
            answers,
            differences,
            exposed,
        })
    }

    /// Headwater's answer with each falsification that changes it, made alike.
    fn falsified(&self, api: &Api, ask: &Ask, answer: &Answer) -> Vec<(&'static str, Answer)> {
        let Answer::Reply(reply) = answer else { return Vec::new() };
        let lies = Plant::ALL.into_iter().filter_map(|plant| {
            let mut lie = reply.clone();
            plant.lie(&api.snake, ask.version, &mut lie);
            let is_one = lie != *reply;
            is_one.then(|| (plant.name, Answer::Reply(alike(&mut self.sides[1].normal.clone(), api, ask, &lie))))
        });
        lies.collect()
    }
}

/// A reply as it is compared.
fn alike(normal: &mut Normal, api: &Api, ask: &Ask, reply: &Value) -> Value {
    let mut reply = normal.reply(api, reply);
    if ask.is_repacked {
        forget_packing(&mut reply);
    }
    reply
}

/// Whether one waited where the other did not, by more than a busy machine accounts for.
fn is_of_another_time(kafka: Duration, headwater: Duration) -> bool {
    let (less, more) = (kafka.min(headwater), kafka.max(headwater));
    more > less * 2 + LATE
}

/// Takes out what depends on how tightly a batch is compressed.
fn forget_packing(value: &mut Value) {
    match value {
        Value::Object(members) => {
            if members.contains_key("magic") {
                members.remove("payload_crc");
                members.remove("length");
            }
            members.values_mut().for_each(forget_packing);
        }
        Value::Array(elements) => elements.iter_mut().for_each(forget_packing),
        _ => {}
    }
}

fn is_unready(answer: &Answer) -> bool {
    fn says(value: &Value) -> bool {
        match value {
            Value::Object(members) => members.iter().any(|(name, member)| {
                name == "error_code" && member.as_i64().is_some_and(|code| TRANSIENT.contains(&code)) || says(member)
            }),
            Value::Array(elements) => elements.iter().any(says),
            _ => false,
        }
    }
    matches!(answer, Answer::Reply(reply) if says(reply))
}

/// A consumer's subscription in its version 0: `version topics user-data`.
fn subscription(prefix: &str, topics: &str) -> Vec<u8> {
    let topics: Vec<String> = topics.split(',').filter(|t| !t.is_empty()).map(|t| format!("{prefix}{t}")).collect();
    let mut bytes = vec![0, 0];
    bytes.extend((topics.len() as i32).to_be_bytes());
    for topic in topics {
        bytes.extend((topic.len() as i16).to_be_bytes());
        bytes.extend(topic.bytes());
    }
    bytes.extend((-1_i32).to_be_bytes());
    bytes
}

/// The tree without what the version lacks.
fn prune(message: &Message, version: i16, body: &Value) -> Result<Value> {
    fn of(message: &Message, version: i16, name: &str, value: &Value) -> Result<Value> {
        let Some(members) = value.as_object() else { return Ok(value.clone()) };
        let fields = &structure(message, name)?.fields;
        let mut kept = Map::new();
        for (name, member) in members {
            let Some(field) = fields.iter().find(|field| field.name == *name) else {
                bail!("{} has no field '{name}'", message.name);
            };
            if !field.versions.contains(version) {
                continue;
            }
            let member = match (&field.ty, member) {
                (Type::Struct(name), member) => of(message, version, name, member)?,
                (Type::Array(element), Value::Array(elements)) => match element.as_ref() {
                    Type::Struct(name) => {
                        elements.iter().map(|e| of(message, version, name, e)).collect::<Result<_>>()?
                    }
                    _ => member.clone(),
                },
                _ => member.clone(),
            };
            kept.insert(name.clone(), member);
        }
        Ok(Value::Object(kept))
    }
    of(message, version, &message.structs[0].name, body)
}

impl Side {
    fn open(&mut self, connection: usize) -> Result<&mut Connection> {
        match self.connections.entry(connection) {
            std::collections::hash_map::Entry::Occupied(open) => Ok(open.into_mut()),
            std::collections::hash_map::Entry::Vacant(none) => Ok(none.insert(Connection::open(self.port)?)),
        }
    }

    /// Whether the connection lives on after a request that gets no answer; when it is known, the request was looked at.
    fn outlives(&mut self, catalogue: &Catalogue, ask: &Ask) -> Result<Answer> {
        let api = catalogue.named("api_versions")?;
        let connection = self.open(ask.connection)?;
        connection.send(api, 0, &encode(&api.request, 0, &json!({}))?, Framing::default());
        let answer = connection.receive(api, 0, ask.patience)?;
        if matches!(answer, Answer::Reply(_)) {
            return Ok(Answer::Reply(json!({})));
        }
        self.connections.remove(&ask.connection);
        Ok(answer)
    }

    fn receive(&mut self, api: &Api, ask: &Ask) -> Result<Answer> {
        let answer = self.open(ask.connection)?.receive(api, ask.version, ask.patience)?;
        // What comes later would be taken for the answer of another.
        if matches!(answer, Answer::Closed | Answer::Silence) {
            self.connections.remove(&ask.connection);
        }
        Ok(answer)
    }

    /// The id of a topic, or one that no topic has.
    fn topic_id(&mut self, catalogue: &Catalogue, name: &str) -> Result<String> {
        let api = catalogue.named("metadata")?;
        let body = json!({ "topics": [{ "name": name }], "allow_auto_topic_creation": false });
        let connection = match &mut self.aside {
            Some(connection) => connection,
            none => none.insert(Connection::open(self.port)?),
        };
        connection.send(api, 12, &encode(&api.request, 12, &body)?, Framing::default());
        match connection.receive(api, 12, Duration::from_secs(10))? {
            Answer::Reply(reply) if reply["topics"][0]["error_code"] == json!(0) => {
                Ok(reply["topics"][0]["topic_id"].as_str().unwrap_or(NO_TOPIC).to_owned())
            }
            Answer::Reply(_) => Ok(NO_TOPIC.to_owned()),
            other => bail!("asked for the id of {name}: {other:?}"),
        }
    }

    /// The tree with what stands for something else replaced; `None` where an answer it refers to is not there.
    fn resolve(&mut self, catalogue: &Catalogue, prefix: &str, value: &Value) -> Result<Option<Value>> {
        Ok(Some(match value {
            Value::String(text) => match text.split_at_checked(1) {
                Some(("@", name)) => json!(format!("{prefix}{name}")),
                Some(("#", name)) => {
                    let id = match self.pins.get(name) {
                        Some(id) => id.clone(),
                        None => self.topic_id(catalogue, &format!("{prefix}{name}"))?,
                    };
                    if id != NO_TOPIC {
                        self.normal.learn("topic", name, &id);
                    }
                    json!(id)
                }
                Some(("$", place)) => {
                    let (label, pointer) = place.split_at(place.find('/').unwrap_or(place.len()));
                    let found = self.replies.get(label).and_then(|reply| reply.pointer(pointer));
                    let Some(found) = found else { return Ok(None) };
                    found.clone()
                }
                Some(("!", "now")) => json!(self.started_ms),
                Some(("%", topics)) => json!(hex_text(&subscription(prefix, topics))),
                Some(("\\", literal)) => json!(literal),
                _ => value.clone(),
            },
            Value::Array(elements) => {
                let mut resolved = Vec::with_capacity(elements.len());
                for element in elements {
                    let Some(element) = self.resolve(catalogue, prefix, element)? else { return Ok(None) };
                    resolved.push(element);
                }
                Value::Array(resolved)
            }
            Value::Object(members) => {
                let mut resolved = Map::new();
                for (name, member) in members {
                    let Some(member) = self.resolve(catalogue, prefix, member)? else { return Ok(None) };
                    resolved.insert(name.clone(), member);
                }
                Value::Object(resolved)
            }
            _ => value.clone(),
        }))
    }
}
