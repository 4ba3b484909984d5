//! Newtyped ids, offsets, epochs and positions.

use std::fmt;
use std::ops::{Add, Sub};

macro_rules! newtype {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }

        impl From<$inner> for $name {
            fn from(value: $inner) -> Self {
                Self(value)
            }
        }
    };
}

newtype!(
    /// A broker's id, Kafka's `node.id`: 0 or more.
    BrokerId(i32)
);
newtype!(
    /// One registration of a broker. Cluster-wide unique and rising: it is the sequence number of the metadata entry
    /// that registered it, as Kafka's broker epoch is the offset of its registration record.
    BrokerEpoch(i64)
);
newtype!(
    /// One term of the active controller; rises by one with each claim.
    ControllerEpoch(i64)
);
newtype!(
    /// The place of an entry in the metadata log, from 0.
    MetaSequence(u64)
);
newtype!(
    /// A stream's id; never reused.
    StreamId(u64)
);
newtype!(
    /// One tenure of a stream's owner. It is also Kafka's leader epoch of the partition that the stream holds.
    StreamEpoch(i32)
);
newtype!(
    /// A position in a stream, and Kafka's record offset: 0 ..= i64::MAX.
    Offset(u64)
);
newtype!(
    /// A logical byte address in one WAL incarnation: segment number × segment size + position in the segment.
    WalPosition(u64)
);
newtype!(
    /// Milliseconds since the Unix epoch; -1 means "none", as in Kafka.
    TimestampMs(i64)
);

impl Offset {
    /// Kafka's signed form.
    ///
    /// # Panics
    /// Never for offsets that came from a client or a log: both are at most `i64::MAX`.
    pub fn kafka(self) -> i64 {
        i64::try_from(self.0).expect("offsets stay within i64")
    }

    /// From Kafka's signed form; negative values are sentinels, not offsets.
    pub fn from_kafka(offset: i64) -> Option<Self> {
        u64::try_from(offset).ok().map(Self)
    }
}

impl Add<u64> for Offset {
    type Output = Self;
    fn add(self, by: u64) -> Self {
        Self(self.0 + by)
    }
}

impl Sub<Offset> for Offset {
    type Output = u64;
    fn sub(self, other: Self) -> u64 {
        self.0 - other.0
    }
}

/// Offsets `[start, end)` of one stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct OffsetRange {
    /// First offset inside.
    pub start: Offset,
    /// First offset after.
    pub end: Offset,
}

impl OffsetRange {
    /// `[start, end)`.
    pub fn new(start: Offset, end: Offset) -> Self {
        Self { start, end }
    }

    /// Whether nothing is inside.
    pub fn is_empty(self) -> bool {
        self.start >= self.end
    }

    /// Whether `offset` is inside.
    pub fn contains(self, offset: Offset) -> bool {
        self.start <= offset && offset < self.end
    }
}

impl fmt::Display for OffsetRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{}, {})", self.start, self.end)
    }
}

/// One WAL incarnation: every broker epoch writes a fresh one, so the pair names it for ever.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Incarnation {
    /// The broker that writes it.
    pub broker: BrokerId,
    /// The registration that made it.
    pub epoch: BrokerEpoch,
}

impl fmt::Display for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.broker, self.epoch)
    }
}

/// A data object: written by one broker registration under a sequence number that it never uses again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectId {
    /// Who wrote it.
    pub writer: Incarnation,
    /// The writer's sequence number, from 0.
    pub sequence: u64,
}

impl ObjectId {
    /// The object's name in the store: `<hash4>/obj/<broker>-<epoch>-<sequence>`. The four hex digits spread keys over
    /// the store's partitions.
    pub fn key(self) -> String {
        let tail = format!("obj/{}-{}-{}", self.writer.broker, self.writer.epoch, self.sequence);
        format!("{:04x}/{tail}", crate::checksum::crc32c(tail.as_bytes()) & 0xffff)
    }
}

impl fmt::Display for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.writer, self.sequence)
    }
}
