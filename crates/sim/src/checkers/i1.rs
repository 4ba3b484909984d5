//! I-1: a produce is acknowledged only after its batches are durable in the log and then the log was seen not to be fenced.

use judge::Value;

use super::Findings;
use super::durable::{Durable, Objection};
use super::tap::Listens;
use crate::process::Process;

const NAME: &str = "I-1";
const VALUES: &str = "I-1: values that were acknowledged";
pub(super) const LOOKS: &[&str] = &[VALUES];

/// See the module.
pub(super) struct Checker {
    findings: Findings,
    durable: Durable,
}

impl Checker {
    pub(super) fn new((findings, durable): (Findings, Durable)) -> Self {
        Self { findings, durable }
    }
}

impl Listens for Checker {
    fn acknowledged(&self, by: &Process, values: &[Value]) {
        for value in values {
            self.findings.looked(VALUES);
            match self.durable.objection(by, *value) {
                Some(Objection::NotDurable) => {
                    self.findings.add(NAME, format_args!("{by:?} acknowledged {value:?}, which is not durable"));
                }
                Some(Objection::Fenced { durable, fenced }) => self.findings.add(
                    NAME,
                    format_args!(
                        "{by:?} acknowledged {value:?}, durable at {durable:?} in a log that was fenced at {fenced:?}"
                    ),
                ),
                Some(Objection::Unseen { durable, looked }) => self.findings.add(
                    NAME,
                    format_args!(
                        "{by:?} acknowledged {value:?}, durable at {durable:?}, and looked at the fence at {looked:?} for the last time"
                    ),
                ),
                Some(Objection::Failed { .. } | Objection::Unread { .. }) | None => {}
            }
        }
    }
}
