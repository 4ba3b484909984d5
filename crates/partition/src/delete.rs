//! Trims: a client moves the log start by DeleteRecords, or retention does.
//!
//! The records below the new start are the only ones that tell what the idempotent producers sent that wrote them, until a
//! checkpoint does. So the producers are loaded and a checkpoint is committed before the records go, unless the newest one
//! tells enough already; or else a producer that was not answered and sends again would be stored twice (I-2). One that
//! a former leader wrote is read before it counts: it may have been damaged since, and then the records are needed.
//!
//! Where the log is damaged for good, the producers cannot be known any more, whether the records stay or not: they are
//! trimmed all the same, and the log is whole again behind them. What only a newer release can read stays until it does.

use base::Offset;
use stream::Stream;

use crate::error::{DeleteRecordsError, TrimError};
use crate::partition::Partition;

/// DeleteRecords' "up to the high watermark".
pub const HIGH_WATERMARK: i64 = -1;

impl Partition {
    /// Deletes the records below `offset`, or all below the high watermark for [`HIGH_WATERMARK`]; returns the log start
    /// afterwards, once metadata has it. An offset below the log start changes nothing.
    ///
    /// # Errors
    /// [`DeleteRecordsError`].
    pub async fn delete_records(&self, offset: i64) -> Result<Offset, DeleteRecordsError> {
        self.check_open()?;
        let cleanup = self.topic.config().cleanup;
        if cleanup.compact && !cleanup.delete {
            return Err(DeleteRecordsError::Policy { topic: self.topic.name().to_string() });
        }
        let high_watermark = self.high_watermark();
        let to = match offset {
            HIGH_WATERMARK => Some(high_watermark),
            _ => Offset::from_kafka(offset).filter(|&to| to <= high_watermark),
        };
        let to = to.ok_or(DeleteRecordsError::OutOfRange { offset, high_watermark })?;
        if to > self.log_start() {
            self.trim(to).await?;
        }
        Ok(self.log_start())
    }

    /// Moves the log start, once what is below tells nothing any more that no checkpoint tells.
    async fn trim(&self, start: Offset) -> Result<(), TrimError> {
        let told = self.tell_below(start).await?;
        Ok(told.trim(&self.stream, start).await?)
    }

    /// Has a checkpoint tell which producers wrote below `start`, if anybody still can.
    pub(crate) async fn tell_below(&self, start: Offset) -> Result<Told, TrimError> {
        if start > self.stream.covered()
            && let Err(why) = self.ready().await
        {
            // A checkpoint that was read before the failure may tell enough.
            if start <= self.stream.covered() {
                return Ok(Told::Checkpointed);
            }
            if !why.is_lasting() {
                return Err(why.into());
            }
            tracing::warn!(
                topic = %self.topic.name(), partition = self.index, log_start = %start, %why,
                "records are trimmed of which it cannot be known any more which producers wrote them"
            );
            return Ok(Told::Lost);
        }
        self.stream.cover(start).await?;
        Ok(Told::Checkpointed)
    }
}

/// What is known of the producers below a new log start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    /// A checkpoint tells them.
    Checkpointed,
    /// Nothing does, nor ever will.
    Lost,
}

impl Told {
    /// Moves the log start of `stream`, below which this is known.
    pub async fn trim(self, stream: &Stream, start: Offset) -> Result<(), stream::engine::TrimError> {
        match self {
            Self::Checkpointed => stream.trim(start).await,
            Self::Lost => stream.trim_without_state(start).await,
        }
    }
}
