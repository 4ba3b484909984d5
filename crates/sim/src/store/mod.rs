//! The world's object store. It outlives every process.
//!
//! A request travels: once it was sent it is an [errand](crate::errands) of the world, so that neither a caller who no
//! longer waits nor the death of a process takes it back. What it does, it does at one moment between its sending and
//! its answer, atomically; a store that has done something never forgets it.
//!
//! Invariants:
//! * A conditional create is decided at the moment of its effect. Listings are consistent.
//! * A body that was damaged on its way is refused: the store compares checksums. So what it has done is what was sent.
//! * Who is dead sends nothing and hears nothing.

mod plan;
mod port;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Bound;
use std::sync::Arc;

use blob::{ListPage, ObjectMeta, Operation, Stores};
use bytes::Bytes;
use parking_lot::Mutex;

use crate::dice::Dice;
use crate::errands::Errands;
use crate::faults::{Fault, Faults};
use crate::process::Process;
use crate::trace::Trace;

pub use plan::StorePlan;

/// Who is told of what the store does, as it does it.
pub trait Observer: Send + Sync {
    /// An object was made, replaced or deleted.
    fn effect(&self, effect: &Effect<'_>) {
        let _ = effect;
    }

    /// A request of a process met a fault, or an outage.
    fn failed(&self, by: &Process, operation: Operation, key: &str, fault: Fault) {
        let _ = (by, operation, key, fault);
    }
}

/// Something that the store did.
#[derive(Clone, Copy, Debug)]
pub struct Effect<'a> {
    /// Who asked for it; it may be dead by now.
    pub process: &'a Process,
    /// What was asked.
    pub operation: Operation,
    /// Of which object.
    pub key: &'a str,
    /// What it held.
    pub before: Option<&'a Bytes>,
    /// What it holds.
    pub after: Option<&'a Bytes>,
}

/// How a store fails that is wholly out of order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outage {
    /// It answers 503.
    Refuses,
    /// It answers nothing.
    IsSilent,
}

/// The store; clones are the same one.
#[derive(Clone)]
pub struct ObjectStore(Arc<Inner>);

struct Inner {
    dice: Dice,
    faults: Faults,
    trace: Trace,
    errands: Errands,
    observers: Mutex<Vec<Arc<dyn Observer>>>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    plan: StorePlan,
    outage: Option<Outage>,
    /// A machine for which alone it is out of order.
    cut_off: Option<(u32, Outage)>,
    objects: BTreeMap<String, Bytes>,
    /// Data objects that were deleted.
    deletions: u64,
}

impl fmt::Debug for ObjectStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the store of {} objects", self.0.state.lock().objects.len())
    }
}

impl ObjectStore {
    /// An empty store without faults.
    pub fn new(dice: Dice, faults: Faults, trace: Trace, errands: Errands) -> Self {
        let (observers, state) = (Mutex::default(), Mutex::default());
        Self(Arc::new(Inner { dice, faults, trace, errands, observers, state }))
    }

    /// Changes the plan from the next request on.
    pub fn set_plan(&self, plan: StorePlan) {
        self.0.state.lock().plan = plan;
    }

    /// Begins or ends an outage; it is met by what arrives while it lasts.
    pub fn set_outage(&self, outage: Option<Outage>) {
        let before = std::mem::replace(&mut self.0.state.lock().outage, outage);
        match outage {
            Some(outage) if before.is_none() => self.did(Fault::StoreOutage, format_args!("{outage:?}")),
            None if before.is_some() => self.0.trace.note("store", "works again"),
            _ => {}
        }
    }

    /// Cuts one machine off, while all others reach it, or lets it reach it again.
    pub fn cut_off(&self, machine: Option<(u32, Outage)>) {
        let before = std::mem::replace(&mut self.0.state.lock().cut_off, machine);
        match machine {
            Some((machine, outage)) => self.did(Fault::CutOff, format_args!("machine {machine}, {outage:?}")),
            None if before.is_some() => self.0.trace.note("store", "is reached by all again"),
            None => {}
        }
    }

    /// Tells this one, too, from now on.
    pub fn observe(&self, observer: Arc<dyn Observer>) {
        self.0.observers.lock().push(observer);
    }

    /// The store as a process reaches it, whatever the URL.
    pub fn stores(&self, process: &Process) -> Stores {
        Stores::from_source(Arc::new(port::Port { store: self.clone(), process: process.clone() }))
    }

    /// A bit of an object turns over, for good.
    pub fn damage(&self, key: &str, offset: usize) {
        if let Some(body) = self.0.state.lock().objects.get_mut(key) {
            let mut bytes = body.to_vec();
            if let Some(byte) = bytes.get_mut(offset) {
                *byte ^= 1;
            }
            *body = bytes.into();
        }
    }

    /// It holds this, and nobody is told.
    #[cfg(test)]
    pub(crate) fn hold(&self, key: &str, body: Bytes) {
        self.0.state.lock().objects.insert(key.to_owned(), body);
    }

    /// An object as it is now.
    pub fn object(&self, key: &str) -> Option<Bytes> {
        self.0.state.lock().objects.get(key).cloned()
    }

    /// The objects whose names begin so.
    pub fn objects(&self, prefix: &str) -> Vec<(String, Bytes)> {
        let state = self.0.state.lock();
        let all = state.objects.range::<str, _>((Bound::Included(prefix), Bound::Unbounded));
        all.take_while(|(key, _)| key.starts_with(prefix)).map(|(key, body)| (key.clone(), body.clone())).collect()
    }

    /// How many data objects were deleted.
    pub fn deletions(&self) -> u64 {
        self.0.state.lock().deletions
    }

    fn did(&self, fault: Fault, what: impl fmt::Display) {
        self.0.faults.did(fault);
        self.0.trace.note("store", format_args!("{}: {what}", fault.label()));
    }

    /// A request meets a fault.
    fn meets(&self, by: &Process, operation: Operation, key: &str, fault: Fault) {
        let observers = self.0.observers.lock().clone();
        observers.iter().for_each(|observer| observer.failed(by, operation, key, fault));
    }

    /// How it is out of order for that machine.
    fn outage(&self, machine: u32) -> Option<Outage> {
        let state = self.0.state.lock();
        let alone = state.cut_off.filter(|(other, _)| *other == machine).map(|(_, outage)| outage);
        state.outage.or(alone)
    }

    /// Replaces an object, unless it is a create whose name is taken; says whether it did.
    fn write(&self, process: &Process, operation: Operation, key: &str, body: &Bytes) -> bool {
        let before = {
            let objects = &mut self.0.state.lock().objects;
            if operation == Operation::Create && objects.contains_key(key) {
                None
            } else {
                Some(objects.insert(key.to_owned(), body.clone()))
            }
        };
        let Some(before) = before else {
            self.0.trace.note("store", format_args!("create {key} for {process:?}: exists"));
            return false;
        };
        let length = body.len();
        self.0.trace.note("store", format_args!("{} {key} for {process:?}: {length} bytes", operation.label()));
        self.tell(&Effect { process, operation, key, before: before.as_ref(), after: Some(body) });
        true
    }

    fn delete(&self, process: &Process, keys: &[String]) {
        for key in keys {
            let before = self.0.state.lock().objects.remove(key);
            if before.is_some() {
                self.0.state.lock().deletions += u64::from(key.contains("/obj/"));
                self.0.trace.note("store", format_args!("delete {key} for {process:?}"));
                let operation = Operation::Delete;
                self.tell(&Effect { process, operation, key, before: before.as_ref(), after: None });
            }
        }
    }

    fn list(&self, prefix: &str, start_after: Option<&str>, limit: usize) -> ListPage {
        let state = self.0.state.lock();
        let start = match start_after {
            Some(after) if after >= prefix => Bound::Excluded(after),
            _ => Bound::Included(prefix),
        };
        let all = state.objects.range::<str, _>((start, Bound::Unbounded));
        let mut matching = all.take_while(|(key, _)| key.starts_with(prefix));
        let meta = |(key, body): (&String, &Bytes)| ObjectMeta { key: key.clone(), len: body.len() as u64 };
        let objects = matching.by_ref().take(limit).map(meta).collect();
        ListPage { objects, more: matching.next().is_some() }
    }

    /// Outside of all locks: an observer may look at the store.
    fn tell(&self, effect: &Effect<'_>) {
        let observers = self.0.observers.lock().clone();
        observers.iter().for_each(|observer| observer.effect(effect));
    }
}
