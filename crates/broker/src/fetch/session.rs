//! Fetch sessions (KIP-227): a client names its partitions once and later only what changed; the broker answers only
//! what is new.
//!
//! Place in the flow: [`Sessions::begin`] turns a request into the partitions to read, [`Context::finish`] turns what
//! was read into what is sent. The semantics are those of Kafka's `FetchManager`:
//!
//! | Request id, epoch | Meaning |
//! |---|---|
//! | 0, -1 | no session: everything is asked and answered |
//! | 0, 0 | everything is asked; a new session if there is room |
//! | n, -1 | session n ends; as 0, -1 |
//! | n, 0 | session n ends; as 0, 0 |
//! | n, e > 0 | incremental: changes only; `e` must be the session's next epoch |
//!
//! Invariants: at most `max.incremental.fetch.session.cache.slots` sessions, and a bounded number of partitions in all of
//! them; a response with an error never advances a
//! session; the epoch wraps from `i32::MAX` to 1.

use std::sync::Arc;
use std::time::Duration;

use base::collections::HashMap;
use base::{Entropy, Uuid};
use parking_lot::Mutex;
use wire::ErrorCode;

use super::line::{Line, WANTS_AT_ONCE, once_each};
use crate::limits::SESSIONS_PARTITIONS_MAX;

/// A session that was not used for so long gives way to any other, and one that lived for less when it was last used gives
/// way to none; Kafka's `min.incremental.fetch.session.eviction.ms`.
const STALE_AFTER: Duration = Duration::from_secs(120);

/// Partitions one session may hold; a larger one is served without a session.
pub(crate) const SESSION_PARTITIONS_MAX: usize = 500_000;

/// "No session" as an id, "full request, then a session" as an epoch.
pub(crate) const NONE: i32 = 0;
/// "The session ends here" as an epoch.
pub(crate) const FINAL_EPOCH: i32 = -1;

/// A topic as the client named it: by name to version 12, by id from version 13.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum TopicRef {
    Name(Arc<str>),
    Id(Uuid),
}

/// What a client wants of one partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Want {
    pub(crate) topic: TopicRef,
    pub(crate) partition: i32,
    pub(crate) fetch_offset: i64,
    /// The leader epoch the client knows; -1 for none.
    pub(crate) current_leader_epoch: i32,
    pub(crate) max_bytes: i32,
}

/// What decides whether a partition is worth sending, seen from the session.
pub(crate) trait Answer {
    fn has_records(&self) -> bool;
    fn has_error(&self) -> bool;
    fn high_watermark(&self) -> i64;
    fn log_start(&self) -> i64;
}

/// The sessions of the broker.
#[derive(Debug)]
pub(crate) struct Sessions {
    slots: usize,
    entropy: Entropy,
    cache: Mutex<Cache>,
}

#[derive(Debug, Default)]
struct Cache {
    sessions: HashMap<i32, Slot>,
    evictions: u64,
}

impl Cache {
    fn partitions(&self) -> usize {
        self.sessions.values().map(|slot| slot.partitions).sum()
    }

    /// Notes the use of a session and how large it is now; says whether all of them together may be so large.
    fn touch(&mut self, id: i32, partitions: usize, now: Duration) -> bool {
        let Some(slot) = self.sessions.get_mut(&id) else { return true };
        slot.used = now;
        let grew = partitions > slot.partitions;
        slot.partitions = partitions;
        !grew || self.partitions() <= SESSIONS_PARTITIONS_MAX
    }
}

#[derive(Debug)]
struct Slot {
    session: Arc<Mutex<Session>>,
    created: Duration,
    used: Duration,
    partitions: usize,
}

impl Slot {
    /// Whether a larger session may take its place: else large ones, made one after the other, would keep small ones from
    /// ever being of use. As in Kafka its age counts when it is used.
    fn is_grown_up(&self) -> bool {
        self.used.saturating_sub(self.created) > STALE_AFTER
    }
}

type Key = (TopicRef, i32);

#[derive(Debug)]
struct Session {
    id: i32,
    uses_ids: bool,
    /// The epoch the next request must carry.
    epoch: i32,
    /// Whether a request of it is being served.
    is_served: bool,
    /// In the order in which they are served: first as the request that made the session was answered, then one that gives
    /// records to a later request goes to the back.
    line: Line,
}

impl Session {
    /// Notes what is about to be sent for a partition; says whether it is news.
    fn note(&mut self, want: &Want, answer: &impl Answer) -> bool {
        let Some(cached) = self.line.get_mut(&want.topic, want.partition) else {
            return true;
        };
        let news = answer.has_records()
            || answer.has_error()
            || cached.high_watermark != answer.high_watermark()
            || cached.log_start != answer.log_start();
        // After an error the client knows nothing for sure: tell it everything next time.
        cached.high_watermark = if answer.has_error() { -1 } else { answer.high_watermark() };
        cached.log_start = answer.log_start();
        news
    }
}

/// A session while a request of it is served.
#[derive(Debug)]
struct Served(Arc<Mutex<Session>>);

impl Served {
    fn begin(session: Arc<Mutex<Session>>, epoch: i32, uses_ids: bool) -> Result<Self, ErrorCode> {
        let mut open = session.lock();
        if open.epoch != epoch || open.is_served {
            return Err(ErrorCode::InvalidFetchSessionEpoch);
        }
        if open.uses_ids != uses_ids {
            return Err(ErrorCode::FetchSessionTopicIdError);
        }
        open.is_served = true;
        drop(open);
        Ok(Self(session))
    }

    /// Takes very many changes over, if need be: others may run now and then.
    async fn change_each<T>(&self, changes: Vec<T>, change: impl Fn(&mut Line, T)) {
        let mut changes = changes.into_iter();
        while changes.len() > 0 {
            {
                let mut open = self.0.lock();
                changes.by_ref().take(WANTS_AT_ONCE).for_each(|one| change(&mut open.line, one));
            }
            if changes.len() > 0 {
                tokio::task::yield_now().await;
            }
        }
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.0.lock().is_served = false;
    }
}

/// How one request stands to its session.
#[derive(Debug)]
pub(crate) struct Context(Kind);

#[derive(Debug)]
enum Kind {
    Sessionless(Vec<Want>),
    /// A session is made if there is room when the answer is ready.
    Full {
        uses_ids: bool,
        wants: Vec<Want>,
    },
    Incremental {
        session: Served,
        wants: Vec<Want>,
    },
}

/// A request as far as sessions care.
#[derive(Debug)]
pub(crate) struct Begin {
    pub(crate) session_id: i32,
    pub(crate) epoch: i32,
    pub(crate) uses_ids: bool,
    pub(crate) wants: Vec<Want>,
    pub(crate) forgotten: Vec<Key>,
}

impl Begin {
    /// Bytes of the partitions that are forgotten: for each that takes four of the request.
    pub(crate) fn forgotten_bytes(&self) -> usize {
        self.forgotten.capacity() * size_of::<Key>()
    }
}

fn epoch_after(epoch: i32) -> i32 {
    if epoch == i32::MAX { 1 } else { epoch + 1 }
}

impl Sessions {
    pub(crate) fn new(slots: usize, entropy: Entropy) -> Self {
        Self { slots, entropy, cache: Mutex::default() }
    }

    /// Sessions held now.
    pub(crate) fn len(&self) -> usize {
        self.cache.lock().sessions.len()
    }

    /// Sessions that gave way to others so far.
    pub(crate) fn evictions(&self) -> u64 {
        self.cache.lock().evictions
    }

    /// Finds the session of a request and takes its changes over. A session serves one request at a time, or its
    /// partitions would take memory once for each: no client sends the next before it has the answer.
    ///
    /// # Errors
    /// The error code of the whole response: the session is unknown, its epoch another one, the request before is not
    /// answered yet, or this one names topics the other way.
    pub(crate) async fn begin(&self, request: Begin, now: Duration) -> Result<Context, ErrorCode> {
        let Begin { session_id, epoch, uses_ids, mut wants, forgotten } = request;
        if epoch == NONE || epoch == FINAL_EPOCH {
            once_each(&mut wants).await;
            if session_id != NONE {
                self.end(session_id);
            }
            let full = epoch == NONE && self.slots > 0;
            return Ok(Context(if full { Kind::Full { uses_ids, wants } } else { Kind::Sessionless(wants) }));
        }
        let session = {
            let cache = self.cache.lock();
            let slot = cache.sessions.get(&session_id).ok_or(ErrorCode::FetchSessionIdNotFound)?;
            slot.session.clone()
        };
        let session = Served::begin(session, epoch, uses_ids)?;
        // What is forgotten in the same breath is answered all the same if nothing else is left.
        let asked = if forgotten.is_empty() { Vec::new() } else { wants.clone() };
        session.change_each(wants, Line::put).await;
        session.change_each(forgotten, |line, (topic, partition)| line.remove(&topic, partition)).await;
        let (wants, goes_on) = {
            let mut open = session.0.lock();
            let partitions = open.line.len();
            let fits = partitions <= SESSION_PARTITIONS_MAX && self.cache.lock().touch(session_id, partitions, now);
            let goes_on = partitions > 0 && fits;
            if goes_on {
                open.epoch = epoch_after(epoch);
            }
            (open.line.wants(), goes_on)
        };
        if goes_on {
            return Ok(Context(Kind::Incremental { session, wants }));
        }
        // An emptied session ends, as in Kafka; one that outgrew its limit is served once more, without a session.
        self.end(session_id);
        let mut wants = if wants.is_empty() { asked } else { wants };
        once_each(&mut wants).await;
        Ok(Context(Kind::Sessionless(wants)))
    }

    /// Ends a session. Large ones are let go of when others can go on.
    fn end(&self, id: i32) {
        let ended = self.cache.lock().sessions.remove(&id);
        drop(ended);
    }

    /// Makes a session, evicting a stale one, or a smaller one that is not young, if all slots are taken. It is made, and
    /// the one that it evicts let go of, while others can go on.
    fn create<'a>(
        &self,
        uses_ids: bool,
        wants: impl ExactSizeIterator<Item = &'a Want>,
        now: Duration,
    ) -> Option<Arc<Mutex<Session>>> {
        if wants.len() > SESSION_PARTITIONS_MAX {
            return None;
        }
        self.place(&self.cache.lock(), wants.len(), now)?;
        let mut line = Line::with_capacity(wants.len());
        wants.for_each(|want| line.put(want.clone()));
        let partitions = line.len();
        let mut cache = self.cache.lock();
        let victim = self.place(&cache, partitions, now)?;
        let evicted = victim.and_then(|victim| cache.sessions.remove(&victim));
        cache.evictions += u64::from(evicted.is_some());
        let id = loop {
            let id = (self.entropy.next_u64() >> 33) as i32;
            if id != NONE && !cache.sessions.contains_key(&id) {
                break id;
            }
        };
        let session = Arc::new(Mutex::new(Session { id, uses_ids, epoch: 1, is_served: false, line }));
        cache.sessions.insert(id, Slot { session: session.clone(), created: now, used: now, partitions });
        drop(cache);
        drop(evicted);
        Some(session)
    }

    /// Whether there is room for a session of so many partitions, and whose place it takes.
    fn place(&self, cache: &Cache, partitions: usize, now: Duration) -> Option<Option<i32>> {
        let victim = if cache.sessions.len() >= self.slots {
            let stale = cache.sessions.iter().min_by_key(|(_, slot)| slot.used);
            let stale = stale.filter(|(_, slot)| now.saturating_sub(slot.used) > STALE_AFTER);
            let smaller = || {
                let grown_up = cache.sessions.iter().filter(|(_, slot)| slot.is_grown_up());
                let smallest = grown_up.min_by_key(|(id, slot)| (slot.partitions, **id));
                smallest.filter(|(_, slot)| slot.partitions < partitions)
            };
            let (id, slot) = stale.or_else(smaller)?;
            Some((*id, slot.partitions))
        } else {
            None
        };
        let freed = victim.map_or(0, |(_, freed)| freed);
        let fits = cache.partitions() - freed + partitions <= SESSIONS_PARTITIONS_MAX;
        fits.then(|| victim.map(|(id, _)| id))
    }
}

impl Context {
    /// The partitions to read, in the order in which bytes are handed out.
    pub(crate) fn wants(&self) -> &[Want] {
        match &self.0 {
            Kind::Sessionless(wants) | Kind::Full { wants, .. } | Kind::Incremental { wants, .. } => wants,
        }
    }

    /// Says of each answer, given in the order in which they are sent, whether it is news for the client, and the session
    /// id to answer with. A session that is made now serves its partitions in that order.
    pub(crate) fn finish<A: Answer>(
        &self,
        sessions: &Sessions,
        answers: &[(&Want, &A)],
        now: Duration,
    ) -> (i32, Vec<bool>) {
        let all_news = vec![true; answers.len()];
        match &self.0 {
            Kind::Sessionless(_) => (NONE, all_news),
            Kind::Full { uses_ids, .. } => {
                let wants = answers.iter().map(|(want, _)| *want);
                let Some(session) = sessions.create(*uses_ids, wants, now) else { return (NONE, all_news) };
                let mut session = session.lock();
                for (want, answer) in answers {
                    session.note(want, *answer);
                }
                (session.id, all_news)
            }
            Kind::Incremental { session, .. } => {
                let mut session = session.0.lock();
                let news = answers.iter().map(|(want, answer)| {
                    let is_news = session.note(want, *answer);
                    if answer.has_records() {
                        session.line.put_last(&want.topic, want.partition);
                    }
                    is_news
                });
                let news = news.collect();
                (session.id, news)
            }
        }
    }
}

#[cfg(test)]
mod tests {
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
        fn high_watermark(&self) -> i64 {
            self.high_watermark
        }
        fn log_start(&self) -> i64 {
            0
        }
    }

    fn want(partition: i32) -> Want {
        Want { topic: TopicRef::Name("t".into()), partition, fetch_offset: 0, current_leader_epoch: -1, max_bytes: 100 }
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
        let (id, news) = context.finish(sessions, &pairs, now);
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
        let (id, news) = context.finish(&sessions, &in_order, NOW);
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
}
