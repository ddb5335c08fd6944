"""Differences between the log and the tables that follow from it."""

import datetime

import msgspec

from eida_statistics.times import format_utc


class ConnectionDifference(msgspec.Struct, frozen=True):
    """A row that differs.

    Attributes:
        table: the table.
        subject: the sensor or space.
        key: the rest of the key of the row.
        stored: the values of the row, None if there is no such row.
        due: the right values, None if there must be no such row.
    """

    table: str
    subject: str
    key: str
    stored: str | None
    due: str | None

    def __str__(self) -> str:
        row = f"{self.table} {self.subject} {self.key}"
        if self.stored is None:
            return f"{row}: missing, must be {self.due}"
        if self.due is None:
            return f"{row}: is {self.stored}, must not be there"
        return f"{row}: is {self.stored}, must be {self.due}"


def write_moment(moment: datetime.datetime | None) -> str:
    """Return a time in UTC in its shortest form."""
    return "open" if moment is None else format_utc(moment)
