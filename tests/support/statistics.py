"""Query statistics without HTTP."""

from typing import Any

from eida_stats_webservice.dataselect.cube import DATASELECT
from eida_stats_webservice.query.formats import list_columns, list_values
from eida_stats_webservice.query.model import OutputOptions, StatisticsQuery
from eida_stats_webservice.query.parameters import list_aliases
from eida_stats_webservice.registry.models import PUBLIC
from support.stores import Store

LEVELS = tuple(level.name for level in DATASELECT.levels)
ALIASES = list_aliases(DATASELECT)
_ALL_COLUMNS = OutputOptions(measures=frozenset(["unsuccessful"]))


def query_public(store: Store, **query: Any) -> list[dict[str, Any]]:
    """Return the rows of a public query, keyed by the names of the columns."""
    rows = store.statistics.query(StatisticsQuery(cube=DATASELECT, **query), PUBLIC, sketches=False)
    names = [column.name for column in list_columns(DATASELECT, _ALL_COLUMNS)]
    return [dict(zip(names, values, strict=True)) for values in list_values(rows, DATASELECT, _ALL_COLUMNS)]
