"""The place of a client."""

from typing import NamedTuple


class Place(NamedTuple):
    """A country, the English name of a city, and a geohash; each is empty if it is unknown."""

    country: str
    city: str
    geohash: str


NOWHERE = Place("", "", "")
