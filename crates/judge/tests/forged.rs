//! Forged histories: right ones that look suspicious, and wrong ones, each with the rules that it breaks.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "forged/model.rs"]
mod model;
#[path = "forged/mutations.rs"]
mod mutations;
#[path = "forged/parse.rs"]
mod parse;

use std::collections::BTreeSet;

use judge::{Violation, judge};
use parse::Forged;

const FILES: [(&str, &str); 4] = [
    ("right", include_str!("forged/right.txt")),
    ("log", include_str!("forged/log.txt")),
    ("readers", include_str!("forged/readers.txt")),
    ("groups", include_str!("forged/groups.txt")),
];

fn all() -> Vec<Forged> {
    FILES.iter().flat_map(|(_, text)| parse::parse(text)).collect()
}

fn broken(violations: &[Violation]) -> Vec<&'static str> {
    violations.iter().map(|violation| violation.rule).collect::<BTreeSet<_>>().into_iter().collect()
}

#[test]
fn each_history_breaks_exactly_the_rules_that_it_was_forged_to_break() {
    let mut wrong = Vec::new();
    for forged in all() {
        let violations = judge(&forged.history, &forged.promises).violations;
        if broken(&violations) != forged.expected {
            let found: Vec<_> =
                violations.iter().map(|violation| violation.shown(&forged.history).to_string()).collect();
            wrong.push(format!("`{}` should break {:?}:\n{}", forged.name, forged.expected, found.join("\n")));
        }
    }
    assert!(wrong.is_empty(), "{} verdicts are wrong\n\n{}", wrong.len(), wrong.join("\n\n"));
}

#[test]
fn every_rule_is_broken_by_some_history_and_enough_are_right() {
    let all = all();
    let broken: BTreeSet<&str> = all.iter().flat_map(|forged| &forged.expected).map(String::as_str).collect();
    assert_eq!(broken, judge::NAMES.into_iter().collect::<BTreeSet<_>>());
    let names: BTreeSet<&str> = all.iter().map(|forged| forged.name.as_str()).collect();
    assert_eq!(names.len(), all.len(), "a name stands for one history");
    let right = all.iter().filter(|forged| forged.expected.is_empty()).count();
    assert!(all.len() >= 45 && right >= 15, "{right} of {} are right", all.len());
}

#[test]
fn every_part_of_a_rule_is_applied_by_some_history() {
    let mut applied = BTreeSet::new();
    for forged in all() {
        let judged = judge(&forged.history, &forged.promises).applied;
        applied.extend(judged.into_iter().filter(|(_, count)| *count > 0).map(|(part, _)| part));
    }
    assert_eq!(applied, judge::parts().collect::<BTreeSet<_>>());
}

#[test]
fn an_event_is_shown_in_the_words_that_it_was_written_in() {
    for forged in all() {
        let shown: Vec<_> = forged.history.0.iter().map(|event| event.what.to_string()).collect();
        assert_eq!(shown, forged.lines, "{}", forged.name);
    }
}

#[test]
fn a_violation_is_shown_with_its_events_and_their_times() {
    let text = "== lost\nc1 send a-0 v1\nc1 sent v1 done 0\nc1 send a-0 v2\nc2 assigned a-0 at 0\n\
                c2 polled a-0 1:v2 high 2 start 0";
    let forged = &parse::parse(text)[0];
    let shown: Vec<_> = judge(&forged.history, &forged.promises)
        .violations
        .iter()
        .map(|v| v.shown(&forged.history).to_string())
        .collect();
    assert_eq!(
        shown,
        ["lost-write of a-0: v1 at 0 is missing between 0 and 1\n  \
          #1 0.002000 c1 sent v1 done 0\n  \
          #3 0.004000 c2 assigned a-0 at 0\n  \
          #4 0.005000 c2 polled a-0 1:v2 high 2 start 0"]
    );
}
