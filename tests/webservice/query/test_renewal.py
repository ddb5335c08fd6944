"""Decisions are made again in the background after a change, so that no query waits for them."""

import datetime
import gc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests

from eida_stats_webservice.config import PrivacySettings
from eida_stats_webservice.dataselect.cube import DATASELECT
from eida_stats_webservice.errors import DatabaseTooSlow
from eida_stats_webservice.query import suppression
from eida_stats_webservice.query.decisions import Decisions
from eida_stats_webservice.query.model import DataVersion, StatisticsQuery
from eida_stats_webservice.query.renewal import Renewal
from eida_stats_webservice.query.small_groups import find_suppressed
from eida_stats_webservice.query.suppression import SuppressedKeys
from eida_stats_webservice.query.usage import Usage
from support.node_client import make_node
from support.payloads import payload, row, sketch
from support.processes import wait_for
from support.service import Service
from support.stores import ON_ONE_STORE, ON_POSTGRESQL, Store

TODAY = datetime.datetime.now(tz=datetime.UTC).date()
PERIOD: dict[str, Any] = {"cube": DATASELECT, "start": datetime.date(2025, 9, 1), "end": datetime.date(2025, 11, 1)}
BY_NETWORK = StatisticsQuery(**PERIOD, filters={"network": ("GE",)}, details=frozenset({"month"}))
BY_COUNTRY = StatisticsQuery(**PERIOD, filters={"country": ("DE",)})
OF_ALL = StatisticsQuery(**PERIOD, level="network")


class Answers:
    """Answers queries with decisions that are kept, and counts the decisions that are made."""

    def __init__(self, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
        self._store = store
        self._node, _ = make_node(store, "GFZ")
        self._days = iter(range(1, 30))
        self.decisions = Decisions()
        self._usage = Usage(store.statistics, store.registry, PrivacySettings(2, 0, 3), decisions=self.decisions)
        self.renewal = Renewal(self._usage, self.decisions)
        self.made = 0

        def decide(*arguments: Any) -> Any:
            self.made += 1
            return find_suppressed(*arguments)

        monkeypatch.setattr(suppression, "find_suppressed", decide)
        self.change()

    def change(self) -> None:
        rows = [row(month="2025-10-01", network=network, clients=sketch((1, 2, 3))) for network in ("FR", "GE")]
        day = f"2025-10-{next(self._days):02}"
        self._store.dataselect.ingest(self._node, payload(*rows, days_coverage=[day]))

    def count_made(self, work: Callable[[], object]) -> int:
        before = self.made
        work()
        return self.made - before

    def query(self, *queries: StatisticsQuery, sketches: bool = False) -> int:
        """Answer queries, and return how many decisions that took."""
        return self.count_made(
            lambda: [list(self._usage.answer_public(one, TODAY, sketches=sketches)) for one in queries]
        )

    def renew(self) -> int:
        """Return how many decisions a renewal makes again."""
        return self.count_made(self.renewal.renew)


@pytest.fixture
def answers(store: Store, monkeypatch: pytest.MonkeyPatch) -> Answers:
    return Answers(store, monkeypatch)


@ON_ONE_STORE
def test_renewal_spares_queries_after_a_change_their_decisions(answers: Answers) -> None:
    made = answers.query(BY_NETWORK, BY_COUNTRY)
    assert made > 1
    assert answers.query(BY_NETWORK, BY_COUNTRY) == 0
    answers.change()
    # The first time, it only sees the change.
    assert answers.renew() == 0
    assert answers.renew() == made
    assert answers.query(BY_NETWORK, BY_COUNTRY) == 0
    assert answers.renew() == 0


@ON_ONE_STORE
def test_renewal_waits_until_changes_end(answers: Answers) -> None:
    answers.query(BY_NETWORK)
    for _ in range(3):
        answers.change()
        assert answers.renew() == 0
    assert answers.renew() > 0


@ON_ONE_STORE
def test_renewal_makes_what_queries_have_not_made_themselves(answers: Answers) -> None:
    answers.query(BY_NETWORK, BY_COUNTRY)
    answers.change()
    answers.renew()
    assert answers.query(BY_NETWORK) > 0
    assert answers.renew() > 0
    assert answers.query(BY_NETWORK, BY_COUNTRY) == 0


@ON_ONE_STORE
@pytest.mark.parametrize("query", [OF_ALL, BY_NETWORK])
def test_renewal_makes_decisions_about_sketches(answers: Answers, query: StatisticsQuery) -> None:
    answers.query(query, sketches=True)
    answers.change()
    answers.renew()
    answers.renew()
    kept = len(answers.decisions)
    answers.query(query, sketches=True)
    assert len(answers.decisions) == kept


@ON_ONE_STORE
def test_nothing_is_renewed_without_queries(answers: Answers) -> None:
    answers.renew()
    answers.change()
    assert [answers.renew() for _ in range(3)] == [0, 0, 0]


@ON_ONE_STORE
def test_only_recent_decisions_are_renewed(answers: Answers) -> None:
    answers.query(BY_NETWORK)
    assert answers.decisions.list_used(3600)
    assert not answers.decisions.list_used(0)
    # A renewal is not a use.
    before = answers.decisions.list_used(3600)
    answers.change()
    answers.renew()
    answers.renew()
    after = answers.decisions.list_used(3600)
    assert [one.queried_at for one in after] == [one.queried_at for one in before]
    assert [one.version for one in after] != [one.version for one in before]


def make_version(revision: int = 1) -> DataVersion:
    return DataVersion(str(revision), datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC))


@ON_ONE_STORE
def test_the_latest_decisions_are_remembered(answers: Answers, store: Store) -> None:
    decisions = Decisions()
    source = Usage(store.statistics, store.registry, PrivacySettings(2, 0, 3))
    find = decisions.at(make_version(), source)
    for number in [*range(20), 5]:
        assert find(number, int, lambda _: 7) == 7
    assert [one.key for one in decisions.list_used(60)] == [5, *range(19, 5, -1), 4][:16]


@ON_ONE_STORE
def test_failed_renewal_is_left_to_a_query(answers: Answers, monkeypatch: pytest.MonkeyPatch) -> None:
    made = answers.query(BY_NETWORK)
    answers.change()
    answers.renew()
    with monkeypatch.context() as patch:

        def fail(*_: Any) -> Any:
            raise DatabaseTooSlow

        patch.setattr(suppression, "find_suppressed", fail)
        # Each decision is tried once.
        for _ in range(made):
            with pytest.raises(DatabaseTooSlow):
                answers.renewal.renew()
        answers.renewal.renew()
    assert answers.renew() == 0
    assert answers.query(BY_NETWORK) == made


@ON_ONE_STORE
def test_nothing_of_a_query_stays_in_memory(answers: Answers) -> None:
    gc.collect()
    gc.disable()
    try:
        answers.query(BY_NETWORK, sketches=True)
        assert not [one for one in gc.get_objects() if isinstance(one, SuppressedKeys)]
    finally:
        gc.enable()


@ON_POSTGRESQL
def test_service_renews_decisions_by_itself(store: Store, service_uri: str, tmp_path: Path) -> None:
    rows = [row(month="2025-10-01", network=network, clients=sketch((1, 2, 3))) for network in ("FR", "GE")]
    store.dataselect.ingest(make_node(store, "GFZ")[0], payload(*rows, days_coverage=["2025-10-01"]))
    table = "dataselect_stats_by_network_country"
    with Service(service_uri, tmp_path, workers=1, MIN_CLIENTS="2") as service:
        query = "start=2025-10&end=2025-10&network=GE&details=country"
        requests.get(f"{service.url}/dataselect/public?{query}", timeout=30).raise_for_status()
        with store.database.transaction(write=True) as connection:
            cursor = connection.cursor()
            cursor.execute(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE")
            store.registry.set_network_policy("GFZ", "FR", inverted=True)

            def is_read() -> bool:
                cursor.execute(f"SELECT 1 FROM pg_locks WHERE NOT granted AND relation = '{table}'::regclass")
                return bool(cursor.fetchall())

            wait_for(is_read)
