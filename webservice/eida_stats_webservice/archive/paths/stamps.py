"""Times in answers about paths."""

import datetime


def format_stamp(moment: datetime.datetime) -> str:
    """Return a time as GSKY writes it: in UTC, with milliseconds, as `2018-02-24T17:24:25.493Z`."""
    return moment.astimezone(datetime.UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
