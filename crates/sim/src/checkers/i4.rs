//! I-4: the commit rule holds per range; trim moves only a stream's start, and its committed end moves only by commits.
//!
//! Whatever a controller decides, from one entry to the next: ends, starts, epochs and committed positions never go back;
//! the extents of a stream follow one another without gap or overlap up to its end; what an entry adds begins at the end
//! that was, and bears the epoch that was.
//!
//! And a log forgets only what is committed: no trim page says more than metadata did when it was written.

use std::fmt;
use std::path::Path;

use base::{Incarnation, StreamId, WalPosition};
use stream::catalogue::{Extent, IncarnationState, StreamState};
use stream::wal::block::layout::{PAGE, TrimPage};

use super::{Entry, Findings, FollowsMetadata};
use crate::process::Process;

const NAME: &str = "I-4";
const STREAMS: &str = "I-4: streams that an entry changed";
const LOGS: &str = "I-4: logs that an entry changed";
const TRIMS: &str = "I-4: trim pages";
pub(super) const LOOKS: &[&str] = &[STREAMS, LOGS, TRIMS];

/// See the module.
pub(super) struct Checker {
    findings: Findings,
}

impl Checker {
    pub(super) fn new(findings: &Findings) -> Self {
        Self { findings: findings.clone() }
    }

    fn add(&self, entry: &Entry<'_>, what: impl fmt::Display) {
        self.findings.add(NAME, format_args!("entry {} by {:?}: {what}", entry.header.sequence, entry.process));
    }

    fn stream(&self, entry: &Entry<'_>, id: StreamId, before: Option<&StreamState>, after: &StreamState) {
        let extents: Vec<&Extent> = after.extents().collect();
        for pair in extents.windows(2) {
            if pair[0].range.end != pair[1].range.start {
                self.add(entry, format_args!("stream {id} has {} and then {}", pair[0].range, pair[1].range));
            }
        }
        if let (Some(first), Some(last)) = (extents.first(), extents.last()) {
            if last.range.end != after.end {
                self.add(
                    entry,
                    format_args!("stream {id} ends at {} and its objects at {}", after.end, last.range.end),
                );
            }
            if first.range.start > after.start {
                let (start, found) = (after.start, first.range.start);
                self.add(entry, format_args!("stream {id} begins at {start} and its objects at {found}"));
            }
        } else if after.start < after.end {
            self.add(entry, format_args!("stream {id} of {} to {} is in no object", after.start, after.end));
        }
        let Some(before) = before else { return };
        if after.end < before.end || after.start < before.start || after.epoch < before.epoch {
            self.add(entry, format_args!("stream {id} goes back from {before:?} to {after:?}"));
        }
        if after.owner != before.owner && after.epoch <= before.epoch {
            let (from, to, epoch) = (before.owner, after.owner, after.epoch);
            self.add(
                entry,
                format_args!("stream {id} passed from {from} to {to} and is at epoch {epoch} all the same"),
            );
        }
        let added = extents.iter().rev().take_while(|extent| extent.range.end > before.end);
        for extent in added {
            // What an older commit had begun may be told again as part of a longer one, never from below the end.
            if extent.range.start < before.end && !before.extents().any(|old| old.range.start == extent.range.start) {
                self.add(entry, format_args!("stream {id} ended at {}, and {} was added", before.end, extent.range));
            }
            if extent.epoch != before.epoch {
                let (is, was) = (extent.epoch, before.epoch);
                self.add(entry, format_args!("stream {id} was at epoch {was}, and took records of epoch {is}"));
            }
        }
    }

    fn log(&self, entry: &Entry<'_>, id: Incarnation, before: &IncarnationState, after: &IncarnationState) {
        if after.committed < before.committed {
            let (was, is) = (before.committed, after.committed);
            self.add(entry, format_args!("log {id} was committed up to {was}, and is up to {is}"));
        }
        if before.phase.is_final() && after.committed != before.committed {
            self.add(entry, format_args!("log {id} is {}, and was committed to {}", before.phase, after.committed));
        }
    }
}

impl FollowsMetadata for Checker {
    fn entry(&self, entry: &Entry<'_>) {
        let (before, after) = (&entry.before.catalogue, &entry.after.catalogue);
        for (id, state) in after.streams() {
            let old = before.stream(id);
            if old != Some(state) {
                self.findings.looked(STREAMS);
                self.stream(entry, id, old, state);
            }
        }
        for (id, state) in after.incarnations() {
            if let Some(old) = before.incarnation(id)
                && old != state
            {
                self.findings.looked(LOGS);
                self.log(entry, id, old, state);
            }
        }
    }
}

/// Looks at trim pages.
pub(super) struct Trims<F> {
    findings: Findings,
    /// Up to where metadata has a log committed, of those that it knows.
    committed: F,
}

impl<F: Fn(Incarnation) -> Option<WalPosition>> Trims<F> {
    pub(super) fn new(findings: &Findings, committed: F) -> Self {
        Self { findings: findings.clone(), committed }
    }
}

impl<F: Fn(Incarnation) -> Option<WalPosition> + Send + Sync> crate::disk::Observer for Trims<F> {
    fn written(&self, by: &Process, _: &Path, _: u64, bytes: &[u8]) {
        for page in bytes.chunks_exact(PAGE).filter_map(|page| TrimPage::decode(page).ok()) {
            let (log, trimmed) = (page.stamp.incarnation, page.trimmed);
            let Some(committed) = (self.committed)(log) else { continue };
            self.findings.looked(TRIMS);
            if committed < trimmed {
                let words = format_args!("{by:?} trimmed log {log} to {trimmed}, and it is committed to {committed}");
                self.findings.add(NAME, words);
            }
        }
    }
}
