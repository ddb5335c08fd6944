"""Fill shards of the catalogue by ingesting crawls."""

import datetime
import json
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from eida_statistics.archive.lines import CrawlLine
from eida_stats_webservice.archive.times import format_moment
from support.crawls import describe, describe_directory, describe_file, make_segment, write_crawl
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
    layers: Mapping[str, Mapping[str, object]] | None = None,
) -> None:
    """Ingest a crawl with files, and with the directories above them below the root of the shard.

    Args:
        store: the database.
        code: the shard.
        files: the segments by path.
        layers: metadata of type `gdal`, by path.
    """
    (root,) = (shard.path for shard in store.shards.read_all() if shard.code == code)
    layers = layers or {}
    directories = {path[:at] for path in (*files, *layers) for at in range(len(root), len(path)) if path[at] == "/"}
    lines = [describe_directory(path) for path in sorted(directories)]
    for path, pieces in files.items():
        segments = [
            make_segment(one.stream, one.start, one.end, rate=one.rate, size=one.size, quality=one.quality)
            for one in pieces
        ]
        lines += describe_file(path, *segments)
    for path, document in layers.items():
        lines += [describe(path), CrawlLine(path, "gdal", json.dumps(document).encode())]
    with tempfile.TemporaryDirectory() as folder:
        store.crawls.ingest(code, write_crawl(Path(folder, "crawl.tsv.gz"), lines, root=root))


def add_epoch(
    store: Store, code: str, stream: str, place: tuple[float, float], first: str, last: str | None = None
) -> None:
    """State where a channel was, by longitude and latitude."""
    names = ("network", "station", "location", "channel", "longitude", "latitude", "first", "last")
    values = (*stream.split("."), *place, _parse(first), None if last is None else _parse(last))
    with store.database.transaction(write=True) as connection:
        row = {"sh_code": code} | dict(zip(names, values, strict=True))
        places = ", ".join(f":{name}" for name in row)
        statement = store.database.prepare(f"INSERT INTO stations ({', '.join(row)}) VALUES ({places})")
        connection.cursor().execute(statement, row)


def _parse(text: str) -> str:
    return format_moment(datetime.datetime.fromisoformat(text).replace(tzinfo=datetime.UTC))
