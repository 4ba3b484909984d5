//! Where files lie before they are in place, and who may clear them away.
//!
//! A process holds an exclusive `flock` on `<nonce>.lock` while it lives, so whoever gets that lock knows that the
//! process is gone and that its `<nonce>-<n>.tmp` files are nobody's. Ages and process ids prove nothing and are not
//! looked at.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use base::Entropy;
use rustix::fs::{FlockOperation, flock};

use super::write::create_dir_all_synced;

const DIRECTORY: &str = ".headwater/tmp";
const LOCK_SUFFIX: &str = ".lock";
const FILE_SUFFIX: &str = ".tmp";

/// The temporary files of this process in one store.
#[derive(Debug)]
pub(super) struct Scratch {
    directory: PathBuf,
    nonce: String,
    /// Locked; its last link disappearing means that the store was removed under us.
    lock: File,
    next: AtomicU64,
}

impl Scratch {
    /// Claims a nonce in the store at `root` and removes the leftovers of dead processes.
    pub(super) fn open(root: &Path, entropy: &Entropy) -> io::Result<Self> {
        let directory = root.join(DIRECTORY);
        create_dir_all_synced(&directory)?;
        remove_leftovers(&directory)?;
        loop {
            let nonce = format!("{:016x}", entropy.next_u64());
            let lock = OpenOptions::new()
                .write(true)
                .create_new(true)
                .open(directory.join(format!("{nonce}{LOCK_SUFFIX}")))?;
            flock(&lock, FlockOperation::LockExclusive)?;
            // A cleaner may have found the file before it was locked and removed it: then take another nonce.
            if lock.metadata()?.nlink() > 0 {
                return Ok(Self { directory, nonce, lock, next: AtomicU64::new(0) });
            }
        }
    }

    /// A fresh temporary file, removed when the guard goes.
    pub(super) fn file(&self) -> io::Result<(File, Guard)> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let path = self.directory.join(format!("{}-{number}{FILE_SUFFIX}", self.nonce));
        let file = OpenOptions::new().write(true).create_new(true).open(&path)?;
        Ok((file, Guard { path, in_place: false }))
    }

    /// Whether the store's directory is still the one that was opened.
    pub(super) fn is_alive(&self) -> bool {
        let path = self.directory.join(format!("{}{LOCK_SUFFIX}", self.nonce));
        match (path.metadata(), self.lock.metadata()) {
            (Ok(there), Ok(ours)) => there.ino() == ours.ino() && there.dev() == ours.dev(),
            _ => false,
        }
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // Every guard is gone by now, so only the lock file is left. A failure leaves it to the next opener.
        let _ = fs::remove_file(self.directory.join(format!("{}{LOCK_SUFFIX}", self.nonce)));
    }
}

/// A temporary file's name.
#[derive(Debug)]
pub(super) struct Guard {
    path: PathBuf,
    in_place: bool,
}

impl Guard {
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The file was renamed away: nothing is left to remove.
    pub(super) fn moved(mut self) {
        self.in_place = true;
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        if !self.in_place {
            // A failure leaves the file to the next opener's cleaning.
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn remove_leftovers(directory: &Path) -> io::Result<()> {
    let mut names = Vec::new();
    for entry in fs::read_dir(directory)? {
        if let Ok(name) = entry?.file_name().into_string() {
            names.push(name);
        }
    }
    for nonce in names.iter().filter_map(|name| name.strip_suffix(LOCK_SUFFIX)) {
        let lock_path = directory.join(format!("{nonce}{LOCK_SUFFIX}"));
        let lock = match OpenOptions::new().write(true).open(&lock_path) {
            Ok(lock) => lock,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        if flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err() {
            continue;
        }
        // Dead. Files first, so that a crash in between leaves the lock file to find them by. The names were read
        // before the lock was taken, but a dead process makes no more of them.
        let own = |name: &&String| {
            name.strip_prefix(nonce).is_some_and(|rest| rest.starts_with('-') && rest.ends_with(FILE_SUFFIX))
        };
        for name in names.iter().filter(own) {
            remove_if_there(&directory.join(name))?;
        }
        remove_if_there(&lock_path)?;
    }
    Ok(())
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
