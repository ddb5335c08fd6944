"""The command of a node's operator: options, progress, exit codes."""

import datetime
import io
import os
import re
import sys
from pathlib import Path
from urllib.parse import urlsplit

import click
from platformdirs import user_cache_path
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from eida_statistics import __version__, networks
from eida_statistics.errors import (
    EidaStatisticsError,
    NotDelivered,
    NothingToAggregate,
    PayloadRefused,
    UnwritableDirectory,
)
from eida_statistics.networks import Registry
from eida_stats_aggregator import inputs, logfiles, requestlog
from eida_stats_aggregator.aggregate import Aggregation
from eida_stats_aggregator.inputs import STDIN
from eida_stats_aggregator.outbox import Outbox
from eida_stats_aggregator.report import Report
from eida_stats_aggregator.requestlog import Ignored, Rejected

LINES_PER_UPDATE = 2000
RETRIES = 5

EXIT_CODES = """
\b
Exit codes:
  0  done
  1  nothing could be done: no file, no registry of networks, no request in the log, ...
  2  the command line is wrong
  3  done, but a file could not be delivered and waits for the next run
"""


@click.command(epilog=EXIT_CODES, context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("files", nargs=-1, metavar="[FILES]...")
@click.option(
    "-o",
    "--output-directory",
    "directory",
    is_flag=False,
    flag_value=".",
    default=".",
    type=click.Path(file_okay=False, path_type=Path),
    help="Where aggregate files go; made if it is missing.  [default: the current directory]",
)
@click.option("--send-to", metavar="URL", help="Send to this service: this run's file and what is queued.")
@click.option("--token", envvar="TOKEN", help="The node's token; better given in the environment as TOKEN.")
@click.option(
    "--token-file",
    envvar="TOKEN_FILE",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A file that holds the token.  [env: TOKEN_FILE]",
)
@click.option(
    "--networks",
    "networks_file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Registry of networks, as the FDSN networks/1 service gives it.  [default: asked from FDSN, cached]",
)
@click.option("--suffix", default="", help="Added to the file's name: the log of another server of the node.")
@click.option("--replace", is_flag=True, help="Replace an aggregate file of other content: a correction.")
@click.option(
    "--requeue", is_flag=True, help="Send what is queued for other URLs to --send-to: a service has moved."
)
@click.option(
    "--retries",
    type=click.IntRange(0, 100),
    default=RETRIES,
    show_default=True,
    help="How often delivery is tried again.",
)
@click.option("-q", "--quiet", is_flag=True, help="Print nothing but errors.")
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON.")
@click.version_option(__version__, message="%(version)s")
def cli(
    files: tuple[str, ...],
    directory: Path,
    send_to: str | None,
    token: str | None,
    token_file: Path | None,
    networks_file: Path | None,
    suffix: str,
    replace: bool,
    requeue: bool,
    retries: int,
    quiet: bool,
    as_json: bool,
) -> int:
    """Aggregate request logs of SeisComP's fdsnws, and send the aggregates.

    FILES are logs: plain, or compressed with bzip2, gzip, xz or zstd. Without any, and for `-`, standard input
    is read: a log, or names of log files, one a line.
    """
    if send_to is not None:
        token = _token(send_to, token, token_file)
    _check_usage(files, suffix, send_to, requeue=requeue)
    generated_at = _now()
    report = Report()
    failures: list[EidaStatisticsError] = []
    outbox = Outbox(directory)
    try:
        outbox.make()
        aggregation = _aggregate(files, _registry(networks_file), report, progress=not quiet)
        if aggregation is None and send_to is None:
            raise NothingToAggregate("no log was given, and no service to send to")
        if aggregation is not None:
            payload = aggregation.payload(generated_at)
            if payload.stats:
                with outbox.locked(warn=_complain):
                    path = outbox.put(payload, suffix=suffix, replace=replace, send_to=send_to)
                report.aggregated(payload, path, aggregation.unregistered)
    except EidaStatisticsError as error:
        failures.append(error)
    if send_to is not None and token is not None:
        try:
            with outbox.locked(warn=_complain):
                if requeue:
                    outbox.requeue(send_to)
                _deliver(outbox, send_to, token, retries, report, failures)
        except UnwritableDirectory as error:
            failures.append(error)
    for failure in failures:
        _complain(str(failure))
    report.errors = [str(failure) for failure in failures]
    if as_json:
        click.echo(report.to_json())
    elif not quiet:
        report.show(Console())
    return min((failure.exit_code for failure in failures), default=0)


def main() -> None:
    """Run the command; errors are shown here, once."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A file may have a name that is no text in this locale, and is to be told nevertheless.
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        sys.exit(cli.main(standalone_mode=False))
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except EidaStatisticsError as error:
        _complain(str(error))
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        _complain("interrupted; what was not delivered waits for the next run")
        sys.exit(1)
    except OSError as error:
        _complain(f"cannot write: {error.strerror}")
        sys.exit(1)


def _check_usage(files: tuple[str, ...], suffix: str, send_to: str | None, *, requeue: bool) -> None:
    if requeue and send_to is None:
        raise click.UsageError("--requeue needs --send-to.")
    if suffix and not re.fullmatch(r"[0-9A-Za-z.-]+", suffix):
        raise click.BadParameter("letters, digits, dots and hyphens only", param_hint="--suffix")
    if files.count(STDIN) > 1:
        raise click.UsageError("Standard input can be read once.")
    if not files and send_to is None and sys.stdin is not None and sys.stdin.isatty():
        raise click.UsageError("Name a log file, or pipe one in.")


def _aggregate(files: tuple[str, ...], registry: Registry, report: Report, *, progress: bool) -> Aggregation | None:
    """Read all logs into one aggregation; None if there was no log at all."""
    # Without standard input, as some schedulers start programs, or with a terminal, nothing is piped in.
    piped = sys.stdin is not None and (STDIN in files or not sys.stdin.isatty())
    logs = inputs.logs_of(files, sys.stdin.buffer if piped else None)
    if not logs:
        return None
    aggregation = Aggregation(registry)
    latest = datetime.datetime.now(tz=datetime.UTC).date() + datetime.timedelta(days=1)  # clocks disagree
    with _progress(shown=progress) as bar:
        task = bar.add_task("reading", total=sum(log.size for log in logs) or None)
        done = 0
        for log in logs:
            report.files.append(log.name)
            with log.open() as raw:
                for number, line in enumerate(logfiles.lines(raw, log.name), start=1):
                    _add(aggregation, requestlog.parse(line, latest=latest), number, report)
                    if number % LINES_PER_UPDATE == 0 and log.size:
                        bar.update(task, completed=done + raw.tell())
            done += log.size
    if not report.counted and not report.ignored:
        raise NothingToAggregate(f"no request in {', '.join(report.files)}")
    return aggregation


def _add(
    aggregation: Aggregation, outcome: requestlog.Request | Ignored | Rejected, number: int, report: Report
) -> None:
    match outcome:
        case Rejected(reason):
            report.reject(report.files[-1], number, reason)
        case Ignored():
            report.ignored += 1
        case request:
            report.counted += 1
            aggregation.add(request)


def _progress(*, shown: bool) -> Progress:
    console = Console(stderr=True)
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not (shown and console.is_terminal),
    )


def _registry(file: Path | None) -> Registry:
    if file is not None:
        return Registry(lambda: networks.read(file))
    cache = user_cache_path("eida-statistics") / "fdsn-networks.json"
    url = os.environ.get("FDSN_NETWORKS_URL", networks.REGISTRY_URL)
    return Registry(lambda: networks.read_cached(cache, url, warn=_complain))


def _token(send_to: str, token: str | None, file: Path | None) -> str:
    """Give the token; a URL to which it can or should not be sent is told before anything is read."""
    try:
        url = urlsplit(send_to)
        usable = url.scheme in ("http", "https") and url.hostname and (url.port or 1) and " " not in send_to
    except ValueError:
        usable = False
    if not usable:
        raise click.BadParameter("an http:// or https:// URL with a host is needed", param_hint="--send-to")
    if url.username is not None:
        raise click.BadParameter("a URL must not hold a user or password; it is kept", param_hint="--send-to")
    if token is None and file is not None:
        token = file.read_bytes().decode("ascii", "replace").strip()
    if not token:
        raise click.UsageError("--send-to needs a token: TOKEN in the environment, --token-file or --token.")
    if not token.isascii() or not token.isprintable() or " " in token:
        raise click.UsageError("The token has characters that no token has; is it the right file?")
    return token


def _deliver(
    outbox: Outbox, url: str, token: str, retries: int, report: Report, failures: list[EidaStatisticsError]
) -> None:
    """Send what is queued for a service; what cannot be sent stays queued."""
    # Slow to import, and not needed where nothing is sent.
    from eida_stats_aggregator import submit  # noqa: PLC0415

    ready, complaints = outbox.queued(url)
    failures += complaints
    for number, path in enumerate(ready):
        earlier = outbox.attempt(path, url)
        try:
            answer = submit.send(path, url, token, retries=retries)
        except NotDelivered as failure:
            failures.append(failure)
            if not failure.may_have_arrived and not earlier:
                outbox.not_arrived(path, url)
            if isinstance(failure, PayloadRefused):
                report.queued.append(str(path))
                continue
            report.queued += [str(other) for other in ready[number:]]
            break
        report.sent.append(f"{path} to {url}: {answer}")
        outbox.delivered(path, url, answer, _now())


def _now() -> datetime.datetime:
    # https://reproducible-builds.org/specs/source-date-epoch/
    fixed = os.environ.get("SOURCE_DATE_EPOCH")
    if fixed is None:
        return datetime.datetime.now(tz=datetime.UTC)
    try:
        return datetime.datetime.fromtimestamp(int(fixed), tz=datetime.UTC)
    except (ValueError, OverflowError, OSError) as error:
        raise click.UsageError("SOURCE_DATE_EPOCH is not a number of seconds.") from error


def _complain(text: str) -> None:
    click.echo(f"eida_stats_aggregator: {text}", err=True)
