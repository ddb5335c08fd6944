"""The command of a node's operator: options, exit codes, wiring."""

import codecs
import datetime
import io
import os
import re
import sys
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import IO, NamedTuple, NoReturn
from urllib.parse import urlsplit

import click

from eida_statistics import __version__, networks
from eida_statistics.errors import (
    EidaStatisticsError,
    NotDelivered,
    NothingToAggregate,
    PayloadRefused,
)
from eida_statistics.networks import Epoch
from eida_statistics.payload import MAX_EXCLUSION_CHARACTERS, MAX_EXCLUSIONS
from eida_stats_aggregator import clients, inputs, progress, reading, repeats
from eida_stats_aggregator.clients import ClientClasses
from eida_stats_aggregator.inputs import STDIN, Log
from eida_stats_aggregator.outbox import Outbox, Rehearsal
from eida_stats_aggregator.report import Report
from eida_stats_aggregator.selection import Selection
from eida_stats_aggregator.tally import Tally

RETRIES = 5
# About half a second of reading.
_BYTES_WORTH_A_PROCESS = 1 << 20
_DAY = click.DateTime(["%Y-%m-%d"])

EXIT_CODES = """
\b
Exit codes:
  0  done
  1  nothing could be done: no file, no registry of networks, no request in the log, ...
  2  the command line is wrong
  3  done, but a file could not be delivered and waits for the next run
"""


def _patterns(_context: click.Context, parameter: click.Parameter, texts: tuple[str, ...]) -> list[re.Pattern[str]]:
    """Compile what is to be left out; the payload will say it."""
    if len(set(texts)) > MAX_EXCLUSIONS:
        raise click.BadParameter(f"more than {MAX_EXCLUSIONS} of them", param=parameter)
    for text in texts:
        if len(text) > MAX_EXCLUSION_CHARACTERS:
            raise click.BadParameter(f"longer than {MAX_EXCLUSION_CHARACTERS} characters", param=parameter)
        if "@" in text:
            raise click.BadParameter(
                "an address is about a person; what is left out is told to the centre", param=parameter
            )
    try:
        return [clients.compile_pattern(text) for text in texts]
    except ValueError as error:
        raise click.BadParameter(str(error), param=parameter) from error


def _numbers(_context: click.Context, parameter: click.Parameter, texts: tuple[str, ...]) -> list[int]:
    """Read numbers of payloads, also such with commas between them."""
    numbers = [number for text in texts for number in text.split(",")]
    if not all(re.fullmatch(r"[0-9]{1,18}", number, re.ASCII) for number in numbers):
        raise click.BadParameter("numbers of payloads, with commas", param=parameter)
    return [int(number) for number in numbers]


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
@click.option("--replace", is_flag=True, help="These days anew: replace the file, and what was sent of it.")
@click.option(
    "--replaces",
    "replaces",
    multiple=True,
    metavar="NUMBER",
    callback=_numbers,
    help="--replace, and also what was sent as the payload of this number; can be repeated.",
)
@click.option("--since", type=_DAY, metavar="DAY", help="Count no requests before this UTC day, YYYY-MM-DD.")
@click.option("--until", type=_DAY, metavar="DAY", help="Count no requests after this UTC day.")
@click.option(
    "--exclude-class",
    "excluded_classes",
    multiple=True,
    metavar="CLASS",
    help="Leave out a class of clients, as the summary names them; can be repeated.",
)
@click.option(
    "--exclude-client",
    "excluded_clients",
    multiple=True,
    metavar="REGEX",
    callback=_patterns,
    help="Leave out clients in whose clientID this is found; can be repeated.",
)
@click.option(
    "--client-classes",
    "classes_file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A table of classes of clients that comes before the built-in one.",
)
@click.option(
    "-j",
    "--jobs",
    type=click.IntRange(1),
    metavar="N",
    help="How many processes read.  [default: one for each core]",
)
@click.option("--dask", metavar="ADDRESS", help="Read on the Dask cluster of this scheduler, file by file.")
@click.option("--dry-run", is_flag=True, help="Write and send nothing; tell what would be.")
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
    replaces: list[int],
    since: datetime.datetime | None,
    until: datetime.datetime | None,
    excluded_classes: tuple[str, ...],
    excluded_clients: tuple[re.Pattern[str], ...],
    classes_file: Path | None,
    jobs: int | None,
    dask: str | None,
    dry_run: bool,
    requeue: bool,
    retries: int,
    quiet: bool,
    as_json: bool,
) -> int:
    """Aggregate request logs of SeisComP's fdsnws, and send the aggregates.

    FILES are logs, plain or compressed with bzip2, gzip, xz or zstd; patterns of their names; or directories, for
    all request logs in them. Without any, and for `-`, standard input is read: a log, or names, one a line.
    """
    if send_to is not None:
        token = _token(send_to, token, token_file)
    _check_usage(files, suffix, send_to, jobs, dask, requeue=requeue, replaces=replaces)
    generated_at = _now()
    selection = _selection(since, until, excluded_classes, excluded_clients, clients.load(classes_file))
    report = Report(dry_run=dry_run)
    failures: list[EidaStatisticsError] = []
    outbox = Rehearsal(directory) if dry_run else Outbox(directory)
    with _noted(failures):
        outbox.make()
        made = None
        with _noted(failures):
            how = _Reading(selection, _registry(networks_file), jobs, dask)
            tally = _read(files, how, report, shown=not quiet)
            if tally is None:
                _check_queue_is_meant(send_to, replaces)
            else:
                payload = tally.aggregation.payload(generated_at, selection.exclusions)
                if payload.stats:
                    made = payload, tally.aggregation
        if made or send_to is not None:
            # Until all is sent: else another run could deliver what this one writes, and this one not tell of it.
            with outbox.locked(warn=_complain):
                if made:
                    payload, aggregation = made
                    correction = replace or bool(replaces)
                    with _noted(failures):
                        path = outbox.put(
                            payload, suffix=suffix, replace=correction, send_to=send_to, replaces=replaces
                        )
                        report.aggregated(payload, path, aggregation, outbox.receipt(path, send_to))
                if send_to is not None:
                    _send(outbox, send_to, token, retries, report, failures, requeue=requeue)
    for failure in failures:
        _complain(str(failure))
    report.errors = [str(failure) for failure in failures]
    if as_json:
        click.echo(report.to_json())
    elif not quiet:
        report.show()
    return min((failure.exit_code for failure in failures), default=0)


def main() -> NoReturn:
    """Run the command; errors are shown here, once."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A file may have a name that is no text in this locale, and is to be told nevertheless.
        sys.stdout.reconfigure(errors="backslashreplace")
    code = 1
    try:
        code = cli.main(standalone_mode=False)
        _flush(sys.stdout)
    except click.ClickException as error:
        error.show()
        code = error.exit_code
    except EidaStatisticsError as error:
        _complain(str(error))
        code = error.exit_code
    except (click.Abort, KeyboardInterrupt):
        _complain("interrupted; what was not delivered waits for the next run")
    except OSError as error:
        _complain(f"cannot write: {error.strerror}")
    _flush(sys.stderr)
    # To free a hundred thousand objects one by one takes as long as to start.
    os._exit(code)


def _flush(stream: IO[str] | None) -> None:
    if stream is not None:  # as it is where the shell has closed it
        stream.flush()


def _check_usage(
    files: tuple[str, ...],
    suffix: str,
    send_to: str | None,
    jobs: int | None,
    dask: str | None,
    *,
    requeue: bool,
    replaces: Sequence[int],
) -> None:
    if jobs is not None and dask is not None:
        raise click.UsageError("--jobs is for this machine; the workers of --dask are those of its cluster.")
    if requeue and send_to is None:
        raise click.UsageError("--requeue needs --send-to.")
    if replaces and send_to is None:
        raise click.UsageError("--replaces needs --send-to.")
    if suffix and not re.fullmatch(r"[0-9A-Za-z.-]+", suffix):
        raise click.BadParameter("letters, digits, dots and hyphens only", param_hint="--suffix")
    if files.count(STDIN) > 1:
        raise click.UsageError("Standard input can be read once.")
    if not files and send_to is None and sys.stdin is not None and sys.stdin.isatty():
        raise click.UsageError("Name a log file, or pipe one in.")


def _check_queue_is_meant(send_to: str | None, replaces: Sequence[int]) -> None:
    """See that without a log there is something to do."""
    if send_to is None:
        raise NothingToAggregate("no log was given, and no service to send to")
    if replaces:
        raise NothingToAggregate("no log was given, and it is the file of a log that --replaces is about")


def _selection(
    since: datetime.datetime | None,
    until: datetime.datetime | None,
    excluded_classes: tuple[str, ...],
    excluded_clients: tuple[re.Pattern[str], ...],
    classes: ClientClasses,
) -> Selection:
    if len(set(excluded_classes)) > MAX_EXCLUSIONS:
        raise click.BadParameter(f"more than {MAX_EXCLUSIONS} of them", param_hint="--exclude-class")
    unknown = sorted(set(excluded_classes) - set(classes.names))
    if unknown:
        raise click.BadParameter(
            f"there is no class {', '.join(unknown)}; there are {', '.join(classes.names)}",
            param_hint="--exclude-class",
        )
    first = since.date() if since is not None else datetime.date.min
    last = until.date() if until is not None else datetime.date.max
    if first > last:
        raise click.BadParameter("this day is after --until", param_hint="--since")
    latest = datetime.datetime.now(tz=datetime.UTC).date() + datetime.timedelta(days=1)  # clocks disagree
    return Selection(classes, latest, first, last, excluded_classes, excluded_clients)


class _Reading(NamedTuple):
    """How logs are to be read."""

    selection: Selection
    registry: Callable[[], list[Epoch]]
    jobs: int | None
    dask: str | None


def _read(files: tuple[str, ...], how: _Reading, report: Report, *, shown: bool) -> Tally | None:
    """Read all logs; None if there was no log at all."""
    # Without standard input, as some schedulers start programs, or with a terminal, nothing is piped in.
    piped = sys.stdin is not None and (STDIN in files or not sys.stdin.isatty())
    stdin = sys.stdin.buffer if piped else None
    found = inputs.logs_of(files, stdin, pass_over=report.passed_over.append)
    with progress.bar("comparing", 2 * sum(log.size for log in found), shown=shown) as advance:
        logs, report.repeated_files = repeats.without(found, progress=advance)
    if not logs:
        return None
    if how.dask is not None and not all(log.on_disk for log in logs):
        raise click.UsageError("--dask reads files; not a pipe, nor a log on standard input.")
    report.files = [log.name for log in logs]
    with progress.bar("reading", sum(log.size for log in logs), shown=shown) as advance:
        if how.dask is None:
            jobs = how.jobs or _jobs_for(logs)
            tally = reading.read(logs, how.selection, how.registry, jobs=jobs, progress=advance)
        else:
            tally = _cluster().read(logs, how.selection, how.registry, address=how.dask, progress=advance)
    report.read(tally)
    if tally.lines == tally.rejected:
        raise NothingToAggregate(f"no request in {', '.join(report.files)}")
    return tally


def _cluster() -> ModuleType:
    try:
        # It is heavy, and an extra.
        from eida_stats_aggregator import cluster  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise click.UsageError("--dask needs more: pip install 'eida-statistics[dask]'") from error
    return cluster


def _jobs_for(logs: Sequence[Log]) -> int:
    """As many processes as there are cores to use, and not more than have something to do."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(cores, 1 + sum(log.size for log in logs) // _BYTES_WORTH_A_PROCESS)


def _registry(file: Path | None) -> Callable[[], list[Epoch]]:
    if file is not None:
        return lambda: networks.read(file)
    from platformdirs import user_cache_path  # noqa: PLC0415 - slow to import

    cache = user_cache_path("eida-statistics") / "fdsn-networks.json"
    url = os.environ.get("FDSN_NETWORKS_URL", networks.REGISTRY_URL)
    return lambda: networks.read_cached(cache, url, warn=_complain)


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
        token = file.read_bytes().removeprefix(codecs.BOM_UTF8).decode("ascii", "replace").strip()
    if not token:
        raise click.UsageError("--send-to needs a token: TOKEN in the environment, --token-file or --token.")
    if not token.isascii() or not token.isprintable() or " " in token:
        raise click.UsageError("The token has characters that no token has; is it the right file?")
    return token


@contextmanager
def _noted(failures: list[EidaStatisticsError]) -> Iterator[None]:
    """Add what fails within to what the run tells at its end, and go on behind it."""
    try:
        yield
    except EidaStatisticsError as error:
        failures.append(error)


def _send(
    outbox: Outbox,
    url: str,
    token: str | None,
    retries: int,
    report: Report,
    failures: list[EidaStatisticsError],
    *,
    requeue: bool,
) -> None:
    """Send what is queued for a service, or tell what would be sent."""
    if isinstance(outbox, Rehearsal):
        waiting, complaints = outbox.to_be_sent(url, requeue=requeue)
        failures += complaints
        report.sent = [f"{path} to {url}" for path in waiting]
    elif token is not None:
        if requeue:
            outbox.requeue(url)
        _deliver(outbox, url, token, retries, report, failures)


def _deliver(
    outbox: Outbox, url: str, token: str, retries: int, report: Report, failures: list[EidaStatisticsError]
) -> None:
    """Send what is queued for a service; what cannot be sent stays queued."""
    # Slow to import, and not needed where nothing is sent.
    from eida_stats_aggregator import submit  # noqa: PLC0415

    ready, complaints = outbox.queued(url)
    failures += complaints
    waiting = deque(ready)
    while waiting:
        path = waiting[0]
        attempt = outbox.attempt(path, url)
        try:
            answer = submit.send(
                path,
                url,
                token,
                retries=retries,
                correction=attempt.correction,
                replaces=attempt.replaces,
                alone=attempt.alone,
            )
        except NotDelivered as failure:
            if not failure.may_have_arrived and not attempt.may_have_arrived:
                outbox.not_arrived(path, url)
            if isinstance(failure, PayloadRefused) and outbox.forget(path, url, failure.unknown):
                _complain(f"{url} does not know what was sent of {path.name} before; it is sent as if nothing was")
                continue
            failures.append(failure)
            if not isinstance(failure, PayloadRefused):
                break
            report.queued.append(str(path))
        else:
            report.sent.append(f"{path} to {url}: {answer}")
            outbox.delivered(path, url, answer, _now())
        waiting.popleft()
    report.queued += map(str, waiting)


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
