"""Parse the parameters of queries of holdings."""

import datetime
from collections.abc import Iterable

from eida_statistics.payload import EARLIEST_DAY
from eida_stats_webservice.archive.holdings.cube import HOLDINGS, STREAMS
from eida_stats_webservice.archive.holdings.models import HoldingsQuery
from eida_stats_webservice.errors import BadParameter
from eida_stats_webservice.query.parameters import list_aliases, parse_choice, parse_query
from eida_stats_webservice.web.parameters import join_values

_GROWTH = "growth"
_MONTH = "month"


def parse_holdings_query(
    parameters: Iterable[tuple[str, str]], today: datetime.date, *, restricted: bool
) -> HoldingsQuery:
    """Parse the parameters of a request.

    Args:
        parameters: names and values in the order of the request.
        today: the present day.
        restricted: allow levels and codes below networks.

    Raises:
        BadParameter: naming a parameter that is missing, unknown, repeated or has a bad value.
    """
    found = list(parameters)
    growth = join_values([pair for pair in found if pair[0] == _GROWTH], {_GROWTH})
    is_growth = parse_choice(_GROWTH, growth.get(_GROWTH), (_MONTH,)) is not None
    others = [pair for pair in found if pair[0] != _GROWTH]
    if is_growth and all(list_aliases(HOLDINGS).get(name, name) != "start" for name, _ in others):
        # All snapshots.
        others.append(("start", EARLIEST_DAY.strftime("%Y-%m")))
    selection, options = parse_query(HOLDINGS, others, today, restricted=restricted)
    parsed = HoldingsQuery(selection, options, is_growth)
    if is_growth and parsed.has_streams:
        raise BadParameter(f"growth=month with {STREAMS}=true", hint="Leave one of them out.", parameter=_GROWTH)
    if is_growth and parsed.is_of_streams:
        raise BadParameter(
            "growth=month below networks", hint="Use level=node or level=network: snapshots have no stations."
        )
    return parsed
