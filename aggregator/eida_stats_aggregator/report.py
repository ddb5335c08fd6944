"""What a run has done, for people and for programs."""

import datetime
import json
from pathlib import Path

import msgspec

from eida_statistics.payload import Exclusions, Payload
from eida_stats_aggregator.aggregate import Aggregation
from eida_stats_aggregator.dispatch import Receipt
from eida_stats_aggregator.repeats import Repeat
from eida_stats_aggregator.tally import Reject, Tally


class ClassFigures(msgspec.Struct):
    """The requests and bytes of a class of clients."""

    requests: int
    bytes: int


class Report(msgspec.Struct):
    """The figures of one run.

    `requests`, `bytes` and `clients` are those of the aggregates, `clients` an estimate; `client_classes` has
    excluded clients as well. `dry_run` says that nothing was written or sent: `output` and `sent` tell what
    would have been. `sent_before` tells where and when the output was delivered, if it is not sent again.
    """

    files: list[str] = []
    counted: int = 0
    ignored: int = 0
    rejected: int = 0
    on_other_days: int = 0
    excluded: int = 0
    repeated: int = 0
    first_rejects: list[Reject] = []
    repeated_files: list[Repeat] = []
    passed_over: list[str] = []
    requests: int = 0
    unsuccessful_requests: int = 0
    aggregates: int = 0
    bytes: int = 0
    clients: int = 0
    days: list[datetime.date] = []
    unregistered_networks: dict[str, int] = {}
    client_classes: dict[str, ClassFigures] = {}
    excluded_clients: Exclusions | None = None
    dry_run: bool = False
    output: str | None = None
    sent_before: str | None = None
    sent: list[str] = []
    queued: list[str] = []
    errors: list[str] = []

    def read(self, tally: Tally) -> None:
        """Take over what was read."""
        self.counted = tally.counted
        self.ignored = tally.ignored
        self.rejected = tally.rejected
        self.on_other_days = tally.on_other_days
        self.excluded = tally.excluded
        self.repeated = tally.repeated
        self.first_rejects = tally.rejects
        self.excluded_clients = tally.selection.exclusions
        largest_first = sorted(tally.classes.items(), key=lambda item: (*(-figure for figure in item[1]), item[0]))
        self.client_classes = {name: ClassFigures(*figures) for name, figures in largest_first}

    def aggregated(self, payload: Payload, output: Path, aggregation: Aggregation, receipt: Receipt | None) -> None:
        """Take over the figures of what was aggregated, and the receipt if it was delivered before."""
        rows = payload.stats
        self.requests = sum(row.nb_requests for row in rows)
        self.unsuccessful_requests = sum(row.nb_unsuccessful_requests for row in rows)
        self.aggregates = len(rows)
        self.bytes = sum(row.bytes for row in rows)
        self.clients = aggregation.clients
        self.days = payload.days_coverage
        self.unregistered_networks = dict(sorted(aggregation.unregistered.items()))
        self.output = str(output)
        if receipt is not None:
            self.sent_before = f"{output} to {receipt.url} at {receipt.sent_at}: {receipt.answer}"

    def to_json(self) -> str:
        """Write all figures as one JSON object."""
        # Unlike msgspec, it writes names of files that are not UTF-8.
        return json.dumps(msgspec.to_builtins(self), indent=2)

    def show(self) -> None:
        """Print the figures as tables, and what deserves attention below them."""
        # Slow to import, and not needed where a scheduler runs the command.
        from rich.console import Console  # noqa: PLC0415
        from rich.table import Table  # noqa: PLC0415

        console = Console()
        if any((self.counted, self.ignored, self.rejected, self.on_other_days, self.excluded, self.repeated)):
            table = Table(box=None, show_header=False, pad_edge=False)
            table.add_column(justify="right")
            table.add_column()
            for figure, meaning in self._figures():
                table.add_row(figure, meaning)
            console.print(table)
        if self.client_classes:
            table = Table(box=None, pad_edge=False, header_style="")
            table.add_column("REQUESTS", justify="right")
            table.add_column("BYTES", justify="right")
            table.add_column("CLIENTS")
            for row in self._classes():
                table.add_row(*row)
            console.print()
            console.print(table)
            console.print()
        for line in self._remarks():
            console.print(line, markup=False, highlight=False, soft_wrap=True)

    def _classes(self) -> list[tuple[str, str, str]]:
        left_out = self.excluded_clients.client_classes if self.excluded_clients is not None else []
        return [
            (f"{figures.requests:,}", _decimal(figures.bytes), f"{name} (left out)" if name in left_out else name)
            for name, figures in self.client_classes.items()
        ]

    def _figures(self) -> list[tuple[str, str]]:
        figures = [
            (f"{self.counted:,}", "lines counted"),
            (f"{self.ignored:,}", "ignored (another service)"),
            (f"{self.rejected:,}", "rejected"),
        ]
        if len(self.files) > 1:
            figures.insert(0, (f"{len(self.files):,}", "logs"))
        if self.on_other_days:
            figures.append((f"{self.on_other_days:,}", "left out (other days)"))
        if self.excluded:
            figures.append((f"{self.excluded:,}", "left out (excluded clients)"))
        if self.repeated:
            figures.append((f"{self.repeated:,}", "repeated, not counted again"))
        if self.output is not None:
            figures += [
                (f"{self.requests:,}", f"requests, {self.unsuccessful_requests:,} of them failed as a whole"),
                (f"{self.aggregates:,}", "aggregates"),
                (_decimal(self.bytes), "delivered"),
                (f"{self.clients:,}", "distinct clients (estimate)"),
                (f"{len(self.days):,}", f"days, {self.days[0]} to {self.days[-1]}"),
            ]
        return figures

    def _remarks(self) -> list[str]:
        remarks = []
        if self.passed_over:
            others = f" and {len(self.passed_over) - 1:,} more" if len(self.passed_over) > 1 else ""
            remarks.append(f"passed over, for it is no request log: {self.passed_over[0]}{others}")
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
            remarks.append(
                "nothing to write: of what was taken, no stream had data and no request failed as a whole"
            )
        if self.sent_before is not None:
            remarks.append(f"delivered before, and not sent again without --replace: {self.sent_before}")
        remarks += [f"{'would be sent' if self.dry_run else 'sent'}: {delivery}" for delivery in self.sent]
        remarks += [f"waits for the next run: {path}" for path in self.queued]
        return remarks


def _decimal(size: int) -> str:
    from rich.filesize import decimal  # noqa: PLC0415

    return decimal(size)
