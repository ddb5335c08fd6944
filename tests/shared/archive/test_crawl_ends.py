"""Tests of the check that the file of a crawl is complete."""

import gzip
import io
import random
from pathlib import Path

import pytest

from eida_statistics.archive.crawl_ends import read_ends
from eida_statistics.archive.crawl_file import compress_lines
from eida_statistics.archive.errors import InvalidCrawl

FIRST = b'/GFZ/archive\tcrawl\t{"started":"2026-11-22T02:00:00Z","root":"/data"}\n'
LAST = b'/GFZ/archive\tcrawl\t{"finished":"2026-11-22T03:00:00Z","counts":{"posix":1},"unreadable":[]}\n'
LINE = b'/GFZ/archive\tposix\t{"type":"directory"}\n'


def _pack(content: bytes) -> bytes:
    # Without the present time, which would be in the names of tests.
    return gzip.compress(content, 6, mtime=0)


def _read(content: bytes) -> object:
    return read_ends(io.BytesIO(content))


def test_both_ends_are_one_record() -> None:
    root, started, finished, record = read_ends(io.BytesIO(b"".join(map(compress_lines, (FIRST, LINE * 3, LAST)))))
    assert (root, record.root, record.counts) == ("/GFZ/archive", "/data", {"posix": 1})
    assert (record.started, record.finished) == (started, finished)
    assert started < finished


def test_ends_are_found_in_long_files() -> None:
    noise = random.Random(1)
    lines = [b"/GFZ/archive/%d\tx\t" % number + noise.randbytes(200).hex().encode() for number in range(20_000)]
    found = read_ends(io.BytesIO(_pack(FIRST + b"\n".join(lines) + b"\n" + LAST)))
    assert found.root == "/GFZ/archive"


WHOLE = _pack(FIRST + LINE + LAST)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty"),
        (_pack(b""), "empty"),
        (b"text", "not a gzip"),
        (WHOLE[:-1], "cut off"),
        (WHOLE[:40], "cut off"),
        (WHOLE[:30] + b"\xff" * 8 + WHOLE[38:], "damaged"),
        (WHOLE + b"text", "damaged"),
        (_pack(FIRST + LINE), "last line"),
        (_pack(FIRST), "cut off"),
        (_pack(FIRST + LAST[:-1]), "cut off"),
        (_pack(LINE + LAST), "first line"),
        (_pack(LAST), "started"),
        (_pack(FIRST + LAST.replace(b"GFZ", b"ODC")), "about"),
        (_pack(FIRST + LAST + b"\n"), "last line"),
        (_pack(FIRST + b"x" * (1 << 25)), "longer|200 times"),
        (_pack(FIRST + LINE * 1_000_000 + LAST), "200 times"),
    ],
)
def test_incomplete_crawl_is_refused(content: bytes, reason: str) -> None:
    with pytest.raises(InvalidCrawl, match=reason):
        _read(content)


def test_file_is_read_from_its_beginning(tmp_path: Path) -> None:
    file = tmp_path / "crawl.tsv.gz"
    file.write_bytes(WHOLE)
    with file.open("rb") as opened:
        assert read_ends(opened).root == "/GFZ/archive"
