"""eida_statsman tokens: create and revoke tokens of nodes and of operators of networks."""

import datetime
from typing import Any

import click
import msgspec

from eida_stats_webservice.registry.repository import RegistryRepository
from eida_statsman.networks import network_code
from eida_statsman.nodes import printable
from eida_statsman.repositories import pass_registry
from eida_statsman.tables import show

DAYS_VALID = 365
_DAY_CHARACTERS = len("YYYY-MM-DD")
_DATE = click.DateTime(["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"])


class _End(click.DateTime):
    """The end of a token: a moment, or a day that is included as a whole."""

    def convert(
        self, value: Any, parameter: click.Parameter | None, context: click.Context | None
    ) -> datetime.datetime:
        """Return the moment from which on the token is not valid."""
        moment: datetime.datetime = super().convert(value, parameter, context)
        if not isinstance(value, str) or len(value.strip()) > _DAY_CHARACTERS:
            return moment
        try:
            return moment + datetime.timedelta(days=1)
        except OverflowError:
            # There is no day after the last one.
            return moment.replace(hour=23, minute=59, second=59)


@click.group()
def tokens() -> None:
    """Hand out and revoke tokens."""


@tokens.command()
@click.argument("node", required=False, callback=printable)
@click.option("--network", callback=network_code, help="For the operator of a network, instead of a node.")
@click.option("--valid-from", type=_DATE, help="First moment, UTC.  [default: now]")
@click.option(
    "--valid-until",
    type=_End(_DATE.formats),
    help=f"Last day or, with a time, the end, UTC.  [default: {DAYS_VALID} days after the first moment]",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@pass_registry
def add(
    registry: RegistryRepository,
    node: str | None,
    network: str | None,
    valid_from: datetime.datetime | None,
    valid_until: datetime.datetime | None,
    as_json: bool,
) -> None:
    """Make a token, for a node to send with, or for a network's operator to see its restricted statistics with.

    Its value is shown this once and cannot be read again.
    """
    start = valid_from.replace(tzinfo=datetime.UTC) if valid_from else _now()
    end = valid_until.replace(tzinfo=datetime.UTC) if valid_until else _later(start)
    if end <= start:
        raise click.UsageError("The token would end before it begins.")
    if node is not None and network is None:
        number, value = registry.add_token(node, start, end)
    elif network is not None and node is None:
        _warn_of_unknown(registry, network)
        number, value = registry.add_network_token(network, start, end)
    else:
        raise click.UsageError("Name either a node or, with --network, a network.")
    if as_json:
        shown = {
            "id": number,
            "node": node,
            "network": network,
            "token": value,
            "valid_from": start,
            "valid_until": end,
        }
        click.echo(msgspec.json.encode(shown).decode())
        return
    click.echo(value)
    whose = f"node {node}" if network is None else f"network {network}"
    click.echo(f"token {number} of {whose}, valid until {end:%Y-%m-%d %H:%M} UTC; shown this once", err=True)


@tokens.command(name="list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@pass_registry
def list_(registry: RegistryRepository, as_json: bool) -> None:
    """List the tokens, without their values."""
    columns = {
        "id": "ID",
        "node": "NODE",
        "network": "NETWORK",
        "state": "STATE",
        "valid_from": "FROM",
        "valid_until": "UNTIL",
        "revoked_at": "REVOKED",
    }
    rows = [{**msgspec.structs.asdict(token), "state": token.get_state(_now())} for token in registry.list_tokens()]
    show(rows, columns, as_json=as_json, spare=("valid_from", "revoked_at"))


@tokens.command()
@click.argument("number", type=int, metavar="ID")
@pass_registry
def revoke(registry: RegistryRepository, number: int) -> None:
    """Make a token invalid at once."""
    registry.revoke_token(number, _now())
    click.echo(f"revoked token {number}")


def _warn_of_unknown(registry: RegistryRepository, network: str) -> None:
    if all(known.name != network for known in registry.list_networks()):
        click.echo(f"note: no node has sent anything of {network} so far", err=True)


def _later(start: datetime.datetime) -> datetime.datetime:
    try:
        return start + datetime.timedelta(days=DAYS_VALID)
    except OverflowError:
        raise click.UsageError(f"There are no {DAYS_VALID} days after that; use --valid-until.") from None


def _now() -> datetime.datetime:
    return datetime.datetime.now(tz=datetime.UTC)
