"""The rows of payloads column by column: all of them, and nothing but them, can be read again."""

import datetime
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eida_statistics import hll, packed_rows
from eida_statistics.errors import InvalidSketch
from eida_statistics.packed_rows import PackedNumbers, Packer, RowColumns, UnreadableRows, is_readable, unpack
from eida_statistics.payload import MAX_COUNT, Row
from eida_statistics.zstandard import zstd
from support.payloads import sketch

MONTHS = [datetime.date(2026, 10, 1), datetime.date(1990, 1, 1)]
CONTENT = "0123456789abcdef" * 2
CLIENTS = st.sets(st.integers(-(2**63), 2**63 - 1), max_size=4) | st.sampled_from(
    [range(160), range(161), range(-5000, 5000)]
)
COUNT = st.integers(0, MAX_COUNT) | st.sampled_from([0, 255, 256, 65_535, 65_536, 2**32 - 1, 2**32])
ROWS = st.lists(
    st.builds(
        Row,
        st.sampled_from(MONTHS),
        st.sampled_from(["", "GE", "Z32015"]),
        st.sampled_from(["", "A", "B"]),
        st.sampled_from(["--", "00"]),
        st.sampled_from(["BHZ", "H_-"]),
        st.sampled_from(["", "DE", "FR"]),
        COUNT,
        COUNT,
        COUNT,
        COUNT,
        CLIENTS.map(sketch),
    ),
    max_size=9,
)


def pack(*pieces: list[Row]) -> bytes:
    packer = Packer()
    for rows in pieces:
        packer.add(rows)
    return bytes(packer.finish(CONTENT))


def read(columns: RowColumns) -> Iterator[Row]:
    """Yield the rows of some columns, one value after the other."""
    ends = np.cumsum(columns.sizes.to_array()).tolist()
    hashes = columns.hashes.to_array().tolist()
    begin = 0
    for place, end in enumerate(ends):
        listed, begin = hashes[begin:end], end
        clients = columns.sketches[place] if place in columns.sketches else hll.encode(listed)
        assert (place in columns.sketches) is not bool(listed)
        stream = columns.stream_of_row.to_array()[place]
        assert columns.networks[columns.network_of_stream.to_array()[stream]] == columns.streams[stream][0]
        yield Row(
            columns.months[columns.month_of_row.to_array()[place]],
            *columns.streams[stream],
            columns.countries[columns.country_of_row.to_array()[place]],
            *(int(count.to_array()[place]) for count in columns.counts),
            hll.to_hex(clients),
        )


@given(rows=ROWS, first=st.integers(0, 9), at_once=st.integers(1, 10))
@settings(deadline=None)
def test_all_rows_are_read_again(rows: list[Row], first: int, at_once: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(packed_rows, "ROWS_AT_ONCE", at_once)
        packed = pack(rows)
        pieces = [list(read(columns)) for columns in unpack(packed, CONTENT)]
        assert pack(rows[:first], rows[first:]) == packed
    assert [row for piece in pieces for row in piece] == rows
    assert all(len(piece) == at_once for piece in pieces[:-1])


@pytest.mark.parametrize(
    ("numbers", "dtype"),
    [
        ([], "<u1"),
        ([0, 255], "<u1"),
        ([256], "<u2"),
        ([65_536], "<u4"),
        ([2**32 - 1], "<u4"),
        ([-1], "<i4"),
        ([-(2**31), 2**31 - 1], "<i4"),
        ([-1, 2**31], "<i8"),
        ([2**32], "<i8"),
        ([-(2**63), 2**63 - 1], "<i8"),
    ],
)
def test_numbers_take_as_little_room_as_they_need(numbers: list[int], dtype: str) -> None:
    made = PackedNumbers.from_array(np.array(numbers, dtype=np.int64))
    assert made.dtype == dtype
    assert made.to_array().tolist() == numbers


def test_damaged_rows_are_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packed_rows, "ROWS_AT_ONCE", 1)
    row = Row(MONTHS[0], "GE", "A", "", "BHZ", "DE", 1, 1, 1, 0, sketch(range(20)))
    packed = pack([row, row])
    damaged = [packed[:place] + bytes([packed[place] ^ 1]) + packed[place + 1 :] for place in range(len(packed))]
    # One of them after the first row.
    cut_off = [packed[:place] for place in range(len(packed))]
    header = pack()
    others = [zstd.compress(text) for text in (b"", b"{}", bytes(packed_rows._MOST_BYTES + 1))]
    for bad in (*damaged, *cut_off, packed + b"\0", packed + packed, *(header + other for other in others)):
        with pytest.raises(UnreadableRows):
            list(unpack(bad, CONTENT))
        assert not is_readable(bad, CONTENT)
    assert is_readable(packed, CONTENT)
    assert not is_readable(packed, CONTENT[::-1])
    assert list(unpack(header, CONTENT)) == []


def test_unknown_types_of_numbers_are_refused() -> None:
    with pytest.raises(UnreadableRows):
        PackedNumbers("<f8", bytes(8)).to_array()


@pytest.mark.parametrize("digits", ["0" * 15, "0" * 14 + "  ", "x" * 16])
def test_bad_sketches_are_refused(digits: str) -> None:
    row = Row(MONTHS[0], "GE", "A", "", "BHZ", "DE", 1, 1, 1, 0, sketch([1])[:-16] + digits)
    with pytest.raises(InvalidSketch):
        pack([row])
    row.clients = sketch(range(200))[:-2]
    with pytest.raises(InvalidSketch):
        pack([row])
