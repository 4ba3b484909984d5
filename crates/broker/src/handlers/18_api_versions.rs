//! ApiVersions (key 18), versions 0–5.
//!
//! v3 names the client (KIP-511) and lists features (KIP-584): none is supported or finalized yet, so clients use what
//! needs none. v4 lifts a rule about feature minima (KAFKA-17011); v5 (KIP-1242) carries the cluster and node that the
//! client expects, both or neither, and a client that has reached another one is sent back to its bootstrap servers. A request
//! newer than ours never gets here: see dispatch.

use wire::ErrorCode;
use wire::messages::api_versions_response::ApiVersion;
use wire::messages::{ApiVersionsRequest, ApiVersionsResponse};

use crate::api::{Api, SERVED, versions};
use crate::call::Call;
use crate::core::Core;

/// The node of a client that looks for none.
const NO_NODE: i32 = -1;

pub(crate) async fn handle(core: &Core, call: &Call, request: ApiVersionsRequest) -> ApiVersionsResponse {
    let error = |code: ErrorCode| ApiVersionsResponse { error_code: code.code(), ..ApiVersionsResponse::default() };
    if call.version >= 3 {
        let (name, version) = (&*request.client_software_name, &*request.client_software_version);
        if !is_software(name) || !is_software(version) {
            return error(ErrorCode::InvalidRequest);
        }
        if call.version >= 5 && request.cluster_id.is_some() == (request.node_id == NO_NODE) {
            return error(ErrorCode::InvalidRequest);
        }
        let (client, principal) = (call.peer.remote, &call.principal);
        tracing::debug!(%client, %principal, software = name, version, "a client says what it is");
    }
    if call.version >= 5 && is_elsewhere(core, &request) {
        return error(ErrorCode::RebootstrapRequired);
    }
    ApiVersionsResponse { api_keys: SERVED.iter().map(entry).collect(), ..ApiVersionsResponse::default() }
}

fn entry(api: &Api) -> ApiVersion {
    let served = versions(api.key);
    ApiVersion {
        api_key: api.key.code(),
        min_version: *served.start(),
        max_version: *served.end(),
        ..ApiVersion::default()
    }
}

/// Whether the client looks for another cluster or node than this. It names both or neither.
fn is_elsewhere(core: &Core, request: &ApiVersionsRequest) -> bool {
    let cluster = request.cluster_id.as_deref();
    cluster.is_some_and(|id| *id != *core.cluster_id() || request.node_id != core.id().0)
}

/// Kafka's `[a-zA-Z0-9](?:[a-zA-Z0-9\-.]*[a-zA-Z0-9])?`.
fn is_software(text: &str) -> bool {
    let bytes = text.as_bytes();
    let (Some(first), Some(last)) = (bytes.first(), bytes.last()) else { return false };
    first.is_ascii_alphanumeric()
        && last.is_ascii_alphanumeric()
        && bytes.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn software_names_follow_kafkas_pattern() {
        for fine in ["apache-kafka-java", "4.4.0", "a", "librdkafka"] {
            assert!(is_software(fine), "{fine}");
        }
        for wrong in ["", "-a", "a-", "a b", "a_b", "é"] {
            assert!(!is_software(wrong), "{wrong}");
        }
    }
}
