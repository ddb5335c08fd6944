"""Crawls that are written line by line, without an archive on disk."""

import datetime
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from eida_statistics.archive.crawl_file import CrawlWriter, compress_lines
from eida_statistics.archive.lines import CrawlLine, format_line
from eida_statistics.archive.records import (
    MSEED,
    POSIX,
    REMOVED,
    CrawlRecord,
    MseedRecord,
    PosixRecord,
    Segment,
    encode_record,
)

ROOT = "/GFZ/archive"
STARTED = datetime.datetime(2026, 11, 1, 2, tzinfo=datetime.UTC)
_LASTS = datetime.timedelta(hours=1)


def parse_utc(text: str) -> datetime.datetime:
    """Return a time in UTC."""
    return datetime.datetime.fromisoformat(text).replace(tzinfo=datetime.UTC)


def make_segment(
    codes: str, start: str, end: str, *, rate: float = 100.0, size: int = 512, quality: str = "D"
) -> Segment:
    """Return a segment of a stream such as `GE.APE..BHZ`, between two times in UTC."""
    network, station, location, channel = codes.split(".")
    return Segment(
        sid=f"FDSN:{network}_{station}_{location}_{'_'.join(channel)}",
        network=network,
        station=station,
        location=location,
        channel=channel,
        quality=quality,
        rate=rate,
        start=parse_utc(start),
        end=parse_utc(end),
        samples=1,
        records=1,
        bytes=size,
    )


def describe(path: str, **posix: Any) -> CrawlLine:
    """Return the line of type `posix` of a path, by default that of a file."""
    values: dict[str, Any] = {"type": "file", "size": 512, "mtime": 1, "ctime": 1, "atime": 1} | posix
    return CrawlLine(path, POSIX, encode_record(PosixRecord(**values)))


def describe_file(path: str, *segments: Segment, **posix: Any) -> list[CrawlLine]:
    """Return the lines of a file with segments."""
    content = encode_record(MseedRecord(segments=list(segments)))
    return [
        describe(path, **{"size": sum(segment.bytes for segment in segments)} | posix),
        CrawlLine(path, MSEED, content),
    ]


def describe_directory(path: str, **posix: Any) -> CrawlLine:
    """Return the line of a directory."""
    return describe(path, **{"type": "directory", "size": 4096} | posix)


def describe_link(path: str, target: str, *, intact: bool = True, **posix: Any) -> CrawlLine:
    """Return the line of a link."""
    return describe(path, **{"type": "link", "target": target, "intact": intact} | posix)


def remove(path: str) -> CrawlLine:
    """Return the line that removes a path and all below it from a shard, in a partial crawl."""
    return CrawlLine(path, REMOVED, b"{}")


def write_crawl(
    file: Path,
    lines: Iterable[CrawlLine | bytes],
    *,
    root: str = ROOT,
    started: datetime.datetime = STARTED,
    unreadable: Sequence[str] = (),
) -> Path:
    """Write the file of a crawl that took an hour, and return its path. Lines may be bytes, with their ends."""
    writer = CrawlWriter(file, root, CrawlRecord(started=started, root="/data", version="1"))
    content = b"".join(line if isinstance(line, bytes) else format_line(line) for line in lines)
    writer.write(compress_lines(content))
    writer.finish(CrawlRecord(finished=started + _LASTS, unreadable=list(unreadable), errors=len(unreadable)))
    return file
