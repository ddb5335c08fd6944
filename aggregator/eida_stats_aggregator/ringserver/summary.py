"""The summary of a run of `ringserverstats`, for people and for programs."""

import datetime
from collections.abc import Iterable

import msgspec

from eida_statistics.ringserver.collection import Found
from eida_stats_aggregator.summary import Deliveries, format_size


class DaySummary(msgspec.Struct, kw_only=True):
    """The result for one day of a source; the figures are None where nothing was sent."""

    source: str
    day: datetime.date
    result: str
    streams: int | None = None
    bytes: int | None = None
    output: str | None = None


class SendSummary(Deliveries, kw_only=True):
    """The logs and days of a run that sends.

    Attributes:
        skipped: other files in the directories.
        skipped_rx: logs of received data in the directories.
        delivered_before: the number of days for which there is nothing to do.
        shortened: the number of days whose logs have fewer records than were delivered.
        other_key: the number of days that were delivered under another key.
    """

    files: int = 0
    skipped: int = 0
    skipped_rx: int = 0
    found: Found
    days: list[DaySummary] = msgspec.field(default_factory=list)
    delivered_before: int = 0
    shortened: int = 0
    other_key: int = 0

    def show(self) -> None:
        """Print a table of the days, and remarks below it."""
        # Slow to import, and not needed where a scheduler runs the command.
        from rich.console import Console  # noqa: PLC0415
        from rich.table import Column, Table  # noqa: PLC0415

        from eida_statistics.terminal import print_table  # noqa: PLC0415

        console = Console()
        if self.days:
            has_sources = any(one.source for one in self.days)
            figures = [Column(heading, justify="right", no_wrap=True) for heading in ("STREAMS", "BYTES")]
            sources = [Column("SERVER", no_wrap=True)] if has_sources else []
            columns = [Column("DAY", no_wrap=True), *sources, *figures, Column("RESULT", overflow="fold")]
            table = Table(*columns, box=None, pad_edge=False, header_style="")
            for one in self.days:
                streams = "" if one.streams is None else f"{one.streams:,}"
                size = "" if one.bytes is None else format_size(one.bytes)
                table.add_row(str(one.day), *([one.source] if has_sources else []), streams, size, one.result)
            print_table(table)
            console.print()
        for line in self._format_remarks():
            console.print(line, markup=False, highlight=False, soft_wrap=True)

    def _format_remarks(self) -> Iterable[str]:
        found = self.found
        if self.files:
            yield f"{found.records:,} records with {found.streams:,} stream lines were read"
        for text, number in (
            ("Days delivered before", self.delivered_before),
            ("Days delivered with more records than the logs have now", self.shortened),
            ("Days delivered under another key (--replace counts them again)", self.other_key),
            ("Records that are in several logs, counted once", found.repeated),
            ("Records of received data, left out (--rx counts them)", found.ignored),
            ("Records without an end, of which the complete lines count", found.cut),
            ("Records with another total than their lines, which count", found.differing),
            ("Logs that end within a record, which does not count yet", found.unfinished),
            ("Logs of received data that were skipped (--rx counts them)", self.skipped_rx),
            ("Other files that were skipped", self.skipped),
        ):
            if number:
                yield f"{text}: {number:,}"
        yield from (f"rejected: {one.log}:{one.line}: {one.reason}" for one in found.rejections)
        if found.rejected > len(found.rejections):
            yield f"rejected: … and {found.rejected - len(found.rejections):,} more"
        shown = tuple(f"{one.output} to " for one in self.days if one.output is not None)
        for line in self.describe_deliveries():
            # The table has the results of this run.
            if not line.partition(": ")[2].startswith(shown or ("\n",)):
                yield line
