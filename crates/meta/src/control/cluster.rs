//! The cluster itself: its id, the term of its controller, its feature levels.

use std::sync::Arc;

use base::ControllerEpoch;
use wire::meta::{ClusterRecord, ControllerRecord, FeatureRecord, MetadataRecord};

use crate::image::Image;

pub(crate) fn replay_cluster(image: &mut Image, r: &ClusterRecord) {
    image.cluster_id = Some(r.cluster_id.as_str().into());
    image.created_ms = r.created_ms;
}

pub(crate) fn replay_feature(image: &mut Image, r: &FeatureRecord) {
    image.features.insert(r.name.as_str().into(), r.level);
}

pub(crate) fn replay_controller(image: &mut Image, r: &ControllerRecord) {
    image.controller_epoch = ControllerEpoch(r.controller_epoch);
    image.controller_nonce = r.nonce;
    image.controller = Some(Arc::new(r.clone()));
}

/// The records that rebuild it.
pub(crate) fn snapshot(image: &Image, out: &mut Vec<MetadataRecord>) {
    if let Some(id) = &image.cluster_id {
        let created_ms = image.created_ms;
        out.push(ClusterRecord { cluster_id: (&**id).into(), created_ms, ..Default::default() }.into());
    }
    out.extend(image.controller.iter().map(|c| MetadataRecord::from(ControllerRecord::clone(c))));
    out.extend(image.features.iter().map(|(name, level)| {
        MetadataRecord::from(FeatureRecord { name: (&**name).into(), level: *level, ..Default::default() })
    }));
}
