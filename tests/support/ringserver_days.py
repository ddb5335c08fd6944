"""Payloads of the days of ringservers, made from transfer logs, and the sums that they must have."""

import datetime
from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from eida_statistics import hll
from eida_statistics.ringserver.collection import Collection, Settings
from eida_statistics.ringserver.identity import ClientKey
from eida_statistics.ringserver.payload import LISTS, DayPayload
from eida_statistics.ringserver.places import Places
from eida_statistics.ringserver.windows import Grid
from eida_stats_webservice.database.base import parse_time
from eida_stats_webservice.ringserver.sums import TABLES
from support.stores import Store
from support.tables import select
from support.transfer_logs import Log

NOW = datetime.datetime(2026, 11, 26, tzinfo=datetime.UTC)

# By the list of the payload and the key: the counts, and a sketch.
Tables = dict[tuple[str, ...], tuple[Any, ...]]


def collect(logs: Iterable[bytes], source: str = "") -> dict[datetime.date, DayPayload]:
    """Return the payloads of the days in some logs."""
    settings = Settings(ClientKey(b"salt"), Places(None), Grid(), lambda code, _: code, int(NOW.timestamp()))
    collection = Collection(settings)
    for number, log in enumerate(logs):
        collection.read(f"log {number}", source, None, [log])
    return {key.day: collection.get_records(key).make_payload() for key in collection.list_days()}


def make_day(records: Iterable[Log], source: str = "") -> DayPayload:
    """Return the payload of records that are of one day."""
    (payload,) = collect([b"".join(record.text() for record in records)], source).values()
    return payload


def add_up(payloads: Iterable[DayPayload]) -> Tables:
    """Return the rows that the tables must have for some payloads."""
    parts: defaultdict[tuple[str, ...], list[Any]] = defaultdict(list)
    for payload in payloads:
        for name in LISTS:
            for row in payload.lists[name]:
                key = tuple(map(str, row.key))
                parts[(name, *key)].append(row)
                if name == "days":
                    parts[("months", f"{key[0][:7]}-01", *key[1:])].append(row)
                elif name == "hours":
                    parts[("hour_clients", *key[:2])].append(row)
    return {
        key: (
            *(sum(getattr(row, field) for row in rows) for field in TABLES[key[0]].counts),
            hll.merge(hll.from_hex(row.clients) for row in rows),
        )
        for key, rows in parts.items()
    }


def without_hours(tables: Tables, before: datetime.date) -> Tables:
    """Return rows without those of hours before a day."""
    return {key: row for key, row in tables.items() if not key[0].startswith("hour") or key[1] >= str(before)}


def read_tables(store: Store, node: str) -> Tables:
    """Return the rows of a node in all tables."""
    found = {}
    for name, table in TABLES.items():
        columns = ", ".join([*table.keys, *table.counts, "clients"])
        query = f"SELECT {columns} FROM {table.name} JOIN nodes ON nodes.id = node_id WHERE nodes.name = '{node}'"
        for row in select(store, query):
            time, *codes = row[: len(table.keys)]
            *counts, clients = row[len(table.keys) :]
            sketch = hll.from_hex(clients) if isinstance(clients, str) else bytes(clients)
            key = (name, str(parse_time(time) if name.startswith("hour") else time), *codes)
            found[key] = (*map(int, counts), hll.canonicalize(sketch))
    return found


def list_differences(store: Store, node: str = "") -> list[str]:
    """Return the tables that `verify` names, in their order."""
    return [difference.table for *_, found in store.verification.verify(node) for difference in found]
