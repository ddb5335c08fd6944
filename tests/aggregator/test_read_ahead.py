"""Days that are read ahead of their turn are the same as days that are read in it."""

import datetime
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from msgspec import structs

from eida_statistics import user_agents
from eida_statistics.networks import Epoch
from eida_stats_aggregator import read_ahead
from eida_stats_aggregator.days import DayRead, read_day
from eida_stats_aggregator.fdsnws.filters import RequestFilter
from eida_stats_aggregator.read_ahead import Task
from eida_stats_aggregator.reader import Reader
from eida_stats_aggregator.stamps import read_stamps
from support.aggregates import make_payload
from support.dates import NOVEMBER_2020 as FIRST
from support.node_operator import entries, entry, write_log
from support.stubs import trace

AT = datetime.datetime(2020, 12, 1, tzinfo=datetime.UTC)
EPOCHS = [Epoch("Z3", datetime.date(2015, 1, 1))]
DAYS = [FIRST + datetime.timedelta(days=number) for number in range(6)]


def make_reader(load: Callable[[], list[Epoch]] = lambda: EPOCHS, jobs: int = 2) -> Reader:
    return Reader(RequestFilter(user_agents.load_classes(), AT.date(), fingerprinted=True), load, jobs)


def write_day(folder: Path, day: datetime.date, count: int = 20) -> Path:
    """Write a log with requests of a day, of which one needs the registry of networks."""
    temporary = entry(day, count, trace=[trace(net="Z3", start=f"{day}T00:00:00")])
    return write_log(folder / f"fdsnws-requests.log.{day}.bz2", [*entries(day, count), temporary])


def make_tasks(folder: Path) -> list[Task]:
    return [Task(day, [write_day(folder, day, 20 + place)], 1000) for place, day in enumerate(DAYS)]


def describe(found: DayRead | None) -> object:
    """Return all that a run uses of a day."""
    if found is None:
        return None
    tally = found.tally
    payload = make_payload(tally.aggregation, AT, tally.request_filter.exclusions)
    counts = tally.lines, tally.rejected, tally.repeated, tally.requests_by_day, tally.fingerprint, tally.classes
    return found.names, found.skipped, payload.to_json(), counts


def test_days_are_those_that_are_read_in_their_turn(tmp_path: Path) -> None:
    tasks = make_tasks(tmp_path)
    # Most requests in this log are of another day.
    write_log(tasks[2].paths[0], entries(DAYS[4], 10))
    reader = make_reader()
    with read_ahead.read_ahead(tasks, reader) as ahead:
        for task in tasks:
            found = ahead.take(task.day, read_stamps(task.paths))
            assert found is not None
            assert describe(found.read) == describe(read_day(task.day, task.paths, reader))
            assert (found.read is None) == (task.day == DAYS[2])
        assert ahead.take(DAYS[5], {}) is None


def test_days_that_changed_or_are_damaged_are_left_to_their_turn(tmp_path: Path) -> None:
    tasks = make_tasks(tmp_path)
    tasks[1].paths[0].write_bytes(tasks[1].paths[0].read_bytes()[:-20])
    # The stamps of a log that grew after it was read. A log that grew now could be read before or after that.
    grown = {
        name: structs.replace(stamp, size=stamp.size + 1) for name, stamp in read_stamps(tasks[4].paths).items()
    }
    with read_ahead.read_ahead(tasks, make_reader()) as ahead:
        assert ahead.take(DAYS[0], read_stamps(tasks[0].paths)) is not None
        assert ahead.take(DAYS[1], read_stamps(tasks[1].paths)) is None
        assert ahead.take(DAYS[3], read_stamps(tasks[3].paths)) is not None
        assert ahead.take(DAYS[4], grown) is None
        assert ahead.take(DAYS[5], read_stamps(tasks[5].paths)) is not None
        # A day of which nothing was planned.
        assert ahead.take(DAYS[5] + datetime.timedelta(days=1), {}) is None


def test_days_are_left_to_their_turn_where_a_process_is_killed(tmp_path: Path) -> None:
    first = os.getpid()

    def load() -> list[Epoch]:
        if os.getpid() != first:
            os.kill(os.getpid(), signal.SIGKILL)
        return EPOCHS

    tasks, reader = make_tasks(tmp_path), make_reader(load)
    with read_ahead.read_ahead(tasks, reader) as ahead:
        assert [ahead.take(task.day, read_stamps(task.paths)) for task in tasks] == [None] * len(tasks)
    assert read_day(DAYS[0], tasks[0].paths, make_reader(load, jobs=1)) is not None


@pytest.mark.parametrize(("count", "jobs", "limit"), [(1, 2, 1000), (6, 1, 1000), (6, 2, 999)])
def test_one_day_and_large_days_are_not_read_ahead(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int, jobs: int, limit: int
) -> None:
    """All processes read such a day together, or there is only one."""
    monkeypatch.setattr(read_ahead, "_MAX_BYTES", limit)
    tasks = make_tasks(tmp_path)[:count]
    with read_ahead.read_ahead(tasks, make_reader(jobs=jobs)) as ahead:
        assert [ahead.take(task.day, read_stamps(task.paths)) for task in tasks] == [None] * count
