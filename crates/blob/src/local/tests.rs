use std::fs;
use std::path::Path;

use futures::FutureExt;

use super::*;
use crate::{Purpose, Store, StoreOptions};

async fn open(root: &Path) -> LocalBackend {
    LocalBackend::open(root.to_owned(), Entropy::system()).await.unwrap()
}

fn scratch_files(root: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(root.join(".headwater/tmp"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.ends_with(".tmp"))
        .collect();
    names.sort();
    names
}

#[tokio::test]
async fn leftovers_of_the_dead_go_and_files_of_the_living_stay() {
    let directory = tempfile::tempdir().unwrap();
    let living = open(directory.path()).await;
    let (_file, guard) = living.inner.writer.scratch_file_for_test();
    let scratch = directory.path().join(".headwater/tmp");
    fs::write(scratch.join("dead.lock"), b"").unwrap();
    fs::write(scratch.join("dead-0.tmp"), b"half").unwrap();
    fs::write(scratch.join("stranger.txt"), b"not ours").unwrap();

    let _other = open(directory.path()).await;

    let living_name = guard.path().file_name().unwrap().to_str().unwrap().to_owned();
    assert_eq!(scratch_files(directory.path()), [living_name]);
    assert!(scratch.join("stranger.txt").exists());
    assert!(!scratch.join("dead.lock").exists());
}

#[tokio::test]
async fn a_finished_write_leaves_nothing_but_the_object() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path()).await;
    store.put("a/b", Payload::from(b"1")).await.unwrap();
    assert!(matches!(store.create("a/c", Payload::from(b"2")).await, CreateAttempt::Created(_)));
    assert!(matches!(store.create("a/c", Payload::from(b"3")).await, CreateAttempt::Exists));
    assert!(scratch_files(directory.path()).is_empty());
    assert_eq!(fs::read(directory.path().join("a/c")).unwrap(), b"2");
}

#[tokio::test]
async fn a_vanished_directory_is_not_an_empty_store() {
    let parent = tempfile::tempdir().unwrap();
    let root = parent.path().join("store");
    let store = open(&root).await;
    store.put("a", Payload::from(b"1")).await.unwrap();
    fs::rename(&root, parent.path().join("elsewhere")).unwrap();
    fs::create_dir(&root).unwrap();
    assert!(matches!(store.get("a", ReadRange::Whole).await, Err(StoreError::NoSuchBucket { .. })));
    assert!(matches!(store.head("a").await, Err(StoreError::NoSuchBucket { .. })));
    assert!(matches!(store.list("", None, 10).await, Err(StoreError::NoSuchBucket { .. })));
    assert!(matches!(store.put("b", Payload::from(b"1")).await, Err(StoreError::NoSuchBucket { .. })));
}

#[tokio::test]
async fn a_directory_that_could_not_be_synced_ends_all_writing_and_whoever_waits_for_that_hears_it() {
    let directory = tempfile::tempdir().unwrap();
    let local = Arc::new(open(directory.path()).await);
    let store = Store::with_backend(local.clone(), StoreOptions::default()).aside();
    store.put(Purpose::Upload, "a", Payload::from(b"1")).await.unwrap();
    assert!(store.failed().now_or_never().is_none());
    // No file system of processes syncs its directories.
    local.inner.writer.sync_directory(Path::new("/proc")).unwrap_err();
    let why = store.failed().await.to_string();
    assert!(why.contains("/proc") && why.contains("restart"), "{why}");
    assert!(matches!(store.put(Purpose::Upload, "b", Payload::from(b"2")).await, Err(StoreError::Failed { .. })));
    assert!(matches!(local.create("c", Payload::from(b"3")).await, CreateAttempt::Unknown(_)));
    assert_eq!(store.get(Purpose::Read, "a", ..).await.unwrap(), b"1"[..], "what was written is read");
}

#[tokio::test]
async fn a_name_that_is_a_prefix_of_others_is_refused_with_the_reason() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path()).await;
    store.put("a/b", Payload::from(b"1")).await.unwrap();
    assert!(matches!(store.put("a", Payload::from(b"1")).await, Err(StoreError::InvalidInput { .. })));
    assert!(matches!(store.put("a/b/c", Payload::from(b"1")).await, Err(StoreError::InvalidInput { .. })));
    assert!(matches!(store.get("a", ReadRange::Whole).await, Err(StoreError::NotFound { .. })));
}

#[test]
fn a_full_disk_is_told_apart_from_a_broken_one() {
    let error = |errno: Errno| io_error("put", "k", Path::new("/x"), &errno.into());
    assert!(matches!(error(Errno::NOSPC), StoreError::Full { .. }));
    assert!(matches!(error(Errno::DQUOT), StoreError::Full { .. }));
    assert!(matches!(error(Errno::IO), StoreError::Failed { .. }));
    assert!(error(Errno::NOSPC).is_retriable() && !error(Errno::IO).is_retriable());
}

#[tokio::test]
async fn writing_to_dev_full_reports_a_full_disk() {
    let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let error = write_synced(&full, &Payload::from(b"x")).unwrap_err();
    assert!(matches!(io_error("put", "k", Path::new("/x"), &error), StoreError::Full { .. }));
}

#[tokio::test]
async fn a_large_object_of_any_length_and_cut_comes_back_whole() {
    let pattern: Vec<u8> = (0..3 << 20).map(|n: u32| (n ^ (n >> 9)) as u8).collect();
    for place in ["/dev/shm", "."] {
        let directory = tempfile::tempdir_in(place).unwrap();
        let store = open(directory.path()).await;
        for (length, cut) in
            [(1 << 20, 4096), ((1 << 20) + 1, 61), ((2 << 20) - 1, 16_461), (3 << 20, 3 << 20), (2_500_000, 999)]
        {
            let mut body = Payload::new();
            for part in pattern[..length].chunks(cut) {
                body.push(Bytes::copy_from_slice(part));
            }
            store.put("large", body).await.unwrap();
            let back = store.get("large", ReadRange::Whole).await.unwrap();
            assert!(back == pattern[..length], "{length} bytes in slices of {cut} on {place}");
            // In parts of odd lengths, from an odd place to the very end.
            let start = 4_097;
            let mut lengths = vec![262_151, 0, 1, 131_072];
            lengths.push((length - start) as u32 - lengths.iter().sum::<u32>());
            let parts = store.get_parts("large", start as u64, &lengths).await.unwrap();
            assert!(parts.iter().map(|part| part.len() as u32).eq(lengths.iter().copied()));
            assert!(parts.concat() == pattern[start..length], "{length} bytes in parts on {place}");
        }
    }
}

#[tokio::test]
async fn parts_read_past_the_cache_are_what_was_written_however_they_are_cut() {
    let directory = tempfile::tempdir_in(".").unwrap();
    let store = open(directory.path()).await;
    let length = (1 << 20) + 12_345;
    let pattern: Vec<u8> = (0..length).map(|n: u32| (n ^ (n >> 7) ^ (n >> 15)) as u8).collect();
    store.put("large", Payload::from(pattern.clone())).await.unwrap();
    let file = direct::open(&directory.path().join("large")).unwrap().expect("this file system reads past its cache");
    let pool = Arc::new(BufferPool::default());
    let whole_pages = [4096, 8192, 4096];
    let around_pages = [4095, 1, 1, 4096, 4097, 0, 3, 8192, 100_000];
    let small = [10, 0, 20, 4000, 5, 70_000];
    let one = [300_000];
    for start in [0, 1, 4095, 4096, 4097, 700_001] {
        for lengths in [&whole_pages[..], &around_pages, &small, &one] {
            let parts = direct::read_parts(&file, &pool, start, lengths).unwrap().unwrap();
            let mut at = start as usize;
            for (part, length) in parts.iter().zip(lengths) {
                assert!(part[..] == pattern[at..at + *length as usize], "{lengths:?} from {start}, at {at}");
                at += *length as usize;
            }
        }
    }
    // To the very last byte, and not beyond.
    let last = direct::read_parts(&file, &pool, u64::from(length) - 70_000, &[30_000, 40_000]).unwrap().unwrap();
    assert!(last.concat() == pattern[pattern.len() - 70_000..]);
    let beyond = direct::read_parts(&file, &pool, u64::from(length) - 70_000, &[30_000, 40_001]).unwrap_err();
    assert_eq!(beyond.kind(), io::ErrorKind::UnexpectedEof);
    let far = direct::read_parts(&file, &pool, u64::from(length) + 9_000, &[1]).unwrap_err();
    assert_eq!(far.kind(), io::ErrorKind::UnexpectedEof);
}

#[test]
fn a_file_system_that_refuses_the_read_itself_is_read_through_its_cache() {
    let file = tempfile::tempfile_in(".").unwrap();
    // No file system reads at such a place; the kernel says the same as for one that wants another alignment.
    let refused = direct::read_parts(&file, &Arc::default(), 1 << 63, &[5000]).unwrap();
    assert!(refused.is_none());
}

#[test]
fn memory_of_a_read_is_used_again_and_what_waits_is_bounded() {
    let mut file = tempfile::tempfile_in(".").unwrap();
    io::Write::write_all(&mut file, &vec![7; 2 << 20]).unwrap();
    let pool = Arc::new(BufferPool::default());
    let read = |lengths: &[u32]| direct::read_parts(&file, &pool, 0, lengths).unwrap().unwrap();
    let parts = read(&[100_000, 100_000]);
    let (address, slice) = (parts[0].as_ptr(), parts[1].slice(5..));
    assert_eq!(pool.idle_bytes(), 0);
    drop(parts);
    assert_eq!(pool.idle_bytes(), 102_400, "the second part is still held");
    assert_eq!(read(&[99_000])[0].as_ptr(), address);
    assert_eq!(slice.len(), 99_995);
    drop(slice);
    drop((0..20).map(|_| read(&[1 << 20])).collect::<Vec<_>>());
    assert!(pool.idle_bytes() <= 16 << 20);
    let held = read(&[50_000]);
    drop(pool);
    drop(held);
}
