"""Payloads. All are kept; the sums are those of the payloads in force."""

import datetime
from collections.abc import Collection
from itertools import chain
from pathlib import Path
from typing import Any

import msgspec

from eida_statistics.encoding import EncodedPayload, PayloadSummary, encode
from eida_statistics.months import find_last_day
from eida_statistics.payload import Payload, Period
from eida_stats_webservice.database.base import Database
from eida_stats_webservice.dataselect import identity
from eida_stats_webservice.dataselect.bodies import PayloadBodies
from eida_stats_webservice.dataselect.days import find_months
from eida_stats_webservice.dataselect.identity import Identity
from eida_stats_webservice.dataselect.models import PayloadRecord, Receipt, ReceivedDays
from eida_stats_webservice.dataselect.overlaps import (
    Accepted,
    Method,
    Overlap,
    Request,
    check_not_overtaken,
    list_overlaps,
    require_accepted,
)
from eida_stats_webservice.dataselect.sums import Sums
from eida_stats_webservice.dataselect.table import ANY, Entry, PayloadTable
from eida_stats_webservice.errors import DamagedPayload, UnknownPayload
from eida_stats_webservice.registry.models import Arrival, Node
from eida_stats_webservice.registry.repository import RegistryRepository


class PayloadRepository:
    """Stores, replaces, retracts and lists payloads. Each method is one transaction, unless it takes a connection.

    Methods with an `arrival` raise RefusedToken if the token was revoked, or has expired, after the request
    arrived; without one, the request is the administrator's.
    """

    def __init__(self, database: Database, registry: RegistryRepository) -> None:
        self._database = database
        self._registry = registry
        self._queries = database.load_queries(Path(__file__).parent)
        self.table = PayloadTable(self._queries)
        self.bodies = PayloadBodies(self._queries)
        self.sums = Sums(database, self._queries)

    def ingest(
        self,
        node: Node,
        payload: Payload | EncodedPayload,
        *,
        overlap: Overlap | None = None,
        arrival: Arrival | None = None,
    ) -> Receipt:
        """Store a payload and merge its rows into the sums, in one transaction.

        A payload that was superseded or retracted before is put back in force. `overlap` says whether payloads in
        force that it touches may stay in force. By default they may only if it has no period, as payloads of older
        aggregators.

        Raises:
            DuplicatePayload: if the same statistics are in force.
            OverlappingPayload: if it touches payloads that may not stay in force.
            Overtaken: if it was withdrawn after the request arrived.
            RefusedByDatabase: if a sum does not fit.
        """
        return self._store(node, payload, Request(method=Method.POST, overlap=overlap), (), arrival)[0]

    def replace(
        self,
        node: Node,
        payload: Payload | EncodedPayload,
        named: Collection[int | str] = (),
        *,
        overlap: Overlap | None = None,
        arrival: Arrival | None = None,
    ) -> tuple[Receipt, bool]:
        """Store a payload in the place of others, and return whether anything has changed.

        `named` are numbers or hashes of payloads that it replaces. Those that are not in force are replaced
        already. `overlap` says whether payloads that it touches and does not replace may stay in force. By default
        they may if it names some payloads.

        Raises:
            AmbiguousReplacement: if it is not clear whether it replaces a payload that it touches.
            DuplicatePayload: if it has no period, and the same statistics are in force with one.
            UnknownPayload: if a named payload is not of the node.
            UnrelatedPayload: if a named payload is in force and does not touch this one.
            Overtaken: if it would undo what has changed after the request arrived.
            RefusedByDatabase: if a sum does not fit.
        """
        return self._store(node, payload, Request(method=Method.PUT, overlap=overlap), named, arrival)

    def retract(self, number: int, node: Node | None = None, *, arrival: Arrival | None = None) -> PayloadRecord:
        """Withdraw a payload from force. A payload that is withdrawn already stays as it is.

        A node can retract its own payloads, the administrator all.

        Raises:
            UnknownPayload: if there is none of that number, or it is another node's.
            Overtaken: if it was put in force after the request arrived.
        """
        with self._database.transaction(write=True) as connection:
            owner = self.table.find_owner(connection, number)
            if node is not None and owner.id != node.id:
                raise UnknownPayload(str(number))
            revision = self._begin(connection, owner, arrival) + 1
            record = self.table.read_record(connection, number)
            if record.withdrawn_at is None:
                changed_by = self._queries.revision_of_payload(connection, payload_id=number)
                check_not_overtaken({number: changed_by}, arrival)
                self.table.withdraw(connection, number, None, revision)
                self.rebuild(connection, owner, find_months(record.days))
                self._registry.bump_revision(connection, owner)
                record = self.table.read_record(connection, number)
        return record

    def list_payloads(self, node: str | Node = "", *, limit: int | None = None) -> list[PayloadRecord]:
        """Return the payloads of a node or of all nodes, in the order of their numbers, or the newest of them.

        Raises:
            UnknownNode: if there is no node of that name.
        """
        with self._database.transaction() as connection:
            if isinstance(node, Node):
                # By its id: its name may have changed since its token was looked up.
                return self.table.list_records(connection, node_id=node.id, limit=limit)
            node_id = self._registry.find_id(connection, node) if node else ANY
            return self.table.list_records(connection, node_id=node_id, limit=limit)

    def read_record(self, number: int) -> PayloadRecord:
        """Return the record of a payload.

        Raises:
            UnknownPayload: if there is none of that number.
        """
        with self._database.transaction() as connection:
            self.table.find_owner(connection, number)
            return self.table.read_record(connection, number)

    def find_newest_days(self) -> dict[str, datetime.date | None]:
        """Return the newest day that each node has reported, with or without requests."""
        with self._database.transaction() as connection:
            found = list(self._queries.newest_days(connection))
        return {node: msgspec.convert(day, datetime.date | None) for node, day in found}

    def read_payload(self, number: int) -> bytes:
        """Return a payload in the wire format, JSON.

        Raises:
            UnknownPayload: if there is none of that number.
        """
        with self._database.transaction() as connection:
            self.table.find_owner(connection, number)
            return self.bodies.read(connection, number)

    def _store(
        self,
        node: Node,
        payload: Payload | EncodedPayload,
        request: Request,
        names: Collection[int | str],
        arrival: Arrival | None,
    ) -> tuple[Receipt, bool]:
        encoded = payload if isinstance(payload, EncodedPayload) else encode(payload)
        new = identity.identify(encoded)
        with self._database.transaction(write=True) as connection:
            revision = self._begin(connection, node, arrival) + 1
            earlier = self.table.find(connection, node, new.hash)
            others = self.table.find_touched(connection, node, new)
            own = {new.hash} if earlier is None else {new.hash, earlier.payload}
            if names:
                touched = {other.payload for other in others}
                named = self.table.resolve_names(connection, node, set(names) - own, touched)
                request = msgspec.structs.replace(request, named=named)
            accepted = require_accepted(new, request, others)
            undone = {other.payload: other.revision for other in accepted.supersedes}
            if arrival is not None and arrival.revision + 1 < revision:
                undone |= self.table.find_withdrawn_since(connection, node, new, arrival)
            check_not_overtaken(undone, arrival)
            if earlier is not None and earlier.in_force:
                entry, is_added = earlier, False
            else:
                entry, is_added = self.table.enter(connection, node, encoded, earlier, revision), True
            for other in accepted.supersedes:
                self.table.withdraw(connection, other.payload, entry.payload, revision)
            if accepted.supersedes:
                days = chain(new.days, *(other.days for other in accepted.supersedes))
                self.rebuild(connection, node, find_months(days))
            elif is_added:
                self.sums.merge(connection, node, encoded.rows)
            if changed := is_added or bool(accepted.supersedes):
                self._registry.bump_revision(connection, node)
        return _make_receipt(node, encoded, new, entry, accepted), changed

    # Within a transaction

    def _begin(self, connection: Any, node: Node, arrival: Arrival | None) -> int:
        """Lock a node for a request, check that its token is still valid, and return the node's revision."""
        revision = self._registry.lock(connection, node)
        if arrival is not None:
            self._registry.check_arrival(connection, arrival)
        return revision

    def rebuild(self, connection: Any, node: Node, months: Collection[datetime.date]) -> None:
        """Build the sums of some months again from the payloads in force: sketches cannot be subtracted."""
        if not months:
            # Payloads of quiet days have no rows.
            return
        self.sums.delete(connection, node, months)
        numbers = self.table.list_in_force(connection, node, min(months), find_last_day(max(months)))
        self.sums.insert(
            connection, node, (self.bodies.read_rows(connection, number, months) for number, _ in numbers)
        )

    def list_received_days(self, connection: Any, period: Period) -> list[ReceivedDays]:
        """Return the days of the payloads in force that share days with a period: one item or more for each."""
        span = {"first_day": period.start.isoformat(), "last_day": period.end.isoformat()}
        rows = list(self._queries.received_days(connection, **span))
        if rows and isinstance(rows[0][1], str):
            # SQLite returns days as text. There may be thousands, and conversion by msgspec is slow.
            parse = datetime.date.fromisoformat
            rows = [(node, parse(start), parse(end), states_period) for node, start, end, states_period in rows]
        return [
            ReceivedDays(node, Period(start, end), bool(states_period)) for node, start, end, states_period in rows
        ]

    def find_first_days(self, connection: Any) -> dict[str, datetime.date | None]:
        """Return the first day that each node ever sent, by the name of the node; None if it has sent nothing."""
        return msgspec.convert(dict(self._queries.first_days(connection)), dict[str, datetime.date | None])

    def restore_identities(self, connection: Any, owner: Node) -> None:
        """Restore source and period in the table from the bodies, where an older version has dropped them."""
        for record in self.table.list_records(connection, node_id=owner.id):
            if record.period is not None:
                continue
            try:
                new = identity.identify(self.bodies.read_summary(connection, record.payload))
            except DamagedPayload:
                continue
            if new.period is None or record.hash not in {new.content, new.hash}:
                continue
            known = self.table.find(connection, owner, new.hash)
            if known is None or known.payload == record.payload:
                columns = identity.list_columns(new)
                self._queries.restore_identity(connection, payload_id=record.payload, **columns)

    def has_rights(self, connection: Any) -> bool:
        """Return whether the role of the connection has the rights of the service."""
        return bool(self._queries.has_rights(connection))


def _make_receipt(node: Node, payload: PayloadSummary, new: Identity, entry: Entry, accepted: Accepted) -> Receipt:
    return Receipt(
        node=node.name,
        payload=entry.payload,
        hash=new.hash,
        rows=payload.count,
        days=len(new.days),
        received_at=entry.received_at,
        source=new.source,
        period=new.period,
        overlaps=list_overlaps(new, accepted.beside),
        supersedes=[other.payload for other in accepted.supersedes],
    )
