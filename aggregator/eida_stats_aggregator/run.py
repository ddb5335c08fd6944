"""A run that makes one aggregate file of all its logs, and sends the queue."""

import datetime
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import structs

from eida_statistics import __version__
from eida_statistics.errors import EidaStatisticsError
from eida_statistics.payload import EARLIEST_DAY, Payload, Period
from eida_stats_aggregator import notices
from eida_stats_aggregator.console import complain
from eida_stats_aggregator.delivery.aggregate import Aggregate, make_aggregate
from eida_stats_aggregator.delivery.outbox import Outbox, Provenance
from eida_stats_aggregator.delivery.state import Terms
from eida_stats_aggregator.delivery.urls import find_base_url
from eida_stats_aggregator.errors import NothingToAggregate, UnclearPeriod
from eida_stats_aggregator.logs.sources import Log, find_logs
from eida_stats_aggregator.notices import Notice
from eida_stats_aggregator.period import LogPeriod, find_period, parse_day
from eida_stats_aggregator.reader import Reader, get_standard_input
from eida_stats_aggregator.stamps import read_stamps
from eida_stats_aggregator.summary import Deliveries, RunSummary

if TYPE_CHECKING:
    from eida_stats_aggregator.delivery.client import ServiceClient
    from eida_stats_aggregator.delivery.sender import Sender
    from eida_stats_aggregator.fdsnws.tally import Tally


@dataclass(frozen=True)
class Destination:
    """The service to which a run sends, and how."""

    url: str
    token: str
    retries: int
    requeue: bool = False

    @property
    def base(self) -> str:
        """The URL by which the service is remembered."""
        return find_base_url(self.url)

    def make_client(self, kind: str = "dataselect") -> "ServiceClient":
        """Return the HTTP client of the service, for payloads of a kind."""
        from eida_stats_aggregator.delivery.client import ServiceClient  # noqa: PLC0415 - slow to import

        return ServiceClient(self.url, self.token, retries=self.retries, kind=kind)


@dataclass(frozen=True)
class Options:
    """The options of the command line."""

    files: Sequence[str]
    directory: Path
    reader: Reader
    now: datetime.datetime
    terms: Terms
    source: str = ""
    since: datetime.date | None = None
    until: datetime.date | None = None
    no_requests: Sequence[datetime.date] = ()
    destination: Destination | None = None
    dry_run: bool = False

    @property
    def today(self) -> datetime.date:
        """The present UTC day, whatever time the payloads are to have."""
        return datetime.datetime.now(tz=datetime.UTC).date()

    def open_outbox(self) -> Outbox:
        """Return the output directory."""
        return Outbox(self.directory, dry_run=self.dry_run)


@dataclass
class Outcome:
    """The warnings and failures of a run, which go to standard error at its end."""

    notices: list[Notice]
    failures: list[EidaStatisticsError]

    def exit_code(self) -> int:
        """Return 1 if something could not be done, 3 if something waits, 4 if there are warnings, else 0."""
        codes = {failure.exit_code for failure in self.failures} | ({4} if self.notices else set())
        return min(codes - {0}, default=0)

    def report(self, summary: Deliveries) -> None:
        """Print warnings and failures, and add them to a summary."""
        summary.warnings = [notice.text for notice in self.notices]
        summary.errors = [str(failure) for failure in self.failures]
        for warning in summary.warnings:
            complain(f"warning: {warning}")
        for error in summary.errors:
            complain(error)


def run(options: Options) -> tuple[RunSummary, Outcome]:
    """Aggregate logs into one file, send the queue, and return the summary and the outcome."""
    summary, outcome = RunSummary(dry_run=options.dry_run), Outcome([], [])
    outbox = options.open_outbox()
    with collect_errors(outcome.failures):
        outbox.check_writable()
        new: list[_NewFile] = []
        with collect_errors(outcome.failures):
            new = _aggregate(options, summary, outcome)
        if new or options.destination is not None:
            # Until all is sent: otherwise another run could deliver the new file, and this one could not report it.
            with outbox.lock(warn=complain):
                for one in new:
                    with collect_errors(outcome.failures):
                        _put(outbox, options, one, summary)
                deliver(outbox, options, summary, outcome)
    return summary, outcome


@contextmanager
def collect_errors(failures: list[EidaStatisticsError]) -> Iterator[None]:
    """Collect an error that is raised within, and go on."""
    try:
        yield
    except EidaStatisticsError as error:
        failures.append(error)


@dataclass(frozen=True)
class _NewFile:
    aggregate: Aggregate
    provenance: Provenance | None


def _aggregate(options: Options, summary: RunSummary, outcome: Outcome) -> list[_NewFile]:
    """Read the logs, and return a file for all of them, and one for each day without requests."""
    quiet = [_NewFile(make_aggregate(make_quiet_payload(day, options)), None) for day in options.no_requests]
    logs = find_logs(options.files, get_standard_input(options.files), _is_request_log, summary.passed_over.append)
    if not logs:
        if not quiet:
            _check_queue_is_meant(options)
        return quiet
    named = {parse_day(log.name) for log in logs}
    for day in options.no_requests:
        if day in named:
            raise NothingToAggregate(f"there is a log of {day}, so --no-requests must not report it")
    logs, reader = _choose_logs(logs, options)
    stamps = read_stamps(Path(log.name) for log in logs if log.on_disk)
    tally, distinct, summary.repeated_files = reader.read(logs)
    summary.files = [log.name for log in distinct]
    summary.add_tally(tally)
    if tally.lines == tally.rejected:
        raise NothingToAggregate(f"no request in {', '.join(summary.files)}")
    if tally.rejected and not tally.requests:
        names = ", ".join(summary.files)
        raise NothingToAggregate(f"no request of this service in {names}, and {tally.rejected:,} rejected lines")
    found = find_period(summary.files, tally.requests_by_day, _find_stated_period(options))
    outcome.notices += notices.make_log_notices(summary.files, tally, found, options.today)
    if found is None:
        return quiet
    _check_period(found, options.terms)
    summary.add_aggregates(tally, found, options.source)
    aggregate = make_log_aggregate(tally, found, options)
    return [_NewFile(aggregate, Provenance(stamps, f"{tally.fingerprint:x}")), *quiet]


def _is_request_log(log: Log) -> bool:
    from eida_stats_aggregator.fdsnws.request_log import is_request_log  # noqa: PLC0415 - slow to import

    return is_request_log(log)


def _choose_logs(logs: list[Log], options: Options) -> tuple[list[Log], Reader]:
    """Choose by day: whole logs if all names have one, otherwise requests."""
    since, until = options.since or EARLIEST_DAY, options.until or options.reader.request_filter.latest
    days = [parse_day(log.name) for log in logs]
    if None in days:
        request_filter = replace(options.reader.request_filter, since=since, until=until)
        return logs, replace(options.reader, request_filter=request_filter)
    chosen = [log for log, day in zip(logs, days, strict=True) if day is not None and since <= day <= until]
    if not chosen:
        raise NothingToAggregate(f"none of the logs is of a day from {since} to {until}, by its name")
    return chosen, options.reader


def _find_stated_period(options: Options) -> Period | None:
    """Return the days that --since and --until say are to be replaced, as far as they have begun."""
    if not options.terms.replace or options.since is None or options.until is None:
        return None
    return Period(options.since, max(options.since, min(options.until, options.today)))


def _check_queue_is_meant(options: Options) -> None:
    """Check that there is something to do without a log."""
    if options.destination is None:
        raise NothingToAggregate("no log was named. Name a log file, or send the queue with --send-to")
    if options.terms.explicit:
        raise NothingToAggregate("no log was named; --replace, --replaces and --beside need one")


def _check_period(found: LogPeriod, terms: Terms) -> None:
    if terms.replace and found.origin == "requests" and found.period.start != found.period.end:
        raise UnclearPeriod(
            f"the requests are of {found.period}",
            hint="Say which days are complete and are to be replaced: --since DAY --until DAY",
        )


def make_log_aggregate(tally: "Tally", found: LogPeriod, options: Options) -> Aggregate:
    """Return the statistics of logs that were read.

    Raises:
        WorkerLost: if a process that packs them is killed.
    """
    from eida_stats_aggregator.parallel import packing  # noqa: PLC0415 - slow to import

    aggregation = tally.aggregation
    envelope = aggregation.make_envelope(options.now, tally.request_filter.exclusions)
    envelope = structs.replace(envelope, source=options.source, period=found.period)
    return make_aggregate(envelope, packing.pack(aggregation.sort_rows(), jobs=options.reader.max_processes))


def make_quiet_payload(day: datetime.date, options: Options) -> Payload:
    """Return the payload of a day without requests."""
    return Payload(
        generated_at=f"{options.now:%Y-%m-%d %H:%M:%S}",
        version=__version__,
        days_coverage=[],
        aggregation_score=0,
        stats=[],
        source=options.source,
        period=Period(day, day),
    )


def _put(outbox: Outbox, options: Options, new: _NewFile, summary: RunSummary) -> None:
    base = options.destination.base if options.destination is not None else None
    path = outbox.put(new.aggregate, base, options.terms, new.provenance)
    summary.output = str(path)
    record = outbox.get_record(path, base or "")
    if record is not None and record.state == "delivered":
        summary.sent_before = f"{path} to {base} at {record.at}: {record.answer}"


def deliver(outbox: Outbox, options: Options, summary: Deliveries, outcome: Outcome) -> None:
    """Send the queue of the service, or in a dry run list it."""
    destination = options.destination
    if destination is None:
        return
    outbox.redirect(destination.base, mistyped_only=not destination.requeue)
    waiting, complaints = outbox.list_waiting(destination.base)
    outcome.failures += complaints
    summary.held += map(str, outbox.list_held(destination.base))
    if options.dry_run:
        summary.sent = [f"{path} to {destination.url}" for path in waiting]
        return
    if not waiting:
        return
    from eida_stats_aggregator.delivery.sender import Sender  # noqa: PLC0415 - slow to import

    sender = Sender(outbox, destination.make_client())
    with collect_errors(outcome.failures):
        sender.send(waiting, options.now)
    outcome.notices += add_deliveries(sender, summary, outcome)


def add_deliveries(sender: "Sender", summary: Deliveries, outcome: Outcome) -> list[Notice]:
    """Add the results of a sender to a summary and an outcome, and return its warnings."""
    outcome.failures += sender.failures
    summary.sent += sender.sent
    summary.queued += sender.queued
    summary.held += sender.held
    now = datetime.datetime.now(tz=datetime.UTC)
    return [
        *(Notice(f"overlap:{line}", line) for line in sender.overlaps),
        *notices.make_token_notices(sender.client.token_valid_until, now),
    ]
