"""The records of payloads of all kinds."""

import datetime
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from eida_stats_webservice.database.base import ID_BITS, Database, format_now, select_rows
from eida_stats_webservice.errors import UnknownPayload
from eida_stats_webservice.payloads.days import group_by_payload
from eida_stats_webservice.payloads.kinds import Kind
from eida_stats_webservice.payloads.models import PayloadRecord
from eida_stats_webservice.registry.models import Node

# No payload and no node has this number.
ANY = -1
_ALL = 2**63 - 1
_Record = TypeVar("_Record", bound=msgspec.Struct)


class PayloadRecords:
    """Reads and withdraws payloads of any kind. All methods take a connection in a transaction."""

    def __init__(self, database: Database) -> None:
        self._queries = database.load_queries(Path(__file__).parent)

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
        self,
        connection: Any,
        *,
        node_id: int = ANY,
        kind: Kind | None = None,
        number: int | None = None,
        limit: int | None = None,
    ) -> list[PayloadRecord]:
        """Return payloads in the order of their numbers: all, those of a node or kind, one, or the newest ones."""
        chosen = {"node_id": node_id, "kind": kind or "", "number": ANY if number is None else number}
        count = _ALL if limit is None else limit
        listed = list(select_rows(connection, self._queries.list_payloads, **chosen, count=count))[::-1]
        if not listed:
            return []
        days = group_by_payload(self._queries.list_payload_days(connection, **chosen, oldest=listed[0]["payload"]))
        return [convert_row(PayloadRecord, row, days[row["payload"]]) for row in listed]

    def read_record(self, connection: Any, number: int) -> PayloadRecord:
        """Return the record of a payload."""
        (record,) = self.list_records(connection, number=number)
        return record

    def withdraw(self, connection: Any, number: int, superseded_by: int | None, revision: int) -> None:
        """Mark a payload as superseded by another one, or as retracted."""
        self._queries.withdraw_payload(
            connection, payload_id=number, now=format_now(), superseded_by=superseded_by, revision=revision
        )

    def read_revision(self, connection: Any, number: int) -> int:
        """Return the revision of its node that put a payload in force or withdrew it."""
        return int(self._queries.revision_of_payload(connection, payload_id=number))


def convert_row(record: type[_Record], row: dict[str, Any], days: list[datetime.date]) -> _Record:
    """Return the record of a row, whose period has two columns, and of its days."""
    start, end = row["period_start"], row["period_end"]
    period = None if start is None else {"start": start, "end": end}
    return msgspec.convert({**row, "period": period, "days": days}, record, strict=False)
