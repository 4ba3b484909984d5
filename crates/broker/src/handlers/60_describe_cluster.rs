//! DescribeCluster (key 60), versions 0–2.
//!
//! v1 asks for brokers or controllers (KIP-919): clients of a broker get brokers only. v2 may ask for fenced brokers too
//! (KIP-1073): a fenced broker does not answer, so there is none to show.

use wire::messages::describe_cluster_response::DescribeClusterBroker;
use wire::messages::{DescribeClusterRequest, DescribeClusterResponse};
use wire::{ErrorCode, Str};

use crate::call::Call;
use crate::core::Core;
use crate::endpoints;
use crate::topics::{CLUSTER_OPERATIONS, OPERATIONS_OMITTED};

/// Kafka's `EndpointType`.
const BROKERS: i8 = 1;
const CONTROLLERS: i8 = 2;

pub(crate) async fn handle(core: &Core, call: &Call, request: DescribeClusterRequest) -> DescribeClusterResponse {
    let refuse = |error: ErrorCode, why: &str| DescribeClusterResponse {
        error_code: error.code(),
        error_message: Some(why.into()),
        ..DescribeClusterResponse::default()
    };
    match request.endpoint_type {
        BROKERS => {}
        CONTROLLERS => {
            let why =
                "The request was sent to an endpoint of type BROKER, but we wanted an endpoint of type CONTROLLER";
            return refuse(ErrorCode::MismatchedEndpointType, why);
        }
        other => {
            return refuse(ErrorCode::UnsupportedEndpointType, &format!("Unsupported endpoint type {other}"));
        }
    }
    let (host, port) = endpoints::advertised(&core.config, &call.peer);
    let broker = DescribeClusterBroker {
        broker_id: core.id().0,
        host: host.into(),
        port,
        rack: core.config.rack.as_deref().map(Str::from),
        ..DescribeClusterBroker::default()
    };
    DescribeClusterResponse {
        endpoint_type: BROKERS,
        cluster_id: (&*core.cluster_id()).into(),
        controller_id: core.id().0,
        brokers: vec![broker],
        cluster_authorized_operations: if request.include_cluster_authorized_operations {
            CLUSTER_OPERATIONS
        } else {
            OPERATIONS_OMITTED
        },
        ..DescribeClusterResponse::default()
    }
}
