"""The traces of the request log."""

import bz2
import datetime
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eida_stats_aggregator.fdsnws import request_log, trace_log
from eida_stats_aggregator.fdsnws.log_lines import Ignored, Rejected, Stream
from eida_stats_aggregator.fdsnws.trace_log import (
    Trace,
    TracedRequest,
    format_microseconds,
    parse_line,
    parse_microseconds,
)
from support.stubs import REAL_LOG, encode_log, line, trace

LATEST = datetime.date(2021, 1, 1)
EIL = Stream("GE", "EIL", "", "BHZ")
START, END = parse_microseconds("1997-08-09T00:00:00Z"), parse_microseconds("1997-08-09T01:00:00Z")


def one(**changes: object) -> TracedRequest | Ignored | Rejected:
    (outcome,) = parse_line(encode_log(line(**changes)).rstrip(b"\n"), LATEST)
    return outcome


def traces(**changes: object) -> list[Trace]:
    request = one(**changes)
    assert isinstance(request, TracedRequest)
    return request.traces


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        pytest.param({}, [Trace("delivered", EIL, START, END, 512)], id="a line as it should be"),
        pytest.param(
            {"without": ("userID", "clientID", "userLocation")},
            [Trace("delivered", EIL, START, END, 512)],
            id="no user",
        ),
        pytest.param({"status": "ERROR"}, [Trace("failed", EIL, START, END, 0)], id="cut off"),
        pytest.param({"status": "NODATA", "without": ("trace",)}, [], id="no known stream"),
        pytest.param(
            {"status": "NODATA", "trace": [trace(status="NODATA", size=0), trace(status="DENIED", size=0)]},
            [Trace("nodata", EIL, START, END, 0), Trace("denied", EIL, START, END, 0)],
            id="no data at all",
        ),
        pytest.param({"trace": [trace(status="ERROR")]}, [Trace("failed", EIL, START, END, 0)], id="other status"),
        pytest.param({"trace": [trace(status=None)]}, [Trace("failed", EIL, START, END, 0)], id="no status"),
        pytest.param({"trace": [trace(loc="--")]}, [Trace("delivered", EIL, START, END, 512)], id="location --"),
        pytest.param({"trace": [trace(loc=None)]}, [Trace("delivered", EIL, START, END, 512)], id="null location"),
        pytest.param(
            {"trace": [trace(start="yesterday", end=None)]},
            [Trace("delivered", EIL, None, None, 512)],
            id="no times",
        ),
        pytest.param(
            {"trace": [trace(status="NODATA", sta="E L")]}, [Trace("nodata", None, START, END, 0)], id="bad code"
        ),
        pytest.param(
            {"trace": [trace(start="1997-08-09T02:00:00+02:00")]},
            [Trace("delivered", EIL, START, END, 512)],
            id="another zone",
        ),
    ],
)
def test_traces(changes: dict[str, object], expected: list[Trace]) -> None:
    assert traces(**changes) == expected


@pytest.mark.parametrize(
    "changes",
    [
        {"trace": [trace(size=-1)]},
        {"trace": [trace(size=None)]},
        {"trace": [trace(sta="E L")]},
        {"trace": 5},
        {"finished": "2021-01-02T00:00:00Z"},
        {"finished": "soon"},
        {"without": ("created", "finished")},
        {"service": "fdsnws-station"},
        {"service": "fdsnws-station", "trace": 5},
    ],
)
def test_lines_are_rejected_as_by_aggregator(changes: dict[str, object]) -> None:
    assert [one(**changes)] == request_log.parse_line(encode_log(line(**changes)).rstrip(b"\n"), LATEST)


@pytest.mark.parametrize("text", [b"", b"\0\0", b"{", b"\xff", b"[1]", b'{"created":1}'])
def test_garbage_is_rejected(text: bytes) -> None:
    (outcome,) = parse_line(text, LATEST)
    assert isinstance(outcome, Rejected)


@given(st.binary(max_size=200), st.recursive(st.none() | st.integers() | st.text(), st.lists, max_leaves=5))
def test_no_line_ends_the_run(text: bytes, value: object) -> None:
    assert parse_line(text, LATEST)
    one(trace=value)
    one(trace=[trace(start=value, status=value, loc=value)])
    one(created=value, finished=value)


def test_records_of_damaged_line_are_found() -> None:
    good = encode_log(line()).rstrip(b"\n")
    first, second, third = parse_line(good + b'{"half' + good, LATEST)
    assert isinstance(first, TracedRequest)
    assert isinstance(second, Rejected)
    assert isinstance(third, TracedRequest)


def test_time_is_that_of_the_request() -> None:
    request = one(created="2020-09-17T23:59:59.5Z")
    assert isinstance(request, TracedRequest)
    assert format_microseconds(request.time) == "2020-09-17T23:59:59.500000Z"
    later = one(without=("created",))
    assert isinstance(later, TracedRequest)
    assert format_microseconds(later.time) == "2020-09-18T00:00:00.758768Z"


def test_nothing_about_user_is_decoded() -> None:
    user = {"clientID": "a browser", "userEmail": "a.person@example.org", "userID": 42, "userLocation": None}
    at = "2020-09-18T00:00:00.123456Z"
    assert one(created=at, **user) == one(created=at)
    decoded = {*trace_log._Line.__struct_fields__, *trace_log._Trace.__struct_fields__}
    assert not decoded & {"userID", "clientID", "userEmail", "userLocation", "userName"}
    assert not {*TracedRequest.__struct_fields__, *Trace._fields} & {"client", "agent", "country", "user"}


def test_key_is_that_of_request() -> None:
    at = "2020-09-18T00:00:00.123456Z"

    def key(**changes: object) -> int:
        request = one(created=at, **changes)
        assert isinstance(request, TracedRequest)
        return request.key

    assert key() == key(finished="2020-09-18T00:00:09Z")
    # Of two records of a request that was cut off, the failed one comes first.
    assert key(status="ERROR") == key() - 1
    assert key(trace=[trace(sta="APE")]) != key()


@pytest.mark.parametrize("text", ["0001-01-01T00:00:00", "1969-12-31T23:59:59.999999", "9999-12-31T23:59:59"])
def test_times_come_back(text: str) -> None:
    time = format_microseconds(parse_microseconds(text))
    assert time is not None
    assert time.startswith(text)


@pytest.mark.skipif(not REAL_LOG.exists(), reason="the data are not here")
def test_real_log() -> None:
    outcomes = [
        one for text in bz2.decompress(REAL_LOG.read_bytes()).splitlines() for one in parse_line(text, LATEST)
    ]
    requests = [outcome for outcome in outcomes if isinstance(outcome, TracedRequest)]
    assert len(requests) == len(outcomes) == 200
    assert len({request.key for request in requests}) == 200
    by_outcome = Counter(trace.outcome for request in requests for trace in request.traces)
    assert by_outcome == {"delivered": 407, "nodata": 171, "denied": 63}
