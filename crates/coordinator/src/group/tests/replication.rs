//! Records: what they say, and that they say everything.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::group::group_of;
use crate::group::records;
use crate::group::timers::Timer;
use crate::limits::SNAPSHOT_RECORDS_MIN;
use crate::runtime::memory::MemoryLogs;
use crate::runtime::{ReplayError, Shards};

/// What a client sees of a group after a load, besides who waits.
fn seen(fixture: &Fixture) -> (GroupState, i32, Option<Str>, Vec<(Str, Bytes)>) {
    let group = fixture.group();
    let members = group.members.values().map(|member| (member.id.clone(), member.assignment.clone())).collect();
    (group.state, group.generation, group.leader.clone(), members)
}

#[test]
fn a_load_gives_the_stable_group_as_it_was() {
    let mut fixture = Fixture::new();
    let ids = fixture.stable(&[Join::new(), Join::new().instance("instance").rebalance_ms(70_000)]);
    fixture.commit_as(&Who::member(&ids[0], 1), "topic", 5).unwrap();
    let before = (seen(&fixture), fixture.groups.describe(GROUP).what, fixture.groups.stored().clone());
    fixture.restart();
    assert_eq!((seen(&fixture), fixture.groups.describe(GROUP).what, fixture.groups.stored().clone()), before);
    let group = fixture.group();
    assert_eq!(group.static_member("instance"), Some(&ids[1]));
    assert_eq!(group.rebalance_timeout_ms(), 70_000);
    assert_eq!((group.protocol.as_deref(), group.is_subscribed("topic")), (Some("range"), true));
    for id in &ids {
        assert_eq!(fixture.heartbeat(id, 1), Ok(()));
    }
    assert_eq!(fixture.committed("topic").unwrap().offset, 5);
}

#[test]
fn after_a_load_members_have_one_session_to_show_themselves() {
    let mut fixture = Fixture::new();
    let ids = fixture.stable(&[Join::new(), Join::new()]);
    fixture.restart();
    fixture.advance(SESSION_MS as u64 - 1);
    assert_eq!(fixture.heartbeat(&ids[0], 1), Ok(()));
    fixture.advance(1);
    assert!(fixture.is_member(&ids[0]) && !fixture.is_member(&ids[1]));
    assert_eq!(fixture.state(), GroupState::PreparingRebalance);
}

#[test]
fn a_rebalance_that_was_under_way_is_not_stored() {
    let mut fixture = Fixture::new();
    let ids = fixture.stable(&[Join::new()]);
    fixture.join(&Join::new());
    fixture.restart();
    assert_eq!((fixture.state(), fixture.group().generation), (GroupState::Stable, 1));
    assert_eq!(fixture.heartbeat(&ids[0], 1), Ok(()));
}

#[test]
fn a_group_that_only_commits_is_loaded_without_a_protocol() {
    let mut fixture = Fixture::new();
    fixture.commit_simple("topic", 1).unwrap();
    fixture.restart();
    let group = fixture.group();
    assert_eq!((group.state, group.generation, &group.protocol_type), (GroupState::Empty, 0, &None));
}

#[test]
fn a_group_of_kafka_before_2_1_is_loaded() {
    // Version 0 has neither a rebalance timeout nor a state timestamp.
    let value = concat!(
        "0000",
        "0008636f6e73756d6572",
        "00000007",
        "000572616e6765",
        "00016d",
        "00000001", //
        "00016d",
        "000163",
        "00022f68",
        "00002710",
        "00000000",
        "00000000"
    );
    let mut fixture = Fixture::new();
    fixture.log.push(Record { key: from_hex("0002000567726f7570"), value: Some(from_hex(value)) });
    fixture.restart();
    let group = fixture.group();
    assert_eq!((group.state, group.generation, group.state_timestamp), (GroupState::Stable, 7, None));
    assert_eq!(group.members["m"].rebalance_timeout_ms, 10_000, "its session timeout");
    assert_eq!(fixture.heartbeat(&"m".into(), 7), Ok(()));
}

fn from_hex(hex: &str) -> Bytes {
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

#[test]
fn offsets_of_all_versions_are_read() {
    // version · offset · [leader epoch] · metadata · commit time · [expiry] · [tags: topic id]
    let cases = [
        ("0000 0000000000000005 00016d 0000000000000007", -1, None),
        ("0001 0000000000000005 00016d 0000000000000007 0000000000000009", -1, Some(9)),
        ("0001 0000000000000005 00016d 0000000000000007 ffffffffffffffff", -1, None),
        ("0002 0000000000000005 00016d 0000000000000007", -1, None),
        ("0003 0000000000000005 00000004 00016d 0000000000000007", 4, None),
        ("0004 0000000000000005 00000004 026d 0000000000000007 00", 4, None),
        ("0004 0000000000000005 00000004 026d 0000000000000007 01 00 10 00000000000000000000000000000001", 4, None),
    ];
    for kind in ["0000", "0001"] {
        for (value, leader_epoch, expire_timestamp) in cases {
            let mut fixture = Fixture::new();
            // type · "group" · "topic" · partition 0
            let key = from_hex(&format!("{kind}000567726f75700005746f70696300000000"));
            fixture.log.push(Record { key, value: Some(from_hex(&value.replace(' ', ""))) });
            fixture.restart();
            let expected = CommittedOffset {
                offset: 5,
                leader_epoch,
                metadata: "m".into(),
                commit_timestamp: 7,
                expire_timestamp,
                topic_id: if value.ends_with('1') { FIRST_ID } else { Uuid::nil() },
                unknown_tagged_fields: Vec::new(),
            };
            // Whatever is expired by now is so at the first check, not at the load.
            assert_eq!(fixture.committed("topic"), Some(&expected), "{value}");
        }
    }
}

#[test]
fn unknown_kinds_are_carried_beside_the_groups_and_newer_versions_are_refused() {
    let mut fixture = Fixture::new();
    fixture.commit_simple("topic", 1).unwrap();
    let before = fixture.groups.stored().clone();
    let mut replay =
        |key: &str, value: &str| fixture.groups.replay(&Record { key: from_hex(key), value: Some(from_hex(value)) });
    // Kafka's newer groups (types 3 to 17), and one that nobody has.
    for kind in (3..=17).chain([0x1234]) {
        assert_eq!(replay(&format!("{kind:04x}000567726f7570"), "0000"), Ok(()));
    }
    let newer = |outcome| matches!(outcome, Err(ReplayError::Newer { .. }));
    assert!(newer(replay("0001000567726f75700005746f70696300000000", "0009")));
    assert!(newer(replay("0002000567726f7570", "0009")));
    let malformed = |outcome| matches!(outcome, Err(ReplayError::Malformed { .. }));
    assert!(malformed(replay("0002000567726f7570", "000300")));
    assert!(malformed(replay("00", "0003")));
    let after = fixture.groups.stored();
    assert_eq!(after.groups().collect::<Vec<_>>(), before.groups().collect::<Vec<_>>());
    assert_eq!(after.record_count(), before.record_count() + 16);
}

#[test]
fn tombstones_of_what_is_not_there_change_nothing() {
    let mut fixture = Fixture::new();
    fixture.commit_simple("topic", 1).unwrap();
    let before = fixture.groups.stored().clone();
    let tombstones = [
        records::offset(&GROUP.into(), &"topic".into(), 1, None),
        records::offset(&GROUP.into(), &"other".into(), 0, None),
        records::offset(&"other".into(), &"topic".into(), 0, None),
        records::group(&GROUP.into(), None),
        records::group(&"other".into(), None),
    ];
    for tombstone in tombstones {
        fixture.groups.replay(&tombstone.unwrap()).unwrap();
        assert_eq!(*fixture.groups.stored(), before);
    }
}

/// One thing that happens to the groups.
#[derive(Clone, Debug)]
enum Event {
    Join { slot: usize, is_static: bool },
    Rejoin { slot: usize },
    Sync { slot: usize },
    Heartbeat { slot: usize },
    Leave { slot: usize },
    Commit { slot: usize, topic: usize, retention: bool },
    CommitSimple { topic: usize },
    DeleteOffsets { topic: usize },
    DeleteTopic { topic: usize },
    DeleteGroup,
    Advance { ms: u64 },
    Restart,
}

const TOPICS: [&str; 3] = ["topic", "other", "former"];
const SLOTS: usize = 4;

fn event() -> impl Strategy<Value = Event> {
    let (slot, topic) = (0..SLOTS, 0..TOPICS.len());
    prop_oneof![
        4 => (slot.clone(), any::<bool>()).prop_map(|(slot, is_static)| Event::Join { slot, is_static }),
        4 => slot.clone().prop_map(|slot| Event::Rejoin { slot }),
        6 => slot.clone().prop_map(|slot| Event::Sync { slot }),
        3 => slot.clone().prop_map(|slot| Event::Heartbeat { slot }),
        2 => slot.clone().prop_map(|slot| Event::Leave { slot }),
        4 => (slot, topic.clone(), any::<bool>())
            .prop_map(|(slot, topic, retention)| Event::Commit { slot, topic, retention }),
        2 => topic.clone().prop_map(|topic| Event::CommitSimple { topic }),
        1 => topic.clone().prop_map(|topic| Event::DeleteOffsets { topic }),
        1 => topic.prop_map(|topic| Event::DeleteTopic { topic }),
        1 => Just(Event::DeleteGroup),
        6 => prop_oneof![0..4_000_u64, 4_000..70_000_u64, Just(800_000)].prop_map(|ms| Event::Advance { ms }),
        1 => Just(Event::Restart),
    ]
}

/// Whether a timer that is set is for something that is still there.
fn has_owner(groups: &Groups, timer: &Timer) -> bool {
    match timer {
        Timer::Session { group, member } => {
            let group = groups.group(group);
            group.is_some_and(|group| group.members.contains_key(member) || group.pending.contains_key(member))
        }
        Timer::Join { group } => groups.group(group).is_some_and(|group| group.state == GroupState::PreparingRebalance),
        Timer::Sync { group } => groups
            .group(group)
            .is_some_and(|group| matches!(group.state, GroupState::CompletingRebalance | GroupState::Stable)),
        Timer::Retention => true,
    }
}

/// Clients that do one thing after another, and know of their ids what they were told.
struct Walk {
    fixture: Fixture,
    ids: [Option<Str>; SLOTS],
    joining: Vec<(usize, Waiting<JoinGroupResponse>)>,
}

impl Walk {
    fn new() -> Self {
        let config = GroupConfig {
            offsets_retention_ms: 100_000,
            offsets_retention_check_ms: 10_000,
            members_max: 3,
            ..GroupConfig::default()
        };
        Self { fixture: Fixture::with(config), ids: Default::default(), joining: Vec::new() }
    }

    fn step(&mut self, event: &Event) {
        let generation = self.fixture.groups.group(GROUP).map_or(0, |group| group.generation);
        let id = |slot: usize| self.ids[slot].clone().unwrap_or_else(|| "stranger".into());
        match *event {
            Event::Join { slot, is_static } => {
                let join = Join::new().version(if slot % 2 == 0 { 3 } else { 9 });
                let join = if is_static { join.instance(["a", "b", "c", "d"][slot]) } else { join };
                // One of them is in a hurry.
                let join = if slot == 3 { join.rebalance_ms(0) } else { join };
                let joining = self.fixture.join(&join);
                self.joining.push((slot, joining));
            }
            Event::Rejoin { slot } => {
                let join = Join::new().member(&id(slot)).subscribed(&TOPICS[..1 + slot % 2]);
                let joining = self.fixture.join(&join);
                self.joining.push((slot, joining));
            }
            Event::Sync { slot } => {
                let member = id(slot);
                self.fixture.sync(&member, generation, &[(&member, "all")]);
            }
            Event::Heartbeat { slot } => drop(self.fixture.heartbeat(&id(slot), generation)),
            Event::Leave { slot } => drop(self.fixture.leave(&[(&id(slot), None)])),
            Event::Commit { slot, topic, retention } => {
                let who = id(slot);
                let offsets = [new_offset(TOPICS[topic], slot as i32, i64::from(generation))];
                let retention_ms = retention.then_some(20_000);
                drop(self.fixture.commit_all(&Who::member(&who, generation), retention_ms, &offsets));
            }
            Event::CommitSimple { topic } => drop(self.fixture.commit_simple(TOPICS[topic], 1)),
            Event::DeleteOffsets { topic } => {
                let asked = [(Str::from(TOPICS[topic]), 0), (Str::from(TOPICS[topic]), 1)];
                drop(self.fixture.decide(|groups, out| groups.delete_offsets(&GROUP.into(), &asked, out)));
            }
            Event::DeleteTopic { topic } => {
                let deleted = HashMap::from_iter([(Str::from(TOPICS[topic]), FIRST_ID)]);
                self.fixture.decide(|groups, out| groups.topics_deleted(&deleted, None, out));
            }
            Event::DeleteGroup => drop(self.fixture.decide(|groups, out| groups.delete(&GROUP.into(), out))),
            Event::Advance { ms } => self.fixture.advance(ms),
            Event::Restart => self.fixture.restart(),
        }
        let ids = &mut self.ids;
        self.joining.retain_mut(|(slot, joining)| match joining.0.try_recv() {
            Ok(answer) => {
                if !answer.member_id.is_empty() {
                    ids[*slot] = Some(answer.member_id);
                }
                false
            }
            Err(oneshot::error::TryRecvError::Empty) => true,
            Err(oneshot::error::TryRecvError::Closed) => false,
        });
    }

    /// What must hold at any time.
    fn check(&self) -> Result<(), TestCaseError> {
        let fixture = &self.fixture;
        prop_assert_eq!(&fixture.replayed(), fixture.groups.stored());
        let waiting = fixture.waiting.iter().flat_map(|(records, _)| records);
        let waiting: BTreeSet<Str> = waiting.filter_map(group_of).map(|(group, _)| group).collect();
        prop_assert_eq!(fixture.groups.queued.by_group.keys().cloned().collect::<BTreeSet<_>>(), waiting);
        let records = snapshot(&fixture.groups, usize::MAX);
        prop_assert_eq!(&snapshot(&fixture.groups, 1), &records, "in pieces");
        prop_assert_eq!(&snapshot(&fixture.groups, 3), &records, "in pieces");
        prop_assert_eq!(records.len() as u64, fixture.groups.snapshot_records());
        let mut again = Stored::default();
        records.iter().for_each(|record| again.replay(record).unwrap());
        prop_assert_eq!(&again, fixture.groups.stored());
        // The newest record of each key, as log compaction keeps them, says the same.
        let newest: BTreeMap<&Bytes, &Record> = fixture.log.iter().map(|record| (&record.key, record)).collect();
        let live = newest.values().filter(|record| record.value.is_some()).count();
        prop_assert_eq!(live, records.len());
        for (id, _) in fixture.groups.stored().groups() {
            prop_assert!(fixture.groups.group(id).is_some(), "{} is stored and not there", id);
        }
        let timers = &fixture.groups.timers;
        prop_assert!(timers.iter().all(|timer| has_owner(&fixture.groups, timer)), "{:?}", timers);
        let Some(group) = fixture.groups.group(GROUP) else {
            prop_assert_eq!(fixture.memory.used(), 0);
            return Ok(());
        };
        let holds_nothing = group.members.is_empty() && group.pending.is_empty() && group.is_new.is_none();
        prop_assert_eq!(fixture.memory.used() == 0, holds_nothing);
        let is_set = |id: &Str| timers.iter().any(|timer| *timer == group.session(id));
        prop_assert!(group.members.values().all(|member| member.is_excused() || is_set(&member.id)));
        prop_assert!(group.pending.keys().all(is_set));
        prop_assert_eq!(group.awaiting_join(), group.members.values().filter(|m| m.joining.is_some()).count());
        let waits_for_joins = Timer::Join { group: group.id.clone() };
        prop_assert_eq!(
            group.state == GroupState::Empty,
            group.members.is_empty() && !timers.iter().any(|timer| *timer == waits_for_joins)
        );
        prop_assert_eq!(group.leader.is_some(), !group.members.is_empty());
        prop_assert!(group.leader.iter().all(|leader| group.members.contains_key(leader)));
        prop_assert!(group.pending_sync.iter().all(|id| group.members.contains_key(id)));
        prop_assert!(group.state == GroupState::PreparingRebalance || group.awaiting_join() == 0);
        let syncing = group.members.values().any(|member| member.syncing.is_some());
        prop_assert!(group.state == GroupState::CompletingRebalance || !syncing);
        for member in group.members.values().filter(|member| member.is_static()) {
            prop_assert_eq!(group.static_member(member.instance_id.as_deref().unwrap()), Some(&member.id));
        }
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn the_log_says_everything_that_is_stored(events in prop::collection::vec(event(), 1..60)) {
        let mut walk = Walk::new();
        for event in &events {
            walk.step(event);
            walk.check()?;
        }
        walk.fixture.restart();
        walk.check()?;
        // Whoever is left is gone one session later, and everything that is stored in the end.
        walk.fixture.advance(1_000_000);
        walk.check()?;
        prop_assert!(walk.fixture.groups.group(GROUP).is_none());
        prop_assert_eq!(walk.fixture.groups.stored(), &Stored::default());
    }
}

/// Shards of groups on a disk in memory.
fn shards(logs: &Arc<MemoryLogs>) -> Shards<Groups> {
    shards_of(logs, &Arc::default())
}

fn shards_of(logs: &Arc<MemoryLogs>, topics: &Arc<Topics>) -> Shards<Groups> {
    let time = base::clock::ManualTime::starting_at(WALL_MS);
    let (config, topics) = (Arc::new(GroupConfig::default()), topics.clone());
    let make = move |_| machine(&config, &entropy(), &topics, &GroupsMemory::default());
    Shards::new(logs.clone(), base::Clock::from_source(time), make)
}

fn commit(groups: &mut Groups, topic: &str, offset: i64, out: &mut Out<'_>) {
    commit_one(groups, &new_offset(topic, 0, offset), out);
}

fn commit_one(groups: &mut Groups, offset: &NewOffset, out: &mut Out<'_>) {
    let (group, member) = (Str::from(GROUP), Str::default());
    let committer = Committer { version: 8, group: &group, generation: -1, member: &member, instance: None };
    let encoded = offset.encode(&group, out.now.wall, None, &GroupConfig::default());
    groups.commit(&committer, vec![encoded], out).unwrap()[0].unwrap();
}

/// The deletion of a topic is met by the commits that were on their way: those into the topic itself go with it, and those
/// into a new topic of the same name stay.
#[tokio::test]
async fn a_deletion_meets_the_commits_that_are_on_their_way() {
    for (before, on_its_way, left) in [
        (Some(FIRST_ID), Some(SECOND_ID), Some(SECOND_ID)),
        (None, Some(FIRST_ID), None),
        (Some(FIRST_ID), None, None),
        (Some(SECOND_ID), None, Some(SECOND_ID)),
    ] {
        let logs = Arc::new(MemoryLogs::default());
        let disk = logs.disk(0);
        let topics = Arc::<Topics>::default();
        let shard = shards_of(&logs, &topics).get(0).await.unwrap();
        let new_offset = |topic_id| {
            topics.recreate("topic", topic_id);
            NewOffset { topic_id, ..new_offset("topic", 0, 7) }
        };
        if let Some(topic_id) = before {
            shard.write(|groups, out| commit_one(groups, &new_offset(topic_id), out)).await.unwrap();
        }
        disk.hold();
        let committing = async {
            if let Some(topic_id) = on_its_way {
                shard.write(|groups, out| commit_one(groups, &new_offset(topic_id), out)).await.unwrap();
            }
        };
        let deleted = HashMap::from_iter([(Str::from("topic"), FIRST_ID)]);
        let deleting = shard.write(|groups, out| groups.topics_deleted(&deleted, None, out));
        let releasing = async {
            tokio::task::yield_now().await;
            disk.release();
        };
        let ((), deletion, ()) = tokio::join!(committing, deleting, releasing);
        assert_eq!(deletion, Ok(None));
        let offset = |groups: &Groups| groups.committed(GROUP).map(|offsets| offsets["topic"][&0].topic_id);
        assert_eq!(shard.read(offset).await, Ok(left), "{before:?}, then {on_its_way:?}");
        let again = shards_of(&logs, &topics).get(0).await.unwrap();
        assert_eq!(again.read(offset).await, Ok(left));
    }
}

#[tokio::test]
async fn what_is_deleted_includes_what_is_being_committed() {
    for whole_group in [false, true] {
        let logs = Arc::new(MemoryLogs::default());
        let disk = logs.disk(0);
        let shards = shards(&logs);
        let shard = shards.get(0).await.unwrap();
        shard.write(|groups, out| commit(groups, "before", 1, out)).await.unwrap();
        disk.hold();
        let committing = shard.write(|groups, out| commit(groups, "topic", 1, out));
        let deleting = shard.write(|groups, out| {
            if whole_group {
                groups.delete(&GROUP.into(), out).unwrap();
            } else {
                let asked = ["before", "topic"].map(|topic| (Str::from(topic), 0));
                assert_eq!(groups.delete_offsets(&GROUP.into(), &asked, out), Ok(vec![Ok(()), Ok(())]));
            }
        });
        let releasing = async {
            tokio::task::yield_now().await;
            disk.release();
        };
        let (committed, deleted, ()) = tokio::join!(committing, deleting, releasing);
        assert_eq!((committed, deleted), (Ok(()), Ok(())));
        assert_eq!(shard.read(|groups| groups.stored().clone()).await, Ok(Stored::default()));
    }
}

#[tokio::test]
async fn a_group_whose_first_commit_is_on_its_way_is_not_forgotten() {
    let logs = Arc::new(MemoryLogs::default());
    let disk = logs.disk(0);
    let shards = shards(&logs);
    let shard = shards.get(0).await.unwrap();
    disk.hold();
    let committing = shard.write(|groups, out| commit(groups, "topic", 1, out));
    let refusing = shard.write(|groups, out| {
        let refused = Join::new().protocols(&[]);
        drop(groups.join(&refused.client(), &refused.request(), out));
        groups.group(GROUP).is_some()
    });
    let releasing = async {
        tokio::task::yield_now().await;
        disk.release();
    };
    let (committed, kept, ()) = tokio::join!(committing, refusing, releasing);
    assert_eq!((committed, kept), (Ok(()), Ok(true)));
    assert_eq!(shard.read(|groups| groups.group(GROUP).is_some()).await, Ok(true));
}

#[tokio::test]
async fn groups_outlive_a_snapshot_and_a_restart() {
    let logs = Arc::new(MemoryLogs::default());
    let disk = logs.disk(0);
    let before = shards(&logs);
    let shard = before.get(0).await.unwrap();
    shard
        .write(|groups, out| {
            (0..SNAPSHOT_RECORDS_MIN as i64).for_each(|offset| commit(groups, "topic", offset, out));
        })
        .await
        .unwrap();
    shard.write(|groups, out| commit(groups, "other", 1, out)).await.unwrap();
    while disk.start() == 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(disk.start(), SNAPSHOT_RECORDS_MIN);
    let state = shard.read(|groups| groups.stored().clone()).await.unwrap();
    let after = shards(&logs).get(0).await.unwrap();
    assert_eq!(after.read(|groups| groups.stored().clone()).await, Ok(state));
}
