//! What begins a rebalance, how long it lasts, and who is in the generation that follows.

use super::*;
use crate::limits::STATIC_MEMBERS_WAIT_MS_MIN;

#[test]
fn an_empty_group_waits_a_moment_for_more_members() {
    let mut fixture = Fixture::new();
    let mut joining = fixture.join(&Join::new());
    fixture.advance(INITIAL_DELAY_MS - 1);
    assert!(joining.waits());
    fixture.advance(1);
    assert_eq!(joining.get().generation_id, 1);
}

#[test]
fn without_an_initial_delay_the_first_member_has_its_generation_at_once() {
    let mut fixture = Fixture::with(GroupConfig { initial_rebalance_delay_ms: 0, ..GroupConfig::default() });
    assert_eq!(fixture.join_now(&Join::new()).generation_id, 1);
}

#[test]
fn the_first_wait_is_longer_while_members_come_up_to_the_rebalance_timeout() {
    let mut fixture = Fixture::new();
    let mut joining = vec![fixture.join(&Join::new().rebalance_ms(10_000))];
    // Three waits of 3 s and what is left of the 10.
    for _ in 0..3 {
        fixture.advance(INITIAL_DELAY_MS - 1);
        joining.push(fixture.join(&Join::new().rebalance_ms(10_000)));
        fixture.advance(1);
        assert!(joining.iter_mut().all(Waiting::waits));
    }
    fixture.advance(999);
    joining.push(fixture.join(&Join::new().rebalance_ms(10_000)));
    assert!(joining.iter_mut().all(Waiting::waits));
    fixture.advance(1);
    for joining in joining {
        assert_eq!(joining.get().generation_id, 1);
    }
    assert_eq!(fixture.group().members.len(), 5);
}

#[test]
fn the_first_wait_ends_when_nobody_else_came_during_its_last_part() {
    let mut fixture = Fixture::new();
    let first = fixture.join(&Join::new());
    let mut second = fixture.join(&Join::new());
    fixture.advance(2 * INITIAL_DELAY_MS - 1);
    assert!(second.waits());
    fixture.advance(1);
    assert_eq!((first.get().generation_id, second.get().generation_id), (1, 1));
}

#[test]
fn the_first_wait_lasts_its_time_when_a_member_leaves_meanwhile() {
    let mut fixture = Fixture::new();
    let mut stays = fixture.join(&Join::new());
    let leaves = fixture.join_now(&Join::new().version(4)).member_id;
    let gone = fixture.join(&Join::new().version(4).member(&leaves));
    assert_eq!(fixture.leave(&[(&leaves, None)]), Ok(vec![ErrorCode::None]));
    assert_join(&gone.get(), ErrorCode::UnknownMemberId);
    assert!(stays.waits());
    fixture.advance(2 * INITIAL_DELAY_MS);
    assert_eq!(stays.get().members.len(), 1);
}

/// Kafka's `removePendingMemberAndUpdateClassicGroup` does not ask whether the wait is a first one.
#[test]
fn the_first_wait_ends_when_the_session_of_the_last_who_was_waited_for_does() {
    let mut fixture = Fixture::with(GroupConfig { initial_rebalance_delay_ms: 60_000, ..GroupConfig::default() });
    let mut stays = fixture.join(&Join::new());
    fixture.join_now(&Join::new().version(4).session_ms(10_000));
    fixture.advance(9_999);
    assert!(stays.waits());
    fixture.advance(1);
    assert_eq!(stays.get().generation_id, 1);
    assert_eq!((fixture.state(), fixture.group().pending.len()), (GroupState::CompletingRebalance, 0));
}

#[test]
fn a_new_member_begins_a_rebalance_and_the_generation_rises() {
    let mut fixture = Fixture::new();
    let ids = fixture.stable(&[Join::new()]);
    let mut new = fixture.join(&Join::new());
    assert_eq!(fixture.state(), GroupState::PreparingRebalance);
    assert_eq!(fixture.heartbeat(&ids[0], 1), Err(ErrorCode::RebalanceInProgress));
    assert!(new.waits(), "the old member has not joined");
    let old = fixture.join(&Join::new().member(&ids[0]));
    let (old, new) = (old.get(), new.get());
    assert_eq!((old.generation_id, new.generation_id), (2, 2));
    assert_eq!((&old.leader, &new.leader), (&ids[0], &ids[0]));
    assert_eq!(fixture.heartbeat(&ids[0], 1), Err(ErrorCode::IllegalGeneration));
    assert_eq!(fixture.heartbeat(&ids[0], 2), Ok(()));
}

#[test]
fn a_leader_that_joins_again_begins_a_rebalance() {
    let mut fixture = Fixture::new();
    let ids = fixture.stable(&[Join::new(), Join::new()]);
    let mut leader = fixture.join(&Join::new().member(&ids[0]));
    assert!(leader.waits());
    assert_eq!(fixture.state(), GroupState::PreparingRebalance);
    let follower = fixture.join(&Join::new().member(&ids[1]));
    assert_eq!((leader.get().generation_id, follower.get().generation_id), (2, 2));
}

#[test]
fn a_follower_that_joins_again_as_it_was_hears_its_generation() {
    let mut fixture = Fixture::new();
    let ids = fixture.stable(&[Join::new(), Join::new()]);
    let again = fixture.join_now(&Join::new().member(&ids[1]));
    assert_join(&again, ErrorCode::None);
    assert_eq!((again.generation_id, &again.leader, &again.member_id), (1, &ids[0], &ids[1]));
    assert_eq!(again.protocol_name.as_deref(), Some("range"));
    assert!(again.members.is_empty());
    assert_eq!(fixture.state(), GroupState::Stable);
}

#[test]
fn a_follower_that_joins_again_with_other_metadata_begins_a_rebalance() {
    let mut fixture = Fixture::new();
    let ids = fixture.stable(&[Join::new(), Join::new()]);
    let changed = fixture.join(&Join::new().member(&ids[1]).subscribed(&["other"]));
    assert_eq!(fixture.state(), GroupState::PreparingRebalance);
    let leader = fixture.join_now(&Join::new().member(&ids[0]));
    assert_eq!(changed.get().generation_id, 2);
    assert_eq!(leader.members[1].metadata, subscription(&["other"]));
    assert!(fixture.group().is_subscribed("other"));
}

#[test]
fn before_the_assignment_a_member_may_ask_for_its_generation_again() {
    let mut fixture = Fixture::new();
    let (leader, follower) = (fixture.join(&Join::new()), fixture.join(&Join::new()));
    fixture.advance(2 * INITIAL_DELAY_MS);
    let (leader, follower) = (leader.get(), follower.get());
    let again = fixture.join_now(&Join::new().member(&leader.member_id));
    assert_eq!(again, leader, "the leader hears of the members again");
    assert_eq!(fixture.join_now(&Join::new().member(&follower.member_id)), follower);
    assert_eq!(fixture.state(), GroupState::CompletingRebalance);
}

#[test]
fn before_the_assignment_other_metadata_begins_another_rebalance() {
    let mut fixture = Fixture::new();
    let (leader, follower) = (fixture.join(&Join::new()), fixture.join(&Join::new()));
    fixture.advance(2 * INITIAL_DELAY_MS);
    let (leader, follower) = (leader.get().member_id, follower.get().member_id);
    let syncing = fixture.sync(&follower, 1, &[]);
    let changed = fixture.join(&Join::new().member(&leader).subscribed(&["other"]));
    assert_eq!(fixture.state(), GroupState::PreparingRebalance);
    assert_sync(&syncing.get(), ErrorCode::RebalanceInProgress);
    fixture.join_now(&Join::new().member(&follower));
    assert_eq!(changed.get().generation_id, 2);
}

#[test]
fn members_that_do_not_join_again_in_time_are_out() {
    let mut fixture = Fixture::new();
    let ids = fixture.stable(&[Join::new(), Join::new(), Join::new()]);
    let mut leader = fixture.join(&Join::new().member(&ids[0]));
    let follower = fixture.join(&Join::new().member(&ids[2]));
    // Its session alone would keep it.
    for _ in 0..REBALANCE_MS / 5_000 - 1 {
        fixture.advance(5_000);
        assert_eq!(fixture.heartbeat(&ids[1], 1), Err(ErrorCode::RebalanceInProgress));
    }
    fixture.advance(4_999);
    assert!(leader.waits());
    fixture.advance(1);
    let leader = leader.get();
    assert_eq!((leader.generation_id, leader.members.len()), (2, 2));
    assert_eq!(follower.get().generation_id, 2);
    assert_eq!(fixture.heartbeat(&ids[1], 2), Err(ErrorCode::UnknownMemberId));
}

#[test]
fn a_leader_that_does_not_join_again_is_replaced() {
    let mut fixture = Fixture::new();
    let ids = fixture.stable(&[Join::new(), Join::new()]);
    let new = fixture.join(&Join::new());
    let follower = fixture.join(&Join::new().member(&ids[1]));
    fixture.advance(REBALANCE_MS as u64);
    let (new, follower) = (new.get(), follower.get());
    assert!(!fixture.is_member(&ids[0]));
    assert_eq!(new.leader, follower.leader);
    let leader = if new.leader == new.member_id { new } else { follower };
    assert_eq!(leader.leader, leader.member_id);
    assert_eq!(leader.members.len(), 2);
}

#[test]
fn a_rebalance_waits_as_long_as_its_slowest_member_asks_for() {
    let mut fixture = Fixture::new();
    let ids = fixture.stable(&[Join::new().rebalance_ms(20_000), Join::new().rebalance_ms(60_000).session_ms(60_000)]);
    let mut leader = fixture.join(&Join::new().rebalance_ms(20_000).member(&ids[0]));
    fixture.advance(59_999);
    assert!(leader.waits());
    fixture.advance(1);
    assert_eq!(leader.get().members.len(), 1);
}

#[test]
fn the_last_member_leaves_an_empty_generation_that_is_stored() {
    let mut fixture = Fixture::new();
    let ids = fixture.stable(&[Join::new()]);
    assert_eq!(fixture.leave(&[(&ids[0], None)]), Ok(vec![ErrorCode::None]));
    let group = fixture.group();
    assert_eq!((group.state, group.generation), (GroupState::Empty, 2));
    assert_eq!((&group.leader, &group.protocol), (&None, &None));
    let stored = fixture.groups.stored().group(GROUP).unwrap().metadata.clone().unwrap();
    assert_eq!((stored.generation, stored.members.len()), (2, 0));
    assert_eq!((&stored.leader, &stored.protocol, &*stored.protocol_type), (&None, &None, "consumer"));
    assert_eq!(stored.current_state_timestamp, fixture.now.wall.0);
}

#[test]
fn the_generation_goes_on_from_where_an_empty_group_was() {
    let mut fixture = Fixture::new();
    let ids = fixture.stable(&[Join::new()]);
    fixture.leave(&[(&ids[0], None)]).unwrap();
    fixture.stable(&[Join::new()]);
    assert_eq!(fixture.group().generation, 3);
}

#[test]
fn generations_start_anew_after_the_largest() {
    let mut fixture = Fixture::new();
    let mut stored = fixture.group_of_generation(i32::MAX);
    stored.members.clear();
    let record = crate::group::records::group(&GROUP.into(), Some(&stored)).unwrap();
    fixture.log.push(record);
    fixture.restart();
    fixture.stable(&[Join::new()]);
    assert_eq!(fixture.group().generation, 0);
}

#[test]
fn a_rebalance_without_members_left_ends_in_an_empty_group() {
    let mut fixture = Fixture::new();
    let ids = fixture.stable(&[Join::new()]);
    fixture.join_now(&Join::new().version(4));
    assert_eq!(fixture.leave(&[(&ids[0], None)]), Ok(vec![ErrorCode::None]));
    // Nobody asks for more time than none.
    fixture.advance(0);
    assert_eq!(fixture.state(), GroupState::Empty);
    assert_eq!(fixture.group().generation, 2);
}

#[test]
fn static_members_that_ask_for_no_wait_are_waited_for_all_the_same() {
    let mut fixture = Fixture::new();
    let impatient = Join::new().instance("a").rebalance_ms(0);
    let ids = fixture.stable(&[impatient.clone(), Join::new().instance("b")]);
    fixture.leave(&[(&ids[1], Some("b"))]).unwrap();
    // The wait for joins is over at once, and again, and must not be so without end.
    fixture.advance(STATIC_MEMBERS_WAIT_MS_MIN);
    assert_eq!(fixture.state(), GroupState::PreparingRebalance);
    let joined = fixture.join_now(&impatient.member(&ids[0]));
    assert_eq!((joined.error_code, joined.generation_id, joined.members.len()), (0, 2, 1));
}

/// However often clients begin anew and however long they ask to be waited for.
#[test]
fn a_group_has_as_many_deadlines_as_it_has_things_to_wait_for() {
    let mut fixture = Fixture::new();
    let patient = Join::new().rebalance_ms(i32::MAX).session_ms(i32::MAX);
    let ids = fixture.stable(std::slice::from_ref(&patient));
    let timers = |fixture: &Fixture| fixture.groups.timers.iter().count();
    // Retention, the member's session, and the wait for its sync.
    assert_eq!(timers(&fixture), 3);
    for _ in 0..100 {
        // A leader that joins again begins a generation.
        assert_join(&fixture.join_now(&patient.clone().member(&ids[0])), ErrorCode::None);
        fixture.settle(&ids);
        // A stranger makes the group wait for its member, and leaves.
        let stranger = fixture.join(&patient);
        assert_eq!(timers(&fixture), 4, "two sessions, and the wait for joins in place of that for syncs");
        let strange_id = fixture.group().members.keys().find(|id| **id != ids[0]).unwrap().clone();
        assert_eq!(fixture.leave(&[(&strange_id, None)]), Ok(vec![ErrorCode::None]));
        assert_join(&stranger.get(), ErrorCode::UnknownMemberId);
        assert_join(&fixture.join_now(&patient.clone().member(&ids[0])), ErrorCode::None);
        fixture.settle(&ids);
        // Another one only asks for an id.
        let given = fixture.join_now(&patient.clone().version(4)).member_id;
        assert_eq!(timers(&fixture), 4);
        assert_eq!(fixture.leave(&[(&given, None)]), Ok(vec![ErrorCode::None]));
        // Its end, too, begins a rebalance.
        assert_join(&fixture.join_now(&patient.clone().member(&ids[0])), ErrorCode::None);
        fixture.settle(&ids);
        assert_eq!(timers(&fixture), 3);
    }
    // A group that goes takes the ids with it that it gave out.
    fixture.leave(&[(&ids[0], None)]).unwrap();
    fixture.join_now(&patient.clone().version(4));
    assert_eq!(timers(&fixture), 2);
    fixture.decide(|groups, out| groups.delete(&GROUP.into(), out)).unwrap();
    assert_eq!(timers(&fixture), 1);
}

impl Fixture {
    /// What is stored of a stable group, as if it were of another generation.
    fn group_of_generation(&mut self, generation: i32) -> wire::records::GroupMetadataValue {
        self.stable(&[Join::new()]);
        let stored = self.groups.stored().group(GROUP).and_then(|stored| stored.metadata.clone()).unwrap();
        wire::records::GroupMetadataValue { generation, ..(*stored).clone() }
    }
}
