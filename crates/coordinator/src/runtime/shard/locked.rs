//! The lock of a shard.

use std::ops::{Deref, DerefMut};

use parking_lot::MutexGuard;

use super::{Shard, State};
use crate::runtime::Machine;

/// The state under its lock. A panic under it, in the machine most of all, leaves behind what nobody knows: half a decision
/// without its records. The shard closes then, and is loaded again from its log.
pub(super) struct Locked<'s, M: Machine> {
    shard: &'s Shard<M>,
    state: MutexGuard<'s, State<M>>,
    /// Whether a panic was on its way already, which has nothing to do with this.
    panicking: bool,
}

impl<M: Machine> Deref for Locked<'_, M> {
    type Target = State<M>;

    fn deref(&self) -> &State<M> {
        &self.state
    }
}

impl<M: Machine> DerefMut for Locked<'_, M> {
    fn deref_mut(&mut self) -> &mut State<M> {
        &mut self.state
    }
}

impl<M: Machine> Drop for Locked<'_, M> {
    fn drop(&mut self) {
        if std::thread::panicking() && !self.panicking {
            tracing::error!(shard = self.shard.index, "a coordinator shard panicked; it is loaded again from its log");
            *self.state = State::Closed;
            self.shard.closed();
        }
    }
}

impl<M: Machine> Shard<M> {
    pub(super) fn lock(&self) -> Locked<'_, M> {
        Locked { shard: self, state: self.state.lock(), panicking: std::thread::panicking() }
    }
}
