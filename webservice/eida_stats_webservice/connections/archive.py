"""Write the events of old months to files, and refuse these months from then on.

For each month: write its file, read it back, and compare it with the log. Then, in a transaction that excludes
ingestion, refuse events of this month, unless some were received meanwhile. `archive_deletion` deletes only months
that are refused, so all that it deletes is in a complete file. An interruption leaves everything right.
"""

import datetime
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from eida_statistics.files import sync_directory
from eida_statistics.months import add_months, format_month, list_months
from eida_stats_webservice.connections.counts import Counts
from eida_stats_webservice.connections.errors import ArchiveDiffers
from eida_stats_webservice.connections.log import ConnectionLog
from eida_stats_webservice.connections.log_files import encode_line, split_lines, write_lines
from eida_stats_webservice.connections.reconciliation import Reconciliation
from eida_stats_webservice.connections.tables import ConnectionTables, parse_optional
from eida_stats_webservice.database.base import Database, format_moment
from eida_stats_webservice.errors import DatabaseLocked
from eida_stats_webservice.registry.repository import RegistryRepository

_DAY = datetime.timedelta(days=1)
_ATTEMPTS = 5


class Written(NamedTuple):
    """The file of a month, and the number of its rows of the log. None: the month had none."""

    month: datetime.date
    file: Path | None
    rows: int


class ConnectionArchive:
    """Writes archives."""

    def __init__(
        self,
        database: Database,
        registry: RegistryRepository,
        tables: ConnectionTables,
        reconciliation: Reconciliation,
    ) -> None:
        self._database = database
        self._registry = registry
        self._tables = tables
        self._reconciliation = reconciliation
        self._log = ConnectionLog(database)
        self._queries = database.load_queries(Path(__file__).parent, "archive")

    def write(self, before: datetime.date, folder: Path) -> Iterator[Written]:
        """Write a file for each month before another one, and refuse its events from then on. Yield each month.

        Raises:
            ArchiveDiffers: if a file differs from the log, or is already there with other events.
            DatabaseLocked: if events of a month still arrive, or another transaction holds a lock for too long.
        """
        with self._database.transaction() as connection:
            kept = self._tables.find_first_kept(connection).date()
            found = parse_optional(self._queries.first_recorded(connection, stop=format_moment(_begin(before))))
        first = before if found is None else max(kept, found.date().replace(day=1))
        for month in list_months(first, add_months(before, -1)) if first < before else []:
            yield self._write_month(month, folder)
        if first >= before > kept:
            self._refuse(before, before, 0, _begin(before))

    def _write_month(self, month: datetime.date, folder: Path) -> Written:
        following = add_months(month, 1)
        for _ in range(_ATTEMPTS):
            self._reconciliation.reconcile()
            since = datetime.datetime.now(tz=datetime.UTC) - _DAY
            file = folder / f"connections-{format_month(month)}.jsonl.zst"
            rows, recent = self._write_file(file, month, following, since)
            if self._refuse(month, following, recent, since):
                return Written(month, file if rows else None, rows)
        raise DatabaseLocked(f"events of {format_month(month)} still arrive", hint="Archive this month later.")

    def _write_file(
        self, file: Path, month: datetime.date, following: datetime.date, since: datetime.datetime
    ) -> tuple[int, int]:
        """Write the file of a month. Return the number of its rows, and of those that were received lately."""
        window = _begin(month), _begin(following)
        part = file.with_name(f"{file.name}.part")
        with self._database.snapshot() as connection:
            self._database.wait_without_limit(connection)
            recent = self._count_recent(connection, *window, since)
            rows = write_lines(part, self._log.read_recorded(connection, *window))
            lines = map(encode_line, self._log.read_recorded(connection, *window))
            if any(line + b"\n" != due for line, due in zip(split_lines(part), lines, strict=True)):
                raise ArchiveDiffers(str(part), hint="Check the disk, and run the command again.")
        if file.exists() and not _contains(part, file):
            raise ArchiveDiffers(
                f"{file} has other events", hint="Name another directory, or move that file elsewhere."
            )
        if rows:
            part.replace(file)
            sync_directory(file.parent)
        else:
            part.unlink()
        return rows, recent

    def _count_recent(
        self, connection: Any, start: datetime.datetime, stop: datetime.datetime, since: datetime.datetime
    ) -> int:
        return int(
            self._queries.count_recent(
                connection, since=format_moment(since), start=format_moment(start), stop=format_moment(stop)
            )
        )

    def _refuse(
        self, month: datetime.date, following: datetime.date, recent: int, since: datetime.datetime
    ) -> bool:
        """Refuse the events of a month from now on; return False if some have been received meanwhile."""
        start, stop = _begin(month), _begin(following)

        def change(connection: Any) -> bool:
            self._tables.queries.lock_reconciliation(connection)
            for node in sorted(self._registry.list_ids(connection), key=lambda node: node.id):
                self._tables.lock(connection, node)
            is_stale = self._queries.has_stale_hours(connection, stop=format_moment(stop))
            if is_stale or self._count_recent(connection, start, stop, since) != recent:
                return False
            self._keep_levels(connection, stop)
            self._queries.keep_events_from(connection, day=following.isoformat())
            return True

        return self._database.administer(change)

    def _keep_levels(self, connection: Any, stop: datetime.datetime) -> None:
        """Record what the recounts before a time need of the events."""
        counts = Counts(self._tables, connection)
        for one in self._tables.list_recounts(connection, counts.tree):
            if one.recorded < stop and one.level is None:
                level = counts.find_level(counts.tree.get(one.space_id), one.recorded).net
                self._queries.set_level(
                    connection, space_id=one.space_id, recorded=format_moment(one.recorded), level=level
                )


def _begin(month: datetime.date) -> datetime.datetime:
    """Return the first moment of a month."""
    return datetime.datetime.combine(month, datetime.time(), datetime.UTC)


def _contains(file: Path, other: Path) -> bool:
    """Return whether a file has all lines of another one, in the same order."""
    lines = split_lines(file)
    # `in` reads up to the line that it finds.
    return all(line in lines for line in split_lines(other))
