//! The text that goes through the brokers: a dictionary of 40 MB, repeated with sequence numbers to more than 50 MB.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use crate::install::Clients;

/// Lines of text in a file, each a record; line `i` belongs to partition `i mod N`.
#[derive(Clone, Debug)]
pub struct Corpus {
    path: PathBuf,
    records: u64,
    bytes: u64,
}

impl Corpus {
    /// The whole corpus.
    ///
    /// # Errors
    /// When it is missing from the cache or is not the text it should be.
    pub fn whole(clients: &Clients) -> Result<Self> {
        const BYTES_MIN: u64 = 50 << 20;
        let corpus = Self::of_file(&clients.path("corpus/corpus.txt"))?;
        ensure!(corpus.bytes >= BYTES_MIN, "the corpus has only {} bytes, expected at least {BYTES_MIN}", corpus.bytes);
        Ok(corpus)
    }

    /// Any file of lines.
    ///
    /// # Errors
    /// When it cannot be read or its last line is cut short.
    pub fn of_file(path: &Path) -> Result<Self> {
        let text = fs::read(path).with_context(|| format!("reading the corpus {}", path.display()))?;
        ensure!(text.last() == Some(&b'\n'), "{} does not end with a line feed", path.display());
        let records = text.iter().filter(|&&byte| byte == b'\n').count() as u64;
        Ok(Self { path: path.to_owned(), records, bytes: text.len() as u64 })
    }

    /// The first `records` lines as a file of their own.
    ///
    /// # Errors
    /// When a file cannot be read or written.
    pub fn slice(&self, records: u64, target: &Path) -> Result<Self> {
        let text = fs::read(&self.path)?;
        let count = usize::try_from(records)?;
        let end: usize = text.split_inclusive(|&byte| byte == b'\n').take(count).map(<[u8]>::len).sum();
        fs::write(target, &text[..end]).with_context(|| format!("writing {}", target.display()))?;
        Self::of_file(target)
    }

    /// The file of lines.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// How many lines it has.
    pub fn records(&self) -> u64 {
        self.records
    }

    /// How many bytes it has, line feeds included.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The text of each of `partitions` partitions: its lines in order, each ended by a line feed.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn partitions(&self, partitions: u32) -> Result<Vec<Vec<u8>>> {
        let text = fs::read(&self.path)?;
        let mut parts = vec![Vec::with_capacity(text.len() / partitions.max(1) as usize); partitions as usize];
        for (line, part) in text.split_inclusive(|&byte| byte == b'\n').zip((0..partitions as usize).cycle()) {
            parts[part].extend_from_slice(line);
        }
        Ok(parts)
    }
}
