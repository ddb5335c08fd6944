"""Crawls whose files have one segment each, by stream, times and change."""

import datetime
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from eida_statistics.archive.crawl_file import CrawlWriter, compress_lines
from eida_statistics.archive.lines import CrawlLine, format_line
from eida_statistics.archive.records import CRAWL, CrawlRecord, encode_record
from support.crawls import ROOT, describe_file, make_segment, parse_utc

STARTED = datetime.datetime(2020, 9, 1, tzinfo=datetime.UTC)
FINISHED = datetime.datetime(2020, 9, 1, 6, tzinfo=datetime.UTC)


class Held(NamedTuple):
    """A file with one segment: its codes, its first and last sample, and when it was changed last."""

    codes: str
    start: str
    end: str
    changed: str = "2020-01-01"


def describe_held(held: Iterable[Held]) -> Iterator[CrawlLine]:
    """Yield the lines of files."""
    for number, (codes, start, end, changed) in enumerate(held):
        segment = make_segment(codes, start, end)
        path = f"{ROOT}/{number}"
        yield from describe_file(path, segment, ctime=int(parse_utc(changed).timestamp()))


def list_crawl_lines(
    held: Iterable[Held], first: CrawlRecord | None = None, last: CrawlRecord | None = None
) -> list[tuple[int, bytes]]:
    """Return the numbered lines of a complete crawl."""
    lines = [
        CrawlLine(ROOT, CRAWL, encode_record(first or CrawlRecord(started=STARTED))),
        *describe_held(held),
        CrawlLine(ROOT, CRAWL, encode_record(last or CrawlRecord(finished=FINISHED))),
    ]
    return [(number, format_line(line).rstrip(b"\n")) for number, line in enumerate(lines, 1)]


def write_crawl(path: Path, *held: Held, last: CrawlRecord | None = None) -> Path:
    """Write the file of a complete crawl, and return its path."""
    writer = CrawlWriter(path, ROOT, CrawlRecord(started=STARTED))
    writer.write(compress_lines(b"".join(map(format_line, describe_held(held)))))
    writer.finish(last or CrawlRecord(finished=FINISHED))
    return path
