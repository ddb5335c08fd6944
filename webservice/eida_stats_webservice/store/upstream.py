"""A database of the statistics service that was deployed before: what is in it, in the form of this one.

Its tables are those of the migrations in the public repository EIDA/eida-statistics. In the course of time some of
their columns had other names.
"""

import calendar
import datetime
import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import msgspec
import psycopg2
import psycopg2.extras

from eida_statistics import wire
from eida_statistics.errors import InvalidPayload, NotUpstream, StoreUnavailable
from eida_statistics.payload import Payload
from eida_stats_webservice.store.database import first_line
from eida_stats_webservice.store.records import digest
from eida_stats_webservice.store.uri import sqlite_path

_ROWS_AT_ONCE = 5000
_FAILED = ("nb_unsuccessful_reqs", "nb_failed_reqs", "nb_failedrequests")
_NEEDED = {
    "nodes": {"id", "name"},
    "tokens": {"node_id", "value", "valid_from", "valid_until"},
    "payloads": {"node_id", "coverage"},
    "dataselect_stats": {
        *("node_id", "date", "network", "station", "location", "channel", "country"),
        *("bytes", "nb_reqs", "nb_successful_reqs", "clients"),
    },
}

_Row = dict[str, Any]
_Days = dict[tuple[int, datetime.date], set[datetime.date]]


class Upstream:
    """A connection to it, on which nothing is written, and which is to be closed.

    Raises:
        ConfigurationError: if the URI cannot be understood.
        NotUpstream: if it has not these tables.
        StoreUnavailable: if it cannot be reached.
    """

    def __init__(self, uri: str) -> None:
        if sqlite_path(uri, "the URI of the old database") is not None:
            raise NotUpstream("it is an SQLite database", hint="Is it the URI of the old database?")
        with _translated():
            self._connection = psycopg2.connect(uri, application_name="eida-statistics", options="-c timezone=UTC")
            # All of it as it is at one moment.
            self._connection.set_session(readonly=True, isolation_level="REPEATABLE READ")
        columns: dict[str, set[str]] = {table: set() for table in (*_NEEDED, "networks")}
        for row in self._select(
            "SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = 'public'"
        ):
            columns.setdefault(row["table_name"], set()).add(row["column_name"])
        self._columns = columns
        missing = [f"{table}.{name}" for table, names in _NEEDED.items() for name in sorted(names - columns[table])]
        if missing:
            self.close()
            raise NotUpstream(f"it lacks {', '.join(missing)}", hint="Is it the URI of the old database?")

    def close(self) -> None:
        """End the connection."""
        self._connection.close()

    def nodes(self) -> Iterator[_Row]:
        """Give the nodes, with what tells who sees them."""
        for row in self._select("SELECT * FROM nodes ORDER BY id"):
            yield {
                "id": row["id"],
                "name": row["name"],
                "contact": row.get("contact") or "",
                "restriction_policy": bool(row.get("restriction_policy")),
                "eas_group": row.get("eas_group") or None,
                "created_at": row.get("created_at") or _now(),
            }

    def tokens(self) -> Iterator[_Row]:
        """Give the tokens, hashed: there they are in clear."""
        seen = set()
        for row in self._select("SELECT * FROM tokens WHERE node_id IS NOT NULL ORDER BY valid_until DESC"):
            value = digest(row["value"])
            # Whose value is there twice, the one that is valid longest counts.
            if value not in seen and row["valid_until"] > row["valid_from"]:
                seen.add(value)
                yield {
                    "node_id": row["node_id"],
                    "value": value,
                    "valid_from": row["valid_from"],
                    "valid_until": row["valid_until"],
                    "created_at": row.get("created_at") or row.get("create_at") or _now(),
                }

    def networks(self) -> Iterator[_Row]:
        """Give the networks whose policy or group is known."""
        if not self._columns["networks"]:
            return
        for row in self._select("SELECT * FROM networks WHERE name <> '' ORDER BY node_id, name"):
            yield {
                "node_id": row["node_id"],
                "name": row["name"],
                "inverted_policy": bool(row.get("inverted_policy")),
                "eas_group": row.get("eas_group") or None,
            }

    def months(self) -> Iterator[tuple[int, datetime.date, Payload]]:
        """Give the statistics of each month of each node as one payload, of the days that were received of it.

        Raises:
            InvalidPayload: if there is something in them that cannot be taken in.
        """
        days = self._days()
        sql = (
            "SELECT *, date_trunc('month', date)::date AS month FROM dataselect_stats WHERE node_id IS NOT NULL"
            " ORDER BY node_id, month"
        )
        for key, rows in itertools.groupby(self._select(sql), key=lambda row: (row["node_id"], row["month"])):
            yield (*key, _payload(*key, days.pop(key, set()), map(_sent, rows)))
        # Days on which nothing was delivered.
        for key in sorted(days):
            yield (*key, _payload(*key, days[key], iter(())))

    def _days(self) -> _Days:
        found: _Days = {}
        for row in self._select("SELECT node_id, unnest(coverage) AS day FROM payloads WHERE node_id IS NOT NULL"):
            found.setdefault((row["node_id"], row["day"].replace(day=1)), set()).add(row["day"])
        return found

    def _select(self, sql: str) -> Iterator[_Row]:
        with _translated(), self._connection.cursor("upstream", psycopg2.extras.RealDictCursor) as cursor:
            cursor.itersize = _ROWS_AT_ONCE
            cursor.execute(sql)
            yield from map(dict, cursor)


def _sent(row: _Row) -> _Row:
    """Give a row as a node sends it."""
    return {
        "month": row["month"],
        **{name: row[name] or "" for name in ("network", "station", "location", "channel", "country")},
        "bytes": row["bytes"] or 0,
        "nb_requests": row["nb_reqs"] or 0,
        "nb_successful_requests": row["nb_successful_reqs"] or 0,
        "nb_unsuccessful_requests": _failed(row),
        "clients": row["clients"],
    }


def _failed(row: _Row) -> int:
    for name in _FAILED:
        if row.get(name) is not None:
            return int(row[name])
    return max((row["nb_reqs"] or 0) - (row["nb_successful_reqs"] or 0), 0)


def _payload(node: int, month: datetime.date, days: set[datetime.date], rows: Iterator[_Row]) -> Payload:
    today = _now().date()
    if not days:
        # What was received is not known; it is of this month.
        last = calendar.monthrange(month.year, month.month)[1]
        days = {month.replace(day=day) for day in range(1, last + 1)}
    covered = sorted(day for day in days if day <= today) or [min(days)]
    sent = {
        "generated_at": f"{_now():%Y-%m-%d %H:%M:%S}",
        "version": "import",
        "days_coverage": covered,
        "stats": list(rows),
    }
    try:
        return wire.decode(msgspec.json.encode(sent), today=today)
    except InvalidPayload as error:
        raise InvalidPayload(
            [(f"node {node}, {month:%Y-%m}: {path}", message) for path, message in error.errors]
        ) from error


def _now() -> datetime.datetime:
    return datetime.datetime.now(tz=datetime.UTC)


@contextmanager
def _translated() -> Iterator[None]:
    """Give the driver's errors the names that the edges know."""
    try:
        yield
    except psycopg2.Error as error:
        raise StoreUnavailable(first_line(error)) from error
