"""The lines of the request log, for all decoders: whole records of damaged lines, lenient JSON, days and codes."""

import datetime
import json
import re
from collections.abc import Callable, Mapping
from functools import lru_cache, partial
from typing import NamedTuple, TypeVar

import msgspec

from eida_statistics.caches import cache_short_texts
from eida_statistics.payload import Channel, Location, Network, Station
from eida_statistics.validation import explain_first
from eida_statistics.wire_records import CODES, EXPECTED, is_code
from eida_stats_aggregator.logs import records
from eida_stats_aggregator.logs.lines import MAX_LINE_BYTES

SERVICE = "fdsnws-dataselect"
# No archive answers one stream of one request with a tebibyte.
MAX_TRACE_BYTES = 1 << 40

_PLAIN_TIME = re.compile(r"\d{4}-\d\d-\d\dT([01]\d|2[0-3]):[0-5]\d:[0-5]\d(\.\d+)?Z", re.ASCII)
is_plain_time = _PLAIN_TIME.fullmatch
_TIME = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.\d+)?(Z|[+-]\d\d:?\d\d)?", re.ASCII)
_NO_FRACTION = re.compile(r"0*+(?!\d)")
_FRACTION_AT = len("2020-11-02T12:00:00.")
_NOT_JSON, _NOT_UTF8 = "not JSON", "not UTF-8"
_PADDING = b" \t\r\n\v\f\x1e\0"

_Request = TypeVar("_Request")
_Line = TypeVar("_Line", bound=msgspec.Struct)


class Stream(NamedTuple):
    """The codes of a stream."""

    network: str
    station: str
    location: str
    channel: str


class TraceFields(msgspec.Struct, gc=False):
    """The fields of a trace, as the log has them. The decoder finds them fastest in its order."""

    cha: str | None = None
    sta: str | None = None
    start: str | None = None
    net: str | None = None
    loc: str | None = None
    bytes: int | None = None
    status: str | None = None


class Ignored(msgspec.Struct):
    """A line of another service."""


class Rejected(msgspec.Struct):
    """A line that is not a request; the reason names fields and never values."""

    reason: str


class Reject(msgspec.Struct, frozen=True):
    """A rejected line of a file; the reason never quotes the line, which is about a person."""

    file: str
    line: int
    reason: str


class NotARequest(Exception):
    """Carries the reason of a rejection to the function that parses a line."""


class _Codes(msgspec.Struct):
    net: Network
    sta: Station
    loc: Location
    cha: Channel


_EXPECTED = {short: EXPECTED[name] for short, name in zip(_Codes.__struct_fields__, CODES, strict=True)}


def check_text(line: bytes) -> None:
    """Check the length of a line and its encoding.

    Raises:
        NotARequest: if it is too long, or not UTF-8.
    """
    if len(line) > MAX_LINE_BYTES:
        raise NotARequest(f"longer than {MAX_LINE_BYTES} bytes")
    try:
        # The decoder passes over what it does not need without looking at its encoding.
        line.decode()
    except UnicodeDecodeError:
        raise NotARequest(_NOT_UTF8) from None


def decode_leniently(line: bytes, record: type[_Line]) -> _Line | None:
    """Decode what Python's own JSON writers make and the strict decoder refuses, or say why it is refused.

    SeisComP writes a user agent that is not UTF-8 as lone surrogates, for instance. None is for a line of
    another service, whose fields may be of any type.

    Raises:
        NotARequest: if it is not a record of this service.
    """
    if not line.strip():
        raise NotARequest("empty")
    try:
        loose = json.loads(line.decode())
        return msgspec.convert(loose, record)
    except (msgspec.ValidationError, UnicodeEncodeError):
        service = loose.get("service") if isinstance(loose, dict) else None
        if isinstance(service, str) and service != SERVICE:
            return None
        raise NotARequest(explain_first(loose, record)) from None
    except (ValueError, RecursionError):
        raise NotARequest(_NOT_JSON) from None


def recover(
    line: bytes, rejected: Rejected, parse: Callable[[bytes], _Request | Ignored | Rejected]
) -> list[_Request | Ignored | Rejected]:
    """Parse the whole records of a line that is no JSON as it stands, and reject each piece between them.

    The reason says where in the line a piece begins, unless there is nothing else in it.
    """
    if rejected.reason not in (_NOT_JSON, _NOT_UTF8):
        return [rejected]
    unpadded = line.strip(_PADDING)
    if b"\0" not in line and type(outcome := parse(unpadded)) is not Rejected:
        return [outcome]
    pieces = records.split(line)
    if not any(piece.is_record for piece in pieces):
        return [rejected if unpadded else Rejected("NUL bytes" if b"\0" in line else "empty")]
    outcomes = [parse(piece.text) if piece.is_record else _reject(piece.text) for piece in pieces]
    if len(pieces) > 1:
        for piece, outcome in zip(pieces, outcomes, strict=True):
            if isinstance(outcome, Rejected):
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


def check_stream(codes: Mapping[str, str | None], locate: Callable[[], str]) -> Stream:
    """Return a stream by its codes `net`, `sta`, `loc` and `cha`.

    Raises:
        NotARequest: if a code is not valid. Only then, `locate` is called for the place of the trace, which takes
            time for each trace of the request.
    """
    try:
        checked = msgspec.convert(codes, _Codes)
    except msgspec.ValidationError:
        raise NotARequest(f"{locate()}.{explain_first(codes, _Codes, _EXPECTED)}") from None
    return Stream(checked.net, checked.sta, checked.loc, checked.cha)


def find_stream(network: str, station: str, location: str, channel: str) -> Stream:
    """Return a stream by its codes; as `check_stream`, without the reason.

    Streams share their codes, so most codes of a new stream are known.

    Raises:
        NotARequest: if a code is not valid.
    """
    codes = network, station, location, channel
    if not all(is_valid(code) for is_valid, code in zip(_CHECKS, codes, strict=True)):
        raise NotARequest("a code is not valid")
    return Stream._make(codes)


_CHECKS = [cache_short_texts(maxsize=1 << 14)(partial(is_code, field)) for field in CODES]


def has_fraction(created: str) -> bool:
    """Return whether a time has a fraction of a second, by which a request can be recognised."""
    return (
        len(created) > _FRACTION_AT
        and created[_FRACTION_AT - 1] == "."
        and (created[_FRACTION_AT] != "0" or not _NO_FRACTION.match(created, _FRACTION_AT))
    )


def name_end_field(finished: str | None) -> str:
    """Return the name of the field with the time at which the request ended."""
    return "created" if finished is None else "finished"


def parse_end_day(finished: str | None, created: str | None) -> datetime.date:
    """Return the UTC day on which a request ended.

    Raises:
        NotARequest: if the line does not say.
    """
    name = name_end_field(finished)
    text = finished or {"finished": finished, "created": created}[name]
    if text is not None:
        day = parse_date(text[:10]) if is_plain_time(text) else _parse_zoned_day(text)
        if day is not None:
            return day
    raise NotARequest(f"{name}: not a time")


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
def parse_date(text: str) -> datetime.date | None:
    """Return a day, or None if a text is none."""
    try:
        return datetime.date.fromisoformat(text)
    except ValueError:
        return None
