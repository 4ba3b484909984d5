//! Changing settings: what AlterConfigs and IncrementalAlterConfigs have in common.
//!
//! A request becomes, resource by resource, the settings as they would be; these are validated as a whole, and only the
//! difference is written. Nothing of a resource is changed unless all of it is valid, and unless what is set for it is
//! still what the difference was taken from: two requests at a time have the effect of one after the other.

use std::collections::BTreeMap;

use base::collections::HashSet;
use futures::future::join_all;
use meta::{ConfigChange, ConfigError, ConfigResource as Resource, Image};
use partition::config::validate_topic_settings;
use wire::ErrorCode;

use super::define::Update;
use super::effective::{CLUSTER_WIDE, Sourced, broker_settings_if, resource, values, values_then};
use super::inert_keys::{INERT_KEYS, PER_BROKER_KEYS};
use super::{known_keys, settings};
use crate::core::Core;
use crate::deadline::ForAWhile;
use crate::errors::ApiError;
use crate::handlers::create_topics::of_meta;
use crate::handlers::describe_configs::check_broker;
use crate::topics::check_name;

/// The settings of one resource.
pub(crate) type Settings = BTreeMap<String, String>;

/// Resources that a request names more than once. None of their mentions is carried out: nobody knows which was meant.
///
/// Kafka 3.9.2 and 4.4.0 refuse each mention with error 42 and change what is named once. (To AlterConfigs they do the same
/// and then fail on counting the errors of their answer, so that the client waits for it in vain.)
struct Repeated(HashSet<Resource>);

impl Repeated {
    /// Of those named.
    fn of(named: impl Iterator<Item = Resource>) -> Self {
        let mut seen = HashSet::default();
        let mut twice = HashSet::default();
        for resource in named {
            if let Some(again) = seen.replace(resource) {
                twice.insert(again);
            }
        }
        Self(twice)
    }

    /// Refuses a resource that is among them.
    fn check(&self, of: &Resource) -> Result<(), ApiError> {
        if self.0.contains(of) {
            return Err(ApiError::new(ErrorCode::InvalidRequest, "Each resource must appear at most once."));
        }
        Ok(())
    }
}

/// What is set for a resource now.
fn present(image: &Image, of: &Resource) -> Settings {
    let configs = image.configs_of(of.kind, &of.name);
    let pairs = configs.iter().flat_map(|configs| configs.iter());
    pairs.map(|(key, value)| (key.to_string(), value.to_string())).collect()
}

/// Whether the resource may be changed. Whether a topic is there Kafka asks last.
fn check_resource(core: &Core, of: &Resource) -> Result<(), ApiError> {
    match of.kind {
        resource::TOPIC if of.name.is_empty() => {
            Err(ApiError::new(ErrorCode::InvalidRequest, "Default topic resources are not allowed."))
        }
        resource::TOPIC => check_name(&of.name).map_err(|why| ApiError::new(ErrorCode::InvalidTopicException, why)),
        resource::BROKER if of.name == CLUSTER_WIDE => Ok(()),
        resource::BROKER => check_broker(core, &of.name),
        other => {
            Err(ApiError::new(ErrorCode::InvalidRequest, format!("Resource type {other} has no configuration here.")))
        }
    }
}

/// Checks the settings of a resource as they would be.
fn validate(core: &Core, image: &Image, of: &Resource, now: &Settings, then: &Settings) -> Result<(), ApiError> {
    if of.kind == resource::TOPIC {
        let invalid = |why: String| ApiError::new(ErrorCode::InvalidConfig, why);
        return validate_topic_settings(then, &core.broker_settings()).map_err(|error| invalid(error.to_string()));
    }
    // Whatever is wrong with a broker's settings, Kafka says so with this code.
    let invalid = |why: String| ApiError::new(ErrorCode::InvalidRequest, why);
    for (key, value) in then {
        if now.get(key) == Some(value) {
            continue;
        }
        if of.name == CLUSTER_WIDE && PER_BROKER_KEYS.contains(&key.as_str()) {
            return Err(invalid(format!(
                "Cannot update these configs at default cluster level, broker id must be specified: {key}"
            )));
        }
        match settings::definition(key) {
            Some(def) if def.update == Update::Dynamic => {
                def.parse_new(value).map_err(|error| invalid(error.to_string()))?;
            }
            Some(_) => {
                return Err(invalid(format!(
                    "Cannot update these configs dynamically: {key}; change it in the broker's file and restart"
                )));
            }
            None if settings::is_unneeded(key) || known_keys::REFUSED_KEYS.iter().any(|(name, _)| name == key) => {
                return Err(invalid(format!("Cannot update these configs dynamically: {key}; it has no effect here")));
            }
            None => {
                let hint = settings::suggest(key).map(|name| format!("; did you mean {name}?")).unwrap_or_default();
                return Err(invalid(format!("Unknown broker config name: {key}{hint}")));
            }
        }
    }
    // Also what was deleted may change what is in force.
    for def in INERT_KEYS {
        let in_force =
            |values: Vec<Sourced>| values.into_iter().next().and_then(|first| first.value).unwrap_or_default();
        let now = in_force(values(def, &core.config, image));
        let then = in_force(values_then(def, &core.config, image, &of.name, then));
        if now != then {
            let why = |reason| format!("Invalid value {then} for configuration {}: {reason}", def.name);
            def.check.check_change(&now, &then).map_err(|reason| invalid(why(reason)))?;
        }
    }
    let (before, after) = (core.broker_settings(), broker_settings_if(&core.config, image, &of.name, then));
    let after = |key: &str| after.get(key).map(String::as_str);
    settings::check_together(after)
        .and_then(|()| settings::check_tiers(|key| before.get(key).map(String::as_str), after))
        .map_err(|error| invalid(error.to_string()))
}

fn unknown_topic(name: &str) -> ApiError {
    ApiError::new(ErrorCode::UnknownTopicOrPartition, format!("The topic '{name}' does not exist."))
}

/// The difference as metadata wants it.
fn changes(now: &Settings, then: &Settings) -> Vec<ConfigChange> {
    let change = |key: &str, value: Option<String>| ConfigChange { key: key.to_owned(), value };
    let gone = now.keys().filter(|key| !then.contains_key(*key)).map(|key| change(key, None));
    let new = then.iter().filter(|(key, value)| now.get(*key) != Some(value));
    gone.chain(new.map(|(key, value)| change(key, Some(value.clone())))).collect()
}

/// How many resources of one request are changed at a time; what is decided together shares an entry of metadata.
const ALTERED_AT_ONCE_MAX: usize = 256;

/// Changes the settings of each resource that a request names, as `plan` says ([`alter`]). Answers in the order in which
/// they are named.
pub(crate) async fn alter_each<A>(
    core: &Core,
    named: &[A],
    validate_only: bool,
    resource: impl Fn(&A) -> Resource,
    plan: impl Fn(&Resource, &A, &Settings) -> Result<Settings, ApiError>,
) -> Vec<Result<(), ApiError>> {
    let repeated = Repeated::of(named.iter().map(&resource));
    let time = ForAWhile::begin(&core.clock, None);
    let mut outcomes = Vec::with_capacity(named.len());
    for some in named.chunks(ALTERED_AT_ONCE_MAX) {
        let each = some.iter().map(|asked| {
            let (of, repeated, time, plan) = (resource(asked), &repeated, &time, &plan);
            async move {
                repeated.check(&of)?;
                alter(core, &of, validate_only, time, |now| plan(&of, asked, now)).await
            }
        });
        outcomes.extend(join_all(each).await);
    }
    outcomes
}

/// Changes the settings of one resource. `plan` makes of those that are set those that shall be; it is asked again when
/// somebody else changed them meanwhile.
async fn alter(
    core: &Core,
    of: &Resource,
    validate_only: bool,
    time: &ForAWhile,
    plan: impl Fn(&Settings) -> Result<Settings, ApiError>,
) -> Result<(), ApiError> {
    loop {
        let image = core.image();
        check_resource(core, of)?;
        let now = present(&image, of);
        let then = plan(&now)?;
        validate(core, &image, of, &now, &then)?;
        if of.kind == resource::TOPIC && image.topic(&of.name).is_none() {
            return Err(unknown_topic(&of.name));
        }
        let changes = changes(&now, &then);
        if validate_only || changes.is_empty() {
            return Ok(());
        }
        let saw = image.configs_of(of.kind, &of.name).map(|configs| (**configs).clone()).unwrap_or_default();
        match time.wait_for(core.meta.alter_configs(of.clone(), saw, changes.clone())).await? {
            Ok(()) => {
                for ConfigChange { key, value } in &changes {
                    let value = value.as_deref().unwrap_or("(default)");
                    tracing::info!(resource_type = of.kind, resource = of.name, key, value, "setting changed");
                }
                return Ok(());
            }
            Err(ConfigError::Changed) => {}
            Err(ConfigError::UnknownTopic(name)) => return Err(unknown_topic(&name)),
            Err(ConfigError::Meta(error)) => return Err(of_meta(&error)),
            Err(error) => return Err(ApiError::new(ErrorCode::UnknownServerError, error.to_string())),
        }
    }
}
