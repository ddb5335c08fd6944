"""Write the rows of the large tables as lines for COPY, or as parameters. Times are datetimes, null is None.

A function for each table takes half of the time of one that finds out the types of all values.
"""

import datetime
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from eida_statistics.times import format_utc
from eida_stats_webservice.database.base import format_moment

Row = tuple[Any, ...]

LOG_COLUMNS = (
    *("created", "recorded", "node_id", "sensor", "event", "direction", "source", "position", "session"),
    *("connected", "port", "protocol", "details"),
)
EVENT_COLUMNS = (
    *("sensor_id", "recorded", "source", "position", "direction", "cause", "placed", "session", "protocol"),
)
SESSION_COLUMNS = (
    *("sensor_id", "session", "number", "address", "port", "connected", "closed_at", "closed_by", "protocol"),
)

_NULL = r"\N"
_ESCAPES = str.maketrans({"\\": r"\\", "\t": r"\t", "\n": r"\n", "\r": r"\r"})


def write_log_line(row: Row) -> str:
    """Return a row with the values of `LOG_COLUMNS` as a line. Only names and details can have any text."""
    created, recorded, node_id, sensor, event, direction, *place, session, connected, port, protocol, details = row
    source, position = place
    return (
        f"{format_utc(created)}\t{format_utc(recorded)}\t{node_id}\t{_escape(sensor)}\t{event}"
        f"\t{_NULL if direction is None else direction}\t{source}\t{_NULL if position is None else position}"
        f"\t{session or _NULL}\t{_NULL if connected is None else format_utc(connected)}"
        f"\t{_NULL if port is None else port}\t{protocol or _NULL}"
        f"\t{_NULL if details is None else details.translate(_ESCAPES)}\n"
    )


def write_event_line(row: Row) -> str:
    """Return a row with the values of `EVENT_COLUMNS` as a line."""
    sensor_id, recorded, source, position, direction, cause, placed, session, protocol = row
    return (
        f"{sensor_id}\t{format_utc(recorded)}\t{source}\t{position}\t{direction}\t{cause}\t{placed}"
        f"\t{session or _NULL}\t{protocol or _NULL}\n"
    )


def write_session_line(row: Row) -> str:
    """Return a row with the values of `SESSION_COLUMNS` as a line."""
    sensor_id, session, number, address, port, connected, closed_at, closed_by, protocol = row
    return (
        f"{sensor_id}\t{session}\t{number}\t{address or _NULL}\t{port}\t{format_utc(connected)}"
        f"\t{_NULL if closed_at is None else format_utc(closed_at)}\t{closed_by or _NULL}\t{protocol or _NULL}\n"
    )


def list_parameters(columns: Sequence[str], row: Row) -> dict[str, Any]:
    """Return a row as parameters, with times in the form of the database."""
    return {
        name: format_moment(value) if isinstance(value, datetime.datetime) else value
        for name, value in zip(columns, row, strict=True)
    }


@lru_cache(256)
def _escape(text: str) -> str:
    return text.translate(_ESCAPES)
