"""Messages about PostGIS and polygons."""

import click

from eida_stats_webservice.archive.models import PolygonResult
from eida_stats_webservice.archive.polygons import PostGISState


def show_left_out(result: PolygonResult) -> None:
    """Print which layers of rasters have no polygon, if some have none."""
    if result.invalid:
        click.echo(
            f"layers left out: {result.invalid:,} of {result.layers:,}, whose times, numbers, polygon or reference"
            " system are not valid",
            err=True,
        )
    if result.unregistered:
        click.echo(
            f"layers left out: {result.unregistered:,} of {result.layers:,}, whose reference system is not"
            " registered. As a superuser, grant the role that owns the tables INSERT ON spatial_ref_sys. Then run"
            " eida_statsman shards refresh CODE.",
            err=True,
        )


def show_state(state: PostGISState) -> None:
    """Print whether the database uses PostGIS."""
    extension = state.extension
    if extension is None:
        click.echo("PostGIS is not used: this database lacks the extension. Stations are points all the same.")
    elif not extension.is_visible:
        click.echo(
            f"PostGIS {extension.version} is not used: the search_path lacks its schema, {extension.schema}",
            err=True,
        )
    else:
        click.echo(f"PostGIS {extension.version} is used: shards have polygons")
    if state.created:
        click.echo(f"created the polygons of {', '.join(state.created)}")
    show_left_out(state.result)
