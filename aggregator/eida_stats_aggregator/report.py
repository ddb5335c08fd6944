"""What a run has done, for people and for programs."""

import datetime
import json
from pathlib import Path

import msgspec
from rich.console import Console
from rich.filesize import decimal
from rich.table import Table

from eida_statistics import hll
from eida_statistics.payload import Payload

SHOWN_REJECTS = 5


class Reject(msgspec.Struct):
    """A line that was no request; the reason never quotes the line, which is about a person."""

    file: str
    line: int
    reason: str


class Report(msgspec.Struct):
    """The figures of one run; `bytes` and `clients` are those of the aggregates, `clients` an estimate."""

    files: list[str] = []
    counted: int = 0
    ignored: int = 0
    rejected: int = 0
    first_rejects: list[Reject] = []
    requests: int = 0
    unsuccessful_requests: int = 0
    aggregates: int = 0
    bytes: int = 0
    clients: int = 0
    days: list[datetime.date] = []
    unregistered_networks: dict[str, int] = {}
    output: str | None = None
    sent: list[str] = []
    queued: list[str] = []
    errors: list[str] = []

    def reject(self, file: str, line: int, reason: str) -> None:
        """Count a rejected line, and keep the first few."""
        self.rejected += 1
        if len(self.first_rejects) < SHOWN_REJECTS:
            self.first_rejects.append(Reject(file, line, reason))

    def aggregated(self, payload: Payload, output: Path, unregistered: dict[str, int]) -> None:
        """Take over the figures of what was aggregated."""
        rows = payload.stats
        self.requests = sum(row.nb_requests for row in rows)
        self.unsuccessful_requests = sum(row.nb_unsuccessful_requests for row in rows)
        self.aggregates = len(rows)
        self.bytes = sum(row.bytes for row in rows)
        self.clients = hll.cardinality(hll.merge(hll.from_hex(row.clients) for row in rows))
        self.days = payload.days_coverage
        self.unregistered_networks = dict(sorted(unregistered.items()))
        self.output = str(output)

    def to_json(self) -> str:
        """Write all figures as one JSON object."""
        # Unlike msgspec, it writes names of files that are not UTF-8.
        return json.dumps(msgspec.to_builtins(self), indent=2)

    def show(self, console: Console) -> None:
        """Print the figures as a table, and what deserves attention below it."""
        if self.counted or self.ignored or self.rejected:
            table = Table(box=None, show_header=False, pad_edge=False)
            table.add_column(justify="right")
            table.add_column()
            for figure, meaning in self._figures():
                table.add_row(figure, meaning)
            console.print(table)
        for line in self._remarks():
            console.print(line, markup=False, highlight=False, soft_wrap=True)

    def _figures(self) -> list[tuple[str, str]]:
        figures = [
            (f"{self.counted:,}", "lines counted"),
            (f"{self.ignored:,}", "ignored (another service)"),
            (f"{self.rejected:,}", "rejected"),
        ]
        if self.output is not None:
            figures += [
                (f"{self.requests:,}", f"requests, {self.unsuccessful_requests:,} of them failed as a whole"),
                (f"{self.aggregates:,}", "aggregates"),
                (decimal(self.bytes), "delivered"),
                (f"{self.clients:,}", "distinct clients (estimate)"),
                (f"{len(self.days):,}", f"days, {self.days[0]} to {self.days[-1]}"),
            ]
        return figures

    def _remarks(self) -> list[str]:
        remarks = [f"rejected: {reject.file}:{reject.line}: {reject.reason}" for reject in self.first_rejects]
        if self.rejected > len(self.first_rejects):
            remarks.append(f"rejected: … and {self.rejected - len(self.first_rejects):,} more")
        remarks += [
            f"unregistered network, kept under its short code: {code} ({times:,} deliveries)"
            for code, times in self.unregistered_networks.items()
        ]
        if self.output is not None:
            remarks.append(f"written: {self.output}")
        elif self.files and not self.errors:
            remarks.append("no stream had data and no request failed as a whole, so there is nothing to write")
        remarks += [f"sent: {delivery}" for delivery in self.sent]
        remarks += [f"waits for the next run: {path}" for path in self.queued]
        return remarks
