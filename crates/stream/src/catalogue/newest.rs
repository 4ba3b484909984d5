//! By what the age of a run of records is told.
//!
//! Clients of 0.9 send no timestamps. Kafka then goes by the time of the segment's file
//! (`LogSegment.largestTimestamp`); here it is the time at which the run was committed, which the commit's record
//! carries in the place of the greatest timestamp:
//!
//! | In records and snapshots | Means |
//! |---|---|
//! | t ≥ 0 | the greatest timestamp of the records |
//! | -1 | no record has one; a release that did not note the time of the commit wrote it |
//! | -2 - t | no record has one; committed at t |
//!
//! Releases that know only the first two lines read the third as the second.

use base::TimestampMs;

/// How new a run of records is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Newest {
    /// The greatest timestamp of its records.
    Record(TimestampMs),
    /// No record has a timestamp; it was written then.
    Written(TimestampMs),
    /// No record has a timestamp, and nobody knows when it was written.
    Unknown,
}

impl Newest {
    /// Of a run whose records have `max_timestamp`, negative for none, and which is committed `now`.
    pub fn committed(max_timestamp: TimestampMs, now: TimestampMs) -> Self {
        match max_timestamp.0 {
            0.. => Self::Record(max_timestamp),
            _ if now.0 >= 0 => Self::Written(now),
            _ => Self::Unknown,
        }
    }

    /// From records and snapshots.
    pub fn from_raw(raw: i64) -> Self {
        match raw {
            0.. => Self::Record(TimestampMs(raw)),
            -1 => Self::Unknown,
            _ => Self::Written(TimestampMs(-2 - raw)),
        }
    }

    /// As it stands in records and snapshots.
    pub fn raw(self) -> i64 {
        match self {
            Self::Record(TimestampMs(timestamp)) => timestamp.max(0),
            Self::Written(TimestampMs(written)) => -2 - written.max(0),
            Self::Unknown => -1,
        }
    }

    /// The greatest timestamp of the records, if any has one.
    pub fn record(self) -> Option<TimestampMs> {
        match self {
            Self::Record(timestamp) => Some(timestamp),
            Self::Written(_) | Self::Unknown => None,
        }
    }

    /// What retention goes by, if anything is known.
    pub fn time(self) -> Option<TimestampMs> {
        match self {
            Self::Record(timestamp) => Some(timestamp),
            Self::Written(written) => Some(written),
            Self::Unknown => None,
        }
    }

    /// Whether a record may have a timestamp of at least this; a negative one asks for any record.
    pub fn reaches(self, at_least: TimestampMs) -> bool {
        at_least.0 < 0 || self.record().is_some_and(|timestamp| timestamp >= at_least)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_comes_back() {
        let time = TimestampMs(1_700_000_000_000);
        for newest in [Newest::Record(TimestampMs(0)), Newest::Record(time), Newest::Unknown] {
            assert_eq!(Newest::from_raw(newest.raw()), newest);
        }
        for written in [TimestampMs(0), time] {
            assert_eq!(Newest::from_raw(Newest::Written(written).raw()), Newest::Written(written));
        }
        assert!((i64::MIN..=-2).contains(&Newest::from_raw(i64::MIN).raw()), "any number can be read");
    }

    #[test]
    fn records_without_a_timestamp_have_the_time_of_their_commit() {
        let now = TimestampMs(500);
        assert_eq!(Newest::committed(TimestampMs(7), now).time(), Some(TimestampMs(7)));
        for none in [-1, -5, i64::MIN] {
            let newest = Newest::committed(TimestampMs(none), now);
            assert_eq!((newest.time(), newest.record()), (Some(now), None));
            assert!(!newest.reaches(TimestampMs(0)) && newest.reaches(TimestampMs(-1)));
        }
    }
}
