"""eida_statsman ringserver: prune what is kept of ringservers for some time only."""

import datetime
import re

import click

from eida_stats_webservice.ringserver.pruning import Kept, OldRows
from eida_statsman.repositories import Repositories

# Days that are not over may still be in the logs that come next.
_LEAST_DAYS = 7
_MOST_DAYS = 36500


def _parse_days(_context: click.Context, _parameter: click.Parameter, value: str) -> int:
    """Return the number of days of a text such as 90d."""
    if not re.fullmatch(r"[0-9]{1,6}d", value, re.ASCII) or not _LEAST_DAYS <= int(value[:-1]) <= _MOST_DAYS:
        raise click.BadParameter(f"not a number of days from {_LEAST_DAYS}d to {_MOST_DAYS}d, such as 90d")
    return int(value[:-1])


@click.group()
def ringserver() -> None:
    """Delete old data of ringservers."""


@ringserver.command()
@click.option(
    "--keep",
    required=True,
    callback=_parse_days,
    metavar="DAYS",
    help="Keep records, events and sums by client of this many days, such as 90d.",
)
@click.option(
    "--keep-hours",
    required=True,
    callback=_parse_days,
    metavar="DAYS",
    help="Keep sums by hour of this many days, such as 400d.",
)
@click.option("--dry-run", is_flag=True, help="Only print what would be deleted.")
@click.pass_obj
def prune(repositories: Repositories, keep: int, keep_hours: int, dry_run: bool) -> None:
    """Delete old records, events, and sums by client and by hour. Sums by month, day and place stay.

    Raw logs of deleted days are refused from then on. Events are deleted by whole months. The service may run
    meanwhile. After an interruption, run it again.
    """
    if keep_hours < keep:
        raise click.UsageError("--keep-hours must not be shorter than --keep: hours are sums of records.")
    pruning = repositories.pruning
    today = datetime.datetime.now(tz=datetime.UTC).date()
    wanted = Kept(*(today - datetime.timedelta(days=days) for days in (keep, keep_hours)))
    kept = pruning.read_kept().advance(wanted)
    _print_kept(kept, wanted)
    if dry_run:
        for node in pruning.list_nodes():
            _print_rows("would delete", node.name, pruning.count_rows(node, kept))
        for month in pruning.list_months(kept):
            click.echo(f"would delete the events of {month}")
        return
    pruning.keep_from(kept)
    for node in pruning.list_nodes():
        _print_rows("deleted", node.name, pruning.delete_rows(node, kept))
    for month in pruning.delete_events(kept):
        click.echo(f"deleted the events of {month}")


def _print_kept(kept: Kept, wanted: Kept) -> None:
    earlier = " (earlier ones are deleted already)"
    for name, day, asked in zip(("records and clients", "hours"), kept, wanted, strict=True):
        click.echo(f"{name} are kept from {day}{earlier if day > asked else ''}")


def _print_rows(what: str, node: str, found: OldRows) -> None:
    if any(found):
        counts = f"{found.records:,} records, {found.clients:,} sums by client, {found.hours:,} sums by hour"
        click.echo(f"{what} {counts} of {node}")
