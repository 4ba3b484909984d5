//! I-8: a first write, sync or corruption error on a log fences it: no acknowledgement follows.
//!
//! What became durable after a write of the same log had failed is neither acknowledged nor shown.

use bytes::Bytes;
use judge::Value;

use super::Findings;
use super::durable::{Durable, Objection};
use super::tap::Listens;
use crate::client::value;
use crate::process::Process;

const NAME: &str = "I-8";

/// See the module.
pub(super) struct Checker {
    findings: Findings,
    durable: Durable,
}

impl Checker {
    fn told(&self, by: &Process, value: Value, how: &str) {
        if let Some(Objection::Failed { durable, failed }) = self.durable.objection(by, value) {
            let words =
                format_args!("{by:?} {how} {value:?}, durable at {durable:?} in a log that failed at {failed:?}");
            self.findings.add(NAME, words);
        }
    }
}

impl Checker {
    pub(super) fn new((findings, durable): (Findings, Durable)) -> Self {
        Self { findings, durable }
    }
}

impl Listens for Checker {
    fn acknowledged(&self, by: &Process, values: &[Value]) {
        values.iter().for_each(|value| self.told(by, *value, "acknowledged"));
    }

    fn shown(&self, by: &Process, records: &Bytes) {
        value::find_all(records).into_iter().for_each(|value| self.told(by, value, "showed"));
    }
}
