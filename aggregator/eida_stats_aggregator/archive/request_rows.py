"""The comparison of requests with an archive as rows, which files and tables have in common."""

import csv
import io
from collections.abc import Sequence
from typing import Literal

import msgspec

from eida_statistics.archive.records import CrawlRecord
from eida_stats_aggregator.archive.comparison import AGES, PRESENCES, Comparison, Missing, MissingKey, Sums
from eida_stats_aggregator.archive.request_logs import LogSummary
from eida_stats_aggregator.fdsnws.trace_log import format_microseconds

Section = Literal["total", "age", "year", "nodata"]


class Row(msgspec.Struct, kw_only=True):
    """One line of a table. Fields that a section does not have are None.

    Attributes:
        section: the table: `total`, `age`, `year` or `nodata`.
        name: the line: `all`; an age; a year; or the result for a stream without data. See README.md.
        network: the extended code; of a stream, in `nodata` only.
        station: likewise.
        location: likewise; empty for `--`.
        channel: likewise.
        traces: the number of traces.
        delivered: those of them that were delivered; not in `nodata`.
        nodata: those without data; likewise.
        denied: those that the client may not see; likewise.
        failed: those of failed requests, or with another status; likewise.
        bytes: the bytes delivered; likewise.
        faults: in `nodata` only: the traces for which a file with the data was there.
        after_crawl: in `nodata` only: the traces of requests that are newer than the crawl.
        start: in `nodata` only: the earliest start of the windows.
        end: in `nodata` only: the latest end.
    """

    section: Section
    name: str
    network: str | None = None
    station: str | None = None
    location: str | None = None
    channel: str | None = None
    traces: int
    delivered: int | None = None
    nodata: int | None = None
    denied: int | None = None
    failed: int | None = None
    bytes: int | None = None
    faults: int | None = None
    after_crawl: int | None = None
    start: str | None = None
    end: str | None = None


def make_rows(comparison: Comparison) -> list[Row]:
    """Return all rows: the totals, the ages, the years, and the streams without data, those held first."""
    ages = [(age, comparison.by_age[age]) for age in AGES if age in comparison.by_age]
    years = sorted(comparison.by_year.items(), key=lambda item: (item[0] is None, item[0] or 0))
    return [
        _make_row("total", "all", comparison.totals),
        *(_make_row("age", age, sums) for age, sums in ages),
        *(_make_row("year", "unknown" if year is None else str(year), sums) for year, sums in years),
        *(_make_missing_row(key, missing) for key, missing in sorted(comparison.missing.items(), key=_get_order)),
    ]


def format_csv(rows: Sequence[Row]) -> bytes:
    """Return rows as CSV, with a header. None is empty."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(Row.__struct_fields__)
    writer.writerows(msgspec.structs.astuple(row) for row in rows)
    return text.getvalue().encode()


def format_json(rows: Sequence[Row], comparison: Comparison, logs: LogSummary, crawl: CrawlRecord) -> bytes:
    """Return rows as JSON, with the numbers of requests and lines and the times of the crawl."""
    document = {
        "crawl": {"started": crawl.started, "finished": crawl.finished},
        "requests": comparison.requests,
        "without_traces": comparison.without_traces,
        "lines": {"ignored": logs.ignored, "rejected": logs.rejected, "repeated": logs.repeated},
        "rows": rows,
    }
    return msgspec.json.format(msgspec.json.encode(document), indent=1) + b"\n"


def _make_row(section: Section, name: str, sums: Sums) -> Row:
    return Row(
        section=section,
        name=name,
        traces=sums.traces,
        delivered=sums.delivered,
        nodata=sums.nodata,
        denied=sums.denied,
        failed=sums.failed,
        bytes=sums.bytes,
    )


def _make_missing_row(key: MissingKey, missing: Missing) -> Row:
    presence, (network, station, location, channel) = key
    return Row(
        section="nodata",
        name=presence,
        network=network,
        station=station,
        location=location,
        channel=channel,
        traces=missing.traces,
        faults=missing.faults,
        after_crawl=missing.after_crawl,
        start=format_microseconds(missing.start),
        end=format_microseconds(missing.end),
    )


def _get_order(item: tuple[MissingKey, Missing]) -> tuple[int, int, int, MissingKey]:
    key, missing = item
    return PRESENCES.index(key.presence), -missing.faults, -missing.traces, key
