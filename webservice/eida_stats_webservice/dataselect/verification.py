"""Verify the sums against the payloads in force, and rebuild them."""

import datetime
import zlib
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from eida_statistics import hll
from eida_statistics.encoding import PayloadSummary
from eida_statistics.errors import InvalidSketch
from eida_statistics.months import find_last_day
from eida_statistics.payload import Period, Row
from eida_stats_webservice.database.base import Database
from eida_stats_webservice.dataselect.models import PAYLOADS, Difference
from eida_stats_webservice.dataselect.repository import DataselectRepository
from eida_stats_webservice.errors import DamagedPayload
from eida_stats_webservice.payloads.bodies import name_damaged
from eida_stats_webservice.payloads.records import PayloadRecords
from eida_stats_webservice.registry.models import Node
from eida_stats_webservice.registry.repository import RegistryRepository

_STREAM = ("date", "network", "station", "location", "channel", "country")
# The columns that identify a row of a node.
_TABLES = {
    "dataselect_stats": _STREAM,
    "dataselect_stats_by_network_country": ("date", "network", "country"),
    "dataselect_stats_by_network": ("date", "network"),
    "dataselect_stats_by_country": ("date", "country"),
}
_COUNTS = ("bytes", "nb_reqs", "nb_successful_reqs", "nb_failedrequests")

_Key = tuple[str, ...]
# The counts, and a sketch.
_Sums = tuple[tuple[int, ...], bytes]


class Verification:
    """Recomputes sums of one node or of all, in one transaction for each month of a node."""

    def __init__(self, database: Database, registry: RegistryRepository, dataselect: DataselectRepository) -> None:
        self._database = database
        self._registry = registry
        self._dataselect = dataselect
        self._records = PayloadRecords(database)

    def verify(self, node: str = "") -> Iterator[tuple[str, datetime.date, list[Difference]]]:
        """Recompute sums from the payloads in force, without the queries that made them.

        Yields:
            A node, a month, and the differences there. A payload that arrives meanwhile waits until this month is
            done, or is sent again.
        """
        for owner, month in self._list_months(node):
            with self._lock(owner) as connection:
                differences = list(self._find_differences(connection, owner, month))
            yield owner.name, month, differences

    def replay(self, node: str = "") -> Iterator[tuple[str, datetime.date]]:
        """Rebuild sums from the payloads in force, and yield each node and month that is done.

        Source and period of payloads are read again first, where an older version has dropped them from the table.
        """
        months = self._list_months(node)
        for owner in dict.fromkeys(owner for owner, _ in months):
            with self._lock(owner) as connection:
                self._dataselect.restore_identities(connection, owner)
        for owner, month in months:
            with self._lock(owner) as connection:
                self._dataselect.rebuild_months(connection, owner, {month})
                self._registry.bump_revision(connection, owner)
            yield owner.name, month

    @contextmanager
    def _lock(self, owner: Node) -> Iterator[Any]:
        """Yield a connection in a transaction that has locked a node and may last long."""
        with self._database.transaction(write=True) as connection:
            self._database.wait_without_limit(connection)
            self._registry.lock(connection, owner)
            yield connection

    def _list_months(self, name: str) -> list[tuple[Node, datetime.date]]:
        """Return the nodes, and the months in which they have sums or payloads in force."""
        with self._database.transaction() as connection:
            if name:
                owners = [Node(self._registry.find_id(connection, name), name)]
            else:
                owners = self._registry.list_ids(connection)
            months = {owner: self._dataselect.sums.list_months(connection, owner) for owner in owners}
        return [(owner, month) for owner in owners for month in sorted(months[owner])]

    def _find_differences(self, connection: Any, owner: Node, month: datetime.date) -> Iterator[Difference]:
        """Compare the columns of each payload with its body, and the sums with those of all bodies."""
        parts: defaultdict[_Key, list[_Sums]] = defaultdict(list)
        for number, first_day in self._dataselect.table.list_in_force(
            connection, owner, month, find_last_day(month)
        ):
            reader = self._dataselect.bodies.open(connection, number)
            try:
                with name_damaged(number):
                    found = [_split(row) for row in reader.rows() if row.month == month]
            except DamagedPayload:
                yield Difference(PAYLOADS, {"payload": str(number)}, {"body": "damaged"}, {"body": "readable"})
                continue
            if first_day.replace(day=1) == month:
                yield from self._compare_payload(connection, number, reader.summary)
            for key, sums in found:
                parts[key].append(sums)
        due = {key: _add(sums) for key, sums in parts.items()}
        for table, columns in _TABLES.items():
            yield from _compare(table, columns, _group(due, columns), self._read(connection, owner, month, table))

    def _compare_payload(self, connection: Any, number: int, payload: PayloadSummary) -> Iterator[Difference]:
        record = self._records.read_record(connection, number)
        envelope = payload.envelope
        stored = {
            "hash": record.hash,
            "content": record.content,
            "rows": record.rows,
            **_describe(record.source, record.period, record.days),
        }
        due = {
            "hash": payload.hash,
            "content": payload.content,
            "rows": payload.count,
            **_describe(envelope.source, envelope.period, envelope.days_coverage),
        }
        if stored != due:
            yield Difference(PAYLOADS, {"payload": str(number)}, stored, due)

    def _read(self, connection: Any, owner: Node, month: datetime.date, table: str) -> dict[_Key, _Sums]:
        width = len(_TABLES[table]) - 1
        return {
            (date.isoformat(), *columns[:width]): (tuple(columns[width:]), _normalize(sketch))
            for date, columns, sketch in self._dataselect.sums.read_table(connection, owner, month, table)
        }


def _split(row: Row) -> tuple[_Key, _Sums]:
    counts = (row.bytes, row.nb_requests, row.nb_successful_requests, row.nb_unsuccessful_requests)
    return (row.month.isoformat(), *row.key[1:]), (counts, hll.from_hex(row.clients))


def _normalize(sketch: bytes) -> bytes:
    try:
        return hll.canonicalize(sketch)
    except InvalidSketch:
        # It equals no valid sketch.
        return sketch


def _describe(source: str, period: Period | None, days: Iterable[datetime.date]) -> dict[str, int | str]:
    return {
        "source": source,
        "period": "" if period is None else str(period),
        "days": " ".join(day.isoformat() for day in sorted(days)),
    }


def _add(sums: list[_Sums]) -> _Sums:
    counts = tuple(map(sum, zip(*(counts for counts, _ in sums), strict=True)))
    return counts, hll.merge(sketch for _, sketch in sums)


def _group(due: dict[_Key, _Sums], columns: tuple[str, ...]) -> dict[_Key, _Sums]:
    places = [_STREAM.index(column) for column in columns]
    if len(places) == len(_STREAM):
        return due
    parts: defaultdict[_Key, list[_Sums]] = defaultdict(list)
    for key, sums in due.items():
        parts[tuple(key[place] for place in places)].append(sums)
    return {key: _add(sums) for key, sums in parts.items()}


def _compare(
    table: str, columns: tuple[str, ...], due: dict[_Key, _Sums], stored: dict[_Key, _Sums]
) -> Iterator[Difference]:
    for key in sorted(due.keys() | stored.keys()):
        there, expected = stored.get(key), due.get(key)
        if there != expected:
            named = dict(zip(columns, key, strict=True))
            # The month is named anyway.
            if named["date"].endswith("-01"):
                del named["date"]
            yield Difference(table, named, _list_values(there), _list_values(expected))


def _list_values(sums: _Sums | None) -> dict[str, int | str] | None:
    """Return the numbers of a row, the estimate of its sketch, and a checksum of the sketch."""
    if sums is None:
        return None
    counts, sketch = sums
    try:
        hll.check(sketch)
        clients: int | str = hll.cardinality(sketch)
    except InvalidSketch:
        clients = "damaged"
    return dict(zip(_COUNTS, counts, strict=True)) | {"clients": clients, "sketch": zlib.crc32(sketch)}
