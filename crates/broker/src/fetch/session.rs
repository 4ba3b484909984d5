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
//! A topic that is named by its id is known by its name, too, once it has one in a session: so Kafka tells a topic that was
//! deleted meanwhile, or made anew, from one that nobody ever knew.
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

/// Names of topics that a session remembers whatever it holds.
const NAMES_SPARE: usize = 64;

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
    /// The leader epoch of what the client fetched last; below zero for none.
    pub(crate) last_fetched_epoch: i32,
    pub(crate) max_bytes: i32,
}

/// What decides whether a partition is worth sending, seen from the session.
pub(crate) trait Answer {
    fn has_records(&self) -> bool;
    fn has_error(&self) -> bool;
    /// It says where the log of the client parts from this one.
    fn diverges(&self) -> bool;
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
    /// The names that topics with ids have, or had.
    names: HashMap<Uuid, Arc<str>>,
}

impl Session {
    /// Learns the name of a topic that is wanted by its id. Of those that nobody wants any more some are remembered.
    fn learn(&mut self, topic: &TopicRef, name_of: impl Fn(Uuid) -> Option<Arc<str>>) {
        let TopicRef::Id(id) = topic else { return };
        if self.names.contains_key(id) {
            return;
        }
        if self.names.len() >= 2 * self.line.len() + NAMES_SPARE {
            self.names = HashMap::default();
        }
        self.names.extend(name_of(*id).map(|name| (*id, name)));
    }

    /// Notes what is about to be sent for a partition; says whether it is news.
    fn note(&mut self, want: &Want, answer: &impl Answer) -> bool {
        let Some(cached) = self.line.get_mut(&want.topic, want.partition) else {
            return true;
        };
        let news = answer.has_records()
            || answer.has_error()
            || answer.diverges()
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
        let session =
            Arc::new(Mutex::new(Session { id, uses_ids, epoch: 1, is_served: false, line, names: HashMap::default() }));
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

    /// The name that a topic with this id has had in this session.
    pub(crate) fn name_of(&self, want: &Want) -> Option<Arc<str>> {
        let Kind::Incremental { session, .. } = &self.0 else { return None };
        let TopicRef::Id(id) = &want.topic else { return None };
        session.0.lock().names.get(id).cloned()
    }

    /// Says of each answer, given in the order in which they are sent, whether it is news for the client, and the session
    /// id to answer with. A session that is made now serves its partitions in that order. `name_of` tells the name that a
    /// topic with an id has now.
    pub(crate) fn finish<A: Answer>(
        &self,
        sessions: &Sessions,
        answers: &[(&Want, &A)],
        name_of: impl Fn(Uuid) -> Option<Arc<str>>,
        now: Duration,
    ) -> (i32, Vec<bool>) {
        let all_news = vec![true; answers.len()];
        match &self.0 {
            Kind::Sessionless(_) => (NONE, all_news),
            Kind::Full { uses_ids, .. } => {
                let wants = answers.iter().map(|(want, _)| *want);
                let Some(session) = sessions.create(*uses_ids, wants, now) else { return (NONE, all_news) };
                let mut session = session.lock();
                learn_each(&mut session, answers, &name_of);
                for (want, answer) in answers {
                    session.note(want, *answer);
                }
                (session.id, all_news)
            }
            Kind::Incremental { session, .. } => {
                let mut session = session.0.lock();
                learn_each(&mut session, answers, &name_of);
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

/// Learns the names of the topics that are answered: each once where its partitions stand together.
fn learn_each<A>(session: &mut Session, answers: &[(&Want, &A)], name_of: impl Fn(Uuid) -> Option<Arc<str>>) {
    for topic in answers.chunk_by(|(one, _), (next, _)| one.topic == next.topic) {
        session.learn(&topic[0].0.topic, &name_of);
    }
}

#[cfg(test)]
mod tests;
