"""Load the lines of a crawl into a temporary table."""

import json
from collections.abc import Iterable, Sequence
from typing import Any

from eida_stats_webservice.archive.crawl_lines import CrawlReader, StagedLine
from eida_stats_webservice.archive.path_lines import FoundPath, LineRange
from eida_stats_webservice.database.base import Database


def stage_crawl(
    database: Database,
    queries: Any,
    connection: Any,
    crawl: CrawlReader,
    ranges: Sequence[LineRange] | None = None,
) -> None:
    """Load a crawl, or some ranges of its lines. Nothing is kept in memory.

    Raises:
        InvalidCrawl: if the file is damaged or cut off.
        TooManyBadLines: if more than one line of a hundred was refused.
    """
    lines = crawl.read(ranges)
    database.load_rows(connection, queries.stage_line, lines, to_line=_format_line, to_parameters=_to_parameters)


def stage_paths(database: Database, queries: Any, connection: Any, crawl: CrawlReader) -> None:
    """Load the paths of a complete crawl, with the digests of their lines.

    Raises:
        InvalidCrawl: if the file is damaged or cut off.
    """
    database.load_rows(
        connection,
        queries.stage_path,
        crawl.find_paths(),
        to_line=_format_path,
        to_parameters=FoundPath._asdict,
    )


def join_ranges(ranges: Iterable[LineRange]) -> list[LineRange]:
    """Return sorted ranges of lines, with one instead of several that follow each other."""
    joined: list[LineRange] = []
    for first, last in ranges:
        if joined and first == joined[-1][1] + 1:
            joined[-1] = (joined[-1][0], last)
        else:
            joined.append((first, last))
    return joined


def _format_line(line: StagedLine) -> str:
    """Return a line for COPY."""
    path = r"\N" if line.path is None else _escape(line.path)
    parents = r"\N" if line.parents is None else f"{{{','.join(line.parents)}}}"
    md_type = r"\N" if line.md_type is None else _escape(line.md_type)
    metadata = r"\N" if line.json is None else line.json.replace("\\", "\\\\")
    return f"{line.number}\t{line.hash}\t{path}\t{parents}\t{md_type}\t{metadata}\t{line.digest}\n"


def _format_path(path: FoundPath) -> str:
    return f"{path.hash}\t{path.digest}\t{path.first}\t{path.last}\n"


def _to_parameters(line: StagedLine) -> dict[str, Any]:
    parents = None if line.parents is None else json.dumps(line.parents)
    return {**line._asdict(), "parents": parents}


_ESCAPES = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"})


def _escape(text: str) -> str:
    return text.translate(_ESCAPES) if not text.isprintable() or "\\" in text else text
