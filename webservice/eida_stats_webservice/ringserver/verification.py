"""Verify the sums of ringservers against the payloads in force, and rebuild them."""

import datetime
from collections import defaultdict
from collections.abc import Collection, Iterator
from typing import Any

from eida_statistics import hll
from eida_statistics.months import find_last_day
from eida_statistics.payload import Period
from eida_stats_webservice.database.base import Database
from eida_stats_webservice.errors import DamagedPayload
from eida_stats_webservice.payloads.differences import (
    Difference,
    Key,
    Sums,
    add_up,
    compare_payload,
    compare_table,
    report_damage,
)
from eida_stats_webservice.payloads.records import PayloadRecords
from eida_stats_webservice.registry.models import Node
from eida_stats_webservice.ringserver.repository import RingserverRepository, count_rows, identify
from eida_stats_webservice.ringserver.sums import TABLES, make_key, make_month_key


class RingserverVerification:
    """Recomputes the sums of ringservers. All methods take a connection in a transaction."""

    def __init__(self, database: Database, ringserver: RingserverRepository) -> None:
        self._ringserver = ringserver
        self._records = PayloadRecords(database)

    def list_months(self, connection: Any, node: Node) -> set[datetime.date]:
        """Return the months in which a node has sums, or payloads in force."""
        return self._ringserver.sums.list_months(connection, node)

    def rebuild_months(self, connection: Any, node: Node, months: Collection[datetime.date]) -> None:
        """Build the sums of some months again from the payloads in force."""
        days = [day for month in months for day in Period(month, find_last_day(month)).days()]
        self._ringserver.rebuild_days(connection, node, days)

    def restore_identities(self, _connection: Any, _node: Node) -> None:
        """Do nothing: no older version has stored payloads of ringservers."""

    def find_differences(self, connection: Any, node: Node, month: datetime.date) -> Iterator[Difference]:
        """Compare the columns of each payload with its body, and the sums with those of all bodies."""
        parts: dict[str, defaultdict[Key, list[Sums]]] = {name: defaultdict(list) for name in TABLES}
        first_day = self._ringserver.sums.read_first_day_of_hours(connection)
        for number, _ in self._ringserver.table.list_in_force(connection, node, month, find_last_day(month)):
            try:
                payload = self._ringserver.read(connection, number)
            except DamagedPayload:
                yield report_damage(number)
                continue
            record = self._records.read_record(connection, number)
            yield from compare_payload(record, identify(payload), count_rows(payload))
            for name, rows in payload.lists.items():
                if name == "hours" and payload.period.start < first_day:
                    continue
                for row in rows:
                    sums = Sums(tuple(getattr(row, field) for field in row.counts), hll.from_hex(row.clients))
                    parts[name][make_key(row)].append(sums)
                    if name == "days":
                        parts["months"][make_month_key(row)].append(sums)
                    elif name == "hours":
                        hour, direction, *_ = make_key(row)
                        parts["hour_clients"][hour, direction].append(Sums((), sums.clients))
        for name, table in TABLES.items():
            due = {key: add_up(sums) for key, sums in parts[name].items()}
            stored = dict(self._ringserver.sums.read_table(connection, node, month, name))
            yield from compare_table(table, due, stored)
