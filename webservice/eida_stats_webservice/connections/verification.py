"""Compute again what the log states, and compare it with the tables.

Lists are compared while they are read, so memory does not grow with the log. All of them show the same state of the
database. What is archived is left out.
"""

import datetime
from collections.abc import Iterator
from pathlib import Path

from eida_stats_webservice.connections.differences import ConnectionDifference
from eida_stats_webservice.connections.session_verification import SessionVerification
from eida_stats_webservice.connections.sum_verification import SumVerification
from eida_stats_webservice.connections.tables import ConnectionTables
from eida_stats_webservice.database.base import Database


class ConnectionVerification:
    """Verifies the events, sessions and sums of all nodes."""

    def __init__(self, database: Database, tables: ConnectionTables) -> None:
        self._database = database
        self._tables = tables
        self._queries = database.load_queries(Path(__file__).parent, "verification")

    def verify(self) -> Iterator[ConnectionDifference]:
        """Yield each row that differs from what the log states."""
        now = datetime.datetime.now(tz=datetime.UTC)
        with self._database.snapshot() as connection:
            self._database.wait_without_limit(connection)
            parts = self._database, self._tables, self._queries, connection
            yield from SessionVerification(*parts, now).verify()
            yield from SumVerification(*parts).verify()
