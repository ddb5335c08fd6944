"""Tests of names of files in SeisComP's archives."""

from datetime import datetime

import pytest

from eida_statistics.archive.records import Segment
from eida_stats_aggregator.archive.layout import Layout, is_misnamed


def segment(start: str, end: str, channel: str = "LHZ", network: str = "GE") -> Segment:
    times = (datetime.fromisoformat(f"{time}+00:00") for time in (start, end))
    sid = f"FDSN:{network[:2]}_APE__{'_'.join(channel)}"
    return Segment(sid, network, "APE", "", channel, "D", 1.0, *times, 1, 1, 512)


DAY_60 = segment("2015-03-01T00:00:00", "2015-03-01T23:59:59")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("GE.APE..LHZ.D.2015.060", False),
        ("GE.APE.--.LHZ.D.2015.060", False),
        ("XX.APE..LHZ.D.2015.060", True),
        ("GE.XXX..LHZ.D.2015.060", True),
        ("GE.APE.00.LHZ.D.2015.060", True),
        ("GE.APE..BHZ.D.2015.060", True),
        ("GE.APE..LHZ.D.2014.060", True),
        ("GE.APE..LHZ.D.2015.061", True),
        ("GE.APE..LHZ.D.2015.366", True),
        ("GE.APE..LHZ.D.0000.001", True),
        ("GE.APE..LHZ.D.2015.060.bak", False),
        ("data.mseed", False),
    ],
)
def test_name_is_compared_with_the_content(name: str, expected: bool) -> None:
    assert is_misnamed(f"/a/{name}", [DAY_60], None) is expected


@pytest.mark.parametrize("name", ["Z3.APE..LHZ.D.2015.060", "Z32015.APE..LHZ.D.2015.060"])
def test_temporary_network_has_both_codes(name: str) -> None:
    found = segment("2015-03-01T00:00:00", "2015-03-01T23:59:59", network="Z32015")
    assert not is_misnamed(f"/a/{name}", [found], None)


def test_neighbouring_day_is_normal() -> None:
    before = segment("2015-02-28T23:59:50", "2015-02-28T23:59:59")
    assert not is_misnamed("/a/GE.APE..LHZ.D.2015.060", [before, DAY_60], None)
    assert is_misnamed("/a/GE.APE..LHZ.D.2015.060", [before], None)


def test_second_stream_is_misnamed() -> None:
    other = segment("2015-03-01T00:00:00", "2015-03-01T23:59:59", "LHN")
    assert is_misnamed("/a/GE.APE..LHZ.D.2015.060", [DAY_60, other], None)


@pytest.mark.parametrize(
    ("directory", "layout", "expected"),
    [
        ("/x/2015/GE/APE/LHZ.D", "sds", False),
        ("/x/GE/2015/APE/LHZ.D", "sdsbynet", False),
        ("/x/GE/2015/APE/LHZ.D", "sds", True),
        ("/x/2014/GE/APE/LHZ.D", "sds", True),
        ("/x/2014/GE/APE/LHZ.D", None, False),
    ],
)
def test_layout_reads_directories(directory: str, layout: Layout | None, expected: bool) -> None:
    assert is_misnamed(f"{directory}/GE.APE..LHZ.D.2015.060", [DAY_60], layout) is expected
