//! I-7: a name once used for fencing or ordering is never created twice with success.
//!
//! Claims, and what they call void, are never deleted. Entries go only after the marker of their range stands, and that
//! only after a snapshot that reaches beyond the range. Markers are never replaced and never deleted. Whoever makes an entry
//! where a marker stands was free to because what stood there is deleted: it writes nothing behind it, before it has read
//! the log again and claimed the office where it ends.

use base::MetaSequence;
use blob::Operation;
use meta::Image;
use meta::names::{FLOORS, RANGE_ENTRIES, SNAPSHOTS};

use super::{Findings, FollowsMetadata};
use crate::process::Process;
use crate::store::{Effect, ObjectStore};

const NAME: &str = "I-7";
const MARKERS: &str = "I-7: floor markers";
const DELETED: &str = "I-7: deletions of entries";
pub(super) const LOOKS: &[&str] = &[MARKERS, DELETED];
const LOG: &str = "meta/log/";

/// See the module.
pub(super) struct Checker {
    findings: Findings,
    store: ObjectStore,
}

impl Checker {
    pub(super) fn new(findings: &Findings, store: &ObjectStore) -> Self {
        Self { findings: findings.clone(), store: store.clone() }
    }

    /// The end of the entries that the newest snapshot covers.
    fn covered(&self) -> u64 {
        let snapshots = self.store.objects(SNAPSHOTS);
        snapshots.iter().filter_map(|(key, _)| number(key, SNAPSHOTS)).map(|last| last + 1).max().unwrap_or(0)
    }
}

fn number(key: &str, prefix: &str) -> Option<u64> {
    key.strip_prefix(prefix)?.parse().ok()
}

/// Whether entries of that name's range may have been deleted.
pub(super) fn is_cut(store: &ObjectStore, key: &str) -> bool {
    number(key, LOG).is_some_and(|sequence| store.object(&marker(sequence)).is_some())
}

/// A process writes another entry, though it was told that its last one stands where a marker was.
pub(super) fn went_on(findings: &Findings, by: &Process, key: &str, cut: &str) {
    findings.add(NAME, format_args!("{by:?} creates {key} behind {cut}, which it made where a floor marker stands"));
}

fn marker(sequence: u64) -> String {
    format!("{FLOORS}{:020}", sequence / RANGE_ENTRIES)
}

impl FollowsMetadata for Checker {
    fn effect(&self, effect: &Effect<'_>, image: &Image) {
        let (key, by) = (effect.key, effect.process);
        if let Some(range) = number(key, FLOORS) {
            self.findings.looked(MARKERS);
            if effect.operation != Operation::Create {
                self.findings.add(NAME, format_args!("{by:?} did {} to the marker {key}", effect.operation.label()));
            } else if self.covered() < (range + 1) * RANGE_ENTRIES {
                self.findings.add(NAME, format_args!("{by:?} made {key}, and no snapshot covers that range"));
            }
        }
        let Some(sequence) = number(key, LOG) else { return };
        if effect.operation != Operation::Delete {
            self.findings.add(NAME, format_args!("{by:?} did {} to {key}", effect.operation.label()));
            return;
        }
        self.findings.looked(DELETED);
        if image.keeps(MetaSequence(sequence)) {
            self.findings.add(NAME, format_args!("{by:?} deleted {key}, which is a claim or void"));
        }
        let marker = marker(sequence);
        if self.store.object(&marker).is_none() {
            self.findings.add(NAME, format_args!("{by:?} deleted {key}, and {marker} is not there"));
        }
        if self.covered() <= sequence {
            self.findings.add(NAME, format_args!("{by:?} deleted {key}, which no snapshot covers"));
        }
    }
}
