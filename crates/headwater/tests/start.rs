//! What a start refuses, and what it cleans up: each message names the fix, and nothing is lost.

#![allow(clippy::unwrap_used, reason = "a test fails where it unwraps")]

use std::ffi::OsStr;
use std::fs;
use std::net::TcpListener;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use base::{BrokerEpoch, BrokerId, Incarnation};
use stream::wal::{Access, BlockLog, BlockLogOptions, DurableSink, Group, WalFailure};
use testkit::Port;
use testkit::{Headwater, HeadwaterOptions, Process, Signal};

const BINARY: &str = env!("CARGO_BIN_EXE_headwater");

fn start(dir: &Path) -> Headwater {
    Headwater::start(HeadwaterOptions::local(Path::new(BINARY), dir), &dir.join("broker.log")).unwrap()
}

/// Runs a command that needs no broker or finds it by itself; its exit code and everything it printed.
fn run(arguments: &[&str], environment: &[(&str, &str)]) -> (i32, String) {
    let output =
        Command::new(BINARY).args(arguments).envs(environment.iter().copied()).stdin(Stdio::null()).output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.code().unwrap(), String::from_utf8(text).unwrap())
}

/// A broker that must not start; what it says.
fn refused(arguments: &[&str], environment: &[(&str, &str)]) -> String {
    let port = Port::claim().unwrap();
    let listen = format!("127.0.0.1:{port}");
    let (code, said) = run(&[&["--http", "off", "--listen", &listen], arguments].concat(), environment);
    assert_eq!(code, 1, "{said}");
    said
}

fn dirs(dir: &Path) -> String {
    format!("log.dirs={}", dir.display())
}

/// Produces lines to partition 0 of a topic.
fn produce(broker: &Headwater, topic: &str, lines: &str) -> bool {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), lines).unwrap();
    let mut command = Command::new(BINARY);
    command.args(["produce", topic, "-b", &broker.bootstrap()]).stdin(fs::File::open(file.path()).unwrap());
    command.stderr(Stdio::null()).stdout(Stdio::null()).status().unwrap().success()
}

fn consume(broker: &Headwater, topic: &str) -> (i32, String) {
    run(&["consume", topic, "--from-beginning", "-e", "-b", &broker.bootstrap()], &[])
}

#[test]
fn an_unwritable_directory_is_named_with_the_setting_that_moves_it() {
    let said = refused(&["--override", "log.dirs=/proc/nowhere"], &[]);
    assert!(said.contains("/proc/nowhere") && said.contains("log.dirs=PATH"), "{said}");
}

#[test]
fn a_bucket_that_cannot_be_reached_and_wrong_credentials_are_told_apart() {
    let dir = tempfile::tempdir().unwrap();
    let keys =
        [("AWS_ACCESS_KEY_ID", "wrong"), ("AWS_SECRET_ACCESS_KEY", "wrong"), ("AWS_EC2_METADATA_DISABLED", "true")];
    let port = Port::claim().unwrap();
    let nobody = format!("s3://bucket/p?endpoint=http://127.0.0.1:{port}");
    let said = refused(&["--store", &nobody, "--override", &dirs(dir.path())], &keys);
    assert!(said.contains("cannot be reached") && said.contains("endpoint"), "{said}");

    let runtime = tokio::runtime::Runtime::new().unwrap();
    let buckets = dir.path().join("s3");
    fs::create_dir_all(buckets.join("bucket")).unwrap();
    let gate = s3server::Gate::new(&buckets, "right", "right-secret", s3server::Faults::default()).unwrap();
    let endpoint = runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = listener.local_addr().unwrap();
        base::task::spawn("s3", gate.serve(listener));
        endpoint
    });
    let url = format!("s3://bucket/p?endpoint=http://{endpoint}");
    let said = refused(&["--store", &url, "--override", &dirs(dir.path())], &keys);
    assert!(said.to_lowercase().contains("credentials"), "{said}");
    let right = [("AWS_ACCESS_KEY_ID", "right"), ("AWS_SECRET_ACCESS_KEY", "right-secret"), keys[2]];
    let absent = format!("s3://absent/p?endpoint=http://{endpoint}");
    let said = refused(&["--store", &absent, "--override", &dirs(dir.path())], &right);
    assert!(said.contains("absent") && said.contains("bucket"), "{said}");
}

#[test]
fn variables_that_are_not_text_stop_a_start_only_if_they_are_ours() {
    let dir = tempfile::tempdir().unwrap();
    let said_with = |name: &str| {
        let port = Port::claim().unwrap();
        let store = format!("s3://bucket/p?endpoint=http://127.0.0.1:{port}");
        let mut command = Command::new(BINARY);
        command.args(["--http", "off", "--listen", "127.0.0.1:0", "--store", &store, "--override", &dirs(dir.path())]);
        command.envs([
            ("AWS_ACCESS_KEY_ID", "k"),
            ("AWS_SECRET_ACCESS_KEY", "s"),
            ("AWS_EC2_METADATA_DISABLED", "true"),
        ]);
        command.env(name, OsStr::from_bytes(b"Z\xfcrich")).stdin(Stdio::null());
        let output = command.output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        String::from_utf8(output.stderr).unwrap()
    };
    // The whole environment is looked into once more where credentials of the store are sought.
    let said = said_with("CITY");
    assert!(said.contains("cannot be reached"), "{said}");
    let said = said_with("KAFKA_BROKER_RACK");
    assert!(said.contains("KAFKA_BROKER_RACK: its value is not UTF-8"), "{said}");
}

#[test]
fn files_of_one_cluster_are_not_mixed_with_another() {
    let dir = tempfile::tempdir().unwrap();
    let (first, second) = (dir.path().join("first"), dir.path().join("second"));
    fs::create_dir_all(&first).unwrap();
    fs::create_dir_all(&second).unwrap();
    let mut broker = start(&first);
    assert!(produce(&broker, "t", "kept\n"));
    broker.kill().unwrap();
    let mut other = start(&second);
    other.kill().unwrap();
    let store_of = |dir: &Path| format!("file://{}", dir.join("store").display());

    let empty = format!("file://{}", dir.path().join("mistyped").display());
    let said = refused(&["--store", &empty, "--override", &dirs(&first)], &[]);
    assert!(said.contains("this bucket is empty") && said.contains("store URL"), "{said}");
    let said = refused(&["--store", &store_of(&second), "--override", &dirs(&first)], &[]);
    assert!(said.contains("holds cluster"), "{said}");
    let wal = first.join("wal").display().to_string();
    let said = refused(&["--store", &store_of(&second), "--wal", &wal, "--override", &dirs(&second)], &[]);
    assert!(said.contains("records of cluster") && said.contains("--wal PATH"), "{said}");

    broker.up().unwrap();
    assert_eq!(consume(&broker, "t"), (0, "kept\n".to_owned()));
}

struct Deaf;

impl DurableSink<()> for Deaf {
    fn durable(&mut self, _: Group<()>) {}
    fn failed(&mut self, _: WalFailure) {}
}

#[test]
fn logs_that_have_ended_leave_neither_files_nor_rows() {
    let dir = tempfile::tempdir().unwrap();
    let mut broker = start(dir.path());
    for _ in 0..4 {
        assert!(produce(&broker, "t", "line\n"));
        broker.kill_and_restart().unwrap();
    }
    broker.kill().unwrap();
    // Deaths between the making of a log and its registration.
    let properties = fs::read_to_string(dir.path().join("meta.properties")).unwrap();
    let cluster = properties.lines().find_map(|line| line.strip_prefix("cluster.id=")).unwrap();
    let wal = broker.options().wal.clone();
    {
        let log = BlockLog::open(BlockLogOptions::new(&wal, Access::Owner)).unwrap();
        for epoch in [500, 501] {
            let never_opened = Incarnation { broker: BrokerId(1), epoch: BrokerEpoch(epoch) };
            log.create(never_opened, cluster, Deaf).unwrap().shutdown().unwrap();
        }
    }
    broker.up().unwrap();
    let log = BlockLog::open(BlockLogOptions::new(&wal, Access::Observer)).unwrap();
    assert_eq!(log.incarnations().unwrap().len(), 1);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let image = runtime.block_on(async {
        let store = blob::Store::open(&broker.options().store, blob::StoreOptions::default()).await.unwrap();
        meta::Meta::inspect(store).await.unwrap()
    });
    assert_eq!(image.catalogue.incarnations().count(), 1);
    assert_eq!(consume(&broker, "t"), (0, "line\n".repeat(4)));
}

/// The segment that holds the first records of the log.
fn first_segment(wal: &Path) -> PathBuf {
    let files = fs::read_dir(wal).unwrap().map(|entry| entry.unwrap().path());
    let holds = |path: &PathBuf| fs::read(path).unwrap().windows(9).any(|bytes| bytes == b"line 1000");
    files.filter(|path| path.is_file()).find(holds).expect("a segment with records")
}

#[test]
fn a_damaged_log_keeps_its_partitions_offline_until_it_is_given_up() {
    let dir = tempfile::tempdir().unwrap();
    let mut broker = start(dir.path());
    for n in 1000..1010 {
        assert!(produce(&broker, "t", &format!("line {n}\n")));
    }
    broker.kill().unwrap();
    let wal = broker.options().wal.clone();
    let segment = first_segment(&wal);
    let bytes = fs::read(&segment).unwrap();
    let at = bytes.windows(9).position(|bytes| bytes == b"line 1004").unwrap();
    fs::OpenOptions::new().write(true).open(&segment).unwrap().write_all_at(b"LINE", at as u64).unwrap();

    broker.up().unwrap();
    let (code, said) = consume(&broker, "t");
    assert_ne!(code, 0, "a partition whose log is damaged was served: {said}");
    assert!(!produce(&broker, "t", "too early\n"));
    assert!(produce(&broker, "other", "fine\n"), "the rest of the broker goes on");
    broker.stop(Duration::from_secs(60)).unwrap();

    let (wal, store) = (wal.display().to_string(), broker.options().store.clone());
    let dirs = dirs(dir.path());
    let place = ["--wal", &wal, "--store", &store, "--override", &dirs];
    let (code, shown) = run(&[&["wal", "show"], &place[..]].concat(), &[]);
    assert!(code == 0 && shown.contains("DAMAGED"), "{shown}");
    let id = shown.lines().find(|line| line.contains("DAMAGED")).unwrap().split_whitespace().next().unwrap().to_owned();
    let (code, said) = run(&[&["wal", "abandon", &id], &place[..]].concat(), &[]);
    assert!(code == 1 && said.contains("--yes"), "{said}");
    let (code, said) = run(&[&["wal", "abandon", &id, "--yes"], &place[..]].concat(), &[]);
    assert_eq!(code, 0, "{said}");

    broker.up().unwrap();
    assert!(produce(&broker, "t", "afterwards\n"));
    let kept: String = (1000..1004).map(|n| format!("line {n}\n")).collect();
    assert_eq!(consume(&broker, "t"), (0, format!("{kept}afterwards\n")), "what stands before the damage is kept");
    assert_eq!(consume(&broker, "other"), (0, "fine\n".to_owned()));
}

/// The log that a stopped broker left, as it is shown.
fn log_of(wal: &str) -> (String, String) {
    let (code, shown) = run(&["wal", "show", "--wal", wal], &[]);
    assert_eq!(code, 0, "{shown}");
    let row: Vec<&str> = shown.lines().find(|line| line.contains("whole")).unwrap().split_whitespace().collect();
    (row[0].to_owned(), row[1].to_owned())
}

#[test]
fn a_log_that_is_lost_is_given_up_on_the_word_that_its_broker_is_dead() {
    let dir = tempfile::tempdir().unwrap();
    let mut broker = start(dir.path());
    assert!(produce(&broker, "t", "lost\n"));
    broker.kill().unwrap();
    let (wal, store) = (broker.options().wal.display().to_string(), broker.options().store.clone());
    let (id, _) = log_of(&wal);
    fs::remove_dir_all(&wal).unwrap();
    let dirs = dirs(dir.path());
    let place = ["--wal", &wal, "--store", &store, "--override", &dirs];
    let (code, said) = run(&[&["wal", "abandon", &id, "--yes"], &place[..]].concat(), &[]);
    assert!(code == 1 && said.contains(&wal) && said.contains("--broker-is-dead"), "{said}");
    assert!(!Path::new(&wal).exists(), "a place was made");
    let (code, said) = run(&[&["wal", "abandon", &id, "--yes", "--broker-is-dead"], &place[..]].concat(), &[]);
    assert!(code == 0 && said.contains("out of reach"), "{said}");
    broker.up().unwrap();
    assert!(produce(&broker, "t", "afterwards\n"));
    assert_eq!(consume(&broker, "t"), (0, "afterwards\n".to_owned()));
}

#[test]
fn removing_a_log_that_is_not_there_makes_and_removes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("thesis.new"), "mine").unwrap();
    let wal = dir.path().display().to_string();
    let (code, said) = run(&["wal", "remove", "1-1", "--cluster", "x", "--wal", &wal, "--yes"], &[]);
    assert!(code == 1 && said.contains("there is no log 1-1"), "{said}");
    let left: Vec<_> = fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["thesis.new"]);
}

#[test]
fn a_start_that_waits_for_its_store_can_be_stopped() {
    let dir = tempfile::tempdir().unwrap();
    // Takes connections and never answers.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let store = format!("s3://bucket/p?endpoint=http://{}", silent.local_addr().unwrap());
    let port = Port::claim().unwrap();
    let mut command = Command::new(BINARY);
    command.args(["--http", "off", "--listen", &format!("127.0.0.1:{port}"), "--store", &store]);
    command.args(["--override", &dirs(dir.path())]);
    command.envs([("AWS_ACCESS_KEY_ID", "a"), ("AWS_SECRET_ACCESS_KEY", "b"), ("AWS_EC2_METADATA_DISABLED", "true")]);
    let mut process = Process::spawn("headwater", &mut command, &dir.path().join("log")).unwrap();
    silent.accept().unwrap();
    process.signal(Signal::TERM).unwrap();
    assert_eq!(process.wait(Duration::from_secs(10)).unwrap().code(), Some(1));
    assert!(process.output().unwrap().contains("told to stop while it started"));
}

#[test]
fn the_banner_is_short_and_logs_off_a_terminal_are_json() {
    let dir = tempfile::tempdir().unwrap();
    let mut broker = start(dir.path());
    assert!(produce(&broker, "t", "line\n"));
    broker.kill_and_restart().unwrap();
    let said = broker.process().unwrap().output().unwrap();
    let (log, banner): (Vec<&str>, Vec<&str>) = said.lines().partition(|line| line.starts_with('{'));
    assert!(banner.len() <= 10 && banner[0].contains("is ready"), "{said}");
    assert!(banner.iter().any(|line| line.contains("recovered 1 batches")), "{said}");
    assert!(!log.is_empty() && log.iter().all(|line| line.ends_with('}') && line.contains("\"level\"")), "{said}");
}

/// As where a pager was left, or a collector of logs restarted.
#[test]
fn a_process_whose_output_nobody_reads_serves_and_obeys_and_exits_as_any_other() {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("broker.log");
    let options = HeadwaterOptions::local(Path::new(BINARY), dir.path());
    let broker = Headwater::prepare(options, &log).unwrap();
    let unheard = |mut command: Command| Process::spawn_unheard("headwater", &mut command, &log).unwrap();
    let code = |mut process: Process| process.wait(Duration::from_secs(60)).unwrap().code();
    let mut process = unheard(broker.command());
    process.wait_ready(Duration::from_secs(60), |_| Ok(produce(&broker, "t", "line\n"))).unwrap();
    let create = || {
        let mut command = Command::new(BINARY);
        command.args(["topic", "create", "other", "-b", &broker.bootstrap()]);
        code(unheard(command))
    };
    assert_eq!((create(), create()), (Some(0), Some(1)));
    assert_eq!(process.terminate(Duration::from_secs(60)).unwrap().code(), Some(0), "it drains");

    let mut command = broker.command();
    command.args(["--override", "num.partition=3"]);
    assert_eq!(code(unheard(command)), Some(1), "a start that is refused");
}

/// What was named is all that is written to: the working directory need not be writable, and two brokers may share it.
#[test]
fn brokers_whose_store_and_log_are_named_keep_nothing_in_their_working_directory() {
    let dir = tempfile::tempdir().unwrap();
    // Nobody can make a file there, root included.
    let read_only = Path::new("/proc");
    let mut brokers = Vec::new();
    for id in ["1", "2"] {
        let own = dir.path().join(id);
        fs::create_dir_all(&own).unwrap();
        let mut options = HeadwaterOptions::local(Path::new(BINARY), &own).with("node.id", id);
        options.overrides.retain(|(key, _)| key != "log.dirs");
        let broker = Headwater::prepare(options, &own.join("broker.log")).unwrap();
        let mut command = broker.command();
        command.current_dir(read_only);
        let mut process = Process::spawn("headwater", &mut command, &own.join("broker.log")).unwrap();
        process.wait_ready(Duration::from_secs(60), |process| Ok(process.output()?.contains(" is ready: "))).unwrap();
        brokers.push((broker, process, own));
    }
    for (broker, process, own) in &mut brokers {
        assert!(produce(broker, "t", "line\n"));
        assert_eq!(process.terminate(Duration::from_secs(60)).unwrap().code(), Some(0));
        let identity = own.join("wal").join("meta.properties");
        assert!(identity.is_file(), "the identity lies beside the log that was named");
        // Whoever takes the place of another is told which file says so.
        let (store, wal) = (format!("file://{}", own.join("other").display()), own.join("wal").display().to_string());
        let said = refused(&["--store", &store, "--wal", &wal, "--override", "node.id=7"], &[]);
        assert!(said.contains(&identity.display().to_string()) && said.contains("node.id="), "{said}");
    }
}

#[test]
fn a_log_of_a_cluster_that_is_gone_is_removed_by_an_operator_who_names_it() {
    let dir = tempfile::tempdir().unwrap();
    let mut broker = start(dir.path());
    assert!(produce(&broker, "t", "kept\n"));
    broker.kill().unwrap();
    let wal = broker.options().wal.display().to_string();
    let place = ["--wal", &wal];
    let (id, cluster) = &log_of(&wal);
    let (id, cluster) = (&**id, &**cluster);

    // A store in memory has no use for it, and does not touch it.
    let said = refused(&[&["--store", "memory://"], &place[..]].concat(), &[]);
    assert!(said.contains(&wal) && said.contains("--wal PATH"), "{said}");
    assert!(said.contains(&format!("headwater wal remove {id} --cluster {cluster} --wal {wal}")), "{said}");

    let remove = |arguments: &[&str]| run(&[&["wal", "remove"], arguments, &place[..]].concat(), &[]);
    let (code, said) = remove(&[id, "--cluster", cluster]);
    assert!(code == 1 && said.contains("--yes"), "{said}");
    let (code, said) = remove(&[id, "--cluster", "another", "--yes"]);
    assert!(code == 1 && said.contains(cluster), "{said}");
    let (code, said) = remove(&["1-999", "--cluster", cluster, "--yes"]);
    assert!(code == 1 && said.contains("wal show"), "{said}");
    broker.up().unwrap();
    assert_eq!(consume(&broker, "t"), (0, "kept\n".to_owned()), "nothing was removed so far");
    broker.kill().unwrap();

    let (_, shown) = run(&[&["wal", "show"], &place[..]].concat(), &[]);
    let id = shown.lines().find(|line| line.contains(cluster)).unwrap().split_whitespace().next().unwrap().to_owned();
    let (code, said) = remove(&[&id, "--cluster", cluster, "--yes"]);
    assert_eq!(code, 0, "{said}");
    let (_, shown) = run(&[&["wal", "show"], &place[..]].concat(), &[]);
    assert!(shown.contains("is empty"), "{shown}");
}

/// A device that is attached late is not replaced by a directory in memory.
#[test]
fn a_device_that_is_not_there_is_not_made() {
    let data = tempfile::tempdir().unwrap();
    let dirs = format!("log.dirs={}", data.path().display());
    let device = "/dev/no-such-device-of-headwater";
    let relative = format!("{}{}", "../".repeat(std::env::current_dir().unwrap().components().count()), &device[1..]);
    for named in [device, &relative, &format!("file://{device}")] {
        let said = refused(&["--wal", named, "--override", &dirs], &[]);
        assert!(said.contains("there is no such device"), "{said}");
        assert!(!Path::new(device).exists());
    }
    // The operator whose device has died is not kept from saying so.
    let (store, wal_url) = (data.path().join("store").display().to_string(), format!("wal.url={device}"));
    let place = ["--wal", device, "--store", &store, "--override", &dirs];
    for (command, answer) in [
        (&["wal", "abandon", "1-1", "--yes"][..], "knows no log 1-1"),
        (&["wal", "remove", "1-1", "--cluster", "a", "--yes"], "there is no write-ahead log at"),
        (&["wal", "show"], "there is no write-ahead log at"),
    ] {
        let (code, said) = run(&[command, &place[..]].concat(), &[]);
        assert!(code == 1 && said.contains(answer), "{command:?}: {said}");
    }
    let (code, said) = run(
        &["metadata", "give-up-last", "--yes", "--store", &store, "--override", &dirs, "--override", &wal_url],
        &[],
    );
    assert!(code == 0 && said.contains("nothing was changed"), "{said}");
    assert!(!Path::new(device).exists());
}
