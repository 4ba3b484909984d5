use futures::FutureExt;

use super::*;

#[derive(Clone, Debug, PartialEq)]
struct Said {
    partition: i32,
    records: bool,
    error: bool,
    high_watermark: i64,
}

impl Answer for Said {
    fn has_records(&self) -> bool {
        self.records
    }
    fn has_error(&self) -> bool {
        self.error
    }
    fn diverges(&self) -> bool {
        false
    }
    fn high_watermark(&self) -> i64 {
        self.high_watermark
    }
    fn log_start(&self) -> i64 {
        0
    }
}

fn want(partition: i32) -> Want {
    Want {
        topic: TopicRef::Name("t".into()),
        partition,
        fetch_offset: 0,
        current_leader_epoch: -1,
        last_fetched_epoch: -1,
        max_bytes: 100,
    }
}

fn request(session_id: i32, epoch: i32, partitions: &[i32], forgotten: &[i32]) -> Begin {
    Begin {
        session_id,
        epoch,
        uses_ids: false,
        wants: partitions.iter().map(|&p| want(p)).collect(),
        forgotten: forgotten.iter().map(|&p| (TopicRef::Name("t".into()), p)).collect(),
    }
}

fn asked(context: &Context) -> Vec<i32> {
    context.wants().iter().map(|want| want.partition).collect()
}

fn quiet(context: &Context) -> Vec<Said> {
    asked(context)
        .into_iter()
        .map(|partition| Said { partition, records: false, error: false, high_watermark: 5 })
        .collect()
}

/// Ends a request: the session's id, and what is sent.
fn finish(context: Context, sessions: &Sessions, answers: Vec<Said>, now: Duration) -> (i32, Vec<Said>) {
    let pairs: Vec<_> = context.wants().iter().zip(&answers).collect();
    let (id, news) = context.finish(sessions, &pairs, |_| None, now);
    // The session serves the next one from here on.
    drop(context);
    (id, answers.into_iter().zip(news).filter_map(|(answer, is_news)| is_news.then_some(answer)).collect())
}

/// Begins a request, with nobody else to run.
fn begun(sessions: &Sessions, request: Begin, now: Duration) -> Result<Context, ErrorCode> {
    let mut begin = std::pin::pin!(sessions.begin(request, now));
    loop {
        if let Some(context) = begin.as_mut().now_or_never() {
            return context;
        }
    }
}

fn sessions(slots: usize) -> Sessions {
    Sessions::new(slots, Entropy::system())
}

const NOW: Duration = Duration::from_secs(1_000);
const MOMENT: Duration = Duration::from_millis(1);

/// Opens a session over `partitions`.
fn open(sessions: &Sessions, partitions: &[i32], now: Duration) -> i32 {
    let context = begun(sessions, request(0, 0, partitions, &[]), now).unwrap();
    let answers = quiet(&context);
    finish(context, sessions, answers, now).0
}

#[test]
fn an_incremental_answer_holds_only_what_is_new() {
    let sessions = sessions(10);
    let id = open(&sessions, &[0, 1, 2, 3], NOW);
    assert_ne!(id, 0);
    let context = begun(&sessions, request(id, 1, &[], &[]), NOW).unwrap();
    let mut answers = quiet(&context);
    answers[1].records = true;
    answers[2].error = true;
    answers[3].high_watermark = 6;
    let (_, sent) = finish(context, &sessions, answers, NOW);
    assert_eq!(sent.iter().map(|said| said.partition).collect::<Vec<_>>(), [1, 2, 3]);
    let context = begun(&sessions, request(id, 2, &[], &[]), NOW).unwrap();
    assert_eq!(asked(&context), [0, 2, 3, 1], "who gave records goes to the back");
    let mut answers = quiet(&context);
    answers[2].high_watermark = 6;
    let (_, sent) = finish(context, &sessions, answers, NOW);
    assert_eq!(sent.iter().map(|said| said.partition).collect::<Vec<_>>(), [2], "after an error all is told");
}

#[test]
fn partitions_are_added_changed_and_forgotten() {
    let sessions = sessions(10);
    let id = open(&sessions, &[0, 1], NOW);
    let mut begin = request(id, 1, &[1, 7], &[0]);
    begin.wants[0].fetch_offset = 42;
    let context = begun(&sessions, begin, NOW).unwrap();
    assert_eq!(asked(&context), [1, 7]);
    assert_eq!(context.wants()[0].fetch_offset, 42);
}

#[test]
fn a_wrong_id_epoch_or_naming_is_refused_and_changes_nothing() {
    let sessions = sessions(10);
    let id = open(&sessions, &[0], NOW);
    let refused = |begin: Begin| begun(&sessions, begin, NOW).unwrap_err();
    assert_eq!(refused(request(id ^ 1, 1, &[], &[])), ErrorCode::FetchSessionIdNotFound);
    assert_eq!(refused(request(id, 2, &[], &[])), ErrorCode::InvalidFetchSessionEpoch);
    let mut by_id = request(id, 1, &[], &[]);
    by_id.uses_ids = true;
    assert_eq!(refused(by_id), ErrorCode::FetchSessionTopicIdError);
    assert!(begun(&sessions, request(id, 1, &[], &[]), NOW).is_ok());
}

#[test]
fn a_session_serves_one_request_at_a_time() {
    let sessions = sessions(10);
    let id = open(&sessions, &[0], NOW);
    let first = begun(&sessions, request(id, 1, &[], &[]), NOW).unwrap();
    let second = begun(&sessions, request(id, 2, &[], &[]), NOW).unwrap_err();
    assert_eq!(second, ErrorCode::InvalidFetchSessionEpoch);
    // Whether it was answered or its client has gone.
    drop(first);
    assert!(begun(&sessions, request(id, 2, &[], &[]), NOW).is_ok());
}

#[test]
fn a_session_may_begin_without_partitions() {
    let sessions = sessions(10);
    let id = open(&sessions, &[], NOW);
    assert_ne!(id, 0);
    let context = begun(&sessions, request(id, 1, &[3], &[]), NOW).unwrap();
    assert_eq!(asked(&context), [3]);
}

#[test]
fn others_may_run_while_very_many_changes_of_a_session_are_taken_over_and_no_other_request_of_it() {
    let sessions = sessions(10);
    let id = open(&sessions, &[0], NOW);
    let all: Vec<i32> = (0..3 * WANTS_AT_ONCE as i32).collect();
    let mut polls = 0;
    let context = {
        let mut begin = std::pin::pin!(sessions.begin(request(id, 1, &all, &all[1..]), NOW));
        loop {
            polls += 1;
            if let Some(context) = begin.as_mut().now_or_never() {
                break context.unwrap();
            }
            let other = begun(&sessions, request(id, 1, &[], &[]), NOW);
            assert_eq!(other.unwrap_err(), ErrorCode::InvalidFetchSessionEpoch);
        }
    };
    assert_eq!(polls, 1 + 2 + 2);
    assert_eq!(asked(&context), [0]);
    drop(context);
    // A client that goes away meanwhile leaves its session as good as it was.
    let mut begin = Box::pin(sessions.begin(request(id, 2, &all, &[]), NOW));
    assert!(begin.as_mut().now_or_never().is_none());
    drop(begin);
    assert_eq!(asked(&begun(&sessions, request(id, 2, &all, &[]), NOW).unwrap()), all);
}

#[test]
fn a_session_ends_when_told_to_or_when_it_is_emptied() {
    let sessions = sessions(10);
    let id = open(&sessions, &[0], NOW);
    begun(&sessions, request(id, FINAL_EPOCH, &[0], &[]), NOW).unwrap();
    assert_eq!(sessions.len(), 0);
    let id = open(&sessions, &[0], NOW);
    let context = begun(&sessions, request(id, 1, &[], &[0]), NOW).unwrap();
    assert_eq!(finish(context, &sessions, Vec::new(), NOW).0, 0);
    assert_eq!(sessions.len(), 0);
}

/// Seen on Kafka 3.9.2 and 4.4.0.
#[test]
fn what_is_asked_for_with_what_empties_a_session_is_answered_without_it() {
    let sessions = sessions(10);
    let id = open(&sessions, &[0], NOW);
    let context = begun(&sessions, request(id, 1, &[2, 1, 2], &[1, 0, 2]), NOW).unwrap();
    assert_eq!(asked(&context), [2, 1]);
    let answers = quiet(&context);
    let (id, sent) = finish(context, &sessions, answers, NOW);
    assert_eq!((id, sent.len(), sessions.len()), (0, 2, 0));
}

/// Seen on Kafka 3.9.2 and 4.4.0.
#[test]
fn a_session_begins_in_the_order_of_its_first_answer() {
    let sessions = sessions(10);
    let context = begun(&sessions, request(0, 0, &[0, 1, 2], &[]), NOW).unwrap();
    let answers = asked(&context).into_iter().map(|partition| Said {
        partition,
        records: partition == 0,
        error: partition == 1,
        high_watermark: 5,
    });
    let mut answers: Vec<_> = answers.collect();
    let in_order: Vec<_> = [0, 2, 1].into_iter().map(|at| (&context.wants()[at], &answers[at])).collect();
    let (id, news) = context.finish(&sessions, &in_order, |_| None, NOW);
    assert_eq!(news, [true; 3]);
    let context = begun(&sessions, request(id, 1, &[], &[]), NOW).unwrap();
    assert_eq!(asked(&context), [0, 2, 1], "what gave records stays, what came last is last");
    answers.swap(1, 2);
    let (_, sent) = finish(context, &sessions, answers, NOW);
    assert_eq!(sent.iter().map(|said| said.partition).collect::<Vec<_>>(), [0, 1]);
}

/// Uses a session; it must be there.
fn touch(sessions: &Sessions, id: i32, epoch: i32, now: Duration) {
    begun(sessions, request(id, epoch, &[], &[]), now).unwrap();
}

#[test]
fn a_full_cache_gives_way_to_larger_sessions_and_to_any_after_a_while() {
    let sessions = sessions(1);
    let first = open(&sessions, &[0, 1], NOW);
    let later = NOW + STALE_AFTER + MOMENT;
    touch(&sessions, first, 1, NOW + STALE_AFTER);
    touch(&sessions, first, 2, later);
    assert_eq!(open(&sessions, &[0, 1], later), 0, "an equal one does not displace it");
    let larger = open(&sessions, &[0, 1, 2], later);
    assert!(larger != 0 && larger != first);
    assert_eq!(open(&sessions, &[0], later + STALE_AFTER), 0);
    assert_ne!(open(&sessions, &[0], later + STALE_AFTER + MOMENT), 0);
    assert_eq!((sessions.len(), sessions.evictions()), (1, 2));
}

/// Kafka's `FetchSessionCacheShard.touch`: a session is open to larger ones from the first use on at which it is older
/// than two minutes.
#[test]
fn a_young_session_is_spared_however_large_the_new_one_is() {
    let sessions = sessions(2);
    let (small, other) = (open(&sessions, &[0], NOW), open(&sessions, &[1, 2], NOW));
    let many: Vec<i32> = (0..1_000).collect();
    assert_eq!(open(&sessions, &many, NOW + MOMENT), 0, "both are young");
    touch(&sessions, small, 1, NOW + STALE_AFTER);
    touch(&sessions, other, 1, NOW + STALE_AFTER);
    assert_eq!(open(&sessions, &many, NOW + STALE_AFTER + MOMENT), 0, "they were young when they were last used");
    let later = NOW + STALE_AFTER + 2 * MOMENT;
    touch(&sessions, other, 2, later);
    assert_ne!(open(&sessions, &many, later), 0);
    touch(&sessions, small, 2, later);
    let gone = begun(&sessions, request(other, 3, &[], &[]), later).unwrap_err();
    assert_eq!(gone, ErrorCode::FetchSessionIdNotFound, "the larger one was older");
}

#[test]
fn a_refused_request_does_not_keep_a_session_alive() {
    let sessions = sessions(1);
    let id = open(&sessions, &[0], NOW);
    let later = NOW + STALE_AFTER + MOMENT;
    assert!(begun(&sessions, request(id, 7, &[], &[]), later).is_err());
    assert_ne!(open(&sessions, &[0], later), 0);
}

#[test]
fn a_session_that_cannot_be_made_evicts_nobody() {
    let sessions = sessions(3);
    let (one, two) = (open(&sessions, &[0], NOW), open(&sessions, &[0, 1], NOW + MOMENT));
    let later = NOW + STALE_AFTER + MOMENT;
    let many: Vec<i32> = (0..SESSION_PARTITIONS_MAX as i32).collect();
    open(&sessions, &many, later);
    assert_eq!(open(&sessions, &many, later), 0, "too many partitions in all");
    assert_eq!((sessions.len(), sessions.evictions()), (3, 0));
    touch(&sessions, one, 1, later);
    touch(&sessions, two, 1, later);
}

#[test]
fn all_sessions_together_hold_a_bounded_number_of_partitions() {
    let sessions = sessions(10);
    let many: Vec<i32> = (0..SESSION_PARTITIONS_MAX as i32).collect();
    let first = open(&sessions, &many, NOW);
    let second = open(&sessions, &many[1..], NOW);
    assert!(first != 0 && second != 0);
    let third = open(&sessions, &[0], NOW);
    assert_ne!(third, 0, "the last partition that there is room for");
    assert_eq!(open(&sessions, &[0], NOW), 0, "one too many is served without a session");
    let grown = begun(&sessions, request(third, 1, &[1], &[]), NOW).unwrap();
    assert_eq!(asked(&grown), [0, 1]);
    assert_eq!(sessions.len(), 2, "nor may one grow");
}

#[test]
fn the_epoch_wraps_to_one() {
    assert_eq!(epoch_after(1), 2);
    assert_eq!(epoch_after(i32::MAX), 1);
}
