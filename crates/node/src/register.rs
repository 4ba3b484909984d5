//! Registration: from what a node is told and what it found, to its place in the cluster.

use std::sync::Arc;

use base::{BrokerId, Uuid};
use blob::Store;
use broker::Listeners;
use meta::{Endpoint, Meta, MetaHandle, MetaOptions, Registration, WalOptions};
use stream::catalogue::WalPlace;

use crate::options::NodeOptions;
use crate::start::StartError;

/// The block log, in metadata.
const WAL_KIND_BLOCK: i8 = 0;

/// Who registers.
pub(crate) struct Registrant {
    pub(crate) broker: BrokerId,
    pub(crate) directory_id: Uuid,
    /// The cluster that the bucket must hold, with the place that says so.
    pub(crate) cluster: Option<(Arc<str>, String)>,
}

/// A block log's place, as metadata knows it.
pub(crate) fn wal_place(location: &str) -> WalPlace {
    WalPlace { kind: WAL_KIND_BLOCK, location: location.into() }
}

/// Takes office and registers: from here on former processes of this broker are fenced.
pub(crate) async fn register(
    who: Registrant,
    options: &NodeOptions,
    listeners: &Listeners,
    store: &Store,
) -> Result<(MetaHandle, Registration), StartError> {
    let Registrant { broker, directory_id, cluster } = who;
    let meta_options = MetaOptions {
        broker_id: broker,
        directory_id,
        endpoints: endpoints(listeners),
        address: String::new(),
        rack: options.broker.rack.clone(),
        wal: WalOptions { place: wal_place(&options.log.to_string()), reach: String::new() },
        cluster_id: cluster.as_ref().map(|(id, _)| id.to_string()),
        snapshots: options.snapshots,
        deletion_period: options.deletion_period,
        clock: options.clock.clone(),
        entropy: options.entropy.clone(),
    };
    Meta::start(store.clone(), meta_options).await.map_err(|source| match (source, cluster) {
        (
            source @ (meta::StartError::OtherCluster { .. } | meta::StartError::EmptyStore { .. }),
            Some((cluster, named_by)),
        ) => StartError::OtherStore { cluster, named_by, source: Box::new(source) },
        (source, _) => StartError::Metadata(Box::new(source)),
    })
}

fn endpoints(listeners: &Listeners) -> Vec<Endpoint> {
    let named = listeners.addresses().into_iter();
    named
        .map(|(name, address)| Endpoint {
            name,
            host: address.ip().to_string(),
            port: address.port(),
            security_protocol: 0,
        })
        .collect()
}
