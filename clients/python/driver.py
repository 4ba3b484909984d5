"""The driver of confluent-kafka-python (librdkafka); its command line is described in clients/README.md."""

import os
import sys
import time

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition, OFFSET_BEGINNING

CODECS = "none,gzip,snappy,lz4,zstd"


class Job:
    """One command and its `--key value` options."""

    def __init__(self, words):
        self.command = words[0]
        keys, values = words[1::2], words[2::2]
        if len(keys) != len(values) or any(not key.startswith("--") for key in keys):
            raise ValueError(f"expected --key value pairs, found {words[1:]}")
        self.options = {key[2:]: value for key, value in zip(keys, values)}

    def text(self, key, *otherwise):
        if key not in self.options and not otherwise:
            raise ValueError(f"{self.command} needs --{key}")
        return self.options.get(key, *otherwise)

    def number(self, key, *otherwise):
        return int(self.text(key, *otherwise))

    def flag(self, key):
        return self.text(key, "false") == "true"


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
    topic, partitions, log = job.text("topic"), job.number("partitions"), job.text("log-acks", None)
    acks = open(log, "w") if log else None
    failures = []

    def delivered(error, message, index):
        if error is not None:
            failures.append(error)
        elif acks:
            acks.write(f"{message.partition()}\t{message.offset()}\t{index}\n")

    index = 0
    with open(job.text("file"), "rb") as lines:
        for index, line in enumerate(lines, 1):
            number = index - 1
            callback = lambda error, message, number=number: delivered(error, message, number)
            while not failures:
                try:
                    producer.produce(topic, line[:-1], partition=number % partitions, on_delivery=callback)
                    break
                except BufferError:
                    producer.poll(0.1)
            producer.poll(0)
    left = producer.flush(timeout)
    if acks:
        acks.close()
    if failures:
        raise KafkaException(failures[0])
    if left:
        raise TimeoutError(f"{left} records still unacknowledged after {timeout} s")
    return index


def consume(job):
    group, until = job.text("mode") == "group", job.text("until")
    topics, partitions = job.text("topics").split(","), job.number("partitions")
    want = None if until == "end" else int(until)
    offsets, out = job.flag("with-offsets"), job.text("out")
    deadline = time.monotonic() + job.number("timeout", 60)
    os.makedirs(out, exist_ok=True)
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
    files, after, records = {}, {}, 0
    try:
        everything = [(topic, p) for topic in topics for p in range(partitions)]
        ends = None
        if want is None:
            ends = {tp: consumer.get_watermark_offsets(TopicPartition(*tp), timeout=10)[1] for tp in everything}
        if group:
            consumer.subscribe(topics)
        else:
            consumer.assign([TopicPartition(topic, p, OFFSET_BEGINNING) for topic, p in everything])

        def finished():
            if want is not None:
                return records >= want
            return all(after.get(tp, 0) >= end for tp, end in ends.items())

        while not finished():
            if time.monotonic() > deadline:
                raise TimeoutError(f"timed out after {records} records, at {after}")
            for message in consumer.consume(1000 if want is None else min(1000, want - records), timeout=0.2):
                if message.error():
                    if message.error().code() in (KafkaError._ALL_BROKERS_DOWN, KafkaError._TRANSPORT):
                        continue
                    raise KafkaException(message.error())
                where = (message.topic(), message.partition())
                if ends is not None and message.offset() >= ends[where]:
                    continue
                if where not in files:
                    files[where] = open(os.path.join(out, f"{where[0]}-{where[1]}"), "wb")
                if offsets:
                    files[where].write(b"%d\t" % message.offset())
                files[where].write(message.value() + b"\n")
                after[where] = message.offset() + 1
                records += 1
        if group and after:
            commits = [TopicPartition(topic, p, offset) for (topic, p), offset in after.items()]
            for result in consumer.commit(offsets=commits, asynchronous=False):
                if result.error:
                    raise KafkaException(result.error)
    finally:
        consumer.close()
        for file in files.values():
            file.close()
    return records


def answer(words):
    try:
        job = Job(words)
        if job.command == "codecs":
            return f"ok\tcodecs={CODECS}"
        if job.command in ("produce", "consume"):
            return f"ok\trecords={globals()[job.command](job)}"
        raise ValueError(f"no command is called '{job.command}'")
    except Exception as error:  # the answer is where every failure of a job is reported
        return "error\t" + " ".join(f"{type(error).__name__}: {error}".split())


def main():
    if sys.argv[1:2] == ["serve"]:
        for line in sys.stdin:
            print(answer(line.rstrip("\n").split("\t")), flush=True)
        return 0
    result = answer(sys.argv[1:])
    print(result)
    return 0 if result.startswith("ok") else 1


sys.exit(main())
