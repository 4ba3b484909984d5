//! I-3: readers see only what may be acknowledged: durable records of a log that was seen not to be fenced afterwards.

use bytes::Bytes;

use super::Findings;
use super::durable::{Durable, Objection};
use super::tap::Listens;
use crate::client::value;
use crate::process::Process;

const NAME: &str = "I-3";
const VALUES: &str = "I-3: values that were shown";
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
    fn shown(&self, by: &Process, records: &Bytes) {
        for value in value::find_all(records) {
            self.findings.looked(VALUES);
            match self.durable.objection_to_showing(by, value) {
                Some(Objection::NotDurable) => {
                    self.findings.add(NAME, format_args!("{by:?} showed {value:?}, which is not durable"));
                }
                Some(Objection::Fenced { durable, fenced }) => self.findings.add(
                    NAME,
                    format_args!(
                        "{by:?} showed {value:?}, durable at {durable:?} in a log that was fenced at {fenced:?}"
                    ),
                ),
                Some(Objection::Unseen { durable, looked }) => self.findings.add(
                    NAME,
                    format_args!(
                        "{by:?} showed {value:?}, durable at {durable:?}, and looked at the fence at {looked:?} for the last time"
                    ),
                ),
                Some(Objection::Failed { .. } | Objection::Unread { .. }) | None => {}
            }
        }
    }
}
