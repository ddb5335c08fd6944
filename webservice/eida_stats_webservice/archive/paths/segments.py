"""The files with segments, as GSKY describes the layers of files."""

from collections.abc import Iterable, Iterator
from itertools import groupby, islice

from eida_stats_webservice.archive.models import Stream
from eida_stats_webservice.archive.paths.geometry import DEGREES, Point
from eida_stats_webservice.archive.paths.parameters import PathQuery
from eida_stats_webservice.archive.paths.repository import Places, Span
from eida_stats_webservice.archive.paths.stamps import format_stamp

_Key = tuple[str, Stream, str, float, Point | None]


def find_segments(spans: Iterable[Span], places: Places, query: PathQuery) -> Iterator[dict[str, object]]:
    """Yield a document for each stream and place of each file.

    Args:
        spans: the segments, file by file, and sorted by stream in each file.
        places: where the streams are; with a geometry, only those in it.
        query: the geometry, and the maximum number of files.
    """
    placed = ((span, places.find(span.stream, span.start)) for span in spans)
    if query.has_place:
        placed = ((span, place) for span, place in placed if place is not None)
    files = groupby(placed, key=lambda found: found[0].path)
    for _, found in islice(files, query.limit):
        for key, segments in groupby(found, key=_get_key):
            yield _describe(key, [span for span, _ in segments])


def _get_key(found: tuple[Span, Point | None]) -> _Key:
    span, place = found
    return span.path, span.stream, span.quality, span.rate, place


def _describe(key: _Key, spans: list[Span]) -> dict[str, object]:
    path, stream, quality, rate, place = key
    return {
        "file_path": path,
        "namespace": stream.channel,
        **stream._asdict(),
        "quality": quality,
        "rate": rate,
        "bytes": sum(span.size for span in spans),
        "srs": None if place is None else DEGREES,
        "polygon": None if place is None else f"POINT ({place[0]} {place[1]})",
        "timestamps": [format_stamp(time) for span in spans for time in (span.start, span.end)],
    }
