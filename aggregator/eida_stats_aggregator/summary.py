"""The summary of a run, for people and for programs."""

import datetime
import json
from typing import TYPE_CHECKING

import msgspec

from eida_statistics.payload import Exclusions, Period
from eida_stats_aggregator.fdsnws.log_lines import Reject
from eida_stats_aggregator.period import LogPeriod, Origin

if TYPE_CHECKING:
    # Reading imports numpy, which is slow, and not needed by runs without anything to read.
    from eida_stats_aggregator.fdsnws.tally import Tally
    from eida_stats_aggregator.logs.duplicates import Duplicate

_ORIGINS: dict[Origin, str] = {
    "names": "from the names of the logs",
    "options": "from --since and --until",
    "requests": "from the days of the requests",
}


class ClassFigures(msgspec.Struct):
    """The requests and bytes of a class of clients."""

    requests: int
    bytes: int


class Deliveries(msgspec.Struct, kw_only=True):
    """The aggregate files of a run: lines for those that were sent, paths of those that were not.

    `queued` wait for the next run, `held` for a decision of the operator. With `dry_run` nothing was written or
    sent, and `sent` has the files that would have been. `warnings` is about what changes the numbers.
    """

    dry_run: bool = False
    sent: list[str] = []
    queued: list[str] = []
    held: list[str] = []
    warnings: list[str] = []
    errors: list[str] = []

    def to_json(self) -> str:
        """Return everything as one JSON object."""
        # Unlike msgspec, it writes names of files that are not UTF-8.
        return json.dumps(msgspec.to_builtins(self), indent=2)

    def describe_deliveries(self) -> list[str]:
        """Return lines for people."""
        return [
            *(f"{'would be sent' if self.dry_run else 'sent'}: {delivery}" for delivery in self.sent),
            *(f"waits for the next run: {path}" for path in self.queued),
            *(f"waits for your decision: {path}" for path in self.held),
        ]


class RunSummary(Deliveries, kw_only=True):
    """The figures of a run that makes one aggregate file.

    `requests`, `bytes` and `clients` are those of the aggregates, `clients` an estimate; `client_classes` has
    excluded clients as well. `sent_before` says where and when the output was delivered, if it is not sent again.
    `outside_period` counts requests in the aggregates that are of other days than those of the period.
    """

    files: list[str] = []
    counted: int = 0
    ignored: int = 0
    rejected: int = 0
    repeated: int = 0
    on_other_days: int = 0
    excluded: int = 0
    first_rejects: list[Reject] = []
    repeated_files: list["Duplicate"] = []
    passed_over: list[str] = []
    source: str = ""
    period: Period | None = None
    period_origin: Origin | None = None
    outside_period: int = 0
    requests: int = 0
    unsuccessful_requests: int = 0
    aggregates: int = 0
    bytes: int = 0
    clients: int = 0
    days: list[datetime.date] = []
    unregistered_networks: dict[str, int] = {}
    client_classes: dict[str, ClassFigures] = {}
    excluded_clients: Exclusions | None = None
    output: str | None = None
    sent_before: str | None = None

    def add_tally(self, tally: "Tally") -> None:
        """Add the counts of lines."""
        self.counted = tally.counted
        self.ignored = tally.ignored
        self.rejected = tally.rejected
        self.repeated = tally.repeated
        self.on_other_days = tally.on_other_days
        self.excluded = tally.excluded
        self.first_rejects = tally.rejects
        self.excluded_clients = tally.request_filter.exclusions
        largest_first = sorted(tally.classes.items(), key=lambda item: (*(-figure for figure in item[1]), item[0]))
        self.client_classes = {name: ClassFigures(*figures) for name, figures in largest_first}

    def add_aggregates(self, tally: "Tally", found: LogPeriod, source: str) -> None:
        """Add the figures of the aggregates."""
        totals = tally.aggregation.totals
        self.requests = totals.requests
        self.unsuccessful_requests = totals.unsuccessful
        self.aggregates = tally.aggregation.count
        self.bytes = totals.bytes
        self.clients = tally.aggregation.clients
        self.days = tally.aggregation.days
        self.unregistered_networks = dict(sorted(tally.aggregation.unregistered.items()))
        self.source = source
        self.period, self.period_origin = found.period, found.origin
        period = set(found.period.days())
        self.outside_period = sum(count for day, count in tally.requests_by_day.items() if day not in period)

    def show(self) -> None:
        """Print the figures as tables, and remarks below them."""
        # Slow to import, and not needed where a scheduler runs the command.
        from rich.console import Console  # noqa: PLC0415
        from rich.table import Column, Table  # noqa: PLC0415

        from eida_statistics.terminal import print_table  # noqa: PLC0415

        console = Console()
        if self.files:
            table = Table(Column(justify="right"), Column(), box=None, show_header=False, pad_edge=False)
            for figure in self._format_figures():
                table.add_row(*figure)
            print_table(table)
        if self.client_classes:
            figures = [Column(heading, justify="right") for heading in ("REQUESTS", "BYTES")]
            table = Table(*figures, "CLIENTS", box=None, pad_edge=False, header_style="")
            for row in self._format_classes():
                table.add_row(*row)
            console.print()
            print_table(table)
            console.print()
        for line in self._format_remarks():
            console.print(line, markup=False, highlight=False, soft_wrap=True)

    def _format_classes(self) -> list[tuple[str, str, str]]:
        left_out = self.excluded_clients.client_classes if self.excluded_clients is not None else []
        return [
            (
                f"{figures.requests:,}",
                format_size(figures.bytes),
                f"{name} (left out)" if name in left_out else name,
            )
            for name, figures in self.client_classes.items()
        ]

    def _format_figures(self) -> list[tuple[str, str]]:
        figures = [
            (f"{self.counted:,}", "lines counted"),
            (f"{self.ignored:,}", "ignored (another service)"),
            (f"{self.rejected:,}", "rejected"),
        ]
        if len(self.files) > 1:
            figures.insert(0, (f"{len(self.files):,}", "logs"))
        if self.repeated:
            figures.append((f"{self.repeated:,}", "repeated, not counted again"))
        if self.on_other_days:
            figures.append((f"{self.on_other_days:,}", "left out (other days)"))
        if self.excluded:
            figures.append((f"{self.excluded:,}", "left out (excluded clients)"))
        if self.period is not None:
            days = len(self.period.days())
            figures += [
                (f"{self.requests:,}", f"requests, {self.unsuccessful_requests:,} of them failed as a whole"),
                (f"{self.aggregates:,}", "aggregates"),
                (format_size(self.bytes), "delivered"),
                (f"{self.clients:,}", "distinct clients (estimate)"),
                (f"{days:,}", f"day{'s' if days > 1 else ''}, {self.period}{self._format_origin()}"),
            ]
            if self.outside_period:
                figures.append((f"{self.outside_period:,}", "lines of other days, counted with them"))
        return figures

    def _format_origin(self) -> str:
        if self.period_origin is None:
            return ""
        origin = _ORIGINS[self.period_origin]
        return f" ({origin.replace('names of the logs', 'name of the log') if len(self.files) == 1 else origin})"

    def _format_remarks(self) -> list[str]:
        remarks = []
        if self.passed_over:
            others = f" and {len(self.passed_over) - 1:,} more" if len(self.passed_over) > 1 else ""
            remarks.append(f"skipped (not a request log): {self.passed_over[0]}{others}")
        remarks += [
            f"not counted again: {repeat.file} has the same content as {repeat.same_as}"
            for repeat in self.repeated_files
        ]
        remarks += [f"rejected: {reject.file}:{reject.line}: {reject.reason}" for reject in self.first_rejects]
        if self.rejected > len(self.first_rejects):
            remarks.append(f"rejected: … and {self.rejected - len(self.first_rejects):,} more")
        remarks += [
            f"unregistered network, kept under its short code: {code} ({times:,} deliveries)"
            for code, times in self.unregistered_networks.items()
        ]
        if self.output is not None:
            remarks.append(f"{'would be written' if self.dry_run else 'written'}: {self.output}")
        elif self.files and not self.errors:
            remarks.append("Nothing to write: no request was counted.")
        if self.sent_before is not None:
            remarks.append(f"delivered before, and not sent again without --replace: {self.sent_before}")
        remarks += self.describe_deliveries()
        return remarks or ([] if self.errors else ["Nothing is queued."])


class DaySummary(msgspec.Struct, kw_only=True):
    """The result for one day; the figures are None where its logs were not aggregated."""

    day: datetime.date
    result: str
    requests: int | None = None
    bytes: int | None = None
    rejected: int | None = None
    repeated: int | None = None
    output: str | None = None


class CatchUpSummary(Deliveries, kw_only=True):
    """The days of a run that catches up; `delivered_before` counts those for which there was nothing to do.

    `in_use` is set if another run used the directory, and nothing was done.
    """

    source: str = ""
    in_use: bool = False
    days: list[DaySummary] = []
    delivered_before: int = 0

    def show(self) -> None:
        """Print a table of the days, and remarks below it."""
        # Slow to import, and not needed where a scheduler runs the command.
        from rich.console import Console  # noqa: PLC0415
        from rich.table import Column, Table  # noqa: PLC0415

        from eida_statistics.terminal import print_table  # noqa: PLC0415

        console = Console()
        if self.in_use:
            console.print("Another run uses the output directory. Nothing was done.")
            return
        if self.days:
            figures = [Column(heading, justify="right", no_wrap=True) for heading in ("REQUESTS", "BYTES")]
            columns = [Column("DAY", no_wrap=True), *figures, Column("RESULT", overflow="fold")]
            table = Table(*columns, box=None, pad_edge=False, header_style="")
            for one in self.days:
                requests = "" if one.requests is None else f"{one.requests:,}"
                size = "" if one.bytes is None else format_size(one.bytes)
                table.add_row(str(one.day), requests, size, one.result)
            print_table(table)
            console.print()
        if self.days or self.delivered_before or not self.errors:
            console.print(f"Days delivered before: {self.delivered_before:,}", highlight=False)
        shown = tuple(f"{one.output} to " for one in self.days if one.output is not None)
        for line in self.describe_deliveries():
            # The table has the results of this run.
            if not line.partition(": ")[2].startswith(shown or ("\n",)):
                console.print(line, markup=False, highlight=False, soft_wrap=True)


def format_size(size: int) -> str:
    """Return a number of bytes with a unit, for people."""
    from rich.filesize import decimal as with_unit  # noqa: PLC0415 - slow to import

    return with_unit(size)
