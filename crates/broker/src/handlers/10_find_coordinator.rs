//! FindCoordinator (key 10), versions 0–6.
//!
//! v1 adds the kind of coordinator and messages, v4 many keys (KIP-699). The coordinator of every group is the leader of
//! its partition of `__consumer_offsets`, which is made at the first question. Transactions and share groups are refused.
//!
//! A message comes as from Kafka 4.4.0 where that has one to send, and clients show it:
//!
//! | Version | There is a coordinator | There is none now | No such kind |
//! |---|---|---|---|
//! | 1–3 | `NONE`, the error's name | the error's own | the error's own |
//! | 4+ | empty | empty | the error's own |
//!
//! So share groups are refused as those of older versions, and those whose keys are none: without a message in v4+.

use wire::messages::find_coordinator_response::Coordinator;
use wire::messages::{FindCoordinatorRequest, FindCoordinatorResponse};
use wire::{ErrorCode, Str};

use crate::call::Call;
use crate::core::Core;
use crate::endpoints;
use crate::errors::{INVALID_REQUEST, NO_TRANSACTIONS};
use crate::topics::OFFSETS_TOPIC;

/// Kinds of coordinators, Kafka's `CoordinatorType`.
const GROUP: i8 = 0;
const TRANSACTION: i8 = 1;
const SHARE: i8 = 2;

/// From this version on a request has many keys.
const MANY_KEYS_FROM: i16 = 4;

/// Kafka's texts, by its `Errors`.
const SUCCESS: &str = "NONE";
const NOT_AVAILABLE: &str = "The coordinator is not available.";

pub(crate) async fn handle(core: &Core, call: &Call, request: FindCoordinatorRequest) -> FindCoordinatorResponse {
    if request.key_type == GROUP {
        core.first_use.create(&[OFFSETS_TOPIC], &core.config).await;
    }
    if call.version >= MANY_KEYS_FROM {
        let mut coordinators = Vec::with_capacity(request.coordinator_keys.len());
        for key in request.coordinator_keys {
            call.peer.breathe(&core.clock).await;
            coordinators.push(find(core, call, request.key_type, key));
        }
        return FindCoordinatorResponse { coordinators, ..FindCoordinatorResponse::default() };
    }
    let found = find(core, call, request.key_type, request.key);
    FindCoordinatorResponse {
        error_code: found.error_code,
        error_message: found.error_message,
        node_id: found.node_id,
        host: found.host,
        port: found.port,
        ..FindCoordinatorResponse::default()
    }
}

fn find(core: &Core, call: &Call, key_type: i8, key: Str) -> Coordinator {
    let refuse = |key, error: ErrorCode, why: &str| Coordinator {
        key,
        node_id: -1,
        port: -1,
        error_code: error.code(),
        error_message: Some(why.into()),
        ..Coordinator::default()
    };
    // Of many keys Kafka tells no message, but where it refuses all of them.
    let told = |message: &'static str| if call.version >= MANY_KEYS_FROM { "" } else { message };
    match key_type {
        // While there is one broker it coordinates every group.
        GROUP if core.groups.partition_for(&key).is_ok() => {
            let (host, port) = endpoints::advertised(&core.config, &call.peer);
            let error_message = Some(told(SUCCESS).into());
            Coordinator { key, node_id: core.id().0, host: host.into(), port, error_message, ..Coordinator::default() }
        }
        // The topic is being created: they ask again.
        GROUP => refuse(key, ErrorCode::CoordinatorNotAvailable, told(NOT_AVAILABLE)),
        TRANSACTION => refuse(key, ErrorCode::InvalidRequest, NO_TRANSACTIONS),
        // As of a key that is none.
        SHARE => refuse(key, ErrorCode::InvalidRequest, told(INVALID_REQUEST)),
        _ => refuse(key, ErrorCode::InvalidRequest, INVALID_REQUEST),
    }
}
