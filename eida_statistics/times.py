"""Times as texts."""

import datetime

import msgspec


def format_utc(moment: datetime.datetime) -> str:
    """Return a time in UTC as ISO 8601 with Z. Whole seconds have no fraction, others six digits.

    Raises:
        OverflowError: if its year in UTC is not of 1 to 9999.
    """
    if moment.tzinfo is not datetime.UTC:
        moment = moment.astimezone(datetime.UTC)
    # It takes a fifth of the time of `isoformat`.
    text: str = msgspec.to_builtins(moment)
    return text
