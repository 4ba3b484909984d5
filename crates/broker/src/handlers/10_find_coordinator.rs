//! FindCoordinator (key 10), versions 0–6.
//!
//! v1 adds the kind of coordinator and messages, v4 many keys (KIP-699). The coordinator of every group is the leader of
//! its partition of `__consumer_offsets`, which is made at the first question. Transactions and share groups are refused.

use wire::messages::find_coordinator_response::Coordinator;
use wire::messages::{FindCoordinatorRequest, FindCoordinatorResponse};
use wire::{ErrorCode, Str};

use crate::call::Call;
use crate::core::Core;
use crate::endpoints;
use crate::errors::{ApiError, NO_TRANSACTIONS};
use crate::topics::OFFSETS_TOPIC;

/// Kinds of coordinators, Kafka's `CoordinatorType`.
const GROUP: i8 = 0;
const TRANSACTION: i8 = 1;
const SHARE: i8 = 2;

/// From this version on a request has many keys.
const MANY_KEYS_FROM: i16 = 4;

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
    match locate(core, key_type, &key) {
        Ok(()) => {
            let (host, port) = endpoints::advertised(&core.config, &call.peer);
            Coordinator { key, node_id: core.id().0, host: host.into(), port, ..Coordinator::default() }
        }
        Err(error) => Coordinator {
            key,
            node_id: -1,
            port: -1,
            error_code: error.code,
            error_message: Some(error.message.into()),
            ..Coordinator::default()
        },
    }
}

/// Whether this broker coordinates the key. While there is one broker it coordinates every group.
fn locate(core: &Core, key_type: i8, key: &str) -> Result<(), ApiError> {
    let refuse = |why: &str| Err(ApiError::new(ErrorCode::InvalidRequest, why));
    match key_type {
        GROUP if core.image().topic(OFFSETS_TOPIC).is_none() => {
            let why = "__consumer_offsets is being created; ask again";
            Err(ApiError::new(ErrorCode::CoordinatorNotAvailable, why))
        }
        GROUP => match core.groups.partition_for(key) {
            Ok(_) => Ok(()),
            Err(error) => Err(ApiError::new(ErrorCode::from(error), error.to_string())),
        },
        TRANSACTION => refuse(NO_TRANSACTIONS),
        SHARE => refuse("share groups are not supported yet"),
        _ => refuse("there is no such kind of coordinator"),
    }
}
