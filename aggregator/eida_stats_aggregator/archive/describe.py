"""Describe files, directories and links: their lines in the crawl, and the figures of the summary."""

import errno
import os
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from itertools import islice
from typing import NamedTuple

import msgspec

from eida_statistics.archive.crawl_file import compress_lines
from eida_statistics.archive.errors import InvalidLine
from eida_statistics.archive.lines import CrawlLine, format_line, parse_line
from eida_statistics.archive.records import (
    CANNOT_BE_READ,
    MSEED,
    POSIX,
    MseedRecord,
    PathType,
    Segment,
    decode_mseed,
    encode_record,
)
from eida_statistics.networks import NetworkRegistry
from eida_stats_aggregator.archive.layout import Layout, is_misnamed
from eida_stats_aggregator.archive.miniseed import EMPTY, get_short_network, read_content
from eida_stats_aggregator.archive.posix import describe_path, get_type
from eida_stats_aggregator.archive.previous import DirectoryLines, FileLines, is_unchanged
from eida_stats_aggregator.archive.probes import MagicProbe, compute_checksum
from eida_stats_aggregator.archive.walk import join, join_path

CHECKSUM = "checksum"
MAGIC = "magic"
SKIPPED = "skipped"

# So many files without miniSEED are named.
MAX_NAMED = 10
_ERROR = re.compile(rb'\{"error":')
_HAS_TEMPORARY = re.compile(rb'"sid":"FDSN:[0-9XYZ][0-9A-Z]_')


@dataclass(frozen=True)
class Wanted:
    """The metadata that the operator wants of each file.

    Attributes:
        pattern: which files are opened as miniSEED, by their names; None for all.
        layout: how the directories of files are named.
        has_checksums: whether there are MD5 checksums.
        has_magic: whether libmagic looks at files.
        has_owners: whether there are the names of owners.
        rereads: whether unchanged files are read again.
    """

    pattern: str | None = None
    layout: Layout | None = None
    has_checksums: bool = False
    has_magic: bool = False
    has_owners: bool = False
    rereads: bool = False

    def list_options(self) -> dict[str, str]:
        """Return the options of the command that change the crawl, by their names."""
        options = {
            "pattern": self.pattern,
            "layout": self.layout,
            "checksum": "md5" if self.has_checksums else None,
            "magic": "yes" if self.has_magic else None,
            "owners": "yes" if self.has_owners else None,
        }
        return {name: value for name, value in options.items() if value is not None}


class Portion(NamedTuple):
    """Some paths of one directory.

    Attributes:
        local: the directory on this machine.
        path: its path in the crawl.
        names: names in it; an empty name for the directory itself.
        previous: the lines of the previous crawl for its files.
    """

    local: bytes
    path: str
    names: list[bytes]
    previous: DirectoryLines


# Paths, and the fault of each.
Faults = dict[str, str]


@dataclass
class Findings:
    """The figures of some paths.

    Attributes:
        counts: the numbers of lines by type of metadata, and of paths by their type.
        bytes: the size of all files.
        segments: the number of segments.
        copied: the number of files whose content is that of the previous crawl.
        empty: the number of empty files.
        other: the number of files without miniSEED.
        damaged: the number of files with damage between their records.
        unread: the number of files with bytes that belong to no record.
        misnamed: the number of files whose names say another stream or day.
        faults: some of the files without miniSEED.
        unreadable_files: the files that cannot be read.
        unreadable_directories: the directories in which a path cannot be described.
    """

    counts: Counter[str] = field(default_factory=Counter)
    bytes: int = 0
    segments: int = 0
    copied: int = 0
    empty: int = 0
    other: int = 0
    damaged: int = 0
    unread: int = 0
    misnamed: int = 0
    faults: Faults = field(default_factory=dict)
    unreadable_files: Faults = field(default_factory=dict)
    unreadable_directories: Faults = field(default_factory=dict)

    def add(self, more: "Findings") -> None:
        """Add those of other paths."""
        self.counts.update(more.counts)
        for name in ("bytes", "segments", "copied", "empty", "other", "damaged", "unread", "misnamed"):
            setattr(self, name, getattr(self, name) + getattr(more, name))
        self.faults |= dict(islice(more.faults.items(), MAX_NAMED - len(self.faults)))
        self.unreadable_files |= more.unreadable_files
        self.unreadable_directories |= more.unreadable_directories


class Described(NamedTuple):
    """The compressed lines of a batch, and its findings."""

    compressed: bytes
    findings: Findings


class _File(NamedTuple):
    """A file: where it is on this machine, its name and size, and its lines in the previous crawl if unchanged."""

    local: bytes
    name: bytes
    size: int
    before: FileLines


class _Found(NamedTuple):
    """A path in the crawl, its type, its `posix` line, and the file if it is one."""

    path: str
    type: PathType
    line: bytes
    file: _File | None


class Describer:
    """Describes paths."""

    def __init__(self, wanted: Wanted, registry: NetworkRegistry) -> None:
        self._wanted = wanted
        self._extend = registry.extend
        # Each finds one type of metadata of a file.
        self._probes: dict[str, Callable[[bytes], dict[str, str]]] = {}
        if wanted.has_checksums:
            self._probes[CHECKSUM] = compute_checksum
        if wanted.has_magic:
            self._probes[MAGIC] = MagicProbe().find

    def describe(self, batch: list[Portion]) -> Described:
        """Return the lines of paths.

        Raises:
            RegistryUnavailable: if a network needs the registry, which cannot be loaded.
            InvalidRegistry: if the registry is invalid.
        """
        lines: list[bytes] = []
        findings = Findings()
        # In two steps: the content of a file drives all else out of the caches of the processor.
        for found in [found for portion in batch for found in self._find_paths(portion, findings)]:
            lines.append(found.line)
            if found.file is not None:
                lines += self._describe_content(found.path, found.file, findings)
        return Described(compress_lines(b"".join(lines)), findings)

    def _find_paths(self, portion: Portion, findings: Findings) -> Iterator[_Found]:
        """Yield the paths that are there, with their `posix` lines."""
        for name in portion.names:
            try:
                found = self._find_path(portion, name)
            except OSError as error:
                if error.errno not in (errno.ENOENT, errno.ENOTDIR):  # it was removed meanwhile
                    findings.unreadable_directories[portion.path] = str(error.strerror)
                continue
            if found is None:
                findings.counts[SKIPPED] += 1
                continue
            findings.counts[found.type] += 1
            findings.counts[POSIX] += 1
            if found.file is not None:
                findings.bytes += found.file.size
            yield found

    def _find_path(self, portion: Portion, name: bytes) -> _Found | None:
        """Return a path; None if it is a FIFO, socket or device."""
        local = join(portion.local, name) if name else portion.local
        status = os.lstat(local)
        path_type = get_type(status)
        if path_type is None:
            return None
        path = join_path(portion.path, name) if name else portion.path
        posix = describe_path(local, path_type, name, status, has_owners=self._wanted.has_owners)
        line = format_line(CrawlLine(path, POSIX, encode_record(posix)))
        if path_type != "file":
            return _Found(path, path_type, line, None)
        before = portion.previous.get(path.rpartition("/")[2], {})
        if not is_unchanged(before, status):
            before = {}
        return _Found(path, path_type, line, _File(local, name, status.st_size, before))

    def _describe_content(self, path: str, file: _File, findings: Findings) -> list[bytes]:
        """Return the lines of the content of a file, copied from the previous crawl where it has them."""
        wanted, before = self._wanted, file.before
        lines = []
        if wanted.pattern is None or fnmatchcase(os.fsdecode(file.name), wanted.pattern):
            line = None if wanted.rereads else self._copy_mseed(path, before.get(MSEED), findings)
            if line is None:
                record = self._read_mseed(path, file)
                self._count(path, record, findings)
                line = format_line(CrawlLine(path, MSEED, encode_record(record)))
            lines.append(line)
            findings.counts[MSEED] += 1
        for md_type, probe in self._probes.items():
            if md_type in before:
                lines.append(before[md_type] + b"\n")
            else:
                try:
                    json = msgspec.json.encode(probe(file.local))
                except OSError as error:
                    findings.unreadable_files[path] = str(error.strerror)
                    continue
                lines.append(format_line(CrawlLine(path, md_type, json)))
            findings.counts[md_type] += 1
        return lines

    def _read_mseed(self, path: str, file: _File) -> MseedRecord:
        record = read_content(os.fsdecode(file.local), file.size, self._extend)
        record.misnamed = is_misnamed(path, record.segments, self._wanted.layout)
        return record

    def _copy_mseed(self, path: str, line: bytes | None, findings: Findings) -> bytes | None:
        """Return the line of the previous crawl; None if the file has to be read."""
        if line is None:
            return None
        try:
            copied = self._copy_valid_mseed(path, line, findings)
        except InvalidLine:
            return None
        findings.copied += copied is not None
        return copied

    def _copy_valid_mseed(self, path: str, line: bytes, findings: Findings) -> bytes | None:
        json = line.rpartition(b"\t")[2]
        if _ERROR.match(json) or _HAS_TEMPORARY.search(json) or b"true" in json or b'"bytes_unread":0' not in json:
            record = decode_mseed(parse_line(line).json)
            if record.error is not None and record.error.startswith(CANNOT_BE_READ):
                return None
            # The registry may have changed.
            record.segments = [self._extend_again(segment) for segment in record.segments]
            self._count(path, record, findings)
            return format_line(CrawlLine(path, MSEED, encode_record(record)))
        findings.segments += json.count(b'"sid":')
        return line + b"\n"

    def _extend_again(self, segment: Segment) -> Segment:
        short = get_short_network(segment)
        if short is None:
            return segment
        return msgspec.structs.replace(segment, network=self._extend(short, segment.start.date()))

    def _count(self, path: str, record: MseedRecord, findings: Findings) -> None:
        findings.segments += len(record.segments)
        findings.damaged += record.damaged
        findings.unread += record.bytes_unread > 0
        findings.misnamed += record.misnamed
        if record.error is None:
            return
        if record.error == EMPTY:
            findings.empty += 1
        elif record.error.startswith(CANNOT_BE_READ):
            findings.unreadable_files[path] = record.error.removeprefix(CANNOT_BE_READ)
        else:
            findings.other += 1
            if len(findings.faults) < MAX_NAMED:
                findings.faults[path] = record.error
