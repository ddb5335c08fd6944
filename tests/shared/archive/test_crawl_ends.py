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


def _read(content: bytes) -> object:
    return read_ends(io.BytesIO(content))


def test_both_ends_are_one_record() -> None:
    root, record = read_ends(io.BytesIO(b"".join(map(compress_lines, (FIRST, LINE * 3, LAST)))))
    assert (root, record.root, record.counts) == ("/GFZ/archive", "/data", {"posix": 1})
    assert record.started is not None
    assert record.finished is not None


def test_ends_are_found_in_long_files() -> None:
    noise = random.Random(1)
    lines = [b"/GFZ/archive/%d\tx\t" % number + noise.randbytes(200).hex().encode() for number in range(20_000)]
    root, _ = read_ends(io.BytesIO(gzip.compress(FIRST + b"\n".join(lines) + b"\n" + LAST, 1)))
    assert root == "/GFZ/archive"


WHOLE = gzip.compress(FIRST + LINE + LAST)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty"),
        (gzip.compress(b""), "empty"),
        (b"text", "no gzip"),
        (WHOLE[:-1], "cut off"),
        (WHOLE[:40], "cut off"),
        (WHOLE[:30] + b"\xff" * 8 + WHOLE[38:], "damaged"),
        (WHOLE + b"text", "damaged"),
        (gzip.compress(FIRST + LINE), "last line"),
        (gzip.compress(FIRST), "cut off"),
        (gzip.compress(FIRST + LAST[:-1]), "cut off"),
        (gzip.compress(LINE + LAST), "first line"),
        (gzip.compress(LAST), "started"),
        (gzip.compress(FIRST + LAST.replace(b"GFZ", b"ODC")), "about"),
        (gzip.compress(FIRST + LAST + b"\n"), "last line"),
        (gzip.compress(FIRST + b"x" * (1 << 25)), "longer|200 times"),
        (gzip.compress(FIRST + LINE * 1_000_000 + LAST), "200 times"),
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
