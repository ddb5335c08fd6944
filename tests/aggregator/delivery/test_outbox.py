"""Aggregate files: written whole, remembered, and sent once."""

import contextlib
import datetime
import fcntl
import gzip
import json
import os
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from unittest.mock import patch

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eida_statistics.errors import EidaStatisticsError
from eida_statistics.hll import EMPTY, to_hex
from eida_statistics.payload import Payload, Period, Row
from eida_stats_aggregator.delivery.aggregate import make_aggregate
from eida_stats_aggregator.delivery.answers import Delivered
from eida_stats_aggregator.delivery.legacy import decode_state
from eida_stats_aggregator.delivery.outbox import Outbox, Provenance
from eida_stats_aggregator.delivery.sender import Sender
from eida_stats_aggregator.delivery.state import DeliveryState, Record, Terms
from eida_stats_aggregator.delivery.urls import find_base_url, make_submission_url
from eida_stats_aggregator.errors import (
    AggregateExists,
    AlreadyDelivered,
    DeliveryOvertaken,
    DirectoryInUse,
    NotDelivered,
    PathUnknown,
    PayloadHeld,
    PayloadRefused,
    ServiceFault,
    UnwritableDirectory,
)

URL = "http://127.0.0.1"
ELSEWHERE = "http://127.0.0.1/elsewhere"
NOW = datetime.datetime(2020, 9, 19, 6, 30, tzinfo=datetime.UTC)
NEW, CORRECTION, BESIDE = Terms(), Terms(replace=True), Terms(beside=True)


def day(number: int) -> datetime.date:
    return datetime.date(2020, 9, number)


def payload(
    first: int = 18, last: int = 0, *, size: int = 512, source: str = "", at: str = "2020-09-19 06:30:00"
) -> Payload:
    row = Row(day(1), "GE", "EIL", "", "BHZ", "DE", size, 1, 1, 0, to_hex(EMPTY))
    return Payload(
        generated_at=at,
        version="0.9.0",
        days_coverage=[day(first)],
        aggregation_score=1,
        stats=[row] if size else [],
        source=source,
        period=Period(day(first), day(last or first)),
    )


class Client:
    """A service of one source: a POST is refused where others count, a PUT replaces what lies within its period."""

    def __init__(self, url: str = URL) -> None:
        self.url, self.base = make_submission_url(url), find_base_url(url)
        self.token_valid_until = None
        self.counted: dict[tuple[str, datetime.date, datetime.date], int] = {}
        self.asked: list[tuple[str, Terms]] = []
        self.failing: NotDelivered | None = None
        self.answers = True

    def submit(self, name: str, body: bytes, terms: Terms, *, empty: bool) -> Delivered:
        self.asked.append((name, terms))
        if self.failing is not None:
            raise self.failing
        document = json.loads(gzip.decompress(body))
        assert empty == (not document["stats"])
        start, end = (datetime.date.fromisoformat(document["period"][name]) for name in ("start", "end"))
        key = (document.get("source", ""), start, end)
        size = document["stats"][0]["bytes"] if document["stats"] else 0
        touching = {other for other in self.counted if other[0] == key[0] and start <= other[2] and other[1] <= end}
        if self.counted.get(key) == size:
            answer = Delivered("409 Conflict: the service has these statistics already", 7, stored=False)
        elif touching and not terms.explicit:
            raise PayloadHeld(name, "the service has others", hint="")
        else:
            for other in touching if terms.replace else ():
                del self.counted[other]
            self.counted[key] = size
            answer = Delivered("201 CREATED, payload 7", 7)
        if not self.answers:
            raise NotDelivered(name, may_have_arrived=True)
        return answer


def send(outbox: Outbox, fake_client: Client) -> Sender:
    sender = Sender(outbox, fake_client)  # type: ignore[arg-type]
    sender.send(outbox.list_waiting(fake_client.base)[0], NOW)
    return sender


def put(outbox: Outbox, made: Payload, terms: Terms = NEW, url: str | None = URL, **more: Any) -> Path:
    return outbox.put(make_aggregate(made), url, terms, **more)


def content(path: Path) -> Any:
    return json.loads(gzip.decompress(path.read_bytes()))


@pytest.fixture
def outbox(tmp_path: Path) -> Outbox:
    return Outbox(tmp_path)


@pytest.fixture
def fake_client() -> Client:
    return Client()


def names(outbox: Outbox) -> list[str]:
    return sorted(path.name for path in outbox.directory.iterdir())


def reopened(outbox: Outbox) -> Outbox:
    """Return the outbox as the next run finds it."""
    other = Outbox(outbox.directory)
    with other.lock():
        return other


# Files


def test_name_has_period_and_source(outbox: Outbox) -> None:
    path = put(outbox, payload(17, 21), url=None)
    assert path.name == "2020-09-17_2020-09-21.json.gz"
    assert content(path) == json.loads(payload(17, 21).to_json())
    assert names(outbox) == [path.name]
    assert put(outbox, payload(source="b"), url=None).name == "2020-09-18_2020-09-18_b.json.gz"


def test_files_are_for_their_owner_only(outbox: Outbox, fake_client: Client) -> None:
    put(outbox, payload())
    send(outbox, fake_client)
    assert {path.stat().st_mode & 0o777 for path in outbox.directory.iterdir()} == {0o600}


def test_same_payload_has_the_same_bytes(outbox: Outbox, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    assert put(outbox, payload()).read_bytes() == put(Outbox(other), payload()).read_bytes()


@pytest.mark.parametrize("terms", [NEW, CORRECTION])
def test_same_statistics_leave_the_file(terms: Terms, outbox: Outbox) -> None:
    path = put(outbox, payload(), url=None)
    before = (path.read_bytes(), path.stat().st_mtime_ns, path.stat().st_ino)
    assert put(outbox, payload(at="2020-10-10 10:10:10"), terms, url=None) == path
    assert (path.read_bytes(), path.stat().st_mtime_ns, path.stat().st_ino) == before


@pytest.mark.parametrize("url", [None, URL])
def test_other_statistics_need_a_decision(url: str | None, outbox: Outbox) -> None:
    path = put(outbox, payload(), url=url)
    with pytest.raises(AggregateExists, match=r"(?s)2020-09-18_2020-09-18\.json\.gz.*--replace.*--source"):
        put(outbox, payload(size=7), url=url)
    assert content(path)["stats"][0]["bytes"] == 512
    put(outbox, payload(size=7), CORRECTION, url=url)
    assert content(path)["stats"][0]["bytes"] == 7


@pytest.mark.parametrize(
    "there",
    [b"", b"half", gzip.compress(b"{}"), gzip.compress(b'{"stats": []')],
    # Otherwise the time of packing would be in the names of the tests, and differ between processes.
    ids=["empty", "half", "of nothing", "cut off"],
)
def test_strange_file_is_not_overwritten(there: bytes, outbox: Outbox) -> None:
    path = outbox.directory / "2020-09-18_2020-09-18.json.gz"
    path.write_bytes(there)
    with pytest.raises(AggregateExists):
        put(outbox, payload())
    assert path.read_bytes() == there
    put(outbox, payload(), CORRECTION)
    assert content(path)["stats"][0]["bytes"] == 512


def test_file_without_side_file_is_never_sent(outbox: Outbox, fake_client: Client) -> None:
    path = put(outbox, payload(), url=None)
    assert reopened(outbox).list_waiting(URL) == ([], [])
    put(outbox, payload())
    assert outbox.list_waiting(URL) == ([path], [])
    send(outbox, fake_client)
    assert fake_client.counted == {("", day(18), day(18)): 512}


# Deliveries


def test_file_is_queued_until_it_is_delivered(outbox: Outbox, fake_client: Client) -> None:
    path = put(outbox, payload())
    assert reopened(outbox).list_waiting(URL) == ([path], [])
    sender = send(outbox, fake_client)
    assert sender.sent == [f"{path} to {URL}/submit: 201 CREATED, payload 7"]
    assert reopened(outbox).list_waiting(URL) == ([], [])
    record = reopened(outbox).get_record(path, URL)
    assert record == Record(
        "delivered", payload().content(), payload=7, answer="201 CREATED, payload 7", at="2020-09-19T06:30:00Z"
    )


def test_delivered_file_is_not_queued_again(outbox: Outbox, fake_client: Client) -> None:
    put(outbox, payload())
    send(outbox, fake_client)
    put(outbox, payload())
    assert outbox.list_waiting(URL) == ([], [])


def test_correction_with_the_same_content_is_sent(outbox: Outbox, fake_client: Client) -> None:
    path = put(outbox, payload())
    send(outbox, fake_client)
    # It may have been retracted.
    fake_client.counted.clear()
    put(outbox, payload(), CORRECTION)
    send(outbox, fake_client)
    assert fake_client.asked[-1] == (path.name, CORRECTION)
    assert fake_client.counted


def test_oldest_period_is_sent_first(outbox: Outbox, fake_client: Client) -> None:
    for number in (19, 17, 18):
        put(outbox, payload(number))
    send(outbox, fake_client)
    assert [name[:10] for name, _ in fake_client.asked] == ["2020-09-17", "2020-09-18", "2020-09-19"]


def test_queue_of_another_service_waits_for_it(outbox: Outbox) -> None:
    path = put(outbox, payload(), url=ELSEWHERE)
    ready, (complaint,) = outbox.list_waiting(URL)
    assert (ready, complaint.hint) == ([], "If that service has moved here, add --requeue.")
    assert outbox.list_waiting(ELSEWHERE) == ([path], [])


def test_one_file_goes_to_two_services(outbox: Outbox) -> None:
    put(outbox, payload())
    put(outbox, payload(), url=ELSEWHERE)
    for url in (URL, ELSEWHERE):
        other = Client(url)
        send(outbox, other)
        assert len(other.counted) == 1


def test_correction_of_waiting_file_is_first(outbox: Outbox, fake_client: Client) -> None:
    path = put(outbox, payload())
    put(outbox, payload(size=7), CORRECTION)
    send(outbox, fake_client)
    assert fake_client.asked == [(path.name, NEW)]
    assert list(fake_client.counted.values()) == [7]


@pytest.mark.parametrize("terms", [CORRECTION, BESIDE])
def test_terms_are_kept_until_delivery(terms: Terms, outbox: Outbox, fake_client: Client) -> None:
    path = put(outbox, payload(), terms)
    fake_client.failing = NotDelivered()
    send(outbox, fake_client)
    fake_client.failing = None
    send(reopened(outbox), fake_client)
    assert fake_client.asked == [(path.name, terms)] * 2


@pytest.mark.parametrize("known", [True, False])
def test_corrections_follow_one_another(known: bool, outbox: Outbox, fake_client: Client) -> None:
    path = put(outbox, payload(), NEW if known else CORRECTION)
    for size in (512, 7, 8, 512):
        put(outbox, payload(size=size), CORRECTION)
        send(outbox, fake_client)
        assert fake_client.counted == {("", day(18), day(18)): size}
        assert content(path)["stats"][0]["bytes"] == size


def test_correction_needs_no_earlier_file(outbox: Outbox, fake_client: Client) -> None:
    path = put(outbox, payload())
    send(outbox, fake_client)
    path.unlink()
    with pytest.raises(AggregateExists, match="was sent to"):
        put(outbox, payload(size=7))
    put(outbox, payload(size=7), CORRECTION)
    send(outbox, fake_client)
    assert list(fake_client.counted.values()) == [7]


def test_correction_that_is_only_written_is_sent_later(outbox: Outbox, fake_client: Client) -> None:
    put(outbox, payload())
    send(outbox, fake_client)
    put(outbox, payload(size=7), CORRECTION, url=None)
    assert outbox.list_waiting(URL) == ([], [])
    with pytest.raises(AggregateExists):
        put(outbox, payload(size=7))
    put(outbox, payload(size=7), CORRECTION)
    send(outbox, fake_client)
    assert list(fake_client.counted.values()) == [7]


def test_lost_answer_is_sent_again(outbox: Outbox, fake_client: Client) -> None:
    path = put(outbox, payload())
    fake_client.answers = False
    send(outbox, fake_client)
    assert reopened(outbox).get_record(path, URL) == Record("unknown", payload().content())
    with pytest.raises(AggregateExists, match="was sent to"):
        put(outbox, payload(size=7))
    fake_client.answers = True
    sender = send(reopened(outbox), fake_client)
    assert "already" in sender.sent[0]
    assert list(fake_client.counted.values()) == [512]


def test_correction_after_a_lost_answer_replaces(outbox: Outbox, fake_client: Client) -> None:
    put(outbox, payload())
    fake_client.answers = False
    send(outbox, fake_client)
    put(outbox, payload(size=7), CORRECTION)
    fake_client.answers = True
    send(reopened(outbox), fake_client)
    assert list(fake_client.counted.values()) == [7]


def test_correction_that_is_lost_on_the_way_is_sent_as_one_again(outbox: Outbox, fake_client: Client) -> None:
    """Days of ringservers grow, and are corrected without a word from the operator."""
    put(outbox, payload())
    send(outbox, fake_client)
    outbox.overwrite(make_aggregate(payload(size=7)), URL, NEW, Provenance({}, ""))
    fake_client.failing = NotDelivered(may_have_arrived=True)
    send(outbox, fake_client)
    fake_client.failing = None
    assert send(reopened(outbox), fake_client).sent
    assert list(fake_client.counted.values()) == [7]


def test_held_file_is_not_sent_again_by_itself(outbox: Outbox, fake_client: Client) -> None:
    fake_client.counted[("", day(17), day(18))] = 3
    path = put(outbox, payload())
    assert send(outbox, fake_client).held == [str(path)]
    assert send(reopened(outbox), fake_client).sent == []
    assert len(fake_client.asked) == 1
    put(outbox, payload(), BESIDE)
    assert send(outbox, fake_client).sent
    assert len(fake_client.counted) == 2


def test_held_file_was_not_stored_by_a_lost_attempt(outbox: Outbox, fake_client: Client) -> None:
    path = put(outbox, payload())
    fake_client.failing = NotDelivered(may_have_arrived=True)
    send(outbox, fake_client)
    fake_client.failing = None
    fake_client.counted[("", day(17), day(18))] = 3
    assert send(outbox, fake_client).held == [str(path)]
    record = outbox.get_record(path, URL)
    # So other content is no correction of it, which would replace those of others.
    assert record is not None
    assert record.content == ""


def test_overwritten_file_is_as_new_for_other_services(outbox: Outbox, fake_client: Client) -> None:
    path = put(outbox, payload())
    send(outbox, fake_client)
    put(outbox, payload(), url=ELSEWHERE)
    provenance = Provenance({}, "")
    outbox.overwrite(make_aggregate(payload()), ELSEWHERE, NEW, provenance)
    assert set(reopened(outbox).list_entries()[0].state.records) == {URL, ELSEWHERE}
    outbox.overwrite(make_aggregate(payload(size=7)), ELSEWHERE, NEW, provenance)
    assert set(reopened(outbox).list_entries()[0].state.records) == {ELSEWHERE}
    assert content(path)["stats"][0]["bytes"] == 7


def test_running_the_log_again_tries_a_held_file(outbox: Outbox, fake_client: Client) -> None:
    fake_client.counted[("", day(17), day(18))] = 3
    put(outbox, payload())
    send(outbox, fake_client)
    fake_client.counted.clear()
    put(outbox, payload())
    assert send(outbox, fake_client).sent


# Several files


def test_overlap_is_refused_before_writing(outbox: Outbox, fake_client: Client) -> None:
    put(outbox, payload(17))
    send(outbox, fake_client)
    before = names(outbox)
    with pytest.raises(AlreadyDelivered, match=r"(?s)2020-09-17_2020-09-17\.json\.gz.*--catch-up"):
        put(outbox, payload(17, 18))
    assert names(outbox) == before
    for terms in (CORRECTION, BESIDE):
        put(outbox, payload(17, 18), terms)


@pytest.mark.parametrize(
    ("other", "url"), [(payload(18, source="b"), URL), (payload(19), URL), (payload(17, 18), ELSEWHERE)]
)
def test_no_overlap_is_no_reason_to_refuse(other: Payload, url: str, outbox: Outbox) -> None:
    put(outbox, payload(18, source="a"))
    put(outbox, payload(20, source=""), url=URL)
    put(outbox, other, url=url)


def test_empty_source_overlaps_with_all(outbox: Outbox) -> None:
    put(outbox, payload(18, source="a"))
    with pytest.raises(AlreadyDelivered):
        put(outbox, payload(18))


def test_delivered_month_ends_the_waiting_of_its_days(outbox: Outbox, fake_client: Client) -> None:
    fake_client.failing = NotDelivered()
    for number in (17, 18):
        put(outbox, payload(number))
    put(outbox, payload(19, source="b"))
    path = put(outbox, payload(1, 30), CORRECTION)
    fake_client.failing = None
    sender = Sender(outbox, fake_client)  # type: ignore[arg-type]
    sender.send([path], NOW)
    assert [waiting.name for waiting in outbox.list_waiting(URL)[0]] == ["2020-09-19_2020-09-19_b.json.gz"]


def test_month_and_its_days_in_one_queue(outbox: Outbox, fake_client: Client) -> None:
    for number in (1, 2, 3):
        put(outbox, payload(number))
    put(outbox, payload(1, 30, size=7), CORRECTION)
    sender = send(outbox, fake_client)
    # The first day precedes the month in the queue.
    assert len(sender.sent) == 2
    assert fake_client.counted == {("", day(1), day(30)): 7}
    assert outbox.list_waiting(URL) == ([], [])


@pytest.mark.parametrize(
    ("failure", "asked"),
    [
        (NotDelivered("away"), 1),
        (PathUnknown("not found"), 1),
        (ServiceFault("500"), 3),
        (PayloadRefused("422"), 5),
        (PayloadHeld("file", "409", hint=""), 5),
        (DeliveryOvertaken("409"), 5),
    ],
)
def test_one_failure_does_not_keep_others(
    failure: NotDelivered, asked: int, outbox: Outbox, fake_client: Client
) -> None:
    for number in range(11, 16):
        put(outbox, payload(number))
    fake_client.failing = failure
    sender = send(outbox, fake_client)
    assert len(fake_client.asked) == asked
    assert len(sender.queued) + len(sender.held) == 5


# Services that move


def test_queue_moves_with_its_service(outbox: Outbox) -> None:
    path = put(outbox, payload(), CORRECTION, url=ELSEWHERE)
    outbox.redirect(URL, mistyped_only=False)
    assert outbox.list_waiting(URL) == ([path], [])
    assert outbox.get_record(path, URL) == Record("pending", terms=CORRECTION)
    assert outbox.list_waiting(ELSEWHERE)[0] == []


def test_moved_service_gets_a_correction(outbox: Outbox, fake_client: Client) -> None:
    put(outbox, payload())
    send(outbox, fake_client)
    path = put(outbox, payload(size=7), Terms(replace=True, replaces=("5",)), url=ELSEWHERE)
    outbox.redirect(URL, mistyped_only=False)
    # The numbers are those of the service that has moved.
    assert outbox.get_record(path, URL) == Record("pending", terms=CORRECTION)


def test_moved_queue_skips_delivered_files(outbox: Outbox, fake_client: Client) -> None:
    put(outbox, payload())
    send(outbox, fake_client)
    put(outbox, payload(), url=ELSEWHERE)
    outbox.redirect(URL, mistyped_only=False)
    assert outbox.list_waiting(URL) == ([], [])
    assert outbox.list_waiting(ELSEWHERE)[0] == []


def test_mistyped_path_is_corrected_by_the_next_run(outbox: Outbox, fake_client: Client) -> None:
    mistyped = Client("http://127.0.0.1/eidaws/statistcs/1/submit")
    mistyped.failing = PathUnknown("404")
    path = put(outbox, payload(), url=mistyped.base)
    send(outbox, mistyped)
    for other in ("http://127.0.0.1:81/eidaws", "https://127.0.0.1/eidaws", "http://localhost/eidaws"):
        outbox.redirect(other, mistyped_only=True)
        assert outbox.list_waiting(other)[0] == []
    outbox.redirect(URL, mistyped_only=True)
    assert outbox.list_waiting(URL) == ([path], [])
    send(outbox, fake_client)
    assert fake_client.counted


def test_whole_queue_of_a_mistyped_path_moves(outbox: Outbox, fake_client: Client) -> None:
    mistyped = Client("http://127.0.0.1/eidaws/statistcs/1/submit")
    mistyped.failing = PathUnknown("404")
    for number in (17, 18, 19):
        put(outbox, payload(number), url=mistyped.base)
        send(outbox, mistyped)
    outbox.redirect(URL, mistyped_only=True)
    assert len(send(outbox, fake_client).sent) == 3


def test_other_service_on_host_gets_nothing(outbox: Outbox) -> None:
    path = put(outbox, payload(), url=ELSEWHERE)
    outbox.redirect(URL, mistyped_only=True)
    assert outbox.list_waiting(ELSEWHERE) == ([path], [])


@pytest.mark.parametrize(
    ("url", "base", "submission"),
    [
        ("https://a.org/eidaws/statistics/1", "https://a.org/eidaws/statistics/1", "…/submit"),
        ("https://a.org/eidaws/statistics/1/", "https://a.org/eidaws/statistics/1", "…/submit"),
        ("https://a.org/eidaws/statistics/1/submit", "https://a.org/eidaws/statistics/1", "…/submit"),
        ("https://a.org/eidaws/statistics/1/submit/", "https://a.org/eidaws/statistics/1", "…/submit"),
        (
            "https://a.org/eidaws/statistics/1/dataselectstats",
            "https://a.org/eidaws/statistics/1",
            "…/dataselectstats",
        ),
        ("https://A.org:443/submit", "https://a.org", "https://A.org:443/submit"),
        ("http://a.org:8080", "http://a.org:8080", "…/submit"),
        ("http://[::1]:8080/submit", "http://[::1]:8080", "…/submit"),
    ],
)
def test_urls_of_one_service_are_one(url: str, base: str, submission: str) -> None:
    assert find_base_url(url) == base
    assert make_submission_url(url) == submission.replace("…", base)


# Side files of earlier versions


def legacy(**more: Any) -> bytes:
    return msgspec.json.encode({"hash": payload().content(), **more})


SENT = {
    "url": f"{URL}/submit", "hash": payload().content(), "sent_at": "2020-09-18T00:00:00Z", "answer": "201 CREATED"
}  # fmt: skip


@pytest.mark.parametrize(
    ("written", "records"),
    [
        (legacy(), {}),
        (legacy(queued=[f"{URL}/submit/"]), {URL: Record("pending")}),
        (
            legacy(queued=[f"{URL}/submit"], corrections=[f"{URL}/submit"], named={f"{URL}/submit": [3]}),
            {URL: Record("pending", terms=Terms(replace=True, replaces=("3",)))},
        ),
        (
            legacy(sent=[SENT]),
            {URL: Record("delivered", payload().content(), answer="201 CREATED", at="2020-09-18T00:00:00Z")},
        ),
        (
            legacy(queued=[f"{URL}/submit"], attempted={f"{URL}/submit": payload().content()}),
            {URL: Record("unknown", payload().content())},
        ),
        (
            legacy(queued=[f"{URL}/submit"], sent=[{**SENT, "hash": "0" * 32}]),
            {URL: Record("pending", "0" * 32, Terms(replace=True, replaces=("0" * 32,)))},
        ),
    ],
)
def test_earlier_side_files_are_read(written: bytes, records: dict[str, Record]) -> None:
    assert decode_state(written) == DeliveryState(payload().content(), records, legacy=True)


def test_delivery_of_an_earlier_version_is_remembered(outbox: Outbox) -> None:
    path = outbox.directory / "2020-09-18_2020-09-18.json.gz"
    old = msgspec.structs.replace(payload(), period=None)
    path.write_bytes(gzip.compress(old.to_json()))
    path.with_name(path.name + ".delivery").write_bytes(legacy(sent=[SENT]))
    outbox = reopened(outbox)
    put(outbox, payload())
    assert outbox.list_waiting(URL) == ([], [])
    assert content(path)["period"] == {"start": "2020-09-18", "end": "2020-09-18"}
    with pytest.raises(AggregateExists):
        put(outbox, payload(size=7))


# Dry runs


@pytest.mark.parametrize("terms", [NEW, CORRECTION])
@pytest.mark.parametrize("url", [None, URL])
@pytest.mark.parametrize("before", ["nothing", "same", "other", "sent", "corrected", "lost", "overlapping"])
def test_dry_run_refuses_what_a_run_refuses(
    before: str, url: str | None, terms: Terms, outbox: Outbox, fake_client: Client
) -> None:
    if before != "nothing":
        put(outbox, payload(size=7 if before == "same" else 512), url=URL if before != "same" else None)
    if before in ("sent", "corrected", "lost"):
        fake_client.answers = before != "lost"
        send(outbox, fake_client)
    if before == "corrected":
        put(outbox, payload(size=7), CORRECTION)
    there = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in outbox.directory.iterdir()}
    made = payload(17, 18, size=7) if before == "overlapping" else payload(size=7)
    outcomes: list[object] = []
    for dry_run in (True, False):
        tried = Outbox(outbox.directory, dry_run=dry_run)
        with tried.lock():
            try:
                outcomes.append((put(tried, made, terms, url), tried.list_waiting(URL)))
            except EidaStatisticsError as refusal:
                outcomes.append(str(refusal))
        if dry_run:
            now = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in outbox.directory.iterdir()}
            assert now == there
    assert outcomes[0] == outcomes[1]


def test_dry_run_creates_no_directory(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path / "a/b", dry_run=True)
    outbox.check_writable()
    with outbox.lock():
        path = put(outbox, payload(17, 18, source="x"))
    assert path == tmp_path / "a/b/2020-09-17_2020-09-18_x.json.gz"
    assert not (tmp_path / "a").exists()


# Whatever happens

mostly = st.sampled_from([True, True, True, False])
puts = st.tuples(st.sampled_from(["put", "put", "put", "killed put"]), st.integers(0, 3), mostly, mostly)
runs = st.tuples(
    st.just("run"),
    st.sampled_from(["taken"] * 4 + ["lost on the way", "answer lost", "refused", "killed", "killed late"]),
)
at_the_centre = st.tuples(st.sampled_from(["retract", "lose"]))


@settings(deadline=None, max_examples=300)
@given(
    st.lists(st.one_of(puts, puts, runs, runs, at_the_centre), max_size=12),
    st.integers(0, 3),
    st.sampled_from(["", "b"]),
)
def test_days_are_counted_once_whatever_happens(events: list[tuple[Any, ...]], last: int, source: str) -> None:
    fake_client = Client()
    with tempfile.TemporaryDirectory() as directory:
        outbox = Outbox(Path(directory))
        for kind, *details in events:
            if kind == "run":
                run(outbox, fake_client, *details)
            elif kind in ("retract", "lose"):
                fake_client.counted.clear()
            else:
                size, replace, send_it = details
                terms = CORRECTION if replace else NEW
                try_to_put(outbox, payload(size=size, source=source), terms, kind == "put", send_it=send_it)
            outbox = reopened(outbox)
            assert len(fake_client.counted) <= 1
        # At the end a service that answers has what its node wants it to have.
        run(outbox, fake_client, "taken")
        try_to_put(outbox, payload(size=last, source=source), CORRECTION, True, send_it=True)
        run(outbox, fake_client, "taken")
        if fake_client.counted != {(source, day(18), day(18)): last}:
            # It was held, and the operator has to decide once more.
            put(outbox, payload(size=last, source=source), CORRECTION)
            run(outbox, fake_client, "taken")
        assert fake_client.counted == {(source, day(18), day(18)): last}
        assert outbox.list_waiting(URL) == ([], [])


def try_to_put(outbox: Outbox, made: Payload, terms: Terms, lives: bool, *, send_it: bool) -> None:
    writing = patch.object(gzip, "compress", gzip.compress if lives else killed)
    with writing, contextlib.suppress(AggregateExists, KeyboardInterrupt):
        put(outbox, made, terms, URL if send_it else None)


def run(outbox: Outbox, fake_client: Client, outcome: str) -> None:
    """Send what is queued, as a run does."""
    fake_client.answers = outcome in ("taken", "killed late")
    fake_client.failing = {"lost on the way": NotDelivered(may_have_arrived=True), "refused": PayloadRefused()}.get(
        outcome
    )
    killing = patch.object(Outbox, "save_state", die_at(outbox, 2 if outcome == "killed late" else 1))
    with (
        killing if outcome.startswith("killed") else contextlib.nullcontext(),
        contextlib.suppress(KeyboardInterrupt),
    ):
        send(outbox, fake_client)
    fake_client.failing = None


def die_at(outbox: Outbox, call: int) -> Any:
    """Return a `save_state` that dies instead of its nth call."""
    keep, calls = outbox.save_state, iter(range(1, 100))

    def dying(_outbox: Outbox, path: Path, state: DeliveryState) -> None:
        if next(calls) == call:
            raise KeyboardInterrupt
        keep(path, state)

    return dying


def killed(*_: object, **__: object) -> bytes:
    raise KeyboardInterrupt


def test_run_that_waits_for_another_says_so(outbox: Outbox) -> None:
    messages: list[str] = []
    with ThreadPoolExecutor(1) as pool:
        with outbox.lock(warn=messages.append):
            second = pool.submit(enter, outbox, messages)
            while not messages and not second.done():
                time.sleep(0.01)
            assert not second.done()
            assert "waiting" in messages[0]
        second.result(timeout=30)


def enter(outbox: Outbox, messages: list[str]) -> None:
    with Outbox(outbox.directory).lock(warn=messages.append):
        pass


def test_second_run_with_the_same_task_ends(outbox: Outbox) -> None:
    with outbox.lock(task="a"), pytest.raises(DirectoryInUse), Outbox(outbox.directory).lock(task="a"):
        pass


def test_one_run_of_each_task_waits_for_another_task(outbox: Outbox) -> None:
    def enter_with(task: str) -> None:
        with Outbox(outbox.directory).lock(task=task):
            pass

    with ThreadPoolExecutor(1) as pool:
        with outbox.lock(task="a"):
            waiting = pool.submit(enter_with, "b")
            lock = outbox.directory / ".eida_stats_aggregator.b.lock"
            while not lock.exists() or is_free(lock):
                assert not waiting.done()
                time.sleep(0.01)
            with pytest.raises(DirectoryInUse):
                enter_with("b")
            assert not waiting.done()
        waiting.result(timeout=30)


def is_free(lock: Path) -> bool:
    with lock.open() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


@pytest.mark.parametrize("left", ["nothing", "other content", "half a file"])
def test_interrupted_write_is_not_sent(left: str, outbox: Outbox) -> None:
    path = put(outbox, payload())
    whole = path.read_bytes()
    match left:
        case "nothing":
            path.unlink()
        case "other content":
            path.write_bytes(gzip.compress(payload(size=7).to_json()))
        case _:
            path.write_bytes(whole[: len(whole) // 2])
    ready, (complaint,) = outbox.list_waiting(URL)
    assert ready == []
    assert str(path) in str(complaint)
    assert "Run its log again" in str(complaint)
    put(outbox, payload())
    assert outbox.list_waiting(URL) == ([path], [])


def test_unreadable_side_file_is_reported(outbox: Outbox) -> None:
    path = put(outbox, payload())
    path.with_name(f"{path.name}.delivery").write_bytes(b"{")
    ready, (complaint,) = reopened(outbox).list_waiting(URL)
    assert ready == []
    assert "cannot be read" in str(complaint)


def test_failed_write_leaves_no_half_file(outbox: Outbox, monkeypatch: pytest.MonkeyPatch) -> None:
    path = put(outbox, payload(), url=None)

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UnwritableDirectory, match="No space left"):
        put(outbox, payload(size=7), CORRECTION, url=None)
    assert names(outbox) == [path.name]
    assert content(path)["stats"][0]["bytes"] == 512


def test_directory_is_created(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path / "a/b")
    outbox.check_writable()
    assert names(outbox) == []


def test_directory_that_cannot_be_created_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UnwritableDirectory, match="file"):
        Outbox(tmp_path / "file/b").check_writable()
