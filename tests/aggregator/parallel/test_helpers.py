"""Processes that help, and their faults."""

import multiprocessing
from multiprocessing.connection import Connection

import pytest

from eida_stats_aggregator.errors import WorkerLost
from eida_stats_aggregator.parallel.helpers import receive, send, start_helpers


def test_fault_that_cannot_be_sent_is_not_shown(capfd: pytest.CaptureFixture[str]) -> None:
    def fail(connection: Connection) -> None:
        connection.close()
        raise ZeroDivisionError

    with start_helpers(1, fail) as (helper,):
        (process,) = multiprocessing.active_children()
        with pytest.raises(WorkerLost):
            receive(helper)
        process.join()
    assert capfd.readouterr() == ("", "")


def test_nothing_can_be_sent_to_a_process_that_has_ended() -> None:
    with start_helpers(1, Connection.close, duplex=True) as (helper,):
        (process,) = multiprocessing.active_children()
        process.join()
        with pytest.raises(WorkerLost):
            send(helper, "work")
