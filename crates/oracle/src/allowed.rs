//! The differences that are meant to be.

use serde_json::Value;

use crate::compare::Difference;
use crate::connection::Answer;
use crate::run::Exchange;

/// What a difference is looked at in.
#[derive(Clone, Copy, Debug)]
pub struct Case<'a> {
    /// The story's name.
    pub story: &'a str,
    /// The request.
    pub asked: &'a Value,
    /// The field that differs.
    pub field: &'a str,
    /// What Kafka says there.
    pub kafka: &'a Value,
    /// What Headwater says there.
    pub headwater: &'a Value,
}

/// One of them.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// The API, as stories call it.
    pub api: &'static str,
    /// The versions, both ends included.
    pub versions: (i16, i16),
    /// The field, without the indices of arrays; a `*` in it stands for any field. Empty where there is no answer to look at.
    pub field: &'static str,
    /// Only where the request holds this value at this JSON pointer.
    pub asked: Option<(&'static str, &'static str)>,
    /// Only in a part of Kafka's answer whose member has one of these values.
    pub within: Option<(&'static str, &'static [&'static str])>,
    /// What Kafka says there, if only that: JSON.
    pub kafka: Option<&'static str>,
    /// What Headwater says there, if only that: JSON.
    pub headwater: Option<&'static str>,
    /// Only in such cases.
    pub such: Option<fn(&Case<'_>) -> bool>,
    /// Only of what is asked after a restart.
    pub after_restart: bool,
    /// Why it may be.
    pub reason: &'static str,
}

/// Resources that have no configuration here: client metrics, groups.
const UNSERVED: &[&str] = &["16", "32"];
/// Brokers.
const BROKERS: &[&str] = &["4"];

/// A timeout that is over when the request comes.
const NO_TIME: Option<(&str, &str)> = Some(("/timeout_ms", "0"));
/// What is done without any time.
const LATE: &str = "Kafka does nothing then and says that it was late, which old clients take for success; here what is \
                    refused is told";

/// Kafka's code says that it was late, and Headwater's what is wrong.
fn is_refused_and_not_late(case: &Case<'_>) -> bool {
    match case.field.ends_with("/error_code") {
        true => case.kafka == 7 && ![0, 7, -1].iter().any(|code| case.headwater == code),
        false => case.kafka.is_null() && case.headwater.is_string(),
    }
}

/// Headwater says that there is nothing of the kind.
fn is_unserved(case: &Case<'_>) -> bool {
    !case.field.ends_with("/error_code") || case.headwater == 42
}

/// Records were deleted, and the newest may be among them.
fn is_of_deleted(case: &Case<'_>) -> bool {
    case.story.contains("delete")
}

/// Each partition that a request names of its topics.
fn partitions_of(asked: &Value) -> impl Iterator<Item = &Value> {
    let topics = asked["topics"].as_array().into_iter().flatten();
    topics.flat_map(|topic| topic["partitions"].as_array().into_iter().flatten())
}

/// A first batch that is larger than the limit, and Headwater's begins where it was asked for, or is the beginning of one.
fn is_above_a_small_limit(case: &Case<'_>) -> bool {
    let first = &case.headwater[0];
    let offset = first["base_offset"].as_i64().or(first["offset"].as_i64());
    let is_piece = first.get("partial").is_some();
    partitions_of(case.asked).any(|asked| {
        let is_small = asked["partition_max_bytes"].as_i64().is_some_and(|bytes| bytes <= 300);
        is_small && (is_piece || offset >= asked["fetch_offset"].as_i64())
    })
}

/// Not of the ends of the log, which are the same.
fn is_by_time(case: &Case<'_>) -> bool {
    partitions_of(case.asked)
        .any(|asked| asked["timestamp"] != -2 && (asked["timestamp"] != -1 || asked["max_num_offsets"] != 1))
}

/// The table. It has at most forty rows, and each is needed by a case.
pub const ROWS: &[Row] = &[
    Row {
        field: "/api_keys/*",
        headwater: Some("null"),
        reason: "an API that is not served is not advertised",
        ..Row::of("api_versions")
    },
    Row {
        field: "/api_keys/*/min_version",
        headwater: Some("0"),
        reason: "versions that 4.4 speaks no more are served still, as by 3.9",
        ..Row::of("api_versions")
    },
    Row {
        field: "/supported_features",
        headwater: Some("[]"),
        reason: "features are of KRaft's metadata and of protocols that are not served",
        ..Row::of("api_versions")
    },
    Row { field: "/finalized_features", headwater: Some("[]"), reason: "likewise", ..Row::of("api_versions") },
    Row { field: "/finalized_features_epoch", headwater: Some("-1"), reason: "likewise", ..Row::of("api_versions") },
    Row {
        field: "*",
        asked: Some(("/key_type", "1")),
        such: Some(|case| !case.field.ends_with("/error_code") || case.headwater == 42),
        reason: "there are no transactions yet, and who asks for their coordinator is told so",
        ..Row::of("find_coordinator")
    },
    Row {
        field: "/results/*",
        within: Some(("resource_type", UNSERVED)),
        such: Some(is_unserved),
        reason: "there are no client metrics, and no groups of protocols that have configurations",
        ..Row::of("describe_configs")
    },
    Row {
        field: "/results/configs/documentation",
        such: Some(|case| case.kafka.is_string() && case.headwater.is_string()),
        reason: "it says what Headwater does",
        ..Row::of("describe_configs")
    },
    Row {
        field: "/responses/*",
        within: Some(("resource_type", UNSERVED)),
        such: Some(is_unserved),
        reason: "likewise",
        ..Row::of("incremental_alter_configs")
    },
    Row {
        field: "/responses/error_message",
        within: Some(("resource_type", BROKERS)),
        headwater: Some("\"Cannot update these configs dynamically: [listeners]\""),
        reason: "listeners are those of the start; Kafka reads their names first",
        ..Row::of("incremental_alter_configs")
    },
    Row {
        versions: (0, 0),
        field: "/results/configs",
        reason: "3.9 judges this version, and has other configurations than 4.4, of which Headwater has those",
        ..Row::of("describe_configs")
    },
    Row {
        versions: (0, 0),
        field: "/results/configs/value",
        kafka: Some("\"9223372036854775807\""),
        headwater: Some("\"3600000\""),
        reason: "likewise, and another default of message.timestamp.after.max.ms",
        ..Row::of("describe_configs")
    },
    Row {
        versions: (0, 1),
        field: "/topics/error_message",
        kafka: Some("\"Invalid value 1 for configuration segment.bytes: Value must be at least 14\""),
        reason: "3.9 judges these versions, and bounds it otherwise than 4.4",
        ..Row::of("create_topics")
    },
    Row {
        field: "/topics/partitions/*",
        asked: Some(("/topics/0/partitions/0/timestamp", "-3")),
        such: Some(|case| is_of_deleted(case) && !case.field.ends_with("/error_code") && case.headwater == -1),
        reason: "Kafka names the newest record even where it is deleted, until its segment goes; here it is gone",
        ..Row::of("list_offsets")
    },
    Row {
        field: "/topics/partitions/offset",
        asked: Some(("/topics/0/partitions/0/timestamp", "-3")),
        such: Some(|case| is_of_deleted(case) && case.kafka.as_i64() < case.headwater.as_i64()),
        reason: "likewise; here the newest of those that are left is told, which stands behind it",
        ..Row::of("list_offsets")
    },
    Row {
        field: "/topics/partitions/timestamp",
        asked: Some(("/topics/0/partitions/0/timestamp", "-3")),
        such: Some(|case| is_of_deleted(case) && case.kafka.as_i64() > case.headwater.as_i64()),
        reason: "likewise, and is older",
        ..Row::of("list_offsets")
    },
    Row {
        field: "/responses/partition_responses/*",
        within: Some(("error_code", &["45"])),
        after_restart: true,
        such: Some(|case| !case.field.ends_with("/error_code") || case.headwater == 0),
        reason: "a restarted Kafka recognises the last batch of a producer alone; here it is the last five, as before the restart",
        ..Row::of("produce")
    },
    Row {
        asked: Some(("/topic_data/0/partition_data/0/records", "null")),
        kafka: Some("\"<no answer>\""),
        headwater: Some("\"<a reply>\""),
        reason: "Kafka never answers records that are null; here they are refused, and nothing is appended",
        ..Row::of("produce")
    },
    Row {
        versions: (0, 3),
        field: "/responses/partitions/records",
        within: Some(("error_code", &["76"])),
        kafka: Some("null"),
        headwater: Some("[]"),
        reason: "3.9 sends null with an unsupported compression; here it is an empty set, as in newer versions",
        ..Row::of("fetch")
    },
    Row {
        field: "/responses/partitions/records/records/offset_delta",
        headwater: Some("1"),
        such: Some(|case| case.story.contains("lie")),
        reason: "Kafka keeps the deltas of a batch without compression that lie, and clients see offsets twice; here they are put right",
        ..Row::of("fetch")
    },
    Row {
        versions: (0, 0),
        field: "/topics/partitions/old_style_offsets",
        such: Some(is_by_time),
        reason: "it tells where segments begin and when their files were written; here are objects, and times of records",
        ..Row::of("list_offsets")
    },
    Row {
        versions: (0, 2),
        field: "/responses/partitions/records",
        kafka: Some("[]"),
        such: Some(is_above_a_small_limit),
        reason: "of a first batch that is larger than the limit Kafka converts nothing, and such a reader stands still; here it gets what fits",
        ..Row::of("fetch")
    },
    Row {
        field: "*",
        asked: Some(("/session_id", "2147483647")),
        within: Some(("error_code", &["-1"])),
        such: Some(|case| case.field != "/error_code" || case.headwater != -1),
        reason: "Kafka fails to look for this session, which its cache has no shard for; here it is one that there is not",
        ..Row::of("fetch")
    },
    Row {
        field: "/topics/error_*",
        asked: NO_TIME,
        such: Some(is_refused_and_not_late),
        reason: LATE,
        ..Row::of("create_topics")
    },
    Row {
        field: "/responses/error_*",
        asked: NO_TIME,
        such: Some(is_refused_and_not_late),
        reason: LATE,
        ..Row::of("delete_topics")
    },
    Row {
        field: "/results/error_*",
        asked: NO_TIME,
        such: Some(is_refused_and_not_late),
        reason: LATE,
        ..Row::of("create_partitions")
    },
    Row {
        field: "/results/*_bytes",
        headwater: Some("-1"),
        reason: "an object store has no size",
        ..Row::of("describe_log_dirs")
    },
];

impl Row {
    /// A row of an API, of every version.
    pub const fn of(api: &'static str) -> Self {
        Self {
            api,
            versions: (0, i16::MAX),
            field: "",
            asked: None,
            within: None,
            kafka: None,
            headwater: None,
            such: None,
            after_restart: false,
            reason: "",
        }
    }

    /// Whether it allows a difference in an exchange.
    pub fn allows(&self, api: &str, exchange: &Exchange, difference: &Difference) -> bool {
        let is_at = |of: &Value, pointer: &str, wanted: &str| {
            of.pointer(pointer).map(Value::to_string).is_some_and(|value| value == wanted)
        };
        let was_asked = |(pointer, wanted): (&str, &str)| is_at(&exchange.asked, pointer, wanted);
        let is_within = |(member, wanted): (&str, &[&str])| {
            let Answer::Reply(reply) = &exchange.answers[0] else { return false };
            let mut ends = difference.place.match_indices('/').map(|(at, _)| at);
            ends.any(|end| {
                let place = format!("{}/{member}", &difference.place[..end]);
                wanted.iter().any(|wanted| is_at(reply, &place, wanted))
            })
        };
        let is_field = match self.field.split_once('*') {
            // That there is no answer, or late, is no field.
            Some((begins, ends)) => {
                let field = &difference.field;
                field.starts_with('/') && field.starts_with(begins) && field.ends_with(ends)
            }
            None => difference.field == self.field,
        };
        let case = Case {
            story: &exchange.story,
            asked: &exchange.asked,
            field: &difference.field,
            kafka: &difference.kafka,
            headwater: &difference.headwater,
        };
        let is = |wanted: Option<&str>, said: &Value| {
            let said = said.to_string();
            wanted.is_none_or(|wanted| wanted == said)
        };
        self.api == api
            && self.asked.is_none_or(was_asked)
            && self.within.is_none_or(is_within)
            && (self.versions.0..=self.versions.1).contains(&exchange.version)
            && is_field
            && is(self.kafka, &difference.kafka)
            && is(self.headwater, &difference.headwater)
            && self.such.is_none_or(|such| such(&case))
            && (exchange.is_again || !self.after_restart)
    }
}

/// The first row that allows a difference.
pub fn row_for(api: &str, exchange: &Exchange, difference: &Difference) -> Option<usize> {
    ROWS.iter().position(|row| row.allows(api, exchange, difference))
}
