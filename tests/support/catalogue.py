"""Fill shards of the catalogue by ingesting crawls."""

import json
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from eida_statistics.archive.lines import CrawlLine
from eida_stats_webservice.database.base import format_moment
from support.crawls import describe, describe_directory, describe_file, make_segment, parse_utc, write_crawl
from support.stores import Store
from support.tables import execute


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
    times = [None if time is None else format_moment(parse_utc(time)) for time in (first, last)]
    row: dict[str, object] = {"sh_code": code} | dict(zip(names, (*stream.split("."), *place, *times), strict=True))
    places = ", ".join(f":{name}" for name in row)
    execute(store, f"INSERT INTO stations ({', '.join(row)}) VALUES ({places})", **row)
