"""The parts that both commands share: options, exit codes, and how errors are shown."""

import codecs
import datetime
import gc
import io
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import urlsplit

import click

from eida_statistics import __version__
from eida_statistics.errors import EidaStatisticsError
from eida_stats_aggregator.console import complain

RETRIES = 5
DAY = click.DateTime(["%Y-%m-%d"])
INTERRUPTED = "interrupted; files that were not delivered wait for the next run"
NO_URL = "must be an http:// or https:// URL with a host"
FILE = click.Path(exists=True, dir_okay=False, path_type=Path)

EXIT_CODES = """
\b
Exit codes:
  0  done
  1  something could not be done: no file, no registry of networks, ...
  2  the command line is wrong
  3  done, but a file could not be delivered and waits
  4  done, but look at the warnings
"""


networks_option = click.option(
    "--networks",
    "networks_file",
    type=FILE,
    help="Registry of networks, in the form of the FDSN networks/1 service.  [default: from FDSN, cached]",
)
jobs_option = click.option(
    "-j",
    "--jobs",
    type=click.IntRange(1),
    metavar="N",
    help="Number of processes.  [default: one for each core]",
)


def token_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options for the token of the node."""
    return _add(
        command,
        click.option("--token", envvar="TOKEN", help="The node's token; the environment variable TOKEN is safer."),
        click.option(
            "--token-file", envvar="TOKEN_FILE", type=FILE, help="A file that holds the token.  [env: TOKEN_FILE]"
        ),
    )


def run_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that control the actions and the output of a run."""
    return _add(
        command,
        click.option("--dry-run", is_flag=True, help="Write and send nothing, but show what a run would do."),
        click.option(
            "--requeue", is_flag=True, help="Send the queues of other URLs to --send-to, if the service has moved."
        ),
        click.option(
            "--retries",
            type=click.IntRange(0, 100),
            default=RETRIES,
            show_default=True,
            help="Number of retries of a delivery.",
        ),
        click.option("-q", "--quiet", is_flag=True, help="Print nothing but errors and warnings."),
        click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON."),
        click.version_option(__version__, message="%(version)s"),
    )


def _add(command: Callable[..., Any], *options: Callable[..., Any]) -> Callable[..., Any]:
    # Click lists the options of a command in the reverse order of their decorators.
    for option in reversed(options):
        command = option(command)
    return command


def is_http_url(text: str) -> bool:
    """Return whether a text is a URL that can be requested."""
    try:
        url = urlsplit(text)
        return url.scheme in ("http", "https") and bool(url.hostname) and url.port != 0 and " " not in text
    except ValueError:
        return False


def check_service_url(url: str, option: str = "--send-to") -> None:
    """Check the URL of a service, which an option has."""
    if not is_http_url(url):
        raise click.BadParameter(NO_URL, param_hint=option)
    if urlsplit(url).username is not None:
        raise click.BadParameter("must not contain a user or password: it is stored", param_hint=option)


def load_token(url: str, token: str | None, file: Path | None, option: str = "--send-to") -> str:
    """Return the token, after a check of the token and of the URL, which an option has."""
    check_service_url(url, option)
    if token is None and file is not None:
        token = file.read_bytes().removeprefix(codecs.BOM_UTF8).decode("ascii", "replace").strip()
        if not token:
            raise click.UsageError(f"There is no token in {file}: it is empty.")
    if not token:
        raise click.UsageError(f"{option} needs a token: TOKEN in the environment, --token-file or --token.")
    if not token.isascii() or not token.isprintable() or " " in token:
        raise click.UsageError("The token has characters that no token can have. Is it the right file?")
    return token


def get_now() -> datetime.datetime:
    """Return the time that payloads are to have."""
    # https://reproducible-builds.org/specs/source-date-epoch/
    fixed = os.environ.get("SOURCE_DATE_EPOCH")
    if fixed is None:
        return datetime.datetime.now(tz=datetime.UTC)
    try:
        return datetime.datetime.fromtimestamp(int(fixed), tz=datetime.UTC)
    except (ValueError, OverflowError, OSError) as error:
        raise click.UsageError("SOURCE_DATE_EPOCH is not a number of seconds.") from error


def run_command(command: click.Command, *, interrupted: str = INTERRUPTED) -> NoReturn:
    """Run a command, and show errors once.

    Args:
        command: the command.
        interrupted: the message if the user interrupts it.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        # File names that this locale cannot encode must be shown, too.
        sys.stdout.reconfigure(errors="backslashreplace")
    code = 1
    try:
        code = command.main(standalone_mode=False)
        if sys.stdout is not None:  # as it is if the shell has closed it
            sys.stdout.flush()
    except click.ClickException as error:
        error.show()
        code = error.exit_code
    except EidaStatisticsError as error:
        complain(str(error))
        code = error.exit_code
    except (click.Abort, KeyboardInterrupt):
        complain(interrupted)
    except OSError as error:
        complain(f"cannot write: {error.strerror}")
        # Otherwise Python would write the rest at its end, and fail once more.
        if sys.stdout is not None:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    # Otherwise Python would search all that is in memory for cycles before it ends.
    gc.freeze()
    sys.exit(code)
