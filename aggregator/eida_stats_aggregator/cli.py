"""The command line of the aggregator: options, exit codes, wiring."""

import datetime
import re
import sys
from pathlib import Path
from typing import NoReturn

import click

from eida_statistics import user_agents
from eida_statistics.payload import MAX_EXCLUSION_CHARACTERS, MAX_EXCLUSIONS, SOURCE_RULE, is_source
from eida_statistics.user_agents import ClientClasses
from eida_stats_aggregator import run as single
from eida_stats_aggregator.command import (
    DAY,
    EXIT_CODES,
    FILE,
    get_now,
    jobs_option,
    load_token,
    networks_option,
    run_command,
    run_options,
    token_options,
)
from eida_stats_aggregator.delivery.state import Terms
from eida_stats_aggregator.fdsnws.filters import RequestFilter
from eida_stats_aggregator.logs.sources import STDIN
from eida_stats_aggregator.reader import Reader, make_registry_loader
from eida_stats_aggregator.run import Destination, Options
from eida_stats_aggregator.summary import CatchUpSummary, RunSummary


class _DayOrAll(click.ParamType[datetime.datetime | str]):
    """A UTC day, or the word all."""

    name = "day"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> datetime.datetime | str:
        """Return the day, or "all"."""
        if value == "all":
            return "all"
        day: datetime.datetime = DAY.convert(value, param, ctx)
        return day


def _compile_patterns(
    _context: click.Context, parameter: click.Parameter, texts: tuple[str, ...]
) -> list[re.Pattern[str]]:
    """Compile the patterns of excluded clients; the payload contains them."""
    if len(set(texts)) > MAX_EXCLUSIONS:
        raise click.BadParameter(f"more than {MAX_EXCLUSIONS} of them", param=parameter)
    for text in texts:
        if len(text) > MAX_EXCLUSION_CHARACTERS:
            raise click.BadParameter(f"longer than {MAX_EXCLUSION_CHARACTERS} characters", param=parameter)
        if "@" in text:
            raise click.BadParameter(
                "must not contain @: patterns are sent, addresses must not be", param=parameter
            )
    try:
        return [user_agents.compile_pattern(text) for text in texts]
    except ValueError as error:
        raise click.BadParameter(str(error), param=parameter) from error


def _parse_numbers(_context: click.Context, parameter: click.Parameter, texts: tuple[str, ...]) -> tuple[str, ...]:
    """Return numbers of payloads, which may be separated by commas."""
    numbers = [number for text in texts for number in text.split(",")]
    if not all(re.fullmatch(r"[0-9]{1,18}", number, re.ASCII) for number in numbers):
        raise click.BadParameter("must be numbers of payloads, separated by commas", param=parameter)
    return tuple(sorted(set(numbers), key=int))


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
    help="Where aggregate files go; created if it is missing.  [default: the current directory]",
)
@click.option("--send-to", metavar="URL", help="Send to this service: this run's file and the queue.")
@token_options
@networks_option
@click.option(
    "--source",
    "--suffix",
    "source",
    default="",
    metavar="NAME",
    help="The server whose logs these are, if the node has several.",
)
@click.option(
    "--catch-up",
    is_flag=True,
    help="Send each complete day that was not delivered, as a file of its own. Use this in cron.",
)
@click.option("--replace", is_flag=True, help="Send a correction: replace what this source sent for these days.")
@click.option(
    "--replaces",
    "replaces",
    multiple=True,
    metavar="NUMBER",
    callback=_parse_numbers,
    help="As --replace, and replace the payload with this number, too; can be repeated.",
)
@click.option("--beside", is_flag=True, help="Count this file even if it overlaps with other payloads.")
@click.option(
    "--no-requests",
    "no_requests",
    multiple=True,
    type=DAY,
    metavar="DAY",
    help="Report that this day had no requests, and therefore has no log; can be repeated.",
)
@click.option(
    "--since",
    type=_DayOrAll(),
    metavar="DAY",
    help="The first UTC day, YYYY-MM-DD. Chooses logs by the day in their names, or requests if names have none.",
)
@click.option("--until", type=DAY, metavar="DAY", help="The last UTC day.")
@click.option(
    "--exclude-class",
    "excluded_classes",
    multiple=True,
    metavar="CLASS",
    help="Leave out a class of clients that the summary lists; can be repeated.",
)
@click.option(
    "--exclude-client",
    "excluded_clients",
    multiple=True,
    metavar="REGEX",
    callback=_compile_patterns,
    help="Leave out clients whose clientID matches; can be repeated.",
)
@click.option(
    "--client-classes",
    "classes_file",
    type=FILE,
    help="A table of client classes that has priority over the built-in one.",
)
@jobs_option
@click.option("--dask", metavar="ADDRESS", help="Read on the Dask cluster of this scheduler, file by file.")
@run_options
def cli(
    files: tuple[str, ...],
    directory: Path,
    send_to: str | None,
    token: str | None,
    token_file: Path | None,
    networks_file: Path | None,
    source: str,
    catch_up: bool,
    replace: bool,
    replaces: tuple[str, ...],
    beside: bool,
    no_requests: tuple[datetime.datetime, ...],
    since: datetime.datetime | str | None,
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
    destination = None
    if send_to is not None:
        destination = Destination(send_to, load_token(send_to, token, token_file), retries, requeue)
    since_all = since == "all"
    request_filter = _make_request_filter(
        excluded_classes,
        excluded_clients,
        user_agents.load_classes(classes_file),
        # A sent day must be recognised after its log was packed.
        fingerprinted=destination is not None,
    )
    options = Options(
        files=files,
        directory=directory,
        reader=Reader(request_filter, make_registry_loader(networks_file), jobs, dask, shown=not quiet),
        now=get_now(),
        source=source,
        terms=Terms(replace=replace or bool(replaces), replaces=replaces, beside=beside),
        since=since.date() if isinstance(since, datetime.datetime) else None,
        until=until.date() if until is not None else None,
        no_requests=sorted({day.date() for day in no_requests}),
        destination=destination,
        dry_run=dry_run,
    )
    _check_usage(options, requeue=requeue)
    _check_days(options, since_all=since_all, catch_up=catch_up)
    summary: CatchUpSummary | RunSummary
    if catch_up:
        summary, outcome = _run_catch_up(options, since_all=since_all)
    else:
        summary, outcome = single.run(options)
    outcome.report(summary)
    if as_json:
        click.echo(summary.to_json())
    elif not quiet:
        summary.show()
    return outcome.exit_code()


def main() -> NoReturn:
    """Run the command."""
    run_command(cli)


def _check_usage(options: Options, *, requeue: bool) -> None:
    terms = options.terms
    if options.reader.jobs is not None and options.reader.dask is not None:
        raise click.UsageError("--jobs is for this machine; the workers of --dask are those of its cluster.")
    for given, name in ((requeue, "--requeue"), (terms.replaces, "--replaces"), (terms.beside, "--beside")):
        if given and options.destination is None:
            raise click.UsageError(f"{name} needs --send-to.")
    if not is_source(options.source):
        raise click.BadParameter(SOURCE_RULE, param_hint="--source")
    if options.files.count(STDIN) > 1:
        raise click.UsageError("Standard input can be named only once.")
    if not options.files and options.destination is None and sys.stdin is not None and sys.stdin.isatty():
        raise click.UsageError("Name a log file, or pipe one in.")


def _check_days(options: Options, *, since_all: bool, catch_up: bool) -> None:
    if since_all and not catch_up:
        raise click.UsageError("--since all is for --catch-up.")
    if options.since is not None and options.until is not None and options.since > options.until:
        raise click.BadParameter("this day is after --until", param_hint="--since")
    if any(day >= options.today for day in options.no_requests):
        raise click.BadParameter("this day is not over yet", param_hint="--no-requests")


def _run_catch_up(options: Options, *, since_all: bool) -> tuple[CatchUpSummary, single.Outcome]:
    if options.destination is None:
        raise click.UsageError("--catch-up needs --send-to: it sends the days that were not delivered there.")
    if STDIN in options.files or not (options.files or options.no_requests):
        raise click.UsageError("--catch-up needs the directory of the logs, or their names.")
    if options.terms.replaces and (options.since is None or options.since != options.until):
        raise click.UsageError("With --catch-up, --replaces is for one day: add --since DAY --until DAY.")
    # Slow to import, and not needed by other runs.
    from eida_stats_aggregator import catch_up  # noqa: PLC0415

    return catch_up.run(options, options.destination, since_all=since_all)


def _make_request_filter(
    excluded_classes: tuple[str, ...],
    excluded_clients: tuple[re.Pattern[str], ...],
    classes: ClientClasses,
    *,
    fingerprinted: bool,
) -> RequestFilter:
    if len(set(excluded_classes)) > MAX_EXCLUSIONS:
        raise click.BadParameter(f"more than {MAX_EXCLUSIONS} of them", param_hint="--exclude-class")
    unknown = sorted(set(excluded_classes) - set(classes.names))
    if unknown:
        raise click.BadParameter(
            f"there is no class {', '.join(unknown)}; there are {', '.join(classes.names)}",
            param_hint="--exclude-class",
        )
    latest = datetime.datetime.now(tz=datetime.UTC).date() + datetime.timedelta(days=1)  # clocks disagree
    return RequestFilter(
        classes,
        latest,
        excluded_classes=excluded_classes,
        excluded_clients=excluded_clients,
        fingerprinted=fingerprinted,
    )
