"""The driver of confluent-kafka-python (librdkafka); its command line is described in clients/README.md."""

import sys
import time

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition, OFFSET_BEGINNING

from job import Acks, Sink, main


def produce(job):
    timeout = job.number("timeout", 60)
    producer = Producer(
        {
            "bootstrap.servers": job.text("bootstrap"),
            "compression.type": job.text("codec", "none"),
            "acks": job.text("acks", "all"),
            "enable.idempotence": job.flag("idempotent"),
            "max.in.flight": 5 if job.flag("idempotent") else 1,
            "linger.ms": 5,
            "message.timeout.ms": timeout * 1000,
            "queue.buffering.max.messages": 100_000,
        }
    )
    topic, partitions = job.text("topic"), job.number("partitions")
    acks, failures, records = Acks(job), [], 0

    def delivered(error, message, number):
        if error is not None:
            failures.append(error)
        else:
            acks.note(message.partition(), message.offset(), number)

    for number, line in job.lines():
        callback = lambda error, message, number=number: delivered(error, message, number)
        while not failures:
            try:
                producer.produce(topic, line, partition=number % partitions, on_delivery=callback)
                break
            except BufferError:
                producer.poll(0.1)
        producer.poll(0)
        records += 1
    left = producer.flush(timeout)
    acks.close()
    if failures:
        raise KafkaException(failures[0])
    if left:
        raise TimeoutError(f"{left} records still unacknowledged after {timeout} s")
    return records


def consume(job):
    by_group, sink = job.text("mode") == "group", Sink(job)
    deadline = time.monotonic() + job.number("timeout", 60)
    consumer = Consumer(
        {
            "bootstrap.servers": job.text("bootstrap"),
            "group.id": job.text("group", "unused"),
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
            "check.crcs": True,
            "fetch.wait.max.ms": 100,
        }
    )
    try:
        everything = job.partitions()
        if sink.want is None:
            sink.ends = {at: consumer.get_watermark_offsets(TopicPartition(*at), timeout=10)[1] for at in everything}
        if by_group:
            consumer.subscribe(job.text("topics").split(","))
        else:
            consumer.assign([TopicPartition(topic, p, OFFSET_BEGINNING) for topic, p in everything])
        while not sink.finished():
            if time.monotonic() > deadline:
                raise TimeoutError(f"timed out after {sink.records} records, at {sink.after}")
            for message in consumer.consume(sink.at_once(), timeout=0.2):
                if message.error():
                    if message.error().code() in (KafkaError._ALL_BROKERS_DOWN, KafkaError._TRANSPORT):
                        continue
                    raise KafkaException(message.error())
                sink.take((message.topic(), message.partition()), message.offset(), message.value())
        if by_group and sink.after:
            commits = [TopicPartition(topic, p, offset) for (topic, p), offset in sink.after.items()]
            for result in consumer.commit(offsets=commits, asynchronous=False):
                if result.error:
                    raise KafkaException(result.error)
    finally:
        consumer.close()
        sink.close()
    return sink.records


sys.exit(main({"produce": produce, "consume": consume}))
