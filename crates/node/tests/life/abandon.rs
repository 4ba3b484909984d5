//! A log is given up only when nobody appends to it any more, and only the one that was meant.

use std::os::unix::fs::FileExt;
use std::path::Path;

use base::file::Files;
use base::{BrokerId, Clock, Entropy, Incarnation};
use blob::{Store, StoreOptions};
use meta::Meta;
use node::{AbandonError, AbandonOptions, BrokerFate, FilesLeft, LogPlace, NodeOptions, Order};
use stream::catalogue::{IncarnationPhase, IncarnationState};
use stream::wal::{Access, BlockLog, BlockLogOptions, Claim};

use crate::gate::{Call, Gate};
use crate::logs::{dead, kept};
use crate::support::{Node, options};

/// What an operator tells who names everything as the broker has it below `directory`.
fn given_up(directory: &Path, incarnation: Incarnation) -> AbandonOptions {
    AbandonOptions {
        incarnation,
        broker: BrokerId(1),
        fate: BrokerFate::Unknown,
        store: format!("file://{}", directory.join("store").display()),
        log: directory.join("wal"),
        home: Some(directory.to_owned()),
        files: Files::system(),
        clock: Clock::system(),
        entropy: Entropy::system(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_a_living_broker_appends_to_is_not_given_up_wherever_the_operator_looks() {
    let dir = tempfile::tempdir().unwrap();
    let living = Node::start(options(dir.path())).await.unwrap();
    let mut client = living.client().await;
    client.create_topic().await;
    let nowhere = dir.path().join("nowhere");
    for fate in [BrokerFate::Unknown, BrokerFate::CertainlyDead] {
        for log in [&nowhere, &dir.path().join("wal")] {
            let asked = given_up(dir.path(), living.facts.me);
            let why = node::abandon(AbandonOptions { fate, log: log.clone(), ..asked }).await.unwrap_err();
            assert!(
                matches!(&why, AbandonError::InUse { incarnation, .. } if *incarnation == living.facts.me),
                "{why}"
            );
        }
    }
    assert!(!nowhere.exists(), "a place was made");
    assert!(client.produce().await, "the living node was fenced");
    assert!(living.end(Order::Drain).await.is_clean());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_is_out_of_reach_is_given_up_only_on_the_word_that_its_broker_is_dead() {
    let dir = tempfile::tempdir().unwrap();
    let (id, _) = dead(dir.path()).await;
    let (wal, elsewhere) = (dir.path().join("wal"), dir.path().join("elsewhere"));
    std::fs::rename(&wal, &elsewhere).unwrap();
    // As on another host: the place is not there, or it is empty.
    for made in [false, true] {
        if made {
            std::fs::create_dir(&wal).unwrap();
        }
        let why = node::abandon(given_up(dir.path(), id)).await.unwrap_err();
        assert!(matches!(&why, AbandonError::OutOfReach { incarnation, .. } if *incarnation == id), "{why}");
        let said = why.to_string();
        assert!(said.contains(&wal.display().to_string()) && said.contains("--broker-is-dead"), "{said}");
        assert!(if made { std::fs::read_dir(&wal).unwrap().count() == 0 } else { !wal.exists() }, "something was made");
    }
    std::fs::remove_dir(&wal).unwrap();
    std::fs::rename(&elsewhere, &wal).unwrap();
    kept(dir.path()).await;

    let dir = tempfile::tempdir().unwrap();
    let (id, _) = dead(dir.path()).await;
    std::fs::remove_dir_all(dir.path().join("wal")).unwrap();
    let asked = AbandonOptions { fate: BrokerFate::CertainlyDead, ..given_up(dir.path(), id) };
    assert_eq!(node::abandon(asked).await.unwrap(), FilesLeft::OutOfReach);
    let node = Node::start(options(dir.path())).await.unwrap();
    assert_eq!(node.client().await.latest().await, Some(0));
    assert!(node.end(Order::Drain).await.is_clean());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slip_between_two_clusters_gives_up_a_log_of_neither() {
    let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let ((id, _), (same, cluster)) = (dead(dir.path()).await, dead(other.path()).await);
    assert_eq!(id, same, "the first log of each");
    let strange_log = AbandonOptions { log: other.path().join("wal"), home: None, ..given_up(dir.path(), id) };
    let strange_home = AbandonOptions { home: Some(other.path().to_owned()), ..given_up(dir.path(), id) };
    for asked in [strange_log, strange_home] {
        let why = node::abandon(asked).await.unwrap_err();
        assert!(matches!(&why, AbandonError::OtherCluster { cluster: found, .. } if *found == cluster), "{why}");
    }
    kept(dir.path()).await;
    kept(other.path()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_cannot_be_fenced_is_given_up_only_on_the_word_that_its_broker_is_dead() {
    let gate = Gate::default();
    gate.fail(Call::WriteAt, "incarnation-");
    let dir = tempfile::tempdir().unwrap();
    let (id, _) = dead(dir.path()).await;
    let asked = AbandonOptions { files: gate.files(), ..given_up(dir.path(), id) };
    let why = node::abandon(asked).await.unwrap_err();
    assert!(matches!(why, AbandonError::NotFenced { .. }), "{why}");
    kept(dir.path()).await;

    let dir = tempfile::tempdir().unwrap();
    let (id, _) = dead(dir.path()).await;
    let asked = AbandonOptions { files: gate.files(), ..given_up(dir.path(), id) };
    let asked = AbandonOptions { fate: BrokerFate::CertainlyDead, ..asked };
    assert_eq!(node::abandon(asked).await.unwrap(), FilesLeft::Removed);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_was_given_up_is_gone_from_where_it_was_and_its_partitions_go_on() {
    let dir = tempfile::tempdir().unwrap();
    let (id, _) = dead(dir.path()).await;
    // The broker has moved on to another place since.
    let asked = AbandonOptions { log: dir.path().join("new"), ..given_up(dir.path(), id) };
    assert_eq!(node::abandon(asked).await.unwrap(), FilesLeft::Removed);
    let left = BlockLog::open(BlockLogOptions::new(dir.path().join("wal"), Access::Observer)).unwrap();
    assert!(left.incarnations().unwrap().is_empty());
    let node = Node::start(options(dir.path())).await.unwrap();
    let mut client = node.client().await;
    assert_eq!(client.latest().await, Some(0));
    assert!(client.produce().await);
    assert!(node.end(Order::Drain).await.is_clean());
}

/// A node whose log has lost what it acknowledged between other records, and died.
async fn dead_with_damage(directory: &Path) -> Incarnation {
    let node = Node::start(options(directory)).await.unwrap();
    let mut client = node.client().await;
    client.create_topic().await;
    for _ in 0..10 {
        assert!(client.produce().await);
    }
    let me = node.facts.me;
    node.end(Order::Stop).await;
    let files = std::fs::read_dir(directory.join("wal")).unwrap().map(|entry| entry.unwrap().path());
    let mut damaged = 0;
    for path in files.filter(|path| path.to_string_lossy().contains("segment-")) {
        let segment = std::fs::File::options().read(true).write(true).open(&path).unwrap();
        let mut bytes = vec![0; 1 << 20];
        segment.read_exact_at(&mut bytes, 0).unwrap();
        let records: Vec<_> = bytes.windows(5).enumerate().filter(|(_, b)| b == b"value").map(|(at, _)| at).collect();
        if let [_, _, _, fourth, ..] = records[..] {
            segment.write_all_at(b"VALUE", fourth as u64).unwrap();
            damaged += 1;
        }
    }
    assert_eq!(damaged, 1);
    me
}

#[tokio::test(flavor = "multi_thread")]
async fn logs_at_one_place_that_metadata_knows_by_two_names_do_not_lock_each_other_out() {
    let dir = tempfile::tempdir().unwrap();
    let id = dead_with_damage(dir.path()).await;
    let link = dir.path().join("link");
    std::os::unix::fs::symlink("wal", &link).unwrap();
    let moved = || NodeOptions { log: LogPlace::At(link.clone()), ..options(dir.path()) };
    Node::start(moved()).await.unwrap().end(Order::Stop).await;
    assert_eq!(node::abandon(given_up(dir.path(), id)).await.unwrap(), FilesLeft::Removed);
    let node = Node::start(moved()).await.unwrap();
    assert_eq!(node.client().await.latest().await, Some(3), "what stands before the damage is kept");
    assert!(node.end(Order::Drain).await.is_clean());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_cannot_be_written_is_told_before_anything_is_given_up() {
    let dir = tempfile::tempdir().unwrap();
    let (id, _) = dead(dir.path()).await;
    let probes = dir.path().join("store/probe");
    let _ = std::fs::remove_dir_all(&probes);
    std::fs::write(&probes, "in the way").unwrap();
    let why = node::abandon(given_up(dir.path(), id)).await.unwrap_err();
    assert!(matches!(why, AbandonError::StoreUnfit(_)), "{why}");
    std::fs::remove_file(&probes).unwrap();
    kept(dir.path()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_was_given_up_is_removed_when_it_comes_back_however_late() {
    let dir = tempfile::tempdir().unwrap();
    let (id, _) = dead(dir.path()).await;
    let (wal, away) = (dir.path().join("wal"), dir.path().join("away"));
    std::fs::rename(&wal, &away).unwrap();
    let asked = AbandonOptions { fate: BrokerFate::CertainlyDead, ..given_up(dir.path(), id) };
    assert_eq!(node::abandon(asked).await.unwrap(), FilesLeft::OutOfReach);
    for _ in 0..2 {
        assert!(Node::start(options(dir.path())).await.unwrap().end(Order::Drain).await.is_clean());
    }
    std::fs::remove_dir_all(&wal).unwrap();
    std::fs::rename(&away, &wal).unwrap();
    let node = Node::start(options(dir.path())).await.unwrap();
    assert_eq!(node.client().await.latest().await, Some(0));
    assert!(node.end(Order::Drain).await.is_clean());
    let left = BlockLog::open(BlockLogOptions::new(&wal, Access::Observer)).unwrap();
    assert!(left.incarnations().unwrap().is_empty());
}

/// What metadata knows of a log.
async fn known(directory: &Path, id: Incarnation) -> Option<IncarnationState> {
    let url = format!("file://{}", directory.join("store").display());
    let image = Meta::inspect(Store::open(&url, StoreOptions::default()).await.unwrap()).await.unwrap();
    image.catalogue.incarnation(id).cloned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_the_command_gave_up_and_removed_is_known_no_longer_than_streams_name_it() {
    let dir = tempfile::tempdir().unwrap();
    let (id, _) = dead(dir.path()).await;
    assert_eq!(node::abandon(given_up(dir.path(), id)).await.unwrap(), FilesLeft::Removed);
    assert!(known(dir.path(), id).await.unwrap().is_nowhere(), "its stream waits for an owner");
    assert_eq!(node::abandon(given_up(dir.path(), id)).await.unwrap(), FilesLeft::Removed, "as often as it is asked");
    let node = Node::start(options(dir.path())).await.unwrap();
    assert_eq!(known(dir.path(), id).await, None);
    assert_eq!(node.client().await.latest().await, Some(0));
    assert!(node.end(Order::Drain).await.is_clean());
}

/// As where the command dies before it has removed them.
#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_was_given_up_is_known_while_its_files_are_there() {
    let dir = tempfile::tempdir().unwrap();
    let (id, _) = dead(dir.path()).await;
    let gate = Gate::default();
    gate.fail(Call::Remove, "incarnation-");
    let why = node::abandon(AbandonOptions { files: gate.files(), ..given_up(dir.path(), id) }).await.unwrap_err();
    assert!(matches!(why, AbandonError::NotRemoved { .. }), "{why}");
    let state = known(dir.path(), id).await.unwrap();
    assert!(state.phase == IncarnationPhase::Abandoned && !state.is_nowhere(), "{state:?}");
    let node = Node::start(options(dir.path())).await.unwrap();
    assert_eq!(known(dir.path(), id).await, None, "the start has removed them");
    assert!(node.end(Order::Drain).await.is_clean());
}

/// A disk of another cluster may hold a log of the same number.
#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_was_given_up_is_not_removed_while_its_header_does_not_say_whose_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let (id, _) = dead(dir.path()).await;
    let (wal, away) = (dir.path().join("wal"), dir.path().join("away"));
    std::fs::rename(&wal, &away).unwrap();
    let asked = AbandonOptions { fate: BrokerFate::CertainlyDead, ..given_up(dir.path(), id) };
    assert_eq!(node::abandon(asked).await.unwrap(), FilesLeft::OutOfReach);
    std::fs::rename(&away, &wal).unwrap();
    let header = std::fs::File::options().write(true).open(wal.join(format!("incarnation-{id}.wal"))).unwrap();
    header.write_all_at(&[0; 4096], 0).unwrap();
    for _ in 0..2 {
        let node = Node::start(options(dir.path())).await.unwrap();
        assert_eq!(node.client().await.latest().await, Some(0));
        assert!(node.end(Order::Drain).await.is_clean());
        let left = BlockLog::open(BlockLogOptions::new(&wal, Access::Observer)).unwrap();
        assert!(left.holds_records(id).unwrap(), "it may be anybody's");
        assert!(!known(dir.path(), id).await.unwrap().is_nowhere());
    }
}

/// It may hold records, which would be there again with the page.
#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_was_given_up_is_known_while_a_segment_that_may_be_of_it_cannot_be_read() {
    let dir = tempfile::tempdir().unwrap();
    let (id, cluster) = dead(dir.path()).await;
    let gate = Gate::default();
    gate.fail(Call::ReadAt, "segment-00000000");
    let asked = AbandonOptions { files: gate.files(), ..given_up(dir.path(), id) };
    assert_eq!(node::abandon(asked).await.unwrap(), FilesLeft::Unread { segments: 1 });
    let state = known(dir.path(), id).await.unwrap();
    assert!(state.phase == IncarnationPhase::Abandoned && !state.is_nowhere(), "{state:?}");

    // Readable again, it is found, and nobody takes it for a log of another history.
    let node = Node::start(options(dir.path())).await.unwrap();
    assert_eq!(node.client().await.latest().await, Some(0));
    assert!(node.end(Order::Drain).await.is_clean());
    assert!(known(dir.path(), id).await.is_some());
    let left = BlockLog::open(BlockLogOptions::new(dir.path().join("wal"), Access::Owner)).unwrap();
    assert!(left.holds_records(id).unwrap());
    assert_eq!(left.remove(id, Claim::GivenUp(&cluster)).unwrap(), 0);
    assert!(left.incarnations().unwrap().is_empty());
}
