"""The entry point of `eida_archive`."""

import importlib
from typing import NoReturn

import click

from eida_statistics import __version__
from eida_stats_aggregator.command import run_command
from eida_stats_aggregator.console import set_program

# Each is in the module of its name, such as `crawl_command`.
_COMMANDS = ("crawl", "requests", "send")


class _Commands(click.Group):
    """Imports only the requested command."""

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Return a command, or None if it does not exist."""
        if cmd_name not in _COMMANDS:
            return None
        found: click.Command = getattr(
            importlib.import_module(f"eida_stats_aggregator.archive.{cmd_name}_command"), cmd_name
        )
        return found


@click.group(
    cls=_Commands,
    # For help and for errors about misspelt names. `get_command` loads the real commands.
    commands={name: click.Command(name) for name in _COMMANDS},
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(__version__, message="%(version)s")
def cli() -> None:
    """Catalogue the archive of a node: crawl its files, send the crawl, compare it with requests."""


def main() -> NoReturn:
    """Run the command."""
    set_program("eida_archive")
    # It has no queue. A crawl that has begun says how to continue it.
    run_command(cli, interrupted="interrupted; run it again")
