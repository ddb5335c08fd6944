"""Parse SeisComP's fdsnws request log: each line is a request, ignored or rejected.

The format is that of `RequestLog` in SeisComP's fdsnws: one JSON object a request. A request that was cut off
has status ERROR and traces that are OK; one that asked for no known stream has no `trace`; a line written
before its request ended lacks `finished` and `status`.
"""

import datetime
import json
import re
from functools import lru_cache
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
from mmh3 import hash64

from eida_statistics.errors import UnreadableLog
from eida_statistics.hll import hash_client
from eida_statistics.networks import is_temporary
from eida_statistics.payload import EARLIEST_DAY, Channel, Location, Network, Station, normalize_country
from eida_statistics.validation import explain_first
from eida_statistics.wire_records import CODES, EXPECTED
from eida_stats_aggregator.logs import records, sources
from eida_stats_aggregator.logs.lines import MAX_LINE_BYTES
from eida_stats_aggregator.logs.sources import Log

SERVICE = "fdsnws-dataselect"
# No archive answers one stream of one request with a tebibyte.
MAX_TRACE_BYTES = 1 << 40

_PLAIN_TIME = re.compile(r"\d{4}-\d\d-\d\dT([01]\d|2[0-3]):[0-5]\d:[0-5]\d(\.\d+)?Z", re.ASCII)
_is_plain_time = _PLAIN_TIME.fullmatch
_TIME = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.\d+)?(Z|[+-]\d\d:?\d\d)?", re.ASCII)
_NO_FRACTION = re.compile(r"0*+(?!\d)")
_FRACTION_AT = len("2020-11-02T12:00:00.")
_NOT_JSON, _NOT_UTF8 = "not JSON", "not UTF-8"
_PADDING = b" \t\r\n\v\f\x1e\0"


class Stream(NamedTuple):
    """The codes of a stream."""

    network: str
    station: str
    location: str
    channel: str


# The answer for one stream of a successful request: the stream; the first day of the data, where the network's code
# needs it; bytes. Plain, for it is made for every trace.
Delivery = tuple[Stream, datetime.date | None, int]


class Request(msgspec.Struct, gc=False):
    """One request, on the UTC day on which it ended.

    `deliveries` is None for a request that failed as a whole, and empty for one without data;
    `agent` is the client's program, as it calls itself. `key` is the same, but for its last bit, for all records
    of one request; the last bit is 0 in a record of a failed request, and 1 in others.
    """

    day: datetime.date
    country: str
    client: int
    deliveries: list[Delivery] | None
    agent: str | None = None
    key: int = 0


class Ignored(msgspec.Struct):
    """A line of another service."""


class Rejected(msgspec.Struct):
    """A line that is not a request; the reason names fields and never values."""

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


class _Line(msgspec.Struct, gc=False):
    userID: int  # noqa: N815 - the name of the log
    clientID: Any = None  # noqa: N815 - never a reason to reject a request
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


_EXPECTED = {short: EXPECTED[name] for short, name in zip(_Codes.__struct_fields__, CODES, strict=True)}


class _NotARequest(Exception):
    """Carries the reason to `parse`."""


_LINE = msgspec.json.Decoder(_Line)


def parse(line: bytes, latest: datetime.date = datetime.date.max) -> Request | Ignored | Rejected:
    """Decode one line without its line break; a request that ends after the day `latest` is rejected.

    The day is that of `finished`, else of `created`, in UTC. An invalid country counts as unknown.
    """
    # Everything that most lines need stands here: a call costs as much as decoding a trace.
    try:
        if not line.isascii() or len(line) > MAX_LINE_BYTES:
            _check_text(line)
        try:
            decoded: _Line | None = _LINE.decode(line)
        except (msgspec.DecodeError, RecursionError):
            decoded = _decode_leniently(line)
        if decoded is None or (decoded.service != SERVICE and decoded.service is not None):
            return Ignored()
        finished = decoded.finished
        day = _parse_date(finished[:10]) if finished and _is_plain_time(finished) else None
        if day is None:
            day = _parse_day(decoded)
        # The service refuses such days, and the good lines of a file with them.
        if not EARLIEST_DAY <= day <= latest:
            return Rejected(f"{_name_end_field(decoded)}: not a day that a log can have")
        country = decoded.userLocation.country if decoded.userLocation is not None else None
        agent = decoded.clientID
        client = _hash_client(decoded.userID)
        deliveries = _parse_deliveries(decoded) if decoded.status == "OK" else None
        created = decoded.created
        if (
            created is not None
            and len(created) > _FRACTION_AT
            and created[_FRACTION_AT - 1] == "."
            and (created[_FRACTION_AT] != "0" or not _NO_FRACTION.match(created, _FRACTION_AT))
        ):
            key = hash64(created, client & 0xFFFFFFFF)[0]
        else:
            key = hash64(line.strip())[0]
        return Request(
            day,
            _normalize_country(country) if country else "",
            client,
            deliveries,
            agent if type(agent) is str else None,
            key & ~1 if deliveries is None else key | 1,
        )
    except _NotARequest as reason:
        return Rejected(str(reason))


def parse_line(line: bytes, latest: datetime.date = datetime.date.max) -> list[Request | Ignored | Rejected]:
    """Decode a line that may hold several records, or be damaged; as `parse`, in the order of the line."""
    outcome = parse(line, latest)
    return recover(line, outcome, latest) if type(outcome) is Rejected else [outcome]


def is_request_log(log: Log) -> bool:
    """Return whether a file is a request log, of this service or of another, by its first lines."""
    try:
        outcomes = chain.from_iterable(map(parse_line, sources.read_first_lines(log)))
        return any(type(outcome) is not Rejected for outcome in outcomes)
    except UnreadableLog:
        # A damaged log or an archive of logs is reported when it is read. Other files may look like anything.
        return "request" in Path(log.name).name


def recover(line: bytes, rejected: Rejected, latest: datetime.date) -> list[Request | Ignored | Rejected]:
    """Decode the whole records of a line that is no JSON as it stands, and reject each piece between them.

    The reason says where in the line a piece begins, unless there is nothing else in it.
    """
    if rejected.reason not in (_NOT_JSON, _NOT_UTF8):
        return [rejected]
    unpadded = line.strip(_PADDING)
    if b"\0" not in line and type(outcome := parse(unpadded, latest)) is not Rejected:
        return [outcome]
    pieces = records.split(line)
    if not any(piece.is_record for piece in pieces):
        return [rejected if unpadded else Rejected("NUL bytes" if b"\0" in line else "empty")]
    outcomes = [parse(piece.text, latest) if piece.is_record else _reject(piece.text) for piece in pieces]
    if len(pieces) > 1:
        for piece, outcome in zip(pieces, outcomes, strict=True):
            if type(outcome) is Rejected:
                outcome.reason += f" (from byte {piece.start + 1:,} of the line)"
    return outcomes


def _reject(piece: bytes) -> Rejected:
    if not piece.strip(b"\0"):
        return Rejected("NUL bytes")
    try:
        piece.decode()
    except UnicodeDecodeError:
        return Rejected(_NOT_UTF8)
    return Rejected(_NOT_JSON)


def _check_text(line: bytes) -> None:
    if len(line) > MAX_LINE_BYTES:
        raise _NotARequest(f"longer than {MAX_LINE_BYTES} bytes")
    try:
        # The decoder passes over what it does not need without looking at its encoding.
        line.decode()
    except UnicodeDecodeError:
        raise _NotARequest(_NOT_UTF8) from None


def _decode_leniently(line: bytes) -> _Line | None:
    """Decode what Python's own JSON writers make and the strict decoder refuses, or say why it is refused.

    SeisComP writes a user agent that is not UTF-8 as lone surrogates, for instance. None is for a line of
    another service, whose fields may be of any type.
    """
    if not line.strip():
        raise _NotARequest("empty")
    try:
        loose = json.loads(line.decode())
        return msgspec.convert(loose, _Line)
    except (msgspec.ValidationError, UnicodeEncodeError):
        service = loose.get("service") if isinstance(loose, dict) else None
        if isinstance(service, str) and service != SERVICE:
            return None
        raise _NotARequest(explain_first(loose, _Line)) from None
    except (ValueError, RecursionError):
        raise _NotARequest(_NOT_JSON) from None


def _parse_deliveries(line: _Line) -> list[Delivery]:
    deliveries: list[Delivery] = []
    # The innermost loop of all: five million turns for a million requests.
    for trace in line.trace or ():
        if trace.status == "OK":
            known = _streams.get((trace.net, trace.sta, trace.loc, trace.cha)) or _check_stream(trace, line)
            stream, temporary = known
            size = trace.bytes
            if size is None or not 0 <= size <= MAX_TRACE_BYTES:
                raise _NotARequest(f"{_locate(trace, line)}.bytes: not an integer from 0 to 2^40")
            deliveries.append((stream, _parse_start(trace, line) if temporary else None, size))
    return deliveries


def _check_stream(trace: _Trace, line: _Line) -> tuple[Stream, bool]:
    """Check a stream that is not known yet, and return it with whether its network is temporary."""
    codes = {"net": trace.net, "sta": trace.sta, "loc": trace.loc or "", "cha": trace.cha}
    try:
        checked = msgspec.convert(codes, _Codes)
    except msgspec.ValidationError:
        raise _NotARequest(f"{_locate(trace, line)}.{explain_first(codes, _Codes, _EXPECTED)}") from None
    if len(_streams) >= _KNOWN_STREAMS:
        _streams.clear()
    stream = Stream(checked.net, checked.sta, checked.loc, checked.cha)
    known = _streams[trace.net, trace.sta, trace.loc, trace.cha] = stream, is_temporary(stream.network)
    return known


def _parse_start(trace: _Trace, line: _Line) -> datetime.date:
    day = _parse_date((trace.start or "")[:10])
    if day is None:
        raise _NotARequest(f"{_locate(trace, line)}.start: not a date, and network is temporary")
    return day


def _locate(trace: _Trace, line: _Line) -> str:
    (number,) = (number for number, other in enumerate(line.trace or ()) if other is trace)
    return f"trace[{number}]"


# The same streams and clients are in almost every line of a log.
_KNOWN_STREAMS = 1 << 17
_streams: dict[tuple[str | None, ...], tuple[Stream, bool]] = {}
_hash_client = lru_cache(maxsize=1 << 16)(hash_client)
_normalize_country = lru_cache(maxsize=1024)(normalize_country)


def _name_end_field(line: _Line) -> str:
    """Return the name of the field with the time at which the request ended."""
    return "created" if line.finished is None else "finished"


def _parse_day(line: _Line) -> datetime.date:
    text = line.finished or getattr(line, _name_end_field(line))
    if text is not None:
        day = _parse_date(text[:10]) if _PLAIN_TIME.fullmatch(text) else _parse_zoned_day(text)
        if day is not None:
            return day
    raise _NotARequest(f"{_name_end_field(line)}: not a time")


def _parse_zoned_day(text: str) -> datetime.date | None:
    found = _TIME.fullmatch(text)
    if found is None:
        return None
    try:
        # A time without a zone is taken as UTC, in which SeisComP writes.
        time = datetime.datetime.fromisoformat(found[1] + (found[2] or "Z"))
        return time.astimezone(datetime.UTC).date()
    except (ValueError, OverflowError):
        return None


@lru_cache(maxsize=1 << 14)
def _parse_date(text: str) -> datetime.date | None:
    try:
        return datetime.date.fromisoformat(text)
    except ValueError:
        return None
