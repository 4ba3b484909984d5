#!/usr/bin/env python3
"""Makes schemas/kafka and schemas/records from the message definitions inside Kafka's jars.

    python3 convert.py <folder with the five jars>

The jars come from Maven Central: kafka-clients 3.9.2 and 4.4.0, kafka-group-coordinator, kafka-share-coordinator and
kafka-transaction-coordinator 4.4.0 (`mvn dependency:copy -Dartifact=org.apache.kafka:kafka-clients:4.4.0
-DoutputDirectory=<folder>`, and so on).

Facts only are carried over: names, types, versions, nullability, tags, defaults. Both releases are merged, so that a
message exists from 3.9's first version to 4.4's last; versions that a release calls unstable are dropped. Whatever the
two releases say differently is printed for a human to look at.
"""

import json
import re
import sys
import zipfile
from pathlib import Path

OLD, NEW = "kafka-clients-3.9.2.jar", "kafka-clients-4.4.0.jar"
# Internal topics: file of schemas/records, jar.
TOPICS = {
    "consumer_offsets": "kafka-group-coordinator-4.4.0.jar",
    "share_group_state": "kafka-share-coordinator-4.4.0.jar",
    "transaction_state": "kafka-transaction-coordinator-4.4.0.jar",
}
# APIs that clients and tools call; the rest is between Kafka's own brokers and controllers.
CLIENT_APIS = [*range(0, 4), *range(8, 52), 55, 57, 60, 61, *range(64, 67), 68, 69, 71, 72, *range(74, 82), *range(88, 94)]
# Opaque bytes inside group messages that have a schema of their own.
CONSUMER_PROTOCOL = ["ConsumerProtocolSubscription", "ConsumerProtocolAssignment"]
# Fields that 4.x calls by another name.
RENAMED = {
    "TxnOffsetCommitRequest.generation_id": "generation_id_or_member_epoch",
    "ListConfigResourcesResponse.client_metrics_resources": "config_resources",
    "ListConfigResourcesResponse.config_resources.name": "resource_name",
}
MAX = 32767
NONE = (1, 0)
TYPES = {
    "bool": "bool", "int8": "i8", "int16": "i16", "int32": "i32", "int64": "i64", "uint16": "u16", "uint32": "u32",
    "float64": "f64", "string": "string", "bytes": "bytes", "records": "records", "uuid": "uuid",
}


def load(jar):
    """Every message definition in a jar, by name. Lines that are comments are not JSON."""
    messages = {}
    with zipfile.ZipFile(jar) as archive:
        for name in archive.namelist():
            if name.startswith("common/message/") and name.endswith(".json"):
                text = re.sub(r"(?m)^\s*//.*$", "", archive.read(name).decode())
                try:
                    message = json.loads(text)
                except json.JSONDecodeError:
                    message = json.loads(re.sub(r'(?m)//[^"\n]*$', "", text))
                messages[message["name"]] = message
    return messages


def versions(text, default=NONE):
    if text is None:
        return default
    if text == "none":
        return NONE
    if text.endswith("+"):
        return (int(text[:-1]), MAX)
    low, _, high = text.partition("-")
    return (int(low), int(high or low))


def meet(a, b):
    both = (max(a[0], b[0]), min(a[1], b[1]))
    return both if both[0] <= both[1] else NONE


def join(a, b):
    if a == NONE or b == NONE:
        return b if a == NONE else a
    return (min(a[0], b[0]), max(a[1], b[1]))


def show(r, last):
    if r == NONE:
        return "none"
    if r[1] >= last:
        return f"{r[0]}+"
    return str(r[0]) if r[0] == r[1] else f"{r[0]}-{r[1]}"


def snake(name):
    name = re.sub(r"([a-z0-9])([A-Z])", r"\1_\2", name)
    return re.sub(r"([A-Z])([A-Z][a-z])", r"\1_\2", name).lower()


def fields_of(raw, valid, outer, commons):
    """The fields of a struct that exist in some version of `valid`."""
    out = []
    for field in raw:
        # A field without versions of its own exists where it is tagged, as in Kafka's generator.
        own = versions(field.get("versions") or field.get("taggedVersions"), outer)
        here = meet(meet(own, valid), outer)
        if here == NONE:
            continue
        element = field["type"].removeprefix("[]")
        struct = element if element not in TYPES else None
        if struct in commons:
            children = None
        elif struct:
            children = fields_of(field.get("fields", []), valid, here, commons)
        else:
            children = None
        default = field.get("default")
        out.append({
            "name": snake(field["name"]),
            "array": field["type"].startswith("[]"),
            "type": struct or TYPES[element],
            "versions": here,
            "nullable": meet(versions(field.get("nullableVersions")), here),
            "tag": field.get("tag"),
            "tagged": meet(versions(field.get("taggedVersions")), here),
            "default": default_of(default, element),
            "ignorable": bool(field.get("ignorable", False)),
            "flexible": "flexibleVersions" not in field,
            "children": children,
        })
    return out


def default_of(default, element):
    """The default as the schema language writes it; None where it is the type's own."""
    if default is None or default == "":
        return None
    text = str(default).lower() if isinstance(default, bool) else str(default)
    if text == "null":
        return text
    if element.startswith(("int", "uint")):
        text = str(int(text, 0))
        return None if text == "0" else text
    if element == "bool":
        return None if text == "false" else text
    if element == "float64":
        return None if float(text) == 0 else text
    return text


def message_of(raw, unstable):
    """A message without its unstable versions, or None if nothing is left."""
    low, high = versions(raw["validVersions"])
    if unstable:
        high -= 1
    if low > high:
        return None
    valid = (low, high)
    commons = {c["name"]: c for c in raw.get("commonStructs", [])}
    return {
        "name": raw["name"],
        "api": raw.get("apiKey"),
        "versions": valid,
        "flexible": meet(versions(raw.get("flexibleVersions")), valid),
        "commons": {n: fields_of(c["fields"], valid, valid, commons) for n, c in commons.items()},
        "fields": fields_of(raw.get("fields", []), valid, valid, commons),
    }


def note(where, what, old, new):
    if old != new:
        print(f"  {where}: {what}: 3.9 {old}, 4.4 {new}")


def merge_fields(old, new, where):
    """`new` with what only `old` has put in after the field it follows there."""
    out = list(new)
    names = [f["name"] for f in out]
    old = [{**f, "name": RENAMED.get(f"{where}.{f['name']}", f["name"])} for f in old]
    for index, field in enumerate(old):
        if field["name"] in names:
            mine = out[names.index(field["name"])]
            path = f"{where}.{field['name']}"
            for key in ("array", "type", "tag", "default", "flexible"):
                note(path, key, field[key], mine[key])
            mine["ignorable"] |= field["ignorable"]
            for key in ("versions", "nullable", "tagged"):
                mine[key] = join(field[key], mine[key])
            if mine["children"] is not None and field["children"] is not None:
                mine["children"] = merge_fields(field["children"], mine["children"], path)
        else:
            print(f"  {where}.{field['name']}: only in 3.9, versions {field['versions']}")
            before = [f["name"] for f in old[:index] if f["name"] in names]
            at = names.index(before[-1]) + 1 if before else 0
            out.insert(at, field)
            names.insert(at, field["name"])
    return out


def merge(old, new):
    if old is None or new is None:
        return old or new
    name = new["name"]
    note(name, "name", old["name"], new["name"])
    note(name, "flexible from", old["flexible"][0], new["flexible"][0])
    commons = dict(new["commons"])
    for struct, fields in old["commons"].items():
        commons[struct] = merge_fields(fields, commons[struct], f"{name}/{struct}") if struct in commons else fields
    return {
        "name": name,
        "api": new["api"],
        "versions": join(old["versions"], new["versions"]),
        "flexible": join(old["flexible"], new["flexible"]),
        "commons": commons,
        "fields": merge_fields(old["fields"], new["fields"], name),
    }


def field_lines(fields, outer, last, depth):
    for f in fields:
        always = f["nullable"] == f["versions"] and f["nullable"] != NONE
        words = [f["name"], ("?" if always else "") + ("[]" if f["array"] else "") + f["type"]]
        if f["versions"] != outer:
            words.append(show(f["versions"], last))
        if f["nullable"] != NONE and not always:
            words.append(f"nullable={show(f['nullable'], last)}")
        if f["tag"] is not None:
            words.append(f"tag={f['tag']}")
            if f["tagged"] != f["versions"]:
                words.append(f"tagged={show(f['tagged'], last)}")
        if f["default"] is not None:
            words.append(f"default={f['default']}")
        if f["ignorable"]:
            words.append("ignorable")
        if not f["flexible"]:
            words.append("flexible=none")
        yield "  " * depth + " ".join(words)
        if f["children"] is not None:
            yield from field_lines(f["children"], outer, last, depth + 1)


def lines(kind, message, number=None):
    low, last = message["versions"]
    span = str(low) if low == last else f"{low}-{last}"
    head = [kind, message["name"], *([number] if number else []), f"versions={span}"]
    if message["flexible"] != NONE:
        head.append(f"flexible={show(message['flexible'], last)}")
    yield " ".join(head)
    yield from field_lines(message["fields"], message["versions"], last, 1)
    for name, fields in message["commons"].items():
        yield f"  struct {name}"
        yield from field_lines(fields, message["versions"], last, 2)


def write(path, blocks):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n\n".join("\n".join(block) for block in blocks) + "\n")


def main(jars):
    schemas = Path(__file__).resolve().parent.parent / "schemas"
    old, new = load(jars / OLD), load(jars / NEW)

    def both(kind):
        sides = []
        for release in (old, new):
            unstable = {m["apiKey"] for m in release.values() if m.get("latestVersionUnstable")}
            found = {m["apiKey"]: m for m in release.values() if m["type"] == kind}
            sides.append({key: message_of(m, key in unstable) for key, m in found.items()})
        return {key: merge(sides[0].get(key), sides[1].get(key)) for key in CLIENT_APIS}

    requests, responses = both("request"), both("response")
    for key in CLIENT_APIS:
        request, response = requests[key], responses[key]
        note(request["name"], "versions of request and response", request["versions"], response["versions"])
        name = snake(request["name"].removesuffix("Request"))
        write(schemas / "kafka" / f"{key:02}_{name}.schema",
              [lines("request", request, f"api={key}"), lines("response", response, f"api={key}")])

    headers = [merge(message_of(old[n], False), message_of(new[n], False)) for n in ("RequestHeader", "ResponseHeader")]
    write(schemas / "kafka" / "header.schema", [lines("header", h) for h in headers])

    for topic, jar in TOPICS.items():
        found = sorted(load(jars / jar).values(), key=lambda m: (m["apiKey"], m["name"]))
        kinds = {"coordinator-key": "key", "coordinator-value": "value"}
        write(schemas / "records" / f"{topic}.schema",
              [lines(kinds[m["type"]], message_of(m, False), f"type={m['apiKey']}") for m in found])
    protocol = [merge(message_of(old[n], False), message_of(new[n], False)) for n in CONSUMER_PROTOCOL]
    write(schemas / "records" / "consumer_protocol.schema", [lines("data", m) for m in protocol])


if __name__ == "__main__":
    main(Path(sys.argv[1]))
