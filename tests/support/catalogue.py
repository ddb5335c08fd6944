"""Fill shards of the catalogue without ingestion."""

import datetime
import json
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from eida_statistics.archive.paths import hash_parents, hash_path
from eida_stats_webservice.archive.moments import format_moment
from support.stores import Store


class Piece(NamedTuple):
    """A segment of a file: its stream with dots, and its times."""

    stream: str
    start: str
    end: str
    quality: str = "D"
    rate: float = 1.0
    size: int = 512


def fill_shard(
    store: Store,
    code: str,
    files: Mapping[str, Iterable[Piece]],
    metadata: Mapping[str, Mapping[str, object]] | None = None,
) -> None:
    """Add files with their segments to a shard, and the directories above them below the root of the shard.

    Args:
        store: the database.
        code: the shard.
        files: the segments by path.
        metadata: metadata of type `gdal`, by path.
    """
    root = next(shard.path for shard in store.shards.read_all() if shard.code == code)
    metadata = metadata or {}
    paths = sorted({*files, *metadata})
    directories = {path[:at] for path in paths for at in range(len(root), len(path)) if path[at] == "/"}
    with store.database.transaction(write=True) as connection:
        store.shards.storage.enter(connection, code)
        for path in [*paths, *sorted(directories)]:
            kind = "directory" if path in directories else "file"
            parents = hash_parents(path)
            stored = list(parents) if store.database.dialect == "postgresql" else json.dumps(parents)
            _insert(store, connection, code, "paths", pa_type=kind, pa_path=path, pa_parents=stored)
            prefix = "di" if path in directories else "fi"
            table = "directories" if path in directories else "files"
            own = {f"{prefix}_parent": parents[-1], f"{prefix}_name": path.rpartition("/")[2]}
            _insert(store, connection, code, table, **{f"{prefix}_hash": hash_path(path)}, **own)
        for path, pieces in files.items():
            for piece in pieces:
                names = ("sp_network", "sp_station", "sp_location", "sp_channel")
                stream = dict(zip(names, piece.stream.split("."), strict=True))
                own = stream | {"sp_quality": piece.quality, "sp_rate": piece.rate, "sp_bytes": piece.size}
                times = {"sp_start": _parse(piece.start), "sp_end": _parse(piece.end)}
                _insert(store, connection, code, "spans", sp_hash=hash_path(path), **own, **times)
        for path, document in metadata.items():
            own = {"md_type": "gdal", "md_json": json.dumps(document)}
            _insert(store, connection, code, "metadata", md_hash=hash_path(path), **own)


def add_epoch(
    store: Store, code: str, stream: str, place: tuple[float, float], first: str, last: str | None = None
) -> None:
    """State where a channel was, by longitude and latitude."""
    names = ("network", "station", "location", "channel", "longitude", "latitude", "first", "last")
    values = (*stream.split("."), *place, _parse(first), None if last is None else _parse(last))
    with store.database.transaction(write=True) as connection:
        _execute(store, connection, "stations", {"sh_code": code} | dict(zip(names, values, strict=True)))


def _insert(store: Store, connection: Any, code: str, table: str, **values: Any) -> None:
    if table == "paths":
        values["pa_hash"] = hash_path(values["pa_path"])
    owner = {} if store.database.dialect == "postgresql" else {"sh_code": code}
    _execute(store, connection, table, values | owner)


def _execute(store: Store, connection: Any, table: str, values: Mapping[str, Any]) -> None:
    cast = {"pa_parents": "CAST(:pa_parents AS uuid[])"} if store.database.dialect == "postgresql" else {}
    places = ", ".join(cast.get(name, f":{name}") for name in values)
    statement = f"INSERT INTO {table} ({', '.join(values)}) VALUES ({places})"
    connection.cursor().execute(store.database.prepare(statement), values)


def _parse(text: str) -> str:
    moment = datetime.datetime.fromisoformat(text)
    return format_moment(moment if moment.tzinfo else moment.replace(tzinfo=datetime.UTC))
