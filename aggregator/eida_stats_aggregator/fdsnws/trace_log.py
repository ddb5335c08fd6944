"""Parse the traces of a request log: the streams, times and results of requests, and nothing about users.

This is another view of the lines that `request_log` parses. It reads more of each trace, and takes longer.
"""

import datetime
from typing import Literal, NamedTuple

import msgspec
from mmh3 import hash64

from eida_statistics.caches import cache_short_texts
from eida_statistics.payload import EARLIEST_DAY
from eida_stats_aggregator.fdsnws import log_lines
from eida_stats_aggregator.fdsnws.log_lines import (
    MAX_TRACE_BYTES,
    SERVICE,
    Ignored,
    NotARequest,
    Rejected,
    Stream,
)

EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
_MICROSECOND = datetime.timedelta(microseconds=1)
_NO_LOCATION = "--"

Outcome = Literal["delivered", "nodata", "denied", "failed"]
_OUTCOMES: dict[str | None, Outcome] = {"OK": "delivered", "NODATA": "nodata", "DENIED": "denied"}


class Trace(NamedTuple):
    """The answer for one stream of a request.

    Attributes:
        outcome: `failed` stands for any other status, and for OK in a request that failed as a whole.
        stream: None if a code is not valid. The location is empty for `--`.
        start: the beginning of the requested window, in microseconds since 1970; None if it is no time.
        end: its end, likewise.
        bytes: the bytes delivered; 0 unless the outcome is `delivered`.
    """

    outcome: Outcome
    stream: Stream | None
    start: int | None
    end: int | None
    bytes: int


class TracedRequest(msgspec.Struct, gc=False):
    """One request and its traces.

    Attributes:
        time: when it was made, in microseconds since 1970; when it ended, if the line does not say.
        traces: its traces; none if the server knows no stream that was requested.
        key: as in `request_log.Request`, but computed without the client.
    """

    time: int
    traces: list[Trace]
    key: int = 0


class _Trace(log_lines.TraceFields, gc=False):
    end: str | None = None


class _Line(msgspec.Struct, gc=False):
    service: str | None = None
    status: str | None = None
    finished: str | None = None
    created: str | None = None
    trace: list[_Trace] | None = None


_LINE = msgspec.json.Decoder(_Line)


def parse_traces(line: bytes, latest: datetime.date) -> TracedRequest | Ignored | Rejected:
    """Decode one line without its line break; a request that ends after the day `latest` is rejected.

    It rejects the lines that `request_log.parse` rejects, unless their only fault is in a field about the user.
    """
    try:
        log_lines.check_text(line)
        try:
            decoded: _Line | None = _LINE.decode(line)
        except (msgspec.DecodeError, RecursionError):
            decoded = log_lines.decode_leniently(line, _Line)
        if decoded is None or decoded.service not in (SERVICE, None):
            return Ignored()
        day = log_lines.parse_end_day(decoded.finished, decoded.created)
        if not EARLIEST_DAY <= day <= latest:
            return Rejected(f"{log_lines.name_end_field(decoded.finished)}: not a day that a log can have")
        time = _find_time(decoded)
        succeeded = decoded.status == "OK"
        traces = [
            _parse_trace(trace, number, succeeded=succeeded) for number, trace in enumerate(decoded.trace or ())
        ]
        key = _compute_key(decoded, line)
        return TracedRequest(time, traces, key | 1 if succeeded else key & ~1)
    except NotARequest as reason:
        return Rejected(str(reason))


def parse_line(line: bytes, latest: datetime.date) -> list[TracedRequest | Ignored | Rejected]:
    """Decode a line that may hold several records, or be damaged, in the order of the line."""
    outcome = parse_traces(line, latest)
    if isinstance(outcome, Rejected):
        return log_lines.recover(line, outcome, lambda text: parse_traces(text, latest))
    return [outcome]


def _find_time(line: _Line) -> int:
    for text in (line.created, line.finished):
        time = parse_microseconds(text)
        if time is not None:
            return time
    raise NotARequest("created: not a time")


def _parse_trace(trace: _Trace, number: int, *, succeeded: bool) -> Trace:
    outcome = _OUTCOMES.get(trace.status, "failed")
    if outcome == "delivered" and not succeeded:
        outcome = "failed"
    size = 0
    if outcome == "delivered":
        stream: Stream | None = _check_stream(trace, number)
        size = _check_size(trace, number)
    else:
        stream = _find_stream(trace)
    return Trace(outcome, stream, parse_microseconds(trace.start), parse_microseconds(trace.end), size)


def _check_size(trace: _Trace, number: int) -> int:
    if trace.bytes is None or not 0 <= trace.bytes <= MAX_TRACE_BYTES:
        raise NotARequest(f"trace[{number}].bytes: not an integer from 0 to 2^40")
    return trace.bytes


def _check_stream(trace: _Trace, number: int) -> Stream:
    location = "" if trace.loc in (None, _NO_LOCATION) else trace.loc
    known = _known_streams.get((trace.net, trace.sta, location, trace.cha))
    if known is not None:
        return known
    codes = {"net": trace.net, "sta": trace.sta, "loc": location, "cha": trace.cha}
    stream = log_lines.check_stream(codes, lambda: f"trace[{number}]")
    if len(_known_streams) >= _KNOWN_STREAMS:
        _known_streams.clear()
    _known_streams[stream] = stream
    return stream


def _find_stream(trace: _Trace) -> Stream | None:
    try:
        return _check_stream(trace, 0)
    except NotARequest:
        return None


def _compute_key(decoded: _Line, line: bytes) -> int:
    """Return the same number for all records of one request.

    Two requests of the same microsecond have different first traces, or else count as one.
    """
    created = decoded.created
    if created is None or not log_lines.has_fraction(created):
        return hash64(line.strip())[0]
    first = decoded.trace[0] if decoded.trace else _Trace()
    # Unlike an encoder, it can write lone surrogates.
    return hash64(ascii((created, first.net, first.sta, first.loc, first.cha, first.start, first.end)))[0]


@cache_short_texts(maxsize=1 << 14)
def parse_microseconds(text: str | None) -> int | None:
    """Return a time in microseconds since 1970, or None if a text is none. Without a zone it is in UTC."""
    if text is None:
        return None
    try:
        time = datetime.datetime.fromisoformat(text)
        return to_microseconds(time if time.tzinfo is not None else time.replace(tzinfo=datetime.UTC))
    except (ValueError, OverflowError):
        return None


def format_microseconds(time: int | None) -> str | None:
    """Return a time as text in UTC, as availability services write it."""
    if time is None:
        return None
    return (EPOCH + time * _MICROSECOND).replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"


def to_microseconds(time: datetime.datetime) -> int:
    """Return a time with its zone in microseconds since 1970."""
    return (time - EPOCH) // _MICROSECOND


# The same streams are in almost every line of a log.
_KNOWN_STREAMS = 1 << 17
_known_streams: dict[tuple[str | None, ...], Stream] = {}
