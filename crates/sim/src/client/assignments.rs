//! What leaders assigned to the members of their groups: nothing else may a member be told. What a leader sends the
//! coordinator knows nothing of; it stores it and hands it on.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use judge::GroupName;
use parking_lot::Mutex;
use wire::Str;

/// A group, its generation and a member's id.
type To = (GroupName, i32, Str);

/// All that was ever assigned; clones are the same.
#[derive(Clone, Debug, Default)]
pub struct Assignments(Arc<Mutex<BTreeMap<To, Vec<Bytes>>>>);

impl Assignments {
    /// A leader is about to send that. It may have sent another one before that was lost, or may have been stored.
    pub fn sends(&self, group: &GroupName, generation: i32, member: &Str, assignment: &Bytes) {
        let mut sent = self.0.lock();
        sent.entry((group.clone(), generation, member.clone())).or_default().push(assignment.clone());
    }

    /// Whether a leader assigned that to a member. `None` where no leader named its id: whoever comes under a static name has
    /// what its former holder had.
    pub fn is_of(&self, group: &GroupName, generation: i32, member: &Str, told: &Bytes) -> Option<bool> {
        let sent = self.0.lock();
        Some(sent.get(&(group.clone(), generation, member.clone()))?.contains(told))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_is_told_what_a_leader_sent_for_it_in_this_generation() {
        let (assignments, group, other): (_, GroupName, GroupName) = (Assignments::default(), "g".into(), "h".into());
        let ([one, two], [a, b]) = (["1", "2"].map(Str::from), [b"a", b"b"].map(|bytes| Bytes::from_static(bytes)));
        assignments.sends(&group, 3, &one, &a);
        assignments.sends(&group, 4, &one, &b);
        let nothing = Bytes::new();
        let told = |generation, bytes| assignments.is_of(&group, generation, &one, bytes);
        assert_eq!([told(3, &a), told(3, &b), told(4, &b)], [Some(true), Some(false), Some(true)]);
        assert_eq!(told(3, &nothing), Some(false), "it was assigned something");
        assignments.sends(&group, 3, &one, &b);
        assert_eq!([told(3, &a), told(3, &b)], [Some(true); 2], "the one or the other was stored");
        let of_others = [assignments.is_of(&group, 3, &two, &b), assignments.is_of(&other, 3, &one, &b), told(5, &b)];
        assert_eq!(of_others, [None; 3]);
    }
}
