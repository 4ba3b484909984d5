"""Clean drain of a block log: the owner ends its own incarnation while the controller may fence it and name a taker.

The owner writes records, acknowledges them after a fence-page read that follows the write, commits them, and then says
RECOVERED(final). Its messages may be late or repeated. The controller may meanwhile fence the incarnation and assign a
taker, which fences the log, scans it, and commits what it found. Files go only once metadata says RECOVERED.
"""
import sys
from bfs import report

RECS = 2


def build(refuse_after_fence=True, quiet=True, complete=True, files="recovered", fence_check=True):
    # owner: (durable, acknowledged, committed, state); metadata: (state, committed, final, taker); page fenced;
    # drain messages on the network; taker: (stage, scanned); files present
    init = ((0, 0, 0, "run"), ("OPEN", 0, None, 0), False, frozenset(), ("off", 0), True)

    def succ(st):
        (d, a, c, o), (ms, mc, fin, taker), fenced, msgs, (ts, found), files_there = st

        def mk(own=None, meta=None, page=fenced, m=msgs, t=None, f=files_there):
            return (own or (d, a, c, o), meta or (ms, mc, fin, taker), page, m, t or (ts, found), f)

        late = o == "draining" and not quiet
        if (o == "run" or late) and d < RECS and files_there:
            yield f"owner writes record {d}", mk(own=(d + 1, a, c, o))
        if (o == "run" or late) and a < d:
            if fenced and fence_check:
                yield "owner finds itself fenced", mk(own=(d, a, c, "dead"))
            else:
                yield f"owner acknowledges {a}", mk(own=(d, a + 1, c, o))
        if o == "run" and c < a and ms == "OPEN":
            yield f"owner commits {a}", mk(own=(d, a, a, o), meta=(ms, a, fin, taker))
        if o == "run" and a == d and (c == a or not complete):
            yield f"owner sends RECOVERED({c})", mk(own=(d, a, c, "draining"), m=msgs | {c})
        for final in msgs:
            open_ = ms == "OPEN" or (not refuse_after_fence and fin is None)
            for keep in (False, True):
                rest = msgs if keep else msgs - {final}
                if open_ and final == mc:
                    yield f"controller records RECOVERED({final})", mk(meta=("RECOVERED", mc, final, taker), m=rest)
                elif not keep:
                    yield f"controller refuses RECOVERED({final})", mk(m=rest)
        if ms == "OPEN":
            yield "controller fences the incarnation and names a taker", mk(meta=("ASSIGNED", mc, fin, 1), t=("told", 0))
        if ts == "told":
            yield "taker fences the log", mk(page=True, t=("fenced", 0))
        if ts == "fenced":
            yield f"taker scans {d if files_there else 0} records", mk(t=("scanned", d if files_there else 0))
        if ts == "scanned" and ms == "ASSIGNED":
            end = max(mc, found)
            yield f"taker records RECOVERED({end})", mk(meta=("RECOVERED", end, end, 1), t=("done", found))
        if files_there and (ms == "RECOVERED" or (files == "draining" and o == "draining")):
            yield "files are removed", mk(f=False)

    def broken(st):
        (d, a, c, o), (ms, mc, fin, taker), *_ = st
        if fin is not None and a > fin:
            return f"BROKEN: {a} acknowledged, ended at {fin}"
        return None

    return init, succ, broken


VARIANTS = [
    ("all rules", {}, False),
    ("changed: controller takes the drain's word once fenced", dict(refuse_after_fence=False), False),
    ("  same, and the owner does not commit everything first", dict(refuse_after_fence=False, complete=False), True),
    ("removed: no acknowledgement after RECOVERED was sent", dict(quiet=False), True),
    ("removed: everything acknowledged is committed first", dict(complete=False), True),
    ("changed: files removed as soon as the drain begins", dict(files="draining"), False),
    ("  same, and the owner does not commit everything first", dict(files="draining", complete=False), True),
    ("removed: fence check before acknowledging", dict(fence_check=False), True),
]

if __name__ == "__main__":
    sys.exit(report("clean drain", VARIANTS, build))
