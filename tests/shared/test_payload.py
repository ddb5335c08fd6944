"""The payload: its JSON form, its hash, and bad payloads."""

import datetime
import gzip
import json
import random
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eida_statistics import hll
from eida_statistics.errors import InvalidPayload, NotJSON
from eida_statistics.payload import Exclusions, Payload, Period, Row
from eida_statistics.rows import merge_rows
from eida_statistics.wire import decode, decode_with_changes

TODAY = datetime.date(2020, 9, 19)
SKETCH = hll.to_hex(hll.encode([1, 2, 3]))
SPARSE = hll.encode(range(-300, 0))
FULL = hll.encode(range(-5000, 0))


def stat(**changes: object) -> dict[str, Any]:
    return {
        "month": "2020-09-01",
        "network": "GE",
        "station": "EIL",
        "location": "",
        "channel": "BHZ",
        "country": "DE",
        "bytes": 512,
        "nb_requests": 3,
        "nb_successful_requests": 3,
        "nb_unsuccessful_requests": 0,
        "clients": SKETCH,
        **changes,
    }


def sent(*stats: object, **changes: object) -> dict[str, Any]:
    return {
        "generated_at": "2020-09-18 06:30:00",
        "version": "0.8.1",
        "days_coverage": ["2020-09-18"],
        "aggregation_score": 2,
        "stats": list(stats),
        **changes,
    }


def drop(document: dict[str, Any], *keys: str) -> dict[str, Any]:
    return {key: value for key, value in document.items() if key not in keys}


def read(document: object) -> Payload:
    return decode(json.dumps(document).encode(), today=TODAY)


def test_payload_is_read() -> None:
    assert read(sent(stat())) == Payload(
        generated_at="2020-09-18 06:30:00",
        version="0.8.1",
        days_coverage=[datetime.date(2020, 9, 18)],
        aggregation_score=2,
        stats=[Row(datetime.date(2020, 9, 1), "GE", "EIL", "", "BHZ", "DE", 512, 3, 3, 0, SKETCH)],
    )


STATS = [stat(station=station, country=country) for station in ("A", "B", "C") for country in ("", "DE")]


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(json.dumps(sent(*STATS), indent=3).encode(), id="spaced"),
        pytest.param(json.dumps(sent(*STATS), separators=(",", ":")).encode(), id="not spaced"),
        pytest.param(json.dumps(sent(*reversed(STATS))).encode(), id="rows in another order"),
        pytest.param(json.dumps(sent(*STATS), sort_keys=True).encode(), id="keys in another order"),
        pytest.param(gzip.decompress(gzip.compress(json.dumps(sent(*STATS)).encode())), id="compressed"),
        pytest.param(json.dumps(sent(*STATS, generated_at="2020-10-01 00:00:00")).encode(), id="made later"),
        pytest.param(json.dumps(sent(*STATS, version="0.9.0")).encode(), id="by another version"),
        pytest.param(json.dumps(sent(*STATS, aggregation_score=9)).encode(), id="of another score"),
        pytest.param(json.dumps(sent(*STATS, days_coverage=["2020-09-18"] * 2)).encode(), id="a day twice"),
        pytest.param(json.dumps(sent(*STATS, more={"x": 1})).encode(), id="with a key of the future"),
        pytest.param(json.dumps(sent(*STATS, excluded=None)).encode(), id="nothing left out"),
        pytest.param(
            json.dumps(sent(*STATS, excluded={"client_classes": ["monitor"]})).encode(), id="something left out"
        ),
        pytest.param(
            json.dumps(
                sent(
                    *({**one, "clients": "\\x" + one["clients"][2:].upper()} for one in STATS),
                )
            ).encode(),
            id="in capital digits",
        ),
        pytest.param(
            json.dumps(sent(*(drop(one, "nb_requests", "nb_unsuccessful_requests") for one in STATS))).encode(),
            id="without what older aggregators leave out",
        ),
        pytest.param(
            json.dumps(sent(*({**one, "country": one["country"] or None} for one in STATS))).encode(),
            id="null for no country",
        ),
        pytest.param(
            json.dumps(
                sent(
                    *STATS[1:],
                    *(
                        {
                            **STATS[0],
                            "bytes": 256,
                            "nb_requests": n,
                            "nb_successful_requests": n,
                            "clients": clients,
                        }
                        for n, clients in ((1, hll.to_hex(hll.encode([1, 2]))), (2, hll.to_hex(hll.encode([3]))))
                    ),
                )
            ).encode(),
            id="a row in two parts",
        ),
    ],
)
def test_same_statistics_have_the_same_hash(body: bytes) -> None:
    assert decode(body, today=TODAY).hash() == read(sent(*STATS)).hash()


DAY = {"start": "2020-09-18", "end": "2020-09-18"}
GOLDEN = [
    (sent(stat(), stat(country="", bytes=7)), "3f1c8d1fd21010fcf6b4102a97e04ff7"),
    (sent(stat(), stat(country="", bytes=7), period=DAY), "654833290e4a9cb521e0128a198c1705"),
    (sent(stat(), stat(country="", bytes=7), period=DAY, source="server-1.a"), "d838b8782fc66c870847a8d2e95e7261"),
    (sent(stat(), period={"start": "2020-09-01", "end": "2020-09-18"}), "a54dd08dd61e37dac0f35ce85040c26d"),
    (sent(days_coverage=[], period=DAY), "ea8781c5de875428467e712a95806894"),
]


@pytest.mark.parametrize(("document", "expected"), GOLDEN)
def test_hash_is_fixed(document: dict[str, Any], expected: str) -> None:
    """An updated service must recognise what it received before: a new form needs a new version byte."""
    assert read(document).hash() == expected


def test_content_is_the_hash_without_a_period() -> None:
    for document, _ in GOLDEN[:3]:
        assert read(document).content() == GOLDEN[0][1]
    assert read(sent(days_coverage=[], period=DAY)).content() == "fe15bee74860df830bbc0a5d0eb953e5"


def test_source_and_period_are_read() -> None:
    made = read(sent(stat(), source="b", period={"start": "2020-09-17", "end": "2020-09-19"}))
    assert made.source == "b"
    assert made.period == Period(datetime.date(2020, 9, 17), datetime.date(2020, 9, 19))
    assert msgspec.json.decode(made.to_json())["period"] == {"start": "2020-09-17", "end": "2020-09-19"}
    for absent in ({"source": None, "period": None}, {"source": ""}):
        assert read(sent(stat(), **absent)) == read(sent(stat()))


@pytest.mark.parametrize(
    ("changes", "path"),
    [
        ({"source": "a b", "period": DAY}, "source"),
        ({"source": "a" * 65, "period": DAY}, "source"),
        ({"source": "a\n", "period": DAY}, "source"),
        ({"source": 7, "period": DAY}, "source"),
        ({"source": "a"}, "source"),
        ({"period": {"start": "2020-09-18", "end": "2020-09-17"}}, "period"),
        ({"period": {"start": "2020-09-18"}}, "period"),
        ({"period": {"start": "2020-9-18", "end": "2020-09-19"}}, "period"),
        ({"period": "2020-09-18"}, "period"),
        ({"period": {"start": "2020-09-18", "end": "2020-09-21"}}, "period.end"),
        ({"period": {"start": "1989-12-31", "end": "2020-09-18"}}, "period.start"),
        ({"days_coverage": []}, "days_coverage"),
    ],
)
def test_bad_source_or_period_is_refused(changes: dict[str, Any], path: str) -> None:
    with pytest.raises(InvalidPayload) as refusal:
        read(sent(**changes))
    assert [named for named, _ in refusal.value.errors] == [path]


def test_period_may_end_tomorrow_and_have_no_day() -> None:
    made = read(sent(days_coverage=[], period={"start": "2020-09-19", "end": "2020-09-20"}))
    assert (made.days_coverage, made.stats) == ([], [])
    # A row needs a day of its month.
    with pytest.raises(InvalidPayload, match="no day in days_coverage"):
        read(sent(stat(), days_coverage=[], period=DAY))


def test_periods_are_compared() -> None:
    first, last = datetime.date(2020, 9, 30), datetime.date(2020, 10, 2)
    month_end = Period(first, last)
    assert month_end.days() == [first, datetime.date(2020, 10, 1), last]
    assert (str(month_end), str(Period(last, last))) == ("2020-09-30 to 2020-10-02", "2020-10-02")
    assert month_end.contains(month_end)
    assert month_end.contains(Period(last, last))
    assert not Period(last, last).contains(month_end)
    assert month_end.overlaps(Period(last, datetime.date(2020, 12, 1)))
    assert not month_end.overlaps(Period(datetime.date(2020, 10, 3), datetime.date(2020, 12, 1)))


def test_no_exclusions_are_not_in_the_payload() -> None:
    assert read(sent(stat())).to_json() == (
        b'{"generated_at":"2020-09-18 06:30:00","version":"0.8.1","days_coverage":["2020-09-18"],'
        b'"aggregation_score":2,"stats":[{"month":"2020-09-01","network":"GE","station":"EIL","location":"",'
        b'"channel":"BHZ","country":"DE","bytes":512,"nb_requests":3,"nb_successful_requests":3,'
        b'"nb_unsuccessful_requests":0,"clients":"\\\\x' + SKETCH[2:].encode() + b'"}]}'
    )


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ({}, Exclusions()),
        ({"client_classes": ["monitor", "crawler"]}, Exclusions(["monitor", "crawler"])),
        ({"client_patterns": ["^curl/", "Jülich|\\s+"]}, Exclusions(client_patterns=["^curl/", "Jülich|\\s+"])),
        ({"client_classes": ["x" * 1000] * 100, "client_patterns": ["é" * 1000] * 100}, None),
        ({"client_classes": ["monitor"], "networks": ["GE"]}, Exclusions(["monitor"])),  # a key of the future
    ],
)
def test_exclusions_are_kept(said: dict[str, Any], kept: Exclusions | None) -> None:
    made = read(sent(stat(), excluded=said))
    assert made.excluded == (kept or Exclusions(said["client_classes"], said["client_patterns"]))
    assert json.loads(made.to_json())["excluded"] == {"client_classes": [], "client_patterns": []} | {
        key: value for key, value in said.items() if key.startswith("client")
    }
    assert decode(made.to_json(), today=TODAY) == made
    assert made.hash() == read(sent(stat())).hash()


EXCLUSIONS = "not an object with client_classes and client_patterns, lists of up to 100 texts"


@pytest.mark.parametrize(
    "said",
    [
        "monitor",
        ["monitor"],
        7,
        True,
        {"client_classes": "monitor"},
        {"client_classes": None},
        {"client_classes": ["monitor", 7]},
        {"client_classes": ["monitor"], "client_patterns": {"^curl/": True}},
        {"client_patterns": [None]},
        {"client_classes": ["x"] * 101},
        {"client_patterns": ["x"] * 101},
        {"client_classes": ["x" * 1001]},
        {"client_patterns": ["é" * 1001]},
        {"client_patterns": ["x" * 10_000_000]},
    ],
    ids=lambda said: json.dumps(said)[:60],
)
def test_bad_exclusions_are_refused(said: object) -> None:
    with pytest.raises(InvalidPayload) as refusal:
        read(sent(stat(), excluded=said))
    assert refusal.value.errors == [("excluded", EXCLUSIONS)]
    # It is named beside all others.
    with pytest.raises(InvalidPayload) as refusal:
        read(sent(stat(bytes=-1), stat(clients="\\x"), excluded=said, version=3))
    assert [path for path, _ in refusal.value.errors] == [
        "stats[0].bytes",
        "stats[1].clients",
        "version",
        "excluded",
    ]
    assert len(str(refusal.value)) < 1000


def test_nul_in_exclusions_is_kept() -> None:
    """It is in the payload's body only, and nothing of it is looked for."""
    strange = ["\x00", "\u202e", "'; DROP TABLE payloads; --", "\U0001f40c" * 1000]
    assert read(sent(stat(), excluded={"client_patterns": strange})).excluded == Exclusions(client_patterns=strange)


@pytest.mark.parametrize(
    "other",
    [
        sent(*STATS[1:]),
        sent(*STATS, days_coverage=["2020-09-17"]),
        sent(*STATS, days_coverage=["2020-09-17", "2020-09-18"]),
        *(
            sent({**STATS[0], key: value}, *STATS[1:])
            for key, value in stat(
                network="GR",
                station="EI",
                location="00",
                channel="BHE",
                country="US",
                bytes=513,
                nb_requests=4,
                nb_successful_requests=2,
                nb_unsuccessful_requests=1,
                clients=hll.to_hex(hll.encode([1, 2])),
            ).items()
            if key != "month"
        ),
    ],
)
def test_other_statistics_have_another_hash(other: dict[str, Any]) -> None:
    assert read(other).hash() != read(sent(*STATS)).hash()


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        # before there were failed requests
        (drop(stat(nb_successful_requests=3), "nb_requests", "nb_unsuccessful_requests"), (3, 3, 0)),
        (stat(nb_requests=None, nb_unsuccessful_requests=None), (3, 3, 0)),
        (drop(stat(nb_requests=5, nb_successful_requests=3), "nb_unsuccessful_requests"), (5, 3, 2)),
        (drop(stat(nb_requests=1, nb_successful_requests=3), "nb_unsuccessful_requests"), (1, 3, 0)),
        (drop(stat(nb_successful_requests=3, nb_unsuccessful_requests=4), "nb_requests"), (7, 3, 4)),
    ],
)
def test_missing_fields_get_defaults(row: dict[str, Any], expected: tuple[int, int, int]) -> None:
    (made,) = read(sent(row)).stats
    assert (made.nb_requests, made.nb_successful_requests, made.nb_unsuccessful_requests) == expected


def test_missing_envelope_field_gets_default() -> None:
    made = read({"days_coverage": ["2020-09-18"], "stats": [drop(stat(), "country")]})
    assert (made.generated_at, made.version, made.aggregation_score) == ("", "", 0)
    assert made.stats[0].country == ""


@pytest.mark.parametrize(
    ("country", "normal"),
    [
        ("DE", "DE"), ("fr", "FR"), ("Fr", "FR"), ("a1", "A1"), ("FRA", ""), ("Germany", ""), ("-", ""), ("--", ""),
        ("éé", ""), ("ß", ""), ("ßa", ""), ("F", ""), ("F ", ""), ("FR\n", ""), ("٣٣", ""), ("ſs", ""), ("", ""),
    ],
)  # fmt: skip
def test_country_is_two_capitals_or_unknown(country: str, normal: str) -> None:
    document = json.dumps(sent(stat(country=country))).encode()
    made, changed = decode_with_changes(document, today=TODAY)
    assert made.stats[0].country == normal
    assert changed == (country != normal)
    assert made.hash() == read(sent(stat(country=normal))).hash()


def test_rows_of_equal_country_are_merged() -> None:
    rows = [stat(country=country, bytes=1, nb_requests=3) for country in ("fr", "FR", "FRA", None, "DE")]
    made, changed = decode_with_changes(json.dumps(sent(*rows)).encode(), today=TODAY)
    assert changed == 2
    assert [(row.country, row.bytes) for row in made.stats] == [("", 2), ("DE", 1), ("FR", 2)]


def test_rows_of_one_key_are_merged() -> None:
    others = hll.to_hex(hll.encode([3, 4]))
    parts = [
        stat(country=None, bytes=1, nb_requests=5, nb_successful_requests=3, nb_unsuccessful_requests=2),
        stat(country="", bytes=10, nb_requests=7, nb_successful_requests=7, clients=others),
    ]
    (row,) = read(sent(*parts)).stats
    assert (row.bytes, row.nb_requests, row.nb_successful_requests, row.nb_unsuccessful_requests) == (11, 12, 10, 2)
    assert row.clients == hll.to_hex(hll.encode([1, 2, 3, 4]))


@pytest.mark.parametrize(
    "rows",
    [
        [stat(bytes=2**53 - 1), stat(bytes=1)],
        [stat(nb_requests=2**52), stat(nb_requests=2**52)],
        [drop(stat(nb_successful_requests=2**53 - 1, nb_unsuccessful_requests=1), "nb_requests")],
    ],
)
def test_too_large_sums_are_refused(rows: list[dict[str, Any]]) -> None:
    with pytest.raises(InvalidPayload) as refusal:
        read(sent(*rows))
    ((path, told),) = refusal.value.errors
    assert path == "stats"
    assert "more than 2^53-1" in told
    assert "of country DE in 2020-09" in told
    fitting = read(sent(stat(bytes=2**53 - 2), stat(bytes=1)))
    assert msgspec.json.decode(fitting.to_json(), type=Payload) == fitting


def test_sketch_is_made_canonical() -> None:
    """PostgreSQL keeps the sparse form for longer than python-hll2; both stand for the same registers."""
    registers = hll.decode_registers(hll.encode(range(-700, 0)))
    occupied = [(index << 5 | int(value)) for index, value in enumerate(registers) if value]
    assert len(occupied) > hll.SPARSE_MAX
    long_sparse = SPARSE[:3] + b"".join(word.to_bytes(2) for word in occupied)
    (row,) = read(sent(stat(clients=hll.to_hex(long_sparse)))).stats
    assert row.clients == hll.to_hex(hll.encode(range(-700, 0)))


CODE = "a code of up to 8 letters, digits, - or _"
COUNT = "not an integer from 0 to 2^53-1"
SKETCH_ERROR = "not a HyperLogLog sketch of log2m 11, regwidth 5"


@pytest.mark.parametrize(
    ("document", "errors"),
    [
        ([], [("$", "not a JSON object")]),
        (7, [("$", "not a JSON object")]),
        (None, [("$", "not a JSON object")]),
        ({}, [("days_coverage", "missing"), ("stats", "missing")]),
        (sent(stats=None), [("stats", "not a list of objects")]),
        (sent(stats={}), [("stats", "not a list of objects")]),
        (sent("row"), [("stats[0]", "not an object")]),
        (sent(stat(), None), [("stats[1]", "not an object")]),
        (
            sent(stat(), days_coverage=[]),
            [("days_coverage", "no day"), ("stats[0].month", "2020-09 has no day in days_coverage")],
        ),
        (sent(stat(), days_coverage=["18.9.2020"]), [("days_coverage", "not a list of days, YYYY-MM-DD")]),
        (sent(stat(), days_coverage=["2020-09-31"]), [("days_coverage", "not a list of days, YYYY-MM-DD")]),
        (sent(stat(), days_coverage="2020-09-18"), [("days_coverage", "not a list of days, YYYY-MM-DD")]),
        (
            sent(stat(), days_coverage=["2020-09-18", "2020-09-21"]),
            [("days_coverage", "2020-09-21 is in the future")],
        ),
        (
            sent(stat(), days_coverage=["2020-09-18", "1970-01-01"]),
            [("days_coverage", "1970-01-01 is before 1990-01-01")],
        ),
        (sent(stat(), aggregation_score="2"), [("aggregation_score", "not a number")]),
        (sent(stat(), version="0.9\n"), [("version", "not up to 64 printable ASCII characters")]),
        (sent(stat(), generated_at=5), [("generated_at", "not up to 64 printable ASCII characters")]),
        *(
            (sent(stat(), drop(stat(), key)), [(f"stats[1].{key}", "missing")])
            for key in (
                "month",
                "network",
                "station",
                "location",
                "channel",
                "bytes",
                "nb_successful_requests",
                "clients",
            )
        ),
        *((sent(stat(**{key: None})), [(f"stats[0].{key}", f"not {CODE}")]) for key in ("network", "station")),
        (
            sent(stat(location=None)),
            [("stats[0].location", "not a code of up to 8 letters, digits, blanks, - or _")],
        ),
        (sent(stat(channel=None)), [("stats[0].channel", "not a code of up to 16 letters, digits, - or _")]),
        (sent(stat(network="NINECHARS")), [("stats[0].network", f"not {CODE}")]),
        (sent(stat(station="A" * 10_000)), [("stats[0].station", f"not {CODE}")]),
        (sent(stat(station="EIL\n")), [("stats[0].station", f"not {CODE}")]),
        (sent(stat(station="EI\x00L")), [("stats[0].station", f"not {CODE}")]),
        (sent(stat(network="G'E")), [("stats[0].network", f"not {CODE}")]),
        (sent(stat(network=["GE"])), [("stats[0].network", f"not {CODE}")]),
        (sent(stat(country=33)), [("stats[0].country", "not a text")]),
        (sent(stat(month="2020-09-02")), [("stats[0].month", "not the first day of a month, YYYY-MM-01")]),
        (sent(stat(month="2020-08-01")), [("stats[0].month", "2020-08 has no day in days_coverage")]),
        (sent(stat(month="2999-01-01")), [("stats[0].month", "2999-01 has no day in days_coverage")]),
        (sent(stat(month="September")), [("stats[0].month", "not the first day of a month, YYYY-MM-01")]),
        *(
            (sent(stat(**{key: value})), [(f"stats[0].{key}", COUNT)])
            for key in ("bytes", "nb_requests", "nb_successful_requests", "nb_unsuccessful_requests")
            for value in (-1, 2**53, 2**64, 1.5, "1", True)
        ),
        (sent(stat(clients="")), [("stats[0].clients", f"{SKETCH_ERROR} (not \\x and hexadecimal digits)")]),
        (sent(stat(clients="148b7f")), [("stats[0].clients", f"{SKETCH_ERROR} (not \\x and hexadecimal digits)")]),
        (
            sent(stat(clients="\\x14 8b7f")),
            [("stats[0].clients", f"{SKETCH_ERROR} (not \\x and hexadecimal digits)")],
        ),
        (sent(stat(clients="\\x118d7f")), [("stats[0].clients", f"{SKETCH_ERROR} (another header)")]),
        (sent(stat(clients="\\x128b7f00")), [("stats[0].clients", f"{SKETCH_ERROR} (explicit with 1 bytes)")]),
        (
            sent(stat(clients=hll.to_hex(FULL[:-1]))),
            [("stats[0].clients", f"{SKETCH_ERROR} (full with 1279 bytes)")],
        ),
        (sent(stat(clients=7)), [("stats[0].clients", "not \\x and the hexadecimal digits of a sketch")]),
        # all faults are reported together
        (
            sent(stat(bytes=-1), stat(), stat(network=3, clients="\\x"), aggregation_score="x"),
            [
                ("stats[0].bytes", COUNT),
                ("stats[2].network", f"not {CODE}"),
                ("stats[2].clients", f"{SKETCH_ERROR} (another header)"),
                ("aggregation_score", "not a number"),
            ],
        ),
        (
            sent(stat(network="F R", month="2020-08-01"), stat(clients="\\x")),
            [
                ("stats[0].network", "not a code of up to 8 letters, digits, - or _"),
                ("stats[0].month", "2020-08 has no day in days_coverage"),
                ("stats[1].clients", f"{SKETCH_ERROR} (another header)"),
            ],
        ),
    ],
    ids=lambda value: json.dumps(value)[:60] if isinstance(value, list | dict) else None,
)
def test_bad_fields_are_named(document: object, errors: list[tuple[str, str]]) -> None:
    with pytest.raises(InvalidPayload) as refusal:
        read(document)
    assert sorted(refusal.value.errors) == sorted(errors)


def test_list_of_bad_fields_has_an_end() -> None:
    with pytest.raises(InvalidPayload) as refusal:
        read(sent(*(stat(bytes=-1) for _ in range(1000))))
    assert len(refusal.value.errors) == 100
    with pytest.raises(InvalidPayload) as refusal:
        read(sent(*(stat(network="F R") for _ in range(1000))))
    assert len(refusal.value.errors) == 100


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"stats",
        b'{"stats": [',
        b"\xff\xfe",
        b'{"stats": [], "days_coverage": ["2020-09-18"], "version": "\xff"}',
        b"[" * 100_000,
        b'{"stats": ' + b"[" * 100_000,
        b'{"days_coverage": 7, "stats": [}',  # a bad field before the place where it stops being JSON
    ],
    ids=lambda body: repr(body[:30]),
)
def test_non_json_is_refused(body: bytes) -> None:
    with pytest.raises(NotJSON):
        decode(body, today=TODAY)


sketches = st.lists(st.integers(-(2**31), 2**31 - 1), max_size=200).map(lambda h: hll.to_hex(hll.encode(h)))
wide_sketches = st.integers(0, 1000).map(
    lambda seed: hll.to_hex(hll.encode(random.Random(seed).sample(range(2**31), 4 * seed)))
)
counts = st.integers(0, 2**53 - 1)
codes = st.from_regex(r"[0-9A-Za-z_-]{0,8}", fullmatch=True)
rows = st.builds(
    Row,
    month=st.sampled_from([datetime.date(2020, 9, 1), datetime.date(2020, 8, 1)]),
    network=codes,
    station=codes,
    location=st.from_regex(r"[0-9A-Za-z _-]{0,8}", fullmatch=True),
    channel=st.from_regex(r"[0-9A-Za-z_-]{0,16}", fullmatch=True),
    country=st.from_regex(r"([0-9A-Z]{2})?", fullmatch=True),
    bytes=counts,
    nb_requests=counts,
    nb_successful_requests=counts,
    nb_unsuccessful_requests=counts,
    clients=sketches | wide_sketches,
)
payloads = st.builds(
    Payload,
    generated_at=st.just("2020-09-18 06:30:00"),
    version=st.from_regex(r"[ -~]{0,64}", fullmatch=True),
    days_coverage=st.sets(st.dates(datetime.date(2020, 8, 1), datetime.date(2020, 9, 19))).map(
        lambda days: sorted(days | {datetime.date(2020, 8, 5), datetime.date(2020, 9, 5)})
    ),
    aggregation_score=st.integers(0, 10**6),
    stats=st.lists(rows, max_size=5, unique_by=lambda row: row.key).map(
        lambda r: sorted(r, key=lambda row: row.key)
    ),
    excluded=st.none() | st.builds(Exclusions, *[st.lists(st.text(max_size=1000), max_size=100)] * 2),
)


@settings(deadline=None)
@given(payloads)
def test_written_payload_is_read(made: Payload) -> None:
    read_again = decode(made.to_json(), today=TODAY)
    assert read_again == made
    assert read_again.hash() == made.hash()


@settings(deadline=None)
@given(st.lists(rows, min_size=1, max_size=4), st.randoms(use_true_random=False))
def test_merging_order_changes_nothing(parts: list[Row], order: Any) -> None:
    shuffled = [
        Row(*parts[0].key, p.bytes, p.nb_requests, p.nb_successful_requests, p.nb_unsuccessful_requests, p.clients)
        for p in parts
    ]
    merged = merge_rows(shuffled)
    order.shuffle(shuffled)
    assert merge_rows(shuffled) == merged
    assert merge_rows([merge_rows(shuffled[:2]), *shuffled[2:]]) == merged


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.just("\udcff") | sketches,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@settings(deadline=None)
@given(st.binary() | st.binary().map(lambda garbage: json.dumps(sent(stat())).encode() + garbage))
def test_garbage_is_refused(garbage: bytes) -> None:
    try:
        decode(garbage, today=TODAY)
    except (NotJSON, InvalidPayload):
        return
    assert not garbage.removeprefix(json.dumps(sent(stat())).encode()).strip()


@settings(deadline=None)
@given(
    st.dictionaries(st.sampled_from(sorted(sent(excluded=None))), anything),
    st.lists(st.dictionaries(st.sampled_from(sorted(stat())), anything) | anything, max_size=3),
)
def test_any_document_is_read_or_refused(envelope: dict[str, object], stats: list[Any]) -> None:
    changed = [stat(**one) if isinstance(one, dict) and one.keys() <= stat().keys() else one for one in stats]
    for document in (sent(stat(), *changed), sent(*changed, **envelope), envelope):
        try:
            made = read(document)
        except (NotJSON, InvalidPayload):
            continue
        assert made.hash()
