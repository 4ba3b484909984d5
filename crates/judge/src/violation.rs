//! What a rule found.

use std::fmt;

use crate::{History, Key};

/// Something that no correct broker shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The rule that was broken.
    pub rule: &'static str,
    /// Of which partition, if it is about one.
    pub key: Option<Key>,
    /// What is wrong, in a sentence.
    pub words: String,
    /// The events that show it: places in the history, in order.
    pub events: Vec<usize>,
}

impl Violation {
    /// With the events that show it, one a line.
    pub fn shown<'a>(&'a self, history: &'a History) -> Shown<'a> {
        Shown { violation: self, history }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.rule)?;
        if let Some(key) = &self.key {
            write!(f, " of {key}")?;
        }
        write!(f, ": {}", self.words)
    }
}

/// A violation with its events, for people.
#[derive(Clone, Copy, Debug)]
pub struct Shown<'a> {
    violation: &'a Violation,
    history: &'a History,
}

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.violation)?;
        for &place in &self.violation.events {
            match self.history.0.get(place) {
                Some(event) => write!(f, "\n  #{place} {event}")?,
                None => write!(f, "\n  #{place} is not in this history")?,
            }
        }
        Ok(())
    }
}
