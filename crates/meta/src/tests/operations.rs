//! Operations through the handle.

use stream::catalogue::{CatalogueClient, CommitRequest, NewObject, NewRange, ObjectKind, StateBelow, TrimRequest};

use super::*;
use crate::control::topics::CreateTopics;
use crate::deleter::{Deleter, Round};

#[tokio::test]
async fn topics_are_created_changed_and_deleted_with_everything_in_them() {
    let bucket = bucket();
    let (handle, registration) = serve(&bucket.store, options(1)).await;
    let me = registration.incarnation;
    let made =
        handle.create_topics(vec![topic("a", 2), topic("a", 1), topic("b", 0), topic("c", 1)], false).await.unwrap();
    assert!(
        matches!(made[1], Err(CreateTopicError::Exists(_))) && matches!(made[2], Err(CreateTopicError::NoPartitions))
    );
    let (a, c) = (made[0].clone().unwrap(), made[3].clone().unwrap());
    assert_eq!(handle.image().topics_from("").map(|t| &*t.name).collect::<Vec<_>>(), ["a", "c"]);
    assert_eq!(handle.image().leader(a.partitions[1]).unwrap(), Leader { owner: me, epoch: base::StreamEpoch(0) });
    let checked = handle.create_topics(vec![topic("d", 1)], true).await.unwrap();
    assert!(checked[0].is_ok() && handle.image().topic("d").is_none());
    let added = handle.create_partitions(a.id, 5, false).await.unwrap();
    assert_eq!((added.len(), handle.image().partition_count()), (3, 6));
    assert!(matches!(
        handle.create_partitions(a.id, 5, false).await,
        Err(CreatePartitionsError::NotMore { present: 5, .. })
    ));
    assert_eq!(handle.image().configs_of(2, "a").unwrap().len(), 1);
    let gone = handle.delete_topics(vec![a.id, a.id]).await.unwrap();
    assert!(gone[0].is_ok() && matches!(gone[1], Err(DeleteTopicError::Unknown(_))));
    let image = handle.image();
    assert!(image.topic("a").is_none() && image.configs_of(2, "a").is_none());
    assert_eq!((image.partition_count(), image.catalogue.stream_count()), (1, 1));
    assert!(image.catalogue.stream(c.partitions[0]).is_some());
    assert_eq!(*image, from_bucket(&bucket).await);
}

#[tokio::test]
async fn a_name_that_differs_only_in_dots_and_underscores_is_refused_where_it_is_decided() {
    let bucket = bucket();
    let (handle, _) = serve(&bucket.store, options(1)).await;
    let create = |names: &[&str]| handle.create_topics(names.iter().map(|name| topic(name, 1)).collect(), false);
    // Two clients at once: neither sees the other's topic when it asks.
    let (dots, lines) = futures::join!(create(&["a.b.c", "a-b"]), create(&["a_b.c"]));
    let dots: Vec<_> = dots.unwrap().into_iter().map(Result::unwrap).collect();
    let refused = CreateTopicError::Collides { name: "a_b.c".to_owned(), other: "a.b.c".to_owned() };
    assert_eq!(lines.unwrap(), [Err(refused)]);
    let exists = create(&["a.b.c", "a.b.c.d", "a.b"]).await.unwrap();
    assert!(matches!(exists[0], Err(CreateTopicError::Exists(_))) && exists[1].is_ok() && exists[2].is_ok());
    assert_eq!(handle.image().collision("a_b").map(|name| &**name), Some("a.b"));
    handle.delete_topics(vec![dots[0].id]).await.unwrap();
    assert!(create(&["a_b.c"]).await.unwrap()[0].is_ok());
    assert_eq!(*handle.image(), from_bucket(&bucket).await);
}

#[tokio::test]
async fn concurrent_operations_share_an_entry() {
    let bucket = bucket();
    let (handle, registration) = serve(&bucket.store, options(1)).await;
    let before = handle.image().next_sequence.0;
    let plan = FaultPlan { latency: Some(Duration::from_millis(5)..Duration::from_millis(6)), ..FaultPlan::default() };
    bucket.faults.set_plan(plan);
    let blocks = (0..200).map(|_| handle.allocate_producer_ids(registration.incarnation));
    let mut blocks: Vec<_> = futures::future::join_all(blocks).await.into_iter().map(|b| b.unwrap().start).collect();
    blocks.sort_unstable();
    assert_eq!(blocks, (0..200).map(|n| n * PRODUCER_IDS_BLOCK).collect::<Vec<_>>(), "no block twice");
    let entries = handle.image().next_sequence.0 - before;
    assert!(entries <= 20, "200 operations took {entries} entries");
}

#[tokio::test]
async fn an_answer_tells_the_entry_that_it_rests_on() {
    let bucket = bucket();
    let (handle, registration) = serve(&bucket.store, options(1)).await;
    let next = MetaSequence(handle.image().newest().0 + 1);
    let create = || {
        let topics = vec![(handle.entropy.uuid(), topic("a", 1))];
        handle.ask_answered(CreateTopics { topics, validate_only: false })
    };
    // The second is refused on account of the first, before anybody can see that.
    let (made, refused) = futures::join!(create(), create());
    assert_eq!((made.sequence, refused.sequence), (next, next));
    assert!(made.answer.unwrap()[0].is_ok());
    assert_eq!(refused.answer.unwrap(), [Err(CreateTopicError::Exists("a".to_owned()))]);
    assert_eq!(create().await.sequence, next, "nothing was written");
    handle.seen(next).await;
    let later = handle.seen(MetaSequence(next.0 + 1));
    futures::pin_mut!(later);
    assert!(futures::poll!(&mut later).is_pending(), "who asks elsewhere waits for the entry");
    handle.allocate_producer_ids(registration.incarnation).await.unwrap();
    later.await;
}

#[tokio::test]
async fn an_operation_too_large_for_an_entry_is_refused_and_changes_nothing() {
    let bucket = bucket();
    let (handle, _) = serve(&bucket.store, options(1)).await;
    let before = handle.image();
    let value = "x".repeat(30_000);
    let changes = (0..300).map(|n| ConfigChange { key: format!("k{n}"), value: Some(value.clone()) });
    let of = ConfigResource { kind: 4, name: "1".to_owned() };
    let answer = handle.alter_configs(of, Configs::new(), changes.collect()).await;
    assert!(matches!(answer, Err(ConfigError::Meta(MetaError::TooLarge { .. }))), "{answer:?}");
    assert_eq!(*handle.image(), *before);
}

#[tokio::test]
async fn settings_change_only_from_what_their_author_saw() {
    let bucket = bucket();
    let (handle, _) = serve(&bucket.store, options(1)).await;
    let of = |name: &str| ConfigResource { kind: 2, name: name.to_owned() };
    let set = |value: &str| vec![ConfigChange { key: "cleanup.policy".to_owned(), value: Some(value.to_owned()) }];
    let nowhere = handle.alter_configs(of("t"), Configs::new(), set("compact")).await;
    assert_eq!(nowhere, Err(ConfigError::UnknownTopic("t".to_owned())), "or a topic made later would inherit it");
    let id = create(&handle, "t").await.id;
    let seen = || handle.image().configs_of(2, "t").map(|configs| (**configs).clone()).unwrap_or_default();
    // Two at a time that saw the same: the second has to look again.
    let both = [set("compact"), set("delete")].map(|changes| handle.alter_configs(of("t"), seen(), changes));
    let both = futures::future::join_all(both).await;
    assert_eq!(both, [Ok(()), Err(ConfigError::Changed)]);
    assert_eq!(handle.alter_configs(of("t"), seen(), set("delete")).await, Ok(()));
    let saw = seen();
    handle.delete_topics(vec![id]).await.unwrap().remove(0).unwrap();
    assert!(matches!(handle.alter_configs(of("t"), saw, set("compact")).await, Err(ConfigError::UnknownTopic(_))));
    assert_eq!(handle.image().configs_of(2, "t"), None);
}

#[tokio::test]
async fn retired_objects_are_deleted_after_their_grace_and_then_forgotten() {
    let bucket = bucket();
    let time = ManualTime::starting_at(1_000);
    let clock = Clock::from_source(time.clone());
    let (handle, registration) = serve(&bucket.store, MetaOptions { clock, ..options(1) }).await;
    let me = registration.incarnation;
    let stream = create(&handle, "t").await.partitions[0];
    let id = base::ObjectId { writer: me, sequence: 0 };
    bucket.plain.put(Purpose::Upload, &id.key(), Bytes::from_static(b"data")).await.unwrap();
    let range = NewRange {
        stream,
        epoch: base::StreamEpoch(0),
        range: base::OffsetRange::new(base::Offset(0), base::Offset(10)),
        max_timestamp: base::TimestampMs(0),
        bytes: 4,
    };
    let object = NewObject {
        sequence: 0,
        kind: ObjectKind::Stream,
        length: 4,
        crc: 0,
        ranges: vec![range],
        checkpoints: vec![],
    };
    let commit = CommitRequest {
        writer: me,
        commit_sequence: 0,
        log: me,
        wal_position: base::WalPosition(4096),
        covers: Vec::new(),
        upload_floor: 1,
        objects: vec![object],
    };
    assert!(!handle.commit(commit.clone()).await.unwrap().repeated);
    assert!(handle.commit(commit).await.unwrap().repeated);
    let trim = TrimRequest { stream, epoch: base::StreamEpoch(0), start: base::Offset(10), state: StateBelow::NotKept };
    handle.trim(vec![trim]).await.unwrap().remove(0).unwrap();
    let mut deleter = Deleter::new(bucket.store.clone());
    assert_eq!(deleter.round(&handle).await.unwrap(), Round::Done);
    assert_eq!(handle.image().catalogue.pending_deletions().count(), 1, "readers may still hold it");
    time.advance(Duration::from_secs(600));
    bucket.faults.fail_next(Operation::Delete, Fault::LostReply);
    while deleter.round(&handle).await.unwrap() != Round::Done {}
    assert!(bucket.plain.head(Purpose::Upload, &id.key()).await.unwrap_err().is_not_found());
    assert_eq!(handle.image().catalogue.pending_deletions().count(), 0);
    assert_eq!(*handle.image(), from_bucket(&bucket).await);
}

#[tokio::test]
async fn ten_thousand_partitions_cost_a_few_mebibytes_of_snapshot_and_one_entry() {
    let bucket = bucket();
    let (handle, _) = serve(&bucket.store, options(1)).await;
    let before = handle.image().next_sequence.0;
    let topics = (0..100).map(|n| topic(&format!("topic-{n}"), 100)).collect();
    assert!(handle.create_topics(topics, false).await.unwrap().iter().all(Result::is_ok));
    let image = handle.image();
    assert_eq!((image.partition_count(), image.next_sequence.0), (10_000, before + 1));
    let (_, bytes) = image.to_snapshot().unwrap();
    assert!(bytes.unwrap().len() < 2 << 20);
}
