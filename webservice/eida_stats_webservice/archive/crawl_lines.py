"""Check the lines of a crawl, one by one, and yield those that can be stored."""

import datetime
import math
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from eida_statistics.archive.crawl_file import merge_ends, parse_first_line, parse_last_line, read_lines
from eida_statistics.archive.errors import InvalidCrawl, InvalidLine
from eida_statistics.archive.lines import escape, parse_line
from eida_statistics.archive.paths import hash_parents, hash_path, is_normal
from eida_statistics.archive.records import (
    CRAWL,
    MSEED,
    POSIX,
    REMOVED,
    CrawlRecord,
    Segment,
    decode_mseed,
    decode_posix,
    encode_record,
)
from eida_stats_webservice.archive.bad_lines import BadLines
from eida_stats_webservice.archive.crawl_checks import check_root
from eida_stats_webservice.archive.path_lines import (
    FoundPath,
    LineRange,
    PathLines,
    digest_path,
    digest_types,
    group_lines,
    hash_raw,
    select_lines,
)

# A B-tree cannot hold longer texts.
_MAX_TYPE = 250
_QUALITY = re.compile(r"[0-9A-Za-z]{0,3}")
_PAIR_OF_BACKSLASHES = re.compile(rb"\\\\")


class StagedLine(NamedTuple):
    """A line that can be stored.

    Attributes:
        number: its number in the file.
        hash: the hash of the path.
        path: the path; None if it is that of a line before, of which it is known.
        parents: the hashes of all directories above, likewise.
        md_type: the type of the metadata; None if the line was refused and its path is there nevertheless.
        json: the metadata, likewise.
        digest: the digest of all lines of the path; 0 if they have to be checked again in the next crawl.
    """

    number: int
    hash: str
    path: str | None
    parents: tuple[str, ...] | None
    md_type: str | None
    json: str | None
    digest: int = 0


class CrawlReader:
    """Reads the file of a crawl.

    Args:
        file: the file.
        shard_path: the path that all paths begin with.
        is_partial: whether the crawl lists changes only.

    Attributes:
        root: the path below which a complete crawl has everything; None in a partial crawl without a first line.
        first: the record of the first line; None likewise.
        types: the types of metadata that it has.
        unreadable: directories that it could not read.
        lines: the number of lines.
        untyped: the number of `posix` records without a type.
        bad: the lines that were refused.
    """

    def __init__(self, file: Path, shard_path: str, *, is_partial: bool) -> None:
        if file.is_fifo():
            raise InvalidCrawl(f"{file}: it is a pipe", hint="A crawl is read several times: write it to a file.")
        self._file = file
        self._shard_path = shard_path
        self.is_partial = is_partial
        self.types: Counter[str] = Counter()
        self.unreadable: list[str] = []
        self.lines = 0
        self.untyped = 0
        self.bad = BadLines()
        self.root: str | None = None
        self.first: CrawlRecord | None = None
        # All paths begin with it: the root of a complete crawl, else that of the shard.
        self._top = shard_path
        self._record: CrawlRecord | None = None
        # Of the lines of all paths, as they are in the file. They are known if `find_paths` has read it.
        self._found_types: Counter[bytes] = Counter()
        self._read_first()
        if self.root is not None and not is_partial:
            self._top = self.root
        self._below = self._top + "/"
        self._top_hash = hash_path(self._top)

    @property
    def found_types_digest(self) -> int:
        """The digest of the types of all lines, after `find_paths`."""
        return digest_types(self._found_types)

    @property
    def types_digest(self) -> int:
        """The digest of the types of all lines that can be stored, after `read`."""
        return digest_types(escape(md_type).encode() for md_type in self.types)

    def find_paths(self) -> Iterator[FoundPath]:
        """Yield the paths of a complete crawl. Its lines are not checked.

        Raises:
            InvalidCrawl: if the file is damaged or cut off.
        """
        below = escape(self._below).encode()
        for group in group_lines(self._read_middle()):
            self._found_types.update(group.types)
            # Paths elsewhere are refused, though other crawls may have them. The root has the record of the crawl.
            digest = digest_path(group) if group.path.startswith(below) else 0
            yield FoundPath(hash_raw(group.path), digest, group.first, group.first + len(group.lines) - 1)

    def read(self, ranges: Sequence[LineRange] | None = None) -> Iterator[StagedLine]:
        """Yield the lines that can be stored.

        Args:
            ranges: which lines to read, if not all of them. The others are known to be valid.

        Raises:
            InvalidCrawl: if the file is damaged or cut off, or its last line is missing in a complete crawl.
            TooManyBadLines: if more than one line of a hundred was refused.
        """
        numbered = self._read_middle()
        found: Counter[bytes] = Counter()
        for group in group_lines(numbered if ranges is None else select_lines(numbered, ranges)):
            if ranges is not None:
                found.update(group.types)
            yield from self._check_group(group)
        for md_type, count in (self._found_types - found).items():
            self.types[parse_line(b"\t%b\t" % md_type).md_type] += count
        self.bad.check_share(self._file, self.lines)
        if self.root is not None and self._record is not None:
            # Its number is that of no other line, also if a list of changes ends without a last line.
            yield self._stage(self.lines + 1, self.root, CRAWL, encode_record(self._record).decode())

    def _check_group(self, group: PathLines) -> list[StagedLine]:
        """Return the lines of a path that can be stored."""
        refused, untyped = self.bad.count, self.untyped
        digest = 0 if self.is_partial else digest_path(group)
        lines: list[StagedLine] = []
        current, path_hash = "", ""
        for number, line in enumerate(group.lines, group.first):
            try:
                path, md_type, json = parse_line(line)
                is_known = path == current
                if not is_known:
                    self._check_path(path)
                    path_hash = hash_path(path)
                text = self._check_metadata(md_type, json)
            except InvalidLine as error:
                self.bad.add(number, error)
                current = ""
                if (mentioned := self._find_path(number, line)) is not None:
                    lines.append(mentioned)
                continue
            current = path
            self.types[md_type] += 1
            if is_known and md_type != POSIX and not self.is_partial:
                # The path is with the line before, and with all lines of type posix.
                lines.append(StagedLine(number, path_hash, None, None, md_type, text, digest))
            else:
                lines.append(StagedLine(number, path_hash, path, hash_parents(path), md_type, text, digest))
        if (self.bad.count, self.untyped) != (refused, untyped) or path_hash == self._top_hash:
            return [line._replace(digest=0) for line in lines]
        return lines

    def _read_first(self) -> None:
        _, line = next(read_lines(self._file), (0, b""))
        try:
            self.root, self.first = parse_first_line(line)
        except InvalidCrawl as error:
            if not self.is_partial:
                raise InvalidCrawl(f"{self._file}: {error.subject}", hint=_hint_partial()) from error
        else:
            self._record = self.first
            try:
                check_root(self.root, self._shard_path)
            except InvalidCrawl as error:
                raise InvalidCrawl(f"{self._file}: {error.subject}", hint=error.hint) from error

    def _read_middle(self) -> Iterator[tuple[int, bytes]]:
        """Yield all lines but the first and the last of the crawl."""
        numbered = read_lines(self._file)
        if self.first is not None:
            next(numbered)
        before: tuple[int, bytes] | None = None
        for line in numbered:
            if before is not None:
                yield before
            before = line
        try:
            # A line that is missing is not valid, either.
            self._read_last(b"" if before is None else before[1])
        except InvalidCrawl as error:
            if not self.is_partial:
                raise InvalidCrawl(f"{self._file}: {error.subject}", hint=_hint_partial()) from error
            if before is not None:
                yield before
        self.lines = int(self.first is not None) if before is None else before[0]

    def _read_last(self, line: bytes) -> None:
        root, last = parse_last_line(line)
        if root != self.root or self.first is None:
            raise InvalidCrawl(f"its first line is of {self.root!r}, and its last line of {root!r}")
        self._record = merge_ends(self.first, last)
        self.unreadable = [path for path in last.unreadable or () if is_normal(path)]

    def _check_metadata(self, md_type: str, json: bytes) -> str:
        """Return metadata as they are stored."""
        if md_type == POSIX:
            return self._check_posix(json)
        if md_type == MSEED:
            record = decode_mseed(json)
            for segment in record.segments:
                _check_segment(segment)
            return _check_text(encode_record(record))
        return self._check_other(md_type, json)

    def _check_path(self, path: str) -> None:
        if not is_normal(path):
            raise InvalidLine("the path is not absolute and normalised")
        if not path.startswith(self._below) and path != self._top:
            raise InvalidLine(f"the path is not within {self._top}")

    def _check_posix(self, json: bytes) -> str:
        record = decode_posix(json)
        text = _check_text(encode_record(record))
        if record.type is None:
            self.untyped += 1
        return text

    def _check_other(self, md_type: str, json: bytes) -> str:
        if md_type == CRAWL:
            raise InvalidLine("type 'crawl' is for the first and the last line")
        if md_type == REMOVED and not self.is_partial:
            raise InvalidLine("type 'removed' is for partial crawls")
        if not 0 < len(md_type.encode()) <= _MAX_TYPE or "\0" in md_type:
            raise InvalidLine(f"the type is empty, has a NUL, or is longer than {_MAX_TYPE} bytes")
        return _check_text(_check_json(json))

    def _stage(self, number: int, path: str, md_type: str | None, json: str | None) -> StagedLine:
        return StagedLine(number, hash_path(path), path, hash_parents(path), md_type, json)

    def _find_path(self, number: int, line: bytes) -> StagedLine | None:
        """Return the path of a line that was refused: it is in the archive, so a complete crawl keeps it."""
        path = line.partition(b"\t")[0]
        try:
            text = parse_line(path + b"\t\t").path
            self._check_path(text)
        except InvalidLine:
            return None
        return self._stage(number, text, None, None)


def _hint_partial() -> str:
    return "Copy or send it again. A list of changes needs --partial."


def _check_text(json: bytes) -> str:
    r"""Return JSON as text.

    Raises:
        InvalidLine: if it has `\u0000`, which PostgreSQL cannot store.
    """
    if b"\\u0000" in json and b"\\u0000" in _PAIR_OF_BACKSLASHES.sub(b"", json):
        raise InvalidLine(r"the metadata have the character \u0000, which the database cannot store")
    return json.decode()


def _check_json(json: bytes) -> bytes:
    """Return any JSON object in a compact form, without repeated names.

    Raises:
        InvalidLine: if it is no object, or both databases cannot store it.
    """
    try:
        found = msgspec.json.decode(json)
    except RecursionError:
        raise InvalidLine("the metadata are nested too deeply") from None
    except msgspec.DecodeError as error:
        raise InvalidLine("the metadata are not JSON that the database can store") from error
    if not isinstance(found, dict):
        raise InvalidLine("the metadata are not a JSON object")
    return msgspec.json.encode(found)


def _check_segment(segment: Segment) -> None:
    """Check a segment, and convert its times to UTC."""
    if not math.isfinite(segment.rate):
        raise InvalidLine("segments: rate: not finite")
    segment.start, segment.end = _to_utc(segment.start), _to_utc(segment.end)
    if segment.end < segment.start:
        raise InvalidLine("segments: end: before start")
    if not _QUALITY.fullmatch(segment.quality):
        raise InvalidLine("segments: quality: not a code of up to 3 letters and digits")


def _to_utc(time: datetime.datetime) -> datetime.datetime:
    if time.tzinfo is datetime.UTC:
        return time
    try:
        return time.astimezone(datetime.UTC)
    except OverflowError:
        raise InvalidLine("segments: a time is not of the years 1 to 9999 in UTC") from None
