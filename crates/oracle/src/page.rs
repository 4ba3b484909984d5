//! `docs/compatibility.md`: what was asked of each API, what agreed, and what is meant to differ. Written by a whole run.

use std::fmt::Write as _;

use anyhow::Result;

use crate::allowed::ROWS;
use crate::campaign::Outcome;
use crate::catalogue::Catalogue;

/// The page.
///
/// # Errors
/// When an API is none.
pub fn page(catalogue: &Catalogue, outcome: &Outcome) -> Result<String> {
    let mut text = String::from(
        "# Compatibility\n\nWritten by `cargo xtask oracle --record`: Apache Kafka 4.4.0 judges every version that it speaks, 3.9.2 \
         the older ones.\nA case is a request whose two answers were compared field by field; one that Kafka refuses holds an \
         error in its\nanswer, or gets none.\n\n| API | Version | Cases | Refused by Kafka | Agree | Differ as meant |\n|---|---|---|---|---|---|\n",
    );
    for ((api, version), tally) in &outcome.tallies {
        writeln!(
            text,
            "| {} | {version} | {} | {} | {} | {} |",
            catalogue.api(*api)?.name,
            tally.cases,
            tally.refused,
            tally.agree,
            tally.allowed
        )?;
    }
    writeln!(
        text,
        "\n{} cases, of them those of {} stories.\n\n## Differences that are meant\n\n| API | Versions | Field | Why |\n|---|---|---|---|",
        outcome.cases(),
        outcome.stories.len()
    )?;
    for row in ROWS {
        let (low, high) = row.versions;
        let versions = if high == i16::MAX { format!("{low}+") } else { format!("{low}–{high}") };
        writeln!(text, "| `{}` | {versions} | `{}` | {} |", row.api, row.field, row.reason)?;
    }
    Ok(text)
}
