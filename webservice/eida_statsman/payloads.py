"""eida_statsman payloads: list, export, retract and replay payloads."""

import gzip
from contextlib import closing
from pathlib import Path

import click

from eida_statistics.files import write_file
from eida_stats_webservice.database import open_database
from eida_stats_webservice.payloads.kinds import Kind
from eida_stats_webservice.payloads.models import PayloadRecord
from eida_stats_webservice.ringserver.raw_logs.store import ORIGIN
from eida_statsman.kinds import KIND, parse_kind
from eida_statsman.nodes import require_printable
from eida_statsman.repositories import Repositories
from eida_statsman.tables import show, show_json

_COLUMNS = {
    "payload": "ID",
    "node": "NODE",
    "kind": "KIND",
    "received_at": "RECEIVED",
    "source": "SOURCE",
    "period": "PERIOD",
    "days": "DAYS",
    "rows": "ROWS",
    "state": "STATE",
    "superseded_by": "BY",
}
_NUMBER = click.argument("number", type=click.IntRange(min=0))
_ONE_NODE = click.option("--node", callback=require_printable, help="Only this node.")
_ONE_KIND = click.option("--kind", type=KIND, callback=parse_kind, help="Only payloads of this kind.")
_JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.group()
def payloads() -> None:
    """List, export and retract payloads, and rebuild the statistics from them."""


@payloads.command(name="list")
@_ONE_NODE
@_ONE_KIND
@click.option("--in-force", is_flag=True, help="Only payloads in force.")
@_JSON
@click.pass_obj
def list_(repositories: Repositories, node: str | None, kind: Kind | None, in_force: bool, as_json: bool) -> None:
    """List all payloads in the order of their arrival."""
    found = [
        record.to_dict() | ({} if as_json else {"days": _format_days(record)})
        for record in repositories.payloads.list_payloads(node or "", kind=kind)
        if not in_force or record.withdrawn_at is None
    ]
    show(found, _COLUMNS, as_json=as_json, spare=("superseded_by", "rows", "received_at", "kind", "source", "days"))


@payloads.command(name="show")
@_NUMBER
@_JSON
@click.pass_obj
def show_(repositories: Repositories, number: int, as_json: bool) -> None:
    """Show the metadata of a payload. For its statistics, use export."""
    record = repositories.payloads.read_record(number)
    if as_json:
        show_json(record.to_dict())
        return
    fields = [
        *(("payload", str(record.payload)), ("node", record.node), ("kind", record.kind)),
        ("state", _format_state(record)),
        *(("received", f"{record.received_at:%Y-%m-%d %H:%M:%S} UTC"), ("source", record.source or "(whole node)")),
        *(
            ("period", str(record.period or "(unknown)")),
            ("days", _format_days(record)),
            ("rows", f"{record.rows:,}"),
        ),
        *(("hash", record.hash), ("content", record.content), ("origin", record.origin)),
        *(("made at", record.generated_at), ("made by version", record.version)),
    ]
    for name, value in fields:
        click.echo(f"{name + ':':17}{value}")


@payloads.command()
@_NUMBER
@click.pass_obj
def retract(repositories: Repositories, number: int) -> None:
    """Retract a payload. It is kept but no longer counts. Payloads that it superseded stay superseded."""
    record = repositories.payloads.retract(number)
    click.echo(f"payload {number} of {record.node}: {_format_state(record)}")
    first_day = repositories.pruning.read_kept().records_from
    if record.origin == ORIGIN and record.days and record.days[-1] < first_day:
        click.echo(f"Its records cannot be stored again: those before {first_day} are pruned.", err=True)


@payloads.command()
@_ONE_NODE
@click.option(
    "--from",
    "source",
    metavar="URI",
    help="First copy nodes, tokens, networks and payloads from this database into the empty one.",
)
@click.pass_obj
def replay(repositories: Repositories, node: str | None, source: str | None) -> None:
    """Rebuild all statistics from the payloads in force."""
    if source is not None:
        if node is not None:
            raise click.UsageError("--from copies all nodes. Leave out --node.")
        with closing(open_database(source, "--from")) as other:
            count = repositories.transfer.copy_from(Repositories(other).transfer)
        click.echo(f"copied {count:,} payloads")
    count = 0
    for name, month in repositories.verification.replay(node or ""):
        click.echo(f"{name} {month:%Y-%m}")
        count += 1
    click.echo(f"rebuilt {count} months; verify them with eida_statsman db verify")


@payloads.command()
@click.argument("numbers", nargs=-1, type=click.IntRange(min=0), metavar="[NUMBER]...")
@_ONE_NODE
@_ONE_KIND
@click.option(
    "--to",
    "directory",
    default=Path(),
    type=click.Path(file_okay=False, path_type=Path),
    help="The directory.  [default: the current one]",
)
@click.pass_obj
def export(
    repositories: Repositories, numbers: tuple[int, ...], node: str | None, kind: Kind | None, directory: Path
) -> None:
    """Write payloads to files, as nodes sent them. The default is all payloads in force."""
    if numbers and (node, kind) != (None, None):
        raise click.UsageError("Name either numbers, or a node or a kind.")
    if numbers:
        chosen = [repositories.payloads.read_record(number) for number in numbers]
    else:
        listed = repositories.payloads.list_payloads(node or "", kind=kind)
        chosen = [record for record in listed if record.withdrawn_at is None]
    directory.mkdir(parents=True, exist_ok=True)
    for record in chosen:
        path = directory / _create_file_name(record)
        # Readable only by the owner, since small sketches list hashes of users.
        write_file(path, gzip.compress(repositories.payloads.read_payload(record.payload), mtime=0))
        click.echo(path)


def _create_file_name(record: PayloadRecord) -> str:
    # The name of a node may contain slashes and dots.
    node = "".join(sign if sign.isalnum() or sign in "-_" else "_" for sign in record.node)
    days = record.covered_days()
    source = f"_{record.source}" if record.source else ""
    return f"{node}_{days[0]}_{days[-1]}{source}_{record.payload}.json.gz"


def _format_state(record: PayloadRecord) -> str:
    if record.withdrawn_at is None:
        return record.state
    by = "" if record.superseded_by is None else f" by {record.superseded_by}"
    return f"{record.state}{by} at {record.withdrawn_at:%Y-%m-%d %H:%M} UTC"


def _format_days(record: PayloadRecord) -> str:
    if not record.days:
        return "none"
    first, last = record.days[0], record.days[-1]
    if first == last:
        return str(first)
    complete = len(record.days) == (last - first).days + 1
    return f"{first} to {last}" + ("" if complete else f" ({len(record.days)} of them)")
