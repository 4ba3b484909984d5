"""The story of aiokafka."""

import asyncio
import logging
import time
from contextlib import asynccontextmanager

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import RecordsToDelete
from aiokafka.coordinator.assignors.range import RangePartitionAssignor
from aiokafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor
from aiokafka.errors import KafkaError

from aiokafka_admin import Admin
from material import (
    ACKS, ALTERATIONS, BASE_TIME_MS, BROKER_CONFIGS, CODECS, CREATIONS, KEPT, SIZES, SMALL, TIMES, TIMES_ASKED_FOR,
    TOPIC_CONFIGS, samples, shown, shown_headers,
)
from story import Story, shared_out, shares

logging.basicConfig(level=logging.ERROR)
story = Story()
name = story.name
RECORDS = samples()


def admin():
    return Admin(story.bootstrap)


@asynccontextmanager
async def producer(codec="none", **options):
    client = AIOKafkaProducer(
        bootstrap_servers=story.bootstrap,
        compression_type=None if codec == "none" else codec,
        **{"acks": "all", "request_timeout_ms": 10_000, **options},
    )
    await client.start()
    try:
        yield client
    finally:
        await client.stop()


async def join(group=None, topics=(), pattern=None, assigned=(), reset="earliest", **options):
    client = AIOKafkaConsumer(
        bootstrap_servers=story.bootstrap,
        group_id=group and name(group),
        auto_offset_reset=reset,
        **{
            "enable_auto_commit": False,
            "heartbeat_interval_ms": 300,
            "metadata_max_age_ms": 1_000,
            "fetch_max_wait_ms": 100,
            **options,
        },
    )
    await client.start()
    if assigned:
        client.assign(list(assigned))
    elif topics or pattern:
        client.subscribe(topics, pattern=pattern)
    return client


@asynccontextmanager
async def consumer(*assigned, **options):
    client = await join(assigned=assigned, **options)
    try:
        yield client
    finally:
        await client.stop()


def at(topic, partition=0):
    return TopicPartition(name(topic), partition)


async def until(holds, seconds=8):
    """Waits for what a broker does in its own time. What `holds` returned last is the answer, settled or not."""
    end = time.monotonic() + seconds
    while not (answer := await holds()) and time.monotonic() < end:
        await asyncio.sleep(0.05)
    return answer


async def settled(look, wanted, seconds=8):
    """What `look` sees, as soon as it is `wanted`, or what it saw last."""
    end = time.monotonic() + seconds
    while (seen := await look()) != wanted and time.monotonic() < end:
        await asyncio.sleep(0.05)
    return seen


async def make(topic, partitions=1, **configs):
    """A topic for a step of its own."""
    async with admin() as client:
        made = await client.create(name(topic), partitions, {**KEPT, **configs})
        if made["error"] or not await until(lambda: client.led(name(topic), partitions)):
            raise RuntimeError(f"{topic} was not made: {made}")


async def fill(topic, partitions, records):
    """Numbered records into each partition."""
    async with producer() as client:
        for partition in range(partitions):
            for number in range(records):
                await client.send(name(topic), b"%d" % number, partition=partition, timestamp_ms=BASE_TIME_MS + number)
        await client.flush()


async def read(client, wanted, seconds=8):
    """Reads until so many records came; they are given in the order of partitions and offsets."""
    records = []
    end = time.monotonic() + seconds
    while len(records) < wanted and time.monotonic() < end:
        for found in (await client.getmany(timeout_ms=200, max_records=wanted - len(records))).values():
            records.extend(found)
    return sorted(records, key=lambda record: (record.topic, record.partition, record.offset))


async def outcome(work):
    """What something gave, or the client's error."""
    try:
        return {"answer": await work}
    except (KafkaError, ValueError, AssertionError) as error:
        return {"error": type(error).__name__, "code": getattr(error, "errno", None)}


async def sent(client, topic, **record):
    """What came of sending one record."""
    seen = await outcome(client.send_and_wait(name(topic), **record))
    told = seen.get("answer")
    return {"offset": told.offset, "partition": told.partition, "timestamp": told.timestamp} if told else seen


# Topics and their configurations


@story.step()
async def cluster():
    async with admin() as client:
        yield await client.cluster()


@story.step()
async def create_topics():
    async with admin() as client:
        for topic, partitions, configs, options in CREATIONS:
            yield {"topic": topic, **options, **await client.create(name(topic), partitions, configs, **options)}


@story.step()
async def describe_topics():
    async with admin() as client:
        # Version 0.14 creates what it describes, so what does not exist is not looked at.
        for topic, partitions in (("made", 3), ("defaults", 1)):
            await until(lambda: client.led(name(topic), partitions))
            yield await client.topic(name(topic))
        yield {"names": await settled(lambda: client.names(story.prefix), [name("defaults"), name("made")])}
        yield {"set": await client.set_configs_of(name("made"))}
        all_of_it = await client.configs("TOPIC", name("defaults"))
        for key in TOPIC_CONFIGS:
            yield all_of_it[key]
        yield {"unknown": await outcome(client.configs("TOPIC", name("unknown")))}
        broker = await client.configs("BROKER", "1")
        for key in BROKER_CONFIGS:
            yield broker[key]


@story.step()
async def add_partitions():
    async with admin() as client:
        for topic, total in (("made", 5), ("made", 5), ("made", 2), ("unknown", 2)):
            yield {"topic": topic, "total": total, **await client.add_partitions(name(topic), total)}
        await until(lambda: client.led(name("made"), 5))
        yield await client.topic(name("made"))


@story.step()
async def alter_configs():
    async with admin() as client:
        for topic, configs in ALTERATIONS:
            yield {"topic": topic, "asked": configs, "answer": await client.alter(name(topic), configs)}
        yield {"set": await settled(lambda: client.set_configs_of(name("made")), ALTERATIONS[0][1])}


# Records


async def send_all(codec):
    await make(codec, len(ACKS))
    async with consumer() as watcher:
        for partition, acks in enumerate(ACKS):
            where = at(codec, partition)
            await watcher.end_offsets([where])  # a leader answers, so what is not acknowledged arrives too
            async with producer(codec, acks=acks, linger_ms=20) as client:
                futures = [
                    await client.send(
                        name(codec), record.value, key=record.key, headers=record.headers,
                        partition=partition, timestamp_ms=record.timestamp_ms,
                    )
                    for record in RECORDS
                ]
                told = [await future for future in futures]
            end = await settled(lambda: watcher.end_offsets([where]), {where: len(told)})
            yield {
                "codec": codec,
                "acks": acks,
                "told": [[done.offset, done.timestamp_type] for done in told if done],  # its time is the batch's
                "end": end[where],
            }


async def read_all(codec):
    everything = [at(codec, partition) for partition in range(len(ACKS))]
    async with consumer(*everything) as client:
        ends = await client.end_offsets(everything)
        for record in await read(client, sum(ends.values())):
            yield {
                "topic": record.topic, "partition": record.partition, "offset": record.offset,
                "key": shown(record.key), "value": shown(record.value), "headers": shown_headers(record.headers),
                "timestamp": record.timestamp, "timestamp type": record.timestamp_type,
            }
        yield {"positions": [await client.position(where) for where in everything]}


for codec in CODECS:

    async def produce(codec=codec):
        async for seen in send_all(codec):
            yield seen

    async def consume(codec=codec):
        async for seen in read_all(codec):
            yield seen

    story.step()(produce)
    story.step()(consume)


@story.step()
async def small_fetches():
    """A record larger than what is asked for comes all the same."""
    async with consumer(at("none", 1), max_partition_fetch_bytes=1_000) as client:
        yield {"offsets": [record.offset for record in await read(client, len(RECORDS))]}


@story.step()
async def produce_idempotently():
    await make("idempotent", 2)
    async with producer("lz4", enable_idempotence=True) as client:
        for partition in (0, 1, 0):
            told = [await client.send(name("idempotent"), b"%d" % number, partition=partition) for number in range(50)]
            yield {"partition": partition, "offsets": [(await done).offset for done in told]}


@story.step()
async def produce_too_much():
    await make("small", **SMALL)
    await make("made-by-default")
    for codec, topic, value in SIZES:
        async with producer(codec, max_request_size=5_000_000, max_batch_size=4_000_000) as client:
            seen = await sent(client, topic, value=value, partition=0, timestamp_ms=BASE_TIME_MS)
            yield {"codec": codec, "topic": topic, "bytes": len(value), **seen}


@story.step()
async def produce_by_key():
    await make("keyed", 5)
    async with producer() as client:
        for key in (b"", b"a", b"b", b"headwater", b"\x00" * 20):
            yield {"key": shown(key), **await sent(client, "keyed", key=key, value=b"v", timestamp_ms=BASE_TIME_MS)}


@story.step()
async def time_of_appending():
    await make("append-time", **{"message.timestamp.type": "LogAppendTime"})
    async with producer() as client:
        told = await client.send_and_wait(name("append-time"), b"v", partition=0, timestamp_ms=BASE_TIME_MS)
        yield {"told now": abs(told.timestamp - time.time() * 1000) < 600_000, "timestamp type": told.timestamp_type}
    async with consumer(at("append-time")) as client:
        for record in await read(client, 1):
            yield {"as told": record.timestamp == told.timestamp, "timestamp type": record.timestamp_type}


@story.step()
async def create_by_producing():
    async with producer() as client:
        yield await sent(client, "unheard-of", value=b"v", timestamp_ms=BASE_TIME_MS)
    async with producer(request_timeout_ms=500) as client:
        yield {"invalid": await outcome(client.partitions_for(name("not/a/topic")))}
    async with admin() as client:
        yield await client.topic(name("unheard-of"))
        yield {"set": await client.set_configs_of(name("unheard-of"))}


# Offsets


@story.step()
async def fill_times():
    await make("times", 3)
    async with producer() as client:
        for time_ms in TIMES:  # a batch each
            yield await sent(client, "times", value=b"v", partition=0, timestamp_ms=BASE_TIME_MS + time_ms)
    async with producer("gzip", linger_ms=500) as client:  # one batch
        for time_ms in TIMES:
            await client.send(name("times"), b"v", partition=1, timestamp_ms=BASE_TIME_MS + time_ms)
        await client.flush()


@story.step()
async def offsets_by_time():
    where = [at("times", partition) for partition in range(3)]
    async with consumer() as client:
        beginning, end = await client.beginning_offsets(where), await client.end_offsets(where)
        yield {"beginning": list(map(beginning.get, where)), "end": list(map(end.get, where))}
        for time_ms in TIMES_ASKED_FOR:
            seen = await client.offsets_for_times({which: BASE_TIME_MS + time_ms for which in where})
            yield {
                "time": time_ms,
                "found": [found and [found.offset, found.timestamp - BASE_TIME_MS] for found in map(seen.get, where)],
            }


@story.step()
async def seek():
    where = at("none", 1)
    async with consumer(where) as client:
        yield {"first": await client.position(where)}

        async def to_offset():
            client.seek(where, 3)

        moves = (to_offset, lambda: client.seek_to_beginning(where), lambda: client.seek_to_end(where))
        for move in moves:
            await move()
            position = await client.position(where)
            found = await read(client, 1, seconds=0.5)
            yield {"position": position, "read": [record.offset for record in found], "high watermark": client.highwater(where)}


@story.step()
async def seek_out_of_range():
    where = at("none", 1)
    for reset in ("earliest", "latest", "none"):
        async with consumer(where, reset=reset) as client:
            client.seek(where, 1_000)
            if reset == "none":
                yield {"reset": reset, **await outcome(read(client, 1, seconds=5))}
                continue
            if reset == "latest":

                async def position():
                    await client.getmany(timeout_ms=100)
                    return await client.position(where)

                await settled(position, len(RECORDS))
            found = await read(client, 1, seconds=0.5 if reset == "latest" else 5)
            yield {"reset": reset, "read": [record.offset for record in found], "position": await client.position(where)}


# Groups


@story.step()
async def fill_groups():
    await make("queue")
    await fill("queue", 1, 20)
    await make("shared", 4)
    await fill("shared", 4, 5)
    for topic in ("pattern-a", "pattern-b"):
        await make(topic, 2)
    yield {"filled": True}


@story.step(20)
async def commit_and_go_on():
    where = at("queue")
    async with consumer(group="queue", topics=[name("queue")]) as client:
        yield {"read": [record.offset for record in await read(client, 10)]}
        yield {"committed before": await client.committed(where)}
        await client.commit()
        yield {"committed": await client.committed(where), "position": await client.position(where)}
        await client.commit({where: (12, "with words")})
        yield {"committed": await client.committed(where)}
        yield {"too long": await outcome(client.commit({where: (12, "m" * 5_000)}))}
        async with admin() as watcher:
            yield {"offsets": await watcher.group_offsets(name("queue"))}
    async with consumer(group="queue", topics=[name("queue")]) as client:
        yield {"read on": [record.offset for record in await read(client, 8)]}
        yield {"lag": (await client.end_offsets([where]))[where] - await client.committed(where)}
        await client.commit()
        yield {"committed": await client.committed(where)}
    async with consumer(where, group="queue") as client:  # without being a member
        yield {"position": await client.position(where)}
        await client.commit({where: (7, "alone")})
        yield {"set back": await client.committed(where)}
    async with consumer(where, group="nobody", reset="none") as client:
        yield {"nothing committed": await outcome(client.getone())}


@story.step()
async def commit_by_closing():
    async with consumer(group="closing", topics=[name("queue")], enable_auto_commit=True, auto_commit_interval_ms=60_000) as client:
        yield {"read": [record.offset for record in await read(client, 5)]}
    async with admin() as client:
        yield {"offsets": await client.group_offsets(name("closing"))}


SHARED = [(name("shared"), partition) for partition in range(4)]


async def balance(members, everything):
    """What members have, as soon as they share everything."""

    def parts():
        return [frozenset((where.topic, where.partition) for where in member.assignment()) for member in members]

    async def balanced():
        return shared_out(parts(), everything)

    await until(balanced, 12)
    return shares(parts())


async def settled_group(client, group, members):
    async def stable():
        seen = await client.group(name(group))
        return seen["members"] == members and seen["state"] == ("Stable" if members else "Empty") and seen

    return await until(stable) or await client.group(name(group))


# The sticky assignor keeps what a member had in its class, so two members in one process are not two.
for assignor in (RangePartitionAssignor, RoundRobinPartitionAssignor):

    async def share_partitions(assignor=assignor):
        """Two members, one of which goes."""
        group = f"shared-{assignor.name}"
        options = {"topics": [name("shared")], "partition_assignment_strategy": [assignor]}
        first = await join(group, **options)
        yield {"assignor": assignor.name, "one": await balance([first], SHARED)}
        second = await join(group, **options)
        yield {"assignor": assignor.name, "two": await balance([first, second], SHARED)}
        async with admin() as client:
            yield {"group": await settled_group(client, group, 2)}
            await first.stop()
            yield {"assignor": assignor.name, "the other": await balance([second], SHARED)}
            await second.stop()
            yield {"left": await settled_group(client, group, 0)}

    story.step(30)(share_partitions)


@story.step(20)
async def subscribe_by_pattern():
    everything = [(name(f"pattern-{last}"), partition) for last in "ab" for partition in range(2)]
    only = await join("pattern", pattern=f"^{name('pattern-')}.*")
    yield await balance([only], everything)
    await make("pattern-c", 2)
    everything += [(name("pattern-c"), partition) for partition in range(2)]
    yield {"one more": await balance([only], everything)}
    await only.stop()


@story.step(30)
async def static_members():
    options = {"topics": [name("shared")], "partition_assignment_strategy": [RangePartitionAssignor]}
    first, second = [await join("static", group_instance_id=f"instance-{n}", **options) for n in "ab"]
    yield await balance([first, second], SHARED)
    had = first.assignment()
    await first.stop()
    again = await join("static", group_instance_id="instance-a", **options)
    yield {"back": await balance([again, second], SHARED), "as before": again.assignment() == had}
    async with admin() as client:
        yield {"group": await settled_group(client, "static", 2)}
        await again.stop()
        await second.stop()
        yield {"still there": (await client.group(name("static")))["members"]}


@story.step()
async def groups():
    async with admin() as client:
        for group in await client.groups(story.prefix):
            yield {"group": group}
        yield {"offsets": await client.group_offsets(name("queue"))}
        yield {"asked for": await client.group_offsets(name("queue"), [at("queue"), at("shared", 3)])}
        for group in ("queue", "unknown"):
            yield {"described": await client.group(name(group)), "offsets": await client.group_offsets(name(group))}


# The rest of administration


@story.step()
async def delete_records():
    where = at("shared")
    async with admin() as opened, consumer() as watcher:
        for before in (2, 1, -1, 1_000):
            seen = await outcome(opened.client.delete_records({where: RecordsToDelete(before)}))
            seen = {"low watermark": list(seen["answer"].values())} if "answer" in seen else seen
            yield {"before": before, **seen, "beginning": (await watcher.beginning_offsets([where]))[where]}
        everything = [at("shared", 0)]
    async with consumer(*everything) as client:
        await client.seek_to_beginning()
        yield {"position": await client.position(where)}


@story.step()
async def delete_topics():
    async with admin() as client:

        async def gone():
            return name("made") not in await client.names(story.prefix)

        for topic in ("made", "made", "unknown"):
            yield {"topic": topic, **await client.delete(name(topic))}
            yield {"gone": await until(gone)}
        yield {"again": await client.create(name("made"), 1, KEPT), "led": await until(lambda: client.led(name("made"), 1))}
        async with producer() as sender:
            yield await sent(sender, "made", value=b"first", partition=0, timestamp_ms=BASE_TIME_MS)
        for topic in await client.names(story.prefix):
            yield {"topic": topic, **await client.delete(topic)}
        yield {"names": await settled(lambda: client.names(story.prefix), [])}


story.tell()
