//! Retries, resolution and visible state under planned faults.

#![allow(clippy::unwrap_used, reason = "a test fails where it unwraps")]

mod conformance;

use std::sync::Arc;
use std::time::Duration;

use blob::faulty::{Fault, FaultPlan, FaultyBackend};
use blob::memory::MemoryBackend;
use blob::{
    CreateOutcome, Operation, Outcome, Payload, Purpose, Resolved, RetryPolicy, Store, StoreError, StoreOptions, probe,
};

const P: Purpose = Purpose::Metadata;

#[allow(clippy::disallowed_methods, reason = "the paused clock of the test runtime is meant")]
fn now() -> tokio::time::Instant {
    tokio::time::Instant::now()
}

fn faulty(plan: FaultPlan, seed: u64) -> (FaultyBackend, Store) {
    faulty_with(plan, seed, RetryPolicy::default().attempts_max)
}

fn faulty_with(plan: FaultPlan, seed: u64, attempts_max: u32) -> (FaultyBackend, Store) {
    let backend = FaultyBackend::new(Arc::new(MemoryBackend::new()), plan, seed);
    let mut options = StoreOptions::default();
    options.retry.attempts_max = attempts_max;
    (backend.clone(), Store::with_backend(Arc::new(backend), options))
}

#[tokio::test(start_paused = true)]
async fn a_create_is_never_repeated_blindly() {
    let (backend, store) = faulty(FaultPlan::default(), 1);
    backend.fail_next(Operation::Create, Fault::LostReply);
    assert!(matches!(store.create(P, "a", Payload::from(b"mine")).await, CreateOutcome::Unknown(_)));
    assert_eq!(backend.journal().len(), 1);
    assert_eq!(backend.journal()[0].effect.as_deref(), Some("Created(Local)"));
    assert_eq!(store.create_resolved(P, "a", Payload::from(b"mine")).await.unwrap(), Resolved::Created);
}

#[tokio::test(start_paused = true)]
async fn a_late_effect_of_ones_own_is_found_to_be_ones_own() {
    let (backend, store) = faulty(FaultPlan { late_by: Duration::from_millis(1), ..FaultPlan::default() }, 1);
    backend.fail_next(Operation::Create, Fault::LateEffect);
    assert_eq!(store.create_resolved(P, "a", Payload::from(b"mine")).await.unwrap(), Resolved::Created);
    assert_eq!(store.create_resolved(P, "a", Payload::from(b"yours")).await.unwrap(), Resolved::Exists("mine".into()));
}

#[tokio::test(start_paused = true)]
async fn an_outage_is_retried_bounded_visible_and_over_when_it_is_over() {
    let (backend, store) = faulty(FaultPlan { unavailable: 1.0, ..FaultPlan::default() }, 1);
    let error = store.put(P, "a", Payload::from(b"x")).await.unwrap_err();
    assert!(matches!(error, StoreError::Unavailable { .. }) && error.is_retriable());
    assert_eq!(store.counters().requests(P, Operation::Put, Outcome::Unavailable), 8);
    assert_eq!(store.counters().row(P, Operation::Put).unwrap().retries, 7);
    assert!(!store.health().is_healthy() && store.health().failing_for.is_some());
    backend.set_plan(FaultPlan::default());
    store.put(P, "a", Payload::from(b"x")).await.unwrap();
    assert!(store.health().is_healthy());
}

#[tokio::test(start_paused = true)]
async fn an_empty_budget_ends_retries_but_never_lets_a_caller_spin() {
    let (_, store) = faulty(FaultPlan { unavailable: 1.0, ..FaultPlan::default() }, 1);
    while store.health().retries_left > 0 {
        store.head(P, "a").await.unwrap_err();
    }
    let before = (store.counters().total_requests(), now());
    store.head(P, "a").await.unwrap_err();
    assert_eq!(store.counters().total_requests(), before.0 + 1);
    assert!(before.1.elapsed() >= Duration::from_millis(25));
}

#[tokio::test(start_paused = true)]
async fn a_put_whose_object_is_not_what_was_sent_is_sent_again_and_never_done() {
    for (fault, always) in [
        (Fault::Damaged, FaultPlan { damaged: 1.0, ..FaultPlan::default() }),
        (Fault::Truncated, FaultPlan { truncated: 1.0, ..FaultPlan::default() }),
    ] {
        let (backend, store) = faulty(FaultPlan::default(), 1);
        backend.fail_next(Operation::Put, fault);
        store.put(P, "a", Payload::from(b"12345678")).await.unwrap();
        assert_eq!(store.get(P, "a", ..).await.unwrap(), "12345678");
        assert_eq!(store.counters().row(P, Operation::Put).unwrap().retries, 1);
        backend.set_plan(always);
        let error = store.put(P, "b", Payload::from(b"12345678")).await.unwrap_err();
        assert!(matches!(error, StoreError::Damaged { .. }) && error.is_retriable(), "{error}");
    }
}

/// Whoever replaced what looks wrong would, in a store that errs, replace what another writer was told is his.
#[tokio::test(start_paused = true)]
async fn a_create_that_stored_other_bytes_is_not_made_and_nothing_is_replaced() {
    let (backend, store) = faulty(FaultPlan::default(), 1);
    backend.fail_next(Operation::Create, Fault::Damaged);
    let outcome = store.create(P, "a", Payload::from(b"mine")).await;
    assert!(matches!(outcome, CreateOutcome::Unproven(StoreError::Damaged { .. })), "{outcome}");
    assert_eq!(store.create_resolved(P, "a", Payload::from(b"mine")).await.unwrap(), Resolved::Exists("mind".into()));
    backend.fail_next(Operation::Create, Fault::Truncated);
    assert_eq!(store.create_resolved(P, "b", Payload::from(b"mine")).await.unwrap(), Resolved::Exists("mi".into()));
}

/// Found by the simulator: a store whose every promise was kept was refused for good.
#[tokio::test(start_paused = true)]
async fn a_reading_that_was_damaged_on_its_way_proves_nothing_of_the_store() {
    for passed in 0..3 {
        let (backend, store) = faulty(FaultPlan::default(), 1);
        backend.fail_later(Operation::Get, passed, Fault::Damaged);
        probe(&store, true).await.unwrap_or_else(|error| panic!("read {passed}: {error}"));
        assert!(backend.journal().iter().any(|entry| entry.fault == Some(Fault::Damaged)), "read {passed}");
    }
    let (backend, store) = faulty(FaultPlan::default(), 1);
    for _ in 0..7 {
        // More than one read tries by itself.
        backend.fail_next(Operation::Get, Fault::ShortRead);
    }
    probe(&store, true).await.unwrap();
    let (backend, store) = faulty(FaultPlan::default(), 1);
    store.put(P, "a", Payload::from(b"mine")).await.unwrap();
    backend.fail_next(Operation::Get, Fault::Damaged);
    assert_eq!(store.create_resolved(P, "a", Payload::from(b"mine")).await.unwrap(), Resolved::Created);
    backend.fail_next(Operation::Get, Fault::Damaged);
    assert_eq!(store.create_resolved(P, "a", Payload::from(b"yours")).await.unwrap(), Resolved::Exists("mine".into()));
}

#[tokio::test(start_paused = true)]
async fn a_short_read_is_an_error_and_a_passing_one_is_read_again() {
    let (backend, store) = faulty(FaultPlan::default(), 1);
    store.put(P, "a", Payload::from(b"12345678")).await.unwrap();
    backend.fail_next(Operation::Get, Fault::ShortRead);
    assert_eq!(store.get(P, "a", 2..6).await.unwrap(), "3456");
    backend.set_plan(FaultPlan { short_read: 1.0, ..FaultPlan::default() });
    assert!(matches!(store.get(P, "a", 2..6).await, Err(StoreError::ShortRead { got: 2, .. })));
}

#[tokio::test(start_paused = true)]
async fn one_creator_wins_whatever_is_lost_or_late() {
    for seed in 0..8 {
        let plan = FaultPlan {
            latency: Some(Duration::ZERO..Duration::from_millis(30)),
            unavailable: 0.1,
            lost_reply: 0.2,
            late_effect: 0.1,
            late_by: Duration::from_millis(70),
            damaged: 0.0,
            truncated: 0.0,
            short_read: 0.05,
        };
        let (backend, store) = faulty_with(plan, seed, 40);
        conformance::one_creator_wins(&store, 10, 6).await;
        assert!(backend.journal().iter().any(|entry| entry.fault == Some(Fault::LateEffect)));
    }
}
