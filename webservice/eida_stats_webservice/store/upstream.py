"""A database of the statistics service that was deployed before: what is in it, in the form of this one.

Its tables are those of the migrations in the public repository EIDA/eida-statistics. In the course of time some of
their columns had other names.
"""

import datetime
import itertools
import re
from collections.abc import Iterator
from typing import Any

import msgspec
from psycopg2 import extras

from eida_statistics import hll, wire
from eida_statistics.errors import InvalidPayload, NotTakenOver, NotUpstream
from eida_statistics.payload import Payload
from eida_stats_webservice.store.driver_errors import translate_errors
from eida_stats_webservice.store.overlaps import last_day_of
from eida_stats_webservice.store.records import digest
from eida_stats_webservice.store.session import begin, connect, wait_without_limit
from eida_stats_webservice.store.uri import sqlite_path

_ROWS_AT_ONCE = 5000
_HINT = "Correct or delete it, there or in a copy, and run this again."
_NOBODY = hll.to_hex(hll.encode([]))
# Nothing in these tables refers to a node by a constraint.
_OF_A_NODE = "node_id IN (SELECT id FROM nodes)"
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
        with translate_errors():
            self._connection = connect(uri)
            # All of it as it is at one moment.
            self._connection.set_session(readonly=True, isolation_level="REPEATABLE READ")
            begin(self._connection)
            wait_without_limit(self._connection)
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
        """Give the nodes, with what tells who sees them.

        Raises:
            NotTakenOver: if two have the same name, or one has none.
        """
        seen: set[str] = set()
        for row in self._select("SELECT * FROM nodes ORDER BY id"):
            name = row["name"]
            if not name or name in seen:
                wrong = f"there is another one called {name}" if name else "it has no name"
                raise NotTakenOver(f"nodes, id {row['id']}: {wrong}", hint=_HINT)
            seen.add(name)
            yield {
                "id": row["id"],
                "name": name,
                "contact": row.get("contact") or "",
                "restriction_policy": bool(row.get("restriction_policy")),
                "eas_group": row.get("eas_group") or None,
                "created_at": row.get("created_at") or _now(),
            }

    def tokens(self) -> Iterator[_Row]:
        """Give the tokens, hashed: there they are in clear."""
        seen = set()
        sql = f"SELECT * FROM tokens WHERE {_OF_A_NODE} AND value IS NOT NULL ORDER BY valid_until DESC"  # noqa: S608
        for row in self._select(sql):
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
        sql = f"SELECT * FROM networks WHERE {_OF_A_NODE} AND name <> '' ORDER BY node_id, name"  # noqa: S608
        for row in self._select(sql):
            yield {
                "node_id": row["node_id"],
                "name": row["name"],
                "inverted_policy": bool(row.get("inverted_policy")),
                "eas_group": row.get("eas_group") or None,
            }

    def months(self) -> Iterator[tuple[int, datetime.date, Payload]]:
        """Give the statistics of each month of each node as one payload, of the days that were received of it.

        Raises:
            NotTakenOver: if there is something in them that cannot be.
        """
        self._check_owners()
        names = {row["id"]: row["name"] for row in self.nodes()}
        days = self._days()
        sql = (
            "SELECT *, date_trunc('month', date)::date AS month FROM dataselect_stats"
            " ORDER BY node_id, month, network, station, location, channel, country"
        )
        for key, found in itertools.groupby(self._select(sql), key=lambda row: (row["node_id"], row["month"])):
            node, month = key
            rows = list(map(_sent, found))
            yield node, month, _payload(names[node], month, days.pop(key, set()), rows)
        # Days on which nothing was delivered.
        for node, month in sorted(days):
            yield node, month, _payload(names[node], month, days[node, month], [])

    def _check_owners(self) -> None:
        """Refuse statistics that would be lost, since it is not known whose they are, or when."""
        sql = (
            "SELECT count(*) AS rows, coalesce(sum(bytes), 0) AS bytes FROM dataselect_stats"  # noqa: S608
            f" WHERE ({_OF_A_NODE}) IS NOT TRUE OR date IS NULL"
        )
        (lost,) = self._select(sql)
        if lost["rows"]:
            raise NotTakenOver(
                f"{lost['rows']:,} rows of dataselect_stats, with {lost['bytes']:,} bytes, have no node or no date",
                hint=_HINT,
            )

    def _days(self) -> _Days:
        """Give the days that were received, by node and month; what is in the future was a wrong clock."""
        found: _Days = {}
        sql = f"SELECT node_id, unnest(coverage) AS day FROM payloads WHERE {_OF_A_NODE}"  # noqa: S608
        for row in self._select(sql):
            day = row["day"]
            if day is not None and day <= _now().date():
                found.setdefault((row["node_id"], day.replace(day=1)), set()).add(day)
        return found

    def _select(self, sql: str) -> Iterator[_Row]:
        with translate_errors(), self._connection.cursor("upstream", extras.RealDictCursor) as cursor:
            cursor.itersize = _ROWS_AT_ONCE
            cursor.execute(sql)
            yield from map(dict, cursor)


def _sent(row: _Row) -> _Row:
    """Give a row as a node sends it; what is not known counts nothing."""
    return {
        "month": row["month"],
        **{name: row[name] or "" for name in ("network", "station", "location", "channel", "country")},
        "bytes": row["bytes"] or 0,
        "nb_requests": row["nb_reqs"] or 0,
        "nb_successful_requests": row["nb_successful_reqs"] or 0,
        "nb_unsuccessful_requests": _failed(row),
        "clients": row["clients"] or _NOBODY,
    }


def _failed(row: _Row) -> int:
    for name in _FAILED:
        if name in row:
            return int(row[name] or 0)
    return max((row["nb_reqs"] or 0) - (row["nb_successful_reqs"] or 0), 0)


def _payload(node: str, month: datetime.date, days: set[datetime.date], rows: list[_Row]) -> Payload:
    today = _now().date()
    if not days:
        # What was received is not known; it is of this month.
        last = min(last_day_of(month), max(today, month))
        days = {month.replace(day=day) for day in range(1, last.day + 1)}
    sent = {
        "generated_at": f"{_now():%Y-%m-%d %H:%M:%S}",
        "version": "import",
        "days_coverage": sorted(days),
        "stats": rows,
    }
    try:
        return wire.decode(msgspec.json.encode(sent), today=today)
    except InvalidPayload as error:
        wrong = "; ".join(f"{_place(path, rows)}: {message}" for path, message in error.errors[:5])
        raise NotTakenOver(f"{node} {month:%Y-%m}: {wrong}", hint=_HINT) from error


def _place(path: str, rows: list[_Row]) -> str:
    """Name a row by its stream, by which it is found."""
    named = re.match(r"stats\[(\d+)\]\.?(.*)", path)
    if named is None:
        return path
    row = rows[int(named[1])]
    stream = ".".join(row[name] for name in ("network", "station", "location", "channel"))
    return f"{stream} of country {row['country'] or '(none)'}, {named[2]}"


def _now() -> datetime.datetime:
    return datetime.datetime.now(tz=datetime.UTC)
