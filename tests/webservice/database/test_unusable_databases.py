"""Databases that cannot be migrated or used: the message names the reason and the remedy."""

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
from support.roles import SERVICE, grant_service
from support.service import PREFIX
from support.statsman import Statsman
from support.stores import open_store


def parse_database_name(uri: str) -> str:
    return urlsplit(uri).path.removeprefix("/")


@pytest.fixture
def run(postgresql: Cluster, postgresql_database: str) -> Callable[[str], str]:
    """Return a function that runs a script in the empty database."""
    return lambda script: postgresql.psql(parse_database_name(postgresql_database), script)


MIGRATIONS_REFUSED = [
    ("CREATE SCHEMA theirs; CREATE EXTENSION hll SCHEMA theirs", r"schema of the hll extension(.|\n)*search_path"),
    ("CREATE TABLE nodes (id serial PRIMARY KEY, name text)", r'"nodes" already exists(.|\n)*import-upstream'),
    (
        "ALTER DATABASE {} SET default_transaction_read_only = on",
        r"read-only(.|\n)*default_transaction_read",
    ),
    ("ALTER DATABASE {} SET search_path = ''", r"search_path names no schema(.|\n)*options=-c%20search_path%3D"),
    (
        "ALTER DATABASE {} SET search_path = nowhere",
        r"search_path names no schema(.|\n)*options=-c%20search_path%3D",
    ),
]


@pytest.mark.parametrize(("script", "sentence"), MIGRATIONS_REFUSED)
def test_migrate_names_the_obstacle(
    run: Callable[[str], str], postgresql_database: str, script: str, sentence: str
) -> None:
    run(script.format(parse_database_name(postgresql_database)))
    refused = Statsman(postgresql_database)("db", "migrate")
    assert refused.returncode == 1
    assert re.search(sentence, refused.stderr), refused.stderr
    assert "Traceback" not in refused.stderr


def test_migrate_needs_the_right_to_create_tables(run: Callable[[str], str], postgresql_database: str) -> None:
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
    run(f"ALTER DATABASE {parse_database_name(postgresql_database)} SET search_path = mine, theirs")
    Statsman(postgresql_database).run("db", "migrate")
    service_uri = grant_service(postgresql_database)
    assert health(service_uri)[0] == 200
    with closing(open_store(service_uri)) as store:
        assert store.payloads.list_payloads() == []


def test_hll_may_be_in_another_schema(run: Callable[[str], str], postgresql_database: str) -> None:
    run("CREATE SCHEMA theirs; CREATE EXTENSION hll SCHEMA theirs")
    run(f"ALTER DATABASE {parse_database_name(postgresql_database)} SET search_path = public, theirs")
    Statsman(postgresql_database).run("db", "migrate")
    with closing(open_store(postgresql_database)) as store:
        store.ping()


@pytest.mark.parametrize("path", ["''", "nowhere"])
def test_wrong_search_path_is_named(database_uri: str, postgresql: Cluster, path: str) -> None:
    postgresql.psql(
        parse_database_name(database_uri),
        f"ALTER DATABASE {parse_database_name(database_uri)} SET search_path = {path}",
    )
    refused = Statsman(database_uri)("nodes", "list")
    assert refused.returncode == 1
    assert "search_path" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_commands_name_read_only_default(database_uri: str, postgresql: Cluster) -> None:
    database = parse_database_name(database_uri)
    postgresql.psql(database, f"ALTER DATABASE {database} SET default_transaction_read_only = on")
    refused = Statsman(database_uri)("nodes", "add", "GFZ", "--contact", "operator@node.example")
    assert refused.returncode == 1
    assert "default_transaction_read_only is on" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_missing_character_of_encoding_is_refused(postgresql: Cluster) -> None:
    postgresql.psql("postgres", "CREATE DATABASE latin TEMPLATE template0 ENCODING 'LATIN1' LOCALE 'C'")
    try:
        statsman = Statsman(postgresql.uri("latin"))
        statsman.run("db", "migrate")
        statsman.run("nodes", "add", "GFZ", "--contact", "Jürgen")
        assert "Jürgen" in statsman.run("nodes", "list")
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


def test_health_detects_missing_migration(store_uri: str, service_uri: str) -> None:
    newest = max(migration.id for migration in migrations.list_migrations(store_uri))
    assert health(service_uri)[0] == 200
    change(store_uri, f"DELETE FROM _yoyo_migration WHERE migration_id = '{newest}'")
    status, text = health(service_uri)
    assert (status, "schema is out of date" in text) == (503, True)
    with closing(open_store(store_uri)) as store, pytest.raises(Exception, match=f"{newest}(.|\n)*db migrate"):
        store.ping()


def test_health_accepts_a_newer_schema(store_uri: str, service_uri: str) -> None:
    change(
        store_uri,
        "INSERT INTO _yoyo_migration (migration_hash, migration_id, applied_at_utc)"
        " VALUES ('0', '9999_of-a-later-version', '2026-11-01')",
    )
    assert health(service_uri)[0] == 200


def test_health_needs_the_right_to_read_migrations(database_uri: str, caplog: pytest.LogCaptureFixture) -> None:
    service_uri = grant_service(database_uri)
    change(database_uri, f"REVOKE SELECT (migration_id) ON _yoyo_migration FROM {SERVICE}")
    status, text = health(service_uri)
    assert (status, "lacks the right to read the list of applied migrations" in text) == (503, True)
    assert "eida_statsman db grant" in caplog.text
    Statsman(database_uri).run("db", "grant", SERVICE)
    assert health(service_uri)[0] == 200


@pytest.mark.parametrize(
    "right",
    [
        *("SELECT ON dataselect_stats", "SELECT ON dataselect_stats_by_network_country"),
        "TEMPORARY ON DATABASE {}",
        *("UPDATE (revision, changed_at) ON nodes", "INSERT ON payload_days", "INSERT (body) ON payloads"),
    ],
)
def test_health_detects_missing_right(database_uri: str, caplog: pytest.LogCaptureFixture, right: str) -> None:
    service_uri = grant_service(database_uri)
    assert health(service_uri)[0] == 200
    change(database_uri, f"REVOKE {right.format(parse_database_name(database_uri))} FROM {SERVICE}")
    assert health(service_uri)[0] == 503
    assert "eida_statsman db grant" in caplog.text
    Statsman(database_uri).run("db", "grant", SERVICE)
    assert health(service_uri)[0] == 200


# The embedded store


def test_migrate_creates_no_directories(tmp_path: Path) -> None:
    refused = Statsman(f"sqlite:///{tmp_path}/typing/error/statistics.db")("db", "migrate")
    assert refused.returncode == 1
    assert f"the directory {tmp_path}/typing/error does not exist" in refused.stderr
    assert list(tmp_path.iterdir()) == []


def test_migrate_creates_the_default_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    statsman = Statsman("")
    statsman.unset("DATABASE_URI")
    statsman.run("db", "migrate")
    assert [path.name for path in (tmp_path / "data").glob("**/*.db")] == ["statistics.db"]


def test_replay_names_a_missing_file(tmp_path: Path) -> None:
    statsman = Statsman(f"sqlite:///{tmp_path}/new.db")
    statsman.run("db", "migrate")
    refused = statsman("payloads", "replay", "--from", f"sqlite:///{tmp_path}/old.db")
    assert refused.returncode == 1
    assert f"The database file does not exist: {tmp_path}/old.db" in refused.stderr
