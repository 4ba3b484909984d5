//! Keys of groups and of clients' metrics. Kafka configures them; here there is nothing that they would change, and none is
//! taken. What is not a key of theirs is told as by Kafka.

use partition::config::place_in_hash_map;
use wire::ErrorCode;

use super::alter::Settings;
use super::effective::resource;
use crate::errors::ApiError;

/// Those of Kafka's `GroupConfig`.
#[rustfmt::skip]
const GROUP_KEYS: &[&str] = &[
    "consumer.assignment.interval.ms", "consumer.assignor.offload.enable", "consumer.heartbeat.interval.ms",
    "consumer.session.timeout.ms", "errors.deadletterqueue.copy.record.enable", "errors.deadletterqueue.topic.name",
    "share.assignment.interval.ms", "share.assignor.offload.enable", "share.auto.offset.reset",
    "share.delivery.count.limit", "share.heartbeat.interval.ms", "share.isolation.level",
    "share.partition.max.record.locks", "share.record.lock.duration.ms", "share.renew.acknowledge.enable",
    "share.session.timeout.ms", "streams.acceptable.recovery.lag", "streams.assignment.interval.ms",
    "streams.assignor.name", "streams.assignor.offload.enable", "streams.heartbeat.interval.ms",
    "streams.initial.rebalance.delay.ms", "streams.num.standby.replicas", "streams.num.warmup.replicas",
    "streams.rack.aware.assignment.tags", "streams.session.timeout.ms", "streams.task.offset.interval.ms",
];

/// Those of Kafka's `ClientMetricsConfigs`.
const CLIENT_METRICS_KEYS: &[&str] = &["interval.ms", "match", "metrics"];

/// What is said of a resource that has no configuration here.
pub(crate) fn no_configuration(kind: i8) -> ApiError {
    ApiError::new(ErrorCode::InvalidRequest, format!("Resource type {kind} has no configuration here."))
}

/// Checks what would be set for a group or for clients' metrics: nothing can be.
pub(super) fn check(kind: i8, name: &str, then: &Settings) -> Result<(), ApiError> {
    let (keys, nameless, unknown, code) = match kind {
        resource::GROUP => {
            let nameless = "Default group resources are not allowed.";
            (GROUP_KEYS, nameless, "Unknown group config name", ErrorCode::InvalidConfig)
        }
        _ => {
            let nameless = "Subscription name can't be empty";
            (CLIENT_METRICS_KEYS, nameless, "Unknown client metrics configuration", ErrorCode::InvalidRequest)
        }
    };
    if name.is_empty() {
        return Err(ApiError::new(ErrorCode::InvalidRequest, nameless));
    }
    let strangers = then.keys().filter(|key| !keys.contains(&key.as_str()));
    if let Some(key) = strangers.min_by_key(|key| place_in_hash_map(key, then.len())) {
        return Err(ApiError::new(code, format!("{unknown}: {key}")));
    }
    if then.is_empty() { Ok(()) } else { Err(no_configuration(kind)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_set_and_each_refusal_says_why() {
        let said = |kind, name: &str, keys: &[&str]| {
            let then = keys.iter().map(|key| ((*key).to_owned(), "1".to_owned())).collect();
            check(kind, name, &then).map_err(|error| error.message)
        };
        assert_eq!(said(resource::GROUP, "g", &[]), Ok(()));
        assert_eq!(said(resource::CLIENT_METRICS, "m", &[]), Ok(()));
        for (kind, name, keys, why) in [
            (resource::GROUP, "", &[][..], "Default group resources are not allowed."),
            (resource::GROUP, "g", &["share.isolation.level", "x"], "Unknown group config name: x"),
            (resource::GROUP, "g", &["share.isolation.level"], "Resource type 32 has no configuration here."),
            (resource::CLIENT_METRICS, "", &["x"], "Subscription name can't be empty"),
            (resource::CLIENT_METRICS, "m", &["x", "match"], "Unknown client metrics configuration: x"),
            (resource::CLIENT_METRICS, "m", &["match"], "Resource type 16 has no configuration here."),
        ] {
            assert_eq!(said(kind, name, keys), Err(why.to_owned()), "{kind} {name:?} {keys:?}");
        }
    }
}
