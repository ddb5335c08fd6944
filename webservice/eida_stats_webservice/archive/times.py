"""Times as texts in the form of the catalogue, which both databases take."""

import datetime

import msgspec

_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
_WITHOUT_FRACTION = len("2026-11-22T02:03:33Z")
_MICROSECOND = datetime.timedelta(microseconds=1)


def format_moment(moment: datetime.datetime) -> str:
    """Return a time in UTC with microseconds; as texts, they have the order of times.

    Raises:
        OverflowError: if its year in UTC is not of 1 to 9999.
    """
    if moment.tzinfo is not datetime.UTC:
        moment = moment.astimezone(datetime.UTC)
    # Many times as fast as isoformat(), but whole seconds have no fraction, and UTC is Z.
    text: str = msgspec.to_builtins(moment)
    return f"{text[:-1]}{'' if len(text) > _WITHOUT_FRACTION else '.000000'}+00:00"


def format_time(moment: datetime.datetime) -> str:
    """Return a time in UTC for people. Whole seconds have no fraction."""
    text: str = msgspec.to_builtins(moment.astimezone(datetime.UTC))
    return text


def to_microseconds(moment: datetime.datetime) -> int:
    """Return the microseconds since 1970."""
    return (moment - _EPOCH) // _MICROSECOND


def from_microseconds(number: int) -> datetime.datetime:
    """Return the time that is some microseconds after 1970."""
    return _EPOCH + datetime.timedelta(microseconds=number)
