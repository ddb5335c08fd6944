"""MIN_CLIENTS: that nobody finds a small group of users by subtracting what is shown.

Each row that is counted has a bit of its own for its bytes, so that the bytes of a sum tell of which rows it is.
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

import pytest
from flask.testing import FlaskClient
from hypothesis import given, settings
from hypothesis import strategies as st

from eida_statistics import hll
from eida_stats_webservice.app import create_app
from eida_stats_webservice.config import Config
from eida_stats_webservice.dataselect import routes
from eida_stats_webservice.query import closed_months, suppression
from eida_stats_webservice.query.model import Question, Statistic
from eida_stats_webservice.store import Store
from support.dates import DAY
from support.payloads import payload, row, sketch
from support.stores import ON_ONE_STORE

PUBLIC_PATH = "/eidaws/statistics/1/dataselect/public"
RESTRICTED_PATH = PUBLIC_PATH.replace("public", "restricted")
MONTHS = ("2025-11", "2025-12", "2026-01")
PERIOD = {"start": datetime.date(2025, 11, 1), "end": datetime.date(2026, 1, 1)}
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


def bit_of(number: int) -> int:
    return 1 << number


def clients_of(bits: int, cells: Cells) -> int:
    """Count the users of the rows whose bits are set."""
    return len(frozenset().union(*(users for number, users in enumerate(cells.values()) if bits & bit_of(number))))


def is_within(key: Key, total: Key) -> bool:
    return total[0] in {"*", key[0], key[0][:4]} and all(
        there in {"*", here} for here, there in zip(key[1:], total[1:], strict=True)
    )


def coarser(level: str | None, details: tuple[str, ...]) -> Iterator[tuple[str | None, tuple[str, ...]]]:
    """Yield the levels and details that divide nothing that these do not divide."""
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


def wholes(shown: Shown, cells: Cells, first_open: datetime.date = ALL_CLOSED) -> set[int]:
    """Return the rows of each node in each month, or year, or altogether, as the dates of an answer are.

    Open months are on their own: anybody can ask for the totals of the months before them.
    """
    characters = max(len(date) for date, *_ in shown) if shown else 0
    found: defaultdict[tuple[str, str], int] = defaultdict(int)
    for number, (date, node, _, _) in enumerate(cells):
        is_open = date >= first_open.isoformat()[:7]
        found[date if is_open else date[: characters if characters > 1 else 0], node] |= bit_of(number)
    return set(found.values())


def assert_no_small_group_is_left(
    shown: Shown,
    totals: Shown,
    cells: Cells,
    minimum: int,
    first_open: datetime.date = ALL_CLOSED,
    *,
    named: bool = False,
) -> None:
    """Do what somebody would who wants to know: subtract from each total the rows that are shown of it."""
    for total, bits in totals.items():
        if "Other" in total:
            continue
        subtracted = [of_row for key, of_row in shown.items() if is_within(key, total)]
        united = reduce(or_, subtracted, 0)
        # No row is in it twice, and none is of something else.
        assert sum(subtracted) == united
        assert not united & ~bits
        left = bits & ~united
        if total[2:] == ("*", "*") and not named:
            # Anybody can ask for the totals of nodes and dates.
            for whole in wholes(shown, cells, first_open):
                left &= ~(whole if whole & left == whole else 0)
        assert not left or not subtracted or clients_of(left, cells) >= minimum, (total, shown)


def bits_from(month: datetime.date, cells: Cells) -> int:
    """Return the rows of a month and of those after it."""
    return sum(bit_of(number) for number, (date, *_) in enumerate(cells) if f"{date}-01" >= month.isoformat())


def is_one_restricted_network(bits: int, cells: Cells) -> bool:
    """Return whether a row is of one network only, and that is restricted."""
    networks = {key[1:3] for number, key in enumerate(cells) if bits & bit_of(number)}
    return networks <= RESTRICTED and len({network for _, network in networks}) == 1


# On answers that are made up


@st.composite
def made_up(draw: st.DrawFn) -> Cells:
    keys = st.tuples(*map(st.sampled_from, (MONTHS, NODES, NETWORKS, COUNTRIES)))
    users = st.frozensets(st.integers(0, 12), min_size=1, max_size=9)
    return draw(st.dictionaries(keys, users, min_size=1, max_size=25))


def asked(level: str | None, details: tuple[str, ...]) -> Question:
    return Question(**PERIOD, level=level, details=frozenset(details))


def answer(cells: Cells, question: Question, minimum: int, first_open: datetime.date = ALL_CLOSED) -> Shown:
    """Answer as the service does."""
    found = summed(cells, question)
    if suppression.is_fine(question):
        closed = summed(cells, closed_months.closed_part(question, first_open))
        restricted = RESTRICTED if question.tells("network") else ()
        open_totals = summed(cells, closed_months.open_totals(question, first_open))
        found = list(suppression.merge_small(closed, minimum, question, restricted, open_totals))
    shown = {(one.date, one.node, one.network, one.country): one.bytes for one in found}
    assert len(shown) == len(found)
    return shown


def summed(cells: Cells, question: Question) -> list[Statistic]:
    """Sum up the cells as the store does."""
    groups = defaultdict(list)
    for number, (date, node, network, country) in enumerate(cells):
        if not question.start.isoformat() <= f"{date}-01" <= question.end.isoformat():
            continue
        key = (
            date if "month" in question.details else date[:4] if "year" in question.details else "*",
            node if question.tells("node") else "*",
            network if question.tells("network") else "*",
            country if "country" in question.details else "*",
        )
        groups[key].append(number)
    users = list(cells.values())
    return [
        Statistic(
            *(*key[:3], "*", "*", "*", key[3]),
            *(sum(map(bit_of, group)), 1, 1, 0, len(frozenset().union(*(users[number] for number in group)))),
            hll.encode(frozenset().union(*(users[number] for number in group))),
        )
        for key, group in groups.items()
    ]


@given(
    made_up(),
    st.sampled_from(PUBLIC_LEVELS),
    st.sampled_from(DETAILS),
    st.integers(1, 8),
    st.sampled_from([ALL_CLOSED, JANUARY, datetime.date(2025, 12, 1), datetime.date(2025, 11, 1)]),
)
@settings(max_examples=600, deadline=None)
def test_a_total_minus_the_rows_that_are_shown_never_leaves_a_small_group(
    cells: Cells, level: str | None, details: tuple[str, ...], minimum: int, first_open: datetime.date
) -> None:
    question = asked(level, details)
    shown = answer(cells, question, minimum, first_open)
    # Nothing is lost.
    assert sum(shown.values()) == bit_of(len(cells)) - 1
    if suppression.is_fine(question):
        of_open_months = bits_from(first_open, cells)
        for key, bits in shown.items():
            closed = bits & ~of_open_months
            assert closed == bits or "Other" in key
            of_date = [there for there, some in shown.items() if there[0] == key[0] and some & ~of_open_months]
            assert not closed or clients_of(closed, cells) >= minimum or of_date == [key]
            assert key[2] != "Other" or not is_one_restricted_network(closed, cells) or of_date == [key]
    for other_level, other_details in coarser(level, details):
        totals = answer(cells, asked(other_level, other_details), minimum, first_open)
        assert_no_small_group_is_left(shown, totals, cells, minimum, first_open)


def test_only_what_must_be_is_merged() -> None:
    users = [range(9), range(2), range(7, 9), range(3, 10), range(6, 9)]
    cells = {
        ("2026-01", node, network, "DE"): frozenset(some)
        for (node, network), some in zip(
            [("A", "FR"), ("A", "GE"), ("A", "Z"), ("B", "GE"), ("B", "Y")], users, strict=True
        )
    }
    # A's small ones are enough together; B's is alone.
    assert answer(cells, asked("network", ()), 4) == {
        ("*", "A", "FR", "*"): 0b00001,
        ("*", "Other", "Other", "*"): 0b11110,
    }
    assert answer(cells, asked("network", ()), 3) == {
        ("*", "A", "FR", "*"): 0b00001,
        ("*", "B", "Y", "*"): 0b10000,
        # B's GE is large enough, but would tell what A's is, whoever asks for all of GE.
        ("*", "Other", "Other", "*"): 0b01110,
    }


@pytest.mark.parametrize("named", [{"networks": ("FR",)}, {"countries": ("DE",)}])
def test_a_small_group_that_is_asked_for_by_name_is_not_shown(named: dict[str, Any]) -> None:
    question = Question(**PERIOD, **named)
    codes = ("*", "A", "FR", "*", "*", "*", "*") if question.networks else (*"******", "DE")
    small = Statistic(*codes, 10, 2, 1, 1, 2, hll.encode([1, 2]))
    assert suppression.is_fine(question)
    assert list(suppression.merge_small([small], 5, question)) == []


# Through HTTP


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
        store.add_node(node, "operator@node.example")
        now = datetime.datetime.now(tz=datetime.UTC)
        sender = store.sender_of_token(store.add_token(node, now - DAY, now + DAY)[1], now).node
        rows = [
            row(
                month=f"{date}-01",
                network=network,
                country=country,
                bytes=bit_of(number),
                clients=sketch(users),
            )
            for number, ((date, of, network, country), users) in enumerate(found.items())
            if of == node
        ]
        store.ingest(sender, payload(*rows, days_coverage=[f"{month}-05" for month in MONTHS]))
    for node, network in RESTRICTED:
        store.set_network_policy(node, network, inverted=True)
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


@pytest.mark.parametrize("minimum", [2, 5, 9, 25])
@pytest.mark.parametrize(
    "names",
    [
        *({}, {"node": "A"}, {"country": "DE"}, {"country": "DE,FR"}, {"network": "GE"}),
        *({"network": "FR", "country": "IT"}, {"node": "B", "country": "DE"}),
    ],
)
def test_no_answer_of_the_service_gives_a_small_group_away(
    service_uri: str, cells: Cells, minimum: int, names: dict[str, str]
) -> None:
    assert_no_answer_reveals_a_small_group(service_uri, cells, minimum, names)


@ON_ONE_STORE
@pytest.mark.parametrize("names", [{}, {"node": "A"}, {"country": "DE,FR"}, {"network": "GE"}])
def test_open_month_reveals_no_small_group(
    monkeypatch: pytest.MonkeyPatch, service_uri: str, cells: Cells, names: dict[str, str]
) -> None:
    monkeypatch.setattr(routes, "_today", lambda: OPEN_JANUARY)
    assert_no_answer_reveals_a_small_group(service_uri, cells, 5, names, JANUARY)


@ON_ONE_STORE
def test_names_choose_from_closed_months_only(
    monkeypatch: pytest.MonkeyPatch, service_uri: str, cells: Cells
) -> None:
    monkeypatch.setattr(routes, "_today", lambda: OPEN_JANUARY)
    client = create_app(Config(service_uri, min_clients=5)).test_client()
    for names in ({"country": "DE"}, {"network": "GE"}, {"network": "GE", "node": "A"}):
        for level, details in itertools.product(PUBLIC_LEVELS, DETAILS):
            with_open = ask(client, level, details, **names)
            assert with_open == ask(client, level, details, **names, end="2025-12")
            assert ask(client, level, details, **names, start="2026-01") == {}


def assert_no_answer_reveals_a_small_group(
    service_uri: str, cells: Cells, minimum: int, names: dict[str, str], first_open: datetime.date = ALL_CLOSED
) -> None:
    client = create_app(Config(service_uri, min_clients=minimum)).test_client()
    answers = {
        (level, details): ask(client, level, details, **names)
        for level, details in itertools.product(PUBLIC_LEVELS, DETAILS)
    }
    for (level, details), shown in answers.items():
        assert names or sum(shown.values()) == bit_of(len(cells)) - 1
        named = bool(names.keys() & {"country", "network"})
        if named:
            assert all(clients_of(bits, cells) >= minimum for bits in shown.values())
        for total in coarser(level, details):
            assert_no_small_group_is_left(shown, answers[total], cells, minimum, first_open, named=named)


@ON_ONE_STORE
@pytest.mark.parametrize("minimum", [2, 5, 9, 25])
def test_who_names_something_sees_no_more_of_it_than_who_asks_for_all(
    service_uri: str, cells: Cells, minimum: int
) -> None:
    client = create_app(Config(service_uri, min_clients=minimum)).test_client()
    of_all = {
        (level, details): ask(client, level, details)
        for level, details in itertools.product(PUBLIC_LEVELS, DETAILS)
    }
    named = [
        {name: value for name, value in zip(("node", "network", "country"), values, strict=True) if value}
        for values in itertools.product(("", "A"), ("", "GE", "FR"), ("", "DE", "DE,IT"))
    ]
    told = 0
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
                told += 1
    assert told


@pytest.mark.parametrize("minimum", [0, 5])
@pytest.mark.parametrize("viewer", ["anybody", "operator of X"])
def test_merge_unites_the_rows_of_nodes(
    service_uri: str, store: Store, cells: Cells, minimum: int, viewer: str
) -> None:
    client = create_app(Config(service_uri, min_clients=minimum)).test_client()
    token = None
    if viewer != "anybody":
        now = datetime.datetime.now(tz=datetime.UTC)
        token = store.add_network_token("X", now - DAY, now + DAY)[1]
    named = [{}, {"node": "A"}, {"node": ",".join(NODES)}, {"network": "GE"}, {"country": "DE,IT"}]
    for names, details in itertools.product(named, DETAILS):
        united: defaultdict[Key, int] = defaultdict(int)
        for (date, _, network, country), bits in ask(client, "network", details, token, **names).items():
            united[date, "*", network, country] += bits
        assert ask(client, "network", details, token, merge="nodes", **names) == united
    assert united


def test_merged_nodes_are_sorted_and_limited_and_have_sketches(service_uri: str, cells: Cells) -> None:
    for minimum in (0, 5):
        client = create_app(Config(service_uri, min_clients=minimum)).test_client()
        path = f"{PUBLIC_PATH}?start=2025-11&level=network&merge=nodes&hllvalues=true&sort=-clients"
        rows = list(csv.DictReader(client.get(path).text.splitlines()[2:]))
        assert {one["node"] for one in rows} == {"*"}
        counts = [int(one["clients"]) for one in rows]
        assert counts == sorted(counts, reverse=True)
        assert counts == [clients_of(int(one["bytes"]), cells) for one in rows]
        assert all(hll.check(hll.from_hex(one["hll_clients"])) is not None for one in rows)
        limited = list(csv.DictReader(client.get(f"{path}&limit=2").text.splitlines()[2:]))
        assert limited == rows[:2]


def test_only_networks_are_merged(service_uri: str) -> None:
    client = create_app(Config(service_uri)).test_client()
    for wrong in ("merge=nodes", "merge=nodes&level=node", "merge=networks&level=network", "merge=&level=network"):
        answer = client.get(f"{PUBLIC_PATH}?start=2025-11&format=json&{wrong}")
        assert (answer.status_code, "merge" in answer.get_json(force=True)["detail"]) == (400, True)


def test_small_groups_are_told_unless_it_is_set(service_uri: str, cells: Cells) -> None:
    client = create_app(Config(service_uri)).test_client()
    shown = ask(client, "network", ("month", "country"))
    of_open = {key: number for number, key in enumerate(cells) if (key[1], key[2]) not in RESTRICTED}
    assert of_open.items() <= {key: bits.bit_length() - 1 for key, bits in shown.items()}.items()


def test_merged_rows_are_sorted_and_limited_and_have_sketches(service_uri: str, cells: Cells) -> None:
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
