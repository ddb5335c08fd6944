"""MIN_CLIENTS: nobody finds a small group of users by subtracting published rows.

Each row has a bit of its own for its bytes, so the bytes of a sum show which rows it contains.
"""

import csv
import datetime
import itertools
import random
from collections import defaultdict
from collections.abc import Iterator
from functools import reduce
from operator import or_
from typing import Any

import msgspec
import pytest
from flask.testing import FlaskClient
from hypothesis import given, settings
from hypothesis import strategies as st

from eida_statistics import hll
from eida_stats_webservice.app import create_app
from eida_stats_webservice.config import Config, PrivacySettings
from eida_stats_webservice.dataselect.cube import DATASELECT
from eida_stats_webservice.query import closed_months, routes, suppression
from eida_stats_webservice.query.answer_cache import AnswerCache
from eida_stats_webservice.query.decisions import Decisions
from eida_stats_webservice.query.model import Statistic, StatisticsQuery
from eida_stats_webservice.query.small_groups import Networks, find_suppressed
from eida_stats_webservice.query.usage import Usage
from support.dates import DAY
from support.node_client import make_node
from support.payloads import payload, row, sketch
from support.stores import ON_ONE_STORE, Store

PUBLIC_PATH = "/eidaws/statistics/1/dataselect/public"
RESTRICTED_PATH = PUBLIC_PATH.replace("public", "restricted")
MONTHS = ("2025-11", "2025-12", "2026-01")
PERIOD: dict[str, Any] = {"cube": DATASELECT, "start": datetime.date(2025, 11, 1), "end": datetime.date(2026, 1, 1)}
NODES = ("A", "B")
NETWORKS = ("FR", "GE", "X")
COUNTRIES = ("DE", "FR", "IT")
RESTRICTED = {("A", "X"), ("B", "X"), ("B", "FR")}
# On the second day of February, January is open.
OPEN_JANUARY = datetime.date(2026, 2, 2)
JANUARY = datetime.date(2026, 1, 1)
ALL_CLOSED = datetime.date(2026, 2, 1)
PUBLIC_LEVELS = (None, "node", "network")
DETAILS = ((), ("month",), ("year",), ("country",), ("month", "country"), ("year", "country"))

# Date, node, network, country.
Key = tuple[str, str, str, str]
Cells = dict[Key, frozenset[int]]
Shown = dict[Key, int]

FIVE_CELLS: Cells = {
    ("2026-01", "A", "FR", "DE"): frozenset(range(9)),
    ("2026-01", "A", "GE", "DE"): frozenset(range(2)),
    ("2026-01", "A", "Z", "DE"): frozenset(range(7, 9)),
    ("2026-01", "B", "GE", "DE"): frozenset(range(3, 10)),
    ("2026-01", "B", "Y", "DE"): frozenset(range(6, 9)),
}


def get_bit(number: int) -> int:
    return 1 << number


def count_clients(bits: int, cells: Cells) -> int:
    """Count the users of the rows with these bits."""
    return len(frozenset().union(*(users for number, users in enumerate(cells.values()) if bits & get_bit(number))))


def is_within(key: Key, total: Key) -> bool:
    return total[0] in {"*", key[0], key[0][:4]} and all(
        there in {"*", here} for here, there in zip(key[1:], total[1:], strict=True)
    )


def list_coarser(level: str | None, details: tuple[str, ...]) -> Iterator[tuple[str | None, tuple[str, ...]]]:
    """Yield the levels and details that are not finer than these."""
    dates = ["", "year", "month"]
    date = next((detail for detail in details if detail in dates), "")
    for one, other in itertools.product(PUBLIC_LEVELS, DETAILS):
        of_other = next((detail for detail in other if detail in dates), "")
        if (
            PUBLIC_LEVELS.index(one) <= PUBLIC_LEVELS.index(level)
            and dates.index(of_other) <= dates.index(date)
            and ("country" in details or "country" not in other)
        ):
            yield one, other


def list_wholes(shown: Shown, cells: Cells, first_open: datetime.date = ALL_CLOSED) -> set[int]:
    """Return the rows of each node in each month, in each year or altogether, depending on the dates of an answer.

    Open months stand alone, since anybody can query the totals of the months before them.
    """
    characters = max(len(date) for date, *_ in shown) if shown else 0
    found: defaultdict[tuple[str, str], int] = defaultdict(int)
    for number, (date, node, _, _) in enumerate(cells):
        is_open = date >= first_open.isoformat()[:7]
        found[date if is_open else date[: characters if characters > 1 else 0], node] |= get_bit(number)
    return set(found.values())


def assert_no_small_rest(
    shown: Shown,
    totals: Shown,
    cells: Cells,
    minimum: int,
    first_open: datetime.date = ALL_CLOSED,
    *,
    named: bool = False,
) -> None:
    """Subtract from each total the rows that are shown of it, as an attacker would."""
    for total, bits in totals.items():
        if "Other" in total:
            continue
        subtracted = [of_row for key, of_row in shown.items() if is_within(key, total)]
        united = reduce(or_, subtracted, 0)
        # No row is in it twice, and none is from elsewhere.
        assert sum(subtracted) == united
        assert not united & ~bits
        left = bits & ~united
        if total[2:] == ("*", "*") and not named:
            # Anybody can query the totals of nodes and dates.
            for whole in list_wholes(shown, cells, first_open):
                left &= ~(whole if whole & left == whole else 0)
        assert not left or not subtracted or count_clients(left, cells) >= minimum, (total, shown)


def select_bits(month: datetime.date, cells: Cells) -> int:
    """Return the bits of the rows from a month on."""
    return sum(get_bit(number) for number, (date, *_) in enumerate(cells) if f"{date}-01" >= month.isoformat())


def is_one_restricted_network(bits: int, cells: Cells) -> bool:
    """Return whether a row contains only one network, which is restricted."""
    networks = {key[1:3] for number, key in enumerate(cells) if bits & get_bit(number)}
    return networks <= RESTRICTED and len({network for _, network in networks}) == 1


# With random cells


@st.composite
def draw_cells(draw: st.DrawFn) -> Cells:
    keys = st.tuples(*map(st.sampled_from, (MONTHS, NODES, NETWORKS, COUNTRIES)))
    users = st.frozensets(st.integers(0, 12), min_size=1, max_size=9)
    return draw(st.dictionaries(keys, users, min_size=1, max_size=25))


def make_question(level: str | None, details: tuple[str, ...]) -> StatisticsQuery:
    return StatisticsQuery(**PERIOD, level=level, details=frozenset(details))


def answer(cells: Cells, question: StatisticsQuery, minimum: int, first_open: datetime.date = ALL_CLOSED) -> Shown:
    """Answer as the service does."""
    found = add_up_cells(cells, question)
    if suppression.divides_clients(question):
        closed = add_up_cells(cells, closed_months.keep_closed_months(question, first_open))
        restricted = RESTRICTED if question.divides_by("network") else ()
        open_totals = add_up_cells(cells, closed_months.make_open_totals(question, first_open))
        decided = suppression.find_cells(closed, minimum, question, restricted)
        found = list(suppression.merge_small(decided, question, open_totals))
    shown = {(*one.keys[:3], one.keys[-1]): one.measures[0] or 0 for one in found}
    assert len(shown) == len(found)
    return shown


def add_up_cells(cells: Cells, question: StatisticsQuery) -> list[Statistic]:
    """Add up the cells as the store does."""
    groups = defaultdict(list)
    for number, (date, node, network, country) in enumerate(cells):
        if not question.start.isoformat() <= f"{date}-01" <= question.end.isoformat():
            continue
        key = (
            date if "month" in question.details else date[:4] if "year" in question.details else "*",
            node if question.divides_by("node") else "*",
            network if question.divides_by("network") else "*",
            country if "country" in question.details else "*",
        )
        groups[key].append(number)
    users = list(cells.values())
    return [
        Statistic(
            (*key[:3], "*", "*", "*", key[3]),
            (sum(map(get_bit, group)), 1, 1, 0),
            len(frozenset().union(*(users[number] for number in group))),
            hll.encode(frozenset().union(*(users[number] for number in group))),
        )
        for key, group in groups.items()
    ]


@given(
    draw_cells(),
    st.sampled_from(PUBLIC_LEVELS),
    st.sampled_from(DETAILS),
    st.integers(1, 8),
    st.sampled_from([ALL_CLOSED, JANUARY, datetime.date(2025, 12, 1), datetime.date(2025, 11, 1)]),
)
@settings(max_examples=300, deadline=None)
def test_subtracting_rows_leaves_no_small_group(
    cells: Cells, level: str | None, details: tuple[str, ...], minimum: int, first_open: datetime.date
) -> None:
    question = make_question(level, details)
    shown = answer(cells, question, minimum, first_open)
    # Nothing is lost.
    assert sum(shown.values()) == get_bit(len(cells)) - 1
    if suppression.divides_clients(question):
        of_open_months = select_bits(first_open, cells)
        for key, bits in shown.items():
            closed = bits & ~of_open_months
            assert closed == bits or "Other" in key
            of_date = [there for there, some in shown.items() if there[0] == key[0] and some & ~of_open_months]
            assert not closed or count_clients(closed, cells) >= minimum or of_date == [key]
            assert key[2] != "Other" or not is_one_restricted_network(closed, cells) or of_date == [key]
    for other_level, other_details in list_coarser(level, details):
        totals = answer(cells, make_question(other_level, other_details), minimum, first_open)
        assert_no_small_rest(shown, totals, cells, minimum, first_open)


@given(
    draw_cells(),
    st.sampled_from(DETAILS),
    st.integers(1, 8),
    st.randoms(use_true_random=False),
    st.sampled_from([(), RESTRICTED]),
)
@settings(max_examples=300, deadline=None)
def test_decision_needs_no_order_and_few_sketches(
    cells: Cells, details: tuple[str, ...], minimum: int, generator: random.Random, restricted: Networks
) -> None:
    question = make_question("network", details)
    found = add_up_cells(cells, question)
    expected = dict(zip(found, find_suppressed(found, minimum, question, restricted), strict=True))
    generator.shuffle(found)
    some = [
        one
        if one.clients < minimum or one.node_and_network in restricted
        else msgspec.structs.replace(one, hll_clients=None)
        for one in found
    ]
    decided = find_suppressed(some, minimum, question, restricted)
    assert decided.tolist() == [expected[one] for one in found]


@pytest.mark.parametrize("minimum", [3, 4])
def test_dense_sketches_decide_like_exact_ones(minimum: int) -> None:
    question = make_question("network", ())
    found = add_up_cells(FIVE_CELLS, question)
    expected = find_suppressed(found, minimum, question, ())
    assert expected.any()
    # Small numbers, such as the clients of the other tests, set no register.
    sketches = [hll.to_dense(hll.encode(map(hll.hash_client, users))) for users in FIVE_CELLS.values()]
    dense = [msgspec.structs.replace(one, hll_clients=some) for one, some in zip(found, sketches, strict=True)]
    assert find_suppressed(dense, minimum, question, ()).tolist() == expected.tolist()


def test_visible_cells_do_not_make_up_for_suppressed_ones() -> None:
    cells = {
        ("2026-01", "A", "X", "DE"): frozenset(range(3)),
        ("2026-01", "B", "FR", "DE"): frozenset(range(3, 6)),
        ("2026-01", "A", "GE", "DE"): frozenset([7, 8]),
        ("2026-01", "A", "CH", "DE"): frozenset(range(20, 30)),
    }
    # Each restricted network is small, but together they have six clients. So only GE is suppressed at first.
    assert answer(cells, make_question("network", ("country",)), 5) == {
        ("*", "A", "CH", "DE"): 0b1000,
        ("*", "Other", "Other", "Other"): 0b0111,
    }


def test_only_necessary_rows_are_merged() -> None:
    cells = FIVE_CELLS
    # A's small groups are large enough together; B's is alone.
    assert answer(cells, make_question("network", ()), 4) == {
        ("*", "A", "FR", "*"): 0b00001,
        ("*", "Other", "Other", "*"): 0b11110,
    }
    assert answer(cells, make_question("network", ()), 3) == {
        ("*", "A", "FR", "*"): 0b00001,
        ("*", "B", "Y", "*"): 0b10000,
        # B's GE is large enough, but would reveal A's through the total of GE.
        ("*", "Other", "Other", "*"): 0b01110,
    }


@pytest.mark.parametrize(
    ("filters", "keys"),
    [
        ({"network": ("FR",)}, ("*", "A", "FR", "*", "*", "*", "*")),
        ({"country": ("DE",)}, ("*", "*", "*", "*", "*", "*", "DE")),
    ],
)
def test_small_group_is_not_shown_by_name(filters: dict[str, tuple[str, ...]], keys: tuple[str, ...]) -> None:
    question = StatisticsQuery(**PERIOD, filters=filters)
    small = Statistic(keys, (10, 2, 1, 1), 2, hll.encode([1, 2]))
    assert suppression.divides_clients(question)
    decided = suppression.find_cells([small], 5, suppression.without_filters(question), ())
    assert list(suppression.merge_small(decided, question)) == []


def test_withheld_cells_are_suppressed_or_restricted() -> None:
    # The row Other of the restricted networks is large enough. FR is not, and takes the next one with it.
    clients = {"FR": 2, "GE": 6, "IV": 90, "X1": 30, "X2": 40}
    rows = [
        Statistic(("*", "A", network, "*", "*", "*", "*"), (1, 1, 1, 0), count, hll.encode(range(count)))
        for network, count in clients.items()
    ]
    keys = {row.keys[2]: row.keys for row in rows}
    question = StatisticsQuery(**PERIOD, level="network")
    kept = suppression.find_cells(rows, 5, question, {("A", "X1"), ("A", "X2")}).list_suppressed()
    assert kept.select_suppressed(()) == {keys["FR"], keys["GE"]}
    assert kept.select_withheld(()) == {keys["FR"], keys["GE"], keys["X1"], keys["X2"]}
    assert kept.select_suppressed(("GE", "IV", "X1")) == {keys["GE"]}
    assert kept.select_withheld(("GE", "IV", "X1")) == {keys["GE"], keys["X1"]}


# Over HTTP


@pytest.fixture
def cells(store: Store) -> Cells:
    """Fill the store, with restrictions."""
    chance = random.Random(8)
    keys = sorted(itertools.product(MONTHS, NODES, NETWORKS, COUNTRIES))
    found = {
        key: frozenset(map(hll.hash_client, chance.sample(range(40), chance.choice([1, 2, 3, 5, 8, 20, 30]))))
        for key in keys
        if chance.random() < 0.9
    }
    for node in NODES:
        sender, _ = make_node(store, node)
        rows = [
            row(
                month=f"{date}-01",
                network=network,
                country=country,
                bytes=get_bit(number),
                clients=sketch(users),
            )
            for number, ((date, of, network, country), users) in enumerate(found.items())
            if of == node
        ]
        store.dataselect.ingest(sender, payload(*rows, days_coverage=[f"{month}-05" for month in MONTHS]))
    for node, network in RESTRICTED:
        store.registry.set_network_policy(node, network, inverted=True)
    return found


def ask(
    client: FlaskClient, level: str | None, details: tuple[str, ...], token: str | None = None, **names: str
) -> Shown:
    query = {"start": MONTHS[0], "end": MONTHS[-1], "level": level, "details": ",".join(details), **names}
    query = {name: value for name, value in query.items() if value}
    if token is None:
        response = client.get(PUBLIC_PATH, query_string=query)
    else:
        headers = {"Authorization": f"Bearer {token}"}
        response = client.post(RESTRICTED_PATH, query_string=query, headers=headers)
    assert response.status_code == 200, response.text
    rows = list(csv.DictReader(response.text.splitlines()[2:]))
    shown = {(one["date"], one["node"], one["network"], one["country"]): int(one["bytes"]) for one in rows}
    assert len(shown) == len(rows)
    return shown


NAMES: tuple[dict[str, str], ...] = (
    *({}, {"node": "A"}, {"country": "DE"}, {"country": "DE,FR"}, {"network": "GE"}),
    *({"network": "FR", "country": "IT"}, {"node": "B", "country": "DE"}),
)


# Stores only add up, so one minimum is enough for the other one.
@pytest.mark.parametrize(
    ("store_uri", "minimum"),
    [("sqlite", 2), ("sqlite", 5), ("sqlite", 9), ("sqlite", 25), ("postgresql", 5)],
    indirect=["store_uri"],
)
def test_service_reveals_no_small_group(service_uri: str, cells: Cells, minimum: int) -> None:
    for names in NAMES:
        assert_answers_reveal_no_small_group(service_uri, cells, minimum, names)


@ON_ONE_STORE
def test_open_month_reveals_no_small_group(monkeypatch: pytest.MonkeyPatch, service_uri: str, cells: Cells) -> None:
    monkeypatch.setattr(routes, "_get_today", lambda: OPEN_JANUARY)
    for names in ({}, {"node": "A"}, {"country": "DE,FR"}, {"network": "GE"}):
        assert_answers_reveal_no_small_group(service_uri, cells, 5, names, JANUARY)


@ON_ONE_STORE
def test_names_choose_from_closed_months_only(
    monkeypatch: pytest.MonkeyPatch, service_uri: str, cells: Cells
) -> None:
    monkeypatch.setattr(routes, "_get_today", lambda: OPEN_JANUARY)
    client = create_app(Config(service_uri, min_clients=5)).test_client()
    for names in ({"country": "DE"}, {"network": "GE"}, {"network": "GE", "node": "A"}):
        for level, details in itertools.product(PUBLIC_LEVELS, DETAILS):
            with_open = ask(client, level, details, **names)
            assert with_open == ask(client, level, details, **names, end="2025-12")
            assert ask(client, level, details, **names, start="2026-01") == {}


def assert_answers_reveal_no_small_group(
    service_uri: str, cells: Cells, minimum: int, names: dict[str, str], first_open: datetime.date = ALL_CLOSED
) -> None:
    client = create_app(Config(service_uri, min_clients=minimum)).test_client()
    answers = {
        (level, details): ask(client, level, details, **names)
        for level, details in itertools.product(PUBLIC_LEVELS, DETAILS)
    }
    for (level, details), shown in answers.items():
        assert names or sum(shown.values()) == get_bit(len(cells)) - 1
        named = bool(names.keys() & {"country", "network"})
        if named:
            assert all(count_clients(bits, cells) >= minimum for bits in shown.values())
        for total in list_coarser(level, details):
            assert_no_small_rest(shown, answers[total], cells, minimum, first_open, named=named)


def list_questions(names: dict[str, str]) -> Iterator[StatisticsQuery]:
    """Yield all queries with some filters."""
    filters = {name: tuple(value.split(",")) for name, value in names.items()}
    for level, details in itertools.product(PUBLIC_LEVELS, DETAILS):
        yield StatisticsQuery(**PERIOD, filters=filters, level=level, details=frozenset(details))


def test_totals_of_dates_are_united_cells(store: Store, cells: Cells) -> None:
    compared = 0
    for question in itertools.chain.from_iterable(map(list_questions, NAMES)):
        if (total := suppression.make_total(question)) is None:
            continue
        unfiltered = suppression.without_filters(total)
        get_key = suppression.make_key_function(unfiltered, ())
        parts: defaultdict[tuple[str, ...], list[Statistic]] = defaultdict(list)
        for one in store.statistics.query_cells(suppression.without_filters(question)):
            parts[get_key(one.keys)].append(one)
        found = {one.keys: one for one in store.statistics.query_cells(unfiltered)}
        assert found.keys() == parts.keys()
        for key, some in parts.items():
            sketch = hll.merge(one.hll_clients or b"" for one in some)
            assert found[key].hll_clients == sketch
            assert found[key].clients == hll.cardinality(sketch)
            assert found[key].measures[0] == sum(one.measures[0] or 0 for one in some)
        compared += 1
    assert compared > 50


@pytest.mark.parametrize(
    ("store_uri", "minimum"), [("sqlite", 5), ("sqlite", 0), ("postgresql", 0)], indirect=["store_uri"]
)
def test_kept_answers_serve_all_filters(store: Store, cells: Cells, minimum: int) -> None:
    settings = PrivacySettings(minimum, 0, 3)
    plain = Usage(store.statistics, store.registry, settings)
    with store.statistics.snapshot() as statistics:
        registry = store.registry.read_from(statistics.connection)
        keeping = Usage(statistics, registry, settings, AnswerCache().at(statistics.data_version()))
        for question in itertools.chain.from_iterable(map(list_questions, NAMES)):
            is_merged = question.level == "network" and len(question.details) == 1
            query = msgspec.structs.replace(question, merge_nodes=is_merged)
            expected = plain.find_public(query, OPEN_JANUARY)
            assert keeping.find_public(query, OPEN_JANUARY) == expected
            assert keeping.find_public_sums(query, OPEN_JANUARY) == expected


@ON_ONE_STORE
@pytest.mark.parametrize("minimum", [2, 5])
def test_kept_decisions_change_no_answer(store: Store, cells: Cells, minimum: int) -> None:
    settings = PrivacySettings(minimum, 0, 3)
    plain = Usage(store.statistics, store.registry, settings)
    decisions = Decisions()
    keeping = Usage(store.statistics, store.registry, settings, decisions=decisions)
    for question in itertools.chain.from_iterable(map(list_questions, NAMES)):
        for query, sketches in ((question, False), (msgspec.structs.replace(question, merge_nodes=True), True)):
            expected = list(plain.answer_public(query, OPEN_JANUARY, sketches=sketches))
            assert list(keeping.answer_public(query, OPEN_JANUARY, sketches=sketches)) == expected
    assert len(decisions) > 20


def test_kept_decisions_follow_the_data(store: Store, cells: Cells) -> None:
    keeping = Usage(store.statistics, store.registry, PrivacySettings(2, 0, 3), decisions=Decisions())
    query = StatisticsQuery(**PERIOD, filters={"country": ("ZZ",)})
    node = make_node(store, "LATE")[0]
    for user, clients in ((1, []), (2, [2])):
        rows = [row(month="2025-11-01", country="ZZ", clients=sketch((user,)))]
        store.dataselect.ingest(node, payload(*rows, days_coverage=[f"2025-11-{user:02}"]))
        assert [one.clients for one in keeping.answer_public(query, ALL_CLOSED, sketches=False)] == clients


@ON_ONE_STORE
@pytest.mark.parametrize("minimum", [2, 9])
def test_naming_reveals_no_more_than_listing(service_uri: str, cells: Cells, minimum: int) -> None:
    client = create_app(Config(service_uri, min_clients=minimum)).test_client()
    of_all = {
        (level, details): ask(client, level, details)
        for level, details in itertools.product(PUBLIC_LEVELS, DETAILS)
    }
    named = [
        {name: value for name, value in zip(("node", "network", "country"), values, strict=True) if value}
        for values in itertools.product(("", "A"), ("", "GE", "FR"), ("", "DE", "DE,IT"))
    ]
    compared = 0
    for names, level, details in itertools.product(named, PUBLIC_LEVELS, DETAILS):
        needed = max(level, "network" if "network" in names else "node" if "node" in names else None,
                     key=PUBLIC_LEVELS.index)  # fmt: skip
        dates = tuple(detail for detail in details if detail != "country")
        country = ("country",) if "country" in (*details, *names) else ()
        shown = of_all[needed, (*dates, *country)]
        for key, bits in ask(client, level, details, **names).items():
            if "Other" not in key:
                parts = [one for one in shown.values() if one & ~bits == 0]
                assert reduce(or_, parts, 0) == bits, (names, level, details, key)
                compared += 1
    assert compared


@pytest.mark.parametrize("minimum", [0, 5])
@pytest.mark.parametrize("viewer", ["anybody", "operator of X"])
def test_merge_joins_the_rows_of_nodes(
    service_uri: str, store: Store, cells: Cells, minimum: int, viewer: str
) -> None:
    client = create_app(Config(service_uri, min_clients=minimum)).test_client()
    token = None
    if viewer != "anybody":
        now = datetime.datetime.now(tz=datetime.UTC)
        token = store.registry.add_network_token("X", now - DAY, now + DAY)[1]
    named = [{}, {"node": "A"}, {"node": ",".join(NODES)}, {"network": "GE"}, {"country": "DE,IT"}]
    for names, details in itertools.product(named, DETAILS):
        united: defaultdict[Key, int] = defaultdict(int)
        for (date, _, network, country), bits in ask(client, "network", details, token, **names).items():
            united[date, "*", network, country] += bits
        assert ask(client, "network", details, token, merge="nodes", **names) == united
    assert united


def test_merged_nodes_can_be_sorted_and_limited(service_uri: str, cells: Cells) -> None:
    for minimum in (0, 5):
        client = create_app(Config(service_uri, min_clients=minimum)).test_client()
        path = f"{PUBLIC_PATH}?start=2025-11&level=network&merge=nodes&hllvalues=true&sort=-clients"
        rows = list(csv.DictReader(client.get(path).text.splitlines()[2:]))
        assert {one["node"] for one in rows} == {"*"}
        counts = [int(one["clients"]) for one in rows]
        assert counts == sorted(counts, reverse=True)
        assert counts == [count_clients(int(one["bytes"]), cells) for one in rows]
        assert all(hll.check(hll.from_hex(one["hll_clients"])) is not None for one in rows)
        limited = list(csv.DictReader(client.get(f"{path}&limit=2").text.splitlines()[2:]))
        assert limited == rows[:2]


def test_only_networks_can_be_merged(service_uri: str) -> None:
    client = create_app(Config(service_uri)).test_client()
    for wrong in ("merge=nodes", "merge=nodes&level=node", "merge=networks&level=network", "merge=&level=network"):
        answer = client.get(f"{PUBLIC_PATH}?start=2025-11&format=json&{wrong}")
        assert (answer.status_code, "merge" in answer.get_json(force=True)["detail"]) == (400, True)


def test_small_groups_are_shown_by_default(service_uri: str, cells: Cells) -> None:
    client = create_app(Config(service_uri)).test_client()
    shown = ask(client, "network", ("month", "country"))
    of_open = {key: number for number, key in enumerate(cells) if (key[1], key[2]) not in RESTRICTED}
    assert of_open.items() <= {key: bits.bit_length() - 1 for key, bits in shown.items()}.items()


def test_suppressed_rows_can_be_sorted_and_limited(service_uri: str, cells: Cells) -> None:
    client = create_app(Config(service_uri, min_clients=36)).test_client()
    path = f"{PUBLIC_PATH}?start=2025-11&details=month,country&hllvalues=true&sort=-clients"
    rows = list(csv.DictReader(client.get(path).text.splitlines()[2:]))
    counts = [int(one["clients"]) for one in rows]
    assert counts == sorted(counts, reverse=True)
    assert "Other" in {one["country"] for one in rows}
    for one in rows:
        assert hll.check(hll.from_hex(one["hll_clients"]))
        assert int(one["clients"]) >= 36
    limited = list(csv.DictReader(client.get(f"{path}&limit=2").text.splitlines()[2:]))
    assert limited == rows[:2]
