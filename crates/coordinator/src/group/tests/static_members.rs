//! Static members (KIP-345) and what a leader of them is told when it comes back (KIP-814).

use super::*;

fn leader() -> Join {
    Join::new().instance("leader").version(9)
}

fn follower() -> Join {
    Join::new().instance("follower").version(9)
}

/// A stable group of two static members: the ids of leader and follower.
fn stable(fixture: &mut Fixture) -> (Str, Str) {
    let ids = fixture.stable(&[leader(), follower()]);
    (ids[0].clone(), ids[1].clone())
}

#[test]
fn a_follower_that_restarts_has_a_new_id_and_its_old_assignment() {
    let mut fixture = Fixture::new();
    let (leader_id, old) = stable(&mut fixture);
    let again = fixture.join_now(&follower());
    assert_join(&again, ErrorCode::None);
    assert_ne!(again.member_id, old);
    assert_eq!((again.generation_id, &again.leader), (1, &leader_id));
    assert!(!again.skip_assignment && again.members.is_empty());
    assert_eq!(fixture.state(), GroupState::Stable);
    assert_eq!(fixture.sync(&again.member_id, 1, &[]).get().assignment, "1");
    assert_eq!(fixture.heartbeat_as(&leader_id, Some("leader"), 1), Ok(()), "nobody else notices");
}

#[test]
fn a_leader_that_restarts_is_told_to_keep_the_assignment() {
    let mut fixture = Fixture::new();
    let (old, follower_id) = stable(&mut fixture);
    let again = fixture.join_now(&leader());
    assert_join(&again, ErrorCode::None);
    assert_ne!(again.member_id, old);
    assert_eq!(again.leader, again.member_id);
    assert!(again.skip_assignment);
    let told: Vec<_> = again.members.iter().map(|member| member.group_instance_id.as_deref()).collect();
    assert_eq!(told.len(), 2);
    assert!(told.contains(&Some("leader")) && told.contains(&Some("follower")));
    assert_eq!(fixture.state(), GroupState::Stable);
    assert_eq!(fixture.sync(&again.member_id, 1, &[]).get().assignment, "0");
    assert_eq!(fixture.sync(&follower_id, 1, &[]).get().assignment, "1");
}

#[test]
fn a_leader_that_cannot_be_told_so_hears_of_its_old_self_as_the_leader() {
    let mut fixture = Fixture::new();
    let (old, _) = stable(&mut fixture);
    let again = fixture.join_now(&leader().version(8));
    assert_eq!(again.leader, old);
    assert!(again.members.is_empty() && !again.skip_assignment);
    assert!(fixture.group().is_leader(&again.member_id), "it leads all the same");
    // Its next join begins a rebalance as every leader's does.
    let mut joining = fixture.join(&leader().version(8).member(&again.member_id));
    assert!(joining.waits());
}

#[test]
fn a_new_id_is_stored_before_it_is_told() {
    let mut fixture = Fixture::new();
    let (_, old) = stable(&mut fixture);
    fixture.hold();
    let mut joining = fixture.join(&follower());
    assert!(joining.waits());
    fixture.release();
    let again = joining.get().member_id;
    let stored = fixture.groups.stored().group(GROUP).unwrap().metadata.clone().unwrap();
    let ids: Vec<_> = stored.members.iter().map(|member| &member.member_id).collect();
    assert!(ids.contains(&&again) && !ids.contains(&&old));
    assert!(stored.members.iter().any(|member| member.member_id == again && member.assignment == "1"));
    fixture.restart();
    assert_eq!(fixture.heartbeat_as(&again, Some("follower"), 1), Ok(()));
    assert_eq!(fixture.heartbeat_as(&old, Some("follower"), 1), Err(ErrorCode::FencedInstanceId));
}

#[test]
fn a_leaders_new_id_leads_after_a_load_too() {
    let mut fixture = Fixture::new();
    let (_, follower_id) = stable(&mut fixture);
    let again = fixture.join_now(&leader()).member_id;
    fixture.restart();
    assert!(fixture.group().is_leader(&again));
    assert_eq!(fixture.heartbeat_as(&follower_id, Some("follower"), 1), Ok(()));
    assert_eq!(fixture.sync(&again, 1, &[]).get().assignment, "0");
}

#[test]
fn the_old_id_is_fenced_everywhere() {
    let mut fixture = Fixture::new();
    let (_, old) = stable(&mut fixture);
    fixture.join_now(&follower());
    let fenced = ErrorCode::FencedInstanceId;
    assert_eq!(fixture.heartbeat_as(&old, Some("follower"), 1), Err(fenced));
    assert_join(&fixture.join_now(&follower().member(&old)), fenced);
    let sync = SyncGroupRequest {
        group_id: GROUP.into(),
        generation_id: 1,
        member_id: old.clone(),
        group_instance_id: Some("follower".into()),
        ..SyncGroupRequest::default()
    };
    assert_sync(&fixture.sync_with(&sync).get(), fenced);
    let who = Who { instance: Some("follower"), ..Who::member(&old, 1) };
    assert_eq!(fixture.commit_as(&who, "topic", 1), Err(fenced));
    assert_eq!(fixture.leave(&[(&old, Some("follower"))]), Ok(vec![fenced]));
    // Without its instance id it is nobody.
    assert_eq!(fixture.heartbeat(&old, 1), Err(ErrorCode::UnknownMemberId));
    assert_eq!(fixture.state(), GroupState::Stable);
}

#[test]
fn what_the_old_id_waits_for_is_fenced_at_once() {
    let mut fixture = Fixture::new();
    let (leader_id, follower_id) = stable(&mut fixture);
    let joining = fixture.join(&leader().member(&leader_id));
    let replaced = fixture.join(&leader());
    let fenced = joining.get();
    assert_join(&fenced, ErrorCode::FencedInstanceId);
    assert_eq!(fenced.member_id, leader_id);
    let other = fixture.join_now(&follower().member(&follower_id));
    let replaced = replaced.get();
    assert_eq!((replaced.generation_id, other.generation_id), (2, 2));
    let syncing = fixture.sync(&follower_id, 2, &[]);
    fixture.join(&follower());
    assert_sync(&syncing.get(), ErrorCode::FencedInstanceId);
}

#[test]
fn a_restart_before_the_assignment_begins_another_rebalance() {
    let mut fixture = Fixture::new();
    let (first, second) = (fixture.join(&leader()), fixture.join(&follower()));
    fixture.advance(2 * INITIAL_DELAY_MS);
    let (leader_id, old) = (first.get().member_id, second.get().member_id);
    let syncing = fixture.sync(&leader_id, 1, &[(&leader_id, "0"), (&old, "1")]);
    syncing.get();
    // This one's assignment is not on its way yet.
    let again = fixture.join(&leader().member(&leader_id));
    let new = fixture.join(&follower());
    assert_eq!(again.get().generation_id, 2);
    let new = new.get().member_id;
    assert_eq!(fixture.state(), GroupState::CompletingRebalance);
    let mut newer = fixture.join(&follower());
    assert!(newer.waits());
    assert_eq!(fixture.state(), GroupState::PreparingRebalance);
    assert!(!fixture.is_member(&new));
    fixture.join_now(&leader().member(&leader_id));
    assert_eq!(newer.get().generation_id, 3);
}

#[test]
fn a_restart_that_changes_the_groups_protocol_begins_a_rebalance() {
    let mut fixture = Fixture::new();
    let both = |join: Join| join.protocols(&["a", "b"]);
    let ids = fixture.stable(&[both(leader()), both(follower())]);
    let mut joining = fixture.join(&follower().protocols(&["b"]));
    assert!(joining.waits());
    assert_eq!(fixture.state(), GroupState::PreparingRebalance);
    fixture.join_now(&both(leader()).member(&ids[0]));
    assert_eq!(joining.get().protocol_name.as_deref(), Some("b"));
    assert_eq!(fixture.group().generation, 2);
}

#[test]
fn a_restart_with_other_metadata_and_the_same_protocol_does_not() {
    let mut fixture = Fixture::new();
    stable(&mut fixture);
    assert_join(&fixture.join_now(&follower().subscribed(&["other"])), ErrorCode::None);
    assert_eq!(fixture.state(), GroupState::Stable);
}

#[test]
fn a_static_member_that_knows_its_id_joins_as_any_other() {
    let mut fixture = Fixture::new();
    let (leader_id, follower_id) = stable(&mut fixture);
    let same = fixture.join_now(&follower().member(&follower_id));
    assert_eq!((same.generation_id, same.member_id), (1, follower_id));
    assert_join(&fixture.join_now(&follower().member(&leader_id)), ErrorCode::FencedInstanceId);
    assert_join(&fixture.join_now(&Join::new().instance("stranger").member(&leader_id)), ErrorCode::UnknownMemberId);
}

#[test]
fn static_members_stay_in_a_generation_that_they_did_not_join_until_their_session_ends() {
    let mut fixture = Fixture::new();
    let ids = fixture.stable(&[Join::new(), follower().session_ms(60_000)]);
    let mut leader = fixture.join(&Join::new().member(&ids[0]));
    fixture.advance(REBALANCE_MS as u64 - 1);
    assert!(leader.waits());
    fixture.advance(1);
    let leader = leader.get();
    assert_eq!((leader.generation_id, leader.members.len()), (2, 2));
    assert!(fixture.is_member(&ids[1]));
}

#[test]
fn a_static_leader_that_did_not_join_hands_over() {
    let mut fixture = Fixture::new();
    let ids = fixture.stable(&[leader().session_ms(60_000), follower()]);
    let joining = fixture.join(&follower().member(&ids[1]).subscribed(&["other"]));
    fixture.advance(REBALANCE_MS as u64);
    let joined = joining.get();
    assert_eq!((&joined.leader, joined.members.len()), (&ids[1], 2));
}

#[test]
fn a_group_of_static_members_of_whom_nobody_joins_waits_for_their_sessions() {
    let mut fixture = Fixture::new();
    let slow = |join: Join| join.session_ms(100_000);
    let ids = fixture.stable(&[slow(leader()), slow(follower())]);
    let dynamic = fixture.join_now(&Join::new().version(4)).member_id;
    let gone = fixture.join(&Join::new().version(4).member(&dynamic));
    assert_eq!(fixture.leave(&[(&dynamic, None)]), Ok(vec![ErrorCode::None]));
    assert_join(&gone.get(), ErrorCode::UnknownMemberId);
    fixture.advance(2 * REBALANCE_MS as u64);
    assert_eq!(fixture.state(), GroupState::PreparingRebalance);
    assert!(fixture.is_member(&ids[0]) && fixture.is_member(&ids[1]));
    fixture.advance(100_000);
    assert_eq!((fixture.state(), fixture.group().members.len()), (GroupState::Empty, 0));
}

#[test]
fn a_static_member_that_restarts_while_it_waits_has_no_session_to_lose() {
    let mut fixture = Fixture::new();
    let slow = Join::new().session_ms(60_000).rebalance_ms(60_000);
    let ids = fixture.stable(std::slice::from_ref(&slow));
    // It joins for the first time, restarts, and waits for the other longer than a session.
    fixture.join(&follower());
    let mut again = fixture.join(&follower());
    fixture.advance(3 * SESSION_MS as u64);
    assert!(again.waits(), "Kafka's replaced member is not new");
    fixture.join_now(&slow.member(&ids[0]));
    let again = again.get();
    assert_join(&again, ErrorCode::None);
    assert_eq!(again.generation_id, 2);
}

#[test]
fn a_session_begins_with_the_new_id_even_if_that_was_long_in_storing() {
    let mut fixture = Fixture::new();
    let ids = fixture.stable(&[Join::new().session_ms(100_000), follower()]);
    fixture.hold();
    let mut joining = fixture.join(&follower());
    fixture.advance(2 * SESSION_MS as u64);
    assert!(joining.waits());
    fixture.release();
    let again = joining.get().member_id;
    fixture.advance(SESSION_MS as u64 - 1);
    assert!(fixture.is_member(&again));
    fixture.advance(1);
    assert!(!fixture.is_member(&again), "it was not heard of again");
    assert!(fixture.is_member(&ids[0]));
}

#[test]
fn the_session_of_the_old_id_ends_without_effect() {
    let mut fixture = Fixture::new();
    stable(&mut fixture);
    fixture.advance(SESSION_MS as u64 - 1_000);
    let (leader_id, follower_id) = (fixture.join_now(&leader()).member_id, fixture.join_now(&follower()).member_id);
    fixture.advance(1_000);
    assert_eq!(fixture.heartbeat_as(&leader_id, Some("leader"), 1), Ok(()));
    assert_eq!(fixture.heartbeat_as(&follower_id, Some("follower"), 1), Ok(()));
}

#[test]
fn an_old_id_that_had_not_synced_passes_that_on() {
    let mut fixture = Fixture::new();
    let ids = fixture.stable(&[Join::new()]);
    let new = fixture.join(&follower());
    fixture.join_now(&Join::new().member(&ids[0]));
    new.get();
    fixture.sync(&ids[0], 2, &[]).get();
    let again = fixture.join_now(&follower()).member_id;
    assert!(fixture.group().pending_sync.contains(&again));
    assert_sync(&fixture.sync(&again, 2, &[]).get(), ErrorCode::None);
    assert!(fixture.group().pending_sync.is_empty());
}

#[test]
fn a_new_id_that_no_record_can_hold_begins_a_rebalance() {
    let mut fixture = Fixture::new();
    stable(&mut fixture);
    fixture.record_bytes_max = 10;
    let mut joining = fixture.join(&follower());
    assert!(joining.waits());
    assert_eq!(fixture.state(), GroupState::PreparingRebalance);
}

#[test]
fn a_group_that_moved_on_meanwhile_answers_with_its_next_generation() {
    let mut fixture = Fixture::new();
    let (leader_id, _) = stable(&mut fixture);
    fixture.hold();
    let mut joining = fixture.join(&follower());
    let mut leader_joining = fixture.join(&leader().member(&leader_id));
    assert!(!joining.waits() && !leader_joining.waits(), "both have joined");
    fixture.release();
    assert_eq!((fixture.state(), fixture.group().generation), (GroupState::CompletingRebalance, 2));
}
