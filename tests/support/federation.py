"""A small federation: some nodes with two years of payloads, with days that were not received."""

import datetime
import json
import random
from collections.abc import Iterable, Iterator

from eida_statistics import hll
from eida_statistics.months import find_last_day
from eida_statistics.payload import Payload
from eida_statistics.wire import decode
from eida_stats_webservice.registry.models import Node
from support.dates import DAY
from support.node_client import make_node
from support.payloads import row, sketch, wire
from support.stores import Store

COUNTRIES = ("DE", "FR", "IT", "GR", "CH", "US", "JP", "NZ", "SG", "XK", "A1", "")
Gap = tuple[datetime.date, datetime.date]


def fill(
    store: Store,
    nodes: Iterable[str],
    years: Iterable[int],
    *,
    gaps: dict[str, list[Gap]] | None = None,
    networks: int = 3,
    clients: int = 2000,
    seed: int = 1,
) -> dict[str, Node]:
    """Register nodes, and send for each month what was not lost: one payload for each run of days received."""
    chance = random.Random(seed)
    registered = {}
    for node, codes in make_nodes(store, nodes, networks):
        registered[node.name] = node
        for year in years:
            for month in range(1, 13):
                first = datetime.date(year, month, 1)
                last = min(find_last_day(first), _get_today() - DAY)
                for start, end in _split(first, last, (gaps or {}).get(node.name, [])):
                    store.dataselect.ingest(node, _make_payload(chance, codes, start, end, clients))
    return registered


def make_nodes(store: Store, names: Iterable[str], networks: int) -> Iterator[tuple[Node, list[str]]]:
    """Register nodes one by one, and yield each with the codes of its networks: GE, and those of its own."""
    for number, name in enumerate(names):
        yield make_node(store, name)[0], ["GE", *(f"{chr(65 + number)}{index}" for index in range(networks))]


def _split(first: datetime.date, last: datetime.date, gaps: list[Gap]) -> list[Gap]:
    """Return the runs of days outside the gaps."""
    runs: list[Gap] = []
    day = first
    while day <= last:
        if not any(start <= day <= end for start, end in gaps):
            if runs and runs[-1][1] == day - DAY:
                runs[-1] = (runs[-1][0], day)
            else:
                runs.append((day, day))
        day += DAY
    return runs


def _make_payload(
    chance: random.Random, codes: list[str], start: datetime.date, end: datetime.date, clients: int
) -> Payload:
    share = ((end - start).days + 1) / 31
    rows = [
        row(
            month=start.replace(day=1).isoformat(),
            network=code,
            station=f"S{station}",
            location="",
            channel="BHZ",
            country=country,
            bytes=round(share * chance.lognormvariate(21, 1)),
            nb_requests=100,
            nb_successful_requests=100,
            nb_unsuccessful_requests=0,
            clients=_draw_clients(chance, clients, chance.choice([1, 3, 20, 200])),
        )
        for code in codes
        for station in range(2)
        for country in chance.sample(COUNTRIES, 6)
    ]
    failed = row(
        month=start.replace(day=1).isoformat(),
        network="",
        station="",
        location="--",
        channel="",
        country="DE",
        bytes=0,
        nb_requests=40,
        nb_successful_requests=0,
        nb_unsuccessful_requests=40,
        clients=_draw_clients(chance, clients, 9),
    )
    period = {"start": start.isoformat(), "end": end.isoformat()}
    document = wire(*rows, failed, days_coverage=[start.isoformat()], period=period)
    return decode(json.dumps(document).encode(), today=_get_today())


def _draw_clients(chance: random.Random, clients: int, count: int) -> str:
    return sketch(map(hll.hash_client, chance.sample(range(clients), min(clients, count))))


def _get_today() -> datetime.date:
    return datetime.datetime.now(tz=datetime.UTC).date()
