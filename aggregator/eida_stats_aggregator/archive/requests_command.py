"""The command `eida_archive requests`: compare request logs with the crawl of an archive."""

from pathlib import Path

import click

from eida_statistics.archive.crawl_file import read_lines
from eida_statistics.files import EVERYBODY, write_file
from eida_statistics.networks import NetworkRegistry
from eida_stats_aggregator.archive.comparison import Comparison
from eida_stats_aggregator.archive.holdings import Holdings, read_holdings
from eida_stats_aggregator.archive.request_logs import LogSummary, compare_logs
from eida_stats_aggregator.archive.request_rows import format_csv, format_json, make_rows
from eida_stats_aggregator.command import FILE, networks_option
from eida_stats_aggregator.console import complain
from eida_stats_aggregator.logs.sources import STDIN
from eida_stats_aggregator.reader import make_registry_loader

_EXIT_CODES = """
\b
Exit codes:
  0  done
  1  a log or the crawl cannot be read, there is no registry of networks, ...
  2  the command line is wrong
  4  done, but lines were rejected, or the crawl is incomplete
"""
_SUFFIXES = (".csv", ".json")


def _check_output(_context: click.Context, parameter: click.Parameter, file: Path | None) -> Path | None:
    if file is not None and file.suffix not in _SUFFIXES:
        raise click.BadParameter(f"must end in {' or '.join(_SUFFIXES)}", param=parameter)
    if file is not None and not file.parent.is_dir():
        raise click.BadParameter(f"there is no directory {file.parent}", param=parameter)
    return file


@click.command(epilog=_EXIT_CODES)
@click.argument("logs", nargs=-1, required=True, metavar="LOG...")
@click.option("--catalogue", type=FILE, required=True, help="The file of a complete crawl of the archive.")
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    callback=_check_output,
    metavar="FILE",
    help="Write the tables to this file, as CSV or JSON by its suffix.",
)
@networks_option
@click.option("-q", "--quiet", is_flag=True, help="Print nothing but errors and warnings.")
def requests(
    logs: tuple[str, ...], catalogue: Path, output: Path | None, networks_file: Path | None, quiet: bool
) -> int:
    """Compare request logs of SeisComP's fdsnws with the archive.

    LOG... are logs, directories or patterns, as for eida_stats_aggregator. The tables show how old the requested
    data are, and which streams were requested and had no data. Nothing about users is read.
    """
    if logs.count(STDIN) > 1:
        raise click.UsageError("Standard input can be named only once.")
    holdings = read_holdings(read_lines(catalogue))
    registry = NetworkRegistry(make_registry_loader(networks_file))
    comparison, summary = compare_logs(logs, holdings, registry.extend, shown=not quiet)
    rows = make_rows(comparison)
    if output is not None:
        is_csv = output.suffix == ".csv"
        content = format_csv(rows) if is_csv else format_json(rows, comparison, summary, holdings.crawl)
        write_file(output, content, EVERYBODY)
    if not quiet:
        # Slow to import, and not needed where a scheduler runs the command.
        from eida_stats_aggregator.archive.request_tables import print_remarks, print_tables  # noqa: PLC0415

        if output is None:
            print_tables(rows)
        print_remarks(comparison, summary, holdings)
        if output is not None:
            click.echo(f"written: {output}")
    warnings = [*_list_crawl_warnings(holdings), *_list_log_warnings(comparison, summary)]
    for warning in warnings:
        complain(f"warning: {warning}")
    return 4 if warnings else 0


def _list_crawl_warnings(holdings: Holdings) -> list[str]:
    """Return the reasons for which a complete crawl lacks data that are held."""
    texts = []
    crawl = holdings.crawl
    files, directories = holdings.unreadable_files, len(crawl.unreadable or ())
    if files or directories:
        texts.append(
            f"the crawl could not read some files ({files:,}) or directories ({directories:,})."
            " Their data count as not held"
        )
    if crawl.options and "pattern" in crawl.options:
        texts.append("the crawl opened some files only (--pattern). The data of the others count as not held")
    return texts


def _list_log_warnings(comparison: Comparison, summary: LogSummary) -> list[str]:
    if not summary.rejected:
        return []
    lines = comparison.requests + summary.ignored + summary.rejected + summary.repeated
    return [f"{summary.rejected:,} of {lines:,} lines were rejected"]
