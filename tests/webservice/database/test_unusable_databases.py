"""Databases that cannot be migrated or used: a sentence says why, and what to do."""

import re
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from eida_stats_webservice.app import create_app
from eida_stats_webservice.config import Config
from eida_stats_webservice.database import migrations
from support.postgresql import SUPERUSER, Cluster
from support.roles import SERVICE, as_service
from support.service import PREFIX
from support.statsman import Statsman
from support.stores import open_store


def named(uri: str) -> str:
    return urlsplit(uri).path.removeprefix("/")


@pytest.fixture
def run(postgresql: Cluster, postgresql_database: str) -> Callable[[str], str]:
    """Return what runs a script in the empty database."""
    return lambda script: postgresql.psql(named(postgresql_database), script)


MIGRATIONS_REFUSED = [
    ("CREATE SCHEMA theirs; CREATE EXTENSION hll SCHEMA theirs", r"schema of the hll extension(.|\n)*search_path"),
    ("CREATE TABLE nodes (id serial PRIMARY KEY, name text)", r'"nodes" already exists(.|\n)*import-upstream'),
    (
        "ALTER DATABASE {} SET default_transaction_read_only = on",
        r"can only be read(.|\n)*default_transaction_read",
    ),
    ("ALTER DATABASE {} SET search_path = ''", r"search_path names no schema(.|\n)*options=-c%20search_path%3D"),
    (
        "ALTER DATABASE {} SET search_path = nowhere",
        r"search_path names no schema(.|\n)*options=-c%20search_path%3D",
    ),
]


@pytest.mark.parametrize(("script", "sentence"), MIGRATIONS_REFUSED)
def test_migrate_says_why_it_cannot(
    run: Callable[[str], str], postgresql_database: str, script: str, sentence: str
) -> None:
    run(script.format(named(postgresql_database)))
    refused = Statsman(postgresql_database)("db", "migrate")
    assert refused.returncode == 1
    assert re.search(sentence, refused.stderr), refused.stderr
    assert "Traceback" not in refused.stderr


def test_role_that_may_not_create_tables_cannot_migrate(
    run: Callable[[str], str], postgresql_database: str
) -> None:
    run("CREATE ROLE visitor LOGIN")
    try:
        refused = Statsman(postgresql_database.replace(f"{SUPERUSER}@", "visitor@", 1))("db", "migrate")
    finally:
        run("DROP ROLE visitor")
    assert refused.returncode == 1
    assert "this role may not create tables in schema public" in refused.stderr
    assert "as the owner" in refused.stderr


def test_grant_covers_the_schemas(run: Callable[[str], str], postgresql_database: str) -> None:
    run("CREATE SCHEMA mine; CREATE SCHEMA theirs; CREATE EXTENSION hll SCHEMA theirs")
    run(f"ALTER DATABASE {named(postgresql_database)} SET search_path = mine, theirs")
    Statsman(postgresql_database).done("db", "migrate")
    service_uri = as_service(postgresql_database)
    assert health(service_uri)[0] == 200
    with closing(open_store(service_uri)) as store:
        assert store.payloads.list_payloads() == []


def test_hll_in_another_schema_of_the_search_path(run: Callable[[str], str], postgresql_database: str) -> None:
    run("CREATE SCHEMA theirs; CREATE EXTENSION hll SCHEMA theirs")
    run(f"ALTER DATABASE {named(postgresql_database)} SET search_path = public, theirs")
    Statsman(postgresql_database).done("db", "migrate")
    with closing(open_store(postgresql_database)) as store:
        store.ping()


@pytest.mark.parametrize("path", ["''", "nowhere"])
def test_a_wrong_search_path_is_named(database_uri: str, postgresql: Cluster, path: str) -> None:
    postgresql.psql(named(database_uri), f"ALTER DATABASE {named(database_uri)} SET search_path = {path}")
    refused = Statsman(database_uri)("nodes", "list")
    assert refused.returncode == 1
    assert "search_path" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_a_read_only_default_is_named_by_commands(database_uri: str, postgresql: Cluster) -> None:
    database = named(database_uri)
    postgresql.psql(database, f"ALTER DATABASE {database} SET default_transaction_read_only = on")
    refused = Statsman(database_uri)("nodes", "add", "GFZ", "--contact", "operator@node.example")
    assert refused.returncode == 1
    assert "default_transaction_read_only is on" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_a_character_that_the_encoding_lacks(postgresql: Cluster) -> None:
    postgresql.psql("postgres", "CREATE DATABASE latin TEMPLATE template0 ENCODING 'LATIN1' LOCALE 'C'")
    try:
        statsman = Statsman(postgresql.uri("latin"))
        statsman.done("db", "migrate")
        statsman.done("nodes", "add", "GFZ", "--contact", "Jürgen")
        assert "Jürgen" in statsman.done("nodes", "list")
        refused = statsman("nodes", "add", "NOA", "--contact", "Ελένη")
        assert refused.returncode == 1
        assert "ENCODING 'UTF8'" in refused.stderr
        assert "Traceback" not in refused.stderr
    finally:
        postgresql.drop_database("latin")


# Health


def health(uri: str) -> tuple[int, str]:
    answer = create_app(Config(uri)).test_client().get(f"{PREFIX}/_health")
    return answer.status_code, answer.text


def change(uri: str, statement: str) -> None:
    with closing(open_store(uri)) as store, store.database.transaction(write=True) as connection:
        connection.cursor().execute(statement)


def test_health_misses_a_migration(store_uri: str, service_uri: str) -> None:
    newest = max(migration.id for migration in migrations.list_migrations(store_uri))
    assert health(service_uri)[0] == 200
    change(store_uri, f"DELETE FROM _yoyo_migration WHERE migration_id = '{newest}'")
    status, text = health(service_uri)
    assert (status, "no up-to-date schema" in text) == (503, True)
    with closing(open_store(store_uri)) as store, pytest.raises(Exception, match=f"{newest}(.|\n)*db migrate"):
        store.ping()


def test_health_accepts_a_newer_schema(store_uri: str, service_uri: str) -> None:
    change(
        store_uri,
        "INSERT INTO _yoyo_migration (migration_hash, migration_id, applied_at_utc)"
        " VALUES ('0', '9999_of-a-later-version', '2026-11-01')",
    )
    assert health(service_uri)[0] == 200


def test_health_says_that_it_may_not_read_migrations(database_uri: str, caplog: pytest.LogCaptureFixture) -> None:
    service_uri = as_service(database_uri)
    change(database_uri, f"REVOKE SELECT (migration_id) ON _yoyo_migration FROM {SERVICE}")
    status, text = health(service_uri)
    assert (status, "lacks the right to read which migrations" in text) == (503, True)
    assert "eida_statsman db grant" in caplog.text
    Statsman(database_uri).done("db", "grant", SERVICE)
    assert health(service_uri)[0] == 200


@pytest.mark.parametrize(
    "right",
    [
        *("SELECT ON dataselect_stats", "SELECT ON dataselect_stats_by_network_country"),
        "TEMPORARY ON DATABASE {}",
        *("UPDATE (revision, changed_at) ON nodes", "INSERT ON payload_days", "INSERT (body) ON payloads"),
    ],
)
def test_health_needs_what_the_service_needs(
    database_uri: str, caplog: pytest.LogCaptureFixture, right: str
) -> None:
    service_uri = as_service(database_uri)
    assert health(service_uri)[0] == 200
    change(database_uri, f"REVOKE {right.format(named(database_uri))} FROM {SERVICE}")
    assert health(service_uri)[0] == 503
    assert "eida_statsman db grant" in caplog.text
    Statsman(database_uri).done("db", "grant", SERVICE)
    assert health(service_uri)[0] == 200


# The embedded store


def test_migrate_does_not_make_directories(tmp_path: Path) -> None:
    refused = Statsman(f"sqlite:///{tmp_path}/typing/error/statistics.db")("db", "migrate")
    assert refused.returncode == 1
    assert f"the directory {tmp_path}/typing/error does not exist" in refused.stderr
    assert list(tmp_path.iterdir()) == []


def test_migrate_makes_the_default_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    statsman = Statsman("")
    statsman.unset("DATABASE_URI")
    statsman.done("db", "migrate")
    assert [path.name for path in (tmp_path / "data").glob("**/*.db")] == ["statistics.db"]


def test_replay_from_a_missing_file_says_so(tmp_path: Path) -> None:
    statsman = Statsman(f"sqlite:///{tmp_path}/new.db")
    statsman.done("db", "migrate")
    refused = statsman("payloads", "replay", "--from", f"sqlite:///{tmp_path}/old.db")
    assert refused.returncode == 1
    assert f"There is no such database file: {tmp_path}/old.db" in refused.stderr
