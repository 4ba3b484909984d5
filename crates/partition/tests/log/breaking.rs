//! A write-ahead log that panics, to see what an append leaves behind that broke off.

use base::{Offset, WalPosition};
use futures::future::BoxFuture;
use stream::engine::Pending;
use stream::wal::{Append, Appender, Cuts, Ending, Wal, WalFailure, WalStatus};
use tokio::sync::oneshot;

/// A log whose appends panic at one offset.
#[derive(Debug)]
pub struct Breaking {
    pub wal: Wal<Pending>,
    pub at: Offset,
}

impl Appender<Pending> for Breaking {
    fn append(&self, append: Append, token: Pending) {
        assert!(append.base != self.at, "the test says so");
        self.wal.append(append, token);
    }

    fn check_unfenced(&self) -> oneshot::Receiver<()> {
        self.wal.check_unfenced()
    }

    fn trim(&self, to: WalPosition) {
        self.wal.trim(to);
    }

    fn failed(&self) -> BoxFuture<'static, Option<WalFailure>> {
        self.wal.failed()
    }

    fn end(&self, ending: Ending) {
        self.wal.end(ending);
    }

    fn ended(&self) -> BoxFuture<'static, Result<WalPosition, WalFailure>> {
        self.wal.ended()
    }

    fn status(&self) -> WalStatus {
        self.wal.status()
    }

    fn max_record_bytes(&self) -> usize {
        self.wal.max_record_bytes()
    }

    fn cuts(&self) -> Cuts {
        self.wal.cuts()
    }
}
