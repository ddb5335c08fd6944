"""eida_statsman shards: the catalogues of the nodes' archives."""

from collections.abc import Sequence
from pathlib import Path
from typing import TextIO

import click
import msgspec

from eida_statistics.errors import RegistryUnavailable
from eida_statistics.networks import REGISTRY_URL, Epoch, NetworkRegistry, get_cache_path, read_registry
from eida_stats_webservice.archive.bad_lines import BadLines
from eida_stats_webservice.archive.errors import CatalogueDifferences, RefusedCrawls
from eida_stats_webservice.archive.merging.merge import MergeResult
from eida_stats_webservice.database.foreign import parse_server
from eida_statsman.nodes import require_printable
from eida_statsman.polygons import show_left_out
from eida_statsman.repositories import Repositories
from eida_statsman.tables import show, show_json

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.group()
def shards() -> None:
    """Administer the catalogues of the nodes' archives."""


@shards.command()
@click.argument("code")
@click.option("--path", required=True, help="The path that all its paths begin with, as /GFZ/archive.")
@click.option("--node", required=True, callback=require_printable, help="The node that has the archive.")
@click.option("--open-paths", is_flag=True, help="Show paths, files and links to everybody.")
@click.option("--foreign", metavar="URI", help="The database of another server that has the shard.")
@click.option("--password-file", type=click.File(), help="A file with the password of the role in --foreign.")
@click.option("--schema", default="archive", show_default=True, help="The code of the shard in --foreign.")
@click.pass_obj
def create(
    repositories: Repositories,
    code: str,
    path: str,
    node: str,
    open_paths: bool,
    foreign: str | None,
    password_file: TextIO | None,
    schema: str,
) -> None:
    """Create the catalogue of an archive. Its CODE is the name of a schema of the database.

    With --foreign, another server has the catalogue, and this database reads it there.
    """
    server = None
    if foreign is not None:
        if password_file is None:
            raise click.UsageError("--foreign needs --password-file.")
        server = parse_server(foreign, password_file.read().rstrip("\r\n"), schema)
    elif password_file is not None:
        raise click.UsageError("--password-file is for --foreign.")
    shard = repositories.shards.create(code, path, node, open_paths=open_paths, server=server)
    click.echo(f"created shard {shard.code} of node {shard.node} for {shard.path}")
    if server is not None:
        click.echo(f"its tables are on {server.place}; copy its holdings: eida_statsman shards refresh {code}")


@shards.command(name="list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def list_(repositories: Repositories, as_json: bool) -> None:
    """List all shards."""
    rows = [msgspec.structs.asdict(shard) for shard in repositories.shards.read_all()]
    columns = {
        "code": "SHARD",
        "path": "PATH",
        "node": "NODE",
        "crawled_at": "CRAWLED",
        "refreshed_at": "REFRESHED",
        "open_paths": "OPEN PATHS",
        "foreign_server": "SERVER",
    }
    show(rows, columns, as_json=as_json, spare=("foreign_server", "open_paths", "refreshed_at"))


@shards.command()
@click.argument("code")
@click.pass_obj
def refresh(repositories: Repositories, code: str) -> None:
    """Compute the holdings and polygons of a shard again. Holdings on another server are copied from there."""
    shard = repositories.shards.refresh(code)
    show_left_out(repositories.polygons.recompute(code))
    source = f", from {shard.foreign_server}" if shard.foreign_server is not None else ""
    click.echo(f"refreshed the holdings of shard {shard.code}{source}")


@shards.command()
@click.argument("code")
@click.option("--confirm", help="The code again; without, you are prompted for it.")
@click.pass_obj
def remove(repositories: Repositories, code: str, confirm: str | None) -> None:
    """Remove a shard with all its rows."""
    if confirm is None:
        click.echo(f"This removes shard {code} with its paths, metadata, spans and holdings.")
        confirm = click.prompt("Type its code to confirm")
    if confirm != code:
        raise click.UsageError("The codes differ; nothing was removed.")
    repositories.shards.remove(code)
    click.echo(f"removed shard {code}")


@shards.command()
@click.argument("code", required=False)
@click.argument("file", type=_FILE, required=False)
@click.option("--received", is_flag=True, help="Ingest the crawls that nodes have sent: of CODE, or of all shards.")
@click.option(
    "--partial", "is_partial", is_flag=True, help="The crawl lists changes: remove nothing that it lacks."
)
@click.option("--allow-shrink", "may_shrink", is_flag=True, help="Remove even more than 20 % of the paths.")
@click.pass_obj
def ingest(
    repositories: Repositories,
    code: str | None,
    file: Path | None,
    received: bool,
    is_partial: bool,
    may_shrink: bool,
) -> None:
    """Ingest a crawl into a shard, or those that nodes have sent. What a complete crawl did not find is removed."""
    if received:
        if file is not None or is_partial:
            raise click.UsageError("--received takes neither a file nor --partial.")
        ingest_received(repositories, code, may_shrink=may_shrink)
        return
    if code is None or file is None:
        raise click.UsageError("Name a shard and the file of a crawl, or use --received.")
    result = repositories.crawls.ingest(code, file, is_partial=is_partial, may_shrink=may_shrink)
    click.echo(
        f"ingested {file} into shard {code}" if result.is_change else f"unchanged: shard {code} has all of {file}"
    )
    show_result(result)


@shards.command()
@click.argument("code")
@click.argument("files", nargs=-1, required=True, type=_FILE)
@click.pass_obj
def rebuild(repositories: Repositories, code: str, files: Sequence[Path]) -> None:
    """Replace a shard by the result of complete crawls, in the order in which they began.

    The service answers from the old tables until the new ones are complete.
    """
    for result in repositories.shard_rebuild.rebuild(code, files):
        show_result(result)
    click.echo(f"rebuilt shard {code}")


@shards.command()
@click.argument("code", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print the differences as JSON.")
@click.pass_obj
def verify(repositories: Repositories, code: str | None, as_json: bool) -> None:
    """Compute the tables of a shard, or of all, from their metadata, and print each row that differs."""
    found = []
    number = 0
    for difference in repositories.catalogue_verification.verify(code):
        number += 1
        if as_json:
            found.append(msgspec.structs.asdict(difference))
        else:
            click.echo(str(difference))
    if as_json:
        show_json(found)
    else:
        click.echo(f"differences: {number or 'none'}")
    if number:
        raise CatalogueDifferences(
            hint="Build the shard again from its last crawl: eida_statsman shards rebuild CODE FILE"
        )


@shards.command()
@click.argument("code")
@click.argument("file", type=_FILE)
@click.option(
    "--networks",
    "registry",
    type=_FILE,
    help="Registry of networks, for temporary codes.  [default: the aggregator's cache]",
)
@click.pass_obj
def stations(repositories: Repositories, code: str, file: Path, registry: Path | None) -> None:
    """Replace the stations of a shard by those of a file.

    FILE is the answer of an FDSN station service with format=text and level=channel.
    """
    result = repositories.stations.replace(code, file, _open_networks(registry))
    if result.changed:
        click.echo(
            f"stored {result.epochs:,} epochs of channels of shard {code}; those of {result.changed:,} channels"
            " have changed"
        )
    else:
        click.echo(f"unchanged: shard {code} has all {result.epochs:,} epochs")
    _show_bad_lines(result.bad)


def _open_networks(file: Path | None) -> NetworkRegistry:
    """Return the registry of a file, or that in the aggregator's cache, which is read if a code needs it."""
    if file is not None:
        epochs = read_registry(file)
        return NetworkRegistry(lambda: epochs)
    return NetworkRegistry(_read_cache)


def _read_cache() -> list[Epoch]:
    try:
        return read_registry(get_cache_path())
    except RegistryUnavailable as error:
        raise RegistryUnavailable(
            error.subject, hint=f"Save the answer of {REGISTRY_URL} to a file and name it with --networks FILE."
        ) from error


def ingest_received(repositories: Repositories, code: str | None, *, may_shrink: bool) -> None:
    """Ingest the crawls that wait, and print the end of each.

    Raises:
        RefusedCrawls: if some were refused.
    """
    refused = 0
    for crawl, result, refusal in repositories.received.ingest_all(code, may_shrink=may_shrink):
        name = f"the crawl of shard {crawl.code} that began {crawl.started:%Y-%m-%dT%H:%M:%SZ}"
        if result is not None:
            click.echo(f"ingested {name}")
            show_result(result)
        else:
            refused += 1
            click.echo(f"refused {name}: {refusal}", err=True)
    if refused:
        raise RefusedCrawls(str(refused), hint="Their nodes see the reason when they send them again.")


def show_result(result: MergeResult) -> None:
    """Print what a crawl has changed, and the lines that were refused."""
    click.echo(
        f"{result.lines:,} lines of {result.found:,} paths: {result.added:,} new, {result.changed:,} changed,"
        f" {result.removed:,} removed"
    )
    if result.untyped:
        click.echo(f"paths without a type: {result.untyped:,}")
    show_left_out(result.polygons)
    _show_bad_lines(result.bad)


def _show_bad_lines(bad: BadLines) -> None:
    if bad.count:
        click.echo(f"lines that were refused: {bad.count:,}", err=True)
        for line in bad.first:
            click.echo(f"  line {line.number:,}: {line.reason}", err=True)
        if bad.count > len(bad.first):
            click.echo(f"  and {bad.count - len(bad.first):,} more", err=True)
