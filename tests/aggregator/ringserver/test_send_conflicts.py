"""Sending days of which the service has other statistics, and days whose delivery records were lost."""

import shutil
from collections.abc import Callable

import pytest

from support.ring_operator import RingOperator, record
from support.stubs import find_unused_url

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
    assert results == {"11-01": "waits for your decision", "11-02": "already there", "11-03": "delivered"}
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
