"""The columns of answers."""

from collections.abc import Iterable, Iterator

from eida_stats_webservice.archive.holdings.cube import HOLDINGS, SERVED_PER_HELD
from eida_stats_webservice.archive.holdings.models import HoldingsQuery, HoldingsRow
from eida_stats_webservice.query.formats import Column, Row

_AS_OF = "as_of"


def list_columns(query: HoldingsQuery) -> tuple[Column, ...]:
    """Return the columns of an answer."""
    return (
        *(Column(name, is_text=True) for name in HOLDINGS.keys),
        *(Column(name, is_fraction=name == SERVED_PER_HELD) for name in _list_measures(query)),
        Column(_AS_OF, is_text=True),
    )


def list_values(rows: Iterable[HoldingsRow], query: HoldingsQuery) -> Iterator[Row]:
    """Yield the values of rows in the order of the columns."""
    names = [measure.name for measure in HOLDINGS.measures]
    measures = [names.index(name) for name in _list_measures(query)]
    for row in rows:
        yield [*row.keys, *(row.measures[number] for number in measures), row.as_of]


def _list_measures(query: HoldingsQuery) -> list[str]:
    return [
        measure.name
        for measure in HOLDINGS.measures
        if measure.parameter is None or measure.parameter in query.options.measures
    ]
