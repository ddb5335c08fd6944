"""The rule by which days are sent, where windows are not UTC days."""

import datetime
from collections.abc import Iterable
from zoneinfo import ZoneInfo

import pytest

from eida_statistics.ringserver.windows import HOUR, Grid, Window
from support.ring_operator import RingOperator, record
from support.transfer_logs import Log

FIRST = 24
"""A day in October 2020. Summer time ends on the next one."""

CHANGED = "not sent: records are missing, and others are new"
HELD = "not sent: the service has other statistics of this day"


class Server:
    """A ringserver that writes an empty file for a quiet window."""

    def __init__(self, operator: RingOperator, zone: str, hours: int) -> None:
        self.options = ("--timezone", zone, "--window", str(hours))
        self._operator = operator
        self._zone = ZoneInfo(zone)
        self._grid = Grid(self._zone, hours * HOUR)

    def write(self, days: int, records: Iterable[Log]) -> None:
        """Write the logs of a number of days, with these records and no others."""
        time, end = _parse(FIRST, "00:00:00"), _parse(FIRST + days, "00:00:00")
        windows = []
        while time < end:
            windows.append(self._grid.find_window(time, time))
            time = windows[-1].end
        by_window: dict[Window, list[Log]] = {window: [] for window in windows}
        for one in records:
            written, connected = (
                int(datetime.datetime.fromisoformat(f"{text}+00:00").timestamp())
                for text in (one.written, one.connected)
            )
            by_window[self._grid.find_window(written, connected)].append(one)
        for path in self._operator.logs.iterdir():
            path.unlink()
        for window, found in by_window.items():
            local = [
                f"{datetime.datetime.fromtimestamp(one, self._zone):%Y%m%dT%H%M}"
                for one in (window.start, window.end)
            ]
            self._operator.write(f"txlog-{local[0]}-{local[1]}", *found)


def _parse(day: int, time: str) -> int:
    return int(datetime.datetime.fromisoformat(f"2020-10-{day:02d}T{time}+00:00").timestamp())


def _early(day: int, number: int = 1) -> Log:
    return record(1, number)._replace(
        written=f"2020-10-{day:02d} 01:{number:02d}:00", connected=f"2020-10-{day:02d} 00:30:00"
    )


def _late(day: int, number: int = 1) -> Log:
    """Return a record that is in another window than `_early`, which may be that of the next day."""
    return record(1, number)._replace(
        written=f"2020-10-{day:02d} 23:{number:02d}:00", connected=f"2020-10-{day:02d} 22:30:00"
    )


@pytest.mark.parametrize(("zone", "hours"), [("Europe/Paris", 24), ("UTC", 7), ("Europe/Paris", 7)])
def test_each_row_of_the_rule(operator: RingOperator, zone: str, hours: int) -> None:
    server = Server(operator, zone, hours)
    same, grown, shrunk, changed, quiet, new = range(FIRST, FIRST + 6)
    first = [record for day in (same, grown, shrunk, changed) for record in (_early(day), _late(day))]
    server.write(5, first)
    delivered = {f"10-{day}": "delivered" for day in (same, grown, shrunk, changed, quiet)}
    assert operator.results(*server.options) == delivered
    assert operator.results(*server.options) == {}
    kept = [one for one in first if one not in (_late(shrunk), _late(changed))]
    now = [*kept, _late(grown, 2), _late(changed, 2), _late(new)]
    server.write(6, now)
    assert operator.results(*server.options, code=4) == {
        f"10-{grown}": "delivered (corrected)",
        f"10-{changed}": CHANGED,
        f"10-{new}": "delivered",
    }
    again = operator.send_json(*server.options, code=4)
    assert [one["result"] for one in again["days"]] == [CHANGED]
    assert (again["delivered_before"], again["shortened"]) == (4, 1)
    # The delivery records are lost. All days have their statistics at the service, but for two.
    for path in (operator.home / "out").glob("*.delivery"):
        path.unlink()
    there = {f"10-{day}": "already there" for day in (same, grown, quiet, new)}
    held = {f"10-{day}": HELD for day in (shrunk, changed)}
    assert operator.results(*server.options, code=4) == dict(sorted((there | held).items()))
    replaced = operator.results(*server.options, "--replace")
    assert replaced[f"10-{shrunk}"] == replaced[f"10-{changed}"] == "delivered (corrected)"
    assert operator.results(*server.options) == {}
    rows = operator.ask(
        f"ringserver/public?start=2020-10-{FIRST}&end=2020-10-{new}&details=day&node={operator.node}&format=json"
    )["results"]
    sums = {row["date"][8:]: row["bytes"] for row in rows}
    assert sums == {str(day): _sum(one for one in now if one.written[8:10] == str(day)) for day in sums}
    assert sorted(sums) == [str(day) for day in (same, grown, shrunk, changed, new)]


def _sum(records: Iterable[Log]) -> int:
    return sum(one.total for one in records)
