//! Generations of groups: which were told, and from when on an earlier one is over.

use std::collections::BTreeMap;

use super::{Floor, Place};
use crate::{Event, GroupName, What};

/// The generations of all groups.
pub(crate) struct Generations<'h>(BTreeMap<&'h GroupName, Floor>);

impl<'h> Generations<'h> {
    pub fn new(events: &'h [Event]) -> Self {
        let mut told: BTreeMap<&'h GroupName, Vec<(Place, i64)>> = BTreeMap::new();
        for (place, event) in events.iter().enumerate() {
            if let What::Assigned { group: Some(group), generation: Some(generation), .. } = &event.what {
                told.entry(group).or_default().push((place, i64::from(*generation)));
            }
        }
        Self(told.into_iter().map(|(group, told)| (group, Floor::new(told))).collect())
    }

    /// Where a generation after this one was told first.
    pub fn over(&self, group: &GroupName, generation: i32) -> Option<Place> {
        self.0.get(group)?.first_above(i64::from(generation))
    }
}
