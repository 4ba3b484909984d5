//! The table of `docs/testing.md`: how long each suite may take. One row a suite, in the order in which they run; the row
//! `all` is for everything together.
//!
//! ```text
//! | Suite | Holds | Measured | Budget |
//! |---|---|---|---|
//! | `base` | ids, ports, budgets | 0:02 | 0:30 |
//! ```
//!
//! Budgets are held; what was measured informs, and `cargo xtask test --record` writes it.

use std::time::Duration;

use anyhow::{Context, bail, ensure};

/// The row of everything together.
const ALL: &str = "all";
const COLUMNS: &str = "| Suite | Holds | Measured | Budget |";

/// What the page says.
#[derive(Debug)]
pub struct Table {
    rows: Vec<(String, Duration)>,
    all: Duration,
}

impl Table {
    /// Reads the page's one table of this shape.
    pub fn parse(page: &str) -> anyhow::Result<Self> {
        let mut lines = page.lines().skip_while(|line| line.trim() != COLUMNS).skip(1);
        ensure!(lines.next().is_some(), "docs/testing.md has no table that begins with `{COLUMNS}`");
        let (mut rows, mut all) = (Vec::new(), None);
        for line in lines.take_while(|line| line.starts_with('|')) {
            let (name, _, budget) = cells(line).with_context(|| format!("not a row of four cells: {line}"))?;
            let budget = parsed(budget).with_context(|| format!("`{budget}` is no time of minutes and seconds"))?;
            if name == ALL {
                all = Some(budget);
            } else {
                ensure!(rows.iter().all(|(other, _)| other != name), "docs/testing.md has two rows for `{name}`");
                rows.push((name.to_owned(), budget));
            }
        }
        let Some(all) = all else { bail!("docs/testing.md has no row `{ALL}`") };
        Ok(Self { rows, all })
    }

    /// What a suite may take.
    pub fn budget(&self, name: &str) -> Option<Duration> {
        self.rows.iter().find(|(row, _)| row == name).map(|(_, budget)| *budget)
    }

    /// What everything together may take.
    pub fn budget_of_all(&self) -> Duration {
        self.all
    }

    /// The rows' names.
    #[cfg(test)]
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.rows.iter().map(|(name, _)| name.as_str())
    }

    /// Suites that have no row.
    pub fn strangers<'a>(&self, suites: impl Iterator<Item = &'a str>) -> Vec<String> {
        suites.filter(|name| self.budget(name).is_none()).map(|name| format!("`{name}` has no row")).collect()
    }

    /// Puts suites into the table's order.
    pub fn in_order<T>(&self, mut suites: Vec<T>, name: impl Fn(&T) -> &str) -> Vec<T> {
        suites.sort_by_key(|suite| self.rows.iter().position(|(row, _)| row == name(suite)));
        suites
    }

    /// Whatever took longer than it may; `whole` says that it was everything.
    pub fn outgrown(&self, took: &[(String, Duration)], whole: bool) -> Vec<String> {
        let over = |name: &str, time: Duration, budget: Duration| {
            (time > budget).then(|| format!("{name} took {} of its {} minutes", shown(time), shown(budget)))
        };
        let mut found: Vec<String> =
            took.iter().filter_map(|(name, time)| over(name, *time, self.budget(name)?)).collect();
        if whole {
            found.extend(over("everything together", took.iter().map(|(_, time)| *time).sum(), self.all));
        }
        found
    }
}

/// The page with the times in its column of what was measured.
pub fn recorded(page: &str, took: &[(String, Duration)], whole: bool) -> String {
    let all: Duration = took.iter().map(|(_, time)| *time).sum();
    let time_of = |name: &str| match name {
        ALL => whole.then_some(all),
        _ => took.iter().find(|(other, _)| other == name).map(|(_, time)| *time),
    };
    let mut inside = false;
    let mut text = String::with_capacity(page.len());
    for line in page.lines() {
        inside = line.trim() == COLUMNS || (inside && line.starts_with('|'));
        let new = cells(line).filter(|_| inside).and_then(|(name, holds, budget)| {
            let written = if name == ALL { name.to_owned() } else { format!("`{name}`") };
            Some(format!("| {written} | {holds} | {} | {budget} |", shown(time_of(name)?)))
        });
        text.push_str(new.as_deref().unwrap_or(line));
        text.push('\n');
    }
    text
}

/// Name, what it holds, and budget of a row.
fn cells(line: &str) -> Option<(&str, &str, &str)> {
    let mut cells = line.trim().strip_prefix('|')?.strip_suffix('|')?.split('|').map(str::trim);
    let (name, holds, _, budget) = (cells.next()?, cells.next()?, cells.next()?, cells.next()?);
    cells.next().is_none().then_some((name.trim_matches('`'), holds, budget))
}

/// Minutes and seconds, rounded up: nothing takes no time.
pub fn shown(time: Duration) -> String {
    let seconds = time.as_secs() + u64::from(time.subsec_nanos() > 0);
    format!("{}:{:02}", seconds / 60, seconds % 60)
}

fn parsed(text: &str) -> Option<Duration> {
    let (minutes, seconds) = text.split_once(':')?;
    let (minutes, seconds): (u64, u64) = (minutes.parse().ok()?, seconds.parse().ok().filter(|seconds| *seconds < 60)?);
    Some(Duration::from_secs(minutes * 60 + seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = "# Page\n\n| Suite | Holds | Measured | Budget |\n|---|---|---|---|\n\
        | `slow` | proofs | 1:00 | 2:00 |\n| `quick` | units | – | 0:10 |\n| all | everything | – | 2:05 |\n\nEnd.\n";

    fn took(times: &[(&str, u64)]) -> Vec<(String, Duration)> {
        times.iter().map(|(name, seconds)| ((*name).to_owned(), Duration::from_secs(*seconds))).collect()
    }

    #[test]
    fn a_suite_that_outgrows_its_row_is_told_and_so_is_the_sum() {
        let table = Table::parse(PAGE).unwrap();
        assert!(table.outgrown(&took(&[("slow", 115), ("quick", 10)]), true).is_empty(), "all within");
        assert_eq!(
            table.outgrown(&took(&[("slow", 90), ("quick", 11)]), true),
            ["quick took 0:11 of its 0:10 minutes"]
        );
        let sum = table.outgrown(&took(&[("slow", 119), ("quick", 9)]), true);
        assert_eq!(sum, ["everything together took 2:08 of its 2:05 minutes"]);
        assert!(table.outgrown(&took(&[("slow", 119), ("quick", 9)]), false).is_empty(), "a part of it has no sum");
    }

    #[test]
    fn a_suite_without_a_row_is_told_before_anything_runs() {
        let table = Table::parse(PAGE).unwrap();
        assert_eq!(table.strangers(["quick", "new"].into_iter()), ["`new` has no row"]);
        assert_eq!(table.in_order(vec!["quick", "slow"], |name| name), ["slow", "quick"], "the table's order");
    }

    #[test]
    fn a_page_that_says_nothing_clear_is_refused() {
        assert!(Table::parse("# Page\n").is_err(), "no table");
        assert!(Table::parse(&PAGE.replace("| all |", "| `rest` |")).is_err(), "nothing for all");
        assert!(Table::parse(&PAGE.replace("0:10", "10 s")).is_err(), "no time");
        assert!(Table::parse(&PAGE.replace("`quick`", "`slow`")).is_err(), "twice");
    }

    #[test]
    fn recording_changes_what_was_measured_and_nothing_else() {
        let after = recorded(PAGE, &took(&[("slow", 61), ("quick", 2)]), true);
        let expected = PAGE
            .replace("| 1:00 |", "| 1:01 |")
            .replace("| units | – |", "| units | 0:02 |")
            .replace("everything | – |", "everything | 1:03 |");
        assert_eq!(after, expected);
        assert_eq!(recorded(PAGE, &took(&[("slow", 60)]), false), PAGE, "what did not run keeps its time");
    }
}
