"""The rows of stored payloads of one kind, without their bodies."""

import datetime
from collections.abc import Collection
from pathlib import Path
from typing import Any

import msgspec

from eida_statistics.payload import Period
from eida_stats_webservice.database.base import ID_BITS, Database, parse_time, select_rows
from eida_stats_webservice.errors import UnknownPayload, UnrelatedPayload
from eida_stats_webservice.payloads.days import group_by_payload
from eida_stats_webservice.payloads.identity import Identity, list_columns, touches
from eida_stats_webservice.payloads.kinds import Description, Kind
from eida_stats_webservice.payloads.overlaps import InForce
from eida_stats_webservice.payloads.records import convert_row
from eida_stats_webservice.registry.models import Arrival, Node

# No payload has this number.
_NONE = -1


class PayloadTable:
    """Reads and changes the rows of payloads of one kind. All methods take a connection in a transaction."""

    def __init__(self, database: Database, kind: Kind) -> None:
        self._queries = database.load_queries(Path(__file__).parent)
        self._kind = kind

    def find(self, connection: Any, node: Node, digest: str) -> "Entry | None":
        """Return a payload of a node by its hash, in force or not."""
        found = self._queries.find_payload(connection, node_id=node.id, kind=self._kind, hash=digest)
        if found is None:
            return None
        number, received_at, in_force, is_emptied = found
        return Entry(number, parse_time(received_at), bool(in_force), is_emptied=bool(is_emptied))

    def find_touched(self, connection: Any, node: Node, new: Identity) -> list[InForce]:
        """Return the payloads in force that a new one touches."""
        near = self._select_near(node, new)
        days = group_by_payload(self._queries.days_near(connection, **near))
        rows = select_rows(connection, self._queries.payloads_near, **near)
        found = [convert_row(InForce, row, days[row["payload"]]) for row in rows]
        return [other for other in found if touches(new, other)]

    def find_withdrawn_since(self, connection: Any, node: Node, new: Identity, arrival: Arrival) -> dict[int, int]:
        """Return the revisions of payloads that a new one touches, and that were withdrawn after it arrived."""
        query = self._queries.payloads_withdrawn_near
        withdrawn = {}
        for row in select_rows(connection, query, **self._select_near(node, new), revision=arrival.revision):
            number = row["payload"]
            chosen = {"node_id": node.id, "kind": self._kind, "number": number, "oldest": number}
            days = self._queries.list_payload_days(connection, **chosen)
            if touches(new, convert_row(Identity, row, group_by_payload(days)[number])):
                withdrawn[number] = row["revision"]
        return withdrawn

    def resolve_names(
        self, connection: Any, node: Node, names: Collection[int | str], touched: Collection[int]
    ) -> frozenset[int]:
        """Return the numbers of the named payloads that are in force.

        Raises:
            UnknownPayload: if one is not of the node and kind.
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
            hint = f"Name payloads of this node and kind. List them: GET …/payloads?kind={self._kind}"
            raise UnknownPayload(*sorted(unknown), hint=hint)
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
        """Return whether a payload of a node is in force, or None if it has none of this number and kind."""
        if number.bit_length() > ID_BITS:
            return None
        found = self._queries.is_in_force(connection, node_id=node.id, kind=self._kind, payload_id=number)
        return None if found is None else bool(found)

    def enter(
        self,
        connection: Any,
        node: Node,
        new: Description,
        earlier: "Entry | None",
        revision: int,
        *,
        origin: str = "submission",
    ) -> "Entry":
        """Insert a payload, or put a stored one back in force."""
        if earlier is not None:
            number = earlier.payload
            self._queries.restore_payload(connection, payload_id=number, origin=origin, revision=revision)
            if earlier.is_emptied:
                self._queries.set_body(connection, payload_id=number, body=new.body)
            self._keep_packed_rows(connection, number, new)
            return earlier
        number, received_at = self._queries.add_payload(
            connection,
            node_id=node.id,
            kind=self._kind,
            **list_columns(new.identity),
            generated_at=new.generated_at,
            version=new.version,
            nb_rows=new.rows,
            body=new.body,
            origin=origin,
            revision=revision,
        )
        days = [{"payload_id": number, "day": day.isoformat()} for day in sorted(new.identity.days)]
        self._queries.add_payload_days(connection, days)
        self._keep_packed_rows(connection, number, new)
        return Entry(number, parse_time(received_at), in_force=True)

    def empty_body(self, connection: Any, number: int) -> None:
        """Delete the body of a payload that was made from raw logs, and that the one in its place contains."""
        self._queries.set_body(connection, payload_id=number, body=b"")

    def read_content(self, connection: Any, number: int) -> str:
        """Return the hash of the statistics of a payload."""
        content: str = self._queries.read_content(connection, payload_id=number)
        return content

    def set_packed_rows(self, connection: Any, number: int, packed: bytes | bytearray) -> None:
        """Store the packed rows of a payload."""
        self._queries.set_packed_rows(connection, payload_id=number, packed_rows=packed)

    def _keep_packed_rows(self, connection: Any, number: int, new: Description) -> None:
        # In a statement of its own: the driver holds several copies of all values of a statement.
        if new.packed_rows is not None:
            self.set_packed_rows(connection, number, new.packed_rows)

    def delete_packed_rows(self, connection: Any, node: Node, days: Period) -> None:
        """Delete the packed rows of the payloads in force that may have requests of some days."""
        self._queries.delete_packed_rows(connection, **self._select_in_force(node, days))

    def restore_identity(self, connection: Any, number: int, identity: Identity) -> None:
        """Set the identity of a payload to that in its body."""
        self._queries.restore_identity(connection, payload_id=number, **list_columns(identity))

    def list_in_force(
        self, connection: Any, node: Node, first_day: datetime.date, last_day: datetime.date
    ) -> list[tuple[int, datetime.date]]:
        """Return the payloads in force that may have requests of some days, and the first day of each."""
        chosen = self._select_in_force(node, Period(first_day, last_day))
        found = self._queries.payloads_in_force(connection, **chosen)
        return [(number, msgspec.convert(starts_at, datetime.date)) for number, starts_at in found]

    def _select_in_force(self, node: Node, days: Period) -> dict[str, int | str]:
        """Return parameters that select the payloads that may have requests of some days."""
        return {
            "node_id": node.id,
            "kind": self._kind,
            "first_day": days.start.isoformat(),
            "last_day": days.end.isoformat(),
        }

    def _select_near(self, node: Node, new: Identity) -> dict[str, int | str]:
        """Return parameters that select the payloads that a new one may touch."""
        first, last = new.first_and_last_day()
        return {
            "node_id": node.id,
            "kind": self._kind,
            "first_day": first.isoformat(),
            "last_day": last.isoformat(),
            "content": new.content,
        }


class Entry(msgspec.Struct, frozen=True):
    """A stored payload.

    Attributes:
        is_emptied: whether its body is gone, because another payload contained it.
    """

    payload: int
    received_at: datetime.datetime
    in_force: bool
    is_emptied: bool = False
