//! Conversions for old readers, so many at a time.

use std::sync::Arc;

use base::task::{self, JoinError};
use tokio::sync::Semaphore;

use crate::limits::CONVERSIONS_MAX;

/// The places of conversions.
#[derive(Debug)]
pub(crate) struct Conversions(Arc<Semaphore>);

impl Default for Conversions {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(CONVERSIONS_MAX)))
    }
}

impl Conversions {
    /// Does `work` on a thread of its own, as soon as there is a place for it. It has the place until it is done,
    /// whether its reader still waits for it or not.
    ///
    /// # Errors
    /// If it panics.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, JoinError> {
        // Never closed: who has no place waits for one.
        let place = self.0.clone().acquire_owned().await;
        let placed = move || {
            let _place = place;
            work()
        };
        task::spawn_blocking("down-conversion", placed).await
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use futures::FutureExt;
    use tokio::sync::oneshot;

    use super::*;

    #[tokio::test]
    async fn a_conversion_has_its_place_until_it_is_done_whoever_has_gone_meanwhile() {
        let conversions = Conversions::default();
        let mut ends = Vec::new();
        for _ in 0..CONVERSIONS_MAX {
            let (begun, begins) = oneshot::channel();
            let (end, ended) = mpsc::channel::<()>();
            let work = move || {
                begun.send(()).unwrap();
                ended.recv().unwrap();
            };
            base::select! {
                _ = conversions.run(work) => unreachable!("it waits for its end"),
                begun = begins => begun.unwrap(),
            }
            ends.push(end);
        }
        assert!(conversions.run(|| ()).now_or_never().is_none(), "all are still at work");
        assert_eq!(conversions.0.available_permits(), 0);
        ends.iter().for_each(|end| end.send(()).unwrap());
        conversions.run(|| ()).await.unwrap();
    }
}
