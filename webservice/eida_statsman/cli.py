"""The central administrator's command; wiring only."""

import sys

import click

from eida_statistics import __version__
from eida_statistics.errors import EidaStatisticsError
from eida_stats_webservice import config as configuration
from eida_stats_webservice.store import open_store
from eida_statsman import coverage, database, networks, nodes, payloads, tokens

_EPILOG = """
The database is the one that DATABASE_URI names: postgresql://user:password@host/database, or sqlite:/// and a
path. Without it, the embedded store in your data directory is used.
"""


class _Commands(click.Group):
    """`serve` is imported where it is asked for alone: it brings all of the service, which takes its time."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Name all."""
        return sorted([*super().list_commands(ctx), "serve"])

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Give one, if there is such."""
        if cmd_name != "serve":
            return super().get_command(ctx, cmd_name)
        from eida_statsman.serve import serve  # noqa: PLC0415

        return serve


@click.group(cls=_Commands, epilog=_EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, message="%(version)s")
@click.pass_context
def cli(context: click.Context) -> None:
    """Administer the central statistics service: its database, nodes, tokens, payloads."""
    config = configuration.read()
    context.obj = config
    if context.invoked_subcommand in ("coverage", "networks", "nodes", "payloads", "tokens"):
        context.obj = open_store(config.database_uri)
        context.call_on_close(context.obj.close)


cli.add_command(database.db)
cli.add_command(nodes.nodes)
cli.add_command(networks.networks)
cli.add_command(tokens.tokens)
cli.add_command(payloads.payloads)
cli.add_command(coverage.coverage)


def main() -> None:
    """Run the command; errors are shown here, once."""
    try:
        sys.exit(cli.main(standalone_mode=False))
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except EidaStatisticsError as error:
        click.echo(f"eida_statsman: {error}", err=True)
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        click.echo("eida_statsman: interrupted; the transaction that was under way was undone", err=True)
        sys.exit(1)
    except OSError as error:
        # A pipe that was closed, as by head, says enough.
        named = f"{error.filename}: " if error.filename else ""
        click.echo(f"eida_statsman: {named}{error.strerror}", err=True)
        sys.exit(1)
