"""Which sketches an answer discloses, and in which form; docs/PRIVACY.md says why.

A sketch of few clients reveals who is among them. So does the difference between the sketch of a total and those of
its rows.
"""

import datetime
from collections.abc import Collection, Iterable

import msgspec

from eida_statistics import hll
from eida_stats_webservice.query import suppression
from eida_stats_webservice.query.model import Question, Statistic
from eida_stats_webservice.query.suppression import Key, Networks
from eida_stats_webservice.registry.models import OTHER


class Disclosure(msgspec.Struct, frozen=True, kw_only=True):
    """The rules for the sketches of one answer, for clients that are not entitled to all networks of a row.

    Attributes:
        min_clients: MIN_CLIENTS.
        min_sketch_clients: how many clients a sketch has at least, if MIN_CLIENTS is set.
        first_open_month: from which month on nothing is disclosed, if MIN_CLIENTS is set.
        suppressed: keys of rows in which something is suppressed.
        is_public: whether anybody may get the answer, so that no client is entitled to more.
    """

    min_clients: int
    min_sketch_clients: int
    first_open_month: datetime.date
    suppressed: Collection[Key] = frozenset()
    is_public: bool = False


def disclose(row: Statistic, disclosure: Disclosure) -> Statistic:
    """Return the row with the sketch that the client may have: as it is, dense, or empty.

    The exact form lists the hashes of up to 160 clients; only clients entitled to all networks of the row get it.
    A sketch is never missing: programs made for the deployed service fail at a row without one.
    """
    if row.hll_clients is not None and (disclosure.is_public or not row.entitled):
        row.hll_clients = hll.EMPTY if _is_withheld(row, disclosure) else hll.to_dense(row.hll_clients)
    return row


def _is_withheld(row: Statistic, disclosure: Disclosure) -> bool:
    if not disclosure.min_clients:
        return not row.seen and row.network != OTHER
    return (
        OTHER in (row.node, row.network, row.country)
        or row.clients < max(disclosure.min_clients, disclosure.min_sketch_clients)
        or row.has_hidden
        or row.last_month >= f"{disclosure.first_open_month:%Y-%m}"
        or suppression.key_of(row) in disclosure.suppressed
    )


def finest(question: Question) -> Question:
    """Return the public question about the same months that divides clients most."""
    return Question(
        start=question.start, end=question.end, level="network", details=frozenset({"month", "country"})
    )


def suppressed_keys(atoms: Iterable[Statistic], minimum: int, question: Question, restricted: Networks) -> set[Key]:
    """Return the keys of the rows of an answer in which something is suppressed.

    Args:
        atoms: the rows of the finest question, with sketches, and restricted networks one by one.
        minimum: how many clients a row has at least.
        question: the question of the answer.
        restricted: nodes and networks that are not public; none for the holders of tokens.
    """
    cells = list(atoms)
    keys = [
        suppression.key_of_answer(cell, question, restricted)
        if suppression.is_counted(cell, question, restricted)
        else None
        for cell in cells
    ]
    obvious = {
        key
        for key, cell in zip(keys, cells, strict=True)
        if cell.clients < minimum or (cell.node, cell.network) in restricted
    }
    # Most totals have a small cell, so that the costly search for the other hidden ones is not needed.
    if obvious.issuperset(key for key in keys if key is not None):
        found = obvious
    else:
        hidden = suppression.hidden_rows(cells, minimum, finest(question), restricted)
        found = obvious.union(key for key, is_hidden in zip(keys, hidden, strict=True) if is_hidden)
    return {key for key in found if key is not None}
