//! Topics as Metadata and its kin show them, and the rules for their names.

use meta::{Image, TopicImage};
use wire::ErrorCode;

/// The longest topic name, Kafka's `Topic.MAX_NAME_LENGTH`.
const NAME_BYTES_MAX: usize = 249;

/// What a client may ask of a topic when there is no access control: Kafka's bit set of READ, WRITE, CREATE, DELETE,
/// ALTER, DESCRIBE, DESCRIBE_CONFIGS and ALTER_CONFIGS.
pub(crate) const TOPIC_OPERATIONS: i32 = bits(&[3, 4, 5, 6, 7, 8, 10, 11]);
/// Likewise of the cluster: CREATE, ALTER, DESCRIBE, CLUSTER_ACTION, DESCRIBE_CONFIGS, ALTER_CONFIGS, IDEMPOTENT_WRITE.
pub(crate) const CLUSTER_OPERATIONS: i32 = bits(&[5, 7, 8, 9, 10, 11, 12]);
/// Operations that nobody asked for.
pub(crate) const OPERATIONS_OMITTED: i32 = i32::MIN;

const fn bits(operations: &[i32]) -> i32 {
    let (mut set, mut at) = (0, 0);
    while at < operations.len() {
        set |= 1 << operations[at];
        at += 1;
    }
    set
}

/// Where groups keep their offsets.
pub(crate) const OFFSETS_TOPIC: &str = "__consumer_offsets";
const TRANSACTION_TOPIC: &str = "__transaction_state";
const SHARE_TOPIC: &str = "__share_group_state";

/// Kafka's internal topics.
pub(crate) fn is_internal(name: &str) -> bool {
    matches!(name, OFFSETS_TOPIC | TRANSACTION_TOPIC | SHARE_TOPIC)
}

/// Why nobody may create a topic of this name, if so. What transactions and share groups keep their state in has a shape
/// of its own, for good: a topic of any other shape would be in their way.
pub(crate) fn reserved(name: &str) -> Option<&'static str> {
    match name {
        "__cluster_metadata" => Some("Creation of internal topic __cluster_metadata is prohibited."),
        TRANSACTION_TOPIC => Some("__transaction_state comes with transactions, which are not supported yet."),
        SHARE_TOPIC => Some("__share_group_state comes with share groups, which are not supported yet."),
        _ => None,
    }
}

/// Checks a name as Kafka's `Topic.validate` does.
pub(crate) fn check_name(name: &str) -> Result<(), String> {
    if name.is_empty() {
        return Err("Topic name is invalid: the empty string is not allowed".to_owned());
    }
    if name == "." || name == ".." {
        return Err(format!("Topic name is invalid: '{name}' is not allowed"));
    }
    if name.len() > NAME_BYTES_MAX {
        return Err(format!(
            "Topic name is invalid: the length of '{name}' is longer than the max allowed length {NAME_BYTES_MAX}"
        ));
    }
    if !name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-')) {
        return Err(format!(
            "Topic name is invalid: '{name}' contains one or more characters other than ASCII alphanumerics, '.', '_' \
             and '-'"
        ));
    }
    Ok(())
}

/// One partition's leadership as clients see it.
pub(crate) struct Leadership {
    pub(crate) error_code: i16,
    pub(crate) leader: i32,
    pub(crate) epoch: i32,
    /// Replicas: the leader alone, since the store replicates.
    pub(crate) replicas: Vec<i32>,
}

/// Who leads each partition of a topic, in order.
pub(crate) fn leaders<'a>(image: &'a Image, topic: &'a TopicImage) -> impl Iterator<Item = Leadership> + 'a {
    topic.partitions.iter().map(|stream| match image.leader(*stream) {
        Some(leader) => {
            let id = leader.owner.broker.0;
            Leadership { error_code: 0, leader: id, epoch: leader.epoch.0, replicas: vec![id] }
        }
        None => {
            let error_code = ErrorCode::LeaderNotAvailable.code();
            Leadership { error_code, leader: -1, epoch: -1, replicas: Vec::new() }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked_as_kafka_does() {
        for fine in ["a", "A.b_c-9", "...", &"x".repeat(249)] {
            assert_eq!(check_name(fine), Ok(()), "{fine}");
        }
        for wrong in ["", ".", "..", "a b", "é", "a/b", &"x".repeat(250)] {
            assert!(check_name(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn operations_are_kafkas_bit_sets() {
        assert_eq!(TOPIC_OPERATIONS, 3_576);
        assert_eq!(CLUSTER_OPERATIONS, 8_096);
    }
}
