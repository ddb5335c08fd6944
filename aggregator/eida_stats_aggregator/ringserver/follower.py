"""Send the new records of the access logs of a ringserver, and of its status."""

import datetime
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from msgspec import structs

from eida_statistics.connections import Alive, Record
from eida_statistics.errors import EidaStatisticsError, UnreadableLog
from eida_statistics.ringserver.access_log import AccessLogParser
from eida_statistics.ringserver.events import Rejection
from eida_statistics.ringserver.identity import ClientKey
from eida_stats_aggregator.console import complain, format_list
from eida_stats_aggregator.errors import AccessLogSkipped, BadServerName
from eida_stats_aggregator.logs.sources import Log, describe_log
from eida_stats_aggregator.ringserver.access_logs import find_access_logs, identify_log, read_batches
from eida_stats_aggregator.ringserver.confirmations import Confirmations
from eida_stats_aggregator.ringserver.follow_state import FileStamp, FollowState, LogProgress, StateFile

ALIVE_SECONDS = 30
_NO_STAMP = FileStamp(-1, -1)
# The clock of the machine may be corrected by some hours. Times of a clock that is wrong by years are rejected.
_TOLERANCE = datetime.timedelta(days=1)

# Sends records, and returns how many events are new.
Send = Callable[[Sequence[Record]], int]


class Complaints:
    """Prints each error once, for as long as its reason lasts."""

    def __init__(self) -> None:
        self._texts: dict[str, str] = {}

    def set(self, subject: str, text: str) -> None:
        """Print an error about a subject, unless it is the same as before."""
        if self._texts.get(subject) != text:
            self._texts[subject] = text
            complain(text)

    def clear(self, subject: str, text: str = "") -> None:
        """Note that a subject has no error any more, and print a text if it had one."""
        if self._texts.pop(subject, None) is not None and text:
            complain(text)


@dataclass
class Totals:
    """The work of a follower since its start. `failures` counts what it could not read, or did not find."""

    records: int = 0
    created: int = 0
    rejected: int = 0
    failures: int = 0


class Follower:
    """Follows the access logs of one ringserver.

    Args:
        directory: that of the logs.
        key: replaces addresses by hashes.
        state: the records that were acknowledged.
        file: keeps the state.
        send: sends records.
        confirmations: the records of its status.
        complaints: prints errors.
    """

    def __init__(
        self,
        directory: Path,
        key: ClientKey,
        state: FollowState,
        file: StateFile,
        send: Send,
        confirmations: Confirmations,
        complaints: Complaints,
    ) -> None:
        self.totals = Totals()
        self._directory = directory
        self._instance = state.instance
        self._key = key
        self._parser = AccessLogParser(key, state.instance)
        self._state = state
        self._file = file
        self._send_records = send
        self._confirmations = confirmations
        self._complaints = complaints
        # Logs that could not be read. They are not read again before they have changed.
        self._skipped: dict[str, tuple[FileStamp, EidaStatisticsError]] = {}
        self._sent_at = -float(ALIVE_SECONDS)

    def run_pass(self) -> None:
        """Send new records.

        Raises:
            ForeignToken: if the token is that of another node than before.
            RecordsNotSent: if the service does not take them.
            UnusableState: if the state cannot be written.
        """
        now = datetime.datetime.now(datetime.UTC)
        is_complete = self._send_logs(now)
        if records := self._confirmations.list_waiting():
            self._send(records)
            self._confirmations.acknowledge()
            self._file.save(self._state)
        if is_complete and time.monotonic() - self._sent_at >= ALIVE_SECONDS:
            self._send([Alive(self._instance)])

    def _send_logs(self, now: datetime.datetime) -> bool:
        """Send the new records of all logs, and return whether all of them could be read."""
        try:
            prefix, paths = find_access_logs(self._directory, self._instance)
        except (UnreadableLog, BadServerName) as error:
            self._fail(str(self._directory), error)
            return False
        self._complaints.clear(str(self._directory), f"{self._directory} can be read again")
        self._check_logs(prefix, paths)
        is_complete, has_news = True, False
        for path in paths:
            name = str(path)
            try:
                has_news |= self._send_log(path, now)
            except (UnreadableLog, AccessLogSkipped) as error:
                # A log may be packed and deleted in the meantime.
                if path.exists():
                    is_complete = False
                    self._fail(name, error)
            else:
                self._complaints.clear(name)
        if has_news:
            self._state.forget_old({str(path) for path in paths}, now)
            self._file.save(self._state)
        return is_complete

    def _check_logs(self, prefix: str, paths: Sequence[Path]) -> None:
        """Report, once each, that there is no log, and that the logs have another name than the ringserver."""
        if not paths:
            self.totals.failures += 1
            self._complaints.set("logs", f"no access log in {self._directory} yet")
        elif prefix not in ("", self._instance):
            self._complaints.set("logs", f"reads the logs of {prefix} as instance {self._instance}")
        else:
            self._complaints.clear("logs")

    def _send_log(self, path: Path, now: datetime.datetime) -> bool:
        """Send the new records of a log, and return whether it has changed since it was read.

        Raises:
            UnreadableLog: if it cannot be read.
            AccessLogSkipped: if it is no access log, or another one than before.
        """
        name = str(path)
        log = describe_log(path)
        stamp = _read_stamp(path)
        if self._state.files.get(name, _NO_STAMP).is_same(stamp):
            return False
        if (skipped := self._skipped.get(name)) is not None and skipped[0].is_same(stamp):
            raise skipped[1]
        try:
            source = identify_log(log, self._parser) or ""
            if source:
                self._send_text(log, source, now + _TOLERANCE)
        except (UnreadableLog, AccessLogSkipped) as error:
            self._skipped[name] = (stamp, error)
            raise
        self._skipped.pop(name, None)
        self._state.files[name] = structs.replace(stamp, source=source)
        return True

    def _send_text(self, log: Log, source: str, latest: datetime.datetime) -> None:
        progress = self._state.logs.get(source, LogProgress())
        is_saved = True
        for parsed, behind in read_batches(log, source, progress, self._parser, self._key, latest):
            # The last batch is saved at the end of the pass.
            if not is_saved:
                self._file.save(self._state)
            if parsed.records:
                self._send(parsed.records)
            self._report(log.name, parsed.rejections)
            self._state.logs[source] = behind
            is_saved = False

    def _send(self, records: Sequence[Record]) -> None:
        self.totals.created += self._send_records(records)
        self.totals.records += len(records)
        self._sent_at = time.monotonic()

    def _report(self, name: str, rejections: Sequence[Rejection]) -> None:
        self.totals.rejected += len(rejections)
        if rejections:
            places = [f"line {one.line}: {one.reason} ({one.length:,} bytes)" for one in rejections]
            complain(f"{name}: rejected: {format_list(places)}")

    def _fail(self, subject: str, error: EidaStatisticsError) -> None:
        self.totals.failures += 1
        self._complaints.set(subject, str(error))


def _read_stamp(path: Path) -> FileStamp:
    try:
        status = path.stat()
    except OSError as error:
        raise UnreadableLog(f"{path}: {error.strerror}") from error
    return FileStamp(status.st_size, status.st_mtime_ns)
