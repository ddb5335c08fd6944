"""Dates that many tests use."""

import datetime

DAY = datetime.timedelta(days=1)
# One value for the whole run: a test may last past midnight.
NOW = datetime.datetime.now(tz=datetime.UTC)
# Days of the logs and payloads that the tests create.
OCTOBER = datetime.date(2026, 10, 1)
NOVEMBER_2020 = datetime.date(2020, 11, 2)
