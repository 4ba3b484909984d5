//! The kinds of faults. Each that is done is counted.

use crate::counts::{Counts, kinds};

kinds! {
    /// A kind of fault.
    Fault:
    /// A process ends between two polls of its tasks.
    Crash "crash",
    /// A process ends within a call of its disk.
    CrashInIo "crash in I/O",
    /// Its machine loses power: what was not synced is gone.
    PowerLoss "power loss",
    /// A process stands still while everything else goes on.
    Pause "pause",
    /// A second process with the same broker id starts while the first lives.
    Twin "twin",
    /// A wall clock is set.
    ClockJump "clock jump",
    /// A task panics at a planted place.
    Panic "panic",
    /// A panic breaks off a request, and with it its connection.
    BrokenRequest "broken request",
    /// A write lands in part when its process ends.
    TornWrite "torn write",
    /// A write that has failed lands all the same, later.
    LateWrite "late write",
    /// Writes in flight land in another order.
    ReorderedWrite "reordered write",
    /// A name that was not synced is gone after a loss of power.
    LostName "lost name",
    /// A disk answers late.
    SlowDisk "slow disk",
    /// A read sees a part of a write that is in flight.
    SplitRead "split read",
    /// A write or sync fails.
    WriteError "write error",
    /// A read fails.
    ReadError "read error",
    /// There is no room for another file.
    FullDisk "full disk",
    /// Connections are slow.
    SlowNetwork "slow network",
    /// A connection breaks, with requests under way: whoever serves them is cancelled.
    Reset "reset",
    /// Nothing of what one side sends arrives for a while.
    StalledLink "stalled link",
    /// Some hosts do not reach some others.
    Partition "partition",
    /// Nobody can connect for a while.
    Refused "refused",
    /// The store answers 503 and does nothing.
    Unavailable "503",
    /// A request is lost on its way to the store.
    LostRequest "lost request",
    /// The store does what was asked, and the answer is lost.
    LostReply "lost reply",
    /// The request is said to have failed, and is done later.
    LateEffect "late effect",
    /// A read comes back cut.
    ShortRead "short read",
    /// A request takes very long.
    StoreStall "store stall",
    /// Everything that is asked of the store fails for a while.
    StoreOutage "store outage",
    /// Everything that one machine asks of the store fails for a while.
    CutOff "cut off from the store",
    /// A body is damaged on its way there, and refused.
    DamagedWrite "damaged write",
    /// A body is damaged on its way back.
    DamagedRead "damaged read",
    /// What the store holds of a producer checkpoint has changed.
    RottenCheckpoint "rotten checkpoint",
    /// A client closes its connection, or goes, while its request is served.
    ClientGone "client gone",
}

/// How often each fault has occurred; clones count together.
pub type Faults = Counts<Fault>;
