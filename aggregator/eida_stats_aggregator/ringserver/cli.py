"""The command line of `ringserverstats`: options, exit codes, wiring."""

import datetime
from pathlib import Path
from types import ModuleType
from typing import NoReturn
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import click
from click.core import ParameterSource

from eida_statistics.errors import ConfigurationError
from eida_statistics.networks import NetworkRegistry
from eida_statistics.payload import SOURCE_RULE, is_source
from eida_statistics.ringserver.collection import Settings
from eida_statistics.ringserver.places import DEFAULT_PRECISION, Places
from eida_statistics.ringserver.windows import HOUR, Grid
from eida_stats_aggregator.command import (
    DAY,
    EXIT_CODES,
    FILE,
    get_now,
    load_token,
    run_command,
    run_options,
    token_options,
)
from eida_stats_aggregator.console import set_program
from eida_stats_aggregator.reader import make_registry_loader
from eida_stats_aggregator.ringserver import send
from eida_stats_aggregator.ringserver.key import load_or_create_key
from eida_stats_aggregator.ringserver.logs import list_directions
from eida_stats_aggregator.run import Destination

_MAX_PRECISION = 12


def _parse_server(_context: click.Context, _parameter: click.Parameter, value: str | None) -> str | None:
    if value is not None and not is_source(value):
        raise click.BadParameter(SOURCE_RULE)
    return value


def _parse_zone(_context: click.Context, _parameter: click.Parameter, value: str) -> ZoneInfo:
    try:
        return ZoneInfo(value)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise click.BadParameter(f"there is no {value!r}. Use a name such as UTC or Europe/Paris.") from error


@click.command(
    epilog=EXIT_CODES, context_settings={"help_option_names": ["-h", "--help"], "auto_envvar_prefix": "RINGSERVER"}
)
@click.argument("files", nargs=-1, metavar="[FILES]...")
@click.option(
    "--send-to",
    metavar="URL",
    help="Send days that are new, or have grown, to this service.  [env: RINGSERVER_SEND_TO]",
)
@click.option(
    "--dburi",
    metavar="URI",
    help="Without --send-to: store in this database."
    "  [env: RINGSERVER_DBURI, DATABASE_URI; default: the embedded store]",
)
@click.option(
    "--node",
    default="local",
    show_default=True,
    metavar="NAME",
    help="Without --send-to: the node of these servers, which is created if it is missing.  [env: RINGSERVER_NODE]",
)
@token_options
@click.option(
    "-o",
    "--output-directory",
    "directory",
    default=".",
    type=click.Path(file_okay=False, path_type=Path),
    help="Where aggregate files go; created if it is missing."
    "  [env: RINGSERVER_DIRECTORY; default: the current directory]",
)
@click.option(
    "--server",
    callback=_parse_server,
    metavar="NAME",
    help="The server that wrote these logs."
    "  [env: RINGSERVER_SERVER; default: the prefix of the name of each file]",
)
@click.option("--rx", is_flag=True, help="Count what was received from data sources, too.  [env: RINGSERVER_RX]")
@click.option(
    "--timezone",
    "zone",
    envvar="RINGSERVER_TIMEZONE",
    default="UTC",
    show_default=True,
    callback=_parse_zone,
    metavar="ZONE",
    help="The time zone of the server, in which its windows begin.  [env: RINGSERVER_TIMEZONE]",
)
@click.option(
    "--window",
    "hours",
    envvar="RINGSERVER_WINDOW",
    default=24,
    show_default=True,
    type=click.IntRange(1, 24),
    metavar="HOURS",
    help="The length of windows that the names of files do not state.  [env: RINGSERVER_WINDOW]",
)
@click.option(
    "--geoip",
    type=FILE,
    help="A database in MaxMind's format, for the places of clients.  [env: RINGSERVER_GEOIP]",
)
@click.option(
    "--geohash-precision",
    "precision",
    envvar="RINGSERVER_GEOHASH_PRECISION",
    default=DEFAULT_PRECISION,
    show_default=True,
    type=click.IntRange(1, _MAX_PRECISION),
    metavar="N",
    help="The number of characters of geohashes.  [env: RINGSERVER_GEOHASH_PRECISION]",
)
@click.option(
    "--user-salt-file",
    "salt_file",
    envvar="RINGSERVER_USER_SALT_FILE",
    type=FILE,
    help="A file with the userSalt of SeisComP, with which clients of both services count once."
    "  [env: RINGSERVER_USER_SALT_FILE; default: a random key, which is created once]",
)
@click.option(
    "--networks",
    "networks_file",
    envvar="RINGSERVER_NETWORKS",
    type=FILE,
    help="Registry of networks, in the form of the FDSN networks/1 service."
    "  [env: RINGSERVER_NETWORKS; default: from FDSN, cached]",
)
@click.option("--since", type=DAY, metavar="DAY", help="The first UTC day to send, YYYY-MM-DD.")
@click.option("--until", type=DAY, metavar="DAY", help="The last UTC day to send.")
@click.option(
    "--replace",
    is_flag=True,
    help="Replace what was sent of days that the logs cover completely, or of --since to --until.",
)
@run_options
def cli(
    files: tuple[str, ...],
    send_to: str | None,
    dburi: str | None,
    node: str,
    token: str | None,
    token_file: Path | None,
    directory: Path,
    server: str | None,
    rx: bool,
    zone: ZoneInfo,
    hours: int,
    geoip: Path | None,
    precision: int,
    salt_file: Path | None,
    networks_file: Path | None,
    since: datetime.datetime | None,
    until: datetime.datetime | None,
    replace: bool,
    dry_run: bool,
    requeue: bool,
    retries: int,
    quiet: bool,
    as_json: bool,
) -> int:
    """Send or store streaming statistics, from the transfer logs of ringservers.

    FILES are logs, plain or compressed with bzip2, gzip, xz or zstd; patterns of their names; or directories, for
    all transfer logs in them. Without any, and for `-`, standard input is read.

    Each day is sent once it is over, and again when its logs have grown. No address leaves the node. Without
    --send-to, new records are stored in a database, at once.
    """
    if since is not None and until is not None and since > until:
        raise click.BadParameter("this day is after --until", param_hint="--since")
    destination = None
    if send_to is not None:
        if _is_on_command_line("dburi", "node"):
            raise click.UsageError("--dburi and --node are for storing, without --send-to.")
        destination = Destination(send_to, load_token(send_to, token, token_file), retries, requeue)
    elif dry_run or requeue:
        raise click.UsageError("--dry-run and --requeue need --send-to.")
    elif (since is not None or until is not None) and not replace:
        raise click.UsageError("Without --send-to, --since and --until are for --replace.")
    registry = NetworkRegistry(make_registry_loader(networks_file))
    with Places(geoip, precision) as places:

        def make_settings() -> Settings:
            return Settings(
                load_or_create_key(salt_file),
                places,
                Grid(zone, hours * HOUR),
                registry.extend,
                int(datetime.datetime.now(tz=datetime.UTC).timestamp()),
                list_directions(takes_rx=rx),
            )

        since_day, until_day = (None if one is None else one.date() for one in (since, until))
        if destination is None:
            # Before a key is created: a package may be missing.
            store = _import_store()
            stored = store.Options(
                files, make_settings(), node, dburi, server, rx, since=since_day, until=until_day, replaces=replace
            )
            summary, outcome = store.run(stored)
            code: int = store.get_exit_code(outcome)
        else:
            sent = send.Options(
                files=files,
                directory=directory,
                destination=destination,
                settings=make_settings(),
                now=get_now(),
                server=server,
                takes_rx=rx,
                since=since_day,
                until=until_day,
                replaces=replace,
                dry_run=dry_run,
            )
            summary, outcome = send.run(sent)
            code = outcome.exit_code()
    outcome.report(summary)
    if as_json:
        click.echo(summary.to_json())
    elif not quiet:
        summary.show()
    return code


def main() -> NoReturn:
    """Run the command."""
    set_program("ringserverstats")
    run_command(cli, interrupted="interrupted; the next run sends or stores what is missing")


def _is_on_command_line(*names: str) -> bool:
    """Return whether one of some options is on the command line. Those in the environment are for all runs."""
    context = click.get_current_context()
    return any(context.get_parameter_source(name) is ParameterSource.COMMANDLINE for name in names)


def _import_store() -> ModuleType:
    """Return the module that stores, whose packages only the extra `webservice` installs."""
    try:
        from eida_stats_aggregator.ringserver import store  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            f"without --send-to, there is no package {error.name}",
            hint="To store in a database, run in the source: pip install '.[webservice]'",
        ) from error
    return store
