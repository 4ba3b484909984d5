"""The driver of aiokafka 0.12, which fetches with version 4 and knows zstd; its command line is described in
clients/README.md."""

import asyncio
import logging
import sys
import time

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from job import Acks, Sink, main


async def produce(job):
    timeout = job.number("timeout", 60)
    codec, acks = job.text("codec", "none"), job.text("acks", "all")
    producer = AIOKafkaProducer(
        bootstrap_servers=job.text("bootstrap"),
        compression_type=None if codec == "none" else codec,
        acks=acks if acks == "all" else int(acks),
        enable_idempotence=job.flag("idempotent"),
        linger_ms=5,
        max_batch_size=64 * 1024,
    )
    topic, partitions = job.text("topic"), job.number("partitions")
    log, failures, records = Acks(job), [], 0

    def delivered(sent, number):
        if sent.exception() is not None:
            failures.append(sent.exception())
        elif sent.result() is not None:
            log.note(sent.result().partition, sent.result().offset, number)

    await producer.start()
    try:
        async with asyncio.timeout(timeout):
            for number, line in job.lines():
                sent = await producer.send(topic, line, partition=number % partitions)
                sent.add_done_callback(lambda sent, number=number: delivered(sent, number))
                records += 1
                if failures:
                    break
            await producer.flush()
    finally:
        await producer.stop()
        log.close()
    if failures:
        raise failures[0]
    return records


async def consume(job):
    by_group, sink = job.text("mode") == "group", Sink(job)
    deadline = time.monotonic() + job.number("timeout", 60)
    consumer = AIOKafkaConsumer(
        bootstrap_servers=job.text("bootstrap"),
        group_id=job.text("group") if by_group else None,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        check_crcs=True,
        fetch_max_wait_ms=100,
    )
    await consumer.start()
    try:
        everything = [TopicPartition(*where) for where in job.partitions()]
        if sink.want is None:
            sink.ends = {(at.topic, at.partition): end for at, end in (await consumer.end_offsets(everything)).items()}
        if by_group:
            consumer.subscribe(job.text("topics").split(","))
        else:
            consumer.assign(everything)
            await consumer.seek_to_beginning()
        while not sink.finished():
            if time.monotonic() > deadline:
                raise TimeoutError(f"timed out after {sink.records} records, at {sink.after}")
            for at, messages in (await consumer.getmany(timeout_ms=200, max_records=sink.at_once())).items():
                for message in messages:
                    sink.take((at.topic, at.partition), message.offset, message.value)
        if by_group and sink.after:
            await consumer.commit({TopicPartition(*at): after for at, after in sink.after.items()})
    finally:
        await consumer.stop()
        sink.close()
    return sink.records


def run(work):
    return lambda job: asyncio.run(work(job))


logging.basicConfig(level=logging.WARNING)
sys.exit(main({"produce": run(produce), "consume": run(consume)}))
