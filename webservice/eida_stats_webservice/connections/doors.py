"""Parse the events of doors, in the form of the interface `/send`."""

import datetime
from typing import Any

import msgspec

from eida_statistics.connections import MAX_NAME, MAX_RECORDS, Count
from eida_statistics.errors import InvalidRecords
from eida_stats_webservice.connections.intake import check_time
from eida_stats_webservice.errors import BadParameter, TooLarge
from eida_stats_webservice.web.moments import parse_moment

_EXAMPLE = '{"timestamp": "2018-02-24T08:45:21.893Z", "direction": "1", "dpu_id": "423"}'


def parse_counts(body: bytes | bytearray, now: datetime.datetime) -> list[Count]:
    """Parse one event, or a list of at most `MAX_RECORDS`.

    Raises:
        InvalidRecords: if the body is not JSON, or an event is not valid; it names the event and the field.
        UnusableTime: if a time lies in the future or in the distant past.
        TooLarge: if the list is too long.
    """
    try:
        value = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidRecords("the body is not JSON", hint=f"Send {_EXAMPLE}") from error
    if not isinstance(value, list):
        return [_parse_count(value, "", now)]
    if len(value) > MAX_RECORDS:
        raise TooLarge(f"{len(value)} events", hint=f"Send at most {MAX_RECORDS} in one request.")
    return [_parse_count(one, f"event {number}: ", now) for number, one in enumerate(value)]


def _parse_count(value: Any, place: str, now: datetime.datetime) -> Count:
    if not isinstance(value, dict):
        raise InvalidRecords(f"{place}not an object", hint=f"Send {_EXAMPLE}")
    for field in ("timestamp", "direction", "dpu_id"):
        if field not in value:
            raise InvalidRecords(f"{place}{field} is missing", hint=f"Send {_EXAMPLE}")
    direction, name, timestamp = value["direction"], value["dpu_id"], value["timestamp"]
    if not _is_direction(direction):
        raise InvalidRecords(f"{place}direction is not 1 or -1")
    if not isinstance(name, str) or not 0 < len(name) <= MAX_NAME or not name.isprintable():
        raise InvalidRecords(f"{place}dpu_id is not a text of 1 to {MAX_NAME} printable characters")
    if not isinstance(timestamp, str):
        raise InvalidRecords(f"{place}timestamp is not a text such as 2018-02-24T08:45:21.893Z")
    try:
        moment = parse_moment(timestamp, "timestamp")
    except BadParameter as error:
        raise InvalidRecords(f"{place}{error.subject}", hint=error.hint) from error
    check_time(moment, now, f"{place}timestamp")
    return Count(name, moment, 1 if float(direction) > 0 else -1)


def _is_direction(value: object) -> bool:
    """Return whether a value is 1 or -1, as a number or as plain text. `int` would accept too much."""
    if isinstance(value, str):
        return value in ("1", "-1")
    return isinstance(value, int | float) and not isinstance(value, bool) and value in (1, -1)
