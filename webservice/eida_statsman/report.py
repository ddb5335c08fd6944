"""eida_statsman report: a report of the statistics of a period."""

import datetime
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import click

from eida_statistics.files import EVERYBODY, write_file
from eida_statistics.months import add_months, format_month, parse_month
from eida_statistics.payload import EARLIEST_DAY
from eida_statistics.texts import find_similar
from eida_stats_webservice import config as configuration
from eida_stats_webservice.errors import BadParameter, RestrictedNetwork
from eida_stats_webservice.payloads.kinds import Kind
from eida_stats_webservice.reports.formats import FORMATS
from eida_stats_webservice.reports.kinds import DEFAULT, KINDS
from eida_stats_webservice.reports.maker import ReportMaker
from eida_stats_webservice.reports.models import Scope
from eida_stats_webservice.reports.networks import make_describe
from eida_stats_webservice.reports.periods import MonthRange, list_comparisons
from eida_statsman.kinds import KIND, parse_kind
from eida_statsman.nodes import require_printable
from eida_statsman.report_all import Failures, write_all
from eida_statsman.repositories import Repositories

_QUARTER = re.compile(r"([0-9]{4})-?Q([1-4])", re.ASCII | re.IGNORECASE)
_FIRST_YEAR = EARLIEST_DAY.year
# A message names so many reports that failed for one reason.
_NAMED = 5


def _parse_month(_context: click.Context, _parameter: click.Parameter, value: str | None) -> datetime.date | None:
    if value is None:
        return None
    with suppress(ValueError):
        month = parse_month(value)
        if month >= EARLIEST_DAY:
            return month
    raise click.BadParameter(f"must be a month as YYYY-MM, from {_FIRST_YEAR} on")


def _parse_quarter(_context: click.Context, _parameter: click.Parameter, value: str | None) -> datetime.date | None:
    if value is None:
        return None
    if (found := _QUARTER.fullmatch(value)) is None or int(found[1]) < _FIRST_YEAR:
        raise click.BadParameter(f"must be a quarter as YYYY-QN, from {_FIRST_YEAR} on")
    return datetime.date(int(found[1]), 3 * int(found[2]) - 2, 1)


def _parse_formats(_context: click.Context, _parameter: click.Parameter, value: str | None) -> tuple[str, ...]:
    formats = () if value is None else tuple(dict.fromkeys(value.split(",")))
    if unknown := [name for name in formats if name not in FORMATS]:
        raise click.BadParameter(f"there is no {', '.join(map(repr, unknown))}. Use {', '.join(FORMATS)}.")
    return formats


@click.command()
@click.option(
    "--kind",
    type=KIND,
    callback=parse_kind,
    default=DEFAULT.value,
    show_default=True,
    help="Data that dataselect delivered on request, or data that ringservers streamed.",
)
@click.option("--year", type=click.IntRange(_FIRST_YEAR, 9998), help="The year.")
@click.option("--quarter", callback=_parse_quarter, metavar="YYYY-QN", help="The quarter, such as 2024-Q3.")
@click.option("--month", callback=_parse_month, metavar="YYYY-MM", help="The month.")
@click.option("--start", callback=_parse_month, metavar="YYYY-MM", help="The first month.")
@click.option("--end", callback=_parse_month, metavar="YYYY-MM", help="The last month, which is included.")
@click.option("--node", callback=require_printable, help="A node.  [default: all]")
@click.option("--network", callback=require_printable, help="A network, by its extended code.  [default: all]")
@click.option("--restricted", is_flag=True, help="Add what is not public of the network, down to stations.")
@click.option(
    "--all", "writes_all", is_flag=True, help="Write reports of the federation, each node and each network."
)
@click.option(
    "--format",
    "forms",
    callback=_parse_formats,
    metavar=f"[{'|'.join(FORMATS)}]",
    help="The format; with --all, one or several with commas.  [default: by the file's name; with --all, html]",
)
@click.option(
    "--output", "-o", required=True, help="The file; - is standard output. With --all, the directory of the files."
)
@click.option(
    "--networks",
    "registry",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="Registry of networks, for their names.  [default: the aggregator's cache, if there is one]",
)
@click.pass_obj
def report(
    repositories: Repositories,
    kind: Kind,
    year: int | None,
    quarter: datetime.date | None,
    month: datetime.date | None,
    start: datetime.date | None,
    end: datetime.date | None,
    node: str | None,
    network: str | None,
    restricted: bool,
    writes_all: bool,
    forms: tuple[str, ...],
    output: str,
    registry: Path | None,
) -> None:
    """Write a report of the federation, a node or a network, or all reports and an index of them.

    State the period in exactly one way: --year, --quarter, --month, or --start and --end. The report compares it
    with the same period a year before, and with the one just before.
    """
    today = datetime.datetime.now(tz=datetime.UTC).date()
    period = _choose_period(year, quarter, month, start, end)
    if period.first > today:
        raise click.UsageError(f"The period begins in the future: {format_month(period.first)}.")
    if writes_all:
        _check_all(output, narrows=node is not None or network is not None or restricted)
    if node is not None and network is not None:
        raise click.UsageError("Use --node or --network, not both.")
    if restricted and network is None:
        raise click.UsageError("--restricted needs --network.")
    if not writes_all and Path(output).is_dir():
        raise click.UsageError(f"{output} is a directory. To write all reports into it, add --all.")
    maker = ReportMaker(
        repositories.statistics,
        repositories.registry,
        repositories.payloads,
        configuration.read().privacy,
        make_describe(registry),
    )
    if writes_all:
        _show_failures(write_all(maker, KINDS[kind], period, today, Path(output), forms or ("html",)))
        return
    scope = Scope(kind, node=() if node is None else (node,), network=network, restricted=restricted)
    written = FORMATS[_choose_format(forms, output)]
    with written.prepare(), _explain_names(repositories, scope):
        content = written.write(maker.make(scope, period, list_comparisons(period), today))
    if output == "-":
        click.echo(content, nl=False)
    else:
        write_file(Path(output).resolve(), content, EVERYBODY)


def _choose_period(
    year: int | None,
    quarter: datetime.date | None,
    month: datetime.date | None,
    start: datetime.date | None,
    end: datetime.date | None,
) -> MonthRange:
    """Return the period that the options state.

    Raises:
        UsageError: if they state none, or several, or one that ends before its start.
    """
    stated = [
        *([] if year is None else [MonthRange.of_year(year)]),
        *([] if quarter is None else [MonthRange(quarter, add_months(quarter, 2))]),
        *([] if month is None else [MonthRange(month, month)]),
        *([] if start is None or end is None else [MonthRange(start, end)]),
    ]
    if len(stated) != 1 or (start is None) != (end is None):
        raise click.UsageError("State one period: --year, --quarter, --month, or both --start and --end.")
    (period,) = stated
    if period.last < period.first:
        raise click.UsageError(f"--end {format_month(period.last)} is before --start {format_month(period.first)}.")
    return period


def _choose_format(forms: Sequence[str], output: str) -> str:
    """Return the format of a file: the one stated, or the one of its name, and Markdown for a terminal.

    Raises:
        UsageError: if several are stated, or none is known.
    """
    if len(forms) > 1:
        raise click.UsageError("State one --format. Only --all writes several.")
    if forms:
        return forms[0]
    if output == "-" and sys.stdout.isatty():
        return "md"
    extension = Path(output).suffix.removeprefix(".").lower()
    if extension not in FORMATS:
        raise click.UsageError(f"The name {output} does not say the format. Add --format: {', '.join(FORMATS)}.")
    return extension


@contextmanager
def _explain_names(repositories: Repositories, scope: Scope) -> Iterator[None]:
    """Explain the errors that come from a wrong name.

    Raises:
        WrongName: if there is no such node or network, or the network is restricted.
    """
    try:
        yield
    except BadParameter as error:
        if error.parameter == "node":
            value, known = scope.node[0], [name for name, _ in repositories.registry.list_policies()]
        else:
            value, known = scope.network or "", [one.name for one in repositories.registry.list_networks()]
        similar = " or ".join(find_similar(value, known))
        raise _WrongName(f"{error.subject}.{f' Did you mean {similar}?' if similar else ''}") from error
    except RestrictedNetwork as error:
        raise _WrongName(f"Network {error.subject} is restricted. For a report of it, add --restricted.") from error


class _WrongName(click.ClickException):
    """A name that cannot be used."""

    exit_code = 2


def _check_all(output: str, *, narrows: bool) -> None:
    """Check the options that --all excludes.

    Raises:
        UsageError: if there is one of them, or the output is no directory.
    """
    if narrows:
        raise click.UsageError("--all excludes --node, --network and --restricted: it writes all public reports.")
    if output == "-":
        raise click.UsageError("--all writes several files. Name a directory with --output.")
    if Path(output).exists() and not Path(output).is_dir():
        raise click.UsageError(f"--all writes several files, and {output} is no directory.")


def _show_failures(failures: Failures) -> None:
    """Print what failed, if anything did, and exit with 1."""
    for reason, names in failures.items():
        more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
        click.echo(f"eida_statsman: failed: {', '.join(names[:_NAMED])}{more}: {reason}", err=True)
    if failures:
        sys.exit(1)
