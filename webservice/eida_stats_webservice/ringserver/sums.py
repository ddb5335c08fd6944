"""The sums of ringservers: by month for streams, by month, day and hour for networks, by day for places.

The clients of all networks by hour are a table, too: to unite many sketches takes too long for a dashboard.
"""

import datetime
from collections.abc import Collection, Iterable, Iterator
from functools import lru_cache
from typing import Any

from eida_statistics import hll
from eida_statistics.months import add_months
from eida_statistics.ringserver.payload import LISTS, DayPayload
from eida_statistics.rows import SumRow
from eida_stats_webservice.database.base import Database, format_time, parse_time
from eida_stats_webservice.payloads.days import find_months
from eida_stats_webservice.payloads.differences import Key, Sums, SumTable, normalize
from eida_stats_webservice.registry.models import Node

_COUNTS = ("bytes", "packets", "records")
# The tables by the lists of payloads, and two that follow from days and hours. Columns are in the order of the
# fields of rows.
TABLES = {
    "stats": SumTable(
        "ringserver_stats",
        ("date", "direction", "network", "station", "location", "channel", "country"),
        _COUNTS,
        is_monthly=True,
    ),
    "months": SumTable(
        "ringserver_by_month", ("date", "direction", "network", "country"), _COUNTS, is_monthly=True
    ),
    "days": SumTable("ringserver_by_day", ("date", "direction", "network", "country"), _COUNTS, is_monthly=False),
    "hours": SumTable(
        "ringserver_by_hour", ("hour", "direction", "network", "country"), _COUNTS[:2], is_monthly=False
    ),
    # The clients of all networks and countries.
    "hour_clients": SumTable("ringserver_clients_by_hour", ("hour", "direction"), (), is_monthly=False),
    "places": SumTable(
        "ringserver_by_place", ("date", "direction", "country", "city", "geohash"), _COUNTS[:2], is_monthly=False
    ),
}
_DAY = datetime.timedelta(days=1)


class RingserverSums:
    """Adds payloads to the tables of sums, and deletes sums.

    All methods take a connection in a transaction that has locked the node.
    """

    def __init__(self, database: Database, queries: Any) -> None:
        self._database = database
        self._queries = queries

    def merge(
        self,
        connection: Any,
        node: Node,
        payloads: Iterable[DayPayload],
        days: Collection[datetime.date] | None = None,
    ) -> None:
        """Add payloads to the sums of a node. Hours that are not kept any more are left out.

        Each payload is loaded before the next one is read, so `payloads` may use the connection. If `days` are
        given, payloads of other days are added to the sums of months alone.
        """
        first_day = self.read_first_day_of_hours(connection)
        loaded: list[datetime.date] = []
        for name in LISTS:
            self._run(f"create_staging_{name}", connection)
            # One transaction may merge several times.
            self._run(f"empty_staging_{name}", connection)
        for payload in payloads:
            day = payload.period.start
            loaded.append(day)
            for name in LISTS if days is None or day in days else ("stats", "days"):
                if name != "hours" or day >= first_day:
                    self._load(connection, name, payload.lists[name])
        if not loaded:
            return
        self._queries.add_networks(connection, node_id=node.id)
        # All at once: one after the other, each payload would unite the sketches of the month again.
        self._run("add_stats" if len(loaded) == 1 else "merge_stats", connection, node_id=node.id)
        self._run("merge_months", connection, node_id=node.id)
        merged = loaded if days is None else days
        listed = self._database.to_list(sorted({day.isoformat() for day in merged}))
        self._run("merge_days", connection, node_id=node.id, days=listed)
        self._run("merge_hours", connection, node_id=node.id)
        self._run("merge_hour_clients", connection, node_id=node.id)
        self._run("merge_places", connection, node_id=node.id)

    def delete(self, connection: Any, node: Node, days: Collection[datetime.date]) -> None:
        """Delete the sums of a node on some days, and those of their months."""
        months = self._database.to_list(month.isoformat() for month in find_months(days))
        self._queries.remove_stats(connection, node_id=node.id, months=months)
        self._queries.remove_months(connection, node_id=node.id, months=months)
        for day in sorted(days):
            self._queries.remove_days(connection, node_id=node.id, day=day.isoformat())
            self._queries.remove_places(connection, node_id=node.id, day=day.isoformat())
            span = {"start": _format_midnight(day), "stop": _format_midnight(day + _DAY)}
            self._queries.remove_hours(connection, node_id=node.id, **span)
            self._queries.remove_hour_clients(connection, node_id=node.id, **span)

    def read_first_day_of_hours(self, connection: Any) -> datetime.date:
        """Return the first day of which hours are kept."""
        return datetime.date.fromisoformat(self._queries.hours_kept_from(connection))

    def list_months(self, connection: Any, node: Node) -> set[datetime.date]:
        """Return the months in which a node has sums, or payloads in force."""
        found = self._queries.days_of_node(connection, node_id=node.id)
        return find_months(datetime.date.fromisoformat(day) for (day,) in found)

    def read_table(
        self, connection: Any, node: Node, month: datetime.date, name: str
    ) -> Iterator[tuple[Key, Sums]]:
        """Yield the rows of a node in a month that are kept, in one of the tables."""
        query = getattr(self._queries, f"read_{name}")
        is_hourly = TABLES[name].keys[0] == "hour"
        write_time = _format_midnight if is_hourly else datetime.date.isoformat
        start = max(month, self.read_first_day_of_hours(connection)) if is_hourly else month
        span = {"start": write_time(start), "stop": write_time(add_months(month, 1))}
        width = len(TABLES[name].keys)
        for row in self._database.stream(connection, query.sql, {"node_id": node.id, **span}):
            time, *columns, sketch = row
            clients = hll.from_hex(sketch) if isinstance(sketch, str) else bytes(sketch)
            key = (_read_time(time), *columns[: width - 1])
            yield key, Sums(tuple(columns[width - 1 :]), normalize(clients))

    def _run(self, name: str, connection: Any, **parameters: object) -> None:
        getattr(self._queries, name)(connection, **parameters)

    def _load(self, connection: Any, name: str, rows: Iterable[SumRow]) -> None:
        table = TABLES[name]
        columns = (*table.keys, *table.counts, "clients")

        def list_parameters(row: SumRow) -> dict[str, Any]:
            values = [*make_key(row), *(getattr(row, field) for field in row.counts), hll.from_hex(row.clients)]
            return dict(zip(columns, values, strict=True))

        query = getattr(self._queries, f"load_staging_{name}")
        self._database.load_rows(connection, query, rows, to_line=write_line, to_parameters=list_parameters)


def make_key(row: SumRow) -> Key:
    """Return the key of a row as text."""
    time, *codes = row.key
    return (_write_time(time), *codes)


def make_month_key(row: SumRow) -> Key:
    """Return the key of the month of a row of a day."""
    day, *codes = make_key(row)
    return (f"{day[:7]}-01", *codes)


def write_line(row: SumRow) -> str:
    """Return a row in the text format of COPY."""
    values = [*make_key(row), *(str(getattr(row, field)) for field in row.counts), row.clients]
    # No text can hold a tab or a line break. Sketches have a backslash, and so may cities.
    return "\t".join(values).replace("\\", "\\\\") + "\n"


@lru_cache(maxsize=1024)
def _write_time(time: datetime.date) -> str:
    """Return a day, or an hour in the form of the database."""
    # They are slow to format, and there are few among many rows.
    return format_time(time) if isinstance(time, datetime.datetime) else time.isoformat()


def _read_time(time: Any) -> str:
    """Return a day or an hour of the database in the form that `make_key` returns."""
    if isinstance(time, str):
        return time
    return format_time(parse_time(time)) if isinstance(time, datetime.datetime) else str(time)


def _format_midnight(day: datetime.date) -> str:
    return format_time(datetime.datetime.combine(day, datetime.time(), datetime.UTC))
