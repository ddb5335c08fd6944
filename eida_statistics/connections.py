"""The records of live connections: the lines that a follower sends, and those of the log of the centre.

A body of `POST …/connections` is JSON Lines, one record in each line. The log that `GET …/connections/log` returns
has the same form, so it can be sent again.

A *session* is the time between the connect and the disconnect of one client. Its 16 hexadecimal digits stand for
the client's address, the port and the connect time, so equal sessions (clients behind one address, in one second)
have equal digits.
"""

import datetime
from collections.abc import Iterator
from typing import Annotated, Any, Literal, get_args

import msgspec
from msgspec import Meta

from eida_statistics.errors import InvalidRecords
from eida_statistics.validation import explain_first

MAX_RECORDS = 10_000
"""The number of records in one request."""
MAX_POSITION = 2**53 - 1

# The name of a ringserver, unique within its node; a payload's source, but not empty.
Instance = Annotated[str, Meta(pattern=r"^[0-9A-Za-z.-]{1,64}\Z")]
Digits = Annotated[str, Meta(pattern=r"^[0-9a-f]{16}\Z")]
# The time and the hash of the first line of a log file. As texts, sources sort by time.
LogFile = Annotated[str, Meta(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z-[0-9a-f]{16}\Z")]
Position = Annotated[int, Meta(ge=0, le=MAX_POSITION)]
Port = Annotated[int, Meta(ge=0, le=65535)]
# Those of ringserver. Other text, which could name a person, is refused.
Protocol = Literal["DataLink", "HTTP", "SeedLink", "WebSocket"]
MAX_NAME = 130
"""The length of the longest name of a sensor or space. That of a ringserver is NODE/NAME."""
SensorName = Annotated[str, Meta(pattern=rf"^[^\x00-\x1f\x7f]{{1,{MAX_NAME}}}\Z")]
Time = Annotated[datetime.datetime, Meta(tz=True)]
Seconds = Annotated[int, Meta(ge=1, le=10 * 366 * 86400)]

_EXPECTED = {
    **dict.fromkeys(("session", "address"), "16 hexadecimal digits"),
    **dict.fromkeys(("time", "connected", "failed"), "a time with its zone, such as 2026-11-22T02:03:33Z"),
    "source": "the time and 16 hexadecimal digits of the first line of a log file",
    "position": "a whole number from 0 to 2^53-1",
    "port": "a whole number from 0 to 65535",
    "protocol": f"one of {', '.join(get_args(Protocol))}",
    "instance": "up to 64 letters, digits, dots and hyphens",
    "sensor": f"a text of 1 to {MAX_NAME} characters without control characters",
    "direction": "1 or -1",
    "seconds": "a whole number of seconds, at most ten years, or null",
    "count": "a whole number, at least 1",
}


class Connect(msgspec.Struct, tag_field="event", tag="connect", omit_defaults=True, gc=False):
    """A client has connected.

    Attributes:
        instance: the ringserver.
        source: the log file.
        position: the offset of the line in the text of the log, in bytes.
        time: when it connected.
        session: the keyed hash of the address, the port and the connect time.
        port: the port of the server.
        protocol: if it is known.
        address: the keyed hash of the address. The log of the centre does not have it.
    """

    instance: Instance
    source: LogFile
    position: Position
    time: Time
    session: Digits
    port: Port
    protocol: Protocol | None = None
    address: Digits | None = None


class Disconnect(msgspec.Struct, tag_field="event", tag="disconnect", omit_defaults=True, gc=False):
    """A client has disconnected; `connected` is when it connected. The others are as in `Connect`."""

    instance: Instance
    source: LogFile
    position: Position
    time: Time
    connected: Time
    session: Digits
    port: Port
    protocol: Protocol | None = None
    address: Digits | None = None


class Command(msgspec.Struct, tag_field="event", tag="command", gc=False):
    """A client has sent a command, which shows its protocol. The log of the centre has no such records."""

    instance: Instance
    session: Digits
    protocol: Protocol


class ServerStart(msgspec.Struct, tag_field="event", tag="server_start", omit_defaults=True, gc=False):
    """A ringserver has started.

    Attributes:
        instance: as in `Connect`.
        time: when it started.
        failed: the first failed request for its status before, if there was one.
    """

    instance: Instance
    time: Time
    failed: Time | None = None


class ListedSession(msgspec.Struct, omit_defaults=True, gc=False):
    """A session in the list of a ringserver; `count` is the number of equal ones. Others are as in `Connect`."""

    session: Digits
    port: Port
    connected: Time
    protocol: Protocol | None = None
    address: Digits | None = None
    count: Annotated[int, Meta(ge=1, le=MAX_RECORDS)] = 1


class Snapshot(msgspec.Struct, tag_field="event", tag="snapshot", omit_defaults=True):
    """All sessions of a ringserver at one time; None are those of the snapshot before this one."""

    instance: Instance
    time: Time
    sessions: list[ListedSession] | None = None


class CloseAfter(msgspec.Struct, tag_field="event", tag="close_after", gc=False):
    """From `time` on, sessions end after so many seconds, because nothing confirms them; None: they do not."""

    instance: Instance
    time: Time
    seconds: Seconds | None


class Alive(msgspec.Struct, tag_field="event", tag="alive", gc=False):
    """The follower of a ringserver is running, and has sent all that the logs have."""

    instance: Instance


class Count(msgspec.Struct, tag_field="event", tag="count", gc=False):
    """A door sensor has counted one person: 1 in its direction, -1 against it."""

    sensor: SensorName
    time: Time
    direction: Literal[1, -1]


Record = Connect | Disconnect | Command | ServerStart | Snapshot | CloseAfter | Alive | Count

_DECODER = msgspec.json.Decoder(Record)
_BY_TAG: dict[str, Any] = {struct.__struct_config__.tag: struct for struct in Record.__args__}
_ENCODER = msgspec.json.Encoder()


def encode_records(records: "list[Record]") -> bytes:
    """Return records as JSON Lines."""
    return _ENCODER.encode_lines(records)


def decode_records(body: bytes | bytearray) -> "list[Record]":
    """Parse JSON Lines. Unknown fields are ignored, and so are empty lines.

    Raises:
        InvalidRecords: if a record is not valid, naming its line, or if there are more than `MAX_RECORDS`.
    """
    try:
        records: list[Record] = _DECODER.decode_lines(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        records = [_decode_line(number, line) for number, line in _find_lines(body)]
    if len(records) > MAX_RECORDS:
        raise InvalidRecords(f"{len(records)} records", hint=f"Send at most {MAX_RECORDS} in one request.")
    return records


def _find_lines(body: bytes | bytearray) -> Iterator[tuple[int, bytes]]:
    return ((number, line) for number, line in enumerate(bytes(body).split(b"\n"), 1) if line.strip())


def _decode_line(number: int, line: bytes) -> "Record":
    try:
        record: Record = _DECODER.decode(line)
    except msgspec.ValidationError as error:
        raise InvalidRecords(f"line {number}: {_explain(line)}") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidRecords(
            f"line {number}: not JSON", hint="Send JSON Lines: one record in each line."
        ) from error
    return record


def _explain(line: bytes) -> str:
    try:
        value = msgspec.json.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return "not JSON"  # behind the fault
    tag = value.get("event") if isinstance(value, dict) else None
    struct = _BY_TAG.get(tag) if isinstance(tag, str) else None
    if struct is None:
        return f"event: not one of {', '.join(_BY_TAG)}"
    return explain_first(value, struct, _EXPECTED)
