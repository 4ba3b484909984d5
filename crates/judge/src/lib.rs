//! Judges what clients did and saw against what Kafka promises.
//!
//! A [`History`] is written by whatever drives clients, simulated ones or real processes; nothing here knows which. The
//! anchor is Jepsen's Kafka workload.

pub mod history;

pub use history::{Client, Committed, Event, GroupName, History, Key, Moment, Outcome, Refusal, Start, Value, What};
