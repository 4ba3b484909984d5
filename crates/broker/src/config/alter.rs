//! Changing settings: what AlterConfigs and IncrementalAlterConfigs have in common.
//!
//! A request becomes, resource by resource, the settings as they would be; these are validated as a whole, and only the
//! difference is written. Nothing of a resource is changed unless all of it is valid.

use std::collections::BTreeMap;

use meta::{ConfigChange, Image};
use partition::config::validate_topic_settings;
use wire::ErrorCode;

use super::define::Update;
use super::effective::{CLUSTER_WIDE, resource};
use super::{known_keys, settings};
use crate::core::Core;
use crate::errors::ApiError;
use crate::handlers::create_topics::of_meta;
use crate::handlers::describe_configs::check_broker;
use crate::topics::check_name;

/// The settings of one resource.
pub(crate) type Settings = BTreeMap<String, String>;

/// What a request names.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Resource {
    pub(crate) kind: i8,
    pub(crate) name: String,
}

/// What is set for a resource now.
pub(crate) fn present(image: &Image, of: &Resource) -> Settings {
    let configs = image.configs_of(of.kind, &of.name);
    let pairs = configs.iter().flat_map(|configs| configs.iter());
    pairs.map(|(key, value)| (key.to_string(), value.to_string())).collect()
}

/// Whether the resource is there and may be changed.
pub(crate) fn check_resource(core: &Core, image: &Image, of: &Resource) -> Result<(), ApiError> {
    match of.kind {
        resource::TOPIC => {
            check_name(&of.name).map_err(|why| ApiError::new(ErrorCode::InvalidTopicException, why))?;
            match image.topic(&of.name) {
                Some(_) => Ok(()),
                None => Err(ApiError::new(
                    ErrorCode::UnknownTopicOrPartition,
                    format!("The topic '{}' does not exist.", of.name),
                )),
            }
        }
        resource::BROKER if of.name == CLUSTER_WIDE => Ok(()),
        resource::BROKER => check_broker(core, &of.name),
        other => {
            Err(ApiError::new(ErrorCode::InvalidRequest, format!("Resource type {other} has no configuration here.")))
        }
    }
}

/// Checks the settings of a resource as they would be.
pub(crate) fn validate(core: &Core, of: &Resource, now: &Settings, then: &Settings) -> Result<(), ApiError> {
    let invalid = |why: String| ApiError::new(ErrorCode::InvalidConfig, why);
    if of.kind == resource::TOPIC {
        return validate_topic_settings(then, &core.broker_settings()).map_err(|error| invalid(error.to_string()));
    }
    for (key, value) in then {
        if now.get(key) == Some(value) {
            continue;
        }
        match settings::find(key) {
            Some(def) if def.update == Update::Dynamic => {
                def.parse(value).map_err(|error| invalid(error.to_string()))?;
            }
            Some(_) => {
                let why = format!(
                    "Cannot update these configs dynamically: {key}; change it in the broker's file and restart"
                );
                return Err(ApiError::new(ErrorCode::InvalidRequest, why));
            }
            None if settings::is_unneeded(key) || known_keys::REFUSED_KEYS.iter().any(|(name, _)| name == key) => {
                return Err(invalid(format!("{key} has no effect here and is not kept")));
            }
            None => {
                let hint = settings::suggest(key).map(|name| format!("; did you mean {name}?")).unwrap_or_default();
                return Err(invalid(format!("Unknown broker config name: {key}{hint}")));
            }
        }
    }
    Ok(())
}

/// The difference as metadata wants it.
pub(crate) fn changes(of: &Resource, now: &Settings, then: &Settings) -> Vec<ConfigChange> {
    let change = |key: &str, value: Option<String>| ConfigChange {
        resource_type: of.kind,
        resource_name: of.name.clone(),
        key: key.to_owned(),
        value,
    };
    let gone = now.keys().filter(|key| !then.contains_key(*key)).map(|key| change(key, None));
    let new = then.iter().filter(|(key, value)| now.get(*key) != Some(value));
    gone.chain(new.map(|(key, value)| change(key, Some(value.clone())))).collect()
}

/// Writes the changes of one resource.
pub(crate) async fn write(core: &Core, of: &Resource, changes: Vec<ConfigChange>) -> Result<(), ApiError> {
    if changes.is_empty() {
        return Ok(());
    }
    for change in &changes {
        let (key, value) = (&change.key, change.value.as_deref().unwrap_or("(default)"));
        tracing::info!(resource_type = of.kind, resource = of.name, key, value, "setting changed");
    }
    core.meta.alter_configs(changes).await.map_err(|error| of_meta(&error))
}
