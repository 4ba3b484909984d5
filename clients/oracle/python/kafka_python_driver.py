"""The story of kafka-python, versions 2 and 3."""

import logging
import time
from contextlib import contextmanager

from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.coordinator.assignors.range import RangePartitionAssignor
from kafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor
from kafka.errors import KafkaError
from kafka.structs import OffsetAndMetadata

from kafka_python_admin import MODERN, open_admin, verdict
from material import (
    ACKS, ALTERATIONS, BASE_TIME_MS, BROKER_CONFIGS, CODECS, CREATIONS, KEPT, SIZES, SMALL, TIMES, TIMES_ASKED_FOR,
    TOPIC_CONFIGS, samples, shown, shown_headers,
)
from story import Member, Story, balance, settled, until

logging.basicConfig(level=logging.ERROR)
story = Story()
name = story.name
RECORDS = samples(with_null_header=False)

ASSIGNORS = [RangePartitionAssignor, RoundRobinPartitionAssignor]
NOT_IDEMPOTENT = {"enable_idempotence": False} if MODERN else {}
KNOWN = {} if MODERN else {"api_version": (2, 5, 0)}  # what version 2 takes Kafka 4.4 for, after a while each time
if MODERN:
    from kafka.admin import AlterConfigOp, MemberToRemove, OffsetSpec
    from kafka.coordinator.assignors.cooperative_sticky import CooperativeStickyAssignor
    from kafka.coordinator.assignors.sticky.sticky_assignor import StickyPartitionAssignor

    # Version 2 has the sticky one too, but a member that had partitions fails to join again.
    ASSIGNORS += [StickyPartitionAssignor, CooperativeStickyAssignor]


def admin():
    return open_admin(story.bootstrap)


@contextmanager
def producer(codec="none", **options):
    options = {**KNOWN, **NOT_IDEMPOTENT, "acks": "all", "max_block_ms": 10_000, "retries": 5, **options}
    client = KafkaProducer(
        bootstrap_servers=story.bootstrap, compression_type=None if codec == "none" else codec, **options
    )
    try:
        yield client
    finally:
        client.close(5)


@contextmanager
def consumer(*assigned, group=None, reset="earliest", **options):
    client = open_consumer(group, reset, **options)
    try:
        if assigned:
            client.assign(list(assigned))
        yield client
    finally:
        client.close()


def open_consumer(group=None, reset="earliest", **options):
    return KafkaConsumer(
        bootstrap_servers=story.bootstrap,
        group_id=group and name(group),
        auto_offset_reset=reset,
        **{
            **KNOWN,
            "enable_auto_commit": False,
            "heartbeat_interval_ms": 100,
            "metadata_max_age_ms": 500,
            "fetch_max_wait_ms": 100,
            **options,
        },
    )


def at(topic, partition=0):
    return TopicPartition(name(topic), partition)


def make(topic, partitions=1, **configs):
    """A topic for a step of its own."""
    with admin() as client:
        made = client.create(name(topic), partitions, {**KEPT, **configs})
        if made["error"] or not client.ready(name(topic), partitions):
            raise RuntimeError(f"{topic} was not made: {made}")


def fill(topic, partitions, records):
    """Numbered records into each partition."""
    with producer() as client:
        for partition in range(partitions):
            for number in range(records):
                client.send(name(topic), b"%d" % number, partition=partition, timestamp_ms=BASE_TIME_MS + number)
        client.flush(10)


def read(client, wanted, seconds=8):
    """Polls until so many records came; they are given in the order of partitions and offsets."""
    records = []

    def enough():
        for found in client.poll(timeout_ms=200, max_records=wanted - len(records)).values():
            records.extend(found)
        return len(records) >= wanted

    until(enough, seconds, pause=0)
    return sorted(records, key=lambda record: (record.topic, record.partition, record.offset))


def error_of(error):
    return {"error": type(error).__name__, "code": getattr(error, "errno", None)}


def outcome(call, *arguments, **options):
    """What a call returned, or the client's error."""
    try:
        return {"answer": call(*arguments, **options)}
    except (KafkaError, ValueError, AssertionError) as error:
        return error_of(error)


def sent(client, topic, **record):
    """What came of sending one record."""
    try:
        told = client.send(name(topic), **record).get(10)
    except KafkaError as error:
        return error_of(error)
    return {"offset": told.offset, "partition": told.partition, "timestamp": told.timestamp}


# Topics and their configurations


@story.step()
def cluster():
    with admin() as client:
        yield client.cluster()


@story.step()
def create_topics():
    with admin() as client:
        for topic, partitions, configs, options in CREATIONS:
            seen = client.create(name(topic), partitions, configs, **options)
            yield {"topic": topic, **options, **seen}
        if MODERN:
            yield {"topic": "counts", **client.create(name("counts"), -1, {}, replication=-1)}


@story.step()
def describe_topics():
    with admin() as client:
        client.ready(name("made"), 3)
        for topic in ("made", "defaults", "checked"):
            until(lambda: topic == "checked" or client.topic(name(topic))["partitions"])
            yield client.topic(name(topic))
        wanted = [name(topic) for topic in ["counts"] * MODERN + ["defaults", "made"]]
        yield {"names": settled(lambda: client.names(story.prefix), wanted)}
        yield {"set": client.set_configs_of(name("made"))}
        all_of_it = client.configs("TOPIC", name("defaults"))
        for key in TOPIC_CONFIGS:
            yield {"config": key, **all_of_it[key]}
        yield {"unknown": outcome(client.configs, "TOPIC", name("unknown"))}
        broker = client.configs("BROKER", "1")
        for key in BROKER_CONFIGS:
            yield {"broker": key, **broker[key]}


@story.step()
def add_partitions():
    with admin() as client:
        for topic, total in (("made", 5), ("made", 5), ("made", 2), ("unknown", 2)):
            yield {"topic": topic, "total": total, **client.add_partitions(name(topic), total)}
        client.ready(name("made"), 5)
        yield client.topic(name("made"))


@story.step()
def alter_configs():
    with admin() as client:
        for topic, configs in ALTERATIONS:
            yield {"topic": topic, "asked": configs, "answer": client.alter(name(topic), configs)}
        wanted = {**ALTERATIONS[0][1], **({"cleanup.policy": "compact,delete"} if MODERN else {})}
        yield {"set": settled(lambda: client.set_configs_of(name("made")), wanted)}


@story.step(when=MODERN)
def alter_configs_by_operation():
    with admin() as client:
        asked = [
            {"max.message.bytes": (AlterConfigOp.DELETE, None)},
            {"cleanup.policy": (AlterConfigOp.SUBTRACT, "compact")},
            {"cleanup.policy": (AlterConfigOp.APPEND, "compact")},
            {"retention.ms": (AlterConfigOp.APPEND, "1")},
        ]
        for configs in asked:
            yield {"asked": sorted(configs), "answer": client.alter(name("made"), configs)}
        wanted = {"cleanup.policy": "delete,compact", "retention.ms": "86400000"}
        yield {"set": settled(lambda: client.set_configs_of(name("made")), wanted)}
        yield {"replaced": client.alter(name("made"), {"retention.ms": "1000000"}, incremental=False)}
        wanted["retention.ms"] = "1000000"
        yield {"set": settled(lambda: client.set_configs_of(name("made")), wanted)}


# Records


def send_samples(codec, acks, records):
    """Sends records to the partition of their acks and waits until they are there."""
    partition = ACKS.index(acks)
    with producer(codec, acks=acks, linger_ms=20) as client:
        futures = [
            client.send(
                name(codec), record.value, key=record.key, headers=record.headers,
                partition=partition, timestamp_ms=record.timestamp_ms,
            )
            for record in records
        ]
        client.flush(10)
        return [future.get(10) for future in futures]


def send_all(codec):
    make(codec, len(ACKS))
    with consumer() as watcher:
        for acks in ACKS:
            where = at(codec, ACKS.index(acks))
            watcher.end_offsets([where])  # a leader answers, so what is not acknowledged arrives too
            told = send_samples(codec, acks, RECORDS)
            end = settled(lambda: watcher.end_offsets([where]), {where: len(told)})
            yield {
                "codec": codec,
                "acks": acks,
                "offsets": [done.offset for done in told] if acks else "not told",
                "timestamps": [done.timestamp for done in told],
                "end": end[where],
            }


def as_printed(record):
    return {
        "topic": record.topic, "partition": record.partition, "offset": record.offset,
        "key": shown(record.key), "value": shown(record.value), "headers": shown_headers(record.headers),
        "timestamp": record.timestamp, "timestamp type": record.timestamp_type,
    }


def read_all(codec):
    everything = [at(codec, partition) for partition in range(len(ACKS))]
    with consumer(*everything) as client:
        ends = client.end_offsets(everything)
        for record in read(client, sum(ends.values())):
            yield as_printed(record)
        yield {"positions": [client.position(where) for where in everything]}


for codec in CODECS:

    def produce(codec=codec):
        yield from send_all(codec)

    def consume(codec=codec):
        yield from read_all(codec)

    story.step()(produce)
    story.step()(consume)


@story.step()
def small_fetches():
    """A record larger than what is asked for comes all the same."""
    with consumer(at("none", 1), max_partition_fetch_bytes=1_000) as client:
        yield {"offsets": [record.offset for record in read(client, len(RECORDS))]}


@story.step(when=MODERN)
def produce_idempotently():
    make("idempotent", 2)
    with producer("lz4", enable_idempotence=True) as client:
        for partition in (0, 1, 0):
            told = [client.send(name("idempotent"), b"%d" % number, partition=partition) for number in range(50)]
            client.flush(10)
            yield {"partition": partition, "offsets": [future.get(10).offset for future in told]}


@story.step()
def produce_too_much():
    make("small", **SMALL)
    make("made-by-default")
    for codec, topic, value in SIZES:
        with producer(codec, max_request_size=5_000_000) as client:
            seen = sent(client, topic, value=value, partition=0, timestamp_ms=BASE_TIME_MS)
            yield {"codec": codec, "topic": topic, "bytes": len(value), **seen}


@story.step()
def produce_by_key():
    make("keyed", 5)
    with producer() as client:
        for key in (b"", b"a", b"b", b"headwater", b"\x00" * 20):
            yield {"key": shown(key), **sent(client, "keyed", key=key, value=b"v", timestamp_ms=BASE_TIME_MS)}


@story.step()
def time_of_appending():
    make("append-time", **{"message.timestamp.type": "LogAppendTime"})
    with producer() as client:
        told = client.send(name("append-time"), b"v", partition=0, timestamp_ms=BASE_TIME_MS).get(10)
        yield {"told now": abs(told.timestamp - time.time() * 1000) < 600_000}
    with consumer(at("append-time")) as client:
        for record in read(client, 1):
            yield {
                "now": abs(record.timestamp - time.time() * 1000) < 600_000,
                "as told": record.timestamp == told.timestamp,
                "timestamp type": record.timestamp_type,
            }


@story.step()
def create_by_producing():
    with producer() as client:
        yield sent(client, "unheard-of", value=b"v", timestamp_ms=BASE_TIME_MS)
    with producer(max_block_ms=500) as client:
        yield {"invalid": outcome(client.partitions_for, "not/a/topic")}
    with admin() as client:
        yield client.topic(name("unheard-of"))
        yield {"set": client.set_configs_of(name("unheard-of"))}


# Offsets


@story.step()
def fill_times():
    make("times", 3)
    with producer() as client:
        for time_ms in TIMES:  # a batch each
            yield sent(client, "times", value=b"v", partition=0, timestamp_ms=BASE_TIME_MS + time_ms)
    with producer("gzip", linger_ms=1_000) as client:  # one batch
        for time_ms in TIMES:
            client.send(name("times"), b"v", partition=1, timestamp_ms=BASE_TIME_MS + time_ms)
        client.flush(10)


@story.step()
def offsets_by_time():
    where = [at("times", partition) for partition in range(3)]
    with consumer() as client:
        yield {"beginning": [client.beginning_offsets(where)[which] for which in where]}
        yield {"end": [client.end_offsets(where)[which] for which in where]}
        for time_ms in TIMES_ASKED_FOR:
            seen = client.offsets_for_times({which: BASE_TIME_MS + time_ms for which in where})
            yield {
                "time": time_ms,
                "found": [found and [found.offset, found.timestamp - BASE_TIME_MS] for found in map(seen.get, where)],
            }
        yield {"negative": outcome(client.offsets_for_times, {where[0]: -5})}


@story.step(when=MODERN)
def offsets_by_specification():
    with admin() as client:
        for specification in ("EARLIEST", "LATEST", "MAX_TIMESTAMP"):
            seen = client.client.list_partition_offsets(
                {at("times", partition): OffsetSpec[specification] for partition in range(3)}
            )
            yield {"asked": specification, "found": [[seen[at("times", n)].offset, seen[at("times", n)].timestamp] for n in range(3)]}


@story.step()
def seek():
    where = at("none", 1)
    with consumer(where) as client:
        yield {"first": client.position(where)}
        for move in (lambda: client.seek(where, 3), lambda: client.seek_to_beginning(where), lambda: client.seek_to_end(where)):
            move()
            position = client.position(where)
            found = read(client, 1, seconds=0.5)
            yield {"position": position, "read": [record.offset for record in found], "high watermark": client.highwater(where)}
        yield {"negative": outcome(client.seek, where, -5)}


@story.step()
def seek_out_of_range():
    where = at("none", 1)
    for reset in ("earliest", "latest", "none"):
        with consumer(where, reset=reset) as client:
            client.seek(where, 1_000)
            if reset == "none":
                yield {"reset": reset, **outcome(lambda: [record.offset for record in read(client, 1, seconds=5)])}
                continue
            if reset == "latest":
                settled(lambda: client.poll(timeout_ms=100) or client.position(where), len(RECORDS))
            found = read(client, 1, seconds=0.5 if reset == "latest" else 5)
            yield {"reset": reset, "read": [record.offset for record in found], "position": client.position(where)}


# Groups


@story.step()
def fill_groups():
    make("queue")
    fill("queue", 1, 20)
    make("shared", 4)
    fill("shared", 4, 5)
    for topic in ("pattern-a", "pattern-b"):
        make(topic, 2)
    yield {"filled": True}


@story.step(20)
def commit_and_go_on():
    where = at("queue")
    with consumer(group="queue") as client:
        client.subscribe([name("queue")])
        yield {"committed before": client.committed(where)}
        yield {"read": [record.offset for record in read(client, 10)]}
        client.commit()
        yield {"sync": client.committed(where), "position": client.position(where)}
        read(client, 2)
        done = client.commit_async({where: OffsetAndMetadata(12, "with words", *[-1] * MODERN)})
        until(lambda: client.poll(timeout_ms=50) is not None and done.is_done)
        seen = client.committed(where, metadata=True)
        yield {"async": [seen.offset, seen.metadata], "succeeded": done.succeeded()}
        yield {"too long": outcome(client.commit, {where: OffsetAndMetadata(12, "m" * 5_000, *[-1] * MODERN)})}
    with consumer(group="queue") as client:
        client.subscribe([name("queue")])
        yield {"read on": [record.offset for record in read(client, 8)], "lag": client.end_offsets([where])[where] - 12}
        client.commit()
        yield {"committed": client.committed(where)}
    with consumer(where, group="queue") as client:  # without being a member
        yield {"position": client.position(where)}
        client.commit({where: OffsetAndMetadata(7, "alone", *[-1] * MODERN)})
        yield {"set back": client.committed(where)}
    with consumer(where, group="nobody", reset="none") as client:
        yield {"nothing committed": outcome(client.poll, 500)}


@story.step()
def commit_by_closing():
    with consumer(group="closing", enable_auto_commit=True, auto_commit_interval_ms=60_000) as client:
        client.subscribe([name("queue")])
        yield {"read": [record.offset for record in read(client, 5)]}
    with admin() as client:
        yield {"offsets": client.group_offsets(name("closing"))}


def member(group, topics=None, pattern=None, **options):
    def join():
        client = open_consumer(group, **options)
        client.subscribe(topics or (), pattern=pattern)
        return client

    return Member(
        join,
        lambda client: client.poll(timeout_ms=500),
        lambda client: [(where.topic, where.partition) for where in client.assignment()],
        lambda client: client.close(),
    )


SHARED = [(name("shared"), partition) for partition in range(4)]


def share(group, assignor):
    """Two members, one of which goes."""
    options = {"partition_assignment_strategy": [assignor]}
    first = member(group, [name("shared")], **options)
    yield {"assignor": assignor.name, "one": balance([first], SHARED)}
    second = member(group, [name("shared")], **options)
    yield {"assignor": assignor.name, "two": balance([first, second], SHARED)}
    with admin() as client:
        yield {"group": settled_group(client, group, 2)}
        yield {"deleted": client.delete_group(name(group))}
    first.leave()
    yield {"assignor": assignor.name, "the other": balance([second], SHARED)}
    second.leave()
    with admin() as client:
        yield {"left": settled_group(client, group, 0)}


def settled_group(client, group, members):
    def stable():
        seen = client.group(name(group))
        return seen if len(seen["members"]) == members and seen["state"] == ("Stable" if members else "Empty") else None

    return until(stable) or client.group(name(group))


for assignor in ASSIGNORS:

    def share_partitions(assignor=assignor):
        yield from share(f"shared-{assignor.name}", assignor)

    story.step(40)(share_partitions)


@story.step(20)
def subscribe_by_pattern():
    everything = [(name(f"pattern-{last}"), partition) for last in "ab" for partition in range(2)]
    only = member("pattern", pattern=f"^{name('pattern-')}.*")
    yield balance([only], everything)
    if not MODERN:  # version 3 does not look again
        make("pattern-c", 2)
        everything += [(name("pattern-c"), partition) for partition in range(2)]
        yield {"one more": balance([only], everything)}
    only.leave()


@story.step(30, when=MODERN)
def static_members():
    options = {"partition_assignment_strategy": [RangePartitionAssignor]}
    first, second = (member("static", [name("shared")], group_instance_id=f"instance-{n}", **options) for n in "ab")
    yield balance([first, second], SHARED)
    had = first.partitions
    first.leave()
    again = member("static", [name("shared")], group_instance_id="instance-a", **options)
    yield {"back": balance([again, second], SHARED), "as before": again.partitions == had}
    twin = member("static", [name("shared")], group_instance_id="instance-a", **options)
    yield {"twin": balance([twin, second], SHARED)}
    offsets = {at("shared"): OffsetAndMetadata(1, "", -1)}
    yield {"fenced": again.leave(lambda client: outcome(client.commit, offsets))}
    with admin() as client:
        yield {"group": settled_group(client, "static", 2)}
        twin.leave(), second.leave()
        asked = [MemberToRemove(group_instance_id=f"instance-{n}") for n in "ac"]
        removed = client.client.remove_group_members(name("static"), asked)
        yield {"removed": sorted(error.__name__ for error in removed.values())}
        yield {"one of two": until(lambda: len(client.group(name("static"))["members"]) == 1)}
        removed = client.client.remove_group_members(name("static"), [MemberToRemove(group_instance_id="instance-b")])
        yield {"removed": sorted(error.__name__ for error in removed.values()), "left": settled_group(client, "static", 0)}


@story.step()
def groups():
    with admin() as client:
        for group in client.groups(story.prefix):
            yield {"group": group}
        yield {"offsets": client.group_offsets(name("queue"))}
        yield {"asked for": client.group_offsets(name("queue"), [at("queue"), at("shared", 3)])}
        for group in ("queue", "unknown"):
            yield {"described": client.group(name(group))}
            yield {"deleted": client.delete_group(name(group))}
        yield {"offsets": client.group_offsets(name("queue"))}
        yield {"groups": [group[0] for group in client.groups(story.prefix)]}


@story.step(when=MODERN)
def offsets_of_groups():
    with admin() as opened:
        client, group = opened.client, name("altered")
        asked = {at("shared", partition): OffsetAndMetadata(partition, f"to {partition}", -1) for partition in range(4)}

        def told(answers):
            return sorted([where.partition, error.__name__] for where, error in answers.items())

        yield {"altered": told(client.alter_group_offsets(group, asked)), "offsets": opened.group_offsets(group)}
        unknown = TopicPartition(name("unknown"), 0)
        yield {"unknown topic": told(client.alter_group_offsets(group, {unknown: OffsetAndMetadata(1, "", -1)}))}
        yield {"reset": sorted(
            [where.partition, answer["error"].__name__, answer["offset"]]
            for where, answer in client.reset_group_offsets(group, {at("shared", 0): OffsetSpec.LATEST, at("shared", 1): 2}).items()
        )}
        yield {"deleted": told(client.delete_group_offsets(group, [at("shared", 3), unknown])), "offsets": opened.group_offsets(group)}
        yield {"no group": outcome(client.delete_group_offsets, name("unknown"), [at("shared", 3)])}
        yield {"described": opened.group(group), "listed": opened.groups(group)}
        busy = member("altered", [name("shared")])
        balance([busy], SHARED)
        yield {"busy altered": told(client.alter_group_offsets(group, asked))}
        yield {"busy deleted": outcome(lambda: told(client.delete_group_offsets(group, [at("shared", 0)])))}
        yield {"stable": [listed[0] for listed in opened.groups(story.prefix, states_filter=["Stable"])]}
        busy.leave()


# The rest of administration


@story.step(when=MODERN)
def delete_records():
    with admin() as opened, consumer() as watcher:
        where = at("shared", 0)
        for before in (2, 1, -1, 1_000):
            seen = outcome(opened.client.delete_records, {where: before})
            if "answer" in seen:
                (answer,) = seen["answer"].values()
                seen = {**verdict(answer["error_code"]), "low watermark": answer["low_watermark"]}
            yield {"before": before, **seen, "beginning": list(watcher.beginning_offsets([where]).values())}
        yield {"unknown": outcome(opened.client.delete_records, {at("unknown"): 1})}


@story.step(when=MODERN)
def log_directories():
    with admin() as opened:
        (seen,) = opened.client.describe_log_dirs({name("shared"): [0, 1]})
        for directory in seen["log_dirs"]:
            found = [
                [topic["name"], partition["partition_index"], partition["is_future_key"]]
                for topic in directory["topics"] for partition in topic["partitions"]
            ]
            yield {"error": directory["error_code"], "found": sorted(found)}


@story.step()
def delete_topics():
    with admin() as client:
        for topic in ("made", "made", "unknown"):
            yield {"topic": topic, **client.delete(name(topic))}
            until(lambda: client.topic(name("made"))["error"])
        yield client.topic(name("made"))
        yield {"again": client.create(name("made"), 1, KEPT), "ready": bool(client.ready(name("made"), 1))}
    with producer() as client:
        yield sent(client, "made", value=b"first", partition=0, timestamp_ms=BASE_TIME_MS)
    with admin() as client:
        for topic in client.names(story.prefix):
            yield {"topic": topic, **client.delete(topic)}
        yield {"names": settled(lambda: client.names(story.prefix), [])}


story.tell()
