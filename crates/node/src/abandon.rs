//! An operator gives up what a log held and the store does not.
//!
//! Whoever still appends to that log would go on acknowledging what metadata has given up, and would have its files
//! removed at the next start. So where metadata says that the log is, it is looked for, locked and fenced, whatever place
//! the operator named. Giving up takes the broker's office, too: the same lock is wanted on every log that metadata counts
//! as open. Where one cannot be had the operator has to say that the broker is certainly dead ([`BrokerFate`]).
//!
//! Until all of that is known nobody is fenced and nothing is made or changed anywhere.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use base::file::{FileIdentity, Files};
use base::{BrokerId, Clock, Entropy, Incarnation};
use blob::{OpenError, ProbeError, Store, StoreOptions};
use meta::{BrokerError, LogError, Meta, MetaHandle, MetaOptions, SnapshotPolicy, WalOptions};
use stream::catalogue::IncarnationPhase;
use stream::wal::{Access, BlockLog, BlockLogOptions, Claim, WalError};
use thiserror::Error;

use crate::identity::{self, Identity, IdentityError};
use crate::log::blocking;
use crate::register::wal_place;
use crate::takeover::{self, Missing};

/// What is known of the broker that wrote a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BrokerFate {
    /// Nothing: its log must be found, so that it can be locked and fenced.
    Unknown,
    /// It acknowledges nothing any more and never will. An operator says so, of a log that is out of reach or cannot be
    /// written.
    CertainlyDead,
}

/// What is to be given up, and by whom.
#[derive(Debug)]
pub struct AbandonOptions {
    /// The log.
    pub incarnation: Incarnation,
    /// The broker whose office is taken for it.
    pub broker: BrokerId,
    /// What the operator says of the broker that wrote it.
    pub fate: BrokerFate,
    /// URL of the store.
    pub store: String,
    /// Where the broker keeps its logs, as the operator names it. What is there must not be another cluster's.
    pub log: PathBuf,
    /// The directory with the broker's identity, if it has one.
    pub home: Option<PathBuf>,
    /// Where its identity and its logs are.
    pub files: Files,
    /// Source of time.
    pub clock: Clock,
    /// Source of ids and nonces.
    pub entropy: Entropy,
}

/// What became of the files of a log that was given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FilesLeft {
    /// They were removed.
    Removed,
    /// They are out of reach.
    OutOfReach,
    /// Those that could be read were removed.
    Unread {
        /// How many segments cannot be read, and may be of it.
        segments: usize,
    },
}

/// Why a log was not given up.
#[derive(Debug, Error)]
pub enum AbandonError {
    /// The store's URL is not understood, or its directory cannot be used.
    #[error(transparent)]
    StoreUnusable(#[from] OpenError),
    /// The cluster's metadata cannot be read.
    #[error(transparent)]
    Unread(#[from] LogError),
    /// The directory of the identity is another broker's, or cannot be read.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// What the operator named is of another cluster than the store.
    #[error(
        "{named_by} says that it is of cluster {cluster}, and the store holds cluster {found}: correct --store, or name the \
         log's place with --wal PATH"
    )]
    OtherCluster {
        /// What says so.
        named_by: String,
        /// Its cluster.
        cluster: String,
        /// The store's.
        found: Arc<str>,
    },
    /// Metadata has no such log.
    #[error("the store's metadata knows no log {0}; `headwater wal show` lists what is at a place")]
    Unknown(Incarnation),
    /// There is nothing to give up.
    #[error("everything that log {0} held is in the store: there is nothing to give up")]
    Recovered(Incarnation),
    /// A process has the place of a log.
    #[error("the write-ahead log {incarnation} at {place} is in use; stop that broker before giving up a log")]
    InUse {
        /// The log.
        incarnation: Incarnation,
        /// Where it is.
        place: Arc<str>,
        /// Who has it.
        source: WalError,
    },
    /// A log is not where metadata says that it is, so that nothing shows that nobody appends to it.
    #[error(
        "metadata says that log {incarnation} is at {place}, and there it cannot be locked and fenced; bring it back, or run \
         this where it is: a broker that still appends to it would go on acknowledging what is given up. Only if the broker \
         that wrote it is certainly dead: --broker-is-dead"
    )]
    OutOfReach {
        /// The log.
        incarnation: Incarnation,
        /// Where it should be.
        place: Arc<str>,
        /// What is there instead.
        source: Missing,
    },
    /// The store does not take what would have to be written, or does not keep its promises. Nothing was given up.
    #[error(transparent)]
    StoreUnfit(#[from] ProbeError),
    /// The office could not be taken.
    #[error(transparent)]
    Office(#[from] Box<meta::StartError>),
    /// The log could not be fenced. Nothing was given up.
    #[error(
        "log {incarnation} could not be fenced, so it was not given up. Only if the broker that wrote it is certainly dead: \
         --broker-is-dead"
    )]
    NotFenced {
        /// The log.
        incarnation: Incarnation,
        /// Why not.
        source: WalError,
    },
    /// Metadata did not take note of it.
    #[error("log {incarnation} was not given up")]
    Metadata {
        /// The log.
        incarnation: Incarnation,
        /// Why not.
        source: BrokerError,
    },
    /// It was given up, but the broker is still registered in the name of the command that did so.
    #[error(
        "log {incarnation} was given up, but the broker seems to run still, as this command; its next start mends that"
    )]
    StillRegistered {
        /// The log.
        incarnation: Incarnation,
        /// Why.
        source: BrokerError,
    },
    /// It was given up, but its files are still there; the next start removes them.
    #[error("log {incarnation} was given up, but its files are still there; the next start at that place removes them")]
    NotRemoved {
        /// The log.
        incarnation: Incarnation,
        /// Why not.
        source: WalError,
    },
}

/// Gives up what a stopped broker's log held and was not committed.
///
/// # Errors
/// See [`AbandonError`].
pub async fn abandon(options: AbandonOptions) -> Result<FilesLeft, AbandonError> {
    let id = options.incarnation;
    let store = StoreOptions { clock: options.clock.clone(), entropy: options.entropy.clone(), ..Default::default() };
    let store = Store::open(&options.store, store).await?;
    let image = Meta::inspect(store.clone()).await?;
    let (Some(cluster_id), Some(state)) = (image.cluster_id.clone(), image.catalogue.incarnation(id)) else {
        return Err(AbandonError::Unknown(id));
    };
    if matches!(state.phase, IncarnationPhase::Recovered { .. }) {
        return Err(AbandonError::Recovered(id));
    }
    if state.is_nowhere() {
        return Ok(FilesLeft::Removed);
    }
    // Of those that are open the office is taken, and with it their right to commit.
    let counted_on =
        image.catalogue.incarnations().filter(|(log, state)| *log == id || state.phase == IncarnationPhase::Open);
    let counted_on: Vec<_> = counted_on.map(|(log, state)| (log, state.wal.location.clone())).collect();
    let wanted = Wanted {
        cluster_id: cluster_id.clone(),
        files: options.files.clone(),
        fate: options.fate,
        named: options.log.clone(),
    };
    let (broker, home) = (options.broker, options.home.clone());
    let (identity, held) = blocking(move || {
        let identity = wanted.identity(broker, home)?;
        wanted.ask_named_place()?;
        Ok::<_, AbandonError>((identity, wanted.hold(counted_on)?))
    })
    .await?;
    let own = held.of(id);

    // A store that refuses writes would be asked for ever.
    blob::probe(&store, true).await?;
    let (meta, registration) =
        Meta::start(store, meta_options(&options, &identity, &cluster_id)).await.map_err(Box::new)?;
    let given_up = give_up(&meta, id, own.as_ref(), options.fate).await;
    let left = meta.unregister(registration.incarnation).await;
    given_up?;
    left.map_err(|source| AbandonError::StillRegistered { incarnation: id, source })?;

    let Some(own) = own else { return Ok(FilesLeft::OutOfReach) };
    let removed = blocking(move || own.remove(id, Claim::GivenUp(&cluster_id))).await;
    let unread = removed.map_err(|source| AbandonError::NotRemoved { incarnation: id, source })?;
    if unread > 0 {
        // They may come back, and then metadata has to know whose they are.
        return Ok(FilesLeft::Unread { segments: unread });
    }
    // Only what was removed by who found it cannot come back. Should metadata not hear of it, it knows a log that is nowhere.
    if let Err(error) = meta.cleared(id).await {
        tracing::warn!(incarnation = %id, %error, "metadata goes on knowing a log that was given up and removed");
    }
    Ok(FilesLeft::Removed)
}

fn meta_options(options: &AbandonOptions, identity: &Identity, cluster_id: &str) -> MetaOptions {
    MetaOptions {
        broker_id: options.broker,
        directory_id: identity.directory_id,
        endpoints: Vec::new(),
        address: String::new(),
        rack: None,
        wal: WalOptions { place: wal_place(&options.log.display().to_string()), reach: String::new() },
        cluster_id: Some(cluster_id.to_owned()),
        snapshots: SnapshotPolicy::default(),
        deletion_period: meta::DELETION_PERIOD,
        clock: options.clock.clone(),
        entropy: options.entropy.clone(),
    }
}

/// Fence, then say so: nothing is acknowledged that metadata has given up.
async fn give_up(
    meta: &MetaHandle,
    id: Incarnation,
    log: Option<&Arc<BlockLog>>,
    fate: BrokerFate,
) -> Result<(), AbandonError> {
    if let Some(log) = log.cloned() {
        match blocking(move || log.fence(id)).await {
            // Nothing is left to fence by, which its owner finds too; and that this host has none, the lock says.
            Ok(()) | Err(WalError::NotFound { .. } | WalError::Damaged { .. }) => {}
            Err(source) if fate == BrokerFate::Unknown => {
                return Err(AbandonError::NotFenced { incarnation: id, source });
            }
            Err(_) => {}
        }
    }
    meta.abandon(id).await.map_err(|source| AbandonError::Metadata { incarnation: id, source })
}

/// What is asked of this host before anything is done.
struct Wanted {
    cluster_id: Arc<str>,
    files: Files,
    fate: BrokerFate,
    named: PathBuf,
}

/// Logs that nobody of this host appends to: the locks of their places are held.
#[derive(Default)]
struct Held {
    places: Vec<(FileIdentity, Arc<BlockLog>)>,
    logs: Vec<(Incarnation, Arc<BlockLog>)>,
}

impl Held {
    fn of(&self, id: Incarnation) -> Option<Arc<BlockLog>> {
        self.logs.iter().find(|(log, _)| *log == id).map(|(_, log)| log.clone())
    }
}

impl Wanted {
    /// As any log is.
    fn logs_are_opened_as(&self) -> BlockLogOptions {
        BlockLogOptions { files: self.files.clone(), ..BlockLogOptions::new("", Access::Observer) }
    }

    /// Who the broker is. The directory may be as new as the disk that replaced the log's.
    fn identity(&self, broker: BrokerId, home: Option<PathBuf>) -> Result<Identity, AbandonError> {
        let Some(home) = home else { return Ok(Identity::homeless(broker)) };
        let Some(known) = identity::read(&self.files, &home, broker)? else { return Ok(Identity::homeless(broker)) };
        if let Some(cluster) = known.cluster_id.clone() {
            self.same_cluster(&cluster, || identity::file(&home).display().to_string())?;
        }
        Ok(known)
    }

    /// What is at the place that the operator named must be of the store's cluster: else one of the two is a slip.
    fn ask_named_place(&self) -> Result<(), AbandonError> {
        let place = self.named.display().to_string();
        let seen = takeover::visit(&self.logs_are_opened_as(), &place, Access::Observer)
            .and_then(|log| Ok(log.incarnations()?));
        // What cannot be read has no say: whether a log is missed is asked where metadata says that it is.
        let Ok(found) = seen else { return Ok(()) };
        for cluster in found.into_iter().filter_map(|log| log.cluster_id.ok()) {
            self.same_cluster(&cluster, || format!("the write-ahead log at {place}"))?;
        }
        Ok(())
    }

    fn same_cluster(&self, cluster: &str, named_by: impl Fn() -> String) -> Result<(), AbandonError> {
        if *cluster == *self.cluster_id {
            return Ok(());
        }
        let (cluster, found) = (cluster.to_owned(), self.cluster_id.clone());
        Err(AbandonError::OtherCluster { named_by: named_by(), cluster, found })
    }

    /// Finds and locks each log, where metadata says that it is.
    fn hold(&self, logs: Vec<(Incarnation, Arc<str>)>) -> Result<Held, AbandonError> {
        let mut held = Held::default();
        for (incarnation, place) in logs {
            match self.lock(incarnation, &place, &mut held) {
                Ok(log) => held.logs.push((incarnation, log)),
                Err(Missing::Unreadable(source @ WalError::InUse { .. })) => {
                    return Err(AbandonError::InUse { incarnation, place, source });
                }
                Err(source) if self.fate == BrokerFate::Unknown => {
                    return Err(AbandonError::OutOfReach { incarnation, place, source });
                }
                Err(_) => {}
            }
        }
        Ok(held)
    }

    fn lock(&self, incarnation: Incarnation, place: &Arc<str>, held: &mut Held) -> Result<Arc<BlockLog>, Missing> {
        // Looked at first: an owner makes what is not there.
        let seen = takeover::visit(&self.logs_are_opened_as(), place, Access::Observer)?;
        takeover::check_there(&seen, incarnation, &self.cluster_id)?;
        // Metadata may know one place by several names, and a second lock would find the first one taken.
        let failed = |source| WalError::Io { what: format!("looking at {place}"), source };
        let identity = self.files.identity(Path::new(&**place)).map_err(failed)?;
        if let Some((_, log)) = held.places.iter().find(|(at, _)| *at == identity) {
            return Ok(log.clone());
        }
        let log = Arc::new(takeover::visit(&self.logs_are_opened_as(), place, Access::Owner)?);
        takeover::check_there(&log, incarnation, &self.cluster_id)?;
        held.places.push((identity, log.clone()));
        Ok(log)
    }
}
