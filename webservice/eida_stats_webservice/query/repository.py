"""Statistics: sums of the payloads in force, as a question divides them."""

import datetime
import math
from collections.abc import Collection, Generator
from typing import Any

from eida_statistics import hll
from eida_stats_webservice.database.base import Database, as_time
from eida_stats_webservice.query.model import Question, State, Statistic
from eida_stats_webservice.registry.models import Viewer

# The service refuses older days; see wire.py.
_FIRST_MONTH = datetime.date(1990, 1, 1)
_ALL_ROWS = 2**63 - 1
# A proxy in front waits for somewhat longer.
_ANSWER_SECONDS = 120
# A list that is empty is no SQL; no code, node or group is called so.
_NONE = ("*",)


class Answers(Database):
    """Answers questions."""

    def state(self) -> State:
        """Return the state on which answers depend."""
        with self.transaction() as connection:
            registry, statistics, *times = self.queries.data_version(connection)
        return State(f"{registry}.{statistics}", max(as_time(time) for time in times if time is not None))

    def statistics(self, question: Question, viewer: Viewer, *, sketches: bool) -> Generator[Statistic]:
        """Yield the sums that a question asks for, in one transaction that ends with the last row.

        Args:
            question: the question.
            viewer: the client. Networks that they do not see are one row Other of each date and country, or left
                out if the question names what it is about.
            sketches: yield the sketches, too.

        Raises:
            DatabaseTooSlow: if the first rows, or further ones, do not come in time.
        """
        with self.transaction() as connection:
            self.queries.end_after(connection, seconds=_ANSWER_SECONDS)
            for row in self.stream(
                connection, self.queries.statistics.sql, self._parameters(question, viewer, sketches=sketches)
            ):
                date, node, network, station, location, channel, country = row[:7]
                size, requests, successful, failed, clients, sketch = row[7:13]
                seen, entitled, has_hidden, last_month = row[13:]
                yield Statistic(
                    *(date, node, network, station, location, channel, country),
                    *(int(size), int(requests), int(successful), int(failed), _rounded_up(clients)),
                    None if sketch is None else _sketch(sketch),
                    bool(seen),
                    bool(entitled),
                    bool(has_hidden),
                    last_month,
                )

    def _parameters(self, question: Question, viewer: Viewer, *, sketches: bool) -> dict[str, Any]:
        sort = question.sort or ""
        return {
            "source": _source(question, sketches=sketches),
            "months": self.listed(_months(question.start, question.end)),
            "some_nodes": bool(question.nodes),
            "nodes": self.listed(question.nodes or _NONE),
            "some_networks": bool(question.networks),
            "networks": self.listed(question.networks or _NONE),
            "some_countries": bool(question.countries),
            "countries": self.listed(question.countries or _NONE),
            "station": self._pattern(question.stations),
            "location": self._pattern(question.locations),
            "channel": self._pattern(question.channels),
            "by_month": "month" in question.details,
            "by_year": "year" in question.details,
            "by_node": question.tells("node") and not question.merge_nodes,
            "by_network": question.tells("network"),
            "by_station": question.tells("station"),
            "by_location": question.tells("location"),
            "by_channel": question.tells("channel"),
            "by_country": "country" in question.details,
            "named": question.names_streams,
            "groups": self.listed(viewer.groups or _NONE),
            "granted": self.listed(viewer.networks or _NONE),
            "sketches": sketches,
            "sort": sort.removeprefix("-"),
            "direction": -1 if sort.startswith("-") else 1,
            "rows": _ALL_ROWS if question.limit is None else question.limit,
        }

    def _pattern(self, patterns: Collection[str]) -> str:
        return self.matching(patterns) if patterns else ""


def _source(question: Question, *, sketches: bool) -> str:
    """Return the smallest table that can answer. With sketches, it must have networks: they decide who gets one."""
    if question.tells("station") or question.stations or question.locations or question.channels:
        return "streams"
    networks = question.tells("network") or question.names_streams or sketches
    countries = "country" in question.details or bool(question.countries)
    if networks and countries:
        return "networks and countries"
    # Without either, the sums by network are fewer than those by country.
    return "countries" if countries else "networks"


def _months(start: datetime.date, end: datetime.date) -> list[str]:
    """List the first days of the months; a list lets an index find them for one network among many."""
    first, last = (month.year * 12 + month.month - 1 for month in (max(start, _FIRST_MONTH), end))
    return [f"{month // 12}-{month % 12 + 1:02}-01" for month in range(first, last + 1)] or ["0001-01-01"]


def _sketch(found: str | bytes) -> bytes:
    # PostgreSQL returns it as text, in forms of its own.
    return hll.canonicalize(hll.from_hex(found) if isinstance(found, str) else found)


def _rounded_up(estimate: float) -> int:
    # PostgreSQL has no number for a sketch in which every register is saturated.
    return math.ceil(estimate) if math.isfinite(estimate) else math.ceil(hll.MAX_ESTIMATE)
