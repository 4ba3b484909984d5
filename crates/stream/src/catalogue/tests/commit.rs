//! The commit rule.

use super::*;

const ME: Incarnation = Incarnation { broker: BrokerId(1), epoch: BrokerEpoch(1) };

fn one_stream() -> (Catalogue, StreamId) {
    let mut catalogue = serving(ME);
    let stream = streams(&mut catalogue, 1, ME)[0];
    (catalogue, stream)
}

#[test]
fn a_range_is_taken_from_the_committed_end_on() {
    let (mut catalogue, stream) = one_stream();
    grow(&mut catalogue, ME, stream, 0, 10);
    // Overlap: only the new part is taken.
    commit(&mut catalogue, &request(ME, 1, vec![object(1, vec![range(stream, 0, 5, 15)])])).unwrap();
    let state = catalogue.stream(stream).unwrap();
    assert_eq!(state.end, Offset(15));
    assert_eq!(state.extents().last().unwrap().range, OffsetRange::new(Offset(10), Offset(15)));
    // Two objects of one commit continue each other.
    let objects = vec![object(2, vec![range(stream, 0, 15, 20)]), object(3, vec![range(stream, 0, 20, 30)])];
    commit(&mut catalogue, &request(ME, 2, objects)).unwrap();
    assert_eq!(catalogue.stream(stream).unwrap().end, Offset(30));
    check(&catalogue);
}

#[test]
fn dead_ranges_are_skipped_and_an_object_of_dead_ranges_is_retired_at_once() {
    let (mut catalogue, stream) = one_stream();
    grow(&mut catalogue, ME, stream, 0, 10);
    let unknown = StreamId(99);
    let dead = vec![range(stream, 0, 3, 10), range(unknown, 0, 0, 5)];
    let taken = commit(&mut catalogue, &request(ME, 1, vec![object(1, dead)])).unwrap();
    assert_eq!(taken, Committed { repeated: false, ranges_skipped: 2 });
    assert_eq!(catalogue.pending_deletions().count(), 1);
    check(&catalogue);
}

#[test]
fn a_stale_epoch_is_skipped() {
    let (mut catalogue, stream) = one_stream();
    grow(&mut catalogue, ME, stream, 0, 10);
    let close = catalogue.close_stream(stream, StreamEpoch(0));
    take(&mut catalogue, close).unwrap();
    let open = catalogue.open_streams(&[OpenStream { stream, epoch: StreamEpoch(1), owner: ME }]);
    take(&mut catalogue, open).unwrap();
    let late = request(ME, 1, vec![object(1, vec![range(stream, 0, 10, 20)])]);
    assert_eq!(commit(&mut catalogue, &late).unwrap().ranges_skipped, 1);
    assert_eq!(catalogue.stream(stream).unwrap().end, Offset(10));
    check(&catalogue);
}

#[test]
fn a_commit_that_would_leave_out_what_its_log_holds_moves_nothing() {
    let (mut catalogue, stream) = one_stream();
    grow(&mut catalogue, ME, stream, 0, 10);
    let (whole, unknown) = (OffsetRange::new(Offset(10), Offset(20)), StreamId(99));
    let covering = |ranges| CommitRequest {
        covers: vec![(unknown, whole), (stream, whole)],
        ..request(ME, 1, vec![object(1, ranges)])
    };
    let before = catalogue.clone();
    // Nothing of it, a part of it, and all of it at an epoch that is over by then.
    for (ranges, end) in [(vec![], 10), (vec![range(stream, 0, 10, 19)], 19)] {
        let answer = commit(&mut catalogue, &covering(ranges));
        assert_eq!(answer, Err(CommitRejection::NotTaken { stream, range: whole, end: Offset(end) }));
        assert_eq!(catalogue, before);
    }
    let close = catalogue.close_stream(stream, StreamEpoch(0));
    take(&mut catalogue, close).unwrap();
    let answer = commit(&mut catalogue, &covering(vec![range(stream, 0, 10, 20)]));
    assert_eq!(answer, Err(CommitRejection::NotTaken { stream, range: whole, end: Offset(10) }));
    assert_eq!(catalogue.incarnation(ME).unwrap().committed, before.incarnation(ME).unwrap().committed);
    // Under the same sequence the whole of it is taken, and that of a deleted stream may go.
    let mut catalogue = before;
    commit(&mut catalogue, &covering(vec![range(stream, 0, 10, 20)])).unwrap();
    assert_eq!(catalogue.stream(stream).unwrap().end, Offset(20));
    check(&catalogue);
}

#[test]
fn a_hole_refuses_the_whole_commit_and_fences_its_sender() {
    let (mut catalogue, stream) = one_stream();
    let good = range(stream, 0, 0, 10);
    let hole = range(stream, 0, 11, 20);
    let answer = commit(&mut catalogue, &request(ME, 0, vec![object(0, vec![good]), object(1, vec![hole])]));
    assert!(matches!(answer, Err(CommitRejection::Hole { .. })));
    assert_eq!(catalogue.stream(stream).unwrap().end, Offset(0), "nothing of it was taken");
    assert_eq!(catalogue.incarnation(ME).unwrap().phase, IncarnationPhase::Fenced);
    let next = commit(&mut catalogue, &request(ME, 0, vec![object(0, vec![good])]));
    assert_eq!(next, Err(CommitRejection::WriterFenced { writer: ME }));
    check(&catalogue);
}

#[test]
fn a_repeat_answers_success_and_changes_nothing() {
    let (mut catalogue, stream) = one_stream();
    let first = request(ME, 0, vec![object(0, vec![range(stream, 0, 0, 10)])]);
    commit(&mut catalogue, &first).unwrap();
    let decision = catalogue.commit(&first, NOW);
    assert!(decision.records.is_empty());
    assert!(decision.response.unwrap().repeated);
    let early = commit(&mut catalogue, &request(ME, 2, vec![]));
    assert!(matches!(early, Err(CommitRejection::OutOfOrder { expected: 1, .. })), "a later one must not overtake");
}

#[test]
fn another_commit_under_a_used_sequence_is_refused_and_its_sender_fenced() {
    let (mut catalogue, stream) = one_stream();
    let first = request(ME, 0, vec![object(0, vec![range(stream, 0, 0, 10)])]);
    commit(&mut catalogue, &first).unwrap();
    let mut longer = object(0, vec![range(stream, 0, 0, 20)]);
    longer.length += 1;
    let mut other_bytes = object(0, vec![range(stream, 0, 0, 20)]);
    other_bytes.crc += 1;
    let others = [
        request(ME, 0, vec![object(1, vec![range(stream, 0, 10, 20)])]),
        request(ME, 0, vec![first.objects[0].clone(), object(1, vec![range(stream, 0, 10, 20)])]),
        request(ME, 0, vec![longer]),
        request(ME, 0, vec![other_bytes]),
        // No data, but the word that all below the position is safe.
        CommitRequest { wal_position: WalPosition(50), ..request(ME, 0, vec![]) },
    ];
    for other in others {
        let clone = &mut catalogue.clone();
        let answer = commit(clone, &other);
        assert_eq!(answer, Err(CommitRejection::SequenceUsed { writer: ME, sequence: 0 }), "{other:?}");
        assert_eq!(clone.stream(stream).unwrap().end, Offset(10));
        assert_eq!(clone.incarnation(ME).unwrap().phase, IncarnationPhase::Fenced);
        assert_eq!(commit(clone, &first), Err(CommitRejection::WriterFenced { writer: ME }));
        check(clone);
    }
}

#[test]
fn a_repeat_is_known_after_its_objects_retired_and_after_a_snapshot() {
    let (mut catalogue, stream) = one_stream();
    let mut first = request(ME, 0, vec![object(0, vec![range(stream, 0, 0, 10)])]);
    first.wal_position = WalPosition(70);
    commit(&mut catalogue, &first).unwrap();
    let trim = catalogue
        .trim(&[TrimRequest { stream, epoch: StreamEpoch(0), start: Offset(10), state: StateBelow::NotKept }], NOW);
    take(&mut catalogue, trim);
    assert_eq!(catalogue.object_count(), 0);
    let loaded = snapshot::decode(&mut &snapshot::encode(&catalogue)[..]).unwrap();
    for mut image in [catalogue, loaded] {
        assert!(commit(&mut image, &first).unwrap().repeated);
    }
}

#[test]
fn an_object_below_the_upload_floor_is_refused() {
    let (mut catalogue, stream) = one_stream();
    let mut first = request(ME, 0, vec![object(5, vec![range(stream, 0, 0, 10)])]);
    first.upload_floor = 5;
    commit(&mut catalogue, &first).unwrap();
    let below = commit(&mut catalogue, &request(ME, 1, vec![object(4, vec![range(stream, 0, 10, 20)])]));
    assert!(matches!(below, Err(CommitRejection::BelowUploadFloor { floor: 5, .. })));
    let again = commit(&mut catalogue, &request(ME, 1, vec![object(5, vec![range(stream, 0, 10, 20)])]));
    assert!(matches!(again, Err(CommitRejection::ObjectExists { .. })));
}

#[test]
fn blocklog_only_the_latest_assignee_commits_for_a_fenced_log() {
    let (mut catalogue, stream) = one_stream();
    let (second, third) = (broker(2, 2), broker(3, 3));
    register(&mut catalogue, second);
    register(&mut catalogue, third);
    let fence = catalogue.fence_incarnation(ME);
    take(&mut catalogue, fence).unwrap();
    let for_log =
        |writer| CommitRequest { log: ME, ..request(writer, 0, vec![object(0, vec![range(stream, 0, 0, 10)])]) };
    assert!(matches!(commit(&mut catalogue, &for_log(ME)), Err(CommitRejection::LogFenced { .. })));
    for taker in [second, third] {
        let assign = catalogue.assign(ME, taker);
        take(&mut catalogue, assign).unwrap();
    }
    assert!(matches!(commit(&mut catalogue, &for_log(second)), Err(CommitRejection::LogFenced { .. })));
    commit(&mut catalogue, &for_log(third)).unwrap();
    let early = catalogue.recovered(ME, second, WalPosition(10));
    assert!(early.response.is_err(), "a former assignee cannot end the recovery");
    let done = catalogue.recovered(ME, third, WalPosition(10));
    assert_eq!(take(&mut catalogue, done).unwrap().opened, vec![stream]);
    let state = catalogue.stream(stream).unwrap();
    assert_eq!((state.owner, state.epoch, state.end), (third, StreamEpoch(1), Offset(10)));
    let late = CommitRequest { commit_sequence: 1, ..for_log(third) };
    assert!(commit(&mut catalogue, &late).is_err(), "nothing is committed from a recovered log");
    check(&catalogue);
}

#[test]
fn a_former_registration_of_a_broker_is_fenced_by_the_next() {
    let (mut catalogue, stream) = one_stream();
    register(&mut catalogue, broker(1, 2));
    let answer = commit(&mut catalogue, &request(ME, 0, vec![object(0, vec![range(stream, 0, 0, 10)])]));
    assert_eq!(answer, Err(CommitRejection::WriterFenced { writer: ME }));
}

#[test]
fn handover_a_taker_takes_nothing_of_a_stream_that_the_fenced_log_does_not_own() {
    let (mut catalogue, stream) = one_stream();
    let other = broker(2, 2);
    register(&mut catalogue, other);
    let open = catalogue.open_incarnation(other, wal());
    take(&mut catalogue, open).unwrap();
    // `other` sends a range of a stream that it does not own, at the right epoch.
    let taken = commit(&mut catalogue, &request(other, 0, vec![object(0, vec![range(stream, 0, 0, 10)])])).unwrap();
    assert_eq!(taken.ranges_skipped, 1);
    assert_eq!(catalogue.stream(stream).unwrap().end, Offset(0));
}

#[test]
fn the_newest_checkpoint_keeps_its_object_until_it_is_superseded() {
    let (mut catalogue, stream) = one_stream();
    let checkpoint = |offset| NewCheckpoint { stream, epoch: StreamEpoch(0), offset: Offset(offset) };
    let mut first = object(0, vec![range(stream, 0, 0, 10)]);
    first.checkpoints.push(checkpoint(10));
    commit(&mut catalogue, &request(ME, 0, vec![first])).unwrap();
    let trim = catalogue
        .trim(&[TrimRequest { stream, epoch: StreamEpoch(0), start: Offset(10), state: StateBelow::NotKept }], NOW);
    take(&mut catalogue, trim);
    assert_eq!(catalogue.object_count(), 1, "the checkpoint still stands in it");
    let mut beyond = object(1, vec![range(stream, 0, 10, 20)]);
    beyond.checkpoints.push(checkpoint(21));
    let clone = &mut catalogue.clone();
    assert!(matches!(commit(clone, &request(ME, 1, vec![beyond])), Err(CommitRejection::Hole { .. })));
    let mut second = object(1, vec![range(stream, 0, 10, 20)]);
    second.checkpoints.push(checkpoint(20));
    commit(&mut catalogue, &request(ME, 1, vec![second])).unwrap();
    assert_eq!(catalogue.object_count(), 1);
    assert_eq!(catalogue.pending_deletions().count(), 1);
    check(&catalogue);
}

#[test]
fn records_trimmed_before_their_upload_move_the_end_and_leave_nothing() {
    let (mut catalogue, stream) = one_stream();
    let trim = catalogue
        .trim(&[TrimRequest { stream, epoch: StreamEpoch(0), start: Offset(10), state: StateBelow::NotKept }], NOW);
    assert_eq!(take(&mut catalogue, trim), vec![Ok(())]);
    let dead = grow(&mut catalogue, ME, stream, 0, 10);
    assert!(catalogue.object(dead).is_none());
    assert_eq!(catalogue.stream(stream).unwrap().end, Offset(10));
    check(&catalogue);
}
