"""Sensors above doors, the events that they send, and the loader that sends them one by one."""

import datetime
import random
from collections.abc import Iterable, Sequence

import requests

from eida_stats_webservice.connections.models import DOOR, FIRST_MOMENT, Installation, Sensor, Space
from eida_stats_webservice.connections.tables import ConnectionTables
from eida_stats_webservice.registry.models import Node
from support.stores import Store

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
