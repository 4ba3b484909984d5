//! An administrator: makes topics, deletes them, trims them, and asks what there is.

use std::sync::Arc;

use base::Uuid;
use judge::{GroupName, Outcome, What};
use wire::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use wire::messages::delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic};
use wire::messages::delete_topics_request::DeleteTopicState;
use wire::messages::{CreateTopicsRequest, DeleteRecordsRequest, DeleteTopicsRequest, DescribeGroupsRequest};
use wire::{ApiKey, ErrorCode};

use super::connection::{CallError, Called};
use super::coordinator::Coordinator;
use super::metadata::Topic;
use super::{Cluster, Place, committed, metadata, offsets};
use crate::deeds::Deed;

/// An administrator.
#[derive(Debug)]
pub struct Admin {
    cluster: Arc<Cluster>,
}

impl Admin {
    /// An administrator who speaks as this client.
    pub fn new(cluster: Arc<Cluster>) -> Self {
        Self { cluster }
    }

    fn timeout_ms(&self) -> i32 {
        self.cluster.settings.request_time_max.as_millis() as i32
    }

    /// Makes a topic, or finds that there is one, however long that takes.
    pub async fn create(&self, name: &Arc<str>, partitions: i32, configs: &[(&str, &str)]) -> Topic {
        let config = |(name, value): &(&str, &str)| CreatableTopicConfig {
            name: (*name).into(),
            value: Some((*value).into()),
            ..CreatableTopicConfig::default()
        };
        let topic = CreatableTopic {
            name: (&**name).into(),
            num_partitions: partitions,
            replication_factor: 1,
            configs: configs.iter().map(config).collect(),
            ..CreatableTopic::default()
        };
        let request = CreateTopicsRequest { topics: vec![topic], timeout_ms: self.timeout_ms(), ..Default::default() };
        let mut attempts = 0;
        loop {
            let answer = async { self.cluster.any().await?.call(&request).await }.await;
            match answer {
                Err(error) => self.cluster.life.note(format_args!("create {name}: {error}")),
                Ok(answer) => {
                    let code = answer.topics.first().map_or(-1, |topic| topic.error_code);
                    self.cluster.life.note(format_args!("create {name}: {}", ErrorCode::from_code(code).name()));
                }
            }
            // Whatever was said: the topic is there when metadata says so.
            for _ in 0..3 {
                if self.cluster.refresh(std::slice::from_ref(name)).await.is_ok()
                    && let Some(topic) = self.cluster.topic(name)
                {
                    return topic;
                }
                attempts += 1;
                self.cluster.back_off(attempts).await;
            }
        }
    }

    /// Deletes a topic, once: what became of it is in the history. `true` when it is certainly deleted.
    pub async fn delete(&self, name: &Arc<str>, id: Uuid) -> bool {
        let topic: Arc<str> = id.to_string().into();
        let Ok(connection) = self.cluster.any().await else { return false };
        if connection.version(ApiKey::DeleteTopics) < Some(6) {
            // By its name another one might go.
            return false;
        }
        let state = DeleteTopicState { topic_id: id, ..DeleteTopicState::default() };
        let request = DeleteTopicsRequest { topics: vec![state], timeout_ms: self.timeout_ms(), ..Default::default() };
        self.cluster.life.event(What::DeleteBegan { topic: topic.clone() });
        let outcome = match connection.call(&request).await {
            Err(CallError::NotSent(why)) => Outcome::Failed(why),
            Err(CallError::Unknown(why)) => Outcome::Unknown(why),
            Ok(answer) => {
                let code = answer.responses.first().map_or(-1, |found| found.error_code);
                match ErrorCode::from_code(code) {
                    ErrorCode::None => Outcome::Done(()),
                    error => Outcome::Unknown(error.name().into()),
                }
            }
        };
        self.cluster.life.note(format_args!("delete {name} ({topic}): {outcome:?}"));
        let is_done = outcome == Outcome::Done(());
        if is_done {
            self.cluster.life.did(Deed::TopicDeleted);
        }
        self.cluster.life.event(What::DeleteEnded { topic, outcome });
        is_done
    }

    /// Deletes the records before an offset, once.
    pub async fn trim(&self, place: &Place, before: i64) {
        let Some((leader, _)) = self.cluster.leader(place) else { return };
        let Ok(connection) = self.cluster.connection(leader).await else { return };
        // The request can only name a topic: whose name is another's by now is left alone, and the history says when that
        // was not certain.
        if metadata::topic_id(&connection, &place.name).await.ok().flatten() != Some(place.topic) {
            return;
        }
        let partition =
            DeleteRecordsPartition { partition_index: place.partition, offset: before, ..Default::default() };
        let topic =
            DeleteRecordsTopic { name: (&*place.name).into(), partitions: vec![partition], ..Default::default() };
        let request = DeleteRecordsRequest { topics: vec![topic], timeout_ms: self.timeout_ms(), ..Default::default() };
        self.cluster.life.event(What::TrimBegan { key: place.key(), before });
        let outcome = match offsets::about(&connection, place, connection.call(&request)).await {
            Err(CallError::NotSent(why) | CallError::Unknown(why)) => Outcome::Unknown(why),
            Ok((_, false)) => Outcome::Unknown("another topic has the name".into()),
            Ok((answer, true)) => {
                let found = answer.topics.first().and_then(|topic| topic.partitions.first());
                match found.map(|found| (ErrorCode::from_code(found.error_code), found.low_watermark)) {
                    None => Outcome::Unknown("the answer does not mention it".into()),
                    Some((ErrorCode::None, low_watermark)) => Outcome::Done(low_watermark),
                    // Found out before anything is written.
                    Some((error @ ErrorCode::OffsetOutOfRange, _)) => Outcome::Failed(error.name().into()),
                    Some((error, _)) => Outcome::Unknown(error.name().into()),
                }
            }
        };
        if let Outcome::Done(_) = outcome {
            self.cluster.life.did(Deed::Trim);
        }
        self.cluster.life.note(format_args!("trim {place} before {before}: {outcome:?}"));
        self.cluster.life.event(What::TrimEnded { key: place.key(), outcome });
    }

    /// Asks for an offset, once.
    ///
    /// # Errors
    /// Without an answer.
    pub async fn offset(&self, place: &Place, which: offsets::Which) -> Called<i64> {
        offsets::list(&self.cluster, place, which, 0).await
    }

    /// Asks what a group has committed, once.
    ///
    /// # Errors
    /// Without an answer.
    pub async fn committed(&self, group: &GroupName, places: &[Place]) -> Called<()> {
        let coordinator = Coordinator::new(self.cluster.clone(), group.clone());
        committed::fetch(&coordinator, group, places).await.map(drop)
    }

    /// The state of a group and how many members it has.
    ///
    /// # Errors
    /// Without an answer.
    pub async fn describe(&self, group: &GroupName) -> Called<(String, usize)> {
        let coordinator = Coordinator::new(self.cluster.clone(), group.clone());
        let request = DescribeGroupsRequest { groups: vec![(&**group).into()], ..DescribeGroupsRequest::default() };
        let answer = coordinator.find_once().await?.call(&request).await?;
        let found = answer.groups.first();
        Ok(found.map_or_else(Default::default, |group| (group.group_state.to_string(), group.members.len())))
    }

    /// Metadata of all topics.
    pub async fn topics(&self) -> std::collections::BTreeMap<Arc<str>, Topic> {
        self.cluster.all_topics().await
    }
}
