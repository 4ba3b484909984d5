//! Deletion: retired objects wait for readers, are deleted by the host, and then forgotten (I-5).

use std::ops::Bound;
use std::time::Duration;

use base::{ObjectId, TimestampMs};
use wire::meta::{MetadataRecord, ObjectRemovedRecord, ObjectRetiredRecord};

use super::convert::raw;
use super::{Catalogue, Decision};

/// How long a retired object stays. It serves readers that still hold an older image; safety does not depend on it.
pub const DELETION_GRACE: Duration = Duration::from_secs(600);

/// Most objects that one batch retires, so that it fits into one metadata entry whatever was deleted.
pub const RETIREMENTS_MAX: usize = 50_000;

impl Catalogue {
    /// Retires objects whose last use has gone, [`RETIREMENTS_MAX`] of them.
    pub fn retire(&self, now: TimestampMs) -> Decision<()> {
        let records = self.unreferenced.iter().take(RETIREMENTS_MAX).map(|id| {
            MetadataRecord::from(ObjectRetiredRecord {
                writer_id: id.writer.broker.0,
                writer_epoch: id.writer.epoch.0,
                sequence: raw(id.sequence),
                retired_ms: now.0,
                ..Default::default()
            })
        });
        Decision { records: records.collect(), response: () }
    }

    /// Whether objects without use are left, because a batch had no room for their retirement.
    pub fn has_unretired(&self) -> bool {
        !self.unreferenced.is_empty()
    }

    /// Up to `limit` objects whose grace is over at `now`, in the order of their ids, from the first behind `after` on.
    pub fn due_for_deletion(
        &self,
        now: TimestampMs,
        grace: Duration,
        after: Option<ObjectId>,
        limit: usize,
    ) -> Vec<ObjectId> {
        let grace_ms = i64::try_from(grace.as_millis()).unwrap_or(i64::MAX);
        let due = |retired_at: TimestampMs| retired_at.0.saturating_add(grace_ms) <= now.0;
        let behind = (after.map_or(Bound::Unbounded, Bound::Excluded), Bound::Unbounded);
        self.pending.range(behind).filter(|(_, p)| due(p.retired_at)).map(|(id, _)| *id).take(limit).collect()
    }

    /// Records that objects are gone from the store. Those that are not pending any more are passed over.
    pub fn objects_removed(&self, objects: &[ObjectId]) -> Decision<()> {
        let records = objects.iter().filter(|id| self.pending.contains_key(*id)).map(|id| {
            MetadataRecord::from(ObjectRemovedRecord {
                writer_id: id.writer.broker.0,
                writer_epoch: id.writer.epoch.0,
                sequence: raw(id.sequence),
                ..Default::default()
            })
        });
        Decision { records: records.collect(), response: () }
    }
}
