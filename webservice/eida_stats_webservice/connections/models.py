"""Records of spaces, sensors, events and sessions."""

import datetime
from typing import NamedTuple

import msgspec

FEDERATION = "federation"
"""The space above all nodes."""
FIRST_MOMENT = datetime.datetime(2000, 1, 1, tzinfo=datetime.UTC)
"""No event is older. The installation of a ringserver begins here, since its logs may arrive in any order."""
DOOR, RINGSERVER, UNKNOWN = "door", "ringserver", "unknown"


class Space(msgspec.Struct, frozen=True):
    """A space; `node_id` is None above the nodes."""

    id: int
    name: str
    parent_id: int | None
    node_id: int | None
    capacity: int | None
    restricted: bool


class Sensor(msgspec.Struct, frozen=True):
    """A sensor: a door, a ringserver, or one that no administrator has added yet."""

    id: int
    name: str
    node_id: int
    kind: str
    open: bool


class Installation(msgspec.Struct, frozen=True):
    """The time in which a sensor counts a space; `removed_at` is None as long as it does.

    Attributes:
        sensor_id: the sensor.
        space_id: the space.
        orientation: 1 if direction 1 leads into the space, else -1.
        installed_at: the first moment.
        removed_at: the first moment after it.
        doorway: where the sensor is.
    """

    sensor_id: int
    space_id: int
    orientation: int
    installed_at: datetime.datetime
    removed_at: datetime.datetime | None
    doorway: str = ""

    def covers(self, moment: datetime.datetime) -> bool:
        """Return whether the sensor counts the space at a moment."""
        return self.installed_at <= moment and (self.removed_at is None or moment < self.removed_at)


class Event(NamedTuple):
    """An event that counts.

    Attributes:
        recorded: its own time.
        source: the log file; empty for an event from a door; begins with ! or ~ if no log has it.
        position: the offset in the file; for a door, the direction.
        direction: 1 or -1.
        cause: send, log, inferred, restart, snapshot or age.
        session: the digits of the session, None for a door.
        protocol: that of a logged disconnect or connect, if it names one.
    """

    recorded: datetime.datetime
    source: str
    position: int
    direction: int
    cause: str
    session: str | None = None
    protocol: str | None = None


class Session(msgspec.Struct, frozen=True, gc=False):
    """A session of a ringserver; `number` counts equal ones. It is open as long as `closed_at` is None."""

    number: int
    closed_at: datetime.datetime | None
    closed_by: str | None
    protocol: str | None


class Recount(msgspec.Struct, frozen=True):
    """The count that an administrator has stated: from `recorded` on, events at that moment included.

    `level` is the net entries of the space up to that moment, once its events are archived.
    """

    space_id: int
    recorded: datetime.datetime
    count: int
    level: int | None = None


class Shown(msgspec.Struct, frozen=True):
    """The count of a space that is shown from `created` on. A larger version is newer."""

    version: int
    space: str
    created: datetime.datetime
    recorded: datetime.datetime
    count: int
