"""Tests of creating and removing shards."""

from typing import Any

import pytest

from eida_statistics.archive.errors import UnusableShard
from eida_stats_webservice.archive.errors import NodeHasShards, ShardExists, UnknownShard
from eida_stats_webservice.archive.storage import VIEWS
from eida_stats_webservice.errors import RefusedByDatabase, UnknownNode
from support.stores import ON_POSTGRESQL, Store
from support.tables import execute, select


@pytest.fixture
def node(store: Store) -> str:
    store.registry.add_node("GFZ", "")
    return "GFZ"


def test_shard_is_listed(store: Store, node: str) -> None:
    store.shards.create("gfz", "/GFZ/archive", node, open_paths=True)
    (shard,) = store.shards.read_all()
    assert (shard.code, shard.path, shard.node, shard.open_paths) == ("gfz", "/GFZ/archive", "GFZ", True)
    assert (shard.generation, shard.crawled_at) == (0, None)


@pytest.mark.parametrize(
    "code",
    [
        *("pg_x", "public", "information_schema", "gfz_tmp", "gfz_old", 'a"b; DROP', "a" * 64, "a" * 51),
        *("", "Node 1", "1a", "GFZ", "gfz\n", "é"),
    ],
)
def test_bad_code_is_refused(store: Store, node: str, code: str) -> None:
    with pytest.raises(UnusableShard):
        store.shards.create(code, "/GFZ/archive", node, open_paths=False)
    with pytest.raises(RefusedByDatabase):
        execute(store, "INSERT INTO shards (sh_code, sh_path, node_id) VALUES (:code, '/x', 1)", code=code)


@pytest.mark.parametrize("code", ["select", "a" * 50, "z9_"])
def test_words_of_sql_are_codes(store: Store, node: str, code: str) -> None:
    store.shards.create(code, "/GFZ/archive", node, open_paths=False)
    assert select(store, "SELECT count(*) FROM paths WHERE sh_code = :code", code=code) == [(0,)]
    store.shards.remove(code)
    assert store.shards.read_all() == []


@pytest.mark.parametrize("path", ["", "/", "x", "/x/", "//x", "/x//y", "/x/../y", "/x/.", "/x/..", "/x\ny"])
def test_bad_path_is_refused(store: Store, node: str, path: str) -> None:
    with pytest.raises(UnusableShard):
        store.shards.create("gfz", path, node, open_paths=False)


@pytest.mark.parametrize(
    ("path", "fits"),
    [("/u39", False), ("/u39/x", False), ("/", False), ("/u390", True), ("/u3", True), ("/u390/x", True)],
)
def test_paths_of_shards_never_overlap(store: Store, node: str, path: str, fits: bool) -> None:
    store.shards.create("one", "/u39", node, open_paths=False)
    if fits:
        store.shards.create("two", path, node, open_paths=False)
        return
    with pytest.raises((ShardExists, UnusableShard)):
        store.shards.create("two", path, node, open_paths=False)
    assert len(store.shards.read_all()) == 1


def test_code_is_used_once(store: Store, node: str) -> None:
    store.shards.create("one", "/a", node, open_paths=False)
    with pytest.raises(ShardExists):
        store.shards.create("one", "/b", node, open_paths=False)


def test_unknown_names_are_refused(store: Store) -> None:
    with pytest.raises(UnknownNode):
        store.shards.create("gfz", "/a", "GFZ", open_paths=False)
    with pytest.raises(UnknownShard):
        store.shards.remove("gfz")


@ON_POSTGRESQL
def test_name_of_a_schema_is_refused(store: Store, node: str) -> None:
    execute(store, "CREATE SCHEMA taken")
    with pytest.raises(ShardExists, match="schema taken"):
        store.shards.create("taken", "/a", node, open_paths=False)


@ON_POSTGRESQL
def test_views_keep_their_columns(store: Store, node: str) -> None:
    statement = """
        SELECT table_name, string_agg(column_name || ' ' || udt_name, ',' ORDER BY ordinal_position)
        FROM information_schema.columns WHERE table_schema = 'public' AND table_name IN :names GROUP BY 1
    """

    def read() -> list[tuple[str, str]]:
        return sorted(select(store, statement, names=tuple(VIEWS)))

    migrated = read()
    assert len(migrated) == len(VIEWS)
    store.shards.create("gfz", "/a", node, open_paths=False)
    assert read() == migrated


@ON_POSTGRESQL
def test_condition_leaves_one_shard_to_read(store: Store, node: str) -> None:
    for code in ("one", "two"):
        store.shards.create(code, f"/{code}", node, open_paths=False)
    plan = "\n".join(line for (line,) in select(store, "EXPLAIN SELECT * FROM paths WHERE sh_code = 'two'"))
    assert "Seq Scan on paths" in plan
    assert "Append" not in plan


@ON_POSTGRESQL
def test_names_are_those_of_the_shard_within_it(store: Store, node: str) -> None:
    store.shards.create("gfz", "/a", node, open_paths=False)

    def find(connection: Any) -> str:
        cursor = connection.cursor()
        cursor.execute("SELECT relnamespace::regnamespace::text FROM pg_class WHERE oid = 'paths'::regclass")
        (found,) = cursor.fetchone()
        return str(found)

    with store.database.transaction() as connection:
        with store.shards.storage.enter(connection, "gfz"):
            assert find(connection) == "gfz"
        assert find(connection) == "public"


def test_node_with_shards_is_named(store: Store, node: str) -> None:
    store.shards.create("gfz", "/a", node, open_paths=False)
    with pytest.raises(NodeHasShards, match="gfz"):
        store.shards.check_node_has_none(node)


def test_tables_of_both_databases_have_the_same_columns(store: Store, node: str) -> None:
    store.shards.create("gfz", "/a", node, open_paths=False)
    with store.database.transaction() as connection:
        for view, columns in VIEWS.items():
            cursor = connection.cursor()
            cursor.execute(f"SELECT * FROM {view} WHERE sh_code = 'gfz'")
            assert [column[0] for column in cursor.description] == [*columns, "sh_code"]
