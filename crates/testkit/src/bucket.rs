//! A bucket seen from below: the directory in which a store keeps its objects, its own or an S3 server's; and the
//! directory of the broker's write-ahead log beside it.
//!
//! After a kill nothing moves any more, and what is there says what the broker was doing:
//!
//! | There is | The broker died |
//! |---|---|
//! | a new prefix without an object, a half-written file, or a new object that no commit names | between a cut and its commit |
//! | a commit behind the trim page of the log that it empties | between a commit and its trim |

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use bytes::Bytes;
use wire::Reader;
use wire::meta::MetadataRecord;

/// Where entries of the metadata log lie.
const ENTRIES: &str = "meta/log";
/// What stands before an entry's records.
const ENTRY_HEADER_BYTES: usize = 52;
/// Where a store in a directory keeps what it has not finished.
const SCRATCH: &str = ".headwater/tmp";
/// Objects are spread over prefixes of so many hex digits.
const PREFIX_DIGITS: usize = 4;
/// Less is no upload of a cut.
const HALF_WRITTEN_BYTES_MIN: u64 = 64 * 1024;
/// Trim pages are the second and third page of a log's header.
const PAGE: usize = 4096;

/// The directories below one broker.
#[derive(Clone, Debug)]
pub struct Bucket {
    root: PathBuf,
    wal: PathBuf,
}

/// What was there at one moment.
#[derive(Clone, Debug, Default)]
pub struct Glance {
    /// The number of the newest entry of the metadata log.
    pub entry: u64,
    /// Objects with records: `<broker>-<epoch>-<sequence>`.
    objects: BTreeSet<String>,
    /// The prefixes over which objects are spread, and those of them that have none.
    prefixes: BTreeSet<String>,
    bare: BTreeSet<String>,
    half_written: bool,
}

/// What happened between two moments.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Happened {
    /// Objects that were written and committed.
    pub committed: usize,
    /// Whether an upload was begun or done and not committed.
    pub is_uncommitted: bool,
    /// Whether a commit was done and the log that it empties not trimmed.
    pub is_untrimmed: bool,
}

impl Bucket {
    /// The bucket whose keys are the paths below `root`, and the directory of its broker's log.
    pub fn new(root: &Path, wal: &Path) -> Self {
        Self { root: root.to_owned(), wal: wal.to_owned() }
    }

    /// Looks at what is there.
    ///
    /// # Errors
    /// When a directory cannot be read.
    pub fn look(&self) -> Result<Glance> {
        let mut glance = Glance::default();
        for prefix in self.prefixes()? {
            let found = names(&self.root.join(&prefix).join("obj"))?;
            if found.is_empty() {
                glance.bare.insert(prefix.clone());
            }
            glance.prefixes.insert(prefix);
            glance.objects.extend(found);
        }
        let entries = names(&self.root.join(ENTRIES))?;
        glance.entry = entries.iter().filter_map(|name| name.parse().ok()).max().unwrap_or(0);
        let scratch = self.root.join(SCRATCH);
        glance.half_written = names(&scratch)?
            .iter()
            .any(|name| fs::metadata(scratch.join(name)).is_ok_and(|file| file.len() >= HALF_WRITTEN_BYTES_MIN));
        Ok(glance)
    }

    /// Reads from the metadata log and from the write-ahead log what happened between two glances, now being the
    /// second.
    ///
    /// # Errors
    /// When an entry cannot be read.
    pub fn happened(&self, before: &Glance, now: &Glance) -> Result<Happened> {
        let (mut committed, mut is_untrimmed) = (BTreeSet::new(), false);
        for number in before.entry + 1..=now.entry {
            for record in self.records(number)? {
                let MetadataRecord::Commit(commit) = record else { continue };
                let name = |sequence| format!("{}-{}-{sequence}", commit.writer_id, commit.writer_epoch);
                committed.extend(commit.objects.iter().map(|object| name(object.sequence)));
                let trimmed = self.trimmed(commit.log_id, commit.log_epoch);
                is_untrimmed = trimmed.is_some_and(|trimmed| trimmed < commit.wal_position);
            }
        }
        let new: BTreeSet<_> = now.objects.difference(&before.objects).cloned().collect();
        Ok(Happened {
            committed: new.intersection(&committed).count(),
            is_uncommitted: now.half_written || !new.is_subset(&committed) || !now.bare.is_subset(&before.prefixes),
            is_untrimmed,
        })
    }

    /// The prefixes that there are. An upload nearly always begins with a new one: objects are spread over many.
    ///
    /// # Errors
    /// When the directory cannot be read.
    pub fn prefixes(&self) -> Result<Vec<String>> {
        let is_prefix =
            |name: &String| name.len() == PREFIX_DIGITS && name.bytes().all(|digit| digit.is_ascii_hexdigit());
        Ok(names(&self.root)?.into_iter().filter(is_prefix).collect())
    }

    /// Whether the metadata log has an entry of this number.
    pub fn has_entry(&self, number: u64) -> bool {
        self.entry(number).exists()
    }

    fn entry(&self, number: u64) -> PathBuf {
        self.root.join(ENTRIES).join(format!("{number:020}"))
    }

    /// The records of an entry.
    fn records(&self, number: u64) -> Result<Vec<MetadataRecord>> {
        let path = self.entry(number);
        let bytes = Bytes::from(fs::read(&path).with_context(|| format!("reading {}", path.display()))?);
        let mut reader = Reader::new(bytes.slice(ENTRY_HEADER_BYTES.min(bytes.len())..));
        let mut records = Vec::new();
        while reader.remaining() > 0 {
            records.push(MetadataRecord::decode(&mut reader).with_context(|| format!("reading {}", path.display()))?);
        }
        Ok(records)
    }

    /// How far an incarnation of the write-ahead log was trimmed, if it is there.
    fn trimmed(&self, broker: i32, epoch: i64) -> Option<i64> {
        let header = fs::read(self.wal.join(format!("incarnation-{broker}-{epoch}.wal"))).ok()?;
        // Magic, then at 28 the page's number and at 36 the position.
        let page = |n: usize| {
            let page = header.get(n * PAGE..(n + 1) * PAGE).filter(|page| page.starts_with(b"HWLT"))?;
            let number = |at: usize| Some(i64::from_be_bytes(page.get(at..at + 8)?.try_into().ok()?));
            Some((number(28)?, number(36)?))
        };
        [page(1), page(2)].into_iter().flatten().max().map(|(_, trimmed)| trimmed)
    }
}

/// What is in a directory; nothing where there is none.
fn names(directory: &Path) -> Result<Vec<String>> {
    if !directory.is_dir() {
        return Ok(Vec::new());
    }
    let entries = fs::read_dir(directory).with_context(|| format!("reading {}", directory.display()))?;
    entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
}
