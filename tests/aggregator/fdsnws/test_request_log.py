"""Lines of the request log: the request in each, or the reason for its rejection."""

import datetime
import json
from functools import partial
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eida_statistics import hll
from eida_stats_aggregator.fdsnws import request_log
from eida_stats_aggregator.fdsnws.log_lines import Ignored, Rejected, Stream
from eida_stats_aggregator.fdsnws.request_log import KNOWN_STREAMS, Delivery, Request, parse
from eida_stats_aggregator.logs.lines import MAX_LINE_BYTES
from support.memory import measure_growth
from support.plain_lines import parse_plain
from support.stubs import encode_log, line, make_log, trace

DAY = datetime.date(2020, 9, 18)
CLIENT = hll.hash_client(1497164453)
DELIVERY: Delivery = (Stream("GE", "EIL", "", "BHZ"), None, 512)
by_obspy = partial(Request, agent="ObsPy/1.2.2 (Windows-10-10.0.18362-SP0, Python 3.7.8)")


def one(**changes: object) -> Request | Ignored | Rejected:
    text = encode_log(line(**changes))
    outcome = parse(text.rstrip(b"\n"))
    # Many lines at once are parsed by other code.
    assert parse_plain(text) in (None, [outcome])
    return without_key(outcome)


def without_key(outcome: Request | Ignored | Rejected) -> Request | Ignored | Rejected:
    return msgspec.structs.replace(outcome, key=0) if isinstance(outcome, Request) else outcome


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        pytest.param({}, by_obspy(DAY, "DE", CLIENT, [DELIVERY]), id="a line as it should be"),
        # SeisComP sets the status when the connection is lost; the traces before that are OK.
        pytest.param({"status": "ERROR"}, by_obspy(DAY, "DE", CLIENT, None), id="cut off, with OK traces"),
        pytest.param({"status": "NODATA", "without": ("trace",)}, by_obspy(DAY, "DE", CLIENT, None), id="no trace"),
        pytest.param({"without": ("trace",)}, by_obspy(DAY, "DE", CLIENT, []), id="OK without a trace"),
        pytest.param({"trace": None}, by_obspy(DAY, "DE", CLIENT, []), id="OK with a null trace"),
        pytest.param(
            {"trace": [trace(status="NODATA"), trace(status="DENIED")]},
            by_obspy(DAY, "DE", CLIENT, []),
            id="OK, of which no stream had data",
        ),
        pytest.param(
            {"trace": [trace(status="NODATA", size=0), trace()]},
            by_obspy(DAY, "DE", CLIENT, [DELIVERY]),
            id="one stream of two had data",
        ),
        # GeoIP knows no country for private addresses.
        pytest.param({"userLocation": {}}, by_obspy(DAY, "", CLIENT, [DELIVERY]), id="no country"),
        pytest.param({"userLocation": {"country": None}}, by_obspy(DAY, "", CLIENT, [DELIVERY]), id="null country"),
        pytest.param({"userLocation": {"country": "DEU"}}, by_obspy(DAY, "", CLIENT, [DELIVERY]), id="no code"),
        pytest.param(
            {"userLocation": {"country": "de"}}, by_obspy(DAY, "DE", CLIENT, [DELIVERY]), id="small letters"
        ),
        pytest.param({"userLocation": None}, by_obspy(DAY, "", CLIENT, [DELIVERY]), id="null location"),
        pytest.param({"without": ("userLocation",)}, by_obspy(DAY, "", CLIENT, [DELIVERY]), id="no location"),
        pytest.param({"userLocation": {"country": "A1"}}, by_obspy(DAY, "A1", CLIENT, [DELIVERY]), id="a proxy"),
        # Written before the request ended: failed, on the day on which it began.
        pytest.param(
            {"without": ("finished", "status"), "created": "2020-09-17T23:59:59.999999Z"},
            by_obspy(datetime.date(2020, 9, 17), "DE", CLIENT, None),
            id="not finished",
        ),
        pytest.param({"finished": None}, by_obspy(DAY, "DE", CLIENT, [DELIVERY]), id="null finished"),
        pytest.param({"status": None}, by_obspy(DAY, "DE", CLIENT, None), id="null status"),
        pytest.param(
            {"finished": "2020-09-18T00:00:00Z"}, by_obspy(DAY, "DE", CLIENT, [DELIVERY]), id="no fraction"
        ),
        pytest.param(
            {"finished": "2020-09-18T00:00:00.7Z"}, by_obspy(DAY, "DE", CLIENT, [DELIVERY]), id="a short fraction"
        ),
        pytest.param(
            {"finished": "2020-09-18T00:30:00+02:00"},
            by_obspy(datetime.date(2020, 9, 17), "DE", CLIENT, [DELIVERY]),
            id="the UTC day of another zone's time",
        ),
        # A request that began before midnight counts on the day on which it ended.
        pytest.param(
            {"created": "2020-09-17T23:59:59.999999Z"}, by_obspy(DAY, "DE", CLIENT, [DELIVERY]), id="over midnight"
        ),
        pytest.param({"without": ("service",)}, by_obspy(DAY, "DE", CLIENT, [DELIVERY]), id="no service"),
        pytest.param({"service": "fdsnws-station"}, Ignored(), id="another service"),
        # Other services may log anything.
        pytest.param(
            {"service": "fdsnws-station", "userID": None, "trace": 7}, Ignored(), id="strange, of another"
        ),
        pytest.param(
            {"trace": [trace(loc=None)]}, by_obspy(DAY, "DE", CLIENT, [DELIVERY]), id="null location code"
        ),
        # Only temporary networks need the start of the data.
        pytest.param({"trace": [trace(start=None)]}, by_obspy(DAY, "DE", CLIENT, [DELIVERY]), id="no start"),
        pytest.param(
            {"trace": [trace(net="Z3")]},
            by_obspy(DAY, "DE", CLIENT, [(Stream("Z3", "EIL", "", "BHZ"), datetime.date(1997, 8, 9), 512)]),
            id="a temporary network",
        ),
        pytest.param(
            {"userID": 10**30}, by_obspy(DAY, "DE", hll.hash_client(10**30), [DELIVERY]), id="a userID of 100 bits"
        ),
        pytest.param({"userID": -5}, by_obspy(DAY, "DE", hll.hash_client(-5), [DELIVERY]), id="a negative userID"),
        # SeisComP passes the bytes of a user agent through Python's surrogateescape.
        pytest.param(
            {"clientID": "\udcff"},
            Request(DAY, "DE", CLIENT, [DELIVERY], "\udcff"),
            id="lone surrogates in clientID",
        ),
        pytest.param({"clientID": ""}, Request(DAY, "DE", CLIENT, [DELIVERY], ""), id="an empty clientID"),
        pytest.param({"clientID": None}, Request(DAY, "DE", CLIENT, [DELIVERY]), id="null clientID"),
        pytest.param({"without": ("clientID",)}, Request(DAY, "DE", CLIENT, [DELIVERY]), id="no clientID"),
        pytest.param({"bytes": float("nan")}, by_obspy(DAY, "DE", CLIENT, [DELIVERY]), id="NaN where nobody looks"),
        pytest.param(
            {"userLocation": {"country": "DE", "city": "Jülich"}},
            by_obspy(DAY, "DE", CLIENT, [DELIVERY]),
            id="keys that are new",
        ),
    ],
)
def test_line_gives_a_request(changes: dict[str, object], expected: object) -> None:
    assert one(**changes) == expected


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"without": ("userID",)}, "userID: missing"),
        ({"userID": "1497164453"}, "userID: not an integer"),
        ({"userID": 1.5}, "userID: not an integer"),
        ({"userID": True}, "userID: not an integer"),
        ({"userID": None}, "userID: not an integer"),
        ({"finished": "yesterday"}, "finished: not a time"),
        ({"finished": "2020-09-31T00:00:00Z"}, "finished: not a time"),
        ({"finished": "2020-09-18T24:00:01Z"}, "finished: not a time"),
        ({"finished": "0001-01-01T00:00:00+14:00"}, "finished: not a time"),
        ({"finished": ""}, "finished: not a time"),
        ({"without": ("finished", "created")}, "created: not a time"),
        ({"finished": 1600387200}, "finished: not a text"),
        ({"trace": [trace(size=-1)]}, "trace[0].bytes: not an integer from 0 to 2^40"),
        ({"trace": [trace(), trace(size=2**63)]}, "trace[1].bytes: not an integer from 0 to 2^40"),
        ({"trace": [trace(size=2**40 + 1)]}, "trace[0].bytes: not an integer from 0 to 2^40"),
        ({"trace": [trace(size=None)]}, "trace[0].bytes: not an integer from 0 to 2^40"),
        ({"trace": [trace(size=1e300)]}, "trace[0].bytes"),
        ({"trace": {}}, "trace: not a list"),
        ({"trace": ["GE"]}, "trace[0]: not an object"),
        ({"trace": [trace(net="GE\n")]}, "trace[0].net"),
        ({"trace": [trace(sta="STATIONWITHALONGNAME")]}, "trace[0].sta"),
        ({"trace": [trace(cha=None)]}, "trace[0].cha"),
        ({"trace": [trace(net="Z3", start="then")]}, "trace[0].start: not a date, and network is temporary"),
        ({"trace": [trace(net="Z3", start=None)]}, "trace[0].start: not a date, and network is temporary"),
        ({"userLocation": "DE"}, "userLocation: not an object"),
        ({"status": 200}, "status: not a text"),
        ({"service": 7}, "service: not a text"),
        # A lone surrogate sends the line through the lenient decoder, which must be as strict about the rest.
        ({"clientID": "\udcff", "userID": True}, "userID: not an integer"),
        ({"clientID": "\udcff", "trace": [trace(sta="\udcff")]}, ""),
        ({"userID": "\udcff"}, "userID: not an integer"),
        # Of several faults, the first one in the order of the log is named.
        ({"userID": "\udcff", "status": 200}, "status: not a text"),
        ({"trace": [trace(), trace(size="\udcff")]}, "trace[1].bytes: not an integer"),
        ({"trace": "\udcff"}, "trace: not a list"),
        # A name of another type is passed over, and nothing else with it.
        ({"clientID": 7, "userID": "1"}, "userID: not an integer"),
        ({"clientID": ["curl"], "service": 7}, "service: not a text"),
        ({"clientID": {}, "trace": [trace(), trace(net=5)]}, "trace[1].net: not a text"),
    ],
)
def test_bad_line_is_rejected(changes: dict[str, object], reason: str) -> None:
    rejected = one(**changes)
    assert isinstance(rejected, Rejected)
    assert reason in rejected.reason


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"", "empty"),
        (b"  \r", "empty"),
        (b"GET /fdsnws/dataselect/1/query", "not JSON"),
        (b"[1, 2]", "not an object"),
        (b"null", "not an object"),
        (b"17", "not an object"),
        (encode_log(line())[:200], "not JSON"),  # the log was rotated, or the disk was full
        (encode_log(line())[198:], "not JSON"),
        (b'{"userID": 1, "clientID": "\xff\xfe"}', "not UTF-8"),
        (b'{"userID": 1, "clientID": "\xed\xa0\x80"}', "not UTF-8"),  # a surrogate in raw bytes
        (b"[" * 100_000, "not JSON"),
        (b'{"clientID": ' + b"[" * 100_000, "not JSON"),
        (b'{"userID": ' + b"9" * 5000 + b"}", "not JSON"),
        (b'{"userID": 1, "created": "\x00"}', "not JSON"),
        (b" " * ((1 << 26) + 1), "longer than 67108864 bytes"),
    ],
    ids=lambda value: value[:30].decode(errors="replace") if isinstance(value, bytes) else None,
)
def test_other_line_is_rejected(raw: bytes, reason: str) -> None:
    rejected = parse(raw)
    assert isinstance(rejected, Rejected)
    assert reason in rejected.reason


def test_longest_line_counts_all_streams() -> None:
    # If a new stream took time for each trace of its line, this would take hours.
    count = 350_000
    assert count > KNOWN_STREAMS
    one_trace = encode_log(trace()).rstrip()
    traces = b", ".join(one_trace.replace(b"EIL", b"S%d" % number) for number in range(count))
    longest = encode_log(line(trace=[])).rstrip().replace(b"[]", b"[" + traces + b"]")
    assert 0.9 * MAX_LINE_BYTES < len(longest) < MAX_LINE_BYTES
    request = parse(longest)
    assert isinstance(request, Request)
    assert request.deliveries is not None
    assert len({stream for stream, _, _ in request.deliveries}) == count


def test_long_values_do_not_stay_in_memory() -> None:
    def parse_some() -> None:
        for number in range(400):
            one(userLocation={"country": f"{number}" * 3000}, userID=10**4000 + number)

    assert measure_growth(parse_some) < 400_000


def test_stream_cache_does_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(request_log, "KNOWN_STREAMS", 3)
    for _ in range(2):
        for number in range(10):
            traces = [trace(net="Z3", sta=f"S{number}"), trace(sta=f"S{number}", loc="00")]
            assert one(trace=traces) == by_obspy(
                DAY,
                "DE",
                CLIENT,
                [
                    (Stream("Z3", f"S{number}", "", "BHZ"), datetime.date(1997, 8, 9), 512),
                    (Stream("GE", f"S{number}", "00", "BHZ"), None, 512),
                ],
            )


@settings(deadline=None)
@given(st.binary())
def test_garbage_is_rejected(garbage: bytes) -> None:
    assert isinstance(parse(garbage), Rejected)


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.just("\udcff"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from([*line(), *trace(), "country"]), anything))
def test_any_object_has_one_of_three_outcomes(changes: dict[str, object]) -> None:
    given_trace = {**trace(), **changes}
    for entry in (changes, line(**changes), line(trace=[given_trace]), line(userLocation=changes)):
        assert isinstance(parse(json.dumps(entry).encode()), Request | Ignored | Rejected)


@settings(deadline=None)
@given(anything, st.sampled_from(["OK", "ERROR"]))
def test_any_client_id_counts(agent: object, status: str) -> None:
    deliveries = [DELIVERY] if status == "OK" else None
    expected = Request(DAY, "DE", CLIENT, deliveries, agent if isinstance(agent, str) else None)
    assert one(clientID=agent, status=status) == expected


@pytest.mark.parametrize(
    "agent", [b"1e400", b"-Infinity", b"9" * 400, b"[" * 300 + b"]" * 300, b'{"a": {"a": "\\ud800"}}', b"[1, 1.5]"]
)
def test_client_id_that_is_no_text_is_dropped(agent: bytes) -> None:
    text = encode_log(line(clientID="here")).rstrip(b"\n").replace(b'"here"', agent)
    assert without_key(parse(text)) == Request(DAY, "DE", CLIENT, [DELIVERY])


@settings(deadline=None)
@given(anything.filter(lambda service: service != "fdsnws-dataselect"))
def test_other_service_is_ignored(service: object) -> None:
    outcome = one(service=service)
    if service is None:
        assert outcome == one(without=("service",))
    elif isinstance(service, str):
        assert outcome == Ignored()
        assert one(service=service, userID="\udcff") == Ignored()
    else:
        assert isinstance(outcome, Rejected)
        assert outcome.reason.startswith("service: not a text")


@settings(deadline=None)
@given(st.text(min_size=12, alphabet="abcdefghij"), st.sampled_from(sorted(line())))
def test_reason_never_quotes_a_value(secret: str, key: str) -> None:
    for value in (secret, [secret], {secret: secret}):
        outcome = one(**{key: value})
        assert not isinstance(outcome, Rejected) or secret not in outcome.reason


def test_every_generated_line_is_valid_and_in_order() -> None:
    entries = list(make_log.requests(7, datetime.date(2020, 11, 2), 3000))
    outcomes = [parse(raw) for raw in encode_log(*entries).splitlines()]
    assert {type(outcome) for outcome in outcomes} == {Request}
    assert {outcome.day for outcome in outcomes if isinstance(outcome, Request)} == {datetime.date(2020, 11, 2)}
    times = [entry["finished"].rstrip("Z").ljust(20, ".").ljust(26, "0") for entry in entries]
    assert times == sorted(times)


def test_seed_decides_the_generated_log() -> None:
    def made(seed: int) -> list[object]:
        return list(make_log.requests(seed, datetime.date(2020, 11, 2), 200))

    assert made(1) == made(1)
    assert made(1) != made(2)


def test_generated_log_is_like_a_real_one() -> None:
    entries = list(make_log.requests(3, datetime.date(2020, 11, 2), 20_000, other_services=True))
    traces = [one for entry in entries for one in entry.get("trace", [])]
    assert {entry["status"] for entry in entries} == {"OK", "NODATA", "DENIED", "ERROR"}
    assert {one["status"] for one in traces} >= {"OK", "NODATA", "DENIED"}
    assert any("trace" not in entry for entry in entries)
    assert any(entry["status"] == "ERROR" and entry["bytes"] for entry in entries)
    assert {entry["service"] for entry in entries} == {"fdsnws-dataselect", "fdsnws-station"}
    locations = [entry["userLocation"] for entry in entries]
    assert {} in locations
    assert {"country": None} in locations
    assert len({location.get("country") for location in locations}) > 5
    assert any("." not in entry["finished"] for entry in entries)
    assert {one["net"] for one in traces} >= {"GE", *(net["fdsn_code"] for net in make_log.registry()["networks"])}
    assert 4 < len(traces) / len(entries) < 6


@pytest.mark.parametrize("day", ["1980-01-01", "1989-12-31", "2020-09-20", "2999-01-01"])
def test_impossible_day_is_rejected(day: str) -> None:
    """The service would refuse it, and all the good lines of the day with it."""
    outcome = parse(encode_log(line(finished=f"{day}T12:00:00Z")), latest=datetime.date(2020, 9, 19))
    assert outcome == Rejected("finished: not a day that a log can have")


@pytest.mark.parametrize("time", ["2020-09-18", "2020-W38-5T12:00:00Z", "2020-09-18 12:00:00Z", "2020-09-18T12Z"])
def test_time_of_another_form_is_rejected(time: str) -> None:
    assert one(finished=time) == Rejected("finished: not a time")


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({}, True),
        ({"status": "ERROR", "finished": "2020-09-18T00:00:09Z", "trace": []}, True),
        ({"userID": 2}, False),
        ({"created": "2020-09-18T00:00:00.6Z"}, False),
        ({"created": "2020-09-18T00:00:00Z"}, False),
        ({"created": None}, False),
    ],
)
def test_records_of_one_request_are_recognised(more: dict[str, Any], expected: bool) -> None:
    first, second = (encode_log(line(**{"created": "2020-09-18T00:00:00.5Z"} | some)) for some in ({}, more))
    assert request_log.are_of_one_request(first, second) is expected


@pytest.mark.parametrize("more", [{"created": "2020-09-18T00:00:00Z"}, {"created": None}, {"userID": "x"}])
def test_lines_without_a_fraction_must_be_equal(more: dict[str, Any]) -> None:
    first, second = (encode_log(line(bytes=size, **more)) for size in (1, 2))
    assert request_log.are_of_one_request(first, first)
    assert not request_log.are_of_one_request(first, second)
    assert not request_log.are_of_one_request(b"no JSON\n", first)
    assert request_log.are_of_one_request(b"no JSON\n", b"no JSON\n")
