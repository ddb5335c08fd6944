"""Times in parameters and in the tables of the catalogue."""

import datetime
import re

from eida_stats_webservice.errors import BadParameter
from eida_stats_webservice.web.parameters import quote_parameter

# Query strings decode the + of an offset as a blank.
_LOST_PLUS = re.compile(r" (?=\d\d:?\d\d\Z)")
_WRITTEN = re.compile(r"\d{4}-\d\d-\d\d([Tt ][\d:.+ Zz-]*)?", re.ASCII)


def parse_moment(name: str, text: str) -> datetime.datetime:
    """Parse the time in a parameter: ISO 8601, in UTC unless it has another zone.

    Raises:
        BadParameter: if there is no such time.
    """
    # Python would also accept weeks, and blanks.
    written = text if _WRITTEN.fullmatch(text) else ""
    try:
        moment = datetime.datetime.fromisoformat(_LOST_PLUS.sub("+", written, count=1))
        return (moment if moment.tzinfo else moment.replace(tzinfo=datetime.UTC)).astimezone(datetime.UTC)
    except (ValueError, OverflowError):
        raise BadParameter(
            quote_parameter(name, text), hint="Use a time such as 2018-02-24T17:24:25.493Z.", parameter=name
        ) from None


def format_moment(moment: datetime.datetime) -> str:
    """Return a time in the form of the tables: in UTC, with microseconds. Such texts have the order of times."""
    return moment.astimezone(datetime.UTC).isoformat(timespec="microseconds")


def format_short(moment: datetime.datetime) -> str:
    """Return a time as GSKY writes it: in UTC, with milliseconds, as `2018-02-24T17:24:25.493Z`."""
    return moment.astimezone(datetime.UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
