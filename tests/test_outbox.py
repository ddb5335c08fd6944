"""Aggregate files: written whole, sent once."""

import contextlib
import datetime
import gzip
import json
import os
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eida_statistics.errors import AggregateExists, PayloadRefused, UnwritableDirectory
from eida_statistics.hll import EMPTY, to_hex
from eida_statistics.payload import Payload, Row
from eida_statistics.wire import decode
from eida_stats_aggregator.dispatch import Attempt
from eida_stats_aggregator.outbox import Outbox, Rehearsal

URL = "http://127.0.0.1/submit"
ELSEWHERE = "http://127.0.0.1/elsewhere"
NOW = datetime.datetime(2020, 9, 19, 6, 30, tzinfo=datetime.UTC)


def payload(*, size: int = 512, days: tuple[int, ...] = (18,), at: str = "2020-09-19 06:30:00") -> Payload:
    row = Row(datetime.date(2020, 9, 1), "GE", "EIL", "", "BHZ", "DE", size, 1, 1, 0, to_hex(EMPTY))
    return Payload(
        generated_at=at,
        version="0.9.0",
        days_coverage=[datetime.date(2020, 9, day) for day in days],
        aggregation_score=1,
        stats=[row],
    )


def put(outbox: Outbox, made: Payload, **more: Any) -> Path:
    return outbox.put(made, **{"suffix": "", "replace": False, "send_to": None, **more})


def deliver(outbox: Outbox, path: Path, url: str = URL) -> None:
    outbox.attempt(path, url)
    outbox.delivered(path, url, "201 Created", NOW)


def delivered(outbox: Outbox, made: Payload, url: str = URL, **more: Any) -> Path:
    path = put(outbox, made, send_to=url, **more)
    deliver(outbox, path, url)
    return path


def receipt(path: Path) -> Any:
    return json.loads(path.with_name(f"{path.name}.delivery").read_bytes())


def correction_of(made: Payload, *numbers: str, may_have_arrived: bool = False) -> Attempt:
    return Attempt(True, may_have_arrived, replaces=(made.hash(), *numbers))


def content(path: Path) -> Any:
    return json.loads(gzip.decompress(path.read_bytes()))


@pytest.fixture
def outbox(tmp_path: Path) -> Outbox:
    return Outbox(tmp_path)


def names(outbox: Outbox) -> list[str]:
    return sorted(path.name for path in outbox.directory.iterdir())


def test_a_file_is_named_after_its_first_and_last_day(outbox: Outbox) -> None:
    path = put(outbox, payload(days=(17, 18, 21)))
    assert path.name == "2020-09-17_2020-09-21.json.gz"
    assert content(path) == json.loads(payload(days=(17, 18, 21)).to_json())
    assert names(outbox) == [path.name]


def test_a_suffix_tells_the_logs_of_two_servers_apart(outbox: Outbox) -> None:
    first, second = put(outbox, payload()), put(outbox, payload(size=7), suffix="server2")
    assert second.name == "2020-09-18_2020-09-18_server2.json.gz"
    assert content(first)["stats"][0]["bytes"] == 512
    assert content(second)["stats"][0]["bytes"] == 7


def test_the_same_payload_gives_the_same_bytes(outbox: Outbox, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    assert put(outbox, payload()).read_bytes() == put(Outbox(other), payload()).read_bytes()


def test_the_same_statistics_leave_the_file_as_it_is(outbox: Outbox) -> None:
    path = put(outbox, payload())
    before = (path.read_bytes(), path.stat().st_mtime_ns, path.stat().st_ino)
    assert put(outbox, payload(at="2020-10-10 10:10:10")) == path
    assert put(outbox, payload(at="2020-10-10 10:10:10"), replace=True) == path
    assert (path.read_bytes(), path.stat().st_mtime_ns, path.stat().st_ino) == before


def test_other_statistics_for_these_days_are_a_choice_of_the_operator(outbox: Outbox) -> None:
    path = put(outbox, payload())
    with pytest.raises(AggregateExists, match=r"(?s)2020-09-18_2020-09-18\.json\.gz.*--suffix.*--replace"):
        put(outbox, payload(size=7))
    assert content(path)["stats"][0]["bytes"] == 512


@pytest.mark.parametrize(
    "there",
    [b"", b"half", gzip.compress(b"{}"), gzip.compress(b'{"stats": []')],
    # Else they would have the time of packing in them, which differs from process to process.
    ids=["empty", "half", "of nothing", "of what is cut off"],
)
def test_a_file_that_is_no_payload_is_not_overwritten_either(there: bytes, outbox: Outbox) -> None:
    path = outbox.directory / "2020-09-18_2020-09-18.json.gz"
    path.write_bytes(there)
    with pytest.raises(AggregateExists):
        put(outbox, payload())
    assert path.read_bytes() == there
    put(outbox, payload(), replace=True)
    assert content(path)["stats"][0]["bytes"] == 512


def test_a_correction_replaces(outbox: Outbox) -> None:
    put(outbox, payload())
    assert content(put(outbox, payload(size=7), replace=True))["stats"][0]["bytes"] == 7
    assert names(outbox) == ["2020-09-18_2020-09-18.json.gz"]


def test_a_file_that_is_to_be_sent_is_queued_until_it_was(outbox: Outbox) -> None:
    path = put(outbox, payload(), send_to=URL)
    assert outbox.queued(URL) == ([path], [])
    outbox.delivered(path, URL, "201 Created", NOW)
    assert outbox.queued(URL) == ([], [])
    assert receipt(path) == {
        "hash": payload().hash(),
        "queued": [],
        "corrections": [],
        "sent": [
            {"url": URL, "hash": payload().hash(), "sent_at": "2020-09-19T06:30:00Z", "answer": "201 Created"}
        ],
        "attempted": {},
        "named": {},
    }


def test_what_was_delivered_is_not_queued_again(outbox: Outbox) -> None:
    path = put(outbox, payload(), send_to=URL)
    outbox.delivered(path, URL, "201 Created", NOW)
    put(outbox, payload(at="2020-10-10 10:10:10"), send_to=URL)
    assert outbox.queued(URL) == ([], [])


def test_queued_files_go_in_the_order_of_their_days(outbox: Outbox) -> None:
    paths = [put(outbox, payload(days=(day,)), send_to=URL) for day in (20, 17, 18)]
    assert outbox.queued(URL)[0] == sorted(paths)


def test_a_file_without_a_delivery_file_is_never_sent_unasked(outbox: Outbox) -> None:
    path = put(outbox, payload())
    (outbox.directory / "2020-09-01_2020-09-01.json.gz").write_bytes(path.read_bytes())
    assert outbox.queued(URL) == ([], [])
    put(outbox, payload(), send_to=URL)  # now it was asked for
    assert outbox.queued(URL) == ([path], [])


def test_what_is_queued_for_another_service_waits_for_it(outbox: Outbox) -> None:
    path = put(outbox, payload(), send_to=ELSEWHERE)
    ready, (complaint,) = outbox.queued(URL)
    assert ready == []
    assert ELSEWHERE in str(complaint)
    assert outbox.queued(ELSEWHERE) == ([path], [])


def test_one_file_can_go_to_two_services(outbox: Outbox) -> None:
    path = put(outbox, payload(), send_to=ELSEWHERE)
    put(outbox, payload(), send_to=URL)
    outbox.delivered(path, URL, "201 Created", NOW)
    assert outbox.queued(URL)[0] == []
    assert outbox.queued(ELSEWHERE) == ([path], [])


def test_a_correction_of_what_waits_is_sent_instead(outbox: Outbox) -> None:
    path = put(outbox, payload(), send_to=URL)
    put(outbox, payload(size=7), replace=True)
    assert outbox.queued(URL) == ([path], [])
    assert content(path)["stats"][0]["bytes"] == 7


def test_a_correction_of_what_was_delivered_is_sent_as_one(outbox: Outbox) -> None:
    path = delivered(outbox, payload())
    with pytest.raises(AggregateExists, match=r"(?s)--suffix.*--replace"):
        put(outbox, payload(size=7), send_to=URL)
    assert content(path)["stats"][0]["bytes"] == 512
    assert outbox.queued(URL) == ([], [])
    put(outbox, payload(size=7), replace=True, send_to=URL)
    assert content(path)["stats"][0]["bytes"] == 7
    assert outbox.queued(URL) == ([path], [])
    assert receipt(path)["corrections"] == [URL]
    # What is there is named by its hash.
    assert outbox.attempt(path, URL) == correction_of(payload())
    outbox.delivered(path, URL, "200 OK", NOW)
    assert outbox.queued(URL) == ([], [])
    assert receipt(path)["corrections"] == []
    assert [one["hash"] for one in receipt(path)["sent"]] == [payload().hash(), payload(size=7).hash()]


def test_a_correction_before_anything_was_sent_is_the_first_that_is_sent(outbox: Outbox) -> None:
    path = put(outbox, payload(), send_to=URL)
    put(outbox, payload(size=7), replace=True, send_to=URL)
    assert receipt(path)["corrections"] == []
    assert outbox.attempt(path, URL) == Attempt(correction=False, may_have_arrived=False)


def test_a_correction_that_is_not_to_be_sent_is_not_and_can_be_later(outbox: Outbox) -> None:
    path = delivered(outbox, payload())
    put(outbox, payload(size=7), replace=True)
    assert outbox.queued(URL) == ([], [])
    assert content(path)["stats"][0]["bytes"] == 7
    # The service has other content, so it is still a choice.
    with pytest.raises(AggregateExists, match=r"(?s)was delivered to .* with other content.*--replace"):
        put(outbox, payload(size=7), send_to=URL)
    assert outbox.queued(URL) == ([], [])
    put(outbox, payload(size=7), replace=True, send_to=URL)
    assert outbox.attempt(path, URL).correction


def test_a_correction_of_a_file_that_was_removed_is_one_all_the_same(outbox: Outbox) -> None:
    delivered(outbox, payload()).unlink()
    with pytest.raises(AggregateExists, match="--replace"):
        put(outbox, payload(size=7), send_to=URL)
    path = put(outbox, payload(size=7), replace=True, send_to=URL)
    assert outbox.queued(URL) == ([path], [])
    assert outbox.attempt(path, URL).correction


def test_corrections_follow_one_another(outbox: Outbox) -> None:
    path = delivered(outbox, payload())
    # One that waits is replaced by the next one.
    for size in (7, 8):
        put(outbox, payload(size=size), replace=True, send_to=URL)
        assert outbox.queued(URL) == ([path], [])
        assert content(path)["stats"][0]["bytes"] == size
        assert receipt(path)["corrections"] == [URL]
    deliver(outbox, path)
    # One that was delivered is corrected like the first content.
    put(outbox, payload(size=9), replace=True, send_to=URL)
    assert outbox.attempt(path, URL).correction
    assert len(receipt(path)["sent"]) == 2


def test_a_correction_that_is_taken_back_before_it_was_sent_is_not_sent(outbox: Outbox) -> None:
    path = delivered(outbox, payload())
    put(outbox, payload(size=7), replace=True, send_to=URL)
    put(outbox, payload(), replace=True)
    assert content(path)["stats"][0]["bytes"] == 512
    assert outbox.queued(URL) == ([], [])
    assert (receipt(path)["queued"], receipt(path)["corrections"]) == ([], [])
    put(outbox, payload(), send_to=URL)
    assert outbox.queued(URL) == ([], [])


def test_what_was_delivered_is_sent_again_if_that_is_asked_for(outbox: Outbox) -> None:
    """It may have been retracted. It names itself, so that it replaces nothing of another server."""
    path = delivered(outbox, payload())
    assert outbox.receipt(path, URL) is not None
    put(outbox, payload(), replace=True, send_to=URL)
    assert outbox.receipt(path, URL) is None
    assert outbox.queued(URL) == ([path], [])
    # Who runs it once more without asking for it has not taken it back.
    put(outbox, payload(), send_to=URL)
    assert outbox.attempt(path, URL) == correction_of(payload())
    deliver(outbox, path)
    assert outbox.queued(URL) == ([], [])
    # It is remembered once, however often it was sent.
    assert [one["hash"] for one in receipt(path)["sent"]] == [payload().hash()]


def test_the_receipt_is_that_for_the_file_as_it_is(outbox: Outbox) -> None:
    path = delivered(outbox, payload())
    told = outbox.receipt(path, URL)
    assert told is not None
    assert (told.url, told.sent_at) == (URL, "2020-09-19T06:30:00Z")
    assert outbox.receipt(path, ELSEWHERE) is outbox.receipt(path, None) is None
    put(outbox, payload(size=7), replace=True)
    assert outbox.receipt(path, URL) is None


def test_the_first_content_replaces_the_correction_that_was_delivered(outbox: Outbox) -> None:
    """What is in force is what was taken in last, not whatever was taken in once."""
    path = delivered(outbox, payload())
    put(outbox, payload(size=7), replace=True, send_to=URL)
    deliver(outbox, path)
    put(outbox, payload(size=7), send_to=URL)
    assert outbox.queued(URL) == ([], [])
    with pytest.raises(AggregateExists, match="--replace"):
        put(outbox, payload(), send_to=URL)
    put(outbox, payload(), replace=True, send_to=URL)
    assert outbox.queued(URL) == ([path], [])
    assert outbox.attempt(path, URL).correction


def test_a_correction_of_what_may_have_arrived_is_refused_until_that_is_known(outbox: Outbox) -> None:
    """The service adds up what it gets: if the answer was lost, the first content may be in it."""
    path = put(outbox, payload(), send_to=URL)
    assert outbox.attempt(path, URL) == Attempt(correction=False, may_have_arrived=False)
    for send_to in (URL, None):
        with pytest.raises(AggregateExists, match="may have been taken in"):
            put(outbox, payload(size=7), replace=True, send_to=send_to)
    assert content(path)["stats"][0]["bytes"] == 512
    assert outbox.queued(URL) == ([path], [])
    assert outbox.attempt(path, URL) == Attempt(correction=False, may_have_arrived=True)
    outbox.not_arrived(path, URL)
    put(outbox, payload(size=7), replace=True, send_to=URL)
    assert outbox.queued(URL) == ([path], [])
    assert receipt(path)["corrections"] == []


def test_what_may_have_arrived_and_has_is_corrected_as_what_was_delivered(outbox: Outbox) -> None:
    path = put(outbox, payload(), send_to=URL)
    outbox.attempt(path, URL)
    deliver(outbox, path)  # the next run: the service has it already
    put(outbox, payload(size=7), replace=True, send_to=URL)
    assert outbox.attempt(path, URL).correction


def test_after_a_correction_whose_answer_was_lost_nothing_else_is_sent(outbox: Outbox) -> None:
    """Not even what was there before: the service may have either."""
    path = delivered(outbox, payload())
    put(outbox, payload(size=7), replace=True, send_to=URL)
    outbox.attempt(path, URL)
    for other in (payload(size=8), payload()):
        with pytest.raises(AggregateExists, match="may have been taken in"):
            put(outbox, other, replace=True, send_to=URL)
    put(outbox, payload(size=7), send_to=URL, replace=True)
    assert outbox.queued(URL) == ([path], [])
    assert outbox.attempt(path, URL) == correction_of(payload(), may_have_arrived=True)
    outbox.delivered(path, URL, "409 Conflict", NOW)
    put(outbox, payload(size=8), replace=True, send_to=URL)
    assert outbox.attempt(path, URL) == correction_of(payload(size=7))


def test_a_correction_is_one_only_where_something_was_delivered(outbox: Outbox) -> None:
    path = delivered(outbox, payload())
    put(outbox, payload(), send_to=ELSEWHERE)
    put(outbox, payload(size=7), replace=True, send_to=URL)
    assert receipt(path)["queued"] == sorted([URL, ELSEWHERE])
    assert outbox.attempt(path, URL).correction
    assert not outbox.attempt(path, ELSEWHERE).correction
    outbox.delivered(path, ELSEWHERE, "201 Created", NOW)
    assert outbox.queued(URL) == ([path], [])
    assert receipt(path)["corrections"] == [URL]


def test_a_correction_of_one_server_leaves_the_file_of_another_alone(outbox: Outbox) -> None:
    one, other = delivered(outbox, payload()), delivered(outbox, payload(size=5), suffix="server2")
    put(outbox, payload(size=7), suffix="server2", replace=True, send_to=URL)
    assert outbox.queued(URL) == ([other], [])
    assert outbox.attempt(other, URL).correction
    assert content(one)["stats"][0]["bytes"] == 512


@pytest.mark.parametrize("present", [True, False])
def test_a_correction_of_which_nothing_is_remembered_is_sent_as_one(present: bool, outbox: Outbox) -> None:
    """It may have been sent by an older aggregator, or its delivery file is lost."""
    if present:
        put(outbox, payload())
    path = put(outbox, payload(size=7), replace=True, send_to=URL)
    assert outbox.attempt(path, URL) == Attempt(correction=True, may_have_arrived=False)


@pytest.mark.parametrize("before", ["nothing", "elsewhere"])
def test_of_several_servers_a_correction_of_which_nothing_is_remembered_is_to_be_alone(
    before: str, outbox: Outbox
) -> None:
    """What the service has of these days may be another server's."""
    if before == "elsewhere":
        delivered(outbox, payload(), url=ELSEWHERE, suffix="b")
    path = put(outbox, payload(size=7), suffix="b", replace=True, send_to=URL)
    assert outbox.attempt(path, URL) == Attempt(correction=False, may_have_arrived=False, alone=True)
    outbox.not_arrived(path, URL)
    # Its operator says that others count beside it.
    put(outbox, payload(size=7), suffix="b", send_to=URL)
    assert outbox.attempt(path, URL) == Attempt(correction=False, may_have_arrived=False)


def test_what_an_operator_names_is_replaced_besides_what_is_remembered(outbox: Outbox) -> None:
    path = delivered(outbox, payload())
    put(outbox, payload(size=7), replace=True, send_to=URL, replaces=[17, 5])
    for _ in range(2):  # the next run names it as well
        assert outbox.attempt(path, URL) == correction_of(payload(), "5", "17")
        outbox.not_arrived(path, URL)
    deliver(outbox, path)
    put(outbox, payload(size=8), replace=True, send_to=URL)
    assert outbox.attempt(path, URL) == correction_of(payload(size=7))


def test_the_last_run_says_what_is_replaced(outbox: Outbox) -> None:
    """A number that was a mistake is not named for ever."""
    path = put(outbox, payload(), replace=True, send_to=URL, suffix="b", replaces=[17])
    for replaces, expected in (
        ([18], Attempt(correction=True, may_have_arrived=False, replaces=("18",))),
        ([], Attempt(correction=False, may_have_arrived=False, alone=True)),
    ):
        put(outbox, payload(), replace=True, send_to=URL, suffix="b", replaces=replaces)
        assert outbox.attempt(path, URL) == expected
        outbox.not_arrived(path, URL)


def test_what_an_operator_names_is_named_to_the_service_that_has_it(outbox: Outbox) -> None:
    path = put(outbox, payload(), replace=True, send_to=URL, replaces=[17])
    put(outbox, payload(), send_to=ELSEWHERE)
    assert outbox.attempt(path, ELSEWHERE) == Attempt(correction=False, may_have_arrived=False)
    assert outbox.attempt(path, URL).replaces == ("17",)
    # Where it has moved, its payloads may have other numbers.
    outbox.requeue("http://127.0.0.1/moved")
    assert outbox.attempt(path, "http://127.0.0.1/moved").replaces == ()


@pytest.mark.parametrize("suffix", ["", "b"])
def test_what_the_service_does_not_know_is_forgotten(suffix: str, outbox: Outbox) -> None:
    path = delivered(outbox, payload(), suffix=suffix)
    put(outbox, payload(size=7), replace=True, send_to=URL, suffix=suffix)
    deliver(outbox, path)
    put(outbox, payload(size=8), replace=True, send_to=URL, suffix=suffix)
    assert outbox.attempt(path, URL) == correction_of(payload(size=7))
    outbox.not_arrived(path, URL)
    assert not outbox.forget(path, URL, [])
    assert not outbox.forget(path, ELSEWHERE, [payload(size=7).hash()])
    # It may have been restored from a time before that, so what was sent before is named.
    assert outbox.forget(path, URL, [payload(size=7).hash()])
    assert outbox.attempt(path, URL) == correction_of(payload())
    outbox.not_arrived(path, URL)
    assert outbox.forget(path, URL, [payload().hash()])
    assert receipt(path)["sent"] == []
    assert outbox.attempt(path, URL) == Attempt(not suffix, may_have_arrived=False, alone=bool(suffix))


def test_a_delivery_file_of_before_is_read(outbox: Outbox) -> None:
    path = put(outbox, payload())
    sent = {"url": URL, "hash": payload(size=7).hash(), "sent_at": "2020-09-19T06:30:00Z", "answer": "201 CREATED"}
    for receipts, expected in (([sent], correction_of(payload(size=7))), ([], Attempt(True, False))):
        before = {"hash": payload().hash(), "queued": [URL], "corrections": [URL], "sent": receipts}
        path.with_name(f"{path.name}.delivery").write_text(json.dumps(before))
        assert outbox.queued(URL) == ([path], [])
        assert outbox.attempt(path, URL) == expected


def test_a_correction_of_what_waits_for_its_first_delivery_is_none_to_the_service(outbox: Outbox) -> None:
    path = put(outbox, payload(), send_to=URL)
    put(outbox, payload(size=7), replace=True, send_to=URL)
    assert outbox.attempt(path, URL) == Attempt(correction=False, may_have_arrived=False)


@pytest.mark.parametrize("first", ["removed", "there"])
def test_a_correction_that_was_killed_before_its_file_was_written_is_told_and_run_again(
    first: str, outbox: Outbox
) -> None:
    path = delivered(outbox, payload())
    if first == "removed":
        path.unlink()
    with patch.object(gzip, "compress", killed), pytest.raises(KeyboardInterrupt):
        put(outbox, payload(size=7), replace=True, send_to=URL)
    assert (receipt(path)["hash"], receipt(path)["corrections"]) == (payload(size=7).hash(), [URL])
    # Nothing is sent: neither what is not there, nor what was there before.
    ready, (complaint,) = outbox.queued(URL)
    assert ready == []
    assert "was not written to its end" in str(complaint)
    put(outbox, payload(size=7), replace=True, send_to=URL)
    assert outbox.queued(URL) == ([path], [])
    assert outbox.attempt(path, URL) == correction_of(payload())


def test_a_correction_that_was_killed_and_is_taken_back_leaves_what_was_delivered(
    outbox: Outbox,
) -> None:
    path = delivered(outbox, payload())
    with patch.object(gzip, "compress", killed), pytest.raises(KeyboardInterrupt):
        put(outbox, payload(size=7), replace=True, send_to=URL)
    put(outbox, payload(), send_to=URL)
    assert outbox.queued(URL) == ([], [])
    assert receipt(path)["hash"] == payload().hash()


def killed(*_: object, **__: object) -> bytes:
    raise KeyboardInterrupt


def test_a_correction_that_waits_for_a_service_that_has_moved_is_one_at_its_new_place(outbox: Outbox) -> None:
    path = delivered(outbox, payload(), url=ELSEWHERE)
    put(outbox, payload(size=7), replace=True, send_to=ELSEWHERE)
    outbox.requeue(URL)
    assert outbox.queued(URL) == ([path], [])
    # What the service has given its receipt for has moved with it.
    assert outbox.attempt(path, URL) == correction_of(payload())
    outbox.not_arrived(path, URL)
    put(outbox, payload(size=8), replace=True, send_to=URL)
    assert outbox.attempt(path, URL) == correction_of(payload())
    outbox.delivered(path, URL, "200 OK", NOW)
    assert outbox.queued(ELSEWHERE) == outbox.queued(URL) == ([], [])
    put(outbox, payload(size=9), replace=True, send_to=URL)
    assert outbox.attempt(path, URL).correction


def test_what_is_queued_anew_for_a_service_that_has_an_earlier_content_is_a_correction(outbox: Outbox) -> None:
    path = delivered(outbox, payload())
    put(outbox, payload(size=7), replace=True, send_to=ELSEWHERE)
    outbox.requeue(URL)
    assert outbox.queued(URL) == ([path], [])
    assert outbox.attempt(path, URL) == correction_of(payload())


def test_what_is_to_be_sent_again_is_so_where_the_service_has_moved(outbox: Outbox) -> None:
    path = delivered(outbox, payload(), url=ELSEWHERE)
    put(outbox, payload(), replace=True, send_to=ELSEWHERE)
    outbox.requeue(URL)
    assert outbox.queued(URL) == ([path], [])
    assert outbox.attempt(path, URL) == correction_of(payload())


def test_what_is_queued_anew_for_a_service_that_has_it_is_not_sent(outbox: Outbox) -> None:
    path = delivered(outbox, payload())
    put(outbox, payload(), send_to=ELSEWHERE)
    outbox.requeue(URL)
    assert outbox.queued(URL) == ([], [])
    assert (receipt(path)["queued"], receipt(path)["corrections"]) == ([], [])


CHOICES = [{"replace": replace, "send_to": send_to} for replace in (False, True) for send_to in (None, URL)]


@pytest.mark.parametrize("choices", CHOICES, ids=str)
@pytest.mark.parametrize("before", ["nothing", "the same", "another", "sent", "corrected", "lost"])
def test_what_would_be_put_is_what_is_put_and_nothing_is_done(
    before: str, choices: dict[str, Any], outbox: Outbox
) -> None:
    match before:
        case "the same":
            put(outbox, payload(size=7))
        case "another":
            put(outbox, payload())
        case "sent" | "corrected":
            delivered(outbox, payload())
            if before == "corrected":
                put(outbox, payload(size=7), replace=True, send_to=URL)
        case "lost":
            outbox.attempt(put(outbox, payload(), send_to=URL), URL)
    there = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in outbox.directory.iterdir()}
    made = payload(size=7)
    would, does = [], []
    rehearsal = Rehearsal(outbox.directory)
    for how, outcomes in ((rehearsal.put, would), (outbox.put, does)):
        try:
            outcomes.append(how(made, suffix="", **choices))
        except AggregateExists as refusal:
            outcomes.append(str(refusal))
        if how == rehearsal.put:
            now = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in outbox.directory.iterdir()}
            assert now == there
    assert would == does


def test_what_would_be_put_into_a_directory_that_is_not_there_makes_none(tmp_path: Path) -> None:
    rehearsal = Rehearsal(tmp_path / "a/b")
    rehearsal.make()
    path = rehearsal.put(payload(days=(17, 18)), suffix="x", replace=False, send_to=URL)
    assert path == tmp_path / "a/b/2020-09-17_2020-09-18_x.json.gz"
    assert not (tmp_path / "a").exists()


class CentralService:
    """What a service makes of what it is sent: a POST adds, unless that is in force; a PUT replaces."""

    def __init__(self) -> None:
        self.known: set[str] = set()
        self.counted: list[str] = []

    def take(self, digest: str, attempt: Attempt) -> str:
        """Take a payload in.

        Raises:
            PayloadRefused: if it does not know what is to be replaced, or has something where nothing is to be.
        """
        unknown = set(attempt.replaces) - self.known - {digest}
        if unknown or (attempt.alone and self.counted and digest not in self.counted):
            raise PayloadRefused(unknown=unknown)
        if attempt.replaces:
            self.counted = [one for one in self.counted if one not in attempt.replaces]
        elif attempt.correction and digest not in self.counted:
            self.counted = []
        if digest in self.counted:
            return "409 Conflict"
        self.known.add(digest)
        self.counted.append(digest)
        return "201 Created"

    def retract(self) -> None:
        self.counted = []

    def lose(self) -> None:
        self.known, self.counted = set(), []


mostly = st.sampled_from([True, True, True, False])
puts = st.tuples(st.sampled_from(["put", "put", "put", "killed put"]), st.integers(1, 3), mostly, mostly)
runs = st.tuples(
    st.just("run"),
    st.sampled_from(["taken"] * 4 + ["lost on the way", "answer lost", "refused", "killed", "killed late"]),
)
at_the_centre = st.tuples(st.sampled_from(["retract", "lose"]))


@settings(deadline=None, max_examples=300)
@given(
    st.lists(st.one_of(puts, puts, runs, runs, at_the_centre), max_size=12),
    st.integers(1, 3),
    st.sampled_from(["", "b"]),
)
def test_whatever_happens_the_days_are_counted_once(events: list[tuple[Any, ...]], last: int, suffix: str) -> None:
    service = CentralService()
    with tempfile.TemporaryDirectory() as directory:
        outbox = Outbox(Path(directory))
        for kind, *details in events:
            if kind == "run":
                run(outbox, service, *details)
            elif kind == "retract":
                service.retract()
            elif kind == "lose":
                service.lose()
            else:
                size, replace, send = details
                choices = {"suffix": suffix, "replace": replace, "send_to": URL if send else None}
                try_to_put(outbox, payload(size=size), kind == "put", **choices)
            assert len(service.counted) <= 1
        # At the end a service that answers has what its node wants it to have.
        run(outbox, service, "taken")
        try_to_put(outbox, payload(size=last), True, suffix=suffix, replace=True, send_to=URL)
        run(outbox, service, "taken")
        assert service.counted == [payload(size=last).hash()]
        assert outbox.queued(URL) == ([], [])


def try_to_put(outbox: Outbox, made: Payload, lives: bool, **choices: Any) -> None:
    writing = patch.object(gzip, "compress", gzip.compress if lives else killed)
    with writing, contextlib.suppress(AggregateExists, KeyboardInterrupt):
        put(outbox, made, **choices)


def run(outbox: Outbox, service: CentralService, outcome: str) -> None:
    """Do what a run does with what is queued."""
    waiting, _ = outbox.queued(URL)
    for path in waiting:
        attempt = outbox.attempt(path, URL)
        answer = None
        if outcome in ("taken", "answer lost", "killed late"):
            digest = decode(gzip.decompress(path.read_bytes()), today=datetime.date(2020, 9, 19)).hash()
            try:
                answer = service.take(digest, attempt)
            except PayloadRefused as refusal:
                if not attempt.may_have_arrived:
                    outbox.not_arrived(path, URL)
                if outbox.forget(path, URL, refusal.unknown):
                    waiting.append(path)
        if outcome == "taken" and answer is not None:
            outbox.delivered(path, URL, answer, NOW)
        elif outcome == "refused" and not attempt.may_have_arrived:
            outbox.not_arrived(path, URL)


def test_what_waits_for_a_service_that_has_moved_goes_to_its_new_place(outbox: Outbox) -> None:
    path = put(outbox, payload(), send_to=ELSEWHERE)
    outbox.requeue(URL)
    assert outbox.queued(URL) == ([path], [])
    outbox.delivered(path, URL, "201 Created", NOW)
    # nothing is left that waits for the old one
    assert outbox.queued(ELSEWHERE) == ([], [])


def test_what_may_have_arrived_at_a_service_is_not_forgotten_when_it_moves(outbox: Outbox) -> None:
    path = put(outbox, payload(), send_to=ELSEWHERE)
    outbox.attempt(path, ELSEWHERE)
    outbox.requeue(URL)
    with pytest.raises(AggregateExists, match="may have been taken in"):
        put(outbox, payload(size=7), replace=True, send_to=URL)


def test_a_run_that_waits_for_another_one_says_so(outbox: Outbox) -> None:
    told: list[str] = []
    with ThreadPoolExecutor(1) as pool:
        with outbox.locked(warn=told.append):
            second = pool.submit(enter, outbox, told)
            while not told and not second.done():
                time.sleep(0.01)
            assert not second.done()
            assert "waiting" in told[0]
        second.result(timeout=30)


def enter(outbox: Outbox, told: list[str]) -> None:
    with outbox.locked(warn=told.append):
        pass


@pytest.mark.parametrize("left", ["nothing", "another content", "half a file"])
def test_a_write_that_was_interrupted_is_told_and_not_sent(left: str, outbox: Outbox) -> None:
    path = put(outbox, payload(), send_to=URL)
    whole = path.read_bytes()
    match left:
        case "nothing":
            path.unlink()
        case "another content":
            path.write_bytes(gzip.compress(payload(size=7).to_json()))
        case _:
            path.write_bytes(whole[: len(whole) // 2])
    ready, (complaint,) = outbox.queued(URL)
    assert ready == []
    assert str(path) in str(complaint)
    assert "Run its log again" in str(complaint)


def test_the_log_of_a_write_that_was_interrupted_can_be_run_again(outbox: Outbox) -> None:
    path = put(outbox, payload(), send_to=URL)
    path.unlink()
    put(outbox, payload(), send_to=URL)
    assert outbox.queued(URL) == ([path], [])


def test_a_delivery_file_that_cannot_be_read_is_told_and_nothing_sent(outbox: Outbox) -> None:
    path = put(outbox, payload(), send_to=URL)
    path.with_name(f"{path.name}.delivery").write_bytes(b"{")
    ready, (complaint,) = outbox.queued(URL)
    assert ready == []
    assert "cannot be read" in str(complaint)


def test_a_write_that_fails_leaves_nothing_and_no_half(outbox: Outbox, monkeypatch: pytest.MonkeyPatch) -> None:
    path = put(outbox, payload())

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UnwritableDirectory, match="No space left"):
        put(outbox, payload(size=7), replace=True)
    assert names(outbox) == [path.name]
    assert content(path)["stats"][0]["bytes"] == 512


def test_the_directory_is_made(tmp_path: Path) -> None:
    with Outbox(tmp_path / "a/b").locked(warn=print):
        assert (tmp_path / "a/b").is_dir()


def test_a_directory_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UnwritableDirectory, match="file"), Outbox(tmp_path / "file/b").locked(warn=print):
        pass
