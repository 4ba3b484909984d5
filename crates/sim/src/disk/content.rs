//! The bytes of a file, and the writes that are on their way into them.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::dice::Dice;
use crate::process::Process;

/// What is written as one, or not.
pub(super) const SECTOR: usize = 512;
/// Bytes that are kept, or are zeros, as one.
const PAGE: u64 = 4096;

/// A write that has not returned.
#[derive(Debug)]
pub(super) struct Write {
    /// The order in which writes began, over all files.
    pub(super) number: u64,
    pub(super) process: Process,
    pub(super) offset: u64,
    pub(super) bytes: Bytes,
    /// Which of its sectors have landed.
    landed: Vec<bool>,
}

/// A file's bytes: zeros where nothing else was written.
#[derive(Debug, Default)]
pub(super) struct Content {
    pub(super) length: u64,
    pages: BTreeMap<u64, Box<[u8]>>,
    in_flight: Vec<Write>,
}

impl Content {
    pub(super) fn zeros(length: u64) -> Self {
        Self { length, ..Self::default() }
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

    pub(super) fn begin(&mut self, number: u64, process: &Process, offset: u64, bytes: Bytes) {
        let landed = vec![false; bytes.len().div_ceil(SECTOR)];
        self.in_flight.push(Write { number, process: process.clone(), offset, bytes, landed });
    }

    /// Whether a write that began before is still under way.
    pub(super) fn has_older(&self, number: u64) -> bool {
        self.in_flight.iter().any(|write| write.number < number)
    }

    /// A write returns: all of it has landed. `false` if it is not there, because its process has died.
    pub(super) fn finish(&mut self, number: u64) -> bool {
        let Some(at) = self.in_flight.iter().position(|write| write.number == number) else { return false };
        let write = self.in_flight.remove(at);
        for (sector, _) in write.landed.iter().enumerate().filter(|(_, landed)| !**landed) {
            let range = sector * SECTOR..write.bytes.len().min((sector + 1) * SECTOR);
            self.write(&write.bytes[range.clone()], write.offset + range.start as u64);
        }
        true
    }

    /// Somebody reads here: some sectors of what is under way have landed by now. Whether the reader sees old and new.
    pub(super) fn glimpse(&mut self, offset: u64, length: usize, dice: &Dice) -> bool {
        let mut is_split = false;
        let end = offset + length as u64;
        let mut landing = Vec::new();
        for write in &mut self.in_flight {
            if write.offset >= end || write.offset + write.bytes.len() as u64 <= offset {
                continue;
            }
            let (mut old, mut new) = (false, false);
            for sector in 0..write.landed.len() {
                let range = sector * SECTOR..write.bytes.len().min((sector + 1) * SECTOR);
                let place = write.offset + range.start as u64;
                if place >= end || place + range.len() as u64 <= offset {
                    continue;
                }
                if !write.landed[sector] && dice.chance(0.4) {
                    write.landed[sector] = true;
                    landing.push((write.bytes.slice(range), place));
                }
                if write.landed[sector] { new = true } else { old = true }
            }
            is_split |= old && new;
        }
        for (bytes, place) in landing {
            self.write(&bytes, place);
        }
        is_split
    }

    /// Ends writes that will never return: each sector lands, or does not, or tears. How many of them landed in part.
    pub(super) fn settle(&mut self, ends: impl Fn(&Write) -> bool, dice: &Dice) -> u64 {
        let (over, in_flight): (Vec<_>, Vec<_>) = std::mem::take(&mut self.in_flight).into_iter().partition(ends);
        self.in_flight = in_flight;
        let mut torn = 0;
        for write in over {
            // A device that has begun is likelier to have done much of it, or nothing, than half.
            let share = *dice.pick(&[0.0, 0.1, 0.5, 0.9, 1.0]);
            let (mut old, mut new) = (false, false);
            for (sector, landed) in write.landed.iter().enumerate() {
                let range = sector * SECTOR..write.bytes.len().min((sector + 1) * SECTOR);
                let bytes = &write.bytes[range.clone()];
                let place = write.offset + range.start as u64;
                if *landed {
                    new = true;
                } else if dice.chance(share) {
                    self.write(bytes, place);
                    new = true;
                } else if dice.chance(0.1) {
                    self.write(&bytes[..dice.index(bytes.len() + 1)], place);
                    (old, new) = (true, true);
                } else {
                    old = true;
                }
            }
            torn += u64::from(old && new);
        }
        torn
    }
}
