//! The conformance suite on the backends that need no server, and the probe's verdicts.

#![allow(clippy::unwrap_used, reason = "a test fails where it unwraps")]

mod conformance;

use blob::{Store, StoreOptions, probe};

#[tokio::test]
async fn memory_conforms() {
    let store = Store::open("memory://", StoreOptions::default()).await.unwrap();
    conformance::all(&store).await;
    assert!(probe(&store, true).await.unwrap().conditional_create);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_local_directory_conforms() {
    let directory = tempfile::tempdir().unwrap();
    let url = format!("file://{}/deep/er", directory.path().display());
    let store = Store::open(&url, StoreOptions::default()).await.unwrap();
    conformance::all(&store).await;
    assert!(probe(&store, true).await.unwrap().conditional_create);
}

#[tokio::test]
async fn a_store_without_conditional_create_is_refused_for_metadata_with_the_alternative() {
    let store = Store::open("obs://b?endpoint=http://127.0.0.1:1", StoreOptions::default()).await.unwrap();
    let error = probe(&store, true).await.unwrap_err();
    assert!(matches!(error, blob::ProbeError::NoConditionalCreate { .. }));
    assert!(error.to_string().contains("put the metadata log in a store that has it"));
}
