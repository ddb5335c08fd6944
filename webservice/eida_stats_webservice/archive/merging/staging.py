"""Load the lines of a crawl into temporary tables."""

import json
import tempfile
from collections.abc import Iterator
from typing import IO, Any

from eida_stats_webservice.archive.crawl_lines import CrawlReader, StagedLine, StagedSpan
from eida_stats_webservice.database.base import Database

_MEMORY_BYTES = 1 << 25


def stage_crawl(database: Database, queries: Any, connection: Any, crawl: CrawlReader) -> None:
    """Load a crawl. Nothing is kept in memory.

    Raises:
        InvalidCrawl: if the file is damaged or cut off.
        TooManyBadLines: if more than one line of a hundred was refused.
    """
    # A connection loads one table at a time, so the segments wait in a file.
    with tempfile.SpooledTemporaryFile(_MEMORY_BYTES, "w+", encoding="utf-8", newline="\n") as spans:

        def add_span(span: StagedSpan) -> None:
            spans.write("\t".join(map(str, span)) + "\n")

        database.load_rows(
            connection,
            queries.stage_line,
            crawl.read(add_span),
            to_line=_format_line,
            to_parameters=_to_parameters,
        )
        spans.seek(0)
        database.load_rows(
            connection, queries.stage_span, _read_spans(spans), to_line=str, to_parameters=_parse_span
        )


def _read_spans(file: IO[str]) -> Iterator[str]:
    yield from file


def _parse_span(line: str) -> dict[str, Any]:
    return dict(zip(StagedSpan._fields, line[:-1].split("\t"), strict=True))


def _format_line(line: StagedLine) -> str:
    """Return a line for COPY."""
    path = r"\N" if line.path is None else _escape(line.path)
    parents = r"\N" if line.parents is None else f"{{{','.join(line.parents)}}}"
    md_type = r"\N" if line.md_type is None else _escape(line.md_type)
    metadata = r"\N" if line.json is None else line.json.replace("\\", "\\\\")
    return f"{line.number}\t{line.hash}\t{path}\t{parents}\t{md_type}\t{metadata}\n"


def _to_parameters(line: StagedLine) -> dict[str, Any]:
    parents = None if line.parents is None else json.dumps(line.parents)
    return {**line._asdict(), "parents": parents}


_ESCAPES = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"})


def _escape(text: str) -> str:
    return text.translate(_ESCAPES) if not text.isprintable() or "\\" in text else text
