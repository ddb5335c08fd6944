"""eida_statsman nodes: who may send."""

import click
import msgspec

from eida_stats_webservice.store import Store
from eida_statsman.tables import show


def printable(_context: click.Context, _parameter: click.Parameter, value: str | None) -> str | None:
    """Refuse text that is blank, or that no database and no terminal takes."""
    # What the shell gave that is no UTF-8 has surrogates in it, which are not printable either.
    if value is not None and (not value.strip() or not value.isprintable()):
        raise click.BadParameter("printable characters, and not blank")
    return value


def _node_name(_context: click.Context, _parameter: click.Parameter, value: str | None) -> str | None:
    if value is not None and (not value.strip() or not value.isprintable() or len(value) > 64 or "," in value):
        raise click.BadParameter("up to 64 printable characters, without commas")
    return value


_NAME = click.argument("name", callback=printable)


@click.group()
def nodes() -> None:
    """Register the nodes of the federation."""


@nodes.command()
@click.argument("name", callback=_node_name)
@click.option("--contact", required=True, callback=printable, help="An e-mail address of the node (not of a user).")
@click.pass_obj
def add(store: Store, name: str, contact: str) -> None:
    """Register a node."""
    store.add_node(name, contact)
    click.echo(f"added node {name}; next: eida_statsman tokens add {name}")


@nodes.command(name="list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def list_(store: Store, as_json: bool) -> None:
    """List the nodes and what they have sent."""
    columns = {
        "name": "NODE",
        "contact": "CONTACT",
        "created_at": "SINCE",
        "payloads": "PAYLOADS",
        "last_payload": "LAST",
    }
    show([msgspec.structs.asdict(node) for node in store.list_nodes()], columns, as_json=as_json)


@nodes.command()
@_NAME
@click.option("--name", "new_name", callback=_node_name, help="Its new name.")
@click.option("--contact", callback=printable, help="Its new contact.")
@click.pass_obj
def update(store: Store, name: str, new_name: str | None, contact: str | None) -> None:
    """Change a node's name or contact."""
    if new_name is None and contact is None:
        raise click.UsageError("Say what to change: --name or --contact.")
    store.update_node(name, new_name=new_name, contact=contact)
    click.echo(f"updated node {new_name or name}")


@nodes.command()
@_NAME
@click.option("--confirm", metavar="NAME", help="The name again, instead of being asked for it.")
@click.pass_obj
def remove(store: Store, name: str, confirm: str | None) -> None:
    """Remove a node with its tokens, payloads and statistics; its name is asked for again."""
    if confirm is None:
        click.echo(f"This removes node {name}, its tokens, all that it has sent and its statistics.")
        confirm = click.prompt("Its name again", type=str)
    if confirm != name:
        raise click.UsageError("That is another name; nothing was removed.")
    store.remove_node(name)
    click.echo(f"removed node {name}")
