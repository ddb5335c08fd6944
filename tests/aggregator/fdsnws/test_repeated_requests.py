"""A request that is logged more than once in a run counts once, whatever the logs and processes."""

import bz2
import datetime
import gzip
import io
import itertools
import json
import random
from array import array
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from eida_statistics import compression, user_agents
from eida_statistics.errors import UnreadableLog
from eida_statistics.networks import NetworkRegistry
from eida_stats_aggregator.fdsnws import repeated_requests
from eida_stats_aggregator.fdsnws.filters import RequestFilter
from eida_stats_aggregator.fdsnws.repeated_requests import Choices, RecordKeys, Window
from eida_stats_aggregator.fdsnws.request_log import Request, is_request_log
from eida_stats_aggregator.fdsnws.tally import Tally
from eida_stats_aggregator.logs import sources, splits
from eida_stats_aggregator.parallel import processes
from support.aggregates import make_payload
from support.stubs import encode_log, line, run, trace

AT = datetime.datetime(2020, 11, 3, tzinfo=datetime.UTC)
FILTER = RequestFilter(user_agents.load_classes(), datetime.date(2020, 11, 3))


def request(number: int, **more: object) -> dict[str, object]:
    """Make a request with a time of its own."""
    return line(userID=number, created=f"2020-09-17T23:59:59.{number + 1:06d}Z", **more)


def read(files: Sequence[Path], jobs: int = 1, request_filter: RequestFilter = FILTER) -> Tally:
    logs = [sources.describe_log(file) for file in files]
    return processes.read(logs, request_filter, list, jobs=jobs, progress=lambda _bytes, _lines: None)


def encode_payload(tally: Tally) -> bytes:
    return make_payload(tally.aggregation, AT).to_json()


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "a.log"


# Which records are of one request


@pytest.mark.parametrize(
    ("first", "second", "requests"),
    [
        ({}, {}, 1),
        ({}, {"userID": 2}, 2),
        ({}, {"created": "2020-09-18T00:00:00.100001Z"}, 2),
        ({}, {"finished": "2020-09-18T00:00:01Z"}, 1),
        ({"created": "2020-09-18T00:00:00.000001Z"}, {"created": "2020-09-18T00:00:00.000001Z", "bytes": 1}, 1),
        # without a fraction of a second, all of the line must be the same
        ({"created": "2020-09-18T00:00:00Z"}, {"created": "2020-09-18T00:00:00Z"}, 1),
        ({"created": "2020-09-18T00:00:00Z"}, {"created": "2020-09-18T00:00:00Z", "bytes": 1}, 2),
        ({"created": "2020-09-18T00:00:00.000Z"}, {"created": "2020-09-18T00:00:00.000Z", "bytes": 1}, 2),
        ({"created": None}, {"created": None, "bytes": 1}, 2),
        ({"created": "sometime.5"}, {"created": "sometime.5", "bytes": 1}, 2),
    ],
)
def test_user_and_time_make_a_request(
    first: dict[str, object], second: dict[str, object], requests: int, log: Path
) -> None:
    both = [line(**{"created": "2020-09-18T00:00:00.1Z"} | changes) for changes in (first, second)]
    log.write_bytes(encode_log(*both))
    tally = read([log])
    assert (tally.counted, tally.repeated) == (requests, 2 - requests)


def test_padding_does_not_change_a_line(log: Path) -> None:
    text = encode_log(line()).rstrip()
    log.write_bytes(
        b"\n".join([text, text + b"\r", b"\xef\xbb\xbf" + text, b"\x1e" + text + text, text[:90] + text])
    )
    tally = read([log])
    assert (tally.counted, tally.repeated, tally.rejected) == (1, 5, 1)


@pytest.mark.parametrize("pipe", [False, True])
def test_ok_and_error_are_one_failed_request(pipe: bool, log: Path) -> None:
    pair = [request(1), request(1, status="ERROR", finished="2020-09-19T00:00:00Z")]
    for entries in (pair, pair[::-1], [*pair, *pair]):
        log.write_bytes(encode_log(*entries, request(2)))
        tally = piped(log) if pipe else read([log])
        rows = make_payload(tally.aggregation, AT).stats
        assert [(row.nb_successful_requests, row.nb_unsuccessful_requests) for row in rows] == [(0, 1), (1, 0)]
        assert tally.requests_by_day == {datetime.date(2020, 9, 18): 1, datetime.date(2020, 9, 19): 1}
        assert tally.repeated == len(entries) - 1


def piped(log: Path, request_filter: RequestFilter = FILTER) -> Tally:
    logs = sources.find_logs([], io.BytesIO(log.read_bytes()), is_request_log)
    return processes.read(logs, request_filter, list, jobs=2, progress=lambda _bytes, _lines: None)


def test_records_of_other_kinds_are_counted_each(log: Path) -> None:
    other, bad = request(1, service="fdsnws-station"), request(2, finished="x")
    excluded, late = request(3, clientID="curl/7"), request(4, finished="2020-09-20T00:00:00Z")
    log.write_bytes(encode_log(*[other, bad, excluded, late, request(5)] * 3))
    request_filter = RequestFilter(
        FILTER.classes, FILTER.latest, until=datetime.date(2020, 9, 19), excluded_classes=["library"]
    )
    tally = read([log], request_filter=request_filter)
    outcomes = (tally.counted, tally.ignored, tally.rejected, tally.excluded, tally.on_other_days, tally.repeated)
    assert outcomes == (1, 3, 3, 1, 1, 6)
    assert tally.lines == 15
    assert tally.other_days == {datetime.date(2020, 9, 20): 1}
    assert tally.requests_by_day == {datetime.date(2020, 9, 18): 1}


# Order, processes and compression

VARIANTS = [
    {},
    {},
    {"status": "ERROR"},
    {"trace": [trace(size=1)]},
    {"trace": [trace(sta="B"), trace(sta="C")]},
    {"status": "ERROR", "finished": "2020-09-19T00:00:00Z"},
]


@pytest.mark.parametrize("seed", range(8))
def test_choice_ignores_order(seed: int, tmp_path: Path) -> None:
    folder, rng = tmp_path, random.Random(seed)
    entries = [request(number, **rng.choice(VARIANTS)) for number in range(12) for _ in range(rng.randrange(1, 4))]
    seen = set()
    for jobs, part in itertools.product((1, 3), (200, 1 << 22)):
        rng.shuffle(entries)
        cut = rng.randrange(len(entries))
        (folder / "a.log").write_bytes(encode_log(*entries[:cut]))
        (folder / "b.log").write_bytes(bz2.compress(encode_log(*entries[cut:])))
        files = [folder / "a.log", folder / "b.log"]
        rng.shuffle(files)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(splits, "_PLAIN_BYTES", part)
            tally = read(files, jobs)
        (folder / "c.log").write_bytes(encode_log(*entries))
        for one in (tally, piped(folder / "c.log")):
            assert (one.counted, one.repeated, one.lines) == (12, len(entries) - 12, len(entries))
            seen.add((encode_payload(one), tuple(sorted(one.requests_by_day.items()))))
    assert len(seen) == 1


def test_overlapping_logs_are_as_one(log: Path, tmp_path: Path) -> None:
    entries = [request(number) for number in range(300)]
    log.write_bytes(encode_log(*entries))
    expected = encode_payload(read([log]))
    for name, start, end in (("b.log", 0, 200), ("c.log", 100, 300)):
        (tmp_path / name).write_bytes(gzip.compress(encode_log(*entries[start:end])))
    for jobs in (1, 2):
        tally = read([tmp_path / "c.log", tmp_path / "b.log"], jobs)
        assert (encode_payload(tally), tally.counted, tally.repeated) == (expected, 300, 100)


@pytest.fixture
def readings(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return a list that receives the number of lines of each reading."""
    made: list[int] = []
    read_all = processes._Run.read_all

    def note(*args: Any) -> Tally:
        tally = read_all(*args)
        made.append(tally.lines)
        return tally

    monkeypatch.setattr(processes._Run, "read_all", note)
    return made


@pytest.mark.parametrize(
    ("repeated", "number"),
    [([], 1), ([request(1)], 2), ([request(1, status="ERROR")], 2), ([request(1, trace=[trace(sta="B")])], 3)],
)
def test_distant_records_need_more_readings(
    repeated: list[dict[str, object]], number: int, log: Path, readings: list[int]
) -> None:
    others = [request(number) for number in range(2, 40)]
    log.write_bytes(encode_log(request(1), *others, *repeated))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(splits, "_PLAIN_BYTES", 4000)
        tally = read([log])
    assert (tally.counted, tally.repeated) == (39, len(repeated))
    assert len(readings) == number


@pytest.mark.parametrize("jobs", [1, 3])
@pytest.mark.parametrize(("part", "chunk"), [(1 << 22, 1 << 20), (1 << 22, 9000), (20_000, 1 << 20), (5000, 2000)])
def test_lines_that_are_written_twice_need_one_reading(
    part: int, chunk: int, jobs: int, log: Path, readings: list[int]
) -> None:
    """As SeisComP wrote them after it had reloaded its configuration."""
    other, bad = request(0, service="fdsnws-station"), request(0, finished="x")
    once = [request(number, status=["OK", "ERROR"][number % 2]) for number in range(1, 200)]
    log.write_bytes(encode_log(*once))
    expected = encode_payload(read([log]))
    readings.clear()
    log.write_bytes(b"".join(encode_log(one) * (2 + number % 2) for number, one in enumerate([*once, other, bad])))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(splits, "_PLAIN_BYTES", part)
        patch.setattr(compression, "CHUNK_BYTES", chunk)
        tally = read([log], jobs)
    assert (tally.counted, tally.repeated, tally.ignored, tally.rejected) == (199, 298, 3, 2)
    assert encode_payload(tally) == expected
    assert readings == [tally.lines]


@pytest.mark.parametrize("jobs", [1, 3])
@pytest.mark.parametrize(("part", "chunk"), [(1 << 22, 1 << 20), (1 << 22, 9000), (20_000, 1 << 20), (5000, 2000)])
def test_two_records_of_each_request_need_one_reading(
    part: int, chunk: int, jobs: int, log: Path, readings: list[int]
) -> None:
    """As SeisComP wrote them for a request that was cut off."""
    pairs = [[request(number), request(number, status="ERROR")] for number in range(200)]
    log.write_bytes(encode_log(*itertools.chain(*pairs)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(splits, "_PLAIN_BYTES", part)
        patch.setattr(compression, "CHUNK_BYTES", chunk)
        tally = read([log], jobs)
    assert (tally.counted, tally.repeated, tally.aggregation.totals.unsuccessful) == (200, 200, 200)
    assert readings == [400]


@pytest.mark.parametrize(
    "repeated",
    [
        [request(1), request(1, status="ERROR")],
        [request(1, status="ERROR"), request(1)],
        [request(1), request(1, trace=[trace(sta="B")])],
        [request(1), request(2), request(1, trace=[trace(sta="B")]), request(1)],
        # One is of an excluded client.
        [request(1, clientID="curl/7"), request(1)],
    ],
)
def test_records_near_each_other_need_one_reading(
    repeated: list[dict[str, object]], log: Path, readings: list[int]
) -> None:
    request_filter = RequestFilter(FILTER.classes, FILTER.latest, excluded_classes=["library"])
    seen = set()
    for order in itertools.permutations(repeated):
        log.write_bytes(encode_log(*map(request, range(3, 9)), *order, *map(request, range(9, 500))))
        readings.clear()
        tally = read([log], request_filter=request_filter)
        assert len(readings) == 1
        assert tally.lines == tally.counted + tally.excluded + tally.repeated == 497 + len(repeated)
        for one in (tally, piped(log, request_filter)):
            seen.add((encode_payload(one), one.counted, one.excluded, one.repeated))
    assert len(seen) == 1


def test_log_changed_between_readings_is_named(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log.write_bytes(encode_log(request(1), request(2), request(1)))
    find = repeated_requests.find_repeated

    def change(*noted: object) -> object:
        log.write_bytes(encode_log(request(3), request(4), request(5)))
        return find(*noted)  # type: ignore[arg-type]

    monkeypatch.setattr(repeated_requests, "find_repeated", change)
    with pytest.raises(UnreadableLog, match="a log was changed while it was read"):
        read([log])


def test_other_number_of_near_records_shows_a_change() -> None:
    choices = Choices(frozenset([2]), {0: {2: None}}, near=3)
    noted = {0: RecordKeys(array("q", [3, 3]), array("q", [7, 7]))}
    assert repeated_requests.choose_next(noted, 3, 1, choices) is None
    for near, chosen in ((2, 1), (3, 0)):
        with pytest.raises(UnreadableLog, match="a log was changed"):
            repeated_requests.choose_next(noted, near, chosen, choices)


def test_window_holds_back_so_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(repeated_requests, "_HELD_REQUESTS", 10)
    day = datetime.date(2020, 9, 18)
    window = Window()
    passed = [one for key in range(100) for one in window.pass_on([Request(day, "", 1, [], None, 2 * key + 1)])]
    assert 80 <= len(passed) < 100
    # a failed record of a request that was passed on does not count, one of a request that is held back does
    assert list(window.pass_on([Request(day, "", 1, None, None, 0), Request(day, "", 1, None, None, 198)])) == []
    passed += window.release()
    assert [one.key for one in passed] == [2 * key + 1 for key in range(99)] + [198]
    assert window.repeated == 2


@pytest.mark.parametrize("place", range(4))
def test_first_record_counts_beyond_the_window(place: int, log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(repeated_requests, "_HELD_REQUESTS", 10)
    monkeypatch.setattr(compression, "CHUNK_BYTES", 3000)
    entries = [request(number) for number in range(100)]
    log.write_bytes(encode_log(*entries, entries[place] | {"status": "ERROR"}))
    tally = piped(log)
    assert (tally.counted, tally.repeated, tally.aggregation.totals.unsuccessful) == (100, 1, 0)


# Fingerprints


def test_fingerprint_depends_on_lines_only(log: Path, tmp_path: Path) -> None:
    request_filter = RequestFilter(FILTER.classes, FILTER.latest, fingerprinted=True)
    rng = random.Random(2)
    texts = [encode_log(request(number)).rstrip() for number in range(60)] + [
        b"x",
        b"\0" * 9 + b"y" + b"\0",
        b"\xff",
    ]
    seen = set()
    for jobs, part in itertools.product((1, 2), (70, 1000)):
        rng.shuffle(texts)
        log.write_bytes(b"\n\n".join(texts[:30]) + b"\n")
        (tmp_path / "b.log").write_bytes(gzip.compress(b"\0\n" + b"\n".join(texts[30:])))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(splits, "_PLAIN_BYTES", part)
            patch.setattr(compression, "CHUNK_BYTES", part)
            seen.add(read([tmp_path / "b.log", log], jobs, request_filter).fingerprint)
    log.write_bytes(b"\n".join(texts))
    seen.add(read([log], 1, request_filter).fingerprint)
    assert len(seen) == 1
    assert 0 < seen.pop() < 1 << 128
    assert read([log]).fingerprint == 0
    # a line more is another log, also if it is repeated
    log.write_bytes(b"\n".join([*texts, texts[0]]))
    assert read([log], 1, request_filter).fingerprint not in seen


def test_tallies_keep_days_when_they_are_merged() -> None:
    both = [Tally(FILTER, NetworkRegistry(list)) for _ in range(2)]
    for tally in both:
        tally.add(encode_log(request(1), request(2, finished="2020-09-19T00:00:00Z")).splitlines())
    both[0].merge(both[1])
    assert both[0].requests_by_day == {datetime.date(2020, 9, 18): 2, datetime.date(2020, 9, 19): 2}


# The command


def test_summary_counts_repeats(tmp_path: Path) -> None:
    (tmp_path / "a.log").write_bytes(encode_log(request(1), request(2)) + encode_log(request(1)) * 3)
    done = run("-o", "out", "a.log", cwd=tmp_path)
    assert "3  repeated, not counted again" in done.stdout
    report = json.loads(run("--dry-run", "--json", "a.log", cwd=tmp_path).stdout)
    assert (report["counted"], report["repeated"], report["requests"]) == (2, 3, 2)


@pytest.mark.parametrize("stdin", [False, True])
@pytest.mark.parametrize("size", [10, (1 << 26) + 1000])
def test_records_behind_nul_bytes_count(size: int, stdin: bool, tmp_path: Path) -> None:
    content = (
        bytes(size)
        + encode_log(request(1))
        + encode_log(request(2))[:80]
        + bytes(9)
        + encode_log(request(3))
        + bytes(5)
    )
    options = ("--json", "--dry-run", "--jobs", "2")
    if stdin:
        done = run(*options, cwd=tmp_path, stdin=content)
    else:
        (tmp_path / "logs").mkdir()
        (tmp_path / "logs/a.log").write_bytes(content)
        done = run(*options, "logs", cwd=tmp_path)
    report = json.loads(done.stdout)
    assert (report["counted"], report["rejected"]) == (2, 3)
    assert [(one["line"], one["reason"]) for one in report["first_rejects"]] == [
        (1, "NUL bytes (from byte 1 of the line)"),
        (2, "not JSON (from byte 1 of the line)"),
        (3, "NUL bytes"),
    ]
