//! AlterConfigs (key 33), versions 0–2: the request replaces everything that is set for a resource; what it does not
//! name falls back to its default. Deprecated in favour of IncrementalAlterConfigs, and still sent by older tools.

use meta::ConfigResource;
use wire::Str;
use wire::messages::alter_configs_request::{AlterConfigsResource, AlterableConfig};
use wire::messages::alter_configs_response::AlterConfigsResourceResponse;
use wire::messages::{AlterConfigsRequest, AlterConfigsResponse};

use crate::call::Call;
use crate::config::alter::{Asked, Settings, alter_each};
use crate::core::Core;
use crate::errors::ApiError;

pub(crate) async fn handle(core: &Core, call: &Call, request: AlterConfigsRequest) -> AlterConfigsResponse {
    let outcomes = alter_each(core, call, &request.resources, request.validate_only).await;
    let mut responses = Vec::with_capacity(request.resources.len());
    for (asked, outcome) in request.resources.into_iter().zip(outcomes) {
        call.peer.breathe(&core.clock).await;
        let (error_code, error_message) = match outcome {
            Ok(()) => (0, None),
            Err(error) => (error.code, error.told()),
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

impl Asked for AlterConfigsResource {
    type Config = AlterableConfig;

    const CHANGES_LOGGERS: bool = false;

    fn resource(&self) -> ConfigResource {
        ConfigResource { kind: self.resource_type, name: self.resource_name.to_string() }
    }

    fn configs(&self) -> &[AlterableConfig] {
        &self.configs
    }

    fn key(config: &AlterableConfig) -> &Str {
        &config.name
    }

    fn lacks_value(config: &AlterableConfig) -> bool {
        config.value.is_none()
    }

    fn check_operation(_: &AlterableConfig) -> Result<(), ApiError> {
        Ok(())
    }

    fn check_logger(_: &AlterableConfig) -> Result<(), ApiError> {
        Ok(())
    }

    fn begin(_: &Settings) -> Settings {
        Settings::new()
    }

    fn apply(_: &ConfigResource, config: &AlterableConfig, then: &mut Settings) -> Result<(), ApiError> {
        then.insert(config.name.to_string(), config.value.as_deref().unwrap_or_default().to_owned());
        Ok(())
    }
}
