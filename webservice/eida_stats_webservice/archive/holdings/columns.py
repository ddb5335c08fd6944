"""The columns of answers."""

from collections.abc import Iterable, Iterator

from eida_stats_webservice.archive.holdings.cube import BYTES_HELD, HOLDINGS, SERVED_PER_HELD
from eida_stats_webservice.archive.holdings.models import HoldingsQuery, HoldingsRow
from eida_stats_webservice.query.formats import Column, Row

_AS_OF = "as_of"


def list_columns(holdings: HoldingsQuery) -> tuple[Column, ...]:
    """Return the columns of an answer."""
    return (
        *(Column(name, is_text=True) for name in HOLDINGS.keys),
        *(Column(name, is_fraction=name == SERVED_PER_HELD) for name in _list_measures(holdings)),
        *([] if holdings.is_growth else [Column(_AS_OF, is_text=True)]),
    )


def list_values(rows: Iterable[HoldingsRow], holdings: HoldingsQuery) -> Iterator[Row]:
    """Yield the values of rows in the order of the columns."""
    names = [measure.name for measure in HOLDINGS.measures]
    measures = [names.index(name) for name in _list_measures(holdings)]
    for row in rows:
        as_of = [] if holdings.is_growth else [row.as_of]
        yield [*row.keys, *(row.measures[number] for number in measures), *as_of]


def _list_measures(holdings: HoldingsQuery) -> list[str]:
    if holdings.is_growth:
        return [BYTES_HELD]
    return [
        measure.name
        for measure in HOLDINGS.measures
        if measure.parameter is None or measure.parameter in holdings.options.measures
    ]
