//! `meta.properties`: which broker of which cluster keeps its files in a directory, with the layout that Kafka uses.

use std::io;
use std::path::{Path, PathBuf};

use base::file::Files;
use base::{BrokerId, Entropy, Uuid};
use thiserror::Error;

const FILE: &str = "meta.properties";
const FRESH: &str = "meta.properties.new";
/// The most that is read of it: a few lines are written.
const FILE_BYTES_MAX: usize = 64 * 1024;

/// What the directory says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The cluster; unknown until metadata was read for the first time.
    pub cluster_id: Option<String>,
    /// The broker.
    pub broker: BrokerId,
    /// The directory's own id.
    pub directory_id: Uuid,
}

/// Why a directory cannot say whose it is.
#[derive(Debug, Error)]
pub enum IdentityError {
    /// It cannot be written.
    #[error(
        "{} cannot be written, where this broker keeps its identity; choose a writable directory with --override log.dirs=PATH",
        .file.display()
    )]
    Unwritable {
        /// The file.
        file: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// It cannot be read.
    #[error("{} cannot be read", .file.display())]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// It is another broker's.
    #[error(
        "{} says that this directory belongs to broker {found}, but this broker's node.id is {wanted}; set node.id={found}, or \
         give this broker a directory of its own with --override log.dirs=PATH",
        .file.display()
    )]
    OtherBroker {
        /// The file.
        file: PathBuf,
        /// The broker that it names.
        found: BrokerId,
        /// The broker that starts.
        wanted: BrokerId,
    },
    /// It was spoilt.
    #[error("{} has no valid directory.id; restore the file, or start with an empty directory", .file.display())]
    NoDirectoryId {
        /// The file.
        file: PathBuf,
    },
}

impl Identity {
    /// The identity of a directory that never had one.
    pub fn new(broker: BrokerId, entropy: &Entropy) -> Self {
        Self { cluster_id: None, broker, directory_id: entropy.uuid() }
    }

    /// The identity of a broker without a directory. Its directory id is none: metadata tells such a broker from a twin by
    /// other means.
    pub fn homeless(broker: BrokerId) -> Self {
        Self { cluster_id: None, broker, directory_id: Uuid::nil() }
    }
}

/// The file that says whose a directory is.
pub fn file(directory: &Path) -> PathBuf {
    directory.join(FILE)
}

/// Reads the directory's identity; `None` of a new one, which gets its identity with [`store`] once the cluster has
/// admitted the broker: a start that is refused leaves nothing behind that the next would have to fit.
///
/// # Errors
/// When the directory cannot be written or belongs to another broker.
pub fn load(files: &Files, directory: &Path, broker: BrokerId) -> Result<Option<Identity>, IdentityError> {
    let unwritable = |source| IdentityError::Unwritable { file: file(directory), source };
    files.create_directory(directory).map_err(unwritable)?;
    let known = read(files, directory, broker)?;
    if known.is_none() {
        // Better known now than after another process was fenced.
        let fresh = directory.join(FRESH);
        files.write(&fresh, b"").and_then(|()| files.remove(&fresh)).map_err(unwritable)?;
    }
    Ok(known)
}

/// Reads the directory's identity and touches nothing; `None` where there is none.
///
/// # Errors
/// When it cannot be read or belongs to another broker.
pub fn read(files: &Files, directory: &Path, broker: BrokerId) -> Result<Option<Identity>, IdentityError> {
    let file = file(directory);
    let text = match files.read(&file, FILE_BYTES_MAX) {
        Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(IdentityError::Unreadable { file, source }),
    };
    let value = |key: &str| {
        text.lines()
            .find_map(|line| line.split_once('=').filter(|(k, _)| k.trim() == key))
            .map(|(_, v)| v.trim().to_owned())
    };
    if let Some(found) = value("node.id").and_then(|id| id.parse().ok()).map(BrokerId)
        && found != broker
    {
        return Err(IdentityError::OtherBroker { file, found, wanted: broker });
    }
    match value("directory.id").and_then(|id| Uuid::parse_str(&id).ok()) {
        Some(directory_id) => Ok(Some(Identity { cluster_id: value("cluster.id"), broker, directory_id })),
        None => Err(IdentityError::NoDirectoryId { file }),
    }
}

/// Writes the identity durably.
///
/// # Errors
/// When the directory cannot be written.
pub fn store(files: &Files, directory: &Path, identity: &Identity) -> Result<(), IdentityError> {
    let cluster = identity.cluster_id.as_ref().map_or_else(String::new, |id| format!("cluster.id={id}\n"));
    let text = format!("version=1\nnode.id={}\ndirectory.id={}\n{cluster}", identity.broker, identity.directory_id);
    let (path, fresh) = (file(directory), directory.join(FRESH));
    let write = || -> io::Result<()> {
        files.write(&fresh, text.as_bytes())?;
        files.rename(&fresh, &path)?;
        files.sync_directory(directory)
    };
    write().map_err(|source| IdentityError::Unwritable { file: path.clone(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_keeps_its_identity_and_refuses_another_broker() {
        let (dir, files) = (tempfile::tempdir().unwrap(), Files::system());
        assert_eq!(load(&files, dir.path(), BrokerId(3)).unwrap(), None);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "a start that is refused leaves nothing");
        let first = Identity { cluster_id: Some("abc".into()), ..Identity::new(BrokerId(3), &Entropy::system()) };
        store(&files, dir.path(), &first).unwrap();
        assert_eq!(load(&files, dir.path(), BrokerId(3)).unwrap(), Some(first));
        let error = load(&files, dir.path(), BrokerId(4)).unwrap_err().to_string();
        let named = file(dir.path()).display().to_string();
        assert!(error.contains("node.id=3") && error.contains(&named), "{error}");
    }
}
