//! Pages of metrics, of which few are in memory at a time.
//!
//! A page has its place until its client has taken it. While others wait for one, the page that is not being taken gives its
//! place up: its connection ends.

use std::pin::pin;
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use crate::asking::{Asking, Awaited, end_the_longest};
use crate::limits::{CROWDED_WAIT, PAGE_CROWDED_WAIT, PAGES_MAX};

/// The places. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Pages {
    places: Arc<Semaphore>,
    held: Arc<Mutex<Vec<Weak<Place>>>>,
}

/// A page's place, until it is dropped.
pub(crate) struct Place {
    asking: Arc<Asking>,
    _place: OwnedSemaphorePermit,
}

/// A page, which has its place until all of it is written.
pub(crate) struct Page {
    pub(crate) text: String,
    pub(crate) _place: Arc<Place>,
}

impl AsRef<[u8]> for Page {
    fn as_ref(&self) -> &[u8] {
        self.text.as_bytes()
    }
}

impl Pages {
    pub(crate) fn new() -> Self {
        Self { places: Arc::new(Semaphore::new(PAGES_MAX)), held: Arc::default() }
    }

    /// A place for the page of a request; first come, first served. `None` if there never will be one.
    pub(crate) async fn place(&self, asking: Arc<Asking>) -> Option<Arc<Place>> {
        asking.expect(Awaited::Nothing);
        let mut free = pin!(self.places.clone().acquire_owned());
        let place = loop {
            match timeout(CROWDED_WAIT, &mut free).await {
                Ok(place) => break place.ok()?,
                Err(_) => self.end_the_slowest(),
            }
        };
        let place = Arc::new(Place { asking, _place: place });
        let mut held = self.held.lock();
        held.retain(|place| place.strong_count() > 0);
        held.push(Arc::downgrade(&place));
        Some(place)
    }

    fn end_the_slowest(&self) {
        let held: Vec<_> = self.held.lock().iter().filter_map(Weak::upgrade).collect();
        let slow = held.iter().filter_map(|place| Some((place.asking.slow_since()?, place.asking.clone())));
        end_the_longest(slow, PAGE_CROWDED_WAIT);
    }
}
