"""The crawls that nodes have sent: stored until they are ingested."""

import datetime
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import IO, Any

import msgspec

from eida_statistics.archive.crawl_ends import CrawlEnds
from eida_statistics.archive.paths import overlap
from eida_stats_webservice.archive.crawl_checks import check_root, check_start
from eida_stats_webservice.archive.errors import OlderCrawl
from eida_stats_webservice.archive.models import Shard
from eida_stats_webservice.database.base import Database, format_moment, parse_time, select_rows, to_records

_PIECE_BYTES = 1 << 20


class ReceivedCrawl(msgspec.Struct, frozen=True):
    """A crawl that was received.

    Attributes:
        id: its number.
        code: the code of its shard.
        sha256: the hash of its file.
        size: the size of its file, in bytes.
        started: when the node began it.
        finished: when the node ended it.
        received: when it was received.
        ingested: when it was ingested; None if it waits or was refused.
        refused: why it was not ingested.
    """

    id: int
    code: str
    sha256: str
    size: int
    started: datetime.datetime
    finished: datetime.datetime
    received: datetime.datetime
    ingested: datetime.datetime | None = None
    refused: str | None = None


class CrawlRepository:
    """Stores the files of crawls. A method is one transaction, unless it takes a connection."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._queries = database.load_queries(Path(__file__).parent, "crawls")

    def has_rights(self, connection: Any) -> bool:
        """Return whether the role of the connection has the rights of the service."""
        return bool(self._queries.has_rights(connection))

    def store(
        self, shard: Shard, file: IO[bytes], sha256: str, size: int, ends: CrawlEnds
    ) -> tuple[ReceivedCrawl, bool]:
        """Store the file of a crawl. Return its record, and whether it is new.

        Raises:
            InvalidCrawl: if its paths are not those of the shard.
            OlderCrawl: if it began before the last crawl that was received or ingested.
        """
        check_root(ends.root, shard.path)
        check_start(ends.started)
        with self._database.transaction(write=True) as connection:
            self._queries.lock_crawls(connection, code=shard.code)
            if known := self._find(connection, shard.code, sha256):
                return known, False
            self._check_is_newest(connection, shard, ends)
            added = select_rows(
                connection,
                self._queries.add_crawl,
                code=shard.code,
                sha256=sha256,
                size=size,
                root=ends.root,
                started=format_moment(ends.started),
                finished=format_moment(ends.finished),
            )
            (crawl,) = to_records(ReceivedCrawl, added)
            file.seek(0)
            for piece in count():
                if not (content := file.read(_PIECE_BYTES)):
                    break
                self._queries.add_piece(connection, crawl_id=crawl.id, piece=piece, content=content)
            return crawl, True

    def list_waiting(self, code: str | None, *, also_refused: bool) -> list[ReceivedCrawl]:
        """Return the crawls that wait, of one shard or of all, in the order in which they are to be ingested."""
        with self._database.transaction() as connection:
            rows = select_rows(connection, self._queries.list_waiting, code=code, also_refused=also_refused)
            return to_records(ReceivedCrawl, rows)

    @contextmanager
    def open_file(self, connection: Any, crawl: ReceivedCrawl) -> Iterator[Path | None]:
        """Yield the path of a temporary file with the content of a crawl; None if it waits no longer."""
        with tempfile.NamedTemporaryFile(prefix=f"{crawl.code}-", suffix=".tsv.gz") as file:
            for piece in count():
                content = self._queries.read_piece(connection, crawl_id=crawl.id, piece=piece)
                if content is None:
                    break
                file.write(content)
            file.flush()
            yield Path(file.name) if file.tell() else None

    def mark_ingested(self, connection: Any, crawl: ReceivedCrawl) -> None:
        """Record that a crawl was ingested, and delete its file."""
        now = format_moment(datetime.datetime.now(tz=datetime.UTC))
        self._queries.mark_ingested(connection, crawl_id=crawl.id, now=now)
        self._queries.delete_pieces(connection, crawl_id=crawl.id)

    def mark_refused(self, crawl: ReceivedCrawl, reason: str) -> None:
        """Record why a crawl was not ingested. Its file stays until there is a later one."""
        with self._database.transaction(write=True) as connection:
            self._queries.mark_refused(connection, crawl_id=crawl.id, reason=reason)

    def delete_old_files(self) -> None:
        """Delete the files of refused crawls of which there are later ones."""
        with self._database.transaction(write=True) as connection:
            self._queries.delete_old_pieces(connection)

    def _find(self, connection: Any, code: str, sha256: str) -> ReceivedCrawl | None:
        found = to_records(
            ReceivedCrawl, select_rows(connection, self._queries.find_crawl, code=code, sha256=sha256)
        )
        return found[0] if found else None

    def _check_is_newest(self, connection: Any, shard: Shard, ends: CrawlEnds) -> None:
        starts = [
            parse_time(started)
            for root, started in self._queries.list_starts(connection, code=shard.code)
            if (ends.root == shard.path if root is None else overlap(root, ends.root))
        ]
        if starts and ends.started < (last := max(starts)):
            raise OlderCrawl(ends.started, last)
