"""Small groups of users are not told apart in public answers; docs/PRIVACY.md says why."""

from collections.abc import Iterable, Iterator
from itertools import groupby
from operator import attrgetter

from eida_statistics import hll
from eida_stats_webservice.store.records import OTHER, Question, Statistic


def is_fine(question: Question) -> bool:
    """Tell whether an answer divides users more than by node and time."""
    return (
        question.tells("network")
        or "country" in question.details
        or bool(question.countries)
        or question.names_streams
    )


def merge_small(rows: Iterable[Statistic], minimum: int, question: Question) -> Iterator[Statistic]:
    """Merge, for each date, the rows with less than a minimum of clients into one row Other.

    If that has less than the minimum, too, the smallest other row is merged into it, so that a total minus the rows
    that are shown never leaves a smaller group. If there is no other row, it goes where the question names networks
    or countries: else it is the total of the date, which anybody can ask for.

    Args:
        rows: with sketches, those of a date together.
        minimum: how many clients a row has at least.
        question: what was asked.
    """
    for _, of_date in groupby(rows, key=attrgetter("date")):
        yield from _merged(list(of_date), minimum, question)


def arranged(rows: Iterable[Statistic], question: Question) -> Iterator[Statistic]:
    """Sort and limit rows in the order that the database would give."""
    ordered = sorted(rows, key=attrgetter("date", "node", "network", "station", "location", "channel", "country"))
    if question.sort is not None:
        ordered.sort(key=attrgetter(question.sort.removeprefix("-")), reverse=question.sort.startswith("-"))
    yield from ordered[: question.limit]


def _merged(rows: list[Statistic], minimum: int, question: Question) -> list[Statistic]:
    small = [row for row in rows if row.clients < minimum]
    if not small:
        return rows
    left = sorted((row for row in rows if row.clients >= minimum), key=attrgetter("clients"))
    other = _united(small, question)
    # Restricted networks may have a row of that name already.
    same = [row for row in left if _key(row) == _key(other)]
    left = [row for row in left if _key(row) != _key(other)]
    if same:
        other = _united([other, *same], question)
    while other.clients < minimum and left:
        other = _united([other, left.pop(0)], question)
    if other.clients < minimum and (question.countries or question.names_streams):
        return []
    return [*left, other]


def _key(row: Statistic) -> tuple[str, ...]:
    return (row.node, row.network, row.country)


def _united(rows: list[Statistic], question: Question) -> Statistic:
    sketch = hll.merge(sketch for row in rows if (sketch := row.hll_clients) is not None)
    return Statistic(
        date=rows[0].date,
        node=OTHER if question.tells("node") else "*",
        network=OTHER if question.tells("network") else "*",
        station="*",
        location="*",
        channel="*",
        country=OTHER if "country" in question.details else "*",
        bytes=sum(row.bytes for row in rows),
        nb_reqs=sum(row.nb_reqs for row in rows),
        nb_successful_reqs=sum(row.nb_successful_reqs for row in rows),
        nb_unsuccessful_reqs=sum(row.nb_unsuccessful_reqs for row in rows),
        clients=hll.cardinality(sketch),
        hll_clients=sketch,
    )
