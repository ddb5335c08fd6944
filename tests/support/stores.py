"""All repositories of a database as one object, and marks for tests that need only one database."""

from functools import cached_property

import pytest

from eida_stats_webservice.database import Database, open_database
from eida_stats_webservice.query.repository import StatisticsRepository
from eida_statsman.repositories import Repositories

# Without a mark, a test runs on both databases. This is for tests of other things than the database.
ON_ONE_STORE = pytest.mark.parametrize("store_uri", ["sqlite"], indirect=True)
# For locks and sessions, which SQLite does not have.
ON_POSTGRESQL = pytest.mark.parametrize("store_uri", ["postgresql"], indirect=True)


class Store(Repositories):
    """A database with all its repositories."""

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self.database = database

    @cached_property
    def statistics(self) -> StatisticsRepository:
        return StatisticsRepository(self.database)

    def ping(self) -> None:
        self.database.ping(self.registry.has_rights, self.payloads.has_rights)

    def close(self) -> None:
        self.database.close()


def open_store(uri: str) -> Store:
    return Store(open_database(uri))
