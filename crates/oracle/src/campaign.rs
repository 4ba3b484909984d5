//! Takes a pair through many stories and says where the two differ.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Write as _};
use std::time::Duration;

use anyhow::{Context, Result};
use base::Clock;
use serde_json::Value;

use crate::allowed::row_for;
use crate::codec::encode;
use crate::compare::Difference;
use crate::connection::Answer;
use crate::pair::Pair;
use crate::plant::Plant;
use crate::run::{Exchange, Telling};
use crate::shrink::shrink;
use crate::story::{Step, Story};

/// How often a story that differed is told again: what does not recur is of the moment.
const CONFIRMATIONS: usize = 2;
/// Findings that are made small; of a flood the first few tell enough.
const SHRUNK_MAX: usize = 12;
/// Findings that are shown with their story.
const SHOWN_MAX: usize = 60;

/// What of a story differs: API, version, field, what the two say.
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
    /// What differed once and not again.
    pub unsteady: Vec<String>,
    /// How often each falsification of an answer showed.
    pub exposed: BTreeMap<&'static str, usize>,
}

impl Outcome {
    /// Requests whose answers were compared.
    pub fn cases(&self) -> usize {
        self.tallies.values().map(|tally| tally.cases).sum()
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
        self.unsteady.extend(other.unsteady);
        for (plant, count) in other.exposed {
            *self.exposed.entry(plant).or_default() += count;
        }
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
    /// What came of it so far.
    pub outcome: Outcome,
    told: Vec<(Story, Telling)>,
}

impl<'p, 'c> Campaign<'p, 'c> {
    /// Begins one.
    pub fn new(pair: &'p mut Pair<'c>, plant: Option<Plant>) -> Self {
        Self { pair, plant, shrinks: true, outcome: Outcome::default(), told: Vec::new() }
    }

    /// Tells a story and judges it. One that `lasts` is asked about again after a restart.
    ///
    /// # Errors
    /// When the harness fails.
    pub fn tell(&mut self, story: Story, lasts: bool) -> Result<()> {
        let mut telling = Telling::begin(self.pair, self.plant)?;
        let exchanges = telling.tell(self.pair.catalogue, &story)?;
        self.outcome.stories.insert(story.name.clone());
        self.outcome.told += 1;
        self.judge(&story, &exchanges)?;
        if lasts {
            self.told.push((story, telling));
        }
        Ok(())
    }

    /// Restarts both and asks again what lasts.
    ///
    /// # Errors
    /// When the harness fails.
    pub fn restart(&mut self) -> Result<()> {
        self.pair.restart()?;
        for (story, mut telling) in std::mem::take(&mut self.told) {
            let exchanges = telling.again(self.pair.catalogue, &story)?;
            self.judge(&story, &exchanges)?;
        }
        Ok(())
    }

    fn judge(&mut self, story: &Story, exchanges: &[Exchange]) -> Result<()> {
        let mut suspects: BTreeMap<Mark, Exchange> = BTreeMap::new();
        for exchange in exchanges {
            let tally = self.outcome.tallies.entry((exchange.api, exchange.version)).or_default();
            tally.cases += 1;
            for plant in &exchange.exposed {
                *self.outcome.exposed.entry(plant).or_default() += 1;
            }
            if is_refusal(&exchange.answers[0]) {
                tally.refused += 1;
            }
            let name = self.pair.catalogue.api(exchange.api)?.snake.clone();
            let mut bad = Vec::new();
            for difference in &exchange.differences {
                match row_for(&name, exchange.version, &exchange.asked, difference) {
                    Some(row) => *self.outcome.rows.entry(row).or_default() += 1,
                    None => bad.push(difference),
                }
            }
            match (exchange.differences.is_empty(), bad.is_empty()) {
                (true, _) => tally.agree += 1,
                (false, true) => tally.allowed += 1,
                (false, false) => {}
            }
            for difference in bad {
                suspects.entry(mark(&name, difference)).or_insert_with(|| exchange.clone());
            }
        }
        for (mark, exchange) in self.confirmed(story, suspects)? {
            let mut smallest = story.clone();
            if self.shrinks && !exchange.is_again && self.outcome.findings.len() < SHRUNK_MAX {
                let mut failed = None;
                smallest = shrink(story, |smaller| match self.recurs(smaller, &mark) {
                    Ok(recurs) => recurs,
                    Err(error) => {
                        failed = Some(error);
                        false
                    }
                });
                if let Some(error) = failed {
                    return Err(error).context("while a story was made smaller");
                }
            }
            let shown = if self.outcome.findings.len() < SHOWN_MAX {
                self.show(story, &smallest, &mark, &exchange)?
            } else {
                format!("{mark}\n  story '{}', seed {}", story.name, story.seed)
            };
            eprintln!("DIFFERS {shown}");
            let versions = BTreeSet::from([exchange.version]);
            self.outcome.findings.insert(mark.clone(), Finding { mark, versions, times: 1, shown });
        }
        Ok(())
    }

    /// Of what differs, what is not known yet and recurs when the story is told again.
    fn confirmed(&mut self, story: &Story, mut suspects: BTreeMap<Mark, Exchange>) -> Result<BTreeMap<Mark, Exchange>> {
        suspects.retain(|mark, exchange| match self.outcome.findings.get_mut(mark) {
            None => true,
            Some(known) => {
                known.times += 1;
                known.versions.insert(exchange.version);
                false
            }
        });
        for _ in 0..CONFIRMATIONS {
            // What was asked after a restart is not asked again without one.
            if suspects.values().all(|exchange| exchange.is_again) {
                break;
            }
            let marks = self.marks(story)?;
            suspects.retain(|mark, exchange| {
                let recurs = exchange.is_again || marks.contains(mark);
                if !recurs {
                    self.outcome.unsteady.push(format!("{} seed {}: {mark:?}", story.name, story.seed));
                }
                recurs
            });
        }
        Ok(suspects)
    }

    /// All that differs in a story.
    fn marks(&mut self, story: &Story) -> Result<BTreeSet<Mark>> {
        let mut marks = BTreeSet::new();
        for exchange in Telling::begin(self.pair, self.plant)?.tell(self.pair.catalogue, story)? {
            let name = &self.pair.catalogue.api(exchange.api)?.snake;
            marks.extend(exchange.differences.iter().map(|difference| mark(name, difference)));
        }
        Ok(marks)
    }

    fn recurs(&mut self, story: &Story, wanted: &Mark) -> Result<bool> {
        Ok(self.marks(story)?.contains(wanted))
    }

    fn show(&mut self, story: &Story, smallest: &Story, wanted: &Mark, first: &Exchange) -> Result<String> {
        let mut exchange = first.clone();
        let mut asked = Vec::new();
        if !first.is_again {
            let exchanges = Telling::begin(self.pair, self.plant)?.tell(self.pair.catalogue, smallest)?;
            for candidate in exchanges {
                let name = &self.pair.catalogue.api(candidate.api)?.snake;
                if candidate.differences.iter().any(|difference| mark(name, difference) == *wanted) {
                    exchange = candidate;
                    break;
                }
            }
        }
        for (at, step) in smallest.steps.iter().enumerate() {
            let line = match step {
                Step::Ask(ask) => {
                    let api = self.pair.catalogue.api(ask.api)?;
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
            difference.field == wanted.field && short(&difference.headwater, 300) == wanted.headwater
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
        kafka: short(&difference.kafka, 300),
        headwater: short(&difference.headwater, 300),
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
