"""Answers about what ringservers transferred, compared with the rows of the payloads."""

import datetime
import itertools
from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import pytest
from flask.testing import FlaskClient

from eida_statistics import hll
from eida_statistics.ringserver.payload import DayPayload
from eida_stats_webservice.ringserver.cube import RINGSERVER
from support.dates import DAY
from support.node_client import make_node
from support.ringserver_days import make_day
from support.service import PREFIX
from support.stores import Store
from support.transfer_logs import Log, Stream

DAYS = [datetime.date(2026, 10, 30), datetime.date(2026, 10, 31), datetime.date(2026, 11, 1)]
STREAMS = (
    *(Stream(), Stream("FDSN:GE_EIL__B_H_Z/MSEED", 512, 1)),
    *(Stream("XX_A_00_HHZ/MSEED", 64, 1), Stream("soh", 7, 1)),
)
WHOLE = {"start": "2026-10", "end": "2026-11"}
# The characters of a date.
DATES = {"": 0, "year": 4, "month": 7, "day": 10, "hour": 13}
NODES = ("A", "B")

Sums = dict[tuple[str, ...], tuple[int | None, ...]]


def record(day: datetime.date, number: int, direction: str) -> Log:
    """Return a record that lasts some hours, distinct by its number."""
    times = {"connected": f"{day}T{number:02d}:10:00Z", "written": f"{day}T{number + 3:02d}:40:00Z"}
    streams = STREAMS[: 1 + number % len(STREAMS)]
    return Log(address=f"192.0.2.{number % 5}", streams=streams, direction=direction, **times)


@pytest.fixture
def payloads(store: Store) -> dict[str, list[DayPayload]]:
    """Store days of two nodes, and return their payloads by node."""
    made = {}
    for number, name in enumerate(NODES):
        node, _ = make_node(store, name)
        days = [
            make_day([record(day, hour, "RX" if hour % 4 == 3 else "TX") for hour in range(number, 12 + number)])
            for day in DAYS
        ]
        for one in days:
            store.ringserver.ingest(node, one)
        made[name] = days
    return made


def ask(client: FlaskClient, **query: str) -> Sums:
    response = client.get(f"{PREFIX}/ringserver/public", query_string={**query, "format": "json"})
    assert response.status_code == 200, response.text
    return take_sums(response.get_json()["results"])


def take_sums(rows: list[dict[str, Any]]) -> Sums:
    keys, numbers = RINGSERVER.keys, RINGSERVER.numbers
    found = {tuple(row[name] for name in keys): tuple(row[name] for name in numbers) for row in rows}
    assert len(found) == len(rows)
    return found


def add_up(
    payloads: dict[str, list[DayPayload]],
    date: str,
    level: str,
    *,
    country: bool = False,
    direction: str = "TX",
    streams: bool = False,
) -> Sums:
    """Return the sums over rows of payloads, by a plain way."""
    name = "stats" if streams else "hours" if date == "hour" else "days"
    parts: defaultdict[tuple[str, ...], list[Any]] = defaultdict(list)
    levels = ["", "node", "network", "station", "location", "channel"]
    for node, days in payloads.items():
        for row in itertools.chain.from_iterable(one.lists[name] for one in days):
            if row.direction != direction:
                continue
            codes = (node, *(getattr(row, code, "*") for code in levels[2:]))
            key = (
                f"{row.key[0].isoformat()[: DATES[date]]}" or "*",
                *(code if number < levels.index(level) else "*" for number, code in enumerate(codes)),
                row.country if country else "*",
            )
            parts[key].append(row)
    return {key: sum_rows(rows, has_records=name != "hours") for key, rows in parts.items()}


def sum_rows(rows: Iterable[Any], *, has_records: bool) -> tuple[int | None, ...]:
    found = list(rows)
    clients = hll.cardinality(hll.merge(hll.from_hex(row.clients) for row in found))
    records = sum(row.records for row in found) if has_records else None
    return sum(row.bytes for row in found), sum(row.packets for row in found), records, clients


def test_all_divisions_match_the_payloads(client: FlaskClient, payloads: dict[str, list[DayPayload]]) -> None:
    for level, date, country, direction in itertools.product(
        ("", "node", "network"), DATES, (False, True), ("TX", "RX")
    ):
        details = ",".join([*([date] if date else []), *(["country"] if country else [])])
        query = WHOLE | {"direction": direction, "level": level, "details": details}
        found = ask(client, **{name: value for name, value in query.items() if value})
        assert found == add_up(payloads, date, level, country=country, direction=direction), query


def test_default_is_what_was_sent(client: FlaskClient, payloads: dict[str, list[DayPayload]]) -> None:
    day = {"start": "2026-10-31", "end": "2026-10-31", "details": "day"}
    of_day = {node: days[1:2] for node, days in payloads.items()}
    assert ask(client, **day) == add_up(of_day, "day", "")
    assert ask(client, **WHOLE) == ask(client, **WHOLE, direction="TX") != ask(client, **WHOLE, direction="RX")


def test_holder_of_a_token_sees_channels(
    client: FlaskClient, store: Store, payloads: dict[str, list[DayPayload]]
) -> None:
    now = datetime.datetime.now(tz=datetime.UTC)
    store.registry.set_network_policy("A", "XX", inverted=True)
    token = store.registry.add_network_token("XX", now - DAY, now + DAY)[1]
    path, headers = f"{PREFIX}/ringserver/restricted", {"Authorization": f"Bearer {token}"}
    query = {**WHOLE, "network": "XX", "level": "channel", "details": "month", "format": "json"}
    response = client.post(path, query_string=query, headers=headers)
    rows = add_up(payloads, "month", "channel", streams=True)
    assert take_sums(response.get_json()["results"]) == {key: one for key, one in rows.items() if key[2] == "XX"}
    daily = client.post(path, query_string={**query, "details": "day"}, headers=headers)
    assert (daily.status_code, "These are by year or month only" in daily.text) == (400, True)
    # XX of node A is withheld from everybody else.
    withheld = ("A", "XX")
    networks = {key[1:3] for key in add_up(payloads, "", "network")}
    assert withheld in networks
    public = {key[1:3] for key in ask(client, **WHOLE, level="network")}
    assert public == networks - {withheld} | {("Other", "Other")}


@pytest.mark.usefixtures("payloads")
@pytest.mark.parametrize(
    ("query", "words"),
    [
        ({"details": "hour", "start": "2025-01"}, "at most 400 days"),
        ({"start": "2026-10-05"}, "add details=day"),
        ({"direction": "UP"}, "Use TX or RX"),
        ({"unsuccessful": "true"}, "unsuccessful"),
    ],
)
def test_bad_query_is_refused(client: FlaskClient, query: dict[str, str], words: str) -> None:
    response = client.get(f"{PREFIX}/ringserver/public", query_string={**WHOLE, **query, "format": "json"})
    assert response.status_code == 400
    assert words in response.get_json()["detail"]


@pytest.mark.usefixtures("payloads")
@pytest.mark.parametrize("service_settings", [{"min_clients": 4, "min_sketch_clients": 0, "closed_after_days": 0}])
def test_small_groups_are_not_shown(client: FlaskClient) -> None:
    for date, level in itertools.product(DATES, ("node", "network")):
        shown = ask(client, **WHOLE, level=level, **({"details": date} if date else {}))
        counts = [numbers[-1] or 0 for key, numbers in shown.items() if key[2] not in ("Other", "*")]
        assert min(counts, default=4) >= 4


def test_answer_is_not_sent_again_until_it_changes(client: FlaskClient, store: Store) -> None:
    node, _ = make_node(store, "A")
    store.ringserver.ingest(node, make_day([record(DAYS[0], 1, "TX")]))
    path = f"{PREFIX}/ringserver/public?start=2026-10"
    known = {"If-None-Match": client.get(path).headers["ETag"]}
    assert client.get(path, headers=known).status_code == 304
    store.ringserver.ingest(node, make_day([record(DAYS[1], 1, "TX")]))
    assert client.get(path, headers=known).status_code == 200
