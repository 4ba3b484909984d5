//! What is planted in the code of the brokers: bugs that runs must find, and places at which a panic must do no harm.
//!
//! A bug stands beside the right code (`base::plant::bug`) and is the mistake as it was, or as it would be made; at a place
//! (`base::plant::place`) the code may panic. A test holds these tables against the sources: what is planted is listed, and
//! what is listed is planted.

/// A planted bug.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bug {
    /// What the code asks for.
    pub name: &'static str,
    /// What is wrong where it is taken.
    pub what: &'static str,
    /// What it breaks: an invariant of the design, or a rule of Kafka's. The checker of that name has to see it.
    pub breaks: &'static str,
    /// Checkers that may see it instead, by what it leads to. What others find was not this bug, or shows it by chance.
    pub leads_to: &'static [&'static str],
}

impl Bug {
    /// Whether a finding of that checker is one of this bug.
    pub fn is_seen_by(&self, checker: &str) -> bool {
        self.breaks == checker || self.leads_to.contains(&checker)
    }
}

/// A place at which the code may panic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// What the code passes.
    pub name: &'static str,
    /// Where it lies, and what a panic there must come to.
    pub what: &'static str,
    /// Whether the node must end soon, and not only the request that met it.
    pub ends: bool,
}

/// "Kafka": what clients rely on.
const KAFKA: &str = "Kafka";

/// The planted bugs.
pub const BUGS: &[Bug] = &[
    Bug {
        name: "replay-one-pass",
        what: "A replay of a block log calls a break damage, or the end, at the first look.",
        breaks: "I-2",
        leads_to: &["ends"],
    },
    Bug {
        name: "commit-in-callers-future",
        what: "Whoever waits for a commit drives it, and a commit that is dropped half-way may stand without being counted.",
        breaks: "I-4",
        leads_to: &["ends"],
    },
    Bug {
        name: "floor-of-one-cut",
        what: "The upload floor of a commit passes lower names that other cuts have in flight, whose commits are then refused.",
        breaks: "I-5",
        leads_to: &["ends"],
    },
    Bug {
        name: "deaf-to-panics",
        what: "Nobody is told that a vital task or a machine of the log has panicked, and the node stays ready.",
        breaks: "I-8",
        leads_to: &["vitals", "liveness"],
    },
    Bug {
        name: "unreadable-checkpoint-is-empty",
        what: "A producer checkpoint that cannot be read counts as one of no producers, and the log is not asked.",
        breaks: "I-2",
        leads_to: &[],
    },
    Bug {
        name: "ack-before-sync",
        what: "The writer hands a group to the completer before its write has returned.",
        breaks: "I-1",
        leads_to: &["I-2", "I-3"],
    },
    Bug {
        name: "ack-before-fence-read",
        what: "The completer acknowledges groups without a look at the fence page.",
        breaks: "I-1",
        leads_to: &["I-2", "I-3"],
    },
    Bug {
        name: "trim-before-commit",
        what: "The log is trimmed when the objects of a cut are put, before a commit names them.",
        breaks: "I-4",
        leads_to: &["I-2", "ends"],
    },
    Bug {
        name: "stale-epoch-goes-on",
        what: "A stream passes to another owner at the epoch that it has: what its former tenure wrote late is not stale.",
        breaks: "I-4",
        leads_to: &["ends"],
    },
    Bug {
        name: "no-dedup",
        what: "A batch that an idempotent producer repeats is appended again.",
        breaks: "I-2",
        leads_to: &[],
    },
    Bug {
        name: "crc-ignored",
        what: "Records of the log and data blocks are used whatever their checksums say.",
        breaks: "I-9",
        leads_to: &["I-2"],
    },
    Bug {
        name: "delete-before-grace",
        what: "Objects are deleted when a batch that retires them is decided, before it stands.",
        breaks: "I-5",
        leads_to: &[],
    },
    Bug {
        name: "no-floor-marker",
        what: "Entries of the metadata log are deleted, and no floor marker is made before.",
        breaks: "I-7",
        leads_to: &[],
    },
    Bug {
        name: "snapshot-forgets-pending",
        what: "A metadata snapshot leaves out the objects that wait for their deletion.",
        breaks: "I-5",
        leads_to: &["snapshots"],
    },
    Bug {
        name: "unknown-create-takes-new-bytes",
        what: "A metadata create without an outcome is told as failed, and the next entry is sent under the same name.",
        breaks: "I-6",
        leads_to: &[],
    },
    Bug {
        name: "watermark-before-durable",
        what: "The durable end moves, and readers see an entry, when it is appended.",
        breaks: "I-3",
        leads_to: &[],
    },
    Bug {
        name: "offset-commit-before-durable",
        what: "OffsetCommit is answered when it is decided, before its records are durable.",
        breaks: "I-3",
        leads_to: &["Kafka"],
    },
    Bug {
        name: "lost-create-keeps-image",
        what: "A controller that lost its create keeps its image and tells those who wait that it is done.",
        breaks: "I-6",
        leads_to: &["metadata"],
    },
    Bug {
        name: "sync-retried",
        what: "A write of the log that failed is tried again on the same descriptor, and the log goes on.",
        breaks: "I-8",
        leads_to: &["I-2"],
    },
    Bug {
        name: "fence-read-error-is-open",
        what: "A fence page that cannot be read counts as open, and the log goes on.",
        breaks: "I-8",
        leads_to: &[],
    },
    Bug {
        name: "short-read-is-the-end",
        what: "An object, a listing or a log ends where a read of it fails or stops short.",
        breaks: "I-5",
        leads_to: &["I-2", "Kafka", "ends"],
    },
    Bug {
        name: "recovered-too-early",
        what: "An incarnation is reported recovered once it is read, though its last chunks are not committed.",
        breaks: "I-2",
        leads_to: &["I-4"],
    },
    Bug {
        name: "sequence-window-of-one",
        what: "Producer state remembers one durable batch of a producer instead of five.",
        breaks: KAFKA,
        leads_to: &["I-2"],
    },
];

/// The places.
pub const PLACES: &[Place] = &[
    Place {
        name: "after-wal-write",
        what: "The log's writer, with a group on the device that nobody was told of: the log fails and the node ends.",
        ends: true,
    },
    Place {
        name: "before-acknowledgement",
        what: "The log's completer, with a group that can be read and is not acknowledged: the log fails and the node ends.",
        ends: true,
    },
    Place {
        name: "in-upload-build",
        what: "The work that builds a cut's objects: the upload fails, and the engine and the node with it.",
        ends: true,
    },
    Place {
        name: "after-put",
        what: "The uploader, with objects in the store that no commit names: the node ends; they are orphans.",
        ends: true,
    },
    Place {
        name: "in-commit",
        what: "The committer, with a commit whose outcome it has not counted: the node ends, and nothing follows it.",
        ends: true,
    },
    Place {
        name: "after-commit",
        what: "The uploader, with a commit that stands and a log that is not trimmed: the node ends.",
        ends: true,
    },
    Place {
        name: "in-replay",
        what: "The replay of a former log, amid a chunk: the start fails and may be repeated.",
        ends: true,
    },
    Place {
        name: "in-recovery",
        what: "A recovery between the commits of two chunks, or behind the last: the start fails and may be repeated.",
        ends: true,
    },
    Place {
        name: "before-recovered",
        what: "A start, with a log that is committed whole and not said to be recovered: the start fails and may be repeated.",
        ends: true,
    },
    Place {
        name: "in-start",
        what: "A start, with a log of its own that is open and to which nothing was appended: the start fails.",
        ends: true,
    },
    Place {
        name: "after-meta-create",
        what: "The controller, with an entry that stands and that nobody has replayed or answered: the node ends.",
        ends: true,
    },
    Place {
        name: "after-snapshot",
        what: "Housekeeping, with a metadata snapshot in the store and nothing released below it: the node ends.",
        ends: true,
    },
    Place {
        name: "after-delete",
        what: "The deleter, with objects gone from the store that metadata still has as pending: the node ends.",
        ends: true,
    },
    Place {
        name: "in-append",
        what: "An append under its partition's lock, with offsets taken and nothing queued: the partition closes in this \
               leader epoch and appends no more; the request's connection breaks, or, where a coordinator appends, the \
               node ends.",
        ends: false,
    },
    Place {
        name: "in-producer-load",
        what: "The load of producer state: the request's connection breaks, and the next one loads; in a retention sweep the \
               node ends.",
        ends: false,
    },
    Place { name: "in-retention", what: "The retention sweep, before a trim is asked for: the node ends.", ends: true },
    Place {
        name: "in-produce",
        what: "A produce request whose batches are queued and not answered: its connection breaks; they become durable.",
        ends: false,
    },
    Place { name: "in-fetch", what: "A fetch that has read what it will answer: its connection breaks.", ends: false },
    Place {
        name: "in-coordinator-decision",
        what: "A decision under its shard's lock: the shard is discarded and loaded again, what was decided by then may \
               stand, and the request's connection breaks; where a timer decides, the node ends.",
        ends: false,
    },
    Place {
        name: "after-coordinator-append",
        what: "A coordinator's writer, with a batch in the log's queue that it does not follow: the node ends.",
        ends: true,
    },
    Place {
        name: "in-drain",
        what: "A drain, with the log emptied and the registration still there: the node ends; the next start has little to do.",
        ends: true,
    },
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;
    use std::path::{Path, PathBuf};

    use super::*;

    /// The sources of all crates but this one.
    fn sources() -> Vec<PathBuf> {
        fn gather(dir: &Path, out: &mut Vec<PathBuf>) {
            for entry in fs::read_dir(dir).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    gather(&path, out);
                } else if path.extension().is_some_and(|extension| extension == "rs") {
                    out.push(path);
                }
            }
        }
        let own = Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut found = Vec::new();
        for entry in fs::read_dir(own.parent().unwrap()).unwrap() {
            let source = entry.unwrap().path().join("src");
            if source.is_dir() && !source.starts_with(own) {
                gather(&source, &mut found);
            }
        }
        found
    }

    /// The names with which a function of the port is called.
    fn planted(function: &str) -> BTreeSet<String> {
        let call = format!("plant::{function}(");
        let mut names = BTreeSet::new();
        for path in sources() {
            let text = fs::read_to_string(&path).unwrap();
            for rest in text.split(&call).skip(1) {
                let name = rest.trim_start().strip_prefix('"').and_then(|name| name.split('"').next());
                let name = name.unwrap_or_else(|| panic!("{}: the name is no literal", path.display()));
                names.insert(name.to_owned());
            }
        }
        names
    }

    fn listed(names: impl Iterator<Item = &'static str>) -> BTreeSet<String> {
        let (mut seen, mut twice) = (BTreeSet::new(), Vec::new());
        for name in names {
            if !seen.insert(name.to_owned()) {
                twice.push(name);
            }
        }
        assert!(twice.is_empty(), "listed twice: {twice:?}");
        seen
    }

    #[test]
    fn what_is_planted_is_listed_and_what_is_listed_is_planted() {
        assert_eq!(planted("bug"), listed(BUGS.iter().map(|bug| bug.name)));
        assert_eq!(planted("place"), listed(PLACES.iter().map(|place| place.name)));
    }

    #[test]
    fn each_bug_breaks_something_that_is_promised() {
        let promises: Vec<String> = (1..=9).map(|number| format!("I-{number}")).collect();
        let is_promised = |bug: &&Bug| bug.breaks == KAFKA || promises.iter().any(|promise| promise == bug.breaks);
        let idle: Vec<_> = BUGS.iter().filter(|bug| !is_promised(bug)).collect();
        assert!(idle.is_empty(), "{idle:?}");
    }
}
