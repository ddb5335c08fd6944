"""Nodes with ringservers and doors, and the records that these send."""

import datetime
import random
from collections.abc import Iterable, Sequence

import requests

from eida_statistics.connections import CloseAfter, Connect, Count, Disconnect, ListedSession, Record, Snapshot
from eida_stats_webservice.connections.models import DOOR, FIRST_MOMENT, Installation, Sensor, Space
from eida_stats_webservice.connections.tables import ConnectionTables
from eida_stats_webservice.registry.models import Node
from support.stores import Store

START = datetime.datetime(2026, 3, 5, 10, tzinfo=datetime.UTC)
LOG_FILE = f"2026-03-05T10:00:00Z-{1:016x}"


def at(seconds: float, start: datetime.datetime = START) -> datetime.datetime:
    """Return a moment, some seconds after the start."""
    return start + datetime.timedelta(seconds=seconds)


def step(seconds: float, direction: int = 1, sensor: str = "423") -> Count:
    """Return the event of a door."""
    return Count(sensor, at(seconds), 1 if direction > 0 else -1)


def connect(seconds: float, client: int, instance: str = "one", *, address: str | None = None) -> Connect:
    """Return the connect of a client; each has a line of its own."""
    return Connect(instance, LOG_FILE, client * 1000, at(seconds), f"{client:016x}", 18000, address=address)


def disconnect(seconds: float, client: int, connected: float, instance: str = "one") -> Disconnect:
    """Return the disconnect of a client."""
    return Disconnect(
        instance, LOG_FILE, client * 1000 + 500, at(seconds), at(connected), f"{client:016x}", 18000, "SeedLink"
    )


def close_after(seconds: float, after: int | None, instance: str = "one") -> CloseAfter:
    """Return a rule for the age of sessions."""
    return CloseAfter(instance, at(seconds), after)


def snapshot(seconds: float, *clients: int, instance: str = "one") -> Snapshot:
    """Return a snapshot of clients that connected at the start."""
    listed = [ListedSession(f"{client:016x}", 18000, at(0)) for client in clients]
    return Snapshot(instance, at(seconds), listed)


def put(store: Store, node: Node, *records: Record) -> int:
    """Store records, and return the number of events that are new."""
    return store.intake.store(node, records).created


def read_hours(store: Store, space: str) -> dict[str, tuple[int, ...]]:
    """Return the hours of a space by day and hour: entries, exits, lowest, highest, stale."""
    with store.database.transaction() as connection:
        cursor = connection.cursor()
        cursor.execute(
            "SELECT hour, entries, exits, lowest, highest, stale FROM space_hours"
            f" JOIN spaces ON spaces.id = space_id WHERE name = '{space}'"
        )
        return {str(hour)[:13].replace("T", " "): tuple(map(int, values)) for hour, *values in cursor.fetchall()}


def find_space(store: Store, name: str) -> Space:
    """Return a space that exists."""
    with store.database.transaction() as connection:
        space = store.connections.read_tree(connection).find(name)
    assert space is not None
    return space


Event = dict[str, str]

_BEGIN = datetime.datetime(2018, 2, 24, 8, tzinfo=datetime.UTC)


def install_door(
    store: Store, node: Node, name: str, spaces: Sequence[tuple[str, int]], *, is_open: bool = True
) -> Sensor:
    """Add a door that counts some spaces, each with an orientation. Spaces are created if they are missing."""
    tables = ConnectionTables(store.database)
    with store.database.transaction(write=True) as connection:
        sensor = tables.add_sensor(connection, node, name, DOOR, is_open=is_open)
        for space_name, orientation in spaces:
            space = _find_or_add(tables, connection, node, space_name)
            tables.add_installation(
                connection, Installation(sensor.id, space.id, orientation, FIRST_MOMENT, None, "door")
            )
    return sensor


def _find_or_add(tables: ConnectionTables, connection: object, node: Node, name: str) -> Space:
    found = tables.read_tree(connection).find(name)
    return tables.add_space(connection, name, None, node) if found is None else found


def make_crossings(doors: Sequence[str], count: int, seed: int = 1) -> list[Event]:
    """Return events of some doors in the order of their times; every twentieth is sent twice."""
    random_ = random.Random(seed)
    moment = _BEGIN
    events: list[Event] = []
    while len(events) < count:
        moment += datetime.timedelta(milliseconds=random_.randrange(1, 60_000))
        event = {
            "timestamp": moment.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "direction": random_.choice(["1", "1", "-1"]),
            "dpu_id": random_.choice(doors),
        }
        events += [event] * (2 if random_.random() < 0.05 else 1)
    return events


def load(url: str, events: Iterable[Event]) -> list[object]:
    """Send events one by one, all values as text, and return the answers."""
    with requests.Session() as session:
        return [session.post(f"{url}/send", json=event, timeout=60).json() for event in events]
