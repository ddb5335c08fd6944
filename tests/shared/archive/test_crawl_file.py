"""Tests of the file that holds a crawl."""

import gzip
from datetime import UTC, datetime
from pathlib import Path

import pytest

from eida_statistics.archive import crawl_file
from eida_statistics.archive.crawl_file import (
    CrawlWriter,
    compress_lines,
    find_parts,
    merge_ends,
    parse_first_line,
    parse_last_line,
    read_lines,
    read_unfinished_lines,
)
from eida_statistics.archive.errors import InvalidCrawl
from eida_statistics.archive.records import CrawlRecord

STARTED, FINISHED = datetime(2026, 11, 1, 2, tzinfo=UTC), datetime(2026, 11, 1, 3, tzinfo=UTC)
FIRST = CrawlRecord(started=STARTED, root="/data", options={"layout": "sds"}, version="1")
LAST = CrawlRecord(finished=FINISHED, counts={"posix": 1}, unreadable=["/a/b"], errors=0)


def _write(path: Path, *pieces: bytes) -> None:
    writer = CrawlWriter(path, "/a", FIRST)
    for piece in pieces:
        writer.write(compress_lines(piece))
    writer.finish(LAST)


def test_lines_come_back_between_the_ends(tmp_path: Path) -> None:
    path = tmp_path / "crawl.tsv.gz"
    _write(path, b"one\ntwo\n", b"three\n")
    (_, first), *middle, (number, last) = read_lines(path)
    assert middle == [(2, b"one"), (3, b"two"), (4, b"three")]
    assert number == 5
    assert parse_first_line(first) == ("/a", FIRST)
    assert parse_last_line(last) == ("/a", LAST)
    assert merge_ends(FIRST, LAST).counts == {"posix": 1}
    assert gzip.decompress(path.read_bytes()).count(b"\n") == 5
    assert list(tmp_path.iterdir()) == [path]


def test_long_lines_come_back(tmp_path: Path) -> None:
    path = tmp_path / "crawl.tsv.gz"
    lines = [b"x" * size for size in (1, 0, 1_000_000, 3, 700_000)]
    _write(path, b"\n".join(lines) + b"\n")
    assert [line for _, line in read_lines(path)][1:-1] == lines


def test_every_cut_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "crawl.tsv.gz"
    _write(path, b"one\ntwo\n")
    content = path.read_bytes()
    for size in range(len(content)):
        path.write_bytes(content[:size])
        try:
            lines = [line for _, line in read_lines(path)]
        except InvalidCrawl as error:
            assert str(path) in str(error)  # noqa: PT017 - not every cut raises
        else:
            # Cut between two pieces, or empty.
            with pytest.raises(InvalidCrawl):
                parse_last_line(lines[-1] if lines else b"")


def test_unfinished_file_has_its_complete_lines(tmp_path: Path) -> None:
    path = tmp_path / "crawl.tsv.gz"
    _write(path, b"one\ntwo\n", b"three\n" * 1000)
    path.write_bytes(path.read_bytes()[:-100])
    assert [line for _, line in read_unfinished_lines(path)][1:4] == [b"one", b"two", b"three"]
    path.write_bytes(b"no gzip")
    with pytest.raises(InvalidCrawl, match="not a gzip"):
        list(read_unfinished_lines(path))


def test_damage_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "crawl.tsv.gz"
    _write(path, bytes(range(256)) * 100)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(InvalidCrawl, match="damaged"):
        list(read_lines(path))


@pytest.mark.parametrize("content", [None, b"", b"text\n"])
def test_no_gzip_is_refused_by_name(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "crawl.tsv.gz"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InvalidCrawl, match=str(path)):
        list(read_lines(path))


def test_endless_line_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "crawl.tsv.gz"
    path.write_bytes(gzip.compress(b"x" * 5_000_000))
    monkeypatch.setattr(crawl_file, "_MAX_LINE_BYTES", 1_000_000)
    with pytest.raises(InvalidCrawl, match="line 1 is longer"):
        list(read_lines(path))


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"/a\tposix\t{}", "of type 'posix'"),
        (b'/a\tcrawl\t{"started": "soon"}', "started: not a time"),
        (b"/a\tcrawl\t{}", "no `started`"),
        (b"", "1 columns"),
    ],
)
def test_bad_first_line_names_its_fault(line: bytes, reason: str) -> None:
    with pytest.raises(InvalidCrawl, match=reason):
        parse_first_line(line)


def test_first_line_is_no_last_line() -> None:
    with pytest.raises(InvalidCrawl, match="cut off"):
        parse_last_line(b'/a\tcrawl\t{"started": "2026-11-01T02:00:00Z"}')


def test_crawl_that_does_not_end_leaves_its_part(tmp_path: Path) -> None:
    path = tmp_path / "crawl.tsv.gz"
    path.write_bytes(b"the one before")
    writer = CrawlWriter(path, "/a", FIRST)
    writer.write(compress_lines(b"one\n"))
    assert find_parts(path) == [writer.part]
    assert path.read_bytes() == b"the one before"
    # Nothing is in a buffer, so a kill loses nothing.
    assert [line for _, line in read_unfinished_lines(writer.part)][1:] == [b"one"]
    writer.close()
    assert find_parts(path) == [writer.part]
    writer.discard()
    assert find_parts(path) == []
