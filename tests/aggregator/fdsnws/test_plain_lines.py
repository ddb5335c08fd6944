"""Many lines at once: parsed as one by one, or left to that."""

import datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eida_stats_aggregator.fdsnws import plain_lines, request_log
from eida_stats_aggregator.fdsnws.log_lines import Ignored
from eida_stats_aggregator.fdsnws.plain_lines import PlainLines
from support.memory import measure_growth
from support.plain_lines import parse_plain
from support.stubs import encode_log, line, make_log, trace

LATEST = datetime.date(2020, 9, 20)
GOOD = encode_log(line())


def parse_each(text: bytes) -> list[Any]:
    """Return the requests of lines, and then the ignored lines, one after the other."""
    outcomes = [request_log.parse(one, LATEST) for one in text.split(b"\n")[:-1]]
    return sorted(outcomes, key=lambda outcome: isinstance(outcome, Ignored))


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"status": "ERROR"},
        {"status": "NODATA", "without": ("trace",)},
        {"trace": [trace(status="NODATA", size=None), trace(), trace(status="DENIED")]},
        {"trace": [trace(net="Z3"), trace(loc=None), trace(net="9A", loc="00")]},
        {"userLocation": {}},
        {"without": ("userLocation", "clientID", "service")},
        {"clientID": "ümläut"},
        {"clientID": ["curl"]},
        {"service": "fdsnws-station"},
        {"without": ("finished", "status")},
        {"finished": "2020-09-18T02:00:00+02:00"},
        {"created": "2020-09-17T23:59:59.25Z"},
        {"created": None},
    ],
    ids=str,
)
def test_usual_lines_are_parsed_at_once(changes: dict[str, Any]) -> None:
    text = encode_log(line(userID=1), line(userID=2, **changes), line(userID=3))
    assert parse_plain(text, LATEST) == parse_each(text)


def test_all_lines_of_other_services_are_ignored() -> None:
    assert parse_plain(encode_log(line(service="fdsnws-station")) * 3, LATEST) == [Ignored()] * 3


def test_every_line_of_a_generated_log_is_plain() -> None:
    text = encode_log(*make_log.requests(7, datetime.date(2020, 9, 18), 3000))
    assert parse_plain(text, LATEST) == parse_each(text)


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"\n",
        GOOD + b"\n",
        b"\n" + GOOD,
        GOOD.rstrip() + GOOD,
        GOOD.rstrip() + b" " + GOOD + b"\n",
        GOOD[:-1],
        GOOD + GOOD[:-1],
        GOOD[:-1] + b"\r\n",
        GOOD.replace(b", ", b",\n", 1),
        GOOD.replace(b"{", b"{\n", 1) + GOOD.rstrip() + GOOD,
        GOOD.replace(b'"ObsPy', b'"}\n{ObsPy', 1),
        GOOD + b"\0\n",
        b"\xef\xbb\xbf" + GOOD,
        GOOD[:90] + b"\n",
        GOOD[1:],
        b"[]\n",
        GOOD.replace(b"ObsPy", b"\xff"),
        GOOD.replace(b'"userEmail": null', b'"userEmail": "\xff"'),
        # Two records and two line breaks, both behind a bracket.
        GOOD.rstrip() + GOOD.replace(b"}]", b"}\n]"),
        GOOD.replace(b"ObsPy", b"\xed\xa0\x80"),
        b'{"clientID": ' + b"[" * 100_000 + b"\n",
        encode_log(line(userID=None)),
        encode_log(line(finished="2020-09-21T00:00:00Z")),
        encode_log(line(finished="1900-01-01T00:00:00Z")),
        encode_log(line(finished="yesterday")),
        encode_log(line(without=("finished", "created"))),
        *[encode_log(line(trace=[trace(), trace(size=size)])) for size in (None, -1, 2**40 + 1, 2**63, 2**80)],
        *[
            encode_log(line(trace=[trace(), trace(**{key: code})]))
            for key in ("net", "sta", "loc", "cha")
            for code in ("?", "A.B", ".", "A" * 17)
        ],
        *[encode_log(line(trace=[trace(), trace(**{key: None})])) for key in ("net", "sta", "cha")],
        encode_log(line(trace=[trace(net="Z3", start=None)])),
        encode_log(line(trace=[trace(net="Z3", start="2020-13-01")])),
    ],
)
def test_other_lines_are_left_to_the_parser_of_single_ones(text: bytes) -> None:
    assert parse_plain(text, LATEST) is None
    assert parse_plain(GOOD + text, LATEST) in (None, parse_each(GOOD + text))


@pytest.mark.parametrize("key", ["net", "sta", "loc", "cha"])
def test_long_codes_do_not_stay_in_memory(key: str) -> None:
    def parse_some() -> None:
        lines = PlainLines()
        for number in range(40):
            assert lines.parse(encode_log(line(trace=[trace(**{key: str(number) * 100_000})])), LATEST) is None

    assert measure_growth(parse_some) < 2_000_000


def test_a_line_that_is_too_long_is_not_plain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plain_lines, "MAX_LINE_BYTES", len(GOOD) - 1)
    assert parse_plain(GOOD * 3, LATEST) == parse_each(GOOD * 3)
    monkeypatch.setattr(plain_lines, "MAX_LINE_BYTES", len(GOOD) - 2)
    assert parse_plain(GOOD * 3, LATEST) is None


def test_known_streams_are_forgotten_when_they_are_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(request_log, "KNOWN_STREAMS", 3)
    lines = PlainLines()
    counts = []
    for number in range(6):
        found = lines.parse(encode_log(line(trace=[trace(sta=f"S{number}"), trace()])), LATEST)
        assert found is not None
        assert [found.known[place].station for place in found.streams] == [f"S{number}", "EIL"]
        counts.append(len(found.known))
    assert counts == [2, 3, 4, 2, 3, 4]


pieces = st.sampled_from(
    [
        *map(encode_log, map(dict, [line(), line(userID=2, status="ERROR"), line(service="x"), line(userID="x")])),
        GOOD[:60],
        GOOD[60:],
        b"{",
        b"}",
        b"}\n{",
        b"\n",
        b" ",
        b"\0",
    ]
)


@settings(deadline=None, max_examples=300)
@given(st.lists(pieces, max_size=6).map(b"".join))
def test_any_text_is_parsed_as_its_lines_or_not_at_all(text: bytes) -> None:
    found = parse_plain(text, LATEST)
    assert found is None or found == parse_each(text)
