//! IncrementalAlterConfigs (key 44), versions 0–1 (KIP-339): single settings are set, deleted, and lists appended to or
//! subtracted from.
//!
//! A list starts from what is set for the resource itself, else from the key's own default: what the cluster or the broker
//! says does not count. It is edited as text, and only then understood: `compact` is not subtracted from `delete, compact`,
//! where ` compact` is (Kafka's `ConfigurationControlManager`). So what is set is kept as it was sent.

use base::collections::{HashMap, HashSet};
use meta::ConfigResource;
use partition::config::{ConfigType, topic_key};
use wire::messages::incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
use wire::messages::incremental_alter_configs_response::AlterConfigsResourceResponse;
use wire::messages::{IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse};
use wire::{ErrorCode, Str};

use crate::call::Call;
use crate::config::alter::{Asked, Settings, alter_each};
use crate::config::effective::resource;
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

pub(crate) async fn handle(
    core: &Core,
    call: &Call,
    request: IncrementalAlterConfigsRequest,
) -> IncrementalAlterConfigsResponse {
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
    IncrementalAlterConfigsResponse { responses, ..IncrementalAlterConfigsResponse::default() }
}

impl Asked for AlterConfigsResource {
    type Config = AlterableConfig;

    const CHANGES_LOGGERS: bool = true;

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
        config.config_operation != operation::DELETE && config.value.is_none()
    }

    fn check_operation(config: &AlterableConfig) -> Result<(), ApiError> {
        match config.config_operation {
            operation::SET | operation::DELETE | operation::APPEND | operation::SUBTRACT => Ok(()),
            other => Err(ApiError::new(ErrorCode::InvalidRequest, format!("Unknown operations type {other}"))),
        }
    }

    fn check_logger(config: &AlterableConfig) -> Result<(), ApiError> {
        let what = match config.config_operation {
            operation::SET | operation::DELETE => {
                let why = format!("Logger {} does not exist!", config.name);
                return Err(ApiError::new(ErrorCode::InvalidConfig, why));
            }
            operation::APPEND => "APPEND operation".to_owned(),
            operation::SUBTRACT => "SUBTRACT operation".to_owned(),
            other => format!("Unknown operation type {other}"),
        };
        let why = format!("{what} is not allowed for the BROKER_LOGGER resource");
        Err(ApiError::new(ErrorCode::InvalidRequest, why))
    }

    fn begin(set: &Settings) -> Settings {
        set.clone()
    }

    fn apply(of: &ConfigResource, config: &AlterableConfig, then: &mut Settings) -> Result<(), ApiError> {
        let (name, value) = (config.name.as_str(), config.value.as_deref().unwrap_or_default());
        let set = match config.config_operation {
            operation::DELETE => {
                then.remove(name);
                return Ok(());
            }
            change @ (operation::APPEND | operation::SUBTRACT) => {
                let default = list_default(of, name).ok_or_else(|| no_list(of, name, change))?;
                edited(then.get(name).map_or(default, String::as_str), value, change)
            }
            _ => value.to_owned(),
        };
        then.insert(name.to_owned(), set);
        Ok(())
    }
}

/// What is said of a key whose value is no list. Brokers' keys are the broker's business in Kafka, and all others the controller's.
fn no_list(of: &ConfigResource, key: &str, change: i8) -> ApiError {
    let is_append = change == operation::APPEND;
    let why = if of.kind != resource::BROKER {
        let what = if is_append { "APPEND" } else { "SUBTRACT" };
        format!("Can't {what} to key {key} because its type is not LIST.")
    } else if settings::is_name(key) {
        let what = if is_append { "append" } else { "subtract" };
        format!("Config value {what} is not allowed for config key: {key}")
    } else {
        format!("Unknown config name: {key}")
    };
    ApiError::new(ErrorCode::InvalidConfig, why)
}

/// The default of a key whose value is a list.
fn list_default(of: &ConfigResource, key: &str) -> Option<&'static str> {
    match of.kind {
        resource::TOPIC => topic_key(key).filter(|key| key.kind == ConfigType::List).map(|key| key.default),
        resource::BROKER => {
            let def = settings::definition(key).filter(|def| def.kind == Kind::List)?;
            Some(def.default.unwrap_or_default())
        }
        // Its settings are no lists to Kafka's controller.
        _ => None,
    }
}

/// The items of a list as Java's `String.split` gives them: empty ones at its end are none, unless there is nothing else
/// and no comma.
fn split(list: &str) -> impl Iterator<Item = &str> {
    let kept = list.trim_end_matches(',');
    let is_only_commas = kept.is_empty() && !list.is_empty();
    kept.split(',').filter(move |_| !is_only_commas)
}

fn edited(present: &str, items: &str, change: i8) -> String {
    let mut list: Vec<&str> = split(present).filter(|item| !item.is_empty()).collect();
    // An empty one is appended like any other, and then refused where the key does not allow for it.
    if change == operation::APPEND {
        let mut present: HashSet<&str> = list.iter().copied().collect();
        list.extend(split(items).filter(|item| present.insert(item)));
    } else {
        // Each takes one away, the first that there is.
        let mut gone = HashMap::<&str, usize>::default();
        split(items).for_each(|item| *gone.entry(item).or_default() += 1);
        list.retain(|item| match gone.get_mut(item) {
            Some(times) if *times > 0 => {
                *times -= 1;
                false
            }
            _ => true,
        });
    }
    list.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each was asked of Kafka 4.4.0, and of 3.9.2.
    #[test]
    fn lists_are_edited_as_the_texts_that_they_are() {
        for (present, change, items, then) in [
            ("delete", operation::APPEND, "compact", "delete,compact"),
            ("delete", operation::APPEND, " compact", "delete, compact"),
            ("delete, compact", operation::APPEND, "compact", "delete, compact,compact"),
            ("delete", operation::APPEND, "compact,,", "delete,compact"),
            ("delete", operation::APPEND, ",compact", "delete,,compact"),
            ("delete", operation::APPEND, "", "delete,"),
            ("delete", operation::APPEND, ",", "delete"),
            ("", operation::APPEND, "compact", "compact"),
            ("0:1,,2:1", operation::APPEND, "", "0:1,2:1,"),
            ("0:1", operation::APPEND, "1:1,1:1", "0:1,1:1"),
            ("delete", operation::SUBTRACT, "", "delete"),
            ("delete,compact", operation::SUBTRACT, "delete", "compact"),
            ("delete, compact", operation::SUBTRACT, "compact", "delete, compact"),
            ("delete, compact", operation::SUBTRACT, " compact", "delete"),
            ("delete", operation::SUBTRACT, "compact", "delete"),
            ("delete", operation::SUBTRACT, "delete", ""),
            ("delete,delete", operation::SUBTRACT, "delete", "delete"),
            ("0:1,0:1,0:1", operation::SUBTRACT, "0:1,0:1", "0:1"),
        ] {
            assert_eq!(edited(present, items, change), then, "{present:?} {change} {items:?}");
        }
    }

    #[test]
    fn items_are_split_as_by_java() {
        let all = |list| split(list).collect::<Vec<_>>();
        assert_eq!(all(""), [""]);
        assert!(all(",").is_empty() && all(",,").is_empty());
        assert_eq!(all("a,,"), ["a"]);
        assert_eq!(all(",a"), ["", "a"]);
        assert_eq!(all("a,,b,"), ["a", "", "b"]);
    }
}
