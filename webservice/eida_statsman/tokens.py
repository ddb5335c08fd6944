"""eida_statsman tokens: create and revoke tokens."""

import datetime
from typing import Any

import click
import msgspec

from eida_statsman.networks import parse_network_code
from eida_statsman.nodes import require_printable
from eida_statsman.repositories import Repositories
from eida_statsman.tables import show

DAYS_VALID = 365
_DAY_CHARACTERS = len("YYYY-MM-DD")
_DATE = click.DateTime(["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"])


class _End(click.DateTime):
    """The end of a token: a time, or a day, which is included."""

    def convert(
        self, value: Any, parameter: click.Parameter | None, context: click.Context | None
    ) -> datetime.datetime:
        """Return the time at which the token expires."""
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
    """Create and revoke tokens."""


@tokens.command()
@click.argument("node", required=False, callback=require_printable)
@click.option("--network", callback=parse_network_code, help="A network, for its operator, instead of a node.")
@click.option("--valid-from", type=_DATE, help="Start, UTC.  [default: now]")
@click.option(
    "--valid-until",
    type=_End(_DATE.formats),
    help=f"Last day or, with a time, the end, UTC.  [default: {DAYS_VALID} days after the start]",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def add(
    repositories: Repositories,
    node: str | None,
    network: str | None,
    valid_from: datetime.datetime | None,
    valid_until: datetime.datetime | None,
    as_json: bool,
) -> None:
    """Create a token. A node sends payloads with it; a network's operator sees restricted statistics with it.

    The value is shown only once.
    """
    start = valid_from.replace(tzinfo=datetime.UTC) if valid_from else _now()
    end = valid_until.replace(tzinfo=datetime.UTC) if valid_until else _add_default_validity(start)
    if end <= start:
        raise click.UsageError("The token would expire before it starts. Correct --valid-from or --valid-until.")
    if node is not None and network is None:
        number, value = repositories.registry.add_token(node, start, end)
    elif network is not None and node is None:
        if all(known.name != network for known in repositories.registry.list_networks()):
            click.echo(f"note: no node has sent statistics of {network} yet; check the spelling", err=True)
        number, value = repositories.registry.add_network_token(network, start, end)
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
@click.pass_obj
def list_(repositories: Repositories, as_json: bool) -> None:
    """List all tokens, without their values."""
    columns = {
        "id": "ID",
        "node": "NODE",
        "network": "NETWORK",
        "state": "STATE",
        "valid_from": "FROM",
        "valid_until": "UNTIL",
        "revoked_at": "REVOKED",
    }
    rows = [
        {**msgspec.structs.asdict(token), "state": token.get_state(_now())}
        for token in repositories.registry.list_tokens()
    ]
    show(rows, columns, as_json=as_json, spare=("valid_from", "revoked_at"))


@tokens.command()
@click.argument("number", type=int, metavar="ID")
@click.pass_obj
def revoke(repositories: Repositories, number: int) -> None:
    """Revoke a token at once."""
    repositories.registry.revoke_token(number, _now())
    click.echo(f"revoked token {number}")


def _add_default_validity(start: datetime.datetime) -> datetime.datetime:
    try:
        return start + datetime.timedelta(days=DAYS_VALID)
    except OverflowError:
        raise click.UsageError(
            f"The default end, {DAYS_VALID} days later, does not exist. Use --valid-until."
        ) from None


def _now() -> datetime.datetime:
    return datetime.datetime.now(tz=datetime.UTC)
