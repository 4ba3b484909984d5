//! I-8: a first write, sync or corruption error on a log fences it: no acknowledgement follows.
//!
//! What became durable after a write of the same log had failed is neither acknowledged nor shown, nor what was durable when
//! its owner could not read whether the log was fenced.

use bytes::Bytes;
use judge::Value;

use super::Findings;
use super::durable::{Durable, Objection};
use super::tap::Listens;
use crate::client::value;
use crate::process::Process;

const NAME: &str = "I-8";
const VALUES: &str = "I-8: values that were acknowledged or shown";
pub(super) const LOOKS: &[&str] = &[VALUES];

/// See the module.
pub(super) struct Checker {
    findings: Findings,
    durable: Durable,
}

impl Checker {
    fn told(&self, by: &Process, value: Value, how: &str, objection: Option<Objection>) {
        self.findings.looked(VALUES);
        match objection {
            Some(Objection::Failed { durable, failed }) => {
                let words =
                    format_args!("{by:?} {how} {value:?}, durable at {durable:?} in a log that failed at {failed:?}");
                self.findings.add(NAME, words);
            }
            Some(Objection::Unread { durable, failed }) => {
                let words = format_args!(
                    "{by:?} {how} {value:?}, durable at {durable:?}, though its look at the fence failed at {failed:?}"
                );
                self.findings.add(NAME, words);
            }
            _ => {}
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
        for value in values {
            self.told(by, *value, "acknowledged", self.durable.objection(by, *value));
        }
    }

    fn shown(&self, by: &Process, records: &Bytes) {
        for value in value::find_all(records) {
            self.told(by, value, "showed", self.durable.objection_to_showing(by, value));
        }
    }
}
