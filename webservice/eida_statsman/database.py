"""eida_statsman db: the schema."""

import re

import click

from eida_stats_webservice.config import Config
from eida_stats_webservice.store import migrations
from eida_statsman.tables import show


@click.group()
def db() -> None:
    """Make and look at the database's schema."""


@db.command()
@click.pass_obj
def migrate(config: Config) -> None:
    """Bring the schema up to date. Nothing happens if it is."""
    applied = migrations.apply(config.database_uri)
    for migration in applied:
        click.echo(f"applied {migration}")
    if not applied:
        click.echo("nothing to apply: the schema is up to date")


@db.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def status(config: Config, as_json: bool) -> None:
    """Tell which database this is and which migrations it has."""
    found = migrations.status(config.database_uri)
    if not as_json:
        click.echo(f"database: {_without_password(config.database_uri)}")
    show([migration._asdict() for migration in found], {"id": "MIGRATION", "applied": "APPLIED"}, as_json=as_json)


def _without_password(uri: str) -> str:
    return re.sub(r"(//[^:@/]*):[^@/]*@", r"\1@", re.sub(r"(password=)[^&]*", r"\1…", uri))
