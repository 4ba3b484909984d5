//! What disks must do, and what they may.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use base::file::{Access, Files, Locked, Transfer};

use super::*;
use crate::fiber::Fiber;
use std::collections::BTreeSet;

fn disk(seed: u64) -> (Disk, Faults) {
    let faults = Faults::default();
    let disk = Disk::new(Dice::new(seed), faults.clone(), Trace::new(None));
    let latency = Duration::from_millis(1)..Duration::from_millis(9);
    disk.set_plan(DiskPlan { latency, ..DiskPlan::default() });
    (disk, faults)
}

/// Blocking work of a process, in simulated time. A dead one's ends where it waits.
async fn does(host: &Arc<crate::host::SimHost>, work: impl FnOnce() + Send + 'static) {
    let scheduler = host.scheduler().clone();
    let choosing = base::task::spawn("scheduler", async move { scheduler.run().await });
    let hosted: Arc<dyn base::host::Host> = host.clone();
    let work = base::host::scope(&hosted, || base::task::spawn("work", Fiber::new(Box::new(work))));
    let ended = base::select! { biased; () = host.died() => None, ended = work => Some(ended) };
    host.abort_all();
    if ended.is_none() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    choosing.abort();
    host.scheduler().end();
    if let Some(Err(error)) = ended {
        std::panic::resume_unwind(error.into_panic());
    }
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
    disk.fail_read(BadRead::next("/d"));
    assert!(block.read_at(&mut [0; 512], 0).is_err() && block.read_at(&mut [0; 512], 0).is_ok());
    made(&files, "/d/h", 4096);
    disk.fail_read(BadRead::next("/d").after(1).lasting(Duration::from_secs(1)));
    let passes = || block.read_at(&mut [0; 512], 0).is_ok();
    assert_eq!([passes(), passes(), passes()], [true, false, false]);
    assert!(files.read(Path::new("/d/h"), 4096).is_ok(), "another file");
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!([passes(), passes()], [true, true]);
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
    assert!(files.lock(Path::new("/d/LOCK"), None).is_err(), "the dead do nothing");
    assert!(matches!(other.lock(Path::new("/d/LOCK"), None).unwrap(), Locked::Taken(_)), "the new holder keeps it");
}

#[tokio::test(start_paused = true)]
async fn a_small_file_that_was_being_made_is_short_or_torn_and_one_that_was_made_is_whole() {
    let mut seen = BTreeSet::new();
    for seed in 0..60 {
        let (disk, faults) = disk(seed);
        let (one, host) = process("one", 1, &faults);
        let files = disk.files(&one);
        made(&files, "/d/f", 4096);
        files.write(Path::new("/d/f"), &[1; 600]).unwrap();
        let killed = host.clone();
        // A call looks four or five times whether its process lives.
        disk.crash_within(&one, 1 + seed % 9, Arc::new(move || killed.die()));
        does(&host, move || {
            if files.write(Path::new("/d/f"), &[2; 600]).is_ok() {
                let _ = files.create_zeroed(Path::new("/d/g"), 8192, 8192, Transfer::Auto);
            }
        })
        .await;
        disk.process_died(&one);
        let after = disk.files(&Process::new("two", 1));
        let bytes = whole(&after, "/d/f");
        let is_mix = !bytes.iter().all(|byte| *byte == 1) || bytes.len() < 600;
        seen.insert(match (&bytes[..], after.length(Path::new("/d/g"))) {
            (bytes, Err(_)) if *bytes == [1; 600] => "old",
            (bytes, Ok(8192)) if *bytes == [2; 600] => "made",
            (bytes, Ok(..8192)) if *bytes == [2; 600] => "short zeros",
            (bytes, Err(_)) if *bytes == [2; 600] => "new",
            (_, Err(_)) if is_mix => "half",
            other => panic!("{other:?}"),
        });
    }
    assert_eq!(seen, BTreeSet::from(["old", "half", "new", "short zeros", "made"]));
}

#[tokio::test(start_paused = true)]
async fn names_of_which_a_sync_has_failed_are_not_durable_by_a_later_one() {
    let mut kept = BTreeSet::new();
    for seed in 0..40 {
        let (disk, faults) = disk(seed);
        let (one, _) = process("one", 1, &faults);
        let files = disk.files(&one);
        files.create_directory(Path::new("/d")).unwrap();
        files.write(Path::new("/d/a"), b"a").unwrap();
        disk.fail_sync("/d");
        files.sync_directory(Path::new("/")).unwrap();
        assert!(files.sync_directory(Path::new("/d")).is_err());
        files.write(Path::new("/d/b"), b"b").unwrap();
        files.sync_directory(Path::new("/d")).unwrap();
        disk.fail_write("/d");
        assert!(files.write(Path::new("/d/c"), b"c").is_err() && files.write(Path::new("/d/c"), b"c").is_ok());
        disk.process_died(&one);
        disk.power_loss(1);
        let names = files.list(Path::new("/d")).unwrap();
        assert!(names.contains(&"b".to_owned()), "its sync has returned");
        kept.insert(names.concat());
    }
    assert_eq!(kept, ["b", "ab", "bc", "abc"].map(str::to_owned).into());
}

#[tokio::test(start_paused = true)]
async fn a_write_that_failed_may_land_later_and_never_on_what_was_written_since() {
    let (mut late, mut died) = (0, 0);
    for seed in 0..60 {
        let (disk, faults) = disk(seed);
        let (one, _) = process("one", 1, &faults);
        let files = disk.files(&one);
        made(&files, "/f", 16_384);
        let open = || files.open(Path::new("/f"), Access::Write, Transfer::Auto, 0..16_384).unwrap();
        disk.fail_write("/f");
        assert!(open().write_at(&[1; 8192], 4096).is_err());
        let look = || {
            let bytes = whole(&files, "/f");
            assert!(bytes[..4096].iter().chain(&bytes[12_288..]).all(|byte| *byte == 0), "outside of its range");
            bytes.iter().filter(|byte| **byte == 1).count()
        };
        let first = look();
        tokio::time::sleep(Duration::from_secs(1)).await;
        late += u64::from(look() != first);
        if seed % 2 == 0 {
            // Another descriptor's, or a first one's: it is durable.
            open().write_at(&[2; 8192], 4096).unwrap();
        }
        let before = look();
        disk.process_died(&one);
        let after = look();
        died += u64::from(before != after);
        assert!(seed % 2 == 1 || after == 0, "what returned stays");
    }
    assert!(late > 5 && died > 0, "{late} {died}");
}

#[tokio::test(start_paused = true)]
async fn what_a_descriptor_writes_again_after_a_failure_may_be_lost_with_its_process() {
    let mut lost = BTreeSet::new();
    for seed in 0..60 {
        let (disk, faults) = disk(seed);
        let (one, _) = process("one", 1, &faults);
        let files = disk.files(&one);
        made(&files, "/f", 16_384);
        let block = files.open(Path::new("/f"), Access::Write, Transfer::Auto, 0..16_384).unwrap();
        disk.fail_write("/f");
        assert!(block.write_at(&[1; 4096], 4096).is_err());
        block.write_at(&[2; 8192], 4096).unwrap();
        block.write_at(&[3; 4096], 12_288).unwrap();
        assert!(whole(&files, "/f")[4096..12_288] == [2; 8192], "while it lives it is seen");
        disk.process_died(&one);
        let after = whole(&files, "/f");
        assert!(after[12_288..] == [3; 4096], "nothing had failed there");
        lost.insert(after[4096..12_288] != [2; 8192]);
    }
    assert_eq!(lost, BTreeSet::from([false, true]));
}

#[tokio::test(start_paused = true)]
async fn a_write_that_is_given_up_is_over_at_once() {
    let mut seen = BTreeSet::new();
    for seed in 0..40 {
        let (disk, faults) = disk(seed);
        let ((one, host), (two, other)) = (process("one", 1, &faults), process("two", 2, &faults));
        made(&disk.files(&one), "/f", 8192);
        let open = |process| disk.files(process).open(Path::new("/f"), Access::Write, Transfer::Auto, 0..8192).unwrap();
        let (first, second) = (open(&one), open(&two));
        let killed = host.clone();
        disk.crash_within(&one, 2, Arc::new(move || killed.die()));
        // Its task is dropped where it waits; nobody has said yet that its process is dead.
        does(&host, move || first.write_at(&[1; 8192], 0).unwrap()).await;
        seen.insert(whole(&disk.files(&two), "/f").contains(&1));
        does(&other, move || second.write_at(&[2; 8192], 0).unwrap()).await;
        for _ in 0..9 {
            assert!(whole(&disk.files(&two), "/f") == [2; 8192], "it lands on what was written since");
        }
        disk.process_died(&one);
        assert!(whole(&disk.files(&two), "/f") == [2; 8192], "it lands with its process");
    }
    assert_eq!(seen, BTreeSet::from([false, true]));
}

#[tokio::test(start_paused = true)]
async fn the_lock_of_a_dead_holder_is_free_once_nothing_of_it_can_land() {
    let mut seen = BTreeSet::new();
    for seed in 0..20 {
        let (disk, faults) = disk(seed);
        let ((one, _), (two, _)) = (process("one", 1, &faults), process("two", 2, &faults));
        let (files, other) = (disk.files(&one), disk.files(&two));
        made(&files, "/d/f", 8192);
        let _lock = files.lock(Path::new("/d/LOCK"), Some("one")).unwrap();
        let block = files.open(Path::new("/d/f"), Access::Write, Transfer::Auto, 0..8192).unwrap();
        disk.fail_write("/d/f");
        assert!(block.write_at(&[1; 8192], 0).is_err());
        let may_land = disk.0.state.lock().contents.values().any(|content| content.awaits(&one));
        one.die();
        let got = other.lock(Path::new("/d/LOCK"), Some("two")).unwrap();
        assert_eq!(matches!(got, Locked::Taken(_)), may_land, "seed {seed}");
        seen.insert(may_land);
        disk.process_died(&one);
        drop(got);
        assert!(matches!(other.lock(Path::new("/d/LOCK"), Some("two")).unwrap(), Locked::Held(_)));
        assert_eq!(other.list(Path::new("/d/f/g")).unwrap_err().kind(), io::ErrorKind::NotADirectory);
        assert_eq!(other.list(Path::new("/e")).unwrap_err().kind(), io::ErrorKind::NotFound);
    }
    assert_eq!(seen, BTreeSet::from([false, true]));
}
