"""One line of SeisComP's fdsnws request log to a request, or why it is none.

The format is that of `RequestLog` in SeisComP's fdsnws: one JSON object a request. A request that was cut off
has status ERROR and traces that are OK; one that asked for no known stream has no `trace`; a line written
before its request ended lacks `finished` and `status`.
"""

import datetime
import json
import re
from functools import lru_cache
from typing import NamedTuple

import msgspec

from eida_statistics.hll import client_hash
from eida_statistics.networks import is_temporary
from eida_statistics.payload import Channel, Location, Network, Station
from eida_statistics.wire import EARLIEST_DAY
from eida_stats_aggregator.logfiles import MAX_LINE_BYTES

SERVICE = "fdsnws-dataselect"
# No archive answers one stream of one request with a tebibyte.
MAX_TRACE_BYTES = 1 << 40

_PLAIN_TIME = re.compile(r"\d{4}-\d\d-\d\dT([01]\d|2[0-3]):[0-5]\d:[0-5]\d(\.\d+)?Z", re.ASCII)
_TIME = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.\d+)?(Z|[+-]\d\d:?\d\d)?", re.ASCII)
_COUNTRY = re.compile(r"[0-9A-Z]{2}")


class Stream(NamedTuple):
    """What was asked for; `start` is the first day of the data, where the network's code needs it."""

    network: str
    station: str
    location: str
    channel: str
    start: datetime.date | None


class Delivery(NamedTuple):
    """What one stream got in a successful request, in bytes."""

    stream: Stream
    bytes: int


class Request(NamedTuple):
    """One request, on the UTC day on which it ended.

    `deliveries` is None for a request that failed as a whole, and empty for one of which no stream had data.
    """

    day: datetime.date
    country: str
    client: int
    deliveries: list[Delivery] | None


class Ignored(NamedTuple):
    """A line of another service."""


class Rejected(NamedTuple):
    """A line that is no request; the reason names fields and never values."""

    reason: str


class _Trace(msgspec.Struct, gc=False):
    status: str | None = None
    net: str | None = None
    sta: str | None = None
    loc: str | None = None
    cha: str | None = None
    start: str | None = None
    bytes: int | None = None


class _UserLocation(msgspec.Struct, gc=False):
    country: str | None = None


class _Line(msgspec.Struct):
    userID: int  # noqa: N815 - the name of the log
    service: str | None = None
    status: str | None = None
    finished: str | None = None
    created: str | None = None
    userLocation: _UserLocation | None = None  # noqa: N815
    trace: list[_Trace] | None = None


class _Codes(msgspec.Struct):
    net: Network
    sta: Station
    loc: Location
    cha: Channel


class _NotARequest(Exception):
    """Carries the reason to `parse`."""


_LINE = msgspec.json.Decoder(_Line)


def parse(line: bytes, *, latest: datetime.date = datetime.date.max) -> Request | Ignored | Rejected:
    """Decode one line.

    The day is that of `finished`, else of `created`, in UTC. A country that is none counts as unknown.

    Args:
        line: without its line break.
        latest: the last day that a request can have; one that ends later is rejected.
    """
    try:
        decoded = _decode(line)
        if decoded is None or decoded.service not in (None, SERVICE):
            return Ignored()
        return _request(decoded, latest)
    except _NotARequest as reason:
        return Rejected(str(reason))


def _decode(line: bytes) -> _Line | None:
    if len(line) > MAX_LINE_BYTES:
        raise _NotARequest(f"longer than {MAX_LINE_BYTES} bytes")
    if not line.strip():
        raise _NotARequest("empty")
    try:
        # The decoder passes over what it does not need without looking at its encoding.
        if not line.isascii():
            line.decode()
        return _LINE.decode(line)
    except UnicodeDecodeError:
        raise _NotARequest("not UTF-8") from None
    except (msgspec.DecodeError, RecursionError):
        return _decode_leniently(line)


def _decode_leniently(line: bytes) -> _Line | None:
    """Decode what Python's own JSON writers make and the strict decoder refuses, or say why it is refused.

    SeisComP writes a user agent that is not UTF-8 as lone surrogates, for instance. None is for a line of
    another service, whose fields may be of any type.
    """
    try:
        loose = json.loads(line)
        return msgspec.convert(loose, _Line)
    except msgspec.ValidationError as error:
        service = loose.get("service") if isinstance(loose, dict) else None
        if isinstance(service, str) and service != SERVICE:
            return None
        raise _NotARequest(_told(error)) from None
    except (ValueError, RecursionError):
        raise _NotARequest("not JSON") from None


def _request(line: _Line, latest: datetime.date) -> Request:
    ended = "created" if line.finished is None else "finished"
    day = _day(line.created if line.finished is None else line.finished)
    if day is None:
        raise _NotARequest(f"{ended}: not a time")
    # The service refuses such days, and the good lines of a file with them.
    if not EARLIEST_DAY <= day <= latest:
        raise _NotARequest(f"{ended}: not a day that a log can have")
    country = (line.userLocation and line.userLocation.country) or ""
    if country and not _COUNTRY.fullmatch(country):
        country = ""
    deliveries = None
    if line.status == "OK":
        deliveries = [
            _delivery(trace, number) for number, trace in enumerate(line.trace or ()) if trace.status == "OK"
        ]
    return Request(day, country, _client(line.userID), deliveries)


def _delivery(trace: _Trace, number: int) -> Delivery:
    net = trace.net
    start = (trace.start or "")[:10] if net is not None and is_temporary(net) else None
    try:
        stream = _stream(net, trace.sta, trace.loc, trace.cha, start)
    except msgspec.ValidationError as error:
        raise _NotARequest(f"trace[{number}].{_told(error)}") from None
    except ValueError:
        raise _NotARequest(f"trace[{number}].start: not a date, and network is temporary") from None
    size = trace.bytes
    if size is None or not 0 <= size <= MAX_TRACE_BYTES:
        raise _NotARequest(f"trace[{number}].bytes: not an integer from 0 to 2^40")
    return Delivery(stream, size)


# Streams and clients come back in almost every line of a log.


@lru_cache(maxsize=1 << 17)
def _stream(net: str | None, sta: str | None, loc: str | None, cha: str | None, start: str | None) -> Stream:
    checked = msgspec.convert({"net": net, "sta": sta, "loc": loc or "", "cha": cha}, _Codes)
    day = None if start is None else datetime.date.fromisoformat(start)
    return Stream(checked.net, checked.sta, checked.loc, checked.cha, day)


@lru_cache(maxsize=1 << 16)
def _client(user_id: int) -> int:
    return client_hash(user_id)


def _day(text: str | None) -> datetime.date | None:
    if text is None:
        return None
    if _PLAIN_TIME.fullmatch(text):
        return _date(text[:10])
    found = _TIME.fullmatch(text)
    if found is None:
        return None
    try:
        # A time without a zone is taken as UTC, in which SeisComP writes.
        time = datetime.datetime.fromisoformat(found[1] + (found[2] or "Z"))
        return time.astimezone(datetime.UTC).date()
    except (ValueError, OverflowError):
        return None


@lru_cache(maxsize=1024)
def _date(text: str) -> datetime.date | None:
    try:
        return datetime.date.fromisoformat(text)
    except ValueError:
        return None


def _told(error: msgspec.ValidationError) -> str:
    message, _, path = str(error).partition(" - at `$")
    path = path.rstrip("`").lstrip(".")
    message = message.replace("`", "").removeprefix("Object ")
    if "matching regex" in message:
        message = "has a length or characters that no code has"
    return f"{path}: {message}" if path else message
