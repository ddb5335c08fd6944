"""A database for all tests of a module, which are many and small. It is emptied for each test."""

import shutil
from collections.abc import Iterator
from contextlib import closing

import pytest

from support.live_connections import LiveConnections
from support.postgresql import Cluster
from support.stores import open_store


@pytest.fixture(scope="module", params=["postgresql", "sqlite"])
def _live(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveConnections]:
    if request.param == "postgresql":
        cluster: Cluster = request.getfixturevalue("postgresql")
        uri = cluster.create_database(request.module.__name__, request.getfixturevalue("template"))
    else:
        copied = shutil.copy(request.getfixturevalue("sqlite_template"), tmp_path_factory.mktemp("live"))
        uri = f"sqlite:///{copied}"
    with closing(open_store(uri)) as store:
        yield LiveConnections(store)


@pytest.fixture
def live(_live: LiveConnections) -> LiveConnections:
    """Return empty tables of live connections, on both databases."""
    _live.empty()
    return _live
