"""Payloads of a second kind with any hash and content, which no node can send."""

import datetime
from typing import Any

from eida_statistics.payload import Period
from eida_statistics.ringserver.payload import KIND, DayPayload
from eida_statistics.ringserver.payload_wire import encode
from eida_stats_webservice.registry.models import Node
from support.stores import Store

RINGSERVER_HASH = "a" * 32


def insert_ringserver_payload(
    store: Store,
    node: Node,
    day: datetime.date,
    *,
    digest: str = RINGSERVER_HASH,
    content: str = RINGSERVER_HASH,
    source: str = "",
    withdrawn_in: int | None = None,
) -> int:
    """Insert a quiet day of a ringserver in force, or one that was retracted in a revision of the node."""
    values: dict[str, Any] = {
        "hash": digest,
        "content": content,
        "source": source,
        "starts_at": day.isoformat(),
        "ends_at": day.isoformat(),
        "period_start": day.isoformat(),
        "period_end": day.isoformat(),
        "generated_at": "2026-11-01 03:00:00",
        "version": "1.0",
        "kind": "ringserver",
    }
    columns = ", ".join(values)
    literals = ", ".join(f"'{value}'" for value in values.values())
    withdrawn = "NULL" if withdrawn_in is None else "'2026-11-22T12:00:00+00:00'"
    body = encode(make_quiet_day(day, source)).hex()
    literal = f"X'{body}'" if store.database.dialect == "sqlite" else rf"'\x{body}'"
    with store.database.transaction(write=True) as connection:
        cursor = connection.cursor()
        cursor.execute(
            f"INSERT INTO payloads (node_id, {columns}, nb_rows, body, revision, withdrawn_at)"
            f" VALUES ({node.id}, {literals}, 7, {literal}, {withdrawn_in or 0}, {withdrawn}) RETURNING id"
        )
        ((number,),) = cursor.fetchall()
        cursor.execute(f"INSERT INTO payload_days (payload_id, day) VALUES ({number}, '{day}')")
    return int(number)


def make_quiet_day(day: datetime.date, source: str = "") -> DayPayload:
    """Return the payload of a day on which a ringserver transferred nothing."""
    return DayPayload(kind=KIND, source=source, period=Period(day, day), stats=[], days=[], hours=[], places=[])
