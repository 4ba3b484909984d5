//! Takes a pair through many stories and says where the two differ.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Write as _};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use base::Clock;
use parking_lot::Mutex;
use serde_json::{Value, json};

use crate::allowed::{ROWS, row_for};
use crate::catalogue::Catalogue;
use crate::codec::encode;
use crate::compare::Difference;
use crate::connection::Answer;
use crate::generate::APIS;
use crate::normal::is_uuid;
use crate::pair::{Ends, Ground, Pair, Versions};
use crate::plant::Plant;
use crate::run::{Exchange, Telling};
use crate::shrink::shrink;
use crate::stories;
use crate::story::{Author, Step, Story};

/// How often a story that differed is told again: what does not recur is of the moment.
const CONFIRMATIONS: usize = 2;
/// What did not recur, in so many tellings, comes and goes.
const RECURS_FROM: usize = 3;
/// APIs in which there is nothing to refuse: ListGroups.
const REFUSES_NOTHING: [i16; 1] = [16];
/// Findings that are made small; of a flood the first few tell enough.
const SHRUNK_MAX: usize = 12;
/// What making one small may take: where an answer is waited for in vain each smaller story takes long.
const SHRUNK_WITHIN: Duration = Duration::from_secs(30);
/// Findings that are shown with their story.
const SHOWN_MAX: usize = 60;

/// Where a story differs: the same step, the same field, whatever the two say there.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    step: usize,
    is_again: bool,
    field: String,
}

/// What differs: API, field, what the two say, but for what no two tellings have alike.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mark {
    /// The API, as stories call it.
    pub api: String,
    /// The field.
    pub field: String,
    /// What Kafka says.
    pub kafka: String,
    /// What Headwater says.
    pub headwater: String,
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: Kafka {}, Headwater {}", self.api, self.field, self.kafka, self.headwater)
    }
}

/// What differs and must not.
#[derive(Clone, Debug)]
pub struct Finding {
    /// What.
    pub mark: Mark,
    /// In which versions.
    pub versions: BTreeSet<i16>,
    /// How often.
    pub times: usize,
    /// The story, its seed, and the smallest of it that still differs, printed.
    pub shown: String,
}

/// How much was asked of an API's version, and how much agreed.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tally {
    /// Requests whose answers were compared.
    pub cases: usize,
    /// Of them, without any difference.
    pub agree: usize,
    /// Of them, with differences that the table allows, and no others.
    pub allowed: usize,
    /// Of Kafka's answers, those that hold an error, or none at all.
    pub refused: usize,
}

/// What came of many stories.
#[derive(Debug, Default)]
pub struct Outcome {
    /// By API and version.
    pub tallies: BTreeMap<(i16, i16), Tally>,
    /// What must not differ.
    pub findings: BTreeMap<Mark, Finding>,
    /// How often each row of the table was needed.
    pub rows: BTreeMap<usize, usize>,
    /// Stories that were told, without repetitions.
    pub stories: BTreeSet<String>,
    /// Stories told, each seed of each.
    pub told: usize,
    /// What differed and did not when the story was told again, and the stories.
    pub unsteady: BTreeMap<Mark, Vec<String>>,
    /// Steps that could not be asked, by story: they refer to what was not answered, or cannot be said.
    pub unasked: BTreeMap<String, usize>,
    /// What Headwater advertises.
    pub advertised: Versions,
    /// How often each falsification of an answer showed.
    pub exposed: BTreeMap<&'static str, usize>,
}

impl Outcome {
    /// Requests whose answers were compared.
    pub fn cases(&self) -> usize {
        self.tallies.values().map(|tally| tally.cases).sum()
    }

    /// What comes and goes too often to be of the moment.
    pub fn recurring(&self) -> impl Iterator<Item = (&Mark, &Vec<String>)> {
        self.unsteady.iter().filter(|(_, stories)| stories.len() >= RECURS_FROM)
    }

    /// What was not asked enough: rows of the table that no case needs, falsifications that did not show, stories that
    /// nobody was told, versions of which nothing valid, or nothing else, was asked.
    pub fn gaps(&self, catalogue: &Catalogue) -> Vec<String> {
        let mut gaps = Vec::new();
        for (at, row) in ROWS.iter().enumerate().filter(|(at, _)| !self.rows.contains_key(at)) {
            gaps.push(format!("row {at} of the table is needed by no case: {} {}", row.api, row.field));
        }
        for plant in Plant::ALL {
            if self.exposed.get(plant.name).is_none_or(|count| *count == 0) {
                gaps.push(format!("the falsification {} did not show", plant.name));
            }
        }
        for story in stories::all().iter().filter(|story| !self.stories.contains(story.name)) {
            gaps.push(format!("the story '{}' was told to nobody", story.name));
        }
        for api in APIS {
            if !catalogue.named(api).is_ok_and(|api| self.advertised.contains_key(&api.key)) {
                gaps.push(format!("{api} is not advertised"));
            }
        }
        for (key, (low, high)) in &self.advertised {
            let name = catalogue.api(*key).map_or("?", |api| &api.name);
            for version in *low..=*high {
                let tally = self.tallies.get(&(*key, version)).copied().unwrap_or_default();
                if tally.cases == tally.refused {
                    gaps.push(format!("nothing valid was asked of {name} v{version}"));
                }
                if tally.refused == 0 && !REFUSES_NOTHING.contains(key) {
                    gaps.push(format!("nothing invalid was asked of {name} v{version}"));
                }
            }
        }
        gaps
    }

    /// Takes in what another pair found.
    pub fn add(&mut self, other: Self) {
        for (of, tally) in other.tallies {
            let sum = self.tallies.entry(of).or_default();
            sum.cases += tally.cases;
            sum.agree += tally.agree;
            sum.allowed += tally.allowed;
            sum.refused += tally.refused;
        }
        for (mark, finding) in other.findings {
            self.findings.entry(mark).or_insert(finding);
        }
        for (row, count) in other.rows {
            *self.rows.entry(row).or_default() += count;
        }
        self.stories.extend(other.stories);
        self.told += other.told;
        for (mark, stories) in other.unsteady {
            self.unsteady.entry(mark).or_default().extend(stories);
        }
        for (story, count) in other.unasked {
            *self.unasked.entry(story).or_default() += count;
        }
        self.advertised.extend(other.advertised);
        for (plant, count) in other.exposed {
            *self.exposed.entry(plant).or_default() += count;
        }
    }

    /// Counts what was asked.
    fn count(&mut self, ground: Ground<'_>, story: &Story, exchanges: &[Exchange]) -> Result<()> {
        for exchange in exchanges.iter().filter(|exchange| ground.judges(story, exchange)) {
            let (rows, found) = judged(ground.catalogue, exchange)?;
            for row in &rows {
                *self.rows.entry(*row).or_default() += 1;
            }
            for plant in &exchange.exposed {
                *self.exposed.entry(plant).or_default() += 1;
            }
            if !exchange.prepares {
                let tally = self.tallies.entry((exchange.api, exchange.version)).or_default();
                tally.cases += 1;
                tally.refused += usize::from(is_refusal(&exchange.answers[0]));
                tally.agree += usize::from(exchange.differences.is_empty());
                tally.allowed += usize::from(!exchange.differences.is_empty() && found.is_empty());
            }
        }
        Ok(())
    }
}

/// A campaign against one pair.
#[derive(Debug)]
pub struct Campaign<'p, 'c> {
    /// Both brokers.
    pub pair: &'p mut Pair<'c>,
    /// What is falsified.
    pub plant: Option<Plant>,
    /// Whether findings are made small.
    pub shrinks: bool,
    /// Stories that are told at a time.
    pub threads: usize,
    outcome: Mutex<Outcome>,
    told: Mutex<Vec<(Story, Telling)>>,
}

impl<'p, 'c> Campaign<'p, 'c> {
    /// Begins one.
    pub fn new(pair: &'p mut Pair<'c>, plant: Option<Plant>) -> Self {
        let outcome = Outcome { advertised: pair.advertised().clone(), ..Outcome::default() };
        Self { pair, plant, shrinks: true, threads: 1, outcome: Mutex::new(outcome), told: Mutex::default() }
    }

    /// What came of it.
    pub fn finish(self) -> Outcome {
        self.outcome.into_inner()
    }

    /// Tells stories and judges them. Those that `last` are asked about again after a restart.
    ///
    /// # Errors
    /// When the harness fails.
    pub fn tell(&self, stories: &[Story], last: bool) -> Result<()> {
        let ground = self.pair.ground()?;
        at_a_time(self.threads, stories, |story| {
            let mut telling = Telling::begin(ground, self.plant);
            let exchanges = telling.tell(ground.catalogue, story)?;
            telling.rest();
            {
                let mut outcome = self.outcome.lock();
                outcome.stories.insert(story.name.clone());
                outcome.told += 1;
                if telling.unasked > 0 {
                    *outcome.unasked.entry(story.name.clone()).or_default() += telling.unasked;
                }
            }
            self.judge(ground, story, exchanges)?;
            if last {
                self.told.lock().push((story.clone(), telling));
            }
            Ok(())
        })
    }

    /// Waits until producers are given ids and, where there may be groups, until all of these can be asked about.
    ///
    /// # Errors
    /// When the harness fails.
    pub fn make_ready(&self, has_groups: bool) -> Result<()> {
        let ground = self.pair.ground()?;
        if let Some(ready) = ready(self.pair, has_groups) {
            Telling::begin(ground, None).tell(ground.catalogue, &ready)?;
        }
        Ok(())
    }

    /// Restarts both and asks again what lasts.
    ///
    /// # Errors
    /// When the harness fails.
    pub fn restart(&mut self, ends: Ends) -> Result<()> {
        self.pair.restart(ends)?;
        self.make_ready(true)?;
        let ground = self.pair.ground()?;
        let told: Vec<_> = std::mem::take(self.told.get_mut()).into_iter().map(Mutex::new).collect();
        at_a_time(self.threads, &told, |told| {
            let (story, telling) = &mut *told.lock();
            let exchanges = telling.again(ground.catalogue, story)?;
            self.judge(ground, story, exchanges)
        })
    }

    fn judge(&self, ground: Ground<'_>, story: &Story, exchanges: Vec<Exchange>) -> Result<()> {
        let mut exchanges = exchanges;
        let first = bad(ground, story, &exchanges)?;
        let mut suspects: BTreeSet<Place> = first.keys().cloned().collect();
        // What was asked after a restart is not asked again without one.
        let is_again = exchanges.iter().any(|exchange| exchange.is_again);
        for _ in 0..CONFIRMATIONS {
            // What is known already is not looked into again; what is new has to recur.
            let is_known = {
                let outcome = self.outcome.lock();
                first.values().all(|(mark, _)| outcome.findings.contains_key(mark))
            };
            if suspects.is_empty() || is_again || is_known {
                break;
            }
            exchanges = Telling::begin(ground, self.plant).tell(ground.catalogue, story)?;
            let again = bad(ground, story, &exchanges)?;
            suspects.retain(|place| again.contains_key(place));
        }
        let last = bad(ground, story, &exchanges)?;
        self.outcome.lock().count(ground, story, &exchanges)?;
        // What came in one telling and not in another is unsteady; what came in all of them differs.
        for (place, (mark, _)) in first.iter().chain(last.iter().filter(|(place, _)| !first.contains_key(place))) {
            if !suspects.contains(place) {
                let of = format!("{}, seed {}", story.name, story.seed);
                self.outcome.lock().unsteady.entry(mark.clone()).or_default().push(of);
            }
        }
        for (mark, exchange) in last.into_iter().filter(|(place, _)| suspects.contains(place)).map(|(_, found)| found) {
            let versions = BTreeSet::from([exchange.version]);
            if let Some(known) = self.outcome.lock().findings.get_mut(&mark) {
                known.times += 1;
                known.versions.extend(versions);
                continue;
            }
            let found = self.outcome.lock().findings.len();
            let mut smallest = story.clone();
            if self.shrinks && !exchange.is_again && found < SHRUNK_MAX {
                let mut failed = None;
                let clock = Clock::system();
                let until = clock.monotonic() + SHRUNK_WITHIN;
                smallest = shrink(story, |smaller| {
                    clock.monotonic() < until
                        && self.recurs(ground, smaller, &mark).unwrap_or_else(|error| {
                            failed = Some(error);
                            false
                        })
                });
                if let Some(error) = failed {
                    return Err(error).context("while a story was made smaller");
                }
            }
            let shown = if found < SHOWN_MAX {
                self.show(ground, story, &smallest, &mark, &exchange)?
            } else {
                format!("{mark}\n  story '{}', seed {}", story.name, story.seed)
            };
            let finding = Finding { mark: mark.clone(), versions, times: 1, shown };
            let mut outcome = self.outcome.lock();
            if let Entry::Vacant(none) = outcome.findings.entry(mark) {
                eprintln!("DIFFERS {}", finding.shown);
                none.insert(finding);
            }
        }
        Ok(())
    }

    fn recurs(&self, ground: Ground<'_>, story: &Story, wanted: &Mark) -> Result<bool> {
        let exchanges = Telling::begin(ground, self.plant).tell(ground.catalogue, story)?;
        Ok(bad(ground, story, &exchanges)?.values().any(|(mark, _)| mark == wanted))
    }

    fn show(
        &self,
        ground: Ground<'_>,
        story: &Story,
        smallest: &Story,
        wanted: &Mark,
        first: &Exchange,
    ) -> Result<String> {
        let mut exchange = first.clone();
        let mut asked = Vec::new();
        if !first.is_again {
            let exchanges = Telling::begin(ground, self.plant).tell(ground.catalogue, smallest)?;
            for candidate in exchanges {
                let name = &ground.catalogue.api(candidate.api)?.snake;
                if candidate.differences.iter().any(|difference| mark(name, difference) == *wanted) {
                    exchange = candidate;
                    break;
                }
            }
        }
        for (at, step) in smallest.steps.iter().enumerate() {
            let line = match step {
                Step::Ask(ask) => {
                    let api = ground.catalogue.api(ask.api)?;
                    let whole = encode(&api.request, ask.version, &ask.body).is_ok();
                    format!(
                        "{} v{} on {} {}{}",
                        api.snake,
                        ask.version,
                        ask.connection,
                        short(&ask.body, 1200),
                        if whole { "" } else { " (refers)" }
                    )
                }
                other => short(&Value::String(format!("{other:?}")), 300),
            };
            asked.push(format!("    {}{line}", if at == exchange.step { "> " } else { "  " }));
        }
        let mut text = String::new();
        let is_it = |difference: &&Difference| {
            difference.field == wanted.field && masked(&short(&difference.headwater, 300)) == wanted.headwater
        };
        let place = exchange.differences.iter().find(is_it).map_or("", |difference| &difference.place);
        writeln!(
            text,
            "{} v{} {place}: Kafka {}, Headwater {}",
            wanted.api, exchange.version, wanted.kafka, wanted.headwater
        )?;
        writeln!(
            text,
            "  story '{}', seed {}{}",
            story.name,
            story.seed,
            if first.is_again { ", after a restart" } else { "" }
        )?;
        writeln!(text, "{}", asked.join("\n"))?;
        for (who, answer) in ["Kafka", "Headwater"].iter().zip(&exchange.answers) {
            let said = match answer {
                Answer::Reply(reply) => short(reply, 2500),
                other => format!("{other:?}"),
            };
            writeln!(text, "    {who}: {said}")?;
        }
        Ok(text)
    }
}

/// Until groups of every partition of the groups' log can be asked about lists of groups are short.
fn ready(pair: &Pair<'_>, has_groups: bool) -> Option<Story> {
    let mut author = Author::new(pair, 0);
    author.of_old();
    author.ask("init_producer_id", json!({ "transactional_id": null, "transaction_timeout_ms": 60_000 })).settled();
    for at in 0..if has_groups { 32 } else { 0 } {
        let groups = [format!("ready-{at}")];
        author.ask_in("describe_groups", 0, 5, json!({ "groups": groups })).settled();
    }
    author.finish("ready".to_owned(), 0)
}

/// Does something with each, several at a time; the first error ends it.
///
/// # Errors
/// When one cannot be done.
pub fn at_a_time<T: Sync>(threads: usize, all: &[T], work: impl Fn(&T) -> Result<()> + Sync) -> Result<()> {
    let next = AtomicUsize::new(0);
    let worker = || {
        while let Some(one) = all.get(next.fetch_add(1, Ordering::Relaxed)) {
            if let Err(error) = work(one) {
                next.store(all.len(), Ordering::Relaxed);
                return Err(error);
            }
        }
        Ok(())
    };
    thread::scope(|scope| {
        let workers: Vec<_> = (0..threads.max(1)).map(|_| scope.spawn(worker)).collect();
        for worker in workers {
            worker.join().map_err(|_| anyhow::anyhow!("a thread that told stories panicked"))??;
        }
        Ok(())
    })
}

/// The rows that an exchange needs, and what differs that no row allows.
fn judged(catalogue: &Catalogue, exchange: &Exchange) -> Result<(Vec<usize>, Vec<Mark>)> {
    let name = &catalogue.api(exchange.api)?.snake;
    let (mut rows, mut bad) = (Vec::new(), Vec::new());
    for difference in &exchange.differences {
        match row_for(name, exchange, difference) {
            Some(row) => rows.push(row),
            None => bad.push(mark(name, difference)),
        }
    }
    Ok((rows, bad))
}

/// All that differs in what was said and that no row allows: where, what, and in which exchange.
fn bad(ground: Ground<'_>, story: &Story, exchanges: &[Exchange]) -> Result<BTreeMap<Place, (Mark, Exchange)>> {
    let mut bad = BTreeMap::new();
    for exchange in exchanges.iter().filter(|exchange| ground.judges(story, exchange)) {
        for mark in judged(ground.catalogue, exchange)?.1 {
            let place = Place { step: exchange.step, is_again: exchange.is_again, field: mark.field.clone() };
            bad.entry(place).or_insert_with(|| (mark, exchange.clone()));
        }
    }
    Ok(bad)
}

/// A text without what no two tellings have alike: uuids, long numbers, producers' ids.
fn masked(text: &str) -> String {
    let mut out = String::new();
    for (at, word) in text.split_inclusive(|c: char| !c.is_ascii_alphanumeric() && c != '-').enumerate() {
        let core = word.trim_end_matches(|c: char| !c.is_ascii_alphanumeric());
        let rest = &word[core.len()..];
        let is_long =
            core.trim_start_matches('-').len() > 9 && core.trim_start_matches('-').bytes().all(|b| b.is_ascii_digit());
        let is_of_producer = at > 0 && out.ends_with("producer ") && core.bytes().all(|b| b.is_ascii_digit());
        out.push_str(if is_uuid(core) || is_long || is_of_producer { "<n>" } else { core });
        out.push_str(rest);
    }
    out
}

fn short(value: &Value, most: usize) -> String {
    let text = match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    if text.len() <= most {
        text
    } else {
        format!("{}… ({} characters)", text.chars().take(most).collect::<String>(), text.len())
    }
}

fn mark(api: &str, difference: &Difference) -> Mark {
    Mark {
        api: api.to_owned(),
        field: difference.field.clone(),
        kafka: masked(&short(&difference.kafka, 300)),
        headwater: masked(&short(&difference.headwater, 300)),
    }
}

fn is_refusal(answer: &Answer) -> bool {
    fn errs(value: &Value) -> bool {
        match value {
            Value::Object(members) => {
                members.iter().any(|(name, member)| name == "error_code" && member.as_i64() != Some(0) || errs(member))
            }
            Value::Array(elements) => elements.iter().any(errs),
            _ => false,
        }
    }
    match answer {
        Answer::Reply(reply) => errs(reply),
        _ => true,
    }
}

/// How long a part took.
pub fn timed<T>(name: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
    let clock = Clock::system();
    let start = clock.monotonic();
    let result = work()?;
    let took: Duration = clock.monotonic() - start;
    eprintln!("{:7.1} s  {name}", took.as_secs_f64());
    Ok(result)
}
