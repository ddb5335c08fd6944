"""Run the benchmarks: `make bench`. Each prints its figures side by side, measured in this one run."""

import os
import platform
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import click
from rich.console import Console

from benchmarks import (
    aggregate,
    aggregate_year,
    archive,
    archive_availability,
    archive_holdings,
    archive_ingest,
    burst,
    connections,
    corrections,
    grafana,
    ingest,
    query,
    report,
    ringserver,
    ringserver_store,
    scale,
    small_groups,
)

# The tables need somewhat more than the 80 that rich takes in a file or a pipe.
_WIDTH = 100


# All of them are named "archive" together.
_ARCHIVE: dict[str, Callable[[Console, int], None]] = {
    "archive_crawl": archive.measure,
    "archive_ingest": archive_ingest.measure,
    "archive_availability": archive_availability.measure,
    "archive_holdings": archive_holdings.measure,
}


@click.command()
@click.argument("names", nargs=-1, metavar="[NAMES]...")
@click.option("--runs", type=click.IntRange(1), default=5, show_default=True, help="Number of runs of each median.")
@click.option(
    "--requests",
    "sizes",
    multiple=True,
    type=click.IntRange(1000),
    default=aggregate.SIZES,
    show_default=True,
    help="Requests of a day that is aggregated; can be repeated.",
)
@click.option(
    "--logs",
    type=click.IntRange(1),
    default=aggregate_year.LOGS,
    show_default=True,
    help="Logs of small days that are caught up; 365 are a year.",
)
@click.option(
    "--rows",
    "table_sizes",
    multiple=True,
    type=click.IntRange(200_000),
    default=query.SIZES,
    show_default=True,
    help="Rows of the table that is queried; can be repeated.",
)
@click.option(
    "--page",
    "pages",
    multiple=True,
    default=report.PAGES,
    show_default=True,
    help="Path of a page that is measured, below the prefix; can be repeated.",
)
@click.option(
    "--events",
    type=click.IntRange(100_000),
    help=(
        f"Events of the database behind the dashboard for Grafana ({grafana.EVENTS:,} by default), and of that of"
        f" connections ({connections.EVENTS:,})."
    ),
)
def main(
    names: tuple[str, ...],
    runs: int,
    sizes: tuple[int, ...],
    logs: int,
    table_sizes: tuple[int, ...],
    pages: tuple[str, ...],
    events: int | None,
) -> None:
    """Run the benchmarks that are named, or all."""
    benchmarks: dict[str, Callable[[Console, int], None]] = {
        "ingest": ingest.measure,
        "corrections": corrections.measure,
        "burst": burst.measure,
        "query": partial(query.measure, sizes=table_sizes),
        "small_groups": partial(small_groups.measure, sizes=table_sizes),
        "scale": partial(scale.measure, sizes=table_sizes),
        "report": partial(report.measure, sizes=table_sizes, pages=pages),
        "aggregate": partial(aggregate.measure, sizes=sizes, logs=logs),
        "ringserver": _measure_ringserver,
        "grafana": partial(grafana.measure, events=events or grafana.EVENTS),
        "connections": partial(connections.measure, events=events or connections.EVENTS),
        **_ARCHIVE,
    }
    unknown = set(names) - benchmarks.keys() - {"archive"}
    if unknown:
        raise click.BadParameter(
            f"{', '.join(sorted(unknown))}; the benchmarks are archive, {', '.join(benchmarks)}"
        )
    console = Console(highlight=False)
    console.width = max(console.width, _WIDTH)
    # Builds of the same version differ in speed.
    python = f"Python {platform.python_version()} in {sys.base_prefix}"
    console.print(f"{_processor()}, {platform.system()}, {python}\n")
    chosen = (part for name in names or benchmarks for part in (_ARCHIVE if name == "archive" else (name,)))
    for name in chosen:
        benchmarks[name](console, runs)


def _measure_ringserver(console: Console, runs: int) -> None:
    # The processes of the first one do not import the service, which takes memory.
    ringserver.measure(console, runs)
    console.print()
    ringserver_store.measure(console, runs)


def _processor() -> str:
    models = [
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    ]
    return ", ".join([*models[:1], platform.machine(), f"{os.cpu_count()} cores"])


if __name__ == "__main__":
    main()
