"""Unite the answers of the parts of usage."""

from collections.abc import Iterable, Iterator, Sequence
from heapq import merge
from itertools import groupby
from operator import itemgetter

from eida_stats_webservice.query.model import Key, Statistic
from eida_stats_webservice.query.unions import count_clients
from eida_stats_webservice.usage.cube import PARTS, USAGE, Part

_NumberedRow = tuple[Key, int, Statistic]


def unite_answers(answers: Sequence[Iterable[Statistic]]) -> Iterator[Statistic]:
    """Yield the rows of usage: one for each key in any answer, without sketches.

    Args:
        answers: the answer of each of `PARTS`, with sketches, ordered by the keys.
    """
    numbered = [
        _add_keys(part, number, answer) for number, (part, answer) in enumerate(zip(PARTS, answers, strict=True))
    ]
    get_key = itemgetter(0)
    for key, rows in groupby(merge(*numbered, key=get_key), get_key):
        yield _unite(key, {number: row for _, number, row in rows})


def _add_keys(part: Part, number: int, answer: Iterable[Statistic]) -> Iterator[_NumberedRow]:
    """Yield the key in usage of each row, the number of its part, and the row."""
    columns = [part.cube.keys.index(name) for name in USAGE.keys]
    for row in answer:
        yield tuple(row.keys[column] for column in columns), number, row


def _unite(key: Key, rows: dict[int, Statistic]) -> Statistic:
    """Return the row of usage with a key. The columns of a part that has no such row are None."""
    values: list[int | None] = []
    for number, part in enumerate(PARTS):
        row = rows.get(number)
        values += [None] * len(part.columns) if row is None else _list_values(part, row)
    # Clients of several parts count once.
    return Statistic(keys=key, measures=tuple(values), clients=count_clients(list(rows.values())))


def _list_values(part: Part, row: Statistic) -> list[int | None]:
    names = [measure.name for measure in part.cube.measures]
    return [*(row.measures[names.index(name)] for name in part.measures.values()), row.clients]
