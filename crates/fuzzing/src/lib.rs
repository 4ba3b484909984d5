//! Fuzz targets: decoders that no bytes may make panic.
//!
//! A development crate. A target takes any bytes; the tests run every target on stable Rust over mutated valid bytes, and
//! `fuzz/` gives the same functions to `cargo fuzz`, which looks for bytes that reach further. Where a checksum stands
//! before a parser, the target also tries the bytes with the right checksum put in, or nothing behind it would be met.

mod log;
mod messages;
mod objects;
pub mod record_sets;
#[cfg(test)]
mod tests;

use bytes::Bytes;

/// Something to be fuzzed.
pub struct Target {
    /// Its name, also that of its file in `fuzz/fuzz_targets`.
    pub name: &'static str,
    /// Decodes the bytes; panics only when a decoder is wrong.
    pub run: fn(&Bytes),
    /// Valid inputs to begin from.
    pub seeds: fn() -> Vec<Vec<u8>>,
}

/// All of them.
pub const TARGETS: &[Target] = &[
    Target { name: "messages", run: messages::run, seeds: messages::seeds },
    Target { name: "record_sets", run: record_sets::run, seeds: record_sets::seeds },
    Target { name: "objects", run: objects::run, seeds: objects::seeds },
    Target { name: "write_ahead_log", run: log::run_wal, seeds: log::wal_seeds },
    Target { name: "metadata_log", run: log::run_metadata, seeds: log::metadata_seeds },
];

/// Runs a target on what a fuzzer found.
pub fn fuzz(name: &str, data: &[u8]) {
    let target = TARGETS.iter().find(|target| target.name == name).unwrap_or_else(|| panic!("no target named {name}"));
    (target.run)(&Bytes::copy_from_slice(data));
}

/// `bytes` with the CRC-32C of everything but its four bytes put in at `at`.
fn sealed(bytes: &[u8], at: usize) -> Option<Vec<u8>> {
    let mut bytes = bytes.to_vec();
    let crc = base::checksum::crc32c_of([bytes.get(..at)?, bytes.get(at + 4..)?]);
    bytes[at..at + 4].copy_from_slice(&crc.to_be_bytes());
    Some(bytes)
}
