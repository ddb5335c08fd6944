"""Tests of the lines of a crawl."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eida_statistics.archive.errors import InvalidLine
from eida_statistics.archive.lines import CrawlLine, format_line, parse_line
from eida_statistics.archive.records import decode_posix

# Names of files may have any character but NUL; a crawl writes bytes that are not UTF-8 as text.
_TEXTS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))


@given(_TEXTS, _TEXTS)
def test_line_comes_back(path: str, md_type: str) -> None:
    line = CrawlLine(path, md_type, rb'{"name": "a\\b"}')
    written = format_line(line)
    assert written.count(b"\n") == 1
    assert parse_line(written) == line


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"/a\tposix", "2 columns"),
        (b"/a\tposix\t{}\t", "4 columns"),
        (b"/a\\x\tposix\t{}", "backslash"),
        (b"/a\\\tposix\t{}", "backslash"),
        (b"/\xe9\tposix\t{}", "not UTF-8"),
    ],
)
def test_bad_line_names_its_fault(line: bytes, reason: str) -> None:
    with pytest.raises(InvalidLine, match=reason):
        parse_line(line)


def test_posix_of_other_crawler_is_read() -> None:
    found = decode_posix(b'{"size": 5, "mtime": "2017-01-18T11:25:32.9+11:00", "uid": 0}')
    assert (found.type, found.mtime) == (None, 1484699132)


@pytest.mark.parametrize(
    ("json", "reason"),
    [
        (b'{"size": "1.5"}', "size: not a whole number"),
        (b'{"mtime": 99999999999999}', "mtime: not a time"),
        (b'{"mtime": "soon"}', "mtime: not a time"),
        (b'{"type": "socket"}', "type: not file"),
        (b"[]", "not a JSON object"),
        (b"{", "not JSON"),
    ],
)
def test_bad_posix_names_its_field(json: bytes, reason: str) -> None:
    with pytest.raises(InvalidLine, match=reason):
        decode_posix(json)
