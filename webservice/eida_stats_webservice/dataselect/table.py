"""The rows of stored payloads, without their bodies."""

import datetime
from collections.abc import Collection
from typing import Any, TypeVar

import msgspec

from eida_statistics.encoding import EncodedPayload
from eida_stats_webservice.database.base import ID_BITS, format_now, parse_time, select_rows
from eida_stats_webservice.dataselect.days import group_by_payload
from eida_stats_webservice.dataselect.identity import Identity, identify, list_columns, touches
from eida_stats_webservice.dataselect.models import PayloadRecord
from eida_stats_webservice.dataselect.overlaps import InForce
from eida_stats_webservice.errors import UnknownPayload, UnrelatedPayload
from eida_stats_webservice.registry.models import Arrival, Node

# No payload and no node has this number.
ANY = _NONE = -1
_ALL = 2**63 - 1
_Record = TypeVar("_Record", bound=msgspec.Struct)


class PayloadTable:
    """Reads and changes the rows of payloads. All methods take a connection in a transaction."""

    def __init__(self, queries: Any) -> None:
        self._queries = queries

    def find(self, connection: Any, node: Node, digest: str) -> "Entry | None":
        """Return a payload of a node by its hash, in force or not."""
        found = self._queries.find_payload(connection, node_id=node.id, hash=digest)
        if found is None:
            return None
        number, received_at, in_force = found
        return Entry(number, parse_time(received_at), bool(in_force))

    def find_touched(self, connection: Any, node: Node, new: Identity) -> list[InForce]:
        """Return the payloads in force that a new one touches."""
        near = _select_near(node, new)
        days = group_by_payload(self._queries.days_near(connection, **near))
        rows = select_rows(connection, self._queries.payloads_near, **near)
        found = [_to_record(InForce, row, days[row["payload"]]) for row in rows]
        return [other for other in found if touches(new, other)]

    def find_withdrawn_since(self, connection: Any, node: Node, new: Identity, arrival: Arrival) -> dict[int, int]:
        """Return the revisions of payloads that a new one touches, and that were withdrawn after it arrived."""
        query = self._queries.payloads_withdrawn_near
        withdrawn = {}
        for row in select_rows(connection, query, **_select_near(node, new), revision=arrival.revision):
            number = row["payload"]
            days = self._queries.list_payload_days(connection, node_id=node.id, number=number, oldest=number)
            if touches(new, _to_record(Identity, row, group_by_payload(days)[number])):
                withdrawn[number] = row["revision"]
        return withdrawn

    def resolve_names(
        self, connection: Any, node: Node, names: Collection[int | str], touched: Collection[int]
    ) -> frozenset[int]:
        """Return the numbers of the named payloads that are in force.

        Raises:
            UnknownPayload: if one is not of the node.
            UnrelatedPayload: if one is in force and the new payload does not touch it.
        """
        chosen, unknown, unrelated = set(), [], []
        for name in names:
            number = name if isinstance(name, int) else self._find_number(connection, node, name)
            in_force = self._is_in_force(connection, node, number)
            if number in touched:
                chosen.add(number)
            elif in_force is None:
                unknown.append(str(name))
            elif in_force:
                unrelated.append(str(name))
        if unknown:
            raise UnknownPayload(*sorted(unknown), hint="Name payloads of this node. List them: GET …/payloads")
        if unrelated:
            raise UnrelatedPayload(
                *sorted(unrelated),
                hint="A payload can replace those that share a day with it and may be of the same source. To"
                " withdraw another one, retract it: DELETE …/payloads/NUMBER",
            )
        return frozenset(chosen)

    def _find_number(self, connection: Any, node: Node, digest: str) -> int:
        entry = self.find(connection, node, digest)
        return _NONE if entry is None else entry.payload

    def _is_in_force(self, connection: Any, node: Node, number: int) -> bool | None:
        """Return whether a payload of a node is in force, or None if it has none of that number."""
        if number.bit_length() > ID_BITS:
            return None
        found = self._queries.is_in_force(connection, node_id=node.id, payload_id=number)
        return None if found is None else bool(found)

    def withdraw(self, connection: Any, number: int, superseded_by: int | None, revision: int) -> None:
        """Mark a payload as superseded by another one, or as retracted."""
        self._queries.withdraw_payload(
            connection, payload_id=number, now=format_now(), superseded_by=superseded_by, revision=revision
        )

    def enter(
        self,
        connection: Any,
        node: Node,
        payload: EncodedPayload,
        earlier: "Entry | None",
        revision: int,
        *,
        origin: str = "submission",
    ) -> "Entry":
        """Insert a payload, or put a stored one back in force."""
        if earlier is not None:
            self._queries.restore_payload(connection, payload_id=earlier.payload, revision=revision)
            return earlier
        envelope = payload.envelope
        number, received_at = self._queries.add_payload(
            connection,
            node_id=node.id,
            **list_columns(identify(payload)),
            generated_at=envelope.generated_at,
            version=envelope.version,
            nb_rows=payload.count,
            body=payload.body,
            origin=origin,
            revision=revision,
        )
        days = [{"payload_id": number, "day": day.isoformat()} for day in envelope.days_coverage]
        self._queries.add_payload_days(connection, days)
        return Entry(number, parse_time(received_at), in_force=True)

    def list_in_force(
        self, connection: Any, node: Node, first_day: datetime.date, last_day: datetime.date
    ) -> list[tuple[int, datetime.date]]:
        """Return the payloads in force that may have requests of some days, and the first day of each."""
        span = {"first_day": first_day.isoformat(), "last_day": last_day.isoformat()}
        found = self._queries.payloads_in_force(connection, node_id=node.id, **span)
        return [(number, msgspec.convert(starts_at, datetime.date)) for number, starts_at in found]

    def find_owner(self, connection: Any, number: int) -> Node:
        """Return the node of a payload.

        Raises:
            UnknownPayload: if there is none of that number.
        """
        found = (
            self._queries.node_of_payload(connection, payload_id=number) if number.bit_length() <= ID_BITS else None
        )
        if found is None:
            raise UnknownPayload(str(number))
        return Node(*found)

    def list_records(
        self, connection: Any, *, node_id: int = ANY, number: int | None = None, limit: int | None = None
    ) -> list[PayloadRecord]:
        """Return payloads in the order of their numbers: all, those of a node, one, or the newest ones."""
        chosen = {"node_id": node_id, "number": ANY if number is None else number}
        count = _ALL if limit is None else limit
        listed = list(select_rows(connection, self._queries.list_payloads, **chosen, count=count))[::-1]
        if not listed:
            return []
        days = group_by_payload(self._queries.list_payload_days(connection, **chosen, oldest=listed[0]["payload"]))
        return [_to_record(PayloadRecord, row, days[row["payload"]]) for row in listed]

    def read_record(self, connection: Any, number: int) -> PayloadRecord:
        """Return the record of a payload."""
        (record,) = self.list_records(connection, number=number)
        return record


class Entry(msgspec.Struct, frozen=True):
    """A stored payload."""

    payload: int
    received_at: datetime.datetime
    in_force: bool


def _select_near(node: Node, new: Identity) -> dict[str, int | str]:
    """Return parameters that select the payloads that a new one may touch."""
    first, last = new.first_and_last_day()
    return {
        "node_id": node.id,
        "first_day": first.isoformat(),
        "last_day": last.isoformat(),
        "content": new.content,
    }


def _to_record(record: type[_Record], row: dict[str, Any], days: list[datetime.date]) -> _Record:
    """Return the record of a row, whose period has two columns, and of its days."""
    start, end = row["period_start"], row["period_end"]
    period = None if start is None else {"start": start, "end": end}
    return msgspec.convert({**row, "period": period, "days": days}, record, strict=False)
