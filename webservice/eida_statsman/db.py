"""eida_statsman db: migrate, verify and import databases."""

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
from eida_stats_webservice.errors import Differences
from eida_stats_webservice.payloads.differences import PAYLOADS, Difference
from eida_statsman.nodes import require_printable
from eida_statsman.polygons import show_state
from eida_statsman.repositories import Repositories
from eida_statsman.tables import show, show_json

_ROWS_SHOWN = 1000
# They add tables of sums with sketches, which SQL can fill in PostgreSQL only.
_MIGRATIONS_OF_SUMS = {"0011_ringserver-by-month", "0014_clients-by-hour", "0015_sums-by-station"}


@click.group()
def db() -> None:
    """Create or upgrade the schema, and verify the statistics."""


@db.command()
@click.pass_obj
def migrate(config: Config) -> None:
    """Bring the schema up to date."""
    if config.database_uri.startswith(SQLITE) and config.database_uri == default_database_uri():
        # Create only the default directory. Elsewhere, a missing directory may be a typing error.
        Path(config.database_uri.removeprefix(SQLITE)).parent.mkdir(parents=True, exist_ok=True)
    applied = migrations.apply(config.database_uri)
    for migration in applied:
        click.echo(f"applied {migration}")
    if not applied:
        click.echo("nothing to apply: the schema is up to date")
    with closing(open_database(config.database_uri)) as database:
        repositories = Repositories(database)
        if not config.database_uri.startswith(SQLITE):
            show_state(repositories.polygons.set_up())
        elif _MIGRATIONS_OF_SUMS.intersection(applied):
            for name, month in repositories.verification.replay():
                click.echo(f"rebuilt {name} {month:%Y-%m}")


@db.command()
@click.argument("role", required=False)
@click.option("--role", "named", metavar="ROLE", help="The role, also as an option.")
@click.option("--read-dashboard", is_flag=True, help="Grant only the rights to read the dashboard for Grafana.")
@click.pass_obj
def grant(config: Config, role: str | None, named: str | None, *, read_dashboard: bool) -> None:
    """Grant the role of the service its rights. Run this after each migrate.

    With --read-dashboard, a role gets no other rights than to read the views of the dashboard for Grafana.
    """
    if role is not None and named is not None:
        raise click.UsageError("Name the role once: as ROLE or with --role.")
    grantee = role or named
    if grantee is None:
        raise click.UsageError("Name the role.")
    if read_dashboard:
        grants.apply(config.database_uri, grantee, grants.read_dashboard_grants())
        click.echo(f"granted the right to read the dashboard to {grantee}")
    else:
        grants.apply(config.database_uri, grantee)
        click.echo(f"granted the rights of the service to {grantee}")


@db.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def status(config: Config, as_json: bool) -> None:
    """Show the database and its migrations."""
    found = migrations.list_migrations(config.database_uri)
    if not as_json:
        click.echo(f"database: {_hide_password(config.database_uri)}")
    show([migration._asdict() for migration in found], {"id": "MIGRATION", "applied": "APPLIED"}, as_json=as_json)


@db.command()
@click.option("--node", callback=require_printable, help="Only this node.")
@click.option("--json", "as_json", is_flag=True, help="Print the differences as JSON.")
@click.pass_obj
def verify(config: Config, node: str | None, as_json: bool) -> None:
    """Recompute all statistics from the stored payloads and print each difference."""
    months = 0
    found = []
    with closing(open_database(config.database_uri)) as database:
        for name, month, differences in Repositories(database).verification.verify(node or ""):
            months += 1
            for difference in differences:
                found.append({"node": name, "month": f"{month:%Y-%m}"} | msgspec.structs.asdict(difference))
                if not as_json:
                    click.echo(f"{name} {month:%Y-%m} {_describe_difference(difference)}")
    if as_json:
        show_json(found)
    else:
        click.echo(f"months of nodes: {months}, differences: {len(found) or 'none'}")
    if found:
        raise Differences(hint=_suggest_repair(found))


@db.command()
@click.argument("uri")
@click.option(
    "--report",
    type=click.Path(dir_okay=False, writable=True, path_type=Path),
    metavar="FILE",
    help="Write all rows that cannot be imported to this CSV file.",
)
@click.option("--skip-bad", is_flag=True, help="Skip rows that cannot be imported.")
@click.pass_obj
def import_upstream(config: Config, uri: str, report: Path | None, skip_bad: bool) -> None:
    """Import a database of the old service into this empty one.

    Countries become two capitals or digits, or empty. Rows that become equal are added up.
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
            _print_report(source, report)
    if changed:
        click.echo(f"rows whose country was not two capitals or digits: {changed:,}")
    if source.bad_rows:
        size = sum(row.bytes for row in source.bad_rows)
        requests = sum(row.requests for row in source.bad_rows)
        click.echo(f"left out: {len(source.bad_rows):,} rows, {size:,} bytes, {requests:,} requests")
    click.echo(f"imported {months} months of nodes, {rows:,} rows; verify them with eida_statsman db verify")


def _check_report(file: Path) -> None:
    """Check that the report can be written, before hours of reading, and replaces no other report."""
    if file.exists():
        raise click.BadParameter(f"{file} exists; name a new file", param_hint="--report")
    try:
        with file.open("w"):
            file.unlink()
    except OSError as error:
        raise click.BadParameter(f"{file}: {error.strerror}", param_hint="--report") from error


def _print_report(source: LegacyDatabase, file: Path | None) -> None:
    for row in source.bad_rows[:_ROWS_SHOWN]:
        click.echo(f"bad row: {row}", err=True)
    if len(source.bad_rows) > _ROWS_SHOWN:
        where = f"all are in {file}" if file is not None else "--report FILE writes all"
        click.echo(f"bad row: … and {len(source.bad_rows) - _ROWS_SHOWN:,} more; {where}", err=True)
    for token in source.bad_tokens:
        click.echo(f"token {token.number} of {token.node or '(no node)'} is left out: {token.reason}", err=True)
    # Without bad rows, there is nothing to report.
    if file is not None and source.bad_rows:
        with file.open("w", encoding="utf-8", newline="") as opened:
            writer = csv.writer(opened, lineterminator="\n")
            writer.writerow(BadRow._fields)
            writer.writerows(source.bad_rows)


def _suggest_repair(found: Sequence[Mapping[str, object]]) -> str:
    hints = []
    if any(one["table"] != PAYLOADS for one in found):
        hints.append("Rebuild the statistics: eida_statsman payloads replay.")
    if any(one["table"] == PAYLOADS for one in found):
        hints.append("Restore damaged payloads from a backup, or retract them.")
    return " ".join(hints)


def _describe_difference(difference: Difference) -> str:
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
    return f"{difference.table} {key}: {', '.join(wrong) or 'the sketch differs'}"


def _hide_password(uri: str) -> str:
    return re.sub(r"(//[^:@/]*):[^@/]*@", r"\1@", re.sub(r"(password=)[^&]*", r"\1…", uri))
