"""The order of locks: all writers lock the node before its rows, so that none of them deadlock."""

import ast
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import psycopg2
import pytest

import eida_stats_webservice
from eida_stats_webservice.database import migrations
from eida_stats_webservice.registry.models import Node
from support.dates import DAY, NOW
from support.node_client import make_node
from support.payloads import payload, row
from support.processes import wait_for
from support.raw_logs import make_log, make_settings
from support.stores import ON_POSTGRESQL, Store
from support.tables import select
from support.transfer_logs import Log

OTHER = payload(row(bytes=1024))

# Each gets a store with a node GFZ that sent payload 1 of network GE.
WRITERS: dict[str, Callable[[Store, Node], object]] = {
    "ingest": lambda store, node: store.dataselect.ingest(node, OTHER),
    "replace": lambda store, node: store.dataselect.replace(node, OTHER),
    "store": lambda store, node: store.raw_logs.store(node, [make_log(Log().text())], make_settings()),
    "retract": lambda store, _: store.payloads.retract(1),
    "delete_rows": lambda store, node: store.pruning.delete_rows(node, store.pruning.read_kept()),
    "verify": lambda store, _: list(store.verification.verify()),
    "replay": lambda store, _: list(store.verification.replay()),
    "update_node": lambda store, _: store.registry.update_node("GFZ", new_name="GEOFON", contact=None),
    "remove_node": lambda store, _: store.registry.remove_node("GFZ"),
    "set_node_policy": lambda store, _: store.registry.set_node_policy("GFZ", restricted=True),
    "set_node_group": lambda store, _: store.registry.set_node_group("GFZ", "group"),
    "add_network": lambda store, _: store.registry.add_network("GFZ", "IU"),
    "set_network_policy": lambda store, _: store.registry.set_network_policy("GFZ", "GE", inverted=True),
    "set_network_group": lambda store, _: store.registry.set_network_group("GFZ", "GE", "group"),
    "add_token": lambda store, _: store.registry.add_token("GFZ", NOW - DAY, NOW + DAY),
}
# All functions that begin a writing transaction. Add new ones here and to WRITERS.
BEGIN_TO_WRITE = {
    "_store", "store", "retract", "_lock", "_change_node", "remove_node", "_add_token",
    "delete_rows",
    # It changes days that are kept, of all nodes. The rows of each are deleted later.
    "keep_from",
    # It has no row yet that could be locked.
    "add_node",
    # It locks only the row of one token.
    "revoke_token",
    # The database is empty.
    "copy_from", "import_legacy",
    # It changes rights, no rows.
    "apply",
    # The functions above call these.
    "administer", "attempt",
    # It drops tables that nobody writes to.
    "run_alone",
}  # fmt: skip


@pytest.fixture
def node(store: Store) -> Node:
    node, _ = make_node(store, "GFZ")
    store.dataselect.ingest(node, payload(row()))
    return node


@contextmanager
def lock_node(uri: str, node: Node) -> Iterator[None]:
    """Lock a node, as a slow payload does."""
    connection = psycopg2.connect(uri)
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT FROM nodes WHERE id = %s FOR NO KEY UPDATE", (node.id,))
        yield
    finally:
        connection.close()


@contextmanager
def run_behind_lock(store: Store, uri: str, node: Node, write: Callable[[], object]) -> Iterator[Future[object]]:
    """Run a function that waits for a node until the context ends; then wait for the function."""
    with ThreadPoolExecutor() as threads:
        with lock_node(uri, node):
            writer = threads.submit(write)
            wait_for(lambda: list_waiting(store))
            yield writer
        writer.result()


def list_waiting(store: Store) -> list[tuple[object, ...]]:
    """Return the transaction id of each session that waits for a lock; None if it has written nothing yet."""
    return select(store, "SELECT backend_xid FROM pg_stat_activity WHERE wait_event_type = 'Lock'")


def test_all_writers_are_known() -> None:
    found = set()
    for path in Path(eida_stats_webservice.__file__).parent.rglob("*.py"):
        if {"archive", "connections"} & set(path.parts):
            # They have locks of their own, and touch no rows of payloads.
            continue
        for function in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(function, ast.FunctionDef) and any(map(begins_to_write, ast.walk(function))):
                found.add(function.name)
    assert found == BEGIN_TO_WRITE


def begins_to_write(call: ast.AST) -> bool:
    if not (isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute)):
        return False
    return call.func.attr == "administer" or (
        call.func.attr == "transaction" and any(keyword.arg == "write" for keyword in call.keywords)
    )


@ON_POSTGRESQL
@pytest.mark.parametrize("name", WRITERS)
def test_writer_locks_the_node_first(store: Store, store_uri: str, node: Node, name: str) -> None:
    with run_behind_lock(store, store_uri, node, lambda: WRITERS[name](store, node)):
        assert list_waiting(store) == [(None,)]


@ON_POSTGRESQL
def test_policy_of_a_busy_node_delays_no_other(store: Store, store_uri: str, node: Node) -> None:
    other, _ = make_node(store, "BGR")
    with run_behind_lock(
        store, store_uri, node, lambda: store.registry.set_node_policy("GFZ", restricted=True)
    ) as policy:
        store.dataselect.ingest(other, OTHER)
        assert not policy.done()
    assert dict(store.registry.list_policies())["GFZ"] is True


@ON_POSTGRESQL
def test_policy_waits_longer_than_one_attempt(
    store: Store, store_uri: str, node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    attempts = []
    queries = store.database._queries
    wait_briefly = queries.wait_briefly
    monkeypatch.setattr(queries, "wait_briefly", lambda one: (attempts.append(one), wait_briefly(one)))
    with run_behind_lock(store, store_uri, node, lambda: store.registry.set_node_policy("GFZ", restricted=True)):
        wait_for(lambda: len(attempts) > 1)
    assert dict(store.registry.list_policies())["GFZ"] is True


@ON_POSTGRESQL
def test_revoking_a_token_waits_for_no_node(store: Store, store_uri: str, node: Node) -> None:
    (token,) = store.registry.list_tokens()
    with lock_node(store_uri, node):
        store.registry.revoke_token(token.id, NOW)
    (token,) = store.registry.list_tokens()
    assert token.revoked_at is not None


# The time of the last change


def test_each_change_has_a_later_time(store: Store, node: Node) -> None:
    times = [store.statistics.data_version().changed_at]
    for number in range(1, 6):
        store.registry.set_node_policy("GFZ", restricted=number % 2 == 1)
        times.append(store.statistics.data_version().changed_at)
        store.dataselect.ingest(node, payload(row(bytes=number)))
        times.append(store.statistics.data_version().changed_at)
    assert times == sorted(set(times))


def test_removal_is_later_than_the_removed_node(store: Store, node: Node) -> None:
    make_node(store, "BGR")
    with store.database.transaction(write=True) as connection:
        connection.cursor().execute(
            "UPDATE nodes SET changed_at = '2090-01-01T00:00:00.000+00:00' WHERE name = 'BGR'"
        )
    before = store.statistics.data_version()
    store.registry.remove_node("BGR")
    assert before.changed_at < store.statistics.data_version().changed_at
    assert before.revision != store.statistics.data_version().revision


def test_set_back_clock_yields_no_earlier_time(store: Store, node: Node) -> None:
    with store.database.transaction(write=True) as connection:
        connection.cursor().execute("UPDATE nodes SET changed_at = '2090-01-01T00:00:00.000+00:00'")
    before = store.statistics.data_version().changed_at
    store.dataselect.ingest(node, OTHER)
    payload_stored = store.statistics.data_version().changed_at
    store.registry.set_node_policy("GFZ", restricted=True)
    assert before < payload_stored < store.statistics.data_version().changed_at


@ON_POSTGRESQL
def test_time_is_read_after_waiting_for_locks(store: Store, store_uri: str, node: Node) -> None:
    other, _ = make_node(store, "BGR")
    with run_behind_lock(store, store_uri, node, lambda: store.registry.set_node_policy("GFZ", restricted=True)):
        store.dataselect.ingest(other, OTHER)
        before = store.statistics.data_version()
    after = store.statistics.data_version()
    assert before.changed_at < after.changed_at
    assert before.revision != after.revision


@ON_POSTGRESQL
def test_migration_that_waits_lets_others_through(
    store: Store, store_uri: str, node: Node, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "9999_column.sql").write_text("ALTER TABLE nodes ADD COLUMN something integer")
    monkeypatch.setattr(migrations, "FOLDER", tmp_path)
    with ThreadPoolExecutor() as threads:
        with keep_reading(store_uri):
            migration = threads.submit(migrations.apply, store_uri)
            wait_for(lambda: list_waiting(store))
            # This waits for the lock of the migration, which gives up first.
            assert select(store, "SELECT name FROM nodes") == [("GFZ",)]
            assert not migration.done()
        assert migration.result() == ["9999_column"]


@contextmanager
def keep_reading(uri: str) -> Iterator[None]:
    """Read from the nodes in a transaction that stays open, as a client does that stops reading."""
    connection = psycopg2.connect(uri)
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT FROM nodes")
        yield
    finally:
        connection.close()
