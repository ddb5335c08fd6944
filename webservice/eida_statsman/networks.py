"""eida_statsman networks: restrict networks, and open them to groups."""

import re

import click
import msgspec

from eida_stats_webservice.registry.models import OTHER
from eida_stats_webservice.registry.repository import RegistryRepository
from eida_statsman.nodes import group, printable, warn_of_one_restricted
from eida_statsman.repositories import pass_registry
from eida_statsman.tables import show


def network_code(_context: click.Context, _parameter: click.Parameter, value: str | None) -> str | None:
    """Refuse what is no extended network code."""
    if value == OTHER:
        raise click.BadParameter(f"{value} stands for several networks in answers")
    if value is not None and not re.fullmatch(r"[0-9A-Za-z_-]{1,8}", value):
        raise click.BadParameter("an extended network code, such as FR or Z32015")
    return value


_NODE = click.argument("node", callback=printable)
_NETWORK = click.argument("network", callback=network_code)


@click.group()
def networks() -> None:
    """Say which networks are restricted. They appear by themselves when statistics of them come in."""


@networks.command(name="list")
@click.option("--node", callback=printable, help="Only those of one node.")
@click.option("--restricted", is_flag=True, help="Only those that are restricted.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@pass_registry
def list_(registry: RegistryRepository, node: str | None, restricted: bool, as_json: bool) -> None:
    """List the networks, once for each of their nodes."""
    columns = {
        "name": "NETWORK",
        "node": "NODE",
        "restricted": "RESTRICTED",
        "inverted_policy": "INVERTED",
        "eas_group": "GROUP",
        "node_eas_group": "GROUP OF NODE",
    }
    if node is not None:
        registry.check_node(node)
    found = [
        msgspec.structs.asdict(network)
        for network in registry.list_networks()
        if node in (None, network.node) and (network.restricted or not restricted)
    ]
    show(found, columns, as_json=as_json, spare=("inverted_policy", "node_eas_group", "eas_group"))


@networks.command(name="set-policy")
@_NODE
@_NETWORK
@click.argument("policy", type=click.Choice(["default", "inverted"]))
@click.option("--new", is_flag=True, help="It has sent nothing yet.")
@pass_registry
def set_policy(registry: RegistryRepository, node: str, network: str, policy: str, new: bool) -> None:
    """Have a network invert the policy of its node, or follow it by default."""
    if new:
        registry.add_network(node, network)
    registry.set_network_policy(node, network, inverted=policy == "inverted")
    for known in registry.list_networks():
        if (known.node, known.name) == (node, network):
            click.echo(f"{network} at {node} is {'restricted' if known.restricted else 'open'}")
    warn_of_one_restricted(registry)


@networks.command(name="set-group")
@_NODE
@_NETWORK
@click.argument("group", required=False, callback=group)
@click.option("--none", is_flag=True, help="No group.")
@pass_registry
def set_group(registry: RegistryRepository, node: str, network: str, group: str | None, none: bool) -> None:
    """Say whose members see a network's restricted statistics: a group of the EIDA authentication system."""
    if (group is None) != none:
        raise click.UsageError("Name a group, or say --none.")
    registry.set_network_group(node, network, group)
    who = "no group" if group is None else f"members of {group}"
    click.echo(f"{network} at {node}: {who} may see what is restricted")
