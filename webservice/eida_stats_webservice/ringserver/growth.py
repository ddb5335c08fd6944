"""The difference between a payload and an earlier one that it contains: days grow as logs are written."""

from collections.abc import Sequence

import msgspec

from eida_statistics.ringserver.payload import LISTS, DayPayload
from eida_statistics.rows import AnyRow, subtract_row


def find_growth(old: DayPayload, new: DayPayload) -> DayPayload | None:
    """Return the difference to add to sums with the old payload, so that they have the new one instead.

    Return None if the new payload does not contain the old one: a row is missing, has a smaller count, or lacks
    clients. Sources do not matter, since sums have none.
    """
    lists = {name: _subtract(old.lists[name], new.lists[name]) for name in LISTS}
    if any(rows is None for rows in lists.values()):
        return None
    return msgspec.structs.replace(new, **lists)


def _subtract(old: Sequence[AnyRow], new: Sequence[AnyRow]) -> list[AnyRow] | None:
    """Return the rows that have grown, each with the difference of the counts and all clients."""
    before = {row.key: row for row in old}
    grown = []
    for row in new:
        known = before.pop(row.key, None)
        if known is None:
            grown.append(row)
        elif row != known:
            difference = subtract_row(row, known)
            if difference is None:
                return None
            grown.append(difference)
    return None if before else grown
