//! Judges an acknowledged history: what a load generator saw acknowledged against what was read back afterwards,
//! and what a group committed against what it was given.
//!
//! The rules, one function each: every acknowledged record is read back at its offset with its bytes; no record
//! is there twice (with idempotence); order within a partition is the order of sending, without gaps; nothing is there that
//! was never sent; committed offsets never go back and a member never skips a record.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Display;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};

/// How many violations are kept; one is enough to fail, a thousand tell no more than fifty.
const VIOLATIONS_MAX: usize = 50;

/// What a load generator wrote down (`load` of the Go driver) and what a reader read back.
#[derive(Clone, Debug, Default)]
pub struct History {
    /// The name of the run, first part of each value.
    pub run: String,
    /// The length of each value.
    pub value_bytes: usize,
    /// How many records were handed to the client, by partition: sequence numbers `0..n`.
    pub sent: BTreeMap<u32, u64>,
    /// Acknowledged records: (partition, offset, sequence).
    pub acked: Vec<(u32, u64, u64)>,
    /// Records that the client gave up, with its words.
    pub failed: Vec<String>,
    /// What is in the log: offset and value, by partition, in the order of reading.
    pub read: BTreeMap<u32, Vec<(u64, Vec<u8>)>>,
}

impl History {
    /// Reads `sent.log`, `acked.log` and `failed.log` of a load and the read-back of `topic` (files of a consumer
    /// with offsets).
    ///
    /// # Errors
    /// When a file is missing or not of its form.
    pub fn load(
        journals: &Path,
        run: &str,
        value_bytes: usize,
        topic: &str,
        partitions: u32,
        read: &Path,
    ) -> Result<Self> {
        let mut history = Self { run: run.to_owned(), value_bytes, ..Self::default() };
        for line in lines(&journals.join("sent.log"))? {
            let [partition, seq] = numbers(&line)?;
            let next = history.sent.entry(u32::try_from(partition)?).or_default();
            ensure!(*next == seq, "sent.log: partition {partition} goes from {next} to {seq}");
            *next += 1;
        }
        for line in lines(&journals.join("acked.log"))? {
            let [partition, offset, seq, _milliseconds] = numbers(&line)?;
            history.acked.push((u32::try_from(partition)?, offset, seq));
        }
        history.failed = lines(&journals.join("failed.log"))?;
        for partition in 0..partitions {
            let path = crate::compare::partition_file(read, topic, partition);
            let mut records = Vec::new();
            if path.exists() {
                for line in fs::read(&path)?.split(|&byte| byte == b'\n').filter(|line| !line.is_empty()) {
                    let tab =
                        line.iter().position(|&byte| byte == b'\t').context("a read-back line without an offset")?;
                    records.push((std::str::from_utf8(&line[..tab])?.parse()?, line[tab + 1..].to_vec()));
                }
            }
            history.read.insert(partition, records);
        }
        Ok(history)
    }

    /// Every rule; the violations found, in words. `idempotent` adds the rules that only idempotence promises.
    pub fn violations(&self, idempotent: bool) -> Vec<String> {
        let mut found = Vec::new();
        self.each_acknowledged_record_is_at_its_offset(&mut found);
        self.nothing_was_made_up(&mut found);
        self.offsets_grow(&mut found);
        if idempotent {
            self.none_is_there_twice_or_out_of_order(&mut found);
            found.extend(self.failed.iter().map(|failure| format!("the client gave up a record: {failure}")));
        }
        found.truncate(VIOLATIONS_MAX);
        found
    }

    fn each_acknowledged_record_is_at_its_offset(&self, found: &mut Vec<String>) {
        let by_offset: HashMap<(u32, u64), &[u8]> = self
            .read
            .iter()
            .flat_map(|(&partition, records)| {
                records.iter().map(move |(offset, value)| ((partition, *offset), value.as_slice()))
            })
            .collect();
        let mut offsets = HashMap::new();
        for &(partition, offset, seq) in &self.acked {
            let expected = load_value(&self.run, partition, seq, self.value_bytes);
            match by_offset.get(&(partition, offset)) {
                Some(value) if *value == expected => {}
                other => found.push(format!(
                    "record {seq} of partition {partition} was acknowledged at offset {offset}, where there is {}",
                    shown(other.copied())
                )),
            }
            if let Some(other) = offsets.insert((partition, offset), seq) {
                found.push(format!(
                    "offset {offset} of partition {partition} was acknowledged to records {other} and {seq}"
                ));
            }
        }
    }

    fn nothing_was_made_up(&self, found: &mut Vec<String>) {
        for (partition, offset, seq, value) in self.parsed() {
            let known = seq.is_some_and(|seq| {
                seq < self.sent.get(&partition).copied().unwrap_or(0)
                    && value == load_value(&self.run, partition, seq, self.value_bytes)
            });
            if !known {
                found.push(format!(
                    "offset {offset} of partition {partition} holds what was never sent there: {}",
                    shown(Some(value))
                ));
            }
        }
    }

    fn offsets_grow(&self, found: &mut Vec<String>) {
        for (partition, records) in &self.read {
            for pair in records.windows(2).filter(|pair| pair[1].0 <= pair[0].0) {
                found.push(format!("partition {partition} was read at offset {} and then at {}", pair[0].0, pair[1].0));
            }
        }
    }

    /// With idempotence and endless retries the sequence numbers in the log are exactly 0, 1, 2 …
    fn none_is_there_twice_or_out_of_order(&self, found: &mut Vec<String>) {
        let mut next: HashMap<u32, u64> = HashMap::new();
        for (partition, offset, seq, _) in self.parsed() {
            let Some(seq) = seq else { continue };
            let expected = next.entry(partition).or_default();
            if seq != *expected {
                let what = if seq < *expected { "again or too late" } else { "too early" };
                found.push(format!(
                    "offset {offset} of partition {partition} holds record {seq} {what}: expected {expected}"
                ));
            }
            *expected = seq + 1;
        }
    }

    /// What was read: partition, offset, sequence number if the value bears one, value.
    fn parsed(&self) -> impl Iterator<Item = (u32, u64, Option<u64>, &[u8])> {
        self.read.iter().flat_map(|(&partition, records)| {
            records.iter().map(move |(offset, value)| {
                let seq = std::str::from_utf8(value).ok().and_then(|text| text.split('/').nth(2)?.parse().ok());
                (partition, *offset, seq, value.as_slice())
            })
        })
    }
}

/// The value of a record as the load generator makes it: `run/partition/seq/`, filled with `seq-seq-…`.
pub fn load_value(run: &str, partition: u32, seq: u64, bytes: usize) -> Vec<u8> {
    let mut value = format!("{run}/{partition}/{seq}/").into_bytes();
    let filling = format!("{seq}-").into_bytes();
    let missing = bytes.saturating_sub(value.len());
    let whole = value.len() + missing;
    value.extend(filling.repeat(missing.div_ceil(filling.len())));
    value.truncate(whole);
    value
}

/// What a group member wrote down (`tail` of the Go driver): its reads and the commits that a broker confirmed.
#[derive(Clone, Debug, Default)]
pub struct GroupHistory {
    /// Confirmed commits in order, by topic and partition.
    pub commits: BTreeMap<(String, u32), Vec<u64>>,
    /// What happened, in order.
    events: Vec<GroupEvent>,
}

#[derive(Clone, Debug)]
enum GroupEvent {
    Assigned((String, u32)),
    Read((String, u32), u64, u64),
    Commit((String, u32), u64),
}

impl GroupHistory {
    /// Reads `tail.log`.
    ///
    /// # Errors
    /// When it is missing or not of its form.
    pub fn load(journals: &Path) -> Result<Self> {
        let mut history = Self::default();
        for line in lines(&journals.join("tail.log"))? {
            let words: Vec<&str> = line.split('\t').collect();
            let place = || -> Result<(String, u32)> {
                let [_, topic, partition, ..] = words[..] else {
                    anyhow::bail!("tail.log: {line:?} names no partition")
                };
                Ok((topic.to_owned(), partition.parse()?))
            };
            let number = |index: usize| -> Result<u64> {
                Ok(words.get(index).context("tail.log: a line is cut short")?.parse()?)
            };
            match words[0] {
                "assigned" => history.events.push(GroupEvent::Assigned(place()?)),
                "read" => history.events.push(GroupEvent::Read(place()?, number(3)?, number(4)?)),
                "commit" => {
                    history.commits.entry(place()?).or_default().push(number(3)?);
                    history.events.push(GroupEvent::Commit(place()?, number(3)?));
                }
                "trouble" => {}
                other => anyhow::bail!("tail.log: unknown event {other:?}"),
            }
        }
        Ok(history)
    }

    /// The last confirmed commit of each partition.
    pub fn last_commits(&self) -> BTreeMap<(String, u32), u64> {
        self.commits.iter().filter_map(|(place, commits)| Some((place.clone(), *commits.iter().max()?))).collect()
    }

    /// Violations: a confirmed commit lower than an earlier one; a member that goes on before its committed offset or
    /// skips a record; a reader that goes back without having been assigned anew.
    pub fn violations(&self) -> Vec<String> {
        let mut found = Vec::new();
        let mut committed: HashMap<&(String, u32), u64> = HashMap::new();
        let mut position: HashMap<&(String, u32), u64> = HashMap::new();
        let mut fresh: HashMap<&(String, u32), bool> = HashMap::new();
        for event in &self.events {
            match event {
                GroupEvent::Assigned(place) => {
                    fresh.insert(place, true);
                }
                GroupEvent::Commit(place, offset) => {
                    let before = committed.entry(place).or_default();
                    if offset < before {
                        found.push(format!("{}: committed {before} and then {offset}", at(place)));
                    }
                    *before = (*before).max(*offset);
                }
                GroupEvent::Read(place, first, last) => {
                    let expected = position.get(place).copied().unwrap_or(0);
                    let start = committed.get(place).copied().unwrap_or(0);
                    if fresh.insert(place, false) == Some(true) {
                        if *first < start {
                            found.push(format!(
                                "{}: committed {start}, but an assignment went on at {first}",
                                at(place)
                            ));
                        }
                    } else if *first < expected {
                        found.push(format!("{}: read to {expected}, then back at {first}", at(place)));
                    }
                    if *first > expected {
                        found.push(format!("{}: read to {expected}, then skipped to {first}", at(place)));
                    }
                    position.insert(place, last + 1);
                }
            }
        }
        found.truncate(VIOLATIONS_MAX);
        found
    }
}

fn at(place: &(String, u32)) -> impl Display {
    format!("group at {}-{}", place.0, place.1)
}

fn shown(value: Option<&[u8]>) -> String {
    const SHOWN_BYTES: usize = 40;
    value.map_or_else(
        || "nothing".to_owned(),
        |value| format!("{:?}", String::from_utf8_lossy(&value[..value.len().min(SHOWN_BYTES)])),
    )
}

/// The whole lines of a journal; a line without its end was being written when we looked.
fn lines(path: &Path) -> Result<Vec<String>> {
    let text = fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
    Ok(text.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n')).map(str::to_owned).collect())
}

fn numbers<const N: usize>(line: &str) -> Result<[u64; N]> {
    let parsed: Vec<u64> =
        line.split('\t').map(str::parse).collect::<Result<_, _>>().with_context(|| format!("journal line {line:?}"))?;
    parsed.try_into().map_err(|_| anyhow::anyhow!("journal line {line:?} should have {N} numbers"))
}

#[cfg(test)]
mod tests;
