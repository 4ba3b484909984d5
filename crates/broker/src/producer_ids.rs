//! Producer ids, taken from the metadata log in blocks.

use std::ops::Range;

use base::Incarnation;
use futures::FutureExt;
use futures::future::BoxFuture;
use meta::{MetaError, MetaHandle};
use tokio::sync::Mutex;

use crate::limits::PRODUCER_ID_WAIT_MAX;

/// Why there is no id.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum NoProducerId {
    #[error(transparent)]
    Meta(#[from] MetaError),
    #[error("the metadata store has given no block of ids within {} ms", PRODUCER_ID_WAIT_MAX.as_millis())]
    NotYet,
}

/// What is left of this broker's block.
pub(crate) struct ProducerIds {
    owner: Incarnation,
    /// Held across the wait for a new block, so that a rush of producers takes one block and not one each.
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    block: Range<i64>,
    /// A block on its way; who asked for it may have given up waiting, and the next one waits for the same.
    coming: Option<BoxFuture<'static, Result<Range<i64>, MetaError>>>,
}

impl ProducerIds {
    pub(crate) fn new(owner: Incarnation) -> Self {
        Self { owner, state: Mutex::default() }
    }

    /// An id that nobody else ever gets.
    pub(crate) async fn next(&self, meta: &MetaHandle) -> Result<i64, NoProducerId> {
        tokio::time::timeout(PRODUCER_ID_WAIT_MAX, self.take(meta)).await.map_err(|_| NoProducerId::NotYet)?
    }

    async fn take(&self, meta: &MetaHandle) -> Result<i64, NoProducerId> {
        let mut state = self.state.lock().await;
        let State { block, coming } = &mut *state;
        loop {
            if let Some(id) = block.next() {
                return Ok(id);
            }
            let (meta, owner) = (meta.clone(), self.owner);
            let block_comes =
                coming.get_or_insert_with(|| async move { meta.allocate_producer_ids(owner).await }.boxed());
            let outcome = block_comes.await;
            *coming = None;
            *block = outcome?;
        }
    }
}
