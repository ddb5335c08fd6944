"""PostgreSQL: the functions with the rights of the owner, which the role of the service may call."""

import datetime
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any

import psycopg2
import pytest
from psycopg2.errors import CheckViolation, InsufficientPrivilege

from support.kinds import insert_ringserver_payload
from support.node_client import make_node
from support.stores import ON_POSTGRESQL, Store
from support.tables import select

PARTITIONS = (
    "SELECT inhrelid::regclass::text, pg_get_expr(relpartbound, inhrelid) FROM pg_inherits"
    " JOIN pg_class ON pg_class.oid = inhrelid WHERE inhparent = 'ringserver_events'::regclass ORDER BY 1"
)
CREATE = "SELECT ringserver_create_partition(%s)"


@pytest.fixture
def service(service_uri: str) -> Iterator[Any]:
    """Return a connection as the service, in a time zone far from UTC."""
    with closing(psycopg2.connect(service_uri)) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute("SET TIME ZONE 'Pacific/Auckland'; SET datestyle = 'SQL, DMY'")
            yield cursor


@ON_POSTGRESQL
def test_service_creates_partitions(store: Store, service: Any) -> None:
    today = datetime.datetime.now(tz=datetime.UTC).date()
    next_month = (today.replace(day=1) + datetime.timedelta(days=31)).replace(day=1)
    for day in ("2016-02-29", "2016-02-01", "1990-01-01", "2015-12-31", str(next_month)):
        service.execute(CREATE, (day,))
    found = dict(select(store, PARTITIONS))
    assert list(found)[:3] == [f"ringserver_events_{month}" for month in ("1990_01", "2015_12", "2016_02")]
    assert len(found) == 4
    row = "(%s, 1, '', 'TX', '', '', '', '', 1, 1, '', '', '', '', '', '')"
    for time in ("2016-02-01T00:00:00Z", "2016-02-29T23:59:59.999Z", "2015-12-31T23:59:59Z"):
        service.execute(f"INSERT INTO ringserver_events VALUES {row}", (time,))
    for time in ("2016-01-31T23:59:59Z", "2016-03-01T00:00:00Z"):
        with pytest.raises(CheckViolation):
            service.execute(f"INSERT INTO ringserver_events VALUES {row}", (time,))
    for day in ("1989-12-31", "9999-01-01", "infinity", None, str(next_month + datetime.timedelta(days=31))):
        with pytest.raises(CheckViolation):
            service.execute(CREATE, (day,))


@ON_POSTGRESQL
def test_callers_at_once_create_one_partition(store: Store, service_uri: str) -> None:
    def create(_: int) -> None:
        with closing(psycopg2.connect(service_uri)) as connection, connection, connection.cursor() as cursor:
            cursor.execute(CREATE, ("2016-02-29",))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(create, range(8)))
    assert len(select(store, PARTITIONS)) == 1


@ON_POSTGRESQL
def test_only_contained_bodies_can_be_emptied(store: Store, service: Any) -> None:
    node, _ = make_node(store, "GFZ")
    first, second = (
        insert_ringserver_payload(store, node, datetime.date(2026, 11, 22), digest=digest * 32) for digest in "ab"
    )
    lengths = "SELECT length(body) = 0 FROM payloads ORDER BY id"
    service.execute("SELECT ringserver_set_body(%s, '')", (first,))
    service.execute("UPDATE payloads SET origin = 'raw-logs'")
    service.execute("SELECT ringserver_set_body(%s, 'other')", (first,))
    service.execute("SELECT ringserver_set_body(%s, '')", (first,))
    assert select(store, lengths) == [(False,), (False,)]
    service.execute("UPDATE payloads SET superseded_by = %s, withdrawn_at = now() WHERE id = %s", (second, first))
    service.execute("SELECT ringserver_set_body(%s, '')", (first,))
    assert select(store, lengths) == [(True,), (False,)]
    service.execute("SELECT ringserver_set_body(%s, 'other')", (first,))
    assert select(store, "SELECT body FROM payloads WHERE id = 1")[0][0].tobytes() == b"other"


@ON_POSTGRESQL
def test_caller_has_no_other_rights(store: Store, service: Any) -> None:
    service.execute(CREATE, ("2016-02-29",))
    for statement in (
        "DROP TABLE ringserver_events_2016_02",
        "INSERT INTO ringserver_events_2016_02 SELECT * FROM ringserver_events",
        "UPDATE ringserver_pruned SET records_from = '1970-01-01'",
        "ALTER TABLE ringserver_events DETACH PARTITION ringserver_events_2016_02",
    ):
        with pytest.raises(InsufficientPrivilege):
            service.execute(statement)
    # A table of the caller is not taken for that of the owner.
    service.execute("CREATE TEMPORARY TABLE ringserver_events (time timestamptz) PARTITION BY RANGE (time)")
    service.execute(CREATE, ("2016-03-29",))
    assert len(select(store, PARTITIONS)) == 2


@ON_POSTGRESQL
def test_removed_node_takes_its_events_along(store: Store, service: Any) -> None:
    node, _ = make_node(store, "GFZ")
    service.execute(CREATE, ("2016-02-29",))
    service.execute(
        "INSERT INTO ringserver_events SELECT '2016-02-29', id, '', 'TX', '', '', '', '', 1, 1, '', '', '', '', '',"
        " '' FROM (VALUES (%s), (77)) AS ids (id)",
        (node.id,),
    )
    store.registry.remove_node("GFZ")
    assert select(store, "SELECT node_id FROM ringserver_events") == [(77,)]
