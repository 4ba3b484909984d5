//! What members take in memory (I-10): every member, and every id that was given out, is charged to its group and to the
//! groups of all shards together, and gives it back when it goes.
//!
//! A group that is full answers as one that has too many members; when all together are, a joining client is told to ask
//! again, as while a coordinator loads. Who is in already stays in: an assignment, and what a load finds, is charged
//! whether there is room or not; both are bounded by the records that they stand in.
//!
//! The groups themselves and their offsets are charged, too, to a budget of their own: a commit with any name makes a group
//! that is kept for days. Beyond it no group is made any more. What is in the log already, of offsets and of groups, is
//! charged whether there is room or not, and so are the offsets of groups that are there.
//!
//! A group without members or offsets lasts until the next check of all groups, and a join with any name makes one. So these
//! have a smaller bound besides; beyond that a group is there only as long as somebody is in it, or about to be.

use base::memory::{Budget, Charge};
use bytes::Bytes;
use wire::{ErrorCode, Str};

use crate::limits::{
    GROUP_BYTES_MAX, GROUP_BYTES_MIN, GROUPS_BYTES_MAX, MEMBER_BYTES_MIN, NEW_GROUPS_BYTES_MAX,
    PENDING_MEMBERS_BYTES_MAX, PROTOCOL_BYTES_MIN, STORED_BYTES_MAX, STORED_BYTES_STEP,
};

/// The memory of all groups of a broker. Cheap to clone.
#[derive(Clone, Debug)]
pub struct GroupsMemory {
    group_bytes_max: u64,
    members: Budget,
    /// Apart: whoever asks for ids without end keeps nobody out who has one.
    pending: Budget,
    /// All groups, and their offsets.
    stored: Budget,
    /// Groups that nobody has been in yet.
    new_groups: Budget,
}

impl Default for GroupsMemory {
    fn default() -> Self {
        Self::new(GROUP_BYTES_MAX, GROUPS_BYTES_MAX, PENDING_MEMBERS_BYTES_MAX)
    }
}

impl GroupsMemory {
    /// So much for one group, for all of them, and for the members of all that have not joined yet.
    pub fn new(group_bytes_max: u64, bytes_max: u64, pending_bytes_max: u64) -> Self {
        Self {
            group_bytes_max,
            members: Budget::new(bytes_max),
            pending: Budget::new(pending_bytes_max),
            stored: Budget::new(STORED_BYTES_MAX),
            new_groups: Budget::new(NEW_GROUPS_BYTES_MAX),
        }
    }

    /// The same with so much for all groups and their offsets.
    #[cfg(test)]
    pub fn with_stored_max(self, bytes_max: u64) -> Self {
        Self { stored: Budget::new(bytes_max), ..self }
    }

    /// Whether there is room for one more group.
    ///
    /// # Errors
    /// What the client is told if there is none.
    pub fn check_room(&self, id: &str) -> Result<(), ErrorCode> {
        self.stored.try_charge(group_bytes(id)).map(drop).ok_or(ErrorCode::CoordinatorLoadInProgress)
    }

    /// Room for a group that nobody has been in yet, if there is any.
    pub fn new_group(&self, id: &str) -> Option<Charge> {
        self.new_groups.try_charge(group_bytes(id))
    }

    /// The memory of a group that has no members yet.
    pub fn of_group(&self, id: &str) -> GroupMemory {
        let of_all = self.stored.force_charge(group_bytes(id));
        GroupMemory { group: Budget::new(self.group_bytes_max), all: self.clone(), _of_all: of_all }
    }

    /// The memory of a shard's offsets, of which there are none yet.
    pub fn of_offsets(&self) -> OffsetsMemory {
        OffsetsMemory(self.stored.force_charge(0))
    }

    /// What all groups and their offsets hold.
    #[cfg(test)]
    pub fn stored(&self) -> u64 {
        self.stored.used()
    }

    #[cfg(test)]
    pub fn used(&self) -> u64 {
        self.members.used() + self.pending.used() + self.new_groups.used()
    }
}

/// What the offsets of a shard hold; given back on drop.
#[derive(Debug)]
pub struct OffsetsMemory(Charge);

impl OffsetsMemory {
    /// They take so much now: follows that, in steps.
    pub fn follow(&mut self, bytes: u64) {
        let is_step = bytes.abs_diff(self.0.bytes()) >= STORED_BYTES_STEP;
        if is_step || (bytes == 0 && self.0.bytes() > 0) {
            self.0.resize(bytes);
        }
    }
}

/// The memory of one group.
#[derive(Debug)]
pub struct GroupMemory {
    group: Budget,
    all: GroupsMemory,
    /// What it holds itself.
    _of_all: Charge,
}

impl GroupMemory {
    /// Room for a member.
    ///
    /// # Errors
    /// What the client is told when there is none.
    pub fn member(&self, bytes: u64) -> Result<MemberMemory, ErrorCode> {
        self.take(&self.all.members, bytes)
    }

    /// Room for a member's id that is given out.
    ///
    /// # Errors
    /// What the client is told when there is none.
    pub fn pending(&self, bytes: u64) -> Result<MemberMemory, ErrorCode> {
        self.take(&self.all.pending, bytes)
    }

    fn take(&self, all: &Budget, bytes: u64) -> Result<MemberMemory, ErrorCode> {
        let of_group = self.group.try_charge(bytes).ok_or(ErrorCode::GroupMaxSizeReached)?;
        let of_all = all.try_charge(bytes).ok_or(ErrorCode::CoordinatorLoadInProgress)?;
        Ok(MemberMemory { of_group, of_all })
    }

    /// Room for a member that a load found.
    pub fn loaded(&self, bytes: u64) -> MemberMemory {
        MemberMemory { of_group: self.group.force_charge(bytes), of_all: self.all.members.force_charge(bytes) }
    }
}

/// What one member holds; given back on drop.
#[derive(Debug)]
pub struct MemberMemory {
    of_group: Charge,
    of_all: Charge,
}

impl MemberMemory {
    /// Makes it `bytes`, unless there is no room for so much.
    ///
    /// # Errors
    /// What the client is told then.
    pub fn try_resize(&mut self, bytes: u64) -> Result<(), ErrorCode> {
        let more = bytes.saturating_sub(self.of_group.bytes());
        if more > 0 && !self.of_group.try_grow(more) {
            return Err(ErrorCode::GroupMaxSizeReached);
        }
        if more > 0 && !self.of_all.try_grow(more) {
            self.of_group.resize(self.of_all.bytes());
            return Err(ErrorCode::CoordinatorLoadInProgress);
        }
        self.resize(bytes);
        Ok(())
    }

    /// Makes it `bytes`, even past the limits.
    pub fn resize(&mut self, bytes: u64) {
        self.of_group.resize(bytes);
        self.of_all.resize(bytes);
    }
}

/// What is kept of a member. Its id is in maps and timers, too, and the metadata of one of its protocols and the
/// assignment are in the stored generation as well.
pub fn member_bytes(
    id: &str,
    instance_id: Option<&Str>,
    client: [&str; 2],
    protocols: &[(Str, Bytes)],
    assignment: &Bytes,
) -> u64 {
    let protocol = |(name, metadata): &(Str, Bytes)| PROTOCOL_BYTES_MIN + name.len() + 2 * metadata.len();
    let texts = 3 * id.len() + 3 * instance_id.map_or(0, |id| id.len()) + 2 * (client[0].len() + client[1].len());
    let rest = protocols.iter().map(protocol).sum::<usize>() + 2 * assignment.len();
    (MEMBER_BYTES_MIN + texts + rest) as u64
}

/// What is kept of a group itself. Its name is in maps, in its record, and in what is queued.
fn group_bytes(id: &str) -> u64 {
    (GROUP_BYTES_MIN + 4 * id.len()) as u64
}

/// What is kept of an id that was given out.
pub fn pending_bytes(id: &str) -> u64 {
    (MEMBER_BYTES_MIN + 2 * id.len()) as u64
}
