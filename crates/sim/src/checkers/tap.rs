//! What brokers were asked and answered, read off the wire: produce and fetch.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use judge::Value;
use parking_lot::Mutex;
use wire::header::{RequestHeader, ResponseHeader};
use wire::messages::{FetchRequest, FetchResponse, ProduceRequest, ProduceResponse};
use wire::{ApiKey, Message, Reader, Request};

use crate::client::value;
use crate::net::{Link, Observer, Side};
use crate::process::Process;

/// A partition's name on the wire: the topic's name, or its id in versions that know ids, and the partition.
type Name = (String, i32);

/// What is told of what is sent to brokers, and of answers as they leave one.
pub(super) trait Listens: Send + Sync {
    /// A producer has sent records, whatever becomes of them.
    fn sent(&self, records: &Bytes) {
        let _ = records;
    }

    /// Records were acknowledged.
    fn acknowledged(&self, by: &Process, values: &[Value]) {
        let _ = (by, values);
    }

    /// Records were shown to a reader: what a partition's answer holds.
    fn shown(&self, by: &Process, records: &Bytes) {
        let _ = (by, records);
    }
}

/// Looks at all connections.
pub(super) struct Tap {
    links: Mutex<BTreeMap<u64, Conversation>>,
    listeners: Vec<Arc<dyn Listens>>,
}

#[derive(Default)]
struct Conversation {
    asked: BytesMut,
    answered: BytesMut,
    waiting: VecDeque<Question>,
}

/// A request whose answer is to come.
enum Question {
    Produce { version: i16, values: BTreeMap<Name, Vec<Value>> },
    Fetch { version: i16 },
    Other,
}

impl Tap {
    pub(super) fn new(listeners: Vec<Arc<dyn Listens>>) -> Self {
        Self { links: Mutex::default(), listeners }
    }
}

/// The first whole frame.
fn frame(buffer: &mut BytesMut) -> Option<Bytes> {
    let size = u32::from_be_bytes(*buffer.first_chunk::<4>()?) as usize;
    if buffer.len() < 4 + size {
        return None;
    }
    let _ = buffer.split_to(4);
    Some(buffer.split_to(size).freeze())
}

fn name(topic: &str, id: base::Uuid, partition: i32) -> Name {
    (if topic.is_empty() { id.to_string() } else { topic.to_owned() }, partition)
}

impl Tap {
    /// What a request asks; nothing where no answer follows, or where it is none that a broker could read.
    fn question(&self, frame: Bytes) -> Option<Question> {
        let (key, version) = (i16::from_be_bytes([frame[0], frame[1]]), i16::from_be_bytes([frame[2], frame[3]]));
        let mut reader = Reader::new(frame);
        match ApiKey::try_from(key) {
            Ok(ApiKey::Produce) => {
                RequestHeader::decode(&mut reader, ProduceRequest::request_header_version(version)).ok()?;
                let request = ProduceRequest::decode(&mut reader, version).ok()?;
                let mut values = BTreeMap::new();
                for topic in &request.topic_data {
                    for partition in &topic.partition_data {
                        let Some(records) = &partition.records else { continue };
                        self.listeners.iter().for_each(|listener| listener.sent(records));
                        let name = name(&topic.name, topic.topic_id, partition.index);
                        values.insert(name, value::find_all(records));
                    }
                }
                (request.acks != 0).then_some(Question::Produce { version, values })
            }
            Ok(ApiKey::Fetch) => {
                RequestHeader::decode(&mut reader, FetchRequest::request_header_version(version)).ok()?;
                Some(Question::Fetch { version })
            }
            _ => Some(Question::Other),
        }
    }

    fn answer(&self, by: &Process, question: Question, frame: Bytes) {
        let mut reader = Reader::new(frame);
        match question {
            Question::Produce { version, values } => {
                if ResponseHeader::decode(&mut reader, ProduceRequest::response_header_version(version)).is_err() {
                    return;
                }
                let Ok(answer) = ProduceResponse::decode(&mut reader, version) else { return };
                for topic in &answer.responses {
                    for partition in topic.partition_responses.iter().filter(|partition| partition.error_code == 0) {
                        let name = name(&topic.name, topic.topic_id, partition.index);
                        if let Some(values) = values.get(&name) {
                            self.listeners.iter().for_each(|listener| listener.acknowledged(by, values));
                        }
                    }
                }
            }
            Question::Fetch { version } => {
                if ResponseHeader::decode(&mut reader, FetchRequest::response_header_version(version)).is_err() {
                    return;
                }
                let Ok(answer) = FetchResponse::decode(&mut reader, version) else { return };
                let partitions = answer.responses.iter().flat_map(|topic| &topic.partitions);
                for records in partitions.filter_map(|partition| partition.records.as_ref()) {
                    if !records.is_empty() {
                        self.listeners.iter().for_each(|listener| listener.shown(by, records));
                    }
                }
            }
            Question::Other => {}
        }
    }
}

impl Observer for Tap {
    fn sent(&self, link: &Link, by: Side, bytes: &[u8]) {
        let mut answers = Vec::new();
        {
            let mut links = self.links.lock();
            let conversation = links.entry(link.number).or_default();
            match by {
                Side::Client => {
                    conversation.asked.extend_from_slice(bytes);
                    while let Some(frame) = frame(&mut conversation.asked) {
                        conversation.waiting.extend(self.question(frame));
                    }
                }
                Side::Server => {
                    conversation.answered.extend_from_slice(bytes);
                    while let Some(frame) = frame(&mut conversation.answered) {
                        answers.extend(conversation.waiting.pop_front().map(|question| (question, frame)));
                    }
                }
            }
        }
        for (question, frame) in answers {
            self.answer(link.process(Side::Server), question, frame);
        }
    }

    fn broke(&self, link: &Link) {
        self.links.lock().remove(&link.number);
    }
}
