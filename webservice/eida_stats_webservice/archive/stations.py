"""Store where stations are."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eida_statistics.networks import NetworkRegistry
from eida_stats_webservice.archive.bad_lines import BadLines
from eida_stats_webservice.archive.models import StationEpoch, Stream
from eida_stats_webservice.archive.polygons import PolygonRepository
from eida_stats_webservice.archive.shards import ShardRepository
from eida_stats_webservice.archive.station_lines import StationReader
from eida_stats_webservice.database.base import Database, format_moment, parse_time


@dataclass
class StationResult:
    """The result of ingesting a file of stations.

    Attributes:
        epochs: epochs of channels, which are all of the shard now.
        changed: the streams whose epochs have changed.
        bad: the lines that were refused.
    """

    epochs: int
    changed: int
    bad: BadLines


class StationRepository:
    """The table `stations`."""

    def __init__(self, database: Database, shards: ShardRepository) -> None:
        self._database = database
        self._shards = shards
        self._polygons = PolygonRepository(database, shards)
        self._queries = database.load_queries(Path(__file__).parent, "stations")

    def replace(self, code: str, file: Path, networks: NetworkRegistry) -> StationResult:
        """Replace the stations of a shard by those of a file, in one transaction.

        If they are the same, nothing changes.

        Raises:
            UnknownShard: if there is no such shard.
            InvalidStations: if the file has no channels.
            TooManyBadLines: if more than one line of a hundred is bad.
            RegistryUnavailable: if the code of a network needs the registry, which cannot be loaded.
            InvalidRegistry: if the registry is invalid.
        """
        reader = StationReader(file, networks)
        with self._database.transaction() as connection:
            # Before a file is read that would not be needed.
            self._shards.get(connection, code)
        epochs = reader.read()
        with self._database.transaction(write=True) as connection:
            self._database.wait_without_limit(connection)
            shard = self._shards.lock(connection, code)
            if changed := find_changed(self.list_epochs(connection, code), epochs):
                self._write(connection, code, epochs)
                self._polygons.refresh_streams(connection, shard, changed)
                self._shards.bump(connection, code)
        return StationResult(len(epochs), len(changed), reader.bad)

    def _write(self, connection: Any, code: str, epochs: list[StationEpoch]) -> None:
        self._queries.delete_stations(connection, code=code)
        self._database.load_rows(
            connection,
            self._queries.add_station,
            epochs,
            to_line=lambda epoch: _format_line(code, epoch),
            to_parameters=lambda epoch: _to_parameters(code, epoch),
        )

    def list_epochs(self, connection: Any, code: str) -> list[StationEpoch]:
        """Return the epochs of all channels of a shard, by stream and start."""
        return list(map(_to_epoch, self._queries.list_epochs(connection, code=code)))


def find_changed(before: Iterable[StationEpoch], after: Iterable[StationEpoch]) -> set[Stream]:
    """Return the streams whose epochs differ."""
    old, new = _group(before), _group(after)
    return {stream for stream in old.keys() | new.keys() if old.get(stream) != new.get(stream)}


def _group(epochs: Iterable[StationEpoch]) -> dict[Stream, set[StationEpoch]]:
    found: defaultdict[Stream, set[StationEpoch]] = defaultdict(set)
    for epoch in epochs:
        found[Stream(*epoch[:4])].add(epoch)
    return found


def _to_epoch(row: tuple[Any, ...]) -> StationEpoch:
    network, station, location, channel, first, last, latitude, longitude = row
    return StationEpoch(
        network,
        station,
        location,
        channel,
        parse_time(first),
        None if last is None else parse_time(last),
        latitude,
        longitude,
    )


def _to_parameters(code: str, epoch: StationEpoch) -> dict[str, Any]:
    last = None if epoch.last is None else format_moment(epoch.last)
    return {"code": code, **epoch._asdict(), "first": format_moment(epoch.first), "last": last}


def _format_line(code: str, epoch: StationEpoch) -> str:
    """Return a line for COPY."""
    values = _to_parameters(code, epoch).values()
    # No code has a character that needs an escape.
    return "\t".join(r"\N" if value is None else str(value) for value in values) + "\n"
