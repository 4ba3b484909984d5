//! Right histories are judged clean; broken in one way, the matching rule sees it.

#![allow(clippy::ptr_arg, reason = "all breaks have one signature")]

use judge::{Client, Event, Fetches, History, Key, Moment, Outcome, Promises, Start, Value, What, judge};

use crate::model::{self, Dice};

const SEEDS: u64 = 60;
/// The model never tells anything old.
const PROMISES: Promises = Promises { whole_reads: true, fetches: Fetches::NoOlderThan(0), sends_by_id: true };

/// Fetches may tell what is old for as long as the model goes on.
const LATER: Promises = Promises { fetches: Fetches::CurrentAfterHealed(10_000_000), ..PROMISES };

/// Breaks a history; false if there is nothing in it to break.
type Break = fn(&mut Vec<Event>, &mut Dice) -> bool;

const BREAKS: &[(&str, Break, &str)] = &[
    ("an acknowledged record is gone from the end", lose_at_the_end, "unseen"),
    ("a record was never there for any reader", lose_for_all, "lost-write"),
    ("a record is stored again behind all others", duplicate, "duplicate"),
    ("two records change places", swap, "inconsistent-offset"),
    ("two records are stored in the wrong order", reorder, "send-order"),
    ("the latest offset goes back", lower_latest, "watermark"),
    ("a fetch tells too low an end", lower_high_watermark, "watermark"),
    ("one reader is not given a record", skip, "poll-skip"),
    ("a reader is told that its position is gone", send_away, "reset"),
    ("a reader is given an answer twice", repeat, "nonmonotonic-poll"),
    ("what was read has failed", fail, "failed-read"),
    ("what was read was not sent", unsend, "phantom"),
    ("what was read comes from another partition", stray, "phantom"),
    ("a committed offset is another", recommit, "committed-offset"),
    ("a committed offset is gone", uncommit, "committed-offset"),
    ("no member is given a record", skip_group, "group-skip"),
    ("the log begins later than anybody asked for", overtrim, "trim"),
    ("a deleted topic is read", delete, "deleted-topic"),
    ("a generation commits after its end", commit_too_late, "generation"),
    ("a member is given what another has", give_twice, "generation"),
    ("a fetch tells an older end than before", fall_back, "watermark"),
    ("a send ends twice", end_twice, "malformed"),
];

#[test]
fn right_histories_are_clean() {
    for seed in 0..SEEDS {
        let history = model::history(seed);
        // Whatever was promised: with less, less is wrong.
        for promises in [PROMISES, LATER, Promises { whole_reads: false, ..PROMISES }] {
            let found: Vec<_> =
                judge(&history, &promises).violations.iter().map(|v| v.shown(&history).to_string()).collect();
            assert!(found.is_empty(), "seed {seed}: {}", found.join("\n"));
        }
    }
}

#[test]
fn what_is_broken_is_found() {
    let mut missed = Vec::new();
    for &(name, breaks, rule) in BREAKS {
        let mut broken = 0;
        for seed in 0..SEEDS {
            let mut events = model::history(seed).0;
            if !breaks(&mut events, &mut Dice(seed)) {
                continue;
            }
            broken += 1;
            let history = History(events);
            let found = judge(&history, &PROMISES).violations;
            if !found.iter().any(|violation| violation.rule == rule) {
                missed.push(format!("seed {seed}: {name}: {found:?}"));
            }
            assert_eq!(found, judge(&history, &PROMISES).violations, "seed {seed}: the same at every time");
        }
        if broken < SEEDS / 4 {
            missed.push(format!("{name}: there was something to break in {broken} of {SEEDS}"));
        }
    }
    assert!(missed.is_empty(), "{} breaks were missed:\n{}", missed.len(), missed.join("\n"));
}

#[test]
fn a_rule_says_only_so_much() {
    let mut history = History::default();
    for value in 0..1_000 {
        let records = vec![(value, Value(value as u64))];
        let (garbage, high_watermark, log_start) = (Vec::new(), value + 1, 0);
        let what = What::Polled { key: model::key(0), records, garbage, high_watermark, log_start, connection: None };
        history.push(Moment(0), Client(0), what);
    }
    let found = judge(&history, &Promises { whole_reads: false, ..PROMISES }).violations;
    assert_eq!(found.len(), judge::VIOLATIONS_MAX_PER_RULE);
}

fn pick<T: Clone>(of: &[T], dice: &mut Dice) -> Option<T> {
    (!of.is_empty()).then(|| of[dice.below(of.len() as u64) as usize].clone())
}

/// Records of the final reads that nobody had asked to trim.
fn left(events: &[Event]) -> Vec<(Key, i64, Value)> {
    let healed = events.iter().position(|event| event.what == What::Healed).unwrap();
    let is_trimmed = |key: &Key, offset: i64| {
        events
            .iter()
            .any(|event| matches!(&event.what, What::TrimBegan { key: of, before } if of == key && *before > offset))
    };
    let left = polled(&events[healed..]).into_iter().map(|(_, _, key, offset, value)| (key, offset, value));
    left.filter(|(key, offset, _)| !is_trimmed(key, *offset)).collect()
}

fn polled(events: &[Event]) -> Vec<(usize, Client, Key, i64, Value)> {
    let mut all = Vec::new();
    for (place, event) in events.iter().enumerate() {
        if let What::Polled { key, records, .. } = &event.what {
            all.extend(records.iter().map(|&(offset, value)| (place, event.client, key.clone(), offset, value)));
        }
    }
    all
}

/// Values that were acknowledged with an offset.
fn acknowledged(events: &[Event]) -> Vec<Value> {
    let value = |event: &Event| match &event.what {
        What::SendEnded { value, outcome: Outcome::Done(Some(_)) } => Some(*value),
        _ => None,
    };
    events.iter().filter_map(value).collect()
}

fn records(event: &mut Event) -> &mut Vec<(i64, Value)> {
    let What::Polled { records, .. } = &mut event.what else { panic!("no poll") };
    records
}

fn take_from(events: &mut [Event], value: Value, is_meant: impl Fn(usize, &Event) -> bool) {
    for (place, event) in events.iter_mut().enumerate() {
        if is_meant(place, event) && matches!(event.what, What::Polled { .. }) {
            records(event).retain(|&(_, other)| other != value);
        }
    }
}

fn again(events: &mut Vec<Event>, client: u32, what: What) {
    let at = events.last().unwrap().at;
    events.push(Event { at, client: Client(client), what });
}

fn lose_at_the_end(events: &mut Vec<Event>, dice: &mut Dice) -> bool {
    let Some((_, _, value)) = pick(&left(events), dice) else { return false };
    let healed = events.iter().position(|event| event.what == What::Healed).unwrap();
    let is_known = acknowledged(events).contains(&value);
    take_from(events, value, |place, _| place > healed);
    is_known
}

fn lose_for_all(events: &mut Vec<Event>, dice: &mut Dice) -> bool {
    let (left, known) = (left(events), acknowledged(events));
    // Somebody must pass over it.
    let inner: Vec<_> =
        left.windows(2).filter(|w| w[0].0 == w[1].0 && known.contains(&w[0].2)).map(|w| w[0].2).collect();
    let Some(value) = pick(&inner, dice) else { return false };
    take_from(events, value, |_, _| true);
    true
}

fn duplicate(events: &mut Vec<Event>, dice: &mut Dice) -> bool {
    let Some((key, _, value)) = pick(&left(events), dice) else { return false };
    let what = What::Polled {
        key,
        records: vec![(10_000, value)],
        garbage: vec![],
        high_watermark: 10_001,
        log_start: 0,
        connection: None,
    };
    again(events, 900, what);
    true
}

fn swap(events: &mut Vec<Event>, dice: &mut Dice) -> bool {
    let known = acknowledged(events);
    let polls: Vec<usize> = (0..events.len())
        .filter(|&place| matches!(&events[place].what, What::Polled { records, .. } if records.len() > 1 && known.contains(&records[0].1)))
        .collect();
    let Some(place) = pick(&polls, dice) else { return false };
    let records = records(&mut events[place]);
    (records[0].1, records[1].1) = (records[1].1, records[0].1);
    true
}

/// Of two values of one client and key, the offsets change places, wherever they are told.
fn reorder(events: &mut Vec<Event>, dice: &mut Dice) -> bool {
    let known = acknowledged(events);
    let mut pairs = Vec::new();
    let mut last = std::collections::BTreeMap::new();
    for event in events.iter() {
        if let What::SendBegan { key, value, .. } = &event.what
            && known.contains(value)
            && let Some(before) = last.insert((event.client, key.clone()), *value)
        {
            pairs.push((before, *value));
        }
    }
    let Some((one, other)) = pick(&pairs, dice) else { return false };
    let exchanged =
        |value: Value| [(one, other), (other, one)].into_iter().find(|&(from, _)| from == value).map(|(_, to)| to);
    let offset = |wanted: Value, events: &[Event]| {
        events.iter().find_map(|event| match &event.what {
            What::SendEnded { value, outcome: Outcome::Done(offset) } if *value == wanted => *offset,
            _ => None,
        })
    };
    let (of_one, of_other) = (offset(one, events), offset(other, events));
    for event in events {
        match &mut event.what {
            What::SendEnded { value, outcome: Outcome::Done(offset) } if *value == one => *offset = of_other,
            What::SendEnded { value, outcome: Outcome::Done(offset) } if *value == other => *offset = of_one,
            What::Polled { records, .. } => {
                for (_, value) in records {
                    *value = exchanged(*value).unwrap_or(*value);
                }
            }
            _ => {}
        }
    }
    true
}

fn lower_latest(events: &mut Vec<Event>, dice: &mut Dice) -> bool {
    let Some((key, offset, _)) = pick(&left(events), dice) else { return false };
    again(events, 900, What::OffsetsBegan { key: key.clone() });
    again(events, 900, What::OffsetsEnded { key, earliest: None, latest: Some(offset) });
    true
}

fn lower_high_watermark(events: &mut Vec<Event>, dice: &mut Dice) -> bool {
    let Some((key, offset, _)) = pick(&left(events), dice) else { return false };
    again(events, 900, What::Assigned { keys: vec![(key.clone(), Start::At(offset))], group: None, generation: None });
    let log_start = events.iter().rev().find_map(|event| match &event.what {
        What::ReadWhole { key: of, from, .. } if *of == key => Some(*from),
        _ => None,
    });
    let (records, garbage, log_start) = (vec![], vec![], log_start.unwrap().min(offset));
    again(events, 900, What::Polled { key, records, garbage, high_watermark: offset, log_start, connection: None });
    true
}

/// Before the final reads, which are given it.
fn skip(events: &mut Vec<Event>, dice: &mut Dice) -> bool {
    let healed = events.iter().position(|event| event.what == What::Healed).unwrap();
    let left = left(events);
    let mut able = Vec::new();
    for (place, event) in events[..healed].iter().enumerate() {
        if let What::Polled { records, .. } = &event.what {
            able.extend(records.iter().rev().skip(1).filter(|r| left.iter().any(|l| l.2 == r.1)).map(|r| (place, r.1)));
        }
    }
    let Some((place, value)) = pick(&able, dice) else { return false };
    take_from(events, value, |at, _| at == place);
    true
}

/// From where it stands behind an answer.
fn send_away(events: &mut Vec<Event>, dice: &mut Dice) -> bool {
    let left = left(events);
    let is_left = |value: Value| left.iter().any(|left| left.2 == value);
    let polls: Vec<_> = polled(events).into_iter().filter(|poll| is_left(poll.4)).collect();
    let Some((place, client, key, ..)) = pick(&polls, dice) else { return false };
    let reset = Event { at: events[place].at, client, what: What::Reset { key, to: 0 } };
    events.insert(place + 1, reset);
    true
}

fn repeat(events: &mut Vec<Event>, dice: &mut Dice) -> bool {
    let Some((place, ..)) = pick(&polled(events), dice) else { return false };
    let event = events[place].clone();
    events.insert(place + 1, event);
    true
}

fn fail(events: &mut Vec<Event>, dice: &mut Dice) -> bool {
    let Some((.., value)) = pick(&left(events), dice) else { return false };
    for event in events {
        match &mut event.what {
            What::SendEnded { value: of, outcome } if *of == value => {
                *outcome = Outcome::Failed("chance".into());
                return true;
            }
            _ => {}
        }
    }
    false
}

fn unsend(events: &mut Vec<Event>, dice: &mut Dice) -> bool {
    let Some((.., value)) = pick(&polled(events), dice) else { return false };
    events.retain(|event| !matches!(event.what, What::SendBegan { value: of, .. } if of == value));
    true
}

fn stray(events: &mut Vec<Event>, dice: &mut Dice) -> bool {
    let Some((.., value)) = pick(&polled(events), dice) else { return false };
    for event in events.iter_mut() {
        if let What::SendBegan { key, value: of, .. } = &mut event.what
            && *of == value
        {
            key.partition = 1 - key.partition;
        }
    }
    true
}

fn committed(events: &mut [Event], dice: &mut Dice) -> Option<usize> {
    let done =
        events.iter().position(|event| matches!(event.what, What::CommitEnded { outcome: Outcome::Done(()), .. }));
    let reads: Vec<usize> = (done?..events.len())
        .filter(|&place| matches!(events[place].what, What::CommittedEnded { offset: Some(_), .. }))
        .collect();
    pick(&reads, dice)
}

fn recommit(events: &mut Vec<Event>, dice: &mut Dice) -> bool {
    let Some(place) = committed(events, dice) else { return false };
    let What::CommittedEnded { offset, .. } = &mut events[place].what else { return false };
    *offset = Some(5_000);
    true
}

fn uncommit(events: &mut Vec<Event>, dice: &mut Dice) -> bool {
    // The last of all: surely another had been committed by then.
    let Some(place) = committed(events, dice) else { return false };
    let What::CommittedEnded { group, key, .. } = events[place].what.clone() else { return false };
    again(events, 900, What::CommittedBegan { group: group.clone(), key: key.clone() });
    again(events, 900, What::CommittedEnded { group, key, offset: None });
    true
}

fn skip_group(events: &mut Vec<Event>, dice: &mut Dice) -> bool {
    let in_group = |client: Client, events: &[Event]| {
        events.iter().any(|e| e.client == client && matches!(e.what, What::Assigned { group: Some(_), .. }))
    };
    let left = left(events);
    let polls = polled(events);
    // Something was read behind it and committed.
    let able: Vec<Value> = polls
        .iter()
        .filter(|(place, client, key, offset, value)| {
            let is_committed = events[*place..].iter().any(|event| {
                event.client == *client
                    && matches!(&event.what, What::CommitBegan { key: of, offset: to, .. } if of == key && *to > offset + 1)
            });
            let trims = events.iter().any(|e| matches!(&e.what, What::TrimBegan { key: of, before } if of == key && before > offset));
            is_committed && !trims && in_group(*client, events) && left.iter().any(|l| l.2 == *value)
        })
        .map(|poll| poll.4)
        .collect();
    // Who was given it last, and commits what lies behind, moves the group by will.
    let is_last = |value: Value| {
        let mut answers = events.iter().filter(|event| in_group(event.client, events));
        answers.any(|e| matches!(&e.what, What::Polled { records, .. } if records.last().is_some_and(|r| r.1 == value)))
    };
    let able: Vec<Value> = able.into_iter().filter(|&value| !is_last(value)).collect();
    let Some(value) = pick(&able, dice) else { return false };
    let members: Vec<Client> =
        events.iter().map(|event| event.client).filter(|&client| in_group(client, events)).collect();
    take_from(events, value, |_, event| members.contains(&event.client));
    // A reset excuses what lies before it.
    !events.iter().any(|event| members.contains(&event.client) && matches!(event.what, What::Reset { .. }))
}

fn overtrim(events: &mut Vec<Event>, dice: &mut Dice) -> bool {
    let Some((key, ..)) = pick(&left(events), dice) else { return false };
    again(events, 900, What::OffsetsBegan { key: key.clone() });
    again(events, 900, What::OffsetsEnded { key, earliest: Some(10_000), latest: None });
    true
}

fn delete(events: &mut Vec<Event>, dice: &mut Dice) -> bool {
    let known = acknowledged(events);
    let left: Vec<_> = left(events).into_iter().filter(|(.., value)| known.contains(value)).collect();
    let Some((key, offset, value)) = pick(&left, dice) else { return false };
    again(events, 900, What::DeleteBegan { topic: key.topic.clone() });
    again(events, 900, What::DeleteEnded { topic: key.topic.clone(), outcome: Outcome::Done(()) });
    again(events, 900, What::Assigned { keys: vec![(key.clone(), Start::At(offset))], group: None, generation: None });
    let (records, high_watermark) = (vec![(offset, value)], offset + 1);
    again(events, 900, What::Polled { key, records, garbage: vec![], high_watermark, log_start: 0, connection: None });
    true
}

fn commit_too_late(events: &mut Vec<Event>, dice: &mut Dice) -> bool {
    let commits: Vec<What> = events.iter().map(|event| &event.what).filter(is_commit_of(1)).cloned().collect();
    let Some(What::CommitBegan { group, key, offset, generation, .. }) = pick(&commits, dice) else { return false };
    again(events, 900, What::CommitBegan { group, key, offset, number: 1, generation });
    again(events, 900, What::CommitEnded { number: 1, outcome: Outcome::Done(()) });
    // The second generation had begun.
    events.iter().any(|event| matches!(event.what, What::Assigned { generation: Some(2), .. }))
}

fn is_commit_of(wanted: i32) -> impl Fn(&&What) -> bool {
    move |what| matches!(what, What::CommitBegan { generation: Some(generation), .. } if *generation == wanted)
}

fn give_twice(events: &mut Vec<Event>, dice: &mut Dice) -> bool {
    let assigned: Vec<Event> = events
        .iter()
        .filter(|event| matches!(event.what, What::Assigned { generation: Some(_), .. }))
        .cloned()
        .collect();
    let Some(event) = pick(&assigned, dice) else { return false };
    again(events, 900, event.what);
    again(events, event.client.0, What::OffsetsBegan { key: model::key(0) });
    true
}

/// As long ago as nothing was promised of it, but over the same connection.
fn fall_back(events: &mut Vec<Event>, dice: &mut Dice) -> bool {
    let polls: Vec<usize> = (0..events.len())
        .filter(|&place| matches!(events[place].what, What::Polled { high_watermark: 1.., .. }))
        .collect();
    let Some(place) = pick(&polls, dice) else { return false };
    let mut event = events[place].clone();
    let What::Polled { records, high_watermark, log_start, .. } = &mut event.what else { return false };
    records.clear();
    (*high_watermark, *log_start) = (*high_watermark - 1, (*log_start).min(*high_watermark - 1));
    events.insert(place + 1, event);
    true
}

fn end_twice(events: &mut Vec<Event>, dice: &mut Dice) -> bool {
    let ends: Vec<usize> =
        (0..events.len()).filter(|&place| matches!(events[place].what, What::SendEnded { .. })).collect();
    let Some(place) = pick(&ends, dice) else { return false };
    let event = events[place].clone();
    events.insert(place + 1, event);
    true
}
