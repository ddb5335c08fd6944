"""Rows of the service that was deployed before, in the form of payloads."""

import datetime
import itertools
from collections import defaultdict
from typing import Any, NamedTuple

import msgspec

from eida_statistics import hll, wire
from eida_statistics.months import find_last_day
from eida_statistics.payload import COUNTS, MAX_COUNT, Payload, normalize_country
from eida_statistics.texts import printable
from eida_statistics.wire import Decoded

# The old service stored this for an unknown code.
_ANY = "*"
LARGE = "more than 2^53-1 of something, with those rows that become equal"
_NOBODY = hll.to_hex(hll.encode([]))
_FAILED = ("nb_unsuccessful_reqs", "nb_failed_reqs", "nb_failedrequests")

Row = dict[str, Any]


class BadRow(NamedTuple):
    """A row of statistics that cannot be imported, and the reason."""

    node: str
    date: str
    network: str
    station: str
    location: str
    channel: str
    country: str
    bytes: int
    requests: int
    reason: str

    def __str__(self) -> str:
        stream = ".".join((self.network, self.station, self.location, self.channel))
        where = f"{self.node or '(no node)'} {self.date or '(no date)'}: {stream}"
        return printable(f"{where} of country {self.country or '(none)'}: {self.reason}")


class BadToken(NamedTuple):
    """A token that is left out, and the reason. Its value is a secret."""

    number: int
    node: str
    reason: str


class Month(NamedTuple):
    """The statistics of a month of a node, and the number of rows whose country was changed."""

    node: int
    month: datetime.date
    payload: Payload
    countries_changed: int


def convert_row(row: Row) -> Row:
    """Return a row in the wire format. Unknown numbers are 0."""
    codes = {name: row[name] or "" for name in ("network", "station", "location", "channel", "country")}
    if codes["location"] == _ANY:
        codes["location"] = ""
    return {
        "month": row["month"],
        **codes,
        "bytes": row["bytes"] or 0,
        "nb_requests": row["nb_reqs"] or 0,
        "nb_successful_requests": row["nb_successful_reqs"] or 0,
        "nb_unsuccessful_requests": _count_failed(row),
        "clients": row["clients"] or _NOBODY,
    }


def find_large_sums(rows: list[Row]) -> list[int]:
    """Return the numbers of the rows that become equal, and whose sum is too large for a payload."""
    same: defaultdict[tuple[str, ...], list[int]] = defaultdict(list)
    for number, row in enumerate(rows):
        same[_get_key(row)].append(number)
    large = (
        numbers
        for numbers in same.values()
        if any(sum(rows[number][name] for number in numbers) > MAX_COUNT for name in COUNTS)
    )
    return sorted(itertools.chain.from_iterable(large))


def _get_key(row: Row) -> tuple[str, ...]:
    codes = (str(row[name]) for name in ("network", "station", "location", "channel"))
    return (*codes, normalize_country(row["country"]))


def describe_bad_row(node: str, row: Row, reason: str) -> BadRow:
    """Return the record of a row that cannot be imported."""
    return BadRow(
        node=node,
        date="" if row["month"] is None else row["month"].isoformat()[:7],
        **{name: row[name] for name in ("network", "station", "location", "channel", "country")},
        bytes=row["bytes"],
        requests=row["nb_requests"],
        reason=reason,
    )


def _count_failed(row: Row) -> int:
    for name in _FAILED:
        if name in row:
            return int(row[name] or 0)
    return max((row["nb_reqs"] or 0) - (row["nb_successful_reqs"] or 0), 0)


def decode_month(month: datetime.date, days: set[datetime.date], rows: list[Row]) -> Decoded:
    """Return a month of a node as a payload.

    Raises:
        InvalidPayload: if a row or a sum is not valid.
    """
    today = get_now().date()
    if not days:
        # The days that were received are unknown: take all of the month.
        last = min(find_last_day(month), max(today, month))
        days = {month.replace(day=day) for day in range(1, last.day + 1)}
    sent = {
        "generated_at": f"{get_now():%Y-%m-%d %H:%M:%S}",
        "version": "import",
        "days_coverage": sorted(days),
        "stats": rows,
    }
    return wire.decode_with_changes(msgspec.json.encode(sent), today=today)


def get_now() -> datetime.datetime:
    """Return the present time."""
    return datetime.datetime.now(tz=datetime.UTC)
