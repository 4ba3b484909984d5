//! Bells, by which the engine's tasks are woken. One ring is remembered, more say nothing new.

use tokio::sync::mpsc;

/// What a task listens to. It ends when nobody can ring any more.
pub(crate) type Bell = mpsc::Receiver<()>;

/// Rings a [`Bell`].
pub(crate) struct Ringer(mpsc::Sender<()>);

/// The task that listened has ended.
#[derive(Debug)]
pub(crate) struct NobodyListens;

/// A bell, and who rings it.
pub(crate) fn bell() -> (Ringer, Bell) {
    let (ringer, bell) = mpsc::channel(1);
    (Ringer(ringer), bell)
}

impl Ringer {
    pub fn ring(&self) -> Result<(), NobodyListens> {
        match self.0.try_send(()) {
            Ok(()) | Err(mpsc::error::TrySendError::Full(())) => Ok(()),
            Err(mpsc::error::TrySendError::Closed(())) => Err(NobodyListens),
        }
    }
}
