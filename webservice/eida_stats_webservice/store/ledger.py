"""What nodes have sent: every payload is kept, and the sums are those of the payloads that are in force."""

import datetime
import sys
from collections.abc import Collection
from typing import Any

import msgspec

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

from eida_statistics.errors import (
    DamagedPayload,
    DuplicatePayload,
    OverlappingPayload,
    UnknownNode,
    UnknownPayload,
)
from eida_statistics.payload import Payload, Row, content_hash
from eida_stats_webservice.store.database import ID_BITS, Database, as_time, now, records
from eida_stats_webservice.store.days import Days, by_payload, last_day_of, months_of, overlaps_of, to_replace
from eida_stats_webservice.store.records import Node, PayloadRecord, Receipt

# No payload has this number.
_ANY = _NONE = -1
_RESTORE = "Restore it from a back-up, or retract it."


class Ledger(Database):
    """What was received, and what of it counts."""

    def ingest(self, node: Node, payload: Payload, *, refuse_overlap: bool = False) -> Receipt:
        """Take in a payload: claim its hash, keep it, merge its rows, update the roll-ups. All of it or nothing.

        One that was replaced or retracted before is put back in force.

        Args:
            node: who has sent it.
            payload: what was sent.
            refuse_overlap: refuse it if payloads in force have some of its days.

        Raises:
            DuplicatePayload: if the node has sent the same statistics before, and they are in force.
            OverlappingPayload: if it is to be refused.
            RefusedByStore: if a sum does not fit.
        """
        packed = Packed(payload)
        with self.transaction(write=True) as connection:
            self._lock(connection, node)
            earlier = self._find(connection, node, packed.hash)
            if earlier is not None and earlier.in_force:
                raise DuplicatePayload(earlier.payload, earlier.received_at.isoformat(timespec="seconds"))
            others = self._sharing_days(connection, node, payload.days_coverage)
            if others and refuse_overlap:
                raise OverlappingPayload(others, hint="Without overlap=refuse both would be counted.")
            entry = self._enter(connection, node, packed, earlier)
            self._merge(connection, node, payload.stats)
            self.queries.touch_node(connection, node_id=node.id, now=now())
        return _receipt(node, packed, entry, overlaps=overlaps_of(payload.days_coverage, others))

    def replace(self, node: Node, payload: Payload, named: Collection[int | str] = ()) -> tuple[Receipt, bool]:
        """Take in a payload in the place of others, and tell whether that has changed anything.

        Without names, it replaces the payloads in force whose days are all among its own; nothing, if it is in
        force itself.

        Args:
            node: who has sent it.
            payload: what was sent.
            named: the payloads that it replaces, by number or hash. Those that do not count any more are replaced
                already.

        Raises:
            AmbiguousReplacement: if, without names, one of those that share days with it has others as well, or
                two of them have the same day.
            UnknownPayload: if one that is named is not the node's, or counts and has no day of this one.
            RefusedByStore: if a sum does not fit.
        """
        packed = Packed(payload)
        with self.transaction(write=True) as connection:
            self._lock(connection, node)
            earlier = self._find(connection, node, packed.hash)
            in_force = earlier is not None and earlier.in_force
            others = self._sharing_days(connection, node, payload.days_coverage)
            if earlier is not None:
                others.pop(earlier.payload, None)
            if named:
                # That it names itself says nothing of others.
                own = {packed.hash} if earlier is None else {packed.hash, earlier.payload}
                replaced = self._named(connection, node, set(named) - own, others)
            else:
                replaced = [] if in_force else to_replace(payload.days_coverage, others)
            changed = bool(replaced) or not in_force
            entry = earlier if earlier is not None and in_force else self._enter(connection, node, packed, earlier)
            for number in replaced:
                self.queries.withdraw_payload(connection, payload_id=number, now=now(), superseded_by=entry.payload)
            if replaced:
                days = [*payload.days_coverage, *(day for number in replaced for day in others.pop(number))]
                self._rebuild(connection, node, months_of(days))
            elif changed:
                self._merge(connection, node, payload.stats)
            if changed:
                self.queries.touch_node(connection, node_id=node.id, now=now())
        overlaps = overlaps_of(payload.days_coverage, others)
        return _receipt(node, packed, entry, supersedes=replaced, overlaps=overlaps), changed

    def retract(self, number: int, node: Node | None = None) -> PayloadRecord:
        """Let a payload not count any more; it stays where it is already so.

        Args:
            number: the payload's.
            node: who asks, if it is a node; it can retract its own.

        Raises:
            UnknownPayload: if there is none of that number, or it is another node's.
        """
        with self.transaction(write=True) as connection:
            owner = self._owner(connection, number)
            if node is not None and owner.id != node.id:
                raise UnknownPayload(str(number))
            self._lock(connection, owner)
            if self.queries.withdraw_payload(connection, payload_id=number, now=now(), superseded_by=None):
                (record,) = self._list(connection, number=number)
                self._rebuild(connection, owner, months_of(record.days))
                self.queries.touch_node(connection, node_id=owner.id, now=now())
            (record,) = self._list(connection, number=number)
        return record

    def list_payloads(self, node: str = "") -> list[PayloadRecord]:
        """List what was received, of a node or of all, in the order of the numbers."""
        with self.transaction() as connection:
            return self._list(connection, node=node)

    def payload_record(self, number: int) -> PayloadRecord:
        """Give what is known of one payload.

        Raises:
            UnknownPayload: if there is none of that number.
        """
        with self.transaction() as connection:
            self._owner(connection, number)
            (record,) = self._list(connection, number=number)
        return record

    def newest_days(self) -> dict[str, datetime.date | None]:
        """Give the newest day that each node has sent."""
        with self.transaction() as connection:
            found = list(self.queries.newest_days(connection))
        return {node: msgspec.convert(day, datetime.date | None) for node, day in found}

    def payload(self, number: int) -> bytes:
        """Give a payload as it is kept: the wire format, JSON.

        Raises:
            UnknownPayload: if there is none of that number.
        """
        with self.transaction() as connection:
            self._owner(connection, number)
            return self._body(connection, number)

    # Within a transaction

    def _lock(self, connection: Any, node: Node) -> None:
        if self.queries.lock_node(connection, node_id=node.id) is None:
            raise UnknownNode(node.name)

    def _find(self, connection: Any, node: Node, digest: str) -> "_Entry | None":
        found = self.queries.find_payload(connection, node_id=node.id, hash=digest)
        return None if found is None else _Entry(found[0], as_time(found[1]), bool(found[2]))

    def _named(
        self, connection: Any, node: Node, names: Collection[int | str], others: Collection[int]
    ) -> list[int]:
        """Give those of the named payloads that count; all of them are the node's."""
        chosen, unknown = set(), []
        for name in names:
            number = name if isinstance(name, int) else self._number(connection, node, name)
            if number in others:
                chosen.add(number)
            elif not self._is_withdrawn(connection, node, number):
                unknown.append(str(name))
        if unknown:
            raise UnknownPayload(
                *sorted(unknown),
                hint="Each is one of the node's own; if it counts, it has a day of this one. See payloads.",
            )
        return sorted(chosen)

    def _number(self, connection: Any, node: Node, digest: str) -> int:
        entry = self._find(connection, node, digest)
        return _NONE if entry is None else entry.payload

    def _is_withdrawn(self, connection: Any, node: Node, number: int) -> bool:
        return number.bit_length() <= ID_BITS and bool(
            self.queries.is_withdrawn(connection, node_id=node.id, payload_id=number)
        )

    def _enter(
        self,
        connection: Any,
        node: Node,
        packed: "Packed",
        earlier: "_Entry | None",
        *,
        origin: str = "submission",
    ) -> "_Entry":
        """Keep a payload, or put the one that is kept back in force."""
        if earlier is not None:
            self.queries.restore_payload(connection, payload_id=earlier.payload)
            return earlier
        payload, days = packed.payload, packed.payload.days_coverage
        number, received_at = self.queries.add_payload(
            connection,
            node_id=node.id,
            hash=packed.hash,
            starts_at=days[0].isoformat(),
            ends_at=days[-1].isoformat(),
            generated_at=payload.generated_at,
            version=payload.version,
            nb_rows=len(payload.stats),
            body=packed.body,
            origin=origin,
        )
        self.queries.add_payload_days(connection, [{"payload_id": number, "day": day.isoformat()} for day in days])
        return _Entry(number, as_time(received_at), in_force=True)

    def _merge(self, connection: Any, node: Node, rows: Collection[Row]) -> None:
        """Add rows to those that are there, in all tables."""
        self._begin_incoming(connection)
        self._load(connection, node, rows)
        self.queries.merge_stats(connection, node_id=node.id)
        self._merge_roll_ups(connection, node)

    def _begin_incoming(self, connection: Any) -> None:
        """Make the temporary tables, empty: rows that come in, and the same rolled up."""
        self.queries.create_incoming(connection)
        self.queries.create_rolled(connection)
        self.queries.empty_incoming(connection)
        self.queries.empty_rolled(connection)

    def _load(self, connection: Any, node: Node, rows: Collection[Row]) -> None:
        networks = sorted({row.network for row in rows} - {""})
        self.queries.add_network(connection, [{"node_id": node.id, "name": name} for name in networks])
        self.load_incoming(connection, rows)

    def _merge_roll_ups(self, connection: Any, node: Node) -> None:
        self.queries.roll_up(connection)
        self.queries.merge_by_network_country(connection, node_id=node.id)
        self.queries.merge_by_network(connection, node_id=node.id)
        self.queries.merge_by_country(connection, node_id=node.id)

    def _rebuild(self, connection: Any, node: Node, months: Collection[datetime.date]) -> None:
        """Make the rows of some months anew from the payloads in force: sketches cannot be subtracted."""
        # All days of them: only the first one has rows, if nothing went wrong.
        listed = self.listed(
            (month + datetime.timedelta(days=day)).isoformat()
            for month in months
            for day in range(last_day_of(month).day)
        )
        for remove in (
            self.queries.remove_stats,
            self.queries.remove_by_network_country,
            self.queries.remove_by_network,
            self.queries.remove_by_country,
        ):
            remove(connection, node_id=node.id, days=listed)
        self._begin_incoming(connection)
        for number in self._in_force(connection, node, min(months), last_day_of(max(months))):
            rows = self._kept(connection, number).stats
            self._load(connection, node, [row for row in rows if row.month in months])
        # All at once: one after the other, each would unite the sketches of the month again.
        self.queries.insert_stats(connection, node_id=node.id)
        self._merge_roll_ups(connection, node)

    def _sharing_days(self, connection: Any, node: Node, days: Collection[datetime.date]) -> Days:
        """Give the payloads in force that have one of these days, with all of their days."""
        span = {"first_day": min(days).isoformat(), "last_day": max(days).isoformat()}
        found = by_payload(self.queries.days_in_force(connection, node_id=node.id, **span))
        return {number: known for number, known in found.items() if not known.isdisjoint(days)}

    def _in_force(
        self, connection: Any, node: Node, first_day: datetime.date, last_day: datetime.date
    ) -> list[int]:
        span = {"first_day": first_day.isoformat(), "last_day": last_day.isoformat()}
        return [number for (number,) in self.queries.payloads_in_force(connection, node_id=node.id, **span)]

    def _body(self, connection: Any, number: int) -> bytes:
        try:
            return bytes(zstd.decompress(bytes(self.queries.body_of_payload(connection, payload_id=number))))
        except zstd.ZstdError as error:
            raise DamagedPayload(str(number), hint=_RESTORE) from error

    def _kept(self, connection: Any, number: int) -> Payload:
        try:
            return msgspec.json.decode(self._body(connection, number), type=Payload)
        except msgspec.DecodeError as error:
            raise DamagedPayload(str(number), hint=_RESTORE) from error

    def _owner(self, connection: Any, number: int) -> Node:
        found = (
            self.queries.node_of_payload(connection, payload_id=number) if number.bit_length() <= ID_BITS else None
        )
        if found is None:
            raise UnknownPayload(str(number))
        return Node(*found)

    def _list(self, connection: Any, *, node: str = "", number: int | None = None) -> list[PayloadRecord]:
        chosen = {"node": node, "number": _ANY if number is None else number}
        days = by_payload(self.queries.list_payload_days(connection, **chosen))
        listed = self.queries.list_payloads(connection, **chosen)
        return records(PayloadRecord, ((*columns, sorted(days[columns[0]])) for columns in listed))


class Packed:
    """A payload as it is kept. What is slow to make is made before the transaction."""

    def __init__(self, payload: Payload) -> None:
        rows_json = payload.rows_json()
        self.payload = payload
        self.hash = content_hash(payload.days_coverage, rows_json)
        self.body = zstd.compress(payload.to_json(rows_json))


class _Entry(msgspec.Struct, frozen=True):
    payload: int
    received_at: datetime.datetime
    in_force: bool


def _receipt(node: Node, packed: Packed, entry: _Entry, **more: Any) -> Receipt:
    payload = packed.payload
    return Receipt(
        *(node.name, entry.payload, packed.hash, len(payload.stats), len(payload.days_coverage)),
        entry.received_at,
        **more,
    )
