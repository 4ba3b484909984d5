//! DescribeGroups, ListGroups and DeleteGroups.

use super::*;

/// The group in each of its states, with the state's name.
fn in_each_state() -> Vec<(Fixture, &'static str)> {
    let mut empty = Fixture::new();
    let ids = empty.stable(&[Join::new()]);
    empty.leave(&[(&ids[0], None)]).unwrap();
    let mut preparing = Fixture::new();
    preparing.join(&Join::new());
    let mut completing = Fixture::new();
    completing.join(&Join::new());
    completing.advance(INITIAL_DELAY_MS);
    let mut stable = Fixture::new();
    stable.stable(&[Join::new()]);
    vec![(empty, "Empty"), (preparing, "PreparingRebalance"), (completing, "CompletingRebalance"), (stable, "Stable")]
}

#[test]
fn groups_are_described_in_every_state() {
    assert_eq!(Fixture::new().groups.describe(GROUP).what, None);
    for (fixture, state) in in_each_state() {
        let described = fixture.groups.describe(GROUP).what.unwrap();
        assert_eq!((&*described.group_id, &*described.group_state), (GROUP, state));
        assert_eq!((described.error_code, &*described.protocol_type), (0, "consumer"));
        assert_eq!(described.members.len(), usize::from(state != "Empty"));
        let stable = state == "Stable";
        assert_eq!(&*described.protocol_data, if stable { "range" } else { "" });
        for member in &described.members {
            assert_eq!((&*member.client_id, &*member.client_host), ("client", "/127.0.0.1"));
            assert_eq!(member.member_metadata, if stable { subscription(&["topic"]) } else { Bytes::new() });
            assert_eq!(member.member_assignment, if stable { "0" } else { "" });
        }
    }
}

#[test]
fn during_a_rebalance_members_are_described_with_what_they_are_assigned_still() {
    let mut fixture = Fixture::new();
    fixture.stable(&[Join::new().instance("instance")]);
    fixture.join(&Join::new());
    let described = fixture.groups.describe(GROUP).what.unwrap();
    let of_static = described.members.iter().find(|member| member.group_instance_id.is_some()).unwrap();
    assert_eq!(of_static.group_instance_id.as_deref(), Some("instance"));
    assert_eq!((&of_static.member_assignment[..], &of_static.member_metadata[..]), (&b"0"[..], &b""[..]));
}

#[test]
fn a_group_that_only_commits_has_no_protocol_type() {
    let mut fixture = Fixture::new();
    fixture.commit_simple("topic", 1).unwrap();
    let described = fixture.groups.describe(GROUP).what.unwrap();
    assert_eq!((&*described.group_state, &*described.protocol_type), ("Empty", ""));
    assert_eq!(fixture.groups.list(&[], &[]).what[0].protocol_type, "");
}

#[test]
fn groups_are_listed_by_state_and_type() {
    for (fixture, state) in in_each_state() {
        let list = |states: &[&str], types: &[&str]| {
            let names = |names: &[&str]| names.iter().map(|name| Str::from(*name)).collect::<Vec<_>>();
            fixture.groups.list(&names(states), &names(types)).what
        };
        let all = list(&[], &[]);
        assert_eq!(all.len(), 1);
        assert_eq!((&*all[0].group_id, &*all[0].group_state), (GROUP, state));
        assert_eq!((&*all[0].protocol_type, &*all[0].group_type), ("consumer", "classic"));
        assert_eq!(list(&[state], &[]), all);
        assert_eq!(list(&["Dead", &format!(" {} ", state.to_lowercase())], &["Consumer", "CLASSIC"]), all);
        // Java's space: an older one than Unicode's.
        assert_eq!(list(&[&format!("\0\t{state}\u{1f}")], &[]), all);
        assert!(list(&[&format!("\u{a0}{state}")], &[]).is_empty());
        assert!(list(&[], &[" classic"]).is_empty(), "types are taken as they are");
        assert!(list(&["Dead", "Assigning"], &[]).is_empty());
        assert!(list(&[state], &["consumer", "share"]).is_empty());
    }
}

#[test]
fn only_empty_groups_are_deleted() {
    let delete = |fixture: &mut Fixture| fixture.decide(|groups, out| groups.delete(&GROUP.into(), out));
    assert_eq!(delete(&mut Fixture::new()), Err(ErrorCode::GroupIdNotFound));
    for (mut fixture, state) in in_each_state() {
        let expected = if state == "Empty" { Ok(()) } else { Err(ErrorCode::NonEmptyGroup) };
        assert_eq!(delete(&mut fixture), expected, "{state}");
        assert_eq!(fixture.groups.group(GROUP).is_none(), state == "Empty");
    }
}

#[test]
fn a_deleted_group_takes_its_offsets_with_it() {
    let mut fixture = Fixture::new();
    let ids = fixture.stable(&[Join::new()]);
    fixture.commit_as(&Who::member(&ids[0], 1), "topic", 1).unwrap();
    fixture.leave(&[(&ids[0], None)]).unwrap();
    fixture.commit_simple("other", 1).unwrap();
    let before = fixture.log.len();
    fixture.decide(|groups, out| groups.delete(&GROUP.into(), out)).unwrap();
    assert!(fixture.log[before..].iter().all(|record| record.value.is_none()));
    assert_eq!(fixture.log.len() - before, 3);
    assert_eq!(*fixture.groups.stored(), Stored::default());
    assert_eq!(fixture.replayed(), Stored::default());
    fixture.restart();
    assert!(fixture.groups.group(GROUP).is_none());
    // A group of the same name starts anew.
    fixture.stable(&[Join::new()]);
    assert_eq!(fixture.group().generation, 1);
}

/// Whether the present looks of the group, and of all, show nothing that a crash could take back.
fn is_shown_durably(fixture: &Fixture) -> bool {
    let (group, all) = (fixture.groups.describe(GROUP), fixture.groups.list(&[], &[]));
    assert_eq!(group.is_durable, all.is_durable, "there is no other group");
    assert!(fixture.groups.describe("another").is_durable);
    group.is_durable
}

#[test]
fn what_is_shown_of_a_group_follows_from_offsets_only_when_it_comes_or_goes_with_them() {
    let mut fixture = Fixture::new();
    fixture.hold();
    fixture.commit_simple("topic", 1).unwrap();
    assert!(fixture.groups.describe(GROUP).what.is_some());
    assert!(!is_shown_durably(&fixture), "it is there because of an offset");
    fixture.release();
    assert!(is_shown_durably(&fixture));
    fixture.hold();
    fixture.commit_simple("topic", 2).unwrap();
    assert!(is_shown_durably(&fixture), "it was there before");
    fixture.release();
    fixture.hold();
    fixture.decide(|groups, out| groups.delete(&GROUP.into(), out)).unwrap();
    assert_eq!(fixture.groups.describe(GROUP).what, None);
    assert!(!is_shown_durably(&fixture), "its end could be taken back");
    fixture.join(&Join::new());
    assert!(!is_shown_durably(&fixture), "so could that there was another");
    fixture.release();
    assert!(is_shown_durably(&fixture));
    assert!(fixture.groups.describe(GROUP).what.is_some());
}

#[test]
fn a_group_that_expired_with_its_offsets_is_not_shown_as_gone_before_that_is_durable() {
    let mut fixture = Fixture::new();
    fixture.commit_simple("topic", 1).unwrap();
    fixture.hold();
    fixture.advance(8 * 24 * 60 * 60 * 1000);
    assert_eq!(fixture.groups.describe(GROUP).what, None);
    assert!(!is_shown_durably(&fixture));
    fixture.release();
    assert!(is_shown_durably(&fixture));
}

/// Members are soft state, of which nothing is stored until their leader has assigned.
#[test]
fn what_is_shown_of_members_follows_from_the_log_only_while_their_generation_is_being_stored() {
    let mut fixture = Fixture::new();
    fixture.hold();
    let joined = fixture.join(&Join::new());
    assert!(!is_shown_durably(&fixture), "that there is a group is being stored");
    fixture.release();
    fixture.hold();
    assert!(is_shown_durably(&fixture));
    fixture.advance(2 * INITIAL_DELAY_MS);
    let id = joined.get().member_id;
    assert!(is_shown_durably(&fixture));
    let synced = fixture.sync(&id, 1, &[(&id, "0")]);
    assert!(!is_shown_durably(&fixture));
    fixture.release();
    assert_eq!(synced.get().error_code, 0);
    assert!(is_shown_durably(&fixture));
    fixture.hold();
    fixture.commit_as(&Who::member(&id, 1), "topic", 1).unwrap();
    assert!(is_shown_durably(&fixture), "its offsets do not show");
    fixture.leave(&[(&id, None)]).unwrap();
    assert_eq!(&*fixture.groups.describe(GROUP).what.unwrap().group_state, "Empty");
    assert!(!is_shown_durably(&fixture), "that it is empty is to be stored");
    fixture.release();
    assert!(is_shown_durably(&fixture));
}
