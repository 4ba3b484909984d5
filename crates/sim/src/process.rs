//! A process that can die at any moment: from then on nothing that it does has an effect.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// One process, from its start to its death. Clones are the same one.
#[derive(Clone)]
pub struct Process(Arc<Inner>);

struct Inner {
    name: String,
    machine: u32,
    dead: AtomicBool,
}

impl fmt::Debug for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.name)
    }
}

impl Process {
    /// A living process on a machine; `name` is what the trace calls it.
    pub fn new(name: impl Into<String>, machine: u32) -> Self {
        Self(Arc::new(Inner { name: name.into(), machine, dead: AtomicBool::new(false) }))
    }

    /// What the trace calls it.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// The machine that it runs on, by number: who loses power together.
    pub fn machine(&self) -> u32 {
        self.0.machine
    }

    /// Whether it has died.
    pub fn is_dead(&self) -> bool {
        self.0.dead.load(Ordering::SeqCst)
    }

    /// It dies.
    pub fn die(&self) {
        self.0.dead.store(true, Ordering::SeqCst);
    }

    /// Whether both are the same process.
    pub fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}
