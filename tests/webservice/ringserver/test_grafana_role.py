"""PostgreSQL: the role of Grafana reads the views of its dashboard, and nothing else."""

from collections.abc import Iterator
from contextlib import closing
from typing import Any

import psycopg2
import pytest
from psycopg2.errors import InsufficientPrivilege

from support.roles import GRAFANA, grant_grafana
from support.statsman import Statsman
from support.stores import ON_POSTGRESQL, Store
from support.tables import select

RELATIONS = (
    "SELECT relname, relkind FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind <> 'i'"
    " AND relkind <> 'I' ORDER BY 1"
)
FUNCTIONS = (
    "SELECT oid::regprocedure::text FROM pg_proc WHERE pronamespace = 'public'::regnamespace AND NOT EXISTS"
    " (SELECT FROM pg_depend WHERE objid = pg_proc.oid AND deptype = 'e') ORDER BY 1"
)
COLUMNS = (
    "SELECT table_name, column_name, udt_name FROM information_schema.columns JOIN information_schema.views"
    " USING (table_schema, table_name) WHERE table_schema = 'public' AND table_name LIKE 'grafana%'"
)
FORBIDDEN = (
    "UPDATE grafana_nodes SET node = 'mine'",
    "DELETE FROM grafana_nodes",
    "INSERT INTO grafana_nodes VALUES ('mine')",
    "CREATE TABLE mine (number integer)",
    "CREATE TEMPORARY TABLE mine (number integer)",
    "CREATE VIEW mine AS SELECT 1",
    "SELECT name FROM nodes",
    "SELECT clients FROM ringserver_by_day",
)


@pytest.fixture
def grafana(store: Store, store_uri: str) -> Iterator[Any]:
    """Return a cursor of the role of Grafana, whose rights the command of the README has granted."""
    uri = grant_grafana(store_uri)
    with closing(psycopg2.connect(store_uri)) as connection, connection, connection.cursor() as cursor:
        cursor.execute(f"DROP OWNED BY {GRAFANA}")
        cursor.execute("SELECT ringserver_create_partition('2026-11-01')")
    granted = Statsman(store_uri).run("db", "grant", "--role", GRAFANA, "--read-dashboard")
    assert granted == f"granted the right to read the dashboard to {GRAFANA}\n"
    with closing(psycopg2.connect(uri)) as connection:
        connection.autocommit = True
        yield connection.cursor()


@ON_POSTGRESQL
def test_role_reads_the_views_alone(store: Store, grafana: Any) -> None:
    readable, refused = set(), set()
    for name, _ in select(store, RELATIONS):
        try:
            grafana.execute(f"SELECT * FROM {name}")
            readable.add(name)
        except InsufficientPrivilege:
            refused.add(name)
    assert readable == {table for table, *_ in select(store, COLUMNS)}
    assert len(readable) == 9
    assert refused > {"nodes", "tokens", "payloads", "ringserver_by_day", "ringserver_events_2026_11"}


@ON_POSTGRESQL
def test_role_may_call_none_of_our_functions(store: Store, grafana: Any) -> None:
    ours = [name for (name,) in select(store, FUNCTIONS)]
    assert len(ours) >= 3
    for name in ours:
        grafana.execute("SELECT has_function_privilege(%s, 'EXECUTE')", (name,))
        assert grafana.fetchone() == (False,), name
    with pytest.raises(InsufficientPrivilege):
        grafana.execute("SELECT ringserver_create_partition('2026-10-01')")


@ON_POSTGRESQL
def test_role_changes_nothing(grafana: Any) -> None:
    for statement in FORBIDDEN:
        with pytest.raises(InsufficientPrivilege):
            grafana.execute(statement)


@ON_POSTGRESQL
def test_no_view_has_a_sketch(store: Store) -> None:
    assert {kind for *_, kind in select(store, COLUMNS)} == {"date", "timestamptz", "text", "varchar", "int8"}


@ON_POSTGRESQL
def test_one_role_must_be_named(store_uri: str) -> None:
    statsman = Statsman(store_uri)
    for words in (["--read-dashboard"], ["one", "--role", "other"]):
        refused = statsman("db", "grant", *words)
        assert (refused.returncode, "Name the role" in refused.stderr) == (2, True)
    unknown = statsman("db", "grant", "--role", "nobody", "--read-dashboard")
    assert (unknown.returncode, "CREATE ROLE" in unknown.stderr) == (1, True)
