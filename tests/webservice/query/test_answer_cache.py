"""The cache of public answers: its limits, versions and threads, and that no token's answer is kept."""

import datetime
import random
import tracemalloc
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from eida_statistics import hll
from eida_stats_webservice.errors import RestrictedNetwork
from eida_stats_webservice.query.answer_cache import AnswerCache
from eida_stats_webservice.query.model import DataVersion, Statistic
from eida_stats_webservice.reports.models import Report, Scope
from eida_stats_webservice.reports.periods import list_comparisons, parse_months
from support.federation import fill
from support.reports import TODAY, make_maker
from support.stores import ON_ONE_STORE, Store

NOW = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
VERSION, NEXT = DataVersion("1.1", NOW), DataVersion("1.2", NOW)
KIB = b"x" * 1020


class Maker:
    """Makes an answer, and counts how often."""

    def __init__(self, answer: bytes = KIB) -> None:
        self.calls = 0
        self._answer = answer

    def __call__(self) -> bytes:
        self.calls += 1
        return self._answer


def is_kept(cache: AnswerCache, key: str, version: DataVersion = VERSION) -> bool:
    """Return whether an answer is in the cache; afterwards, it is."""
    make = Maker()
    cache.at(version)(key, bytes, make)
    return make.calls == 0


@pytest.mark.parametrize(("answers", "size"), [(3, 1 << 20), (64, 3 << 10)])
def test_least_recently_used_answer_is_dropped(answers: int, size: int) -> None:
    cache = AnswerCache(answers, size)
    assert [is_kept(cache, key) for key in ("a", "b", "c", "a", "d")] == [False, False, False, True, False]
    assert (len(cache), cache.size) == (3, 3 * len(KIB) + 9)
    assert [is_kept(cache, key) for key in ("a", "c", "d", "b")] == [True, True, True, False]


def test_too_large_answer_is_not_kept() -> None:
    cache = AnswerCache(64, 2048)
    is_kept(cache, "a")
    large = Maker(3 * KIB)
    for _ in range(2):
        assert cache.at(VERSION)("b", bytes, large) == 3 * KIB
    assert large.calls == 2
    assert is_kept(cache, "a")


def test_sums_beyond_64_bits_are_not_kept() -> None:
    cache = AnswerCache()
    row = Statistic(("*",) * 7, (2**64, 1, 1, 0), 1, hll.encode([1]))
    assert cache.at(VERSION)("a", list[Statistic], lambda: [row]) == [row]
    assert len(cache) == 0


def test_request_makes_each_answer_once() -> None:
    # Even if it is too large to be kept.
    find_answer, make = AnswerCache(64, 0).at(VERSION), Maker()
    assert find_answer("a", bytes, make) is find_answer("a", bytes, make)
    assert make.calls == 1


def test_answers_of_another_version_are_dropped() -> None:
    cache = AnswerCache()
    is_kept(cache, "a")
    assert not is_kept(cache, "b", NEXT)
    assert len(cache) == 1
    assert not is_kept(cache, "a", NEXT)
    # A request may have begun before the change.
    assert not is_kept(cache, "a", VERSION)


def test_late_answer_drops_no_newer_ones() -> None:
    cache = AnswerCache()
    find_old = cache.at(VERSION)
    assert not is_kept(cache, "a", NEXT)
    assert find_old("b", bytes, Maker()) == KIB
    assert is_kept(cache, "a", NEXT)


def test_threads_share_answers() -> None:
    cache = AnswerCache(8, 20_000)

    def ask(seed: int) -> None:
        chance = random.Random(seed)
        for _ in range(300):
            key, version = chance.randrange(12), chance.choice([VERSION, VERSION, VERSION, NEXT])
            expected = f"{version.revision} {key} ".encode() * 300
            found = cache.at(version)(key, bytes, Maker(expected))
            assert found == expected
            assert len(cache) <= 8
            assert cache.size <= 20_000

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(ask, range(8)))


def test_size_is_that_in_memory() -> None:
    rows = [
        Statistic(("*", "A", f"N{number}", "*", "*", "*", "DE"), (number, 1, 1, 0), 1, hll.encode(range(number)))
        for number in range(400)
    ]
    cache = AnswerCache()
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        cache.at(VERSION)("a", list[Statistic], lambda: rows)
        used = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert cache.size == pytest.approx(used, rel=0.05)
    assert cache.at(VERSION)("a", list[Statistic], list) == rows


# Reports


@pytest.fixture
def federation(store: Store) -> Store:
    fill(store, ["A", "B"], [2023, 2024], networks=2)
    store.registry.set_network_policy("A", "A1", inverted=True)
    return store


def make_reports(store: Store, min_clients: int, cache: AnswerCache | None) -> Callable[..., Report]:
    maker, period = make_maker(store, min_clients=min_clients, cache=cache), parse_months("2024-01", "2024-12")
    return lambda **scope: maker.make(Scope(**scope), period, list_comparisons(period), TODAY)


@pytest.mark.parametrize("min_clients", [0, 5])
def test_kept_report_is_the_same(federation: Store, min_clients: int) -> None:
    cache = AnswerCache()
    make, make_without = make_reports(federation, min_clients, cache), make_reports(federation, min_clients, None)
    for scope in ({}, {"network": "GE"}, {"node": ("B",)}, {"network": "A0"}, {"country": ("DE",)}):
        assert make(**scope) == make_without(**scope) == make(**scope)
    kept = len(cache)
    make(network="GE")
    assert len(cache) == kept


@ON_ONE_STORE
def test_change_of_the_data_is_seen_at_once(federation: Store) -> None:
    make = make_reports(federation, 5, AnswerCache())
    before = make(network="GE")
    federation.payloads.retract(federation.payloads.list_payloads("A")[0].payload)
    assert make(network="GE") == make_reports(federation, 5, None)(network="GE") != before
    federation.registry.set_network_policy("A", "GE", inverted=True)
    federation.registry.set_network_policy("B", "GE", inverted=True)
    with pytest.raises(RestrictedNetwork):
        make(network="GE")


@ON_ONE_STORE
def test_restricted_reports_are_not_kept(federation: Store) -> None:
    cache = AnswerCache()
    make = make_reports(federation, 5, cache)
    assert make(network="A1", restricted=True).select("station")
    assert len(cache) == 0
    make(network="GE")
    with pytest.raises(RestrictedNetwork):
        make(network="A1")
