"""The time that a record covers, and its hours."""

import datetime
from collections.abc import Sequence
from operator import sub
from typing import NamedTuple

_EPOCH = datetime.date(1970, 1, 1)
_SECONDS_A_DAY = 86400
_SECONDS_AN_HOUR = 3600


class Stay(NamedTuple):
    """The time that a record covers, in seconds since 1970."""

    start: int
    end: int


def spread(stay: Stay, day: datetime.date, amounts: Sequence[int]) -> list[tuple[int, list[int]]]:
    """Return the hours (0 to 23) of a UTC day that a stay covers, each with its part of the amounts.

    They are spread evenly, in whole numbers that add up to the amounts.
    """
    midnight = (day - _EPOCH).days * _SECONDS_A_DAY
    start = max(stay.start - midnight, 0)
    end = min(stay.end - midnight, _SECONDS_A_DAY)
    first = min(start, _SECONDS_A_DAY - 1) // _SECONDS_AN_HOUR
    last = (end - 1) // _SECONDS_AN_HOUR
    if last <= first:
        return [(first, list(amounts))]
    parts = []
    before = [0] * len(amounts)
    for hour in range(first, last + 1):
        elapsed = min((hour + 1) * _SECONDS_AN_HOUR, end) - start
        reached = [amount * elapsed // (end - start) for amount in amounts]
        parts.append((hour, list(map(sub, reached, before))))
        before = reached
    return parts
