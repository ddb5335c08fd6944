"""Ringservers and doors that send to the service."""

import datetime
from collections.abc import Sequence
from typing import Any

from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from eida_statistics.connections import Connect, Count, Disconnect, Record, encode_records
from eida_stats_webservice.connections.models import DOOR, FIRST_MOMENT, Installation, Space
from eida_stats_webservice.connections.tables import ConnectionTables
from support.service import PREFIX
from support.stores import Store

FILE = "2026-11-22T02:00:00Z-0123456789abcdef"
BEGIN = datetime.datetime(2026, 11, 22, 2, tzinfo=datetime.UTC)


def at(**past: float) -> datetime.datetime:
    """Return a time after `BEGIN`."""
    return BEGIN + datetime.timedelta(**past)


def make_digits(number: int) -> str:
    return f"{number:016x}"


def connect(number: int, time: datetime.datetime, *, instance: str = "ring", **fields: Any) -> Connect:
    """Return the connect of a session. Its position is its number, doubled."""
    return Connect(instance, FILE, 2 * number, time, make_digits(number), 18000, **fields)


def disconnect(
    number: int,
    connected: datetime.datetime,
    time: datetime.datetime,
    *,
    instance: str = "ring",
    **fields: Any,
) -> Disconnect:
    """Return the disconnect of a session."""
    return Disconnect(instance, FILE, 2 * number + 1, time, connected, make_digits(number), 18000, **fields)


def post(client: FlaskClient, token: str | None, records: Sequence[Record] | bytes, **headers: str) -> TestResponse:
    """Send records as the follower does."""
    body = records if isinstance(records, bytes) else encode_records(list(records))
    sent = {} if token is None else {"Authorization": f"Bearer {token}"}
    sent |= {name.replace("_", "-"): value for name, value in headers.items()}
    return client.post(f"{PREFIX}/connections", data=body, headers=sent)


def send(client: FlaskClient, token: str, *records: Record) -> int:
    """Send records, and return how many events are new."""
    response = post(client, token, records)
    assert response.status_code == 200, response.text
    assert response.json is not None
    assert response.json["status"] == "OK"
    return int(response.json["created"])


def add_doors(
    store: Store,
    node: str,
    spaces: dict[str, str | None],
    doors: dict[str, Sequence[tuple[str, int]]],
    **settings: int | bool,
) -> None:
    """Add spaces of a node, each with its parent, and doors, each with the spaces that it counts.

    `settings` are the capacity of all spaces, and whether they are restricted.
    """
    tables = ConnectionTables(store.database)
    owner = store.registry.find_node(node)
    with store.database.transaction(write=True) as connection:
        added: dict[str, Space] = {space.name: space for space in tables.read_tree(connection)}
        for name, parent in spaces.items():
            number = tables.queries.add_space(
                connection,
                name=name,
                parent_id=added[parent].id if parent else None,
                node_id=owner.id,
                capacity=settings.get("capacity"),
                restricted=bool(settings.get("restricted")),
            )
            added[name] = Space(int(number), name, None, owner.id, None, restricted=False)
        for name, counted in doors.items():
            sensor = tables.add_sensor(connection, owner, name, DOOR)
            for space, orientation in counted:
                installation = Installation(sensor.id, added[space].id, orientation, FIRST_MOMENT, None)
                tables.add_installation(connection, installation)


def add_recount(store: Store, space: str, time: datetime.datetime, count: int) -> None:
    """State the count of a space, as an administrator does."""
    with store.database.transaction(write=True) as connection:
        connection.cursor().execute(
            "INSERT INTO recounts (space_id, recorded, count, author, created)"
            f" SELECT id, '{time.isoformat(timespec='microseconds')}', {count}, 'test',"
            f" '{time.isoformat(timespec='microseconds')}' FROM spaces WHERE name = '{space}'"
        )


def pass_door(name: str, time: datetime.datetime, direction: int = 1) -> Count:
    """Return an event of a door."""
    return Count(name, time, 1 if direction > 0 else -1)
