"""Catch up: make an aggregate file of each complete day that was not delivered, oldest first."""

import datetime
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path

from msgspec import structs

from eida_statistics.errors import UnreadableLog
from eida_statistics.payload import EARLIEST_DAY, Period
from eida_stats_aggregator import notices
from eida_stats_aggregator.days import DatedLogs, DayRead, find_dated_logs, has_other_logs, read_day
from eida_stats_aggregator.delivery.aggregate import make_aggregate
from eida_stats_aggregator.delivery.outbox import Entry, Outbox, Provenance
from eida_stats_aggregator.delivery.sender import Sender
from eida_stats_aggregator.delivery.state import Identity, Step, choose_step
from eida_stats_aggregator.errors import (
    AggregateExists,
    AlreadyDelivered,
    DirectoryInUse,
    NothingToAggregate,
    NotReady,
    StartUnknown,
)
from eida_stats_aggregator.memory import Finding, Memory, Stamps, load_memories, save_memories
from eida_stats_aggregator.notices import Notice
from eida_stats_aggregator.period import LogPeriod
from eida_stats_aggregator.read_ahead import ReadAhead, Task, read_ahead
from eida_stats_aggregator.run import (
    Destination,
    Options,
    Outcome,
    add_deliveries,
    collect_errors,
    make_log_aggregate,
    make_quiet_payload,
)
from eida_stats_aggregator.stamps import read_stamps
from eida_stats_aggregator.summary import CatchUpSummary, DaySummary

_PATIENCE = datetime.timedelta(hours=24)


def run(options: Options, destination: Destination, *, since_all: bool) -> tuple[CatchUpSummary, Outcome]:
    """Send each day that is over and not delivered, oldest first, and return the summary and the outcome."""
    outcome = Outcome([], [])
    summary = CatchUpSummary(source=options.source, dry_run=options.dry_run)
    outbox = options.open_outbox()
    with collect_errors(outcome.failures):
        outbox.check_writable()
        try:
            with outbox.lock(task=f"catch-up.{options.source}".rstrip(".")):
                catching_up = _CatchUp(options, destination, outbox, summary, outcome)
                catching_up.run(since_all=since_all)
        except DirectoryInUse:
            summary.in_use = True
    return summary, outcome


@dataclass
class _CatchUp:
    """One run. The memory is kept even if it fails."""

    options: Options
    destination: Destination
    outbox: Outbox
    summary: CatchUpSummary
    outcome: Outcome
    notices: list[Notice] = field(default_factory=list)
    gaps: list[datetime.date] = field(default_factory=list)
    late: dict[str, list[datetime.date]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.client = self.destination.make_client()
        self.sender = Sender(self.outbox, self.client)
        self.key = f"{self.destination.base} {self.options.source}".strip()
        self.memories = load_memories(self.outbox)
        self.memory = self.memories.get(self.key, Memory())

    def run(self, *, since_all: bool) -> None:
        """Send the queue, then the days that are missing, then the days without requests."""
        logs = find_dated_logs(self.options.files)
        if not logs.by_day and not self.options.no_requests:
            raise NothingToAggregate(
                f"no log in {', '.join(self.options.files)} has a day in its name",
                hint="--catch-up looks for names with .log.YYYY-MM-DD, as SeisComP writes them.",
            )
        start = self._find_start(since_all=since_all) if logs.by_day else None
        try:
            base = self.destination.base
            self.outbox.redirect(base, mistyped_only=not self.destination.requeue)
            self._send(self.outbox.list_waiting(base)[0])
            if start is not None:
                self._take_days(logs, start)
            for day in self.options.no_requests:
                with collect_errors(self.outcome.failures):
                    self._report_quiet(day, logs)
            self.notices += notices.make_undated_notices(
                logs.undated, chain.from_iterable(logs.by_day.values()), self.options.files
            )
            self.notices += notices.make_gap_notices(self.memory.remember_gaps(self.gaps))
            self.notices += notices.make_late_notices(self.late)
        finally:
            self._finish()

    def _find_start(self, *, since_all: bool) -> datetime.date:
        """Return the first day that counts; ask the service if neither the options nor the memory say it."""
        options, memory = self.options, self.memory
        if since_all:
            memory.since = datetime.date.min
        elif options.since is not None:
            # It never moves forward: days before it may still be missing.
            memory.since = min(memory.since or options.since, options.since)
            return options.since
        elif memory.since is None:
            if self._has_foreign_payloads():
                raise StartUnknown(
                    f"{self.destination.base} has statistics, and {self.outbox.directory} has no record of them",
                    hint="Days that were sent from elsewhere must not be sent again. Begin with the first day that"
                    " is missing there: --since DAY. If none was sent from elsewhere: --since all.",
                )
            memory.since = datetime.date.min
        return memory.since

    def _has_foreign_payloads(self) -> bool:
        """Return whether the service has payloads of the source that were not sent from here."""
        base = self.destination.base
        records = [record for entry in self._own_entries() if (record := entry.state.records.get(base)) is not None]
        payloads = self.client.list_payloads(self.options.source)
        if payloads is not None:
            return not payloads <= {record.payload for record in records}
        if not records:
            raise StartUnknown(
                f"there is no {base}/payloads",
                hint="Check the URL. If it is right, the service is an older one, which cannot say what it has."
                " Begin with the first day that is missing there: --since DAY. If it has nothing: --since all.",
            )
        return False

    def _send(self, paths: list[Path]) -> None:
        if self.options.dry_run:
            self.summary.sent += [f"{path} to {self.destination.url}" for path in paths]
        else:
            self.sender.send(paths, self.options.now)

    def _take_days(self, logs: DatedLogs, start: datetime.date) -> None:
        start = max(start, EARLIEST_DAY)
        end = min(self.options.until or datetime.date.max, self.options.today - datetime.timedelta(days=1))
        entries = self._own_entries()
        periods = [entry.identity.period for entry in entries]
        single = {period.start: entry for entry, period in zip(entries, periods, strict=True) if period.is_day}
        covered = {day: entry for entry in entries if self._covers(entry) for day in entry.identity.period.days()}
        chosen = sorted(day for day in logs.by_day if start <= day <= end)
        findings = self.memory.findings
        self.memory.findings = {day: finding for day, finding in findings.items() if day in logs.by_day}
        not_ready = self.memory.not_ready
        self.memory.not_ready = {day: since for day, since in not_ready.items() if day in logs.by_day}
        days = {day: (logs.by_day[day], single.get(day)) for day in chosen if day not in covered}
        with read_ahead(self._plan_reading(days), self.options.reader) as ahead:
            for day in chosen:
                if day in covered:
                    self._check_covered(day, logs.by_day[day], covered[day])
                    continue
                with collect_errors(self.outcome.failures):
                    self._take_day(day, *days[day], ahead)
        # A log with a wrong date is no end of the logs.
        plausible = [day for day in chosen if day not in self.memory.findings]
        if plausible:
            present = {*chosen, *covered, *single, *self.options.no_requests}
            self.gaps = [day for day in Period(plausible[0], plausible[-1]).days() if day not in present]

    def _check_covered(self, day: datetime.date, paths: list[Path], entry: Entry) -> None:
        """Name a day whose logs are not those of the file of several days that stands for it."""
        record = entry.state.records[self.destination.base]
        if record.state != "delivered":
            self._add(day, f"in {entry.path.name}, which waits")
            return
        known, stamps = entry.state.logs, read_stamps(paths)
        if known and has_other_logs(known, stamps):
            text = f"its log was added or changed after {entry.path.name} was sent; run all logs of"
            self._add_finding(day, f"{text} {entry.identity.period} with --replace")
        else:
            self.summary.delivered_before += 1

    def _plan_reading(self, days: Mapping[datetime.date, tuple[list[Path], Entry | None]]) -> list[Task]:
        """Return the days whose logs will be read, but for those whose waiting file turns out to be damaged."""
        tasks = []
        for day, (paths, entry) in days.items():
            stamps = read_stamps(paths)
            is_read = self._choose_step(entry, stamps) in ("aggregate", "check")
            if is_read and self._find_known(day, stamps) is None:
                tasks.append(Task(day, paths, sum(stamp.size for stamp in stamps.values())))
        return tasks

    def _choose_step(self, entry: Entry | None, stamps: Stamps) -> Step:
        record = None if entry is None else entry.state.records.get(self.destination.base)
        known = {} if entry is None else entry.state.logs
        return choose_step(record, known, stamps, decided=self.options.terms.explicit)

    def _find_known(self, day: datetime.date, stamps: Stamps) -> Finding | None:
        """Return why a day is not sent, if that is known and its logs have not changed."""
        finding = self.memory.findings.get(day)
        is_known = finding is not None and finding.logs == stamps and not self.options.terms.explicit
        return finding if is_known else None

    def _take_day(self, day: datetime.date, paths: list[Path], entry: Entry | None, ahead: ReadAhead) -> None:
        stamps = read_stamps(paths)
        step = self._choose_step(entry, stamps)
        if entry is not None and step == "wait" and not self.outbox.is_whole(entry.path):
            step = "aggregate"
        finding = self._find_known(day, stamps)
        if step == "skip":
            self.summary.delivered_before += 1
        elif step == "hold" and entry is not None:
            self.summary.held.append(str(entry.path))
            self._add(day, "waits for your decision")
        elif step == "wait":
            self._add(day, "waits for the next run")
        elif finding is not None:
            self._add_finding(day, finding.text)
        else:
            self._read_day(day, paths, stamps, entry, ahead, check=step == "check")

    def _read_day(
        self,
        day: datetime.date,
        paths: list[Path],
        stamps: Stamps,
        entry: Entry | None,
        ahead: ReadAhead,
        *,
        check: bool,
    ) -> None:
        self.memory.findings.pop(day, None)
        try:
            taken = ahead.take(day, stamps)
            read = read_day(day, paths, ahead.reader) if taken is None else taken.read
        except NotReady as error:
            self._add_not_ready(day, error, stamps)
            return
        self.memory.not_ready.pop(day, None)
        if read is None:
            self._record_finding(day, stamps, f"most requests in {paths[0].name} are of other days")
            return
        self.notices += [
            Notice(f"skipped:{name}", f"{name} was skipped: most of its requests are of other days than {day}")
            for name in read.skipped
        ]
        if read.tally.rejected and not read.tally.requests:
            names = ", ".join(Path(name).name for name in read.names)
            self._record_finding(day, stamps, f"no request in {names}, and {read.tally.rejected:,} rejected lines")
            return
        if check and entry is not None:
            if self._is_unchanged(entry, day, read):
                fingerprint = f"{read.tally.fingerprint:x}"
                self.outbox.save_state(
                    entry.path, structs.replace(entry.state, logs=stamps, fingerprint=fingerprint)
                )
                self.summary.delivered_before += 1
                return
            if not self.options.terms.explicit:
                self._record_finding(
                    day, stamps, "its log has changed since it was delivered; --replace sends a correction"
                )
                return
        self._aggregate(day, read, stamps)

    def _is_unchanged(self, entry: Entry, day: datetime.date, read: DayRead) -> bool:
        """Return whether logs are those of a file: by their lines, or by the content if its logs are not known."""
        if entry.state.logs:
            return entry.state.fingerprint == f"{read.tally.fingerprint:x}"
        found = LogPeriod(Period(day, day), "names")
        aggregate = make_log_aggregate(read.tally, found, self.options)
        return aggregate.content == entry.state.content

    def _aggregate(self, day: datetime.date, read: DayRead, stamps: Stamps) -> None:
        found = LogPeriod(Period(day, day), "names")
        self.notices += notices.make_log_notices(read.names, read.tally, found, self.options.today)
        aggregate = make_log_aggregate(read.tally, found, self.options)
        provenance = Provenance(stamps, f"{read.tally.fingerprint:x}")
        base, terms = self.destination.base, self.options.terms
        path = self.outbox.make_path(Identity(self.options.source, found.period))
        before = self.outbox.get_record(path, base)
        if before is not None and before.state == "pending" and not before.content:
            # It was never sent, and is brought up to date.
            terms = structs.replace(terms, replace=True)
        try:
            self.outbox.put(aggregate, base, terms, provenance, may_overlap=True)
        except AggregateExists as error:
            self._record_finding(day, stamps, f"{error.subject} has other statistics; --replace sends a correction")
            return
        except AlreadyDelivered as error:
            self._record_finding(day, stamps, f"{error.subject}. {error.hint}")
            return
        self._send([path])
        summary = self._add(day, self._describe_result(path))
        totals = read.tally.aggregation.totals
        summary.requests, summary.bytes = totals.requests, totals.bytes
        summary.rejected, summary.repeated = read.tally.rejected, read.tally.repeated
        summary.output = str(path)

    def _report_quiet(self, day: datetime.date, logs: DatedLogs) -> None:
        if day in logs.by_day:
            raise NothingToAggregate(f"there is a log of {day}, so --no-requests must not report it")
        payload = make_quiet_payload(day, self.options)
        path = self.outbox.put(make_aggregate(payload), self.destination.base, self.options.terms, may_overlap=True)
        self._send([path])
        self._add(day, f"no requests; {self._describe_result(path)}").output = str(path)

    # Messages about a day

    def _add(self, day: datetime.date, result: str) -> DaySummary:
        summary = DaySummary(day=day, result=result)
        self.summary.days.append(summary)
        return summary

    def _record_finding(self, day: datetime.date, stamps: Stamps, text: str) -> None:
        self.memory.findings[day] = Finding(stamps, text)
        self._add_finding(day, text)

    def _add_finding(self, day: datetime.date, text: str) -> None:
        self._add(day, f"not sent: {text}")
        self.notices.append(Notice(f"day:{day}:{text}", f"{day} was not sent: {text}"))

    def _add_not_ready(self, day: datetime.date, error: NotReady, stamps: Stamps) -> None:
        self._add(day, f"not ready: {error.subject}")
        # Nothing has written to an unreadable log since its last change.
        written = isinstance(error.__cause__, UnreadableLog)
        newest = max((stamp.mtime for stamp in stamps.values()), default=0) / 1e9 if written else None
        now = datetime.datetime.now(tz=datetime.UTC)
        since = self.memory.remember_not_ready(day, now, newest)
        if now - since > _PATIENCE:
            self.late.setdefault(error.subject, []).append(day)

    def _describe_result(self, path: Path) -> str:
        record = None if self.options.dry_run else self.outbox.get_record(path, self.destination.base)
        return "would be sent" if record is None else record.describe()

    # Memory

    def _own_entries(self) -> list[Entry]:
        return [entry for entry in self.outbox.list_entries() if entry.identity.source == self.options.source]

    def _covers(self, entry: Entry) -> bool:
        """Return whether a file stands for several days; one of an earlier version may hold a stray of a day."""
        state = entry.state
        return self.destination.base in state.records and not state.legacy and not entry.identity.period.is_day

    def _finish(self) -> None:
        """Complete the summary, show only new warnings, and keep the memory."""
        self.notices += add_deliveries(self.sender, self.summary, self.outcome)
        # An order of the operator is always answered.
        shown = set() if self.options.terms.explicit else set(self.memory.shown)
        self.outcome.notices += [notice for notice in self.notices if notice.key not in shown]
        _, complaints = self.outbox.list_waiting(self.destination.base)
        queued = {f"queue:{complaint.subject}": complaint for complaint in complaints}
        self.outcome.failures += [complaint for key, complaint in queued.items() if key not in shown]
        # A run that sends nothing does not learn until when the token is valid.
        tokens = {key for key in self.memory.shown if key.startswith("token:")}
        known = tokens if self.client.token_valid_until is None else set()
        self.memory.shown = sorted({*(notice.key for notice in self.notices), *queued, *known})
        self.memories[self.key] = self.memory
        save_memories(self.outbox, self.memories)
