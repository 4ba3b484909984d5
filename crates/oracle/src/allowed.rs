//! The differences that are meant to be.

use serde_json::Value;

use crate::compare::Difference;
use crate::connection::Answer;
use crate::run::Exchange;

/// One of them.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// The API, as stories call it.
    pub api: &'static str,
    /// The versions, both ends included.
    pub versions: (i16, i16),
    /// The field, without the indices of arrays; one that ends in `*` is every field that begins so.
    pub field: &'static str,
    /// Only where the request holds this value at this JSON pointer.
    pub asked: Option<(&'static str, &'static str)>,
    /// Only in a part of Kafka's answer whose member has this value.
    pub within: Option<(&'static str, &'static str)>,
    /// What Kafka says there, if only that: JSON.
    pub kafka: Option<&'static str>,
    /// What Headwater says there, if only that: JSON.
    pub headwater: Option<&'static str>,
    /// Why it may be.
    pub reason: &'static str,
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
        field: "/supported_features",
        reason: "features are of KRaft's metadata and of protocols that are not served",
        ..Row::of("api_versions")
    },
    Row { field: "/finalized_features", reason: "likewise", ..Row::of("api_versions") },
    Row { field: "/finalized_features_epoch", reason: "likewise", ..Row::of("api_versions") },
    Row {
        field: "*",
        asked: Some(("/key_type", "1")),
        reason: "there are no transactions yet, and their coordinator is said not to be there",
        ..Row::of("find_coordinator")
    },
    Row {
        field: "*",
        asked: Some(("/key_type", "2")),
        reason: "there are no share groups yet, which the message says",
        ..Row::of("find_coordinator")
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
            reason: "",
        }
    }

    /// Whether it allows a difference in an exchange.
    pub fn allows(&self, api: &str, exchange: &Exchange, difference: &Difference) -> bool {
        let is_at = |of: &Value, pointer: &str, wanted: &str| {
            of.pointer(pointer).map(Value::to_string).is_some_and(|value| value == wanted)
        };
        let was_asked = |(pointer, wanted): (&str, &str)| is_at(&exchange.asked, pointer, wanted);
        let is_within = |(member, wanted): (&str, &str)| {
            let Answer::Reply(reply) = &exchange.answers[0] else { return false };
            let ends = difference.place.match_indices('/').map(|(at, _)| at);
            ends.into_iter().any(|end| is_at(reply, &format!("{}/{member}", &difference.place[..end]), wanted))
        };
        let is_field = match self.field.strip_suffix('*') {
            Some(begins) => difference.field.starts_with(begins),
            None => difference.field == self.field,
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
    }
}

/// The first row that allows a difference.
pub fn row_for(api: &str, exchange: &Exchange, difference: &Difference) -> Option<usize> {
    ROWS.iter().position(|row| row.allows(api, exchange, difference))
}
