"""A PostgreSQL for each test, since these stop, fill and lock it; and a summary of measured figures."""

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
    """Create a database that has the schema and no rows."""
    made = cluster.create_database("statistics")
    migrations.apply(made)
    return made


@pytest.fixture
def record_figure(record_property: Callable[[str, object], None]) -> Callable[[str], None]:
    """Return a function that records a figure for the summary of the run."""
    return partial(record_property, _FIGURE)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Start long tests first, so that no process waits for another one at the end."""
    items.sort(key=lambda item: item.get_closest_marker("long") is None)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the figures, whichever process recorded them."""
    figures = [
        value
        for report in terminalreporter.getreports("passed")
        for name, value in report.user_properties
        if name == _FIGURE
    ]
    if figures:
        terminalreporter.section("figures")
    for figure in figures:
        terminalreporter.line(str(figure))
