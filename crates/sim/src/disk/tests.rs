//! What disks must do, and what they may.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use base::file::{Access, FileSource, Files, Locked, Transfer};

use super::*;
use crate::fiber::Fiber;

fn disk(seed: u64) -> (Disk, Faults) {
    let faults = Faults::default();
    let disk = Disk::new(Dice::new(seed), faults.clone(), Trace::new(None));
    let latency = Duration::from_millis(1)..Duration::from_millis(9);
    disk.set_plan(DiskPlan { latency, ..DiskPlan::default() });
    (disk, faults)
}

/// Blocking work of a process, in simulated time. A dead one's ends where it waits.
async fn does(host: &Arc<crate::host::SimHost>, work: impl FnOnce() + Send + 'static) {
    let hosted: Arc<dyn base::host::Host> = host.clone();
    let run = base::host::within(hosted, "work", Fiber::new(Box::new(work)));
    base::select! { biased; () = host.scheduler().run() => {}, () = run => {}, () = host.died() => {} }
}

fn process(name: &str, machine: u32, faults: &Faults) -> (Process, Arc<crate::host::SimHost>) {
    let process = Process::new(name, machine);
    let planted = crate::host::Planted::default();
    let host = crate::host::SimHost::new(
        &process,
        Dice::new(7),
        &crate::scheduler::Scheduler::new(Dice::new(7)),
        faults,
        &Trace::new(None),
        &planted,
    );
    (process, host)
}

fn made(files: &Files, path: &str, length: u64) {
    files.create_directory(Path::new(path).parent().unwrap()).unwrap();
    files.create_zeroed(Path::new(path), length, length, Transfer::Auto).unwrap();
}

fn whole(files: &Files, path: &str) -> Vec<u8> {
    files.read(Path::new(path), 1 << 20).unwrap()
}

#[tokio::test(start_paused = true)]
async fn what_has_returned_stays_and_what_was_in_flight_is_any_mix_of_sectors() {
    let mut seen = BTreeSet::new();
    for seed in 0..60 {
        let (disk, faults) = disk(seed);
        let (one, host) = process("one", 1, &faults);
        let files = disk.files(&one);
        made(&files, "/d/f", 1 << 16);
        let block = files.open(Path::new("/d/f"), Access::Write, Transfer::Auto, 4096..1 << 16).unwrap();
        let killed = host.clone();
        // The first write looks five times whether its process lives.
        disk.crash_within(&one, 6 + seed % 5, Arc::new(move || killed.die()));
        does(&host, move || {
            block.write_at(&[1; 8192], 0).unwrap();
            let _ = block.write_at(&[2; 8192], 0);
        })
        .await;
        disk.process_died(&one);
        let after = whole(&disk.files(&Process::new("two", 1)), "/d/f");
        assert!(after[..4096].iter().chain(&after[12_288..]).all(|byte| *byte == 0), "outside of its range");
        let within = &after[4096..12_288];
        assert!(one.is_dead() && within.iter().all(|byte| *byte == 1 || *byte == 2), "the first has returned");
        seen.insert((within.contains(&1), within.contains(&2)));
    }
    assert!(seen.contains(&(true, true)) && seen.contains(&(true, false)), "{seen:?}");
}

#[tokio::test(start_paused = true)]
async fn a_read_beside_a_write_sees_old_and_new_and_never_goes_back() {
    let (disk, faults) = disk(3);
    let ((one, writer), (two, reader)) = (process("one", 1, &faults), process("two", 1, &faults));
    made(&disk.files(&one), "/f", 1 << 16);
    let open = |process| disk.files(process).open(Path::new("/f"), Access::Write, Transfer::Auto, 0..1 << 16).unwrap();
    let (writes, reads) = (open(&one), open(&two));
    let writing = does(&writer, move || (1..=40).for_each(|round| writes.write_at(&[round; 8192], 0).unwrap()));
    let reading = does(&reader, move || {
        let mut last = [0; 16];
        let mut buffer = vec![0; 8192];
        for _ in 0..40 {
            reads.read_at(&mut buffer, 0).unwrap();
            for (sector, last) in last.iter_mut().enumerate() {
                let bytes = &buffer[sector * 512..][..512];
                assert!(bytes.iter().all(|byte| *byte == bytes[0]), "within a sector nothing is mixed");
                assert!(bytes[0] >= *last, "sector {sector} went back");
                *last = bytes[0];
            }
        }
    });
    tokio::join!(writing, reading);
    assert!(faults.counts().get(&Fault::SplitRead).is_some_and(|count| *count > 3), "{:?}", faults.counts());
}

#[tokio::test(start_paused = true)]
async fn a_machine_without_power_forgets_names_that_were_not_synced_and_no_others() {
    let mut kept = BTreeSet::new();
    for seed in 0..40 {
        let (disk, faults) = disk(seed);
        let (one, _) = process("one", 1, &faults);
        let files = disk.files(&one);
        made(&files, "/d/synced", 4096);
        files.sync_directory(Path::new("/d")).unwrap();
        files.write(Path::new("/d/a"), b"a").unwrap();
        files.rename(Path::new("/d/synced"), Path::new("/d/b")).unwrap();
        disk.process_died(&one);
        disk.power_loss(2);
        assert_eq!(files.list(Path::new("/d")).unwrap(), ["a", "b"], "another machine");
        disk.power_loss(1);
        kept.insert(files.list(Path::new("/d")).unwrap());
    }
    let names = |of: &[&str]| of.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    assert!(kept.contains(&names(&["synced"])) && kept.contains(&names(&["a", "b"])), "{kept:?}");
    assert!(kept.iter().all(|names| names.iter().any(|name| name == "b" || name == "synced")), "{kept:?}");
}

#[tokio::test(start_paused = true)]
async fn planned_errors_come_once_and_a_lock_is_free_when_its_holder_has_died() {
    let (disk, faults) = disk(5);
    let ((one, _), (two, _)) = (process("one", 1, &faults), process("two", 2, &faults));
    let files = disk.files(&one);
    made(&files, "/d/f", 4096);
    let block = files.open(Path::new("/d/f"), Access::Write, Transfer::Auto, 0..4096).unwrap();
    disk.fail_write("/elsewhere");
    block.write_at(&[1; 4096], 0).unwrap();
    disk.fail_write("/d");
    assert!(block.write_at(&[2; 4096], 0).is_err());
    block.write_at(&[3; 4096], 0).unwrap();
    disk.fail_read("/d");
    assert!(block.read_at(&mut [0; 512], 0).is_err() && block.read_at(&mut [0; 512], 0).is_ok());
    assert_eq!(block.read_at(&mut [0; 512], 4096).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    disk.set_full(true);
    let full = files.create_zeroed(Path::new("/d/g"), 4096, 4096, Transfer::Auto).unwrap_err();
    assert!(base::file::is_full(&full));
    disk.set_full(false);
    let lock = files.lock(Path::new("/d/LOCK"), Some("one")).unwrap();
    let other = disk.files(&two);
    assert!(
        matches!(other.lock(Path::new("/d/LOCK"), Some("two")).unwrap(), Locked::Taken(Some(name)) if name == "one")
    );
    one.die();
    disk.process_died(&one);
    let held = other.lock(Path::new("/d/LOCK"), Some("two")).unwrap();
    drop(lock);
    assert!(matches!(held, Locked::Held(_)));
    assert!(matches!(files.lock(Path::new("/d/LOCK"), None), Err(_)), "the dead do nothing");
    assert!(matches!(other.lock(Path::new("/d/LOCK"), None).unwrap(), Locked::Taken(_)), "the new holder keeps it");
}
