//! I-5: upload first, commit second, delete last.
//!
//! What an entry names is in the store, whole, before the entry is. What is deleted was retired, by an entry, for as long as
//! the grace lasts; nothing that is named goes.

use std::collections::{BTreeMap, BTreeSet};

use base::checksum::crc32c;
use base::{BrokerEpoch, BrokerId, Incarnation, ObjectId, TimestampMs};
use blob::Operation;
use bytes::Bytes;
use meta::Image;
use parking_lot::Mutex;
use stream::catalogue::{DELETION_GRACE, ObjectState};
use stream::format::Block;
use stream::format::object::{FOOTER_BYTES, Footer};

use super::{Clocks, Entry, Findings, FollowsMetadata};
use crate::store::{Effect, ObjectStore};

const NAME: &str = "I-5";
const NAMED: &str = "I-5: objects that an entry names";
const DELETED: &str = "I-5: deletions of objects that were named";
const GONE: &str = "I-5: objects of which an entry says that they are gone";
pub(super) const LOOKS: &[&str] = &[NAMED, DELETED, GONE];

/// See the module.
pub(super) struct Checker {
    findings: Findings,
    store: ObjectStore,
    clocks: Clocks,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    /// All objects that were ever named, by key.
    named: BTreeMap<String, ObjectId>,
    /// Those of which an entry says that they are gone.
    removed: BTreeSet<String>,
}

impl Checker {
    pub(super) fn new(findings: &Findings, store: &ObjectStore, clocks: &Clocks) -> Self {
        Self { findings: findings.clone(), store: store.clone(), clocks: clocks.clone(), known: Mutex::default() }
    }

    fn deleted(&self, effect: &Effect<'_>, image: &Image) {
        let (key, by) = (effect.key, effect.process);
        let Some(id) = self.known.lock().named.get(effect.key).copied() else {
            // Brokers leave such objects where they are, so far: whether this was looked at is not counted.
            if let Some(id) = object_of(key).filter(|id| may_be_named(image, *id)) {
                self.findings
                    .add(NAME, format_args!("{by:?} deleted {key}, which a commit of {} may name yet", id.writer));
            }
            return;
        };
        self.findings.looked(DELETED);
        if image.catalogue.object(id).is_some() {
            self.findings.add(NAME, format_args!("{by:?} deleted {key}, which metadata names"));
        }
        let pending = image.catalogue.pending_deletions().find(|(pending, _)| *pending == id);
        let Some((_, pending)) = pending else {
            if !self.known.lock().removed.contains(key) {
                self.findings.add(NAME, format_args!("{by:?} deleted {key}, which was never retired"));
            }
            return;
        };
        let Some(now) = self.clocks.lock().get(by.name()).map(base::Clock::now) else { return };
        let due = TimestampMs(pending.retired_at.0 + DELETION_GRACE.as_millis() as i64);
        if now < due {
            let early = due.0 - now.0;
            self.findings.add(NAME, format_args!("{by:?} deleted {key} {early} ms before its grace was over"));
        }
    }
}

/// Whether an object is the one that metadata means, to its last block.
fn whole(bytes: &Bytes, named: ObjectState) -> Result<(), String> {
    if bytes.len() as u64 != named.length {
        return Err(format!("it has {} bytes instead of {}", bytes.len(), named.length));
    }
    let footer = bytes.len().checked_sub(FOOTER_BYTES).ok_or("it has no footer")?;
    let described = Footer::decode(&bytes[footer..], named.length).map_err(|error| error.to_string())?;
    let position = described.index_position as usize;
    if crc32c(&bytes[position..]) != named.crc {
        return Err("its index or footer is another".to_owned());
    }
    let index = described.index(&bytes.slice(position..footer)).map_err(|error| error.to_string())?;
    let blocks = index.blocks.iter().map(|block| (block.position, block.length));
    for (position, length) in blocks {
        let block = bytes.slice(position as usize..position as usize + length as usize);
        Block::decode(block).map_err(|error| format!("its block at {position}: {error}"))?;
    }
    for side in &index.sides {
        if crc32c(&bytes[side.position as usize..side.position as usize + side.length as usize]) != side.crc {
            return Err(format!("its checkpoint at {} is another", side.position));
        }
    }
    Ok(())
}

/// The object of a name below `obj/`.
fn object_of(key: &str) -> Option<ObjectId> {
    let mut numbers = key.split_once("/obj/")?.1.split('-');
    let mut next = || numbers.next();
    let (broker, epoch, sequence) = (next()?.parse().ok()?, next()?.parse().ok()?, next()?.parse().ok()?);
    Some(ObjectId { writer: Incarnation { broker: BrokerId(broker), epoch: BrokerEpoch(epoch) }, sequence })
}

/// Whether a commit may still name an object that none has named: one of the registration that stands, not below its floor.
/// That of another is refused, however long it is under way. A registration that the log does not know yet is to come.
fn may_be_named(image: &Image, id: ObjectId) -> bool {
    match image.catalogue.writer(id.writer.broker) {
        Some(writer) if writer.epoch == id.writer.epoch => !writer.fenced && id.sequence >= writer.upload_floor,
        Some(writer) => writer.epoch < id.writer.epoch,
        None => true,
    }
}

impl FollowsMetadata for Checker {
    fn entry(&self, entry: &Entry<'_>) {
        let (before, after) = (&entry.before.catalogue, &entry.after.catalogue);
        for (id, state) in after.objects().filter(|(id, _)| before.object(*id).is_none()) {
            self.findings.looked(NAMED);
            let key = id.key();
            let sequence = entry.header.sequence;
            match self.store.object(&key) {
                None => self.findings.add(NAME, format_args!("entry {sequence} names {key}, which is not there")),
                Some(bytes) => {
                    if let Err(why) = whole(&bytes, *state) {
                        self.findings.add(NAME, format_args!("entry {sequence} names {key}: {why}"));
                    }
                }
            }
            self.known.lock().named.insert(key, id);
        }
        let gone =
            before.pending_deletions().filter(|(id, _)| after.pending_deletions().all(|(still, _)| still != *id));
        for (id, _) in gone {
            self.findings.looked(GONE);
            let key = id.key();
            if self.store.object(&key).is_some() {
                let sequence = entry.header.sequence;
                self.findings.add(NAME, format_args!("entry {sequence} says that {key} is gone, and it is there"));
            }
            self.known.lock().removed.insert(key);
        }
    }

    fn effect(&self, effect: &Effect<'_>, image: &Image) {
        match effect.operation {
            Operation::Delete => self.deleted(effect, image),
            // What is sent late over what has rotted since brings it back.
            _ if effect.before.is_some_and(|before| Some(before) != effect.after) => {
                let id = self.known.lock().named.get(effect.key).copied();
                let Some(state) = id.and_then(|id| image.catalogue.object(id)) else { return };
                let after = effect.after.ok_or_else(|| "it is gone".to_owned());
                if let Err(why) = after.and_then(|after| whole(after, *state)) {
                    let (key, by) = (effect.key, effect.process);
                    let words = format_args!("{by:?} wrote other bytes over {key}, which metadata names: {why}");
                    self.findings.add(NAME, words);
                }
            }
            _ => {}
        }
    }
}
