"""Segments of an archive, stored without a crawl, and the holdings that follow from them."""

import datetime
import itertools
import json
from collections.abc import Collection, Iterable
from typing import Any, NamedTuple

from eida_statistics.archive.paths import hash_path
from eida_stats_webservice.archive.models import Stream
from support.crawls import parse_utc
from support.node_client import make_node
from support.stores import Store
from support.tables import execute, select

BHZ = Stream("GE", "EIL", "", "BHZ")
_COLUMNS = ("hash", "network", "station", "location", "channel", "quality", "rate", "start", "end", "bytes")
_numbers = itertools.count(1)


class HeldSegment(NamedTuple):
    """A segment of a file.

    Attributes:
        start: the time of the first sample.
        end: the time of the last sample.
        bytes: the size of its records.
        stream: the stream.
        rate: samples per second.
        path: the path of its file.
        identity: device and inode of the file; None if the crawl has no such record.
    """

    start: str
    end: str
    bytes: int = 1000
    stream: Stream = BHZ
    rate: float = 1.0
    path: str = ""
    identity: tuple[int, int] | None = None


def year_of(year: int, size: int, stream: Stream = BHZ) -> HeldSegment:
    """Return a segment of the first day of a year, in a file of its own."""
    number = next(_numbers)
    day = f"{year}-01-01T"
    return HeldSegment(f"{day}00:00:00", f"{day}23:59:59", size, stream, path=f"/{number}", identity=(1, number))


def create_shard(store: Store, code: str, node: str) -> None:
    """Create a shard without rows, and its node."""
    make_node(store, node)
    store.shards.create(code, f"/{code}", node, open_paths=False)


def hold(store: Store, code: str, segments: Iterable[HeldSegment]) -> None:
    """Replace the segments of a shard. Its holdings stay as they are."""
    rows = list(segments)
    with store.database.transaction(write=True) as connection, store.shards.storage.enter(connection, code):
        for table in ("spans", "metadata"):
            _execute(store, connection, f"DELETE FROM {table} WHERE {_of_shard(store)}", code=code)
        for one in rows:
            values = (hash_path(one.path), *one.stream, "D", one.rate, one.start, one.end, one.bytes)
            names = {f"sp_{name}": value for name, value in zip(_COLUMNS, values, strict=True)}
            for name in ("sp_start", "sp_end"):
                names[name] = parse_utc(str(names[name])).isoformat(timespec="microseconds")
            _insert(store, connection, code, "spans", names)
        for path, identity in {one.path: one.identity for one in rows}.items():
            if identity is not None:
                record = json.dumps({"type": "file", "dev": identity[0], "inode": identity[1]})
                names = {"md_hash": hash_path(path), "md_type": "posix", "md_json": record}
                _insert(store, connection, code, "metadata", names)


def refresh(
    store: Store, code: str, streams: Collection[Stream] | None = None, years: Collection[int] | None = None
) -> None:
    """Compute the holdings of a shard."""
    with store.database.transaction(write=True) as connection:
        store.holdings.refresh(connection, store.shards.get(connection, code), streams, years)


def fill_shard(store: Store, code: str, *segments: HeldSegment) -> None:
    """Store the segments of a shard, and compute its holdings."""
    hold(store, code, segments)
    refresh(store, code)


def move_snapshots(store: Store, month: str) -> None:
    """Make the snapshots of this month those of an earlier one."""
    this = datetime.datetime.now(tz=datetime.UTC).date().replace(day=1).isoformat()
    execute(store, "UPDATE holdings_history SET month = :month WHERE month = :this", month=f"{month}-01", this=this)


def read_table(store: Store, table: str, columns: str) -> list[tuple[Any, ...]]:
    """Return some columns of a table, sorted."""
    return sorted(select(store, f"SELECT {columns} FROM {table}"))


def _of_shard(store: Store) -> str:
    return "sh_code = :code" if store.database.dialect == "sqlite" else ":code = :code"


def _insert(store: Store, connection: Any, code: str, table: str, values: dict[str, Any]) -> None:
    if store.database.dialect == "sqlite":
        values = {**values, "sh_code": code}
    names = ", ".join(values)
    bound = ", ".join(f":{name}" for name in values)
    _execute(store, connection, f"INSERT INTO {table} ({names}) VALUES ({bound})", **values)


def _execute(store: Store, connection: Any, statement: str, **parameters: object) -> None:
    connection.cursor().execute(store.database.prepare(statement), parameters)
