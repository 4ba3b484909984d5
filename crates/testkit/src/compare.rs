//! Byte-for-byte comparison of what a client read with what was sent.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// The file into which a driver writes one partition.
pub fn partition_file(directory: &Path, topic: &str, partition: u32) -> PathBuf {
    directory.join(format!("{topic}-{partition}"))
}

/// Compares the partitions of `topic` as read, in order, into each of `directories` with the expected text of each;
/// a first reader may have stopped where a second went on. A missing file is an empty read.
///
/// # Errors
/// When a file cannot be read. A difference is not an error but the returned description.
pub fn difference(expected: &[Vec<u8>], topic: &str, directories: &[&Path]) -> Result<Option<String>> {
    for (partition, expected) in (0u32..).zip(expected) {
        let mut read = Vec::with_capacity(expected.len());
        for directory in directories {
            let path = partition_file(directory, topic, partition);
            if path.exists() {
                read.extend(fs::read(&path).with_context(|| format!("reading {}", path.display()))?);
            }
        }
        if let Some(difference) = first_difference(expected, &read) {
            return Ok(Some(format!("{topic}-{partition}: {difference}")));
        }
    }
    Ok(None)
}

fn first_difference(expected: &[u8], read: &[u8]) -> Option<String> {
    if expected == read {
        return None;
    }
    let mut expected_lines = expected.split_inclusive(|&byte| byte == b'\n');
    let mut read_lines = read.split_inclusive(|&byte| byte == b'\n');
    for line in 0u64.. {
        match (expected_lines.next(), read_lines.next()) {
            (Some(expected), Some(read)) if expected == read => {}
            (None, None) => break,
            (expected, read) => {
                return Some(format!("record {line} should be {} and is {}", shown(expected), shown(read)));
            }
        }
    }
    Some("the bytes differ".to_owned())
}

fn shown(line: Option<&[u8]>) -> String {
    const SHOWN_BYTES: usize = 60;
    line.map_or_else(
        || "absent".to_owned(),
        |line| format!("{:?} ({} bytes)", String::from_utf8_lossy(&line[..line.len().min(SHOWN_BYTES)]), line.len()),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(files: &[(&str, &str)]) -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        for (name, text) in files {
            fs::write(directory.path().join(name), text).unwrap();
        }
        directory
    }

    #[test]
    fn a_read_that_continues_in_a_second_directory_is_whole() {
        let (first, second) = (read(&[("t-0", "a\n")]), read(&[("t-0", "b\n"), ("t-1", "c\n")]));
        let expected = [b"a\nb\n".to_vec(), b"c\n".to_vec()];
        assert_eq!(difference(&expected, "t", &[first.path(), second.path()]).unwrap(), None);
    }

    #[test]
    fn lost_swapped_doubled_and_changed_records_are_seen() {
        for wrong in ["a\n", "b\na\n", "a\na\nb\n", "a\nB\n", "a\nb", "a\nb\nc\n", ""] {
            let directory = read(&[("t-0", wrong)]);
            let found = difference(&[b"a\nb\n".to_vec()], "t", &[directory.path()]).unwrap();
            assert!(found.is_some(), "{wrong:?} was taken for the right text");
        }
    }
}
