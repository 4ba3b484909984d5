//! An engine's end without a drain: what a crash does to it, in a process that goes on.

use super::Engine;
use crate::wal::Ending;

impl Engine {
    /// Stops at once, as a crash would, and waits for nothing: no append is acknowledged any more, what is queued is
    /// dropped, and the log ends ([`ended`](crate::wal::Appender::ended) says when). What was acknowledged is in the log,
    /// and the next registration recovers it.
    pub fn kill(&self, why: &str) {
        // First, so that whoever waits for an acknowledgement hears this and not that the log is closed.
        self.inner.stop(why);
        // Others may hold the log: a drain that waits for it to empty does. So letting go of it says nothing yet.
        if let Some(wal) = self.inner.log.detach() {
            wal.end(Ending::Abandon);
        }
    }
}
