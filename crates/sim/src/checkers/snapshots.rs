//! Replaying records is the only way the image changes: a snapshot is what its entries replay to.

use std::collections::BTreeMap;

use base::MetaSequence;
use meta::Image;
use meta::names::SNAPSHOTS;
use parking_lot::Mutex;

use super::{Entry, Findings, FollowsMetadata};
use crate::store::Effect;

const NAME: &str = "snapshots";
const KNOWN: &str = "snapshots: snapshots whose last entry is known";
pub(super) const LOOKS: &[&str] = &[KNOWN];
/// Images that are kept, the newest: a snapshot comes soon after its last entry, or late from one who stalled.
const IMAGES_MAX: usize = 4_096;

/// See the module.
pub(super) struct Checker {
    findings: Findings,
    /// What the log said after each entry.
    images: Mutex<BTreeMap<MetaSequence, Image>>,
}

impl Checker {
    pub(super) fn new(findings: &Findings) -> Self {
        Self { findings: findings.clone(), images: Mutex::default() }
    }
}

impl FollowsMetadata for Checker {
    fn entry(&self, entry: &Entry<'_>) {
        let mut images = self.images.lock();
        images.insert(entry.header.sequence, entry.after.clone());
        if images.len() > IMAGES_MAX {
            images.pop_first();
        }
    }

    fn effect(&self, effect: &Effect<'_>, _: &Image) {
        let number = effect.key.strip_prefix(SNAPSHOTS).and_then(|digits| digits.parse().ok());
        let (Some(sequence), Some(bytes)) = (number.map(MetaSequence), effect.after) else { return };
        let (key, by) = (effect.key, effect.process);
        let images = self.images.lock();
        if images.contains_key(&sequence) {
            self.findings.looked(KNOWN);
        }
        match (Image::from_snapshot(bytes, sequence, key), images.get(&sequence)) {
            (Err(error), _) => self.findings.add(NAME, format_args!("{by:?} wrote {key}: {error}")),
            (Ok(read), Some(image)) if read != *image => {
                self.findings.add(NAME, format_args!("{by:?} wrote {key}, which is not what the log says"));
            }
            _ => {}
        }
    }
}
