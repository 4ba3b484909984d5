//! Why a node ended. It is returned, and whoever hosts the node decides what follows: the binary exits.

use std::sync::Arc;

use base::task::Panicked;
use blob::StoreError;
use meta::LogLost;
use stream::engine::EngineFailure;
use thiserror::Error;

use crate::drain::DrainError;
use crate::start::StartError;

/// How a node's life ended. Whatever it acknowledged is in the store or in its log, by every one of these.
#[derive(Debug, Error)]
pub enum End {
    /// It was told to drain and has: everything is in the store, and its log is gone.
    #[error("drained: everything is in the store")]
    Drained,
    /// It was told to stop at once: the next start recovers from the log.
    #[error("{}", stopped(.serving))]
    Stopped {
        /// Whether it had served.
        serving: bool,
    },
    /// It could not start.
    #[error(transparent)]
    NotStarted(#[from] StartError),
    /// Another process registered in its place, and recovers what this one had acknowledged.
    #[error("another process took this broker's place ({why}); it recovers what this one had acknowledged")]
    Fenced {
        /// How it showed.
        why: Arc<str>,
    },
    /// The metadata log cannot be continued, though no other process is known to have taken this one's place.
    #[error("{0}; the next start recovers what this one had acknowledged")]
    MetadataLost(LogLost),
    /// The write-ahead log or the storage engine failed.
    #[error(transparent)]
    LogFailed(EngineFailure),
    /// Nothing more can be written to the store until the process starts again.
    #[error("the store can be written no more by this process: {0}")]
    StoreFailed(StoreError),
    /// A task without which the node only seems to work has panicked.
    #[error(transparent)]
    Panicked(#[from] Panicked),
    /// It could not drain: the next start recovers from the log.
    #[error(transparent)]
    NotDrained(#[from] DrainError),
}

fn stopped(serving: &bool) -> &'static str {
    if *serving {
        "told to stop at once: not drained; the next start recovers from the log"
    } else {
        "told to stop while it started"
    }
}

impl From<LogLost> for End {
    fn from(lost: LogLost) -> Self {
        match lost {
            LogLost::Replaced(why) => Self::Fenced { why },
            lost => Self::MetadataLost(lost),
        }
    }
}

impl End {
    /// Whether it ended as it was told to, with nothing left to recover.
    pub fn is_clean(&self) -> bool {
        matches!(self, Self::Drained)
    }

    /// Whether it is what others see of a task that has panicked, and may see before the panic itself is told.
    pub(crate) fn may_follow_from_a_panic(&self) -> bool {
        matches!(self, Self::NotStarted(_) | Self::LogFailed(_) | Self::NotDrained(_))
    }
}

#[cfg(test)]
mod tests {
    use base::MetaSequence;

    use super::*;

    #[test]
    fn a_log_that_cannot_be_continued_is_not_said_to_be_anothers() {
        let taken = "took this broker's place";
        assert!(End::from(LogLost::Replaced("entry 5 is another's".into())).to_string().contains(taken));
        let damaged = End::from(LogLost::Unreadable(MetaSequence(5))).to_string();
        assert!(damaged.contains("entry 5 cannot be read") && !damaged.contains(taken), "{damaged}");
    }
}
