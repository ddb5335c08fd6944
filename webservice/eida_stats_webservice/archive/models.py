"""Records of the catalogue."""

import datetime
from dataclasses import dataclass
from typing import NamedTuple

import msgspec


class Stream(NamedTuple):
    """A stream: the extended code of its network, station, location and channel."""

    network: str
    station: str
    location: str
    channel: str


class StationEpoch(NamedTuple):
    """Where a channel was for some time.

    Attributes:
        network: the extended code.
        station: the code of the station.
        location: the code of the location; empty for `--`.
        channel: the code of the channel.
        first: the start.
        last: the end; None if it is still there.
        latitude: in degrees.
        longitude: in degrees.
    """

    network: str
    station: str
    location: str
    channel: str
    first: datetime.datetime
    last: datetime.datetime | None
    latitude: float
    longitude: float


@dataclass
class PolygonResult:
    """What was found in metadata of the type `gdal`.

    Attributes:
        layers: the number of layers.
        invalid: those with a time, a number or a polygon that is not valid, or without a reference system.
        unregistered: others whose reference system could not be registered.
    """

    layers: int = 0
    invalid: int = 0
    unregistered: int = 0


class Shard(msgspec.Struct, frozen=True):
    """The catalogue of one archive.

    Attributes:
        code: its name, which is also that of its schema.
        path: the path that all its paths begin with.
        node: the name of its node.
        node_id: the id of its node.
        open_paths: whether everybody may see its paths, files and links.
        generation: a number that every change raises.
        crawled_at: when the node began the last complete crawl that was ingested.
        refreshed_at: when its holdings were last computed.
        foreign_server: the server that has its tables; None for this database.
    """

    code: str
    path: str
    node: str
    node_id: int
    open_paths: bool
    generation: int
    crawled_at: datetime.datetime | None = None
    refreshed_at: datetime.datetime | None = None
    foreign_server: str | None = None
