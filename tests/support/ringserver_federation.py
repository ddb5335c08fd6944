"""Some nodes with days of ringservers, some of which are quiet or were not received."""

import datetime
import random
from collections.abc import Collection, Iterable, Iterator
from typing import Any, NamedTuple

from eida_statistics import hll
from eida_statistics.months import find_last_day
from eida_statistics.payload import Period
from eida_statistics.ringserver.events import RX, TX
from eida_statistics.ringserver.payload import KIND, DayPayload, DayRow, HourRow, PlaceRow, StatRow
from eida_statistics.rows import sort_and_merge
from eida_stats_webservice.registry.models import Node
from support.federation import COUNTRIES, Gap, make_nodes
from support.payloads import sketch
from support.stores import Store

_QUIET = 6


def fill_streaming(
    store: Store,
    nodes: Iterable[str],
    months: Collection[datetime.date],
    *,
    gaps: dict[str, list[Gap]] | None = None,
    networks: int = 2,
    clients: int = 120,
    seed: int = 1,
) -> dict[str, Node]:
    """Register nodes, and store all their days outside the gaps. Six days of seven are quiet."""
    chance = random.Random(seed)
    registered = {}
    for node, codes in make_nodes(store, nodes, networks):
        registered[node.name] = node
        days = [day for month in months for day in Period(month, find_last_day(month)).days()]
        for index, day in enumerate(days):
            if not any(start <= day <= end for start, end in (gaps or {}).get(node.name, [])):
                is_quiet = index % (_QUIET + 1) > 0
                groups = _draw_groups(chance, [] if is_quiet else [*codes, ""], clients)
                store.ringserver.ingest(node, make_day_of_groups(day, groups))
    return registered


class Group(NamedTuple):
    """The transfers of one network with one country."""

    network: str
    clients: Iterable[int]
    country: str = "DE"
    direction: str = TX
    packets: int = 1


def make_day_of_groups(day: datetime.date, groups: Iterable[Group]) -> DayPayload:
    """Return the payload of a day on which all was sent in one hour. Its lists add up to each other."""
    noon = datetime.datetime.combine(day, datetime.time(12), datetime.UTC)
    rows: dict[str, list[Any]] = {"stats": [], "days": [], "hours": [], "places": []}
    for group in groups:
        code, direction, country = group.network, group.direction, group.country
        sums = {"bytes": 512 * group.packets, "packets": group.packets}
        users = {"clients": sketch(map(hll.hash_client, group.clients))}
        station = ("S0", "", "BHZ") if code else ("", "", "")
        stream = (direction, code, *station, country)
        rows["stats"].append(StatRow(day.replace(day=1), *stream, **sums, records=3, **users))
        rows["days"].append(DayRow(day, direction, code, country, **sums, records=3, **users))
        rows["hours"].append(HourRow(noon, direction, code, country, **sums, **users))
        rows["places"].append(PlaceRow(day, direction, country, "", "", **sums, **users))
    merged = {name: sort_and_merge(found) for name, found in rows.items()}
    return DayPayload(kind=KIND, period=Period(day, day), **merged)


def _draw_groups(chance: random.Random, codes: Iterable[str], clients: int) -> Iterator[Group]:
    for code in codes:
        for country in chance.sample(COUNTRIES, 5):
            direction = RX if chance.random() < 0.1 else TX
            packets = round(chance.lognormvariate(11, 1))
            count = min(clients, chance.choice([1, 2, 9, 60]))
            yield Group(code, chance.sample(range(clients), count), country, direction, packets)
