//! Who has a static name (`group.instance.id`), by what members were told: a member whose name another one has taken since
//! is fenced, and commits nothing more. Its heartbeats say less: they are taken blindly while the group loads, as in Kafka.

use std::collections::BTreeMap;
use std::sync::Arc;

use judge::GroupName;
use parking_lot::Mutex;
use wire::Str;

/// A group and a name in it.
type Name = (GroupName, Str);

/// The static names of all groups; clones are the same.
#[derive(Clone, Debug, Default)]
pub struct Names(Arc<Mutex<BTreeMap<Name, Holder>>>);

#[derive(Debug, Default)]
struct Holder {
    /// How often the name was taken.
    taken: u64,
    /// Who has it, where that is certain.
    member: Option<Str>,
}

/// When a member began to join, counted in who had taken its name by then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Since(u64);

impl Names {
    /// A member begins to join under that name.
    pub fn joins(&self, group: &GroupName, name: &Str) -> Since {
        Since(self.0.lock().get(&(group.clone(), name.clone())).map_or(0, |holder| holder.taken))
    }

    /// A member was told that it is part of the group, which stands in the group's log by then. Who took the name first is
    /// not certain when another one was told so since this one began to join: answers may be late.
    pub fn took(&self, group: &GroupName, name: &Str, member: &Str, since: Since) {
        let mut names = self.0.lock();
        let holder = names.entry((group.clone(), name.clone())).or_default();
        holder.member = (holder.taken == since.0).then(|| member.clone());
        holder.taken += 1;
    }

    /// Who has certainly taken the name from this member.
    pub fn taken_from(&self, group: &GroupName, name: Option<&Str>, member: &Str) -> Option<Str> {
        let names = self.0.lock();
        let holder = names.get(&(group.clone(), name?.clone()))?;
        holder.member.clone().filter(|holder| holder != member)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_the_last_ones_unless_two_joined_at_once() {
        let (names, group, name): (_, GroupName, Str) = (Names::default(), "g".into(), "n".into());
        let [one, two, three] = ["1", "2", "3"].map(Str::from);
        let taken_from = |member| names.taken_from(&group, Some(&name), member);
        names.took(&group, &name, &one, names.joins(&group, &name));
        assert_eq!(taken_from(&one), None);
        let (of_two, of_three) = (names.joins(&group, &name), names.joins(&group, &name));
        names.took(&group, &name, &two, of_two);
        assert_eq!((taken_from(&one), taken_from(&two)), (Some(two.clone()), None));
        names.took(&group, &name, &three, of_three);
        assert_eq!([&one, &two, &three].map(taken_from), [None, None, None]);
        assert_eq!(names.taken_from(&group, None, &one), None, "it has no name");
    }
}
