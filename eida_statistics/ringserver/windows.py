"""The time that a record covers."""

from typing import NamedTuple


class Stay(NamedTuple):
    """The time that a record covers, in seconds since 1970."""

    start: int
    end: int
