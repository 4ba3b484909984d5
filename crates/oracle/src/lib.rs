//! Headwater beside Apache Kafka: the same requests, the replies compared field by field.
//!
//! ```text
//! generate, stories ──Story──► run ──frames──► Kafka      ┐
//!                               └────frames──► Headwater  ┴──► normal ──► compare ──► allowed ──► campaign
//! ```

#![allow(clippy::print_stderr, reason = "a program for developers")]

pub mod allowed;
pub mod campaign;
pub mod catalogue;
pub mod clients;
pub mod codec;
pub mod compare;
pub mod compression;
pub mod connection;
pub mod generate;
pub mod normal;
pub mod page;
pub mod pair;
pub mod plan;
pub mod plant;
pub mod random;
pub mod records;
pub mod run;
pub mod shrink;
pub mod stories;
pub mod story;

#[cfg(test)]
mod tests;
