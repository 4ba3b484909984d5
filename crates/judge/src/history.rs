//! What clients did and saw, in the order in which it happened.
//!
//! A value is a number that is sent once: whoever sends it again (a client's own retry within one send) does not begin
//! another send. An operation begins and ends in two events; one that never ends is of unknown outcome, as is one of a
//! client that has gone.

use std::fmt;
use std::sync::Arc;

/// Microseconds since the history began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Moment(pub u64);

/// One life of one client: who starts again is another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Client(pub u32);

/// What is sent: unique in a history.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Value(pub u64);

/// A partition of one topic. A topic that was deleted and made again is another.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// The topic's id, in words: what tells it from others of the same name.
    pub topic: Arc<str>,
    /// The partition.
    pub partition: i32,
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.topic, self.partition)
    }
}

/// A consumer group.
pub type GroupName = Arc<str>;

/// How an operation ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome<T> {
    /// It was done, and this came of it.
    Done(T),
    /// It was certainly not done, and never will be.
    Failed(Refusal),
    /// It may have been done, or may still be.
    Unknown(Refusal),
}

/// Why something was not done, or is not known to be: words for people.
pub type Refusal = Arc<str>;

/// From where a consumer reads on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// The offset of the next record it wants.
    At(i64),
    /// The offset of the next record it wants, because the group had committed it.
    Committed(i64),
}

/// A group's committed offset, as an answer showed it; `None` when it has none.
pub type Committed = Option<i64>;

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// When.
    pub at: Moment,
    /// To whom.
    pub client: Client,
    /// What.
    pub what: What,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// A record was handed to the producer. The order of these, by client and key, is the order of sending.
    SendBegan {
        /// Where to.
        key: Key,
        /// Its value.
        value: Value,
        /// Whether the producer is idempotent.
        idempotent: bool,
    },
    /// A batch with this value may have been stored, and is to be sent again under another epoch, in which its sequences are
    /// new: nothing tells the broker that it is the same, so it may be stored once more. Not where a broker had the producer
    /// do so that refused what it had to take or to know.
    Restamped {
        /// The value.
        value: Value,
    },
    /// The producer said what became of it: its offset, where the answer gave one.
    SendEnded {
        /// Its value.
        value: Value,
        /// What became of it.
        outcome: Outcome<Option<i64>>,
    },
    /// Whatever it does in that group from here on, it does under this name (`group.instance.id`), as others may before and
    /// after it.
    Static {
        /// The name.
        name: Arc<str>,
        /// The group.
        group: GroupName,
    },
    /// From here on the consumer reads these partitions and no others.
    Assigned {
        /// Each with where reading begins.
        keys: Vec<(Key, Start)>,
        /// The group that said so, if one did.
        group: Option<GroupName>,
        /// The group's generation in which it did.
        generation: Option<i32>,
    },
    /// The consumer was told that its position is gone, and reads on from elsewhere.
    Reset {
        /// Of which partition.
        key: Key,
        /// Where it reads on.
        to: i64,
    },
    /// A fetch answered, with records or without.
    Polled {
        /// Of which partition.
        key: Key,
        /// Offset and value of each record, as they came.
        records: Vec<(i64, Value)>,
        /// Records that hold no value that could have been sent: offset, and what is wrong, in words.
        garbage: Vec<(i64, Refusal)>,
        /// What the answer called the high watermark.
        high_watermark: i64,
        /// What it called the log start offset.
        log_start: i64,
        /// The connection that it came over, if that is known: to one process of one broker. Numbers are not used again.
        connection: Option<u64>,
    },
    /// A fetch was refused, and told nothing of the partition.
    FetchRefused {
        /// Of which partition.
        key: Key,
        /// The first offset that was wanted.
        offset: i64,
        /// Why.
        why: Refusal,
    },
    /// ListOffsets was asked; whatever the client asked before about the partition, it expects no answer to that any more.
    OffsetsBegan {
        /// Of which partition.
        key: Key,
    },
    /// ListOffsets answered: the earliest offset or the latest one.
    OffsetsEnded {
        /// Of which partition.
        key: Key,
        /// The earliest, if that was asked.
        earliest: Option<i64>,
        /// The latest, if that was asked.
        latest: Option<i64>,
    },
    /// A group member commits an offset. Each request is a commit of its own: who sends it again begins another.
    CommitBegan {
        /// The group.
        group: GroupName,
        /// Of which partition.
        key: Key,
        /// The next offset to be read.
        offset: i64,
        /// Which commit of this client: the number is in the ending, too.
        number: u64,
        /// The generation of the group that it says it is of.
        generation: Option<i32>,
    },
    /// What became of it.
    CommitEnded {
        /// Which.
        number: u64,
        /// What became of it.
        outcome: Outcome<()>,
    },
    /// OffsetFetch was asked; whatever the client asked before about the partition, it expects no answer to that any more.
    CommittedBegan {
        /// The group.
        group: GroupName,
        /// Of which partition.
        key: Key,
    },
    /// OffsetFetch answered.
    CommittedEnded {
        /// The group.
        group: GroupName,
        /// Of which partition.
        key: Key,
        /// What is committed.
        offset: Committed,
    },
    /// Records of a partition up to `before` are to be deleted.
    TrimBegan {
        /// Of which partition.
        key: Key,
        /// The first offset to be kept.
        before: i64,
    },
    /// What became of it: the log start offset.
    TrimEnded {
        /// Of which partition.
        key: Key,
        /// What became of it.
        outcome: Outcome<i64>,
    },
    /// From here on the broker removes records of a partition once they are older than that, by its clock.
    Retained {
        /// Of which partition.
        key: Key,
        /// How old they become, in milliseconds.
        milliseconds: u64,
    },
    /// From here on a clock by which brokers tell the age of records is ahead of the history's time. It was not before.
    ClockSet {
        /// Which clock.
        clock: u32,
        /// By how many microseconds; less than 0 if it is behind.
        ahead: i64,
    },
    /// The name of a topic. Two topics of which either has no name in the history may have the same.
    Named {
        /// Its id, as in its keys.
        topic: Arc<str>,
        /// Its name.
        name: Arc<str>,
    },
    /// A topic is to be deleted.
    DeleteBegan {
        /// Its id, as in its keys.
        topic: Arc<str>,
    },
    /// What became of it.
    DeleteEnded {
        /// Its id, as in its keys.
        topic: Arc<str>,
        /// What became of it.
        outcome: Outcome<()>,
    },
    /// The client has gone without finishing what it was about.
    Gone,
    /// Nothing disturbs anybody any more. After this every partition that was not deleted is read, by clients that had no
    /// part before, from its log start to its end.
    Healed,
    /// A final reader has read a partition from `from` to `end`, all of which was polled before. `end` is the latest offset,
    /// for which it asked after it was assigned the partition for the last time.
    ReadWhole {
        /// Which partition.
        key: Key,
        /// Where its log began.
        from: i64,
        /// Where it ended.
        end: i64,
    },
}

/// What happened, in order of time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct History(pub Vec<Event>);

impl History {
    /// Adds what happened next.
    pub fn push(&mut self, at: Moment, client: Client, what: What) {
        self.0.push(Event { at, client, what });
    }
}
