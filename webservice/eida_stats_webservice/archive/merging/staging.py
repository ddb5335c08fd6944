"""Load the lines of a crawl into a temporary table."""

import json
from typing import Any

from eida_stats_webservice.archive.crawl_lines import CrawlReader, StagedLine
from eida_stats_webservice.database.base import Database


def stage_crawl(database: Database, queries: Any, connection: Any, crawl: CrawlReader) -> None:
    """Load a crawl. Nothing is kept in memory.

    Raises:
        InvalidCrawl: if the file is damaged or cut off.
        TooManyBadLines: if more than one line of a hundred was refused.
    """
    database.load_rows(
        connection, queries.stage_line, crawl.read(), to_line=_format_line, to_parameters=_to_parameters
    )


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
