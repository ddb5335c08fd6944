"""Write rows as text, GeoCSV 2.0, JSON, or the body of a request, some rows at a time.

The columns are those of the services of EIDA and RESIF.
"""

import datetime
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import groupby, islice
from operator import attrgetter, itemgetter
from typing import NamedTuple

import msgspec

from eida_stats_webservice.archive.availability.models import (
    EMPTY,
    AvailabilityQuery,
    Channel,
    Span,
    format_time,
)

JSON_VERSION = 1.0
_ROWS_AT_ONCE = 2000
_TIME_WIDTH = 27
# Channel, quality and rate.
_STREAM_FIELDS = 3


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


def format_restriction(span: Span) -> str:
    """Return whether a row is of a restricted network."""
    return "RESTRICTED" if span.is_restricted else "OPEN"


def list_stream_columns(query: AvailabilityQuery) -> list[Column]:
    """Return the columns that neighbouring rows have in common, except those of differences that are merged."""
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
    return columns


def list_time_columns(query: AvailabilityQuery) -> list[Column]:
    """Return the other columns."""
    columns = [
        Column("Earliest", attrgetter("start"), _TIME_WIDTH, "ISO_8601", "datetime"),
        Column("Latest", attrgetter("end"), _TIME_WIDTH, "ISO_8601", "datetime"),
    ]
    if query.show_updated:
        columns.append(Column("Updated", lambda span: span.updated or EMPTY, _TIME_WIDTH, "ISO_8601", "datetime"))
    if query.is_extent:
        columns.append(Column("TimeSpans", lambda span: str(span.spans), 9, type="integer"))
        columns.append(Column("Restriction", format_restriction, 11))
    return columns


def _write_text(rows: Iterable[Span], query: AvailabilityQuery, _members: Mapping[str, object]) -> Iterator[str]:
    # Lines are padded to widths that do not depend on the rows, which are not all known yet.
    stream, times = (
        [column._replace(write=_pad(column)) for column in columns]
        for columns in (list_stream_columns(query), list_time_columns(query))
    )
    names = [f"{'#' if number == 0 else ''}{column.name}" for number, column in enumerate([*stream, *times])]
    widths = [column.width for column in [*stream, *times]]
    yield " ".join(name.ljust(width) for name, width in zip(names, widths, strict=True)).rstrip() + "\n"
    yield from _write_lines(rows, stream, times, " ")


def _write_geocsv(rows: Iterable[Span], query: AvailabilityQuery, _members: Mapping[str, object]) -> Iterator[str]:
    stream, times = list_stream_columns(query), list_time_columns(query)
    columns = [*stream, *times]
    yield (
        "#dataset: GeoCSV 2.0\n#delimiter: |\n"
        f"#field_unit: {'|'.join(column.unit for column in columns)}\n"
        f"#field_type: {'|'.join(column.type for column in columns)}\n"
        f"{'|'.join(column.name for column in columns)}\n"
    )
    yield from _write_lines(rows, stream, times, "|")


def _write_request(rows: Iterable[Span], query: AvailabilityQuery, _members: Mapping[str, object]) -> Iterator[str]:
    """Write lines that dataselect takes."""
    yield from _write_lines(rows, list_stream_columns(query)[:4], list_time_columns(query)[:2], " ")


def _pad(column: Column) -> Callable[[Span], str]:
    write, width = column.write, column.width
    return write if width == _TIME_WIDTH else lambda span: write(span).ljust(width)


def _write_lines(
    rows: Iterable[Span], stream: Sequence[Column], times: Sequence[Column], separator: str
) -> Iterator[str]:
    """Write a line for each row. The columns of the stream are written once for neighbouring rows."""
    of_stream, of_times = [column.write for column in stream], [column.write for column in times]
    key, beginning = None, ""
    for some in _batch(rows):
        lines = []
        for row in some:
            if row[:_STREAM_FIELDS] != key:
                key = row[:_STREAM_FIELDS]
                beginning = separator.join([write(row) for write in of_stream])
            lines.append(separator.join([beginning, *[write(row) for write in of_times]]))
        lines.append("")
        yield "\n".join(lines)


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
                "earliest": row.start,
                "latest": row.end,
                "timespanCount": row.spans,
                "updated": row.updated,
                "restriction": format_restriction(row),
            }
        )


def _list_sources(rows: Iterable[Span], query: AvailabilityQuery) -> Iterator[str]:
    """Yield an object for neighbouring rows of one channel, quality and rate."""
    for (channel, quality, rate), some in groupby(rows, key=itemgetter(slice(_STREAM_FIELDS))):
        spans = list(some)
        source = _describe(channel, quality, rate, query)
        if query.show_updated:
            source["updated"] = max((span.updated for span in spans if span.updated is not None), default=None)
        source["timespans"] = [(span.start, span.end) for span in spans]
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


def _batch(rows: Iterable[Span] | Iterable[str]) -> Iterator[list]:  # type: ignore[type-arg] # of its argument
    remaining = iter(rows)
    while some := list(islice(remaining, _ROWS_AT_ONCE)):
        yield some


WRITTEN = {
    "text": Format("text/plain; charset=utf-8", _write_text),
    "geocsv": Format("text/csv; charset=utf-8", _write_geocsv),
    "json": Format("application/json", _write_json),
    "request": Format("text/plain; charset=utf-8", _write_request),
}
