//! DeleteRecords: a client moves the log start.

use base::Offset;

use crate::error::DeleteRecordsError;
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
            self.stream.trim(to).await?;
        }
        Ok(self.log_start())
    }
}
