//! What a started broker says: at most ten lines.

use std::ffi::OsStr;
use std::io::Write;
use std::path::Path;

use node::InMemory;

/// What the banner shows.
pub struct Banner<'a> {
    pub facts: &'a node::Facts,
    pub http: Option<&'a str>,
}

/// Prints it on standard output.
pub fn print(banner: &Banner<'_>) -> std::io::Result<()> {
    let Banner { facts, http } = banner;
    let mut out = std::io::stdout().lock();
    let version = env!("CARGO_PKG_VERSION");
    writeln!(out, "Headwater {version} is ready: broker {} of cluster {}", facts.me.broker, facts.cluster_id)?;
    writeln!(out, "  clients   {}", facts.addresses.join(", "))?;
    writeln!(out, "  storage   {}", facts.store)?;
    writeln!(out, "  log       {}", facts.log)?;
    writeln!(out, "  durable   {}", promise(&facts.store, facts.in_memory))?;
    let node::Recovery { batches, bytes } = facts.recovered;
    if batches > 0 {
        writeln!(out, "  recovered {batches} batches ({bytes} bytes) that the last process had acknowledged")?;
    }
    if let Some(http) = http {
        writeln!(out, "  health    http://{http}/readyz, metrics http://{http}/metrics")?;
    }
    let port = facts.addresses.first().and_then(|a| a.rsplit(':').next()).unwrap_or("9092");
    let bootstrap = if port == "9092" { String::new() } else { format!(" -b 127.0.0.1:{port}") };
    let program = program();
    writeln!(out, "  try       echo hello | {program} produce greetings{bootstrap}")?;
    writeln!(out, "            {program} consume greetings --from-beginning{bootstrap}")?;
    out.flush()
}

/// What outlives what.
fn promise(store: &str, in_memory: InMemory) -> &'static str {
    if store.starts_with("memory") {
        "nothing outlives this process: the store is in memory"
    } else if in_memory.log {
        "an acknowledged record survives kill -9, but no power loss: the log is in memory, put it on a disk with --wal PATH"
    } else if in_memory.store {
        "an acknowledged record survives kill -9, but no power loss: the store is in memory, put it on a disk with --store PATH"
    } else {
        "an acknowledged record survives kill -9 and power loss"
    }
}

/// How to call this program from a shell.
fn program() -> String {
    let own = std::env::current_exe().unwrap_or_else(|_| NAME.into());
    call(&own, std::env::var_os("PATH").as_deref(), std::env::current_dir().ok().as_deref())
}

const NAME: &str = "headwater";

/// By its name where that finds it, else by its path.
fn call(own: &Path, path: Option<&OsStr>, here: Option<&Path>) -> String {
    let found = path
        .iter()
        .flat_map(std::env::split_paths)
        .map(|directory| directory.join(NAME))
        .find(|candidate| candidate.is_file())
        .and_then(|candidate| candidate.canonicalize().ok());
    if own == Path::new(NAME) || found.as_deref() == Some(own) {
        return NAME.to_owned();
    }
    let path = match here.and_then(|here| own.strip_prefix(here).ok()) {
        Some(below) => Path::new(".").join(below),
        None => own.to_owned(),
    };
    let path = path.display().to_string();
    if path.contains(|c: char| !(c.is_ascii_alphanumeric() || "/._-+".contains(c))) {
        return format!("'{}'", path.replace('\'', r"'\''"));
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_in_memory_is_not_called_durable() {
        for (store, in_memory, said) in [
            ("file:///disk", (false, false), "survives kill -9 and power loss"),
            ("file:///disk", (false, true), "no power loss: the log is in memory"),
            ("file:///tmpfs", (true, false), "no power loss: the store is in memory"),
            ("file:///tmpfs", (true, true), "no power loss: the log is in memory"),
            ("s3://bucket", (false, false), "survives kill -9 and power loss"),
            ("s3://bucket", (false, true), "no power loss: the log is in memory"),
            ("memory://", (false, false), "nothing outlives this process"),
            ("memory://", (false, true), "nothing outlives this process"),
        ] {
            let in_memory = InMemory { store: in_memory.0, log: in_memory.1 };
            assert!(promise(store, in_memory).contains(said), "{store} {in_memory:?}");
        }
    }

    #[test]
    fn the_command_to_paste_finds_this_program() {
        let directory = tempfile::tempdir().unwrap();
        let bin = directory.path().canonicalize().unwrap();
        let own = bin.join(NAME);
        std::fs::write(&own, b"").unwrap();
        let elsewhere = tempfile::tempdir().unwrap();
        std::fs::write(elsewhere.path().join(NAME), b"another").unwrap();
        let list = |directories: &[&Path]| std::env::join_paths(directories).unwrap();

        assert_eq!(call(&own, Some(&list(&[Path::new("/none"), &bin])), None), NAME);
        let full = own.display().to_string();
        let other_first = list(&[elsewhere.path(), &bin]);
        assert_eq!(call(&own, Some(&other_first), None), full, "the name would start another program");
        assert_eq!(call(&own, None, Some(&bin)), "./headwater");
        assert_eq!(call(Path::new("/a b/it's"), None, None), r"'/a b/it'\''s'");
    }
}
