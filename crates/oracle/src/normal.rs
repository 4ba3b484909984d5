//! What two brokers cannot say alike, made alike: ids are numbered in the order in which a broker first shows them, times that
//! are now become "now", its own address becomes "itself". The beginning of a batch that did not fit into a reply is left
//! out: Kafka cuts bytes where the limit ends, and no client reads the piece. Everything else is compared as it is.

use std::collections::HashMap;

use serde_json::{Map, Value, json};

use crate::catalogue::Api;
use crate::codec::hex_text;
use crate::pair::has_prefix;
use crate::run::NO_TOPIC;

/// What a field says, by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Meaning {
    /// Given by the broker, and nothing but itself.
    Id(&'static str),
    /// Milliseconds since 1970.
    Time,
    /// Counted by the broker; grows when it wants.
    Epoch,
    /// The broker's own host or port.
    Address,
    /// Of the machine.
    Machine,
    /// Compared as it is.
    Plain,
}

fn meaning(field: &str) -> Meaning {
    match field {
        "topic_id" => Meaning::Id("topic"),
        "cluster_id" => Meaning::Id("cluster"),
        "member_id" | "leader" => Meaning::Id("member"),
        "producer_id" => Meaning::Id("producer"),
        "session_id" => Meaning::Id("session"),
        "log_dir" => Meaning::Id("directory"),
        "log_append_time_ms" | "timestamp" | "first_timestamp" | "max_timestamp" => Meaning::Time,
        "leader_epoch" | "partition_leader_epoch" | "current_leader_epoch" => Meaning::Epoch,
        "host" | "port" => Meaning::Address,
        "total_bytes" | "usable_bytes" | "finalized_features_epoch" => Meaning::Machine,
        _ => Meaning::Plain,
    }
}

/// What an element is about: so those that are about the same meet, whatever else they say.
fn name_of(element: &Value) -> String {
    let named = |name: &&str| element.get(*name).filter(|value| !value.is_null()).map(Value::to_string);
    ["name", "topic_name", "group_id", "resource_name", "partition_index"].iter().find_map(named).unwrap_or_default()
}

/// What two brokers say alike of an element, whatever they give and count themselves.
fn without_ids(value: &Value) -> Value {
    match value {
        Value::Object(members) => {
            let plain = members.iter().filter(|(name, _)| matches!(meaning(name), Meaning::Plain | Meaning::Machine));
            Value::Object(plain.map(|(name, member)| (name.clone(), without_ids(member))).collect())
        }
        Value::Array(elements) => elements.iter().map(without_ids).collect(),
        _ => value.clone(),
    }
}

/// Arrays whose order Kafka leaves to a hash table: API and path.
const UNORDERED: [(&str, &str); 29] = [
    ("produce", "/responses"),
    ("produce", "/responses/partition_responses"),
    ("metadata", "/topics"),
    ("metadata", "/topics/partitions"),
    ("offset_commit", "/topics"),
    ("offset_commit", "/topics/partitions"),
    ("offset_delete", "/topics"),
    ("offset_delete", "/topics/partitions"),
    ("create_partitions", "/results"),
    ("alter_configs", "/responses"),
    ("incremental_alter_configs", "/responses"),
    ("describe_log_dirs", "/results/topics"),
    ("describe_log_dirs", "/results/topics/partitions"),
    ("list_offsets", "/topics"),
    ("list_offsets", "/topics/partitions"),
    ("offset_fetch", "/topics"),
    ("offset_fetch", "/topics/partitions"),
    ("offset_fetch", "/groups/topics"),
    ("offset_fetch", "/groups/topics/partitions"),
    ("describe_groups", "/groups"),
    ("describe_groups", "/groups/members"),
    ("delete_groups", "/results"),
    ("join_group", "/members"),
    ("list_groups", "/groups"),
    ("create_topics", "/topics"),
    ("delete_topics", "/responses"),
    ("delete_records", "/topics"),
    ("delete_records", "/topics/partitions"),
    ("describe_configs", "/results/configs"),
];

/// Arrays that show what other runs made, too: API, path and the member that names it.
const LISTS: [(&str, &str, &str); 3] = [
    ("metadata", "/topics", "name"),
    ("list_groups", "/groups", "group_id"),
    ("describe_log_dirs", "/results/topics", "name"),
];

/// How long ago, or ahead, a time may be to be "now".
const NOW_MS: i64 = 15 * 60 * 1000;

/// The same for a time that a text names, which may be a bound an hour away.
const NAMED_NOW_MS: i64 = 2 * 60 * 60 * 1000;

/// Whether batches, or messages, end in the beginning of another one.
fn ends_in_a_piece(batches: &[&Value]) -> bool {
    batches.len() > 1 && batches.last().is_some_and(|last| last.get("partial").is_some())
}

/// Whether a member's id is one that a broker makes: a name and a UUID. Others see it before its member does.
fn is_made(member: &str) -> bool {
    member.len() > UUID_LENGTH && member.get(member.len() - UUID_LENGTH..).is_some_and(is_uuid)
}

const UUID_LENGTH: usize = 36;

/// Whether a text looks like a UUID.
pub fn is_uuid(text: &str) -> bool {
    text.len() == UUID_LENGTH && text.matches('-').count() == 4
}

/// What one broker has shown in one run.
#[derive(Clone, Debug)]
pub struct Normal {
    prefix: String,
    port: u16,
    started_ms: i64,
    ids: HashMap<(&'static str, String), String>,
    counts: HashMap<&'static str, usize>,
}

impl Normal {
    /// For a broker at a port, in a run that began at `started_ms`.
    pub fn new(prefix: &str, port: u16, started_ms: i64) -> Self {
        Self { prefix: prefix.to_owned(), port, started_ms, ids: HashMap::new(), counts: HashMap::new() }
    }

    /// A reply as it is compared.
    pub fn reply(&mut self, api: &Api, reply: &Value) -> Value {
        self.value(api, "", "", reply)
    }

    fn value(&mut self, api: &Api, path: &str, field: &str, value: &Value) -> Value {
        match value {
            Value::Object(members) => {
                let members = members
                    .iter()
                    .map(|(name, member)| (name.clone(), self.value(api, &format!("{path}/{name}"), name, member)));
                let mut members: Map<String, Value> = members.collect();
                // The header of a batch takes its times in.
                if members.contains_key("payload_crc") && members.get("max_timestamp") == Some(&json!("<now>")) {
                    members.remove("payload_crc");
                }
                Value::Object(members)
            }
            // What is advertised is looked at API by API.
            Value::Array(elements) if path == "/api_keys" => {
                let keyed = elements.iter().map(|api| (api["api_key"].to_string(), api.clone()));
                Value::Object(keyed.collect())
            }
            Value::Array(elements) => {
                let list = LISTS.iter().find(|(of, at, _)| *of == api.snake && *at == path);
                let is_mine = |element: &&Value| {
                    let name = list.and_then(|(.., member)| element[*member].as_str()).unwrap_or_default();
                    // Other runs write into the groups' log, and have Kafka make one for transactions.
                    let is_of_others = path == "/results/topics" && name == "__consumer_offsets"
                        || name == "__transaction_state" && elements.len() > 1;
                    !is_of_others && (!has_prefix(name) || name.starts_with(&self.prefix))
                };
                let mut mine: Vec<&Value> = elements.iter().filter(is_mine).collect();
                if path == "/responses/partitions/records" && ends_in_a_piece(&mine) {
                    mine.pop();
                }
                let is_unordered = UNORDERED.iter().any(|(of, at)| *of == api.snake && *at == path);
                if is_unordered {
                    // Ids are numbered in an order that both brokers share.
                    mine.sort_by_cached_key(|element| (name_of(element), without_ids(element).to_string()));
                }
                let mut mine: Vec<Value> = mine.into_iter().map(|e| self.value(api, path, field, e)).collect();
                if is_unordered {
                    mine.sort_by_cached_key(|element| (name_of(element), element.to_string()));
                }
                Value::Array(mine)
            }
            _ => self.leaf(api, field, value),
        }
    }

    fn leaf(&mut self, api: &Api, field: &str, value: &Value) -> Value {
        match meaning(field) {
            Meaning::Id(class) => self.id(api, class, value),
            Meaning::Time => match value.as_i64() {
                Some(time) if (time - self.started_ms).abs() < NOW_MS => json!("<now>"),
                _ => value.clone(),
            },
            Meaning::Epoch if value.as_i64().is_some_and(|epoch| epoch > 0) => self.id(api, "epoch", value),
            Meaning::Address if *value == json!("127.0.0.1") || *value == json!(self.port) => json!("<itself>"),
            Meaning::Machine if value.as_i64().is_some_and(|bytes| bytes >= 0) => json!("<some>"),
            _ => match value {
                Value::String(text) => json!(self.text(text)),
                _ => value.clone(),
            },
        }
    }

    /// A topic's id, by what the story calls it.
    pub fn learn(&mut self, class: &'static str, name: &str, id: &str) {
        if self.ids.contains_key(&(class, id.to_owned())) {
            return;
        }
        // One that was made anew is another.
        let others = self
            .ids
            .values()
            .filter(|label| **label == format!("<{class} {name}>") || label.starts_with(&format!("<{class} {name}, ")))
            .count();
        let label = if others == 0 { format!("<{class} {name}>") } else { format!("<{class} {name}, {others}>") };
        self.ids.insert((class, id.to_owned()), label);
    }

    /// An id's number; what means "none" stays, and what the broker has not given.
    fn id(&mut self, api: &Api, class: &'static str, value: &Value) -> Value {
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        // 0 is the first producer's id, and no session's.
        let is_none = class != "producer" && text == "0"
            || matches!(text.as_str(), "" | "null" | "-1" | "00000000-0000-0000-0000-000000000000")
            || value.as_i64().is_some_and(|number| number < 0);
        let gives = match class {
            "producer" => api.snake == "init_producer_id",
            "member" => api.snake == "join_group" || is_made(&text),
            "topic" => text != NO_TOPIC,
            _ => true,
        };
        if let Some(label) = self.ids.get(&(class, text.clone())).filter(|_| !is_none) {
            return json!(label);
        }
        if is_none || !gives {
            return value.clone();
        }
        let count = self.counts.entry(class).or_default();
        *count += 1;
        let label = format!("<{class} {count}>");
        self.ids.insert((class, text), label.clone());
        json!(label)
    }

    /// Text with the run's prefix and the ids that are known in their common form.
    fn text(&self, text: &str) -> String {
        let mut text = text.replace(&self.prefix, "@").replace(&hex_text(self.prefix.as_bytes()), "@");
        for ((class, id), label) in &self.ids {
            // A short number may be anything.
            if id.len() >= 12 && text.contains(id.as_str()) {
                text = text.replace(id.as_str(), label);
            }
            if *class == "producer" {
                text = text.replace(&format!("producer {id} "), &format!("producer {label} "));
            }
        }
        let text = text.replace(&format!("127.0.0.1:{}", self.port), "<itself>");
        if text.chars().any(|c| c.is_ascii_digit()) { self.times(&text) } else { text }
    }

    /// Text with the milliseconds that it names as "now" where they are so.
    fn times(&self, text: &str) -> String {
        // A bound may lie as far before now as numbers reach.
        let is_about_now = |time: i64| (time - self.started_ms).abs() < NAMED_NOW_MS;
        let is_now = |digits: &str| {
            let time = digits.parse::<i64>().unwrap_or_default();
            digits.len() == 13 && is_about_now(time) || digits.len() == 19 && is_about_now(i64::MAX - time)
        };
        let (mut out, mut digits) = (String::new(), String::new());
        for c in text.chars().map(Some).chain([None]) {
            if let Some(c) = c.filter(char::is_ascii_digit) {
                digits.push(c);
                continue;
            }
            out.push_str(if is_now(&digits) { "<now>" } else { &digits });
            digits.clear();
            out.extend(c);
        }
        out
    }
}
