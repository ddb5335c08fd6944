"""Requests that wait at the same time share a transaction."""

import datetime
import threading
from collections.abc import Sequence
from typing import cast

import pytest

from eida_statistics.connections import MAX_RECORDS, Count, Record
from eida_statistics.errors import EidaStatisticsError
from eida_stats_webservice.connections.collector import Collector
from eida_stats_webservice.connections.errors import UnusableSensor
from eida_stats_webservice.connections.intake import ConnectionIntake
from eida_stats_webservice.errors import DatabaseUnavailable, Unavailable
from eida_stats_webservice.registry.models import Node

NODE = Node(1, "N")
TIME = datetime.datetime(2026, 11, 22, tzinfo=datetime.UTC)


class Intake:
    """Notes what is stored, and can be held up before it stores."""

    def __init__(self) -> None:
        self.stored: list[list[str]] = []
        self.fault: Exception | None = None
        self.begun = threading.Semaphore(0)
        self.may_go_on = threading.Semaphore(0)

    def store(self, _node: Node, records: Sequence[Count], _arrival: object) -> None:
        self.begun.release()
        self.may_go_on.acquire()
        if self.fault is not None:
            raise self.fault
        names = [record.sensor for record in records]
        if "bad" in names:
            raise UnusableSensor("bad")
        self.stored.append(names)


class Requests:
    """Requests in threads of their own, each with its outcome."""

    def __init__(self) -> None:
        self.intake = Intake()
        self._collector = Collector(cast("ConnectionIntake", self.intake))
        self._threads: list[threading.Thread] = []
        self.errors: dict[str, Exception] = {}

    def begin(self, name: str, size: int = 1) -> None:
        """Begin a request; the first one waits in the intake."""

        def run() -> None:
            records: list[Record] = [Count(name, TIME, 1)] * size
            try:
                self._collector.store(NODE, records, None)
            except Exception as error:  # noqa: BLE001 -- any outcome
                self.errors[name] = error

        thread = threading.Thread(target=run)
        thread.start()
        self._threads.append(thread)
        if len(self._threads) == 1:
            self.intake.begun.acquire()
        else:
            # Until it waits for the first one.
            while thread.is_alive() and not self._is_waiting(len(self._threads) - 1):
                threading.Event().wait(0.001)

    def _is_waiting(self, count: int) -> bool:
        return sum(map(len, self._collector._waiting.values())) == count

    def finish(self) -> None:
        for _ in range(20):
            self.intake.may_go_on.release()
        for thread in self._threads:
            thread.join(10)
            assert not thread.is_alive()
        assert not self._collector._waiting
        assert not self._collector._storing


@pytest.fixture
def sent() -> Requests:
    return Requests()


def test_waiting_requests_are_stored_together(sent: Requests) -> None:
    for name in ("first", "second", "third"):
        sent.begin(name)
    sent.finish()
    assert sent.intake.stored == [["first"], ["second", "third"]]
    assert not sent.errors


def test_error_is_that_of_the_request_at_fault(sent: Requests) -> None:
    for name in ("first", "bad", "third"):
        sent.begin(name)
    sent.finish()
    assert sent.intake.stored == [["first"], ["third"]]
    assert sent.errors.keys() == {"bad"}
    assert isinstance(sent.errors["bad"], UnusableSensor)


def test_records_beyond_the_limit_wait(sent: Requests) -> None:
    sent.begin("first")
    sent.begin("second", MAX_RECORDS)
    sent.begin("third")
    sent.finish()
    assert list(map(len, sent.intake.stored)) == [1, MAX_RECORDS, 1]


@pytest.mark.parametrize("fault", [DatabaseUnavailable(), ZeroDivisionError()])
def test_fault_is_reported_to_all(sent: Requests, fault: Exception) -> None:
    for name in ("first", "second", "third"):
        sent.begin(name)
    sent.intake.fault = fault
    sent.finish()
    assert sent.errors.keys() == {"first", "second", "third"}
    assert sent.intake.stored == []
    for error in sent.errors.values():
        # The request that met an unexpected exception reports it; the others do not know it.
        assert error is fault or isinstance(error, Unavailable)
        assert isinstance(error, EidaStatisticsError | ZeroDivisionError)
