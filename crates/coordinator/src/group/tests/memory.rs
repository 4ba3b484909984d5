//! What groups may take in memory.

use super::*;
use crate::limits::{GROUP_BYTES_MIN, NEW_GROUPS_BYTES_MAX};

const ROOM: u64 = 1 << 30;

/// Three members of ten thousand bytes, counted twice, fit.
fn fixture(group_bytes_max: u64, bytes_max: u64, pending_bytes_max: u64) -> Fixture {
    Fixture::with_memory(GroupConfig::default(), GroupsMemory::new(group_bytes_max, bytes_max, pending_bytes_max))
}

fn heavy() -> Join {
    Join { protocols: vec![("range", Bytes::from(vec![0; 10_000]))], ..Join::new() }
}

#[test]
fn a_group_whose_members_take_too_much_refuses_more_as_one_that_has_too_many() {
    let mut fixture = fixture(70_000, ROOM, ROOM);
    let waiting: Vec<_> = (0..3).map(|_| fixture.join(&heavy())).collect();
    assert_join(&fixture.join_now(&heavy()), ErrorCode::GroupMaxSizeReached);
    // Of other groups there is nothing to say, nor of members that need less.
    let small = fixture.join(&Join::new());
    fixture.advance(2 * INITIAL_DELAY_MS);
    for answer in waiting.into_iter().chain([small]) {
        assert_join(&answer.get(), ErrorCode::None);
    }
    assert_eq!(fixture.group().members.len(), 4);
}

#[test]
fn who_joins_while_all_groups_take_too_much_is_told_to_ask_again() {
    let mut fixture = fixture(ROOM, 70_000, ROOM);
    let ids = fixture.stable(&[heavy(), heavy(), heavy()]);
    assert_join(&fixture.join_now(&heavy()), ErrorCode::CoordinatorLoadInProgress);
    assert_eq!(fixture.heartbeat(&ids[1], 1), Ok(()), "the group goes on");
    fixture.leave(&[(&ids[2], None)]).unwrap();
    assert!(fixture.join(&heavy()).waits(), "there is room again");
}

#[test]
fn a_member_cannot_grow_beyond_the_room_there_is() {
    let mut fixture = fixture(70_000, ROOM, ROOM);
    let ids = fixture.stable(&[heavy(), heavy()]);
    let heavier = Join { protocols: vec![("range", Bytes::from(vec![1; 30_000]))], ..Join::new() };
    let refused = fixture.join_now(&heavier.clone().member(&ids[0]));
    assert_join(&refused, ErrorCode::GroupMaxSizeReached);
    assert_eq!((&refused.member_id, fixture.state()), (&ids[0], GroupState::Stable));
    let heavier = Join { protocols: vec![("range", Bytes::from(vec![1; 20_000]))], ..heavier };
    assert!(fixture.join(&heavier.member(&ids[0])).waits());
    assert_eq!(fixture.state(), GroupState::PreparingRebalance);
}

#[test]
fn a_static_member_that_comes_back_larger_than_there_is_room_keeps_its_place() {
    let mut fixture = fixture(40_000, ROOM, ROOM);
    let ids = fixture.stable(&[heavy().instance("a")]);
    let heavier = Join { protocols: vec![("range", Bytes::from(vec![1; 30_000]))], ..Join::new() };
    assert_join(&fixture.join_now(&heavier.instance("a")), ErrorCode::GroupMaxSizeReached);
    assert!(fixture.is_member(&ids[0]));
}

#[test]
fn ids_are_given_out_while_there_is_room_for_them() {
    let mut fixture = fixture(ROOM, ROOM, 100_000);
    let asks = Join::new().version(4);
    let mut given = Vec::new();
    let last = loop {
        let answer = fixture.join_now(&asks);
        if answer.error_code != ErrorCode::MemberIdRequired.code() {
            break answer;
        }
        given.push(answer.member_id);
        assert!(given.len() < 100, "ids are given out without end");
    };
    assert_join(&last, ErrorCode::CoordinatorLoadInProgress);
    assert!(given.len() > 50);
    assert_eq!(fixture.group().pending.len(), given.len());
    // Whoever has one joins with it, and makes room for another.
    assert!(fixture.join(&asks.clone().member(&given[0])).waits());
    assert_join(&fixture.join_now(&asks), ErrorCode::MemberIdRequired);
}

#[test]
fn what_members_held_is_given_back_when_they_go() {
    let mut fixture = fixture(ROOM, ROOM, ROOM);
    let ids = fixture.stable(&[heavy(), heavy().instance("a")]);
    assert_join(&fixture.join_now(&Join::new().version(4)), ErrorCode::MemberIdRequired);
    assert!(fixture.memory.used() > 40_000);
    // A load finds what there was, and holds it instead; ids are forgotten.
    let before = fixture.memory.used();
    fixture.restart();
    assert!(fixture.memory.used() > 40_000 && fixture.memory.used() < before, "{}", fixture.memory.used());
    fixture.leave(&[(&ids[0], None), (&ids[1], None)]).unwrap();
    assert_eq!(fixture.memory.used(), 0);
}

/// Names are free.
#[test]
fn joins_with_any_names_leave_only_so_many_groups_behind_and_the_next_check_none() {
    let mut fixture = Fixture::new();
    let join = |fixture: &mut Fixture, at: usize| {
        let group_id = format!("{at}{}", "g".repeat(30_000)).into();
        let request = JoinGroupRequest { group_id, protocols: Vec::new(), ..Join::new().request() };
        let answer = fixture.decide(|groups, out| groups.join(&Join::new().client(), &request, out));
        assert_join(&Waiting(answer).get(), ErrorCode::InconsistentGroupProtocol);
    };
    let room = NEW_GROUPS_BYTES_MAX as usize / (4 * 30_000 + GROUP_BYTES_MIN);
    (0..2 * room).for_each(|at| join(&mut fixture, at));
    let there = fixture.groups.live.len();
    assert!((room / 2..=room).contains(&there), "{there} groups");
    assert_eq!((fixture.log.len(), fixture.groups.stored().record_count() as usize), (there, there));
    // Who is in a group is in it all the same.
    let ids = fixture.stable(&[Join::new()]);
    fixture.leave(&[(&ids[0], None)]).unwrap();
    fixture.advance(fixture.config.offsets_retention_check_ms + 1_000);
    assert_eq!((fixture.groups.live.len(), fixture.memory.used()), (0, 0));
    assert_eq!(fixture.replayed(), Stored::default());
    join(&mut fixture, 0);
    assert_eq!(fixture.groups.live.len(), 1, "there is room again");
}

#[test]
fn a_new_group_with_offsets_takes_no_room_from_others_for_as_long_as_it_has_them() {
    let mut fixture = Fixture::new();
    let refused = JoinGroupRequest { protocols: Vec::new(), ..Join::new().request() };
    let answer = fixture.decide(|groups, out| groups.join(&Join::new().client(), &refused, out));
    assert_join(&Waiting(answer).get(), ErrorCode::InconsistentGroupProtocol);
    assert!(fixture.memory.used() > 0);
    fixture.commit_simple("topic", 1).unwrap();
    assert_eq!(fixture.memory.used(), 0);
}

/// A commit with any name makes a group that is kept for days.
#[test]
fn beyond_the_room_for_all_groups_and_their_offsets_no_group_is_made_and_those_that_are_there_go_on() {
    let memory = GroupsMemory::default().with_stored_max(10 * GROUP_BYTES_MIN as u64);
    let mut fixture = Fixture::with_memory(GroupConfig::default(), memory);
    fixture.commit_simple("topic", 1).unwrap();
    let commit = |fixture: &mut Fixture, group: &str| {
        let (group, member) = (Str::from(group), Str::default());
        let offset = new_offset("topic", 0, 1).encode(&group, fixture.now.wall, None, &fixture.config);
        let committer = Committer { version: 9, group: &group, generation: -1, member: &member, instance: None };
        fixture.decide(|groups, out| groups.commit(&committer, vec![offset], out))
    };
    let full = Err(ErrorCode::CoordinatorLoadInProgress);
    let made = (0..20).find(|at| commit(&mut fixture, &at.to_string()) == full).expect("it is full at some time");
    assert!((5..10).contains(&made), "{made} groups");
    assert_eq!(fixture.groups.live.len(), 1 + made);
    // A join with a name of its own makes one, too.
    let request = JoinGroupRequest { group_id: "another".into(), ..Join::new().request() };
    let joined = fixture.decide(|groups, out| groups.join(&Join::new().client(), &request, out));
    assert_join(&Waiting(joined).get(), ErrorCode::CoordinatorLoadInProgress);
    // Those that are there go on.
    assert_eq!(commit(&mut fixture, "0"), Ok(vec![Ok(())]));
    fixture.stable(&[Join::new()]);
    // A load finds what there was.
    let held = fixture.memory.stored();
    fixture.restart();
    assert_eq!((fixture.groups.live.len(), fixture.memory.stored()), (1 + made, held));
    assert_eq!(commit(&mut fixture, "another"), full);
    fixture.decide(|groups, out| groups.delete(&"0".into(), out)).unwrap();
    assert_eq!(commit(&mut fixture, "another"), Ok(vec![Ok(())]), "there is room again");
}

#[test]
fn what_offsets_take_is_held_until_they_go() {
    let mut fixture = Fixture::new();
    fixture.commit_simple("topic", 1).unwrap();
    let of_group = fixture.memory.stored();
    let metadata = Some(Str::from("m".repeat(4_000)));
    let offsets: Vec<_> = (0..100)
        .map(|partition| NewOffset { metadata: metadata.clone(), ..new_offset("heavy", partition, 1) })
        .collect();
    for _ in 0..2 {
        fixture.commit_all(&Who::default(), None, &offsets).unwrap();
        let held = fixture.memory.stored() - of_group;
        assert!((350_000..=450_000).contains(&held), "{held}");
    }
    fixture.restart();
    let held = fixture.memory.stored() - of_group;
    assert!((350_000..=450_000).contains(&held), "{held}");
    fixture.decide(|groups, out| groups.delete(&GROUP.into(), out)).unwrap();
    assert_eq!((fixture.memory.stored(), fixture.groups.stored().bytes()), (0, 0));
}
