"""Payloads: all are kept, and the sums are those of the payloads in force."""

import datetime
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import chain
from typing import Any

import msgspec

from eida_statistics.encoding import (
    EncodedPayload,
    PayloadSummary,
    Reader,
    UnreadablePayload,
    decompress,
    encode,
)
from eida_statistics.payload import Payload, Period, Row
from eida_stats_webservice.database.base import ID_BITS, Database, as_time, now, records
from eida_stats_webservice.dataselect.models import PayloadRecord, Receipt
from eida_stats_webservice.dataselect.overlaps import (
    Accepted,
    Conflict,
    Duplicate,
    Identity,
    InForce,
    Method,
    Overlap,
    Request,
    decide,
    describe,
    group_by_payload,
    last_day_of,
    list_overlaps,
    months_of,
    reference,
    touches,
)
from eida_stats_webservice.errors import (
    AmbiguousReplacement,
    DamagedPayload,
    DuplicatePayload,
    OverlappingPayload,
    Overtaken,
    RefusedToken,
    UnknownPayload,
    UnrelatedPayload,
)
from eida_stats_webservice.registry.models import Arrival, Node
from eida_stats_webservice.registry.repository import check_validity

# No payload has this number.
_ANY = _NONE = -1
_ALL = 2**63 - 1
_RESTORE = "Restore it from a back-up, or retract it."
_SEND_AGAIN = "Send it again: then it is compared with the payloads in force now."
_CONFLICTS_SHOWN = 5
# The driver holds several copies of a value that it reads.
_BODY_BYTES_AT_ONCE = 8 << 20


class Ledger(Database):
    """Stores, replaces, retracts and lists payloads."""

    def ingest(
        self,
        node: Node,
        payload: Payload | EncodedPayload,
        *,
        overlap: Overlap | None = None,
        arrival: Arrival | None = None,
    ) -> Receipt:
        """Store a payload: claim its hash, keep it, merge its rows, update the roll-ups. All of it or nothing.

        A payload that was superseded or retracted before is put back in force.

        Args:
            node: the node that has sent it.
            payload: the payload.
            overlap: whether it may count beside payloads in force that it touches. If it is not said, it may not if
                it has a period, and may if it comes from an older aggregator.
            arrival: when the request arrived, and with which token; now and with none, if it is not given.

        Raises:
            DuplicatePayload: if the same statistics are in force.
            OverlappingPayload: if it may not count beside others.
            Overtaken: if it was withdrawn after the request arrived.
            RefusedToken: if the token was revoked, or has expired, after the request arrived.
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
        """Store a payload in the place of others, and return whether that has changed anything.

        Args:
            node: the node that has sent it.
            payload: the payload.
            named: payloads that it replaces, by number or hash. Those that are not in force are replaced already.
            overlap: whether it may count beside payloads that it touches and does not replace. If it is not said,
                it may if it names some.
            arrival: when the request arrived, and with which token; now and with none, if it is not given.

        Raises:
            AmbiguousReplacement: if it is not clear whether it replaces a payload that it touches.
            DuplicatePayload: if it has no period, and the same statistics are in force with one.
            UnknownPayload: if a payload that is named is not the node's.
            UnrelatedPayload: if one that is named is in force, and it does not touch that.
            Overtaken: if it would undo what has changed after the request arrived.
            RefusedToken: if the token was revoked, or has expired, after the request arrived.
            RefusedByDatabase: if a sum does not fit.
        """
        return self._store(node, payload, Request(method=Method.PUT, overlap=overlap), named, arrival)

    def retract(self, number: int, node: Node | None = None, *, arrival: Arrival | None = None) -> PayloadRecord:
        """Withdraw a payload, so that it does not count any more; one that is withdrawn stays as it is.

        Args:
            number: the payload's.
            node: the node that asks for it, if it is a node; it can retract its own.
            arrival: when the request arrived, and with which token; now and with none, if it is not given.

        Raises:
            UnknownPayload: if there is none of that number, or it is another node's.
            Overtaken: if it was put in force after the request arrived.
            RefusedToken: if the token was revoked, or has expired, after the request arrived.
        """
        with self.transaction(write=True) as connection:
            owner = self._owner(connection, number)
            if node is not None and owner.id != node.id:
                raise UnknownPayload(str(number))
            revision = self._begin(connection, owner, arrival) + 1
            (record,) = self._list(connection, number=number)
            if record.withdrawn_at is None:
                changed_by = self.queries.revision_of_payload(connection, payload_id=number)
                _check_not_overtaken({number: changed_by}, arrival)
                self._withdraw(connection, number, None, revision)
                self._rebuild(connection, owner, months_of(record.days))
                self.queries.bump_revision(connection, node_id=owner.id)
                (record,) = self._list(connection, number=number)
        return record

    def list_payloads(self, node: str | Node = "", *, limit: int | None = None) -> list[PayloadRecord]:
        """List the payloads of a node, or of all, in the order of the numbers: all, or the newest ones.

        Raises:
            UnknownNode: if there is no node of that name.
        """
        with self.transaction() as connection:
            if isinstance(node, Node):
                # By its id: its name may have changed since the look-up of its token.
                return self._list(connection, node_id=node.id, limit=limit)
            return self._list(connection, node_id=self.node_id(connection, node) if node else _ANY, limit=limit)

    def payload_record(self, number: int) -> PayloadRecord:
        """Return what is known of one payload.

        Raises:
            UnknownPayload: if there is none of that number.
        """
        with self.transaction() as connection:
            self._owner(connection, number)
            (record,) = self._list(connection, number=number)
        return record

    def newest_days(self) -> dict[str, datetime.date | None]:
        """Return the newest day that each node has reported, with or without requests."""
        with self.transaction() as connection:
            found = list(self.queries.newest_days(connection))
        return {node: msgspec.convert(day, datetime.date | None) for node, day in found}

    def payload(self, number: int) -> bytes:
        """Return a payload as it is kept: the wire format, JSON.

        Raises:
            UnknownPayload: if there is none of that number.
        """
        with self.transaction() as connection:
            self._owner(connection, number)
            return self._body(connection, number)

    def _store(
        self,
        node: Node,
        payload: Payload | EncodedPayload,
        request: Request,
        names: Collection[int | str],
        arrival: Arrival | None,
    ) -> tuple[Receipt, bool]:
        encoded = payload if isinstance(payload, EncodedPayload) else encode(payload)
        new = identity_of(encoded)
        with self.transaction(write=True) as connection:
            revision = self._begin(connection, node, arrival) + 1
            earlier = self._find(connection, node, new.hash)
            others = self._touched(connection, node, new)
            own = {new.hash} if earlier is None else {new.hash, earlier.payload}
            if names:
                touched = {other.payload for other in others}
                named = self._named(connection, node, set(names) - own, touched)
                request = msgspec.structs.replace(request, named=named)
            accepted = _accepted(new, request, others)
            undone = {other.payload: other.revision for other in accepted.supersedes}
            if arrival is not None and arrival.revision + 1 < revision:
                undone |= self._withdrawn_since(connection, node, new, arrival)
            _check_not_overtaken(undone, arrival)
            if earlier is not None and earlier.in_force:
                entry, is_added = earlier, False
            else:
                entry, is_added = self._enter(connection, node, encoded, earlier, revision), True
            for other in accepted.supersedes:
                self._withdraw(connection, other.payload, entry.payload, revision)
            if accepted.supersedes:
                days = chain(new.days, *(other.days for other in accepted.supersedes))
                self._rebuild(connection, node, months_of(days))
            elif is_added:
                self._merge(connection, node, encoded.rows)
            if changed := is_added or bool(accepted.supersedes):
                self.queries.bump_revision(connection, node_id=node.id)
        return _receipt(node, encoded, new, entry, accepted), changed

    # Within a transaction

    def _begin(self, connection: Any, node: Node, arrival: Arrival | None) -> int:
        """Lock a node for a request, check that its token is still valid, and return the node's revision."""
        revision = self.lock(connection, node)
        if arrival is not None:
            times = self.queries.validity_of_token(connection, id=arrival.token)
            if times is None:
                raise RefusedToken
            check_validity(times, datetime.datetime.now(tz=datetime.UTC))
        return revision

    def _find(self, connection: Any, node: Node, digest: str) -> "_Entry | None":
        found = self.queries.find_payload(connection, node_id=node.id, hash=digest)
        if found is None:
            return None
        number, received_at, in_force = found
        return _Entry(number, as_time(received_at), bool(in_force))

    def _touched(self, connection: Any, node: Node, new: Identity) -> list[InForce]:
        """Return the payloads in force that a new one touches."""
        near = _near(node, new)
        days = group_by_payload(self.queries.days_near(connection, **near))
        found = [
            InForce(
                payload=number,
                hash=digest,
                content=content,
                source=source,
                period=_period(start, end),
                days=frozenset(days[number]),
                revision=revision,
                received_at=as_time(received_at),
            )
            for number, digest, content, source, start, end, revision, received_at in self.queries.payloads_near(
                connection, **near
            )
        ]
        return [other for other in found if touches(new, other)]

    def _withdrawn_since(self, connection: Any, node: Node, new: Identity, arrival: Arrival) -> dict[int, int]:
        """Return the revisions of payloads that a new one touches and that were withdrawn after it arrived."""
        withdrawn = {}
        for number, digest, content, source, start, end, revision in self.queries.payloads_withdrawn_near(
            connection, **_near(node, new), revision=arrival.revision
        ):
            days = self.queries.list_payload_days(connection, node_id=node.id, number=number, oldest=number)
            other = Identity(
                hash=digest,
                content=content,
                source=source,
                period=_period(start, end),
                days=frozenset(group_by_payload(days)[number]),
            )
            if touches(new, other):
                withdrawn[number] = revision
        return withdrawn

    def _named(
        self, connection: Any, node: Node, names: Collection[int | str], touched: Collection[int]
    ) -> frozenset[int]:
        """Return the numbers of those named payloads that are in force."""
        chosen, unknown, unrelated = set(), [], []
        for name in names:
            number = name if isinstance(name, int) else self._number(connection, node, name)
            in_force = self._is_in_force(connection, node, number)
            if number in touched:
                chosen.add(number)
            elif in_force is None:
                unknown.append(str(name))
            elif in_force:
                unrelated.append(str(name))
        if unknown:
            raise UnknownPayload(*sorted(unknown), hint="Name payloads of this node: GET payloads lists them.")
        if unrelated:
            raise UnrelatedPayload(
                *sorted(unrelated),
                hint="A payload replaces others that share a day with it and may be of the same source. To withdraw"
                " another one, retract it: DELETE payloads/NUMBER.",
            )
        return frozenset(chosen)

    def _number(self, connection: Any, node: Node, digest: str) -> int:
        entry = self._find(connection, node, digest)
        return _NONE if entry is None else entry.payload

    def _is_in_force(self, connection: Any, node: Node, number: int) -> bool | None:
        """Return whether a payload of a node is in force, or None if it has none of that number."""
        if number.bit_length() > ID_BITS:
            return None
        found = self.queries.is_in_force(connection, node_id=node.id, payload_id=number)
        return None if found is None else bool(found)

    def _withdraw(self, connection: Any, number: int, superseded_by: int | None, revision: int) -> None:
        self.queries.withdraw_payload(
            connection, payload_id=number, now=now(), superseded_by=superseded_by, revision=revision
        )

    def _enter(
        self,
        connection: Any,
        node: Node,
        payload: EncodedPayload,
        earlier: "_Entry | None",
        revision: int,
        *,
        origin: str = "submission",
    ) -> "_Entry":
        """Keep a payload, or put the one that is kept back in force."""
        if earlier is not None:
            self.queries.restore_payload(connection, payload_id=earlier.payload, revision=revision)
            return earlier
        envelope = payload.envelope
        number, received_at = self.queries.add_payload(
            connection,
            node_id=node.id,
            **identity_columns(identity_of(payload)),
            generated_at=envelope.generated_at,
            version=envelope.version,
            nb_rows=payload.count,
            body=payload.body,
            origin=origin,
            revision=revision,
        )
        days = [{"payload_id": number, "day": day.isoformat()} for day in envelope.days_coverage]
        self.queries.add_payload_days(connection, days)
        return _Entry(number, as_time(received_at), in_force=True)

    def _merge(self, connection: Any, node: Node, rows: Iterable[Row]) -> None:
        """Add rows to those that are there, in all tables."""
        self._begin_incoming(connection)
        self.load_incoming(connection, rows)
        self.queries.merge_stats(connection, node_id=node.id)
        self._merge_roll_ups(connection, node)

    def _begin_incoming(self, connection: Any) -> None:
        """Make the temporary tables, empty: rows that come in, and the same rolled up."""
        self.queries.create_incoming(connection)
        self.queries.create_rolled(connection)
        self.queries.empty_incoming(connection)
        self.queries.empty_rolled(connection)

    def _merge_roll_ups(self, connection: Any, node: Node) -> None:
        self.queries.roll_up(connection)
        self.queries.add_rolled_networks(connection, node_id=node.id)
        self.queries.merge_by_network_country(connection, node_id=node.id)
        self.queries.merge_by_network(connection, node_id=node.id)
        self.queries.merge_by_country(connection, node_id=node.id)

    def _rebuild(self, connection: Any, node: Node, months: Collection[datetime.date]) -> None:
        """Make the rows of some months again from the payloads in force: sketches cannot be subtracted."""
        if not months:
            # Payloads of quiet days have no rows.
            return
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
        for number, _ in self._in_force(connection, node, min(months), last_day_of(max(months))):
            rows = self._kept(connection, number).rows()
            with naming_damaged(number):
                self.load_incoming(connection, (row for row in rows if row.month in months))
        # All at once: one after the other, each would unite the sketches of the month again.
        self.queries.insert_stats(connection, node_id=node.id)
        self._merge_roll_ups(connection, node)

    def _in_force(
        self, connection: Any, node: Node, first_day: datetime.date, last_day: datetime.date
    ) -> list[tuple[int, datetime.date]]:
        """List the payloads in force that may have requests of some days, and the first day of each."""
        span = {"first_day": first_day.isoformat(), "last_day": last_day.isoformat()}
        found = self.queries.payloads_in_force(connection, node_id=node.id, **span)
        return [(number, msgspec.convert(starts_at, datetime.date)) for number, starts_at in found]

    def _body(self, connection: Any, number: int) -> bytes:
        with naming_damaged(number):
            return b"".join(decompress(self._packed_body(connection, number)))

    def _packed_body(self, connection: Any, number: int) -> list[bytes]:
        """Return a payload as it is kept, in pieces."""
        pieces: list[bytes] = []
        first = 1
        while True:
            piece = self.queries.part_of_body(connection, payload_id=number, first=first, count=_BODY_BYTES_AT_ONCE)
            pieces.append(bytes(piece))
            first += len(pieces[-1])
            if len(pieces[-1]) < _BODY_BYTES_AT_ONCE:
                return pieces

    def _kept(self, connection: Any, number: int) -> Reader:
        """Return a reader of a payload that is kept. It does not use the connection."""
        return Reader(self._packed_body(connection, number))

    def _owner(self, connection: Any, number: int) -> Node:
        found = (
            self.queries.node_of_payload(connection, payload_id=number) if number.bit_length() <= ID_BITS else None
        )
        if found is None:
            raise UnknownPayload(str(number))
        return Node(*found)

    def _list(
        self, connection: Any, *, node_id: int = _ANY, number: int | None = None, limit: int | None = None
    ) -> list[PayloadRecord]:
        chosen = {"node_id": node_id, "number": _ANY if number is None else number}
        count = _ALL if limit is None else limit
        listed = list(self.queries.list_payloads(connection, **chosen, count=count))[::-1]
        if not listed:
            return []
        days = group_by_payload(self.queries.list_payload_days(connection, **chosen, oldest=listed[0][0]))
        return records(
            PayloadRecord,
            ((*known, _period(start, end), days[known[0]]) for *known, start, end in listed),
        )


@contextmanager
def naming_damaged(number: int) -> Iterator[None]:
    """Raise an error with the number of the payload if it turns out to be unreadable."""
    try:
        yield
    except UnreadablePayload as error:
        raise DamagedPayload(str(number), hint=_RESTORE) from error


def identity_of(payload: PayloadSummary) -> Identity:
    """Return what distinguishes a payload from others of its node."""
    envelope = payload.envelope
    return Identity(
        hash=payload.hash,
        content=payload.content,
        source=envelope.source,
        period=envelope.period,
        days=frozenset(envelope.days_coverage),
    )


def identity_columns(new: Identity) -> dict[str, str | None]:
    """Return the columns of the table that say what a payload is, as the database takes them."""
    period = None if new.period is None else (new.period.start, new.period.end)
    # A stray request may be of a day outside of the period.
    bounds = [*new.days, *(period or ())]
    start, end = period or (None, None)
    return {
        "hash": new.hash,
        "content": new.content,
        "source": new.source,
        "period_start": start and start.isoformat(),
        "period_end": end and end.isoformat(),
        "starts_at": min(bounds).isoformat(),
        "ends_at": max(bounds).isoformat(),
    }


class _Entry(msgspec.Struct, frozen=True):
    """A payload that is kept."""

    payload: int
    received_at: datetime.datetime
    in_force: bool


def _accepted(new: Identity, request: Request, others: Sequence[InForce]) -> Accepted:
    """Decide about a payload, and raise what keeps it from being stored."""
    decision = decide(new, request, others)
    if isinstance(decision, Duplicate):
        known = decision.of
        raise DuplicatePayload(known.payload, known.hash, known.received_at.isoformat(timespec="seconds"))
    if isinstance(decision, Conflict):
        problem = OverlappingPayload if request.method is Method.POST else AmbiguousReplacement
        shown = [f"payload {other.payload} ({describe(other)})" for other in decision.payloads[:_CONFLICTS_SHOWN]]
        more = len(decision.payloads) - len(shown)
        raise problem(
            ", ".join(shown) + (f" and {more} more" if more else ""),
            [reference(other, other.days) for other in decision.payloads],
            choices=decision.choices,
        )
    return decision


def _check_not_overtaken(undone: Mapping[int, int], arrival: Arrival | None) -> None:
    """Raise an error if a request would undo changes that were made after it arrived.

    Args:
        undone: the revisions that last changed the payloads that the request would withdraw, restore or replace.
        arrival: when the request arrived; None if it is not known.
    """
    later = [number for number, revision in undone.items() if arrival is not None and revision > arrival.revision]
    if later:
        named = ", ".join(f"payload {number}" for number in later[:_CONFLICTS_SHOWN])
        raise Overtaken(f"{named} was put in force or withdrawn after this request arrived", hint=_SEND_AGAIN)


def _near(node: Node, new: Identity) -> dict[str, int | str]:
    """Return the parameters of the queries for payloads that a new one may touch."""
    first, last = new.first_and_last_day()
    return {
        "node_id": node.id,
        "first_day": first.isoformat(),
        "last_day": last.isoformat(),
        "content": new.content,
    }


def _period(start: Any, end: Any) -> Period | None:
    """Read a period from its two columns."""
    return None if start is None else msgspec.convert({"start": start, "end": end}, Period)


def _receipt(node: Node, payload: PayloadSummary, new: Identity, entry: _Entry, accepted: Accepted) -> Receipt:
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
