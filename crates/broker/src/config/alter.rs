//! Changing settings: what AlterConfigs and IncrementalAlterConfigs have in common.
//!
//! A request becomes, resource by resource, the settings as they would be; these are validated as a whole, and only the
//! difference is written. Nothing of a resource is changed unless all of it is valid, and unless what is set for it is
//! still what the difference was taken from: two requests at a time have the effect of one after the other.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use base::collections::HashSet;
use meta::{ConfigChange, ConfigError, ConfigResource as Resource, Image};
use partition::config::{BrokerSettings, place_in_hash_map, validate_topic_settings};
use wire::{ErrorCode, Str};

use super::define::Update;
use super::effective::{CLUSTER_WIDE, Sourced, broker_settings, broker_settings_if, resource, values, values_then};
use super::inert_keys::{INERT_KEYS, PER_BROKER_KEYS};
use super::{settings, unserved_keys};
use crate::call::Call;
use crate::core::Core;
use crate::deadline::ForAWhile;
use crate::errors::ApiError;
use crate::in_order::InOrder;
use crate::limits::{CHANGED_AT_ONCE_MAX, CUSTOM_KEY_BYTES_MAX, CUSTOM_KEYS_MAX, CUSTOM_VALUES_BYTES_MAX};
use crate::mentions::repeated;
use crate::topics::check_name;

/// The settings of one resource.
pub(crate) type Settings = BTreeMap<String, String>;

/// A resource as a request asks for it to be changed, one key after the other.
pub(crate) trait Asked: Sync {
    /// What is asked of one key.
    type Config: Sync;

    /// Whether how much loggers say can be asked for in this way.
    const CHANGES_LOGGERS: bool;

    fn resource(&self) -> Resource;

    fn configs(&self) -> &[Self::Config];

    fn key(config: &Self::Config) -> &Str;

    /// Whether a value is wanted, and there is none.
    fn lacks_value(config: &Self::Config) -> bool;

    /// Whether what is asked for is something that can be done at all.
    fn check_operation(config: &Self::Config) -> Result<(), ApiError>;

    /// Why nothing comes of a change that is asked of a logger: there are none.
    fn check_logger(config: &Self::Config) -> Result<(), ApiError>;

    /// What the changes are made to, of what is set.
    fn begin(set: &Settings) -> Settings;

    /// Makes one of the changes.
    fn apply(of: &Resource, config: &Self::Config, then: &mut Settings) -> Result<(), ApiError>;
}

/// What Kafka's `ConfigAdminManager` looks for before all else: no key may be there twice, and none without its value. Of the
/// latter it tells all.
async fn check_keys<A: Asked>(core: &Core, call: &Call, configs: &[A::Config]) -> Result<(), ApiError> {
    let (mut seen, mut without_value) = (HashSet::default(), String::new());
    // At once: hashing all of them anew as they become more would keep others waiting.
    seen.reserve(configs.len());
    for config in configs {
        call.peer.breathe(&core.clock).await;
        let key = A::key(config);
        if !seen.insert(key) {
            return Err(ApiError::new(ErrorCode::InvalidRequest, "Error due to duplicate config keys"));
        }
        if A::lacks_value(config) {
            without_value.push_str(if without_value.is_empty() { "Null value not supported for : " } else { ", " });
            without_value.push_str(key);
        }
    }
    if without_value.is_empty() { Ok(()) } else { Err(ApiError::new(ErrorCode::InvalidRequest, without_value)) }
}

/// The metadata at some time, and what it says of all topics.
struct Now {
    image: Arc<Image>,
    broker: OnceLock<BrokerSettings>,
}

impl Now {
    fn of(core: &Core) -> Self {
        Self { image: core.image(), broker: OnceLock::new() }
    }

    /// The brokers' settings, made out once for all topics that a request changes.
    fn broker_settings(&self, core: &Core) -> &BrokerSettings {
        self.broker.get_or_init(|| broker_settings(&core.config, &self.image))
    }
}

/// What is set for a resource now.
fn present(image: &Image, of: &Resource) -> Settings {
    let configs = image.configs_of(of.kind, &of.name);
    let pairs = configs.iter().flat_map(|configs| configs.iter());
    pairs.map(|(key, value)| (key.to_string(), value.to_string())).collect()
}

/// Whether what the broker looks at in Kafka lets the resource be changed: its kind, and which broker it is. The rest is the
/// controller's, once it has looked at the changes.
fn check_kind(core: &Core, of: &Resource) -> Result<(), ApiError> {
    let why = match of.kind {
        resource::TOPIC | resource::GROUP | resource::CLIENT_METRICS => return Ok(()),
        resource::BROKER if of.name == CLUSTER_WIDE => return Ok(()),
        resource::BROKER => {
            let unexpected = |id| format!("Unexpected broker id, expected {id}, but received {}", of.name);
            check_node(core, &of.name, "Node", unexpected)?;
            // Each other spelling of the number would be a resource of its own, which nobody describes.
            let id = core.id().0;
            if of.name == id.to_string() {
                return Ok(());
            }
            format!("Node id must be written as {id}, but it is: {}", of.name)
        }
        other => format!("Unknown resource type {other}"),
    };
    Err(ApiError::new(ErrorCode::InvalidRequest, why))
}

/// Whether `name` is the id of this node, of which Kafka says the contrary in other words in each place.
pub(crate) fn check_node(
    core: &Core,
    name: &str,
    what: &str,
    unexpected: impl FnOnce(i32) -> String,
) -> Result<(), ApiError> {
    let id = core.id().0;
    let why = match name.parse::<i32>() {
        Ok(other) if other == id => return Ok(()),
        Ok(_) => unexpected(id),
        Err(_) => format!("{what} id must be an integer, but it is: {name}"),
    };
    Err(ApiError::new(ErrorCode::InvalidRequest, why))
}

/// The longest value of a setting, in what Java calls characters.
const VALUE_LENGTH_MAX: usize = 32_767;

/// Whether what is to be set may be kept at all.
pub(crate) fn check_length(value: &str) -> Result<(), ApiError> {
    if value.len() <= VALUE_LENGTH_MAX || value.encode_utf16().count() <= VALUE_LENGTH_MAX {
        return Ok(());
    }
    let why = format!(
        "The configuration value cannot be added because it exceeds the maximum value size of {VALUE_LENGTH_MAX} bytes."
    );
    Err(ApiError::new(ErrorCode::InvalidConfig, why))
}

/// Checks the settings of a resource as they would be.
fn validate(core: &Core, at: &Now, of: &Resource, now: &Settings, then: &Settings) -> Result<(), ApiError> {
    let image = &*at.image;
    // So many keys of brokers are not looked at one by one.
    if of.kind == resource::BROKER && then.len() > settings::known_count() + CUSTOM_KEYS_MAX {
        return Err(no_room());
    }
    then.iter().filter(|(key, value)| now.get(*key) != Some(value)).try_for_each(|(_, value)| check_length(value))?;
    if of.kind == resource::TOPIC {
        if of.name.is_empty() {
            return Err(ApiError::new(ErrorCode::InvalidRequest, "Default topic resources are not allowed."));
        }
        check_name(&of.name).map_err(|why| ApiError::new(ErrorCode::InvalidTopicException, why))?;
        let invalid = |why: String| ApiError::new(ErrorCode::InvalidConfig, why);
        return validate_topic_settings(then, at.broker_settings(core)).map_err(|error| invalid(error.to_string()));
    }
    if of.kind != resource::BROKER {
        return unserved_keys::check(of.kind, &of.name, then);
    }
    check_broker_keys(of, now, then)?;
    // Whatever is wrong with a broker's settings, Kafka says so with this code.
    let invalid = |why: String| ApiError::new(ErrorCode::InvalidRequest, why);
    let (before, after) = (at.broker_settings(core), broker_settings_if(&core.config, image, &of.name, then));
    let after = |key: &str| after.get(key).map(String::as_str);
    // The whole configuration first, then what its parts make of a change of it.
    settings::check_together(after).map_err(|error| invalid(error.to_string()))?;
    // Also what was deleted may change what is in force.
    for def in INERT_KEYS {
        let in_force =
            |values: Vec<Sourced>| values.into_iter().next().and_then(|first| first.value).unwrap_or_default();
        let now = in_force(values(def, &core.config, image));
        let then = in_force(values_then(def, &core.config, image, &of.name, then));
        if now != then {
            def.check_change(&now, &then).map_err(|error| invalid(error.to_string()))?;
        }
    }
    settings::check_tiers(|key| before.get(key).map(String::as_str), after).map_err(|error| invalid(error.to_string()))
}

/// Checks the keys of a broker, or of all, that would be set anew, each by itself: first whether it may be set at all, then its
/// value, then whether it may be set for all. What Kafka does not know it takes, for what is plugged in may.
fn check_broker_keys(of: &Resource, now: &Settings, then: &Settings) -> Result<(), ApiError> {
    let invalid = |why: String| ApiError::new(ErrorCode::InvalidRequest, why);
    let is_cluster_wide = of.name == CLUSTER_WIDE;
    let changed = || then.iter().filter(|(key, value)| now.get(*key) != Some(value));
    let of_one = |key: &str| is_cluster_wide && PER_BROKER_KEYS.contains(&key);
    let mut fixed: Vec<&str> =
        changed().map(|(key, _)| key.as_str()).filter(|key| settings::is_fixed(key) && !of_one(key)).collect();
    if !fixed.is_empty() {
        fixed.sort_by_cached_key(|key| place_in_hash_map(key, then.len()));
        return Err(invalid(format!("Cannot update these configs dynamically: [{}]", fixed.join(", "))));
    }
    for (key, value) in changed() {
        match settings::definition(key) {
            Some(def) if def.update == Update::Dynamic => {
                def.parse_new(value).map_err(|error| invalid(error.to_string()))?;
            }
            Some(_) => {}
            None => check_custom(key, then)?,
        }
    }
    let mut misplaced: Vec<&str> = changed().map(|(key, _)| key.as_str()).filter(|key| of_one(key)).collect();
    if misplaced.is_empty() {
        return Ok(());
    }
    let misplaced_count = misplaced.len();
    misplaced.sort_by_cached_key(|key| place_in_hash_map(key, misplaced_count));
    Err(invalid(format!(
        "Cannot update these configs at default cluster level, broker id must be specified: [{}]",
        misplaced.join(", ")
    )))
}

/// Whether there is room for another key that nobody knows, and for its value.
fn check_custom(key: &str, then: &Settings) -> Result<(), ApiError> {
    let customs = then.iter().filter(|(key, _)| settings::is_custom(key));
    let (count, bytes) = customs.fold((0, 0), |(count, bytes), (_, value)| (count + 1, bytes + value.len()));
    if key.len() <= CUSTOM_KEY_BYTES_MAX && count <= CUSTOM_KEYS_MAX && bytes <= CUSTOM_VALUES_BYTES_MAX {
        return Ok(());
    }
    Err(no_room())
}

fn no_room() -> ApiError {
    let why = format!(
        "Of keys that no broker knows {CUSTOM_KEYS_MAX} are kept, of {CUSTOM_KEY_BYTES_MAX} bytes at most, with values of \
         {CUSTOM_VALUES_BYTES_MAX} bytes in all."
    );
    ApiError::new(ErrorCode::PolicyViolation, why)
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

/// Changes the settings of each resource that a request names ([`alter`]). Answers in the order in which they are named.
///
/// None of the mentions of a resource is carried out that is named more than once: nobody knows which was meant. Kafka 3.9.2
/// and 4.4.0 refuse each of them with error 42 and change what is named once. (To AlterConfigs they do the same and then fail
/// on counting the errors of their answer, so that the client waits for it in vain.)
pub(crate) async fn alter_each<A: Asked>(
    core: &Core,
    call: &Call,
    named: &[A],
    validate_only: bool,
) -> Vec<Result<(), ApiError>> {
    let repeated = &repeated((&call.peer, &core.clock), named, A::resource).await;
    let time = &ForAWhile::begin(&core.clock, None);
    let mut outcomes = Vec::with_capacity(named.len());
    for some in named.chunks(CHANGED_AT_ONCE_MAX) {
        let now = &Now::of(core);
        let mut altered = InOrder::new(CHANGED_AT_ONCE_MAX, &call.peer, &core.clock);
        for asked in some {
            let alteration = async move {
                let of = asked.resource();
                if repeated.contains(&of) {
                    let why = "Each resource must appear at most once.";
                    return Err(ApiError::new(ErrorCode::InvalidRequest, why));
                }
                check_keys::<A>(core, call, asked.configs()).await?;
                if of.kind == resource::BROKER_LOGGER && A::CHANGES_LOGGERS {
                    let unexpected = |id| format!("Unexpected node id. Expected {id}, but received {}", of.name);
                    check_node(core, &of.name, "Node", unexpected)?;
                    return asked.configs().iter().try_for_each(A::check_logger).map(|()| Altered::Checked);
                }
                check_kind(core, &of)?;
                alter(core, call, &of, asked, validate_only, (now, time)).await
            };
            altered.push(alteration).await;
        }
        outcomes.extend(altered.finish().await);
    }
    let is_found = |outcome: &Result<Altered, ApiError>| matches!(outcome, Ok(Altered::AsItIs));
    // What was found as it should be was asked of no log: a broker that was replaced finds what was (I-3).
    if outcomes.iter().any(is_found)
        && let Err(fenced) = core.partitions.check_unfenced().await
    {
        let error = ApiError::new(ErrorCode::NotController, fenced.to_string());
        outcomes.iter_mut().filter(|outcome| is_found(outcome)).for_each(|outcome| *outcome = Err(error.clone()));
    }
    outcomes.into_iter().map(|outcome| outcome.map(drop)).collect()
}

/// What became of the settings of a resource.
enum Altered {
    Changed,
    /// Nothing was to be changed.
    AsItIs,
    Checked,
}

/// Changes the settings of one resource. What is asked for is applied to those that are set, and again when somebody else
/// changed them meanwhile.
async fn alter<A: Asked>(
    core: &Core,
    call: &Call,
    of: &Resource,
    asked: &A,
    validate_only: bool,
    (first, time): (&Now, &ForAWhile),
) -> Result<Altered, ApiError> {
    let mut again = None;
    loop {
        let at = again.as_ref().unwrap_or(first);
        let now = present(&at.image, of);
        let then = planned(core, call, of, asked, &now).await?;
        validate(core, at, of, &now, &then)?;
        if of.kind == resource::TOPIC && at.image.topic(&of.name).is_none() {
            return Err(unknown_topic(&of.name));
        }
        let changes = changes(&now, &then);
        // Both may be large, and the change may take long.
        drop((now, then));
        if validate_only {
            return Ok(Altered::Checked);
        }
        if changes.is_empty() && of.kind != resource::TOPIC && of.kind != resource::BROKER {
            // Nothing can be set for them.
            return Ok(Altered::AsItIs);
        }
        // Also where nothing is to be changed: another change may be on its way that is no longer waited for.
        let saw = at.image.configs_of(of.kind, &of.name).map(|configs| (**configs).clone()).unwrap_or_default();
        match time.wait_for(core.meta.alter_configs(of.clone(), saw, changes.clone())).await? {
            Ok(()) => {
                for ConfigChange { key, value } in &changes {
                    // What nobody knows may be a secret.
                    let is_told = of.kind == resource::TOPIC || !settings::is_custom(key);
                    let value = value.as_deref().map_or("(default)", |value| if is_told { value } else { "(hidden)" });
                    tracing::info!(resource_type = of.kind, resource = of.name, key, value, "setting changed");
                }
                return Ok(if changes.is_empty() { Altered::AsItIs } else { Altered::Changed });
            }
            Err(ConfigError::Changed) => again = Some(Now::of(core)),
            Err(ConfigError::UnknownTopic(name)) => return Err(unknown_topic(&name)),
            Err(ConfigError::Meta(error)) => return Err(error.into()),
        }
    }
}

/// The settings as they would be.
async fn planned<A: Asked>(
    core: &Core,
    call: &Call,
    of: &Resource,
    asked: &A,
    now: &Settings,
) -> Result<Settings, ApiError> {
    for config in asked.configs() {
        call.peer.breathe(&core.clock).await;
        A::check_operation(config)?;
    }
    let (mut then, mut wrong) = (A::begin(now), None);
    for config in asked.configs() {
        call.peer.breathe(&core.clock).await;
        let Err(error) = A::apply(of, config, &mut then) else { continue };
        if of.kind == resource::BROKER {
            return Err(error);
        }
        // Of a topic's changes Kafka meets that one first.
        let place = place_in_hash_map(A::key(config), asked.configs().len());
        if wrong.as_ref().is_none_or(|(least, _)| place < *least) {
            wrong = Some((place, error));
        }
    }
    wrong.map_or(Ok(then), |(_, error)| Err(error))
}
