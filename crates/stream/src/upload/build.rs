//! From entries to objects: long runs of one stream get a stream object, the rest share one stream set object.

use base::{Incarnation, Offset, OffsetRange, StreamEpoch, StreamId, TimestampMs};
use bytes::Bytes;

use crate::Fragments;
use crate::format::{BuiltObject, ObjectBuilder, ObjectKind};

/// One entry to upload.
#[derive(Debug, Clone)]
pub(crate) struct UploadEntry {
    pub range: OffsetRange,
    pub max_timestamp: TimestampMs,
    pub payload: Fragments,
}

/// The part of one stream in an upload.
#[derive(Debug)]
pub(crate) struct UploadStream {
    pub stream: StreamId,
    pub epoch: StreamEpoch,
    pub entries: Vec<UploadEntry>,
    /// The state as of the last entry's end.
    pub checkpoint: Option<(Offset, Bytes)>,
}

impl UploadStream {
    /// The stream and the offsets from its first entry to its last; `None` without entries.
    pub fn covers(&self) -> Option<(StreamId, OffsetRange)> {
        let (first, last) = (self.entries.first()?, self.entries.last()?);
        Some((self.stream, OffsetRange::new(first.range.start, last.range.end)))
    }
}

impl UploadStream {
    fn bytes(&self) -> u64 {
        self.entries.iter().flat_map(|e| e.payload.iter()).map(|p| p.len() as u64).sum()
    }
}

/// Objects for `streams`, which come in rising order of stream and epoch. Each object holds whole streams.
pub(crate) fn objects(
    streams: Vec<UploadStream>,
    writer: Incarnation,
    block_bytes: usize,
    stream_object_bytes: u64,
) -> Vec<BuiltObject> {
    let mut set = ObjectBuilder::new(writer, ObjectKind::StreamSet, block_bytes);
    let mut objects = Vec::new();
    for part in streams {
        if part.bytes() >= stream_object_bytes {
            let mut own = ObjectBuilder::new(writer, ObjectKind::Stream, block_bytes);
            fill(&mut own, part);
            objects.push(own.finish());
        } else {
            fill(&mut set, part);
        }
    }
    if !set.is_empty() {
        objects.push(set.finish());
    }
    objects
}

fn fill(object: &mut ObjectBuilder, part: UploadStream) {
    for entry in &part.entries {
        object.push(part.stream, part.epoch, entry.range, entry.max_timestamp, &entry.payload);
    }
    if let Some((offset, bytes)) = part.checkpoint {
        object.push_checkpoint(part.stream, part.epoch, offset, bytes);
    }
}
