//! The bytes of a file, and the writes that are on their way into them.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;

use crate::dice::Dice;
use crate::process::Process;

/// What is written as one, or not.
pub(super) const SECTOR: usize = 512;
/// Bytes that are kept, or are zeros, as one.
const PAGE: u64 = 4096;

/// A write that is on its way.
#[derive(Debug)]
pub(super) struct Write {
    /// The order in which writes began, over all files.
    pub(super) number: u64,
    pub(super) process: Process,
    pub(super) offset: u64,
    pub(super) bytes: Bytes,
    /// Which of its sectors have landed.
    landed: Vec<bool>,
    /// It has failed, and what has not landed by then never will.
    lands_until: Option<Duration>,
    /// What was there before, if it will not be durable though it returns.
    before: Option<Vec<u8>>,
}

impl Write {
    pub(super) fn has_failed(&self) -> bool {
        self.lands_until.is_some()
    }

    fn overlaps(&self, offset: u64, length: usize) -> bool {
        self.offset < offset + length as u64 && offset < self.offset + self.bytes.len() as u64
    }
}

/// What came of writes that ended otherwise than by returning.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Settled {
    /// How many landed in part.
    pub(super) torn: u64,
    /// How many had failed before, and landed in part or whole since.
    pub(super) late: u64,
}

/// A file's bytes: zeros where nothing else was written.
#[derive(Debug, Default)]
pub(super) struct Content {
    pub(super) length: u64,
    pages: BTreeMap<u64, Box<[u8]>>,
    in_flight: Vec<Write>,
    /// Sectors that only a cache holds, by their place: who wrote them, and what the device holds.
    cached: BTreeMap<u64, (Process, Vec<u8>)>,
}

fn sectors(length: usize) -> impl Iterator<Item = std::ops::Range<usize>> {
    (0..length).step_by(SECTOR).map(move |from| from..length.min(from + SECTOR))
}

impl Content {
    /// The file is what it is made anew: so long, and zeros.
    pub(super) fn replace(&mut self, length: u64) {
        self.length = length;
        self.pages.clear();
        self.cached.clear();
    }

    /// Reads what has landed.
    pub(super) fn read(&self, buffer: &mut [u8], offset: u64) {
        let mut at = 0;
        while at < buffer.len() {
            let place = offset + at as u64;
            let (page, within) = (place / PAGE, (place % PAGE) as usize);
            let piece = (PAGE as usize - within).min(buffer.len() - at);
            let out = &mut buffer[at..at + piece];
            match self.pages.get(&page) {
                Some(bytes) => out.copy_from_slice(&bytes[within..within + piece]),
                None => out.fill(0),
            }
            at += piece;
        }
    }

    /// Lands bytes.
    pub(super) fn write(&mut self, bytes: &[u8], offset: u64) {
        let mut at = 0;
        while at < bytes.len() {
            let place = offset + at as u64;
            let (page, within) = (place / PAGE, (place % PAGE) as usize);
            let piece = &bytes[at..bytes.len().min(at + PAGE as usize - within)];
            at += piece.len();
            if !self.pages.contains_key(&page) && piece.iter().all(|byte| *byte == 0) {
                continue;
            }
            let there = self.pages.entry(page).or_insert_with(|| vec![0; PAGE as usize].into_boxed_slice());
            there[within..within + piece.len()].copy_from_slice(piece);
        }
    }

    /// A write begins. One that `is_cached` will return and not be durable.
    pub(super) fn begin(
        &mut self,
        number: u64,
        process: &Process,
        (offset, bytes): (u64, Bytes),
        is_cached: bool,
        dice: &Dice,
    ) -> Settled {
        // What failed there before is decided now: it must not land on what will be durable.
        let settled = self.settle(|write| write.has_failed() && write.overlaps(offset, bytes.len()), dice);
        let before = is_cached.then(|| {
            let mut before = vec![0; bytes.len()];
            self.read(&mut before, offset);
            before
        });
        let landed = vec![false; bytes.len().div_ceil(SECTOR)];
        let process = process.clone();
        self.in_flight.push(Write { number, process, offset, bytes, landed, lands_until: None, before });
        settled
    }

    /// Whether a write of the process that began before is still under way.
    pub(super) fn has_older(&self, number: u64, process: &Process) -> bool {
        let is_older = |write: &Write| write.number < number && !write.has_failed() && write.process.is(process);
        self.in_flight.iter().any(is_older)
    }

    /// Whether anything of a process may still come or go here.
    pub(super) fn awaits(&self, process: &Process) -> bool {
        self.in_flight.iter().any(|write| write.process.is(process))
            || self.cached.values().any(|(writer, _)| writer.is(process))
    }

    /// A write returns: all of it has landed. `false` if it is not there, because its process has died.
    pub(super) fn finish(&mut self, number: u64) -> bool {
        let Some(at) = self.in_flight.iter().position(|write| write.number == number) else { return false };
        let write = self.in_flight.remove(at);
        for (range, landed) in sectors(write.bytes.len()).zip(&write.landed) {
            let place = write.offset + range.start as u64;
            if !landed {
                self.write(&write.bytes[range.clone()], place);
            }
            match &write.before {
                Some(before) => {
                    let cached = || (write.process.clone(), before[range].to_vec());
                    self.cached.entry(place).or_insert_with(cached);
                }
                None => drop(self.cached.remove(&place)),
            }
        }
        true
    }

    /// A write fails, and what of it has not landed may do so for a while.
    pub(super) fn fail(&mut self, number: u64, lands_until: Duration) {
        if let Some(write) = self.in_flight.iter_mut().find(|write| write.number == number) {
            write.lands_until = Some(lands_until);
        }
    }

    /// Ends what had failed and lands no more.
    pub(super) fn expire(&mut self, now: Duration, dice: &Dice) -> Settled {
        self.settle(|write| write.lands_until.is_some_and(|until| until <= now), dice)
    }

    /// The end of a write that is under way in this range, if there is one.
    pub(super) fn end_of_write_within(&self, offset: u64, length: usize) -> Option<u64> {
        let within = |end: &u64| (offset..offset + length as u64).contains(end);
        self.in_flight.iter().map(|write| write.offset + write.bytes.len() as u64).find(within)
    }

    /// Somebody reads here: some sectors of what is under way have landed by now. Whether the reader sees old and new.
    pub(super) fn glimpse(&mut self, offset: u64, length: usize, dice: &Dice) -> bool {
        let mut is_split = false;
        let end = offset + length as u64;
        let mut landing = Vec::new();
        for write in self.in_flight.iter_mut().filter(|write| write.overlaps(offset, length)) {
            let (mut old, mut new) = (false, false);
            for (range, landed) in sectors(write.bytes.len()).zip(&mut write.landed) {
                let place = write.offset + range.start as u64;
                if place >= end || place + range.len() as u64 <= offset {
                    continue;
                }
                if !*landed && dice.chance(0.4) {
                    *landed = true;
                    landing.push((write.bytes.slice(range), place));
                }
                if *landed { new = true } else { old = true }
            }
            is_split |= old && new;
        }
        for (bytes, place) in landing {
            self.write(&bytes, place);
        }
        is_split
    }

    /// Ends writes that will never return: each sector lands, or does not, or tears.
    pub(super) fn settle(&mut self, ends: impl Fn(&Write) -> bool, dice: &Dice) -> Settled {
        let (over, in_flight): (Vec<_>, Vec<_>) = std::mem::take(&mut self.in_flight).into_iter().partition(ends);
        self.in_flight = in_flight;
        let mut settled = Settled::default();
        for write in over {
            // A device that has begun is likelier to have done much of it, or nothing, than half.
            let share = *dice.pick(&[0.0, 0.1, 0.5, 0.9, 1.0]);
            let (mut old, mut new, mut lands) = (false, false, false);
            for (range, landed) in sectors(write.bytes.len()).zip(&write.landed) {
                let bytes = &write.bytes[range.clone()];
                let place = write.offset + range.start as u64;
                if *landed {
                    new = true;
                } else if dice.chance(share) {
                    self.write(bytes, place);
                    (new, lands) = (true, true);
                } else if dice.chance(0.1) {
                    self.write(&bytes[..dice.index(bytes.len() + 1)], place);
                    (old, new, lands) = (true, true, true);
                } else {
                    old = true;
                }
            }
            settled.torn += u64::from(old && new);
            settled.late += u64::from(lands && write.has_failed());
        }
        settled
    }

    /// A process has died, and what it wrote into a cache is lost, or some of it, or nothing. How many sectors are.
    pub(super) fn forget(&mut self, process: &Process, dice: &Dice) -> u64 {
        let cached = std::mem::take(&mut self.cached);
        let (own, others): (Vec<_>, Vec<_>) = cached.into_iter().partition(|(_, (writer, _))| writer.is(process));
        self.cached = others.into_iter().collect();
        if own.is_empty() {
            return 0;
        }
        let share = *dice.pick(&[0.0, 0.5, 1.0, 1.0]);
        let mut lost = 0;
        for (place, (_, before)) in own {
            if dice.chance(share) {
                self.write(&before, place);
                lost += 1;
            }
        }
        lost
    }
}
