"""Payloads of dataselect: their form, and their sums."""

import datetime
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import Any, Final

from eida_statistics.encoding import EncodedPayload, encode
from eida_statistics.months import find_last_day
from eida_statistics.payload import Payload, Period, Row
from eida_stats_webservice.database.base import Database
from eida_stats_webservice.dataselect.bodies import DataselectBodies
from eida_stats_webservice.dataselect.growth import Correction
from eida_stats_webservice.dataselect.identity import describe, identify
from eida_stats_webservice.dataselect.payload_sums import PayloadSums
from eida_stats_webservice.dataselect.sums import Sums
from eida_stats_webservice.errors import DamagedPayload
from eida_stats_webservice.payloads.days import find_months
from eida_stats_webservice.payloads.identity import Identity
from eida_stats_webservice.payloads.intake import PayloadIntake
from eida_stats_webservice.payloads.kinds import Description, Kind, list_days
from eida_stats_webservice.payloads.records import PayloadRecords
from eida_stats_webservice.payloads.table import PayloadTable
from eida_stats_webservice.registry.models import Node

DataselectPayload = Payload | EncodedPayload
DataselectIntake = PayloadIntake[DataselectPayload]


class DataselectRepository:
    """The kind `dataselect`. Its methods take a connection in a transaction that has locked the node."""

    kind: Final = Kind.DATASELECT

    def __init__(self, database: Database) -> None:
        self._database = database
        self._queries = database.load_queries(Path(__file__).parent)
        self._records = PayloadRecords(database)
        self.table = PayloadTable(database, self.kind)
        self.bodies = DataselectBodies(database, self.table)
        self.sums = Sums(database, self._queries)

    def describe(self, payload: DataselectPayload) -> Description:
        """Return the identity and the stored form of a payload."""
        return describe(payload if isinstance(payload, EncodedPayload) else encode(payload))

    def check_source(self, _connection: Any, _node: Node, _new: Identity) -> None:
        """Do nothing: all payloads of dataselect are sent as such."""

    def merge(self, connection: Any, node: Node, payload: DataselectPayload) -> None:
        """Add the rows of a payload to the sums of a node."""
        self.sums.merge(connection, node, _get_rows(payload))

    def rebuild(
        self, connection: Any, node: Node, withdrawn: Collection[Identity], added: DataselectPayload | None
    ) -> None:
        """Add what has grown to the sums, and build the sums of other keys again."""
        months = find_months(list_days(withdrawn).union(() if added is None else _get_days(added)))
        if not months:
            # Payloads of quiet days have no rows.
            return
        try:
            with self._database.savepoint(connection):
                self._correct(connection, node, withdrawn, added, months)
        except DamagedPayload:
            # A node may replace or retract a damaged payload.
            self.rebuild_months(connection, node, months)

    def _correct(
        self,
        connection: Any,
        node: Node,
        withdrawn: Collection[Identity],
        added: DataselectPayload | None,
        months: Collection[datetime.date],
    ) -> None:
        old = [self._read_rows(connection, node, one, months) for one in withdrawn]
        correction = Correction(old, () if added is None else _get_rows(added))
        self.sums.merge(connection, node, correction.growth())
        if correction.rebuilt:
            numbers = self._list_in_force(connection, node, months)
            sums = PayloadSums(connection, self.bodies, numbers)
            self.sums.rebuild(connection, node, correction.rebuilt, sums)

    def _read_rows(
        self, connection: Any, node: Node, identity: Identity, months: Collection[datetime.date]
    ) -> Iterator[Row]:
        entry = self.table.find(connection, node, identity.hash)
        return iter(()) if entry is None else self.bodies.read_rows(connection, entry.payload, months)

    def _list_in_force(self, connection: Any, node: Node, months: Collection[datetime.date]) -> list[int]:
        listed = self.table.list_in_force(connection, node, min(months), find_last_day(max(months)))
        return [number for number, _ in listed]

    def rebuild_months(self, connection: Any, node: Node, months: Collection[datetime.date]) -> None:
        """Build the sums of some months again from the payloads in force: sketches cannot be subtracted."""
        if not months:
            # Payloads of quiet days have no rows.
            return
        # They are made again from the bodies, when they are needed.
        self.table.delete_packed_rows(connection, node, Period(min(months), find_last_day(max(months))))
        self.sums.delete(connection, node, months)
        numbers = self._list_in_force(connection, node, months)
        self.sums.insert(
            connection, node, (self.bodies.read_rows(connection, number, months) for number in numbers)
        )

    def restore_identities(self, connection: Any, owner: Node) -> None:
        """Restore source and period in the table from the bodies, where an older version has dropped them."""
        for record in self._records.list_records(connection, node_id=owner.id, kind=self.kind):
            if record.period is not None:
                continue
            try:
                new = identify(self.bodies.read_summary(connection, record.payload))
            except DamagedPayload:
                continue
            if new.period is None or record.hash not in {new.content, new.hash}:
                continue
            known = self.table.find(connection, owner, new.hash)
            if known is None or known.payload == record.payload:
                self.table.restore_identity(connection, record.payload, new)

    def has_rights(self, connection: Any) -> bool:
        """Return whether the role of the connection has the rights of the service on the sums."""
        return bool(self._queries.has_rights(connection))


def _get_rows(payload: DataselectPayload) -> Iterable[Row]:
    return payload.rows if isinstance(payload, EncodedPayload) else payload.stats


def _get_days(payload: DataselectPayload) -> list[datetime.date]:
    return (payload.envelope if isinstance(payload, EncodedPayload) else payload).days_coverage
