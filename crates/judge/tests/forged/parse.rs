//! Histories in the words of `Display`, one event a line; each is a millisecond later than the one before.
//!
//! ```text
//! == a name
//! promises: whole fresh      what is promised: nothing, unless it stands here
//! expect: clean              or the rules that are broken, all of them
//! c1 send a-0 v1
//! @20                        it is so many seconds later now
//! c1 sent v1 done 0
//! ```

use std::iter::Peekable;
use std::str::FromStr;
use std::sync::Arc;

use judge::{Client, Event, Fetches, History, Key, Moment, Outcome, Promises, Start, Value, What};

/// A history with the verdict that it deserves.
#[derive(Clone)]
pub struct Forged {
    pub name: String,
    pub promises: Promises,
    /// The rules that it breaks, in order of their names.
    pub expected: Vec<String>,
    pub history: History,
    /// The lines of its events, without the client.
    pub lines: Vec<String>,
}

pub fn parse(text: &str) -> Vec<Forged> {
    let mut all: Vec<Forged> = Vec::new();
    let mut now = 0;
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
        if let Some(name) = line.strip_prefix("== ") {
            // Any age, and nothing is read whole.
            let fetches = Fetches::CurrentAfterHealed(10_000_000);
            let promises = Promises { whole_reads: false, fetches, sends_by_id: false };
            let (name, expected) = (name.to_owned(), Vec::new());
            all.push(Forged { name, promises, expected, history: History::default(), lines: Vec::new() });
            now = 0;
            continue;
        }
        let forged = all.last_mut().expect("a history begins with its name");
        if let Some(promises) = line.strip_prefix("promises: ") {
            for promise in promises.split_whitespace() {
                match promise {
                    "ids" => forged.promises.sends_by_id = true,
                    "whole" => forged.promises.whole_reads = true,
                    "fresh" => forged.promises.fetches = Fetches::NoOlderThan(0),
                    "taken" => forged.promises.fetches = Fetches::CurrentOnceTaken,
                    "second" => forged.promises.fetches = Fetches::NoOlderThan(1_000_000),
                    _ => panic!("{}: what is {promise}?", forged.name),
                }
            }
        } else if let Some(expected) = line.strip_prefix("expect: ") {
            forged.expected = expected.split_whitespace().filter(|&rule| rule != "clean").map(str::to_owned).collect();
            forged.expected.sort();
        } else if let Some(seconds) = line.strip_prefix('@') {
            now = seconds.parse::<u64>().unwrap() * 1_000_000;
        } else {
            now += 1_000;
            let (client, words) = line.strip_prefix('c').and_then(|line| line.split_once(' ')).unwrap();
            let what = what(words).unwrap_or_else(|| panic!("{}: what is `{line}`?", forged.name));
            let event = Event { at: Moment(now), client: Client(client.parse().unwrap()), what };
            forged.history.0.push(event);
            forged.lines.push(words.to_owned());
        }
    }
    all
}

fn what(words: &str) -> Option<What> {
    let mut words = words.split_whitespace().peekable();
    let what = match words.next()? {
        "send" => {
            let (key, value) = (key(words.next()?)?, value(words.next()?)?);
            What::SendBegan { key, value, idempotent: words.next_if_eq(&"plain").is_none() }
        }
        "restamped" => What::Restamped { value: value(words.next()?)? },
        "sent" => {
            let value = value(words.next()?)?;
            What::SendEnded { value, outcome: outcome(&mut words, |done| Some(done.and_then(number)))? }
        }
        "static" => {
            let name = Arc::from(words.next()?);
            What::Static { name, group: words.next().and_then(|_| words.next()).map(Arc::from)? }
        }
        "assigned" => {
            let mut keys = Vec::new();
            while let Some(word) = words.next_if(|&word| word != "in") {
                let start = match (words.next()?, number(words.next()?)?) {
                    ("at", offset) => Start::At(offset),
                    ("committed", offset) => Start::Committed(offset),
                    _ => return None,
                };
                keys.push((key(word)?, start));
            }
            let group = words.next().and_then(|_| words.next()).map(Arc::from);
            What::Assigned { keys, group, generation: after(&mut words, "of") }
        }
        "reset" => What::Reset { key: key(words.next()?)?, to: number(words.next()?)? },
        "polled" => {
            let key = key(words.next()?)?;
            let (mut records, mut garbage) = (Vec::new(), Vec::new());
            while let Some(word) = words.next_if(|&word| word != "high") {
                let (offset, what) = word.split_once(':')?;
                match what.strip_prefix("garbage(") {
                    Some(why) => garbage.push((number(offset)?, Arc::from(why.strip_suffix(')')?))),
                    None => records.push((number(offset)?, value(what)?)),
                }
            }
            let high_watermark = words.next().and_then(|_| words.next()).and_then(number)?;
            let log_start = words.next().and_then(|_| words.next()).and_then(number)?;
            let connection = after(&mut words, "over");
            What::Polled { key, records, garbage, high_watermark, log_start, connection }
        }
        "refused" => {
            let (key, offset) = (key(words.next()?)?, after(&mut words, "at")?);
            What::FetchRefused { key, offset, why: words.next()?.strip_prefix('(')?.strip_suffix(')')?.into() }
        }
        "asks" => What::OffsetsBegan { key: key(words.next()?)? },
        "told" => {
            let key = key(words.next()?)?;
            let mut told = |name| words.next_if_eq(&name).and_then(|_| words.next()).and_then(number);
            What::OffsetsEnded { key, earliest: told("earliest"), latest: told("latest") }
        }
        "commit" => {
            let (group, key, offset) = (Arc::from(words.next()?), key(words.next()?)?, number(words.next()?)?);
            let number = words.next()?.strip_prefix('#')?.parse().ok()?;
            What::CommitBegan { group, key, offset, number, generation: after(&mut words, "of") }
        }
        "committed" => {
            let number = words.next()?.strip_prefix('#')?.parse().ok()?;
            What::CommitEnded { number, outcome: outcome(&mut words, |_| Some(()))? }
        }
        "reads" => What::CommittedBegan { group: Arc::from(words.next()?), key: key(words.next()?)? },
        "read" => {
            let (group, key) = (Arc::from(words.next()?), key(words.next()?)?);
            What::CommittedEnded { group, key, offset: number(words.next()?) }
        }
        "trim" => What::TrimBegan { key: key(words.next()?)?, before: number(words.next()?)? },
        "trimmed" => {
            let key = key(words.next()?)?;
            What::TrimEnded { key, outcome: outcome(&mut words, |done| number(done?))? }
        }
        "retained" => {
            What::Retained { key: key(words.next()?)?, milliseconds: words.next().and_then(|word| word.parse().ok())? }
        }
        "clock" => {
            let clock = words.next()?.parse().ok()?;
            What::ClockSet { clock, ahead: after(&mut words, "ahead")? }
        }
        "named" => What::Named { topic: Arc::from(words.next()?), name: Arc::from(words.next()?) },
        "delete" => What::DeleteBegan { topic: Arc::from(words.next()?) },
        "deleted" => {
            let topic = Arc::from(words.next()?);
            What::DeleteEnded { topic, outcome: outcome(&mut words, |_| Some(()))? }
        }
        "gone" => What::Gone,
        "healed" => What::Healed,
        "whole" => {
            What::ReadWhole { key: key(words.next()?)?, from: number(words.next()?)?, end: number(words.next()?)? }
        }
        _ => return None,
    };
    words.next().is_none().then_some(what)
}

/// The number behind this word, if it comes next.
fn after<'a, T: FromStr>(words: &mut Peekable<impl Iterator<Item = &'a str>>, word: &str) -> Option<T> {
    words.next_if_eq(&word).and_then(|_| words.next())?.parse().ok()
}

fn key(word: &str) -> Option<Key> {
    let (topic, partition) = word.rsplit_once('-')?;
    Some(Key { topic: Arc::from(topic), partition: partition.parse().ok()? })
}

fn value(word: &str) -> Option<Value> {
    word.strip_prefix('v')?.parse().ok().map(Value)
}

fn number(word: &str) -> Option<i64> {
    word.parse().ok()
}

fn outcome<'a, T>(
    words: &mut impl Iterator<Item = &'a str>,
    done: impl FnOnce(Option<&'a str>) -> Option<T>,
) -> Option<Outcome<T>> {
    let how = words.next()?;
    let rest = words.next();
    let why = || rest.and_then(|word| word.strip_prefix('(')?.strip_suffix(')')).map(Arc::from);
    match how {
        "done" => done(rest).map(Outcome::Done),
        "failed" => why().map(Outcome::Failed),
        "unknown" => why().map(Outcome::Unknown),
        _ => None,
    }
}
