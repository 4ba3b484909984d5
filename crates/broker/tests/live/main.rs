//! A broker over the real metadata log, engine, block log and partitions, spoken to in real frames over TCP.

#![allow(clippy::unwrap_used, reason = "a test fails where it unwraps")]

mod admin;
mod broker_settings;
mod cold;
mod data;
mod fetch_answers;
mod fetch_waits;
mod groups;
mod long_requests;
mod mentions;
mod outage;
mod replaced;
mod replies;
mod settings;
mod settings_said;
mod support;
