"""Aggregate files: the same statistics make the same file, however their rows are divided."""

import datetime
import gzip
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from eida_statistics import hll
from eida_statistics.payload import Payload, Period, Row
from eida_stats_aggregator.delivery.aggregate import make_aggregate

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
def test_pieces_make_the_same_file(count: int, cuts: list[int]) -> None:
    whole = payload(count)
    places = [0, *sorted(cuts), count]
    pieces = [whole.stats[start:end] for start, end in pairwise(places)]
    divided = make_aggregate(structs.replace(whole, stats=[]), pieces)
    assert divided == make_aggregate(whole)
    assert divided.content == whole.content()
    assert gzip.decompress(divided.packed) == whole.to_json()
