//! The proofs: real clients of eight kinds, real kills, a real S3 server, Kafka's own tools.
//!
//! Each module is one promise of the README. `clients/install` gets what they need; nothing is skipped when it is missing.

#![allow(clippy::unwrap_used, reason = "a test fails where it unwraps")]
#![allow(clippy::print_stdout, reason = "the report of a proof is worth reading when it passes, too")]

mod bucket;
mod kill_nine;
mod matrix;
mod support;
mod tools;
