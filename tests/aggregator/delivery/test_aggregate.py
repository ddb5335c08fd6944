"""Aggregate files: the same statistics make the same file, however their rows are divided."""

import datetime
import gzip
import io
import subprocess
import zlib
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from eida_statistics import hll
from eida_statistics.payload import Payload, Period, Row
from eida_stats_aggregator.delivery.aggregate import make_aggregate, pack_rows

DAY = datetime.date(2020, 9, 18)


def payload(count: int) -> Payload:
    month, sketch = DAY.replace(day=1), hll.to_hex(hll.encode([1, 2]))
    return Payload(
        generated_at="2020-09-19 06:30:00",
        version="0.9.0",
        days_coverage=[DAY],
        aggregation_score=1,
        stats=[Row(month, "GE", f"S{number:02}", "", "BHZ", "DE", 9, 1, 1, 0, sketch) for number in range(count)],
        period=Period(DAY, DAY),
    )


@given(st.integers(0, 20), st.lists(st.integers(0, 20)))
def test_pieces_are_one_file(count: int, cuts: list[int]) -> None:
    whole = payload(count)
    pieces = [whole.stats[start:end] for start, end in pairwise([0, *sorted(cuts), count])]
    made = make_aggregate(structs.replace(whole, stats=[]), map(pack_rows, filter(None, pieces)))
    assert made.content == whole.content()
    assert gzip.decompress(made.packed) == whole.to_json()
    # A single member, which any program can unpack.
    unpacker = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
    assert unpacker.decompress(made.packed) == whole.to_json()
    assert (unpacker.eof, unpacker.unused_data) == (True, b"")
    unpacked = subprocess.run(["gzip", "-dc"], input=made.packed, capture_output=True, check=True)
    assert unpacked.stdout == whole.to_json()


def test_header_has_the_time_of_the_statistics() -> None:
    with gzip.GzipFile(fileobj=io.BytesIO(make_aggregate(payload(0)).packed)) as file:
        file.read()
        assert file.mtime == datetime.datetime(2020, 9, 19, 6, 30, tzinfo=datetime.UTC).timestamp()
