"""Logs are read for the comparison as for aggregates."""

import bz2
import datetime
import gzip
import json
from pathlib import Path

import pytest

from eida_statistics import user_agents
from eida_statistics.networks import Epoch
from eida_stats_aggregator.archive import request_logs
from eida_stats_aggregator.archive.holdings import read_holdings
from eida_stats_aggregator.archive.request_logs import compare_logs
from eida_stats_aggregator.fdsnws.filters import RequestFilter
from eida_stats_aggregator.logs.sources import describe_log
from eida_stats_aggregator.parallel import processes
from support.aggregates import make_payload
from support.dates import NOVEMBER_2020 as DAY
from support.held_crawls import list_crawl_lines
from support.stubs import encode_log, make_log

_DAMAGE = (b"", b'{"half', b"\0\0\0", b"\xff", b'{"userID": 1, "finished": 1}')


def write_logs(folder: Path) -> list[str]:
    entries = list(make_log.requests(7, DAY, 300))
    lines = [json.dumps(entry).encode() for entry in entries]
    for number, damage in enumerate(_DAMAGE):
        lines.insert(7 + 20 * number, damage)
    # A torn record before a whole one; a request that was cut off, and is logged twice.
    lines[150] = lines[150][:40] + lines[151]
    cut_off = [encode_log(entry | {"status": status}) for entry in entries[200:204] for status in ("OK", "ERROR")]
    (folder / "a.log").write_bytes(b"\n".join(lines) + b"\n" + b"".join(cut_off))
    (folder / "b.log.bz2").write_bytes(bz2.compress(b"\n".join(lines[100:200])))
    (folder / "c.log.gz").write_bytes(gzip.compress(b"\n".join(lines[:20])))
    return sorted(map(str, folder.iterdir()))


@pytest.mark.parametrize("batch", [3, 10_000])
def test_lines_count_as_in_aggregates(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, batch: int) -> None:
    monkeypatch.setattr(request_logs, "_BATCH", batch)
    logs = write_logs(tmp_path)
    classes = user_agents.load_classes()
    tally = processes.read(
        [describe_log(Path(log)) for log in logs],
        RequestFilter(classes, datetime.datetime.now(tz=datetime.UTC).date()),
        lambda: [Epoch("Z3", datetime.date(2005, 1, 1))],
        jobs=1,
        progress=lambda _bytes, _lines: None,
    )
    comparison, summary = compare_logs(logs, read_holdings(list_crawl_lines([])), lambda network, _day: network)
    assert comparison.requests == tally.counted > 200
    assert (summary.ignored, summary.rejected, summary.repeated) == (tally.ignored, tally.rejected, tally.repeated)
    assert summary.rejected > len(_DAMAGE)
    assert summary.repeated > 100
    assert [(one.file, one.line, one.reason) for one in summary.rejects] == [
        (one.file, one.line, one.reason) for one in tally.rejects
    ]
    rows = make_payload(tally.aggregation, datetime.datetime.now(tz=datetime.UTC)).stats
    assert comparison.totals.bytes == sum(row.bytes for row in rows)
    assert comparison.totals.delivered == sum(row.nb_successful_requests for row in rows)
