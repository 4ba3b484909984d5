//! Makes a story that differs small: fewer steps, smaller requests, the same difference.

use serde_json::Value;

use crate::story::{Step, Story};

/// How many smaller stories are tried.
const TRIES_MAX: usize = 120;

/// Cuts a story down as long as `differs` says that a smaller one still shows the difference.
pub fn shrink(story: &Story, mut differs: impl FnMut(&Story) -> bool) -> Story {
    let mut best = story.clone();
    let mut tries = 0;
    let mut attempt = |candidate: Story, best: &mut Story| -> bool {
        if tries == TRIES_MAX {
            return false;
        }
        tries += 1;
        let smaller = differs(&candidate);
        if smaller {
            *best = candidate;
        }
        smaller
    };
    // Runs of steps, halves first.
    let mut width = best.steps.len() / 2;
    while width > 0 {
        let mut at = 0;
        while at < best.steps.len() {
            let mut candidate = best.clone();
            let end = (at + width).min(candidate.steps.len());
            candidate.steps.drain(at..end);
            if !attempt(candidate, &mut best) {
                at += width;
            }
        }
        width /= 2;
    }
    // Then what the last request holds.
    for step in (0..best.steps.len()).rev() {
        let mut at = 0;
        while let Some(candidate) = smaller_request(&best, step, at) {
            if !attempt(candidate, &mut best) {
                at += 1;
            }
        }
    }
    best
}

/// The story with the request of a step made smaller in the `at`th way; `None` where there are no more ways.
fn smaller_request(story: &Story, step: usize, at: usize) -> Option<Story> {
    let mut candidate = story.clone();
    let Some(Step::Ask(ask)) = candidate.steps.get_mut(step) else { return None };
    let mut left = at;
    take_away(&mut ask.body, &mut left).then_some(candidate)
}

/// Takes away the `left`th element of an array, or member of an object, that can be.
fn take_away(value: &mut Value, left: &mut usize) -> bool {
    match value {
        Value::Array(elements) => {
            if *left < elements.len() {
                elements.remove(*left);
                return true;
            }
            *left -= elements.len();
            elements.iter_mut().any(|element| take_away(element, left))
        }
        Value::Object(members) => {
            let names: Vec<String> = members.keys().cloned().collect();
            if let Some(name) = names.get(*left) {
                members.remove(name);
                return true;
            }
            *left -= names.len();
            members.values_mut().any(|member| take_away(member, left))
        }
        _ => false,
    }
}
