//! What every backend must do, run against each of them.

#![allow(dead_code, reason = "each test binary that includes the suite uses a part of it")]

use blob::{CreateOutcome, Operation, Outcome, Payload, Purpose, Resolved, Store, StoreError};
use bytes::Bytes;
use futures::future::join_all;

const P: Purpose = Purpose::Scrub;

/// Runs the whole suite in a fresh store.
pub async fn all(store: &Store) {
    bytes_come_back(store).await;
    missing_and_short_are_told_apart(store).await;
    large_objects_come_back(store).await;
    listing_pages_in_order(store).await;
    deleting_is_idempotent(store).await;
    one_creator_wins(store, 50, 16).await;
    a_create_of_the_same_bytes_is_ones_own(store).await;
}

async fn bytes_come_back(store: &Store) {
    let parts = vec![Bytes::from_static(b"hello "), Bytes::from_static(b"wor"), Bytes::from_static(b"ld")];
    store.put(P, "bytes/a", parts).await.unwrap();
    assert_eq!(store.get(P, "bytes/a", ..).await.unwrap(), "hello world");
    assert_eq!(store.get(P, "bytes/a", 4..8).await.unwrap(), "o wo");
    let parts = store.get_parts(P, "bytes/a", 2, &[3, 0, 4]).await.unwrap();
    assert_eq!(parts, ["llo", "", " wor"]);
    assert_eq!(store.get_parts(P, "bytes/a", 0, &[11]).await.unwrap(), ["hello world"]);
    let beyond = store.get_parts(P, "bytes/a", 6, &[5, 1]).await;
    assert!(matches!(beyond, Err(StoreError::ShortRead { .. })), "{beyond:?}");
    assert!(matches!(store.get_parts(P, "none", 0, &[1, 1]).await, Err(StoreError::NotFound { .. })));
    assert_eq!(store.get(P, "bytes/a", 10..11).await.unwrap(), "d");
    assert_eq!(store.head(P, "bytes/a").await.unwrap().len, 11);
    store.put(P, "bytes/a", Payload::from(b"other")).await.unwrap();
    assert_eq!(store.get(P, "bytes/a", ..).await.unwrap(), "other");
    store.put(P, "bytes/empty", Payload::new()).await.unwrap();
    assert!(store.get(P, "bytes/empty", ..).await.unwrap().is_empty());
}

async fn missing_and_short_are_told_apart(store: &Store) {
    assert!(matches!(store.get(P, "none", ..).await, Err(StoreError::NotFound { .. })));
    assert!(matches!(store.get(P, "none", 0..5).await, Err(StoreError::NotFound { .. })));
    assert!(matches!(store.head(P, "none").await, Err(StoreError::NotFound { .. })));
    store.put(P, "short", Payload::from(b"12345")).await.unwrap();
    for range in [3..9, 7..9] {
        let answer = store.get(P, "short", range).await;
        assert!(matches!(answer, Err(StoreError::ShortRead { .. })), "{answer:?}");
    }
    assert!(matches!(store.get(P, "../short", ..).await, Err(StoreError::InvalidInput { .. })));
}

async fn large_objects_come_back(store: &Store) {
    let piece: Vec<u8> = (0..1_000_003_u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let piece = Bytes::from(piece);
    let body: Payload = vec![piece.clone(); 12].into();
    store.put(P, "large", body.clone()).await.unwrap();
    assert_eq!(store.head(P, "large").await.unwrap().len, body.len());
    assert!(body.same_bytes(&store.get(P, "large", ..).await.unwrap()));
    let at = 5 * 1_000_003 - 10;
    let across = store.get(P, "large", at..at + 20).await.unwrap();
    assert_eq!(across[..10], piece[piece.len() - 10..]);
    assert_eq!(across[10..], piece[..10]);
}

async fn listing_pages_in_order(store: &Store) {
    let mut names: Vec<String> = (0..1_040).map(|i| format!("list/{:02}/{i}", i % 7)).collect();
    names.extend(["list/03-x".to_owned(), "listed".to_owned()]);
    for some in names.chunks(16) {
        for result in join_all(some.iter().map(|name| store.put(P, name, Payload::from(b"x")))).await {
            result.unwrap();
        }
    }
    names.retain(|name| name.starts_with("list/"));
    names.sort();
    let listed: Vec<_> = store.list_all(P, "list/").await.unwrap().into_iter().map(|object| object.key).collect();
    assert_eq!(listed, names);
    let first = store.list(P, "list/", None).await.unwrap();
    assert!(first.more && first.objects.len() == 1_000);
    let after = store.list(P, "list/0", Some("list/05/5")).await.unwrap();
    let expected: Vec<_> = names.iter().filter(|name| name.as_str() > "list/05/5").collect();
    assert_eq!(after.objects.iter().map(|object| &object.key).collect::<Vec<_>>(), expected);
    assert!(store.list_all(P, "nothing/").await.unwrap().is_empty());
    store.delete(P, &names).await.unwrap();
    assert!(store.list_all(P, "list/").await.unwrap().is_empty());
}

async fn deleting_is_idempotent(store: &Store) {
    store.put(P, "gone", Payload::from(b"x")).await.unwrap();
    let keys = ["gone".to_owned(), "never".to_owned()];
    store.delete(P, &keys).await.unwrap();
    store.delete(P, &keys).await.unwrap();
    assert!(store.head(P, "gone").await.unwrap_err().is_not_found());
}

/// Every name has exactly one winner, and holds the winner's bytes.
pub async fn one_creator_wins(store: &Store, names: usize, writers: usize) {
    for name in 0..names {
        let key = format!("race/{name}");
        let body = |writer: usize| Bytes::from(format!("{key} by {writer}"));
        let outcomes = join_all((0..writers).map(|writer| create(store, &key, body(writer)))).await;
        let winners: Vec<_> = (0..writers).filter(|&writer| outcomes[writer] == Resolved::Created).collect();
        assert_eq!(winners.len(), 1, "{key}: {winners:?}");
        let held = match outcomes.iter().find(|outcome| **outcome != Resolved::Created) {
            Some(Resolved::Exists(held)) => held.clone(),
            _ => panic!("{key}: nobody lost"),
        };
        assert_eq!(held, body(winners[0]));
        assert!(
            outcomes
                .iter()
                .all(|outcome| matches!(outcome, Resolved::Created) || *outcome == Resolved::Exists(held.clone()))
        );
    }
    assert!(store.counters().requests(P, Operation::Create, Outcome::Ok) > 0);
}

/// Creates, and asks again with the same bytes where the store's faults came too thick for its own attempts.
async fn create(store: &Store, key: &str, body: Bytes) -> Resolved {
    const TRIES: usize = 5;
    for _ in 1..TRIES {
        match store.create_resolved(P, key, Payload::from(body.clone())).await {
            Err(unresolved) if unresolved.is_retriable() => {}
            resolved => return resolved.unwrap(),
        }
    }
    store.create_resolved(P, key, Payload::from(body)).await.unwrap()
}

async fn a_create_of_the_same_bytes_is_ones_own(store: &Store) {
    let body = Payload::from(b"nonce 1");
    assert!(store.create(P, "own", body.clone()).await.is_created());
    assert!(matches!(store.create(P, "own", body.clone()).await, CreateOutcome::Exists));
    assert_eq!(store.create_resolved(P, "own", body).await.unwrap(), Resolved::Created);
    let other = store.create_resolved(P, "own", Payload::from(b"nonce 2")).await.unwrap();
    assert_eq!(other, Resolved::Exists(Bytes::from_static(b"nonce 1")));
}
