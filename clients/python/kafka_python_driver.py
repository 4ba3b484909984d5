"""The driver of kafka-python 2.0.2, which fetches with version 4 and knows zstd; its command line is described in
clients/README.md."""

import logging
import sys
import time

from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.structs import OffsetAndMetadata

from job import Acks, Sink, main


def produce(job):
    timeout = job.number("timeout", 60)
    codec, acks = job.text("codec", "none"), job.text("acks", "all")
    if job.flag("idempotent"):
        raise ValueError("kafka-python has no idempotent producer")
    producer = KafkaProducer(
        bootstrap_servers=job.text("bootstrap"),
        compression_type=None if codec == "none" else codec,
        acks=acks if acks == "all" else int(acks),
        max_in_flight_requests_per_connection=1,
        retries=5,
        linger_ms=5,
        batch_size=64 * 1024,
        max_block_ms=timeout * 1000,
    )
    topic, partitions = job.text("topic"), job.number("partitions")
    log, failures, records = Acks(job), [], 0
    try:
        for number, line in job.lines():
            sent = producer.send(topic, line, partition=number % partitions)
            sent.add_callback(lambda done, number=number: log.note(done.partition, done.offset, number))
            sent.add_errback(failures.append)
            records += 1
            if failures:
                break
        producer.flush(timeout)
    finally:
        producer.close(timeout)
        log.close()
    if failures:
        raise failures[0]
    return records


def consume(job):
    by_group, sink = job.text("mode") == "group", Sink(job)
    deadline = time.monotonic() + job.number("timeout", 60)
    consumer = KafkaConsumer(
        bootstrap_servers=job.text("bootstrap"),
        group_id=job.text("group") if by_group else None,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        check_crcs=True,
        fetch_max_wait_ms=100,
    )
    try:
        everything = [TopicPartition(*where) for where in job.partitions()]
        if sink.want is None:
            sink.ends = {(at.topic, at.partition): end for at, end in consumer.end_offsets(everything).items()}
        if by_group:
            consumer.subscribe(job.text("topics").split(","))
        else:
            consumer.assign(everything)
            consumer.seek_to_beginning()
        while not sink.finished():
            if time.monotonic() > deadline:
                raise TimeoutError(f"timed out after {sink.records} records, at {sink.after}")
            for at, messages in consumer.poll(timeout_ms=200, max_records=sink.at_once()).items():
                for message in messages:
                    sink.take((at.topic, at.partition), message.offset, message.value)
        if by_group and sink.after:
            consumer.commit({TopicPartition(*at): OffsetAndMetadata(after, "") for at, after in sink.after.items()})
    finally:
        consumer.close()
        sink.close()
    return sink.records


logging.basicConfig(level=logging.WARNING)
sys.exit(main({"produce": produce, "consume": consume}))
