"""The story of pykafka, which speaks the oldest versions of the protocol and the message formats of before 0.11."""

import datetime
import logging
from contextlib import contextmanager

from pykafka import KafkaClient
from pykafka.common import CompressionType, OffsetType
from pykafka.exceptions import KafkaException
from pykafka.membershipprotocol import RangeProtocol, RoundRobinProtocol
from pykafka.protocol import CreateTopicRequest

from material import BASE_TIME_MS, CREATIONS, KEPT, SIZES, SMALL, TIMES, samples, shown
from story import Member, Story, balance, settled, until

logging.basicConfig(level=logging.CRITICAL)
story = Story()
name = story.name

CODECS = {kind.lower(): getattr(CompressionType, kind) for kind in ("NONE", "GZIP", "SNAPPY", "LZ4")}
ACKS = [0, 1, -1]  # the number of the partition that each writes to
FORMATS = {"0.9.0": 0, "1.0.0": 1}  # what a client that believes in this version writes
RECORDS = samples(with_headers=False)
# More than one block of lz4 would depend on one another here, which Kafka refuses.
OF_ONE_BLOCK = [record for record in RECORDS if len(record.value or b"") < 30_000]
EPOCH = datetime.datetime(1970, 1, 1)


def instant(milliseconds):
    return EPOCH + datetime.timedelta(milliseconds=BASE_TIME_MS + milliseconds)


def connect(version="1.0.0"):
    return KafkaClient(story.bootstrap, broker_version=version)


def broker(client):
    return next(iter(client.brokers.values()))


def topic(client, last):
    return client.topics[name(last).encode()]


def error_of(error):
    """An error; one that the client has no name for is a KeyError of its code."""
    return {"error": type(error).__name__, "code": getattr(error, "ERROR_CODE", str(error))}


def outcome(call, *arguments, **options):
    """What a call returned, or the client's error."""
    try:
        return {"answer": call(*arguments, **options)}
    except (KafkaException, KeyError, ValueError) as error:
        return error_of(error)


def done(call, *arguments, **options):
    """Whether a call went well; what it returned says no more."""
    seen = outcome(call, *arguments, **options)
    return seen if "error" in seen else {"error": None}


def create(client, last, partitions, configs, replication=1):
    entries = [(key.encode(), value.encode()) for key, value in configs.items()]
    wanted = CreateTopicRequest(name(last).encode(), partitions, replication, [], entries)
    return done(broker(client).create_topics, [wanted], timeout=5_000)


def make(last, partitions=1, **configs):
    """A topic for a step of its own, once its leaders tell of its ends."""
    made = create(connect(), last, partitions, {**KEPT, **configs})
    if made["error"]:
        raise RuntimeError(f"{last} was not made: {made}")

    def led():
        try:
            return len(topic(connect(), last).latest_available_offsets()) == partitions
        except (KafkaException, KeyError):
            return False

    until(led)


@contextmanager
def producer(client, last, partition=0, **options):
    made = topic(client, last).get_producer(
        partitioner=lambda partitions, key: next(one for one in partitions if one.id == partition),
        **{"delivery_reports": True, "linger_ms": 50, "min_queued_messages": 100, "max_retries": 3, **options},
    )
    try:
        yield made
    finally:
        made.stop()


def deliver(client, records):
    """Sends (value, key, milliseconds), as one set if there is time for that; gives what came of each."""
    sent = [
        client.produce(value, partition_key=key, timestamp=None if time_ms is None else instant(time_ms))
        for value, key, time_ms in records
    ]
    told = {id(message): error for message, error in (client.get_delivery_report(timeout=10) for _ in sent)}
    return [error_of(told[id(message)]) if told[id(message)] else message.offset for message in sent]


@contextmanager
def consumer(client, last, partitions=None, **options):
    where = topic(client, last)
    chosen = None if partitions is None else [where.partitions[number] for number in partitions]
    made = where.get_simple_consumer(partitions=chosen, consumer_timeout_ms=1_000, **options)
    try:
        yield made
    finally:
        made.stop()


def read(client, wanted):
    """Reads until so many came or none comes any more; in the order of partitions and offsets."""
    found = []
    while len(found) < wanted and (message := client.consume()):
        found.append(message)
    return sorted(found, key=lambda message: (message.partition_id, message.offset))


def ends(limits):
    return {number: limits[number].offset for number in sorted(limits)}


@story.step()
def cluster():
    client = connect()
    yield {"brokers": len(client.brokers), "controller": client.cluster.controller_broker is not None}


@story.step()
def create_topics():
    client = connect()
    for last, partitions, configs, options in CREATIONS:
        if "validate_only" not in options:  # which it does not know
            yield {"topic": last, **options, **create(client, last, partitions, configs, **options)}

    def names():
        found = connect().topics.keys()
        return sorted(key.decode() for key in found if key.startswith(story.prefix.encode()))

    yield {"names": settled(names, [name("defaults"), name("made")])}
    yield {"partitions": sorted(topic(connect(), "made").partitions)}


for codec in CODECS:
    for version, written in FORMATS.items():

        def produce(codec=codec, version=version, written=written):
            last, chosen = f"{codec}-{written}", OF_ONE_BLOCK if codec == "lz4" else RECORDS
            make(last, len(ACKS))
            client = connect(version)
            for partition, acks in enumerate(ACKS):
                with producer(client, last, partition, required_acks=acks, compression=CODECS[codec]) as sender:
                    records = [(record.value, record.key, number if written else None) for number, record in enumerate(chosen)]
                    told = deliver(sender, records)
                end = settled(lambda: ends(topic(client, last).latest_available_offsets())[partition], [len(chosen)])
                yield {"codec": codec, "format": written, "acks": acks, "offsets": told if acks else "not told", "end": end}

        def consume(codec=codec, version=version, written=written):
            client = connect(version)
            with consumer(client, f"{codec}-{written}") as reader:
                for message in read(reader, len(ACKS) * len(OF_ONE_BLOCK if codec == "lz4" else RECORDS)):
                    yield {
                        "codec": codec, "format": message.protocol_version, "partition": message.partition_id,
                        "offset": message.offset, "key": shown(message.partition_key), "value": shown(message.value),
                        "timestamp": message.timestamp,
                    }
                yield {"held": {str(number): offset for number, offset in sorted(reader.held_offsets.items())}}

        story.step(20)(produce)
        story.step(20)(consume)


@story.step()
def read_the_newer_format():
    """What was written with one format, asked for by a client that only knows the older one."""
    with consumer(connect("0.9.0"), "gzip-1") as reader:
        for message in read(reader, len(ACKS) * len(RECORDS)):
            yield {"format": message.protocol_version, "partition": message.partition_id, "offset": message.offset,
                   "key": shown(message.partition_key), "value": shown(message.value)}


@story.step()
def produce_too_much():
    make("small", **SMALL)
    make("made-by-default")
    for codec, last, value in SIZES:
        with producer(connect(), last, compression=CODECS[codec], max_request_size=5_000_000) as sender:
            yield {"codec": codec, "topic": last, "bytes": len(value), "told": deliver(sender, [(value, None, 0)])}


@story.step()
def create_by_producing():
    client = connect()
    yield {"first asked for": done(lambda: topic(client, "unheard-of"))}
    until(lambda: done(lambda: topic(client, "unheard-of"))["error"] is None)
    with producer(client, "unheard-of") as sender:
        yield {"told": deliver(sender, [(b"v", None, 0)])}
    yield {"partitions": sorted(topic(client, "unheard-of").partitions)}
    yield {"invalid": done(lambda: topic(client, "not/a/topic"))}


@story.step()
def offsets():
    make("times", 2)
    client = connect()
    with producer(client, "times") as sender:
        yield {"told": deliver(sender, [(b"v", None, time_ms) for time_ms in TIMES])}
    where = topic(client, "times")
    yield {"beginning": ends(where.earliest_available_offsets()), "end": ends(where.latest_available_offsets())}
    for time_ms in (-1000, 450, 10**12):
        yield {"time": time_ms, "found": ends(where.fetch_offset_limits(instant(time_ms)))}


@story.step()
def out_of_range():
    client = connect()
    for reset in ("EARLIEST", "LATEST"):
        with consumer(client, "none-1", [1], auto_offset_reset=getattr(OffsetType, reset)) as reader:
            reader.reset_offsets([(topic(client, "none-1").partitions[1], 1_000)])
            yield {"reset": reset, "read": [message.offset for message in read(reader, 1)]}


@story.step()
def fill_groups():
    make("queue")
    make("shared", 4)
    client = connect()
    with producer(client, "queue") as sender:
        yield {"told": deliver(sender, [(b"%d" % number, None, number) for number in range(20)])}
    for partition in range(4):
        with producer(client, "shared", partition) as sender:
            yield {"told": deliver(sender, [(b"%d" % number, None, number) for number in range(5)])}


@story.step(20)
def commit_and_go_on():
    client, group = connect(), name("queue").encode()
    with consumer(client, "queue", consumer_group=group) as reader:
        yield {"read": [message.offset for message in read(reader, 10)]}
        reader.commit_offsets()
        yield {"committed": [[number, found.offset] for number, found in reader.fetch_offsets()]}
    with consumer(client, "queue", consumer_group=group) as reader:
        yield {"read on": [message.offset for message in read(reader, 20)]}
        reader.commit_offsets([(topic(client, "queue").partitions[0], 3)])
    with consumer(client, "queue", consumer_group=group, auto_commit_enable=True, auto_commit_interval_ms=60_000) as reader:
        yield {"set back": [message.offset for message in read(reader, 2)]}
    with consumer(client, "queue", consumer_group=group) as reader:
        yield {"committed by closing": [[number, found.offset] for number, found in reader.fetch_offsets()]}


SHARED = [(name("shared"), partition) for partition in range(4)]


def member(group, protocol):
    def join():
        return topic(connect(), "shared").get_balanced_consumer(
            name(group).encode(), managed=True, membership_protocol=protocol,
            heartbeat_interval_ms=300, consumer_timeout_ms=200, rebalance_backoff_ms=300,
        )

    return Member(
        join,
        lambda client: client.consume(),
        lambda client: [(name("shared"), number) for number in client.partitions or ()],
        lambda client: client.stop(),
    )


def described(group):
    (seen,) = broker(connect()).describe_groups([name(group).encode()]).groups.values()
    return {
        "state": seen.state.decode(), "type": seen.protocol_type.decode(), "protocol": seen.protocol.decode(),
        "members": len(seen.members),
    }


for protocol in (RangeProtocol, RoundRobinProtocol):

    def share_partitions(protocol=protocol):
        """Two members, one of which goes."""
        group = f"shared-{protocol.protocol_name.decode()}"
        first = member(group, protocol)
        yield {"protocol": group, "one": balance([first], SHARED)}
        second = member(group, protocol)
        yield {"protocol": group, "two": balance([first, second], SHARED)}
        yield {"group": until(lambda: (seen := described(group))["state"] == "Stable" and seen) or described(group)}
        first.leave()
        yield {"protocol": group, "the other": balance([second], SHARED)}
        second.leave()
        yield {"left": until(lambda: (seen := described(group))["state"] == "Empty" and seen) or described(group)}

    story.step(40)(share_partitions)


@story.step()
def groups():
    # Only one with offsets: Kafka 3.9 forgets groups without members or offsets when any topic is deleted.
    found = broker(connect()).list_groups().groups
    yield {"type": found[name("queue").encode()].protocol_type.decode()}
    yield {"unknown": described("unknown")}


@story.step()
def delete_topics():
    client = connect()

    def names():
        return sorted(key for key in connect().topics if key.startswith(story.prefix.encode()))

    yield {"unknown": done(broker(client).delete_topics, [name("unknown").encode()], timeout=5_000)}
    for key in names():
        yield {"topic": key.decode(), **done(broker(client).delete_topics, [key], timeout=5_000)}
    yield {"names": len(settled(names, []))}


story.tell()
