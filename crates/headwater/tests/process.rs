//! The program as its users meet it: real processes, real signals, real files.

#![allow(clippy::unwrap_used, reason = "a test fails where it unwraps")]

use std::io::{Read, Write};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use testkit::Port;
use testkit::process::wait_until;
use testkit::{Headwater, HeadwaterOptions, Signal};
use wire::header::RequestHeader;
use wire::messages::fetch_request::{FetchPartition, FetchTopic};
use wire::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use wire::messages::offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
use wire::messages::offset_fetch_request::OffsetFetchRequestTopic;
use wire::messages::{
    FetchRequest, FetchResponse, FindCoordinatorRequest, ListOffsetsRequest, OffsetCommitRequest, OffsetFetchRequest,
};
use wire::{Message, Reader, Request, Writer};

const BINARY: &str = env!("CARGO_BIN_EXE_headwater");
const STOP: Duration = Duration::from_secs(30);

fn start(dir: &Path) -> Headwater {
    let options = HeadwaterOptions::local(Path::new(BINARY), dir);
    Headwater::start(options, &dir.join("broker.log")).unwrap()
}

/// Runs a client command to its end.
fn run(broker: &Headwater, arguments: &[&str], input: &str) -> Output {
    let mut child = Command::new(BINARY)
        .args(arguments)
        .args(["-b", &broker.bootstrap()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

fn done(broker: &Headwater, arguments: &[&str], input: &str) -> String {
    let output = run(broker, arguments, input);
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// A broker that must not start; what it says.
fn refused(arguments: &[&str]) -> String {
    let output = Command::new(BINARY).args(["--http", "off"]).args(arguments).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{arguments:?}");
    String::from_utf8(output.stderr).unwrap()
}

fn lines(numbers: std::ops::Range<u32>) -> String {
    numbers.map(|n| format!("line {n} of the test\n")).collect()
}

/// One call of cargo that builds it together with the simulator would plant the simulator's bugs in it.
#[test]
fn the_program_under_test_is_the_one_that_ships() {
    let output = Command::new(BINARY).arg("--version").output().unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap(), concat!("headwater ", env!("CARGO_PKG_VERSION"), "\n"));
}

#[test]
fn what_was_acknowledged_is_there_after_every_kill() {
    let dir = tempfile::tempdir().unwrap();
    let mut broker = start(dir.path());
    done(&broker, &["topic", "create", "kept", "-p", "2"], "");
    for round in 0..6 {
        let partition = (round % 2).to_string();
        done(&broker, &["produce", "kept", "-p", &partition], &lines(round * 100..(round + 1) * 100));
        broker.kill_and_restart().unwrap();
    }
    for partition in 0..2 {
        let got = done(&broker, &["consume", "kept", "--from-beginning", "-e", "-p", &partition.to_string()], "");
        let expected: String = (0..6).filter(|r| r % 2 == partition).map(|r| lines(r * 100..(r + 1) * 100)).collect();
        assert_eq!(got, expected);
    }
    assert!(broker.stop(STOP).unwrap().success());
}

#[test]
fn the_bucket_alone_holds_everything_after_a_stop() {
    let dir = tempfile::tempdir().unwrap();
    let mut broker = start(dir.path());
    done(&broker, &["topic", "create", "kept", "-p", "1", "-c", "retention.ms=-1"], "");
    done(&broker, &["produce", "kept", "-z", "zstd"], &lines(0..5_000));
    assert!(broker.stop(STOP).unwrap().success());
    let wal = broker.options().wal.clone();
    std::fs::remove_dir_all(&wal).unwrap();
    std::fs::remove_file(dir.path().join("meta.properties")).unwrap();
    broker.up().unwrap();
    assert_eq!(done(&broker, &["consume", "kept", "--from-beginning", "-e"], ""), lines(0..5_000));
    assert!(done(&broker, &["topic", "describe", "kept"], "").contains("retention.ms"));
}

#[test]
fn a_second_process_is_told_what_to_do_and_the_first_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let mut broker = start(dir.path());
    done(&broker, &["topic", "create", "kept"], "");
    let (store, wal) = (broker.options().store.clone(), broker.options().wal.display().to_string());
    let port = Port::claim().unwrap();
    let listen = format!("127.0.0.1:{port}");
    let elsewhere = dir.path().join("elsewhere");
    let log_dirs = format!("log.dirs={}", elsewhere.display());
    let third = format!("log.dirs={}", dir.path().join("third").display());

    let same_files = refused(&["--store", &store, "--wal", &wal, "--listen", &listen, "--override", &log_dirs]);
    assert!(same_files.contains("in use by process"), "{same_files}");
    let other_id = refused(&["--store", &store, "--listen", &listen, "--override", &third, "--override", "node.id=77"]);
    assert!(other_id.contains("one broker per bucket"), "{other_id}");
    let busy = refused(&["--store", "memory://", "--listen", &broker.bootstrap(), "--override", &log_dirs]);
    assert!(busy.contains("choose another with --listen"), "{busy}");
    let unknown = refused(&["--override", "num.partition=3"]);
    assert!(unknown.contains("did you mean num.partitions?"), "{unknown}");

    done(&broker, &["produce", "kept"], "still here\n");
    assert_eq!(done(&broker, &["consume", "kept", "--from-beginning", "-e"], ""), "still here\n");
}

#[test]
fn the_same_id_elsewhere_takes_over_and_the_first_process_ends() {
    let dir = tempfile::tempdir().unwrap();
    let mut first = start(dir.path());
    done(&first, &["topic", "create", "kept"], "");
    done(&first, &["produce", "kept"], &lines(0..10));
    // Another process with the same id, and files of its own, on the same store: it must find the first one's log.
    let second_dir = dir.path().join("second");
    std::fs::create_dir_all(&second_dir).unwrap();
    let mut options = HeadwaterOptions::local(Path::new(BINARY), &second_dir);
    options.store.clone_from(&first.options().store);
    let second = Headwater::start(options, &second_dir.join("broker.log")).unwrap();
    assert_eq!(done(&second, &["consume", "kept", "--from-beginning", "-e"], ""), lines(0..10));
    done(&second, &["produce", "kept"], &lines(10..20));
    // The first learns of it with its next append, at the latest, and acknowledges nothing more.
    let late = run(&first, &["produce", "kept"], "too late\n");
    assert!(!late.status.success(), "a fenced broker acknowledged an append");
    let ended = first.process().unwrap().wait(STOP).unwrap();
    assert_eq!(ended.code(), Some(1));
    assert_eq!(done(&second, &["consume", "kept", "--from-beginning", "-e"], ""), lines(0..20));
}

/// Puts a pipe into which nobody writes in the place of every data object: their reading does not end.
fn hang_objects(directory: &Path) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            hang_objects(&path);
        } else if path.components().any(|part| part.as_os_str() == "obj") {
            std::fs::remove_file(&path).unwrap();
            assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
        }
    }
}

#[test]
fn signals_end_a_broker_whose_store_hangs() {
    let dir = tempfile::tempdir().unwrap();
    let mut broker = start(dir.path());
    done(&broker, &["topic", "create", "kept", "-p", "1"], "");
    done(&broker, &["produce", "kept"], &lines(0..10));
    assert!(broker.stop(STOP).unwrap().success());
    let store = broker.options().store.clone();
    for signals in [2, 3] {
        broker.up().unwrap();
        if signals == 2 {
            hang_objects(Path::new(store.trim_start_matches("file://")));
        }
        let mut asker = Asker::open(&broker);
        asker.0.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
        assert!(asker.fetch().is_none(), "the read does not hang");
        let process = broker.process().unwrap();
        for heard in ["Drain", "Stop", "third"].into_iter().take(signals) {
            process.signal(Signal::TERM).unwrap();
            let hears = |line: &str| line.contains("signal") && line.contains(heard);
            wait_until(STOP, || Ok(process.output()?.lines().any(hears))).unwrap();
        }
        assert_eq!(process.wait(STOP).unwrap().code(), Some(1));
        let end = process.output().unwrap();
        assert_eq!(end.contains("still in use"), signals == 2, "{end}");
    }
}

type Ask = fn(&mut Asker) -> Option<i64>;

/// One connection that asks one thing at a time.
struct Asker(std::net::TcpStream);

impl Asker {
    fn open(broker: &Headwater) -> Self {
        Self(std::net::TcpStream::connect(broker.bootstrap()).unwrap())
    }

    /// `None` when the broker has closed the connection.
    fn call<Q: Request>(&mut self, version: i16, request: &Q) -> Option<Q::Response> {
        let mut writer = Writer::new();
        let header = RequestHeader {
            request_api_key: Q::API_KEY.code(),
            request_api_version: version,
            ..RequestHeader::default()
        };
        header.encode(&mut writer, Q::request_header_version(version)).unwrap();
        request.encode(&mut writer, version).unwrap();
        self.0.write_all(&writer.finish_framed().unwrap().into_bytes()).ok()?;
        let mut size = [0; 4];
        self.0.read_exact(&mut size).ok()?;
        let mut reply = vec![0; u32::from_be_bytes(size) as usize];
        self.0.read_exact(&mut reply).ok()?;
        let mut reader = Reader::new(reply.into());
        // The correlation id, which is the whole header in these versions.
        reader.i32().unwrap();
        Some(Q::Response::decode(&mut reader, version).unwrap())
    }

    /// The latest offset of the first partition of the topic `kept`.
    fn latest(&mut self) -> Option<i64> {
        let partition = ListOffsetsPartition { timestamp: -1, ..ListOffsetsPartition::default() };
        let topic =
            ListOffsetsTopic { name: "kept".into(), partitions: vec![partition], ..ListOffsetsTopic::default() };
        let request = ListOffsetsRequest { replica_id: -1, topics: vec![topic], ..ListOffsetsRequest::default() };
        let reply = self.call(5, &request)?;
        let partition = &reply.topics[0].partitions[0];
        (partition.error_code == 0).then_some(partition.offset)
    }

    /// What it holds from its beginning.
    fn fetch(&mut self) -> Option<FetchResponse> {
        let partition = FetchPartition { partition_max_bytes: 1 << 20, ..FetchPartition::default() };
        let topic = FetchTopic { topic: "kept".into(), partitions: vec![partition], ..FetchTopic::default() };
        let request = FetchRequest { replica_id: -1, max_bytes: 1 << 20, topics: vec![topic], ..Default::default() };
        self.call(4, &request)
    }

    /// Asks for the coordinator of the group `g`, as every client does at first.
    fn find_coordinator(&mut self) {
        let request = FindCoordinatorRequest { key: "g".into(), ..FindCoordinatorRequest::default() };
        for _ in 0..100 {
            if self.call(2, &request).unwrap().error_code == 0 {
                return;
            }
            // Its topic is being made.
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("nobody coordinates the group");
    }

    /// Commits an offset there for the group `g`, as a consumer without members does.
    fn commit(&mut self, offset: i64) {
        let partition = OffsetCommitRequestPartition { committed_offset: offset, ..Default::default() };
        let topic = OffsetCommitRequestTopic { name: "kept".into(), partitions: vec![partition], ..Default::default() };
        let request = OffsetCommitRequest {
            group_id: "g".into(),
            generation_id_or_member_epoch: -1,
            topics: vec![topic],
            ..OffsetCommitRequest::default()
        };
        for _ in 0..100 {
            let reply = self.call(5, &request).unwrap();
            if reply.topics[0].partitions[0].error_code == 0 {
                return;
            }
            // The group's shard is being made.
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("the group takes no offset");
    }

    /// What the group `g` has committed there.
    fn committed(&mut self) -> Option<i64> {
        let topic = OffsetFetchRequestTopic {
            name: "kept".into(),
            partition_indexes: vec![0],
            ..OffsetFetchRequestTopic::default()
        };
        let request =
            OffsetFetchRequest { group_id: "g".into(), topics: Some(vec![topic]), ..OffsetFetchRequest::default() };
        let reply = self.call(5, &request)?;
        (reply.error_code == 0).then(|| reply.topics[0].partitions[0].committed_offset)
    }
}

/// A zombie that nobody has told yet must not answer with offsets that its successor has moved on from.
#[test]
fn a_replaced_broker_tells_no_latest_and_no_committed_offset() {
    for (ask, later) in [(Asker::latest as Ask, 20), (Asker::committed, 10)] {
        let dir = tempfile::tempdir().unwrap();
        let mut first = start(dir.path());
        done(&first, &["topic", "create", "kept", "-p", "1"], "");
        done(&first, &["produce", "kept"], &lines(0..10));
        let mut asker = Asker::open(&first);
        asker.find_coordinator();
        asker.commit(10);
        assert_eq!(ask(&mut asker), Some(10));
        let second_dir = dir.path().join("second");
        std::fs::create_dir_all(&second_dir).unwrap();
        let mut options = HeadwaterOptions::local(Path::new(BINARY), &second_dir);
        options.store.clone_from(&first.options().store);
        let second = Headwater::start(options, &second_dir.join("broker.log")).unwrap();
        done(&second, &["produce", "kept"], &lines(10..20));
        assert_eq!(ask(&mut asker), None, "an offset that its successor contradicts");
        assert_eq!(ask(&mut Asker::open(&second)), Some(later));
    }
}
