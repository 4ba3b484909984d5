//! The differences that are meant to be.

use serde_json::Value;

use crate::compare::Difference;

/// One of them.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// The API, as stories call it.
    pub api: &'static str,
    /// The versions, both ends included.
    pub versions: (i16, i16),
    /// The field, without the indices of arrays; one that ends in `*` is every field that begins so.
    pub field: &'static str,
    /// What Kafka says there, if only that: JSON.
    pub kafka: Option<&'static str>,
    /// What Headwater says there, if only that: JSON.
    pub headwater: Option<&'static str>,
    /// Why it may be.
    pub reason: &'static str,
}

/// The table. It has at most forty rows, and each is needed by a case.
pub const ROWS: &[Row] = &[];

impl Row {
    /// Whether it allows a difference.
    pub fn allows(&self, api: &str, version: i16, difference: &Difference) -> bool {
        let is_field = match self.field.strip_suffix('*') {
            Some(begins) => difference.field.starts_with(begins),
            None => difference.field == self.field,
        };
        let is = |wanted: Option<&str>, said: &Value| {
            let said = said.to_string();
            wanted.is_none_or(|wanted| wanted == said)
        };
        self.api == api
            && (self.versions.0..=self.versions.1).contains(&version)
            && is_field
            && is(self.kafka, &difference.kafka)
            && is(self.headwater, &difference.headwater)
    }
}

/// The first row that allows a difference.
pub fn row_for(api: &str, version: i16, difference: &Difference) -> Option<usize> {
    ROWS.iter().position(|row| row.allows(api, version, difference))
}
