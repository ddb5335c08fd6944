"""A central service, and the operator of a node with ringservers."""

import itertools
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.ring_operator import RingOperator
from support.service import Service, register_nodes

_numbers = itertools.count(1)


@pytest.fixture(scope="package")
def database(sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"sqlite:///{shutil.copy(sqlite_template, tmp_path_factory.mktemp('service'))}"


@pytest.fixture(scope="package")
def service(database: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with Service(database, tmp_path_factory.mktemp("log")) as running:
        yield running


@pytest.fixture
def operator(service: Service, database: str, tmp_path: Path) -> RingOperator:
    """Return the operator of a node that has sent nothing."""
    node = f"N{next(_numbers)}"
    (token,) = register_nodes(database, node)
    return RingOperator(tmp_path / "node", service.url, token, node)
