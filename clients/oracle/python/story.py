"""The frame of a story: steps in order, each with its own deadline, each observation one line of JSON.

A step is a generator of observations, asynchronous or not. What it raises is an observation too (`unexpected`), and the next step goes on, so
that two brokers are compared to the end. Nothing that differs between two runs may be yielded.
"""

import argparse
import asyncio
import inspect
import json
import os
import signal
import sys
import threading
import time
import traceback


class OutOfTime(BaseException):
    """A step's deadline; no client may take it for a failure of its own."""


class Story:
    def __init__(self):
        parser = argparse.ArgumentParser()
        parser.add_argument("--bootstrap", required=True)
        parser.add_argument("--prefix", required=True)
        arguments = parser.parse_args()
        self.bootstrap, self.prefix = arguments.bootstrap, arguments.prefix
        self._steps, self._loop = [], asyncio.new_event_loop()

    def name(self, last):
        """A topic or group of this story."""
        return f"{self.prefix}-{last}"

    def step(self, seconds=15, when=True):
        """Takes a generator function as the next step; `when` is false where a client lacks what it shows."""

        def take(function):
            if when:
                self._steps.append((function.__name__.replace("_", "-"), seconds, function))
            return function

        return take

    def _observations(self, function):
        if not inspect.isasyncgenfunction(function):
            yield from function()
            return
        generator = function()
        while True:
            try:
                yield self._loop.run_until_complete(generator.__anext__())
            except StopAsyncIteration:
                return

    def tell(self):
        signal.signal(signal.SIGALRM, out_of_time)
        for name, seconds, function in self._steps:
            # What a client does while it is cut off (closing, say) may hang as well.
            signal.setitimer(signal.ITIMER_REAL, seconds, 5)
            began = time.monotonic()
            try:
                for seen in self._observations(function):
                    print_line({"step": name, **seen})
            except OutOfTime:
                print_line({"step": name, "unexpected": "timeout"})
                self._loop = asyncio.new_event_loop()  # what hangs in the old one never goes on
                traceback.print_exc()
            except Exception as error:
                print_line({"step": name, "unexpected": f"{type(error).__name__}: {error}"})
                traceback.print_exc()
            finally:
                signal.setitimer(signal.ITIMER_REAL, 0)
            print(f"{name}: {time.monotonic() - began:.2f} s", file=sys.stderr)
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)  # a thread of a client that was cut off would hold a usual exit


def out_of_time(*_):
    raise OutOfTime


def print_line(seen):
    print(json.dumps(seen, sort_keys=True), flush=True)


def until(holds, seconds=8, pause=0.05):
    """Waits for what a broker does in its own time. What `holds` returned last is the answer, settled or not."""
    end = time.monotonic() + seconds
    while not (answer := holds()) and time.monotonic() < end:
        time.sleep(pause)
    return answer


def settled(look, wanted, seconds=8):
    """What `look` sees, as soon as it is `wanted`, or what it saw last."""
    end = time.monotonic() + seconds
    while (seen := look()) != wanted and time.monotonic() < end:
        time.sleep(0.05)
    return seen


class Member(threading.Thread):
    """A group's member in a thread of its own, as most clients join only while they are polled.

    `open` makes the consumer, `poll` polls it once and `assigned` says what it has, as (topic, partition) pairs.
    """

    def __init__(self, open, poll, assigned, close):
        super().__init__(daemon=True)
        self._open, self._poll, self._assigned, self._close = open, poll, assigned, close
        self._leaving, self._ask = threading.Event(), None
        self.partitions, self.failure, self.answer = frozenset(), None, None
        self.start()

    def run(self):
        try:
            consumer = self._open()
            try:
                while not self._leaving.is_set():
                    self._poll(consumer)
                    self.partitions = frozenset(self._assigned(consumer))
                if self._ask:
                    self.answer = self._ask(consumer)
            finally:
                self.partitions = frozenset()
                self._close(consumer)
        except Exception as failure:
            self.failure = failure
            traceback.print_exc()

    def leave(self, ask=None):
        """Goes, and gives what its consumer answers at the last."""
        self._ask = ask
        self._leaving.set()
        self.join(10)
        return self.answer


def shared_out(parts, everything):
    """Whether members share everything and each has a part."""
    return all(parts) and frozenset().union(*parts) == frozenset(everything) and sum(map(len, parts)) == len(everything)


def shares(parts, failures=()):
    """What members have: sizes in order, all of it together, and whether none of it is in two."""
    together = frozenset().union(*parts)
    return {
        "sizes": sorted(map(len, parts)),
        "together": sorted(map(list, together)),
        "disjoint": sum(map(len, parts)) == len(together),
        "failures": sorted(type(failure).__name__ for failure in failures),
    }


def balance(members, everything, seconds=12):
    """What members in threads have, as soon as they share everything."""

    def parts():
        return [member.partitions for member in members]

    def failures():
        return [member.failure for member in members if member.failure]

    until(lambda: shared_out(parts(), everything) or failures(), seconds)
    return shares(parts(), failures())
