//! What is asked of brokers once nothing disturbs anybody any more, and within which time.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Result, bail};
use futures::future::{BoxFuture, join_all};
use judge::{Start, What};

use super::admin::Admin;
use super::consumer::{Consumer, ConsumerSettings};
use super::member::MemberSettings;
use super::offsets::Which;
use super::workload::reading;
use super::{Cluster, Place, Settings, Workload, afterwards, final_member, final_reader};
use crate::dice::Dice;

/// Ordinary consumers that read once all is quiet.
const LATE_READERS: usize = 3;
/// After this time brokers know what there is to know (the judge's `Fetches::CurrentAfterHealed`), and a bit.
const CURRENT_AFTER: Duration = Duration::from_millis(10_500);
/// Bytes of a partition in an answer to whoever reads everything.
const WHOLE_READ_BYTES_MIN: i32 = 32 << 10;
/// What a consumer may take that has to begin late.
const LATE_READ_TIME: Duration = Duration::from_secs(8);

impl Workload {
    /// Nothing disturbs anybody any more, and by that time of the run everything is done that is asked of brokers: topics
    /// that are missing are made, every partition takes one more record and is read wholly, a member of every group joins,
    /// reads and commits, and ordinary consumers read on, one of them with ids of topics that are deleted.
    ///
    /// # Errors
    /// Says what was not done in time.
    pub async fn heal_and_read(&self, by: Duration) -> Result<()> {
        self.own.note("all is healed");
        self.own.event(What::Healed);
        let dice = self.around.dice.branch("final");
        let asking = self.cluster(self.around.recorder.life("final"), &dice, Settings::default().going_round());
        let looking = async {
            self.make_missing(&Admin::new(asking.clone()), &asking, &dice).await;
            asking.all_topics().await
        };
        let left = || by.saturating_sub(self.own.now());
        let Ok(topics) = tokio::time::timeout(left(), looking).await else {
            bail!("{by:?} after the beginning not all topics were made, or no broker said which there are");
        };
        let mut doing: Vec<BoxFuture<'_, Result<()>>> = Vec::new();
        for (name, topic) in &topics {
            for place in topic.places(name) {
                let who = format!("final-{place}");
                let dice = dice.branch(&who);
                let cluster = self.cluster(self.around.recorder.life(&who), &dice, Settings::default().going_round());
                doing.push(Box::pin(async move {
                    let read = final_reader::read_whole(&cluster, &place, whole_reading(&dice), left()).await;
                    cluster.life.note(format_args!("{place}: {read:?}"));
                    read.map(drop)
                }));
            }
        }
        for number in 0..self.options.groups {
            let (group, topics) = self.group(number);
            let who = format!("final-{group}");
            let dice = dice.branch(&who);
            let is_old = topics.len() == self.lasting.len() && dice.chance(0.25);
            let settings = if is_old { Settings::old() } else { Settings::default() }.going_round();
            let cluster = self.cluster(self.around.recorder.life(&who), &dice, settings);
            let (reading, assignments) = (whole_reading(&dice), self.assignments.clone());
            let settings = MemberSettings { reading, assignments, ..MemberSettings::new(&group, topics) };
            doing.push(Box::pin(async move {
                let read = final_member::read_and_commit(&cluster, settings, left()).await;
                cluster.life.note(format_args!("{group}: {read:?}"));
                read
            }));
        }
        for number in 0..LATE_READERS {
            let dice = dice.branch(&format!("late {number}"));
            doing.push(Box::pin(async move { self.read_late(number, &dice, by).await }));
        }
        let failed: Vec<String> =
            join_all(doing).await.into_iter().filter_map(|done| Some(format!("{:#}", done.err()?))).collect();
        let gone = afterwards::what_is_gone(&self.around.recorder.history().0);
        let life = self.around.recorder.life("afterwards");
        let asks = self.cluster(life, &dice.branch("afterwards"), Settings::default().going_round());
        afterwards::ask(&asks, &gone).await;
        if failed.is_empty() { Ok(()) } else { bail!("{}", failed.join("\n")) }
    }

    /// An ordinary consumer reads everything that stays, in sessions if it likes. The first one does so late, and asks for
    /// topics that are deleted: it learned of them once, and nobody has told it since.
    async fn read_late(&self, number: usize, dice: &Dice, by: Duration) -> Result<()> {
        let life = self.around.recorder.life(&format!("late-{number}"));
        let cluster = self.cluster(life, dice, Settings::default().going_round());
        if number == 0 {
            let latest = by.saturating_sub(LATE_READ_TIME);
            let begins = (cluster.life.now() + CURRENT_AFTER).min(latest);
            tokio::time::sleep(begins.saturating_sub(cluster.life.now())).await;
        }
        let deleted: Vec<Place> = if number == 0 { self.remember_deleted(&cluster) } else { Vec::new() };
        let limit = by.saturating_sub(cluster.life.now());
        let reading = async {
            cluster.refresh_surely(&self.lasting).await;
            let settings = ConsumerSettings { with_sessions: dice.chance(0.8), ..whole_reading(dice) };
            let mut consumer = Consumer::new(cluster.clone(), settings);
            let (mut starts, mut ends) = (BTreeMap::new(), BTreeMap::new());
            for name in &self.lasting {
                let Some(topic) = cluster.topic(name) else { bail!("{name} is gone") };
                for place in topic.places(name) {
                    let (Some(earliest), Some(latest)) =
                        (consumer.offset(&place, Which::Earliest).await, consumer.offset(&place, Which::Latest).await)
                    else {
                        bail!("{place} ({}) is gone", place.topic);
                    };
                    starts.insert(place.clone(), Start::At(earliest));
                    ends.insert(place, latest);
                }
            }
            starts.extend(deleted.iter().map(|place| (place.clone(), Start::At(0))));
            consumer.assign(&starts, None);
            let is_behind = |consumer: &Consumer| {
                ends.iter().any(|(place, end)| consumer.positions()[place].offset < *end)
                    || deleted.iter().any(|place| !cluster.is_gone(place))
            };
            while is_behind(&consumer) {
                consumer.poll().await;
            }
            cluster.life.note(format_args!("has read all, and {} partitions are gone", deleted.len()));
            Ok(())
        };
        tokio::time::timeout(limit, reading).await.unwrap_or_else(|_| {
            let still: Vec<&Place> = deleted.iter().filter(|place| !cluster.is_gone(place)).collect();
            bail!("late-{number} was not served within {limit:?}; it has not heard that {still:?} are deleted")
        })
    }

    /// Lets a client know deleted topics as if they were there.
    fn remember_deleted(&self, cluster: &Cluster) -> Vec<Place> {
        let mut places = Vec::new();
        for (name, topic) in &*self.deleted.lock() {
            // Of those of one name, the last.
            places.retain(|place: &Place| place.name != *name);
            places.extend(topic.places(name));
            cluster.remember(name, topic.clone());
        }
        places
    }
}

/// How somebody reads who reads everything, in a limited time: not a KiB at once.
fn whole_reading(dice: &Dice) -> ConsumerSettings {
    let reading = reading(dice);
    let partition_bytes_max = reading.partition_bytes_max.max(WHOLE_READ_BYTES_MIN);
    ConsumerSettings { reset_to: Which::Earliest, partition_bytes_max, ..reading }
}
