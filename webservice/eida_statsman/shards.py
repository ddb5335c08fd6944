"""eida_statsman shards: the catalogues of the nodes' archives."""

from pathlib import Path

import click
import msgspec

from eida_stats_webservice.archive.merging.merge import MergeResult
from eida_statsman.nodes import require_printable
from eida_statsman.repositories import Repositories
from eida_statsman.tables import show

_CRAWL = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.group()
def shards() -> None:
    """Administer the catalogues of the nodes' archives."""


@shards.command()
@click.argument("code")
@click.option("--path", required=True, help="The path that all its paths begin with, as /GFZ/archive.")
@click.option("--node", required=True, callback=require_printable, help="The node that has the archive.")
@click.option("--open-paths", is_flag=True, help="Show paths, files and links to everybody.")
@click.pass_obj
def create(repositories: Repositories, code: str, path: str, node: str, open_paths: bool) -> None:
    """Create the catalogue of an archive. Its CODE is the name of a schema of the database."""
    shard = repositories.shards.create(code, path, node, open_paths=open_paths)
    click.echo(f"created shard {shard.code} of node {shard.node} for {shard.path}")


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
@click.argument("code")
@click.argument("file", type=_CRAWL)
@click.option(
    "--partial", "is_partial", is_flag=True, help="The crawl lists changes: remove nothing that it lacks."
)
@click.option("--allow-shrink", "may_shrink", is_flag=True, help="Remove even more than 20 % of the paths.")
@click.pass_obj
def ingest(repositories: Repositories, code: str, file: Path, is_partial: bool, may_shrink: bool) -> None:
    """Ingest a crawl into a shard. What a complete crawl did not find is removed."""
    result = repositories.crawls.ingest(code, file, is_partial=is_partial, may_shrink=may_shrink)
    click.echo(
        f"ingested {file} into shard {code}" if result.is_change else f"unchanged: shard {code} has all of {file}"
    )
    show_result(result)


def show_result(result: MergeResult) -> None:
    """Print what a crawl has changed, and the lines that were refused."""
    click.echo(
        f"{result.lines:,} lines of {result.found:,} paths: {result.added:,} new, {result.changed:,} changed,"
        f" {result.removed:,} removed"
    )
    if result.untyped:
        click.echo(f"paths without a type: {result.untyped:,}")
    if result.bad:
        click.echo(f"lines that were refused: {result.bad:,}", err=True)
        for line in result.bad_lines:
            click.echo(f"  line {line.number:,}: {line.reason}", err=True)
        if result.bad > len(result.bad_lines):
            click.echo(f"  and {result.bad - len(result.bad_lines):,} more", err=True)
