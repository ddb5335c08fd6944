"""Tests of shards on other servers, with two servers of which one asks for passwords."""

import socket
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psycopg2
import pytest
from psycopg2.errors import InsufficientPrivilege

from eida_stats_webservice.app import create_app
from eida_stats_webservice.archive import reading
from eida_stats_webservice.archive.errors import ForeignShard, ShardUnavailable
from eida_stats_webservice.archive.models import Shard
from eida_stats_webservice.archive.reading import open_reader
from eida_stats_webservice.archive.shards import check_is_local
from eida_stats_webservice.config import Config
from eida_stats_webservice.database.foreign import parse_server
from eida_stats_webservice.errors import UnusableForeignServer
from support.foreign_shards import (
    OWNER,
    PASSWORD,
    READER,
    ROWS,
    ForeignCluster,
    execute,
    make_centre,
    query_timeline,
)
from support.postgresql import SUPERUSER, Cluster
from support.roles import SERVICE, grant_service
from support.service import PREFIX
from support.shard_rows import TABLES
from support.statsman import Statsman
from support.stores import ON_ONE_STORE, Store, open_store
from support.timelines import AVAILABILITY


@pytest.fixture(scope="module")
def foreign() -> Iterator[ForeignCluster]:
    with Cluster(tcp=True) as cluster:
        yield ForeignCluster(cluster)


@pytest.fixture(scope="module")
def centre(postgresql: Cluster) -> Iterator[str]:
    with make_centre(postgresql) as uri, closing(open_store(uri)) as store:
        store.registry.add_node("NOA", "")
        store.registry.add_node("GFZ", "")
        store.shards.create("gfz", "/GFZ", "GFZ", open_paths=False)
        yield uri


@pytest.fixture
def store(centre: str) -> Iterator[Store]:
    opened = open_store(centre)
    yield opened
    opened.close()


@pytest.fixture
def noa(store: Store, foreign: ForeignCluster) -> Iterator[Shard]:
    yield store.shards.create("noa", "/NOA", "NOA", open_paths=False, server=foreign.server)
    store.shards.remove("noa")


def _count_rows(store: Store, *, partial: bool = False) -> tuple[dict[str, int], dict[str, str]]:
    with open_reader(store.database, partial=partial) as reader:
        found = reader.read(store.shards.read_all(), query_timeline(store))
        return {shard.code: sum(1 for _ in rows) for shard, rows in found}, reader.headers


def _set_port(centre: str, port: int) -> None:
    execute(centre, f"ALTER SERVER noa OPTIONS (SET port '{port}')")


@pytest.mark.usefixtures("noa")
def test_views_have_the_rows_of_another_server(centre: str, store: Store) -> None:
    service = _as(SERVICE, grant_service(_as(SUPERUSER, centre)))
    with closing(psycopg2.connect(centre)) as owner, owner.cursor() as cursor:
        cursor.execute("SELECT count(*), max(sh_code) FROM timeline")
        assert cursor.fetchone() == (ROWS, "noa")
        cursor.execute("SELECT pa_path, pa_type::text FROM paths WHERE pa_type = 'file'")
        assert cursor.fetchall() == [("/NOA/archive/a", "file")]
    assert _count_rows(store) == ({"gfz": 0, "noa": ROWS}, {})
    with pytest.raises(InsufficientPrivilege):
        execute(service, "SELECT FROM noa.timeline")
    with pytest.raises(InsufficientPrivilege):
        execute(service, "SELECT FROM pg_user_mapping")
    assert execute(service, "SELECT umoptions FROM pg_user_mappings") == [(None,)]


def test_foreign_shard_is_not_changed_here(noa: Shard, store: Store) -> None:
    with pytest.raises(ForeignShard, match="refresh noa"):
        check_is_local(noa)
    check_is_local(store.shards.read_all()[0])


@pytest.mark.usefixtures("noa")
def test_dead_server_is_named(centre: str, store: Store, foreign: ForeignCluster) -> None:
    _count_rows(store)
    foreign.cluster.stop()
    try:
        with pytest.raises(ShardUnavailable, match="noa of node NOA"):
            _count_rows(store)
        assert _count_rows(store, partial=True) == ({"gfz": 0}, {"X-Incomplete": "noa"})
        assert execute(centre, "SELECT count(*) FROM timeline WHERE sh_code = 'gfz'") == [(0,)]
        service = create_app(Config(grant_service(_as(SUPERUSER, centre)))).test_client()
        assert service.get(f"{PREFIX}/_health").status_code == 200
        refused = service.get(f"{AVAILABILITY}/query?net=GE")
        assert (refused.status_code, "shard noa of node NOA" in refused.text) == (503, True)
        for nodata in (204, 404):
            others = service.get(f"{AVAILABILITY}/query?net=GE&partial=true&nodata={nodata}")
            assert (others.status_code, others.headers["X-Incomplete"]) == (nodata, "noa")
            assert "X-Incomplete" in others.headers["Access-Control-Expose-Headers"]
    finally:
        foreign.cluster.start()
    assert _count_rows(store) == ({"gfz": 0, "noa": ROWS}, {})


@pytest.mark.usefixtures("noa")
def test_death_between_rows_ends_the_answer(store: Store, foreign: ForeignCluster) -> None:
    with open_reader(store.database, partial=True) as reader:
        (_, local), (_, rows) = reader.read(store.shards.read_all(), query_timeline(store))
        assert next(rows)
        foreign.cluster.stop()
        try:
            with pytest.raises(ShardUnavailable):
                list(rows)
        finally:
            foreign.cluster.start()
        assert not reader.incomplete
        del local
    assert _count_rows(store) == ({"gfz": 0, "noa": ROWS}, {})


@pytest.mark.usefixtures("noa")
def test_hanging_server_is_left_out(store: Store, foreign: ForeignCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    _count_rows(store)
    monkeypatch.setattr(reading, "_PROBE_SECONDS", 1)
    with foreign.cluster.suspend():
        assert _count_rows(store, partial=True) == ({"gfz": 0}, {"X-Incomplete": "noa"})


@pytest.mark.usefixtures("noa")
def test_hang_between_rows_ends_the_answer(
    store: Store, foreign: ForeignCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The first rows have to arrive in this time.
    monkeypatch.setattr(reading, "_ANSWER_SECONDS", 3)
    with foreign.hang():
        with open_reader(store.database) as reader:
            _, (_, rows) = reader.read(store.shards.read_all(), query_timeline(store))
            with pytest.raises(ShardUnavailable):
                list(rows)
        assert set(execute(foreign.uri, "SELECT state FROM pg_stat_activity WHERE usename = 'reader'")) <= {
            ("idle",)
        }


@pytest.mark.usefixtures("noa")
def test_server_that_accepts_and_is_silent(centre: str, store: Store) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        _set_port(centre, silent.getsockname()[1])
        assert _count_rows(store, partial=True) == ({"gfz": 0}, {"X-Incomplete": "noa"})


@pytest.mark.usefixtures("noa")
def test_changed_password_is_an_unavailable_shard(store: Store, foreign: ForeignCluster) -> None:
    execute(foreign.uri, f"ALTER ROLE {READER} PASSWORD 'other'")
    try:
        with pytest.raises(ShardUnavailable) as refused:
            _count_rows(store)
    finally:
        execute(foreign.uri, f"ALTER ROLE {READER} PASSWORD %(password)s", password=PASSWORD)
    assert refused.value.members == {"shard": "noa", "node": "NOA"}
    assert "password authentication failed" in str(refused.value.__cause__)
    assert "127.0.0.1" not in str(refused.value)


@pytest.mark.usefixtures("noa")
@pytest.mark.parametrize(
    ("query", "remote"),
    [
        ("SELECT count(*), sum(sp_bytes) FROM noa.spans", "SELECT count(*), sum(sp_bytes) FROM archive.spans"),
        (
            "SELECT sp_network, sum(sp_bytes) FROM noa.spans GROUP BY 1",
            "SELECT sp_network, sum(sp_bytes) FROM archive.spans GROUP BY 1",
        ),
        (
            "SELECT pa_path FROM paths WHERE sh_code = 'noa' AND pa_parents @> ARRAY[md5('/NOA')::uuid]",
            "SELECT pa_path FROM archive.paths WHERE ((pa_parents @> ",
        ),
        (
            "SELECT tl_start FROM timeline WHERE sh_code = 'noa' AND tl_network = 'GE' AND tl_end >= '2020-01-01Z'",
            "SELECT tl_start FROM archive.timeline WHERE ((tl_end >= ",
        ),
        # Types of users are compared here.
        ("SELECT pa_path FROM paths WHERE pa_type = 'file'", "SELECT pa_type, pa_path FROM archive.paths"),
    ],
)
def test_work_is_left_to_the_other_server(centre: str, query: str, remote: str) -> None:
    plan = "\n".join(line for (line,) in execute(centre, f"EXPLAIN VERBOSE {query}"))
    assert f"Remote SQL: {remote}" in plan


def test_holdings_are_copied(centre: str, noa: Shard, store: Store) -> None:
    refreshed = store.shards.refresh("noa")
    assert (refreshed.generation, str(refreshed.crawled_at)) == (noa.generation + 1, "2020-01-01 00:00:00+00:00")
    assert refreshed.refreshed_at is not None
    held = execute(centre, "SELECT sh_code, name, network, year, bytes FROM holdings JOIN nodes ON node_id = id")
    assert held == [("noa", "NOA", "GE", 2000, 512)]
    assert execute(centre, "SELECT network, bytes FROM holdings_history") == [("GE", 512)]
    store.shards.refresh("noa")
    assert store.shards.refresh("gfz").refreshed_at is not None


def test_rebuild_keeps_the_rights_of_the_reader(foreign: ForeignCluster) -> None:
    with closing(open_store(foreign.uri)) as store, store.database.transaction(write=True) as connection:
        store.shards.storage.create_copy(connection, "archive")
        cursor = connection.cursor()
        cursor.execute(
            "SELECT relname FROM pg_class WHERE relnamespace = 'archive_tmp'::regnamespace AND relkind = 'r'"
            " AND has_table_privilege('reader', oid, 'SELECT')"
            " AND has_schema_privilege('reader', 'archive_tmp', 'USAGE')"
        )
        assert {name for (name,) in cursor} == set(TABLES)
        connection.rollback()


@pytest.mark.usefixtures("noa")
def test_removed_shard_leaves_no_password(centre: str, store: Store, foreign: ForeignCluster) -> None:
    store.shards.remove("noa")
    assert execute(centre, "SELECT FROM pg_foreign_server") == []
    assert execute(_as(SUPERUSER, centre), "SELECT FROM pg_user_mapping") == []
    store.shards.create("noa", "/NOA", "NOA", open_paths=False, server=foreign.server)


@pytest.mark.parametrize(
    ("change", "hint"),
    [
        ({"password": "wrong"}, "password authentication failed"),
        ({"schema": "nowhere"}, "no column nowhere.paths.pa_hash"),
        ({"options": {"host": "127.0.0.1", "port": "1", "dbname": "noa"}}, "Connection refused"),
        ({"options": {"host": "127.0.0.1", "port": "1", "dbname": "noa", "unheard": "1"}}, "unheard"),
    ],
)
def test_unusable_server_is_explained(
    store: Store, foreign: ForeignCluster, change: dict[str, object], hint: str
) -> None:
    fields = {name: getattr(foreign.server, name) for name in ("options", "user", "password", "schema")} | change
    with pytest.raises(UnusableForeignServer, match=hint):
        store.shards.create("bad", "/NOA", "NOA", open_paths=False, server=type(foreign.server)(**fields))
    assert [shard.code for shard in store.shards.read_all()] == ["gfz"]


def test_other_columns_are_named(store: Store, foreign: ForeignCluster) -> None:
    execute(foreign.uri, "ALTER TABLE archive.links RENAME li_target TO target")
    try:
        with pytest.raises(UnusableForeignServer, match=r"archive\.links\.li_target of type text that reader"):
            store.shards.create("bad", "/NOA", "NOA", open_paths=False, server=foreign.server)
    finally:
        execute(foreign.uri, "ALTER TABLE archive.links RENAME target TO li_target")


def test_server_must_ask_for_a_password(postgresql: Cluster, store: Store) -> None:
    server = parse_server(postgresql.uri("postgres"), "any", "archive")
    with pytest.raises(UnusableForeignServer, match="does not ask for a password"):
        store.shards.create("bad", "/NOA", "NOA", open_paths=False, server=server)


def test_owner_needs_the_wrapper(centre: str, store: Store, foreign: ForeignCluster) -> None:
    administrator = _as(SUPERUSER, centre)
    execute(administrator, f"REVOKE USAGE ON FOREIGN DATA WRAPPER postgres_fdw FROM {OWNER}")
    try:
        with pytest.raises(UnusableForeignServer, match=f"GRANT USAGE .* TO {OWNER};"):
            store.shards.create("bad", "/NOA", "NOA", open_paths=False, server=foreign.server)
    finally:
        execute(administrator, f"GRANT USAGE ON FOREIGN DATA WRAPPER postgres_fdw TO {OWNER}")


def test_log_of_the_server_lacks_the_password(
    centre: str, store: Store, foreign: ForeignCluster, postgresql: Cluster
) -> None:
    administrator = _as(SUPERUSER, centre)
    execute(administrator, "ALTER DATABASE centre SET log_statement = 'all'")
    try:
        with pytest.raises(UnusableForeignServer, match="log_statement is all"):
            store.shards.create("noa", "/NOA", "NOA", open_paths=False, server=foreign.server)
        execute(administrator, f"GRANT SET ON PARAMETER log_statement TO {OWNER}")
        store.shards.create("noa", "/NOA", "NOA", open_paths=False, server=foreign.server)
        store.shards.remove("noa")
    finally:
        execute(administrator, "ALTER DATABASE centre RESET log_statement")
        execute(administrator, f"REVOKE SET ON PARAMETER log_statement FROM {OWNER}")
    assert "DROP SERVER" in postgresql.log
    assert "ass\\word" not in postgresql.log


def test_command_creates_a_foreign_shard(centre: str, foreign: ForeignCluster, tmp_path: Path) -> None:
    statsman = Statsman(centre)
    file = tmp_path / "password"
    file.write_text(f"{PASSWORD}\n")
    words = ("shards", "create", "noa", "--path", "/NOA", "--node", "NOA", "--foreign")
    without = statsman(*words, foreign.reader_uri)
    assert (without.returncode, "--password-file" in without.stderr) == (2, True)
    with_password = statsman(*words, foreign.uri, "--password-file", str(file))
    assert (with_password.returncode, "the URI has a password" in with_password.stderr) == (2, True)
    created = statsman.run(*words, foreign.reader_uri, "--password-file", str(file))
    assert "shards refresh noa" in created
    try:
        assert foreign.server.place in statsman.run("shards", "list")
    finally:
        statsman.run("shards", "remove", "noa", "--confirm", "noa")


@ON_ONE_STORE
def test_embedded_store_has_no_foreign_shards(store_uri: str, foreign: ForeignCluster, tmp_path: Path) -> None:
    statsman = Statsman(store_uri)
    statsman.run("nodes", "add", "NOA", "--contact", "a@example.org")
    file = tmp_path / "password"
    file.write_text(PASSWORD)
    refused = statsman(
        *("shards", "create", "noa", "--path", "/NOA", "--node", "NOA"),
        *("--foreign", foreign.reader_uri, "--password-file", str(file)),
    )
    assert refused.returncode == 2
    assert "Use a PostgreSQL database" in refused.stderr


def _as(role: str, uri: str) -> str:
    return uri.replace(f"{OWNER}@", f"{role}@", 1)
