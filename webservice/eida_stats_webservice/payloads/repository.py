"""Payloads of all kinds. All are kept; the sums of each kind are those of its payloads in force."""

import datetime
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec

from eida_statistics.payload import Period
from eida_stats_webservice.database.base import Database
from eida_stats_webservice.errors import UnknownPayload
from eida_stats_webservice.payloads.bodies import PayloadBodies
from eida_stats_webservice.payloads.identity import Identity
from eida_stats_webservice.payloads.kinds import Kind, PayloadKind
from eida_stats_webservice.payloads.models import PayloadRecord, ReceivedDays
from eida_stats_webservice.payloads.overlaps import check_not_overtaken
from eida_stats_webservice.payloads.records import ANY, PayloadRecords
from eida_stats_webservice.registry.models import Arrival, Node
from eida_stats_webservice.registry.repository import RegistryRepository


class PayloadRepository:
    """Lists and retracts payloads. Each method is one transaction, unless it takes a connection."""

    def __init__(self, database: Database, registry: RegistryRepository, kinds: Iterable[PayloadKind[Any]]) -> None:
        self._database = database
        self._registry = registry
        self._kinds = {kind.kind: kind for kind in kinds}
        self._queries = database.load_queries(Path(__file__).parent)
        self._records = PayloadRecords(database)
        self._bodies = PayloadBodies(database)

    def retract(self, number: int, node: Node | None = None, *, arrival: Arrival | None = None) -> PayloadRecord:
        """Withdraw a payload from force. A payload that is withdrawn already stays as it is.

        A node can retract its own payloads, the administrator all.

        Raises:
            RefusedToken: if the token was revoked, or has expired, after the request arrived.
            UnknownPayload: if there is none of that number, or it is another node's.
            Overtaken: if it was put in force after the request arrived.
        """
        with self._database.transaction(write=True) as connection:
            owner = self._records.find_owner(connection, number)
            if node is not None and owner.id != node.id:
                raise UnknownPayload(str(number))
            revision = self._registry.begin_change(connection, owner, arrival)
            record = self._records.read_record(connection, number)
            if record.withdrawn_at is None:
                check_not_overtaken({number: self._records.read_revision(connection, number)}, arrival)
                self._records.withdraw(connection, number, None, revision)
                self._kinds[record.kind].rebuild(connection, owner, [_identify(record)], None)
                self._registry.bump_revision(connection, owner)
                record = self._records.read_record(connection, number)
        return record

    def list_payloads(
        self, node: str | Node = "", *, kind: Kind | None = None, limit: int | None = None
    ) -> list[PayloadRecord]:
        """Return payloads in the order of their numbers: of a node or of all, of a kind or of all, or the newest.

        Raises:
            UnknownNode: if there is no node of that name.
        """
        with self._database.transaction() as connection:
            if isinstance(node, Node):
                # By its id: its name may have changed since its token was looked up.
                node_id = node.id
            else:
                node_id = self._registry.find_id(connection, node) if node else ANY
            return self._records.list_records(connection, node_id=node_id, kind=kind, limit=limit)

    def read_record(self, number: int) -> PayloadRecord:
        """Return the record of a payload.

        Raises:
            UnknownPayload: if there is none of that number.
        """
        with self._database.transaction() as connection:
            self._records.find_owner(connection, number)
            return self._records.read_record(connection, number)

    def read_payload(self, number: int) -> bytes:
        """Return a payload in the wire format, JSON.

        Raises:
            UnknownPayload: if there is none of that number.
        """
        with self._database.transaction() as connection:
            self._records.find_owner(connection, number)
            return self._bodies.read(connection, number)

    def find_newest_days(self, kind: Kind) -> dict[str, datetime.date | None]:
        """Return the newest day that each node has reported in payloads of a kind, with or without requests."""
        with self._database.transaction() as connection:
            found = list(self._queries.newest_days(connection, kind=kind))
        return {node: msgspec.convert(day, datetime.date | None) for node, day in found}

    def find_newest_days_by_kind(self) -> dict[str, dict[str, datetime.date | None]]:
        """Return the newest day that each node has reported in payloads of each kind."""
        return {kind.value: self.find_newest_days(kind) for kind in Kind}

    # Within a transaction

    def list_received_days(self, connection: Any, period: Period, kind: Kind) -> list[ReceivedDays]:
        """Return the days of payloads in force that share days with a period: one item or more for each."""
        span = {"first_day": period.start.isoformat(), "last_day": period.end.isoformat()}
        rows = list(self._queries.received_days(connection, kind=kind, **span))
        if rows and isinstance(rows[0][1], str):
            # SQLite returns days as text. There may be thousands, and conversion by msgspec is slow.
            parse = datetime.date.fromisoformat
            rows = [(node, parse(start), parse(end), states_period) for node, start, end, states_period in rows]
        return [
            ReceivedDays(node, Period(start, end), bool(states_period)) for node, start, end, states_period in rows
        ]

    def find_first_days(self, connection: Any, kind: Kind) -> dict[str, datetime.date | None]:
        """Return the first day of a kind that each node ever sent, by its name; None if it has sent nothing."""
        return msgspec.convert(
            dict(self._queries.first_days(connection, kind=kind)), dict[str, datetime.date | None]
        )

    def has_rights(self, connection: Any) -> bool:
        """Return whether the role of the connection has the rights of the service on payloads."""
        return bool(self._queries.has_rights(connection))


def _identify(record: PayloadRecord) -> Identity:
    return Identity(
        hash=record.hash,
        content=record.content,
        source=record.source,
        period=record.period,
        days=frozenset(record.days),
    )
