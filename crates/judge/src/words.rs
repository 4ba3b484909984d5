//! An event in words: one line, whole, so that a history can be read, and forged ones be written.

use std::fmt;

use crate::{Client, Event, Moment, Outcome, Refusal, Start, Value, What};

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:06}", self.0 / 1_000_000, self.0 % 1_000_000)
    }
}

impl fmt::Display for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "c{}", self.0)
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "v{}", self.0)
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.at, self.client, self.what)
    }
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SendBegan { key, value, idempotent } => {
                write!(f, "send {key} {value}{}", if *idempotent { "" } else { " plain" })
            }
            Self::Restamped { value } => write!(f, "restamped {value}"),
            Self::SendEnded { value, outcome } => {
                write!(f, "sent {value} ")?;
                ended(f, outcome, |f, offset| offset.map_or(Ok(()), |offset| write!(f, " {offset}")))
            }
            Self::Static { name, group } => write!(f, "static {name} in {group}"),
            Self::Assigned { keys, group, generation } => {
                write!(f, "assigned")?;
                for (key, start) in keys {
                    match start {
                        Start::At(offset) => write!(f, " {key} at {offset}")?,
                        Start::Committed(offset) => write!(f, " {key} committed {offset}")?,
                    }
                }
                group.as_ref().map_or(Ok(()), |group| write!(f, " in {group}"))?;
                of(f, *generation)
            }
            Self::Reset { key, to } => write!(f, "reset {key} {to}"),
            Self::Polled { key, records, garbage, high_watermark, log_start, connection } => {
                write!(f, "polled {key}")?;
                for (offset, value) in records {
                    write!(f, " {offset}:{value}")?;
                }
                for (offset, why) in garbage {
                    write!(f, " {offset}:garbage({why})")?;
                }
                write!(f, " high {high_watermark} start {log_start}")?;
                connection.map_or(Ok(()), |connection| write!(f, " over {connection}"))
            }
            Self::FetchRefused { key, offset, why } => write!(f, "refused {key} at {offset} ({why})"),
            Self::OffsetsBegan { key } => write!(f, "asks {key}"),
            Self::OffsetsEnded { key, earliest, latest } => {
                write!(f, "told {key}")?;
                earliest.map_or(Ok(()), |offset| write!(f, " earliest {offset}"))?;
                latest.map_or(Ok(()), |offset| write!(f, " latest {offset}"))
            }
            Self::CommitBegan { group, key, offset, number, generation } => {
                write!(f, "commit {group} {key} {offset} #{number}")?;
                of(f, *generation)
            }
            Self::CommitEnded { number, outcome } => {
                write!(f, "committed #{number} ")?;
                ended(f, outcome, |_, ()| Ok(()))
            }
            Self::CommittedBegan { group, key } => write!(f, "reads {group} {key}"),
            Self::CommittedEnded { group, key, offset } => match offset {
                Some(offset) => write!(f, "read {group} {key} {offset}"),
                None => write!(f, "read {group} {key} none"),
            },
            Self::TrimBegan { key, before } => write!(f, "trim {key} {before}"),
            Self::TrimEnded { key, outcome } => {
                write!(f, "trimmed {key} ")?;
                ended(f, outcome, |f, start| write!(f, " {start}"))
            }
            Self::Retained { key, milliseconds } => write!(f, "retained {key} {milliseconds}"),
            Self::ClockSet { clock, ahead } => write!(f, "clock {clock} ahead {ahead}"),
            Self::Named { topic, name } => write!(f, "named {topic} {name}"),
            Self::DeleteBegan { topic } => write!(f, "delete {topic}"),
            Self::DeleteEnded { topic, outcome } => {
                write!(f, "deleted {topic} ")?;
                ended(f, outcome, |_, ()| Ok(()))
            }
            Self::Gone => write!(f, "gone"),
            Self::Healed => write!(f, "healed"),
            Self::ReadWhole { key, from, end } => write!(f, "whole {key} {from} {end}"),
        }
    }
}

fn of(f: &mut fmt::Formatter<'_>, generation: Option<i32>) -> fmt::Result {
    generation.map_or(Ok(()), |generation| write!(f, " of {generation}"))
}

fn ended<T>(
    f: &mut fmt::Formatter<'_>,
    outcome: &Outcome<T>,
    done: impl FnOnce(&mut fmt::Formatter<'_>, &T) -> fmt::Result,
) -> fmt::Result {
    let refused = |f: &mut fmt::Formatter<'_>, how: &str, why: &Refusal| write!(f, "{how} ({why})");
    match outcome {
        Outcome::Done(what) => {
            write!(f, "done")?;
            done(f, what)
        }
        Outcome::Failed(why) => refused(f, "failed", why),
        Outcome::Unknown(why) => refused(f, "unknown", why),
    }
}
