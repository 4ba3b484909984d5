//! Files of the system whose calls hang, or fail, where a test says so.

use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use base::file::{Access, BlockFile, FileIdentity, FileSource, Files, Locked, Transfer};
use parking_lot::{Condvar, Mutex};

use crate::support::LONG;

/// What is done with a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    Lock,
    /// Whether it lies in memory.
    IsInMemory,
    /// A segment, or a small file.
    Make,
    Remove,
    ReadAt,
    /// A few pages of a header or segment.
    WriteAt,
    /// A piece of a segment that is zeroed.
    Zero,
}

#[derive(Debug, Default)]
struct Rules {
    /// Calls on paths that hold these words.
    hangs: Vec<(Call, &'static str)>,
    fails: Vec<(Call, &'static str)>,
    waiting: usize,
}

#[derive(Debug, Default)]
struct Shared {
    rules: Mutex<Rules>,
    opened: Condvar,
}

/// Says what hangs and what fails; what hangs goes on when it is opened or dropped.
#[derive(Debug, Default)]
pub struct Gate(Arc<Shared>);

impl Gate {
    pub fn files(&self) -> Files {
        Files::from_source(Arc::new(Gated { gate: self.0.clone(), system: Files::system() }))
    }

    pub fn hang(&self, call: Call, at: &'static str) {
        self.0.rules.lock().hangs.push((call, at));
    }

    pub fn fail(&self, call: Call, at: &'static str) {
        self.0.rules.lock().fails.push((call, at));
    }

    pub fn open(&self) {
        *self.0.rules.lock() = Rules::default();
        self.0.opened.notify_all();
    }

    /// Resolves when a call hangs.
    pub async fn reached(&self) {
        let reached = async {
            while self.0.rules.lock().waiting == 0 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(LONG, reached).await.expect("no call hangs");
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.open();
    }
}

impl Shared {
    fn pass(&self, call: Call, path: &Path) -> io::Result<()> {
        let text = path.to_string_lossy();
        let meets = |rules: &[(Call, &str)]| rules.iter().any(|(of, at)| *of == call && text.contains(at));
        let mut rules = self.rules.lock();
        if meets(&rules.fails) {
            return Err(io::Error::other("fails on purpose"));
        }
        while meets(&rules.hangs) {
            rules.waiting += 1;
            self.opened.wait(&mut rules);
        }
        Ok(())
    }
}

#[derive(Debug)]
struct Gated {
    gate: Arc<Shared>,
    system: Files,
}

#[derive(Debug)]
struct GatedBlock {
    gate: Arc<Shared>,
    path: PathBuf,
    block: Arc<dyn BlockFile>,
}

impl BlockFile for GatedBlock {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.gate.pass(Call::ReadAt, &self.path)?;
        self.block.read_at(buffer, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.gate.pass(Call::WriteAt, &self.path)?;
        self.block.write_at(bytes, offset)
    }

    fn write_zeros(&self, length: u64, offset: u64) -> io::Result<()> {
        self.gate.pass(Call::Zero, &self.path)?;
        self.block.write_zeros(length, offset)
    }
}

impl FileSource for Gated {
    fn open(
        &self,
        path: &Path,
        access: Access,
        transfer: Transfer,
        range: Range<u64>,
    ) -> io::Result<Arc<dyn BlockFile>> {
        let block = self.system.open(path, access, transfer, range)?;
        Ok(Arc::new(GatedBlock { gate: self.gate.clone(), path: path.to_owned(), block }))
    }

    fn create_zeroed(&self, path: &Path, length: u64, zeroed: u64, transfer: Transfer) -> io::Result<u64> {
        self.gate.pass(Call::Make, path)?;
        self.system.create_zeroed(path, length, zeroed, transfer)
    }

    fn write(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        self.gate.pass(Call::Make, path)?;
        self.system.write(path, bytes)
    }

    fn read(&self, path: &Path, limit: usize) -> io::Result<Vec<u8>> {
        self.system.read(path, limit)
    }

    fn length(&self, path: &Path) -> io::Result<u64> {
        self.system.length(path)
    }

    fn identity(&self, path: &Path) -> io::Result<FileIdentity> {
        self.system.identity(path)
    }

    /// What fails says that it does.
    fn is_in_memory(&self, path: &Path) -> bool {
        self.gate.pass(Call::IsInMemory, path).is_err() || self.system.is_in_memory(path)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        self.system.list(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.system.rename(from, to)
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.system.link(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.gate.pass(Call::Remove, path)?;
        self.system.remove(path)
    }

    fn create_directory(&self, path: &Path) -> io::Result<()> {
        self.system.create_directory(path)
    }

    fn sync_directory(&self, path: &Path) -> io::Result<()> {
        self.system.sync_directory(path)
    }

    fn lock(&self, path: &Path, note: Option<&str>) -> io::Result<Locked> {
        self.gate.pass(Call::Lock, path)?;
        self.system.lock(path, note)
    }
}
