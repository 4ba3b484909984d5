"""What the stories send, ask for and show."""

import hashlib

BASE_TIME_MS = 1_700_000_000_000  # of records that carry a time of their own

# Records keep a time long past, so a topic that does not say this may lose them to retention while a story runs.
KEPT = {"retention.ms": "-1"}

CODECS = ["none", "gzip", "snappy", "lz4", "zstd"]
ACKS = [0, 1, "all"]  # the number of the partition that each writes to

# Topics to create: name, partitions, configurations and what else is asked for.
CREATIONS = [
    ("made", 3, {**KEPT, "max.message.bytes": "2000", "cleanup.policy": "compact,delete"}, {}),
    ("made", 3, {}, {}),
    ("bad/name", 1, {}, {}),
    ("none", 0, {}, {}),
    ("wide", 1, {}, {"replication": 5}),
    ("defaults", 1, {}, {}),
    ("nonsense", 1, {"nonsense": "1"}, {}),
    ("not-a-number", 1, {"retention.ms": "x"}, {}),
    ("out-of-range", 1, {"min.insync.replicas": "0"}, {}),
    ("checked", 2, {}, {"validate_only": True}),
    ("made", 2, {}, {"validate_only": True}),
]

# Configurations to set; only the first can be.
ALTERATIONS = [
    ("made", {"retention.ms": "86400000", "max.message.bytes": "3000"}),
    ("made", {"nonsense": "1"}),
    ("made", {"retention.ms": "x"}),
    ("made", {"cleanup.policy": "shred"}),
    ("unknown", {"retention.ms": "1000"}),
]

TOPIC_CONFIGS = ["cleanup.policy", "max.message.bytes", "message.timestamp.type", "retention.ms", "segment.bytes"]
BROKER_CONFIGS = ["auto.create.topics.enable", "message.max.bytes", "num.partitions"]

# Milliseconds after the base, of the records of each partition; not all in order.
TIMES = [0, 100, 100, 400, 300, 500]
TIMES_ASKED_FOR = [-1000, 0, 50, 100, 250, 350, 450, 500, 501]


def shown(value):
    """Bytes as they are printed: large ones by their digest."""
    if value is None:
        return None
    if len(value) > 64:
        return f"{len(value)} bytes, sha256 {hashlib.sha256(value).hexdigest()[:16]}"
    return value.decode("latin-1")


def shown_headers(headers):
    return [[key, shown(value)] for key, value in headers or []]


def noise(size, seed=b"noise"):
    """Bytes that no codec makes smaller, the same in every run."""
    return hashlib.shake_256(seed).digest(size)


class Sample:
    """A record to send: key, value, headers and time."""

    def __init__(self, number, key, value, headers=()):
        self.key, self.value, self.headers = key, value, list(headers)
        self.timestamp_ms = BASE_TIME_MS + number


def samples(with_headers=True, with_null_header=True):
    """Records of every shape that a client may send."""
    shapes = [
        (None, b"without a key"),
        (b"", b""),
        (b"deleted", None),
        (b"\x00\xff\x80", bytes(range(64))),
        (b"large", noise(300_000)),
        (b"repeated", b"headwater " * 2_000),
    ]
    plain = [Sample(number, key, value) for number, (key, value) in enumerate(shapes)]
    if not with_headers:
        return plain
    headers = [("name", b"value"), ("name", b"again"), ("empty", b""), ("\u00fc", b"\xff\x00")]
    headers += [("none", None)] if with_null_header else []
    return plain + [Sample(len(plain), b"headed", b"with headers", headers), Sample(len(plain) + 1, b"last", b"last")]


# Records at the edge of what a topic takes: codec, topic, value.
SIZES = [
    ("none", "made-by-default", noise(1_200_000)),
    ("gzip", "made-by-default", bytes(1_200_000)),
    ("none", "small", noise(2_000)),
    ("gzip", "small", bytes(2_000)),
    ("none", "small", noise(900)),
]
SMALL = {"max.message.bytes": "1000"}
