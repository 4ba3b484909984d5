//! Loading producer state: the newest checkpoint, then the log from there to where this leader began.
//!
//! Done once, at the first append or trim that needs it. Appends without a producer id neither wait nor fail: they do not
//! change the state, so replaying up to the end of the log at opening is enough. When a checkpoint is due that nobody can
//! write yet, they only start the load.
//!
//! A checkpoint that can never be read again (damaged, or gone) is made anew from the log, as Kafka does without a
//! snapshot: from where a producer that is not expired yet can have written first. Until it is committed, no trim relies on
//! the lost one.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use base::{Offset, OffsetRange, TimestampMs, task};
use bytes::{Buf, Bytes};
use records::batch::HEADER_BYTES;
use records::{BatchHeader, RecordsError};
use stream::Stream;
use stream::catalogue::Extent;

use crate::append::identity;
use crate::error::LoadError;
use crate::limits::REBUILD_BYTES_MIN;
use crate::partition::Partition;
use crate::producers::Producers;

impl Partition {
    /// Whether an append of a producer would have to load producer state first.
    pub fn waits_for_load(&self) -> bool {
        self.state.lock().producers.is_none()
    }

    /// Loads producer state while others go on, if a checkpoint waits for it. A failure is met again when the next is due.
    pub(crate) fn load_beside(self: &Arc<Self>) {
        if !self.load_wanted.swap(false, Ordering::AcqRel) {
            return;
        }
        let partition = self.clone();
        task::spawn("producer-load", async move {
            if let Err(error) = partition.ready().await {
                tracing::warn!(
                    topic = %partition.topic.name(), partition = partition.index, %error,
                    "producer state could not be loaded, and no checkpoint is written of it"
                );
            }
        });
    }

    /// Loads producer state unless it is loaded.
    ///
    /// # Errors
    /// When the store failed or holds what cannot be read; a later call tries again.
    pub async fn ready(&self) -> Result<(), LoadError> {
        if self.state.lock().producers.is_some() {
            return Ok(());
        }
        let _loading = self.loading.lock().await;
        if self.state.lock().producers.is_some() {
            return Ok(());
        }
        let (producers, source) = self.load().await?;
        self.state.lock().producers = Some(producers);
        self.load_wanted.store(false, Ordering::Release);
        if source == Source::Log {
            self.stream.checkpoint_is_lost();
        }
        Ok(())
    }

    async fn load(&self) -> Result<(Producers, Source), LoadError> {
        base::plant::place("in-producer-load");
        let now = self.shared.clock.now();
        let (mut producers, from, lost) = match read_checkpoint(&self.stream).await {
            Ok(Some((producers, at))) => (producers, at, None),
            Ok(None) => (Producers::new(), Offset(0), None),
            // Planted: what cannot be read said nothing.
            Err(why) if why.is_lost_checkpoint() && base::plant::bug("unreadable-checkpoint-is-empty") => {
                (Producers::new(), self.opened_end, None)
            }
            Err(why) if why.is_lost_checkpoint() => (Producers::new(), self.rebuild_from(now), Some(why)),
            Err(error) => return Err(error),
        };
        let log_start = self.log_start();
        if from < log_start && lost.is_none() {
            // A coordinator's log, which no producer writes; or one whose lost records were trimmed, of which was warned then.
            tracing::debug!(
                topic = %self.topic.name(), partition = self.index, from = %from, to = %log_start,
                "records were trimmed of which no checkpoint tells which producers wrote them"
            );
        }
        let first = from.max(log_start);
        let mut scan = self.scan(OffsetRange::new(first, self.opened_end.max(first))).await;
        while let Some((next, part)) = scan.next().await? {
            let fetched = &part.fetched;
            for header in Headers::new(&fetched.slices) {
                let header = header.map_err(|why| LoadError::Log { at: next, why })?;
                if header.is_transactional() || header.is_control() {
                    return Err(LoadError::Transactional(next));
                }
                let last = Offset::from_kafka(header.last_offset()).unwrap_or(next);
                // An entry that a checkpoint covers may come again with its neighbours.
                if let Some(producer) = identity(&header)
                    && last >= from
                {
                    let timestamp = header.max_timestamp.into();
                    producers.record(producer, last, timestamp, now, last + 1);
                }
            }
            if fetched.range.end <= next {
                let why = RecordsError::Malformed("the log holds nothing below its end");
                return Err(LoadError::Log { at: next, why });
            }
        }
        producers.expire(now, self.shared.producer_id_expiration_ms(), self.opened_end);
        let source = if lost.is_some() { Source::Log } else { Source::Checkpoint };
        if let Some(why) = lost {
            tracing::warn!(
                topic = %self.topic.name(), partition = self.index, %why, from = %from, to = %self.opened_end,
                producers = producers.len(),
                "a producer checkpoint cannot be read; the producers were found again in the log, and those that wrote \
                 nothing there are forgotten; the next upload writes a new checkpoint"
            );
        }
        Ok((producers, source))
    }

    /// Below this offset only producers that are expired by now wrote, as far as timestamps can be trusted.
    fn rebuild_from(&self, now: TimestampMs) -> Offset {
        let remembered = now.0.saturating_sub(self.shared.producer_id_expiration_ms());
        let extents = self.stream.extents().uploaded;
        rebuild_from(&extents, self.opened_end, TimestampMs(remembered)).max(self.log_start())
    }
}

/// Where producers that were loaded come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source {
    /// The newest checkpoint, if there is one, and the log behind it.
    Checkpoint,
    /// The log alone, because the newest checkpoint is lost.
    Log,
}

/// The newest checkpoint and the offset that it describes. From here on trims may rely on it if it can be read, be it by a
/// newer release only.
pub(crate) async fn read_checkpoint(stream: &Stream) -> Result<Option<(Producers, Offset)>, LoadError> {
    let Some((at, bytes)) = stream.last_checkpoint().await? else { return Ok(None) };
    let read = Producers::from_checkpoint(&bytes, at).map_err(LoadError::from);
    if !read.as_ref().is_err_and(LoadError::is_lost_checkpoint) {
        stream.checkpoint_is_readable();
    }
    Ok(Some((read?, at)))
}

/// Where a replay begins that is to find who wrote below `opened_end` since `remembered`: what this leader appended behind
/// it is known.
fn rebuild_from(extents: &[Extent], opened_end: Offset, remembered: TimestampMs) -> Offset {
    let before = || extents.iter().filter(|extent| extent.range.start < opened_end);
    // What was written later is younger, though its timestamps may say otherwise: the first young one counts.
    let young = before().find(|extent| extent.newest.time().is_some_and(|time| time >= remembered));
    let mut always = opened_end;
    let mut bytes = 0;
    for extent in before().rev() {
        if bytes >= REBUILD_BYTES_MIN {
            break;
        }
        always = extent.range.start;
        bytes += extent.bytes;
    }
    young.map_or(always, |extent| extent.range.start.min(always))
}

/// The headers of consecutive batches whose bytes are cut into slices anywhere.
struct Headers<'a> {
    slices: std::slice::Iter<'a, Bytes>,
    rest: &'a [u8],
}

impl<'a> Headers<'a> {
    fn new(slices: &'a [Bytes]) -> Self {
        Self { slices: slices.iter(), rest: &[] }
    }

    /// Copies the next bytes into `into`, or passes over `skip` of them; how many there were.
    fn take(&mut self, mut skip: usize, mut into: Option<&mut [u8]>) -> usize {
        let mut taken = 0;
        while skip > 0 {
            if self.rest.is_empty() {
                let Some(slice) = self.slices.next() else { break };
                self.rest = slice;
                continue;
            }
            let some = skip.min(self.rest.len());
            if let Some(out) = into.as_deref_mut() {
                out[taken..taken + some].copy_from_slice(&self.rest[..some]);
            }
            self.rest.advance(some);
            taken += some;
            skip -= some;
        }
        taken
    }
}

impl Iterator for Headers<'_> {
    type Item = Result<BatchHeader, RecordsError>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut head = [0; HEADER_BYTES];
        let have = self.take(HEADER_BYTES, Some(&mut head));
        if have == 0 {
            return None;
        }
        if have < HEADER_BYTES {
            return Some(Err(RecordsError::Truncated { have, need: HEADER_BYTES }));
        }
        let header = match BatchHeader::parse(&head) {
            Ok(header) => header,
            Err(error) => return Some(Err(error)),
        };
        let need = header.batch_bytes() - HEADER_BYTES;
        let have = self.take(need, None);
        if have < need {
            return Some(Err(RecordsError::Truncated { have: have + HEADER_BYTES, need: need + HEADER_BYTES }));
        }
        Some(Ok(header))
    }
}

#[cfg(test)]
mod tests {
    use base::{ObjectId, OffsetRange, StreamEpoch};
    use stream::catalogue::Newest;

    use super::*;

    /// An extent of ten offsets, half as large as what is always read.
    fn extent(start: u64, newest: i64) -> Extent {
        Extent {
            range: OffsetRange::new(Offset(start), Offset(start + 10)),
            epoch: StreamEpoch(0),
            object: ObjectId::default(),
            newest: Newest::Record(TimestampMs(newest)),
            bytes: REBUILD_BYTES_MIN / 2,
        }
    }

    #[test]
    fn producers_are_looked_for_before_the_leader_began_and_not_in_what_it_appended_since() {
        let old: Vec<Extent> = (0..8).map(|at| extent(at * 10, 5)).collect();
        let from = |extents: &[Extent], opened_end| rebuild_from(extents, Offset(opened_end), TimestampMs(100)).0;
        assert_eq!(from(&old, 80), 60);
        assert_eq!(from(&old, 40), 20, "what came later takes nothing from what is always read");
        assert_eq!(from(&old, 0), 0);
        let young = [&old[..1], &[extent(10, 100)], &old[2..]].concat();
        assert_eq!(from(&young, 80), 10, "the first young one counts");
        let young = [&old[..7], &[extent(70, 100)]].concat();
        assert_eq!(from(&young, 40), 20);
    }
}
