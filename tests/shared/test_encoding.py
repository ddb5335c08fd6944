"""Large payloads, read in slices: the same result as when they are decoded at once, and in little memory."""

import codecs
import json
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import astuple

from eida_statistics import wire
from eida_statistics.encoding import EncodedPayload, Reader, UnreadablePayload, decompress, encode
from eida_statistics.errors import EidaStatisticsError, InvalidPayload
from eida_statistics.packed_rows import unpack
from eida_statistics.zstandard import zstd
from support.payloads import TODAY, payload, row, sketch
from support.payloads import wire as document

TINY = wire.Slices(threshold=0, size=20)
WHOLE = wire.Slices(threshold=sys.maxsize, size=1)

# These look like the end of a row, a list or a text within another one.
NASTY = ["}, {", '"},{"', "}]", "\\", '\\"', "[[{", "\n", "é}\t,{", ',"stats":[']
texts = st.sampled_from(NASTY) | st.text(max_size=5)
unknown = st.recursive(
    texts | st.integers(), lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3)
)
rows = st.builds(
    lambda fields, more, bad: row(**fields) | ({"more": more} if more is not None else {}) | bad,
    st.fixed_dictionaries(
        {
            "station": st.sampled_from(["A", "B", "C", "D", "E"]),
            "country": st.sampled_from(["", "DE", "FR", "fr", "Germany", None]),
            "nb_requests": st.sampled_from([None, 1, 2**53 - 1]),
            "nb_unsuccessful_requests": st.sampled_from([None, 0, 1]),
            "clients": st.sampled_from([sketch([1]), sketch([1, 2]).upper().replace("X", "x"), sketch(range(200))]),
        }
    ),
    st.none() | unknown,
    st.just({}) | st.sampled_from([{}, {}, {"bytes": -1}, {"clients": "\\x"}, {"station": "E E"}, {"month": 7}]),
)


def written(fields: dict[str, Any], stats: list[Any], blanks: str, *, order: bool) -> str:
    """Write a payload with blanks and line breaks between its rows."""
    listed = f"[{blanks}" + f"{blanks},{blanks}".join(map(json.dumps, stats)) + f"{blanks}]"
    before, after = (fields, {}) if order else ({}, fields)
    parts = [*map(_member, before.items()), f'"stats":{blanks}{listed}', *map(_member, after.items())]
    return "{" + f",{blanks}".join(parts) + "}"


def _member(item: tuple[str, Any]) -> str:
    return f"{json.dumps(item[0])}: {json.dumps(item[1])}"


def result(body: bytes, slices: wire.Slices) -> object:
    """Return all that can be seen of a payload, or of the error."""
    try:
        received = wire.receive(body, today=TODAY, slices=slices)
    except EidaStatisticsError as error:
        return type(error), str(error), getattr(error, "errors", None)
    made = received.payload
    text = b"".join(decompress([made.body]))
    return (
        received.countries_changed,
        made.envelope,
        made.content,
        made.hash,
        made.count,
        text,
        made.packed_rows,
        list(made.rows),
    )


@settings(deadline=None, max_examples=150)
@given(
    st.lists(rows, max_size=8),
    st.booleans(),
    st.sampled_from(["", " ", "\n", "\r\n\t "]),
    st.booleans(),
    st.none() | unknown,
    st.integers(1, 2000),
)
def test_slices_equal_the_whole_body(
    stats: list[Any], is_sorted: bool, blanks: str, order: bool, more: object, size: int
) -> None:
    if is_sorted:
        stats = sorted(stats, key=lambda one: (one["station"], one["country"] or ""))
    fields = {"days_coverage": ["2026-10-14"], "version": '","stats":[{}', "more": more}
    body = written(fields, stats, blanks, order=order).encode()
    assert result(body, wire.Slices(0, size)) == result(body, WHOLE)


FINE = [row(station=f"S{number:02}") for number in range(20)]


def test_sorted_rows_are_read_in_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without this, the other tests would hold if nothing ever were."""
    body = json.dumps(document(*FINE), indent=1).encode()
    expected = result(body, WHOLE)
    monkeypatch.setattr(wire, "decode_with_changes", None)
    assert result(body, TINY) == expected


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(codecs.BOM_UTF8 + json.dumps(document(*FINE)).encode(), id="byte order mark"),
        pytest.param(json.dumps(document(*FINE, row(station="S99", bytes=-1))).encode(), id="bad last row"),
        pytest.param(
            json.dumps(document(*FINE, row(station="S99", clients="\\x12"))).encode(), id="bad last sketch"
        ),
        pytest.param(json.dumps(document(*FINE, FINE[0])).encode(), id="the first row again"),
        pytest.param(json.dumps(document(*FINE)).encode()[:-30], id="cut off"),
        pytest.param(json.dumps(document(*FINE)).encode() + b"}", id="more behind it"),
        pytest.param(json.dumps(document(*FINE)).encode().replace(b"}, {", b"}, , {"), id="two commas"),
        pytest.param(json.dumps(document(*FINE)).encode().replace(b"}, {", b"} {"), id="no commas"),
        pytest.param(json.dumps(document(*FINE)).encode().replace(b"DE", b"\xff\xff"), id="no UTF-8"),
        pytest.param(json.dumps(document(*FINE)).encode().replace(b'"stats"', b'"\\u0073tats"'), id="escaped key"),
        pytest.param(
            b'{"stats": [7], ' + json.dumps(document(*FINE)).encode()[1:], id="bad stats before good ones"
        ),
        pytest.param(b'{"stats": [], ' + json.dumps(document(*FINE)).encode()[1:], id="no rows before good ones"),
        pytest.param(json.dumps(document(*FINE)).encode()[:-1] + b', "stats": []}', id="no rows after good ones"),
        pytest.param(json.dumps(document(*FINE)).encode()[:-1] + b', "stats": 7}', id="bad stats after good ones"),
        pytest.param(json.dumps(document(*FINE, days_coverage=[])).encode(), id="no days"),
        pytest.param(json.dumps(document(*FINE, source="a")).encode(), id="source without a period"),
        pytest.param(json.dumps(document(*FINE, more="x" * (5 << 20))).encode(), id="large unknown key"),
        pytest.param(json.dumps(document(*FINE) | {"stats": {"a": FINE}}).encode(), id="an object"),
        pytest.param(json.dumps(document(*FINE) | {"stats": "[{},{}]"}).encode(), id="a text"),
        pytest.param(json.dumps(document(FINE, FINE)).encode(), id="lists of rows"),
        pytest.param(json.dumps(document() | {"stats": 5}).encode(), id="a number"),
        pytest.param(json.dumps(document(row(more="x" * (5 << 20)), *FINE)).encode(), id="a large row"),
        pytest.param(b"[" * 100_000, id="nested lists"),
        pytest.param(b"", id="nothing"),
    ],
)
def test_unusual_bodies_are_read_as_a_whole(body: bytes) -> None:
    for size in (1, 300, 3000):
        assert result(body, wire.Slices(0, size)) == result(body, WHOLE)


def test_error_in_the_last_slice_is_named() -> None:
    body = json.dumps(document(*FINE, row(station="S99", network="G E"))).encode()
    with pytest.raises(InvalidPayload) as refusal:
        wire.receive(body, today=TODAY, slices=TINY)
    assert [path for path, _ in refusal.value.errors] == ["stats[20].network"]


def test_rows_are_read_several_times() -> None:
    body = json.dumps(document(*FINE)).encode()
    received = wire.receive(body, today=TODAY, slices=TINY).payload
    assert list(received.rows) == list(received.rows) == payload(*FINE).stats


def many(count: int) -> EncodedPayload:
    return encode(payload(*(row(station=f"S{number:05}") for number in range(count))))


@pytest.mark.parametrize("count", [0, 1, 20_000, 45_000])
def test_reader_reads_what_was_encoded(count: int) -> None:
    """The last one is so large that it is compressed in pieces."""
    made = many(count)
    pieces = [made.body[place : place + 1000] for place in range(0, len(made.body), 1000)]
    reader = Reader(pieces)
    assert list(map(astuple, reader.rows())) == list(map(astuple, made.rows))
    assert (reader.summary.envelope, reader.summary.hash, reader.summary.count) == (made.envelope, made.hash, count)
    assert zstd.decompress(made.body) == b"".join(decompress(pieces))
    assert sum(map(len, unpack(made.packed_rows, made.content))) == count


def test_brackets_outside_of_rows_are_no_end() -> None:
    made = payload(*FINE, version='","stats":[', excluded={"client_patterns": [']},{"', "}]"]})
    encoded = encode(made)
    reader = Reader([encoded.body])
    assert list(map(astuple, reader.rows())) == list(map(astuple, made.stats))
    assert reader.summary.envelope.excluded == made.excluded
    assert encoded.hash == made.hash()
    assert zstd.decompress(encoded.body) == made.to_json()


def test_damaged_bodies_are_unreadable() -> None:
    body = many(3000).body
    for damaged in (b"", b"\0", body[:-1], body[: len(body) // 2], zstd.compress(b"{}"), zstd.compress(b"")):
        reader = Reader([damaged])
        with pytest.raises(UnreadablePayload):
            list(reader.rows())


_MEASURE = """
import datetime, resource, sys
from eida_statistics import wire

body = bytearray(open(sys.argv[1], "rb").read())
def peak():
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
wire.receive(body[:0] + b'{"days_coverage":["2026-10-14"],"stats":[]}', today=datetime.date(2026, 11, 22))
before = peak()
received = wire.receive(body, today=datetime.date(2026, 11, 22))
assert sum(1 for row in received.payload.rows) == 60_000
print((peak() - before) / len(body))
"""


def test_sorted_rows_take_little_memory(tmp_path: Any) -> None:
    """At once, they take three times the size of the body and more."""
    one = json.dumps(row(station="@@@@@", clients=sketch(range(20))))
    listed = ",".join(one.replace("@@@@@", f"S{number:05}") for number in range(60_000))
    path = tmp_path / "body.json"
    path.write_text('{"days_coverage":["2026-10-14"],"stats":[' + listed + "]}")
    measured = subprocess.run([sys.executable, "-c", _MEASURE, path], capture_output=True, text=True, check=True)
    assert float(measured.stdout) < 0.75
