//! What files must do.

use super::*;
use crate::aligned::{AlignedBuffer, PAGE};

fn page(filled: u8) -> AlignedBuffer {
    let mut page = AlignedBuffer::zeroed(PAGE);
    page.as_mut_slice().fill(filled);
    page
}

#[test]
fn a_block_keeps_to_its_range_and_never_answers_with_zeros_that_are_not_there() {
    let (directory, files) = (tempfile::tempdir().unwrap(), Files::system());
    let path = directory.path().join("file");
    for transfer in [Transfer::Auto, Transfer::Buffered] {
        assert!(files.create_zeroed(&path, 4 * PAGE as u64, PAGE as u64, transfer).unwrap() >= PAGE as u64);
        assert_eq!(files.length(&path).unwrap(), 4 * PAGE as u64);
        let block = files.open(&path, Access::WriteAlone, transfer, PAGE as u64..3 * PAGE as u64).unwrap();
        block.write_at(page(7).as_slice(), PAGE as u64).unwrap();
        let beyond = block.write_at(page(8).as_slice(), 2 * PAGE as u64).unwrap_err();
        assert_eq!(beyond.kind(), io::ErrorKind::UnexpectedEof);
        let whole = files.open(&path, Access::Read, transfer, 0..8 * PAGE as u64).unwrap();
        let seen: Vec<u8> = (0..4)
            .map(|number| {
                let mut read = page(255);
                whole.read_at(read.as_mut_slice(), number * PAGE as u64).unwrap();
                read.as_slice()[PAGE - 1]
            })
            .collect();
        assert_eq!(seen, [0, 0, 7, 0]);
        let past = whole.read_at(page(0).as_mut_slice(), 4 * PAGE as u64).unwrap_err();
        assert_eq!(past.kind(), io::ErrorKind::UnexpectedEof);
        assert!(whole.write_at(page(1).as_slice(), 0).is_err(), "opened for reading");
    }
}

/// Of any number of pages, more than are written by one call among them.
#[test]
fn zeros_are_written_where_they_belong_and_nowhere_else() {
    let (directory, files) = (tempfile::tempdir().unwrap(), Files::system());
    let path = directory.path().join("file");
    for transfer in [Transfer::Auto, Transfer::Buffered] {
        for pages in [1, 15, 16, 17, 256, 600] {
            let length = (pages + 2) * PAGE as u64;
            files.write(&path, &vec![7; length as usize]).unwrap();
            let block = files.open(&path, Access::Write, transfer, PAGE as u64..length).unwrap();
            block.write_zeros(pages * PAGE as u64, 0).unwrap();
            let beyond = block.write_zeros((pages + 1) * PAGE as u64, PAGE as u64).unwrap_err();
            assert_eq!(beyond.kind(), io::ErrorKind::UnexpectedEof);
            let seen = files.read(&path, length as usize).unwrap();
            let (before, zeroed, behind) = (&seen[..PAGE], &seen[PAGE..seen.len() - PAGE], &seen[seen.len() - PAGE..]);
            assert!([before, behind].concat().iter().all(|byte| *byte == 7), "{transfer:?}, {pages} pages");
            assert!(zeroed.iter().all(|byte| *byte == 0), "{transfer:?}, {pages} pages");
        }
        let zeroed = files.create_zeroed(&path, 600 * PAGE as u64, 300 * PAGE as u64, transfer).unwrap();
        assert!(zeroed >= 300 * PAGE as u64);
        assert!(files.read(&path, 600 * PAGE).unwrap().iter().all(|byte| *byte == 0));
    }
}

#[test]
fn names_are_made_linked_renamed_and_removed() {
    let (directory, files) = (tempfile::tempdir().unwrap(), Files::system());
    let deep = directory.path().join("deep/er");
    files.create_directory(&deep).unwrap();
    files.create_directory(&deep).unwrap();
    files.write(&deep.join("b.new"), b"text").unwrap();
    files.rename(&deep.join("b.new"), &deep.join("b")).unwrap();
    files.link(&deep.join("b"), &deep.join("a")).unwrap();
    assert_eq!(files.link(&deep.join("b"), &deep.join("a")).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
    files.sync_directory(&deep).unwrap();
    assert_eq!(files.list(&deep).unwrap(), ["a", "b"]);
    assert_eq!(files.read(&deep.join("a"), 4).unwrap(), b"text");
    let identity = |path: &str| files.identity(&directory.path().join(path)).unwrap();
    std::os::unix::fs::symlink(&deep, directory.path().join("by-link")).unwrap();
    assert_eq!((identity("by-link"), identity("by-link/a")), (identity("deep/er"), identity("deep/er/b")));
    assert_ne!(identity("deep"), identity("deep/er"));
    assert_eq!(files.read(&deep.join("a"), 3).unwrap_err().kind(), io::ErrorKind::FileTooLarge);
    files.remove(&deep.join("a")).unwrap();
    files.remove(&deep.join("a")).unwrap();
    assert_eq!(files.length(&deep.join("a")).unwrap_err().kind(), io::ErrorKind::NotFound);
}

#[test]
fn a_lock_has_one_holder_who_is_named_to_the_next() {
    let (directory, files) = (tempfile::tempdir().unwrap(), Files::system());
    let path = directory.path().join("LOCK");
    let Locked::Held(lock) = files.lock(&path, Some("process 7\n")).unwrap() else { panic!("it is free") };
    let Locked::Taken(holder) = files.lock(&path, Some("process 8\n")).unwrap() else { panic!("it is held") };
    assert_eq!(holder.as_deref(), Some("process 7"));
    let own = format!("process {}", std::process::id());
    let Locked::Taken(holder) = files.lock(&path, None).unwrap() else { panic!("it is held") };
    assert_eq!(holder, Some(own), "as the kernel knows it");
    drop(lock);
    assert!(matches!(files.lock(&path, None).unwrap(), Locked::Held(_)));
    assert_eq!(files.read(&path, 100).unwrap(), b"process 7\n", "left as it was");
}

#[test]
fn what_lies_in_memory_is_known() {
    let is_in_memory = |path: &str| Files::system().is_in_memory(Path::new(path));
    assert!(is_in_memory("/dev/shm"));
    assert!(is_in_memory("/dev/shm/not/there"), "it would be made there");
    assert!(!is_in_memory("/dev/null"), "a device, though its name lies in memory");
    assert!(!is_in_memory(env!("CARGO_MANIFEST_DIR")));
    assert!(!is_in_memory(concat!(env!("CARGO_MANIFEST_DIR"), "/none")));
}
