"""eida_statsman db: the schema, and whether all is as it must be."""

import re
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path

import click
import msgspec

from eida_statistics.errors import Differences
from eida_stats_webservice.config import Config, default_database_uri
from eida_stats_webservice.store import grants, migrations, open_store
from eida_stats_webservice.store.records import PAYLOADS, Difference
from eida_stats_webservice.store.upstream import Upstream
from eida_stats_webservice.store.uri import SQLITE
from eida_statsman.nodes import printable
from eida_statsman.tables import show, show_json


@click.group()
def db() -> None:
    """Make the database's schema, and verify what is in it."""


@db.command()
@click.pass_obj
def migrate(config: Config) -> None:
    """Bring the schema up to date. Nothing happens if it is."""
    if config.database_uri == default_database_uri():
        # The default directory is ours to make. Elsewhere, a directory that is missing may be a typing error.
        Path(config.database_uri.removeprefix(SQLITE)).parent.mkdir(parents=True, exist_ok=True)
    applied = migrations.apply(config.database_uri)
    for migration in applied:
        click.echo(f"applied {migration}")
    if not applied:
        click.echo("nothing to apply: the schema is up to date")


@db.command()
@click.argument("role")
@click.pass_obj
def grant(config: Config, role: str) -> None:
    """Give the role of the service all the rights that it needs: after each migrate."""
    grants.apply(config.database_uri, role)
    click.echo(f"{role} may do all that the service needs")


@db.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def status(config: Config, as_json: bool) -> None:
    """Tell which database this is and which migrations it has."""
    found = migrations.status(config.database_uri)
    if not as_json:
        click.echo(f"database: {_without_password(config.database_uri)}")
    show([migration._asdict() for migration in found], {"id": "MIGRATION", "applied": "APPLIED"}, as_json=as_json)


@db.command()
@click.option("--node", callback=printable, help="This node only.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON: what differs.")
@click.pass_obj
def verify(config: Config, node: str | None, as_json: bool) -> None:
    """Recompute all statistics from the kept payloads, and name each row that differs."""
    months = 0
    found = []
    with closing(open_store(config.database_uri)) as store:
        for name, month, differences in store.verify(node or ""):
            months += 1
            for difference in differences:
                found.append({"node": name, "month": f"{month:%Y-%m}"} | msgspec.structs.asdict(difference))
                if not as_json:
                    click.echo(f"{name} {month:%Y-%m} {_told(difference)}")
    if as_json:
        show_json(found)
    else:
        click.echo(f"months of nodes: {months}, differences: {len(found) or 'none'}")
    if found:
        raise Differences(hint=_mended(found))


@db.command()
@click.argument("uri")
@click.pass_obj
def import_upstream(config: Config, uri: str) -> None:
    """Take over a database of the service that was deployed before, into this empty one."""
    months = rows = 0
    with closing(open_store(config.database_uri)) as store, closing(Upstream(uri)) as source:
        for name, month, count in store.take_over_upstream(source):
            click.echo(f"{name} {month:%Y-%m}: {count:,} rows")
            months += 1
            rows += count
    click.echo(
        f"took over {months} months of nodes, {rows:,} rows; eida_statsman db verify looks whether all is right"
    )


def _mended(found: Sequence[Mapping[str, object]]) -> str:
    hints = []
    if any(one["table"] != PAYLOADS for one in found):
        hints.append("eida_statsman payloads replay makes statistics anew.")
    if any(one["table"] == PAYLOADS for one in found):
        hints.append("Payloads that are not what they were come back from a back-up only; or they are retracted.")
    return " ".join(hints)


def _told(difference: Difference) -> str:
    key = " ".join(f"{column}={value or '(empty)'}" for column, value in difference.key.items())
    if difference.stored is None:
        return f"{difference.table} {key}: missing"
    if difference.due is None:
        return f"{difference.table} {key}: no payload has it"
    wrong = [
        f"{column} is {'(empty)' if stored == '' else stored}, must be {'(empty)' if due == '' else due}"
        for (column, stored), due in zip(difference.stored.items(), difference.due.values(), strict=True)
        if stored != due and column != "sketch"
    ]
    return f"{difference.table} {key}: {', '.join(wrong) or 'another sketch'}"


def _without_password(uri: str) -> str:
    return re.sub(r"(//[^:@/]*):[^@/]*@", r"\1@", re.sub(r"(password=)[^&]*", r"\1…", uri))
