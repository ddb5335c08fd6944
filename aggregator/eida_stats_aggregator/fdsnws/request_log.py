"""Parse SeisComP's fdsnws request log: each line is a request, ignored or rejected.

The format is that of `RequestLog` in SeisComP's fdsnws: one JSON object a request. A request that was cut off
has status ERROR and traces that are OK; one that asked for no known stream has no `trace`; a line written
before its request ended lacks `finished` and `status`.
"""

import datetime
from functools import lru_cache, partial
from itertools import chain
from pathlib import Path
from typing import Any

import msgspec
from mmh3 import hash64

from eida_statistics import hll, payload
from eida_statistics.caches import cache_short_texts
from eida_statistics.errors import UnreadableLog
from eida_statistics.networks import is_temporary
from eida_statistics.payload import EARLIEST_DAY
from eida_stats_aggregator.fdsnws import log_lines
from eida_stats_aggregator.fdsnws.log_lines import (
    MAX_TRACE_BYTES,
    SERVICE,
    Ignored,
    NotARequest,
    Rejected,
    Stream,
    TraceFields,
    has_fraction,
    is_plain_time,
    parse_date,
)
from eida_stats_aggregator.logs import sources
from eida_stats_aggregator.logs.lines import MAX_LINE_BYTES
from eida_stats_aggregator.logs.sources import Log

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


class _UserLocation(msgspec.Struct, gc=False):
    country: str | None = None


class Line(msgspec.Struct, kw_only=True, gc=False):
    """The fields of a line that count."""

    # In the order of the log, as in `TraceFields`.
    clientID: Any = None  # noqa: N815 - the name of the log; its type is never a reason to reject a request
    finished: str | None = None
    userLocation: _UserLocation | None = None  # noqa: N815
    created: str | None = None
    service: str | None = None
    trace: list[TraceFields] | None = None
    status: str | None = None
    userID: int  # noqa: N815


LINE = msgspec.json.Decoder(Line)


def parse(line: bytes, latest: datetime.date = datetime.date.max) -> Request | Ignored | Rejected:
    """Decode one line without its line break; a request that ends after the day `latest` is rejected.

    The day is that of `finished`, else of `created`, in UTC. An invalid country counts as unknown.
    """
    # Everything that most lines need stands here: a call costs as much as decoding a trace. `plain_lines` has the
    # same rules for many lines, so a change belongs in both.
    try:
        if not line.isascii() or len(line) > MAX_LINE_BYTES:
            log_lines.check_text(line)
        try:
            decoded: Line | None = LINE.decode(line)
        except (msgspec.DecodeError, RecursionError):
            decoded = log_lines.decode_leniently(line, Line)
        if decoded is None or (decoded.service != SERVICE and decoded.service is not None):
            return Ignored()
        finished = decoded.finished
        day = parse_date(finished[:10]) if finished and is_plain_time(finished) else None
        if day is None:
            day = log_lines.parse_end_day(decoded.finished, decoded.created)
        # The service refuses such days, and the good lines of a file with them.
        if not EARLIEST_DAY <= day <= latest:
            return Rejected(f"{log_lines.name_end_field(decoded.finished)}: not a day that a log can have")
        country = decoded.userLocation.country if decoded.userLocation is not None else None
        agent = decoded.clientID
        client = hash_client(decoded.userID)
        deliveries = _parse_deliveries(decoded) if decoded.status == "OK" else None
        created = decoded.created
        if created is not None and has_fraction(created):
            key = hash64(created, client & 0xFFFFFFFF)[0]
        else:
            key = hash64(line.strip())[0]
        return Request(
            day,
            normalize_country(country) if country else "",
            client,
            deliveries,
            agent if type(agent) is str else None,
            key & ~1 if deliveries is None else key | 1,
        )
    except NotARequest as reason:
        return Rejected(str(reason))


def are_of_one_request(line: bytes, other: bytes) -> bool:
    """Return whether two lines are equal, or are records of one request."""
    if line == other:
        return True
    identity = _identify(line)
    return identity is not None and identity == _identify(other)


def _identify(line: bytes) -> tuple[str, int] | None:
    # What the key in `parse` is made of. Where this differs, a log is only read once more.
    try:
        decoded = LINE.decode(line)
    except (msgspec.DecodeError, RecursionError):
        return None
    created = decoded.created
    return (created, decoded.userID) if created is not None and has_fraction(created) else None


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
    return log_lines.recover(line, rejected, partial(parse, latest=latest))


def _parse_deliveries(line: Line) -> list[Delivery]:
    deliveries: list[Delivery] = []
    # The innermost loop of all: five million turns for a million requests.
    for trace in line.trace or ():
        if trace.status == "OK":
            known = _streams.get((trace.net, trace.sta, trace.loc, trace.cha)) or _check_stream(trace, line)
            stream, temporary = known
            size = trace.bytes
            if size is None or not 0 <= size <= MAX_TRACE_BYTES:
                raise NotARequest(f"{_locate(trace, line)}.bytes: not an integer from 0 to 2^40")
            deliveries.append((stream, _parse_start(trace, line) if temporary else None, size))
    return deliveries


def _check_stream(trace: TraceFields, line: Line) -> tuple[Stream, bool]:
    """Check a stream that is not known yet, and return it with whether its network is temporary."""
    codes = {"net": trace.net, "sta": trace.sta, "loc": trace.loc or "", "cha": trace.cha}
    stream = log_lines.check_stream(codes, lambda: _locate(trace, line))
    if len(_streams) >= KNOWN_STREAMS:
        _streams.clear()
    known = _streams[trace.net, trace.sta, trace.loc, trace.cha] = stream, is_temporary(stream.network)
    return known


def _parse_start(trace: TraceFields, line: Line) -> datetime.date:
    day = parse_date((trace.start or "")[:10])
    if day is None:
        raise NotARequest(f"{_locate(trace, line)}.start: not a date, and network is temporary")
    return day


def _locate(trace: TraceFields, line: Line) -> str:
    (number,) = (number for number, other in enumerate(line.trace or ()) if other is trace)
    return f"trace[{number}]"


# The same streams and clients are in almost every line of a log.
KNOWN_STREAMS = 1 << 17
# Numbers with thousands of digits must not fill the memory, so `hash_short` is for those between these bounds.
TOO_LONG = 1 << 63
_streams: dict[tuple[str | None, ...], tuple[Stream, bool]] = {}
normalize_country = cache_short_texts(maxsize=1024)(payload.normalize_country)
hash_short = lru_cache(maxsize=1 << 16)(hll.hash_client)


def hash_client(user_id: int) -> int:
    """Return the hash of a client; see `hll.hash_client`."""
    return hash_short(user_id) if -TOO_LONG < user_id < TOO_LONG else hll.hash_client(user_id)
