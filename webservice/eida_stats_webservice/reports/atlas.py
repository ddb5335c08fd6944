"""The maps, and the names of countries. `webservice/map` draws them."""

from functools import cache
from pathlib import Path

import msgspec

from eida_stats_webservice.reports.charts import Map

_FILE = Path(__file__).parent / "data" / "map.json"


class Atlas(msgspec.Struct, frozen=True):
    """The maps of the world and of Europe, and the names of countries and other codes."""

    world: Map
    europe: Map
    names: dict[str, str]


NO_COUNTRIES = frozenset(["", "A1", "A2", "AP", "EU", "O1", "T1"])
"""Codes of anonymous proxies, satellite providers, regions and others, which stand in the place of countries."""


def name_country(code: str) -> str:
    """Return the name of a country, or its code if it is unknown."""
    return read().names.get(code, code)


@cache
def read() -> Atlas:
    """Return the maps and names."""
    return msgspec.json.decode(_FILE.read_bytes(), type=Atlas)
