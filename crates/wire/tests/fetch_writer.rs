//! The Fetch response writer gives the bytes of the generated code and copies no records.

mod common;

use common::{Arbitrary, Source};
use wire::fetch::{FetchHead, FetchResponseWriter};
use wire::messages::FetchResponse;
use wire::{EncodeError, Message, SHARE_BYTES_MIN, Writer};

fn write(response: &FetchResponse, version: i16, split: bool) -> Result<Writer, EncodeError> {
    let mut writer = Writer::new();
    let head = FetchHead {
        throttle_time_ms: response.throttle_time_ms,
        error_code: response.error_code,
        session_id: response.session_id,
    };
    let mut out = FetchResponseWriter::begin(&mut writer, version, head, response.responses.len())?;
    for topic in &response.responses {
        out.topic(&topic.topic, topic.topic_id, topic.partitions.len())?;
        for partition in &topic.partitions {
            let records = partition.records.clone().unwrap_or_default();
            let middle = records.len() / 2;
            if split {
                out.partition(partition, &[records.slice(..middle), records.slice(middle..)])?;
            } else {
                out.partition(partition, &[records])?;
            }
        }
    }
    out.finish(&response.node_endpoints)?;
    Ok(writer)
}

#[test]
fn writer_agrees_with_the_generated_code_in_every_version() {
    for version in FetchResponse::VERSIONS {
        for seed in 0..300 {
            let mut response = FetchResponse::arbitrary(&mut Source::new(seed), version);
            response.unknown_tagged_fields.clear();
            for topic in &mut response.responses {
                topic.unknown_tagged_fields.clear();
                for partition in &mut topic.partitions {
                    partition.records = Some(partition.records.take().unwrap_or_default());
                }
            }
            let expected = response.to_frame(version).unwrap().into_bytes();
            for split in [false, true] {
                let written = write(&response, version, split).unwrap().finish().into_bytes();
                assert_eq!(written, expected, "version {version} seed {seed}");
            }
        }
    }
}

#[test]
fn long_records_are_shared_with_the_frame() {
    let mut response = FetchResponse::default();
    let records = bytes::Bytes::from(vec![7; SHARE_BYTES_MIN]);
    response.responses.push(Default::default());
    response.responses[0].partitions.push(Default::default());
    response.responses[0].partitions[0].records = Some(records.clone());
    let frame = write(&response, 12, false).unwrap().finish();
    assert!(frame.segments().any(|segment| segment.as_ptr() == records.as_ptr()));
}

#[test]
fn broken_promises_of_counts_are_errors() {
    let mut writer = Writer::new();
    let out = FetchResponseWriter::begin(&mut writer, 12, FetchHead::default(), 1).unwrap();
    assert_eq!(out.finish(&[]), Err(EncodeError::WrongCount { field: "FetchResponse.responses" }));
}
