//! [`ProduceView`]: a Produce request as the hot path wants it.
//!
//! The generated `ProduceRequest` allocates a vector for every topic, counts a reference for every partition and holds
//! places for tagged fields in every struct. The view lays the whole request out flat: two vectors in all, none for the
//! common request of one topic, and records as places in the frame until somebody wants them. It accepts what the generated
//! code accepts, in every version, and says the same about it, unless the answer to so many empty partitions would take too
//! much memory.

use std::ops::Range;

use base::Uuid;
use bytes::Bytes;
use smallvec::SmallVec;

use crate::messages::produce_request::{PartitionProduceData, ProduceRequest, TopicProduceData};
use crate::{Codec, DecodeError, Message, Reader, Str};

/// What a partition of a request takes until it is answered: its place in the view, in the answer, and the reason of an
/// error, up to 450 bytes by measure. At eight times their bytes the smallest batch (68) and what stands around it (8)
/// allow for more. Where the oldest clients send single messages of 26 bytes, more than 17,000 partitions of one request
/// come to more than [`crate::decoded_bytes_max`]; no such client has so many.
const PART_BYTES: usize = 512;

/// What a topic with its first partition takes, or one without any: up to 530 bytes by measure. The smallest batch to a
/// topic of one letter, 83 bytes, allows for more.
const TOPIC_BYTES: usize = PART_BYTES + 64;

/// Topics and partitions of a request whatever their size.
const PARTS_UNCHARGED: usize = 16;

/// Versions from this one on name topics by id.
const TOPIC_IDS_FROM: i16 = 13;

/// One partition's share of the request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProducePartition {
    /// The partition's number.
    pub index: i32,
    /// Where the record batches lie, `None` if the client sent null.
    records: Option<Range<usize>>,
}

/// One topic of the request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProduceTopic {
    /// The topic's name; empty from version 13 on.
    pub name: Str,
    /// The topic's id; nil before version 13.
    pub topic_id: Uuid,
    partitions: Range<usize>,
}

/// A whole Produce request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProduceView {
    /// The transaction's name, if the records belong to one (version 3 on).
    pub transactional_id: Option<Str>,
    /// 0: no answer; 1 and -1: an answer once the records are safe.
    pub acks: i16,
    /// How long the client waits, in milliseconds.
    pub timeout_ms: i32,
    topics: SmallVec<[ProduceTopic; 1]>,
    partitions: SmallVec<[ProducePartition; 2]>,
    memory_bytes: usize,
    frame: Bytes,
}

impl ProduceView {
    /// Reads a request's body.
    pub fn decode(reader: &mut Reader, version: i16) -> Result<Self, DecodeError> {
        if !ProduceRequest::VERSIONS.contains(&version) {
            return Err(DecodeError::UnsupportedVersion { message: ProduceRequest::NAME, version: version.into() });
        }
        let flexible = ProduceRequest::is_flexible(version);
        let transactional_id = match version {
            3.. => reader.nullable_string(flexible, "ProduceRequest.transactional_id")?,
            _ => None,
        };
        let acks = reader.i16()?;
        let timeout_ms = reader.i32()?;
        let field = "ProduceRequest.topic_data";
        let count = reader
            .array_length(flexible, TopicProduceData::BYTES_MIN, field)?
            .ok_or(DecodeError::UnexpectedNull { field })?;
        let (mut topics, mut partitions) = (SmallVec::new(), SmallVec::new());
        for _ in 0..count {
            let read = topic(reader, version, flexible, topics.len(), &mut partitions)?;
            topics.push(read);
        }
        if flexible {
            reader.skip_tags()?;
        }
        let (memory_bytes, frame) = (reader.decoded_bytes(), reader.buffer().clone());
        Ok(Self { transactional_id, acks, timeout_ms, topics, partitions, memory_bytes, frame })
    }

    /// Memory that the request takes besides its frame until it is answered, at most.
    pub fn memory_bytes(&self) -> usize {
        self.memory_bytes
    }

    /// The topics in the order of the request.
    pub fn topics(&self) -> &[ProduceTopic] {
        &self.topics
    }

    /// The partitions of one of [`Self::topics`].
    pub fn partitions_of(&self, topic: &ProduceTopic) -> &[ProducePartition] {
        self.partitions.get(topic.partitions.clone()).unwrap_or_default()
    }

    /// The record batches of one of [`Self::partitions_of`] as they came, `None` if the client sent null.
    pub fn records_of(&self, partition: &ProducePartition) -> Option<Bytes> {
        partition.records.clone().map(|range| self.frame.slice(range))
    }
}

/// Accounts for what follows on so many topics and partitions.
fn charge(reader: &mut Reader, before: usize, bytes: usize, field: &'static str) -> Result<(), DecodeError> {
    if before < PARTS_UNCHARGED { Ok(()) } else { reader.charge(bytes, field) }
}

/// Reads a topic that follows on `before` others.
fn topic(
    reader: &mut Reader,
    version: i16,
    flexible: bool,
    before: usize,
    partitions: &mut SmallVec<[ProducePartition; 2]>,
) -> Result<ProduceTopic, DecodeError> {
    charge(reader, before + partitions.len(), TOPIC_BYTES, "ProduceRequest.topic_data")?;
    let (name, topic_id) = if version >= TOPIC_IDS_FROM {
        (Str::default(), reader.uuid()?)
    } else {
        (reader.string(flexible, "TopicProduceData.name")?, Uuid::nil())
    };
    let field = "TopicProduceData.partition_data";
    let count = reader
        .array_length(flexible, PartitionProduceData::BYTES_MIN, field)?
        .ok_or(DecodeError::UnexpectedNull { field })?;
    let first = partitions.len();
    for at in 0..count {
        if at > 0 {
            charge(reader, before + 1 + partitions.len(), PART_BYTES, field)?;
        }
        let index = reader.i32()?;
        let records = reader.nullable_bytes_range(flexible, "PartitionProduceData.records")?;
        if flexible {
            reader.skip_tags()?;
        }
        partitions.push(ProducePartition { index, records });
    }
    if flexible {
        reader.skip_tags()?;
    }
    Ok(ProduceTopic { name, topic_id, partitions: first..partitions.len() })
}
