"""eida_statsman sensors: add door sensors, and let them count spaces."""

import datetime

import click
import msgspec

from eida_statsman.moments import get_now, moment_option
from eida_statsman.nodes import require_printable
from eida_statsman.repositories import Repositories
from eida_statsman.spaces import parse_name
from eida_statsman.tables import show

_NAME = click.argument("name", callback=parse_name)


@click.group()
def sensors() -> None:
    """Add sensors at doors, and let them count spaces. Ringservers register themselves."""


@sensors.command()
@_NAME
@click.option("--node", required=True, callback=require_printable, help="The node whose token its events need.")
@click.option("--open", "is_open", is_flag=True, help="Its events need no token.")
@click.pass_obj
def add(repositories: Repositories, name: str, node: str, is_open: bool) -> None:
    """Add a sensor, or change whether its events need a token. Events that came before are kept."""
    if repositories.sensors.add(name, node, is_open=is_open):
        click.echo(f"added sensor {name}; next: eida_statsman sensors install")
    else:
        click.echo(f"sensor {name} exists already; its events need {'no' if is_open else 'a'} token from now on")


@sensors.command(name="list")
@click.option("--node", callback=require_printable, help="Only this node.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def list_(repositories: Repositories, node: str | None, as_json: bool) -> None:
    """List all sensors, where they are, and how many of their events count no space."""
    rows = []
    for sensor, installations in repositories.sensors.list_sensors():
        if node not in (None, sensor.node):
            continue
        places = [
            {
                "space": space,
                "doorway": one.doorway,
                "orientation": one.orientation,
                "installed_at": one.installed_at,
                "removed_at": one.removed_at,
            }
            for one, space in installations
        ]
        current = ", ".join(str(place["space"]) for place in places if place["removed_at"] is None)
        rows.append({**msgspec.structs.asdict(sensor), "spaces": current, "installations": places})
    columns = {
        "name": "SENSOR",
        "node": "NODE",
        "kind": "KIND",
        "open": "OPEN",
        "spaces": "COUNTS",
        "unplaced": "UNPLACED",
    }
    show(rows, columns, as_json=as_json, spare=("open", "kind"))


@sensors.command()
@_NAME
@click.option("--space", required=True, callback=parse_name, help="The space that it counts.")
@click.option("--doorway", default="", help="Where it is. A sensor has one doorway at a time.")
@click.option("--outwards", is_flag=True, help="Its direction 1 leads out of the space.")
@moment_option("--at", "start", text="From this time on, in UTC; now by default.")
@moment_option("--until", "stop", text="Up to this time, in UTC; by default, for good.")
@click.pass_obj
def install(
    repositories: Repositories,
    name: str,
    space: str,
    doorway: str,
    outwards: bool,
    start: datetime.datetime | None,
    stop: datetime.datetime | None,
) -> None:
    """Let a sensor count a space. For a door between two spaces, repeat it for the other, with --outwards.

    Events of that time that came before count from now on.
    """
    begin = start or get_now()
    if stop is not None and stop <= begin:
        raise click.UsageError("--until must be later than --at.")
    orientation = -1 if outwards else 1
    repositories.sensors.install(name, space, doorway=doorway, orientation=orientation, start=begin, stop=stop)
    end = "on" if stop is None else f"until {stop:%Y-%m-%dT%H:%M:%SZ}"
    click.echo(f"sensor {name} counts {space} from {begin:%Y-%m-%dT%H:%M:%SZ} {end}")


@sensors.command()
@_NAME
@click.option("--from", "source", required=True, callback=parse_name, help="The space that it counts then.")
@click.option("--to", "target", callback=parse_name, help="The other space; without, it is taken away.")
@click.option("--doorway", help="Where it is then; by default, where it was.")
@moment_option("--at", "moment", text="The time of the move, in UTC; now by default.")
@click.pass_obj
def move(
    repositories: Repositories,
    name: str,
    source: str,
    target: str | None,
    doorway: str | None,
    moment: datetime.datetime | None,
) -> None:
    """Let a sensor count another space. All counts since then are corrected."""
    begin = moment or get_now()
    repositories.sensors.move(name, source, target, doorway=doorway, moment=begin)
    click.echo(f"sensor {name} counts {target or 'no space'} from {begin:%Y-%m-%dT%H:%M:%SZ} on")
