"""Verify the sums of dataselect against the payloads in force, and rebuild them."""

import datetime
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from eida_statistics import hll
from eida_statistics.months import find_last_day
from eida_statistics.packed_rows import Packer
from eida_statistics.payload import Row
from eida_stats_webservice.database.base import Database
from eida_stats_webservice.dataselect.bodies import Packed
from eida_stats_webservice.dataselect.identity import identify
from eida_stats_webservice.dataselect.repository import DataselectRepository
from eida_stats_webservice.errors import DamagedPayload
from eida_stats_webservice.payloads.bodies import name_damaged
from eida_stats_webservice.payloads.differences import (
    Difference,
    Key,
    Sums,
    SumTable,
    add_up,
    compare_payload,
    compare_table,
    normalize,
    report_damage,
    report_packed_rows,
)
from eida_stats_webservice.payloads.records import PayloadRecords
from eida_stats_webservice.registry.models import Node

_STREAM = ("date", "network", "station", "location", "channel", "country")
_COUNTS = ("bytes", "nb_reqs", "nb_successful_reqs", "nb_failedrequests")
_TABLES = [
    SumTable(name, keys, _COUNTS, is_monthly=True)
    for name, keys in {
        "dataselect_stats": _STREAM,
        "dataselect_stats_by_network_country": ("date", "network", "country"),
        "dataselect_stats_by_network": ("date", "network"),
        "dataselect_stats_by_country": ("date", "country"),
        "dataselect_stats_by_station": ("date", "network", "station"),
    }.items()
]


class DataselectVerification:
    """Recomputes the sums of dataselect. All methods take a connection in a transaction."""

    def __init__(self, database: Database, dataselect: DataselectRepository) -> None:
        self._dataselect = dataselect
        self._records = PayloadRecords(database)

    def list_months(self, connection: Any, node: Node) -> set[datetime.date]:
        """Return the months in which a node has sums, or payloads in force."""
        return self._dataselect.sums.list_months(connection, node)

    def rebuild_months(self, connection: Any, node: Node, months: Collection[datetime.date]) -> None:
        """Build the sums of some months again from the payloads in force."""
        self._dataselect.rebuild_months(connection, node, months)

    def restore_identities(self, connection: Any, node: Node) -> None:
        """Restore source and period of payloads from their bodies, where an older version has dropped them."""
        self._dataselect.restore_identities(connection, node)

    def find_differences(self, connection: Any, node: Node, month: datetime.date) -> Iterator[Difference]:
        """Compare the columns of each payload with its body, and the sums with those of all bodies."""
        parts: defaultdict[Key, list[Sums]] = defaultdict(list)
        for number, first_day in self._dataselect.table.list_in_force(
            connection, node, month, find_last_day(month)
        ):
            reader = self._dataselect.bodies.open(connection, number)
            # A payload of several months is compared with its body once.
            is_first = first_day.replace(day=1) == month
            packer = Packer()
            found = []
            try:
                with name_damaged(number):
                    for row in reader.rows():
                        if is_first:
                            packer.add([row])
                        if row.month == month:
                            found.append(_split(row))
                    summary = reader.summary
                    packed = Packed(packer.finish(summary.content), summary.content)
            except DamagedPayload:
                yield report_damage(number)
                continue
            if is_first:
                record = self._records.read_record(connection, number)
                yield from compare_payload(record, identify(summary), summary.count)
                if not self._dataselect.bodies.are_packed(connection, number, packed):
                    yield report_packed_rows(number)
            for key, sums in found:
                parts[key].append(sums)
        due = {key: add_up(sums) for key, sums in parts.items()}
        for table in _TABLES:
            stored = self._read(connection, node, month, table)
            yield from compare_table(table, _group(due, table.keys), stored)

    def _read(self, connection: Any, node: Node, month: datetime.date, table: SumTable) -> dict[Key, Sums]:
        width = len(table.keys) - 1
        return {
            (date.isoformat(), *columns[:width]): Sums(tuple(columns[width:]), normalize(sketch))
            for date, columns, sketch in self._dataselect.sums.read_table(connection, node, month, table.name)
        }


def _split(row: Row) -> tuple[Key, Sums]:
    counts = (row.bytes, row.nb_requests, row.nb_successful_requests, row.nb_unsuccessful_requests)
    return (row.month.isoformat(), *row.key[1:]), Sums(counts, hll.from_hex(row.clients))


def _group(due: Mapping[Key, Sums], columns: tuple[str, ...]) -> Mapping[Key, Sums]:
    places = [_STREAM.index(column) for column in columns]
    if len(places) == len(_STREAM):
        return due
    parts: defaultdict[Key, list[Sums]] = defaultdict(list)
    for key, sums in due.items():
        parts[tuple(key[place] for place in places)].append(sums)
    return {key: add_up(sums) for key, sums in parts.items()}
