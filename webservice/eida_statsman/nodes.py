"""eida_statsman nodes: register and change nodes."""

import re
import shlex

import click
import msgspec

from eida_stats_webservice.registry.models import OTHER, is_node_name, strip_group_prefix
from eida_stats_webservice.registry.repository import RegistryRepository
from eida_statsman.repositories import Repositories, pass_registry, pass_repositories
from eida_statsman.tables import show


def printable(_context: click.Context, _parameter: click.Parameter, value: str | None) -> str | None:
    """Refuse text that is blank, or that no database and no terminal takes."""
    # Arguments that are not UTF-8 have surrogates, which are not printable either.
    if value is not None and (not value.strip() or not value.isprintable()):
        raise click.BadParameter("printable characters, and not blank")
    return value


def group(_context: click.Context, _parameter: click.Parameter, value: str | None) -> str | None:
    """Return a name of a group of the EIDA authentication system without /epos/, and refuse what is none."""
    if value is None:
        return None
    name = strip_group_prefix(value)
    if not re.fullmatch(r"[A-Za-z0-9._-]{1,64}", name):
        raise click.BadParameter("letters, digits and . _ -")
    return name


def _node_name(_context: click.Context, _parameter: click.Parameter, value: str | None) -> str | None:
    if value is None or is_node_name(value):
        return value
    if value in (OTHER, "*"):
        raise click.BadParameter(f"{value} stands for several nodes in answers")
    if value.strip() and is_node_name(value.strip()):
        raise click.BadParameter("it has blanks at its ends")
    raise click.BadParameter("up to 64 printable characters, without commas")


def warn_of_one_restricted(registry: RegistryRepository) -> None:
    """Warn if only one network is restricted, whose figures are then those of the row Other in public answers."""
    restricted = {network.name for network in registry.list_networks() if network.restricted}
    if len(restricted) == 1:
        click.echo(
            f"warning: {restricted.pop()} is the only restricted network, so the rows Other in public answers have"
            " its figures. MIN_CLIENTS hides them: see docs/PRIVACY.md",
            err=True,
        )


_NAME = click.argument("name", callback=printable)


@click.group()
def nodes() -> None:
    """Register the nodes of the federation."""


@nodes.command()
@click.argument("name", callback=_node_name)
@click.option("--contact", required=True, callback=printable, help="An e-mail address of the node (not of a user).")
@pass_registry
def add(registry: RegistryRepository, name: str, contact: str) -> None:
    """Register a node."""
    registry.add_node(name, contact)
    click.echo(f"added node {name}; next: eida_statsman tokens add {shlex.quote(name)}")


@nodes.command(name="list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@pass_repositories
def list_(repositories: Repositories, as_json: bool) -> None:
    """List the nodes, with the number and the dates of their payloads."""
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
    newest = repositories.payloads.newest_days()
    found = [
        msgspec.structs.asdict(node) | {"newest_day": newest.get(node.name)}
        for node in repositories.registry.list_nodes()
    ]
    show(found, columns, as_json=as_json, spare=("created_at", "last_payload", "eas_group", "payloads", "contact"))


@nodes.command()
@_NAME
@click.option("--name", "new_name", callback=_node_name, help="Its new name.")
@click.option("--contact", callback=printable, help="Its new contact.")
@pass_registry
def update(registry: RegistryRepository, name: str, new_name: str | None, contact: str | None) -> None:
    """Change a node's name or contact."""
    if new_name is None and contact is None:
        raise click.UsageError("Say what to change: --name or --contact.")
    registry.update_node(name, new_name=new_name, contact=contact)
    click.echo(f"updated node {new_name or name}")


@nodes.command()
@_NAME
@click.option("--confirm", metavar="NAME", help="The name again, instead of being asked for it.")
@pass_registry
def remove(registry: RegistryRepository, name: str, confirm: str | None) -> None:
    """Remove a node with its tokens, payloads and statistics; its name is asked for again."""
    if confirm is None:
        click.echo(f"This removes node {name}, its tokens, all that it has sent and its statistics.")
        confirm = click.prompt("Its name again", type=str)
    if confirm != name:
        raise click.UsageError("That is another name; nothing was removed.")
    registry.remove_node(name)
    click.echo(f"removed node {name}")


@nodes.command(name="set-policy")
@_NAME
@click.argument("policy", type=click.Choice(["open", "restricted"]))
@pass_registry
def set_policy(registry: RegistryRepository, name: str, policy: str) -> None:
    """Restrict the networks of a node, or open them, but for those that invert that."""
    registry.set_node_policy(name, restricted=policy == "restricted")
    inverting = [
        network.name for network in registry.list_networks() if network.node == name and network.inverted_policy
    ]
    click.echo(f"the networks of {name} are {policy}")
    if inverting:
        other = "open" if policy == "restricted" else "restricted"
        click.echo(f"but for these, which are {other}: {', '.join(inverting)}")
    warn_of_one_restricted(registry)


@nodes.command(name="set-group")
@_NAME
@click.argument("group", required=False, callback=group)
@click.option("--none", is_flag=True, help="No group.")
@pass_registry
def set_group(registry: RegistryRepository, name: str, group: str | None, none: bool) -> None:
    """Say whose members see the restricted statistics of a node: a group of the EIDA authentication system."""
    if (group is None) != none:
        raise click.UsageError("Name a group, or say --none.")
    registry.set_node_group(name, group)
    click.echo(f"{name}: {'no group' if group is None else f'members of {group}'} may see what is restricted")
