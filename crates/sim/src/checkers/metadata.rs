//! What the metadata log says, read from the bucket as its entries are made.

use base::MetaSequence;
use blob::Operation;
use meta::Image;
use meta::format::decode_entry;
use parking_lot::Mutex;

use super::{Entry, Findings, FollowsMetadata};
use crate::store::{Effect, Observer};

const NAME: &str = "metadata";
const ENTRIES: &str = "metadata: entries";
pub(super) const LOOKS: &[&str] = &[ENTRIES];

/// Follows the log, and tells others what it says.
pub struct View {
    findings: Findings,
    image: Mutex<Image>,
    followers: Vec<Box<dyn FollowsMetadata>>,
}

impl View {
    pub(super) fn new(findings: &Findings, followers: Vec<Box<dyn FollowsMetadata>>) -> Self {
        Self { findings: findings.clone(), image: Mutex::default(), followers }
    }

    /// What the log says now.
    pub fn image(&self) -> Image {
        self.image.lock().clone()
    }

    /// An entry was created. The log decides by what stands at the next name: nothing else is to be checked before it.
    fn entry(&self, effect: &Effect<'_>, sequence: MetaSequence) {
        let Some(bytes) = effect.after else { return };
        let before = self.image.lock().clone();
        if sequence < before.next_sequence {
            // A stalled writer, whose name was deleted long ago. It must find the floor, which its own answers show.
            return;
        }
        self.findings.looked(ENTRIES);
        let (header, records) = match decode_entry(bytes, sequence) {
            Ok(decoded) => decoded,
            Err(error) => {
                self.findings.add(NAME, format_args!("{} cannot be read: {error}", effect.key));
                return;
            }
        };
        let mut after = before.clone();
        if let Err(error) = after.replay_entry(&header, &records) {
            self.findings.add(NAME, format_args!("{} by {:?} does not fit: {error}", effect.key, effect.process));
            return;
        }
        *self.image.lock() = after.clone();
        let entry = Entry { process: effect.process, header: &header, before: &before, after: &after };
        self.followers.iter().for_each(|follower| follower.entry(&entry));
    }
}

impl Observer for View {
    fn effect(&self, effect: &Effect<'_>) {
        let sequence = effect.key.strip_prefix("meta/log/").and_then(|digits| digits.parse().ok());
        match sequence {
            Some(sequence) if effect.operation == Operation::Create => self.entry(effect, MetaSequence(sequence)),
            _ => {
                let image = self.image.lock().clone();
                self.followers.iter().for_each(|follower| follower.effect(effect, &image));
            }
        }
    }
}
