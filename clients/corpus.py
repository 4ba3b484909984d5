"""Turns the GNU Collaborative International Dictionary of English (Debian package dict-gcide, 40 MB of plain
text) into the corpus of the client tests: one record a line, each line a passage of the dictionary led by a
sequence number, so that no two records are equal; the text is repeated until TARGET_BYTES are reached.

Lines keep the dictionary's own bytes (inner runs of white space included), except that its line breaks become
spaces. Passages are cut at LINE_BYTES_MAX at a word boundary, and vary from a few bytes up to that.
"""

import gzip
import sys

TARGET_BYTES = 52 * 1024 * 1024
LINE_BYTES_MAX = 1000


def passages(raw):
    """The blank-line separated passages of the text, cut into pieces of at most LINE_BYTES_MAX bytes."""
    piece = b""
    for line in raw.split(b"\n"):
        line = line.rstrip()
        if not line:
            if piece:
                yield piece
            piece = b""
        elif len(piece) + 1 + len(line) > LINE_BYTES_MAX:
            yield piece
            piece = line
        else:
            piece = piece + b" " + line if piece else line
    if piece:
        yield piece


def main(source, target):
    with gzip.open(source) as file:
        texts = list(passages(file.read()))
    written = sequence = 0
    with open(target, "wb") as out:
        while written < TARGET_BYTES:
            for text in texts:
                line = b"%08d %s\n" % (sequence, text)
                out.write(line)
                written += len(line)
                sequence += 1
                if written >= TARGET_BYTES:
                    break
    print(f"corpus: {sequence} records, {written} bytes", file=sys.stderr)


main(sys.argv[1], sys.argv[2])
