//! Retention of offsets, and what remains of groups. Kafka's `ClassicGroup.offsetExpirationCondition` and
//! `OffsetMetadataManager.cleanupExpiredOffsets`.

use super::*;
use crate::limits::GROUPS_WALK_OFFSETS_MAX;

const RETENTION_MS: u64 = 1_000_000;
const CHECK_MS: u64 = 1_000;

fn fixture() -> Fixture {
    Fixture::with(GroupConfig {
        offsets_retention_ms: RETENTION_MS as i64,
        offsets_retention_check_ms: CHECK_MS,
        ..GroupConfig::default()
    })
}

/// Lets time pass in which the members stay.
fn advance_with(fixture: &mut Fixture, members: &[Str], ms: u64) {
    let generation = fixture.group().generation;
    let step = SESSION_MS as u64 / 2;
    for at in (0..ms).step_by(step as usize) {
        fixture.advance(step.min(ms - at));
        for member in members {
            assert_eq!(fixture.heartbeat(member, generation), Ok(()));
        }
    }
}

#[test]
fn offsets_of_a_consumer_that_assigns_itself_age_from_their_commit() {
    let mut fixture = fixture();
    fixture.commit_simple("first", 1).unwrap();
    fixture.advance(RETENTION_MS / 2);
    fixture.commit_simple("second", 1).unwrap();
    fixture.advance(RETENTION_MS / 2 - 1);
    assert!(fixture.committed("first").is_some());
    fixture.advance(1);
    assert!(fixture.committed("first").is_none());
    assert!(fixture.committed("second").is_some());
    fixture.advance(RETENTION_MS / 2);
    assert!(fixture.groups.group(GROUP).is_none(), "without offsets there is no group");
    assert_eq!(*fixture.groups.stored(), Stored::default());
    assert_eq!(fixture.replayed(), Stored::default());
}

#[test]
fn a_commit_makes_its_offset_young_again() {
    let mut fixture = fixture();
    fixture.commit_simple("topic", 1).unwrap();
    fixture.advance(RETENTION_MS - 1);
    fixture.commit_simple("topic", 1).unwrap();
    fixture.advance(RETENTION_MS - 1);
    assert!(fixture.committed("topic").is_some());
}

#[test]
fn offsets_of_an_empty_group_age_from_when_it_became_empty() {
    let mut fixture = fixture();
    let ids = fixture.stable(&[Join::new()]);
    fixture.commit_as(&Who::member(&ids[0], 1), "topic", 1).unwrap();
    advance_with(&mut fixture, &ids, 2 * RETENTION_MS);
    fixture.leave(&[(&ids[0], None)]).unwrap();
    let generation = fixture.log.len();
    fixture.advance(RETENTION_MS - 1);
    assert!(fixture.committed("topic").is_some());
    fixture.advance(CHECK_MS);
    assert!(fixture.groups.group(GROUP).is_none());
    let tombstones = &fixture.log[generation..];
    assert_eq!(tombstones.len(), 2, "of the offset and of the group");
    assert!(tombstones.iter().all(|record| record.value.is_none()));
    assert_eq!(fixture.replayed(), Stored::default());
}

#[test]
fn the_age_of_an_empty_group_outlives_a_load() {
    let mut fixture = fixture();
    let ids = fixture.stable(&[Join::new()]);
    fixture.commit_as(&Who::member(&ids[0], 1), "topic", 1).unwrap();
    advance_with(&mut fixture, &ids, RETENTION_MS);
    fixture.leave(&[(&ids[0], None)]).unwrap();
    fixture.advance(RETENTION_MS / 2);
    fixture.restart();
    fixture.advance(RETENTION_MS / 2 - CHECK_MS);
    assert!(fixture.committed("topic").is_some());
    fixture.advance(2 * CHECK_MS);
    assert!(fixture.committed("topic").is_none());
}

#[test]
fn an_empty_group_that_no_record_dates_ages_with_its_commits() {
    let mut fixture = fixture();
    let ids = fixture.stable(&[Join::new()]);
    fixture.commit_as(&Who::member(&ids[0], 1), "topic", 1).unwrap();
    advance_with(&mut fixture, &ids, RETENTION_MS / 2);
    fixture.leave(&[(&ids[0], None)]).unwrap();
    let mut stored = (**fixture.groups.stored().group(GROUP).unwrap().metadata.as_ref().unwrap()).clone();
    stored.current_state_timestamp = -1;
    fixture.log.push(crate::group::records::group(&GROUP.into(), Some(&stored)).unwrap());
    fixture.restart();
    fixture.advance(RETENTION_MS / 2 + CHECK_MS);
    assert!(fixture.groups.group(GROUP).is_none());
}

#[test]
fn members_keep_the_offsets_of_topics_that_they_subscribe_to() {
    let mut fixture = fixture();
    let ids = fixture.stable(&[Join::new(), Join::new().subscribed(&["other"])]);
    for topic in ["topic", "other", "former"] {
        fixture.commit_as(&Who::member(&ids[0], 1), topic, 1).unwrap();
    }
    advance_with(&mut fixture, &ids, RETENTION_MS - 1);
    assert!(fixture.committed("former").is_some());
    advance_with(&mut fixture, &ids, CHECK_MS);
    assert!(fixture.committed("former").is_none(), "nobody subscribes to it");
    assert!(fixture.committed("topic").is_some() && fixture.committed("other").is_some());
    advance_with(&mut fixture, &ids, 2 * RETENTION_MS);
    assert!(fixture.committed("topic").is_some() && fixture.committed("other").is_some());
    assert_eq!(fixture.state(), GroupState::Stable);
}

#[test]
fn members_whose_subscriptions_cannot_be_told_keep_everything() {
    for join in [Join::new().protocols(&["opaque"]), Join::new().protocol_type("connect")] {
        let mut fixture = fixture();
        let ids = fixture.stable(&[join]);
        fixture.commit_as(&Who::member(&ids[0], 1), "topic", 1).unwrap();
        advance_with(&mut fixture, &ids, 2 * RETENTION_MS);
        assert!(fixture.committed("topic").is_some());
    }
}

#[test]
fn nothing_expires_during_a_rebalance() {
    let mut fixture = fixture();
    let ids = fixture.stable(&[Join::new().rebalance_ms(4 * RETENTION_MS as i32)]);
    fixture.commit_as(&Who::member(&ids[0], 1), "former", 1).unwrap();
    let joining = fixture.join_now(&Join::new().version(4).session_ms(1_800_000)).member_id;
    let again = Join::new().member(&ids[0]).rebalance_ms(4 * RETENTION_MS as i32);
    let mut leader = fixture.join(&again);
    fixture.advance(RETENTION_MS + 2 * CHECK_MS);
    assert!(leader.waits());
    assert!(fixture.group().pending.contains_key(&joining));
    assert!(fixture.committed("former").is_some());
}

#[test]
fn an_offset_ages_from_the_commit_time_of_its_request() {
    let mut fixture = fixture();
    let earlier = Some(WALL_MS - RETENTION_MS as i64 / 2);
    let offsets = [NewOffset { commit_timestamp: earlier, ..new_offset("earlier", 0, 1) }, new_offset("now", 0, 1)];
    fixture.commit_all(&Who::default(), None, &offsets).unwrap();
    fixture.advance(RETENTION_MS / 2 - 1);
    assert!(fixture.committed("earlier").is_some());
    fixture.advance(1);
    assert!(fixture.committed("earlier").is_none() && fixture.committed("now").is_some());
}

#[test]
fn an_offset_with_a_retention_of_its_own_expires_by_that() {
    let mut fixture = fixture();
    let own = |fixture: &mut Fixture, topic, retention_ms| {
        fixture.commit_all(&Who::default(), Some(retention_ms), &[new_offset(topic, 0, 1)]).unwrap();
    };
    own(&mut fixture, "short", 10_000);
    own(&mut fixture, "long", 3 * RETENTION_MS as i64);
    fixture.commit_simple("default", 1).unwrap();
    fixture.advance(9_999);
    assert!(fixture.committed("short").is_some());
    fixture.advance(1);
    assert!(fixture.committed("short").is_none());
    fixture.restart();
    fixture.advance(2 * RETENTION_MS);
    assert!(fixture.committed("default").is_none());
    assert!(fixture.committed("long").is_some(), "its expiry time is stored");
    fixture.advance(RETENTION_MS);
    assert!(fixture.committed("long").is_none());
}

#[test]
fn an_empty_group_without_offsets_is_gone_at_the_next_check() {
    let mut fixture = fixture();
    let ids = fixture.stable(&[Join::new()]);
    fixture.leave(&[(&ids[0], None)]).unwrap();
    assert_eq!(fixture.state(), GroupState::Empty);
    fixture.advance(CHECK_MS);
    assert!(fixture.groups.group(GROUP).is_none());
    assert_eq!(*fixture.groups.stored(), Stored::default());
}

#[test]
fn a_group_whose_end_is_being_written_waits_for_the_next_check() {
    let mut fixture = fixture();
    let _joining = fixture.join(&Join::new());
    fixture.advance(INITIAL_DELAY_MS);
    // The last session ends at the time of a check, so that one decision does both.
    fixture.advance(SESSION_MS as u64);
    assert_eq!(fixture.state(), GroupState::Empty);
    fixture.advance(CHECK_MS);
    assert!(fixture.groups.group(GROUP).is_none());
    assert_eq!(*fixture.groups.stored(), Stored::default());
}

#[test]
fn the_offsets_of_deleted_topics_go_with_them() {
    let mut fixture = fixture();
    let ids = fixture.stable(&[Join::new()]);
    for topic in ["topic", "other"] {
        fixture.commit_as(&Who::member(&ids[0], 1), topic, 1).unwrap();
    }
    delete_topics(&mut fixture, &[("topic", FIRST_ID), ("stranger", FIRST_ID)]);
    assert!(fixture.committed("topic").is_none() && fixture.committed("other").is_some());
}

fn delete_topics(fixture: &mut Fixture, topics: &[(&str, Uuid)]) {
    let deleted = topics.iter().map(|(name, id)| (Str::from(*name), *id)).collect();
    let mut after = None;
    loop {
        after = fixture.decide(|groups, out| groups.topics_deleted(&deleted, after.as_ref(), out));
        if after.is_none() {
            return;
        }
    }
}

#[test]
fn the_offsets_of_topics_that_were_deleted_meanwhile_go_at_the_load() {
    let mut fixture = fixture();
    for topic in ["topic", "other"] {
        fixture.commit_simple(topic, 1).unwrap();
    }
    fixture.topics.delete("topic");
    fixture.restart();
    assert!(fixture.committed("topic").is_none() && fixture.committed("other").is_some());
    assert_eq!(fixture.replayed(), *fixture.groups.stored());
}

#[test]
fn the_offsets_of_a_topic_that_was_created_again_meanwhile_go_at_the_load() {
    let mut fixture = fixture();
    for topic in ["topic", "other"] {
        fixture.commit_simple(topic, 1).unwrap();
    }
    fixture.topics.recreate("topic", SECOND_ID);
    fixture.hold();
    delete_topics(&mut fixture, &[("topic", FIRST_ID)]);
    // What the deletion decided is lost with the broker.
    fixture.restart();
    assert!(fixture.committed("topic").is_none() && fixture.committed("other").is_some());
    assert_eq!(fixture.replayed(), *fixture.groups.stored());
    // The new topic's own offsets stay.
    fixture.commit_simple("topic", 2).unwrap();
    fixture.restart();
    assert_eq!(fixture.committed("topic").unwrap().offset, 2);
}

#[test]
fn the_offsets_of_a_new_topic_outlive_the_deletion_of_the_one_before() {
    let mut fixture = fixture();
    fixture.commit_simple("topic", 1).unwrap();
    fixture.topics.recreate("topic", SECOND_ID);
    fixture.commit_simple("topic", 2).unwrap();
    delete_topics(&mut fixture, &[("topic", FIRST_ID)]);
    assert_eq!(fixture.committed("topic").unwrap().offset, 2);
    delete_topics(&mut fixture, &[("topic", SECOND_ID)]);
    assert!(fixture.committed("topic").is_none());
}

/// Clients from before Kafka 2.1 commit so. The removal of what an earlier topic had lags behind the making of the next.
#[test]
fn an_offset_with_a_retention_of_its_own_is_of_its_topic_and_of_no_other_of_the_name() {
    let commit = |fixture: &mut Fixture, topic_id, offset| {
        let offset = NewOffset { topic_id, ..new_offset("topic", 0, offset) };
        assert_eq!(fixture.commit_all(&Who::default(), Some(RETENTION_MS as i64), &[offset]), Ok(vec![Ok(())]));
    };
    let mut fixture = fixture();
    commit(&mut fixture, FIRST_ID, 1);
    fixture.topics.recreate("topic", SECOND_ID);
    commit(&mut fixture, SECOND_ID, 2);
    delete_topics(&mut fixture, &[("topic", FIRST_ID)]);
    assert_eq!(fixture.committed("topic").map(|found| found.offset), Some(2), "it was acknowledged");
    fixture.restart();
    assert_eq!(fixture.committed("topic").map(|found| found.offset), Some(2));
    // What is left of an earlier topic is not taken over by a load.
    fixture.topics.recreate("topic", Uuid::from_u128(3));
    fixture.restart();
    assert!(fixture.committed("topic").is_none());
}

#[test]
fn an_offset_without_a_topic_id_goes_with_the_name() {
    let mut fixture = fixture();
    let offset = NewOffset { topic_id: Uuid::nil(), ..new_offset("topic", 0, 1) };
    fixture.commit_all(&Who::default(), None, &[offset]).unwrap();
    fixture.topics.recreate("topic", SECOND_ID);
    fixture.restart();
    assert!(fixture.committed("topic").is_some(), "it may be the new topic's");
    delete_topics(&mut fixture, &[("topic", FIRST_ID)]);
    assert!(fixture.committed("topic").is_none());
}

/// No decision looks at all groups of a large shard.
#[test]
fn groups_are_gone_through_piece_by_piece() {
    let per_group = 100;
    let groups = 3 * GROUPS_WALK_OFFSETS_MAX / per_group;
    let mut fixture = fixture();
    let commit_all = |fixture: &mut Fixture, topic: &str| {
        for group in 0..groups {
            let group = Str::from(format!("{group:05}"));
            let offsets = (0..per_group as i32).map(|partition| new_offset(topic, partition, 1));
            let offsets =
                offsets.map(|offset| offset.encode(&group, fixture.now.wall, None, &fixture.config)).collect();
            let committer =
                Committer { version: 9, group: &group, generation: -1, member: &Str::default(), instance: None };
            fixture.decide(|groups, out| groups.commit(&committer, offsets, out)).unwrap();
        }
    };
    let count = |fixture: &Fixture| fixture.groups.stored().record_count() as usize;
    commit_all(&mut fixture, "deleted");
    assert_eq!(count(&fixture), groups * per_group);
    let deleted = HashMap::from_iter([(Str::from("deleted"), FIRST_ID)]);
    let (mut after, mut before, mut pieces) = (None, count(&fixture), 0);
    loop {
        after = fixture.decide(|groups, out| groups.topics_deleted(&deleted, after.as_ref(), out));
        assert!(before - count(&fixture) <= GROUPS_WALK_OFFSETS_MAX + per_group);
        (before, pieces) = (count(&fixture), pieces + 1);
        if after.is_none() {
            break;
        }
    }
    assert_eq!((before, pieces > 2), (0, true));

    commit_all(&mut fixture, "expires");
    fixture.now.wall.0 += RETENTION_MS as i64;
    fixture.advance(CHECK_MS);
    while count(&fixture) > 0 {
        assert!(before == 0 || before - count(&fixture) <= GROUPS_WALK_OFFSETS_MAX + per_group);
        before = count(&fixture);
        fixture.advance(1);
    }
    assert!(fixture.groups.live.is_empty());
}

#[test]
fn offsets_that_a_deletion_did_not_reach_go_at_the_next_check() {
    let mut fixture = fixture();
    let ids = fixture.stable(&[Join::new()]);
    for topic in ["topic", "other"] {
        fixture.commit_as(&Who::member(&ids[0], 1), topic, 1).unwrap();
    }
    fixture.topics.recreate("topic", SECOND_ID);
    fixture.topics.delete("other");
    advance_with(&mut fixture, &ids, CHECK_MS);
    assert!(fixture.committed("topic").is_none() && fixture.committed("other").is_none());
    assert_eq!(fixture.replayed(), *fixture.groups.stored());
}
