//! When a cut is taken, of what, and which place in the log it covers.

use super::*;
use crate::engine::cut::{Active, CUT_STREAMS_MAX, Cut};

/// What cuts are taken from, without a log or an uploader.
struct Gathering {
    active: Active,
    catalogue: LocalCatalogue,
    id: StreamId,
    options: EngineOptions,
    position: u64,
}

impl Gathering {
    fn new() -> Self {
        let (clock, options) = (Clock::system(), small());
        let catalogue = LocalCatalogue::new(clock.clone());
        let (me, _) = catalogue.register(BROKER).unwrap();
        let id = catalogue.create_streams(1, me).unwrap()[0];
        Self { active: Active::new(u64::MAX, clock), catalogue, id, options, position: 0 }
    }

    fn streams(&self, count: usize) -> Vec<Arc<SharedStream>> {
        let view = self.catalogue.view();
        let open = || Arc::new(SharedStream::new(self.id, view.stream(self.id).unwrap(), &self.options));
        std::iter::repeat_with(open).take(count).collect()
    }

    /// A group of the log ends that had something of all these.
    fn group(&mut self, streams: &[Arc<SharedStream>]) {
        streams.iter().for_each(|stream| self.active.mark(stream));
        self.position += 4096;
        self.active.group_ended(WalPosition(self.position));
    }

    fn flush(&mut self) -> oneshot::Receiver<()> {
        let (waiter, told) = oneshot::channel();
        self.active.request(Some(waiter));
        told
    }

    fn take(&mut self) -> Option<Cut> {
        let gathered = self.active.take(false)?;
        Some(gathered.resolve(&self.catalogue.view(), &self.options))
    }
}

/// Or else the log fills, and acknowledgements stop, although nearly all of it is committed.
#[test]
fn streams_that_gather_again_meanwhile_do_not_keep_a_cut_from_covering_its_place_in_the_log() {
    let mut gathering = Gathering::new();
    let streams = gathering.streams(2 * CUT_STREAMS_MAX + 1);
    gathering.group(&streams);
    let _told = gathering.flush();
    let mut covered = Vec::new();
    for _ in 0..3 {
        let cut = gathering.take().unwrap();
        covered.push((cut.position.0, cut.waiters.len()));
        // Every stream that the cut has taken comes back before the next.
        gathering.group(&streams);
    }
    assert_eq!(covered, [(0, 0), (0, 0), (4096, 1)]);
    let _told = gathering.flush();
    let positions: Vec<_> =
        std::iter::repeat_with(|| gathering.take()).map_while(|cut| Some(cut?.position.0)).collect();
    assert_eq!(
        positions,
        [4096, 4096, 4 * 4096],
        "the next covers what came during the first, and then nothing is due"
    );
}
