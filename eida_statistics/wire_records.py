"""The records of the wire format, as nodes send them."""

import datetime
from typing import Annotated

import msgspec
from msgspec import Meta

from eida_statistics.payload import (
    COUNTS,
    Channel,
    Count,
    Exclusions,
    Label,
    Location,
    Network,
    Period,
    Source,
    Station,
)

_Score = Annotated[float, Meta(ge=0, le=2**53)]

CODES = {
    "network": Network,
    "station": Station,
    "location": Location,
    "channel": Channel,
}

EXPECTED = {
    **dict.fromkeys(("generated_at", "version"), "up to 64 printable ASCII characters"),
    "days_coverage": "a list of days, YYYY-MM-DD",
    "aggregation_score": "a number",
    "stats": "a list of objects",
    "source": "up to 64 letters, digits, dots or hyphens",
    "period": 'an object with the days "start" and "end"',
    "excluded": "an object with client_classes and client_patterns, lists of up to 100 texts",
    "month": "the first day of a month, YYYY-MM-01",
    **dict.fromkeys(("network", "station"), "a code of up to 8 letters, digits, - or _"),
    "location": "a code of up to 8 letters, digits, blanks, - or _",
    "channel": "a code of up to 16 letters, digits, - or _",
    "country": "a text",
    **dict.fromkeys(COUNTS, "an integer from 0 to 2^53-1"),
    "clients": "\\x and the hexadecimal digits of a sketch",
}


def is_code(field: str, code: str | None) -> bool:
    """Return whether a text is a valid code for a field of `CODES`."""
    try:
        msgspec.convert(code, CODES[field])
    except msgspec.ValidationError:
        return False
    return True


class WireRow(msgspec.Struct, gc=False):
    """A row as nodes send it: older aggregators leave some keys out, or null.

    The codes are checked once for each that occurs, not once for each row.
    """

    month: datetime.date
    network: str
    station: str
    location: str
    channel: str
    bytes: Count
    nb_successful_requests: Count
    clients: str
    country: str | None = None
    nb_requests: Count | None = None
    nb_unsuccessful_requests: Count | None = None


class CheckedWireRow(WireRow):
    """A row whose codes are checked when it is decoded."""

    network: Network
    station: Station
    location: Location
    channel: Channel


class WirePayload(msgspec.Struct):
    """A payload as nodes send it: optional fields may be missing or null."""

    days_coverage: list[datetime.date]
    stats: list[WireRow]
    generated_at: Label | None = None
    version: Label | None = None
    aggregation_score: _Score | None = None
    excluded: Exclusions | None = None
    source: Source | None = None
    period: Period | None = None
