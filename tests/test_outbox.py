"""Aggregate files: written whole, sent once."""

import datetime
import gzip
import json
import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from eida_statistics.errors import AggregateExists, UnwritableDirectory
from eida_statistics.hll import EMPTY, to_hex
from eida_statistics.payload import Payload, Row
from eida_stats_aggregator.outbox import Outbox

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


@pytest.mark.parametrize("there", [b"", b"half", gzip.compress(b"{}"), gzip.compress(b'{"stats": []')])
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
    receipt = json.loads(path.with_name(f"{path.name}.delivery").read_bytes())
    assert receipt == {
        "hash": payload().hash(),
        "queued": [],
        "sent": [
            {"url": URL, "hash": payload().hash(), "sent_at": "2020-09-19T06:30:00Z", "answer": "201 Created"}
        ],
        "attempted": {},
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


def test_a_correction_of_what_was_delivered_cannot_be_sent(outbox: Outbox) -> None:
    path = put(outbox, payload(), send_to=URL)
    outbox.delivered(path, URL, "201 Created", NOW)
    with pytest.raises(AggregateExists, match="twice"):
        put(outbox, payload(size=7), replace=True, send_to=URL)
    assert content(path)["stats"][0]["bytes"] == 512
    assert outbox.queued(URL) == ([], [])
    # it stays so when the file was corrected without sending it
    put(outbox, payload(size=7), replace=True)
    with pytest.raises(AggregateExists, match="twice"):
        put(outbox, payload(size=7), send_to=URL)
    assert outbox.queued(URL) == ([], [])


def test_a_correction_of_what_may_have_arrived_is_refused_until_that_is_known(outbox: Outbox) -> None:
    """The service adds up what it gets: if the answer was lost, the first content may be in it."""
    path = put(outbox, payload(), send_to=URL)
    assert outbox.attempt(path, URL) is False
    for send_to in (URL, None):
        with pytest.raises(AggregateExists, match="may have been taken in"):
            put(outbox, payload(size=7), replace=True, send_to=send_to)
    assert outbox.queued(URL) == ([path], [])
    assert outbox.attempt(path, URL) is True
    outbox.not_arrived(path, URL)
    put(outbox, payload(size=7), replace=True, send_to=URL)
    assert outbox.queued(URL) == ([path], [])


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
