"""Raw logs that cannot be stored as a whole: nothing of them is, and they can be stored later."""

from collections.abc import Callable, Iterator
from contextlib import closing

import psycopg2
import pytest

from eida_statistics.errors import ForeignLog
from eida_stats_webservice.errors import DatabaseUnavailable
from eida_stats_webservice.ringserver.raw_logs.models import RawLog
from support.node_client import make_node
from support.raw_logs import make_log, make_settings
from support.stores import ON_POSTGRESQL, Store
from support.tables import count
from support.transfer_logs import Log, Stream

TABLES = (
    "payloads",
    "networks",
    "ringserver_events",
    "ringserver_records",
    "ringserver_by_client",
    "ringserver_stats",
)
# More than are written at once, so that the first ones are on their way to the database.
STREAMS = tuple(Stream(f"GE_S{number}_00_HHZ/MSEED") for number in range(20_000))
RECORDS = [Log(address=f"192.0.2.{number}", streams=STREAMS).text() for number in range(3)]


def store_log(store: Store, *chunks: bytes, last: Callable[[], None] = lambda: None) -> int:
    """Store a log in which something happens at the end, and return the number of its records."""

    def read() -> Iterator[bytes]:
        yield from chunks
        last()

    node = store.registry.find_node("GFZ")
    return store.raw_logs.store(node, [RawLog("log", "", None, read())], make_settings()).records


def interrupt() -> None:
    raise KeyboardInterrupt


def end_sessions(uri: str) -> None:
    with closing(psycopg2.connect(uri)) as connection, connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )


def check_later(store: Store) -> None:
    """Check that nothing is stored, and that the log can be stored later."""
    assert [count(store, table) for table in TABLES] == [0] * len(TABLES)
    assert store_log(store, *RECORDS) == 3
    assert count(store, "ringserver_events") == 60_000


def test_interrupted_run_stores_nothing(store: Store) -> None:
    make_node(store, "GFZ")
    with pytest.raises(KeyboardInterrupt):
        store_log(store, *RECORDS, last=interrupt)
    check_later(store)


def test_foreign_log_after_a_good_one(store: Store) -> None:
    node, _ = make_node(store, "GFZ")
    logs = [make_log(b"".join(RECORDS)), make_log(b"<html>\n<body>\n", "page.html")]
    with pytest.raises(ForeignLog):
        store.raw_logs.store(node, logs, make_settings())
    check_later(store)


@ON_POSTGRESQL
def test_lost_session_stores_nothing(store: Store, store_uri: str) -> None:
    make_node(store, "GFZ")
    with pytest.raises(DatabaseUnavailable):
        store_log(store, *RECORDS, last=lambda: end_sessions(store_uri))
    check_later(store)
