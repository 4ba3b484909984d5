//! SyncGroup. Kafka's `GroupMetadataManagerTest`, `testSyncGroup…`.

use super::*;

/// A group that waits for its leader's assignment: the ids of its members, the leader first.
fn completing(fixture: &mut Fixture, joins: &[Join]) -> Vec<Str> {
    let waiting: Vec<_> = joins.iter().map(|join| fixture.join(join)).collect();
    fixture.advance(2 * INITIAL_DELAY_MS);
    waiting.into_iter().map(|waiting| waiting.get().member_id).collect()
}

#[test]
fn followers_wait_for_the_leader() {
    let mut fixture = Fixture::new();
    let ids = completing(&mut fixture, &[Join::new(), Join::new()]);
    let mut follower = fixture.sync(&ids[1], 1, &[]);
    assert!(follower.waits());
    let leader = fixture.sync(&ids[0], 1, &[(&ids[0], "mine"), (&ids[1], "yours")]).get();
    assert_sync(&leader, ErrorCode::None);
    assert_eq!(leader.assignment, "mine");
    assert_eq!(leader.protocol_type.as_deref(), Some("consumer"));
    assert_eq!(leader.protocol_name.as_deref(), Some("range"));
    assert_eq!(follower.get().assignment, "yours");
    assert_eq!(fixture.state(), GroupState::Stable);
}

#[test]
fn followers_that_come_after_the_leader_are_answered_at_once() {
    let mut fixture = Fixture::new();
    let ids = completing(&mut fixture, &[Join::new(), Join::new()]);
    fixture.sync(&ids[0], 1, &[(&ids[1], "yours")]).get();
    assert_eq!(fixture.sync(&ids[1], 1, &[]).get().assignment, "yours");
    // Asking again changes nothing; nor does a leader that asks again with something else.
    assert_eq!(fixture.sync(&ids[1], 1, &[]).get().assignment, "yours");
    assert_eq!(fixture.sync(&ids[0], 1, &[(&ids[1], "other")]).get().assignment, "");
    assert_eq!(fixture.sync(&ids[1], 1, &[]).get().assignment, "yours");
}

#[test]
fn a_member_that_the_leader_forgot_is_assigned_nothing() {
    let mut fixture = Fixture::new();
    let ids = completing(&mut fixture, &[Join::new(), Join::new()]);
    let follower = fixture.sync(&ids[1], 1, &[]);
    fixture.sync(&ids[0], 1, &[(&ids[0], "all"), (&"stranger".into(), "some")]).get();
    let follower = follower.get();
    assert_sync(&follower, ErrorCode::None);
    assert!(follower.assignment.is_empty());
    assert_eq!(fixture.group().members.len(), 2);
}

#[test]
fn nobody_has_its_assignment_before_that_is_durable() {
    let mut fixture = Fixture::new();
    let ids = completing(&mut fixture, &[Join::new(), Join::new()]);
    fixture.hold();
    let mut follower = fixture.sync(&ids[1], 1, &[]);
    let mut leader = fixture.sync(&ids[0], 1, &[(&ids[0], "0"), (&ids[1], "1")]);
    assert!(leader.waits() && follower.waits());
    assert_eq!(fixture.state(), GroupState::CompletingRebalance);
    fixture.release();
    assert_eq!((&leader.get().assignment[..], &follower.get().assignment[..]), (&b"0"[..], &b"1"[..]));
    let stored = fixture.groups.stored().group(GROUP).unwrap().metadata.clone().unwrap();
    assert_eq!((stored.generation, stored.leader.as_ref()), (1, Some(&ids[0])));
    let assignments: Vec<_> = stored.members.iter().map(|member| (&member.member_id, &member.assignment[..])).collect();
    assert_eq!(assignments, [(&ids[0], &b"0"[..]), (&ids[1], &b"1"[..])]);
}

#[test]
fn an_assignment_that_is_durable_too_late_is_nobodys() {
    let mut fixture = Fixture::new();
    let ids = completing(&mut fixture, &[Join::new(), Join::new()]);
    fixture.hold();
    let leader = fixture.sync(&ids[0], 1, &[(&ids[0], "0")]);
    let new = fixture.join(&Join::new());
    assert_sync(&leader.get(), ErrorCode::RebalanceInProgress);
    fixture.release();
    assert_eq!(fixture.state(), GroupState::PreparingRebalance);
    fixture.join(&Join::new().member(&ids[0]));
    fixture.join_now(&Join::new().member(&ids[1]));
    let generation = new.get().generation_id;
    assert_eq!(generation, 2);
    assert!(fixture.sync(&ids[1], generation, &[]).waits(), "the assignment of generation 1 is of no use");
}

#[test]
fn a_member_that_syncs_again_has_given_up_its_first_request() {
    let mut fixture = Fixture::new();
    let ids = completing(&mut fixture, &[Join::new(), Join::new()]);
    let first = fixture.sync(&ids[1], 1, &[]);
    let second = fixture.sync(&ids[1], 1, &[]);
    assert_sync(&first.get(), ErrorCode::RebalanceInProgress);
    fixture.sync(&ids[0], 1, &[(&ids[1], "yours")]).get();
    assert_eq!(second.get().assignment, "yours");
}

#[test]
fn syncs_of_others_are_refused() {
    let mut fixture = Fixture::new();
    assert_sync(&fixture.sync(&"stranger".into(), 1, &[]).get(), ErrorCode::UnknownMemberId);
    let ids = completing(&mut fixture, &[Join::new(), Join::new()]);
    assert_sync(&fixture.sync(&"stranger".into(), 1, &[]).get(), ErrorCode::UnknownMemberId);
    assert_sync(&fixture.sync(&ids[0], 0, &[]).get(), ErrorCode::IllegalGeneration);
    assert_sync(&fixture.sync(&ids[0], 2, &[]).get(), ErrorCode::IllegalGeneration);
    fixture.settle(&ids);
    assert_sync(&fixture.sync(&ids[0], 2, &[]).get(), ErrorCode::IllegalGeneration);
    fixture.join(&Join::new());
    assert_sync(&fixture.sync(&ids[0], 1, &[]).get(), ErrorCode::RebalanceInProgress);
}

#[test]
fn a_sync_into_an_empty_group_is_of_an_unknown_member() {
    let mut fixture = Fixture::new();
    let ids = fixture.stable(&[Join::new()]);
    fixture.leave(&[(&ids[0], None)]).unwrap();
    assert_sync(&fixture.sync(&ids[0], 2, &[]).get(), ErrorCode::UnknownMemberId);
}

#[test]
fn a_sync_that_names_a_protocol_must_name_the_groups() {
    let mut fixture = Fixture::new();
    let ids = completing(&mut fixture, &[Join::new()]);
    let sync = |protocol_type: Option<&str>, protocol: Option<&str>| SyncGroupRequest {
        group_id: GROUP.into(),
        generation_id: 1,
        member_id: ids[0].clone(),
        protocol_type: protocol_type.map(Str::from),
        protocol_name: protocol.map(Str::from),
        ..SyncGroupRequest::default()
    };
    for (protocol_type, protocol) in [("connect", "range"), ("consumer", "roundrobin")] {
        let refused = fixture.sync_with(&sync(Some(protocol_type), Some(protocol))).get();
        assert_sync(&refused, ErrorCode::InconsistentGroupProtocol);
    }
    assert_sync(&fixture.sync_with(&sync(Some("consumer"), Some("range"))).get(), ErrorCode::None);
    assert_sync(&fixture.sync_with(&sync(None, None)).get(), ErrorCode::None);
}

#[test]
fn members_that_do_not_sync_in_time_are_out() {
    let mut fixture = Fixture::new();
    let ids = completing(&mut fixture, &[Join::new(), Join::new(), Join::new()]);
    let waiting = fixture.sync(&ids[1], 1, &[]);
    // Heartbeats do not help who does not sync.
    for _ in 0..REBALANCE_MS / 5_000 - 1 {
        fixture.advance(5_000);
        assert_eq!(fixture.heartbeat(&ids[0], 1), Ok(()));
        assert_eq!(fixture.heartbeat(&ids[2], 1), Ok(()));
    }
    fixture.advance(4_999);
    assert_eq!(fixture.state(), GroupState::CompletingRebalance);
    fixture.advance(1);
    assert_eq!(fixture.state(), GroupState::PreparingRebalance);
    assert_sync(&waiting.get(), ErrorCode::RebalanceInProgress);
    assert_eq!(fixture.group().members.keys().collect::<Vec<_>>(), [&ids[1]]);
    let again = fixture.join_now(&Join::new().member(&ids[1]));
    assert_eq!((again.generation_id, again.leader), (2, ids[1].clone()));
}

#[test]
fn a_follower_that_never_syncs_is_out_of_a_stable_group_too() {
    let mut fixture = Fixture::new();
    let ids = completing(&mut fixture, &[Join::new(), Join::new()]);
    fixture.sync(&ids[0], 1, &[]).get();
    assert_eq!(fixture.state(), GroupState::Stable);
    for _ in 0..REBALANCE_MS / 5_000 {
        assert_eq!(fixture.heartbeat(&ids[0], 1), Ok(()));
        assert_eq!(fixture.heartbeat(&ids[1], 1), Ok(()));
        fixture.advance(5_000);
    }
    assert_eq!(fixture.heartbeat(&ids[1], 1), Err(ErrorCode::UnknownMemberId));
    assert_eq!(fixture.heartbeat(&ids[0], 1), Err(ErrorCode::RebalanceInProgress));
}

#[test]
fn a_group_of_which_all_have_synced_is_left_alone() {
    let mut fixture = Fixture::new();
    let ids = fixture.stable(&[Join::new(), Join::new()]);
    for _ in 0..3 * REBALANCE_MS / 5_000 {
        fixture.advance(5_000);
        assert_eq!(fixture.heartbeat(&ids[0], 1), Ok(()));
        assert_eq!(fixture.heartbeat(&ids[1], 1), Ok(()));
    }
}

#[test]
fn an_assignment_that_no_record_can_hold_fails_and_the_group_tries_again() {
    let mut fixture = Fixture::new();
    let ids = completing(&mut fixture, &[Join::new(), Join::new()]);
    let follower = fixture.sync(&ids[1], 1, &[]);
    let written = fixture.log.len();
    fixture.record_bytes_max = 100;
    let leader = fixture.sync(&ids[0], 1, &[(&ids[0], "0")]);
    assert_sync(&leader.get(), ErrorCode::UnknownServerError);
    assert_sync(&follower.get(), ErrorCode::UnknownServerError);
    assert_eq!(fixture.state(), GroupState::PreparingRebalance);
    assert_eq!(fixture.log.len(), written);
}
