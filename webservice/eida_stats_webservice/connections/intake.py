"""Store what sensors send: each event once, the sessions of ringservers, and the sums of all spaces."""

import datetime
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from operator import attrgetter
from typing import Any, NamedTuple

from eida_statistics.connections import CloseAfter, Connect, Count, Disconnect, Record, ServerStart, Snapshot
from eida_stats_webservice.connections.counts import Counts
from eida_stats_webservice.connections.errors import (
    ArchivedEvents,
    ForeignSensor,
    NameTaken,
    UnusableSensor,
    UnusableTime,
)
from eida_stats_webservice.connections.models import (
    FEDERATION,
    FIRST_MOMENT,
    RINGSERVER,
    UNKNOWN,
    Event,
    Installation,
    Sensor,
    Shown,
    Space,
)
from eida_stats_webservice.connections.ringservers import Change, RingserverBatch
from eida_stats_webservice.connections.spaces import SpaceTree
from eida_stats_webservice.connections.sums import Summation
from eida_stats_webservice.connections.tables import ConnectionTables
from eida_stats_webservice.database.base import Database
from eida_stats_webservice.registry.models import Arrival, Node
from eida_stats_webservice.registry.repository import RegistryRepository

WAIT_SECONDS = 5
"""How long a request waits for the lock of its node."""
MAX_AHEAD = datetime.timedelta(minutes=5)
"""How far clocks may disagree."""


class Stored(NamedTuple):
    """The number of events that are new, and the counts that have changed."""

    created: int
    shown: list[Shown]


class ConnectionIntake:
    """Stores the records of one node at a time.

    Args:
        database: the database.
        registry: the nodes and their tokens.
        tables: the tables.
        publish: called after the commit with the counts that have changed.
    """

    def __init__(
        self,
        database: Database,
        registry: RegistryRepository,
        tables: ConnectionTables,
        publish: Callable[[Sequence[Shown]], None] = lambda _shown: None,
    ) -> None:
        self._database = database
        self._registry = registry
        self._tables = tables
        self._publish = publish

    def store(
        self, node: Node, records: Sequence[Record], arrival: Arrival | None = None, *, replays: bool = False
    ) -> Stored:
        """Store records completely, or raise an exception and store nothing.

        Args:
            node: the node that has sent them.
            records: at most `MAX_RECORDS`.
            arrival: the state of the node's token, None if no token was needed.
            replays: whether they come from a log. An event of a sensor that belongs to another node by now was
                received before it did, and is kept as that of an unknown sensor.

        Raises:
            UnusableTime: if a time lies in the future or in the distant past.
            ArchivedEvents: if the events of a month are archived.
            ConflictingEvent: if an event differs from one that was received before.
            ForeignSensor: if a sensor belongs to another node.
            UnusableSensor: if a sensor cannot send such records.
            NameTaken: if the name of a new space is in use.
            DatabaseLocked: if another request holds the lock of the node for too long.
        """
        now = datetime.datetime.now(tz=datetime.UTC)
        _check_times(records, now)
        with self._database.transaction(write=True, wait_seconds=WAIT_SECONDS) as connection:
            self._tables.lock(connection, node)
            if arrival is not None:
                self._registry.check_arrival(connection, arrival)
            # Read behind the lock, so that times of the log and of counts have the order of commits.
            now = datetime.datetime.now(tz=datetime.UTC)
            stored = _Batch(self._tables, connection, node, now, replays=replays).store(records)
        self._publish(stored.shown)
        return stored


class _Batch:
    """Stores records in a transaction that has locked the node."""

    def __init__(
        self,
        tables: ConnectionTables,
        connection: Any,
        node: Node,
        now: datetime.datetime,
        *,
        replays: bool,
    ) -> None:
        self._tables = tables
        self._connection = connection
        self._node = node
        self._now = now
        self._replays = replays

    def store(self, records: Sequence[Record]) -> Stored:
        """Store the records."""
        self._check_archive(records)
        by_name = self._group_by_sensor(records)
        sensors = self._find_or_add_sensors(by_name)
        changes = {sensors[name]: self._store_of(sensors[name], some) for name, some in sorted(by_name.items())}
        shown = apply_changes(self._tables, self._connection, changes, self._now)
        return Stored(sum(change.created for change in changes.values()), shown)

    def _group_by_sensor(self, records: Sequence[Record]) -> dict[str, list[Record]]:
        """Return the records by the name of their sensor.

        Raises:
            UnusableSensor: if a door has the name of a ringserver.
        """
        doors: dict[str, list[Record]] = defaultdict(list)
        instances: dict[str, list[Record]] = defaultdict(list)
        for record in records:
            if isinstance(record, Count):
                doors[record.sensor].append(record)
            else:
                instances[record.instance].append(record)
        ringservers = {f"{self._node.name}/{name}": some for name, some in instances.items()}
        if both := doors.keys() & ringservers.keys():
            raise UnusableSensor(f"{min(both)} is a ringserver")
        return doors | ringservers

    def _store_of(self, sensor: Sensor, records: Sequence[Record]) -> Change:
        """Store the records of one sensor."""
        counts = [record for record in records if isinstance(record, Count)]
        if counts:
            return self._store_counts(sensor, counts)
        return RingserverBatch(self._tables, self._connection, self._node, sensor, self._now).store(records)

    def _store_counts(self, sensor: Sensor, records: Sequence[Count]) -> Change:
        self._tables.add_to_log(
            self._connection,
            (
                (
                    *(self._now, record.time, self._node.id, sensor.name, "count"),
                    *(record.direction, "", record.direction, None, None, None, None, None),
                )
                for record in records
            ),
        )
        known = self._tables.find_counts(self._connection, sensor, (record.time for record in records))
        change = Change()
        for record in records:
            moment = record.time.astimezone(datetime.UTC)
            if (moment, record.direction) not in known:
                known.add((moment, record.direction))
                change.added.append(Event(moment, "", record.direction, record.direction, "send"))
        change.created = len(change.added)
        return change

    def _check_archive(self, records: Sequence[Record]) -> None:
        first_kept = self._tables.find_first_kept(self._connection)
        for number, record in enumerate(records, 1):
            if isinstance(record, (Connect, Disconnect, Count)) and record.time < first_kept:
                raise ArchivedEvents(
                    f"record {number} is of {record.time:%Y-%m}",
                    hint=f"Events are kept from {first_kept:%Y-%m-%d} on.",
                )

    # Sensors

    def _find_or_add_sensors(self, by_name: dict[str, list[Record]]) -> dict[str, Sensor]:
        """Return the sensors of the records. Ringservers, and unknown sensors, register themselves."""
        sensors = self._tables.find_sensors(self._connection, self._node, by_name, own=self._replays)
        for name, records in by_name.items():
            is_ringserver = not isinstance(records[0], Count)
            sensor = sensors.get(name)
            if sensor is None:
                sensors[name] = self._add_ringserver(name) if is_ringserver else self._add_unknown(name)
            elif sensor.node_id != self._node.id:
                raise ForeignSensor(name, hint="Use the token of its node.")
            elif (sensor.kind == RINGSERVER) != is_ringserver:
                raise UnusableSensor(f"{name} is a {sensor.kind}")
        return sensors

    def _add_unknown(self, name: str) -> Sensor:
        if name.startswith(f"{self._node.name}/"):
            raise UnusableSensor(f"{name} would be a ringserver", hint="Names of doors do not begin like this.")
        return self._tables.add_sensor(self._connection, self._node, name, UNKNOWN)

    def _add_ringserver(self, name: str) -> Sensor:
        """Add a ringserver with its space, and the space of its node."""
        tree = self._tables.read_tree(self._connection)
        of_node = self._find_or_add_space(tree, self._node.name, tree.find(FEDERATION), restricted=False)
        space = self._find_or_add_space(tree, name, of_node, restricted=True)
        sensor = self._tables.add_sensor(self._connection, self._node, name, RINGSERVER)
        self._tables.add_installation(self._connection, Installation(sensor.id, space.id, 1, FIRST_MOMENT, None))
        return sensor

    def _find_or_add_space(self, tree: SpaceTree, name: str, parent: Space | None, *, restricted: bool) -> Space:
        found = tree.find(name)
        if found is None:
            return self._tables.add_space(self._connection, name, parent, self._node, restricted=restricted)
        if found.node_id != self._node.id:
            raise NameTaken(
                f"space {found.name}", hint="Ask the central administrator to rename it, or use another --instance."
            )
        return found


def apply_changes(
    tables: ConnectionTables,
    connection: Any,
    changes: dict[Sensor, Change],
    now: datetime.datetime,
) -> list[Shown]:
    """Change the events of some sensors of one node, and the sums. Return the counts that have changed.

    The transaction has locked the node.
    """
    changed = {sensor: change for sensor, change in changes.items() if change.added or change.removed}
    if not changed:
        return []
    tree = tables.read_tree(connection)
    installations = tables.find_installations(connection, (sensor.id for sensor in changed))
    summation = Summation(tree, installations)
    for sensor, change in changed.items():
        # Removed first: an event may take the place of one that is removed.
        tables.delete_events(connection, sensor, change.removed)
        # Events that follow each other have neighbouring places in the index, and the same hour.
        added = sorted(change.added, key=attrgetter("recorded"))
        tables.add_events(connection, sensor, added, installations[sensor.id])
        summation.add(sensor.id, change.removed, -1)
        summation.add(sensor.id, added)
    tables.add_to_sums(connection, summation.sums)
    recorded = max(event.recorded for change in changed.values() for event in (*change.added, *change.removed))
    spaces = {space_id for (space_id, _), sums in summation.sums.items() if any(sums)}
    return show_counts(tables, connection, tree, spaces, recorded, now)


def show_counts(
    tables: ConnectionTables,
    connection: Any,
    tree: SpaceTree,
    spaces: Iterable[int],
    recorded: datetime.datetime,
    now: datetime.datetime,
) -> list[Shown]:
    """Record the counts of some spaces, which are shown from now on."""
    counts = Counts(tables, connection, tree)
    shown = []
    for space in (tree.get(number) for number in sorted(spaces)):
        count = counts.count(space)
        version = tables.add_shown(connection, space.id, now, recorded, count)
        shown.append(Shown(version, space.name, now, recorded.astimezone(datetime.UTC), count))
    return shown


def _list_times(record: Record) -> tuple[datetime.datetime, ...]:
    """Return the times of the events of a record."""
    match record:
        case Connect() | Count() | CloseAfter():
            return (record.time,)
        case Disconnect():
            return (record.time, record.connected)
        case Snapshot():
            return (record.time, *(one.connected for one in record.sessions or ()))
        case ServerStart():
            return (record.time,) if record.failed is None else (record.time, record.failed)
    return ()


def _check_times(records: Iterable[Record], now: datetime.datetime) -> None:
    latest = now + MAX_AHEAD
    for number, record in enumerate(records, 1):
        for moment in _list_times(record):
            if not FIRST_MOMENT <= moment <= latest:
                check_time(moment, now, f"record {number}")


def check_time(moment: datetime.datetime, now: datetime.datetime, subject: str) -> None:
    """Check that an event can have a time.

    Raises:
        UnusableTime: if it cannot.
    """
    if moment > now + MAX_AHEAD:
        raise UnusableTime(
            f"{subject}: the time is in the future", hint=f"The time of the server is {now:%Y-%m-%dT%H:%M:%SZ}."
        )
    if moment < FIRST_MOMENT:
        raise UnusableTime(f"{subject}: the time is before {FIRST_MOMENT:%Y}")
