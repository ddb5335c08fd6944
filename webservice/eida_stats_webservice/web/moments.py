"""Parse the times of events and of requests."""

import datetime
import re

from eida_statistics.texts import printable
from eida_stats_webservice.errors import BadParameter

_MOMENT = re.compile(
    r"(\d{4})-(\d{2})-(\d{2})"
    r"(?:[Tt ](\d{2}):(\d{2})(?::(\d{2})(?:[.,](\d{1,12}))?)?"
    # Query strings decode the + of an offset as a blank.
    r"(?:([Zz])|([+ -])([01]\d|2[0-3]):?([0-5]\d))?)?",
    re.ASCII,
)
_LEAP_SECOND = 60
_HINT = "Use a time such as 2018-02-24T17:24:25.493Z."


def parse_moment(text: str, field: str) -> datetime.datetime:
    """Parse a time in UTC, unless it has another zone. Digits beyond microseconds are cut off.

    A leap second is the last microsecond before it, since Python has none.

    Args:
        text: such as `2018-02-24T17:24:25.493Z`; T and Z may be small, T may be a blank, and the time of day may be
            missing.
        field: the name of the field, for messages.

    Raises:
        BadParameter: if there is no such time.
    """
    found = _MOMENT.fullmatch(text)
    if found is None:
        raise BadParameter(f"{field}={printable(text[:60])}", hint=_HINT, parameter=field)
    year, month, day, hour, minute, second, fraction, _, sign, zone_hours, zone_minutes = found.groups()
    is_leap = int(second or 0) == _LEAP_SECOND
    microsecond = 999_999 if is_leap else int((fraction or "").ljust(6, "0")[:6])
    try:
        offset = datetime.timedelta(hours=int(zone_hours or 0), minutes=int(zone_minutes or 0))
        zone = datetime.timezone(-offset if sign == "-" else offset)
        moment = datetime.datetime(
            int(year),
            int(month),
            int(day),
            int(hour or 0),
            int(minute or 0),
            59 if is_leap else int(second or 0),
            microsecond,
            tzinfo=zone,
        )
        return moment.astimezone(datetime.UTC)
    except (ValueError, OverflowError):
        raise BadParameter(
            f"{field}={printable(text)}: there is no such time", hint=_HINT, parameter=field
        ) from None
