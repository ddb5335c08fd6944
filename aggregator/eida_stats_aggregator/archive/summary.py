"""The summary of a crawl, for people and for programs."""

import json
from collections.abc import Iterable

import msgspec

from eida_statistics.archive.records import MSEED
from eida_stats_aggregator.archive.crawler import Outcome
from eida_stats_aggregator.archive.describe import SKIPPED
from eida_stats_aggregator.summary import format_size


class Problem(msgspec.Struct):
    """A path and its fault."""

    path: str
    reason: str


class CrawlSummary(msgspec.Struct, kw_only=True):
    """The figures of a crawl.

    Attributes:
        output: the file of the crawl.
        files: the number of files, and so on for other types.
        skipped: the number of FIFOs, sockets and devices.
        bytes: the size of all files.
        opened: the number of files that were opened as miniSEED.
        copied: the number of files whose content is that of the previous crawl.
        segments: the number of segments.
        empty: the number of empty files.
        without_miniseed: the number of other files that have no segment.
        damaged: the number of files with damage between their records.
        with_unread_bytes: the number of files with bytes that belong to no record.
        misnamed: the number of files whose names say another stream or day.
        first_without_miniseed: some of those files.
        unreadable_directories: directories that cannot be read.
        unreadable_files: files that cannot be read.
        remarks: texts for the operator.
    """

    output: str
    files: int
    directories: int
    links: int
    skipped: int
    bytes: int
    opened: int
    copied: int
    segments: int
    empty: int
    without_miniseed: int
    damaged: int
    with_unread_bytes: int
    misnamed: int
    first_without_miniseed: list[Problem]
    unreadable_directories: list[Problem]
    unreadable_files: list[Problem]
    remarks: list[str]

    def to_json(self) -> str:
        """Return everything as one JSON object."""
        # Unlike msgspec, it writes names of files that are not UTF-8.
        return json.dumps(msgspec.to_builtins(self), indent=2)

    def show(self) -> None:
        """Print the figures as a table, and remarks below it."""
        # Slow to import, and not needed where a scheduler runs the command.
        from rich.console import Console  # noqa: PLC0415
        from rich.table import Column, Table  # noqa: PLC0415

        from eida_statistics.terminal import print_table  # noqa: PLC0415

        table = Table(Column(justify="right"), Column(), box=None, show_header=False, pad_edge=False)
        for figure in self._format_figures():
            table.add_row(*figure)
        print_table(table)
        console = Console()
        for line in self._format_remarks():
            console.print(line, markup=False, highlight=False, soft_wrap=True)

    def _format_figures(self) -> Iterable[tuple[str, str]]:
        yield f"{self.files:,}", f"files ({format_size(self.bytes)})"
        yield f"{self.opened:,}", "opened"
        if self.copied:
            yield f"{self.copied:,}", "unchanged, content copied from the previous crawl"
        yield f"{self.segments:,}", "segments"
        yield f"{self.directories:,}", "directories"
        for number, text in (
            (self.links, "links, not followed"),
            (self.skipped, "skipped (FIFOs, sockets, devices)"),
            (self.empty, "empty files"),
            (self.without_miniseed, "files without miniSEED"),
            (self.damaged, "files with damage between records"),
            (self.with_unread_bytes, "files with bytes that belong to no record"),
            (self.misnamed, "files whose names say another stream or day"),
        ):
            if number:
                yield f"{number:,}", text

    def _format_remarks(self) -> Iterable[str]:
        yield from (f"without miniSEED: {one.path}: {one.reason}" for one in self.first_without_miniseed)
        if self.without_miniseed > len(self.first_without_miniseed):
            yield f"without miniSEED: … and {self.without_miniseed - len(self.first_without_miniseed):,} more"
        yield from self.remarks
        yield f"written: {self.output}"


def summarize(output: str, outcome: Outcome) -> CrawlSummary:
    """Return the summary of a crawl."""
    found = outcome.findings
    return CrawlSummary(
        output=output,
        files=found.counts["file"],
        directories=found.counts["directory"],
        links=found.counts["link"],
        skipped=found.counts[SKIPPED],
        bytes=found.bytes,
        opened=found.counts[MSEED] - found.copied,
        copied=found.copied,
        segments=found.segments,
        empty=found.empty,
        without_miniseed=found.other,
        damaged=found.damaged,
        with_unread_bytes=found.unread,
        misnamed=found.misnamed,
        first_without_miniseed=_list_problems(found.faults),
        unreadable_directories=_list_problems(found.unreadable_directories),
        unreadable_files=_list_problems(found.unreadable_files),
        remarks=outcome.remarks,
    )


def _list_problems(faults: dict[str, str]) -> list[Problem]:
    return [Problem(path, reason) for path, reason in sorted(faults.items())]
