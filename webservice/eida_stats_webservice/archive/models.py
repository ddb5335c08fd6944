"""Records of the catalogue."""

import datetime
from typing import NamedTuple

import msgspec


class Stream(NamedTuple):
    """A stream: the extended code of its network, station, location and channel."""

    network: str
    station: str
    location: str
    channel: str


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
