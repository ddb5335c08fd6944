"""The payload of a day: its JSON form, its hash, and bad payloads."""

import contextlib
import copy
import datetime
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eida_statistics import hll
from eida_statistics.encoding import UnreadablePayload, compress
from eida_statistics.errors import InvalidPayload, NotJSON
from eida_statistics.ringserver.payload import LISTS, DayPayload
from eida_statistics.ringserver.payload_wire import decode, encode, read
from eida_statistics.ringserver.places import NOWHERE, Place
from support.transfers import DAY, Transfer, make_payload

FR, DE = Place("FR", "Grenoble", "u0h0"), Place("DE", "Köln", "u1hc")
# The second stream is of a network whose code is extended; others are not of miniSEED.
STREAMS = [("FR_SURF_00_HHZ/MSEED", 1024, 2), ("FDSN:XJ_MB01__E_H_Z/MSEED", 512, 1), ("soh-log", 7, 1)]
TRANSFERS = [
    Transfer("TX", STREAMS, 3000, 9000, 7, FR),
    Transfer("TX", STREAMS[:1], 60, 120, 8, FR),
    Transfer("TX", STREAMS[:1], 60, 120, 9, DE),
    Transfer("RX", STREAMS[1:], 60, 120, 9, NOWHERE),
]
PAYLOAD = make_payload(TRANSFERS)
DOCUMENT: dict[str, Any] = json.loads(PAYLOAD.to_json())
COUNT = "not an integer from 0 to 2^53-1"
CODE = "not a code of up to 8 letters, digits, - or _"
SKETCH = "not a HyperLogLog sketch of log2m 11, regwidth 5"
QUIET: dict[str, Any] = json.loads(make_payload([]).to_json())
OTHERS = hll.to_hex(hll.encode([1]))
XJ, TX_DE = "direction RX, network XJ2026, country (none)", "direction TX, country DE"


def change(path: str, value: object) -> dict[str, Any]:
    """Return the document with another value at a path such as `stats.0.bytes`; ... removes it."""
    document = copy.deepcopy(DOCUMENT)
    *way, last = (int(part) if part.isdigit() else part for part in path.split("."))
    part: Any = document
    for step in way:
        part = part[step]
    if value is ...:
        del part[last]
    else:
        part[last] = value
    return document


def read_document(document: object) -> DayPayload:
    return decode(json.dumps(document).encode(), today=DAY)


def find_errors(document: object) -> list[tuple[str, str]]:
    with pytest.raises(InvalidPayload) as refusal:
        read_document(document)
    return refusal.value.errors


def test_payload_has_the_documented_form() -> None:
    assert list(DOCUMENT) == ["kind", "source", "period", "generated_at", "version", *LISTS]
    assert DOCUMENT["kind"] == "ringserver"
    assert DOCUMENT["period"] == {"start": "2026-11-22", "end": "2026-11-22"}
    assert DOCUMENT["generated_at"] == "2026-11-23 03:00:00"
    assert DOCUMENT["stats"][-1] == {
        "month": "2026-11-01",
        "direction": "TX",
        "network": "XJ2026",
        "station": "MB01",
        "location": "",
        "channel": "EHZ",
        "country": "FR",
        "bytes": 512,
        "packets": 1,
        "records": 1,
        "clients": hll.to_hex(hll.encode([7])),
    }
    assert DOCUMENT["days"][-1] == {
        "day": "2026-11-22",
        "direction": "TX",
        "network": "XJ2026",
        "country": "FR",
        "bytes": 512,
        "packets": 1,
        "records": 1,
        "clients": hll.to_hex(hll.encode([7])),
    }
    assert DOCUMENT["hours"][-1] == {
        "hour": "2026-11-22T02:00:00Z",
        "direction": "TX",
        "network": "XJ2026",
        "country": "FR",
        "bytes": 154,
        "packets": 1,
        "clients": hll.to_hex(hll.encode([7])),
    }
    assert DOCUMENT["places"][-1] == {
        "day": "2026-11-22",
        "direction": "TX",
        "country": "FR",
        "city": "Grenoble",
        "geohash": "u0h0",
        "bytes": 2567,
        "packets": 6,
        "clients": hll.to_hex(hll.encode([7, 8])),
    }


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        (PAYLOAD, "ac9187fa2d4fa9299bfc874e6ca45dd7"),
        (make_payload(TRANSFERS, "rs-b"), "7e0638987f9a31bfb545d468591c041d"),
        (make_payload([]), "3b174e630ff430d9573e62d5db3ea19c"),
        (make_payload([], "rs-b"), "6247ff02edb535fc4efe73ee2969beb3"),
    ],
    ids=["rows", "rows of a source", "quiet", "quiet source"],
)
def test_hash_is_fixed(payload: DayPayload, expected: str) -> None:
    """An updated service must recognise what it received before: a new form needs a new version byte."""
    assert payload.hash() == expected


def test_content_is_without_source() -> None:
    assert make_payload(TRANSFERS, "rs-b").content() == PAYLOAD.content() == "5087cb36d8f76cf7f0d6b2557a64c605"


HALVES = [
    {**DOCUMENT["places"][-1], "bytes": size, "packets": packets, "clients": clients}
    for size, packets, clients in (
        (2000, 4, hll.to_hex(hll.encode([7])).upper().replace("\\X", "\\x")),
        (567, 2, hll.to_hex(hll.encode([7, 8]))),
    )
]


@pytest.mark.parametrize(
    "document",
    [
        DOCUMENT | {name: DOCUMENT[name][::-1] for name in LISTS},
        dict(reversed(DOCUMENT.items())),
        DOCUMENT | {"generated_at": "2026-12-01 00:00:00", "version": "2.0", "more": {"x": 1}},
        DOCUMENT | {"places": [*HALVES, *DOCUMENT["places"][:-1]]},
        change("hours.0.hour", "2026-11-22T00:00:00.000+00:00"),
        change("stats.0.more", 7),
        change("source", ...),
    ],
    ids=[
        "rows in another order",
        "keys in another order",
        "later",
        "a row in two",
        "hour",
        "unknown key",
        "source",
    ],
)
def test_same_statistics_have_the_same_hash(document: dict[str, Any]) -> None:
    made = read_document(document)
    assert made.hash() == PAYLOAD.hash()
    assert made.lists == PAYLOAD.lists


@pytest.mark.parametrize(
    ("path", "value", "errors"),
    [
        *((key, ..., [(key, "missing")]) for key in ("kind", "period", *LISTS)),
        *((key, 7, [(key, "not a list of objects")]) for key in LISTS),
        ("kind", "dataselect", [("kind", 'not "ringserver"')]),
        ("source", "a b", [("source", "not up to 64 letters, digits, dots or hyphens")]),
        ("version", "\n", [("version", "not up to 64 printable ASCII characters")]),
        ("generated_at", None, [("generated_at", "not up to 64 printable ASCII characters")]),
        ("period", "2026-11-22", [("period", 'not an object with the days "start" and "end"')]),
        ("period.start", "2026-11-21", [("period", "not one day")]),
        ("stats.1", [], [("stats[1]", "not an object")]),
        ("stats.1.month", "2026-10-01", [("stats[1].month", "not 2026-11-01: the period is in 2026-11")]),
        ("stats.1.month", "2026-11-22", [("stats[1].month", "not 2026-11-01: the period is in 2026-11")]),
        ("days.0.day", "2026-11-21", [("days[0].day", "not 2026-11-22, the day of the period")]),
        ("places.1.day", "2026-11-23", [("places[1].day", "not 2026-11-22, the day of the period")]),
        *(
            ("hours.2.hour", hour, [("hours[2].hour", "not an hour of 2026-11-22, such as 2026-11-22T02:00:00Z")])
            for hour in (
                "2026-11-23T00:00:00Z",
                "2026-11-22T01:00:00+01:00",
                "2026-11-22T01:30:00Z",
                "2026-11-22T01:00:01Z",
                "2026-11-22T01:00:00.000001Z",
                "0001-01-01T00:00:00+23:00",
            )
        ),
        *(
            ("hours.2.hour", hour, [("hours[2].hour", "not the start of an hour in UTC, YYYY-MM-DDTHH:00:00Z")])
            for hour in ("2026-11-22T01:00:00", "2026-11-22", 1, None)
        ),
        ("days.0.direction", "tx", [("days[0].direction", "not TX or RX")]),
        ("days.0.network", "F R", [("days[0].network", CODE)]),
        ("stats.0.channel", "HHZ" * 6, [("stats[0].channel", "not a code of up to 16 letters, digits, - or _")]),
        ("hours.0.country", "fr", [("hours[0].country", "not a code of 2 capital letters or digits, or empty")]),
        *(
            ("places.0.city", city, [("places[0].city", "not a name of up to 100 characters")])
            for city in ("x" * 101, "\0", "\n", "\x9b", None)
        ),
        ("places.0.geohash", "u0a0", [("places[0].geohash", "not a geohash of up to 12 characters")]),
        *(
            (f"{row}.{field}", value, [(f"{row.replace('.', '[')}].{field}", COUNT)])
            for row, field in (
                ("stats.0", "bytes"),
                ("days.0", "records"),
                ("hours.1", "packets"),
                ("places.2", "bytes"),
            )
            for value in (-1, 2**53, 1.5, "1", None)
        ),
        ("stats.1.clients", 7, [("stats[1].clients", "not \\x and the hexadecimal digits of a sketch")]),
        ("hours.1.clients", "\\x128b7f00", [("hours[1].clients", f"{SKETCH} (explicit with 1 bytes)")]),
        ("places.1.clients", "\\x", [("places[1].clients", f"{SKETCH} (another header)")]),
        # Sums: those of days are compared with streams and hours, those of places with days.
        ("stats.1.bytes", 8, [("days[1].bytes", f"rows of {XJ} add up to 512, those of stats to 8")]),
        ("days.1.records", 9, [("days[1].records", f"rows of {XJ} add up to 9, those of stats to 1")]),
        ("hours.1.packets", 9, [("days[1].packets", f"rows of {XJ} add up to 1, those of hours to 9")]),
        ("places.1.bytes", 9, [("places[1].bytes", f"rows of {TX_DE} add up to 9, those of days to 1024")]),
        ("stats.1.clients", OTHERS, [("days[1].clients", f"rows of {XJ} have other clients than those of stats")]),
        ("hours.1.clients", OTHERS, [("days[1].clients", f"rows of {XJ} have other clients than those of hours")]),
        (
            "places.1.clients",
            OTHERS,
            [("places[1].clients", f"rows of {TX_DE} have other clients than those of days")],
        ),
        ("stats.1", ..., [("days[1]", f"stats has no row of {XJ}")]),
        ("hours.1", ..., [("days[1]", f"hours has no row of {XJ}")]),
        ("places.1", ..., [("places", f"no row of {TX_DE}, which days has")]),
        (
            "places.1.country",
            "GB",
            [
                ("places[1]", f"days has no row of {TX_DE.replace('DE', 'GB')}"),
                ("places", f"no row of {TX_DE}, which days has"),
            ],
        ),
    ],
    ids=str,
)
def test_bad_field_is_named(path: str, value: object, errors: list[tuple[str, str]]) -> None:
    assert find_errors(change(path, value)) == errors


@pytest.mark.parametrize("day", ["1989-12-31", "2026-11-24"])
def test_day_is_not_before_1990_or_in_the_future(day: str) -> None:
    quiet = QUIET | {"period": {"start": day, "end": day}}
    assert [path for path, _ in find_errors(quiet)] == ["period.start", "period.end"]


def test_tomorrow_is_accepted() -> None:
    tomorrow = str(DAY + datetime.timedelta(days=1))
    quiet = QUIET | {"period": {"start": tomorrow, "end": tomorrow}}
    assert str(read_document(quiet).period) == tomorrow


def test_rows_with_too_large_a_sum_are_refused() -> None:
    largest = 2**53 - 1
    one = make_payload([Transfer("TX", [(STREAMS[0][0], largest, 1)], 0, 60, 7, FR)])
    document: dict[str, Any] = json.loads(one.to_json())
    assert find_errors(document | {name: document[name] * 2 for name in LISTS}) == [
        (name, f"those of {key} have more than 2^53-1 bytes together")
        for name, key in (
            ("stats", "2026-11-01/TX/FR/SURF/00/HHZ/FR"),
            ("days", "2026-11-22/TX/FR/FR"),
            ("hours", "2026-11-22 00:00:00+00:00/TX/FR/FR"),
            ("places", "2026-11-22/TX/FR/Grenoble/u0h0"),
        )
    ]


def test_list_of_errors_has_an_end() -> None:
    assert len(find_errors(DOCUMENT | {"days": [change("days.0.day", "2026-11-21")["days"][0]] * 200})) == 100


@pytest.mark.parametrize(
    "body", [b"", b"[", b"\xff", b'{"kind": 7, "stats": [}', b"[" * 100_000], ids=lambda b: repr(b[:9])
)
def test_non_json_is_refused(body: bytes) -> None:
    with pytest.raises(NotJSON):
        decode(body, today=DAY)
    with pytest.raises(UnreadablePayload):
        read([body])


def test_kept_payload_is_read_in_pieces() -> None:
    kept = encode(PAYLOAD)
    assert read([kept[:10], kept[10:]]) == PAYLOAD
    with pytest.raises(UnreadablePayload):
        read([kept[:-1]])
    with pytest.raises(UnreadablePayload):
        read([compress(b'{"kind":"dataselect"}')])


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from(["\udcff", "2026-11-22"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
PATHS = [*DOCUMENT, *(f"{name}.0.{field}" for name in LISTS for field in DOCUMENT[name][0])]


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from(PATHS), anything, min_size=1, max_size=3))
def test_any_document_is_read_or_refused(changes: dict[str, object]) -> None:
    document = copy.deepcopy(DOCUMENT)
    for path, value in changes.items():
        name, *way = path.split(".")
        if not way:
            document[name] = value
        elif isinstance(document[name], list) and document[name] and isinstance(document[name][0], dict):
            document[name][0][way[-1]] = value
    with contextlib.suppress(InvalidPayload, NotJSON):
        assert read_document(document).hash()
