//! What has left a process and does not depend on it any more: a request on its way to the store, a connection that is
//! about to break. Tasks that a process spawns end with it; errands are the world's.
//!
//! Errands run in the order in which they were sent. The queue has no bound of its own: each was caused by a call that
//! its caller bounds.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

type Errand = Pin<Box<dyn Future<Output = ()> + Send>>;

/// The world's errands; clones are the same.
#[derive(Clone, Debug)]
pub struct Errands {
    sender: UnboundedSender<Errand>,
    receiver: Arc<Mutex<Option<UnboundedReceiver<Errand>>>>,
    under_way: Arc<AtomicU64>,
}

impl Default for Errands {
    fn default() -> Self {
        let (sender, receiver) = unbounded_channel();
        Self { sender, receiver: Arc::new(Mutex::new(Some(receiver))), under_way: Arc::default() }
    }
}

impl Errands {
    /// Runs all errands, those sent before too. The world awaits this once, in a task of its own and outside of any host.
    pub async fn serve(&self) {
        let receiver = self.receiver.lock().take();
        let mut receiver = receiver.expect("errands are served once");
        while let Some(errand) = receiver.recv().await {
            let under_way = self.under_way.clone();
            base::task::spawn("errand", async move {
                errand.await;
                under_way.fetch_sub(1, Ordering::Relaxed);
            });
        }
    }

    /// Sends one off. It begins soon, whatever becomes of the sender.
    pub fn send(&self, errand: impl Future<Output = ()> + Send + 'static) {
        self.under_way.fetch_add(1, Ordering::Relaxed);
        // While the world is taken down nobody serves them, and nobody misses them.
        let _ = self.sender.send(Box::pin(errand));
    }

    /// How many have not ended.
    pub fn under_way(&self) -> u64 {
        self.under_way.load(Ordering::Relaxed)
    }
}
