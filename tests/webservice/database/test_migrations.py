"""The schema: created by yoyo alone or by our command, on both stores, from a checkout or an installed wheel."""

import datetime
import os
import re
import subprocess
import sys
import sysconfig
import zipfile
from contextlib import closing
from pathlib import Path

import pytest

from eida_stats_webservice.database import migrations
from eida_stats_webservice.errors import DatabaseNotReady, DuplicatePayload
from eida_stats_webservice.payloads.overlaps import Overlap
from support.kinds import insert_ringserver_payload
from support.live_connections import LiveConnections, connect
from support.node_client import make_node
from support.paths import ROOT
from support.payloads import payload, row
from support.postgresql import Cluster
from support.shard_rows import TABLES
from support.stores import open_store
from support.tables import count, read_sums, select
from support.wheels import build_wheel

SCRIPTS = Path(sysconfig.get_path("scripts"))

# The documented tables, without those of `yoyo`.
DOCUMENTED = {
    "nodes": {"id", "name", "contact"},
    "tokens": {"id", "node_id", "value", "valid_from", "valid_until", "created_at"},
    "payloads": {"id", "node_id", "hash", "starts_at", "ends_at", "created_at", "body"},
    "payload_days": {"payload_id", "day"},
    "networks": {"node_id", "name", "inverted_policy", "eas_group"},
    "dataselect_stats": {
        "node_id", "date", "network", "station", "location", "channel", "country", "bytes", "nb_reqs",
        "nb_successful_reqs", "nb_failedrequests", "clients", "created_at", "updated_at",
    },
}  # fmt: skip

COLUMNS = {
    # SQLite has no views: Grafana reads PostgreSQL alone.
    "postgresql": "SELECT table_name, column_name, is_nullable FROM information_schema.columns"
    " JOIN pg_tables ON tablename = table_name AND schemaname = table_schema"
    " WHERE table_schema = 'public' ORDER BY 1, 2",
    "sqlite": "SELECT m.name, p.name, CASE WHEN p.\"notnull\" OR p.pk THEN 'NO' ELSE 'YES' END"
    " FROM sqlite_master m JOIN pragma_table_info(m.name) p WHERE m.type = 'table' ORDER BY 1, 2",
}
UNIQUE = {
    "postgresql": "SELECT c.relname, a.attname, i.indexrelid FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid"
    " JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = ANY(i.indkey[0:i.indnkeyatts - 1])"
    " WHERE i.indisunique AND c.relnamespace = 'public'::regnamespace",
    "sqlite": "SELECT m.name, c.name, i.name FROM sqlite_master m JOIN pragma_index_list(m.name) i"
    " JOIN pragma_index_info(i.name) c WHERE m.type = 'table' AND i.\"unique\"",
}

ROW_NUMBERS = {("sensor_states", frozenset({"sensor_id"}))}


def dialect(uri: str) -> str:
    return uri.partition(":")[0]


def is_ours(table: str) -> bool:
    return re.match("_?yoyo|sqlite_", table) is None


def columns(uri: str) -> dict[str, dict[str, str]]:
    store = open_store(uri)
    found: dict[str, dict[str, str]] = {}
    for table, column, nullable in select(store, COLUMNS[dialect(uri)]):
        if is_ours(table):
            found.setdefault(table, {})[column] = nullable
    store.close()
    return found


def unique_keys(uri: str) -> set[tuple[str, frozenset[str]]]:
    store = open_store(uri)
    found: dict[tuple[str, str], set[str]] = {}
    for table, column, index in select(store, UNIQUE[dialect(uri)]):
        if is_ours(table):
            found.setdefault((table, str(index)), set()).add(column)
    store.close()
    # An expression, such as lower(name), has no column.
    return {(table, frozenset(names)) for (table, _), names in found.items() if None not in names}


def yoyo(*words: str) -> str:
    # As from cron: without a terminal for questions.
    command = [SCRIPTS / "yoyo", *words]
    ran = subprocess.run(command, cwd=ROOT, stdin=subprocess.DEVNULL, check=True, capture_output=True, text=True)
    return ran.stdout


@pytest.fixture
def sqlite_database(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'statistics.db'}"


def test_yoyo_creates_the_documented_schema(postgresql_database: str) -> None:
    yoyo("apply", "--database", postgresql_database, "migrations")
    made = columns(postgresql_database)
    for table, names in DOCUMENTED.items():
        assert names <= made[table].keys(), table
    assert {
        ("payloads", frozenset({"node_id", "hash"})),
        ("dataselect_stats",
         frozenset({"node_id", "date", "network", "station", "location", "channel", "country"})),
    } <= unique_keys(postgresql_database)  # fmt: skip
    assert set(made["dataselect_stats"].values()) == {"NO"}


def test_command_creates_the_same_schema_as_yoyo(
    template: str, postgresql_database: str, postgresql: Cluster
) -> None:
    migrations.apply(postgresql_database)
    made = columns(postgresql_database), unique_keys(postgresql_database)
    reference = postgresql.uri(template)
    assert made == (columns(reference), unique_keys(reference))


def test_both_stores_have_the_same_schema(postgresql_database: str, sqlite_database: str) -> None:
    migrations.apply(postgresql_database)
    migrations.apply(sqlite_database)
    assert without_views(columns(sqlite_database)) == columns(postgresql_database)
    # Where the key is one integer, it is SQLite's own row number.
    rowids = {*ROW_NUMBERS, *((table, frozenset({"id"})) for table in columns(sqlite_database))}
    without_rowids = unique_keys(postgresql_database) - rowids
    assert {(table, key) for table, key in unique_keys(sqlite_database) if table not in TABLES} == without_rowids


def without_views(found: dict[str, dict[str, str]]) -> dict[str, dict[str, str]]:
    """Return the tables that both databases have; PostgreSQL has those of shards in other schemas."""
    return {table: names for table, names in found.items() if table not in TABLES}


def test_rollback_empties_postgresql(postgresql_database: str) -> None:
    yoyo("apply", "--database", postgresql_database, "migrations")
    yoyo("rollback", "--all", "--database", postgresql_database, "migrations")
    assert columns(postgresql_database) == {}
    store = open_store(postgresql_database)
    left = "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace"
    assert [name for (name,) in select(store, left) if is_ours(name)] == []
    assert select(store, "SELECT extname FROM pg_extension WHERE extname = 'hll'") == []
    store.close()


def test_rollback_empties_sqlite(sqlite_database: str) -> None:
    yoyo("apply", "--database", sqlite_database, "migrations/sqlite")
    assert columns(sqlite_database)
    yoyo("rollback", "--all", "--database", sqlite_database, "migrations/sqlite")
    assert columns(sqlite_database) == {}


def test_every_migration_has_a_rollback() -> None:
    for folder in (ROOT / "migrations", ROOT / "migrations" / "sqlite"):
        steps = {path.name for path in folder.glob("*.sql") if ".rollback." not in path.name}
        assert steps
        assert {path.name for path in folder.glob("*.rollback.sql")} == {
            step.replace(".sql", ".rollback.sql") for step in steps
        }


def test_migrating_needs_no_right_to_create_extensions(postgresql: Cluster, postgresql_database: str) -> None:
    """The administrator creates the extensions; a rollback leaves them."""
    name = re.split("[/?]", postgresql_database)[3]
    postgresql.psql(name, "CREATE ROLE migrator LOGIN; GRANT CREATE ON SCHEMA public TO migrator")
    uri = postgresql_database.replace("postgres@", "migrator@")
    try:
        with pytest.raises(Exception, match="CREATE EXTENSION hll"):
            migrations.apply(uri)
        postgresql.psql(name, "CREATE EXTENSION hll")
        with pytest.raises(Exception, match="CREATE EXTENSION btree_gist"):
            migrations.apply(uri)
        postgresql.psql(name, "CREATE EXTENSION btree_gist")
        migrations.apply(uri)
        assert columns(uri)
        yoyo("rollback", "--all", "--database", uri, "migrations")
        assert columns(uri) == {}
        store = open_store(uri)
        left = "SELECT extname FROM pg_extension WHERE extname IN ('hll', 'btree_gist') ORDER BY 1"
        assert select(store, left) == [("btree_gist",), ("hll",)]
        store.close()
    finally:
        postgresql.psql(name, "DROP OWNED BY migrator; DROP ROLE migrator")


def test_missing_extension_names_the_package(
    postgresql_database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The server of the tests has hll, so a made-up extension is missing.
    (tmp_path / "0001.sql").write_text("CREATE EXTENSION no_such_extension;")
    monkeypatch.setattr(migrations, "FOLDER", tmp_path)
    with pytest.raises(DatabaseNotReady, match=r"no_such_extension(.|\n)*apt-get install postgresql-\d+-hll"):
        migrations.apply(postgresql_database)


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel and unpack it outside of any checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    installed = folder / "installed"
    with zipfile.ZipFile(build_wheel(folder)) as archive:
        archive.extractall(installed)
    return installed


def test_installed_wheel_migrates_both_stores(
    wheel: Path, postgresql_database: str, sqlite_database: str, template: str, postgresql: Cluster, tmp_path: Path
) -> None:
    where = "import eida_stats_webservice; print(eida_stats_webservice.__file__)"
    paths = {"PYTHONPATH": str(wheel)}
    found = subprocess.run(
        [sys.executable, "-c", where],
        cwd=tmp_path,
        env=os.environ | paths,
        check=True,
        capture_output=True,
        text=True,
    )
    assert found.stdout.startswith(str(wheel))
    for uri in (postgresql_database, sqlite_database):
        subprocess.run(
            [sys.executable, "-c", "from eida_statsman.cli import main; main()", "db", "migrate"],
            cwd=tmp_path,
            env=os.environ | paths | {"DATABASE_URI": uri},
            check=True,
        )
    assert columns(postgresql_database) == columns(postgresql.uri(template))
    assert without_views(columns(sqlite_database)) == columns(postgresql_database)


def test_wheel_has_all_data_files(wheel: Path) -> None:
    packages = [
        ROOT / "eida_statistics",
        *(ROOT / "aggregator").glob("eida_*"),
        *(ROOT / "webservice").glob("eida_*"),
    ]
    kept = {".sql", ".yaml", ".wadl", ".toml", ".typed", ".py"}
    for package in filter(Path.is_dir, packages):
        files = {path.relative_to(package.parent) for path in package.rglob("*") if path.suffix in kept}
        assert files
        assert [path for path in files if not (wheel / path).is_file()] == []


def test_wheel_has_only_our_packages(wheel: Path) -> None:
    assert {path.name for path in wheel.iterdir() if not path.name.endswith(".dist-info")} == {
        "eida_statistics",
        "eida_stats_aggregator",
        "eida_stats_webservice",
        "eida_statsman",
    }


def test_rollback_keeps_node_tokens(store_uri: str) -> None:
    store = open_store(store_uri)
    store.registry.add_node("GFZ", "operator@gfz.example")
    now = datetime.datetime.now(tz=datetime.UTC)
    later = now + datetime.timedelta(days=1)
    token = store.registry.add_token("GFZ", now, later)[1]
    store.registry.add_network_token("FR", now, later)
    store.close()
    folder = str(migrations.get_folder(store_uri).resolve())
    yoyo("rollback", "--revision", "0002_access-and-changes", "--database", store_uri, folder)
    yoyo("apply", "--database", store_uri, folder)
    assert store.registry.find_sender_of_token(token, now).node.name == "GFZ"
    assert [known.network for known in store.registry.list_tokens()] == [None]
    store.close()


def test_rollback_of_periods_lists_deletions(store_uri: str) -> None:
    with closing(open_store(store_uri)) as store:
        node, _ = make_node(store, "GFZ")
        day = {"period": {"start": "2026-10-14", "end": "2026-10-14"}}
        stray = {"days_coverage": ["2026-10-14", "2026-10-20"]}
        sent = [
            payload(row(bytes=1)),
            payload(row(bytes=1), **day),
            payload(row(bytes=1), **day, source="b"),
            payload(row(bytes=2), **day, source="a", **stray),
            payload(days_coverage=[], **day, source="quiet"),
        ]
        for one in sent:
            store.dataselect.replace(node, one, overlap=Overlap.ACCEPT)
        insert_ringserver_payload(store, node, datetime.date(2026, 10, 14), source="rs")
        before = {record.payload: record for record in store.payloads.list_payloads()}
        assert before[1].superseded_by == 2
        known = read_sums(store, "dataselect_stats", ("date",))
    folder = str(migrations.get_folder(store_uri).resolve())
    output = yoyo("rollback", "--revision", "0004_sources-and-periods", "--database", store_uri, folder)
    # An older version takes the sixth for one of dataselect. The first has the content of the second, and does not
    # count; the fifth has no request.
    assert re.findall(r"^ +(\d+) +\| GFZ +\| *(?:ringserver +\| )?(\w*) *\|", output, re.MULTILINE) == [
        *(("6", "rs"), ("1", ""), ("5", "quiet"))
    ]
    with closing(open_store(store_uri)) as store:
        left = select(store, "SELECT id, hash, starts_at, ends_at FROM payloads ORDER BY id")
        assert [number for number, *_ in left] == [2, 3, 4]
        # Of two payloads in force with the same content, the first gets the content's hash.
        assert [digest for _, digest, *_ in left] == [before[2].content, before[3].hash, before[4].content]
        assert [tuple(map(str, days)) for *_, first, last in left for days in [(first, last)]] == [
            ("2026-10-14", "2026-10-14"), ("2026-10-14", "2026-10-14"), ("2026-10-14", "2026-10-20"),
        ]  # fmt: skip
        assert count(store, "payload_days") == 4
    yoyo("apply", "--database", store_uri, folder)
    with closing(open_store(store_uri)) as store:
        assert read_sums(store, "dataselect_stats", ("date",)) == known
        # SQLite cannot unite the sketches of stations.
        wrong = ["dataselect_stats_by_station"] if store.database.dialect == "sqlite" else []
        found = [one.table for *_, here in store.verification.verify() for one in here]
        assert sorted(found) == [*wrong, *["payloads"] * 3]
        # The payloads' bodies still have the source and the period.
        list(store.verification.replay())
        assert [found for *_, here in store.verification.verify() for found in here] == []
        assert {record.payload: record for record in store.payloads.list_payloads()} == {
            number: before[number] for number in (2, 3, 4)
        }


def test_groups_lose_their_prefix(store_uri: str) -> None:
    folder = str(migrations.get_folder(store_uri).resolve())
    yoyo("rollback", "--revision", "0005_groups-without-prefix", "--database", store_uri, folder)
    with closing(open_store(store_uri)) as store:
        with store.database.transaction(write=True) as connection:
            cursor = connection.cursor()
            cursor.execute(
                "INSERT INTO nodes (name, contact, eas_group, changed_at) VALUES"
                " ('A', '', '/epos/a', '2026-01-01'), ('B', '', 'b', '2026-01-01'), ('C', '', NULL, '2026-01-01')"
            )
            cursor.execute("INSERT INTO networks (node_id, name, eas_group) SELECT id, 'X', '/epos/x/y' FROM nodes")
        migrations.apply(store_uri)
        assert [node.eas_group for node in store.registry.list_nodes()] == ["a", "b", None]
        assert {network.eas_group for network in store.registry.list_networks()} == {"x/y"}


def test_payloads_without_periods_stay_unchanged(store_uri: str) -> None:
    folder = str(migrations.get_folder(store_uri).resolve())
    with closing(open_store(store_uri)) as store:
        node, _ = make_node(store, "GFZ")
        store.dataselect.ingest(node, payload(row()))
        before = store.payloads.list_payloads()
    yoyo("rollback", "--revision", "0004_sources-and-periods", "--database", store_uri, folder)
    yoyo("apply", "--database", store_uri, folder)
    with closing(open_store(store_uri)) as store:
        assert store.payloads.list_payloads() == before
        assert before[0].content == before[0].hash
        # SQLite cannot unite the sketches of stations.
        if store.database.dialect == "sqlite":
            list(store.verification.replay())
        assert [found for *_, here in store.verification.verify() for found in here] == []
        with pytest.raises(DuplicatePayload):
            store.dataselect.ingest(node, payload(row()))


def test_rollback_deletes_live_connections(store_uri: str) -> None:
    folder = str(migrations.get_folder(store_uri).resolve())
    with closing(open_store(store_uri)) as store:
        live = LiveConnections(store)
        node = live.add_node("GFZ")
        live.send(node, connect("x", 1, 0))
        yoyo("rollback", "--revision", "0012_connections", "--database", store_uri, folder)
        assert "sensor_log" not in columns(store_uri)
        # Deleting a node needs the trigger that deletes its part of the log.
        live.execute("DELETE FROM nodes")
        yoyo("apply", "--database", store_uri, folder)
        node = live.add_node("GFZ")
        live.send(node, connect("x", 1, 0))
        assert live.count("federation") == 1
