"""What the Python drivers share: the command line that clients/README.md describes, and the files that records go to."""

import os
import sys

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

    def lines(self):
        """The numbers and values of the lines to send."""
        with open(self.text("file"), "rb") as lines:
            for number, line in enumerate(lines):
                yield number, line[:-1]

    def partitions(self):
        """Every topic and partition to read."""
        return [(topic, p) for topic in self.text("topics").split(",") for p in range(self.number("partitions"))]


class Acks:
    """Takes `partition offset line` for each acknowledgement, where the job asks for it."""

    def __init__(self, job):
        path = job.text("log-acks", None)
        self.file = open(path, "w") if path else None

    def note(self, partition, offset, number):
        if self.file:
            self.file.write(f"{partition}\t{offset}\t{number}\n")

    def close(self):
        if self.file:
            self.file.close()


class Sink:
    """Where the records of a consuming job go, and when there are enough of them."""

    def __init__(self, job):
        until = job.text("until")
        self.want = None if until == "end" else int(until)
        # Each partition's end as it was at the start, for jobs that go to the end.
        self.ends = None
        self.offsets, self.out = job.flag("with-offsets"), job.text("out")
        self.files, self.after, self.records = {}, {}, 0
        os.makedirs(self.out, exist_ok=True)

    def at_once(self):
        """How many records to take in one go."""
        return 1000 if self.want is None else min(1000, self.want - self.records)

    def take(self, where, offset, value):
        if self.ends is not None and offset >= self.ends[where]:
            return
        if where not in self.files:
            self.files[where] = open(os.path.join(self.out, f"{where[0]}-{where[1]}"), "wb")
        if self.offsets:
            self.files[where].write(b"%d\t" % offset)
        self.files[where].write(value + b"\n")
        self.after[where] = offset + 1
        self.records += 1

    def finished(self):
        if self.want is not None:
            return self.records >= self.want
        return all(self.after.get(where, 0) >= end for where, end in self.ends.items())

    def close(self):
        for file in self.files.values():
            file.close()


def answer(words, commands):
    try:
        job = Job(words)
        if job.command == "codecs":
            return f"ok\tcodecs={CODECS}"
        if job.command in commands:
            return f"ok\trecords={commands[job.command](job)}"
        raise ValueError(f"no command is called '{job.command}'")
    except Exception as error:  # the answer is where every failure of a job is reported
        return "error\t" + " ".join(f"{type(error).__name__}: {error}".split())


def main(commands):
    """Runs the job of the command line, or those that come on standard input."""
    if sys.argv[1:2] == ["serve"]:
        for line in sys.stdin:
            print(answer(line.rstrip("\n").split("\t"), commands), flush=True)
        return 0
    result = answer(sys.argv[1:], commands)
    print(result)
    return 0 if result.startswith("ok") else 1
