//! `meta.properties`: which broker of which cluster keeps its files in a directory, with the layout that Kafka uses.

use std::fs;
use std::io::Write;
use std::path::Path;

use anyhow::{Context, bail};
use base::{BrokerId, Entropy, Uuid};

const FILE: &str = "meta.properties";
const FRESH: &str = "meta.properties.new";

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

impl Identity {
    /// The identity of a directory that never had one.
    pub fn new(broker: BrokerId, entropy: &Entropy) -> Self {
        Self { cluster_id: None, broker, directory_id: entropy.uuid() }
    }
}

/// Reads the directory's identity; `None` of a new one, which gets its identity with [`store`] once the cluster has
/// admitted the broker: a start that is refused leaves nothing behind that the next would have to fit.
///
/// # Errors
/// When the directory cannot be written or belongs to another broker.
pub fn load(directory: &Path, broker: BrokerId) -> anyhow::Result<Option<Identity>> {
    let unwritable = || {
        format!("{} cannot be written; choose a writable directory with --override log.dirs=PATH", directory.display())
    };
    blob::create_dir_all_synced(directory).with_context(unwritable)?;
    let path = directory.join(FILE);
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            // Better known now than after another process was fenced.
            let fresh = directory.join(FRESH);
            fs::File::create(&fresh).and_then(|_| fs::remove_file(&fresh)).with_context(unwritable)?;
            return Ok(None);
        }
        Err(error) => return Err(error).with_context(|| format!("{} cannot be read", path.display())),
    };
    let value = |key: &str| {
        text.lines()
            .find_map(|line| line.split_once('=').filter(|(k, _)| k.trim() == key))
            .map(|(_, v)| v.trim().to_owned())
    };
    let found = value("node.id").and_then(|id| id.parse().ok()).map(BrokerId);
    if found.is_some_and(|found| found != broker) {
        let found = found.unwrap_or_default();
        bail!(
            "{} belongs to broker {found}, but this broker's node.id is {broker}; set node.id={found} or another log.dirs",
            directory.display()
        );
    }
    let directory_id = value("directory.id").and_then(|id| Uuid::parse_str(&id).ok());
    let Some(directory_id) = directory_id else {
        bail!("{} has no valid directory.id; restore the file, or start with an empty directory", path.display());
    };
    Ok(Some(Identity { cluster_id: value("cluster.id"), broker, directory_id }))
}

/// Writes the identity durably.
///
/// # Errors
/// When the directory cannot be written.
pub fn store(directory: &Path, identity: &Identity) -> anyhow::Result<()> {
    let cluster = identity.cluster_id.as_ref().map_or_else(String::new, |id| format!("cluster.id={id}\n"));
    let text = format!("version=1\nnode.id={}\ndirectory.id={}\n{cluster}", identity.broker, identity.directory_id);
    let (path, fresh) = (directory.join(FILE), directory.join(FRESH));
    let write = || -> std::io::Result<()> {
        let mut file = fs::File::create(&fresh)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&fresh, &path)?;
        fs::File::open(directory)?.sync_all()
    };
    write().with_context(|| format!("{} cannot be written", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_keeps_its_identity_and_refuses_another_broker() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(load(dir.path(), BrokerId(3)).unwrap(), None);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "a start that is refused leaves nothing");
        let first = Identity { cluster_id: Some("abc".into()), ..Identity::new(BrokerId(3), &Entropy::system()) };
        store(dir.path(), &first).unwrap();
        assert_eq!(load(dir.path(), BrokerId(3)).unwrap(), Some(first));
        let error = load(dir.path(), BrokerId(4)).unwrap_err().to_string();
        assert!(error.contains("node.id=3"), "{error}");
    }
}
