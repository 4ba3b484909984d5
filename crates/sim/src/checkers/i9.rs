//! I-9: bytes are checked again where they are used: what leaves a broker has the checksum that its producer gave it.
//!
//! No topic of a run has records stamped or compressed anew, and no reader is so old that they are converted for it: each
//! batch that is shown is, behind what the log stamps outside of the checksum, one that a producer sent.

use std::collections::BTreeSet;

use bytes::Bytes;
use parking_lot::Mutex;
use records::{Batch, RecordsError};

use super::Findings;
use super::tap::Listens;
use crate::process::Process;

const NAME: &str = "I-9";
const BATCHES: &str = "I-9: batches that were shown";
pub(super) const LOOKS: &[&str] = &[BATCHES];

/// See the module.
pub(super) struct Checker {
    findings: Findings,
    /// Checksums of all batches that producers have sent.
    sent: Mutex<BTreeSet<u32>>,
}

impl Checker {
    pub(super) fn new(findings: &Findings) -> Self {
        Self { findings: findings.clone(), sent: Mutex::default() }
    }

    fn look(&self, by: &Process, batch: &Batch) -> Result<(), RecordsError> {
        self.findings.looked(BATCHES);
        batch.verify_crc()?;
        let crc = batch.header.crc;
        if !self.sent.lock().contains(&crc) {
            let words = format_args!("{by:?} showed a batch of checksum {crc:08x}, which no producer has sent");
            self.findings.add(NAME, words);
        }
        Ok(())
    }
}

impl Listens for Checker {
    fn sent(&self, records: &Bytes) {
        self.sent.lock().extend(records::batches(records).flatten().map(|batch| batch.header.crc));
    }

    fn shown(&self, by: &Process, records: &Bytes) {
        for (number, batch) in records::batches(records).enumerate() {
            match batch.and_then(|batch| self.look(by, &batch)) {
                // What did not fit in wholly; the first batch always does.
                Err(RecordsError::Truncated { .. }) if number > 0 => {}
                Err(error) => self.findings.add(NAME, format_args!("{by:?} showed what is no whole batch: {error}")),
                Ok(()) => {}
            }
        }
    }
}
