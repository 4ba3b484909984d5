//! Claims, races, ambiguous outcomes.

use super::*;

#[tokio::test]
async fn a_second_process_of_the_same_broker_fences_the_first() {
    let bucket = bucket();
    let (first, before) = serve(&bucket.store, options(1)).await;
    create(&first, "kept").await;
    let (second, after) = serve(&bucket.store, options(1)).await;
    assert!(after.incarnation.epoch > before.incarnation.epoch);
    assert_eq!(after.recover.iter().map(|r| r.incarnation).collect::<Vec<_>>(), vec![before.incarnation]);
    assert!(!first.is_fenced(), "it cannot know yet");
    let answer = first.create_topics(vec![topic("lost", 1)], false).await;
    assert!(matches!(answer, Err(MetaError::Fenced(_))), "{answer:?}");
    first.fenced().await;
    assert!(first.image().topic("lost").is_none(), "nothing speculative is ever shown");
    assert!(matches!(first.allocate_producer_ids(before.incarnation).await, Err(MetaError::Fenced(_))));
    create(&second, "lost").await;
    assert!(second.image().topic("kept").is_some());
    assert_eq!(*second.image(), from_bucket(&bucket).await);
}

#[tokio::test]
async fn another_broker_id_is_refused_with_the_way_out() {
    let bucket = bucket();
    let (handle, registration) = serve(&bucket.store, options(1)).await;
    let Err(error) = Meta::start(bucket.store.clone(), options(2)).await else { panic!("two brokers on one bucket") };
    assert!(matches!(error, StartError::OtherBroker { present: BrokerId(1), .. }));
    assert!(error.to_string().contains("node.id=1"), "{error}");
    create(&handle, "still-in-office").await;
    // Once the first has drained and left, the bucket is free for it.
    use stream::catalogue::CatalogueClient;
    assert!(matches!(handle.unregister(registration.incarnation).await, Err(BrokerError::NotDrained(_))));
    handle.drained(registration.incarnation, base::WalPosition(0)).await.unwrap();
    handle.unregister(registration.incarnation).await.unwrap();
    let (second, _) = serve(&bucket.store, options(2)).await;
    let stream = second.image().topic("still-in-office").unwrap().partitions[0];
    assert_eq!(second.image().leader(stream).unwrap().owner.broker, BrokerId(2));
}

#[tokio::test]
async fn a_registration_leaves_another_registered_brokers_log_alone() {
    let bucket = bucket();
    let (_first, registration) = serve(&bucket.store, options(1)).await;
    // The rule of one broker per bucket stands before this.
    let log = Log { store: bucket.store.clone() };
    let mut image = from_bucket(&bucket).await;
    let second = crate::start::try_start(&log, &mut image, &options(2)).await.unwrap().unwrap();
    assert!(second.recover.is_empty(), "{second:?}");
    let untouched = image.catalogue.incarnation(registration.incarnation).unwrap();
    assert_eq!(untouched.phase, stream::catalogue::IncarnationPhase::Open);
    // Its own broker's return takes it.
    let back = crate::start::try_start(&log, &mut image, &options(1)).await.unwrap().unwrap();
    assert_eq!(back.recover.iter().map(|lost| lost.incarnation).collect::<Vec<_>>(), [registration.incarnation]);
}

#[tokio::test]
async fn another_cluster_is_refused() {
    let bucket = bucket();
    let (_handle, registration) = serve(&bucket.store, options(1)).await;
    let other = MetaOptions { cluster_id: Some("elsewhere".to_owned()), ..options(1) };
    assert!(matches!(Meta::start(bucket.store.clone(), other).await, Err(StartError::OtherCluster { .. })));
    let same = MetaOptions { cluster_id: Some(registration.cluster_id.to_string()), ..options(1) };
    serve(&bucket.store, same).await;
}

#[tokio::test]
async fn metalog_an_unknown_outcome_is_resolved_by_the_same_bytes_at_the_same_name() {
    for fault in [Fault::LostReply, Fault::Unavailable, Fault::LateEffect] {
        let bucket = bucket();
        let (handle, _) = serve(&bucket.store, options(1)).await;
        let before = handle.image().next_sequence;
        bucket.faults.fail_next(Operation::Create, fault);
        create(&handle, "t").await;
        assert_eq!(handle.image().next_sequence.0, before.0 + 1, "{fault:?}: one entry, once");
        tokio::time::sleep(Duration::from_millis(20)).await;
        assert_eq!(*handle.image(), from_bucket(&bucket).await);
        assert!(!handle.is_fenced());
    }
}

#[tokio::test]
async fn metalog_the_nonce_tells_ones_own_entry_from_anothers() {
    let bucket = bucket();
    let log = Log { store: bucket.store.clone() };
    assert_eq!(log.append(MetaSequence(3), &entry(3, 1)).await, Appended::Won);
    assert_eq!(log.append(MetaSequence(3), &entry(3, 1)).await, Appended::Won, "found on a retry");
    assert_eq!(log.append(MetaSequence(3), &entry(3, 2)).await, Appended::Lost, "same epoch, another process");
}

#[tokio::test]
async fn metalog_a_loser_below_the_floor_does_not_say_failed() {
    let bucket = bucket();
    let log = Log { store: bucket.store.clone() };
    log.append(MetaSequence(3), &entry(3, 1)).await;
    let marker = crate::format::encode_floor(0, MetaSequence(1023));
    bucket.plain.put(Purpose::Metadata, &names::floor(0), marker).await.unwrap();
    assert_eq!(log.append(MetaSequence(3), &entry(3, 2)).await, Appended::LostUnsure);
}

#[tokio::test]
async fn metalog_a_claimant_whose_name_lies_below_the_floor_is_not_in_office() {
    let bucket = bucket();
    // A claimant that stalled after loading an empty log, while others wrote, released and deleted the first range.
    let marker = crate::format::encode_floor(0, MetaSequence(1023));
    bucket.plain.put(Purpose::Metadata, &names::floor(0), marker).await.unwrap();
    let log = Log { store: bucket.store.clone() };
    let mut stale = Image::default();
    let outcome = crate::start::try_start(&log, &mut stale, &options(1)).await.unwrap();
    assert!(outcome.is_err(), "the claim was created, but where an entry had been deleted");
}

#[tokio::test]
async fn two_controllers_racing_end_with_one_in_office_and_one_history() {
    for _ in 0..8 {
        let bucket = bucket();
        let plan = FaultPlan { lost_reply: 0.2, unavailable: 0.2, ..FaultPlan::default() };
        bucket.faults.set_plan(plan);
        let starts = (0..4).map(|_| {
            let store = bucket.store.clone();
            async move { Meta::start(store, options(1)).await }
        });
        let handles: Vec<_> = futures::future::join_all(starts).await.into_iter().map(|s| s.unwrap()).collect();
        let mut done = Vec::new();
        for (index, (handle, _)) in handles.iter().enumerate() {
            let change = ConfigChange { key: format!("k{index}"), value: Some("v".to_owned()) };
            let of = ConfigResource { kind: 4, name: "1".to_owned() };
            if handle.alter_configs(of, Configs::new(), vec![change]).await.is_ok() {
                done.push(index);
            }
        }
        bucket.faults.set_plan(FaultPlan::default());
        assert_eq!(done.len(), 1, "exactly one is in office");
        let image = from_bucket(&bucket).await;
        assert_eq!(*handles[done[0]].0.image(), image);
        assert_eq!(image.configs_of(4, "1").unwrap().len(), 1, "the losers' changes are nowhere");
        assert_eq!(image.kept.len() as i64, image.controller_epoch.0);
    }
}
