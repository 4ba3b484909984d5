//! What an offset that only rises has certainly reached.

use super::Place;

/// Who said that the offset is at least so high, by place; each higher than the one before.
#[derive(Default)]
pub(crate) struct Floor(Vec<(Place, i64)>);

impl Floor {
    /// Of what was said, in any order.
    pub fn new(mut said: Vec<(Place, i64)>) -> Self {
        said.sort_unstable();
        let mut highest = i64::MIN;
        said.retain(|&(_, offset)| {
            let is_higher = offset > highest;
            highest = highest.max(offset);
            is_higher
        });
        Self(said)
    }

    /// The highest that was said at all.
    pub fn highest(&self) -> Option<i64> {
        self.0.last().map(|&(_, offset)| offset)
    }

    /// Where something higher than this was said first.
    pub fn first_above(&self, offset: i64) -> Option<Place> {
        self.0.get(self.0.partition_point(|&(_, said)| said <= offset)).map(|&(place, _)| place)
    }

    /// The highest that was said before a place, and where.
    pub fn before(&self, place: Place) -> Option<(Place, i64)> {
        let end = self.0.partition_point(|&(said, _)| said < place);
        self.0[..end].last().copied()
    }
}
