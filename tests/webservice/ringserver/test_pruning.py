"""Old records, events and hours are deleted and stay so, on both stores and while logs are stored."""

import datetime
import threading
import time

import pytest
from flask.testing import FlaskClient

from eida_statistics import hll
from eida_statistics.ringserver.events import TX
from eida_stats_webservice.config import PrivacySettings
from eida_stats_webservice.errors import DatabaseLocked
from eida_stats_webservice.query.decisions import Decisions
from eida_stats_webservice.query.model import StatisticsQuery
from eida_stats_webservice.query.usage import Usage
from eida_stats_webservice.registry.models import Node, Viewer
from eida_stats_webservice.ringserver.cube import RINGSERVER
from eida_stats_webservice.ringserver.pruning import Kept
from eida_stats_webservice.ringserver.raw_logs.models import Days, RawReceipt, Replacement
from support.node_client import make_node
from support.raw_logs import (
    list_logs,
    make_log,
    make_settings,
    prune,
    read_clients,
    read_events_table,
    read_records,
)
from support.ringserver_days import add_up, list_differences, make_day, read_tables, without_hours
from support.ringserver_federation import Group, make_day_of_groups
from support.roles import grant_service
from support.service import PREFIX
from support.statsman import Statsman
from support.stores import ON_ONE_STORE, ON_POSTGRESQL, Store
from support.tables import count, select
from support.transfer_logs import Log

DAYS = [datetime.date(2026, month, day) for month, day in ((8, 30), (9, 10), (9, 20), (10, 5))]
KEPT = Kept(DAYS[2], DAYS[1])
PENDING = "SELECT count(*) FROM pg_inherits WHERE inhdetachpending"


@pytest.fixture
def node(store: Store) -> Node:
    return make_node(store, "GFZ")[0]


def record(day: datetime.date, client: int = 1) -> Log:
    return Log(address=f"192.0.2.{client}", written=f"{day}T02:04:19Z", connected=f"{day}T00:03:11Z")


def put(store: Store, node: Node, *records: Log) -> RawReceipt:
    log = make_log(b"".join(one.text() for one in records))
    return store.raw_logs.store(node, [log], make_settings())


def test_sums_stay_and_records_are_refused(store: Store, node: Node) -> None:
    put(store, node, *map(record, DAYS))
    assert prune(store, KEPT) == ["2026-08"]
    due = [make_day([record(day)]) for day in DAYS]
    assert read_tables(store, "GFZ") == without_hours(add_up(due), KEPT.hours_from)
    assert {key[0][:7] for key in read_events_table(store)} == {"2026-09", "2026-10"}
    kept = {str(day) for day in DAYS[2:]}
    assert {key[1] for key in read_records(store)} == {key[0] for key in read_clients(store)} == kept
    assert list_differences(store) == []
    # Neither the same records, nor others of these days.
    again = put(store, node, *map(record, DAYS), record(DAYS[1], 9))
    assert (again.rejected.number, again.duplicates, again.records) == (3, 2, 0)
    put(store, node, record(DAYS[3], 9))
    list(store.verification.replay())
    due = [*(make_day([record(day)]) for day in DAYS[:3]), make_day([record(DAYS[3]), record(DAYS[3], 9)])]
    assert read_tables(store, "GFZ") == without_hours(add_up(due), KEPT.hours_from)
    assert list_differences(store) == []
    # Days never go back.
    assert prune(store, Kept(DAYS[0], DAYS[0])) == []
    assert store.pruning.read_kept() == KEPT


def test_another_first_day_of_hours_ends_kept_answers(store: Store, node: Node) -> None:
    put(store, node, *map(record, DAYS))
    before = store.statistics.data_version().revision
    # From now on, earlier hours count in no answer. That they are deleted afterwards changes none.
    store.pruning.keep_from(KEPT)
    after = store.statistics.data_version().revision
    assert after != before
    prune(store, KEPT)
    assert store.statistics.data_version().revision == after


def test_pruned_days_are_neither_replaced_nor_quiet(store: Store, node: Node) -> None:
    put(store, node, record(DAYS[0]), record(DAYS[2]))
    prune(store, KEPT)
    names = [f"txlog-{day:%Y%m%d}T0000-{day + datetime.timedelta(1):%Y%m%d}T0000" for day in DAYS]
    everything = Replacement(Days(None, None))
    logs = list_logs(dict.fromkeys(names, b""))
    receipt = store.raw_logs.store(node, logs, make_settings(), replacement=everything)
    assert [(one.day, one.supersedes) for one in receipt.payloads] == [(DAYS[2], 2), (DAYS[3], None)]
    assert read_tables(store, "GFZ") == without_hours(add_up([make_day([record(DAYS[0])])]), KEPT.hours_from)
    store.payloads.retract(1)
    assert (read_tables(store, "GFZ"), list_differences(store)) == ({}, [])


def test_late_payload_brings_no_hours_back(store: Store, node: Node) -> None:
    prune(store, KEPT)
    early, late = DAYS[0], DAYS[3]
    store.ringserver.ingest(node, make_day([record(early)]))
    store.ringserver.ingest(node, make_day([record(late)]))
    grown = make_day([record(early), record(early, 2)])
    other = make_day([record(early, 3)])
    for payload in (grown, other):
        store.ringserver.replace(node, payload)
        due = add_up([payload, make_day([record(late)])])
        assert read_tables(store, "GFZ") == without_hours(due, KEPT.hours_from)
        assert list_differences(store) == []
        list(store.verification.replay())
        assert read_tables(store, "GFZ") == without_hours(due, KEPT.hours_from)


def test_interrupted_run_is_as_if_complete(store: Store, node: Node) -> None:
    put(store, node, *map(record, DAYS))
    # Nothing else is done yet.
    store.pruning.keep_from(KEPT)
    assert list_differences(store) == []
    assert put(store, node, record(DAYS[0], 9)).rejected.number == 1
    list(store.verification.replay())
    assert read_tables(store, "GFZ") == without_hours(add_up(make_day([record(day)]) for day in DAYS), DAYS[1])
    assert prune(store, KEPT) == ["2026-08"]


@ON_POSTGRESQL
def test_next_run_finishes_detached_months(store: Store, node: Node) -> None:
    put(store, node, *map(record, DAYS))
    detach = "ALTER TABLE ringserver_events DETACH PARTITION ringserver_events_2026"
    store.database.run_alone(f"{detach}_08")
    with store.database.transaction() as connection:
        connection.cursor().execute("SELECT FROM ringserver_events")
        with pytest.raises(DatabaseLocked):
            store.database.run_alone(f"{detach}_09 CONCURRENTLY")
    assert select(store, PENDING) == [(1,)]
    assert prune(store, Kept(DAYS[3], DAYS[3])) == ["2026-08", "2026-09"]
    tables = select(store, "SELECT relname FROM pg_class WHERE relkind = 'r' AND relname ~ '^ringserver_events_'")
    assert tables == [("ringserver_events_2026_10",)]
    assert len(read_events_table(store)) == 1


@ON_POSTGRESQL
def test_logs_are_stored_while_events_are_deleted(store: Store, node: Node) -> None:
    put(store, node, *map(record, DAYS[:3]))
    kept, months = Kept(DAYS[3], DAYS[3]), []
    thread = threading.Thread(target=lambda: months.extend(prune(store, kept)))
    with store.database.transaction() as connection:
        # Someone reads events for a long time.
        connection.cursor().execute("SELECT FROM ringserver_events")
        thread.start()
        while select(store, PENDING) != [(1,)]:
            time.sleep(0.01)
        # The partition of this month is created.
        assert put(store, node, record(DAYS[3])).records == 1
        assert put(store, node, record(DAYS[3], 2)).records == 1
        assert put(store, node, record(DAYS[2], 2)).rejected.number == 1
    thread.join()
    assert months == ["2026-08", "2026-09"]
    assert sum(read_events_table(store).values()) == len(read_records(store)) * len(Log().streams)
    assert list_differences(store) == []


def test_command_prints_what_it_deletes(store: Store, store_uri: str, node: Node) -> None:
    today = datetime.datetime.now(tz=datetime.UTC).date()
    old, new = (datetime.date(2019, 12, 20), today - datetime.timedelta(2))
    put(store, node, record(old), record(new))
    statsman = Statsman(store_uri)
    words = ("ringserver", "prune", "--keep", "90d", "--keep-hours", "400d")
    before = [count(store, f"ringserver_{name}") for name in ("records", "by_client", "by_hour", "events")]
    tried = statsman.run(*words, "--dry-run").splitlines()
    assert [count(store, f"ringserver_{name}") for name in ("records", "by_client", "by_hour", "events")] == before
    first_days = [str(today - datetime.timedelta(days)) for days in (90, 400)]
    assert tried == [
        f"records and clients are kept from {first_days[0]}",
        f"hours are kept from {first_days[1]}",
        "would delete 1 records, 1 sums by client, 3 sums by hour of GFZ",
        "would delete the events of 2019-12",
    ]
    if store.database.dialect == "postgresql":
        refused = Statsman(grant_service(store_uri))(*words)
        assert (refused.returncode, "role that owns the tables" in refused.stderr) == (1, True)
    done = statsman.run(*words).splitlines()
    assert done == [line.replace("would delete", "deleted") for line in tried]
    assert statsman.run(*words).splitlines() == tried[:2]
    longer = statsman.run(*words[:3], "365d", *words[4:])
    assert "(earlier ones are deleted already)" in longer
    retracted = statsman("payloads", "retract", "1")
    assert (retracted.returncode, "cannot be stored again" in retracted.stderr) == (0, True)
    for keep, hours in (("90", "400d"), ("0d", "400d"), ("6d", "400d"), ("90d", "89d"), ("-9d", "400d")):
        assert statsman("ringserver", "prune", "--keep", keep, "--keep-hours", hours).returncode == 2
    assert statsman("ringserver", "prune", "--keep", "90d").returncode == 2


@pytest.mark.parametrize("keeps_decisions", [False, True])
@pytest.mark.parametrize("step", ["kept from", "deleted"])
def test_sketches_without_hours_are_withheld(store: Store, node: Node, *, keeps_decisions: bool, step: str) -> None:
    """Nobody can say of a row without its hours whether its total hides a client."""
    # The total of August, and that of the year, would reveal the client of GE.
    federation = (
        [Group("GE", [1]), Group("FR", range(100, 130))],
        [Group("ES", range(30))],
        [Group("ES", range(30)), Group("IT", range(20))],
        [Group("CH", range(30))],
    )
    for day, groups in zip(DAYS, federation, strict=True):
        store.ringserver.ingest(node, make_day_of_groups(day, groups))
    settings = PrivacySettings(min_clients=5, closed_after_days=0, min_sketch_clients=5)
    usage = Usage(store.statistics, store.registry, settings, decisions=Decisions() if keeps_decisions else None)

    def list_disclosed(
        level: str | None, details: str, start: datetime.date, *, is_public: bool = True
    ) -> list[str]:
        query = StatisticsQuery(
            cube=RINGSERVER,
            start=start,
            end=datetime.date(2026, 10, 31),
            level=level,
            details=frozenset([details] if details else []),
            choices={"direction": TX},
        )
        today = datetime.date(2026, 11, 20)
        rows = (
            usage.answer_public(query, today, sketches=True)
            if is_public
            else usage.answer_restricted(query, Viewer(), today, sketches=True)
        )
        return [" ".join((row.date, row.keys[2])) for row in rows if row.hll_clients != hll.EMPTY]

    august, september, october = (datetime.date(2026, month, 1) for month in (8, 9, 10))
    assert list_disclosed(None, "", august) == list_disclosed(None, "year", august) == []
    assert list_disclosed(None, "", september) == ["* *"]
    assert list_disclosed(None, "", september, is_public=False) == ["* *"]
    assert list_disclosed(None, "month", september) == ["2026-09 *", "2026-10 *"]
    months = ["2026-09 ES", "2026-09 IT", "2026-10 CH"]
    assert list_disclosed("network", "month", september) == months

    # The hours of 30 August and 10 September.
    kept = Kept(DAYS[2], DAYS[2])
    store.pruning.keep_from(kept)
    if step == "deleted":
        prune(store, kept)
    assert list_disclosed(None, "", august) == list_disclosed(None, "year", august) == []
    # A sum of months is about whole ones.
    assert list_disclosed(None, "", september) == list_disclosed(None, "", DAYS[2]) == []
    assert list_disclosed(None, "month", september) == ["2026-10 *"]
    assert list_disclosed(None, "", september, is_public=False) == []
    assert list_disclosed(None, "", october) == list_disclosed(None, "", october, is_public=False) == ["* *"]
    assert list_disclosed("network", "month", september) == ["2026-10 CH"]
    days = ["2026-09-20 ES", "2026-09-20 IT", "2026-10-05 CH"]
    assert list_disclosed("network", "day", september) == days
    hours = [f"{day[:10]}T12{day[10:]}" for day in days]
    assert list_disclosed("network", "hour", DAYS[2]) == hours
    assert list_disclosed("network", "year", october) == ["2026 CH"]


@ON_ONE_STORE
def test_hours_that_count_no_more_suppress_nothing(store: Store, node: Node) -> None:
    """So the answer stays the same when they are deleted."""
    # Before, the total of September without the second day would reveal the client of the first one.
    for day, groups in ((DAYS[1], [Group("ES", [1])]), (DAYS[2], [Group("ES", range(30))])):
        store.ringserver.ingest(node, make_day_of_groups(day, [*groups, Group("IT", range(30))]))
    usage = Usage(
        store.statistics,
        store.registry,
        PrivacySettings(min_clients=5, closed_after_days=0, min_sketch_clients=5),
    )
    query = StatisticsQuery(
        cube=RINGSERVER,
        start=datetime.date(2026, 9, 1),
        end=datetime.date(2026, 9, 30),
        details=frozenset({"day"}),
        choices={"direction": TX},
    )

    def list_disclosed() -> list[str]:
        rows = usage.answer_public(query, datetime.date(2026, 11, 20), sketches=True)
        return [row.date for row in rows if row.hll_clients != hll.EMPTY]

    assert list_disclosed() == []
    kept = Kept(DAYS[2], DAYS[2])
    store.pruning.keep_from(kept)
    assert list_disclosed() == [str(DAYS[2])]
    prune(store, kept)
    assert list_disclosed() == [str(DAYS[2])]


@ON_ONE_STORE
def test_query_for_deleted_hours_is_refused(store: Store, node: Node, client: FlaskClient) -> None:
    put(store, node, *map(record, DAYS))
    prune(store, KEPT)
    path = f"{PREFIX}/ringserver/public?details=hour&end=2026-10-31&start="
    refused = client.get(f"{path}2026-09-09&format=json")
    assert refused.status_code == 400
    assert refused.json is not None
    assert "hours before 2026-09-10 are not kept" in refused.json["detail"]
    assert client.get(f"{path}2026-09-10").data.count(b"2026-09-10T") == 3
    assert client.get(f"{path.replace('hour', 'day')}2026-08-01").data.count(b"2026-08-30") == 1
