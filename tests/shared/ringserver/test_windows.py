"""Windows, days and hours of transfer records, compared with ringserver's own way to compute them."""

import datetime
import os
import time
from collections.abc import Iterator
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eida_statistics.errors import ConfigurationError
from eida_statistics.ringserver.events import RX, TX, Direction, TransferRecord
from eida_statistics.ringserver.windows import (
    DAY,
    HOUR,
    LATENESS,
    Grid,
    LogName,
    SourceWindows,
    Stay,
    Window,
    find_day,
    find_stay,
    parse_log_name,
)
from support.paths import ROOT

LOGS = ROOT.parent / "shared/data/ringserver"
UTC = Grid()
PARIS = ZoneInfo("Europe/Paris")
SEVEN_HOURS = 7 * HOUR


def at(text: str) -> int:
    """Return a time such as `2026-11-22 02:01`."""
    return int(datetime.datetime.fromisoformat(text).replace(tzinfo=datetime.UTC).timestamp())


def day(text: str) -> datetime.date:
    return datetime.date.fromisoformat(text)


def window(start: str, end: str) -> Window:
    return Window(at(start), at(end))


def make_record(written_at: int, connected_at: int, starts_at: int | None = None) -> TransferRecord:
    return TransferRecord(
        direction=TX,
        address="192.0.2.7",
        protocol="SeedLink",
        client_id="Client",
        written_at=written_at,
        connected_at=connected_at,
        starts_at=starts_at,
        ids=[],
        sizes=[],
        packets=[],
        content=b"",
        line=1,
        length=1,
    )


def compute_window_in_c(reference: int, seconds: int) -> Window:
    """Do what `CalcUsageLogInterval` does, with the C functions that it calls."""
    now = time.localtime(reference)
    start = int(time.mktime((now.tm_year, now.tm_mon, now.tm_mday, 0, 0, 0, 0, 0, now.tm_isdst)))
    while start + seconds <= reference:
        start += seconds
    return Window(start, start + seconds)


@pytest.fixture
def local_zone(request: pytest.FixtureRequest) -> Iterator[str]:
    before = os.environ.get("TZ")
    os.environ["TZ"] = request.param
    time.tzset()
    yield request.param
    os.environ.pop("TZ")
    if before is not None:
        os.environ["TZ"] = before
    time.tzset()


@pytest.mark.parametrize(
    "local_zone", ["UTC", "Europe/Paris", "Europe/Dublin", "Africa/Cairo", "Atlantic/Azores"], indirect=True
)
@pytest.mark.parametrize("hours", [1, 7, 24])
def test_windows_are_those_of_ringserver(local_zone: str, hours: int) -> None:
    grid = Grid(ZoneInfo(local_zone), hours * HOUR)
    for start in ("2026-03-24", "2026-04-20", "2026-10-20"):  # the clocks change in the following days
        expected = compute_window_in_c(at(start), grid.seconds)
        for written_at in range(at(start) + 3 * DAY, at(start) + 13 * DAY, HOUR // 2):
            while written_at >= expected.end:
                expected = compute_window_in_c(expected.end, grid.seconds)
            assert grid.find_window(written_at, written_at) == expected


@pytest.mark.parametrize("seconds", [0, -HOUR, 59, DAY + 1])
def test_other_lengths_of_windows_are_refused(seconds: int) -> None:
    with pytest.raises(ConfigurationError, match="between a minute and 24 hours"):
        Grid(seconds=seconds)


MINUTE = window("2026-11-22 02:01", "2026-11-22 02:02")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("txlog-20261122T0201-20261122T0202", LogName("", TX, MINUTE)),
        ("/var/log/rs-b-txlog-x/txlog-20261122T0201-20261122T0202", LogName("", TX, MINUTE)),
        ("rs-b-rxlog-20261122T0201-20261122T0202.jsonl", LogName("rs-b", RX, MINUTE)),
        ("rs-b-txlog-20261122T02:01-20261122T02:02", LogName("rs-b", TX, MINUTE)),
        ("txlog-20261122T0201-20261122T0202.jsonl.1.zst", LogName("", TX, MINUTE)),
        ("txlog-20261122T0201-20261122T0202-20261123.gz", LogName("", TX, MINUTE)),
        ("txlog-a-rxlog-20261122T0201-20261122T0202.bz2", LogName("txlog-a", RX, MINUTE)),
        ("-txlog-20261122T0201-20261122T0202", LogName("", TX, MINUTE)),
        ("accesslog-20261122T0201-20261122T0202.jsonl", LogName("", None, MINUTE)),
        ("été\udcff-txlog-20261122T0201-20261122T0202", LogName("été\udcff", TX, MINUTE)),
        # Not a time, no time between both, a time that no ringserver has seen.
        ("rs-b-txlog-20261322T0201-20261122T0202", LogName("rs-b", TX, None)),
        ("txlog-20261122T0201-20261122T2402", LogName("", TX, None)),
        ("txlog-20261122T0201-20261122T0201", LogName("", TX, None)),
        ("txlog-20261122T0202-20261122T0201", LogName("", TX, None)),
        ("txlog-19700101T0000-19700102T0000", LogName("", TX, None)),
        ("txlog-19900101T0000-20261122T0000", LogName("", TX, None)),
        ("txlog-20261122T0201-20261122T02020", LogName("", TX, None)),
        ("rs-b-txlog.gz", LogName("rs-b", TX, None)),
        ("rxlog", LogName("", RX, None)),
        ("txlogs.log", None),
        ("mytxlog-20261122T0201-20261122T0202", None),
        ("fdsnws-requests.log", None),
        ("-", None),
        ("", None),
    ],
)
def test_name_states_server_and_window(name: str, expected: LogName | None) -> None:
    assert parse_log_name(name, UTC) == expected


@pytest.mark.parametrize(
    ("times", "seconds", "expected"),
    [
        # The days on which summer time begins and ends have 23 and 25 hours.
        ("20260329T0000-20260330T0000", DAY, ("2026-03-28 23:00", "2026-03-29 22:00")),
        ("20261025T0000-20261026T0000", DAY, ("2026-10-24 22:00", "2026-10-25 23:00")),
        # 2:00 to 3:00 happens twice.
        ("20261025T0100-20261025T0200", HOUR, ("2026-10-24 23:00", "2026-10-25 00:00")),
        ("20261025T0200-20261025T0200", HOUR, ("2026-10-25 00:00", "2026-10-25 01:00")),
        ("20261025T0200-20261025T0300", HOUR, ("2026-10-25 01:00", "2026-10-25 02:00")),
        ("20261025T0200-20261025T0300", 2 * HOUR, ("2026-10-25 00:00", "2026-10-25 02:00")),
        ("20261025T0200-20261025T0300", DAY, ("2026-10-25 01:00", "2026-10-25 02:00")),
        # 2:30 does not exist.
        ("20260329T0230-20260329T0330", HOUR, ("2026-03-29 00:30", "2026-03-29 01:30")),
    ],
)
def test_local_times_mean_one_window(times: str, seconds: int, expected: tuple[str, str]) -> None:
    found = parse_log_name(f"txlog-{times}", Grid(PARIS, seconds))

    assert found is not None
    assert found.window == window(*expected)


DAY_22 = window("2026-11-22 00:00", "2026-11-23 00:00")


@pytest.mark.parametrize("named", [DAY_22, None])
@pytest.mark.parametrize(
    ("connected_at", "written_at", "start"),
    [
        # Records that ringserver writes at the end of the window, and of connections that end by then.
        ("2026-11-01 12:00:00", "2026-11-23 00:00:00", "2026-11-22 00:00:00"),
        ("2026-11-01 12:00:00", "2026-11-23 00:00:30", "2026-11-22 00:00:00"),
        ("2026-11-22 23:59:50", "2026-11-23 00:00:30", "2026-11-22 23:59:50"),
        ("2026-11-22 13:00:00", "2026-11-22 14:00:00", "2026-11-22 13:00:00"),
        # The clock was set: the record began after it was written, or before 1990.
        ("2026-11-22 15:00:00", "2026-11-22 14:00:00", "2026-11-22 14:00:00"),
        ("1970-01-01 00:00:10", "2026-11-22 14:00:00", "2026-11-22 00:00:00"),
    ],
)
def test_record_is_of_the_day_of_its_window(
    named: Window | None, connected_at: str, written_at: str, start: str
) -> None:
    stay = find_stay(make_record(at(written_at), at(connected_at)), named, UTC)

    assert find_day(stay) == day("2026-11-22")
    assert stay.start == at(start)
    # Its own time, unless the middle would be in the next window.
    assert stay.end == min(at(written_at), DAY_22.end if start.endswith("23:59:50") else DAY_22.end + LATENESS)


@pytest.mark.parametrize("named", [DAY_22, None])
def test_short_connection_after_midnight_is_of_its_day(named: Window | None) -> None:
    stay = find_stay(make_record(at("2026-11-23 00:00:40"), at("2026-11-23 00:00:10")), named, UTC)

    assert stay == Stay(at("2026-11-23 00:00:10"), at("2026-11-23 00:00:40"))
    assert find_day(stay) == day("2026-11-23")


def test_record_outside_of_the_named_window_uses_the_grid() -> None:
    record = make_record(at("2026-11-24 04:02"), at("2026-11-01 00:00"))

    assert find_stay(record, DAY_22, UTC).start == at("2026-11-24 00:00")
    assert find_stay(record, DAY_22, Grid(seconds=SEVEN_HOURS)).start == at("2026-11-24 00:00")
    assert find_stay(record, None, Grid(seconds=5 * HOUR)).start == at("2026-11-24 00:00")
    # The last window of seven hours of a day ends at 4:00, and the first record after it may be late.
    late = make_record(at("2026-11-24 04:01"), at("2026-11-01 00:00"))
    assert find_stay(late, None, Grid(seconds=SEVEN_HOURS)).start == at("2026-11-23 21:00")
    assert find_stay(late, None, Grid(PARIS)).start == at("2026-11-23 23:00")


@pytest.mark.parametrize(
    ("starts_at", "expected"),
    [
        ("2026-11-20 12:00", "2026-11-20 12:00"),  # windows of more than a day
        ("2026-11-22 14:00:01", "2026-11-22 14:00"),
        ("1970-01-01 00:00", "2026-11-22 00:00"),
        ("2024-11-20 12:00", "2026-11-22 00:00"),
    ],
)
def test_stated_start_is_used_if_it_is_plausible(starts_at: str, expected: str) -> None:
    record = make_record(at("2026-11-22 14:00"), at("2026-11-01 00:00"), at(starts_at))

    assert find_stay(record, None, UTC) == Stay(at(expected), at("2026-11-22 14:00"))


@given(
    st.integers(at("1990-01-01 00:00"), at("2100-01-01 00:00")),
    st.integers(-DAY, at("2100-01-01 00:00")),
    st.none() | st.integers(-DAY, at("2100-01-01 00:00")),
    st.none()
    | st.builds(lambda start, length: Window(start, start + length), st.integers(0, 2**32), st.integers(1)),
    st.sampled_from([UTC, Grid(PARIS), Grid(PARIS, SEVEN_HOURS)]),
)
def test_any_record_has_a_stay(
    written_at: int, connected_at: int, starts_at: int | None, named: Window | None, grid: Grid
) -> None:
    stay = find_stay(make_record(written_at, connected_at, starts_at), named, grid)

    assert at("1990-01-01 00:00") <= stay.start <= stay.end <= written_at


def make_names(*times: str, direction: Direction = TX, grid: Grid = UTC) -> list[LogName]:
    names = [parse_log_name(f"{direction.lower()}log-{each}", grid) for each in times]
    return [name for name in names if name]


@pytest.mark.parametrize(
    ("start", "end", "first", "count"),
    [
        ("2026-11-21 00:00", "2026-11-22 00:00", "2026-11-21", 1),
        ("2026-11-21 22:00", "2026-11-22 00:00:01", "2026-11-21", 2),
        ("2026-11-21 23:59", "2026-11-24 00:00", "2026-11-21", 3),
    ],
)
def test_window_shares_time_with_its_days(start: str, end: str, first: str, count: int) -> None:
    days = window(start, end).list_days()

    assert days == [day(first) + datetime.timedelta(days=number) for number in range(count)]


def test_window_after_the_last_year_has_no_days() -> None:
    (last,) = make_names("99991231T0000-99991231T2200", grid=Grid(datetime.timezone(-datetime.timedelta(hours=3))))
    assert last.window is not None

    assert last.window.list_days() == [datetime.date.max]
    assert Window(last.window.end, last.window.end + DAY).list_days() == []


def test_day_is_ready_once_its_windows_have_ended() -> None:
    names = make_names("20261121T2200-20261122T2200", "20261122T2200-20261123T2200")

    for now, ready in [
        ("2026-11-22 22:00:59", []),
        ("2026-11-22 22:01", ["2026-11-21"]),
        ("2026-11-23 22:00:59", ["2026-11-21"]),
        ("2026-11-23 22:01", ["2026-11-21", "2026-11-22"]),
        ("2026-11-24 00:00:59", ["2026-11-21", "2026-11-22"]),
        ("2026-11-24 00:01", ["2026-11-21", "2026-11-22", "2026-11-23"]),
    ]:
        windows = SourceWindows(names, at(now))
        days = ["2026-11-21", "2026-11-22", "2026-11-23", "2026-11-24"]
        assert [each for each in days if windows.is_ready(day(each))] == ready
    still = SourceWindows(names, at("2026-11-23 00:10"))
    assert still.list_open_windows(day("2026-11-22")) == [window("2026-11-22 22:00", "2026-11-23 22:00")]
    assert still.is_ready(day("2026-11-21"))
    assert SourceWindows([], at("2026-11-23 00:01")).is_ready(day("2026-11-22"))


def test_windows_that_join_cover_a_day() -> None:
    names = make_names("20261121T2200-20261122T0500", "20261122T0500-20261122T1200", "20261122T1100-20261123T0000")
    now = at("2026-11-25 00:00")

    assert SourceWindows(names, now).covers(day("2026-11-22"))
    assert not SourceWindows(names, now).covers(day("2026-11-21"))
    assert not SourceWindows(names[:1] + names[2:], now).covers(day("2026-11-22"))
    assert not SourceWindows([], now).covers(day("2026-11-22"))
    # With files of received data, these cover the day, too.
    received = make_names("20261122T0000-20261123T0000", "20261123T0000-20261124T0000", direction=RX)
    assert not SourceWindows(received, now).covers(day("2026-11-22"))
    assert SourceWindows(names + received, now).covers(day("2026-11-22"))
    assert not SourceWindows(names + received[1:], now).covers(day("2026-11-22"))


def test_quiet_days_are_covered_ready_and_empty() -> None:
    names = make_names(
        "20261120T0000-20261121T0000", "20261122T0000-20261125T0000", "20261125T0000-20261126T0000", "nothing"
    )
    names += make_names("20261201T0000-20261202T0000")  # by a clock that was wrong

    windows = SourceWindows(names, at("2026-11-25 12:00"))

    assert windows.list_quiet_days({day("2026-11-23")}) == [
        day("2026-11-20"),
        day("2026-11-22"),
        day("2026-11-24"),
    ]


@pytest.mark.skipif(not LOGS.exists(), reason="the real logs are not there")
def test_names_of_real_logs_are_understood() -> None:
    names = [
        name for path in LOGS.glob("*-4.5.3/*log-*") if (name := parse_log_name(str(path), UTC)) and name.window
    ]

    assert len(names) == len(list(LOGS.glob("*-4.5.3/*log-*"))) > 30
    assert {(name.server, name.direction) for name in names} == {
        ("", TX),
        ("", RX),
        ("", None),
        ("rs-b", TX),
        ("rs-b", RX),
    }
    assert {name.window.end - name.window.start for name in names if name.window} == {60}
