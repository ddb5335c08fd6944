"""eida_statsman connections: reconcile, rebuild, verify, replay and archive live connections."""

import datetime
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import click
import msgspec

from eida_statistics.months import format_month, parse_month
from eida_stats_webservice.connections.counts import END_OF_TIME
from eida_stats_webservice.connections.errors import ConnectionDifferences
from eida_stats_webservice.connections.log import LogRecord
from eida_stats_webservice.connections.log_files import read_lines
from eida_stats_webservice.connections.models import FIRST_MOMENT
from eida_stats_webservice.connections.replay import store_log
from eida_statsman.moments import get_now, moment_option
from eida_statsman.nodes import require_printable
from eida_statsman.replay import copy_registrations, open_target
from eida_statsman.repositories import Repositories
from eida_statsman.tables import show, show_json


@click.group()
def connections() -> None:
    """Reconcile, verify, replay and archive the events of live connections."""


@connections.command()
@click.pass_obj
def reconcile(repositories: Repositories) -> None:
    """End old sessions, and compute the lowest and highest counts of hours with new events.

    The service may run meanwhile. Run this each minute, with the systemd timer.
    """
    done = repositories.reconciliation.reconcile()
    if any(done):
        click.echo(f"reconciled {done.hours:,} hours of spaces; sessions that have ended: {done.ended:,}")


@connections.command()
@click.pass_obj
def rebuild(repositories: Repositories) -> None:
    """Compute the sums of all hours and days that are not archived from the events.

    The service may run meanwhile. After an interruption, run it again.
    """
    ended = repositories.reconciliation.rebuild()
    click.echo(f"rebuilt all sums; sessions that have ended: {ended:,}")


@connections.command()
@click.option("--json", "as_json", is_flag=True, help="Print the differences as JSON.")
@click.pass_obj
def verify(repositories: Repositories, as_json: bool) -> None:
    """Compute everything that is not archived from the log, and print each row that differs."""
    found = []
    number = 0
    for difference in repositories.connection_verification.verify():
        number += 1
        if as_json:
            found.append(msgspec.structs.asdict(difference))
        else:
            click.echo(str(difference))
    if as_json:
        show_json(found)
    else:
        click.echo(f"differences: {number or 'none'}")
    if number:
        raise ConnectionDifferences(
            hint="If only sums differ, compute them again: eida_statsman connections rebuild. If events or sessions"
            " differ, replay the log in a new database: eida_statsman connections replay --from 2000-01-01"
            " --database URI"
        )


def _parse_renamed(_context: click.Context, _parameter: click.Parameter, values: Sequence[str]) -> dict[str, str]:
    """Return the new names of nodes by their old ones."""
    renamed = {}
    for value in values:
        old, equals, new = value.partition("=")
        if not (old and equals and new):
            raise click.BadParameter("not OLD=NEW")
        renamed[old] = new
    return renamed


@connections.command()
@click.argument("files", nargs=-1, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@moment_option("--from", "start", text="Replay what this database received from this time on, in UTC.")
@moment_option("--to", "stop", text="Replay what this database received before this time, in UTC.")
@click.option("--node", callback=require_printable, help="The node of lines that name none.")
@click.option(
    "--rename",
    "renamed",
    multiple=True,
    callback=_parse_renamed,
    metavar="OLD=NEW",
    help="A node that has another name by now; can be repeated.",
)
@click.option("--database", "uri", metavar="URI", help="The other database; by default, a temporary one.")
@click.pass_obj
def replay(
    repositories: Repositories,
    files: Sequence[Path],
    start: datetime.datetime | None,
    stop: datetime.datetime | None,
    node: str | None,
    renamed: Mapping[str, str],
    uri: str | None,
) -> None:
    """Store the lines of log files, or a window of the log, in another database, and print the counts there.

    FILES are archives or answers of connections/log, plain or compressed. Nodes, spaces, doors and recounts that
    the other database lacks are copied. Without --database this is a dry run.
    """
    has_window = start is not None or stop is not None
    if bool(files) == has_window:
        raise click.UsageError("Name files, or a window with --from and --to.")
    with open_target(uri) as target:
        copy_registrations(repositories, target)
        if files:
            created = store_log(target.intake, target.registry, _read_files(files, node, renamed))
        else:
            with repositories.database.snapshot() as connection:
                repositories.database.wait_without_limit(connection)
                lines = repositories.connection_log.read_received(
                    connection, start or FIRST_MOMENT, stop or END_OF_TIME
                )
                created = store_log(target.intake, target.registry, lines)
        target.reconciliation.reconcile()
        counts = target.spaces.list_counts()
    click.echo(f"events that are new there: {created:,}")
    rows = [{"space": space.name, "count": count} for space, count in counts]
    show(rows, {"space": "SPACE", "count": "COUNT"}, as_json=False)


def _read_files(files: Sequence[Path], node: str | None, renamed: Mapping[str, str]) -> Iterator[LogRecord]:
    for file in files:
        for line in read_lines(file, node):
            yield line._replace(node=renamed.get(line.node, line.node))


def _parse_month(_context: click.Context, _parameter: click.Parameter, value: str) -> datetime.date:
    """Return a month that is not later than the present one."""
    try:
        month = parse_month(value)
    except ValueError as error:
        raise click.BadParameter("not a month, such as 2026-01") from error
    if not FIRST_MOMENT.date() <= month <= get_now().date():
        raise click.BadParameter("must be a month from 2000-01 to the present one")
    return month


@connections.command()
@click.option("--before", required=True, callback=_parse_month, metavar="YYYY-MM", help="Archive earlier months.")
@click.option(
    "-o",
    "--output",
    "folder",
    required=True,
    type=click.Path(file_okay=False, writable=True, path_type=Path),
    metavar="DIRECTORY",
    help="Write the files into this directory, which is created if it is missing.",
)
@click.pass_obj
def archive(repositories: Repositories, before: datetime.date, folder: Path) -> None:
    """Write the events of old months to files, and delete them here. Sums and sessions stay.

    Each file is read back and compared with the log before anything is deleted. Events of these months are refused
    from then on. The service may run meanwhile. After an interruption, run it again.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for written in repositories.archive.write(before, folder):
        if written.file is not None:
            rows = "1 row" if written.rows == 1 else f"{written.rows:,} rows"
            click.echo(f"{format_month(written.month)}: {rows} of the log, written to {written.file}")
    deleted = repositories.archive_deletion.delete()
    click.echo(f"deleted from the database: {deleted:,} counted events, and their rows of the log")
    click.echo(f"events before {before} are refused from now on")
