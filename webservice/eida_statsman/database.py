"""eida_statsman db: the schema, and whether all is as it must be."""

import csv
import re
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path

import click
import msgspec

from eida_stats_webservice.config import Config, default_database_uri
from eida_stats_webservice.database import grants, migrations, open_database
from eida_stats_webservice.database.uri import SQLITE
from eida_stats_webservice.dataselect.legacy_import import LegacyDatabase
from eida_stats_webservice.dataselect.legacy_rows import BadRow
from eida_stats_webservice.dataselect.models import PAYLOADS, Difference
from eida_stats_webservice.errors import Differences
from eida_statsman.nodes import printable
from eida_statsman.repositories import Repositories
from eida_statsman.tables import show, show_json

_ROWS_SHOWN = 1000


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
    """Grant the role of the service all the rights that it needs: after each migrate."""
    grants.apply(config.database_uri, role)
    click.echo(f"{role} may do all that the service needs")


@db.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def status(config: Config, as_json: bool) -> None:
    """Show which database this is and which migrations it has."""
    found = migrations.list_migrations(config.database_uri)
    if not as_json:
        click.echo(f"database: {_without_password(config.database_uri)}")
    show([migration._asdict() for migration in found], {"id": "MIGRATION", "applied": "APPLIED"}, as_json=as_json)


@db.command()
@click.option("--node", callback=printable, help="This node only.")
@click.option("--json", "as_json", is_flag=True, help="Print the differences as JSON.")
@click.pass_obj
def verify(config: Config, node: str | None, as_json: bool) -> None:
    """Recompute all statistics from the kept payloads, and name each row that differs."""
    months = 0
    found = []
    with closing(open_database(config.database_uri)) as database:
        for name, month, differences in Repositories(database).verification.verify(node or ""):
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
@click.option(
    "--report",
    type=click.Path(dir_okay=False, writable=True, path_type=Path),
    metavar="FILE",
    help="Write all rows that cannot be taken over to this file, as CSV.",
)
@click.option("--skip-bad", is_flag=True, help="Leave out rows that cannot be taken over.")
@click.pass_obj
def import_upstream(config: Config, uri: str, report: Path | None, skip_bad: bool) -> None:
    """Take over a database of the service that was deployed before, into this empty one.

    Countries are put into their form: two capitals or digits, or none. Rows that become equal are added up.
    """
    months = rows = changed = 0
    with closing(open_database(config.database_uri)) as database, closing(LegacyDatabase(uri)) as source:
        if report is not None:
            _check_report(report)
        try:
            for name, month, count, countries in Repositories(database).transfer.import_legacy(
                source, skip_bad=skip_bad
            ):
                click.echo(f"{name} {month:%Y-%m}: {count:,} rows")
                months += 1
                rows += count
                changed += countries
        finally:
            _report(source, report)
    if changed:
        click.echo(f"rows whose country was not two capitals or digits: {changed:,}")
    if source.bad_rows:
        size = sum(row.bytes for row in source.bad_rows)
        requests = sum(row.requests for row in source.bad_rows)
        click.echo(f"left out: {len(source.bad_rows):,} rows, {size:,} bytes, {requests:,} requests")
    click.echo(
        f"took over {months} months of nodes, {rows:,} rows; eida_statsman db verify looks whether all is right"
    )


def _check_report(file: Path) -> None:
    """Check that a file can be written before hours of reading, and that it is not that of another run."""
    if file.exists():
        raise click.BadParameter(f"{file} exists", param_hint="--report")
    try:
        with file.open("w"):
            file.unlink()
    except OSError as error:
        raise click.BadParameter(f"{file}: {error.strerror}", param_hint="--report") from error


def _report(source: LegacyDatabase, file: Path | None) -> None:
    """Name what cannot be taken over: rows and tokens."""
    for row in source.bad_rows[:_ROWS_SHOWN]:
        click.echo(f"bad row: {row}", err=True)
    if len(source.bad_rows) > _ROWS_SHOWN:
        where = f"all are in {file}" if file is not None else "--report FILE writes all"
        click.echo(f"bad row: … and {len(source.bad_rows) - _ROWS_SHOWN:,} more; {where}", err=True)
    for token in source.bad_tokens:
        click.echo(f"token {token.number} of {token.node or '(no node)'} is left out: {token.reason}", err=True)
    # A run that has read nothing must not take away what another one has reported.
    if file is not None and source.bad_rows:
        with file.open("w", encoding="utf-8", newline="") as opened:
            writer = csv.writer(opened, lineterminator="\n")
            writer.writerow(BadRow._fields)
            writer.writerows(source.bad_rows)


def _mended(found: Sequence[Mapping[str, object]]) -> str:
    hints = []
    if any(one["table"] != PAYLOADS for one in found):
        hints.append("eida_statsman payloads replay rebuilds the statistics.")
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
