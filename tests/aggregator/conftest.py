"""A central service, and a node for each test."""

import itertools
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from support.service import Service, register_nodes

_numbers = itertools.count(1)


class Account(NamedTuple):
    """A node that has sent nothing: the URL of its service, its token and its name."""

    url: str
    token: str
    node: str


@pytest.fixture(scope="session")
def database(sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"sqlite:///{shutil.copy(sqlite_template, tmp_path_factory.mktemp('service'))}"


@pytest.fixture(scope="session")
def service(database: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with Service(database, tmp_path_factory.mktemp("log")) as running:
        yield running


@pytest.fixture
def account(service: Service, database: str) -> Account:
    node = f"N{next(_numbers)}"
    (token,) = register_nodes(database, node)
    return Account(service.url, token, node)
