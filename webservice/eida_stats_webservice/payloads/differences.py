"""Differences between stored sums and the payloads in force. All functions are pure."""

import zlib
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

import msgspec

from eida_statistics import hll
from eida_statistics.errors import InvalidSketch
from eida_stats_webservice.payloads.identity import Identity
from eida_stats_webservice.payloads.models import PayloadRecord

PAYLOADS = "payloads"

Key = tuple[str, ...]


class Sums(NamedTuple):
    """The counts and the sketch of a row."""

    counts: tuple[int, ...]
    clients: bytes


class SumTable(NamedTuple):
    """A table of sums.

    Attributes:
        keys: the columns that identify a row of a node.
        counts: the columns with counts.
        is_monthly: whether the dates are months.
    """

    name: str
    keys: tuple[str, ...]
    counts: tuple[str, ...]
    is_monthly: bool


class Difference(msgspec.Struct, frozen=True):
    """A row that differs from the payloads in force, or a damaged payload. None stands for a missing row.

    `sketch` is a checksum: two sketches may have the same estimate.
    """

    table: str
    key: dict[str, str]
    stored: dict[str, int | str] | None
    due: dict[str, int | str] | None


def report_damage(number: int) -> Difference:
    """Return the difference of a payload whose body cannot be read."""
    return Difference(PAYLOADS, {"payload": str(number)}, {"body": "damaged"}, {"body": "readable"})


def report_packed_rows(number: int) -> Difference:
    """Return the difference of a payload whose packed rows are not those of its body."""
    return Difference(
        PAYLOADS, {"payload": str(number)}, {"packed_rows": "wrong"}, {"packed_rows": "those of its body"}
    )


def compare_payload(record: PayloadRecord, due: Identity, rows: int) -> Iterator[Difference]:
    """Yield the difference between the columns of a payload and its body, if there is one."""
    stored = Identity(
        hash=record.hash,
        content=record.content,
        source=record.source,
        period=record.period,
        days=frozenset(record.days),
    )
    if (stored, record.rows) != (due, rows):
        yield Difference(
            PAYLOADS, {"payload": str(record.payload)}, _describe(stored, record.rows), _describe(due, rows)
        )


def compare_table(table: SumTable, due: Mapping[Key, Sums], stored: Mapping[Key, Sums]) -> Iterator[Difference]:
    """Yield the differences between the rows of a table in a month and the sums of the payloads in force."""
    for key in sorted(due.keys() | stored.keys()):
        there, expected = stored.get(key), due.get(key)
        if there != expected:
            named = dict(zip(table.keys, key, strict=True))
            # The month is named anyway.
            if table.is_monthly and named["date"].endswith("-01"):
                del named["date"]
            yield Difference(table.name, named, _list_values(table, there), _list_values(table, expected))


def add_up(sums: Iterable[Sums]) -> Sums:
    """Return the sum of rows."""
    listed = list(sums)
    counts = tuple(map(sum, zip(*(one.counts for one in listed), strict=True)))
    return Sums(counts, hll.merge({one.clients for one in listed}))


def normalize(sketch: bytes) -> bytes:
    """Return a stored sketch in canonical form. One that is not valid stays as it is, and equals no other."""
    try:
        return hll.canonicalize(sketch)
    except InvalidSketch:
        return sketch


def _describe(identity: Identity, rows: int) -> dict[str, int | str]:
    return {
        "hash": identity.hash,
        "content": identity.content,
        "rows": rows,
        "source": identity.source,
        "period": "" if identity.period is None else str(identity.period),
        "days": " ".join(day.isoformat() for day in sorted(identity.days)),
    }


def _list_values(table: SumTable, sums: Sums | None) -> dict[str, int | str] | None:
    """Return the numbers of a row, the estimate of its sketch, and a checksum of the sketch."""
    if sums is None:
        return None
    try:
        hll.check(sums.clients)
        clients: int | str = hll.cardinality(sums.clients)
    except InvalidSketch:
        clients = "damaged"
    return dict(zip(table.counts, sums.counts, strict=True)) | {
        "clients": clients,
        "sketch": zlib.crc32(sums.clients),
    }
