"""A PostgreSQL for each of these tests, since they end it, fill it and lock it; and the figures that they take."""

from collections.abc import Callable, Iterator
from functools import partial

import pytest

from eida_stats_webservice.database import migrations
from support.postgresql import Cluster

_FIGURE = "figure"


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


@pytest.fixture
def tell(record_property: Callable[[str, object], None]) -> Callable[[str], None]:
    """Take a figure that the run is to show at its end."""
    return partial(record_property, _FIGURE)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Show them, in whichever process they were taken."""
    told = [
        value
        for report in terminalreporter.getreports("passed")
        for name, value in report.user_properties
        if name == _FIGURE
    ]
    if told:
        terminalreporter.section("figures")
    for figure in told:
        terminalreporter.line(str(figure))
