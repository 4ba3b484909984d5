//! AlterConfigs (key 33), versions 0–2: the request replaces everything that is set for a resource; what it does not
//! name falls back to its default. Deprecated in favour of IncrementalAlterConfigs, and still sent by older tools.

use meta::ConfigResource;
use wire::ErrorCode;
use wire::messages::alter_configs_request::AlterConfigsResource;
use wire::messages::alter_configs_response::AlterConfigsResourceResponse;
use wire::messages::{AlterConfigsRequest, AlterConfigsResponse};

use crate::config::alter::{Settings, alter_each};
use crate::core::Core;
use crate::errors::ApiError;

pub(crate) async fn handle(core: &Core, request: AlterConfigsRequest) -> AlterConfigsResponse {
    let resource = |asked: &AlterConfigsResource| ConfigResource {
        kind: asked.resource_type,
        name: asked.resource_name.to_string(),
    };
    let plan = |_: &ConfigResource, asked: &AlterConfigsResource, _: &Settings| replaced(asked);
    let outcomes = alter_each(core, &request.resources, request.validate_only, resource, plan).await;
    let mut responses = Vec::with_capacity(request.resources.len());
    for (asked, outcome) in request.resources.into_iter().zip(outcomes) {
        let (error_code, error_message) = match outcome {
            Ok(()) => (0, None),
            Err(error) => (error.code, Some(error.message.into())),
        };
        responses.push(AlterConfigsResourceResponse {
            error_code,
            error_message,
            resource_type: asked.resource_type,
            resource_name: asked.resource_name,
            ..AlterConfigsResourceResponse::default()
        });
    }
    AlterConfigsResponse { responses, ..AlterConfigsResponse::default() }
}

fn replaced(asked: &AlterConfigsResource) -> Result<Settings, ApiError> {
    let mut then = Settings::new();
    for config in &asked.configs {
        let Some(value) = &config.value else {
            let why = format!("Null value not supported for : {}", config.name);
            return Err(ApiError::new(ErrorCode::InvalidRequest, why));
        };
        if then.insert(config.name.to_string(), value.to_string()).is_some() {
            let why = format!("Duplicate config key: {}", config.name);
            return Err(ApiError::new(ErrorCode::InvalidRequest, why));
        }
    }
    Ok(then)
}
