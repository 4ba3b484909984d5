//! Start: find the state in the bucket, take the office, register.
//!
//! load (snapshot, tail) → refuse another broker's bucket → claim (`epoch + 1`) → floor check → register, which in one
//! batch gives a new broker epoch (the sequence of that entry), fences the unfinished WAL incarnations that fall to the
//! broker ([`stream::catalogue::Catalogue::takeovers`]) and assigns them to the new registration → the controller's task
//! runs.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use base::{BrokerEpoch, BrokerId, Clock, Entropy, Incarnation, MetaSequence, StreamId, Uuid, WalPosition};
use blob::Store;
use stream::catalogue::{IncarnationPhase, WalPlace};
use tokio::sync::{mpsc, watch};
use wire::meta::{BrokerEndpoint, BrokerRecord, ClusterRecord, ControllerRecord, MetadataRecord};

use crate::controller::{Controller, OPERATIONS_QUEUED_MAX, Shared};
use crate::error::{GiveUpError, LogError, LogLost, StartError, Unfit};
use crate::format::EncodedRecords;
use crate::handle::MetaHandle;
use crate::housekeeping::{Housekeeper, SnapshotPolicy};
use crate::image::{BrokerState, Image};
use crate::log::{BACKOFF_MAX, BACKOFF_MIN, Loaded, Log, Tail};
use crate::names;
use crate::office::{self, Batched, Loss};

/// How often a start begins again because another process won the race for an entry.
const CLAIM_ATTEMPTS_MAX: u32 = 16;

/// Where clients reach a broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Listener name.
    pub name: String,
    /// Host; empty for "the address the client dialled".
    pub host: String,
    /// Port.
    pub port: u16,
    /// Kafka's security protocol number (0 PLAINTEXT, 1 SSL, 2 SASL_PLAINTEXT, 3 SASL_SSL).
    pub security_protocol: i16,
}

/// The WAL that a broker will write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WalOptions {
    /// Kind and location.
    pub place: WalPlace,
    /// Who else can reach it.
    pub reach: String,
}

/// Who starts, and with what.
#[derive(Clone, Debug)]
pub struct MetaOptions {
    /// The broker's id.
    pub broker_id: BrokerId,
    /// The id of its data directory.
    pub directory_id: Uuid,
    /// Where clients reach it.
    pub endpoints: Vec<Endpoint>,
    /// Where other brokers reach it.
    pub address: String,
    /// Its rack.
    pub rack: Option<String>,
    /// Its WAL.
    pub wal: WalOptions,
    /// The cluster id that the bucket must hold, or shall get if it is new.
    pub cluster_id: Option<String>,
    /// When snapshots are made.
    pub snapshots: SnapshotPolicy,
    /// How often objects whose grace is over are looked for, by the runtime's clock.
    pub deletion_period: Duration,
    /// Source of time.
    pub clock: Clock,
    /// Source of ids and nonces.
    pub entropy: Entropy,
}

/// A WAL incarnation that this registration has to recover.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IncarnationToRecover {
    /// Which.
    pub incarnation: Incarnation,
    /// Where its WAL stands.
    pub wal: WalPlace,
    /// Replay begins here.
    pub committed: WalPosition,
    /// The streams that it owned.
    pub streams: Vec<StreamId>,
}

/// What a registration brought.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registration {
    /// The broker and its new epoch: this process's identity.
    pub incarnation: Incarnation,
    /// The cluster's id.
    pub cluster_id: Arc<str>,
    /// To be recovered, in this order, before the broker's own WAL is opened.
    pub recover: Vec<IncarnationToRecover>,
    /// Corrupt WALs whose streams stay offline until the operator decides, with the reason.
    pub damaged: Vec<(Incarnation, Arc<str>)>,
}

/// The metadata of one cluster.
#[derive(Debug)]
pub struct Meta;

impl Meta {
    /// Takes the controller's office on the bucket of `store`, registers the broker and starts the controller.
    ///
    /// A process of the same broker that still runs is fenced by this: its next metadata write fails, and its handle's
    /// [`MetaHandle::fenced`] resolves.
    ///
    /// # Errors
    /// See [`StartError`].
    pub async fn start(store: Store, options: MetaOptions) -> Result<(MetaHandle, Registration), StartError> {
        let log = Log { store };
        let mut last = String::new();
        for _ in 0..CLAIM_ATTEMPTS_MAX {
            let Loaded { mut image, tail } = log.load().await?;
            admit(&image, &options)?;
            match try_start(&log, &mut image, &options).await? {
                Ok(registration) => return Ok((serve(log, image, tail, &options), registration)),
                Err(reason) => last = reason,
            }
        }
        Err(StartError::Lost(last.into()))
    }

    /// The operator gives up what stands at the end of the log and cannot be used ([`LogError::LastEntry`]), though it may
    /// have been acknowledged. Takes the office, so no broker must be running. Answers which entries are void now; none if
    /// the log is whole.
    ///
    /// # Errors
    /// See [`GiveUpError`].
    pub async fn give_up_last(
        store: Store,
        broker: BrokerId,
        entropy: &Entropy,
    ) -> Result<Vec<MetaSequence>, GiveUpError> {
        let log = Log { store };
        let Err(error) = log.load().await else { return Ok(Vec::new()) };
        let LogError::LastEntry { sequence, damages, .. } = error else { return Err(error.into()) };
        // Whoever could read it one day would begin behind what is void, and refuse the word that it is.
        if let Some((snapshot, _)) = log.snapshots().await.map_err(LogError::from)?.range(sequence..).next() {
            return Err(GiveUpError::Snapshot { key: names::snapshot(*snapshot), sequence });
        }
        let image = log.load_below(sequence).await?.image;
        // What is void stays so, though it be whole one day: nothing is that does not show the same damage as before.
        match log.damage_from(sequence).await.map_err(LogError::from)? {
            Some(found) if found == damages => {}
            _ => return Err(GiveUpError::Unsettled(sequence)),
        }
        // A store that refuses writes would be asked for ever.
        blob::probe(&log.store, true).await?;
        let void = damages.iter().map(|(name, crc)| office::void_entry(*name, *crc)).collect();
        let claim = ControllerRecord {
            controller_epoch: image.controller_epoch.0 + 1,
            broker_id: broker.0,
            broker_epoch: -1,
            nonce: entropy.uuid(),
            ..Default::default()
        };
        match office::claim(&log, &image, claim, void, 0).await {
            Ok(_) => Ok(damages.into_iter().map(|(name, _)| name).collect()),
            Err(loss) => Err(GiveUpError::Office(StartError::Lost(lost(loss, "claim")?.into()))),
        }
    }

    /// The newest state in the bucket, read without taking part; for tools.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub async fn inspect(store: Store) -> Result<Image, LogError> {
        Log { store }.load().await.map(|loaded| loaded.image)
    }
}

/// The rules of one broker per bucket.
fn admit(image: &Image, options: &MetaOptions) -> Result<(), StartError> {
    if let (Some(found), Some(wanted)) = (&image.cluster_id, &options.cluster_id)
        && **found != **wanted
    {
        return Err(StartError::OtherCluster { found: found.clone(), wanted: wanted.as_str().into() });
    }
    // A cluster is named in the bucket before a broker remembers its name.
    if let (None, Some(wanted)) = (&image.cluster_id, &options.cluster_id) {
        return Err(StartError::EmptyStore { wanted: wanted.as_str().into() });
    }
    match image.brokers.values().find(|b| b.record.broker_id != options.broker_id.0) {
        Some(other) => Err(StartError::OtherBroker {
            present: BrokerId(other.record.broker_id),
            epoch: other.incarnation(),
            wanted: options.broker_id,
        }),
        None => Ok(()),
    }
}

/// Claims and registers on `image`; the inner error says which race was lost.
pub(crate) async fn try_start(
    log: &Log,
    image: &mut Image,
    options: &MetaOptions,
) -> Result<Result<Registration, String>, StartError> {
    let claim = ControllerRecord {
        controller_epoch: image.controller_epoch.0 + 1,
        broker_id: options.broker_id.0,
        broker_epoch: -1,
        address: options.address.as_str().into(),
        nonce: options.entropy.uuid(),
        ..Default::default()
    };
    *image = match office::claim(log, image, claim, Vec::new(), 0).await {
        Ok(claimed) => claimed.image,
        Err(loss) => return lost(loss, "claim").map(Err),
    };
    let mut wait = BACKOFF_MIN;
    loop {
        let (records, registration) = register(image, options)?;
        let encoded = EncodedRecords::of(&records).map_err(Unfit::because)?;
        let after = office::replayed(image, &encoded)?;
        match office::write(log, image, &encoded, after).await {
            Ok(Batched::Stands(written)) => {
                *image = written.image;
                return Ok(Ok(registration));
            }
            Ok(Batched::Void(claimed)) => *image = claimed.image,
            Err(loss) => return lost(loss, "registration").map(Err),
        }
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(BACKOFF_MAX);
    }
}

/// Which race was lost.
///
/// # Errors
/// What ends the start.
fn lost(loss: Loss, what: &str) -> Result<String, StartError> {
    match loss {
        Loss::Another(place) => Ok(format!("the {what} at entry {place}")),
        Loss::Unsure(place) => Ok(format!("the {what} at entry {place}, which is another's or was cut off")),
        Loss::Unreadable(place) => Err(StartError::Unreadable(LogLost::Unreadable(place))),
        Loss::GivenUp(place) => Ok(format!("the {what} at entry {place}, which was given up")),
        Loss::Unfit(unfit) => Err(unfit.into()),
    }
}

/// The registering batch and what it brings; its sequence is the broker epoch.
fn register(image: &Image, options: &MetaOptions) -> Result<(Vec<MetadataRecord>, Registration), Unfit> {
    let me = Incarnation { broker: options.broker_id, epoch: BrokerEpoch(image.next_sequence.0.cast_signed()) };
    let mut draft = image.clone();
    let mut records = Vec::new();
    let mut add = |draft: &mut Image, new: Vec<MetadataRecord>| -> Result<(), Unfit> {
        for record in new {
            draft.apply(&record).map_err(Unfit::because)?;
            records.push(record);
        }
        Ok(())
    };
    let cluster_id = match &image.cluster_id {
        Some(id) => id.clone(),
        None => {
            let id: Arc<str> = kafka_uuid(options.entropy.uuid()).into();
            let created_ms = options.clock.now().0;
            let record = ClusterRecord { cluster_id: (&*id).into(), created_ms, ..Default::default() };
            add(&mut draft, vec![record.into()])?;
            id
        }
    };
    add(&mut draft, vec![broker_record(me, options).into()])?;

    let mut registration = Registration { incarnation: me, cluster_id, recover: Vec::new(), damaged: Vec::new() };
    for (id, state) in image.catalogue.incarnations() {
        if let IncarnationPhase::Damaged { reason } = &state.phase {
            registration.damaged.push((id, reason.clone()));
        }
    }
    for id in draft.catalogue.takeovers(me) {
        let Some(state) = image.catalogue.incarnation(id) else { continue };
        if state.phase == IncarnationPhase::Open {
            let fenced = draft.catalogue.fence_incarnation(id);
            add(&mut draft, fenced.records)?;
        }
        let assigned = draft.catalogue.assign(id, me);
        assigned.response.map_err(Unfit::because)?;
        add(&mut draft, assigned.records)?;
        registration.recover.push(IncarnationToRecover {
            incarnation: id,
            wal: state.wal.clone(),
            committed: state.committed,
            streams: image.catalogue.streams_of(id).collect(),
        });
    }
    Ok((records, registration))
}

fn broker_record(me: Incarnation, options: &MetaOptions) -> BrokerRecord {
    let endpoints = options.endpoints.iter().map(|e| BrokerEndpoint {
        name: e.name.as_str().into(),
        host: e.host.as_str().into(),
        port: e.port,
        security_protocol: e.security_protocol,
        ..Default::default()
    });
    BrokerRecord {
        broker_id: me.broker.0,
        broker_epoch: me.epoch.0,
        directory_id: options.directory_id,
        rack: options.rack.as_deref().map(Into::into),
        endpoints: endpoints.collect(),
        wal_kind: options.wal.place.kind,
        wal_location: (&*options.wal.place.location).into(),
        wal_reach: options.wal.reach.as_str().into(),
        state: BrokerState::Starting.code(),
        ..Default::default()
    }
}

/// Kafka's text form of an id: 22 characters of URL-safe base64.
fn kafka_uuid(id: Uuid) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    // 128 bits and four zero bits behind them make 22 groups of six.
    let bits = id.as_u128();
    let digit = |index: u32| match index {
        21 => (bits << 4) & 63,
        _ => (bits >> (122 - 6 * index)) & 63,
    };
    (0..22).map(|index| char::from(ALPHABET[digit(index) as usize])).collect()
}

fn serve(log: Log, image: Image, tail: Tail, options: &MetaOptions) -> MetaHandle {
    let (sender, operations) = mpsc::channel(OPERATIONS_QUEUED_MAX);
    let newest = MetaSequence(image.next_sequence.0.saturating_sub(1));
    let shared = Arc::new(Shared {
        image: ArcSwap::from_pointee(image),
        changes: watch::Sender::new(newest),
        lost: watch::Sender::new(None),
        clock: options.clock.clone(),
    });
    let housekeeper = Housekeeper::new(log.clone(), options.snapshots, tail);
    let controller = Controller { log: log.clone(), shared: shared.clone(), operations, housekeeper };
    base::task::spawn_vital("meta-controller", controller.run());
    let handle = MetaHandle { shared, operations: sender, entropy: options.entropy.clone() };
    base::task::spawn_vital(
        "meta-deleter",
        crate::deleter::run(handle.downgrade(), log.store, options.deletion_period),
    );
    handle
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cluster_ids_are_written_as_kafka_writes_them() {
        assert_eq!(kafka_uuid(Uuid::from_u128(0)), "AAAAAAAAAAAAAAAAAAAAAA");
        assert_eq!(kafka_uuid(Uuid::from_u128(1)), "AAAAAAAAAAAAAAAAAAAAAQ");
        assert_eq!(kafka_uuid(Uuid::from_u128(u128::MAX)), "_____________________w");
    }
}
