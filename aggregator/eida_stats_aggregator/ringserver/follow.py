"""The command line of `ringserverstats_follow`."""

import datetime
import re
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

import click

from eida_statistics import __version__
from eida_statistics.connections import Record, encode_records
from eida_statistics.payload import SOURCE_RULE, is_source
from eida_statistics.ringserver.identity import ClientKey, get_key_path
from eida_stats_aggregator.command import (
    FILE,
    NO_URL,
    RETRIES,
    check_service_url,
    is_http_url,
    load_token,
    run_command,
    token_options,
)
from eida_stats_aggregator.console import complain, set_program
from eida_stats_aggregator.delivery.connections import ConnectionsClient
from eida_stats_aggregator.delivery.urls import find_base_url
from eida_stats_aggregator.notices import make_token_notices
from eida_stats_aggregator.ringserver.confirmations import Confirmations
from eida_stats_aggregator.ringserver.follow_loop import STATUS_SECONDS, StatusWatch, follow
from eida_stats_aggregator.ringserver.follow_state import StateFile
from eida_stats_aggregator.ringserver.follower import Complaints, Follower, Totals
from eida_stats_aggregator.ringserver.key import load_or_create_key
from eida_stats_aggregator.ringserver.token_node import NodeSender

_MAX_SECONDS = 10 * 366 * 86400
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(s|m|h|d)?")
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


class _Duration(click.ParamType[float]):
    """A duration such as 2s or 30d, in seconds."""

    name = "duration"

    def __init__(self, least: float, most: float) -> None:
        self._least = least
        self._most = most

    def convert(self, value: object, parameter: click.Parameter | None, context: click.Context | None) -> float:
        """Return the seconds of a text."""
        if isinstance(value, float):
            return value
        parsed = _DURATION.fullmatch(str(value))
        seconds = float(parsed[1]) * _UNITS[parsed[2] or "s"] if parsed else -1
        if not self._least <= seconds <= self._most:
            self.fail(
                f"must be a number with s, m, h or d, from {self._least:g} to {self._most:,.0f} seconds",
                parameter,
                context,
            )
        return seconds


def _parse_instance(_context: click.Context, _parameter: click.Parameter, value: str) -> str:
    if not value or not is_source(value):
        raise click.BadParameter(SOURCE_RULE)
    return value


def _parse_status(_context: click.Context, _parameter: click.Parameter, value: str | None) -> str | None:
    if value is not None and not is_http_url(value):
        raise click.BadParameter(NO_URL)
    return value


_EXIT_CODES = """
\b
Exit codes:
  0  done
  1  a log, a directory or the state file cannot be used, or there is no access log
  2  the command line is wrong, or the state file or the token belongs to something else
  3  the service did not take the records
  4  done, but parts of lines were rejected
"""


@click.command(epilog=_EXIT_CODES, context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("logdir", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option(
    "--instance",
    required=True,
    callback=_parse_instance,
    metavar="NAME",
    help="The ringserver that writes these logs: the source under which `ringserverstats` sends its payloads.",
)
@click.option("--send-to", metavar="URL", help="Send to this service. A dry run does not need it.")
@token_options
@click.option(
    "--status",
    "status_url",
    callback=_parse_status,
    metavar="URL",
    help="Where this ringserver answers HTTP, such as http://127.0.0.1:18000. Without it, see --close-after.",
)
@click.option(
    "--key-file",
    "--user-salt-file",
    "key_file",
    type=FILE,
    help="The user salt of `ringserverstats`.  [default: its random key, which is created once]",
)
@click.option(
    "--state",
    "state_file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="The file of the acknowledged progress.  [default: follow-NAME.json in the user's state directory]",
)
@click.option(
    "--every",
    type=_Duration(0.1, STATUS_SECONDS),
    default="2s",
    show_default=True,
    help="The pause between two passes, at most 30s.",
)
@click.option("--once", is_flag=True, help="Make one pass and exit.")
@click.option("--dry-run", is_flag=True, help="Print the records that one pass would send. Write and send nothing.")
@click.option(
    "--close-after",
    type=_Duration(1, _MAX_SECONDS),
    default="30d",
    show_default=True,
    help="When sessions end that neither the log nor the status confirms.",
)
@click.version_option(__version__, message="%(version)s")
def cli(
    logdir: Path,
    instance: str,
    send_to: str | None,
    token: str | None,
    token_file: Path | None,
    status_url: str | None,
    key_file: Path | None,
    state_file: Path | None,
    every: float,
    once: bool,
    dry_run: bool,
    close_after: float,
) -> int:
    """Send the connections of a ringserver to the central service while they begin and end.

    LOGDIR is the directory in which the ringserver writes its access logs. Hashes take the place of addresses, and
    neither host names nor user names nor user agents are sent.
    """
    _check_service(send_to, dry_run=dry_run)
    key = _load_key(key_file, dry_run=dry_run)
    client = None
    if send_to is not None and not dry_run:
        client = _make_client(send_to, token, token_file, is_patient=not once)
    service = None if send_to is None else find_base_url(send_to)
    file = StateFile(state_file or _get_state_path(instance), dry_run=dry_run)
    with file.lock():
        state = file.load(service, instance, key.compute_fingerprint())
        # Fail before anything is sent if it cannot be written.
        file.save(state)
        target = "" if client is None else f", sent to {client.url}"
        click.echo(f"follows {logdir} as instance {instance}{target}", err=dry_run)
        complaints = Complaints()
        confirmations = Confirmations(instance, int(close_after), state)
        send = _print_records if client is None else NodeSender(client, state).send
        follower = Follower(logdir, key, state, file, send, confirmations, complaints)
        watch = StatusWatch(status_url, key, confirmations, state, file, complaints)
        if once or dry_run:
            watch.check()
            follower.run_pass()
            _warn_about_token(client, complaints)
            return _finish(follower.totals, quiet=dry_run)
        # The state is whole at any time.
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
        follow(follower, watch, complaints, every, lambda: _warn_about_token(client, complaints))
    return 0


def main() -> NoReturn:
    """Run the command."""
    set_program("ringserverstats_follow")
    run_command(cli, interrupted="interrupted; the next run sends the records that are missing")


def _check_service(send_to: str | None, *, dry_run: bool) -> None:
    if send_to is not None:
        check_service_url(send_to)
    elif not dry_run:
        raise click.UsageError("Missing option '--send-to'. Only --dry-run does not need it.")


def _load_key(file: Path | None, *, dry_run: bool) -> ClientKey:
    if file is None and dry_run and not get_key_path().exists():
        complain("there is no key yet: these hashes are not those that will be sent")
    return load_or_create_key(file, dry_run=dry_run)


def _make_client(send_to: str, token: str | None, file: Path | None, *, is_patient: bool) -> ConnectionsClient:
    """Return a client; one that is patient leaves it to the next pass to try again."""
    return ConnectionsClient(send_to, load_token(send_to, token, file), retries=0 if is_patient else RETRIES)


def _get_state_path(instance: str) -> Path:
    from platformdirs import user_state_path  # noqa: PLC0415 - slow to import

    return user_state_path("eida-statistics") / f"follow-{instance}.json"


def _print_records(records: Sequence[Record]) -> int:
    click.echo(encode_records([*records]), nl=False)
    return 0


def _warn_about_token(client: ConnectionsClient | None, complaints: Complaints) -> None:
    valid_until = None if client is None else client.token_valid_until
    for notice in make_token_notices(valid_until, datetime.datetime.now(datetime.UTC)):
        complaints.set("token", notice.text)


def _finish(totals: Totals, *, quiet: bool) -> int:
    """Print what one pass has done, and return the exit code."""
    if not quiet:
        sent, created = _count(totals.records, "record"), _count(totals.created, "new event")
        click.echo(f"{sent} sent, {created}, {totals.rejected:,} rejected")
    if totals.failures:
        return 1
    return 4 if totals.rejected else 0


def _count(number: int, name: str) -> str:
    return f"{number:,} {name}{'' if number == 1 else 's'}"
