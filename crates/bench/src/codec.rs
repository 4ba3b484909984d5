//! Decoding a Produce request (version 9) beside the codecs that a Rust project would otherwise take.

use std::hint::black_box;
use std::time::Duration;

use anyhow::{Context, Result};
use base::Clock;
use bytes::Bytes;
use kafka_protocol::protocol::Decodable;
use wire::messages::ProduceRequest;
use wire::messages::produce_request::{PartitionProduceData, TopicProduceData};
use wire::produce::ProduceView;
use wire::{Message, Reader};

use crate::report::Report;

const VERSION: i16 = 9;
const LENGTH: Duration = Duration::from_secs(1);
const ROUND: u32 = 1_000;

/// Measures all of them on requests of 1 and of 100 partitions.
pub fn measure(report: &mut Report) -> Result<()> {
    for partitions in [1, 100] {
        let body = request(partitions)?;
        let view = time(|| ProduceView::decode(&mut Reader::new(body.clone()), VERSION))?;
        let generated = time(|| ProduceRequest::from_bytes(body.clone(), VERSION))?;
        let kafka_protocol = time(|| kafka_protocol::messages::ProduceRequest::decode(&mut body.clone(), VERSION))?;
        let kacrab =
            time(|| kacrab_protocol::generated::produce_request::ProduceRequestData::read(&mut body.clone(), VERSION))?;
        let mut say = |codec: &str, nanos: f64| {
            report.fact(&format!("decode Produce v9, {partitions} partitions, {codec}, ns"), nanos);
        };
        say("ours", view);
        say("ours, generated", generated);
        say("kafka-protocol", kafka_protocol);
        say("kacrab-protocol", kacrab);
    }
    Ok(())
}

fn request(partitions: i32) -> Result<Bytes> {
    let partition = |index| PartitionProduceData {
        index,
        records: Some(Bytes::from_static(&[7; 100])),
        ..PartitionProduceData::default()
    };
    let topic = TopicProduceData {
        name: "measurements".into(),
        partition_data: (0..partitions).map(partition).collect(),
        ..TopicProduceData::default()
    };
    let request = ProduceRequest { acks: -1, timeout_ms: 30_000, topic_data: vec![topic], ..ProduceRequest::default() };
    Ok(request.to_frame(VERSION)?.into_bytes())
}

/// Nanoseconds of one call.
fn time<T, E: std::fmt::Debug>(mut decode: impl FnMut() -> Result<T, E>) -> Result<f64> {
    decode().map_err(|error| anyhow::anyhow!("{error:?}")).context("the request is not decoded")?;
    let clock = Clock::system();
    let before = clock.monotonic();
    let mut calls = 0_u64;
    while clock.monotonic() - before < LENGTH {
        for _ in 0..ROUND {
            drop(black_box(decode()));
        }
        calls += u64::from(ROUND);
    }
    Ok((clock.monotonic() - before).as_nanos() as f64 / calls as f64)
}
