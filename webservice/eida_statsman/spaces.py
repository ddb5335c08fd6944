"""eida_statsman spaces: add spaces, list them, and state their counts."""

import datetime

import click
import msgspec

from eida_statistics.connections import MAX_NAME
from eida_statistics.user import get_login_name
from eida_statsman.moments import get_now, moment_option
from eida_statsman.nodes import require_printable
from eida_statsman.repositories import Repositories
from eida_statsman.tables import show


def parse_name(context: click.Context, parameter: click.Parameter, value: str | None) -> str | None:
    """Return the name of a space or a sensor; raise BadParameter if it is too long or not printable."""
    if value is not None and len(value) > MAX_NAME:
        raise click.BadParameter(f"longer than {MAX_NAME} characters")
    return require_printable(context, parameter, value)


@click.group()
def spaces() -> None:
    """Add the spaces that sensors count, and state their counts."""


@spaces.command()
@click.argument("name", callback=parse_name)
@click.option("--node", callback=require_printable, help="The node of its sensors; without, it is above the nodes.")
@click.option("--parent", callback=parse_name, help="The space that contains it.")
@click.option("--capacity", type=click.IntRange(1, 10**9), help="For how many it has room.")
@click.option("--restricted", is_flag=True, help="Show it only to its node.")
@click.pass_obj
def add(
    repositories: Repositories,
    name: str,
    node: str | None,
    parent: str | None,
    capacity: int | None,
    restricted: bool,
) -> None:
    """Add a space. The spaces of nodes and of their ringservers are added without you."""
    if restricted and node is None:
        raise click.UsageError("Only the space of a node can be restricted: --node.")
    repositories.spaces.add(name, node=node, parent=parent, capacity=capacity, restricted=restricted)
    click.echo(f"added space {name}")


@spaces.command()
@click.argument("name", callback=parse_name)
@click.option("--capacity", type=click.IntRange(1, 10**9), help="For how many it has room.")
@click.option("--restricted", is_flag=True, help="Show it only to its node.")
@click.option("--public", is_flag=True, help="Show it to everybody.")
@click.pass_obj
def update(repositories: Repositories, name: str, capacity: int | None, restricted: bool, public: bool) -> None:
    """Change a space, also that of a node or of a ringserver."""
    if restricted and public:
        raise click.UsageError("Use --restricted or --public.")
    if capacity is None and not (restricted or public):
        raise click.UsageError("Nothing to change: use --capacity, --restricted or --public.")
    repositories.spaces.update(name, capacity=capacity, restricted=restricted if restricted or public else None)
    click.echo(f"changed space {name}")


@spaces.command(name="list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def list_(repositories: Repositories, as_json: bool) -> None:
    """List all spaces with their counts."""
    found = repositories.spaces.list_counts()
    spaces_by_id = {space.id: space.name for space, _ in found}
    nodes_by_id = {node.id: node.name for node in repositories.list_nodes()}
    rows = [
        {
            **msgspec.structs.asdict(space),
            "parent": spaces_by_id.get(space.parent_id or 0),
            "node": nodes_by_id.get(space.node_id or 0),
            "count": count,
        }
        for space, count in found
    ]
    columns = {
        "name": "SPACE",
        "parent": "PART OF",
        "node": "NODE",
        "count": "COUNT",
        "capacity": "CAPACITY",
        "restricted": "RESTRICTED",
    }
    show(rows, columns, as_json=as_json, spare=("capacity", "restricted"))


@spaces.command()
@click.argument("name", callback=parse_name)
@click.argument("count", type=click.IntRange(0, 10**9))
@moment_option("--at", "moment", text="The time of the count, in UTC; now by default.")
@click.option(
    "--by", "author", callback=parse_name, help="Name the person who counted; by default, your login name."
)
@click.pass_obj
def recount(
    repositories: Repositories, name: str, count: int, moment: datetime.datetime | None, author: str | None
) -> None:
    """State how many there are in a space. Events up to that time are included; later ones are added."""
    now = repositories.spaces.recount(name, count, moment or get_now(), author or get_login_name())
    click.echo(f"{name}: {count} then, {now} now")
