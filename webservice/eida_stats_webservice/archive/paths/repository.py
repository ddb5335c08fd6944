"""Read what is below a path."""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from eida_statistics.archive.paths import hash_path
from eida_stats_webservice.archive.models import Shard, Stream
from eida_stats_webservice.archive.paths.geometry import Box, Point
from eida_stats_webservice.archive.paths.parameters import PathQuery, Range
from eida_stats_webservice.database.base import Database, format_moment, parse_time

_EVERYWHERE = Box(-180, -90, 180, 90)


class Span(NamedTuple):
    """Continuous samples in a file."""

    path: str
    stream: Stream
    quality: str
    rate: float
    start: datetime
    end: datetime
    size: int


class StreamExtent(NamedTuple):
    """The first and the last sample of a stream."""

    stream: Stream
    start: datetime
    end: datetime


class Epoch(NamedTuple):
    """Where a channel was at a time; `last` is None if it is still there."""

    first: datetime
    last: datetime | None
    place: Point


class Places:
    """Where channels were."""

    def __init__(self, epochs: Iterable[tuple[Stream, Epoch]]) -> None:
        self._epochs: defaultdict[Stream, list[Epoch]] = defaultdict(list)
        for stream, epoch in epochs:
            self._epochs[stream].append(epoch)

    def find(self, stream: Stream, time: datetime) -> Point | None:
        """Return where a stream was at a time, if this is known."""
        epochs = self._epochs.get(stream, [])
        at = bisect_right(epochs, time, key=lambda epoch: epoch.first)
        if not at:
            return None
        epoch = epochs[at - 1]
        return epoch.place if epoch.last is None or epoch.last >= time else None

    def select(self, is_selected: Callable[[Point], bool]) -> "Places":
        """Return those that a function selects."""
        return Places(
            (stream, epoch)
            for stream, epochs in self._epochs.items()
            for epoch in epochs
            if is_selected(epoch.place)
        )

    def list_stations(self) -> set[str]:
        """Return the codes of all stations."""
        return {stream.station for stream in self._epochs}

    def list_between(self, stream: Stream, start: datetime, end: datetime) -> list[Point]:
        """Return all places of a stream in a period."""
        return [
            epoch.place
            for epoch in self._epochs.get(stream, [])
            if epoch.first <= end and (epoch.last is None or epoch.last >= start)
        ]


class PathRepository:
    """Reads one shard. All methods take a connection in a transaction, and paths without a slash at their end."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._queries = database.load_queries(Path(__file__).parent)

    def list_directories(self, connection: Any, shard: Shard, path: str) -> list[str]:
        """Return the names of the directories directly below a path."""
        found = self._queries.list_directories(connection, code=shard.code, hash=hash_path(path))
        return [name for (name,) in found]

    def list_content(self, connection: Any, shard: Shard, path: str) -> list[bool]:
        """Return whether a file directly below a path has segments or layers, as the only row."""
        return [bool(self._queries.has_content(connection, code=shard.code, hash=hash_path(path)))]

    def list_spans(
        self, connection: Any, shard: Shard, path: str, query: PathQuery, stations: set[str] | None
    ) -> Iterator[Span]:
        """Yield the segments below a path, file by file: those of some stations, or of all."""
        parameters = self._make_parameters(shard, path, query) | _make_range(query.overlapped)
        parameters |= {"all_stations": stations is None, "stations": self._database.to_list(stations or {""})}
        for file, *stream, quality, rate, start, end, size in self._stream(connection, "list_spans", parameters):
            yield Span(file, Stream(*stream), quality, rate, parse_time(start), parse_time(end), size)

    def list_stamps(
        self, connection: Any, shard: Shard, path: str, query: PathQuery, limits: Range
    ) -> Iterator[datetime]:
        """Yield the starts and ends of segments below a path, each once, by time."""
        parameters = self._make_parameters(shard, path, query) | _make_range(limits)
        for (stamp,) in self._stream(connection, "list_stamps", parameters):
            yield parse_time(stamp)

    def list_streams(self, connection: Any, shard: Shard, path: str, query: PathQuery) -> Iterator[StreamExtent]:
        """Yield the streams below a path."""
        parameters = self._make_parameters(shard, path, query)
        for *stream, start, end in self._stream(connection, "list_streams", parameters):
            yield StreamExtent(Stream(*stream), parse_time(start), parse_time(end))

    def list_layers(self, connection: Any, shard: Shard, path: str) -> Iterator[tuple[str, str]]:
        """Yield the path and the metadata of GDAL of each file below a path that has some."""
        parameters = {"code": shard.code, "path": path, "hash": hash_path(path)}
        yield from self._stream(connection, "list_layers", parameters)

    def read_places(self, connection: Any, shard: Shard, box: Box | None = None) -> Places:
        """Return where the channels of a shard were, in a box or everywhere."""
        west, south, east, north = box or _EVERYWHERE
        rows = self._queries.list_places(
            connection, code=shard.code, south=south, north=north, west=west, east=east
        )
        return Places(
            (Stream(*stream), Epoch(parse_time(first), None if last is None else parse_time(last), place))
            for *stream, first, last, place in ((*row[:-2], row[-2:]) for row in rows)
        )

    def _make_parameters(self, shard: Shard, path: str, query: PathQuery) -> dict[str, Any]:
        return {
            "code": shard.code,
            "path": path,
            "hash": hash_path(path),
            "channels": self._database.to_regex(query.namespaces or ("*",)),
        }

    def _stream(self, connection: Any, name: str, parameters: dict[str, Any]) -> Iterator[tuple[Any, ...]]:
        return self._database.stream(connection, getattr(self._queries, name).sql, parameters)


def _make_range(limits: Range) -> dict[str, str]:
    start, stop = limits
    return {"start": format_moment(start), "stop": format_moment(stop)}
