"""All repositories of a database as one object, and marks for tests that need only one database."""

import pytest

from eida_stats_webservice.database import open_database
from eida_statsman.repositories import Repositories

# Without a mark, a test runs on both databases. This is for tests of other things than the database.
ON_ONE_STORE = pytest.mark.parametrize("store_uri", ["sqlite"], indirect=True)
# For locks and sessions, which SQLite does not have.
ON_POSTGRESQL = pytest.mark.parametrize("store_uri", ["postgresql"], indirect=True)


class Store(Repositories):
    """A database with all its repositories."""

    def ping(self) -> None:
        self.database.ping(
            self.registry.has_rights,
            self.payloads.has_rights,
            self.dataselect_sums.has_rights,
            self.ringserver_sums.has_rights,
        )

    def close(self) -> None:
        self.database.close()


def open_store(uri: str) -> Store:
    return Store(open_database(uri))
