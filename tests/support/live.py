"""Fill a database with connections of today, as the followers of some nodes send them."""

import datetime
import random
from collections.abc import Mapping

from eida_statistics.connections import Alive, CloseAfter, Connect, Disconnect, Record
from eida_stats_webservice.connections.intake import ConnectionIntake
from eida_stats_webservice.connections.tables import ConnectionTables
from eida_stats_webservice.registry.models import Node
from support.stores import Store

_DIGITS = "0123456789abcdef"


def fill_live(store: Store, clients: Mapping[str, int], *, stale: str = "", unconfirmed: str = "") -> None:
    """Let nodes have so many clients now, and others within the last hours.

    Args:
        store: the database.
        clients: the number of clients by node.
        stale: the node whose follower is silent for an hour.
        unconfirmed: the node whose follower cannot read the status of its server.
    """
    now = datetime.datetime.now(tz=datetime.UTC).replace(microsecond=0)
    tables = ConnectionTables(store.database)
    intake = ConnectionIntake(store.database, store.registry, tables)
    numbers = random.Random(len(clients))
    for name, count in clients.items():
        store.registry.add_node(name, "operator@node.example")
        node = store.registry.find_node(name)
        intake.store(node, _make_records(numbers, now, count, confirmed=name != unconfirmed))
    if stale:
        make_silent(store, store.registry.find_node(stale), now - datetime.timedelta(hours=1))


def make_silent(store: Store, node: Node, since: datetime.datetime) -> None:
    """Let all followers of a node be silent since a time."""
    with store.database.transaction(write=True) as connection:
        connection.cursor().execute(
            f"UPDATE sensor_states SET heard_at = '{since.isoformat(timespec='microseconds')}'"
            f" WHERE sensor_id IN (SELECT id FROM sensors WHERE node_id = {node.id})"
        )


def _make_records(numbers: random.Random, now: datetime.datetime, count: int, *, confirmed: bool) -> list[Record]:
    source = f"{now - datetime.timedelta(hours=3):%Y-%m-%dT%H:%M:%SZ}-{_DIGITS}"
    records: list[Record] = [Alive("ring")]
    if confirmed:
        records.append(CloseAfter("ring", now, None))
    for number in range(3 * count):
        connected = now - datetime.timedelta(seconds=numbers.randrange(60, 3 * 3600))
        session = f"{numbers.getrandbits(64):016x}"
        records.append(Connect("ring", source, 2 * number, connected, session, 18000))
        if number >= count:
            # All of the others have left.
            closed = now - datetime.timedelta(seconds=numbers.randrange(int((now - connected).total_seconds())))
            records.append(Disconnect("ring", source, 2 * number + 1, closed, connected, session, 18000))
    return records
