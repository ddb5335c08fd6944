"""Rows are packed in several processes as in one."""

import os
import signal
from collections.abc import Sequence

import pytest

from eida_statistics.networks import NetworkRegistry
from eida_statistics.payload import Row
from eida_stats_aggregator.delivery.aggregate import Packed, pack_rows
from eida_stats_aggregator.errors import WorkerLost
from eida_stats_aggregator.fdsnws import sorted_rows
from eida_stats_aggregator.fdsnws.aggregation import Aggregation
from eida_stats_aggregator.fdsnws.request_log import Request, parse
from eida_stats_aggregator.fdsnws.sorted_rows import SortedRows
from eida_stats_aggregator.parallel import packing
from support.stubs import encode_log, line, trace

STREAMS = 50


@pytest.fixture
def rows(monkeypatch: pytest.MonkeyPatch) -> SortedRows:
    monkeypatch.setattr(sorted_rows, "_ROWS_AT_ONCE", 3)
    aggregation = Aggregation(NetworkRegistry(list))
    for user in range(3):
        traces = [trace(sta=f"S{number:02}") for number in range(STREAMS)]
        request = parse(encode_log(line(userID=user, trace=traces)).rstrip())
        assert isinstance(request, Request)
        aggregation.add(request)
    return aggregation.sort_rows()


@pytest.mark.parametrize("jobs", [1, 2, 3, 100])
def test_any_jobs_pack_the_same(rows: SortedRows, jobs: int) -> None:
    made = [rows.make_piece(number) for number in range(len(rows))]
    assert [row.station for piece in made for row in piece] == [f"S{number:02}" for number in range(STREAMS)]
    assert list(packing.pack(rows, jobs=jobs)) == list(map(pack_rows, made))


def test_no_rows_make_no_piece() -> None:
    rows = Aggregation(NetworkRegistry(list)).sort_rows()
    assert list(packing.pack(rows, jobs=2)) == []


def test_killed_process_is_reported(rows: SortedRows, monkeypatch: pytest.MonkeyPatch) -> None:
    first = os.getpid()

    def kill(some: Sequence[Row]) -> Packed:
        if os.getpid() == first:
            return pack_rows(some)
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError

    monkeypatch.setattr(packing, "pack_rows", kill)
    with pytest.raises(WorkerLost):
        list(packing.pack(rows, jobs=2))


def test_pieces_that_nobody_takes_are_no_fault(rows: SortedRows, capfd: pytest.CaptureFixture[str]) -> None:
    pieces = packing.pack(rows, jobs=3)
    next(pieces)
    pieces.close()
    assert capfd.readouterr() == ("", "")
