//! The bytes of a Fetch response, written straight from what was read: records stay the slices they are.

use base::Uuid;
use wire::fetch::{FetchHead, FetchResponseWriter};
use wire::messages::fetch_response::{EpochEndOffset, LeaderIdAndEpoch, NodeEndpoint, PartitionData};
use wire::{EncodeError, Str, Writer};

use super::answer::PartitionAnswer;
use super::session::{TopicRef, Want};

/// An answer and whose it is.
pub(crate) type Sent<'a> = (&'a Want, &'a PartitionAnswer);

/// Writes the body of a response. Consecutive answers of one topic share its head, as Kafka writes them. `endpoints` are
/// those of the leaders that answers tell.
pub(crate) fn response(
    writer: &mut Writer,
    version: i16,
    error_code: i16,
    session_id: i32,
    answers: &[Sent<'_>],
    endpoints: &[NodeEndpoint],
) -> Result<(), EncodeError> {
    let topics = answers.chunk_by(|(a, _), (b, _)| a.topic == b.topic);
    // Before version 7 there is neither a session nor an error of the whole.
    let head =
        if version >= 7 { FetchHead { error_code, session_id, ..FetchHead::default() } } else { FetchHead::default() };
    let mut out = FetchResponseWriter::begin(writer, version, head, topics.clone().count())?;
    for topic in topics {
        match &topic[0].0.topic {
            TopicRef::Name(name) => out.topic(name, Uuid::nil(), topic.len())?,
            TopicRef::Id(id) => out.topic("", *id, topic.len())?,
        }
        for (want, answer) in topic {
            out.partition(&data(want.partition, answer), &answer.records)?;
        }
    }
    out.finish(endpoints)
}

/// Writes the body of a response that says the same of all partitions of these topics.
pub(crate) fn response_of_one(
    writer: &mut Writer,
    version: i16,
    error_code: i16,
    session_id: i32,
    topics: &[(Str, Vec<i32>)],
    answer: &PartitionAnswer,
) -> Result<(), EncodeError> {
    let head =
        if version >= 7 { FetchHead { error_code, session_id, ..FetchHead::default() } } else { FetchHead::default() };
    let mut out = FetchResponseWriter::begin(writer, version, head, topics.len())?;
    for (name, partitions) in topics {
        out.topic(name, Uuid::nil(), partitions.len())?;
        for partition in partitions {
            out.partition(&data(*partition, answer), &answer.records)?;
        }
    }
    out.finish(&[])
}

fn data(partition_index: i32, answer: &PartitionAnswer) -> PartitionData {
    PartitionData {
        partition_index,
        error_code: answer.error_code,
        high_watermark: answer.high_watermark,
        last_stable_offset: answer.last_stable_offset,
        log_start_offset: answer.log_start_offset,
        aborted_transactions: answer.lists_aborted.then(Vec::new),
        diverging_epoch: answer.diverging.as_deref().map_or_else(EpochEndOffset::default, |end| EpochEndOffset {
            epoch: end.epoch,
            end_offset: end.end,
            ..EpochEndOffset::default()
        }),
        current_leader: answer.leader.map_or_else(LeaderIdAndEpoch::default, |leader| LeaderIdAndEpoch {
            leader_id: leader.id,
            leader_epoch: leader.epoch,
            ..LeaderIdAndEpoch::default()
        }),
        ..PartitionData::default()
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use wire::Message;
    use wire::messages::FetchResponse;
    use wire::messages::fetch_response::FetchableTopicResponse;

    use super::*;

    fn answer(topic: &TopicRef, partition: i32, slices: &[&'static [u8]]) -> (Want, PartitionAnswer) {
        let want = Want {
            topic: topic.clone(),
            partition,
            fetch_offset: 0,
            current_leader_epoch: -1,
            last_fetched_epoch: -1,
            max_bytes: 1 << 20,
        };
        let answer = PartitionAnswer {
            high_watermark: 10 + i64::from(partition),
            last_stable_offset: 9,
            log_start_offset: 3,
            lists_aborted: partition == 1,
            records: slices.iter().map(|slice| Bytes::from_static(slice)).collect(),
            ..PartitionAnswer::error(0)
        };
        (want, answer)
    }

    /// The generated codec says what the bytes must be, in every version.
    #[test]
    fn every_version_agrees_with_the_generated_codec() {
        static LARGE: [u8; 5_000] = [9; 5_000];
        for version in FetchResponse::VERSIONS {
            let names = [TopicRef::Name("a".into()), TopicRef::Name("b".into())];
            let ids = [TopicRef::Id(Uuid::from_u128(1)), TopicRef::Id(Uuid::from_u128(2))];
            let [a, b] = if version >= 13 { ids } else { names };
            let answers = [answer(&a, 0, &[b"xy", &LARGE]), answer(&a, 1, &[]), answer(&b, 2, &[&LARGE, b"z"])];
            let mut ours = Writer::new();
            let (error, session) = if version >= 7 { (70, 44) } else { (0, 0) };
            let sent: Vec<Sent<'_>> = answers.iter().map(|(want, answer)| (want, answer)).collect();
            response(&mut ours, version, error, session, &sent, &[]).unwrap();

            let data = |(want, answer): &(Want, PartitionAnswer)| PartitionData {
                partition_index: want.partition,
                high_watermark: answer.high_watermark,
                last_stable_offset: answer.last_stable_offset,
                log_start_offset: answer.log_start_offset,
                aborted_transactions: answer.lists_aborted.then(Vec::new),
                records: Some(answer.records.concat().into()),
                ..PartitionData::default()
            };
            let responses = answers
                .chunk_by(|(a, _), (b, _)| a.topic == b.topic)
                .map(|topic| {
                    let mut head = FetchableTopicResponse::default();
                    match &topic[0].0.topic {
                        TopicRef::Name(name) => head.topic = (&**name).into(),
                        TopicRef::Id(id) => head.topic_id = *id,
                    }
                    head.partitions = topic.iter().map(data).collect();
                    head
                })
                .collect();
            let theirs =
                FetchResponse { error_code: error, session_id: session, responses, ..FetchResponse::default() };
            let theirs = theirs.to_frame(version).unwrap().into_bytes();
            assert_eq!(ours.finish().into_bytes(), theirs, "version {version}");
        }
    }
}
