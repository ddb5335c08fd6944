"""Read a database of the statistics service that was deployed before, in the form of this one.

Its tables are those of the migrations in the public repository EIDA/eida-statistics. Some of their columns had
other names over time.
"""

import datetime
import itertools
import re
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from functools import cached_property
from pathlib import Path
from typing import Any

from psycopg2 import DataError, extensions, extras

from eida_statistics.errors import InvalidPayload
from eida_statistics.months import format_month
from eida_statistics.payload import EARLIEST_DAY
from eida_statistics.wire import Decoded
from eida_stats_webservice.database.driver_errors import translate_errors
from eida_stats_webservice.database.postgresql import PostgreSQL
from eida_stats_webservice.database.uri import parse_sqlite_path
from eida_stats_webservice.dataselect.legacy_rows import (
    LARGE,
    BadRow,
    BadToken,
    Month,
    Row,
    convert_row,
    decode_month,
    describe_bad_row,
    find_large_sums,
    get_now,
)
from eida_stats_webservice.errors import NotTakenOver, NotUpstream
from eida_stats_webservice.registry.models import hash_token, is_node_name, strip_group_prefix

_ROWS_AT_ONCE = 5000
_HINT = "Correct or delete it, there or in a copy, and run this again."
_NEEDED = {
    "nodes": {"id", "name"},
    "tokens": {"node_id", "value", "valid_from", "valid_until"},
    "payloads": {"node_id", "coverage"},
    "dataselect_stats": {
        *("node_id", "date", "network", "station", "location", "channel", "country"),
        *("bytes", "nb_reqs", "nb_successful_reqs", "clients"),
    },
}

_FIRST_TIME = datetime.datetime(1990, 1, 1, tzinfo=datetime.UTC)
_LAST_TIME = datetime.datetime(9999, 12, 1, tzinfo=datetime.UTC)

_Days = dict[tuple[int, datetime.date], set[datetime.date]]


class LegacyDatabase:
    """A connection that only reads. Close it after use.

    Attributes:
        bad_rows: rows that cannot be imported, found by `read_months`.
        bad_tokens: tokens that are left out, found by `read_tokens`.

    Raises:
        ConfigurationError: if the URI cannot be understood.
        NotUpstream: if it lacks these tables.
        DatabaseUnavailable: if it cannot be reached.
    """

    def __init__(self, uri: str) -> None:
        self.bad_rows: list[BadRow] = []
        self.bad_tokens: list[BadToken] = []
        if parse_sqlite_path(uri, "the URI of the old database") is not None:
            raise NotUpstream("it is an SQLite database", hint="Check the URI of the old database.")
        self._queries = PostgreSQL.load_queries(Path(__file__).parent, "legacy_import")
        self._stack = ExitStack()
        database = self._stack.enter_context(closing(PostgreSQL(uri)))
        # Read everything as it is at one moment.
        self._connection = self._stack.enter_context(database.snapshot())
        with translate_errors():
            database.wait_without_limit(self._connection)
            self._queries.prefer_public(self._connection)
            for kind in (_DATE, _TIMESTAMP):
                extensions.register_type(kind, self._connection)
        columns: dict[str, set[str]] = {table: set() for table in (*_NEEDED, "networks")}
        for row in self._select(self._queries.columns):
            columns.setdefault(row["table_name"], set()).add(row["column_name"])
        self._columns = columns
        missing = [f"{table}.{name}" for table, names in _NEEDED.items() for name in sorted(names - columns[table])]
        if missing:
            self.close()
            raise NotUpstream(
                f"it lacks {', '.join(missing)}", hint="Check that this is the URI of the old database."
            )

    def close(self) -> None:
        """End the connection."""
        self._stack.close()

    def read_nodes(self) -> Iterator[Row]:
        """Yield the nodes, with their policies and groups.

        Raises:
            NotTakenOver: if two have the same name, or one has a name that no node can have.
        """
        seen: set[str] = set()
        for row in self._select(self._queries.nodes):
            name = (row["name"] or "").strip()
            wrong = ""
            if not name:
                wrong = "it has no name"
            elif not is_node_name(name):
                wrong = "it has a name that no node can have"
            elif name in seen:
                wrong = f"there is another one called {name}"
            if wrong:
                raise NotTakenOver(f"nodes, id {row['id']}: {wrong}", hint=_HINT)
            seen.add(name)
            yield {
                "id": row["id"],
                "name": name,
                "contact": row.get("contact") or "",
                "restriction_policy": bool(row.get("restriction_policy")),
                "eas_group": strip_group_prefix(row.get("eas_group") or "") or None,
                "created_at": _clamp_time(row.get("created_at")),
            }

    @cached_property
    def _names(self) -> dict[int, str]:
        return {row["id"]: row["name"] for row in self.read_nodes()}

    def read_tokens(self) -> Iterator[Row]:
        """Yield the tokens, hashed. Tokens that are left out are in `bad_tokens`."""
        names = self._names
        rows = list(self._select(self._queries.tokens))
        owners: defaultdict[str, set[int]] = defaultdict(set)
        for row in rows:
            if row["value"] and row["node_id"] in names:
                owners[row["value"]].add(row["node_id"])
        first: dict[str, int] = {}
        for row in rows:
            value = row["value"]
            reason = ""
            if row["node_id"] not in names:
                reason = "it has no node"
            elif not value:
                reason = "it has no value"
            elif len(owners[value]) > 1:
                reason = f"{len(owners[value])} nodes share its value"
            elif row["valid_until"] <= row["valid_from"]:
                reason = "it ended before it began"
            elif value in first:
                reason = f"it has the value of token {first[value]}, which is valid longer"
            if reason:
                self.bad_tokens.append(BadToken(row["id"], names.get(row["node_id"], ""), reason))
                continue
            first[value] = row["id"]
            yield {
                "node_id": row["node_id"],
                "value": hash_token(value),
                "valid_from": _clamp_time(row["valid_from"]),
                "valid_until": _clamp_time(row["valid_until"]),
                "created_at": _clamp_time(row.get("created_at") or row.get("create_at")),
            }

    def read_networks(self) -> Iterator[Row]:
        """Yield the networks whose policy or group is known."""
        if not self._columns["networks"]:
            return
        for row in self._select(self._queries.networks):
            yield {
                "node_id": row["node_id"],
                "name": row["name"],
                "inverted_policy": bool(row.get("inverted_policy")),
                "eas_group": strip_group_prefix(row.get("eas_group") or "") or None,
            }

    def read_months(self) -> Iterator[Month]:
        """Yield the statistics of each month of each node as one payload, with the days that were received.

        Rows that cannot be imported are in `bad_rows` instead, which is complete at the end.
        """
        names = self._names
        days = self._read_days()
        self._add_ownerless()
        for key, found in itertools.groupby(
            self._select(self._queries.months), key=lambda row: (row["node_id"], row["month"])
        ):
            node, month = key
            rows = list(map(convert_row, found))
            if not EARLIEST_DAY <= month <= get_now().date():
                self.bad_rows += [
                    describe_bad_row(names[node], row, "no month that statistics can have") for row in rows
                ]
                continue
            decoded = self._decode(names[node], month, days.pop(key, set()), rows)
            yield Month(node, month, decoded.payload, decoded.countries_changed)
        # Days on which nothing was delivered.
        for node, month in sorted(days):
            decoded = self._decode(names[node], month, days[node, month], [])
            yield Month(node, month, decoded.payload, 0)

    def _decode(self, node: str, month: datetime.date, days: set[datetime.date], rows: list[Row]) -> Decoded:
        """Decode a month without its bad rows. The decoder names some of them at a time, until none is left."""
        while True:
            try:
                return decode_month(month, days, rows)
            except InvalidPayload as error:
                bad: dict[int, list[str]] = {}
                for path, message in error.errors:
                    if named := re.match(r"stats\[(\d+)\]\.?(.*)", path):
                        bad.setdefault(int(named[1]), []).append(f"{named[2]}: {message}")
                if not bad:
                    # Each row is valid, but a sum is too large.
                    bad = {number: [LARGE] for number in find_large_sums(rows)}
                if not bad:
                    wrong = "; ".join(message for _, message in error.errors)
                    raise NotTakenOver(f"{node} {format_month(month)}: {wrong}", hint=_HINT) from error
                self.bad_rows += [
                    describe_bad_row(node, rows[number], "; ".join(reasons)) for number, reasons in bad.items()
                ]
                rows = [row for number, row in enumerate(rows) if number not in bad]

    def _add_ownerless(self) -> None:
        """Add rows without a node or date to the bad rows."""
        for row in self._select(self._queries.ownerless):
            node = self._names.get(row["node_id"], "")
            reason = "it has no date" if node else "it has no node"
            self.bad_rows.append(describe_bad_row(node, convert_row(row), reason))

    def _read_days(self) -> _Days:
        """Return the days that were received, by node and month, without impossible days of wrong clocks."""
        found: _Days = {}
        for row in self._select(self._queries.days):
            day = row["day"]
            if day is not None and EARLIEST_DAY <= day <= get_now().date():
                found.setdefault((row["node_id"], day.replace(day=1)), set()).add(day)
        return found

    def _select(self, query: Any) -> Iterator[Row]:
        with translate_errors(), self._connection.cursor("upstream", extras.RealDictCursor) as cursor:
            cursor.itersize = _ROWS_AT_ONCE
            cursor.execute(query.sql)
            yield from map(dict, cursor)


def _clamp(read: Callable[[Any, Any], Any], first: Any, last: Any) -> Callable[[Any, Any], Any]:
    """Return a function that reads a date or time, and returns the nearest bound for one that Python lacks."""

    def clamped(text: Any, cursor: Any) -> Any:
        try:
            return read(text, cursor)
        except (ValueError, OverflowError, DataError):
            return first if text is not None and text.endswith("BC") else last

    return clamped


_DATE = extensions.new_type((1082,), "DATE", _clamp(extensions.DATE, datetime.date.min, datetime.date.max))
_TIMESTAMP = extensions.new_type(
    (1184,),
    "TIMESTAMPTZ",
    _clamp(
        extensions.PYDATETIMETZ,
        datetime.datetime.min.replace(tzinfo=datetime.UTC),
        datetime.datetime.max.replace(tzinfo=datetime.UTC),
    ),
)


def _clamp_time(value: datetime.datetime | None) -> datetime.datetime:
    """Return a time within the bounds that clients can show; the present time if it is unknown."""
    if value is None:
        return get_now()
    return min(max(value, _FIRST_TIME), _LAST_TIME)
