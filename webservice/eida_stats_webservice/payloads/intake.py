"""Take payloads of one kind, and keep its sums equal to those of the payloads in force."""

from collections.abc import Collection
from typing import Any, Generic, TypeVar

import msgspec

from eida_stats_webservice.database.base import Database
from eida_stats_webservice.payloads.identity import Identity
from eida_stats_webservice.payloads.kinds import Description, PayloadKind
from eida_stats_webservice.payloads.models import Receipt
from eida_stats_webservice.payloads.overlaps import (
    Accepted,
    Method,
    Overlap,
    Request,
    check_not_overtaken,
    list_overlaps,
    require_accepted,
)
from eida_stats_webservice.payloads.records import PayloadRecords
from eida_stats_webservice.payloads.table import Entry, PayloadTable
from eida_stats_webservice.registry.models import Arrival, Node
from eida_stats_webservice.registry.repository import RegistryRepository

_Payload = TypeVar("_Payload")


class PayloadIntake(Generic[_Payload]):
    """Stores payloads of one kind, and replaces others by them. Each method is one transaction.

    Methods with an `arrival` raise RefusedToken if the token was revoked, or has expired, after the request
    arrived; without one, the request is the administrator's.
    """

    def __init__(self, database: Database, registry: RegistryRepository, kind: PayloadKind[_Payload]) -> None:
        self._database = database
        self._registry = registry
        self._kind = kind
        self._table = PayloadTable(database, kind.kind)
        self._records = PayloadRecords(database)

    def ingest(
        self, node: Node, payload: _Payload, *, overlap: Overlap | None = None, arrival: Arrival | None = None
    ) -> Receipt:
        """Store a payload and add it to the sums, in one transaction.

        A payload that was superseded or retracted before is put back in force. `overlap` says whether payloads in
        force that it touches may stay in force. By default they may only if it has no period, as payloads of older
        aggregators.

        Raises:
            DuplicatePayload: if the same statistics are in force.
            OverlappingPayload: if it touches payloads that may not stay in force.
            MixedDelivery: if payloads of its source are made from raw logs.
            Overtaken: if it was withdrawn after the request arrived.
            RefusedByDatabase: if a sum does not fit.
        """
        return self._store(node, payload, Request(method=Method.POST, overlap=overlap), (), arrival)[0]

    def replace(
        self,
        node: Node,
        payload: _Payload,
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
            MixedDelivery: if payloads of its source are made from raw logs.
            DuplicatePayload: if it has no period, and the same statistics are in force with one.
            UnknownPayload: if a named payload is not of the node and kind.
            UnrelatedPayload: if a named payload is in force and does not touch this one.
            Overtaken: if it would undo what has changed after the request arrived.
            RefusedByDatabase: if a sum does not fit.
        """
        return self._store(node, payload, Request(method=Method.PUT, overlap=overlap), named, arrival)

    def _store(
        self,
        node: Node,
        payload: _Payload,
        request: Request,
        names: Collection[int | str],
        arrival: Arrival | None,
    ) -> tuple[Receipt, bool]:
        new = self._kind.describe(payload)
        identity = new.identity
        with self._database.transaction(write=True) as connection:
            revision = self._registry.begin_change(connection, node, arrival)
            self._kind.check_source(connection, node, identity)
            earlier = self._table.find(connection, node, identity.hash)
            accepted = self._decide(connection, node, identity, earlier, request, names)
            undone = {other.payload: other.revision for other in accepted.supersedes}
            if arrival is not None and arrival.revision + 1 < revision:
                undone |= self._table.find_withdrawn_since(connection, node, identity, arrival)
            check_not_overtaken(undone, arrival)
            if earlier is not None and earlier.in_force:
                entry, is_added = earlier, False
            else:
                entry, is_added = self._table.enter(connection, node, new, earlier, revision), True
            for other in accepted.supersedes:
                self._records.withdraw(connection, other.payload, entry.payload, revision)
            if accepted.supersedes:
                self._kind.rebuild(connection, node, accepted.supersedes, payload if is_added else None)
            elif is_added:
                self._kind.merge(connection, node, payload)
            if changed := is_added or bool(accepted.supersedes):
                self._registry.bump_revision(connection, node)
        return _make_receipt(node, new, entry, accepted), changed

    def _decide(
        self,
        connection: Any,
        node: Node,
        new: Identity,
        earlier: Entry | None,
        request: Request,
        names: Collection[int | str],
    ) -> Accepted:
        """Compare a payload with those in force, and raise an error if it must not be stored."""
        others = self._table.find_touched(connection, node, new)
        if names:
            own = {new.hash} if earlier is None else {new.hash, earlier.payload}
            touched = {other.payload for other in others}
            named = self._table.resolve_names(connection, node, set(names) - own, touched)
            request = msgspec.structs.replace(request, named=named)
        return require_accepted(new, request, others)


def _make_receipt(node: Node, new: Description, entry: Entry, accepted: Accepted) -> Receipt:
    identity = new.identity
    return Receipt(
        node=node.name,
        payload=entry.payload,
        hash=identity.hash,
        rows=new.rows,
        days=len(identity.days),
        received_at=entry.received_at,
        source=identity.source,
        period=identity.period,
        overlaps=list_overlaps(identity, accepted.beside),
        supersedes=[other.payload for other in accepted.supersedes],
    )
