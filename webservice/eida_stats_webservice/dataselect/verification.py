"""Verify the sums against the payloads, and rebuild them."""

import datetime
import zlib
from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from eida_statistics import hll
from eida_statistics.encoding import PayloadSummary, encode
from eida_statistics.errors import InvalidSketch
from eida_statistics.payload import Period, Row
from eida_stats_webservice.database.base import as_time, iso, now
from eida_stats_webservice.dataselect.legacy_import import Upstream
from eida_stats_webservice.dataselect.models import PAYLOADS, Difference
from eida_stats_webservice.dataselect.overlaps import last_day_of
from eida_stats_webservice.dataselect.repository import Ledger, identity_columns, identity_of, naming_damaged
from eida_stats_webservice.errors import BadRows, DamagedPayload, DatabaseNotEmpty
from eida_stats_webservice.registry.models import Node

_STREAM = ("date", "network", "station", "location", "channel", "country")
# The columns that identify a row of a node.
_TABLES = {
    "dataselect_stats": _STREAM,
    "dataselect_stats_by_network_country": ("date", "network", "country"),
    "dataselect_stats_by_network": ("date", "network"),
    "dataselect_stats_by_country": ("date", "country"),
}
_COUNTS = ("bytes", "nb_reqs", "nb_successful_reqs", "nb_failedrequests")

# All that is not a sum.
_COPIED = {
    "nodes": (
        *("id", "name", "contact", "restriction_policy", "eas_group"),
        *("revision", "changed_at", "created_at"),
    ),
    "tokens": ("id", "node_id", "network", "value", "valid_from", "valid_until", "revoked_at", "created_at"),
    "networks": ("node_id", "name", "inverted_policy", "eas_group", "created_at"),
}
_COPIED_OF_PAYLOADS = (
    *("id", "node_id", "hash", "content", "source", "period_start", "period_end", "starts_at", "ends_at"),
    *("generated_at", "version", "nb_rows", "origin", "withdrawn_at", "revision", "created_at"),
)

_Key = tuple[str, ...]
# The counts, and a sketch.
_Sums = tuple[tuple[int, ...], bytes]


class Audit(Ledger):
    """Verifies and rebuilds sums, and copies databases."""

    def verify(self, node: str = "") -> Iterator[tuple[str, datetime.date, list[Difference]]]:
        """Recompute all sums from the payloads in force; it does not trust the queries that made them.

        Args:
            node: one node only.

        Yields:
            A node, a month, and the differences there. A payload that arrives meanwhile waits until this month is
            done, or is sent again.
        """
        for owner, month in self._months(node):
            with self.transaction(write=True) as connection:
                self.queries.be_patient(connection)
                self.lock(connection, owner)
                differences = list(self._differences(connection, owner, month))
            yield owner.name, month, differences

    def replay(self, node: str = "") -> Iterator[tuple[str, datetime.date]]:
        """Make all sums again from the payloads in force, month by month, each in one transaction.

        Source and period of payloads are read again first, where an older version has dropped them from the table.

        Args:
            node: one node only.

        Yields:
            The node and the month that are done.
        """
        months = self._months(node)
        for owner in dict.fromkeys(owner for owner, _ in months):
            with self.transaction(write=True) as connection:
                self.queries.be_patient(connection)
                self.lock(connection, owner)
                self._restore_identities(connection, owner)
        for owner, month in months:
            with self.transaction(write=True) as connection:
                self.queries.be_patient(connection)
                self.lock(connection, owner)
                self._rebuild(connection, owner, {month})
                self.queries.bump_revision(connection, node_id=owner.id)
            yield owner.name, month

    def take_over(self, source: "Audit") -> int:
        """Copy nodes, tokens, networks and payloads of another database into this empty one; sums are not copied.

        Returns:
            How many payloads there are.

        Raises:
            DatabaseNotEmpty: if there are nodes here.
        """
        with source.snapshot() as there, self.transaction(write=True) as here:
            source.queries.be_patient(there)
            self._begin_taking_over(here)
            for table, columns in _COPIED.items():
                paste = getattr(self.queries, f"paste_{table}")
                for row in source._copied(there, table, columns):
                    paste(here, **row)
            count = 0
            for row in source._copied(there, "payloads", _COPIED_OF_PAYLOADS):
                # One at a time: they are large.
                body = b"".join(source._packed_body(there, row["id"]))
                self.queries.paste_payloads(here, **row, body=body)
                count += 1
            self.queries.add_payload_days(here, list(source._copied(there, "payload_days", ("payload_id", "day"))))
            # One that superseded another came later.
            for row in source._copied(there, "payloads", ("id", "superseded_by")):
                self.queries.link_payload(here, **row)
            self.queries.restart_numbers(here)
            self.queries.bump_registry_revision(here)
        return count

    def take_over_upstream(
        self, source: Upstream, *, skip_bad: bool = False
    ) -> Iterator[tuple[str, datetime.date, int, int]]:
        """Take over a database of the service that was deployed before into this empty one, in one transaction.

        Its statistics become one payload for each month of each node, so that they can be verified, rebuilt and
        corrected like others.

        Args:
            source: the database; after this its lists of bad rows and tokens are complete.
            skip_bad: leave out rows that cannot be taken over.

        Yields:
            The node, the month, the number of its rows, and how many had another country. It counts when all have
            been taken.

        Raises:
            DatabaseNotEmpty: if there are nodes here.
            NotTakenOver: if there is something in it that cannot be.
        """
        with self.transaction(write=True) as connection:
            self._begin_taking_over(connection)
            names = {}
            for row in source.nodes():
                names[row["id"]] = row["name"]
                times = {"changed_at": now(), "created_at": iso(row.pop("created_at"))}
                self.queries.paste_nodes(connection, **row, revision=0, **times)
            for number, row in enumerate(source.tokens(), 1):
                values = {name: _portable(value) for name, value in row.items()}
                self.queries.paste_tokens(connection, id=number, network=None, revoked_at=None, **values)
            for row in source.networks():
                self.queries.paste_networks(connection, created_at=now(), **row)
            self.queries.restart_numbers(connection)
            for number, month, payload, changed in source.months():
                node = Node(number, names[number])
                revision = self.lock(connection, node) + 1
                self._enter(connection, node, encode(payload), None, revision, origin="import")
                self._merge(connection, node, payload.stats)
                self.queries.bump_revision(connection, node_id=number)
                yield node.name, month, len(payload.stats), changed
            self.queries.bump_registry_revision(connection)
            if source.bad_rows and not skip_bad:
                raise BadRows(len(source.bad_rows))

    def _restore_identities(self, connection: Any, owner: Node) -> None:
        """Read source and period of payloads again that have them, but lack them in the table."""
        for record in self._list(connection, node_id=owner.id):
            if record.period is not None:
                continue
            try:
                new = identity_of(self._summary(connection, record.payload))
            except DamagedPayload:
                continue
            if new.period is None or record.hash not in {new.content, new.hash}:
                continue
            known = self._find(connection, owner, new.hash)
            if known is None or known.payload == record.payload:
                self.queries.restore_identity(connection, payload_id=record.payload, **identity_columns(new))

    def _summary(self, connection: Any, number: int) -> PayloadSummary:
        """Return what a payload that is kept says of itself."""
        reader = self._kept(connection, number)
        with naming_damaged(number):
            for _ in reader.rows():
                pass
        return reader.summary

    def _begin_taking_over(self, connection: Any) -> None:
        self.queries.be_patient(connection)
        if present := len(list(self.queries.list_nodes(connection))):
            raise DatabaseNotEmpty(
                f"it has {present} nodes",
                hint="Make a new database. If taking over was interrupted when it made the statistics,"
                " eida_statsman payloads replay goes on with that.",
            )

    def _copied(self, connection: Any, table: str, columns: tuple[str, ...]) -> Iterator[dict[str, Any]]:
        """Yield columns of a table as any database takes them."""
        # Names of tables and columns are ours; nothing of the outside is in them.
        for values in self.stream(connection, f"SELECT {', '.join(columns)} FROM {table}", {}):  # noqa: S608
            yield {column: _portable(value) for column, value in zip(columns, values, strict=True)}

    def _months(self, name: str) -> list[tuple[Node, datetime.date]]:
        """List the nodes and months of which there are sums, or payloads that count."""
        with self.transaction() as connection:
            if name:
                owners = [Node(self.node_id(connection, name), name)]
            else:
                owners = [Node(*columns) for columns in self.queries.all_nodes(connection)]
            months = {owner: self._months_of(connection, owner) for owner in owners}
        return [(owner, month) for owner in owners for month in sorted(months[owner])]

    def _months_of(self, connection: Any, owner: Node) -> set[datetime.date]:
        found = [columns[0] for columns in self.queries.months_of_node(connection, node_id=owner.id)]
        return {day.replace(day=1) for day in msgspec.convert(found, list[datetime.date])}

    def _differences(self, connection: Any, owner: Node, month: datetime.date) -> Iterator[Difference]:
        """Compare what is kept of each payload with itself, and the sums with those of all of them."""
        parts: defaultdict[_Key, list[_Sums]] = defaultdict(list)
        for number, first_day in self._in_force(connection, owner, month, last_day_of(month)):
            reader = self._kept(connection, number)
            try:
                with naming_damaged(number):
                    found = [_key_and_sums(row) for row in reader.rows() if row.month == month]
            except DamagedPayload:
                yield Difference(PAYLOADS, {"payload": str(number)}, {"body": "damaged"}, {"body": "readable"})
                continue
            if first_day.replace(day=1) == month:
                yield from self._compared_with_itself(connection, number, reader.summary)
            for key, sums in found:
                parts[key].append(sums)
        due = {key: _added(sums) for key, sums in parts.items()}
        for table, columns in _TABLES.items():
            stored = self._stored(connection, owner, month, table)
            yield from _compared(table, columns, _grouped(due, columns), stored)

    def _compared_with_itself(self, connection: Any, number: int, payload: PayloadSummary) -> Iterator[Difference]:
        """Compare the columns of a payload with its body."""
        (record,) = self._list(connection, number=number)
        envelope = payload.envelope
        known = {
            "hash": record.hash,
            "content": record.content,
            "rows": record.rows,
            **_described(record.source, record.period, record.days),
        }
        due = {
            "hash": payload.hash,
            "content": payload.content,
            "rows": payload.count,
            **_described(envelope.source, envelope.period, envelope.days_coverage),
        }
        if known != due:
            yield Difference(PAYLOADS, {"payload": str(number)}, known, due)

    def _stored(self, connection: Any, owner: Node, month: datetime.date, table: str) -> dict[_Key, _Sums]:
        """Read the sums of a month, also those that are wrongly of another day than its first."""
        columns = _TABLES[table]
        # Names of tables and columns are ours; nothing of the outside is in them.
        sql = (
            f"SELECT {', '.join(columns + _COUNTS)}, clients FROM {table}"  # noqa: S608
            f" WHERE node_id = {owner.id} AND date BETWEEN '{month}' AND '{last_day_of(month)}'"
        )
        width = len(columns)
        found = {}
        for date, *row in self.stream(connection, sql, {}):
            sketch = row[-1]
            sketch = hll.from_hex(sketch) if isinstance(sketch, str) else bytes(sketch)
            key = (msgspec.convert(date, datetime.date).isoformat(), *row[: width - 1])
            found[key] = (tuple(row[width - 1 : -1]), _canonical(sketch))
        return found


def _key_and_sums(row: Row) -> tuple[_Key, _Sums]:
    counts = (row.bytes, row.nb_requests, row.nb_successful_requests, row.nb_unsuccessful_requests)
    return (row.month.isoformat(), *row.key[1:]), (counts, hll.from_hex(row.clients))


def _canonical(sketch: bytes) -> bytes:
    try:
        return hll.canonicalize(sketch)
    except InvalidSketch:
        # So it equals none that is right.
        return sketch


def _described(source: str, period: Period | None, days: Iterable[datetime.date]) -> dict[str, int | str]:
    return {
        "source": source,
        "period": "" if period is None else str(period),
        "days": " ".join(day.isoformat() for day in sorted(days)),
    }


def _added(sums: list[_Sums]) -> _Sums:
    counts = tuple(map(sum, zip(*(counts for counts, _ in sums), strict=True)))
    return counts, hll.merge(sketch for _, sketch in sums)


def _grouped(due: dict[_Key, _Sums], columns: tuple[str, ...]) -> dict[_Key, _Sums]:
    places = [_STREAM.index(column) for column in columns]
    if len(places) == len(_STREAM):
        return due
    parts: defaultdict[_Key, list[_Sums]] = defaultdict(list)
    for key, sums in due.items():
        parts[tuple(key[place] for place in places)].append(sums)
    return {key: _added(sums) for key, sums in parts.items()}


def _compared(
    table: str, columns: tuple[str, ...], due: dict[_Key, _Sums], stored: dict[_Key, _Sums]
) -> Iterator[Difference]:
    for key in sorted(due.keys() | stored.keys()):
        there, expected = stored.get(key), due.get(key)
        if there != expected:
            named = dict(zip(columns, key, strict=True))
            # The month is named anyway.
            if named["date"].endswith("-01"):
                del named["date"]
            yield Difference(table, named, _told(there), _told(expected))


def _told(sums: _Sums | None) -> dict[str, int | str] | None:
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


def _portable(value: Any) -> Any:
    """Return a value in the form in which both databases take it."""
    if isinstance(value, datetime.datetime):
        return iso(as_time(value))
    if isinstance(value, datetime.date):
        return value.isoformat()
    return bytes(value) if isinstance(value, memoryview) else value
