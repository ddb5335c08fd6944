"""Write the timeline of streams whose segments have changed."""

import datetime
from collections.abc import Iterator
from itertools import islice
from typing import Any

from eida_stats_webservice.archive.models import Stream
from eida_stats_webservice.archive.timeline import StreamKey, StreamSegment, StreamSpan, join_segments
from eida_stats_webservice.archive.times import from_microseconds, to_microseconds
from eida_stats_webservice.database.base import Database, format_moment

_ROWS_AT_ONCE = 50_000


class TimelineUpdate:
    """Joins segments again. Memory holds some rows at a time."""

    def __init__(self, database: Database, queries: Any) -> None:
        self._database = database
        self._queries = queries

    def create(self, connection: Any, code: str) -> None:
        """Write the timeline of all streams, of which there is none yet."""
        self._load(connection, code, self._queries.list_stored_segments, self._queries.load_timeline)

    def update(self, connection: Any, code: str) -> list[Stream]:
        """Write the timeline of the streams in the table `streams`, and return them."""
        self._load(connection, code, self._queries.list_segments, self._queries.stage_timeline)
        self._database.run_all(connection, self._queries.merge_timeline, {"code": code})
        return [Stream(*row) for row in self._queries.list_streams(connection)]

    def _load(self, connection: Any, code: str, segments: Any, load: Any) -> None:
        """Join the segments that a query returns, and load the spans into a table."""
        spans = join_segments(self.read_segments(connection, segments, code))
        # Rows are read and written in turn: the driver cannot do both at once.
        while some := list(islice(spans, _ROWS_AT_ONCE)):
            self._database.load_rows(
                connection,
                load,
                some,
                to_line=format_line,
                to_parameters=lambda span: {**to_columns(span), "code": code},
            )

    def read_segments(self, connection: Any, query: Any, code: str) -> Iterator[StreamSegment]:
        """Yield the segments that a query returns."""
        rows = self._database.stream(connection, query.sql, {"code": code})
        key = StreamKey("", "", "", "", "", 0)
        for *columns, start, end, updated in rows:
            if (*columns,) != key:
                key = StreamKey(*columns)
            yield StreamSegment(key, *convert_times(start, end, updated))

    def read_timeline(self, connection: Any, code: str) -> Iterator[StreamSpan]:
        """Yield the rows of the timeline, sorted by their keys."""
        rows = self._database.stream(connection, self._queries.list_timeline.sql, {"code": code})
        for *columns, start, end, updated, spans in rows:
            yield StreamSpan(StreamKey(*columns), *convert_times(start, end, updated), spans)


def convert_times(start: Any, end: Any, updated: Any) -> tuple[int, int, int | None]:
    """Return times in microseconds since 1970. PostgreSQL has converted them."""
    if isinstance(start, int):
        return start, end, updated
    return _to_number(start), _to_number(end), None if updated is None else _to_number(updated)


def _to_number(time: str) -> int:
    return to_microseconds(datetime.datetime.fromisoformat(time))


def to_columns(span: StreamSpan) -> dict[str, Any]:
    """Return the columns of a row of the timeline, with times in the form of the database."""
    return {
        **span.key._asdict(),
        "start": format_moment(from_microseconds(span.start)),
        "end": format_moment(from_microseconds(span.end)),
        "updated": None if span.updated is None else format_moment(from_microseconds(span.updated)),
        "spans": span.spans,
    }


def format_line(span: StreamSpan) -> str:
    """Return a row of the timeline as a line for COPY."""
    # No code has a character that needs an escape.
    return "\t".join(r"\N" if value is None else str(value) for value in to_columns(span).values()) + "\n"
