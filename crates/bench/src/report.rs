//! What was measured, by row and system; medians and ratios at the end.

use std::collections::BTreeMap;

use crate::system::Kind;

/// All figures of a run.
#[derive(Debug, Default)]
pub struct Report {
    rows: BTreeMap<String, BTreeMap<Kind, Vec<f64>>>,
    facts: Vec<(String, f64)>,
}

impl Report {
    /// A figure of one system.
    pub fn add(&mut self, row: &str, kind: Kind, value: f64) {
        self.say(&format!("{}: {row}: {value:.2}", kind.name()));
        self.rows.entry(row.to_owned()).or_default().entry(kind).or_default().push(value);
    }

    /// A figure that belongs to no broker.
    pub fn fact(&mut self, name: &str, value: f64) {
        self.say(&format!("{name}: {value:.2}"));
        self.facts.push((name.to_owned(), value));
    }

    #[allow(clippy::print_stdout, clippy::unused_self, reason = "a program's report")]
    fn say(&self, line: &str) {
        println!("{line}");
    }

    /// The table: median [least–greatest] of each system, and the ratios of Headwater's median to the others'.
    pub fn print(&self) {
        self.say("\n| Row | Headwater | Baseline | Kafka | Kafka, synced | ÷ baseline | ÷ Kafka |\n|---|---|---|---|---|---|---|");
        for (row, systems) in &self.rows {
            let cell = |kind| systems.get(&kind).map_or_else(|| "–".to_owned(), |values| shown(values));
            let ratio = |to| match (systems.get(&Kind::Headwater), systems.get(&to)) {
                (Some(ours), Some(theirs)) if median(theirs) > 0.0 => format!("{:.2}", median(ours) / median(theirs)),
                _ => "–".to_owned(),
            };
            self.say(&format!(
                "| {row} | {} | {} | {} | {} | {} | {} |",
                cell(Kind::Headwater),
                cell(Kind::Baseline),
                cell(Kind::Kafka),
                cell(Kind::KafkaSynced),
                ratio(Kind::Baseline),
                ratio(Kind::Kafka)
            ));
        }
        for (name, value) in &self.facts {
            self.say(&format!("| {name} | {value:.2} | | | | | |"));
        }
    }
}

fn sorted(values: &[f64]) -> Vec<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted
}

fn median(values: &[f64]) -> f64 {
    let sorted = sorted(values);
    match sorted.len() {
        0 => 0.0,
        n if n % 2 == 1 => sorted[n / 2],
        n => f64::midpoint(sorted[n / 2 - 1], sorted[n / 2]),
    }
}

fn shown(values: &[f64]) -> String {
    let sorted = sorted(values);
    match (sorted.first(), sorted.last()) {
        (Some(least), Some(greatest)) => format!("{:.2} [{least:.2}–{greatest:.2}]", median(values)),
        _ => "–".to_owned(),
    }
}

/// The value below which `share` of the sorted values lie.
pub fn percentile(sorted: &[f64], share: f64) -> f64 {
    let at = ((sorted.len() as f64 * share).ceil() as usize).clamp(1, sorted.len().max(1)) - 1;
    sorted.get(at).copied().unwrap_or(0.0)
}
