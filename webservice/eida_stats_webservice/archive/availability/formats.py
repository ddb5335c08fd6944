"""Write rows as text, GeoCSV 2.0, JSON, or the body of a request, some rows at a time.

The columns are those of the services of EIDA and RESIF.
"""

import datetime
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import groupby, islice
from typing import NamedTuple

import msgspec

from eida_stats_webservice.archive.availability.models import EMPTY, AvailabilityQuery, Channel, Span

JSON_VERSION = 1.0
_ROWS_AT_ONCE = 2000


class Column(NamedTuple):
    """A column of text and GeoCSV: its name, width in text, and unit and type in GeoCSV."""

    name: str
    write: Callable[[Span], str]
    width: int
    unit: str = "unitless"
    type: str = "string"


class Format(NamedTuple):
    """A format of answers."""

    content_type: str
    write: Callable[[Iterable[Span], AvailabilityQuery, Mapping[str, object]], Iterator[str]]
    """Writes rows. It takes the rows, the request, and further members of a JSON document."""


def format_time(time: datetime.datetime) -> str:
    """Return a time in UTC with microseconds and Z."""
    return f"{time.isoformat(timespec='microseconds')[:26]}Z"


def format_restriction(span: Span) -> str:
    """Return whether a row is of a restricted network."""
    return "RESTRICTED" if span.is_restricted else "OPEN"


def list_columns(query: AvailabilityQuery) -> list[Column]:
    """Return the columns of an answer. What is merged has none."""
    columns = [
        Column("Network", lambda span: span.channel.network, 8),
        Column("Station", lambda span: span.channel.station, 8),
        Column("Location", lambda span: span.channel.location or EMPTY, 8),
        Column("Channel", lambda span: span.channel.channel, 8),
    ]
    if "quality" not in query.merge:
        columns.append(Column("Quality", lambda span: span.quality or EMPTY, 7))
    if "samplerate" not in query.merge:
        columns.append(Column("SampleRate", lambda span: str(span.rate), 10, "hertz", "float"))
    columns.append(Column("Earliest", lambda span: format_time(span.start), 27, "ISO_8601", "datetime"))
    columns.append(Column("Latest", lambda span: format_time(span.end), 27, "ISO_8601", "datetime"))
    if query.show_updated:
        columns.append(Column("Updated", _format_updated, 27, "ISO_8601", "datetime"))
    if query.is_extent:
        columns.append(Column("TimeSpans", lambda span: str(span.spans), 9, type="integer"))
        columns.append(Column("Restriction", format_restriction, 11))
    return columns


def _format_updated(span: Span) -> str:
    return EMPTY if span.updated is None else format_time(span.updated)


def _write_text(rows: Iterable[Span], query: AvailabilityQuery, _members: Mapping[str, object]) -> Iterator[str]:
    columns = list_columns(query)
    pads = [(column.write, column.width) for column in columns]
    # Lines are padded to widths that do not depend on the rows, which are not all known yet.
    names = [f"#{columns[0].name}", *(column.name for column in columns[1:])]
    header = " ".join(name.ljust(column.width) for name, column in zip(names, columns, strict=True))
    yield f"{header}\n"
    yield from _write_lines(rows, lambda row: " ".join([write(row).ljust(width) for write, width in pads]))


def _write_geocsv(rows: Iterable[Span], query: AvailabilityQuery, _members: Mapping[str, object]) -> Iterator[str]:
    columns = list_columns(query)
    yield (
        "#dataset: GeoCSV 2.0\n#delimiter: |\n"
        f"#field_unit: {'|'.join(column.unit for column in columns)}\n"
        f"#field_type: {'|'.join(column.type for column in columns)}\n"
        f"{'|'.join(column.name for column in columns)}\n"
    )
    writers = [column.write for column in columns]
    yield from _write_lines(rows, lambda row: "|".join([write(row) for write in writers]))


def _write_request(
    rows: Iterable[Span], _query: AvailabilityQuery, _members: Mapping[str, object]
) -> Iterator[str]:
    """Write lines that dataselect takes."""

    def write(row: Span) -> str:
        network, station, location, channel = row.channel
        return f"{network} {station} {location or EMPTY} {channel} {format_time(row.start)} {format_time(row.end)}"

    yield from _write_lines(rows, write)


def _write_lines(rows: Iterable[Span], write: Callable[[Span], str]) -> Iterator[str]:
    for some in _batch(rows):
        yield "\n".join([*map(write, some), ""])


def _write_json(rows: Iterable[Span], query: AvailabilityQuery, members: Mapping[str, object]) -> Iterator[str]:
    head = {
        "created": format_time(datetime.datetime.now(tz=datetime.UTC)),
        "version": JSON_VERSION,
        **members,
        "datasources": [],
    }
    text = _encode(head).removesuffix("]}")
    sources = _list_extents(rows, query) if query.is_extent else _list_sources(rows, query)
    for some in _batch(sources):
        yield text + ",".join(some)
        text = ","
    yield "]}\n" if text == "," else f"{text}]}}\n"


def _list_extents(rows: Iterable[Span], query: AvailabilityQuery) -> Iterator[str]:
    for row in rows:
        yield _encode(
            {
                **_describe(row.channel, row.quality, row.rate, query),
                "earliest": format_time(row.start),
                "latest": format_time(row.end),
                "timespanCount": row.spans,
                "updated": None if row.updated is None else format_time(row.updated),
                "restriction": format_restriction(row),
            }
        )


def _list_sources(rows: Iterable[Span], query: AvailabilityQuery) -> Iterator[str]:
    """Yield an object for neighbouring rows of one channel, quality and rate."""
    for key, some in groupby(rows, key=lambda row: (row.channel, row.quality, row.rate)):
        spans = list(some)
        source = _describe(*key, query)
        if query.show_updated:
            newest = max((span.updated for span in spans if span.updated is not None), default=None)
            source["updated"] = None if newest is None else format_time(newest)
        source["timespans"] = [(format_time(span.start), format_time(span.end)) for span in spans]
        yield _encode(source)


def _describe(channel: Channel, quality: str, rate: float, query: AvailabilityQuery) -> dict[str, object]:
    described: dict[str, object] = {**channel._asdict(), "location": channel.location or EMPTY}
    if "quality" not in query.merge:
        described["quality"] = quality
    if "samplerate" not in query.merge:
        described["samplerate"] = rate
    return described


def _encode(value: object) -> str:
    return msgspec.json.encode(value).decode()


def _batch(rows: Iterable[Span] | Iterable[str]) -> Iterator[list]:  # type: ignore[type-arg] # of what it is given
    remaining = iter(rows)
    while some := list(islice(remaining, _ROWS_AT_ONCE)):
        yield some


WRITTEN = {
    "text": Format("text/plain; charset=utf-8", _write_text),
    "geocsv": Format("text/csv; charset=utf-8", _write_geocsv),
    "json": Format("application/json", _write_json),
    "request": Format("text/plain; charset=utf-8", _write_request),
}
