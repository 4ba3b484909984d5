//! OffsetCommit and OffsetDelete. Kafka's `OffsetMetadataManagerTest`.

use super::*;
use crate::group::offsets::EncodedOffset;

#[test]
fn a_member_commits_in_its_generation() {
    let mut fixture = Fixture::new();
    let ids = fixture.stable(&[Join::new()]);
    let offsets = [NewOffset { leader_epoch: 7, metadata: Some("text".into()), ..new_offset("topic", 0, 100) }];
    assert_eq!(fixture.commit_all(&Who::member(&ids[0], 1), None, &offsets), Ok(vec![Ok(())]));
    let expected = CommittedOffset {
        offset: 100,
        leader_epoch: 7,
        metadata: "text".into(),
        commit_timestamp: fixture.now.wall.0,
        expire_timestamp: None,
        topic_id: FIRST_ID,
        unknown_tagged_fields: Vec::new(),
    };
    assert_eq!(fixture.committed("topic"), Some(&expected));
}

#[test]
fn the_last_commit_holds() {
    let mut fixture = Fixture::new();
    for offset in [5, 9, 2] {
        assert_eq!(fixture.commit_simple("topic", offset), Ok(()));
    }
    assert_eq!(fixture.committed("topic").unwrap().offset, 2);
    assert_eq!(fixture.groups.stored().record_count(), 1);
}

#[test]
fn what_is_not_durable_is_not_there() {
    let mut fixture = Fixture::new();
    fixture.hold();
    assert_eq!(fixture.commit_simple("topic", 1), Ok(()));
    assert_eq!(fixture.committed("topic"), None);
    fixture.release();
    assert_eq!(fixture.committed("topic").unwrap().offset, 1);
}

#[test]
fn a_commit_of_others_is_refused() {
    let mut fixture = Fixture::new();
    let ids = fixture.stable(&[Join::new().instance("instance")]);
    let instance = |id| Some(id);
    let cases = [
        (Who::member("stranger", 1), ErrorCode::UnknownMemberId),
        (Who::member(&ids[0], 0), ErrorCode::IllegalGeneration),
        (Who::member(&ids[0], 2), ErrorCode::IllegalGeneration),
        // With an id there must be a generation.
        (Who::member(&ids[0], -1), ErrorCode::IllegalGeneration),
        (Who::member("", 1), ErrorCode::UnknownMemberId),
        (Who { instance: instance("instance"), ..Who::member("stranger", 1) }, ErrorCode::FencedInstanceId),
        (Who { instance: instance("instance"), ..Who::default() }, ErrorCode::FencedInstanceId),
        (Who { instance: instance("stranger"), ..Who::member(&ids[0], 1) }, ErrorCode::UnknownMemberId),
        // A consumer that assigns itself must not commit under the members.
        (Who::default(), ErrorCode::UnknownMemberId),
    ];
    for (who, error) in cases {
        assert_eq!(fixture.commit_as(&who, "topic", 1), Err(error));
    }
    assert_eq!(fixture.committed("topic"), None);
    let who = Who { instance: Some("instance"), ..Who::member(&ids[0], 1) };
    assert_eq!(fixture.commit_as(&who, "topic", 1), Ok(()));
}

#[test]
fn a_commit_into_a_group_that_is_not_there() {
    let mut fixture = Fixture::new();
    for (version, error) in [(8, ErrorCode::IllegalGeneration), (9, ErrorCode::GroupIdNotFound)] {
        let who = Who { version, ..Who::member("member", 1) };
        assert_eq!(fixture.commit_as(&who, "topic", 1), Err(error));
        assert!(fixture.groups.group(GROUP).is_none());
    }
    // Without a generation it makes a group.
    assert_eq!(fixture.commit_simple("topic", 1), Ok(()));
    let group = fixture.group();
    assert_eq!((group.state, group.generation, &group.protocol_type), (GroupState::Empty, 0, &None));
}

#[test]
fn an_empty_group_takes_commits_without_a_generation_only() {
    let mut fixture = Fixture::new();
    let ids = fixture.stable(&[Join::new()]);
    fixture.leave(&[(&ids[0], None)]).unwrap();
    assert_eq!(fixture.commit_as(&Who::member(&ids[0], 2), "topic", 1), Err(ErrorCode::UnknownMemberId));
    assert_eq!(fixture.commit_as(&Who::member("whoever", -1), "topic", 1), Ok(()));
    assert_eq!(fixture.commit_simple("topic", 2), Ok(()));
}

#[test]
fn members_commit_while_a_rebalance_begins_and_not_while_it_completes() {
    let mut fixture = Fixture::new();
    let ids = fixture.stable(&[Join::new(), Join::new()]);
    let leader = fixture.join(&Join::new().member(&ids[0]));
    assert_eq!(fixture.commit_as(&Who::member(&ids[1], 1), "topic", 1), Ok(()), "before it gives its partitions up");
    fixture.join_now(&Join::new().member(&ids[1]));
    assert_eq!(leader.get().generation_id, 2);
    assert_eq!(fixture.commit_as(&Who::member(&ids[1], 1), "topic", 2), Err(ErrorCode::IllegalGeneration));
    assert_eq!(fixture.commit_as(&Who::member(&ids[1], 2), "topic", 2), Err(ErrorCode::RebalanceInProgress));
    assert_eq!(fixture.committed("topic").unwrap().offset, 1);
}

#[test]
fn too_much_metadata_fails_its_own_partition_only() {
    let config = GroupConfig { offset_metadata_bytes_max: 10, ..GroupConfig::default() };
    let mut fixture = Fixture::with(config);
    let offset = |topic, text: &str| NewOffset { metadata: Some(text.into()), ..new_offset(topic, 0, 1) };
    let offsets = [
        offset("fits", "0123456789"),
        offset("too-long", "0123456789x"),
        offset("counted-as-java-does", "ééééééééé"),
        offset("surrogate-pairs-are-two", "😀😀😀😀😀"),
        offset("one-pair-too-many", "😀😀😀😀😀😀"),
    ];
    let too_large = Err(ErrorCode::OffsetMetadataTooLarge);
    let outcomes = fixture.commit_all(&Who::default(), None, &offsets);
    assert_eq!(outcomes, Ok(vec![Ok(()), too_large, Ok(()), Ok(()), too_large]));
    assert!(fixture.committed("fits").is_some() && fixture.committed("too-long").is_none());
    assert_eq!(fixture.log.len(), 3);
}

#[test]
fn a_group_of_which_nothing_was_committed_is_not_made() {
    let mut fixture = Fixture::with(GroupConfig { offset_metadata_bytes_max: 0, ..GroupConfig::default() });
    let offset = NewOffset { metadata: Some("text".into()), ..new_offset("topic", 0, 1) };
    let outcomes = fixture.commit_all(&Who::default(), None, &[offset]);
    assert_eq!(outcomes, Ok(vec![Err(ErrorCode::OffsetMetadataTooLarge)]));
    assert!(fixture.groups.group(GROUP).is_none());
}

#[test]
fn a_commit_that_comes_after_its_topics_end_is_refused() {
    let mut fixture = Fixture::new();
    fixture.topics.recreate("again", SECOND_ID);
    fixture.commit_simple("again", 2).unwrap();
    fixture.topics.delete("gone");
    let late = [new_offset("gone", 0, 1), new_offset("again", 0, 1), new_offset("there", 0, 1)];
    let unknown = Err(ErrorCode::UnknownTopicOrPartition);
    assert_eq!(fixture.commit_all(&Who::default(), None, &late), Ok(vec![unknown, unknown, Ok(())]));
    assert!(fixture.committed("gone").is_none());
    assert_eq!(fixture.committed("again").unwrap().offset, 2);
}

#[test]
fn a_commit_with_an_offset_that_no_record_can_hold_commits_nothing() {
    let mut fixture = Fixture::new();
    fixture.record_bytes_max = 200;
    let long = NewOffset { metadata: Some("x".repeat(200).into()), ..new_offset("long", 0, 1) };
    let offsets = [new_offset("before", 0, 1), long, new_offset("behind", 0, 1)];
    let refused = [(1, ErrorCode::InvalidCommitOffsetSize), (2, ErrorCode::UnknownServerError)];
    for (version, error) in refused {
        let who = Who { version, ..Who::default() };
        assert_eq!(fixture.commit_all(&who, None, &offsets), Err(error), "v{version}");
        assert_eq!(fixture.log, []);
        assert!(fixture.groups.group(GROUP).is_none());
    }
    assert_eq!(fixture.commit_simple("before", 1), Ok(()));
}

/// A commit is charged for before it is encoded.
#[test]
fn what_an_encoded_offset_takes_is_foreseen() {
    let mut fixture = Fixture::new();
    let text = |length| Str::from("x".repeat(length));
    for metadata in [None, Some(text(0)), Some(text(130)), Some(text(4_096))] {
        let offset = NewOffset { leader_epoch: 7, metadata, ..new_offset(&text(249), i32::MAX, i64::MAX) };
        for retention_ms in [None, Some(1)] {
            fixture
                .commit_all(&Who::default(), retention_ms, std::slice::from_ref(&offset))
                .unwrap()
                .remove(0)
                .unwrap();
            let record = fixture.log.last().unwrap().bytes();
            let takes = record + size_of::<EncodedOffset>();
            assert!((record..=offset.bytes(&GROUP.into())).contains(&takes), "{takes} for {offset:?}");
        }
    }
}

fn delete(fixture: &mut Fixture, asked: &[(&str, i32)]) -> Result<Vec<Result<(), ErrorCode>>, ErrorCode> {
    let asked: Vec<_> = asked.iter().map(|(topic, partition)| (Str::from(*topic), *partition)).collect();
    fixture.decide(|groups, out| groups.delete_offsets(&GROUP.into(), &asked, out))
}

#[test]
fn offsets_of_an_empty_group_are_deleted() {
    let mut fixture = Fixture::new();
    assert_eq!(delete(&mut fixture, &[("topic", 0)]), Err(ErrorCode::GroupIdNotFound));
    let offsets = [new_offset("topic", 0, 1), new_offset("topic", 1, 1), new_offset("other", 0, 1)];
    fixture.commit_all(&Who::default(), None, &offsets).unwrap();
    let written = fixture.log.len();
    let outcomes = delete(&mut fixture, &[("topic", 1), ("other", 0), ("topic", 7), ("stranger", 0)]);
    assert_eq!(outcomes, Ok(vec![Ok(()); 4]));
    assert_eq!(fixture.log.len() - written, 2, "what is not there needs no tombstone");
    assert!(fixture.log[written..].iter().all(|record| record.value.is_none()));
    let left = fixture.groups.committed(GROUP).unwrap();
    assert_eq!(left.iter().map(|(topic, partitions)| (&**topic, partitions.len())).collect::<Vec<_>>(), [("topic", 1)]);
}

/// Each tombstone has the group's name: a small request may else become any amount.
#[test]
fn an_offset_that_is_named_very_often_is_removed_once() {
    let mut fixture = Fixture::new();
    fixture.commit_all(&Who::default(), None, &[new_offset("topic", 0, 1), new_offset("topic", 1, 1)]).unwrap();
    let written = fixture.log.len();
    assert_eq!(delete(&mut fixture, &[("topic", 0); 1_000]), Ok(vec![Ok(()); 1_000]));
    assert_eq!(fixture.log.len() - written, 1);
    assert_eq!(fixture.groups.committed(GROUP).unwrap()["topic"].len(), 1);
}

#[test]
fn offsets_of_subscribed_topics_stay() {
    let mut fixture = Fixture::new();
    let ids = fixture.stable(&[Join::new(), Join::new().subscribed(&["other"])]);
    for topic in ["topic", "other", "former"] {
        assert_eq!(fixture.commit_as(&Who::member(&ids[0], 1), topic, 1), Ok(()));
    }
    let subscribed = Err(ErrorCode::GroupSubscribedToTopic);
    let outcomes = delete(&mut fixture, &[("topic", 0), ("other", 0), ("former", 0)]);
    assert_eq!(outcomes, Ok(vec![subscribed, subscribed, Ok(())]));
    assert!(fixture.committed("former").is_none() && fixture.committed("topic").is_some());
    for id in ids {
        fixture.leave(&[(&id, None)]).unwrap();
    }
    fixture.advance(REBALANCE_MS as u64);
    assert_eq!(delete(&mut fixture, &[("topic", 0), ("other", 0)]), Ok(vec![Ok(()); 2]), "nobody subscribes any more");
}

#[test]
fn a_group_whose_subscriptions_cannot_be_told_keeps_all_offsets() {
    let mut fixture = Fixture::new();
    let ids = fixture.stable(&[Join::new().protocols(&["opaque"])]);
    assert_eq!(fixture.commit_as(&Who::member(&ids[0], 1), "topic", 1), Ok(()));
    let subscribed = Err(ErrorCode::GroupSubscribedToTopic);
    assert_eq!(delete(&mut fixture, &[("topic", 0)]), Ok(vec![subscribed]));
}

#[test]
fn members_of_other_protocol_types_must_be_gone_first() {
    let mut fixture = Fixture::new();
    let ids = fixture.stable(&[Join::new().protocol_type("connect")]);
    assert_eq!(fixture.commit_as(&Who::member(&ids[0], 1), "topic", 1), Ok(()));
    assert_eq!(delete(&mut fixture, &[("topic", 0)]), Err(ErrorCode::NonEmptyGroup));
    fixture.leave(&[(&ids[0], None)]).unwrap();
    assert_eq!(delete(&mut fixture, &[("topic", 0)]), Ok(vec![Ok(())]));
    assert!(fixture.committed("topic").is_none());
}

/// They are counted while nobody else may look at the shard.
#[test]
fn the_offsets_of_a_commit_are_counted_without_reading_its_records() {
    let mut fixture = Fixture::new();
    fixture.hold();
    let offsets: Vec<_> = (0..1_000).map(|partition| new_offset("topic", partition, 1)).collect();
    assert_eq!(fixture.commit_all(&Who::default(), None, &offsets), Ok(vec![Ok(()); 1_000]));
    assert_eq!(fixture.groups.queued.read, 0);
    assert!(fixture.groups.is_queued(GROUP));
    // None of those of a topic that is gone is.
    fixture.topics.delete("gone");
    let gone = [new_offset("gone", 0, 1)];
    let refused = Err(ErrorCode::UnknownTopicOrPartition);
    assert_eq!(fixture.commit_all(&Who::default(), None, &gone), Ok(vec![refused]));
    fixture.release();
    assert!(!fixture.groups.is_queued(GROUP));
    assert_eq!(fixture.groups.stored().record_count(), 1_000);
}
