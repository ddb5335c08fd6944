"""Raw logs of ringservers for a store, and what the tables of their records must have."""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from eida_statistics.ringserver.collection import Settings
from eida_statistics.ringserver.events import RX, TX
from eida_statistics.ringserver.identity import ClientKey
from eida_statistics.ringserver.places import Places
from eida_statistics.ringserver.reader import read_events
from eida_statistics.ringserver.windows import Grid, parse_log_name
from eida_stats_webservice.database.base import parse_time
from eida_stats_webservice.payloads.records import PayloadRecords
from eida_stats_webservice.ringserver.pruning import Kept
from eida_stats_webservice.ringserver.raw_logs.models import RawLog
from support.ringserver_days import NOW
from support.stores import Store
from support.tables import select

GRID = Grid()
KEY = ClientKey(b"salt")

_EVENT_COLUMNS = (
    "server, direction, network, station, location, channel, bytes, packets, city, countrycode, geohash, hosthash,"
    " protocol, client_class"
)


def make_settings(key: ClientKey = KEY, *, rx: bool = True) -> Settings:
    """Return how records are read, with networks that are never extended."""
    directions = frozenset({TX, RX} if rx else {TX})
    return Settings(key, Places(None), GRID, lambda code, _: code, int(NOW.timestamp()), directions)


def make_log(content: bytes, name: str = "", source: str | None = None) -> RawLog:
    """Return a raw log with a file name, from which the source comes unless it is stated."""
    parsed = parse_log_name(name, GRID)
    stated = parsed.server if source is None and parsed is not None else source or ""
    return RawLog(name or "log", stated, parsed, [content])


def list_logs(files: Mapping[str, bytes]) -> list[RawLog]:
    """Return raw logs of files, by their names."""
    return [make_log(content, name) for name, content in files.items()]


def read_events_table(store: Store, node: str = "GFZ") -> Counter[tuple[Any, ...]]:
    """Return the rows of the events of a node, and how often each occurs."""
    rows = _select(store, f"time, {_EVENT_COLUMNS}", "ringserver_events", node)
    return Counter((str(parse_time(time)), *values) for time, *values in rows)


def read_clients(store: Store, node: str = "GFZ") -> dict[tuple[str, ...], tuple[int, ...]]:
    """Return the sums by client of a node."""
    columns = "date, server, direction, hosthash, bytes, packets, records"
    rows = _select(store, columns, "ringserver_by_client", node)
    return {tuple(map(str, row[:4])): tuple(map(int, row[4:])) for row in rows}


def read_records(store: Store, node: str = "GFZ") -> dict[tuple[Any, ...], int]:
    """Return how often the digests of each source and day of a node count."""
    rows = _select(store, "source, day, digest, count", "ringserver_records", node)
    return {(source, str(day), bytes(digest)): count for source, day, digest, count in rows}


def _select(store: Store, columns: str, table: str, node: str) -> list[tuple[Any, ...]]:
    where = f"node_id IN (SELECT id FROM nodes WHERE name = '{node}')"
    return select(store, f"SELECT {columns} FROM {table} WHERE {where}")


def prune(store: Store, kept: Kept) -> list[str]:
    """Delete what is older than some days, and return the months whose events are deleted."""
    store.pruning.keep_from(kept)
    for node in store.pruning.list_nodes():
        store.pruning.delete_rows(node, kept)
    return list(store.pruning.delete_events(kept))


def forget_pruning(store: Store) -> None:
    """Keep records and hours of all days again."""
    with store.database.transaction(write=True) as connection:
        sql = "UPDATE ringserver_pruned SET records_from = '1990-01-01', hours_from = '1990-01-01'"
        connection.cursor().execute(sql)


def add_up_clients(events: Iterable[tuple[tuple[Any, ...], int]]) -> dict[tuple[str, ...], tuple[int, ...]]:
    """Return the sums by client of the rows of events."""
    found: dict[tuple[str, ...], list[int]] = {}
    for (time, server, direction, *values), count in events:
        size, packets, hosthash = values[4], values[5], values[9]
        sums = found.setdefault((time[:10], server, direction, hosthash), [0, 0, 0])
        for index, value in enumerate((size, packets, 1)):
            sums[index] += value * count
    return {key: tuple(sums) for key, sums in found.items()}


def list_secrets(contents: Iterable[bytes]) -> set[bytes]:
    """Return the addresses and client ids of logs, and the host names, which must not be stored."""
    secrets: set[bytes] = set()
    for content in contents:
        for event in read_events([content], "log"):
            address = getattr(event, "address", None)
            if address is not None:
                secrets |= {address.encode(), event.client_id.encode(errors="surrogateescape")}
        secrets |= {line.split()[2] for line in content.splitlines() if line.startswith(b"START CLIENT ")}
    return {secret for secret in secrets if len(secret) > 5}


def dump(store: Store) -> str:
    """Return all tables as text, with bytes in hexadecimal and as they are."""
    is_embedded = store.database.dialect == "sqlite"
    names = (
        "SELECT name FROM sqlite_master WHERE type = 'table'"
        if is_embedded
        else "SELECT tablename FROM pg_tables WHERE schemaname = 'public'"
    )
    texts = []
    for (name,) in select(store, names):
        for row in select(store, f"SELECT * FROM {name}"):
            for value in row:
                raw = bytes(value) if isinstance(value, bytes | memoryview) else str(value).encode()
                texts.append(raw.decode("latin-1"))
    with store.database.transaction() as connection:
        records = PayloadRecords(store.database).list_records(connection)
    texts += [store.payloads.read_payload(one.payload).decode() for one in records if one.withdrawn_at is None]
    return "\n".join(texts)
