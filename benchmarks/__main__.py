"""What `make bench` runs: each benchmark prints its figures side by side, measured in this one run."""

import platform

import click
from rich.console import Console

from benchmarks import ingest

BENCHMARKS = {"ingest": ingest.measure}


@click.command()
@click.argument("names", nargs=-1, metavar="[NAMES]...")
@click.option("--runs", type=click.IntRange(1), default=5, show_default=True, help="Medians are of so many runs.")
def main(names: tuple[str, ...], runs: int) -> None:
    """Run the benchmarks that are named, or all."""
    unknown = set(names) - BENCHMARKS.keys()
    if unknown:
        raise click.BadParameter(f"{', '.join(sorted(unknown))}; there are: {', '.join(BENCHMARKS)}")
    console = Console(highlight=False)
    console.print(f"{platform.machine()}, {platform.system()}, Python {platform.python_version()}\n")
    for name in names or BENCHMARKS:
        BENCHMARKS[name](console, runs)


if __name__ == "__main__":
    main()
