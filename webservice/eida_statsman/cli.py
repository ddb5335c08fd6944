"""The entry point of eida_statsman."""

import importlib
import sys

import click

from eida_statistics import __version__
from eida_statistics.errors import EidaStatisticsError
from eida_stats_webservice import config as configuration

# Each is in the module of its name.
_COMMANDS = (
    *("connections", "coverage", "db", "networks", "nodes", "payloads", "report", "ringserver"),
    *("sensors", "serve", "shards", "spaces", "tokens"),
)
_EPILOG = """
Set DATABASE_URI to the database: postgresql://user:password@host/database, or sqlite:/// and a path. The default
is an SQLite database (embedded store) in your data directory.
"""


class _Commands(click.Group):
    """Imports only the requested command, since the imports of all commands take long."""

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Return a command, or None if it does not exist."""
        if cmd_name not in _COMMANDS:
            return None
        found: click.Command = getattr(importlib.import_module(f"eida_statsman.{cmd_name}"), cmd_name)
        return found


@click.group(
    cls=_Commands,
    # For help and for errors about misspelt names. `get_command` loads the real commands.
    commands={name: click.Command(name) for name in _COMMANDS},
    epilog=_EPILOG,
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(__version__, message="%(version)s")
@click.pass_context
def cli(context: click.Context) -> None:
    """Administer the central statistics service: its database, nodes, tokens, payloads."""
    config = configuration.read()
    context.obj = config
    if context.invoked_subcommand not in (None, "db", "serve"):
        # Slow to import, and not needed by the other commands.
        from eida_stats_webservice.database import open_database  # noqa: PLC0415
        from eida_statsman.repositories import Repositories  # noqa: PLC0415

        database = open_database(config.database_uri)
        context.call_on_close(database.close)
        context.obj = Repositories(database, config.redis_url)


def main() -> None:
    """Run the command and print errors."""
    try:
        sys.exit(cli.main(standalone_mode=False))
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except EidaStatisticsError as error:
        click.echo(f"eida_statsman: {error}", err=True)
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        click.echo("eida_statsman: interrupted; the open transaction was rolled back", err=True)
        sys.exit(1)
    except OSError as error:
        named = f"{error.filename}: " if error.filename else ""
        click.echo(f"eida_statsman: {named}{error.strerror}", err=True)
        sys.exit(1)
