"""Whole records in damaged lines are counted, and the pieces between them rejected."""

import datetime
import json
import random
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eida_stats_aggregator.fdsnws import request_log
from eida_stats_aggregator.fdsnws.log_lines import Ignored, Rejected
from eida_stats_aggregator.fdsnws.request_log import Request
from eida_stats_aggregator.logs import records
from eida_stats_aggregator.logs.records import Piece
from support.stubs import encode_log, line, trace

BOM, RS, NUL = b"\xef\xbb\xbf", b"\x1e", b"\0"


def record(user: int, **more: object) -> bytes:
    return encode_log(line(userID=user, trace=[trace(), trace(end="{")], **more)).rstrip(b"\n")


ONE, TWO, THREE = record(1), record(2, clientID='quotes " and {"braces'), record(3, userEmail="ümläut")


def found(text: bytes) -> list[bytes]:
    return [piece.text for piece in records.split(text) if piece.is_record]


def rest(text: bytes) -> list[bytes]:
    return [piece.text for piece in records.split(text) if not piece.is_record]


@pytest.mark.parametrize(
    ("text", "whole", "pieces"),
    [
        (ONE, [ONE], []),
        (ONE + TWO + THREE, [ONE, TWO, THREE], []),
        (ONE + b", " + TWO, [ONE, TWO], [b","]),
        (RS + ONE, [ONE], []),
        (RS + ONE + RS + TWO + RS, [ONE, TWO], []),
        (BOM + ONE, [ONE], []),
        (BOM + RS + b" \t" + ONE + b"\r" + BOM + TWO, [ONE, TWO], []),
        (NUL + ONE, [ONE], [NUL]),
        (NUL * 1000 + ONE + NUL * 3 + TWO + NUL * 2, [ONE, TWO], [NUL, NUL, NUL]),
        (ONE[:50] + NUL * 9 + ONE[59:] + TWO, [TWO], [ONE[:50] + NUL + ONE[59:]]),
        (ONE + TWO[:80], [ONE], [TWO[:80]]),
        (ONE[:80] + TWO + THREE[100:], [TWO], [ONE[:80], THREE[100:]]),
        (b"\xff\xfe" + ONE, [ONE], [b"\xff\xfe"]),
        (b"[" + ONE + b"]", [ONE], [b"[", b"]"]),
        # no record: another object, a record within one
        (b'{"a": 1}' + ONE, [ONE], [b'{"a": 1}']),
        (b'{"a": ' + ONE + b"}" + TWO, [TWO], [b'{"a": ' + ONE + b"}"]),
        # a record that has another within is one
        (b'{"userID": ' + ONE + b"}" + TWO, [b'{"userID": ' + ONE + b"}", TWO], []),
        # no JSON, though its brackets match
        (b'{"userID": 1, "a": tru}' + ONE, [ONE], [b'{"userID": 1, "a": tru}']),
        (b'{"userID": 01}' + ONE, [ONE], [b'{"userID": 01}']),
        (b'{"userID": 1]' + ONE, [ONE], [b'{"userID": 1]']),
        (b'{"userID": 1,}' + ONE, [ONE], [b'{"userID": 1,}']),
        (b"", [], []),
        (RS + BOM + b" ", [], []),
        (NUL * 5, [], [NUL]),
    ],
)
def test_line_is_split_into_records_and_pieces(text: bytes, whole: list[bytes], pieces: list[bytes]) -> None:
    assert (found(text), rest(text)) == (whole, pieces)


@pytest.mark.parametrize("torn", [ONE, TWO, THREE], ids=["one", "two", "three"])
def test_record_behind_torn_one_is_found(torn: bytes) -> None:
    for end in range(1, len(torn)):
        assert (found(torn[:end] + TWO), rest(torn[:end] + TWO)) == ([TWO], [torn[:end].rstrip()]), end
        assert found(torn[:end] + RS + TWO + torn[:end] + THREE) == [TWO, THREE], end


def test_record_before_torn_end_is_found() -> None:
    for start in range(1, len(TWO)):
        assert found(ONE + TWO[start:] + THREE) == [ONE, THREE], start


def test_positions_are_those_in_the_line() -> None:
    text = NUL * 7 + ONE + b"  torn " + TWO
    squeezed = records.squeeze(text)
    assert [(piece.start, piece.is_record) for piece in records.split(text)] == [
        (0, False),
        (1, True),
        (1 + len(ONE) + 2, False),
        (1 + len(ONE) + 7, True),
    ]
    assert all(squeezed[piece.start :].startswith(piece.text) for piece in records.split(text))


fragments = st.one_of(
    st.sampled_from(
        [ONE, TWO, THREE, RS, BOM, NUL, b" ", b"{", b'"', b"}", b"[", b",", b":", b"\\", b'{"userID": 1']
    ),
    st.integers(0, len(TWO)).map(lambda end: TWO[:end]),
    st.integers(0, len(TWO)).map(lambda start: TWO[start:]),
    st.binary(max_size=10),
)


@settings(max_examples=300, deadline=None)
@given(st.lists(fragments, max_size=12).map(b"".join))
def test_no_byte_is_lost_but_padding(text: bytes) -> None:
    pieces = records.split(text)
    at = 0
    squeezed = records.squeeze(text)
    for piece in pieces:
        assert not squeezed[at : piece.start].strip(b" \t\r\n\v\f" + RS + BOM)
        assert squeezed[piece.start :].startswith(piece.text)
        at = piece.start + len(piece.text)
    assert not squeezed[at:].strip(b" \t\r\n\v\f" + RS + BOM)
    assert all("userID" in json.loads(piece.text) for piece in pieces if piece.is_record and piece.text.isascii())


@settings(max_examples=200, deadline=None)
@given(st.lists(st.sampled_from([ONE, TWO, THREE]) | st.integers(1, 300).map(lambda end: ONE[:end]), max_size=8))
def test_all_whole_records_are_found(parts: list[bytes]) -> None:
    assert found(b"".join(parts)) == [part for part in parts if part in (ONE, TWO, THREE)]


SIZE = 20_000
ADVERSARIES = {
    "objects": b'{"a":' * (SIZE // 5),
    "beginnings": b'{"' * (SIZE // 2),
    "torn strings": b'{"a{"' * (SIZE // 5),
    "spaces": (b'{"a": "{' + b" " * 1000) * (SIZE // 1008),
    "arrays": b'{"a":' + b"[" * SIZE,
    "records within": b'{"userID":' * (SIZE // 10),
    "closed again": b'{"userID":' * (SIZE // 12) + b"1" + b"}" * (SIZE // 12),
    "lists": b'{"a":[{"b":1},' * (SIZE // 14),
    "backslashes": b'{"a":"' + b"\\" * SIZE,
    "numbers": b'{"a":' + b"1" * SIZE,
    "quotes": b'"' * SIZE,
    "marks": BOM * (SIZE // 3),
}


@pytest.mark.parametrize("name", ADVERSARIES)
def test_splitting_is_linear(name: str) -> None:
    """A search that starts again at each brace takes thousands of times as many."""
    steps = 0

    def count(_frame: object, event: str, _function: object) -> None:
        nonlocal steps
        steps += event == "c_call"

    sys.setprofile(count)
    try:
        records.split(ADVERSARIES[name])
    finally:
        sys.setprofile(None)
    assert steps < 4 * SIZE


# Requests of damaged lines

DAY = datetime.date(2020, 9, 18)


def kinds(text: bytes) -> list[type | str]:
    outcomes = request_log.parse_line(text)
    return [one.reason if isinstance(one, Rejected) else type(one) for one in outcomes]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (ONE, [Request]),
        (RS + ONE + b"\r", [Request]),
        (BOM + ONE, [Request]),
        (ONE + NUL * 4, [Request, f"NUL bytes (from byte {len(ONE) + 1:,} of the line)"]),
        (NUL * 4 + ONE, ["NUL bytes (from byte 1 of the line)", Request]),
        (ONE[:70] + TWO, ["not JSON (from byte 1 of the line)", Request]),
        (ONE + b"\xff" + TWO, [Request, f"not UTF-8 (from byte {len(ONE) + 1:,} of the line)", Request]),
        (ONE + record(1, service="fdsnws-station"), [Request, Ignored]),
        (
            ONE + record(1, created=None, finished=None),
            [Request, f"created: not a time (from byte {len(ONE) + 1:,} of the line)"],
        ),
        # A line that is one record, or has none, has the reason that it had.
        (b'{"userID": "x"}', ["userID: not an integer"]),
        (RS + b'{"userID": "x"}', ["userID: not an integer"]),
        (b"[" + ONE + b"]", ["not an object"]),
        (ONE[:70], ["not JSON"]),
        (b"", ["empty"]),
        (BOM, ["not JSON"]),
        (RS, ["empty"]),
        (NUL * 9, ["NUL bytes"]),
        (b"\xff" + NUL, ["not UTF-8"]),
    ],
)
def test_each_piece_has_an_outcome(text: bytes, expected: list[type | str]) -> None:
    assert kinds(text) == expected


def test_record_has_same_key_in_any_line() -> None:
    (alone,) = request_log.parse_line(ONE)
    no_fraction = record(7, created="2020-09-18T00:00:00Z")
    (other,) = request_log.parse_line(no_fraction)
    for text in (ONE[:70] + ONE, RS + ONE, ONE + b"\r", NUL + ONE + NUL, BOM + ONE + no_fraction):
        requests = [one for one in request_log.parse_line(text) if isinstance(one, Request)]
        assert requests in ([alone], [alone, other])


def test_nul_runs_count_as_one_byte() -> None:
    rng = random.Random(1)
    for _ in range(20):
        lengths = [rng.randrange(1, 50) for _ in range(3)]
        assert kinds(b"x" + NUL * lengths[0] + ONE + NUL * lengths[1] + b"y" + TWO + NUL * lengths[2]) == kinds(
            b"x" + NUL + ONE + NUL + b"y" + TWO + NUL
        )


def test_pieces_are_named_tuples() -> None:
    assert records.split(b" x ") == [Piece(1, b"x", is_record=False)]
