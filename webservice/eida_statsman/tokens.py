"""eida_statsman tokens: what a node sends with."""

import datetime

import click
import msgspec

from eida_stats_webservice.store import Store
from eida_statsman.nodes import printable
from eida_statsman.tables import show

DAYS_VALID = 365
_DATE = click.DateTime(["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"])


@click.group()
def tokens() -> None:
    """Hand out and revoke the nodes' tokens."""


@tokens.command()
@click.argument("node", callback=printable)
@click.option("--valid-from", type=_DATE, help="First moment, UTC.  [default: now]")
@click.option("--valid-until", type=_DATE, help=f"End, UTC.  [default: {DAYS_VALID} days after the first moment]")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def add(
    store: Store,
    node: str,
    valid_from: datetime.datetime | None,
    valid_until: datetime.datetime | None,
    as_json: bool,
) -> None:
    """Make a token for a node. Its value is shown this once and cannot be read again."""
    start = valid_from.replace(tzinfo=datetime.UTC) if valid_from else _now()
    end = valid_until.replace(tzinfo=datetime.UTC) if valid_until else _later(start)
    if end <= start:
        raise click.UsageError("The token would end before it begins.")
    number, value = store.add_token(node, start, end)
    if as_json:
        shown = {"id": number, "node": node, "token": value, "valid_from": start, "valid_until": end}
        click.echo(msgspec.json.encode(shown).decode())
        return
    click.echo(value)
    click.echo(f"token {number} of node {node}, valid until {end:%Y-%m-%d %H:%M} UTC; shown this once", err=True)


@tokens.command(name="list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def list_(store: Store, as_json: bool) -> None:
    """List the tokens, without their values."""
    columns = {
        "id": "ID",
        "node": "NODE",
        "state": "STATE",
        "valid_from": "FROM",
        "valid_until": "UNTIL",
        "revoked_at": "REVOKED",
    }
    rows = [{**msgspec.structs.asdict(token), "state": token.state(_now())} for token in store.list_tokens()]
    show(rows, columns, as_json=as_json)


@tokens.command()
@click.argument("number", type=int, metavar="ID")
@click.pass_obj
def revoke(store: Store, number: int) -> None:
    """Make a token invalid at once."""
    store.revoke_token(number, _now())
    click.echo(f"revoked token {number}")


def _later(start: datetime.datetime) -> datetime.datetime:
    try:
        return start + datetime.timedelta(days=DAYS_VALID)
    except OverflowError:
        raise click.UsageError(f"There are no {DAYS_VALID} days after that; give --valid-until.") from None


def _now() -> datetime.datetime:
    return datetime.datetime.now(tz=datetime.UTC)
