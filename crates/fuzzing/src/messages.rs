//! Every message of the wire registry: requests, responses, headers, records of internal topics, metadata records.
//!
//! Input: two bytes choose the message, one the version, the rest is its body.

use bytes::Bytes;
use wire::messages::ProduceRequest;
use wire::produce::ProduceView;
use wire::registry::{Entry, MESSAGES};
use wire::{DecodeError, Message, Reader};

fn chosen(input: &Bytes) -> Option<(&'static Entry, i16, Bytes)> {
    let head = input.first_chunk::<3>()?;
    let entry = &MESSAGES[usize::from(u16::from_be_bytes([head[0], head[1]])) % MESSAGES.len()];
    let versions = (entry.versions.end() - entry.versions.start() + 1).unsigned_abs();
    let version = entry.versions.start() + (u16::from(head[2]) % versions).cast_signed();
    Some((entry, version, input.slice(3..)))
}

/// What decodes also encodes, to bytes that mean themselves; the two decoders of Produce agree.
pub fn run(input: &Bytes) {
    let Some((entry, version, body)) = chosen(input) else { return };
    if let Ok(first) = (entry.recode)(body.clone(), version)
        && let Ok(encoded) = first.encoded
    {
        let encoded = encoded.into_bytes();
        let again = (entry.recode)(encoded.clone(), version);
        let again = again.unwrap_or_else(|error| panic!("{} {version} does not read itself: {error}", entry.name));
        assert_eq!(again.consumed, encoded.len(), "{} {version} leaves bytes over", entry.name);
        let again = again.encoded.map(wire::Frame::into_bytes);
        assert_eq!(again.as_ref(), Ok(&encoded), "{} {version} is not stable", entry.name);
    }
    if entry.name == ProduceRequest::NAME {
        let generated = ProduceRequest::from_bytes(body.clone(), version).map(|request| request.topic_data.len());
        let view = ProduceView::decode(&mut Reader::new(body), version).map(|view| view.topics().len());
        // The view accounts for the answer, too.
        if !matches!(view, Err(DecodeError::TooMuchMemory { .. })) {
            assert_eq!(view, generated, "version {version}");
        }
    }
}

/// Nothing but zeros for each message and version: empty arrays, strings and numbers.
pub fn seeds() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    for (index, entry) in MESSAGES.iter().enumerate() {
        for version in 0..=(entry.versions.end() - entry.versions.start()) {
            let [high, low] = (index as u16).to_be_bytes();
            seeds.push([&[high, low, version as u8][..], &[0; 64]].concat());
            // Arrays of one element, strings of one byte, compact ones empty.
            seeds.push([&[high, low, version as u8][..], &[0, 0, 0, 1, 1, 2, 1, 0].repeat(16)].concat());
        }
    }
    seeds
}
