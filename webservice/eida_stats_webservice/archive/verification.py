"""Compare the tables of shards with the metadata, from which they follow.

All of them show the same state of the database. Memory grows with the number of differences only.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

import msgspec

from eida_statistics.archive.paths import hash_parents, hash_path
from eida_stats_webservice.archive.merging.timelines import TimelineUpdate, to_columns
from eida_stats_webservice.archive.models import Shard
from eida_stats_webservice.archive.shards import ShardRepository
from eida_stats_webservice.archive.storage import VIEWS
from eida_stats_webservice.archive.timeline import StreamKey, StreamSpan, join_segments
from eida_stats_webservice.database.base import Database

_SUMS = ("di_count", "di_size")


class CatalogueDifference(msgspec.Struct):
    """A row that does not follow from the metadata.

    Attributes:
        shard: the code of the shard.
        table: the table.
        row: the path, or the stream.
        stored: what the table has; None if it lacks the row.
        expected: what it should have; None if it should not have the row.
    """

    shard: str
    table: str
    row: str
    stored: str | None
    expected: str | None

    def __str__(self) -> str:
        stored = "missing" if self.stored is None else self.stored
        expected = "no row" if self.expected is None else self.expected
        return f"{self.shard} {self.table} {self.row}: {stored}; expected: {expected}"


class CatalogueVerification:
    """Verifies shards."""

    def __init__(self, database: Database, shards: ShardRepository) -> None:
        self._database = database
        self._shards = shards
        self._queries = database.load_queries(Path(__file__).parent / "merging")
        self._timeline = TimelineUpdate(database, self._queries)

    def verify(self, code: str | None = None) -> Iterator[CatalogueDifference]:
        """Yield each row that differs, of one shard, or of all in this database.

        Raises:
            UnknownShard: if there is no such shard.
        """
        with self._database.snapshot() as connection:
            self._database.wait_without_limit(connection)
            shards = self._shards.list_all(connection) if code is None else [self._shards.get(connection, code)]
            for shard in shards:
                if shard.foreign_server is None:
                    with self._shards.storage.enter(connection, shard.code):
                        yield from self._verify(connection, shard)

    def _verify(self, connection: Any, shard: Shard) -> Iterator[CatalogueDifference]:
        yield from self._compare_paths(connection, shard)
        for table in ("files", "links", "directories", "spans"):
            yield from self._compare_derived(connection, shard, table)
        yield from self._compare_timeline(connection, shard)

    def _compare_paths(self, connection: Any, shard: Shard) -> Iterator[CatalogueDifference]:
        for found, path, parents, stored, expected in self._stream(connection, shard, self._queries.list_paths.sql):
            differences = {
                "pa_hash": (found, hash_path(path)),
                "pa_parents": (_parse_parents(parents), hash_parents(path)),
                "pa_type": (stored, expected),
            }
            for column, (has, should) in differences.items():
                if has != should:
                    yield CatalogueDifference(shard.code, "paths", path, f"{column} {has}", f"{column} {should}")
        for found, md_type in self._stream(connection, shard, self._queries.list_orphans.sql):
            yield CatalogueDifference(shard.code, "metadata", found, f"type {md_type} without a path", None)

    def _compare_derived(self, connection: Any, shard: Shard, table: str) -> Iterator[CatalogueDifference]:
        columns = list(VIEWS[table])
        stored, expected = self._select(table, columns)
        found: dict[str, list[list[tuple[Any, ...]]]] = defaultdict(lambda: [[], []])
        for side, statement in enumerate((f"{stored} EXCEPT {expected}", f"{expected} EXCEPT {stored}")):
            for row in self._stream(connection, shard, statement):
                found[str(row[0])][side].append(row)
        for row_hash, sides in sorted(found.items()):
            path = self._find_path(connection, shard, row_hash)
            stored_text, expected_text = (
                "; ".join(_describe(columns, row, other) for row in rows) or None
                for rows, other in (sides, sides[::-1])
            )
            yield CatalogueDifference(shard.code, table, path, stored_text, expected_text)

    def _select(self, table: str, columns: list[str]) -> tuple[str, str]:
        """Return the statements for the rows of a table, and for those that it should have, with their numbers."""
        is_sqlite = self._database.dialect == "sqlite"
        within = " WHERE derived.sh_code = :code" if is_sqlite else ""
        names = ", ".join(columns)
        sums = ""
        if table == "directories":
            sums = " LEFT JOIN derived_sums AS sums ON hash = di_hash"
            sums += " AND sums.sh_code = derived.sh_code" if is_sqlite else ""
        selected = names.replace("di_count, di_size", "coalesce(count, 0), coalesce(size, 0)") if sums else names
        # All names are constants.
        return (
            f"SELECT {names}, count(*) FROM {table} AS derived{within} GROUP BY {names}",  # noqa: S608
            f"SELECT {selected}, count(*) FROM derived_{table} AS derived{sums}{within}"  # noqa: S608
            f" GROUP BY {selected if not sums else ', '.join(map(str, range(1, len(columns) + 1)))}",
        )

    def _compare_timeline(self, connection: Any, shard: Shard) -> Iterator[CatalogueDifference]:
        segments = self._timeline.read_segments(connection, self._queries.list_all_segments, shard.code)
        stored = _group(self._timeline.read_timeline(connection, shard.code))
        for key, has, should in _pair(stored, _group(join_segments(segments))):
            stream = ".".join(map(str, key))
            for span in sorted((has - should) | (should - has), key=str):
                texts = [_describe_spans(span, counts[span]) for counts in (has, should)]
                yield CatalogueDifference(shard.code, "timeline", stream, *texts)

    def _find_path(self, connection: Any, shard: Shard, row_hash: str) -> str:
        within = " AND sh_code = :code" if self._database.dialect == "sqlite" else ""
        statement = f"SELECT pa_path FROM paths WHERE pa_hash = :hash{within}"  # noqa: S608
        cursor = connection.cursor()
        cursor.execute(self._database.prepare(statement), {"hash": row_hash, "code": shard.code})
        found = cursor.fetchone()
        return str(found[0]) if found else row_hash

    def _stream(self, connection: Any, shard: Shard, statement: str) -> Iterator[tuple[Any, ...]]:
        return self._database.stream(connection, statement, {"code": shard.code})


_Spans = Counter[StreamSpan]


def _group(spans: Iterable[StreamSpan]) -> Iterator[tuple[StreamKey, _Spans]]:
    """Yield the spans of each stream, quality and rate. They may be in any order."""
    for key, some in groupby(spans, key=lambda span: span.key):
        yield key, Counter(some)


def _pair(
    stored: Iterator[tuple[StreamKey, _Spans]], expected: Iterator[tuple[StreamKey, _Spans]]
) -> Iterator[tuple[StreamKey, _Spans, _Spans]]:
    """Yield the spans of both sides that have the same key. Both are sorted."""
    has, should = next(stored, None), next(expected, None)
    while has is not None or should is not None:
        if should is None or (has is not None and has[0] < should[0]):
            assert has is not None  # noqa: S101 - for mypy
            yield *has, Counter()
            has = next(stored, None)
        elif has is None or should[0] < has[0]:
            yield should[0], Counter(), should[1]
            should = next(expected, None)
        else:
            yield has[0], has[1], should[1]
            has, should = next(stored, None), next(expected, None)


def _describe(columns: list[str], row: tuple[Any, ...], others: list[tuple[Any, ...]]) -> str:
    """Return the columns of a row that differ from the only one of the other side, else all of them."""
    *values, count = row
    named = dict(zip(columns, values, strict=True))
    if len(others) == 1:
        other = dict(zip(columns, others[0], strict=False))
        named = {name: value for name, value in named.items() if value != other[name]}
        if count != others[0][-1]:
            named["rows"] = count
    else:
        named = dict(list(named.items())[1:]) | ({"rows": count} if count > 1 else {})
    return ", ".join(f"{name} {value}" for name, value in named.items() if value is not None or others)


def _describe_spans(span: StreamSpan, count: int) -> str | None:
    """Return equal spans as a text with their number, if there are several; None if there is none."""
    if not count:
        return None
    columns = to_columns(span)
    text = f"{columns['start']} to {columns['end']}, updated {columns['updated']}, spans {span.spans}"
    return text if count == 1 else f"{text}, rows {count}"


def _parse_parents(parents: Any) -> tuple[str, ...]:
    return tuple(json.loads(parents) if isinstance(parents, str) else parents)
