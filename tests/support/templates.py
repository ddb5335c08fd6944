"""Databases with statistics, which are filled once for the tests of a module. Each test has a copy of its own."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from support.postgresql import Cluster
from support.stores import Store, open_store

_NAME = "template_filled"


@contextmanager
def fill_postgresql(cluster: Cluster, template: str, fill: Callable[[Store], object]) -> Iterator[str]:
    """Yield the name of a filled copy of a database, for tests that override the fixture `template`."""
    with closing(open_store(cluster.create_database(_NAME, template))) as store:
        fill(store)
    yield _NAME
    cluster.drop_database(_NAME)


def fill_sqlite(template: Path, directory: Path, fill: Callable[[Store], object]) -> Path:
    """Return a filled copy of an embedded store, for tests that override the fixture `sqlite_template`."""
    copied = Path(shutil.copy(template, directory))
    with closing(open_store(f"sqlite:///{copied}")) as store:
        fill(store)
    return copied
