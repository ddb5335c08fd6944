"""Fields of records that both formats of transfer logs have."""

import datetime
from typing import NamedTuple

from eida_statistics.payload import EARLIEST_DAY, MAX_COUNT
from eida_statistics.ringserver.events import Direction, RecordState, TransferRecord

_EPOCH = datetime.datetime(1970, 1, 1)  # noqa: DTZ001 -- times without a zone are in UTC
_EPOCH_OF_ZONES = _EPOCH.replace(tzinfo=datetime.UTC)
_FIRST_SECOND = (EARLIEST_DAY - _EPOCH.date()).days * 86400


class BadField(ValueError):
    """A record cannot count; the message is the reason and quotes nothing of the log."""


def parse_time(text: str) -> int:
    """Parse a time in UTC, such as `2018-03-30 07:00:05` or `2018-03-30T07:00:05Z`, in seconds since 1970.

    Raises:
        BadField: if there is no such time, or it is too early.
    """
    try:
        time = datetime.datetime.fromisoformat(text)
    except ValueError:
        raise BadField("no such time") from None
    # This takes a third of the time of `timestamp`.
    since = time - (_EPOCH if time.tzinfo is None else _EPOCH_OF_ZONES)
    seconds = since.days * 86400 + since.seconds
    if seconds < _FIRST_SECOND:
        raise BadField(f"the time is before {EARLIEST_DAY}")
    return seconds


class Heading(NamedTuple):
    """The fields of a record about its connection, as the log has them; `started` may be missing."""

    direction: Direction
    address: str
    protocol: str
    client_id: str
    written: str
    connected: str
    started: str | None = None


class Streams(NamedTuple):
    """The streams of a record."""

    ids: list[str]
    sizes: list[int]
    packets: list[int]


class Place(NamedTuple):
    """The number of the first line of a record, and its bytes in the log."""

    line: int
    length: int


def make_record(
    heading: Heading,
    streams: Streams,
    total: int | None,
    content: bytes,
    place: Place,
    *,
    holds_forgery: bool = False,
) -> TransferRecord:
    """Return a record; `total` are the bytes that its end states, None if it has no end.

    Raises:
        BadField: if a time or a number cannot be right.
    """
    ids, sizes, packets = streams
    size = sum(sizes)
    if size > MAX_COUNT or sum(packets) > MAX_COUNT:
        raise BadField("more than 2^53-1 bytes or packets")
    state = RecordState.CUT
    if total is not None:
        state = RecordState.COMPLETE if total == size else RecordState.DIFFERING
    connected = parse_time(heading.connected)
    started = None
    if heading.started is not None:
        # Often both are the same.
        started = connected if heading.started == heading.connected else parse_time(heading.started)
    # By position: keywords take a tenth of the time that reading a record takes.
    return TransferRecord(
        heading.direction,
        heading.address,
        heading.protocol,
        heading.client_id,
        parse_time(heading.written),
        connected,
        started,
        ids,
        sizes,
        packets,
        content,
        place.line,
        place.length,
        state,
        holds_forgery,
    )
