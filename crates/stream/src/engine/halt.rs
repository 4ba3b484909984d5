//! An engine's end without a drain: what a crash does to it, in a process that goes on.

use std::sync::Arc;

use super::{Engine, EngineFailure, Pending};
use crate::wal::Wal;

impl Engine {
    /// Stops at once, as a crash would: no append is acknowledged any more, what is queued is dropped, and the threads of
    /// the log have ended when this returns. What was acknowledged is in the log, and the next registration recovers it.
    ///
    /// # Errors
    /// When the runtime ends first.
    pub async fn halt(&self, why: &str) -> Result<(), EngineFailure> {
        let Some(wal) = self.stop(why) else { return Ok(()) };
        // Not left to the other thread, for which there may be none: all may wait for storage.
        wal.kill();
        let halted = base::task::spawn_blocking("wal-abandon", move || wal.abandon()).await;
        halted.map_err(|error| EngineFailure(error.to_string().into()))
    }

    /// As [`Engine::halt`], without waiting for the threads.
    pub fn kill(&self, why: &str) {
        // Others may hold the log: a drain that waits for it to empty does. So letting go of it says nothing yet.
        if let Some(wal) = self.stop(why) {
            wal.kill();
        }
    }

    fn stop(&self, why: &str) -> Option<Arc<Wal<Pending>>> {
        // First, so that whoever waits for an acknowledgement hears this and not that the log is closed.
        self.inner.stop(why);
        self.inner.log.detach()
    }
}
