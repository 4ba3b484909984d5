//! What clients get done, counted: whoever looks at clients that get nothing done sees nothing.

use crate::counts::{Counts, kinds};

kinds! {
    /// A kind of deed.
    Deed:
    /// A record was acknowledged.
    Record "record acknowledged",
    /// An offset was committed.
    Commit "offset committed",
    /// A member began to read as its group's generation says.
    Generation "generation",
    /// A member was told what a leader had assigned to it.
    Assignment "assignment as it was sent",
    /// A member left its group.
    Leaving "member left",
    /// A leader said whether a position is still good.
    Validation "position validated",
    /// A static member was told that another one has its name.
    Fencing "static member fenced",
    /// Records were deleted.
    Trim "trim",
    /// A topic was deleted.
    TopicDeleted "topic deleted",
}

/// How often each deed was done; clones count together.
pub type Deeds = Counts<Deed>;
