"""A made-up second source of statistics: bytes that servers streamed, by hour, day and place."""

import datetime
import random
from collections import defaultdict
from typing import Any

from eida_statistics import hll
from eida_stats_webservice.query import filters
from eida_stats_webservice.query.cube import (
    CHANNEL,
    COUNTRY,
    DAY,
    HOUR,
    LOCATION,
    MONTH,
    NETWORK,
    NODE,
    STATION,
    YEAR,
    Choice,
    Cube,
    Dimension,
    Measure,
    Table,
)
from support.stores import Store

STREAMING = Cube(
    name="streaming",
    tables=(
        Table("streaming_by_day", "day", DAY, frozenset({"network", "country"})),
        Table("streaming_by_hour", "hour", HOUR, frozenset({"network", "country"}), lacks=frozenset({"records"})),
        Table("streaming_by_place", "day", DAY, frozenset({"country", "city", "geohash"})),
        Table(
            "streaming_stats",
            "date",
            MONTH,
            frozenset({"network", "station", "location", "channel", "country"}),
        ),
    ),
    levels=(NODE, NETWORK, STATION, LOCATION, CHANNEL),
    details=(COUNTRY, Dimension("city", filters.parse_names), Dimension("geohash", filters.parse_names)),
    grains=(YEAR, MONTH, DAY, HOUR),
    measures=(
        Measure("bytes", "bytes"),
        Measure("packets", "nb_packets"),
        Measure("records", "nb_records", parameter="with_records"),
    ),
    choices=(Choice("direction", ("TX", "RX")),),
)
PLACES = (
    ("DE", "Potsdam", "u33d"),
    ("DE", "Bonn", "u1hd"),
    ("FR", "Bonn", "u0tt"),
    ("FR", "Lyon", "u05k"),
    ("", "", ""),
)
START = datetime.datetime(2026, 8, 30, tzinfo=datetime.UTC)

Record = dict[str, Any]


def draw_records(nodes: tuple[str, ...], count: int, users: int, seed: int = 6) -> list[Record]:
    """Return records of two months, each with a bit of its own as bytes."""
    chance = random.Random(seed)
    return [
        {
            "node": chance.choice(nodes),
            "hour": START + datetime.timedelta(hours=chance.choice([1, 2, 26, 28, 60])),
            "direction": chance.choice(["TX", "TX", "RX"]),
            "network": chance.choice(["GE", "FR", "X"]),
            "station": chance.choice(["S1", "T1"]),
            "location": "",
            "channel": "BHZ",
            **dict(zip(("country", "city", "geohash"), chance.choice(PLACES), strict=True)),
            "bytes": 1 << number,
            "packets": 2,
            "records": 1,
            "users": frozenset(map(hll.hash_client, chance.sample(range(users), chance.choice([1, 2, 4])))),
        }
        for number in range(count)
    ]


def create_tables(store: Store, records: list[Record]) -> None:
    """Create the tables of the cube, and fill them with the sums of some records."""
    is_postgresql = store.database.dialect == "postgresql"
    types = {"day": "date", "date": "date", "hour": "timestamptz"} if is_postgresql else {}
    with store.database.transaction(write=True) as connection:
        cursor = connection.cursor()
        for table in STREAMING.tables:
            texts = ["direction", *sorted(table.dimensions)]
            measures = [measure for measure in STREAMING.measures if measure.name not in table.lacks]
            columns = [
                "node_id integer",
                f"{table.time} {types.get(table.time, 'text')}",
                *(f"{name} text" for name in texts),
                *(f"{measure.column} bigint" for measure in measures),
                f"clients {'hll' if is_postgresql else 'blob'}",
            ]
            cursor.execute(f"CREATE TABLE {table.name} ({', '.join(columns)})")
            groups = defaultdict(list)
            for record in records:
                groups[record["node"], _start_of(record["hour"], table), *(record[name] for name in texts)].append(
                    record
                )
            for (node, time, *values), group in groups.items():
                sketch = hll.encode(frozenset().union(*(record["users"] for record in group)))
                sums = [str(sum(record[measure.name] for record in group)) for measure in measures]
                quoted = ", ".join([f"'{time}'", *(f"'{value}'" for value in values), *sums])
                encoded = f"'{hll.to_hex(sketch)}'" if is_postgresql else f"x'{sketch.hex()}'"
                cursor.execute(
                    f"INSERT INTO {table.name} SELECT id, {quoted}, {encoded} FROM nodes WHERE name = '{node}'"
                )


def _start_of(hour: datetime.datetime, table: Table) -> str:
    if table.grain == HOUR:
        return hour.isoformat(timespec="milliseconds")
    day = hour.date()
    return (day if table.grain == DAY else day.replace(day=1)).isoformat()


def add_up(records: list[Record], **query: str) -> dict[tuple[str, ...], tuple[int, int, int]]:
    """Answer a query from the records: bytes, packets and distinct clients by the keys of the cube."""
    details = query.get("details", "").split(",")
    characters = next((grain.characters for grain in reversed(STREAMING.grains) if grain.name in details), 0)
    levels = [level.name for level in STREAMING.levels]
    level = query.get("level")
    divided = {*levels[: levels.index(level) + 1 if level else 0], *details}
    groups = defaultdict(list)
    for record in records:
        date = record["hour"].isoformat()
        if record["direction"] != query.get("direction", "TX") or not query["start"] <= date[:10] <= query["end"]:
            continue
        if any(record[name] not in query[name].split(",") for name in STREAMING.keys[1:] if name in query):
            continue
        keys = (record[name] if name in divided else "*" for name in STREAMING.keys[1:])
        groups[date[:characters] or "*", *keys].append(record)
    return {
        key: (
            sum(record["bytes"] for record in group),
            sum(record["packets"] for record in group),
            len(frozenset().union(*(record["users"] for record in group))),
        )
        for key, group in groups.items()
    }
