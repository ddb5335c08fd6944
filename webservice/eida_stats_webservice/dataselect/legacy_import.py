"""A database of the statistics service that was deployed before, in the form of this one.

Its tables are those of the migrations in the public repository EIDA/eida-statistics. In the course of time some of
their columns had other names.
"""

import datetime
import itertools
import re
from collections import defaultdict
from collections.abc import Callable, Iterator
from functools import cached_property
from typing import Any, NamedTuple

import msgspec
from psycopg2 import DataError, extensions, extras

from eida_statistics import hll, wire
from eida_statistics.errors import InvalidPayload
from eida_statistics.payload import MAX_COUNT, Payload, normalize_country
from eida_statistics.texts import printable
from eida_statistics.wire import EARLIEST_DAY, Decoded
from eida_stats_webservice.database.driver_errors import translate_errors
from eida_stats_webservice.database.session import begin, connect, wait_without_limit
from eida_stats_webservice.database.uri import parse_sqlite_path
from eida_stats_webservice.dataselect.days import find_last_day
from eida_stats_webservice.errors import NotTakenOver, NotUpstream
from eida_stats_webservice.registry.models import hash_token, is_node_name, strip_group_prefix

_ROWS_AT_ONCE = 5000
_HINT = "Correct or delete it, there or in a copy, and run this again."
# The old service stored this for a code that it did not know.
_ANY = "*"
_LARGE = "more than 2^53-1 of something, with those rows that become equal"
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

_FIRST_TIME = datetime.datetime(1990, 1, 1, tzinfo=datetime.UTC)
_LAST_TIME = datetime.datetime(9999, 12, 1, tzinfo=datetime.UTC)

_Row = dict[str, Any]
_Days = dict[tuple[int, datetime.date], set[datetime.date]]


class BadRow(NamedTuple):
    """A row of statistics that cannot be taken over: where it is, what it has, and why."""

    node: str
    date: str
    network: str
    station: str
    location: str
    channel: str
    country: str
    bytes: int
    requests: int
    reason: str

    def __str__(self) -> str:
        stream = ".".join((self.network, self.station, self.location, self.channel))
        where = f"{self.node or '(no node)'} {self.date or '(no date)'}: {stream}"
        return printable(f"{where} of country {self.country or '(none)'}: {self.reason}")


class BadToken(NamedTuple):
    """A token that is not taken over: its number and node there, and why. Its value is a secret."""

    number: int
    node: str
    reason: str


class Month(NamedTuple):
    """The statistics of a month of a node, and the number of rows whose country was changed."""

    node: int
    month: datetime.date
    payload: Payload
    countries_changed: int


class Upstream:
    """A connection to it, on which nothing is written, and which is to be closed.

    Attributes:
        bad_rows: those that were found while the months were read.
        bad_tokens: those that were found while the tokens were read.

    Raises:
        ConfigurationError: if the URI cannot be understood.
        NotUpstream: if it has not these tables.
        DatabaseUnavailable: if it cannot be reached.
    """

    def __init__(self, uri: str) -> None:
        self.bad_rows: list[BadRow] = []
        self.bad_tokens: list[BadToken] = []
        if parse_sqlite_path(uri, "the URI of the old database") is not None:
            raise NotUpstream("it is an SQLite database", hint="Is it the URI of the old database?")
        with translate_errors():
            self._connection = connect(uri)
            # All of it as it is at one moment.
            self._connection.set_session(readonly=True, isolation_level="REPEATABLE READ")
            begin(self._connection)
            wait_without_limit(self._connection)
            with self._connection.cursor() as cursor:
                # Its tables are there, whatever the search_path of the role is.
                cursor.execute(
                    "SELECT set_config('search_path', 'public, ' || current_setting('search_path'), false)"
                )
            for kind in (_DATE, _TIMESTAMP):
                extensions.register_type(kind, self._connection)
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
        """Yield the nodes, with their policies and groups.

        Raises:
            NotTakenOver: if two have the same name, or one has none that a node can have.
        """
        seen: set[str] = set()
        for row in self._select("SELECT * FROM nodes ORDER BY id"):
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
                "created_at": _time(row.get("created_at")),
            }

    @cached_property
    def _names(self) -> dict[int, str]:
        """The names of the nodes, by their numbers there."""
        return {row["id"]: row["name"] for row in self.nodes()}

    def tokens(self) -> Iterator[_Row]:
        """Yield the tokens, hashed: there they are in clear. Those that are left out are in `bad_tokens`."""
        names = self._names
        rows = list(self._select("SELECT * FROM tokens ORDER BY valid_until DESC, id"))
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
                "valid_from": _time(row["valid_from"]),
                "valid_until": _time(row["valid_until"]),
                "created_at": _time(row.get("created_at") or row.get("create_at")),
            }

    def networks(self) -> Iterator[_Row]:
        """Yield the networks whose policy or group is known."""
        if not self._columns["networks"]:
            return
        sql = f"SELECT * FROM networks WHERE {_OF_A_NODE} AND name <> '' ORDER BY node_id, name"  # noqa: S608
        for row in self._select(sql):
            yield {
                "node_id": row["node_id"],
                "name": row["name"],
                "inverted_policy": bool(row.get("inverted_policy")),
                "eas_group": strip_group_prefix(row.get("eas_group") or "") or None,
            }

    def months(self) -> Iterator[Month]:
        """Yield the statistics of each month of each node as one payload, of the days that were received of it.

        Rows that cannot be taken over are not in it, but in `bad_rows`, at the end all of them.
        """
        names = self._names
        days = self._days()
        self._note_ownerless()
        sql = (
            "SELECT *, date_trunc('month', date)::date AS month FROM dataselect_stats"  # noqa: S608
            f" WHERE ({_OF_A_NODE}) AND date IS NOT NULL"
            " ORDER BY node_id, month, network, station, location, channel, country"
        )
        for key, found in itertools.groupby(self._select(sql), key=lambda row: (row["node_id"], row["month"])):
            node, month = key
            rows = list(map(_sent, found))
            if not EARLIEST_DAY <= month <= _now().date():
                self.bad_rows += [_bad_row(names[node], row, "no month that statistics can have") for row in rows]
                continue
            decoded = self._decode(names[node], month, days.pop(key, set()), rows)
            yield Month(node, month, decoded.payload, decoded.countries_changed)
        # Days on which nothing was delivered.
        for node, month in sorted(days):
            decoded = self._decode(names[node], month, days[node, month], [])
            yield Month(node, month, decoded.payload, 0)

    def _decode(self, node: str, month: datetime.date, days: set[datetime.date], rows: list[_Row]) -> Decoded:
        """Decode a month without its bad rows: the decoder names some of them, then others, until none is left."""
        while True:
            try:
                return _decoded(month, days, rows)
            except InvalidPayload as error:
                bad: dict[int, list[str]] = {}
                for path, message in error.errors:
                    if named := re.match(r"stats\[(\d+)\]\.?(.*)", path):
                        bad.setdefault(int(named[1]), []).append(f"{named[2]}: {message}")
                if not bad:
                    # Each row is right by itself, and a sum is too large.
                    bad = {number: [_LARGE] for number in _with_large_sums(rows)}
                if not bad:
                    wrong = "; ".join(message for _, message in error.errors)
                    raise NotTakenOver(f"{node} {month:%Y-%m}: {wrong}", hint=_HINT) from error
                self.bad_rows += [
                    _bad_row(node, rows[number], "; ".join(reasons)) for number, reasons in bad.items()
                ]
                rows = [row for number, row in enumerate(rows) if number not in bad]

    def _note_ownerless(self) -> None:
        """Note rows of which it is not known whose they are, or when."""
        sql = (
            "SELECT *, date AS month FROM dataselect_stats"  # noqa: S608
            f" WHERE ({_OF_A_NODE}) IS NOT TRUE OR date IS NULL ORDER BY node_id, date"
        )
        for row in self._select(sql):
            node = self._names.get(row["node_id"], "")
            reason = "it has no date" if node else "it has no node"
            self.bad_rows.append(_bad_row(node, _sent(row), reason))

    def _days(self) -> _Days:
        """Return the days that were received, by node and month; a day that cannot be was a wrong clock."""
        found: _Days = {}
        # One after the other: a list with a day that Python lacks could not be read at all.
        sql = f"SELECT node_id, unnest(coverage) AS day FROM payloads WHERE {_OF_A_NODE}"  # noqa: S608
        for row in self._select(sql):
            day = row["day"]
            if day is not None and EARLIEST_DAY <= day <= _now().date():
                found.setdefault((row["node_id"], day.replace(day=1)), set()).add(day)
        return found

    def _select(self, sql: str) -> Iterator[_Row]:
        with translate_errors(), self._connection.cursor("upstream", extras.RealDictCursor) as cursor:
            cursor.itersize = _ROWS_AT_ONCE
            cursor.execute(sql)
            yield from map(dict, cursor)


def _sent(row: _Row) -> _Row:
    """Return a row as a node sends it; unknown numbers are 0."""
    codes = {name: row[name] or "" for name in ("network", "station", "location", "channel", "country")}
    if codes["location"] == _ANY:
        codes["location"] = ""
    return {
        "month": row["month"],
        **codes,
        "bytes": row["bytes"] or 0,
        "nb_requests": row["nb_reqs"] or 0,
        "nb_successful_requests": row["nb_successful_reqs"] or 0,
        "nb_unsuccessful_requests": _failed(row),
        "clients": row["clients"] or _NOBODY,
    }


def _with_large_sums(rows: list[_Row]) -> list[int]:
    """Return the numbers of the rows that become equal and have more together than a payload can."""
    same: defaultdict[tuple[str, ...], list[int]] = defaultdict(list)
    for number, row in enumerate(rows):
        same[_key(row)].append(number)
    large = (
        numbers
        for numbers in same.values()
        if any(sum(rows[number][name] for number in numbers) > MAX_COUNT for name in wire.COUNTS)
    )
    return sorted(itertools.chain.from_iterable(large))


def _key(row: _Row) -> tuple[str, ...]:
    codes = (str(row[name]) for name in ("network", "station", "location", "channel"))
    return (*codes, normalize_country(row["country"]))


def _bad_row(node: str, row: _Row, reason: str) -> BadRow:
    return BadRow(
        node=node,
        date="" if row["month"] is None else row["month"].isoformat()[:7],
        **{name: row[name] for name in ("network", "station", "location", "channel", "country")},
        bytes=row["bytes"],
        requests=row["nb_requests"],
        reason=reason,
    )


def _failed(row: _Row) -> int:
    for name in _FAILED:
        if name in row:
            return int(row[name] or 0)
    return max((row["nb_reqs"] or 0) - (row["nb_successful_reqs"] or 0), 0)


def _decoded(month: datetime.date, days: set[datetime.date], rows: list[_Row]) -> Decoded:
    today = _now().date()
    if not days:
        # Which days were received is not known; they are of this month.
        last = min(find_last_day(month), max(today, month))
        days = {month.replace(day=day) for day in range(1, last.day + 1)}
    sent = {
        "generated_at": f"{_now():%Y-%m-%d %H:%M:%S}",
        "version": "import",
        "days_coverage": sorted(days),
        "stats": rows,
    }
    return wire.decode_with_changes(msgspec.json.encode(sent), today=today)


def _clamped(read: Callable[[Any, Any], Any], first: Any, last: Any) -> Callable[[Any, Any], Any]:
    """Return a function that reads a date or time, and returns the nearest bound for one that Python lacks."""

    def clamped(text: Any, cursor: Any) -> Any:
        try:
            return read(text, cursor)
        except (ValueError, OverflowError, DataError):
            return first if text is not None and text.endswith("BC") else last

    return clamped


_DATE = extensions.new_type((1082,), "DATE", _clamped(extensions.DATE, datetime.date.min, datetime.date.max))
_TIMESTAMP = extensions.new_type(
    (1184,),
    "TIMESTAMPTZ",
    _clamped(
        extensions.PYDATETIMETZ,
        datetime.datetime.min.replace(tzinfo=datetime.UTC),
        datetime.datetime.max.replace(tzinfo=datetime.UTC),
    ),
)


def _time(value: datetime.datetime | None) -> datetime.datetime:
    """Return a time, the present one if it is not known; the ends of time are those that a client can show."""
    if value is None:
        return _now()
    return min(max(value, _FIRST_TIME), _LAST_TIME)


def _now() -> datetime.datetime:
    return datetime.datetime.now(tz=datetime.UTC)
