//! [`FetchResponseWriter`]: writes a Fetch response as its partitions become known.
//!
//! No tree of topics and partitions is built, and a partition's records may lie in many buffers (log cache, block
//! cache): each is shared with the frame, none copied. The bytes are those that the generated `FetchResponse` gives for
//! the same content.
//!
//! ```text
//! begin ─► topic(1) ─► partition … partition ─► topic(2) ─► … ─► finish
//! ```
//! The counts given to `begin` and `topic` are promises; `finish` and `topic` report a broken one as an error.

use base::Uuid;
use bytes::Bytes;

use crate::codec::absent;
use crate::messages::fetch_response::{FetchResponse, NodeEndpoint, PartitionData};
use crate::{Codec, EncodeError, Message, TagSection, Writer};

/// Versions from this one on name topics by id.
const TOPIC_IDS_FROM: i16 = 13;

/// What stands before the topics.
#[derive(Clone, Copy, Debug, Default)]
pub struct FetchHead {
    /// How long the client was or will be held back, in milliseconds.
    pub throttle_time_ms: i32,
    /// An error of the whole request.
    pub error_code: i16,
    /// The fetch session, 0 for none.
    pub session_id: i32,
}

/// A Fetch response being written.
#[derive(Debug)]
pub struct FetchResponseWriter<'a> {
    writer: &'a mut Writer,
    version: i16,
    flexible: bool,
    topics_left: usize,
    partitions_left: usize,
    topic_open: bool,
}

impl<'a> FetchResponseWriter<'a> {
    /// Starts a response with so many topics.
    pub fn begin(
        writer: &'a mut Writer,
        version: i16,
        head: FetchHead,
        topic_count: usize,
    ) -> Result<Self, EncodeError> {
        if !FetchResponse::VERSIONS.contains(&version) {
            return Err(EncodeError::UnsupportedVersion { message: FetchResponse::NAME, version });
        }
        let flexible = FetchResponse::is_flexible(version);
        if version >= 1 {
            writer.i32(head.throttle_time_ms);
        }
        if version >= 7 {
            writer.i16(head.error_code);
            writer.i32(head.session_id);
        } else {
            absent(head.session_id == 0, "FetchResponse.session_id", version)?;
        }
        writer.array_length(flexible, topic_count)?;
        Ok(Self { writer, version, flexible, topics_left: topic_count, partitions_left: 0, topic_open: false })
    }

    fn close_topic(&mut self) -> Result<(), EncodeError> {
        if self.partitions_left != 0 {
            return Err(EncodeError::WrongCount { field: "FetchableTopicResponse.partitions" });
        }
        if self.topic_open && self.flexible {
            self.writer.varint(0);
        }
        self.topic_open = false;
        Ok(())
    }

    /// Starts the next topic, which has so many partitions. The version decides whether name or id is written.
    pub fn topic(&mut self, name: &str, topic_id: Uuid, partition_count: usize) -> Result<(), EncodeError> {
        self.close_topic()?;
        let left = self.topics_left.checked_sub(1);
        self.topics_left = left.ok_or(EncodeError::WrongCount { field: "FetchResponse.responses" })?;
        if self.version >= TOPIC_IDS_FROM {
            self.writer.uuid(topic_id);
        } else {
            self.writer.string(self.flexible, name)?;
        }
        self.writer.array_length(self.flexible, partition_count)?;
        self.partitions_left = partition_count;
        self.topic_open = true;
        Ok(())
    }

    /// Writes one partition with the given records, in as many pieces as they lie in, in place of `data.records`.
    pub fn partition(&mut self, data: &PartitionData, records: &[Bytes]) -> Result<(), EncodeError> {
        let left = self.partitions_left.checked_sub(1);
        self.partitions_left = left.ok_or(EncodeError::WrongCount { field: "FetchableTopicResponse.partitions" })?;
        let (version, flexible) = (self.version, self.flexible);
        let writer = &mut *self.writer;
        writer.i32(data.partition_index);
        writer.i16(data.error_code);
        writer.i64(data.high_watermark);
        if version >= 4 {
            writer.i64(data.last_stable_offset);
        }
        if version >= 5 {
            writer.i64(data.log_start_offset);
        }
        if version >= 4 {
            let aborted = data.aborted_transactions.as_deref();
            writer.nullable_array(flexible, aborted, |w, transaction| transaction.write(w, version))?;
        }
        if version >= 11 {
            writer.i32(data.preferred_read_replica);
        } else {
            absent(data.preferred_read_replica == -1, "PartitionData.preferred_read_replica", version)?;
        }
        writer.array_length(flexible, records.iter().map(Bytes::len).sum())?;
        for piece in records {
            writer.share(piece);
        }
        partition_tags(writer, data, version, flexible)
    }

    /// Ends the response. `endpoints` tells the addresses of new leaders (version 16 on, dropped before as in Kafka).
    pub fn finish(mut self, endpoints: &[NodeEndpoint]) -> Result<(), EncodeError> {
        self.close_topic()?;
        if self.topics_left != 0 {
            return Err(EncodeError::WrongCount { field: "FetchResponse.responses" });
        }
        if !self.flexible {
            return Ok(());
        }
        let version = self.version;
        let mut tags = TagSection::new(&[]);
        if version >= 16 && !endpoints.is_empty() {
            tags.field(0, |w| w.array(true, endpoints, |w, endpoint| endpoint.write(w, version)))?;
        }
        tags.finish(self.writer)
    }
}

fn partition_tags(writer: &mut Writer, data: &PartitionData, version: i16, flexible: bool) -> Result<(), EncodeError> {
    let diverged = data.diverging_epoch != Default::default();
    let led = data.current_leader != Default::default();
    let snapshot = data.snapshot_id != Default::default();
    if !flexible {
        absent(!diverged, "PartitionData.diverging_epoch", version)?;
        absent(!led, "PartitionData.current_leader", version)?;
        return absent(!snapshot, "PartitionData.snapshot_id", version);
    }
    if !(diverged || led || snapshot) {
        return writer.unknown_tags(&data.unknown_tagged_fields);
    }
    let mut tags = TagSection::new(&data.unknown_tagged_fields);
    if diverged {
        tags.field(0, |w| data.diverging_epoch.write(w, version))?;
    }
    if led {
        tags.field(1, |w| data.current_leader.write(w, version))?;
    }
    if snapshot {
        tags.field(2, |w| data.snapshot_id.write(w, version))?;
    }
    tags.finish(writer)
}
