//! JoinGroup: who may join, and what the answer says. Kafka's `GroupMetadataManagerTest`, `testJoinGroup…`.

use super::*;
use crate::limits::NEW_MEMBER_JOIN_TIMEOUT_MS;

#[test]
fn the_first_member_leads_the_first_generation() {
    let mut fixture = Fixture::new();
    let mut leader = fixture.join(&Join::new());
    let follower = fixture.join(&Join::new().subscribed(&["other"]));
    assert!(leader.waits());
    assert_eq!(fixture.state(), GroupState::PreparingRebalance);
    fixture.advance(2 * INITIAL_DELAY_MS);
    assert_eq!(fixture.state(), GroupState::CompletingRebalance);
    let (leader, follower) = (leader.get(), follower.get());
    assert_eq!((leader.generation_id, follower.generation_id), (1, 1));
    assert_eq!(leader.leader, leader.member_id);
    assert_eq!(follower.leader, leader.member_id);
    for answer in [&leader, &follower] {
        assert_join(answer, ErrorCode::None);
        assert_eq!(answer.protocol_type.as_deref(), Some("consumer"));
        assert_eq!(answer.protocol_name.as_deref(), Some("range"));
        assert!(!answer.skip_assignment);
    }
    let told: Vec<_> = leader.members.iter().map(|member| (&member.member_id, &member.metadata)).collect();
    let expected = [(&leader.member_id, &subscription(&["topic"])), (&follower.member_id, &subscription(&["other"]))];
    assert_eq!(told, expected);
    assert!(follower.members.is_empty(), "only the leader assigns");
}

#[test]
fn ids_are_made_of_the_client_id_or_the_instance_id() {
    let mut fixture = Fixture::new();
    let dynamic = fixture.join_now(&Join::new().version(4)).member_id;
    assert!(dynamic.starts_with("client-"), "{dynamic}");
    fixture.stable(&[Join::new().instance("instance")]);
    let group = fixture.group();
    let of_static = group.static_member("instance").unwrap();
    assert!(of_static.starts_with("instance-"), "{of_static}");
}

#[test]
fn from_version_4_a_member_joins_with_an_id_that_it_was_given() {
    let mut fixture = Fixture::new();
    let given = fixture.join_now(&Join::new().version(4));
    assert_join(&given, ErrorCode::MemberIdRequired);
    assert_eq!(given.generation_id, -1);
    assert!(!given.member_id.is_empty());
    assert!(!fixture.is_member(&given.member_id));
    assert_eq!(fixture.state(), GroupState::Empty);
    let joining = fixture.join(&Join::new().version(4).member(&given.member_id));
    assert!(fixture.group().pending.is_empty());
    fixture.advance(INITIAL_DELAY_MS);
    let joined = joining.get();
    assert_join(&joined, ErrorCode::None);
    assert_eq!(joined.member_id, given.member_id);
}

#[test]
fn a_static_member_joins_at_once_in_every_version() {
    let mut fixture = Fixture::new();
    let mut joining = fixture.join(&Join::new().version(9).instance("instance"));
    assert!(joining.waits());
    fixture.advance(INITIAL_DELAY_MS);
    assert_join(&joining.get(), ErrorCode::None);
}

#[test]
fn a_given_id_that_is_not_used_in_time_is_forgotten() {
    let mut fixture = Fixture::new();
    let given = fixture.join_now(&Join::new().version(4)).member_id;
    fixture.advance(SESSION_MS as u64 - 1);
    assert!(fixture.group().pending.contains_key(&given));
    fixture.advance(1);
    assert!(fixture.group().pending.is_empty());
    let late = fixture.join_now(&Join::new().version(4).member(&given));
    assert_join(&late, ErrorCode::UnknownMemberId);
    assert_eq!(late.member_id, given);
    fixture.advance(fixture.config.offsets_retention_check_ms);
    assert!(fixture.groups.group(GROUP).is_none(), "nothing is left of the group");
    assert_eq!(fixture.replayed(), Stored::default());
}

/// Whoever was told of it finds it.
#[test]
fn a_join_makes_a_group_that_is_there_until_the_next_check_whatever_becomes_of_it() {
    let member_ids_required = Join::new().version(4);
    let refused = [
        (member_ids_required, ErrorCode::MemberIdRequired),
        (Join::new().protocols(&[]), ErrorCode::InconsistentGroupProtocol),
        (Join::new().instance(&"i".repeat(i16::MAX as usize)), ErrorCode::InvalidRequest),
    ];
    for (join, error) in refused {
        let mut fixture = Fixture::new();
        fixture.hold();
        assert_join(&fixture.join_now(&join), error);
        fixture.release();
        let described = fixture.groups.describe(GROUP).what.unwrap();
        assert_eq!((&*described.group_state, &*described.protocol_type), ("Empty", ""));
        let stale = Who { version: 9, ..Who::member("member", 1) };
        assert_eq!(fixture.commit_as(&stale, "topic", 1), Err(ErrorCode::UnknownMemberId));
        // Another broker that loads it finds it, too.
        fixture.restart();
        assert_eq!((fixture.state(), fixture.group().generation), (GroupState::Empty, 0));
        assert_eq!(fixture.decide(|groups, out| groups.delete(&GROUP.into(), out)), Ok(()));
        assert_eq!(fixture.replayed(), Stored::default());
        assert_join(&fixture.join_now(&join), error);
        fixture.advance(SESSION_MS as u64 + fixture.config.offsets_retention_check_ms);
        assert!(fixture.groups.group(GROUP).is_none());
        assert_eq!((fixture.replayed(), fixture.memory.used()), (Stored::default(), 0));
    }
}

#[test]
fn a_rebalance_waits_for_members_that_were_given_an_id() {
    let mut fixture = Fixture::new();
    let ids = fixture.stable(&[Join::new()]);
    let given = fixture.join_now(&Join::new().version(4)).member_id;
    assert_eq!(fixture.state(), GroupState::Stable, "an id does not begin a rebalance");
    let mut leader = fixture.join(&Join::new().member(&ids[0]));
    assert!(leader.waits());
    let follower = fixture.join(&Join::new().version(4).member(&given));
    assert_eq!(leader.get().members.len(), 2);
    assert_eq!(follower.get().generation_id, 2);
}

#[test]
fn a_rebalance_goes_on_without_a_given_id_that_is_not_used() {
    let mut fixture = Fixture::new();
    let ids = fixture.stable(&[Join::new()]);
    fixture.join_now(&Join::new().version(4));
    let mut leader = fixture.join(&Join::new().member(&ids[0]));
    fixture.advance(SESSION_MS as u64 - 1);
    assert!(leader.waits());
    fixture.advance(1);
    let leader = leader.get();
    assert_eq!((leader.generation_id, leader.members.len()), (2, 1));
}

#[test]
fn a_given_id_is_not_a_static_members() {
    let mut fixture = Fixture::new();
    let given = fixture.join_now(&Join::new().version(5)).member_id;
    let answer = fixture.join_now(&Join::new().member(&given).instance("instance"));
    assert_join(&answer, ErrorCode::UnknownServerError);
    assert_eq!(&*answer.member_id, "");
    assert!(fixture.group().pending.contains_key(&given), "it is still given out");
}

#[test]
fn unknown_members_are_refused() {
    let mut fixture = Fixture::new();
    let stranger = Join::new().member(&"stranger".into());
    assert_join(&fixture.join_now(&stranger), ErrorCode::UnknownMemberId);
    assert!(fixture.groups.group(GROUP).is_none(), "no group is made for a stranger");
    fixture.stable(&[Join::new()]);
    let refused = fixture.join_now(&stranger);
    assert_join(&refused, ErrorCode::UnknownMemberId);
    assert_eq!((&*refused.member_id, refused.generation_id), ("stranger", -1));
    assert_join(&fixture.join_now(&stranger.instance("instance")), ErrorCode::UnknownMemberId);
    assert_eq!(fixture.state(), GroupState::Stable);
}

#[test]
fn a_member_of_a_group_that_became_empty_is_unknown() {
    let mut fixture = Fixture::new();
    let ids = fixture.stable(&[Join::new()]);
    fixture.leave(&[(&ids[0], None)]).unwrap();
    assert_eq!(fixture.state(), GroupState::Empty);
    assert_join(&fixture.join_now(&Join::new().member(&ids[0])), ErrorCode::UnknownMemberId);
}

#[test]
fn a_first_member_needs_a_protocol_and_its_type() {
    let mut fixture = Fixture::new();
    for join in [Join::new().protocol_type(""), Join::new().protocols(&[])] {
        let refused = fixture.join_now(&join);
        assert_join(&refused, ErrorCode::InconsistentGroupProtocol);
        assert_eq!(&*refused.member_id, "");
        assert_eq!((fixture.state(), &fixture.group().protocol_type), (GroupState::Empty, &None));
    }
}

#[test]
fn members_must_share_a_protocol_and_its_type() {
    let mut fixture = Fixture::new();
    let ids = fixture.stable(&[Join::new().protocols(&["a", "b"]), Join::new().protocols(&["b", "c"])]);
    let strangers = [
        Join::new().protocols(&["a"]),
        Join::new().protocols(&["c", "d"]),
        Join::new().protocols(&["b"]).protocol_type("connect"),
        Join::new().protocols(&[]),
    ];
    for join in strangers {
        assert_join(&fixture.join_now(&join), ErrorCode::InconsistentGroupProtocol);
        let known = join.member(&ids[1]);
        let refused = fixture.join_now(&known);
        assert_join(&refused, ErrorCode::InconsistentGroupProtocol);
        assert_eq!(refused.member_id, ids[1]);
    }
    assert_eq!(fixture.state(), GroupState::Stable);
    let mut joining = fixture.join(&Join::new().protocols(&["d", "b"]));
    assert!(joining.waits());
}

#[test]
fn an_empty_group_takes_any_protocol_again() {
    let mut fixture = Fixture::new();
    let ids = fixture.stable(&[Join::new()]);
    fixture.leave(&[(&ids[0], None)]).unwrap();
    fixture.stable(&[Join::new().protocol_type("connect").protocols(&["sessioned"])]);
    let group = fixture.group();
    assert_eq!((group.protocol_type.as_deref(), group.protocol.as_deref()), (Some("connect"), Some("sessioned")));
}

#[test]
fn the_protocol_is_the_one_that_most_members_prefer_among_those_that_all_have() {
    let vote = |preferences: &[&[&'static str]]| {
        let mut fixture = Fixture::new();
        let joins: Vec<_> = preferences.iter().map(|names| Join::new().protocols(names)).collect();
        fixture.stable(&joins);
        fixture.group().protocol.as_deref().map(str::to_owned)
    };
    assert_eq!(vote(&[&["a", "b"], &["b", "a"], &["b", "a"]]).as_deref(), Some("b"));
    assert_eq!(vote(&[&["a", "b", "c"], &["a", "c"], &["c"]]).as_deref(), Some("c"), "only c is everybody's");
    // Kafka leaves ties to the order of a hash map; here it is the leader's.
    assert_eq!(vote(&[&["a", "b"], &["b", "a"]]).as_deref(), Some("a"));
    assert_eq!(vote(&[&["b", "a"], &["a", "b"]]).as_deref(), Some("b"));
}

#[test]
fn a_member_has_no_vote_for_a_protocol_that_it_gave_up() {
    let mut fixture = Fixture::new();
    let ids = fixture.stable(&[Join::new().protocols(&["a", "b"]), Join::new().protocols(&["a", "b"])]);
    let first = fixture.join(&Join::new().protocols(&["b"]).member(&ids[0]));
    assert_join(&fixture.join_now(&Join::new().protocols(&["a"])), ErrorCode::InconsistentGroupProtocol);
    let second = fixture.join(&Join::new().protocols(&["a", "b"]).member(&ids[1]));
    assert_eq!(first.get().protocol_name.as_deref(), Some("b"));
    assert_eq!(second.get().protocol_name.as_deref(), Some("b"));
}

#[test]
fn a_full_group_takes_nobody_else() {
    let mut fixture = Fixture::with(GroupConfig { members_max: 2, ..GroupConfig::default() });
    let (first, second) = (fixture.join(&Join::new()), fixture.join(&Join::new()));
    // While it prepares, those who wait are counted.
    let refused = fixture.join_now(&Join::new());
    assert_join(&refused, ErrorCode::GroupMaxSizeReached);
    assert_eq!(&*refused.member_id, "");
    fixture.advance(2 * INITIAL_DELAY_MS);
    let ids = [first.get().member_id, second.get().member_id];
    assert_join(&fixture.join_now(&Join::new()), ErrorCode::GroupMaxSizeReached);
    fixture.settle(&ids);
    assert_join(&fixture.join_now(&Join::new()), ErrorCode::GroupMaxSizeReached);
    assert_join(&fixture.join_now(&Join::new().version(4)), ErrorCode::GroupMaxSizeReached);
    assert_eq!(fixture.state(), GroupState::Stable);
    assert_join(&fixture.join_now(&Join::new().member(&ids[1])), ErrorCode::None);
}

#[test]
fn given_ids_beyond_the_size_are_refused_when_they_are_used() {
    let mut fixture = Fixture::with(GroupConfig { members_max: 1, ..GroupConfig::default() });
    let given: Vec<_> = (0..3).map(|_| fixture.join_now(&Join::new().version(4)).member_id).collect();
    let mut first = fixture.join(&Join::new().version(4).member(&given[0]));
    assert!(first.waits());
    for id in &given[1..] {
        assert_join(&fixture.join_now(&Join::new().version(4).member(id)), ErrorCode::GroupMaxSizeReached);
    }
    assert!(fixture.group().pending.is_empty());
    fixture.advance(INITIAL_DELAY_MS);
    assert_join(&first.get(), ErrorCode::None);
}

#[test]
fn a_loaded_group_that_is_too_large_now_rebalances_and_leaves_the_last_out() {
    let mut fixture = Fixture::new();
    let ids = fixture.stable(&[Join::new(), Join::new(), Join::new()]);
    fixture.config = Arc::new(GroupConfig { members_max: 2, ..GroupConfig::default() });
    fixture.restart();
    assert_eq!(fixture.state(), GroupState::PreparingRebalance);
    let first = fixture.join(&Join::new().member(&ids[0]));
    let second = fixture.join(&Join::new().member(&ids[1]));
    assert_join(&fixture.join_now(&Join::new().member(&ids[2])), ErrorCode::GroupMaxSizeReached);
    assert!(!fixture.is_member(&ids[2]));
    fixture.advance(REBALANCE_MS as u64);
    assert_eq!(first.get().generation_id, 2);
    assert_eq!(second.get().generation_id, 2);
}

#[test]
fn version_0_waits_as_long_as_its_session() {
    let mut fixture = Fixture::new();
    let join = Join { rebalance_ms: -1, ..Join::new().version(0) };
    fixture.stable(&[join]);
    assert_eq!(fixture.group().rebalance_timeout_ms(), SESSION_MS as u64);
}

#[test]
fn a_new_member_that_waits_has_no_session_but_a_long_stop() {
    let mut fixture = Fixture::new();
    let ids = fixture.stable(&[Join::new().rebalance_ms(2 * NEW_MEMBER_JOIN_TIMEOUT_MS as i32)]);
    let mut new = fixture.join(&Join::new());
    // The leader stays without joining again.
    for _ in 0..NEW_MEMBER_JOIN_TIMEOUT_MS / 5_000 - 1 {
        fixture.advance(5_000);
        assert_eq!(fixture.heartbeat(&ids[0], 1), Err(ErrorCode::RebalanceInProgress));
        assert!(new.waits());
    }
    fixture.advance(5_000);
    let new = new.get();
    assert_join(&new, ErrorCode::UnknownMemberId);
    assert_eq!(&*new.member_id, "");
    assert_eq!(fixture.group().members.len(), 1);
}

#[test]
fn an_id_that_no_record_could_hold_is_refused() {
    let mut fixture = Fixture::new();
    let join = Join::new().instance(&"i".repeat(i16::MAX as usize));
    assert_join(&fixture.join_now(&join), ErrorCode::InvalidRequest);
    assert!(fixture.group().is_abandoned());
}
