r"""The lines of a crawl: a path, the type of its metadata and the metadata as JSON, separated by tabs.

Special characters are escaped as in the text format of COPY (`\t`, `\n`, `\r`, `\\`), so that any name fits on one
line.
"""

import re
from typing import NamedTuple

from eida_statistics.archive.errors import InvalidLine

_COLUMNS = 3
_ESCAPES = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"})
_MEANINGS = {b"\\\\": b"\\", b"\\t": b"\t", b"\\n": b"\n", b"\\r": b"\r"}
# A backslash at the end of a field is one fault, and so is any other pair.
_PAIR = re.compile(rb"\\.?", re.DOTALL)


class CrawlLine(NamedTuple):
    """One line of a crawl.

    Attributes:
        path: the path of a file, directory or link; it begins with that of the archive.
        md_type: the type of the metadata, such as `posix`.
        json: the metadata, as JSON in UTF-8.
    """

    path: str
    md_type: str
    json: bytes


def escape(text: str) -> str:
    """Return a text with the escapes of COPY's text format."""
    # Hardly any text needs them, and translating takes ten times as long as looking.
    if "\\" in text or "\t" in text or "\n" in text or "\r" in text:
        return text.translate(_ESCAPES)
    return text


def format_line(line: CrawlLine) -> bytes:
    """Return a line as it is in the file, with its end."""
    # JSON has no raw control characters, so only its backslashes need escapes.
    return b"%b\t%b\t%b\n" % (
        escape(line.path).encode(),
        escape(line.md_type).encode(),
        line.json.replace(b"\\", b"\\\\"),
    )


def parse_line(line: bytes) -> CrawlLine:
    """Parse a line, with or without its end. The JSON is not checked.

    Raises:
        InvalidLine: if it does not have three columns, has a bad escape, or is not UTF-8.
    """
    columns = line.rstrip(b"\n").split(b"\t")
    if len(columns) != _COLUMNS:
        raise InvalidLine(f"{len(columns)} columns instead of {_COLUMNS}")
    if b"\\" in line:
        columns = [_PAIR.sub(_unescape_pair, column) if b"\\" in column else column for column in columns]
    path, md_type, json = columns
    try:
        return CrawlLine(path.decode(), md_type.decode(), json)
    except UnicodeDecodeError as error:
        raise InvalidLine("not UTF-8") from error


def _unescape_pair(pair: re.Match[bytes]) -> bytes:
    try:
        return _MEANINGS[pair[0]]
    except KeyError:
        raise InvalidLine("a backslash that is not the escape of a character") from None
