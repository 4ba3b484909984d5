//! Operations on topics.

use std::sync::Arc;

use wire::broker::{
    ConfigOfTopicToCreate, MetaCreatePartitionsRequest, MetaCreatePartitionsResponse, MetaCreateTopicsRequest,
    MetaCreateTopicsResponse, MetaDeleteTopicsRequest, MetaDeleteTopicsResponse, TopicCreated, TopicDeleted,
    TopicRefusal, TopicToCreate,
};

use super::refusals::{failure, meta_error};
use super::values::{Results, count, list, only, shared, signed_count, streams, streams_bits, text, unknown_kind};
use super::{Misfit, Request};
use crate::control::topics::{CreatePartitions, CreateTopics, CreatedTopic, DeleteTopics, NewTopic};
use crate::error::{
    CreatePartitionsError, CreateTopicError, DeleteTopicError, MetaError, NoBroker, TooManyPartitions, Unfit,
};
use crate::image::TopicImage;

/// Kinds of refusals of topics. Each operation has some of them.
const EXISTS: i8 = 0;
const COLLIDES: i8 = 1;
const UNKNOWN: i8 = 2;
const NO_PARTITIONS: i8 = 3;
const TOO_MANY_PARTITIONS: i8 = 4;
const NOT_MORE: i8 = 5;
const NO_BROKER: i8 = 6;
const META: i8 = 7;

fn of(kind: i8) -> TopicRefusal {
    TopicRefusal { kind, ..Default::default() }
}

fn too_many(TooManyPartitions { wanted, limit }: TooManyPartitions) -> Result<TopicRefusal, Misfit> {
    let (wanted, limit) = (signed_count(wanted, "wanted")?, signed_count(limit, "limit")?);
    Ok(TopicRefusal { wanted, limit, ..of(TOO_MANY_PARTITIONS) })
}

fn too_many_told(r: &TopicRefusal) -> Result<TooManyPartitions, Misfit> {
    Ok(TooManyPartitions { wanted: count(r.wanted, "wanted")?, limit: count(r.limit, "limit")? })
}

fn of_meta(error: &MetaError) -> Result<TopicRefusal, Misfit> {
    Ok(TopicRefusal { meta: vec![failure(error)?], ..of(META) })
}

fn meta_told(r: TopicRefusal) -> Result<MetaError, Misfit> {
    meta_error(&only(r.meta, "failures")?)
}

/// Of operations whose only such cause that is.
fn unfit_told(r: TopicRefusal) -> Result<Unfit, Misfit> {
    match meta_told(r)? {
        MetaError::Unfit(unfit) => Ok(unfit),
        MetaError::Fenced(_)
        | MetaError::OutcomeUnknown(_)
        | MetaError::Unreadable(_)
        | MetaError::Closed
        | MetaError::GivenUp(_)
        | MetaError::TooLarge { .. } => Err(unknown_kind("kind of refusal of a topic", META)),
    }
}

fn not_created(error: &CreateTopicError) -> Result<TopicRefusal, Misfit> {
    Ok(match error {
        CreateTopicError::Exists(name) => TopicRefusal { name: text(name), ..of(EXISTS) },
        CreateTopicError::Collides { name, other } => {
            TopicRefusal { name: text(name), other: text(other), ..of(COLLIDES) }
        }
        CreateTopicError::NoPartitions => of(NO_PARTITIONS),
        CreateTopicError::TooManyPartitions(many) => too_many(*many)?,
        CreateTopicError::NoBroker(NoBroker) => of(NO_BROKER),
        CreateTopicError::Unfit(unfit) => of_meta(&unfit.clone().into())?,
    })
}

fn not_created_told(r: TopicRefusal) -> Result<CreateTopicError, Misfit> {
    Ok(match r.kind {
        EXISTS => CreateTopicError::Exists(r.name.into()),
        COLLIDES => CreateTopicError::Collides { name: r.name.into(), other: r.other.into() },
        NO_PARTITIONS => CreateTopicError::NoPartitions,
        TOO_MANY_PARTITIONS => too_many_told(&r)?.into(),
        NO_BROKER => NoBroker.into(),
        META => unfit_told(r)?.into(),
        kind => return Err(unknown_kind("kind of refusal of a topic", kind)),
    })
}

fn not_deleted(error: &DeleteTopicError) -> Result<TopicRefusal, Misfit> {
    Ok(match error {
        DeleteTopicError::Unknown(id) => TopicRefusal { topic_id: *id, ..of(UNKNOWN) },
        DeleteTopicError::Unfit(unfit) => of_meta(&unfit.clone().into())?,
    })
}

fn not_deleted_told(r: TopicRefusal) -> Result<DeleteTopicError, Misfit> {
    Ok(match r.kind {
        UNKNOWN => DeleteTopicError::Unknown(r.topic_id),
        META => unfit_told(r)?.into(),
        kind => return Err(unknown_kind("kind of refusal of a topic", kind)),
    })
}

fn not_grown(error: &CreatePartitionsError) -> Result<TopicRefusal, Misfit> {
    Ok(match error {
        CreatePartitionsError::Unknown(id) => TopicRefusal { topic_id: *id, ..of(UNKNOWN) },
        CreatePartitionsError::NotMore { present, wanted } => TopicRefusal {
            present: signed_count(*present, "present")?,
            wanted: signed_count(*wanted, "wanted")?,
            ..of(NOT_MORE)
        },
        CreatePartitionsError::TooManyPartitions(many) => too_many(*many)?,
        CreatePartitionsError::NoBroker(NoBroker) => of(NO_BROKER),
        CreatePartitionsError::Meta(error) => of_meta(error)?,
    })
}

fn not_grown_told(r: TopicRefusal) -> Result<CreatePartitionsError, Misfit> {
    Ok(match r.kind {
        UNKNOWN => CreatePartitionsError::Unknown(r.topic_id),
        NOT_MORE => {
            CreatePartitionsError::NotMore { present: count(r.present, "present")?, wanted: count(r.wanted, "wanted")? }
        }
        TOO_MANY_PARTITIONS => too_many_told(&r)?.into(),
        NO_BROKER => NoBroker.into(),
        META => meta_told(r)?.into(),
        kind => return Err(unknown_kind("kind of refusal of a topic", kind)),
    })
}

impl Request for CreateTopics {
    type Message = MetaCreateTopicsRequest;

    fn to_request(&self) -> Result<Self::Message, Misfit> {
        let setting = |(key, value): &(String, String)| ConfigOfTopicToCreate { key: key.into(), value: value.into() };
        let topics = self.topics.iter().map(|(id, topic)| {
            Ok(TopicToCreate {
                topic_id: *id,
                name: (&topic.name).into(),
                partitions: signed_count(topic.partitions, "partitions")?,
                configs: topic.configs.iter().map(setting).collect(),
            })
        });
        Ok(MetaCreateTopicsRequest { topics: list(topics)?, validate_only: self.validate_only })
    }

    fn from_request(request: Self::Message) -> Result<Self, Misfit> {
        let topics = request.topics.into_iter().map(|topic| {
            let new = NewTopic {
                name: topic.name.into(),
                partitions: count(topic.partitions, "partitions")?,
                configs: topic.configs.into_iter().map(|c| (c.key.into(), c.value.into())).collect(),
            };
            Ok((topic.topic_id, new))
        });
        Ok(Self { topics: list(topics)?, validate_only: request.validate_only })
    }

    fn to_response(answer: Self::Answer) -> Result<MetaCreateTopicsResponse, Misfit> {
        let created = |topic: CreatedTopic| TopicCreated {
            topic_id: topic.id,
            stream_ids: streams_bits(&topic.partitions),
            ..Default::default()
        };
        let Results { successes, values, refusals } = Results::of(answer, created, |why| not_created(&why))?;
        Ok(MetaCreateTopicsResponse { created: successes, topics: values, refusals, ..Default::default() })
    }

    fn from_response(response: MetaCreateTopicsResponse) -> Result<Self::Answer, Misfit> {
        let MetaCreateTopicsResponse { created: successes, topics: values, refusals, .. } = response;
        let created = |t: TopicCreated| CreatedTopic { id: t.topic_id, partitions: streams(t.stream_ids) };
        Results { successes, values, refusals }.join(created, not_created_told)
    }
}

impl Request for DeleteTopics {
    type Message = MetaDeleteTopicsRequest;

    fn to_request(&self) -> Result<Self::Message, Misfit> {
        Ok(MetaDeleteTopicsRequest { topic_ids: self.ids.clone() })
    }

    fn from_request(request: Self::Message) -> Result<Self, Misfit> {
        Ok(Self { ids: request.topic_ids })
    }

    fn to_response(answer: Self::Answer) -> Result<MetaDeleteTopicsResponse, Misfit> {
        let deleted = |topic: Arc<TopicImage>| TopicDeleted {
            topic_id: topic.id,
            name: text(&topic.name),
            stream_ids: streams_bits(&topic.partitions),
            ..Default::default()
        };
        let Results { successes, values, refusals } = Results::of(answer, deleted, |why| not_deleted(&why))?;
        Ok(MetaDeleteTopicsResponse { deleted: successes, topics: values, refusals, ..Default::default() })
    }

    fn from_response(response: MetaDeleteTopicsResponse) -> Result<Self::Answer, Misfit> {
        let MetaDeleteTopicsResponse { deleted: successes, topics: values, refusals, .. } = response;
        let deleted = |topic: TopicDeleted| {
            let (id, name, partitions) = (topic.topic_id, shared(&topic.name), streams(topic.stream_ids));
            Arc::new(TopicImage { id, name, partitions })
        };
        Results { successes, values, refusals }.join(deleted, not_deleted_told)
    }
}

impl Request for CreatePartitions {
    type Message = MetaCreatePartitionsRequest;

    fn to_request(&self) -> Result<Self::Message, Misfit> {
        let Self { topic, total, validate_only } = *self;
        Ok(MetaCreatePartitionsRequest { topic_id: topic, total: signed_count(total, "total")?, validate_only })
    }

    fn from_request(request: Self::Message) -> Result<Self, Misfit> {
        let MetaCreatePartitionsRequest { topic_id, total, validate_only } = request;
        Ok(Self { topic: topic_id, total: count(total, "total")?, validate_only })
    }

    fn to_response(answer: Self::Answer) -> Result<MetaCreatePartitionsResponse, Misfit> {
        Ok(match answer {
            Ok(new) => MetaCreatePartitionsResponse { stream_ids: streams_bits(&new), ..Default::default() },
            Err(why) => MetaCreatePartitionsResponse { refusal: Some(not_grown(&why)?), ..Default::default() },
        })
    }

    fn from_response(response: MetaCreatePartitionsResponse) -> Result<Self::Answer, Misfit> {
        match response.refusal {
            None => Ok(Ok(streams(response.stream_ids))),
            Some(refusal) => not_grown_told(refusal).map(Err),
        }
    }
}
