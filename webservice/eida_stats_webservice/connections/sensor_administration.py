"""Add door sensors, and let them count spaces from some time to another."""

import datetime
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from eida_stats_webservice.connections.errors import (
    NameTaken,
    OverlappingInstallation,
    UnknownSensor,
    UnusableSensor,
    UnusableSpace,
)
from eida_stats_webservice.connections.intake import check_time, show_counts
from eida_stats_webservice.connections.models import DOOR, RINGSERVER, UNKNOWN, Event, Installation, Sensor, Space
from eida_stats_webservice.connections.space_administration import check_archive, find_clients, find_space
from eida_stats_webservice.connections.spaces import SpaceTree
from eida_stats_webservice.connections.sums import HourSums, Summation
from eida_stats_webservice.connections.tables import ConnectionTables
from eida_stats_webservice.database.base import Database, format_moment, parse_time, select_rows, to_records
from eida_stats_webservice.registry.models import Node
from eida_stats_webservice.registry.repository import RegistryRepository

_END = datetime.datetime.max.replace(tzinfo=datetime.UTC)
_Plan = Callable[[Sensor, SpaceTree, Sequence[Installation]], list[Installation]]
_ADD = "Add it: eida_statsman sensors add NAME --node NODE"


class SensorRecord(msgspec.Struct, frozen=True):
    """A sensor as the administrator sees it; `unplaced` is the number of its events that count no space."""

    id: int
    name: str
    node: str
    kind: str
    open: bool
    unplaced: int


class SensorAdministration:
    """Changes sensors, each time in a transaction. All methods raise DatabaseLocked if others hold a lock."""

    def __init__(self, database: Database, registry: RegistryRepository, tables: ConnectionTables) -> None:
        self._database = database
        self._registry = registry
        self._tables = tables
        self._queries = database.load_queries(Path(__file__).parent, "administration")

    def add(self, name: str, node: str, *, is_open: bool) -> bool:
        """Add a door, or change whether it needs a token. Its events that were received before are kept.

        Return whether it is new.

        Raises:
            UnknownNode: if there is no such node.
            NameTaken: if a sensor of another node has this name.
            UnusableSensor: if it is the name of a ringserver.
        """

        def add(connection: Any) -> bool:
            owner = Node(self._registry.find_id(connection, node), node)
            self._tables.lock(connection, owner)
            sensor = self._tables.find_sensors(connection, owner, [name]).get(name)
            if any(name.startswith(f"{one.name}/") for one in self._registry.list_ids(connection)):
                raise UnusableSensor(f"{name} is the name of a ringserver", hint="Ringservers register themselves.")
            if sensor is None:
                self._tables.add_sensor(connection, owner, name, DOOR, is_open=is_open)
            elif sensor.node_id != owner.id:
                raise NameTaken(f"sensor {name}", hint="It belongs to another node. Choose another name.")
            else:
                self._queries.adopt_sensor(connection, sensor_id=sensor.id, open=is_open)
            return sensor is None or sensor.kind == UNKNOWN

        return self._database.administer(add)

    def list_sensors(self) -> list[tuple[SensorRecord, list[tuple[Installation, str]]]]:
        """Return all sensors by name, each with its installations and the names of their spaces."""
        with self._database.snapshot() as connection:
            sensors = to_records(SensorRecord, select_rows(connection, self._queries.list_all_sensors))
            tree = self._tables.read_tree(connection)
            found = self._tables.find_installations(connection, (sensor.id for sensor in sensors))
        return [(sensor, [(one, tree.get(one.space_id).name) for one in found[sensor.id]]) for sensor in sensors]

    def install(
        self,
        name: str,
        space: str,
        *,
        doorway: str,
        orientation: int,
        start: datetime.datetime,
        stop: datetime.datetime | None,
    ) -> None:
        """Let a door count a space from some time on, or to another. Its events of that time count then.

        Raises:
            UnknownSensor: if no administrator has added the sensor.
            UnusableSensor: if it is a ringserver.
            UnknownSpace: if there is no such space.
            UnusableSpace: if the space belongs to another node or to none, or counts clients.
            OverlappingInstallation: if the door counts this space, or is in another doorway, at that time.
            ArchivedEvents: if events of that time are archived.
            UnusableTime: if the time is in the future, or before 2000.
        """

        def plan(sensor: Sensor, tree: SpaceTree, old: Sequence[Installation]) -> list[Installation]:
            number = find_space(tree, space).id
            return [*old, Installation(sensor.id, number, orientation, start, stop, doorway)]

        self._change(name, [space], start, plan)

    def move(
        self, name: str, source: str, target: str | None, *, doorway: str | None, moment: datetime.datetime
    ) -> None:
        """Let a door count another space from a moment on, or none. All counts since then are corrected.

        Args:
            name: the sensor.
            source: the space that it counts at that moment.
            target: the other space, None if the door is taken away.
            doorway: where the door is then, None if it stays there.
            moment: the moment.

        Raises:
            OverlappingInstallation: as in `install`; and if the door does not count `source` at that moment.
        """

        def plan(sensor: Sensor, tree: SpaceTree, old: Sequence[Installation]) -> list[Installation]:
            number = find_space(tree, source).id
            ended = next((one for one in old if one.space_id == number and one.covers(moment)), None)
            if ended is None:
                raise OverlappingInstallation(f"{sensor.name} does not count {source} then")
            others = [one for one in old if one != ended]
            if ended.installed_at < moment:
                others.append(msgspec.structs.replace(ended, removed_at=moment))
            if target is not None:
                others.append(
                    msgspec.structs.replace(
                        ended,
                        space_id=find_space(tree, target).id,
                        installed_at=moment,
                        doorway=ended.doorway if doorway is None else doorway,
                    )
                )
            return others

        self._change(name, [] if target is None else [target], moment, plan)

    def _change(self, name: str, targets: Sequence[str], start: datetime.datetime, plan: _Plan) -> None:
        """Replace the installations of a sensor by those that `plan` returns. They are equal before `start`."""
        now = datetime.datetime.now(tz=datetime.UTC)
        check_time(start, now, name)

        def change(connection: Any) -> None:
            sensor = self._find_door(connection, name)
            self._tables.queries.lock_node(connection, node_id=sensor.node_id)
            check_archive(self._tables, connection, start)
            tree = self._tables.read_tree(connection)
            for target in targets:
                self._check_space(connection, tree, sensor, find_space(tree, target))
            old = self._tables.find_installations(connection, [sensor.id])[sensor.id]
            new = plan(sensor, tree, old)
            _check_overlaps(sensor, new)
            self._store(connection, old, new)
            self._queries.place_events(connection, sensor_id=sensor.id, start=format_moment(start))
            sums = self._compare_sums(connection, sensor, tree, old, new, start)
            self._tables.add_to_sums(connection, sums)
            changed = {space_id for space_id, _ in sums}
            show_counts(self._tables, connection, tree, changed, start, now)

        self._database.administer(change)

    def _find_door(self, connection: Any, name: str) -> Sensor:
        sensor = self._tables.find_sensors(connection, None, [name]).get(name)
        if sensor is None:
            raise UnknownSensor(name, hint=_ADD)
        if sensor.kind == RINGSERVER:
            raise UnusableSensor(f"{name} is a ringserver, which stays in its space")
        return sensor

    def _check_space(self, connection: Any, tree: SpaceTree, sensor: Sensor, space: Space) -> None:
        if space.node_id != sensor.node_id:
            raise UnusableSpace(f"{space.name} does not belong to the node of {sensor.name}")
        if any(find_clients(self._tables, connection, tree, one) for one in tree.list_within_node(space)):
            raise UnusableSpace(f"{space.name} is part of a space that counts clients of ringservers")

    def _store(self, connection: Any, old: Sequence[Installation], new: Sequence[Installation]) -> None:
        """Store the installations that have changed. Those that end come first, since two must not overlap."""
        for one in old:
            if one not in new:
                self._queries.delete_installation(
                    connection,
                    sensor_id=one.sensor_id,
                    space_id=one.space_id,
                    installed_at=format_moment(one.installed_at),
                )
        for one in new:
            if one not in old:
                self._tables.add_installation(connection, one)

    def _compare_sums(
        self,
        connection: Any,
        sensor: Sensor,
        tree: SpaceTree,
        old: Sequence[Installation],
        new: Sequence[Installation],
        start: datetime.datetime,
    ) -> HourSums:
        """Return by how much the sums change if a sensor has other installations from a time on."""
        before = Summation(tree, {sensor.id: old})
        after = Summation(tree, {sensor.id: new}, before.sums)
        parameters = {"sensor_id": sensor.id, "start": format_moment(start)}
        for recorded, *values in self._database.stream(connection, self._queries.events_since.sql, parameters):
            event = Event(parse_time(recorded), *values)
            before.add(sensor.id, [event], -1)
            after.add(sensor.id, [event])
        return before.sums


def _check_overlaps(sensor: Sensor, installations: Sequence[Installation]) -> None:
    for number, one in enumerate(installations):
        for other in installations[:number]:
            overlaps = one.installed_at < (other.removed_at or _END) and other.installed_at < (
                one.removed_at or _END
            )
            if overlaps and (one.space_id == other.space_id or one.doorway != other.doorway):
                raise OverlappingInstallation(
                    f"{sensor.name}, from {other.installed_at:%Y-%m-%dT%H:%M:%SZ} on",
                    hint="A sensor has one doorway at a time, and counts a space once. See sensors list.",
                )
