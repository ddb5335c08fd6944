"""Sending days of which the service has other statistics, and days whose delivery records were lost."""

import shutil
from collections.abc import Callable

import pytest

from support.ring_operator import RingOperator, record
from support.stubs import find_unused_url

HELD = "not sent: the service has other statistics of this day"

Lose = Callable[[RingOperator], None]


def _lose_directory(operator: RingOperator) -> None:
    shutil.rmtree(operator.home / "out")


def _lose_delivery_records(operator: RingOperator) -> None:
    for path in (operator.home / "out").glob("*.delivery"):
        path.unlink()


def _damage_delivery_records(operator: RingOperator) -> None:
    for path in (operator.home / "out").glob("*.delivery"):
        path.write_bytes(b"{")


@pytest.mark.parametrize("lose", [_lose_directory, _lose_delivery_records])
def test_lost_record_of_same_day_is_found(operator: RingOperator, lose: Lose) -> None:
    operator.write_day(1, record(1))
    operator.send()
    lose(operator)
    assert operator.results() == {"11-01": "already there"}
    assert operator.results() == {}


@pytest.mark.parametrize("lose", [_lose_directory, _lose_delivery_records, _damage_delivery_records])
def test_lost_record_of_grown_day_needs_a_decision(operator: RingOperator, lose: Lose) -> None:
    operator.write_day(1, record(1))
    operator.write_day(2, record(2))
    operator.send()
    lose(operator)
    operator.write_day(1, record(1), record(1, 2))
    operator.write_day(3, record(3))
    results = operator.results(code=4)
    assert results == {"11-01": HELD, "11-02": "already there", "11-03": "delivered"}
    again = operator.send()
    assert again.returncode == 4
    assert "2020-11-01 was not sent" in again.stderr
    assert "--server" in again.stderr
    assert operator.results("--replace")["11-01"] == "delivered (corrected)"
    assert operator.results() == {}
    assert sorted(one["day"] for one in operator.list_payloads()) == ["01", "02", "03"]


@pytest.mark.parametrize("lose", [_lose_directory, _lose_delivery_records])
def test_lost_record_does_not_stop_a_replacement(operator: RingOperator, lose: Lose) -> None:
    operator.write_day(1, record(1))
    operator.send()
    lose(operator)
    operator.write_day(1, record(1), record(1, 2))
    # It waits at first.
    assert operator.send("--replace", url=find_unused_url()).returncode == 3
    assert operator.results("--requeue") == {"11-01": "delivered"}
    assert operator.results() == {}
    assert len(operator.list_payloads()) == 1


def test_other_service_has_its_own_record(operator: RingOperator) -> None:
    operator.write_day(1, record(1))
    other = operator.url.replace("127.0.0.1", "localhost")
    operator.send(url=other)
    operator.write_day(1, record(1), record(1, 2))
    # The same service under another address: its record there is not known.
    assert operator.send().returncode == 4
    assert operator.results("--replace") == {"11-01": "delivered (corrected)"}
    # The file has changed since it was sent to the first address.
    assert operator.results(url=other) == {"11-01": "already there"}


def test_held_day_is_tried_again(operator: RingOperator) -> None:
    first = operator.write_day(1, record(1))
    operator.send()
    first.unlink()
    operator.write_day(1, record(1), server="rs-b")
    assert operator.results(code=4) == {"11-01": HELD}
    assert operator.send_json(code=4)["held"] == ["out/ringserver_2020-11-01_2020-11-01_rs-b.json.gz"]
    operator.retract_all()
    assert operator.results() == {"11-01": "delivered"}
    assert operator.results() == {}
    assert operator.list_payloads() == [{"day": "01", "source": "rs-b", "rows": 9}]


def test_advice_for_a_server_without_a_name_works(operator: RingOperator) -> None:
    first = operator.write_day(1, record(1))
    operator.send()
    (number,) = (one["payload"] for one in operator.ask("payloads?kind=ringserver")["payloads"])
    folder = operator.home / "first"
    folder.mkdir()
    first.rename(folder / first.name)
    operator.write_day(1, record(1, 2), server="rs-b")
    done = operator.send()
    assert done.returncode == 4
    assert f"eida_statsman payloads retract {number}\n" in done.stderr
    assert f"{operator.url}/payloads/{number}\n" in done.stderr
    assert "--replace" not in done.stderr
    operator.retract_all()
    assert operator.results() == {"11-01": "delivered"}
    assert operator.results("--server", "a", logs=folder) == {"11-01": "delivered"}
    assert [one["source"] for one in operator.list_payloads()] == ["rs-b", "a"]


def test_advice_for_logs_without_a_name_works(operator: RingOperator) -> None:
    first = operator.write_day(1, record(1), server="rs-b")
    operator.send()
    first.unlink()
    operator.write_day(1, record(1, 2))
    done = operator.send()
    assert done.returncode == 4
    assert "Use --server NAME" in done.stderr
    assert operator.results("--server", "a") == {"11-01": "delivered"}
    assert [one["source"] for one in operator.list_payloads()] == ["rs-b", "a"]


def test_days_that_names_do_not_cover_need_both_ends(operator: RingOperator) -> None:
    operator.write("plain.txt", record(1))
    operator.send()
    stated = ("--since", "2020-11-01", "--until", "2020-11-01")
    operator.write("plain.txt", record(1, 2))
    for words in ((), ("--replace",), ("--replace", *stated[:2])):
        done = operator.send(*words)
        assert done.returncode == 4
        assert "names of the files do not cover this day" in done.stderr
        assert f"--replace {' '.join(stated)}" in done.stderr
    operator.write("plain.txt", record(1), record(1, 2), record(1, 3))
    operator.send("--replace", *stated)
    operator.write("plain.txt", record(1))
    assert operator.send().returncode == 0
    fewer = operator.send("--replace")
    assert (fewer.returncode, " ".join(stated) in fewer.stderr) == (4, True)
