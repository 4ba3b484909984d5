//! Leader epochs: which leader wrote which offsets.
//!
//! A stream's epoch is the partition's leader epoch, and the catalogue keeps where each began. Followed here is Kafka's
//! `LeaderEpochFileCache` (KIP-101, KIP-279, KIP-320), which consumers ask in order to notice a truncated log.

use base::{Offset, StreamEpoch};
use thiserror::Error;

/// "Undefined" epoch and offset, as in Kafka.
pub const UNDEFINED: i64 = -1;

/// The answer to "where does this epoch end".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EpochEnd {
    /// The largest epoch with records that is not above the one asked for; -1 when unknown.
    pub epoch: i32,
    /// The first offset after it; -1 when unknown.
    pub end: i64,
}

impl EpochEnd {
    /// The answer that says nothing.
    pub const UNDEFINED: Self = Self { epoch: -1, end: UNDEFINED };
}

/// A request's `current_leader_epoch` is not this leader's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum EpochMismatch {
    /// The client knows an older leader: it must refresh its metadata. Error 74.
    #[error("the request names leader epoch {asked}, but the leader is in epoch {current}: refresh metadata")]
    Fenced {
        /// In the request.
        asked: i32,
        /// The leader's.
        current: i32,
    },
    /// The client knows a newer leader: this broker's metadata lags. Error 75.
    #[error("the request names leader epoch {asked}, but this broker knows only {current} so far: retry")]
    Unknown {
        /// In the request.
        asked: i32,
        /// The leader's.
        current: i32,
    },
}

/// No `current_leader_epoch` is given.
const NONE: i32 = -1;

/// Checks a request's `current_leader_epoch`; -1 means "not given".
///
/// # Errors
/// When it is older or newer than `current`.
pub fn check_current(asked: i32, current: StreamEpoch) -> Result<(), EpochMismatch> {
    let current = current.0;
    match asked {
        _ if asked == NONE || asked == current => Ok(()),
        _ if asked < current => Err(EpochMismatch::Fenced { asked, current }),
        _ => Err(EpochMismatch::Unknown { asked, current }),
    }
}

/// Epochs of one log with their first offsets, rising in both.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EpochHistory(Vec<(StreamEpoch, Offset)>);

impl EpochHistory {
    /// From the catalogue's list, oldest first. An epoch in which nothing was written leaves no trace, as in Kafka:
    /// the next epoch, starting at the same offset, takes its place. What lies before the log start is cut off.
    pub fn new(epochs: impl IntoIterator<Item = (StreamEpoch, Offset)>, log_start: Offset) -> Self {
        let mut kept: Vec<(StreamEpoch, Offset)> = Vec::new();
        for (epoch, start) in epochs {
            let start = start.max(log_start);
            while kept.last().is_some_and(|&(_, before)| before >= start) {
                kept.pop();
            }
            kept.push((epoch, start));
        }
        Self(kept)
    }

    /// The newest epoch.
    pub fn latest(&self) -> Option<StreamEpoch> {
        self.0.last().map(|&(epoch, _)| epoch)
    }

    /// The epoch in which the record at `offset` was written.
    pub fn epoch_of(&self, offset: Offset) -> Option<StreamEpoch> {
        let after = self.0.partition_point(|&(_, start)| start <= offset);
        after.checked_sub(1).map(|at| self.0[at].0)
    }

    /// Where the epoch asked for ends: Kafka's `LeaderEpochFileCache.endOffsetFor`. Of the negative ones only -1 is none.
    pub fn end_of(&self, asked: i32, log_end: Offset) -> EpochEnd {
        if asked == NONE {
            return EpochEnd::UNDEFINED;
        }
        if self.latest().is_some_and(|latest| latest.0 == asked) {
            return EpochEnd { epoch: asked, end: log_end.kafka() };
        }
        let higher = self.0.partition_point(|&(epoch, _)| epoch.0 <= asked);
        let Some(&(_, end)) = self.0.get(higher) else { return EpochEnd::UNDEFINED };
        // An epoch older than all that are known ends where the first known one starts.
        let epoch = higher.checked_sub(1).map_or(asked, |at| self.0[at].0.0);
        EpochEnd { epoch, end: end.kafka() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn history(epochs: &[(i32, u64)], start: u64) -> EpochHistory {
        EpochHistory::new(epochs.iter().map(|&(e, o)| (StreamEpoch(e), Offset(o))), Offset(start))
    }

    #[test]
    fn the_end_of_an_epoch_is_where_the_next_begins() {
        let epochs = history(&[(2, 10), (4, 20), (7, 30)], 0);
        let ends = [-2, -1, 0, 2, 3, 4, 5, 6, 7, 8].map(|asked| {
            let EpochEnd { epoch, end } = epochs.end_of(asked, Offset(44));
            (asked, epoch, end)
        });
        // As Kafka's LeaderEpochFileCacheTest says of each case.
        let expected = [
            (-2, -2, 10), // before the first known epoch, too
            (-1, -1, -1), // undefined asks nothing
            (0, 0, 10),   // before the first known epoch
            (2, 2, 20),
            (3, 2, 20), // a hole: the largest epoch below
            (4, 4, 30),
            (5, 4, 30),
            (6, 4, 30),
            (7, 7, 44),  // the current one: log end
            (8, -1, -1), // after the newest
        ];
        assert_eq!(ends, expected);
    }

    #[test]
    fn an_epoch_without_records_leaves_no_trace() {
        assert_eq!(history(&[(0, 0), (1, 5), (2, 5), (3, 5)], 0), history(&[(0, 0), (3, 5)], 0));
    }

    #[test]
    fn a_trim_cuts_epochs_before_the_log_start() {
        let epochs = history(&[(0, 0), (1, 5), (2, 9)], 7);
        assert_eq!(epochs, history(&[(1, 7), (2, 9)], 0));
        assert_eq!(epochs.epoch_of(Offset(8)), Some(StreamEpoch(1)));
        assert_eq!(epochs.epoch_of(Offset(6)), None);
        assert_eq!(epochs.epoch_of(Offset(100)), Some(StreamEpoch(2)));
    }

    #[test]
    fn older_epochs_are_fenced_and_newer_ones_unknown() {
        let current = StreamEpoch(3);
        assert_eq!(check_current(-1, current), Ok(()));
        assert_eq!(check_current(-2, current), Err(EpochMismatch::Fenced { asked: -2, current: 3 }));
        assert_eq!(check_current(3, current), Ok(()));
        assert_eq!(check_current(2, current), Err(EpochMismatch::Fenced { asked: 2, current: 3 }));
        assert_eq!(check_current(4, current), Err(EpochMismatch::Unknown { asked: 4, current: 3 }));
    }
}
