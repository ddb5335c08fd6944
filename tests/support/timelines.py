"""Shards with timelines, written directly into their tables."""

import re
from collections.abc import Iterable
from typing import Any, NamedTuple

from eida_stats_webservice.archive.storage import VIEWS
from support.crawls import parse_utc
from support.stores import Store

AVAILABILITY = "/fdsnws/availability/1"


class Piece(NamedTuple):
    """A span of a timeline: its stream like GE.APE..BHZ, times like 2024-01-01T00:00, and the rest."""

    stream: str
    start: str
    end: str
    quality: str = "D"
    rate: float = 20.0
    updated: str = "2026-01-01T00:00:00"


def add_shard(store: Store, node: str, code: str, *pieces: Piece) -> None:
    """Create a shard with a timeline. The node is created if it does not exist."""
    if node not in dict(store.registry.list_policies()):
        store.registry.add_node(node, "")
    store.shards.create(code, f"/{code}", node, open_paths=False)
    add_pieces(store, code, pieces)


def add_pieces(store: Store, code: str, pieces: Iterable[Piece]) -> None:
    """Add spans to the timeline of a shard, as an ingestion does."""
    columns = list(VIEWS["timeline"]) + (["sh_code"] if store.database.dialect == "sqlite" else [])
    statement = store.database.prepare(
        f"INSERT INTO timeline ({', '.join(columns)}) VALUES ({', '.join(f':{name}' for name in columns)})"
    )
    with store.database.transaction(write=True) as connection, store.shards.storage.enter(connection, code):
        store.shards.lock(connection, code)
        cursor = connection.cursor()
        for piece in pieces:
            cursor.execute(statement, dict(zip(columns, [*_list_values(piece), code], strict=False)))
        store.shards.bump(connection, code)


def _list_values(piece: Piece) -> list[Any]:
    network, station, location, channel = piece.stream.split(".")
    times = map(parse_utc, (piece.start, piece.end, piece.updated))
    start, end, updated = (time.isoformat(timespec="microseconds") for time in times)
    return [network, station, location, channel, piece.quality, piece.rate, start, end, updated, 1]


def read_table(text: str) -> list[dict[str, str]]:
    """Read the padded text of an availability service, with our headings or those of SeisComP."""
    header, *lines = text.splitlines()
    names = header.removeprefix("#").split()
    short = {"N": "Network", "S": "Station", "L": "Location", "C": "Channel", "Q": "Quality"}
    return [dict(zip([short.get(name, name) for name in names], line.split(), strict=True)) for line in lines]


def read_error(text: str) -> dict[str, str]:
    """Read the text of an error of a FDSN service."""
    pattern = (
        r"Error (?P<status>\d{3}): (?P<phrase>.*)\n\n(?P<detail>(?:.|\n)*)\n\n"
        r"Usage details are available from (?P<usage>\S+)\n\nRequest:\n(?P<request>.*)\n\n"
        r"Request Submitted:\n(?P<date>.*)\n\nService version:\n(?P<version>.*)\n"
    )
    found = re.fullmatch(pattern, text)
    assert found is not None, text
    return found.groupdict()
