"""The lines of a crawl by path, with digests that show which paths have the same lines as in the last crawl."""

import uuid
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from mmh3 import hash64

from eida_statistics.archive.errors import InvalidLine
from eida_statistics.archive.lines import parse_line
from eida_statistics.archive.paths import hash_path

_NO_PATH = str(uuid.UUID(int=0))
# More than a path has types of metadata. It limits the memory for a file in which all lines have the same path.
_MAX_LINES = 1000
_ATIME = b',"atime":'
# All of these times are valid: they end in the year 2286.
_MAX_DIGITS = 10
# Change it whenever lines will be refused, or stored in another form, that were accepted before.
_VERSION = b"1"


LineRange = tuple[int, int]
"""The numbers of a first and a last line."""


class PathLines(NamedTuple):
    """Lines of the same path that follow each other in a file.

    Attributes:
        first: the number of the first line.
        path: the path as it is in the file, with its escapes.
        lines: the lines.
    """

    first: int
    path: bytes
    lines: list[bytes]

    @property
    def types(self) -> list[bytes]:
        """The types of metadata, as they are in the file."""
        start = len(self.path) + 1
        return [line[start : line.find(b"\t", start)] for line in self.lines]


class FoundPath(NamedTuple):
    """A path of a crawl, before its lines are checked.

    Attributes:
        hash: its hash; that of no path if its name cannot be read.
        digest: the digest of its lines; 0 if they have to be checked in any case.
        first: the number of the first line.
        last: the number of the last line.
    """

    hash: str
    digest: int
    first: int
    last: int


def group_lines(numbered: Iterable[tuple[int, bytes]]) -> Iterator[PathLines]:
    """Yield the lines of each path. A path whose lines are in several places occurs several times."""
    first, prefix = 0, b""
    lines: list[bytes] = []
    for number, line in numbered:
        if lines and line.startswith(prefix) and len(lines) < _MAX_LINES:
            lines.append(line)
        else:
            if lines:
                yield PathLines(first, prefix[:-1], lines)
            first, lines = number, [line]
            prefix = line.partition(b"\t")[0] + b"\t"
    if lines:
        yield PathLines(first, prefix[:-1], lines)


def select_lines(numbered: Iterator[tuple[int, bytes]], ranges: Iterable[LineRange]) -> Iterator[tuple[int, bytes]]:
    """Yield the lines in some ranges, which are sorted. The others are read, too."""
    for first, last in ranges:
        for number, line in numbered:
            if number >= first:
                yield number, line
            if number == last:
                break
    for _ in numbered:
        pass


def hash_raw(path: bytes) -> str:
    """Return the hash of a path as it is in the file; that of no path if it cannot be read."""
    try:
        # Hardly any path has an escape.
        return hash_path(parse_line(path + b"\t\t").path if b"\\" in path else path.decode())
    except (InvalidLine, UnicodeDecodeError):
        return _NO_PATH


def digest_path(group: PathLines) -> int:
    """Return a digest of the lines of a path. It is never 0, and does not depend on the time of access."""
    start = len(group.path) + 1
    return _digest([_hide_atime(line) if line.startswith(b"posix\t", start) else line for line in group.lines])


def digest_types(types: Iterable[bytes]) -> int:
    """Return a digest of a set of types of metadata, as they are in the file."""
    return _digest(sorted(set(types)))


def _hide_atime(line: bytes) -> bytes:
    """Return a line without the value of the time of access, unless it may be invalid.

    In valid JSON, an unescaped quote after a comma begins the name of a member.
    """
    start = line.find(_ATIME) + len(_ATIME)
    end = line.find(b",", start)
    digits = line[start:end]
    is_valid = digits.isdigit() and len(digits) <= _MAX_DIGITS and not digits.startswith(b"0")
    return line[:start] + line[end:] if start >= len(_ATIME) and is_valid else line


def _digest(texts: Iterable[bytes]) -> int:
    """Return 64 bits, as both databases can store them."""
    found: int = hash64(b"\n".join([_VERSION, *texts]))[0]
    return found or 1
