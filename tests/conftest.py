"""Fixtures: one private PostgreSQL cluster per session, one migrated template, and a clone of it for each test."""

import itertools
import shutil
import signal
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg2
import pytest
import yoyo
from flask.testing import FlaskClient
from hypothesis import settings
from psycopg2.extensions import connection as Connection  # noqa: N812 -- psycopg2 names its class in lower case

from eida_stats_webservice.app import create_app
from eida_stats_webservice.config import Config
from eida_stats_webservice.database import migrations
from support import issued
from support.disks import mount_small_disk
from support.paths import ROOT
from support.postgresql import Cluster
from support.roles import grant_service
from support.stores import Store, open_store

MIGRATIONS = ROOT / "migrations"

_numbers = itertools.count(1)

issued.watch_all()

# No test measures the time of an example: a busy machine may be slow.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")

# A shell starts background commands with Ctrl-C ignored, and every command inherits that.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def check_no_secret_leaks(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Check that neither this process nor our commands printed a secret; `Service` checks its own log."""
    yield
    logged = [*caplog.get_records("setup"), *caplog.get_records("call")]
    assert issued.find_secrets("\n".join(map(caplog.handler.format, logged))) == []
    assert issued.take_leaks() == []


@pytest.fixture(scope="session")
def postgresql() -> Iterator[Cluster]:
    with Cluster() as cluster:
        yield cluster


@pytest.fixture(scope="session")
def template(postgresql: Cluster) -> str:
    """Create a database that has the schema and no rows. Nobody may stay connected to it, or cloning fails."""
    name = "template_migrated"
    backend = yoyo.get_backend(postgresql.create_database(name))
    with closing(backend.connection), backend.lock():
        backend.apply_migrations(backend.to_apply(yoyo.read_migrations(str(MIGRATIONS))))
    return name


@pytest.fixture
def database_uri(postgresql: Cluster, template: str) -> Iterator[str]:
    name = f"test_{next(_numbers)}"
    yield postgresql.create_database(name, template)
    postgresql.drop_database(name)


@pytest.fixture(scope="session")
def hll_database(postgresql: Cluster) -> Iterator[Connection]:
    with closing(psycopg2.connect(postgresql.create_database("hll"))) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute("CREATE EXTENSION hll")
        yield connection


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Create an embedded store that has the schema and no rows."""
    made = tmp_path_factory.mktemp("template") / "statistics.db"
    migrations.apply(f"sqlite:///{made}")
    return made


@pytest.fixture
def sqlite_uri(sqlite_template: Path, tmp_path: Path) -> str:
    """Return the URI of a migrated, empty embedded store."""
    return f"sqlite:///{shutil.copy(sqlite_template, tmp_path)}"


@pytest.fixture(params=["postgresql", "sqlite"])
def store_uri(request: pytest.FixtureRequest) -> str:
    """Return the URI of a migrated, empty database. Tests of the store run on both."""
    return str(request.getfixturevalue("database_uri" if request.param == "postgresql" else "sqlite_uri"))


@pytest.fixture
def service_uri(store_uri: str) -> str:
    """Return the URI of the same database for the service. Its administrator uses `store_uri`."""
    return grant_service(store_uri)


@pytest.fixture
def small_disk() -> Iterator[Path]:
    """Mount a file system that holds an empty database and little more."""
    with mount_small_disk(megabytes=16) as place:
        yield place


@pytest.fixture
def store(store_uri: str) -> Iterator[Store]:
    opened = open_store(store_uri)
    yield opened
    opened.close()


@pytest.fixture
def service_settings() -> dict[str, Any]:
    """Return the settings of the service, without its database. Tests override this fixture."""
    return {}


@pytest.fixture
def client(service_uri: str, service_settings: dict[str, Any]) -> FlaskClient:
    """Return a client of the service in this process."""
    return create_app(Config(service_uri, **service_settings)).test_client()


@pytest.fixture
def postgresql_database(postgresql: Cluster) -> Iterator[str]:
    """Return the URI of an empty database."""
    name = f"test_{next(_numbers)}"
    yield postgresql.create_database(name)
    postgresql.drop_database(name)
