"""A PostgreSQL for each of these tests: they end it, fill it and lock it."""

from collections.abc import Iterator

import pytest

from eida_stats_webservice.store import migrations
from postgresql import Cluster


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    with Cluster() as running:
        yield running


@pytest.fixture
def uri(cluster: Cluster) -> str:
    """Name a database that has the schema and no rows."""
    made = cluster.create_database("statistics")
    migrations.apply(made)
    return made
