//! Listing a directory tree in the byte order of the keys.

use std::cmp::Ordering;
use std::fs;
use std::io;
use std::path::Path;

use crate::backend::{ListPage, ObjectMeta};

/// Up to `limit` objects under `root`. Directories are read whole, files are looked at only when they are answered.
pub(super) fn list(root: &Path, prefix: &str, start_after: Option<&str>, limit: usize) -> io::Result<ListPage> {
    let mut walk = Walk { root, prefix, start_after, limit, page: ListPage::default() };
    // Start in the deepest directory that the prefix names.
    let top = prefix.rfind('/').map_or("", |slash| &prefix[..=slash]);
    walk.directory(top)?;
    Ok(walk.page)
}

struct Walk<'a> {
    root: &'a Path,
    prefix: &'a str,
    start_after: Option<&'a str>,
    limit: usize,
    page: ListPage,
}

impl Walk<'_> {
    /// Adds what lies under `directory` (empty, or ending in a slash). Entries are sorted as keys: a directory counts
    /// with its slash, so that `a-b` comes before `a/c`.
    fn directory(&mut self, directory: &str) -> io::Result<()> {
        let mut keys = Vec::new();
        let entries = match fs::read_dir(self.root.join(directory)) {
            Ok(entries) => entries,
            // Nothing was ever written there. The caller has made sure that the root itself exists.
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        for entry in entries {
            let entry = entry?;
            let Ok(name) = entry.file_name().into_string() else { continue };
            if name.starts_with('.') {
                continue;
            }
            let slash = if entry.file_type()?.is_dir() { "/" } else { "" };
            let key = format!("{directory}{name}{slash}");
            if self.may_hold_matches(&key) {
                keys.push(key);
            }
        }
        keys.sort_unstable();
        for key in keys {
            if self.page.more {
                break;
            }
            if key.ends_with('/') {
                self.directory(&key)?;
            } else {
                self.file(key)?;
            }
        }
        Ok(())
    }

    fn may_hold_matches(&self, key: &str) -> bool {
        let is_directory = key.ends_with('/');
        let in_prefix = key.starts_with(self.prefix) || (is_directory && self.prefix.starts_with(key));
        let after = match self.start_after {
            None => true,
            Some(after) => key.cmp(after) == Ordering::Greater || (is_directory && after.starts_with(key)),
        };
        in_prefix && after
    }

    fn file(&mut self, key: String) -> io::Result<()> {
        if self.page.objects.len() == self.limit {
            self.page.more = true;
            return Ok(());
        }
        match self.root.join(&key).metadata() {
            Ok(metadata) => self.page.objects.push(ObjectMeta { key, len: metadata.len() }),
            // Deleted since the directory was read.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }
}
