"""Send the statistics of ringservers day by day, each record once.

The delivery record of a day lists the records that were counted, by their digests. So a day that has grown is
corrected by itself, and a day whose logs were deleted in part is left as it is.
"""

import datetime
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from eida_statistics.errors import UnreadableLog
from eida_statistics.payload import Period
from eida_statistics.ringserver.collection import (
    Collection,
    DayRecords,
    Found,
    Settings,
    SourceDay,
    pack_digests,
    unpack_digests,
)
from eida_statistics.ringserver.events import RecordState, TransferRecord
from eida_statistics.ringserver.payload import KIND, DayPayload
from eida_statistics.ringserver.payload_wire import decode
from eida_statistics.ringserver.places import Place
from eida_statistics.ringserver.windows import SourceWindows, Stay, list_source_windows
from eida_stats_aggregator.console import complain
from eida_stats_aggregator.delivery.aggregate import Aggregate, Kind, deflate, pack
from eida_stats_aggregator.delivery.outbox import Outbox, Provenance
from eida_stats_aggregator.delivery.sender import Sender
from eida_stats_aggregator.delivery.state import Identity, Terms
from eida_stats_aggregator.errors import LogLeftOut, NothingToAggregate
from eida_stats_aggregator.notices import Notice, make_token_notices
from eida_stats_aggregator.ringserver.advice import (
    DAMAGED_DAY,
    advise_replacing,
    describe_conflict,
    describe_other_key,
    name_day,
)
from eida_stats_aggregator.ringserver.decisions import Step, choose_step
from eida_stats_aggregator.ringserver.faults import RecordFaults, make_rejection_notices
from eida_stats_aggregator.ringserver.logs import TransferLog, count_received, find_transfer_logs, read_log
from eida_stats_aggregator.ringserver.summary import DaySummary, SendSummary
from eida_stats_aggregator.run import Destination, Outcome, collect_errors


def _hash_content(body: bytes) -> str:
    return decode(body, today=datetime.date.max - datetime.timedelta(days=1)).content()


DAYS = Kind(f"{KIND}_", _hash_content)
"""The aggregate files of ringservers."""


@dataclass(frozen=True)
class Options:
    """The options of a run that sends.

    Attributes:
        server: the source of all logs, None for that in the name of each file.
        since: the first day to be sent, None for all.
        until: the last one.
        replaces: whether days are replaced that the logs cover completely, or that `since` and `until` state.
    """

    files: Sequence[str]
    directory: Path
    destination: Destination
    settings: Settings
    now: datetime.datetime
    server: str | None = None
    takes_rx: bool = False
    since: datetime.date | None = None
    until: datetime.date | None = None
    replaces: bool = False
    dry_run: bool = False


def run(options: Options) -> tuple[SendSummary, Outcome]:
    """Read logs, send the days that are ready, and return the summary and the outcome."""
    outcome = Outcome([], [])
    outbox = Outbox(options.directory, DAYS, dry_run=options.dry_run)
    summary = SendSummary(dry_run=options.dry_run, found=Found())
    with collect_errors(outcome.failures):
        outbox.check_writable()
        with outbox.lock(warn=complain):
            sending = _Sending(options, outbox, summary, outcome)
            try:
                sending.run()
            finally:
                sending.finish()
    return summary, outcome


class _Rejections(NamedTuple):
    """The rejected pieces of a log, and all its records and rejected pieces."""

    log: TransferLog
    rejected: int
    pieces: int


@dataclass
class _Sending:
    options: Options
    outbox: Outbox
    summary: SendSummary
    outcome: Outcome
    notices: list[Notice] = field(default_factory=list)
    # Logs that cannot be read.
    unread: list[TransferLog] = field(default_factory=list)
    rejections: list[_Rejections] = field(default_factory=list)
    faults: defaultdict[SourceDay, RecordFaults] = field(default_factory=lambda: defaultdict(RecordFaults))
    delivered: set[SourceDay] = field(default_factory=set)
    # Whether the names of the files cover all days that were delivered under another key.
    covers_other_key: bool = True

    def __post_init__(self) -> None:
        self.client = self.options.destination.make_client(KIND)
        self.base = self.options.destination.base
        self.sender = Sender(self.outbox, self.client)
        self.fingerprint = self.options.settings.key.compute_fingerprint()

    def run(self) -> None:
        """Read the logs, and send the new statistics day by day."""
        options, summary = self.options, self.summary
        skipped: list[str] = []
        logs = find_transfer_logs(
            options.files, options.settings.grid, options.server, takes_rx=options.takes_rx, skipped=skipped
        )
        if not logs:
            raise NothingToAggregate("no log was named", hint="Name transfer logs, or the directory of them.")
        summary.files = len(logs)
        summary.skipped_rx = count_received(skipped, options.settings.grid)
        summary.skipped = len(skipped) - summary.skipped_rx
        collection = Collection(options.settings, on_record=self._note_faults)
        for log in logs:
            with collect_errors(self.outcome.failures):
                self._read(log, collection)
        summary.found = collection.found
        self.outbox.redirect(self.base, mistyped_only=not options.destination.requeue)
        windows = list_source_windows(((log.source, log.name) for log in logs), options.settings.now)
        days = _list_days(collection, windows)
        self._name_doubtful_days(collection, windows, days)
        made = {self.outbox.make_path(_get_identity(key)) for key in days}
        waiting, _ = self.outbox.list_waiting(self.base)
        named = {entry.path: entry.identity for entry in self.outbox.list_entries()}
        for path in waiting:
            if path not in made:
                self._send(path, SourceDay(named[path].source, named[path].period.start), is_covered=False)
        for key in sorted(days, key=lambda key: (key.day, key.source)):
            if self._is_wanted(key.day):
                with collect_errors(self.outcome.failures):
                    self._take_day(key, days[key], windows[key.source])
        # By now, this run has repaired the files that a killed one left incomplete.
        self.outcome.failures += self.outbox.list_waiting(self.base)[1]

    def finish(self) -> None:
        """Complete the summary and the outcome."""
        self.outcome.failures += self.sender.failures
        self.outcome.notices += self.notices
        now = datetime.datetime.now(tz=datetime.UTC)
        self.outcome.notices += make_token_notices(self.client.token_valid_until, now)
        self.outcome.notices += self._make_fault_notices()
        if self.summary.other_key:
            text = describe_other_key(self.summary.other_key, are_covered=self.covers_other_key)
            self.outcome.notices.append(Notice("key", text))
        self.summary.sent += self.sender.sent
        self.summary.queued += self.sender.queued
        self.summary.held += self.sender.held

    def _read(self, log: TransferLog, collection: Collection) -> None:
        found = collection.found
        rejected, pieces = found.rejected, _count_pieces(found)
        self.unread.append(log)
        window = None if log.name is None else log.name.window
        try:
            collection.read(log.log.name, log.source, window, read_log(log.log))
        except UnreadableLog as error:
            raise LogLeftOut(error.subject, hint=error.hint) from error
        self.unread.pop()
        self.rejections.append(_Rejections(log, found.rejected - rejected, _count_pieces(found) - pieces))

    def _note_faults(self, key: SourceDay, record: TransferRecord, _stay: Stay, _place: Place) -> None:
        if record.holds_forgery or record.state is not RecordState.COMPLETE:
            self.faults[key].add(record)

    def _make_fault_notices(self) -> list[Notice]:
        """Return the warnings about the days that were delivered by this run: no run repeats those of another."""
        faults = RecordFaults()
        for key in self.delivered & self.faults.keys():
            faults += self.faults[key]
        days: defaultdict[str, set[datetime.date]] = defaultdict(set)
        for key in self.delivered:
            days[key.source].add(key.day)
        logs = [one for one in self.rejections if one.log.overlaps_any(days[one.log.source])]
        names = [one.log.log.name for one in logs if one.rejected]
        rejected, pieces = sum(one.rejected for one in logs), sum(one.pieces for one in logs)
        return [*make_rejection_notices(names, rejected, pieces), *faults.make_notices()]

    def _take_day(self, key: SourceDay, records: DayRecords, windows: SourceWindows) -> None:
        if (reason := self._explain_unready(key, windows)) is not None:
            self._add(key, f"not ready: {reason}")
            return
        path = self.outbox.make_path(_get_identity(key))
        state = self.outbox.get_state(path)
        record = self.outbox.get_record(path, self.base)
        found = records.get_digests()
        replaces = self.options.replaces and self._may_replace(key, windows)
        step = choose_step(
            record,
            {} if state is None else unpack_digests(state.digests),
            found,
            has_same_key=state is None or state.key == self.fingerprint,
            replaces=replaces,
        )
        is_covered = windows.covers(key.day)
        if not step.sends:
            self._pass_over(key, step, is_covered=is_covered)
            return
        payload = records.make_payload()
        if step is not Step.RESEND or not self.outbox.is_whole(path):
            # Statistics of a day that were sent, or may have been, are always corrected. See `Sender`.
            is_correction = replaces or (record is not None and record.terms.replace)
            self._put(payload, pack_digests(found), Terms(replace=is_correction))
        self._send(path, key, is_covered=is_covered)
        summary = self._add(key, self._note_result(key, path, step))
        summary.streams = sum(row.records for row in payload.days)
        summary.bytes = sum(row.bytes for row in payload.days)
        summary.output = str(path)

    def _name_doubtful_days(
        self, collection: Collection, windows: dict[str, SourceWindows], days: Iterable[SourceDay]
    ) -> None:
        """Warn of days without records that may have had some, unless they were delivered before."""
        for source, of_source in windows.items():
            busy = {key.day for key in days if key.source == source}
            for day in filter(self._is_wanted, of_source.list_doubtful_days(busy, collection.damaged[source])):
                key = SourceDay(source, day)
                known = self.outbox.get_record(self.outbox.make_path(_get_identity(key)), self.base)
                if known is None or self.options.replaces:
                    self._add(key, "not sent: its log is damaged")
                    self._warn(key, f"{name_day(key)} was not sent: {DAMAGED_DAY}")

    def _is_wanted(self, day: datetime.date) -> bool:
        """Return whether a day is one of --since to --until."""
        return (self.options.since or day) <= day <= (self.options.until or day)

    def _explain_unready(self, key: SourceDay, windows: SourceWindows) -> str | None:
        """Return why a day must wait, None if it need not."""
        if any(log.source == key.source and log.overlaps_any({key.day}) for log in self.unread):
            return "a log of it cannot be read"
        if windows.is_ready(key.day):
            return None
        return "its window is open" if windows.list_open_windows(key.day) else "the day is not over"

    def _pass_over(self, key: SourceDay, step: Step, *, is_covered: bool) -> None:
        """Note why a day is not sent."""
        advice = advise_replacing(key, is_covered=is_covered)
        if step is Step.SKIP:
            self.summary.delivered_before += 1
        elif step is Step.KEEP:
            self.summary.shortened += 1
            if self.options.replaces:
                self._warn(key, f"{name_day(key)} was not replaced, and the logs have fewer records now. {advice}")
        elif step is Step.REFUSE_KEY:
            self.summary.other_key += 1
            self.covers_other_key &= is_covered
        else:
            self._add(key, "not sent: records are missing, and others are new")
            reason = "the logs lack records that they had before, and have others"
            self._warn(key, f"{name_day(key)} was not sent: {reason}. {advice}")

    def _warn(self, key: SourceDay, text: str) -> None:
        self.notices.append(Notice(f"day:{name_day(key)}", text))

    def _put(self, payload: DayPayload, digests: bytes, terms: Terms) -> None:
        """Write the file of a day, and queue it."""
        identity = Identity(payload.source, payload.period)
        packed = pack([deflate(payload.to_json())], payload.generated_at)
        aggregate = Aggregate(identity, payload.content(), packed)
        self.outbox.overwrite(aggregate, self.base, terms, Provenance({}, "", digests, self.fingerprint))

    def _send(self, path: Path, key: SourceDay, *, is_covered: bool) -> None:
        """Send the file of a day, which the names of the logs cover or not."""
        if self.options.dry_run:
            self.summary.sent.append(f"{path} to {self.client.url}")
            return
        self.sender.send([path], self.options.now)
        for held in self.sender.take_held():
            self._warn(key, describe_conflict(key, held.sources, self.base, is_covered=is_covered))

    def _may_replace(self, key: SourceDay, windows: SourceWindows) -> bool:
        """Return whether a day may be replaced: not one at the edge of the logs by a part of it."""
        stated = self.options.since is not None and self.options.until is not None
        return stated or windows.covers(key.day)

    def _add(self, key: SourceDay, result: str) -> DaySummary:
        summary = DaySummary(source=key.source, day=key.day, result=result)
        self.summary.days.append(summary)
        return summary

    def _note_result(self, key: SourceDay, path: Path, step: Step) -> str:
        """Return the result of sending a day, and remember whether it was delivered, or would be."""
        record = None if self.options.dry_run else self.outbox.get_record(path, self.base)
        if record is None:
            self.delivered.add(key)
            return "would be sent"
        if record.state == "held":
            return "not sent: the service has other statistics of this day"
        if record.state != "delivered":
            return record.describe()
        self.delivered.add(key)
        return f"{record.describe()} (corrected)" if step is Step.CORRECT else record.describe()


def _count_pieces(found: Found) -> int:
    return found.records + found.repeated + found.ignored + found.rejected


def _list_days(collection: Collection, windows: dict[str, SourceWindows]) -> dict[SourceDay, DayRecords]:
    """Return the days that have records, and those that are covered by the windows and have none."""
    days = {key: collection.get_records(key) for key in collection.list_days()}
    for source, of_source in windows.items():
        busy = {key.day for key in days if key.source == source}
        for day in of_source.list_quiet_days(busy, collection.damaged[source]):
            key = SourceDay(source, day)
            days[key] = collection.make_quiet_day(key)
    return days


def _get_identity(key: SourceDay) -> Identity:
    return Identity(key.source, Period(key.day, key.day))
