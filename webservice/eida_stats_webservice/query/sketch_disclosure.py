"""Decide which sketches an answer discloses, and in which form. See docs/PRIVACY.md for the reasons.

A sketch of few clients reveals who is among them. So does the difference between the sketch of a total and those of
its rows.
"""

import datetime
from collections.abc import Collection, Iterable

import msgspec

from eida_statistics import hll
from eida_stats_webservice.query import suppression
from eida_stats_webservice.query.model import Statistic, StatisticsQuery
from eida_stats_webservice.query.suppression import Key, Networks
from eida_stats_webservice.registry.models import OTHER


class Disclosure(msgspec.Struct, frozen=True, kw_only=True):
    """The rules for the sketches of one answer, for clients that are not authorized for all networks of a row.

    Attributes:
        min_clients: MIN_CLIENTS.
        min_sketch_clients: the smallest number of clients of a sketch, if MIN_CLIENTS is set.
        first_open_month: the month from which on no sketch is disclosed, if MIN_CLIENTS is set.
        suppressed: the keys of rows in which a cell is suppressed.
        is_public: whether everybody may get the answer, so that no client is authorized for more.
    """

    min_clients: int
    min_sketch_clients: int
    first_open_month: datetime.date
    suppressed: Collection[Key] = frozenset()
    is_public: bool = False


def disclose(row: Statistic, disclosure: Disclosure) -> Statistic:
    """Return the row with the sketch that the client may have: as it is, dense, or empty.

    The exact form lists the hashes of up to 160 clients. Only clients that are authorized for all networks of the
    row get it. A sketch is never missing: programs made for the deployed service fail at a row without one.
    """
    if row.hll_clients is not None and (disclosure.is_public or not row.authorized):
        row.hll_clients = hll.EMPTY if _is_withheld(row, disclosure) else hll.to_dense(row.hll_clients)
    return row


def _is_withheld(row: Statistic, disclosure: Disclosure) -> bool:
    if not disclosure.min_clients:
        return not row.visible and row.network != OTHER
    return (
        OTHER in (row.node, row.network, row.country)
        or row.clients < max(disclosure.min_clients, disclosure.min_sketch_clients)
        or row.has_withheld
        or row.last_month >= f"{disclosure.first_open_month:%Y-%m}"
        or suppression.get_key(row) in disclosure.suppressed
    )


def make_finest(query: StatisticsQuery) -> StatisticsQuery:
    """Return the public query about the same months that divides clients most."""
    return StatisticsQuery(
        start=query.start, end=query.end, level="network", details=frozenset({"month", "country"})
    )


def find_suppressed_keys(
    cells: Iterable[Statistic], minimum: int, query: StatisticsQuery, restricted: Networks
) -> set[Key]:
    """Return the keys of the rows of an answer in which a cell is suppressed.

    Args:
        cells: the rows of the finest query, with sketches, and restricted networks one by one.
        minimum: the smallest number of clients of a row.
        query: the query of the answer.
        restricted: nodes and networks that are not public; none for the holders of tokens.
    """
    cells = list(cells)
    keys = [
        suppression.get_answer_key(cell, query, restricted)
        if suppression.is_counted(cell, query, restricted)
        else None
        for cell in cells
    ]
    obvious = {
        key
        for key, cell in zip(keys, cells, strict=True)
        if cell.clients < minimum or (cell.node, cell.network) in restricted
    }
    # Most totals have a small cell. Then the costly search for complementary suppression is not needed.
    if obvious.issuperset(key for key in keys if key is not None):
        found = obvious
    else:
        suppressed = suppression.find_suppressed(cells, minimum, make_finest(query), restricted)
        found = obvious.union(key for key, is_suppressed in zip(keys, suppressed, strict=True) if is_suppressed)
    return {key for key in found if key is not None}
