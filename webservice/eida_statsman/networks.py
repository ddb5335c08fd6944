"""eida_statsman networks: list and restrict networks."""

import re

import click
import msgspec

from eida_stats_webservice.registry.models import OTHER
from eida_statsman.nodes import parse_group, require_printable, warn_of_single_restricted
from eida_statsman.repositories import Repositories
from eida_statsman.tables import show


def parse_network_code(_context: click.Context, _parameter: click.Parameter, value: str | None) -> str | None:
    """Return an extended network code; raise BadParameter for other text."""
    if value == OTHER:
        raise click.BadParameter(f"{value} is reserved: in answers, it stands for several networks")
    if value is not None and not re.fullmatch(r"[0-9A-Za-z_-]{1,8}", value):
        raise click.BadParameter("not an extended network code, such as FR or Z32015")
    return value


_NODE = click.argument("node", callback=require_printable)
_NETWORK = click.argument("network", callback=parse_network_code)


@click.group()
def networks() -> None:
    """List and restrict networks. A network is added with its first payload."""


@networks.command(name="list")
@click.option("--node", callback=require_printable, help="Only networks of this node.")
@click.option("--restricted", is_flag=True, help="Only restricted networks.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def list_(repositories: Repositories, node: str | None, restricted: bool, as_json: bool) -> None:
    """List all networks, once for each of their nodes."""
    columns = {
        "name": "NETWORK",
        "node": "NODE",
        "restricted": "RESTRICTED",
        "inverted_policy": "INVERTED",
        "eas_group": "GROUP",
        "node_eas_group": "GROUP OF NODE",
    }
    if node is not None:
        repositories.registry.check_node(node)
    found = [
        msgspec.structs.asdict(network)
        for network in repositories.registry.list_networks()
        if node in (None, network.node) and (network.restricted or not restricted)
    ]
    show(found, columns, as_json=as_json, spare=("inverted_policy", "node_eas_group", "eas_group"))


@networks.command(name="set-policy")
@_NODE
@_NETWORK
@click.argument("policy", type=click.Choice(["default", "inverted"]))
@click.option("--new", is_flag=True, help="Add the network before its first payload.")
@click.pass_obj
def set_policy(repositories: Repositories, node: str, network: str, policy: str, new: bool) -> None:
    """Let a network follow the policy of its node (default), or invert it."""
    if new:
        repositories.registry.add_network(node, network)
    repositories.registry.set_network_policy(node, network, inverted=policy == "inverted")
    for known in repositories.registry.list_networks():
        if (known.node, known.name) == (node, network):
            click.echo(f"{network} at {node} is {'restricted' if known.restricted else 'open'}")
    warn_of_single_restricted(repositories.registry)


@networks.command(name="set-group")
@_NODE
@_NETWORK
@click.argument("group", required=False, callback=parse_group)
@click.option("--none", is_flag=True, help="Remove the group.")
@click.pass_obj
def set_group(repositories: Repositories, node: str, network: str, group: str | None, none: bool) -> None:
    """Set the group (EIDA authentication system) that may see a restricted network."""
    if (group is None) != none:
        raise click.UsageError("Name a group, or use --none.")
    repositories.registry.set_network_group(node, network, group)
    who = "no group" if group is None else f"members of {group}"
    click.echo(f"{network} at {node}: {who} may see restricted statistics")
