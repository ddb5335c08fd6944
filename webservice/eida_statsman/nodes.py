"""eida_statsman nodes: register and change nodes."""

import re
import shlex

import click
import msgspec

from eida_stats_webservice.payloads.kinds import Kind
from eida_stats_webservice.registry.models import OTHER, is_node_name, strip_group_prefix
from eida_stats_webservice.registry.repository import RegistryRepository
from eida_statsman.repositories import Repositories
from eida_statsman.tables import show


def require_printable(_context: click.Context, _parameter: click.Parameter, value: str | None) -> str | None:
    """Return printable text; raise BadParameter if it is blank or has other characters."""
    # Arguments that are not UTF-8 contain surrogates, which are not printable.
    if value is not None and (not value.strip() or not value.isprintable()):
        raise click.BadParameter("must be printable and not blank")
    return value


def parse_group(_context: click.Context, _parameter: click.Parameter, value: str | None) -> str | None:
    """Return the name of a group without /epos/; raise BadParameter for other text."""
    if value is None:
        return None
    name = strip_group_prefix(value)
    if not re.fullmatch(r"[A-Za-z0-9._-]{1,64}", name):
        raise click.BadParameter("must be 1 to 64 letters, digits and . _ -")
    return name


def _parse_node_name(_context: click.Context, _parameter: click.Parameter, value: str | None) -> str | None:
    if value is None or is_node_name(value):
        return value
    if value in (OTHER, "*"):
        raise click.BadParameter(f"{value} is reserved: in answers, it stands for several nodes")
    if value.strip() and is_node_name(value.strip()):
        raise click.BadParameter("remove the blanks at its ends")
    raise click.BadParameter("must be up to 64 printable characters without commas")


def warn_of_single_restricted(registry: RegistryRepository) -> None:
    """Warn if only one network is restricted, since the row Other in public answers then reveals its figures."""
    restricted = {network.name for network in registry.list_networks() if network.restricted}
    if len(restricted) == 1:
        click.echo(
            f"warning: {restricted.pop()} is the only restricted network, so the rows Other in public answers"
            " reveal its figures. Set MIN_CLIENTS to hide them; see docs/PRIVACY.md",
            err=True,
        )


_NAME = click.argument("name", callback=require_printable)


@click.group()
def nodes() -> None:
    """Register and change nodes."""


@nodes.command()
@click.argument("name", callback=_parse_node_name)
@click.option(
    "--contact", required=True, callback=require_printable, help="E-mail address of the node (not of a user)."
)
@click.pass_obj
def add(repositories: Repositories, name: str, contact: str) -> None:
    """Register a node."""
    repositories.registry.add_node(name, contact)
    click.echo(f"added node {name}; next: eida_statsman tokens add {shlex.quote(name)}")


@nodes.command(name="list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def list_(repositories: Repositories, as_json: bool) -> None:
    """List all nodes with the number and dates of their payloads."""
    columns = {
        "name": "NODE",
        "contact": "CONTACT",
        "created_at": "SINCE",
        "payloads": "PAYLOADS",
        "last_payload": "LAST",
        "newest_day": "NEWEST DAY",
        "restriction_policy": "RESTRICTED",
        "eas_group": "GROUP",
    }
    newest = repositories.payloads.find_newest_days(Kind.DATASELECT)
    streamed = repositories.payloads.find_newest_days(Kind.RINGSERVER)
    found = [
        msgspec.structs.asdict(node)
        | {"newest_day": newest.get(node.name), "newest_streaming_day": streamed.get(node.name)}
        for node in repositories.registry.list_nodes()
    ]
    if any(streamed.values()):
        columns["newest_streaming_day"] = "NEWEST STREAMING DAY"
    show(found, columns, as_json=as_json, spare=("created_at", "last_payload", "eas_group", "payloads", "contact"))


@nodes.command()
@_NAME
@click.option("--name", "new_name", callback=_parse_node_name, help="The new name.")
@click.option("--contact", callback=require_printable, help="The new contact.")
@click.pass_obj
def update(repositories: Repositories, name: str, new_name: str | None, contact: str | None) -> None:
    """Change a node's name or contact. Its spaces and ringservers are renamed with it."""
    if new_name is None and contact is None:
        raise click.UsageError("Nothing to change. Use --name or --contact.")
    rename = repositories.spaces.rename_node
    repositories.registry.update_node(name, new_name=new_name, contact=contact, rename=rename)
    click.echo(f"updated node {new_name or name}")


@nodes.command()
@_NAME
@click.option("--confirm", metavar="NAME", help="The name again, instead of the prompt.")
@click.pass_obj
def remove(repositories: Repositories, name: str, confirm: str | None) -> None:
    """Remove a node with its tokens, payloads and statistics, after confirmation."""
    if confirm is None:
        click.echo(f"This removes node {name} with its tokens, payloads and statistics.")
        confirm = click.prompt("Type its name to confirm", type=str)
    if confirm != name:
        raise click.UsageError("The names differ; nothing was removed.")
    repositories.shards.check_node_has_none(name)
    repositories.registry.remove_node(name)
    click.echo(f"removed node {name}")


@nodes.command(name="set-policy")
@_NAME
@click.argument("policy", type=click.Choice(["open", "restricted"]))
@click.pass_obj
def set_policy(repositories: Repositories, name: str, policy: str) -> None:
    """Restrict or open the networks of a node, except those that invert the policy."""
    repositories.registry.set_node_policy(name, restricted=policy == "restricted")
    inverting = [
        network.name
        for network in repositories.registry.list_networks()
        if network.node == name and network.inverted_policy
    ]
    click.echo(f"the networks of {name} are {policy}")
    if inverting:
        other = "open" if policy == "restricted" else "restricted"
        click.echo(f"except these, which are {other}: {', '.join(inverting)}")
    warn_of_single_restricted(repositories.registry)


@nodes.command(name="set-group")
@_NAME
@click.argument("group", required=False, callback=parse_group)
@click.option("--none", is_flag=True, help="Remove the group.")
@click.pass_obj
def set_group(repositories: Repositories, name: str, group: str | None, none: bool) -> None:
    """Set the group (EIDA authentication system) that may see a node's restricted networks."""
    if (group is None) != none:
        raise click.UsageError("Name a group, or use --none.")
    repositories.registry.set_node_group(name, group)
    click.echo(f"{name}: {'no group' if group is None else f'members of {group}'} may see restricted statistics")
