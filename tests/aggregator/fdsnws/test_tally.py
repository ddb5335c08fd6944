"""Sums over the lines of logs, and the counts of lines that are left out."""

import copy
import dataclasses
import datetime
import itertools
import pickle
from collections.abc import Iterable, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eida_statistics import user_agents
from eida_statistics.errors import RegistryUnavailable
from eida_statistics.networks import Epoch, NetworkRegistry
from eida_statistics.payload import Exclusions, Payload
from eida_statistics.user_agents import ClientClasses
from eida_stats_aggregator.fdsnws import repeated_requests, request_log, sums, tally
from eida_stats_aggregator.fdsnws.filters import RequestFilter
from eida_stats_aggregator.fdsnws.log_lines import Reject
from eida_stats_aggregator.fdsnws.plain_lines import PlainLines
from eida_stats_aggregator.fdsnws.repeated_requests import RecordKeys, Window
from eida_stats_aggregator.fdsnws.request_log import Request
from eida_stats_aggregator.fdsnws.tally import SHOWN_REJECTS, Tally
from support.aggregates import make_payload
from support.stubs import encode_log, line, trace

NOW = datetime.datetime(2020, 9, 30, tzinfo=datetime.UTC)
LATEST = datetime.date(2020, 9, 20)
EPOCHS = [Epoch("Z3", datetime.date(1990, 1, 1), None)]
CLASSES = ClientClasses([("robot", ["bot"]), ("library", ["^curl/"])])


def september(day: int) -> datetime.date:
    return datetime.date(2020, 9, day)


def selecting(
    *,
    since: datetime.date = datetime.date.min,
    until: datetime.date = datetime.date.max,
    classes: Sequence[str] = (),
    patterns: Sequence[str] = (),
) -> RequestFilter:
    return RequestFilter(
        CLASSES, LATEST, since, until, classes, [user_agents.compile_pattern(text) for text in patterns]
    )


def tallied(lines: Iterable[bytes], request_filter: RequestFilter | None = None) -> Tally:
    made = Tally(request_filter or selecting(), NetworkRegistry(lambda: EPOCHS))
    made.reject("a.log", made.add_text(b"".join(one + b"\n" for one in lines))[1])
    return made


def log(*entries: dict[str, Any]) -> list[bytes]:
    return encode_log(*entries).splitlines()


def payload(made: Tally) -> Payload:
    return make_payload(made.aggregation, NOW, made.request_filter.exclusions)


def counts(made: Tally) -> tuple[int, ...]:
    """Lines counted, ignored, rejected, on other days, excluded; and all of them."""
    return made.counted, made.ignored, made.rejected, made.on_other_days, made.excluded, made.lines


def test_each_line_has_one_outcome() -> None:
    lines = [*log(line(), line(status="ERROR"), line(service="fdsnws-station"), line(userID=None)), b"no JSON", b""]
    assert counts(tallied(lines)) == (2, 1, 3, 0, 0, 6)
    assert counts(tallied([])) == (0, 0, 0, 0, 0, 0)


def test_lines_can_be_added_in_several_goes() -> None:
    lines = [*log(line(), line(userID=2)), b"no JSON", *log(line(clientID="curl/7"))]
    made = Tally(selecting(), NetworkRegistry(lambda: EPOCHS))
    for number, one in enumerate(lines, 1):
        made.reject("a.log", made.add([one], number))
    assert list_results(made) == list_results(tallied(lines))


def test_temporary_network_needs_a_registry() -> None:
    def missing() -> list[Epoch]:
        raise RegistryUnavailable

    made = Tally(selecting(), NetworkRegistry(missing))
    assert made.add(log(line())) == []
    with pytest.raises(RegistryUnavailable):
        made.add(log(line(trace=[trace(net="Z3")])))


# Days


@pytest.mark.parametrize(
    ("since", "until", "taken"),
    [
        (None, None, [16, 17, 18, 19]),
        (17, None, [17, 18, 19]),
        (None, 18, [16, 17, 18]),
        (17, 18, [17, 18]),
        (18, 18, [18]),
        (20, None, []),
        (None, 15, []),
    ],
)
def test_first_and_last_day_are_included(since: int | None, until: int | None, taken: list[int]) -> None:
    ends = [(16, "23:59:59.999999"), (17, "00:00:00"), (17, "23:59:59.999999"), (18, "00:00:00"), (19, "00:00:00")]
    lines = log(*(line(finished=f"2020-09-{day}T{time}Z") for day, time in ends))
    days = {"since": september(since)} if since else {}
    days |= {"until": september(until)} if until else {}
    made = tallied(lines, selecting(**days))
    assert payload(made).days_coverage == [september(day) for day in taken]
    number = sum(day in taken for day, _ in ends)
    assert counts(made) == (number, 0, 0, len(ends) - number, 0, len(ends))
    # Clients of other days are in no class either.
    assert made.classes == ({"other": [number, 512 * number]} if number else {})


def test_request_counts_on_its_last_day() -> None:
    over_midnight = line(created="2020-09-17T23:59:59Z", finished="2020-09-18T00:00:01Z")
    elsewhere = line(finished="2020-09-18T01:00:00+02:00")
    made = tallied(log(over_midnight, elsewhere), selecting(since=september(18)))
    assert (made.counted, made.on_other_days) == (1, 1)


def test_rejects_are_listed_for_any_days() -> None:
    other_day = line(finished="2020-09-16T12:00:00Z")
    lines = log(other_day, other_day | {"userID": "x"}, other_day | {"service": "x"}, line(finished="1980-01-01T"))
    assert counts(tallied(lines, selecting(since=september(18)))) == (0, 1, 2, 1, 0, 4)


def test_future_day_is_rejected() -> None:
    lines = log(line(finished="2020-09-20T23:59:59Z"), line(finished="2020-09-21T00:00:00Z"))
    for request_filter in (selecting(), selecting(until=september(20)), selecting(until=september(25))):
        made = tallied(lines, request_filter)
        assert counts(made) == (1, 0, 1, 0, 0, 2)
        assert made.rejects == [Reject("a.log", 2, "finished: not a day that a log can have")]


# Clients

MIXED = [
    line(clientID="curl/7.68.0", trace=[trace(size=1)]),
    line(clientID="Googlebot/2.1", trace=[trace(size=20), trace(net="Z3", size=300)]),
    line(clientID="curl/7.68.0 (a robot)", trace=[trace(size=4000)], finished="2020-09-17T12:00:00Z"),
    line(clientID="ObsPy/1.2.2", trace=[trace(size=50_000), trace(status="NODATA")]),
    line(clientID=None, status="ERROR"),
    line(clientID="Bingbot", trace=[]),
    line(service="fdsnws-station", clientID="Googlebot/2.1"),
]
FIGURES = {"library": [1, 1], "robot": [3, 4320], "other": [2, 50_000]}


def test_summary_has_figures_by_class() -> None:
    made = tallied(log(*MIXED))
    assert made.classes == FIGURES
    assert counts(made) == (6, 1, 0, 0, 0, 7)


@pytest.mark.parametrize(
    ("left_out", "excluded", "requests", "size", "days"),
    [
        ({"classes": ["robot"]}, 3, 3, 50_001, [18]),
        ({"classes": ["library"]}, 1, 5, 54_320, [17, 18]),
        ({"classes": ["robot", "library"]}, 4, 2, 50_000, [18]),
        # a client without a name is in the class `other`
        ({"classes": ["other"]}, 2, 4, 4321, [17, 18]),
        ({"classes": ["robot", "library", "other"]}, 6, 0, 0, []),
        ({"classes": ["nobody"]}, 0, 6, 54_321, [17, 18]),
        # of whatever class, wherever it is found, capitals or not
        ({"patterns": ["^curl"]}, 2, 4, 50_320, [18]),
        ({"patterns": ["OBSPY", "^google"]}, 2, 3, 4001, [17, 18]),
        ({"patterns": [r"\bbot\b"]}, 0, 6, 54_321, [17, 18]),
        # a pattern may mean those without a name
        ({"patterns": ["^$"]}, 1, 5, 54_321, [17, 18]),
        ({"classes": ["robot"], "patterns": ["bot", "ObsPy"]}, 4, 2, 1, [18]),
    ],
    ids=str,
)
def test_excluded_clients_are_in_no_aggregate(
    left_out: dict[str, list[str]], excluded: int, requests: int, size: int, days: list[int]
) -> None:
    made = tallied(log(*MIXED), selecting(**left_out))
    assert counts(made) == (6 - excluded, 1, 0, 0, excluded, 7)
    rows = payload(made).stats
    assert (sum(row.nb_requests for row in rows), sum(row.bytes for row in rows)) == (requests, size)
    assert payload(made).days_coverage == [september(day) for day in days]
    # The figures include excluded clients.
    assert made.classes == FIGURES


def test_payload_lists_exclusions_sorted() -> None:
    assert payload(tallied(log(line()))).excluded is None
    assert selecting(since=september(17)).exclusions is None
    request_filter = selecting(classes=["robot", "library", "robot"], patterns=["^curl", "Bot", "^curl"])
    expected = Exclusions(client_classes=["library", "robot"], client_patterns=["Bot", "^curl"])
    assert payload(tallied(log(line()), request_filter)).excluded == expected
    # also if there was nothing that it would have left out
    assert tallied([], request_filter).request_filter.exclusions == expected


def test_excluded_client_may_be_on_other_day() -> None:
    made = tallied(log(*MIXED), selecting(since=september(18), classes=["robot"]))
    assert counts(made) == (3, 1, 0, 1, 2, 7)
    assert made.classes == FIGURES | {"robot": [2, 320]}


@pytest.mark.parametrize("known", [1, 2, 5])
def test_client_cache_does_not_show(known: int, monkeypatch: pytest.MonkeyPatch) -> None:
    request_filter = selecting(classes=["library"], patterns=["^Java/1", "x$"])
    names = ["curl/7", "Java/17", "Java/8", None, "", "bot", "b" * 2000 + "x", "b" * 2000 + "y"]
    lines = log(*(line(clientID=name, userID=number) for number, name in enumerate(names * 3)))
    expected = list_results(tallied(lines, request_filter))
    monkeypatch.setattr(tally, "_KNOWN_AGENTS", known)
    monkeypatch.setattr(tally, "_KNOWN_CHARACTERS", 3)
    assert list_results(tallied(lines, request_filter)) == expected
    assert expected[1]["other"][0] == 18


def test_random_names_fill_no_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tally, "_KNOWN_AGENTS", 100)
    made = Tally(selecting(), NetworkRegistry(lambda: EPOCHS))
    for number in range(1000):
        made.add(log(line(clientID=f"curl/{number}"), line(clientID="x" * 10_000 + str(number))))
        assert 0 < len(made._known) <= 100
    assert all(agent is None or len(agent) <= 1024 for agent in made._known)
    assert "_known" not in made.__getstate__()


def test_name_is_looked_for_once() -> None:
    looked = []

    class Counting(RequestFilter):
        def classify(self, agent: str | None) -> tuple[str, bool]:
            looked.append(agent)
            return super().classify(agent)

    lines = log(*(line(clientID=name) for name in ("ObsPy", "curl", "ObsPy", "curl")))
    tallied(lines, Counting(selecting().classes, selecting().latest))
    assert looked == ["ObsPy", "curl"]


def test_odd_pieces_are_rarely_tried_as_plain_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise a log with an odd line in each piece would be parsed twice."""
    tried = []
    parse = PlainLines.parse

    def note(lines: PlainLines, text: bytes, latest: datetime.date) -> object:
        tried.append(text)
        return parse(lines, text, latest)

    monkeypatch.setattr(PlainLines, "parse", note)
    made = Tally(selecting(), NetworkRegistry(lambda: EPOCHS))
    for _ in range(500):
        made.add_text(b"no JSON\n")
    assert len(tried) < 16
    for _ in range(500):
        made.add_text(encode_log(line()))
    assert len(tried) > 400
    assert counts(made) == (500, 0, 500, 0, 0, 1000)
    # After each success, a failure costs one piece again.
    tried.clear()
    for _ in range(100):
        for text in (b"no JSON\n", encode_log(line()), encode_log(line())):
            made.add_text(text)
    assert len(tried) == 200


def test_known_streams_are_numbered_again_when_they_are_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(request_log, "KNOWN_STREAMS", 2)
    lines = log(
        *(line(userID=number, trace=[trace(sta=f"S{number % 7}"), trace(net="Z3")]) for number in range(20))
    )
    by_line, by_text, by_texts = (Tally(selecting(), NetworkRegistry(lambda: EPOCHS)) for _ in range(3))
    by_line.add(lines)
    for one in lines:
        by_texts.add_text(one + b"\n")
    monkeypatch.setattr(tally, "_PIECE_BYTES", 1)
    by_text.add_text(b"".join(one + b"\n" for one in lines))
    assert list_results(by_text) == list_results(by_texts) == list_results(by_line)


def test_repeated_requests_in_texts_count_once() -> None:
    twice = encode_log(line(created="2020-09-18T00:00:00.5Z"))
    texts = [encode_log(line(userID=1)), twice, encode_log(line(userID=2)), twice]
    first = Tally(selecting(), NetworkRegistry(lambda: EPOCHS))
    for text in texts:
        first.add_text(text)
    assert (first.counted, first.repeated) == (4, 0)
    choices = repeated_requests.find_repeated(first.noted, first.near)
    assert choices is not None
    second = Tally(selecting(), NetworkRegistry(lambda: EPOCHS), choices)
    for text in texts:
        second.add_text(text)
    assert (second.counted, second.repeated, second.chosen) == (3, 1, 1)
    assert len(second.noted[0].keys) == 2
    of_a_pipe = Tally(selecting(), NetworkRegistry(lambda: EPOCHS))
    of_a_pipe.window = Window()
    for text in texts:
        of_a_pipe.add_text(text)
    of_a_pipe.finish()
    assert (of_a_pipe.counted, of_a_pipe.repeated) == (3, 1)


@pytest.mark.parametrize("odd", [{}, {"status": "ERROR"}, {"trace": [trace(sta="B")]}, {"clientID": "Googlebot"}])
def test_records_in_one_text_are_chosen_at_once(odd: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether they are parsed with others or by themselves."""
    monkeypatch.setattr(tally, "_PIECE_BYTES", 1)
    repeated = [line(created="2020-09-18T00:00:00.5Z", **more) for more in ({}, odd, {})]
    other_service = line(service="fdsnws-station")
    # No piece with a bad line is parsed at once, and the next one is not tried.
    for order in itertools.permutations([*log(*repeated, other_service), b"no JSON"]):
        by_text, by_line = (Tally(selecting(), NetworkRegistry(lambda: EPOCHS)) for _ in range(2))
        by_text.add_text(b"".join(one + b"\n" for one in order))
        by_line.add(order)
        assert (by_text.counted, by_text.ignored, by_text.rejected, by_text.repeated) == (1, 1, 1, 2)
        assert list_results(by_text) == list_results(by_line)


@pytest.mark.parametrize("status", ["OK", "ERROR"])
def test_records_far_from_repeated_ones_are_found(status: str) -> None:
    for number in range(16):
        record = encode_log(line(created=f"2020-09-18T00:00:00.{number:02}1Z", status=status))
        texts = [encode_log(line(service="fdsnws-station")) + record * 2, record * 3]
        first = Tally(selecting(), NetworkRegistry(lambda: EPOCHS))
        for text in texts:
            first.add_text(text)
        assert (first.counted, first.repeated, first.lines) == (2, 3, 6)
        choices = repeated_requests.find_repeated(first.noted, first.near)
        assert choices is not None
        second = Tally(selecting(), NetworkRegistry(lambda: EPOCHS), choices)
        for text in texts:
            second.add_text(text)
        assert (second.counted, second.repeated, second.near, second.chosen) == (1, 4, 3, 1)


def test_large_sums_are_made_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise a log of years would keep every request."""
    lines = log(*(line(userID=user, status=["OK", "ERROR"][user % 2]) for user in range(300)))
    expected = list_results(tallied(lines))
    monkeypatch.setattr(sums, "_AT_ONCE", 7)
    made = Tally(selecting(), NetworkRegistry(lambda: EPOCHS))
    for start in range(0, len(lines), 10):
        made.add(lines[start : start + 10])
        assert len(made.aggregation._sums.aggregates) < 7
    assert list_results(made) == expected
    at_once = Tally(selecting(), NetworkRegistry(lambda: EPOCHS))
    for start in range(0, len(lines), 5):
        at_once.add_text(b"".join(one + b"\n" for one in lines[start : start + 5]))
        assert sum(len(columns[0]) for columns in at_once.aggregation._sums._delivered) < 7
        assert sum(len(columns[0]) for columns in at_once.aggregation._sums._failures) < 7
    assert list_results(at_once) == expected


def test_lines_that_add_nothing_do_not_fill_the_memory() -> None:
    made = Tally(selecting(), NetworkRegistry(lambda: EPOCHS))
    for entry in (line(service="fdsnws-station"), line(trace=[]), line(trace=[trace(status="NODATA")])):
        for _ in range(100):
            made.add_text(encode_log(entry))
    assert not made.aggregation._sums._delivered
    assert not made.aggregation._sums._failures
    assert counts(made) == (200, 100, 0, 0, 0, 300)


def test_network_of_excluded_requests_is_not_unregistered() -> None:
    made = tallied(log(line(clientID="Googlebot", trace=[trace(net="X7")])), selecting(classes=["robot"]))
    assert made.aggregation.unregistered == {}


# Rejects


def test_first_rejects_are_listed_in_order() -> None:
    good = log(line())[0]
    bad = [b"no JSON", b"", b"[]", *log(line(userID="x")), b"\xff", b"{}", b"7"]
    lines = [good, bad[0], good, *bad[1:4], good, *bad[4:]]
    made = Tally(selecting(), NetworkRegistry(lambda: EPOCHS))
    rejections = made.add(lines, first=101)
    expected = [
        (102, "not JSON"),
        (104, "empty"),
        (105, "not an object"),
        (106, "userID: not an integer"),
        (108, "not UTF-8"),
    ]
    assert rejections == expected
    assert len(expected) == SHOWN_REJECTS
    assert made.rejected == len(bad)
    made.reject("a.log", rejections[:2])
    made.reject("b.log", [])
    made.reject("c.log", rejections)
    files = ["a.log", "a.log", "c.log", "c.log", "c.log"]
    assert made.rejects == [
        Reject(file, *told) for file, told in zip(files, [*expected[:2], *expected[:3]], strict=True)
    ]


# Merging


def list_results(made: Tally) -> tuple[Any, ...]:
    """Return all results of a tally."""
    aggregation = made.aggregation
    aggregated = make_payload(aggregation, NOW), aggregation.requests, aggregation.clients, aggregation.unregistered
    return counts(made), made.classes, made.rejects, aggregated


entries = st.builds(
    line,
    clientID=st.sampled_from([None, "", "curl/7", "Googlebot", "ObsPy", 7]),
    finished=st.sampled_from(
        ["2020-09-16T00:00:00Z", "2020-09-17T23:59:59Z", "2020-09-18T00:00:00Z", "2999", None]
    ),
    created=st.sampled_from(["2020-09-16T23:59:59Z", "2020-09-16T23:59:59.5Z", None]),
    status=st.sampled_from(["OK", "OK", "ERROR", "NODATA"]),
    service=st.sampled_from(["fdsnws-dataselect"] * 4 + ["fdsnws-station"]),
    userID=st.integers(0, 3) | st.integers(0, 50) | st.just("x"),
    trace=st.lists(
        st.builds(
            trace,
            net=st.sampled_from(["GE", "Z3", "X7"]),
            sta=st.sampled_from(["A", "B", "C"]),
            size=st.integers(0, 2**40),
            status=st.sampled_from(["OK", "OK", "NODATA"]),
        ),
        max_size=3,
    ),
)
lines_of_logs = st.lists(
    entries.map(lambda entry: encode_log(entry).rstrip()) | st.sampled_from([b"", b"no JSON"]), max_size=25
)
selections = st.builds(
    selecting,
    since=st.sampled_from([datetime.date.min, september(17)]),
    until=st.sampled_from([datetime.date.max, september(17)]),
    classes=st.lists(st.sampled_from(["robot", "library", "other"]), max_size=2),
    patterns=st.lists(st.sampled_from(["^curl", "py$", "^$"]), max_size=2),
)


@settings(deadline=None)
@given(lines_of_logs, selections)
def test_classes_sum_up_to_the_payload(lines: list[bytes], request_filter: RequestFilter) -> None:
    made = tallied(lines, request_filter)
    assert made.lines == len(lines)
    assert made.aggregation.requests == made.counted
    assert len(made.rejects) == min(made.rejected, SHOWN_REJECTS)
    # Without exclusions, on the same days, the classes together equal the payload.
    everyone = tallied(lines, selecting(since=request_filter.since, until=request_filter.until))
    assert made.classes == everyone.classes
    rows = payload(everyone).stats
    assert sum(requests for requests, _ in made.classes.values()) == sum(row.nb_requests for row in rows)
    assert sum(size for _, size in made.classes.values()) == sum(row.bytes for row in rows)
    assert (everyone.counted, everyone.excluded) == (made.counted + made.excluded, 0)


@settings(deadline=None)
@given(
    st.lists(lines_of_logs, max_size=4),
    selections,
    st.booleans(),
    st.sampled_from([1, 900, 1 << 17]),
    st.booleans(),
)
def test_text_is_tallied_as_its_lines(
    pieces: list[list[bytes]], request_filter: RequestFilter, fingerprinted: bool, size: int, second: bool
) -> None:
    request_filter = dataclasses.replace(request_filter, fingerprinted=fingerprinted)
    choices = repeated_requests.find_repeated(note_keys(pieces), 0) if second else None
    by_line, by_text = (
        Tally(request_filter, NetworkRegistry(lambda: EPOCHS), copy.deepcopy(choices)) for _ in range(2)
    )
    first = 1
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tally, "_PIECE_BYTES", size)
        patch.setattr(request_log, "KNOWN_STREAMS", 1)
        for lines in pieces:
            expected = len(lines), by_line.add(lines, first)
            assert by_text.add_text(b"".join(one + b"\n" for one in lines), first) == expected
            first += len(lines)
    assert list_results(by_text) == list_results(by_line)
    assert sort_keys(by_text) == sort_keys(by_line)
    assert by_text.near == by_line.near
    assert by_text.fingerprint == by_line.fingerprint
    assert (by_text.repeated, by_text.chosen) == (by_line.repeated, by_line.chosen)
    assert (by_text.requests_by_day, by_text.other_days) == (by_line.requests_by_day, by_line.other_days)


def find_key(text: bytes) -> object:
    outcome = request_log.parse(text)
    return outcome.key & ~1 if isinstance(outcome, Request) else text


def sort_keys(made: Tally) -> dict[int, list[list[int]]]:
    return {place: [sorted(column) for column in (noted.keys, noted.ranks)] for place, noted in made.noted.items()}


def note_keys(pieces: list[list[bytes]]) -> dict[int, RecordKeys]:
    made = Tally(selecting(), NetworkRegistry(lambda: EPOCHS))
    for lines in pieces:
        made.add(lines)
    return made.noted


@settings(deadline=None)
@given(lines_of_logs, selections, st.data())
def test_merged_tallies_equal_one_tally(
    lines: list[bytes], request_filter: RequestFilter, data: st.DataObject
) -> None:
    # Which of several records counts depends on which are added together.
    lines = list({find_key(one): one for one in lines}.values())
    cuts = sorted(data.draw(st.lists(st.integers(0, len(lines)), max_size=4)))
    made = Tally(request_filter, NetworkRegistry(lambda: EPOCHS))
    for start, end in zip([0, *cuts], [*cuts, len(lines)], strict=True):
        other = Tally(request_filter, NetworkRegistry(lambda: EPOCHS))
        other.reject("a.log", other.add(lines[start:end], start + 1))
        if data.draw(st.booleans()):
            other = pickle.loads(pickle.dumps(other))
        made.merge(other)
    expected = tallied(lines, request_filter)
    assert list_results(made) == list_results(expected)
    # It can go on.
    for one in (made, expected):
        one.reject("b.log", one.add(lines))
    assert list_results(made) == list_results(expected)
