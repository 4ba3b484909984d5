//! Differences on purpose: what Headwater answers is falsified before it is compared. The oracle must find each of them.

use serde_json::{Value, json};

/// A falsification.
#[derive(Clone, Copy, Debug)]
pub struct Plant {
    /// Its name.
    pub name: &'static str,
    lie: fn(&str, i16, &mut Value),
}

impl Plant {
    /// All of them.
    pub const ALL: [Self; 14] = [
        Self { name: "deleted-topic-is-no-topic-id", lie: |api, _, reply| codes(api == "fetch", 100, 3, reply) },
        Self { name: "unknown-topic-is-invalid", lie: |api, _, reply| codes(api == "list_offsets", 3, 17, reply) },
        Self {
            name: "out-of-range-names-the-log-start",
            lie: |api, _, reply| {
                each(reply, "partitions", &mut |of| {
                    if api == "fetch" && of["error_code"] == json!(1) {
                        of["log_start_offset"] = json!(0);
                    }
                });
            },
        },
        Self {
            name: "epoch-at-its-default",
            lie: |api, version, reply| {
                each(reply, "partitions", &mut |of| {
                    if api == "list_offsets" && version >= 4 && of["offset"] != json!(-1) {
                        of["leader_epoch"] = json!(-1);
                    }
                });
            },
        },
        Self {
            name: "metadata-text-lost",
            lie: |api, _, reply| {
                each(reply, "partitions", &mut |of| {
                    if api == "offset_fetch" && of["metadata"] != json!("") {
                        of["metadata"] = json!("");
                    }
                });
            },
        },
        Self {
            name: "null-is-empty",
            lie: |api, _, reply| {
                each(reply, "partitions", &mut |of| {
                    if api == "fetch" && of["aborted_transactions"].is_null() {
                        of["aborted_transactions"] = json!([]);
                    }
                });
            },
        },
        Self {
            name: "one-version-off",
            lie: |api, _, reply| {
                each(reply, "api_keys", &mut |of| {
                    if api == "api_versions" && of["api_key"] == json!(8) {
                        of["max_version"] = json!(9);
                    }
                });
            },
        },
        Self {
            name: "order-changed",
            lie: |api, _, reply| {
                if let (true, Some(topics)) = (api == "fetch", reply.get_mut("responses").and_then(Value::as_array_mut))
                {
                    topics.reverse();
                }
            },
        },
        Self {
            name: "offset-off-by-one",
            lie: |api, _, reply| {
                each(reply, "partitions", &mut |of| {
                    if api == "offset_for_leader_epoch"
                        && let Some(end) = of["end_offset"].as_i64().filter(|end| *end > 0)
                    {
                        of["end_offset"] = json!(end + 1);
                    }
                });
            },
        },
        Self {
            name: "base-offset-off-by-one",
            lie: |api, _, reply| {
                each(reply, "partition_responses", &mut |of| {
                    if api == "produce"
                        && let Some(base) = of["base_offset"].as_i64().filter(|base| *base > 0)
                    {
                        of["base_offset"] = json!(base - 1);
                    }
                });
            },
        },
        Self {
            name: "repeated-once-only",
            lie: |api, _, reply| {
                if let (true, Some(groups)) =
                    (api == "describe_groups", reply.get_mut("groups").and_then(Value::as_array_mut))
                {
                    groups.dedup();
                }
            },
        },
        Self {
            name: "generation-off-by-one",
            lie: |api, _, reply| {
                if let (true, Some(generation)) =
                    (api == "join_group", reply.get("generation_id").and_then(Value::as_i64).filter(|g| *g > 1))
                {
                    reply["generation_id"] = json!(generation - 1);
                }
            },
        },
        Self {
            name: "read-only-forgotten",
            lie: |api, _, reply| {
                each(reply, "configs", &mut |of| {
                    if api == "describe_configs" && of["read_only"] == json!(true) {
                        of["read_only"] = json!(false);
                    }
                });
            },
        },
        Self {
            name: "message-text-changed",
            lie: |api, _, reply| {
                each(reply, "topics", &mut |of| {
                    if api == "create_topics" && of["error_code"] == json!(36) {
                        of["error_message"] = json!("exists");
                    }
                });
            },
        },
    ];

    /// The one of a name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|plant| plant.name == name)
    }

    /// Falsifies a reply.
    pub fn lie(self, api: &str, version: i16, reply: &mut Value) {
        (self.lie)(api, version, reply);
    }
}

/// Visits the elements of every array of a name.
fn each(reply: &mut Value, array: &str, visit: &mut dyn FnMut(&mut Value)) {
    match reply {
        Value::Object(members) => {
            for (name, member) in members.iter_mut() {
                if let (true, Value::Array(elements)) = (name == array, &mut *member) {
                    elements.iter_mut().for_each(&mut *visit);
                }
                each(member, array, visit);
            }
        }
        Value::Array(elements) => elements.iter_mut().for_each(|element| each(element, array, visit)),
        _ => {}
    }
}

fn codes(applies: bool, from: i16, to: i16, reply: &mut Value) {
    match reply {
        Value::Object(members) => {
            for (name, member) in members.iter_mut() {
                if applies && name == "error_code" && *member == json!(from) {
                    *member = json!(to);
                }
                codes(applies, from, to, member);
            }
        }
        Value::Array(elements) => elements.iter_mut().for_each(|element| codes(applies, from, to, element)),
        _ => {}
    }
}
