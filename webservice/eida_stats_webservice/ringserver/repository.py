"""Payloads of ringservers: their form, and their sums."""

import datetime
from collections.abc import Collection
from pathlib import Path
from typing import Any, Final

from eida_statistics.months import find_last_day
from eida_statistics.ringserver import payload_wire
from eida_statistics.ringserver.collection import SourceDay
from eida_statistics.ringserver.payload import LISTS, DayPayload
from eida_stats_webservice.database.base import Database
from eida_stats_webservice.errors import DamagedPayload
from eida_stats_webservice.payloads.bodies import PayloadBodies, name_damaged
from eida_stats_webservice.payloads.days import find_months
from eida_stats_webservice.payloads.identity import Identity
from eida_stats_webservice.payloads.intake import PayloadIntake
from eida_stats_webservice.payloads.kinds import Description, Kind, list_days
from eida_stats_webservice.payloads.table import PayloadTable
from eida_stats_webservice.registry.models import Node
from eida_stats_webservice.ringserver.errors import MixedDelivery
from eida_stats_webservice.ringserver.growth import find_growth
from eida_stats_webservice.ringserver.raw_logs.tables import RawLogTables
from eida_stats_webservice.ringserver.sums import RingserverSums

RingserverIntake = PayloadIntake[DayPayload]


class RingserverRepository:
    """The kind `ringserver`. Its methods take a connection in a transaction that has locked the node."""

    kind: Final = Kind.RINGSERVER

    def __init__(self, database: Database) -> None:
        self._queries = database.load_queries(Path(__file__).parent)
        self._bodies = PayloadBodies(database)
        self.table = PayloadTable(database, self.kind)
        self.sums = RingserverSums(database, self._queries)
        self.raw_logs = RawLogTables(database)

    def describe(self, payload: DayPayload) -> Description:
        """Return the identity and the stored form of a payload."""
        return Description(
            identity=identify(payload),
            generated_at=payload.generated_at,
            version=payload.version,
            rows=count_rows(payload),
            body=payload_wire.encode(payload),
        )

    def check_source(self, connection: Any, node: Node, new: Identity) -> None:
        """Check that the payloads of this source are not made from raw logs.

        Raises:
            MixedDelivery: if they are.
        """
        if self.raw_logs.has_raw_logs(connection, node, new.source):
            raise MixedDelivery(
                f"the database reads raw logs of {f'server {new.source}' if new.source else 'the whole node'}",
                hint="Store its logs there, too, or retract its payloads first. Another server needs a name:"
                " --server.",
            )

    def merge(self, connection: Any, node: Node, payload: DayPayload) -> None:
        """Add a payload to the sums of a node."""
        self.sums.merge(connection, node, [payload])

    def rebuild(
        self, connection: Any, node: Node, withdrawn: Collection[Identity], added: DayPayload | None
    ) -> None:
        """Correct the sums after some payloads were withdrawn and one may have been added.

        Days grow as a matter of course. Then only the difference is added: the month is not read, which would take
        longer with each of its days. The records of raw logs that are withdrawn may count again.
        """
        for one in withdrawn:
            if one.period is not None and self.raw_logs.is_raw(connection, node, one.hash):
                self.raw_logs.delete_day(connection, node, SourceDay(one.source, one.period.start))
        growth = self._find_growth(connection, node, withdrawn, added)
        if growth is None:
            self.rebuild_days(
                connection, node, list_days(withdrawn).union(() if added is None else _list_days(added))
            )
        else:
            self.sums.merge(connection, node, [growth])

    def rebuild_days(self, connection: Any, node: Node, days: Collection[datetime.date]) -> None:
        """Build the sums of some days and of their months again from the payloads in force."""
        if not days:
            # Payloads of quiet days have no rows.
            return
        self.sums.delete(connection, node, days)
        months = find_months(days)
        listed = self.table.list_in_force(connection, node, min(months), find_last_day(max(months)))
        payloads = (self.read(connection, number) for number, day in listed if day.replace(day=1) in months)
        self.sums.merge(connection, node, payloads, days)

    def read(self, connection: Any, number: int) -> DayPayload:
        """Return a stored payload.

        Raises:
            DamagedPayload: if it cannot be read.
        """
        pieces = self._bodies.read_pieces(connection, number)
        with name_damaged(number):
            return payload_wire.read(pieces)

    def has_rights(self, connection: Any) -> bool:
        """Return whether the role of the connection has the rights of the service on the sums."""
        return bool(self._queries.has_rights(connection))

    def _find_growth(
        self, connection: Any, node: Node, withdrawn: Collection[Identity], added: DayPayload | None
    ) -> DayPayload | None:
        """Return the difference between a payload and the only one that it replaces, if it contains that one."""
        if added is None or len(withdrawn) != 1:
            return None
        (replaced,) = withdrawn
        entry = self.table.find(connection, node, replaced.hash)
        try:
            return None if entry is None else find_growth(self.read(connection, entry.payload), added)
        except DamagedPayload:
            # A node may replace a damaged payload.
            return None


def identify(payload: DayPayload) -> Identity:
    """Return the identity of a payload. A quiet day has no day with requests."""
    return Identity(
        hash=payload.hash(),
        content=payload.content(),
        source=payload.source,
        period=payload.period,
        days=frozenset(_list_days(payload)),
    )


def _list_days(payload: DayPayload) -> list[datetime.date]:
    return payload.period.days() if any(payload.lists.values()) else []


def count_rows(payload: DayPayload) -> int:
    """Return the number of rows in all lists."""
    return sum(map(len, (payload.lists[name] for name in LISTS)))
