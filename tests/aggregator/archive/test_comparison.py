"""Sums of traces by the age and year of the data, and traces without data."""

import datetime
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eida_statistics.networks import Epoch, NetworkRegistry
from eida_stats_aggregator.archive.comparison import (
    AGES,
    NO_STREAM,
    Comparison,
    MissingKey,
    Sums,
    classify_age,
    find_year,
)
from eida_stats_aggregator.archive.holdings import read_holdings
from eida_stats_aggregator.fdsnws.log_lines import Stream
from eida_stats_aggregator.fdsnws.trace_log import Outcome, Trace, TracedRequest, parse_microseconds
from support.held_crawls import Held, list_crawl_lines

REGISTRY = NetworkRegistry(
    lambda: [
        Epoch("Z3", datetime.date(2005, 1, 1), datetime.date(2007, 12, 31)),
        Epoch("Z3", datetime.date(2015, 1, 1), datetime.date(2022, 12, 31)),
    ]
)
HOLDINGS = read_holdings(
    list_crawl_lines(
        [
            Held("GE.EIL..BHZ", "2010-01-01", "2010-12-31"),
            Held("Z32015.A001..HHZ", "2016-01-01", "2016-12-31"),
        ]
    )
)
EIL, A001 = Stream("GE", "EIL", "", "BHZ"), Stream("Z3", "A001", "", "HHZ")
# Before and after the crawl began.
BEFORE, AFTER = "2020-08-01", "2020-09-18"


def at(text: str) -> int:
    time = parse_microseconds(text)
    assert time is not None
    return time


def trace(stream: Stream | None, start: str, end: str, outcome: Outcome = "nodata", size: int = 0) -> Trace:
    return Trace(outcome, stream, at(start), at(end), size)


def compare(*requests: TracedRequest) -> Comparison:
    comparison = Comparison()
    for request in requests:
        comparison.add(request, HOLDINGS, REGISTRY.extend)
    return comparison


@pytest.mark.parametrize(
    ("start", "age"),
    [
        ("2020-09-18T12:00:00", "<1d"),
        ("2020-09-17T12:00:00.000001", "<1d"),
        ("2020-09-17T12:00:00", "<7d"),
        ("2020-09-11T12:00:00", "<30d"),
        ("2020-08-19T12:00:00", "<1y"),
        ("2019-09-19T06:00:01", "<1y"),
        ("2019-09-19T06:00:00", "<5y"),
        ("2015-09-19T06:00:01", "<5y"),
        ("2015-09-19T06:00:00", "older"),
        ("1970-01-01", "older"),
        # Clocks of clients are wrong, or they ask for data until the end of time.
        ("2030-01-01", "<1d"),
    ],
)
def test_age(start: str, age: str) -> None:
    assert classify_age(at(start), at("2020-09-18T12:00:00")) == age


def test_age_without_start_is_unknown() -> None:
    assert classify_age(None, 0) == "unknown"


@pytest.mark.parametrize("text", ["1969-12-31T23:59:59", "1970-01-01", "2016-12-31T23:59:59.999999", "2262-04-12"])
def test_year(text: str) -> None:
    assert find_year(at(text)) == int(text[:4])


def test_trace_over_years_counts_where_it_starts() -> None:
    comparison = compare(TracedRequest(at(AFTER), [trace(EIL, "2008-12-31", "2020-09-18", "delivered", 512)]))
    assert dict(comparison.by_year) == {2008: Sums(delivered=1, bytes=512)}
    assert dict(comparison.by_age) == {"older": Sums(delivered=1, bytes=512)}


@pytest.mark.parametrize(
    ("missing", "key"),
    [
        (trace(EIL, "2010-05-01", "2010-05-02"), MissingKey("held", EIL)),
        (trace(EIL, "2011-05-01", "2011-05-02"), MissingKey("gap", EIL)),
        (
            trace(EIL._replace(location="00"), "2010-05-01", "2010-05-02"),
            MissingKey("unknown", EIL._replace(location="00")),
        ),
        (trace(A001, "2016-05-01", "2016-05-02"), MissingKey("held", A001._replace(network="Z32015"))),
        # A window may begin before the deployment.
        (trace(A001, "2014-05-01", "2016-05-02"), MissingKey("held", A001._replace(network="Z32015"))),
        (trace(A001, "2005-05-01", "2005-05-02"), MissingKey("unknown", A001._replace(network="Z32005"))),
        (trace(A001, "2012-05-01", "2012-05-02"), MissingKey("unknown", A001)),
        (trace(None, "2012-05-01", "2012-05-02"), MissingKey("unclear", NO_STREAM)),
        (Trace("nodata", EIL, None, at("2010-05-02"), 0), MissingKey("unclear", EIL)),
        (Trace("nodata", EIL, at("2010-05-02"), None, 0), MissingKey("unclear", EIL)),
    ],
)
def test_missing_data(missing: Trace, key: MissingKey) -> None:
    assert list(compare(TracedRequest(at(AFTER), [missing])).missing) == [key]


def test_only_nodata_is_missing() -> None:
    others: list[Outcome] = ["delivered", "denied", "failed"]
    found = compare(TracedRequest(at(AFTER), [trace(EIL, "2010-05-01", "2010-05-02", other) for other in others]))
    assert not found.missing
    assert found.totals == Sums(delivered=1, denied=1, failed=1)


def test_missing_traces_are_added_up() -> None:
    early, late = trace(EIL, "2010-05-01", "2010-05-02"), trace(EIL, "2010-07-01", "2010-07-02")
    found = compare(TracedRequest(at(BEFORE), [late]), TracedRequest(at(AFTER), [early]), TracedRequest(0, [early]))
    ((key, missing),) = found.missing.items()
    assert key == ("held", EIL)
    # In 1970, the file was not there yet.
    assert (missing.traces, missing.faults, missing.after_crawl) == (3, 2, 1)
    assert (missing.start, missing.end) == (at("2010-05-01"), at("2010-07-02"))


def test_request_without_traces_counts() -> None:
    found = compare(TracedRequest(at(AFTER), []))
    assert (found.requests, found.without_traces, found.totals.traces) == (1, 1, 0)


_TIMES = st.none() | st.integers(-(10**16), 10**16)
_STREAMS = st.sampled_from([EIL, A001, Stream("GE", "APE", "", "BHZ"), None])
_TRACES = st.builds(
    Trace,
    outcome=st.sampled_from(["delivered", "nodata", "denied", "failed"]),
    stream=_STREAMS,
    start=_TIMES,
    end=_TIMES,
    bytes=st.integers(0, 1 << 40),
)
_REQUESTS = st.builds(TracedRequest, time=st.integers(0, 2 * 10**15), traces=st.lists(_TRACES, max_size=4))


def add_up(sums: Iterable[Sums]) -> Sums:
    total = Sums()
    for one in sums:
        for name in vars(total):
            setattr(total, name, getattr(total, name) + getattr(one, name))
    return total


@given(st.lists(_REQUESTS, max_size=6), st.randoms())
def test_all_tables_have_the_same_totals(requests: list[TracedRequest], random: object) -> None:
    found = compare(*requests)
    assert found.totals.traces == sum(len(request.traces) for request in requests)
    assert add_up(found.by_age.values()) == add_up(found.by_year.values()) == found.totals
    assert sum(missing.traces for missing in found.missing.values()) == found.totals.nodata
    assert set(found.by_age) <= set(AGES)
    random.shuffle(requests)  # type: ignore[attr-defined]
    assert compare(*requests) == found
