//! When a cut is taken, of what, and which place in the log it covers.

use base::clock::ManualTime;

use super::*;
use crate::engine::cut::{Active, CUT_STREAMS_MAX, Cut};

/// What cuts are taken from, without a log or an uploader.
struct Gathering {
    active: Active,
    catalogue: LocalCatalogue,
    id: StreamId,
    options: EngineOptions,
    time: Arc<ManualTime>,
    position: u64,
}

impl Gathering {
    fn new() -> Self {
        let (time, options) = (ManualTime::starting_at(0), small());
        let clock = Clock::from_source(time.clone());
        let catalogue = LocalCatalogue::new(clock.clone());
        let (me, _) = catalogue.register(BROKER).unwrap();
        let id = catalogue.create_streams(1, me).unwrap()[0];
        Self { active: Active::new(&options, clock), catalogue, id, options, time, position: 0 }
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

    /// So much payload of these is durable.
    fn gather(&mut self, streams: &[Arc<SharedStream>], bytes: u64) {
        self.active.gather(bytes);
        self.group(streams);
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

/// A record each of very many streams is little: its time is up to the interval, not to their number.
#[test]
fn a_cut_is_due_by_bytes_or_age_and_not_by_how_many_streams_there_are() {
    let mut gathering = Gathering::new();
    let streams = gathering.streams(CUT_STREAMS_MAX + 1);
    gathering.gather(&streams, 1);
    assert!(gathering.take().is_none());
    gathering.time.advance(gathering.options.upload_interval);
    let cuts = std::iter::from_fn(|| gathering.take()).count();
    assert_eq!(cuts, 2);
    gathering.gather(&streams[..1], gathering.options.upload_bytes);
    assert!(gathering.take().is_some());
}

/// They are large, and free no room.
#[test]
fn checkpoints_that_are_owed_wait_for_a_cut_of_data_or_for_their_time() {
    let mut gathering = Gathering::new();
    let streams = gathering.streams(CUT_STREAMS_MAX + 1);
    streams.iter().for_each(|stream| gathering.active.mark(stream));
    // Neither a writer that waits for the log to be trimmed nor an append that waits for room is helped by them.
    gathering.active.request(None);
    assert!(!gathering.active.is_due(true));
    gathering.gather(&streams[..1], 1);
    assert!(gathering.active.is_due(true) && gathering.active.is_due(false));
    while gathering.take().is_some() {}
    gathering.active.mark(&streams[0]);
    assert!(gathering.take().is_none());
    gathering.time.advance(gathering.options.upload_interval);
    assert!(gathering.take().is_some());
}

/// The log asks once, when its writer begins to wait; what would help may be on its way to be completed.
#[test]
fn a_cut_that_was_asked_for_before_anything_had_gathered_is_taken_with_the_next_group() {
    let mut gathering = Gathering::new();
    let streams = gathering.streams(1);
    gathering.active.request(None);
    assert!(gathering.take().is_none());
    gathering.group(&streams);
    assert!(gathering.take().is_some());
    gathering.group(&streams);
    assert!(gathering.take().is_none(), "once");
}

#[test]
fn cuts_ahead_and_cuts_by_turn_take_turns_and_each_stream_is_in_one_once() {
    let mut gathering = Gathering::new();
    let streams = gathering.streams(CUT_STREAMS_MAX + 1);
    gathering.group(&streams);
    let _told = gathering.flush();
    let mut covered = Vec::new();
    for _ in 0..5 {
        let waiters = [0; 3].map(|_| {
            let (waiter, told) = oneshot::channel();
            gathering.active.request_ahead(&streams[0], waiter);
            told
        });
        let cut = gathering.take().unwrap();
        covered.push((cut.position.0, cut.waiters.len()));
        drop(waiters);
    }
    // Three of a trim each time; in between the two cuts of the round.
    assert_eq!(covered, [(0, 3), (0, 0), (0, 6), (4096, 1), (4096, 6)]);
    assert!(gathering.take().is_none());
}
