"""Laws of patterns, networks and windows."""

import datetime
import re
from fnmatch import fnmatchcase

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eida_stats_webservice.archive.availability.models import Selection, Time, Window, format_time
from eida_stats_webservice.archive.availability.networks import select_networks, separate_epochs, shorten
from eida_stats_webservice.archive.availability.parameters import parse_body, unite_windows
from eida_stats_webservice.archive.availability.patterns import make_condition, match_any, write_empty
from eida_stats_webservice.database.postgresql import PostgreSQL
from eida_stats_webservice.database.sqlite import SQLite
from eida_stats_webservice.errors import BadParameter

BEGIN = datetime.datetime(2024, 1, 1, tzinfo=datetime.UTC)
CODES = st.text("AB1", max_size=4)
PATTERNS = st.lists(st.text("AB1*?", min_size=1, max_size=5), min_size=1, max_size=3)
TIMES = st.none() | st.integers(0, 20).map(lambda day: format_time(BEGIN + datetime.timedelta(days=day)))


@given(PATTERNS, CODES)
def test_condition_is_that_of_the_patterns(patterns: list[str], code: str) -> None:
    expected = any(fnmatchcase(code, pattern) for pattern in patterns)
    assert match_any(patterns, code) == expected
    for dialect in (PostgreSQL, SQLite):
        condition = make_condition(dialect.__new__(dialect), patterns)
        in_range = condition.first <= code <= condition.last
        matches = condition.regex is None or re.search(condition.regex, code) is not None
        assert (in_range and matches) == expected
        # The range leaves out nothing.
        assert in_range >= expected


def test_empty_location_is_like_its_usual_form() -> None:
    assert write_empty(["--"]) == ("--", "")
    assert write_empty(["00", "1?"]) == ("00", "1?")
    assert "" in write_empty(["??"])
    assert "" in write_empty(["-*"])


@pytest.mark.parametrize(
    ("code", "short"),
    [("Z32015", "Z3"), ("GE", "GE"), ("1A2009", "1A"), ("GE2015", "GE2015"), ("Z3", "Z3"), ("Z320155", "Z320155")],
)
def test_code_without_its_year(code: str, short: str) -> None:
    assert shorten(code) == short


def test_networks_are_found_by_both_codes() -> None:
    codes = ["GE", "Z3", "Z32015", "Z32020", "Z42015"]
    assert select_networks(codes, ["Z3"]) == ["Z3", "Z32015", "Z32020"]
    assert select_networks(codes, ["Z32015"]) == ["Z32015"]
    assert select_networks(codes, ["Z?2015", "G*"]) == ["GE", "Z32015", "Z42015"]
    assert select_networks(codes, ["??"]) == codes


@given(st.sets(st.from_regex(r"[XYZ][0-9](20[12][0-9])?|[A-H][A-Z]", fullmatch=True)))
def test_each_short_code_is_once_in_a_list(codes: set[str]) -> None:
    lists = separate_epochs(codes)
    assert sorted(code for some in lists for code in some) == sorted(codes)
    for some in lists:
        assert [shorten(code) for code in some] == sorted({shorten(code) for code in some})


@given(st.lists(st.tuples(TIMES, TIMES).map(lambda ends: Window(*ends)), max_size=6))
def test_united_windows_have_the_same_times(windows: list[Window]) -> None:
    selections = [
        Selection(window=window)
        for window in windows
        if window.start is None or window.end is None or window.start <= window.end
    ]
    united = [selection.window for selection in unite_windows(selections)]

    def hold(some: list[Window], time: Time) -> int:
        return sum(
            (one.start is None or one.start <= time) and (one.end is None or time <= one.end) for one in some
        )

    for day in range(-1, 22):
        for hours in (0, 12):
            time = format_time(BEGIN + datetime.timedelta(days=day, hours=hours))
            assert hold(united, time) == (hold([one.window for one in selections], time) > 0)


def test_body_has_parameters_and_lines() -> None:
    query = parse_body("merge=overlap\nlimit = 3\r\n\nGE  A*\t-- BHZ,BHN 2024-01-01 *\n", is_extent=False)
    assert (query.merge, query.limit) == ({"overlap"}, 3)
    assert query.selections == (Selection(("GE",), ("A*",), ("--",), ("BHZ", "BHN"), Window(format_time(BEGIN))),)


@pytest.mark.parametrize("line", ["net=GE", "station=APE", "start=2024-01-01", "endtime=2024-01-01"])
def test_body_has_streams_and_times_in_lines_only(line: str) -> None:
    with pytest.raises(BadParameter) as caught:
        parse_body(f"{line}\nGE APE -- BHZ\n", is_extent=False)
    assert caught.value.subject == line
    assert "Write NET STA LOC CHA START END" in caught.value.hint


def test_longest_codes_can_be_selected() -> None:
    codes = ["ABCDEFGH2015", "ABCDEFGH", "ABCDEFGH", "ABCDEFGH_ABCDEFGH_ABCDEFGH"]
    [selection] = parse_body(" ".join(codes), is_extent=False).selections
    assert selection == Selection(*((code,) for code in codes))
    with pytest.raises(BadParameter, match="channel"):
        parse_body(" ".join([*codes[:3], f"{codes[3]}X"]), is_extent=False)
