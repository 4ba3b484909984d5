//! Heartbeats, sessions and LeaveGroup.

use super::*;

#[test]
fn heartbeats_are_refused_unless_they_are_of_the_generation() {
    let mut fixture = Fixture::new();
    assert_eq!(fixture.heartbeat(&"stranger".into(), 1), Err(ErrorCode::UnknownMemberId), "there is no group");
    let ids = fixture.stable(&[Join::new()]);
    assert_eq!(fixture.heartbeat(&ids[0], 1), Ok(()));
    assert_eq!(fixture.heartbeat(&"stranger".into(), 1), Err(ErrorCode::UnknownMemberId));
    assert_eq!(fixture.heartbeat(&ids[0], 0), Err(ErrorCode::IllegalGeneration));
    assert_eq!(fixture.heartbeat(&ids[0], 2), Err(ErrorCode::IllegalGeneration));
    assert_eq!(fixture.heartbeat_as(&ids[0], Some("instance"), 1), Err(ErrorCode::UnknownMemberId));
    fixture.leave(&[(&ids[0], None)]).unwrap();
    assert_eq!(fixture.heartbeat(&ids[0], 2), Err(ErrorCode::UnknownMemberId));
}

#[test]
fn members_may_send_heartbeats_before_they_sync() {
    let mut fixture = Fixture::new();
    let joining = fixture.join(&Join::new());
    fixture.advance(INITIAL_DELAY_MS);
    assert_eq!(fixture.heartbeat(&joining.get().member_id, 1), Ok(()));
}

#[test]
fn a_member_that_is_not_heard_of_for_a_session_is_out() {
    let mut fixture = Fixture::new();
    let ids = fixture.stable(&[Join::new().session_ms(30_000), Join::new()]);
    fixture.advance(SESSION_MS as u64 - 1);
    assert_eq!(fixture.heartbeat(&ids[1], 1), Ok(()));
    fixture.advance(SESSION_MS as u64 - 1);
    assert!(fixture.is_member(&ids[1]));
    assert_eq!(fixture.state(), GroupState::Stable);
    fixture.advance(1);
    assert!(!fixture.is_member(&ids[1]));
    assert_eq!(fixture.state(), GroupState::PreparingRebalance);
    assert_eq!(fixture.heartbeat(&ids[0], 1), Err(ErrorCode::RebalanceInProgress));
}

#[test]
fn the_session_of_the_last_member_leaves_an_empty_group() {
    let mut fixture = Fixture::new();
    fixture.stable(&[Join::new()]);
    fixture.advance(SESSION_MS as u64);
    assert_eq!((fixture.state(), fixture.group().generation), (GroupState::Empty, 2));
    assert_eq!(fixture.replayed(), *fixture.groups.stored());
}

#[test]
fn a_session_that_ends_in_a_rebalance_ends_the_wait_for_the_member() {
    let mut fixture = Fixture::new();
    let ids = fixture.stable(&[Join::new(), Join::new()]);
    let mut leader = fixture.join(&Join::new().member(&ids[0]));
    fixture.advance(SESSION_MS as u64 - 1);
    assert!(leader.waits());
    fixture.advance(1);
    let leader = leader.get();
    assert_eq!((leader.generation_id, leader.members.len()), (2, 1));
}

#[test]
fn a_rebalance_keeps_the_session_of_who_sends_heartbeats() {
    let mut fixture = Fixture::new();
    let ids = fixture.stable(&[Join::new(), Join::new()]);
    let mut leader = fixture.join(&Join::new().member(&ids[0]));
    for _ in 0..4 {
        fixture.advance(SESSION_MS as u64 / 2);
        assert_eq!(fixture.heartbeat(&ids[1], 1), Err(ErrorCode::RebalanceInProgress));
    }
    assert!(leader.waits());
}

#[test]
fn members_that_wait_for_the_coordinator_have_no_session() {
    let mut fixture = Fixture::new();
    let ids = fixture.stable(&[Join::new(), Join::new().session_ms(60_000).rebalance_ms(60_000)]);
    let leader = fixture.join(&Join::new().member(&ids[0]));
    fixture.advance(59_000);
    assert!(fixture.is_member(&ids[0]), "it waits for the other");
    let follower = fixture.join_now(&Join::new().session_ms(60_000).rebalance_ms(60_000).member(&ids[1]));
    assert_eq!((leader.get().generation_id, follower.generation_id), (2, 2));
    // With the answer its session begins anew.
    fixture.advance(SESSION_MS as u64 - 1);
    let mut syncing = fixture.sync(&ids[0], 2, &[]);
    assert!(!syncing.waits());
    fixture.advance(SESSION_MS as u64 - 1);
    assert!(fixture.is_member(&ids[0]));
    fixture.advance(1);
    assert!(!fixture.is_member(&ids[0]));
}

#[test]
fn a_session_begins_anew_with_the_assignment() {
    let mut fixture = Fixture::new();
    let slow = Join::new().session_ms(60_000).rebalance_ms(60_000);
    let (leader, follower) = (fixture.join(&slow), fixture.join(&Join::new()));
    fixture.advance(2 * INITIAL_DELAY_MS);
    let (leader, follower) = (leader.get().member_id, follower.get().member_id);
    let mut waiting = fixture.sync(&follower, 1, &[]);
    fixture.advance(3 * SESSION_MS as u64);
    assert!(waiting.waits());
    fixture.sync(&leader, 1, &[]).get();
    assert_sync(&waiting.get(), ErrorCode::None);
    fixture.advance(SESSION_MS as u64 - 1);
    assert!(fixture.is_member(&follower));
    fixture.advance(1);
    assert!(!fixture.is_member(&follower));
}

#[test]
fn a_commit_keeps_the_session() {
    let mut fixture = Fixture::new();
    let ids = fixture.stable(&[Join::new()]);
    for offset in 0..4 {
        fixture.advance(SESSION_MS as u64 - 1);
        assert_eq!(fixture.commit_as(&Who::member(&ids[0], 1), "topic", offset), Ok(()));
    }
    assert!(fixture.is_member(&ids[0]));
}

#[test]
fn a_member_that_leaves_begins_a_rebalance_of_the_others() {
    let mut fixture = Fixture::new();
    let ids = fixture.stable(&[Join::new(), Join::new()]);
    assert_eq!(fixture.leave(&[(&ids[0], None)]), Ok(vec![ErrorCode::None]));
    assert_eq!(fixture.state(), GroupState::PreparingRebalance);
    let other = fixture.join_now(&Join::new().member(&ids[1]));
    assert_eq!((other.generation_id, &other.leader), (2, &ids[1]), "the other leads");
}

#[test]
fn a_member_that_leaves_while_it_syncs_begins_another_rebalance() {
    let mut fixture = Fixture::new();
    let (leader, follower) = (fixture.join(&Join::new()), fixture.join(&Join::new()));
    fixture.advance(2 * INITIAL_DELAY_MS);
    let (leader, follower) = (leader.get().member_id, follower.get().member_id);
    let syncing = fixture.sync(&follower, 1, &[]);
    assert_eq!(fixture.leave(&[(&leader, None)]), Ok(vec![ErrorCode::None]));
    assert_sync(&syncing.get(), ErrorCode::RebalanceInProgress);
    assert_eq!(fixture.join_now(&Join::new().member(&follower)).generation_id, 2);
}

#[test]
fn a_member_that_leaves_in_a_rebalance_is_not_waited_for() {
    let mut fixture = Fixture::new();
    let ids = fixture.stable(&[Join::new(), Join::new()]);
    let leader = fixture.join(&Join::new().member(&ids[0]));
    assert_eq!(fixture.leave(&[(&ids[1], None)]), Ok(vec![ErrorCode::None]));
    assert_eq!(leader.get().members.len(), 1);
}

#[test]
fn members_leave_together() {
    let mut fixture = Fixture::new();
    let ids = fixture.stable(&[Join::new(), Join::new().instance("a"), Join::new().instance("b")]);
    let given = fixture.join_now(&Join::new().version(4)).member_id;
    let left = fixture.leave(&[
        (&ids[0], None),
        ("", Some("a")), // by an operator
        (&ids[2], Some("b")),
        (&given, None), // has not joined yet
        ("stranger", None),
        ("", Some("stranger")),
        ("", None),
        (&ids[0], None), // has left already
    ]);
    let unknown = ErrorCode::UnknownMemberId;
    let none = ErrorCode::None;
    assert_eq!(left, Ok(vec![none, none, none, none, unknown, unknown, unknown, unknown]));
    let group = fixture.group();
    assert_eq!((group.state, group.generation, group.pending.len()), (GroupState::Empty, 2, 0));
}

#[test]
fn a_static_member_leaves_only_under_its_own_id() {
    let mut fixture = Fixture::new();
    let ids = fixture.stable(&[Join::new().instance("a"), Join::new().instance("b")]);
    let left = fixture.leave(&[(&ids[0], Some("b")), ("stranger", Some("a")), (&ids[0], Some("stranger"))]);
    assert_eq!(left, Ok(vec![ErrorCode::FencedInstanceId, ErrorCode::FencedInstanceId, ErrorCode::UnknownMemberId]));
    assert_eq!(fixture.state(), GroupState::Stable, "nobody has left");
}

#[test]
fn from_a_group_that_is_not_there_nobody_leaves() {
    let mut fixture = Fixture::new();
    assert_eq!(fixture.leave(&[("stranger", None)]), Err(ErrorCode::UnknownMemberId));
    assert!(fixture.groups.group(GROUP).is_none());
}

#[test]
fn a_group_of_given_ids_only_is_gone_at_the_next_check_after_they_leave() {
    let mut fixture = Fixture::new();
    let given = fixture.join_now(&Join::new().version(4)).member_id;
    assert_eq!(fixture.leave(&[(&given, None)]), Ok(vec![ErrorCode::None]));
    assert!(fixture.group().is_abandoned());
    fixture.advance(fixture.config.offsets_retention_check_ms);
    assert!(fixture.groups.group(GROUP).is_none());
    assert_eq!(fixture.replayed(), Stored::default());
}
