//! Who leads the partitions that a client looked for here in vain, or under an older leader (KIP-951).

use std::collections::BTreeSet;

use wire::messages::fetch_response::NodeEndpoint;
use wire::{ErrorCode, Str};

use super::answer::PartitionAnswer;
use super::encode::Sent;
use super::session::Want;
use crate::call::Call;
use crate::core::Core;
use crate::endpoints::{self, LeaderHint};
use crate::errors::code;

/// Says who leads them. As in Kafka an epoch that is not known here yet is left to the client's own patience.
pub(crate) fn tell<'a>(core: &Core, answers: impl Iterator<Item = (&'a Want, &'a mut PartitionAnswer)>) {
    let is_told = |error| error == code(ErrorCode::NotLeaderOrFollower) || error == code(ErrorCode::FencedLeaderEpoch);
    let mut image = None;
    for (want, answer) in answers.filter(|(_, answer)| is_told(answer.error_code)) {
        let image = image.get_or_insert_with(|| core.image());
        answer.leader = LeaderHint::of(image, &want.topic, want.partition);
    }
}

/// Where each leader is that is told.
pub(crate) fn endpoints(core: &Core, call: &Call, sent: &[Sent<'_>]) -> Vec<NodeEndpoint> {
    let ids: BTreeSet<i32> = sent.iter().filter_map(|(_, answer)| answer.leader).map(|leader| leader.id).collect();
    let endpoint = |node_id| {
        let (host, port) = endpoints::of_leader(core, &call.peer, node_id)?;
        let rack = core.config.rack.as_deref().map(Str::from);
        Some(NodeEndpoint { node_id, host: host.into(), port, rack, ..NodeEndpoint::default() })
    };
    ids.into_iter().filter_map(endpoint).collect()
}
