"""The summary of a run of `ringserverstats` that stores, for people and for programs."""

from collections.abc import Iterable

from eida_stats_aggregator.summary import Deliveries, format_size
from eida_stats_webservice.ringserver.raw_logs.models import RawReceipt, StoredDay


class StoreSummary(Deliveries, kw_only=True):
    """The logs of a run that stores, and the receipt of the database, None if nothing was stored.

    Attributes:
        skipped_rx: logs of received data in the directories.
        skipped: other files in the directories.
    """

    files: int = 0
    skipped_rx: int = 0
    skipped: int = 0
    stored: RawReceipt | None = None

    def show(self) -> None:
        """Print a table of the days, and remarks below it."""
        # Slow to import, and not needed where a scheduler runs the command.
        from rich.console import Console  # noqa: PLC0415
        from rich.table import Column, Table  # noqa: PLC0415

        from eida_statistics.terminal import print_table  # noqa: PLC0415

        if self.stored is None:
            return
        console = Console()
        if self.stored.payloads:
            has_sources = any(one.source for one in self.stored.payloads)
            sources = [Column("SERVER", no_wrap=True)] if has_sources else []
            columns = [Column("DAY", no_wrap=True), *sources, Column("PAYLOAD", justify="right"), Column("RESULT")]
            table = Table(*columns, box=None, pad_edge=False, header_style="")
            for one in self.stored.payloads:
                shown = [one.source] if has_sources else []
                table.add_row(str(one.day), *shown, str(one.payload), _describe(one))
            print_table(table)
            console.print()
        for line in self._format_remarks(self.stored):
            console.print(line, markup=False, highlight=False, soft_wrap=True)

    def _format_remarks(self, stored: RawReceipt) -> Iterable[str]:
        size = format_size(stored.bytes)
        yield f"{stored.records:,} new records with {stored.streams:,} stream lines were stored: {size}"
        for text, number in (
            ("Records that were stored before", stored.duplicates),
            ("Records of received data, left out (--rx counts them)", stored.ignored),
            ("Records without an end, of which the complete lines count", stored.cut),
            ("Records with another total than their lines, which count", stored.differing),
            ("Logs that end within a record, which does not count yet", stored.unfinished),
            ("Payloads that were replaced by none", len(stored.retracted)),
            ("Logs of received data that were skipped (--rx counts them)", self.skipped_rx),
            ("Other files that were skipped", self.skipped),
        ):
            if number:
                yield f"{text}: {number:,}"
        rejected = stored.rejected
        yield from (f"rejected: {one.log}:{one.line}: {one.reason}" for one in rejected.first)
        if rejected.number > len(rejected.first):
            yield f"rejected: … and {rejected.number - len(rejected.first):,} more"


def _describe(one: StoredDay) -> str:
    return "stored" if one.supersedes is None else f"stored in the place of payload {one.supersedes}"
