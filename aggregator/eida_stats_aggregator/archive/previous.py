"""The previous crawl, from which the content of unchanged files is copied.

Its lines are in the order of `walk`, so both are read side by side, and memory does not grow with the archive.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import msgspec

from eida_statistics.archive.crawl_file import parse_first_line, read_unfinished_lines
from eida_statistics.archive.errors import InvalidCrawl, InvalidLine
from eida_statistics.archive.lines import parse_line
from eida_statistics.archive.records import POSIX, CrawlRecord
from eida_stats_aggregator.archive.errors import OtherArchive

# The lines of a file, by the type of their metadata.
FileLines = dict[str, bytes]
# Those of the files of one directory, by the names of the files.
DirectoryLines = dict[str, FileLines]


class _Line(NamedTuple):
    """A line, the sort key of its directory, its name there, and the type of its metadata."""

    key: str
    name: str
    md_type: str
    line: bytes


class _Stamp(msgspec.Struct, gc=False):
    """The fields of a `posix` record that change when a file does."""

    size: int | None = None
    mtime_ns: int | None = None
    inode: int | None = None
    ctime: int | None = None


_STAMP = msgspec.json.Decoder(_Stamp)


class PreviousCrawl:
    """A crawl of the same archive, complete or not.

    Attributes:
        record: its first record.
    """

    def __init__(self, path: Path, root: str) -> None:
        """Open it.

        Raises:
            InvalidCrawl: if it is no crawl.
            OtherArchive: if it is the crawl of another archive than the one at `root`.
        """
        lines = read_unfinished_lines(path)
        try:
            found, self.record = parse_first_line(next(lines, (0, b""))[1])
        except InvalidCrawl as error:
            if error.subject.startswith(str(path)):
                raise
            raise InvalidCrawl(f"{path}: {error.subject}") from error
        if found != root:
            raise OtherArchive(f"{path} is the crawl of {found}, not of {root}", hint=f"Use --as {found}.")
        self._lines = _parse_lines(lines)
        self._next = next(self._lines, None)

    def take(self, directory: str) -> DirectoryLines:
        """Return the lines of the files in a directory. It must come after the one that was taken before."""
        key = _get_key(directory)
        # These directories are gone.
        while self._next is not None and self._next.key < key:
            self._next = next(self._lines, None)
        found: DirectoryLines = {}
        while self._next is not None and self._next.key == key:
            found.setdefault(self._next.name, {})[self._next.md_type] = self._next.line
            self._next = next(self._lines, None)
        return found


def is_unchanged(lines: FileLines, found: os.stat_result) -> bool:
    """Return whether a file has the size, time of modification, inode and ctime of the previous crawl."""
    line = lines.get(POSIX)
    if line is None:
        return False
    try:
        json = line.rpartition(b"\t")[2]
        stamp = _STAMP.decode(json if b"\\" not in json else parse_line(line).json)
    except (InvalidLine, msgspec.DecodeError):
        return False
    return (stamp.size, stamp.mtime_ns, stamp.inode, stamp.ctime) == (
        found.st_size,
        found.st_mtime_ns,
        found.st_ino,
        found.st_ctime_ns // 10**9,
    )


def _parse_lines(lines: Iterator[tuple[int, bytes]]) -> Iterator[_Line]:
    """Yield the lines that can be read. A file without one is opened again."""
    raw_directory, key = b"", ""
    for _, line in lines:
        path, _, rest = line.partition(b"\t")
        md_type = rest.partition(b"\t")[0]
        try:
            if b"\\" in path:
                parent, _, name = parse_line(line).path.rpartition("/")
                raw = parent.encode()
            else:
                raw, _, raw_name = path.rpartition(b"/")
                name = raw_name.decode()
            if raw != raw_directory:
                raw_directory, key = raw, _get_key(raw.decode() or "/")
            yield _Line(key, name, md_type.decode(), line)
        except (InvalidLine, UnicodeDecodeError):
            continue


def _get_key(directory: str) -> str:
    """Return a key that sorts directories as `walk` does: by the names on the way to them."""
    return "" if directory == "/" else directory.replace("/", "\0")


def explain_reading(record: CrawlRecord, version: str, layout: str | None) -> str | None:
    """Return why files have to be read although they have not changed; None if they have not to be."""
    if record.version != version:
        return f"was made by version {record.version}"
    if (record.options or {}).get("layout") != layout:
        return "was made with another --layout"
    return None
