//! Writing and deleting files so that an answer survives a power cut.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use base::collections::HashSet;
use parking_lot::Mutex;
use rustix::io::Errno;
use tokio::sync::watch;

use super::scratch::Scratch;
use super::{io_error, write_synced};
use crate::backend::BoxFuture;
use crate::error::StoreError;
use crate::payload::Payload;

/// Most directories remembered as synced; past it they are forgotten and synced again when next used.
const KNOWN_DIRECTORIES_MAX: usize = 16_384;

#[derive(Debug)]
pub(super) struct Writer {
    root: PathBuf,
    scratch: Scratch,
    /// Directories whose own names are known to be durable.
    known: Mutex<HashSet<PathBuf>>,
    /// The first failed directory sync, for ever.
    sync_failure: watch::Sender<Option<StoreError>>,
}

impl Writer {
    pub(super) fn new(root: PathBuf, scratch: Scratch) -> Self {
        Self { root, scratch, known: Mutex::default(), sync_failure: watch::channel(None).0 }
    }

    /// Whether the store's directory is still there.
    pub(super) fn is_alive(&self) -> bool {
        self.scratch.is_alive()
    }

    /// Writes or replaces an object.
    pub(super) fn put(&self, key: &str, body: &Payload) -> Result<(), StoreError> {
        let place = || -> io::Result<()> {
            let (path, parent) = self.prepare(key)?;
            let (file, guard) = self.scratch.file()?;
            write_synced(&file, body)?;
            fs::rename(guard.path(), &path)?;
            guard.moved();
            self.sync_directory(&parent)
        };
        place().map_err(|error| io_error("put", key, &self.root, &error))
    }

    /// Writes an object if its name is free; answers whether it was.
    pub(super) fn create(&self, key: &str, body: &Payload) -> Result<bool, StoreError> {
        let place = || -> io::Result<bool> {
            let (path, parent) = self.prepare(key)?;
            // Losing is common (every follower of a log asks for the next name): look before writing a whole file.
            let created = if path.symlink_metadata().is_ok() {
                false
            } else {
                let (file, guard) = self.scratch.file()?;
                write_synced(&file, body)?;
                match rustix::fs::link(guard.path(), &path) {
                    Ok(()) => true,
                    Err(Errno::EXIST) => false,
                    Err(error) => return Err(error.into()),
                }
            };
            // The loser syncs too: the winner's name is reported as a fact, and may be this caller's own from before.
            self.sync_directory(&parent)?;
            Ok(created)
        };
        place().map_err(|error| io_error("create", key, &self.root, &error))
    }

    /// Removes files and syncs every directory that lost one.
    pub(super) fn delete(&self, keys: &[String]) -> Result<(), StoreError> {
        let mut touched = HashSet::default();
        for key in keys {
            let path = self.root.join(key);
            match fs::remove_file(&path) {
                Ok(()) => {
                    touched.insert(parent_of(&path));
                }
                Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {}
                // A directory of that name holds other objects; there is no object to delete.
                Err(_) if path.is_dir() => {}
                Err(error) => return Err(io_error("delete", key, &self.root, &error)),
            }
        }
        for directory in touched {
            self.sync_directory(&directory)
                .map_err(|error| io_error("delete", &directory.display().to_string(), &self.root, &error))?;
        }
        if self.is_alive() { Ok(()) } else { Err(io_error("delete", "", &self.root, &Errno::NOENT.into())) }
    }

    /// Resolves when a directory sync has failed.
    pub(super) fn failed(&self) -> BoxFuture<'static, StoreError> {
        let mut failure = self.sync_failure.subscribe();
        Box::pin(async move {
            match failure.wait_for(Option::is_some).await.ok().and_then(|failure| failure.clone()) {
                Some(failure) => failure,
                // The store has gone, and nobody can write to it.
                None => std::future::pending().await,
            }
        })
    }

    #[cfg(test)]
    pub(super) fn scratch_file_for_test(&self) -> (File, super::scratch::Guard) {
        self.scratch.file().unwrap()
    }

    /// The object's path and its parent, which exists and is durable.
    fn prepare(&self, key: &str) -> io::Result<(PathBuf, PathBuf)> {
        if self.sync_failure.borrow().is_some() {
            return Err(io::Error::other(
                "an earlier directory sync failed, so nothing more is written; check the disk and restart",
            ));
        }
        let path = self.root.join(key);
        let parent = parent_of(&path);
        self.make_durable(&parent)?;
        Ok((path, parent))
    }

    /// Makes `directory` and the directories above it up to the root, each synced into the one above. One that another
    /// writer has just made may not be synced yet, so only what this process synced itself is taken for granted.
    fn make_durable(&self, directory: &Path) -> io::Result<()> {
        if directory == self.root || self.known.lock().contains(directory) {
            return Ok(());
        }
        let above = parent_of(directory);
        self.make_durable(&above)?;
        match fs::create_dir(directory) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => self.sync_directory(&above)?,
        }
        let mut known = self.known.lock();
        if known.len() >= KNOWN_DIRECTORIES_MAX {
            known.clear();
        }
        known.insert(directory.to_owned());
        Ok(())
    }

    pub(super) fn sync_directory(&self, directory: &Path) -> io::Result<()> {
        let opened = File::open(directory)?;
        opened.sync_all().inspect_err(|error| self.sync_has_failed(directory, error))
    }

    fn sync_has_failed(&self, directory: &Path, error: &io::Error) {
        let reason = format!(
            "{error}: a directory could not be synced, so this process writes nothing more to its store; check the disk and \
             restart"
        );
        let key = directory.display().to_string();
        let failure = StoreError::Failed { operation: "sync", key, reason };
        self.sync_failure.send_if_modified(|first| {
            let is_first = first.is_none();
            first.get_or_insert(failure);
            is_first
        });
    }
}

fn parent_of(path: &Path) -> PathBuf {
    path.parent().map_or_else(PathBuf::new, Path::to_owned)
}

/// `mkdir -p` with every new name, and in any case the last one, synced into its parent.
///
/// # Errors
/// Whatever the file system says.
pub fn create_dir_all_synced(directory: &Path) -> io::Result<()> {
    let mut made = fs::create_dir(directory);
    let parent = directory.parent().filter(|parent| !parent.as_os_str().is_empty());
    if let (Err(error), Some(parent)) = (&made, parent)
        && error.kind() == io::ErrorKind::NotFound
    {
        create_dir_all_synced(parent)?;
        made = fs::create_dir(directory);
    }
    match made {
        Ok(()) => File::open(above(directory))?.sync_all(),
        // Whoever made it may have died before the sync. Where that cannot be done, whoever prepared the directory
        // answers for its name.
        Err(_) if directory.is_dir() => File::open(above(directory)).map_or(Ok(()), |above| above.sync_all()),
        Err(error) => Err(error),
    }
}

fn above(directory: &Path) -> &Path {
    match directory.parent() {
        Some(above) if !above.as_os_str().is_empty() => above,
        _ => Path::new("."),
    }
}
