//! I-9: bytes are checked again where they are used: what leaves a broker has the checksum that its producer gave it.

use bytes::Bytes;
use records::RecordsError;

use super::Findings;
use super::tap::Listens;
use crate::process::Process;

const NAME: &str = "I-9";

/// See the module.
pub(super) struct Checker {
    findings: Findings,
}

impl Checker {
    pub(super) fn new(findings: &Findings) -> Self {
        Self { findings: findings.clone() }
    }
}

impl Listens for Checker {
    fn shown(&self, by: &Process, records: &Bytes) {
        for (number, batch) in records::batches(records).enumerate() {
            let checked = batch.and_then(|batch| batch.verify_crc());
            match checked {
                // What did not fit in wholly; the first batch always does.
                Err(RecordsError::Truncated { .. }) if number > 0 => {}
                Err(error) => self.findings.add(NAME, format_args!("{by:?} showed what is no whole batch: {error}")),
                Ok(()) => {}
            }
        }
    }
}
