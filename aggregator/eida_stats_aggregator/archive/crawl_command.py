"""The command `eida_archive crawl`: options, exit codes, wiring."""

import os
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

import click

from eida_statistics.archive.errors import InvalidPath
from eida_statistics.archive.paths import normalise_path
from eida_stats_aggregator import progress
from eida_stats_aggregator.archive.errors import PackageMissing
from eida_stats_aggregator.command import FILE, jobs_option, networks_option
from eida_stats_aggregator.console import complain
from eida_stats_aggregator.reader import count_cores, make_registry_loader

_EXIT_CODES = """
\b
Exit codes:
  0  done
  1  ROOT cannot be read, there is no registry of networks, ...
  2  the command line is wrong
  4  done, but a file or directory cannot be read
"""
# So many files and directories that cannot be read are named.
_MAX_NAMED = 20


def _parse_path(_context: click.Context, _parameter: click.Parameter, value: str) -> str:
    try:
        # As names in the archive are written.
        return normalise_path(os.fsencode(value).decode("utf-8", "backslashreplace"))
    except InvalidPath as error:
        raise click.BadParameter(f"{error.subject}. {error.hint}".removesuffix(" ")) from error


@click.command(epilog=_EXIT_CODES)
# Its faults are not those of the command line, and have another exit code.
@click.argument("root", type=click.Path(path_type=Path, readable=False))
@click.option(
    "--as",
    "path",
    required=True,
    callback=_parse_path,
    metavar="PATH",
    help="The path of ROOT in the catalogue, such as /GFZ/archive: that of the shard at the centre.",
)
@click.option(
    "-o",
    "--output",
    required=True,
    type=click.Path(dir_okay=False, path_type=Path, readable=False),
    help="The file of the crawl, such as crawl.tsv.gz. It is replaced when the crawl is complete.",
)
@click.option(
    "--since",
    type=FILE,
    help="The previous crawl, complete or not. Unchanged files are not opened again.",
)
@jobs_option
@click.option("--pattern", metavar="GLOB", help="Open only files with such names as miniSEED; list all.")
@click.option("--checksum", type=click.Choice(["md5"]), help="Add the checksums of files, which are read for it.")
@click.option("--magic", "has_magic", is_flag=True, help="Add the types of files, as libmagic sees them.")
@click.option("--owners", "has_owners", is_flag=True, help="Add the login names of owners, and their groups.")
@click.option(
    "--layout",
    type=click.Choice(["sds", "sdsbynet"]),
    help="Compare the directories of files with their content, too, in this layout.",
)
@networks_option
@click.option("-q", "--quiet", is_flag=True, help="Print nothing but errors and warnings.")
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON.")
def crawl(
    root: Path,
    path: str,
    output: Path,
    since: Path | None,
    jobs: int | None,
    pattern: str | None,
    checksum: str | None,
    has_magic: bool,
    has_owners: bool,
    layout: str | None,
    networks_file: Path | None,
    quiet: bool,
    as_json: bool,
) -> int:
    """List all paths below ROOT, with the segments of each miniSEED file.

    Names, sizes, times and headers are read, samples are not. Links are not followed. Nothing is sent.
    """
    crawler = _import_crawler()
    wanted = crawler.Wanted(
        pattern=pattern,
        layout=layout,
        has_checksums=checksum is not None,
        has_magic=has_magic,
        has_owners=has_owners,
    )
    options = crawler.Options(
        root=root,
        path=path,
        output=output,
        wanted=wanted,
        load=make_registry_loader(networks_file),
        jobs=jobs or count_cores(),
        since=since,
    )
    with progress.show_progress("crawling", 0, shown=not quiet, unit="paths") as advance:
        outcome = crawler.crawl(options, advance)
    # Slow to import, and not needed if the crawl fails.
    from eida_stats_aggregator.archive.summary import summarize  # noqa: PLC0415

    summary = summarize(str(output), outcome)
    unreadable = [*summary.unreadable_directories, *summary.unreadable_files]
    _warn([f"cannot be read: {one.path}: {one.reason}" for one in unreadable])
    if as_json:
        click.echo(summary.to_json())
    elif not quiet:
        summary.show()
    return 4 if unreadable else 0


def _warn(texts: Sequence[str]) -> None:
    for text in texts[:_MAX_NAMED]:
        complain(f"warning: {text}")
    if len(texts) > _MAX_NAMED:
        complain(f"warning: cannot be read: … and {len(texts) - _MAX_NAMED:,} more")


def _import_crawler() -> ModuleType:
    """Return the module that crawls, whose packages only the extra `archive` installs."""
    try:
        from eida_stats_aggregator.archive import crawler  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise PackageMissing(
            f"there is no package {error.name}", hint="In a checkout of the project: pip install '.[archive]'"
        ) from error
    return crawler
