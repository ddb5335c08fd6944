"""Requests to monthly aggregates, and the laws that hold for them."""

import datetime
import pickle
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eida_statistics import hll
from eida_statistics.networks import Epoch, NetworkRegistry
from eida_statistics.payload import Payload
from eida_stats_aggregator.fdsnws import sorted_rows
from eida_stats_aggregator.fdsnws.aggregation import Aggregation
from eida_stats_aggregator.fdsnws.request_log import Request, parse
from support.aggregates import make_payload
from support.stubs import encode_log, line, trace

NOW = datetime.datetime(2020, 9, 19, 6, 30, tzinfo=datetime.UTC)
EPOCHS = [
    Epoch("Z3", datetime.date(2015, 1, 1), datetime.date(2022, 12, 31)),
    Epoch("9A", datetime.date(2019, 2, 1), None),
]


def aggregated(*entries: dict[str, Any]) -> Aggregation:
    aggregation = Aggregation(NetworkRegistry(lambda: EPOCHS))
    for raw in encode_log(*entries).splitlines():
        request = parse(raw)
        assert isinstance(request, Request)
        aggregation.add(request)
    return aggregation


def payload(*entries: dict[str, Any]) -> Payload:
    return make_payload(aggregated(*entries), NOW)


def sent(aggregation: Aggregation) -> Aggregation:
    """Return the aggregation as another process receives it."""
    received: Aggregation = pickle.loads(pickle.dumps(aggregation, pickle.HIGHEST_PROTOCOL))
    return received


def figures(aggregation: Aggregation) -> tuple[object, ...]:
    """Return all results of an aggregation."""
    return make_payload(aggregation, NOW), aggregation.requests, aggregation.clients, aggregation.unregistered


def sketch(*users: int) -> str:
    return hll.to_hex(hll.encode([hll.hash_client(user) for user in users]))


def test_pieces_are_all_rows_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    made = aggregated(*(line(trace=[trace(sta=f"S{number}")]) for number in (6, 2, 5, 0, 1, 4, 3)))
    whole = make_payload(made, NOW)
    monkeypatch.setattr(sorted_rows, "_ROWS_AT_ONCE", 3)
    rows = made.sort_rows()
    # In any order, as processes make them.
    pieces = {number: rows.make_piece(number) for number in reversed(range(len(rows)))}
    assert [[row.station for row in pieces[number]] for number in sorted(pieces)] == [
        ["S0", "S1", "S2"],
        ["S3", "S4", "S5"],
        ["S6"],
    ]
    assert make_payload(made, NOW) == whole


def test_stream_counts_requests_bytes_clients() -> None:
    (row,) = payload(
        line(userID=1, trace=[trace(size=100)]),
        line(userID=2, trace=[trace(size=20), trace(size=3)]),
        line(userID=1, trace=[trace(size=0)]),
    ).stats
    assert row.key == (datetime.date(2020, 9, 1), "GE", "EIL", "", "BHZ", "DE")
    assert (row.bytes, row.nb_requests, row.nb_successful_requests, row.nb_unsuccessful_requests) == (123, 4, 4, 0)
    assert row.clients == sketch(1, 2)


def test_failed_request_counts_under_no_stream() -> None:
    (row,) = payload(
        line(userID=1, status="ERROR", trace=[trace(), trace(sta="PB01")]),
        line(userID=2, status="NODATA", without=("trace",)),
    ).stats
    assert row.key == (datetime.date(2020, 9, 1), "", "", "--", "", "DE")
    assert (row.bytes, row.nb_requests, row.nb_successful_requests, row.nb_unsuccessful_requests) == (0, 2, 0, 2)
    assert row.clients == sketch(1, 2)


def test_request_without_data_has_no_row() -> None:
    made = payload(
        line(),
        line(finished="2020-09-17T12:00:00Z", trace=[trace(status="NODATA")]),
        line(trace=[]),
    )
    assert len(made.stats) == 1
    assert made.days_coverage == [datetime.date(2020, 9, 18)]
    assert made.aggregation_score == 3


def test_empty_log_has_no_rows() -> None:
    assert payload() == Payload(
        generated_at="2020-09-19 06:30:00",
        version=payload(line()).version,
        days_coverage=[],
        aggregation_score=0,
        stats=[],
    )


def test_network_year_comes_from_the_data() -> None:
    old = trace(net="Z3", start="2016-02-29T00:00:00.0000Z")
    rows = payload(line(trace=[old]), line(finished="2020-10-01T00:00:00Z", trace=[old])).stats
    assert [(row.month.isoformat(), row.network) for row in rows] == [
        ("2020-09-01", "Z32015"),
        ("2020-10-01", "Z32015"),
    ]


def test_code_without_epoch_is_reported() -> None:
    aggregation = aggregated(
        line(trace=[trace(net="Z3"), trace(net="Z3", sta="B")]),  # 1997: before the network
        line(trace=[trace(net="X7")]),
        line(trace=[trace(net="9A", start="2031-01-01T00:00:00.0000Z")]),
    )
    assert aggregation.unregistered == {"Z3": 2, "X7": 1}
    assert {row.network for row in make_payload(aggregation, NOW).stats} == {"Z3", "X7", "9A2019"}


def test_big_sketch_estimates_its_clients() -> None:
    (row,) = payload(*(line(userID=user) for user in range(3000))).stats
    assert row.clients == sketch(*range(3000))


def test_clients_are_distinct_over_all_rows() -> None:
    aggregation = aggregated(
        *(line(userID=user) for user in range(100)),
        *(line(userID=user, status="ERROR") for user in range(50, 120)),
        *(line(userID=user, finished="2020-08-01T00:00:00Z") for user in range(100, 150)),
        line(userID=1000, trace=[]),  # got nothing, and is in no row
    )
    assert aggregation.clients == 150
    assert aggregated().clients == 0


def test_add_returns_requests_and_bytes() -> None:
    def grown(**changes: object) -> tuple[int, int]:
        request = parse(encode_log(line(**changes)).rstrip())
        assert isinstance(request, Request)
        return Aggregation(NetworkRegistry(lambda: EPOCHS)).add(request)

    assert grown(trace=[trace(size=5), trace(size=7), trace(net="Z3", size=1), trace(status="NODATA")]) == (3, 13)
    assert grown(status="ERROR") == (1, 0)
    assert grown(trace=[trace(status="NODATA")]) == grown(trace=[]) == (0, 0)


def test_merged_sums_can_grow() -> None:
    first, second = aggregated(line(), line(trace=[trace(net="Z3")])), aggregated(line(userID=5))
    first.merge(sent(second))
    requests = [parse(encode_log(line(userID=user)).rstrip()) for user in (6, 7)]
    for request in requests:
        assert isinstance(request, Request)
        first.add(request)
    first.merge(sent(aggregated(line(userID=8))))
    users = (1497164453, 5, 6, 7, 8)
    assert figures(first) == figures(
        aggregated(*(line(userID=user) for user in users), line(trace=[trace(net="Z3")]))
    )


def test_many_clients_are_pickled() -> None:
    """Folded into registers, of which some are in hashes again, and one stream of each form beside them."""
    sizes = {"A": 1, "B": 160, "C": 161, "D": 512, "E": 513, "F": 5000}
    entries = [line(userID=user, trace=[trace(sta=sta)]) for sta, size in sizes.items() for user in range(size)]
    more = [line(userID=user, trace=[trace(sta=sta)]) for sta in sizes for user in range(10_000, 10_100)]
    whole, folded = aggregated(*entries, *more), aggregated(*entries)
    folded._sums.fold()
    folded.merge(aggregated(*more))
    received = sent(folded)
    assert figures(received) == figures(folded) == figures(whole)
    received._sums.fold()
    assert figures(sent(received)) == figures(whole)


def test_large_byte_counts_are_pickled() -> None:
    aggregation = aggregated(line(trace=[trace(size=2**40)]))
    for _ in range(30):
        aggregation.merge(sent(aggregation))
    (row,) = make_payload(sent(aggregation), NOW).stats
    assert (row.bytes, row.nb_requests) == (2**70, 2**30)


streams = st.builds(
    trace,
    net=st.sampled_from(["GE", "Z3", "9A", "X7"]),
    sta=st.sampled_from(["A", "B"]),
    loc=st.sampled_from(["", "00"]),
    size=st.integers(0, 2**40),
    status=st.sampled_from(["OK", "OK", "NODATA", "DENIED"]),
    start=st.sampled_from(["1997-01-01T00:00:00.0000Z", "2016-01-01T00:00:00.5Z", "2020-01-01T00:00:00.0000Z"]),
)
entries = st.builds(
    line,
    finished=st.sampled_from(["2020-08-31T23:59:59.999999Z", "2020-09-01T00:00:00Z", "2020-09-18T00:00:00.1Z"]),
    status=st.sampled_from(["OK", "OK", "ERROR", "NODATA"]),
    userLocation=st.sampled_from([{}, {"country": None}, {"country": "DE"}, {"country": "US"}]),
    userID=st.integers(0, 400),
    trace=st.lists(streams, max_size=4),
)
# Many clients on few keys, so that sketches change their form.
logs = st.lists(entries, max_size=30) | st.integers(0, 1200).map(lambda n: [line(userID=user) for user in range(n)])


@settings(deadline=None)
@given(logs, st.randoms(use_true_random=False))
def test_order_of_lines_changes_nothing(log: list[dict[str, Any]], random: Any) -> None:
    shuffled = list(log)
    random.shuffle(shuffled)
    assert payload(*shuffled) == payload(*log)


@settings(deadline=None)
@given(st.lists(entries, max_size=20), st.lists(entries, max_size=20))
def test_splitting_into_files_changes_nothing(first: list[dict[str, Any]], second: list[dict[str, Any]]) -> None:
    """The files of two runs add up to the file of one run over both logs."""
    whole, parts = payload(*first, *second), [payload(*first), payload(*second)]
    assert sorted({day for part in parts for day in part.days_coverage}) == whole.days_coverage
    by_key = {
        row.key: [part for made in parts for part in made.stats if part.key == row.key] for row in whole.stats
    }
    assert sum(map(len, by_key.values())) == sum(len(part.stats) for part in parts)
    for row in whole.stats:
        halves = by_key[row.key]
        assert row.bytes == sum(half.bytes for half in halves)
        assert row.nb_requests == sum(half.nb_requests for half in halves)
        assert row.nb_successful_requests == sum(half.nb_successful_requests for half in halves)
        assert row.nb_unsuccessful_requests == sum(half.nb_unsuccessful_requests for half in halves)
        assert row.clients == hll.to_hex(hll.merge(hll.from_hex(half.clients) for half in halves))


@settings(deadline=None)
@given(st.lists(logs, max_size=5), st.data())
def test_merging_in_any_order_is_the_same_as_adding(parts: list[list[dict[str, Any]]], data: st.DataObject) -> None:
    """Whichever parts were folded before, or came from other processes."""
    ways = data.draw(st.lists(st.integers(0, 3), min_size=len(parts), max_size=len(parts)))
    made = [aggregated(*part) for part in parts]
    for number, way in enumerate(ways):
        if way & 1:
            made[number]._sums.fold()
        if way & 2:
            made[number] = sent(made[number])
    expected = figures(aggregated(*(entry for part in parts for entry in part)))
    united = aggregated()
    for aggregation in data.draw(st.permutations(made)):
        united.merge(aggregation)
        if data.draw(st.booleans()):
            united._sums.fold()
        if data.draw(st.booleans()):
            united = sent(united)
    assert figures(united) == expected


@settings(deadline=None)
@given(logs)
def test_folding_and_sending_change_nothing(log: list[dict[str, Any]]) -> None:
    aggregation = aggregated(*log)
    before = figures(aggregation)
    aggregation._sums.fold()
    assert figures(aggregation) == before
    aggregation._sums.fold()
    assert figures(sent(aggregation)) == figures(aggregation) == before


@settings(deadline=None)
@given(logs)
def test_added_figures_sum_up_to_payload(log: list[dict[str, Any]]) -> None:
    aggregation = Aggregation(NetworkRegistry(lambda: EPOCHS))
    grown = [aggregation.add(parse(raw)) for raw in encode_log(*log).splitlines()]  # type: ignore[arg-type]
    rows = make_payload(aggregation, NOW).stats
    assert sum(requests for requests, _ in grown) == sum(row.nb_requests for row in rows)
    assert sum(size for _, size in grown) == sum(row.bytes for row in rows)


@settings(deadline=None)
@given(logs)
def test_counts_are_those_of_the_traces(log: list[dict[str, Any]]) -> None:
    made = payload(*log)
    delivered = [one for entry in log if entry["status"] == "OK" for one in entry["trace"] if one["status"] == "OK"]
    assert sum(row.nb_successful_requests for row in made.stats) == len(delivered)
    assert sum(row.bytes for row in made.stats) == sum(one["bytes"] for one in delivered)
    assert sum(row.nb_unsuccessful_requests for row in made.stats) == sum(e["status"] != "OK" for e in log)
    assert [row.key for row in made.stats] == sorted(row.key for row in made.stats)
