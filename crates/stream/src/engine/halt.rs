//! An engine's end without a drain: what a crash does to it, in a process that goes on.

use std::sync::Arc;

use super::{Engine, Pending};
use crate::wal::{Ending, Wal};

impl Engine {
    /// Stops at once, as a crash would: no append is acknowledged any more, what is queued is dropped, and nothing of the
    /// log runs when this returns. What was acknowledged is in the log, and the next registration recovers it.
    pub async fn halt(&self, why: &str) {
        let Some(wal) = self.stop(why) else { return };
        wal.end(Ending::Abandon);
        let ended = wal.ended();
        drop(wal);
        // Why it died, if it did, has been told to whoever asked.
        let _ = ended.await;
    }

    /// As [`Engine::halt`], without waiting for the threads.
    pub fn kill(&self, why: &str) {
        // Others may hold the log: a drain that waits for it to empty does. So letting go of it says nothing yet.
        if let Some(wal) = self.stop(why) {
            wal.end(Ending::Abandon);
        }
    }

    fn stop(&self, why: &str) -> Option<Arc<Wal<Pending>>> {
        // First, so that whoever waits for an acknowledgement hears this and not that the log is closed.
        self.inner.stop(why);
        self.inner.log.detach()
    }
}
