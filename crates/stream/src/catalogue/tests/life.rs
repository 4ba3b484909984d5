//! Streams and incarnations through their lives.

use super::*;

const ME: Incarnation = Incarnation { broker: BrokerId(1), epoch: BrokerEpoch(1) };

#[test]
fn a_clean_drain_ends_an_open_incarnation_and_frees_its_streams() {
    let mut catalogue = serving(ME);
    let stream = streams(&mut catalogue, 1, ME)[0];
    grow(&mut catalogue, ME, stream, 0, 10);
    let open = catalogue.open_streams(&[OpenStream { stream, epoch: StreamEpoch(1), owner: broker(1, 2) }]);
    assert!(matches!(open.response, Err(StreamRejection::Owned { .. })));
    assert!(catalogue.drained(broker(2, 1), WalPosition(5)).response.is_err());
    let drained = catalogue.drained(ME, WalPosition(500));
    take(&mut catalogue, drained).unwrap();
    assert!(catalogue.drained(ME, WalPosition(500)).response.is_ok(), "a repeat answers success");
    assert!(catalogue.drained(ME, WalPosition(600)).response.is_err());
    let next = broker(1, 2);
    register(&mut catalogue, next);
    let adopted = catalogue.adopt_orphans(next, 10);
    assert_eq!(take(&mut catalogue, adopted), vec![stream]);
    let state = catalogue.stream(stream).unwrap();
    assert_eq!(state.epochs().len(), 2);
    assert_eq!(state.epoch_range(StreamEpoch(0)), Some((Offset(0), Some(Offset(10)))));
    assert_eq!(state.epoch_range(StreamEpoch(1)), Some((Offset(10), None)));
    let forget = catalogue.remove_incarnation(ME);
    take(&mut catalogue, forget).unwrap();
    check(&catalogue);
}

#[test]
fn a_damaged_log_keeps_its_streams_offline_until_it_is_abandoned() {
    let mut catalogue = serving(ME);
    let stream = streams(&mut catalogue, 1, ME)[0];
    let next = broker(1, 2);
    register(&mut catalogue, next);
    let fence = catalogue.fence_incarnation(ME);
    take(&mut catalogue, fence).unwrap();
    assert!(catalogue.assign(ME, broker(1, 1)).response.is_err(), "a stale registration takes nothing over");
    let assign = catalogue.assign(ME, next);
    take(&mut catalogue, assign).unwrap();
    let damaged = catalogue.damaged(ME, next, "bad block");
    take(&mut catalogue, damaged).unwrap();
    assert!(catalogue.adopt_orphans(next, 10).response.is_empty());
    assert!(catalogue.recovered(ME, next, WalPosition(0)).response.is_err());
    let abandon = catalogue.abandon(ME);
    take(&mut catalogue, abandon).unwrap();
    assert_eq!(catalogue.adopt_orphans(next, 10).response, vec![stream]);
}

#[test]
fn a_log_that_was_given_up_and_removed_is_forgotten_once_no_stream_names_it() {
    let mut catalogue = serving(ME);
    let stream = streams(&mut catalogue, 1, ME)[0];
    let next = broker(1, 2);
    register(&mut catalogue, next);
    let fence = catalogue.fence_incarnation(ME);
    take(&mut catalogue, fence).unwrap();
    assert!(catalogue.cleared(ME).response.is_err(), "its files hold what nobody has given up");
    let abandon = catalogue.abandon(ME);
    take(&mut catalogue, abandon).unwrap();
    let cleared = catalogue.cleared(ME);
    take(&mut catalogue, cleared).unwrap();
    assert!(catalogue.incarnation(ME).unwrap().is_nowhere());
    assert!(catalogue.cleared(ME).records.is_empty(), "a repeat changes nothing");
    assert!(catalogue.abandon(ME).records.is_empty());
    check(&catalogue);
    let adopted = catalogue.adopt_orphans(next, 10);
    assert_eq!(take(&mut catalogue, adopted), vec![stream], "its streams go on all the same");
    let cleared = catalogue.cleared(ME);
    take(&mut catalogue, cleared).unwrap();
    assert!(catalogue.incarnation(ME).is_none());
    assert!(catalogue.cleared(ME).response.is_ok());
    check(&catalogue);
}

/// Brokers 1 and 2 serve, and each owns a stream; then both have died, and 1 is back under a new registration.
fn two_dead() -> (Catalogue, [StreamId; 2], Incarnation) {
    let (other, back) = (broker(2, 1), broker(1, 2));
    let mut catalogue = serving(ME);
    register(&mut catalogue, other);
    let open = catalogue.open_incarnation(other, wal());
    take(&mut catalogue, open).unwrap();
    let own = streams(&mut catalogue, 1, ME)[0];
    let theirs = streams(&mut catalogue, 1, other)[0];
    register(&mut catalogue, back);
    (catalogue, [own, theirs], back)
}

fn unregister(catalogue: &mut Catalogue, id: Incarnation) {
    let record = UnregisterBrokerRecord { broker_id: id.broker.0, broker_epoch: id.epoch.0, ..Default::default() };
    catalogue.apply(&record.into()).unwrap();
}

#[test]
fn a_registration_takes_over_only_what_falls_to_it() {
    let (mut catalogue, _, back) = two_dead();
    assert_eq!(catalogue.takeovers(back), [ME], "a registered broker's log is that broker's");
    // A survivor recovers it already: its assignment stands.
    let survivor = broker(3, 9);
    register(&mut catalogue, survivor);
    let fence = catalogue.fence_incarnation(ME);
    take(&mut catalogue, fence).unwrap();
    let assign = catalogue.assign(ME, survivor);
    take(&mut catalogue, assign).unwrap();
    assert_eq!(catalogue.takeovers(back), []);
    // It has gone meanwhile, and so has broker 2: nobody else comes for their logs.
    unregister(&mut catalogue, survivor);
    unregister(&mut catalogue, broker(2, 1));
    assert_eq!(catalogue.takeovers(back), [ME, broker(2, 1)]);
}

#[test]
fn a_taker_adopts_the_streams_of_the_log_that_it_recovered_and_no_others() {
    let (mut catalogue, [own, theirs], back) = two_dead();
    for log in [ME, broker(2, 1)] {
        let fence = catalogue.fence_incarnation(log);
        take(&mut catalogue, fence).unwrap();
    }
    // The other's log has ended, and its streams wait for an owner whom the controller names.
    let other_back = broker(2, 2);
    register(&mut catalogue, other_back);
    let assign = catalogue.assign(broker(2, 1), other_back);
    take(&mut catalogue, assign).unwrap();
    let given_up = catalogue.abandon(broker(2, 1));
    take(&mut catalogue, given_up).unwrap();
    let assign = catalogue.assign(ME, back);
    take(&mut catalogue, assign).unwrap();
    let recovered = catalogue.recovered(ME, back, WalPosition(0));
    let Recovered { opened, more } = take(&mut catalogue, recovered).unwrap();
    assert_eq!((opened, more), (vec![own], false));
    assert_eq!(catalogue.stream(theirs).unwrap().owner, broker(2, 1));
    // Nor when it opens its own log; the stream's own broker does.
    assert!(catalogue.adopt_orphans(back, 10).response.is_empty());
    assert_eq!(catalogue.adopt_orphans(other_back, 10).response, vec![theirs]);
    check(&catalogue);
}

#[test]
fn an_incarnation_is_never_opened_twice() {
    let mut catalogue = serving(ME);
    assert!(catalogue.open_incarnation(ME, wal()).records.is_empty(), "a repeat changes nothing");
    let fence = catalogue.fence_incarnation(ME);
    take(&mut catalogue, fence).unwrap();
    assert!(catalogue.open_incarnation(ME, wal()).response.is_err());
    assert!(catalogue.open_incarnation(broker(7, 7), wal()).response.is_err(), "nor by a stranger");
}

#[test]
fn stream_ids_are_never_used_twice() {
    let mut catalogue = serving(ME);
    let first = streams(&mut catalogue, 3, ME);
    let delete = catalogue.delete_streams(&first);
    take(&mut catalogue, delete);
    let bytes = snapshot::encode(&catalogue);
    let mut catalogue = snapshot::decode(&mut &bytes[..]).unwrap();
    assert_eq!(streams(&mut catalogue, 1, ME), vec![StreamId(3)]);
}

#[test]
fn a_trim_keeps_an_extent_that_is_partly_alive_and_refuses_stale_owners() {
    let mut catalogue = serving(ME);
    let stream = streams(&mut catalogue, 1, ME)[0];
    let (first, second) = (grow(&mut catalogue, ME, stream, 0, 10), grow(&mut catalogue, ME, stream, 10, 20));
    let epoch = StreamEpoch(0);
    let stale = TrimRequest { stream, epoch: StreamEpoch(9), start: Offset(20), state: StateBelow::NotKept };
    let requests = [
        TrimRequest { stream, epoch, start: Offset(15), state: StateBelow::NotKept },
        stale,
        TrimRequest { stream, epoch, start: Offset(3), state: StateBelow::NotKept },
    ];
    let trim = catalogue.trim(&requests, NOW);
    let answers = take(&mut catalogue, trim);
    assert!(answers[0].is_ok() && answers[1].is_err() && answers[2].is_ok());
    assert_eq!(catalogue.stream(stream).unwrap().start, Offset(15));
    assert!(catalogue.object(first).is_none() && catalogue.object(second).is_some());
    check(&catalogue);
}

#[test]
fn a_trim_goes_no_further_than_the_newest_checkpoint_tells_while_a_state_is_kept() {
    let mut catalogue = serving(ME);
    let stream = streams(&mut catalogue, 1, ME)[0];
    grow(&mut catalogue, ME, stream, 0, 20);
    let trim = |start, state| TrimRequest { stream, epoch: StreamEpoch(0), start: Offset(start), state };
    let untold = |start, checkpoint| {
        Err(StreamRejection::Untold { stream, start: Offset(start), checkpoint: Offset(checkpoint) })
    };
    let refused = catalogue.trim(&[trim(1, StateBelow::Checkpointed)], NOW);
    assert!(refused.records.is_empty());
    assert_eq!(refused.response, [untold(1, 0)]);
    let mut told = object(catalogue.writer(ME.broker).unwrap().next_commit + 100, vec![range(stream, 0, 20, 30)]);
    told.checkpoints.push(NewCheckpoint { stream, epoch: StreamEpoch(0), offset: Offset(30) });
    let sequence = catalogue.writer(ME.broker).unwrap().next_commit;
    commit(&mut catalogue, &request(ME, sequence, vec![told])).unwrap();
    // The image is asked, not the order in which somebody called: each by itself, after a snapshot too.
    let mut catalogue = snapshot::decode(&mut &snapshot::encode(&catalogue)[..]).unwrap();
    let both = [trim(31, StateBelow::Checkpointed), trim(30, StateBelow::Checkpointed)];
    let decision = catalogue.trim(&both, NOW);
    assert_eq!(take(&mut catalogue, decision), [untold(31, 30), Ok(())]);
    assert_eq!(catalogue.stream(stream).unwrap().start, Offset(30));
    let decision = catalogue.trim(&[trim(40, StateBelow::NotKept)], NOW);
    assert_eq!(take(&mut catalogue, decision), [Ok(())]);
    // What an older release trimmed is no refusal to a repeat.
    let decision = catalogue.trim(&[trim(40, StateBelow::Checkpointed)], NOW);
    assert_eq!(take(&mut catalogue, decision), [Ok(())]);
    check(&catalogue);
}

#[test]
fn a_trim_on_account_of_records_that_are_not_in_the_store_is_refused() {
    let mut catalogue = serving(ME);
    let stream = streams(&mut catalogue, 1, ME)[0];
    grow(&mut catalogue, ME, stream, 0, 20);
    let trim = |start, end| TrimRequest {
        stream,
        epoch: StreamEpoch(0),
        start: Offset(start),
        state: StateBelow::ToldUpTo(Offset(end)),
    };
    for start in [10, 20, 25] {
        let decision = catalogue.trim(&[trim(start, 30)], NOW);
        assert!(decision.records.is_empty());
        let (start, needed, committed) = (Offset(start), Offset(30), Offset(20));
        assert_eq!(decision.response, [Err(StreamRejection::Uncommitted { stream, start, needed, committed })]);
    }
    grow(&mut catalogue, ME, stream, 20, 30);
    let decision = catalogue.trim(&[trim(25, 30)], NOW);
    assert_eq!(take(&mut catalogue, decision), [Ok(())]);
    assert_eq!(catalogue.stream(stream).unwrap().start, Offset(25));
    check(&catalogue);
}

#[test]
fn more_dead_objects_than_a_batch_retires_are_retired_by_the_next_ones() {
    let mut catalogue = serving(ME);
    let ids = streams(&mut catalogue, 2, ME);
    let extra = 10;
    let (mut at, objects) = (0, RETIREMENTS_MAX as u64 + extra);
    for commits in 0.. {
        if at == objects {
            break;
        }
        let until = objects.min(at + 10_000);
        let new = (at..until).map(|n| object(n, vec![range(ids[0], 0, n, n + 1)])).collect();
        commit(&mut catalogue, &request(ME, commits, new)).unwrap();
        at = until;
    }
    let trim =
        TrimRequest { stream: ids[0], epoch: StreamEpoch(0), start: Offset(objects), state: StateBelow::NotKept };
    let decision = catalogue.trim(&[trim], NOW);
    assert_eq!(decision.records.len(), 1 + RETIREMENTS_MAX);
    take(&mut catalogue, decision)[0].clone().unwrap();
    assert!(catalogue.has_unretired());
    // They are not forgotten by a restart, and whatever comes next takes them along.
    let bytes = snapshot::encode(&catalogue);
    let mut catalogue = snapshot::decode(&mut &bytes[..]).unwrap();
    let retire = catalogue.retire(NOW);
    assert_eq!(retire.records.len() as u64, extra);
    take(&mut catalogue, retire);
    check(&catalogue);
    assert_eq!(catalogue.pending_deletions().count() as u64, objects);
}

#[test]
fn a_record_that_contradicts_the_image_leaves_it_as_it_was() {
    let mut catalogue = serving(ME);
    let stream = streams(&mut catalogue, 1, ME)[0];
    let good = catalogue.commit(&request(ME, 0, vec![object(0, vec![range(stream, 0, 0, 10)])]), NOW);
    take(&mut catalogue, good.clone()).unwrap();
    let before = catalogue.clone();
    assert!(catalogue.apply(&good.records[0]).is_err(), "the same commit record twice");
    assert_eq!(catalogue, before);
}
