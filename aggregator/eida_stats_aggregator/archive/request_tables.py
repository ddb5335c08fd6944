"""The comparison of requests with an archive as tables for people, 80 characters wide."""

import datetime
from collections import Counter
from collections.abc import Iterator, Sequence

from rich.console import Console
from rich.table import Column, Table

from eida_statistics.terminal import print_table
from eida_stats_aggregator.archive.comparison import PRESENCES, Comparison
from eida_stats_aggregator.archive.holdings import Holdings
from eida_stats_aggregator.archive.request_logs import LogSummary
from eida_stats_aggregator.archive.request_rows import Row
from eida_stats_aggregator.summary import format_size

_SHOWN_STREAMS = 20
_AGES = {
    "<1d": "less than a day",
    "<7d": "1 to 7 days",
    "<30d": "7 to 30 days",
    "<1y": "30 days to 1 year",
    "<5y": "1 to 5 years",
    "older": "more than 5 years",
}
_EXPLANATIONS = {
    "held": "data are there and were not delivered",
    "gap": "the stream is held, but not at that time",
    "unknown": "no such stream is held",
    "unclear": "the log has no valid stream or time",
}


def print_tables(rows: Sequence[Row]) -> None:
    """Print the ages and years of the data, and the streams without data."""
    console = Console(highlight=False)
    total = [row for row in rows if row.section == "total"]
    for section, heading in (("age", "AGE OF DATA"), ("year", "YEAR")):
        print_table(_make_sums_table(heading, [row for row in rows if row.section == section] + total))
        console.print()
    missing = [row for row in rows if row.section == "nodata"]
    if missing:
        print_table(_make_presence_table(missing))
        console.print()
        print_table(_make_missing_table(missing[:_SHOWN_STREAMS]))
        if len(missing) > _SHOWN_STREAMS:
            console.print(f"… and {len(missing) - _SHOWN_STREAMS:,} more; -o FILE writes all", markup=False)
        console.print()


def print_remarks(comparison: Comparison, logs: LogSummary, holdings: Holdings) -> None:
    """Print the numbers of requests, lines and segments, and the reasons for which some did not count."""
    console = Console(highlight=False)
    for remark in (*_list_remarks(comparison, logs), _describe_crawl(holdings)):
        console.print(remark, markup=False, soft_wrap=True)


def _make_sums_table(heading: str, rows: Sequence[Row]) -> Table:
    headings = ("TRACES", "DELIVERED", "NO DATA", "DENIED", "FAILED", "BYTES")
    table = _make_table(heading, *(Column(name, justify="right", no_wrap=True) for name in headings))
    for row in rows:
        figures = (row.traces, row.delivered, row.nodata, row.denied, row.failed)
        table.add_row(
            _AGES.get(row.name, row.name), *(f"{figure or 0:,}" for figure in figures), format_size(row.bytes or 0)
        )
    return table


def _make_presence_table(missing: Sequence[Row]) -> Table:
    table = _make_table("NO DATA", Column("TRACES", justify="right"), Column("STREAMS", justify="right"), "MEANING")
    traces: Counter[str] = Counter()
    for row in missing:
        traces[row.name] += row.traces
    streams = Counter(row.name for row in missing)
    for name in PRESENCES:
        if name in streams:
            table.add_row(name, f"{traces[name]:,}", f"{streams[name]:,}", _EXPLANATIONS[name])
    return table


def _make_missing_table(rows: Sequence[Row]) -> Table:
    figures = [Column(name, justify="right", no_wrap=True) for name in ("TRACES", "FAULTS", "NEWER")]
    table = _make_table("STREAM", Column("NO DATA", no_wrap=True), *figures, "FROM", "TO")
    for row in rows:
        codes = (row.network or "", row.station or "", row.location or "--", row.channel or "")
        stream = ".".join(codes) if row.channel else "not valid"
        numbers = (f"{number or 0:,}" for number in (row.traces, row.faults, row.after_crawl))
        table.add_row(stream, row.name, *numbers, (row.start or "")[:10], (row.end or "")[:10])
    return table


def _make_table(first: str, *columns: Column | str) -> Table:
    return Table(Column(first, overflow="fold"), *columns, box=None, pad_edge=False, header_style="")


def _list_remarks(comparison: Comparison, logs: LogSummary) -> Iterator[str]:
    yield f"{comparison.totals.traces:,} traces of {comparison.requests:,} requests"
    for text, number in (
        ("Requests for which the server knew no stream; the log does not say which", comparison.without_traces),
        (
            "NEWER: requested after the crawl began, so that the data may have come since",
            _count_newer(comparison),
        ),
        ("FAULTS: a file with the data was there, and was not changed since", _count_faults(comparison)),
        ("Lines of other services, ignored", logs.ignored),
        ("Lines rejected", logs.rejected),
        ("Repeated requests, not counted again", logs.repeated),
        ("Other files that were skipped", len(logs.skipped)),
    ):
        if number:
            yield f"{text}: {number:,}"
    yield from (
        f"not counted again: {repeat.file} has the same content as {repeat.same_as}"
        for repeat in logs.repeated_files
    )
    yield from (f"rejected: {reject.file}:{reject.line}: {reject.reason}" for reject in logs.rejects)
    if logs.rejected > len(logs.rejects):
        yield f"rejected: … and {logs.rejected - len(logs.rejects):,} more"


def _describe_crawl(holdings: Holdings) -> str:
    times = (holdings.crawl.started, holdings.crawl.finished)
    start, end = (f"{time.astimezone(datetime.UTC):%Y-%m-%d %H:%M}" for time in times if time is not None)
    return f"Crawl from {start} to {end} UTC: {holdings.segments:,} segments of {holdings.streams:,} streams"


def _count_newer(comparison: Comparison) -> int:
    return sum(missing.after_crawl for missing in comparison.missing.values())


def _count_faults(comparison: Comparison) -> int:
    return sum(missing.faults for missing in comparison.missing.values())
