//! Names of objects, and which of them are in flight.
//!
//! A name is handed out with a [`Lease`], which says that its object may still be named by a commit: the upload floor of
//! any other commit stays at or below it. Who gives a lease up, or is dropped with it, lets the floor pass: a PUT that was
//! under way may land late, but below the floor, where it is known for an orphan whenever it lands (I-5). No name is
//! handed out twice, so no later lease lowers the floor.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;

use base::{Incarnation, ObjectId};
use parking_lot::Mutex;

/// The names of one registration's objects. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct ObjectNames {
    writer: Incarnation,
    book: Arc<Mutex<Book>>,
}

#[derive(Debug, Default)]
struct Book {
    next: u64,
    /// First sequences of the leases that are held. Empty leases are not entered.
    in_flight: BTreeSet<u64>,
}

impl ObjectNames {
    pub(super) fn new(writer: Incarnation) -> Self {
        Self { writer, book: Arc::default() }
    }

    /// `count` fresh names.
    pub(super) fn lease(&self, count: usize) -> Lease {
        let mut book = self.book.lock();
        let first = book.next;
        book.next += count as u64;
        if count > 0 {
            book.in_flight.insert(first);
        }
        Lease { names: self.clone(), sequences: first..first + count as u64 }
    }

    /// The lowest sequence in flight once a commit has settled `lease`.
    pub(super) fn floor_after(&self, lease: &Lease) -> u64 {
        let book = self.book.lock();
        if base::plant::bug("floor-of-one-cut") {
            // Planted: what other cuts have in flight is not looked at.
            return lease.sequences.end;
        }
        let others = book.in_flight.iter().find(|&&first| !lease.sequences.contains(&first));
        others.copied().unwrap_or(book.next)
    }
}

/// Names of objects that are in flight: written, to be written, or given up the moment this is dropped.
#[derive(Debug)]
pub(crate) struct Lease {
    names: ObjectNames,
    sequences: Range<u64>,
}

impl Lease {
    /// The names, lowest first.
    pub fn ids(&self) -> impl Iterator<Item = ObjectId> + use<> {
        let writer = self.names.writer;
        self.sequences.clone().map(move |sequence| ObjectId { writer, sequence })
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if !self.sequences.is_empty() {
            self.names.book.lock().in_flight.remove(&self.sequences.start);
        }
    }
}

#[cfg(test)]
mod tests {
    use base::{BrokerEpoch, BrokerId};

    use super::*;

    fn names() -> ObjectNames {
        ObjectNames::new(Incarnation { broker: BrokerId(1), epoch: BrokerEpoch(1) })
    }

    #[test]
    fn the_floor_is_the_lowest_name_that_anybody_else_has_in_flight() {
        let names = names();
        let (slow, fast, young) = (names.lease(2), names.lease(3), names.lease(1));
        assert_eq!(names.floor_after(&fast), 0);
        drop(fast);
        assert_eq!(names.floor_after(&slow), 5);
        drop(slow);
        assert_eq!(names.floor_after(&young), 6);
    }

    #[test]
    fn a_lease_given_up_lets_the_floor_pass_and_its_names_never_come_back() {
        let names = names();
        let (given_up, mine) = (names.lease(2), names.lease(0));
        assert_eq!(names.floor_after(&mine), 0);
        drop(given_up);
        assert_eq!(names.floor_after(&mine), 2, "a PUT of it that lands late is an orphan");
        let sequences: Vec<u64> = names.lease(2).ids().map(|id| id.sequence).collect();
        assert_eq!(sequences, [2, 3]);
    }
}
