//! IncrementalAlterConfigs (key 44), versions 0–1 (KIP-339): single settings are set, deleted, and lists appended to or
//! subtracted from, starting from the value in force.

use base::collections::HashSet;
use meta::{ConfigResource, Image};
use partition::config::{ConfigType, topic_key, trimmed};
use wire::ErrorCode;
use wire::messages::incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
use wire::messages::incremental_alter_configs_response::AlterConfigsResourceResponse;
use wire::messages::{IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse};

use crate::config::alter::{Settings, alter_each};
use crate::config::effective::{self, resource};
use crate::config::{Kind, settings};
use crate::core::Core;
use crate::errors::ApiError;

/// Kafka's `AlterConfigOp.OpType`.
mod operation {
    pub(super) const SET: i8 = 0;
    pub(super) const DELETE: i8 = 1;
    pub(super) const APPEND: i8 = 2;
    pub(super) const SUBTRACT: i8 = 3;
}

pub(crate) async fn handle(core: &Core, request: IncrementalAlterConfigsRequest) -> IncrementalAlterConfigsResponse {
    let resource = |asked: &AlterConfigsResource| ConfigResource {
        kind: asked.resource_type,
        name: asked.resource_name.to_string(),
    };
    let plan = |image: &Image, of: &ConfigResource, asked: &AlterConfigsResource, now: &Settings| {
        edited_by(core, image, of, asked, now)
    };
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
    IncrementalAlterConfigsResponse { responses, ..IncrementalAlterConfigsResponse::default() }
}

fn edited_by(
    core: &Core,
    image: &Image,
    of: &ConfigResource,
    asked: &AlterConfigsResource,
    now: &Settings,
) -> Result<Settings, ApiError> {
    let mut seen = HashSet::default();
    if let Some(twice) = asked.configs.iter().find(|config| !seen.insert(&config.name)) {
        let why = format!("Error due to duplicate config keys: {}", twice.name);
        return Err(ApiError::new(ErrorCode::InvalidRequest, why));
    }
    let mut then = now.clone();
    for config in &asked.configs {
        apply(core, image, of, config, &mut then)?;
    }
    Ok(then)
}

fn apply(
    core: &Core,
    image: &Image,
    of: &ConfigResource,
    config: &AlterableConfig,
    settings: &mut Settings,
) -> Result<(), ApiError> {
    let name = config.name.to_string();
    if config.config_operation == operation::DELETE {
        settings.remove(&name);
        return Ok(());
    }
    let Some(value) = config.value.as_deref().map(trimmed) else {
        let why = format!("Null value not supported for : {name}");
        return Err(ApiError::new(ErrorCode::InvalidRequest, why));
    };
    match config.config_operation {
        operation::SET => {
            settings.insert(name, value.to_owned());
        }
        change @ (operation::APPEND | operation::SUBTRACT) => {
            if !is_list(of, &name) {
                let what = if change == operation::APPEND { "append" } else { "subtract" };
                let why = format!("Can't {what} to key {name} because its type is not LIST.");
                return Err(ApiError::new(ErrorCode::InvalidConfig, why));
            }
            let present = settings.get(&name).cloned().or_else(|| in_force(core, image, of, &name)).unwrap_or_default();
            settings.insert(name, edited(&present, value, change));
        }
        other => {
            return Err(ApiError::new(ErrorCode::InvalidRequest, format!("Unknown operation type {other}")));
        }
    }
    Ok(())
}

fn is_list(of: &ConfigResource, key: &str) -> bool {
    if of.kind == resource::TOPIC {
        topic_key(key).is_some_and(|key| key.kind == ConfigType::List)
    } else {
        settings::definition(key).is_some_and(|def| def.kind == Kind::List)
    }
}

/// The value that a list starts from when nothing is set for the resource itself.
fn in_force(core: &Core, image: &Image, of: &ConfigResource, key: &str) -> Option<String> {
    if of.kind == resource::TOPIC {
        let key = topic_key(key)?;
        let broker = core.broker_settings();
        Some(partition::config::effective(key, &Settings::new(), &broker).value.into_owned())
    } else {
        effective::value(key, &core.config, image)
    }
}

fn edited(present: &str, items: &str, change: i8) -> String {
    let split = |list: &str| -> Vec<String> { list.split(',').map(|item| trimmed(item).to_owned()).collect() };
    let (mut list, items) = (split(present), split(items));
    list.retain(|item| !item.is_empty());
    // An empty one is appended like any other, and then refused.
    if change == operation::APPEND {
        let mut present: HashSet<String> = list.iter().cloned().collect();
        list.extend(items.into_iter().filter(|item| present.insert(item.clone())));
    } else {
        let gone: HashSet<String> = items.into_iter().collect();
        list.retain(|item| !gone.contains(item));
    }
    list.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_appended_to_without_doubles_and_subtracted_from() {
        assert_eq!(edited("delete", "compact, delete", operation::APPEND), "delete,compact");
        assert_eq!(edited("", "compact", operation::APPEND), "compact");
        assert_eq!(edited("delete", "", operation::APPEND), "delete,");
        assert_eq!(edited("delete", "", operation::SUBTRACT), "delete");
        assert_eq!(edited("delete,compact", "delete", operation::SUBTRACT), "compact");
        assert_eq!(edited("delete", "compact", operation::SUBTRACT), "delete");
    }
}
