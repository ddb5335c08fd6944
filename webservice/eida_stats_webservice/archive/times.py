"""Times as microseconds since 1970."""

import datetime

_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
_MICROSECOND = datetime.timedelta(microseconds=1)


def to_microseconds(moment: datetime.datetime) -> int:
    """Return the microseconds since 1970."""
    return (moment - _EPOCH) // _MICROSECOND


def from_microseconds(number: int) -> datetime.datetime:
    """Return the time that is some microseconds after 1970."""
    return _EPOCH + datetime.timedelta(microseconds=number)
