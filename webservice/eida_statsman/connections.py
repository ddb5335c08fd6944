"""eida_statsman connections: reconcile, rebuild, verify, replay and archive live connections."""

import click
import msgspec

from eida_stats_webservice.errors import Differences
from eida_statsman.repositories import Repositories
from eida_statsman.tables import show_json


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
        raise Differences(hint="If only sums differ, compute them again: eida_statsman connections rebuild.")
