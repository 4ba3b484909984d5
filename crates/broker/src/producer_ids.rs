//! Producer ids, taken from the metadata log in blocks.

use std::ops::Range;

use base::Incarnation;
use meta::{MetaError, MetaHandle};
use tokio::sync::Mutex;

/// What is left of this broker's block.
#[derive(Debug)]
pub(crate) struct ProducerIds {
    owner: Incarnation,
    /// Held across the wait for a new block, so that a rush of producers takes one block and not one each.
    block: Mutex<Range<i64>>,
}

impl ProducerIds {
    pub(crate) fn new(owner: Incarnation) -> Self {
        Self { owner, block: Mutex::new(0..0) }
    }

    /// An id that nobody else ever gets.
    pub(crate) async fn next(&self, meta: &MetaHandle) -> Result<i64, MetaError> {
        let mut block = self.block.lock().await;
        loop {
            if let Some(id) = block.next() {
                return Ok(id);
            }
            *block = meta.allocate_producer_ids(self.owner).await?;
        }
    }
}
