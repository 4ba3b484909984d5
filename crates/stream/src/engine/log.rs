//! The engine's side of the WAL: the log itself, and what has gathered behind it for the next cut.
//!
//! Cuts are taken by the uploader, when it has a place for one: there is no queue of them. Whoever finds that a cut is
//! due rings its [`Bell`]; until it is taken, what gathers goes with it.

use std::sync::Arc;

use base::{Clock, WalPosition};
use parking_lot::{Mutex, RwLock};
use tokio::sync::oneshot;

use super::bell::{Bell, NobodyListens, Ringer, bell};
use super::cut::{Active, Gathered};
use super::sink::Pending;
use super::{EngineOptions, SharedStream};
use crate::wal::{Append, Cuts, Wal};

pub(crate) struct EngineLog {
    wal: RwLock<Option<Arc<Wal<Pending>>>>,
    active: Mutex<Active>,
    /// Rung when a cut may be due.
    uploader: Ringer,
}

impl EngineLog {
    pub fn new(options: &EngineOptions, clock: Clock) -> (Self, Bell) {
        let (uploader, bell) = bell();
        let active = Mutex::new(Active::new(options, clock));
        (Self { wal: RwLock::new(None), active, uploader }, bell)
    }

    /// Gives the log its WAL.
    pub fn attach(&self, wal: Wal<Pending>, options: &EngineOptions) {
        let capacity = wal.capacity();
        self.active.lock().set_limits(options.cut_bytes(capacity), capacity);
        *self.wal.write() = Some(Arc::new(wal));
    }

    /// The WAL, while there is one.
    pub fn wal(&self) -> Option<Arc<Wal<Pending>>> {
        self.wal.read().clone()
    }

    /// What a cut does. Without a WAL nothing gathers, and a cut of nothing stores nothing, however that is done.
    pub fn cuts(&self) -> Cuts {
        self.wal.read().as_ref().map_or(Cuts::BuildAndPut, |wal| wal.cuts())
    }

    /// Lets go of the WAL.
    pub fn detach(&self) -> Option<Arc<Wal<Pending>>> {
        self.wal.write().take()
    }

    /// Queues an append; without a WAL it is dropped, which tells the appender.
    pub fn append(&self, append: Append, pending: Pending) {
        if let Some(wal) = self.wal.read().as_ref() {
            wal.append(append, pending);
        }
    }

    /// Lets the WAL forget what is committed.
    pub fn trim(&self, to: WalPosition) {
        if let Some(wal) = self.wal.read().as_ref() {
            wal.trim(to);
        }
    }

    /// What gathers for the next cut. Held while a group of the WAL is completed.
    pub fn active(&self) -> parking_lot::MutexGuard<'_, Active> {
        self.active.lock()
    }

    /// Asks for a cut, however little has gathered. A waiter is told when everything that is durable now is committed, even
    /// if nothing has gathered.
    pub fn request_cut(&self, waiter: Option<oneshot::Sender<()>>) -> Result<(), NobodyListens> {
        self.active.lock().request(waiter);
        self.ring()
    }

    /// Asks for a cut of a stream as it is now, ahead of its turn. The waiter is told when it is committed.
    pub fn cut_ahead(&self, stream: &Arc<SharedStream>, waiter: oneshot::Sender<()>) -> Result<(), NobodyListens> {
        self.active.lock().request_ahead(stream, waiter);
        self.ring()
    }

    /// From here on nothing is cut but what is asked for with a waiter.
    pub fn close_cuts(&self) {
        self.active.lock().close();
    }

    /// Whether [`Self::close_cuts`] was called.
    pub fn is_closed(&self) -> bool {
        self.active.lock().is_closed()
    }

    /// The next cut looks at a stream, though it may have no data: a checkpoint is due. It waits for its time.
    pub fn mark(&self, stream: &Arc<SharedStream>) {
        self.active.lock().mark(stream);
    }

    /// Lets the uploader see whether a cut is due.
    pub fn ring(&self) -> Result<(), NobodyListens> {
        self.uploader.ring()
    }

    /// Whether acknowledgements are held up for longer than a moment.
    #[cfg(test)]
    pub fn is_held(&self) -> bool {
        self.active.try_lock_for(std::time::Duration::from_secs(5)).is_none()
    }

    /// Takes the next cut if one is due. `room_is_wanted`: appends wait for room that no upload under way will give back.
    pub fn take_cut(&self, room_is_wanted: bool) -> Option<Gathered> {
        self.active.lock().take(room_is_wanted)
    }
}
