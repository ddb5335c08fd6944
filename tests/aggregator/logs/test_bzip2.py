"""Ranges of bzip2 files, unpacked independently of each other."""

import bz2
import itertools
import random
import shutil
import subprocess
import tempfile
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from eida_stats_aggregator.logs import bzip2, seven_zip
from eida_stats_aggregator.logs.bzip2 import NotSplittable
from eida_stats_aggregator.logs.seven_zip import Decoder
from support.stubs import make_log

CHUNK = 1 << 16
EMPTY = bz2.compress(b"")
BLOCK = bytes.fromhex("314159265359")
END = bytes.fromhex("177245385090")


MIN_BITS_AT_ONCE = bzip2._MIN_BITS_AT_ONCE
seven_zip.load()
DECODER = seven_zip.get_decoder()


@pytest.fixture(autouse=True, scope="module")
def decode_small_blocks() -> Iterator[None]:
    """Let the decoder of 7-Zip unpack all blocks, not only large ones."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bzip2, "_MIN_BITS_AT_ONCE", 0)
        yield


def unpack(packed: bytes, step: int, *, size: int | None = None, chunk_bytes: int = CHUNK) -> bytes:
    """Unpack a file range by range, each of so many bytes; `size` is what the file is taken to have.

    Both decoders return the same content, or refuse the file.
    """
    size = len(packed) if size is None else size
    with tempfile.TemporaryFile(buffering=0) as file:
        file.write(packed)

        def unpack_with(decoder: Decoder | None) -> bytes:
            return b"".join(
                chunk
                for start in range(0, size, step)
                for chunk in bzip2.unpack(
                    file.fileno(), start, min(start + step, size), size, chunk_bytes=chunk_bytes, decoder=decoder
                )
            )

        try:
            content = unpack_with(None)
        except NotSplittable:
            with pytest.raises(NotSplittable):
                unpack_with(DECODER)
            raise
        assert unpack_with(DECODER) == content
        return content


def unpacked_or_none(packed: bytes, step: int) -> bytes | None:
    try:
        return unpack(packed, step)
    except NotSplittable:
        return None


def noise(seed: int, size: int) -> bytes:
    """Return bytes that cannot be compressed."""
    return random.Random(seed).randbytes(size)


def in_parts(of: bytes, ranges: int) -> int:
    """How large each of so many ranges is."""
    return max(1, -(-len(of) // ranges))


LOG = b"".join(b'{"userID": %d, "service": "fdsnws-dataselect"}\n' % number for number in range(20_000))
SMALL = [b'{"userID": 1}\n{"us', b'erID": 2}\n', b"a" * 300, noise(1, 40)]

# Content with and without repetition, and content that looks like the beginning of a block or stream.
pieces = st.one_of(
    st.binary(max_size=60),
    st.builds(lambda text, times: text * times, st.binary(min_size=1, max_size=20), st.integers(1, 20_000)),
    st.builds(noise, st.integers(0, 99), st.integers(0, 60_000)),
    st.integers(0, len(LOG)).map(lambda end: LOG[:end]),
    st.sampled_from([BLOCK, END, b"1AY&SY", b"BZh9" + BLOCK, EMPTY, bz2.compress(b"within")]),
)
contents = st.lists(pieces, max_size=6).map(b"".join)
levels = st.integers(1, 9)


@pytest.mark.parametrize("level", range(1, 10))
def test_ranges_of_a_log_give_the_log(level: int) -> None:
    log = LOG + noise(level, 150_000) + LOG[::-1]
    packed = bz2.compress(log, level)
    for ranges in (1, 2, 3, 7, 50):
        assert unpack(packed, in_parts(packed, ranges)) == log


@settings(max_examples=40, deadline=None)
@given(content=contents, level=levels, ranges=st.integers(1, 12), chunk_bytes=st.sampled_from([1 << 10, CHUNK]))
def test_ranges_unpack_one_stream(content: bytes, level: int, ranges: int, chunk_bytes: int) -> None:
    packed = bz2.compress(content, level)
    if not content:
        with pytest.raises(NotSplittable):
            unpack(packed, in_parts(packed, ranges))
        return
    assert unpack(packed, in_parts(packed, ranges), chunk_bytes=chunk_bytes) == content


@settings(max_examples=40, deadline=None)
@given(streams=st.lists(st.tuples(contents, levels), min_size=1, max_size=6), ranges=st.integers(1, 12))
@example(streams=[(b"a", 9), (b"", 9), (b"", 1), (b"b", 9), (b"", 9)], ranges=1)
@example(streams=[(noise(1, 150_000), 1), (b"", 1), (noise(2, 150_000), 1)], ranges=5)
def test_ranges_unpack_several_streams(streams: list[tuple[bytes, int]], ranges: int) -> None:
    """As pbzip2 writes them, or who appends; some may be empty, but for the first."""
    packed = b"".join(bz2.compress(content, level) for content, level in streams)
    if not streams[0][0]:
        assert unpacked_or_none(packed, in_parts(packed, ranges)) is None
        return
    assert unpack(packed, in_parts(packed, ranges)) == bz2.decompress(packed)


def test_empty_streams_are_skipped() -> None:
    """As many as there can be between two blocks, which must not be too many to look back over."""
    packed = bz2.compress(b"a") + EMPTY * 4000 + bz2.compress(b"b") + EMPTY * 4000
    assert unpack(packed, in_parts(packed, 3)) == b"ab"


def test_one_byte_ranges_work() -> None:
    packed = b"".join(map(bz2.compress, SMALL))
    for step in range(1, len(packed) + 2):
        assert unpack(packed, step) == b"".join(SMALL)


def test_small_file_is_one_range() -> None:
    packed = bz2.compress(b"{}\n")
    with tempfile.TemporaryFile(buffering=0) as file:
        file.write(packed)
        whole = bzip2.unpack(file.fileno(), 0, len(packed), len(packed), chunk_bytes=CHUNK)
        assert b"".join(whole) == b"{}\n"


@pytest.mark.parametrize("command", ["bzip2", "lbzip2"])
@pytest.mark.parametrize("level", ["-1", "-9"])
def test_logs_from_packers_are_read(command: str, level: str) -> None:
    if shutil.which(command) is None:
        pytest.skip(f"there is no {command} here")
    log = noise(3, 250_000) + LOG
    packed = subprocess.run([command, level, "-c"], input=log, capture_output=True, check=True).stdout
    assert unpack(packed, in_parts(packed, 5)) == log


def test_generated_log_is_read_completely(tmp_path: Path) -> None:
    entries = list(make_log.requests(7, make_log.datetime.date(2020, 11, 2), 300))
    for name in ("a.log", "a.log.bz2"):
        make_log.write(tmp_path / name, entries)
    assert unpack((tmp_path / "a.log.bz2").read_bytes(), 1000) == (tmp_path / "a.log").read_bytes()


def test_bomb_block_needs_memory_of_a_chunk(monkeypatch: pytest.MonkeyPatch) -> None:
    """A run of one byte becomes a block of 40 bytes for 45 MB."""
    monkeypatch.setattr(bzip2, "_MIN_BITS_AT_ONCE", MIN_BITS_AT_ONCE)
    size = 60_000_000
    packed = bz2.compress(b"\0" * size)
    assert len(packed) < 200
    with tempfile.TemporaryFile(buffering=0) as file:
        file.write(packed)
        tracemalloc.start()
        try:
            given = 0
            for chunk in bzip2.unpack(
                file.fileno(), 0, len(packed), len(packed), chunk_bytes=CHUNK, decoder=DECODER
            ):
                assert len(chunk) <= CHUNK
                given += len(chunk)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert given == size
    assert peak < 8_000_000  # 3.7 MB are what unpacking takes anyway


# Something is wrong with the file


STREAMS = [bz2.compress(content) for content in SMALL]
CONCATENATED = STREAMS[0] + STREAMS[1] + EMPTY + STREAMS[2] + STREAMS[3]
BLOCKS = noise(5, 130_000)
OF_BLOCKS = bz2.compress(BLOCKS, 1)
TEXT = LOG[:130_000]
MIXED = OF_BLOCKS + EMPTY + bz2.compress(TEXT, 1)


def flipped(packed: bytes, bit: int) -> bytes:
    damaged = bytearray(packed)
    damaged[bit // 8] ^= 0x80 >> bit % 8
    return bytes(damaged)


def test_bit_flip_in_small_streams_is_noticed() -> None:
    """Also where a block is made unknown, which is no error of the blocks beside it."""
    for bit in range(8 * len(CONCATENATED)):
        for step in (40, len(CONCATENATED)):
            assert unpacked_or_none(flipped(CONCATENATED, bit), step) in (b"".join(SMALL), None), bit


@settings(max_examples=120, deadline=None)
@given(bit=st.integers(0, 8 * len(MIXED) - 1), ranges=st.integers(1, 6))
def test_bit_flip_in_many_blocks_is_noticed(bit: int, ranges: int) -> None:
    assert unpacked_or_none(flipped(MIXED, bit), in_parts(MIXED, ranges)) in (BLOCKS + TEXT, None)


def marked(packed: bytes) -> list[int]:
    """Return the bits at which the markers of blocks and streams begin."""
    bits = f"{int.from_bytes(packed):0{8 * len(packed)}b}"
    markers = [f"{int.from_bytes(marker):0{8 * len(marker)}b}" for marker in (BLOCK, END, b"BZh")]
    return [at for at in range(len(bits)) if any(bits.startswith(marker, at) for marker in markers)]


def test_bit_flip_between_blocks_is_noticed() -> None:
    """Flip bits of a marker or header, of the checksum behind it, and just before."""
    for place, offset in itertools.product(marked(MIXED), range(-9, 84, 4)):
        if 0 <= place + offset < 8 * len(MIXED):
            damaged = flipped(MIXED, place + offset)
            assert unpacked_or_none(damaged, in_parts(MIXED, 4)) in (BLOCKS + TEXT, None), (place, offset)


def test_truncated_file_is_not_splittable() -> None:
    """Except at the end of a stream, where the file is complete."""
    whole = {
        len(b"".join(STREAMS[:1])): SMALL[:1],
        len(b"".join(STREAMS[:2])): SMALL[:2],
        len(b"".join(STREAMS[:2]) + EMPTY): SMALL[:2],
        len(b"".join(STREAMS[:3]) + EMPTY): SMALL[:3],
    }
    for size in range(1, len(CONCATENATED)):
        for step in (40, len(CONCATENATED)):
            expected = b"".join(whole[size]) if size in whole else None
            assert unpacked_or_none(CONCATENATED[:size], step) == expected, size


@settings(max_examples=60, deadline=None)
@given(size=st.integers(1, len(OF_BLOCKS) - 1), ranges=st.integers(1, 6))
def test_truncated_stream_is_not_splittable(size: int, ranges: int) -> None:
    assert unpacked_or_none(OF_BLOCKS[:size], in_parts(OF_BLOCKS, ranges)) is None


@settings(max_examples=60, deadline=None)
@given(places=st.tuples(*[st.integers(0, len(MIXED))] * 2).map(sorted), ranges=st.integers(1, 6))
def test_damaged_bytes_are_noticed(places: list[int], ranges: int) -> None:
    first, last = places
    for damaged in (MIXED[:first] + MIXED[last:], MIXED[:first] + bytes(last - first) + MIXED[last:]):
        if damaged and damaged != MIXED:
            found = unpacked_or_none(damaged, in_parts(MIXED, ranges))
            assert found in (BLOCKS + TEXT, None) or found == bz2.decompress(damaged)


@pytest.mark.parametrize(
    "garbage",
    [
        b"\0",
        bytes(512),
        bytes(5000),
        b"\n",
        b"garbage",
        b"BZh9",
        b"BZ",
        BLOCK,
        b"BZh9" + BLOCK,
        END,
        EMPTY[4:],
        STREAMS[0][:-1],
        b"\n" + STREAMS[0],
        b"x" * 5000 + STREAMS[0] + b"y" * 5000,
        STREAMS[0][4:],
        noise(9, 5000),
    ],
)
@pytest.mark.parametrize("packed", [STREAMS[0], CONCATENATED, OF_BLOCKS])
def test_data_behind_last_stream_is_noticed(packed: bytes, garbage: bytes) -> None:
    for ranges in (1, 2, 9):
        assert unpacked_or_none(packed + garbage, in_parts(packed, ranges)) is None


@settings(max_examples=40, deadline=None)
@given(between=st.binary(min_size=1, max_size=100), ranges=st.integers(1, 9))
@example(between=bytes(10), ranges=1)
@example(between=BLOCK, ranges=2)
def test_data_between_streams_is_noticed(between: bytes, ranges: int) -> None:
    for before in (STREAMS[0], OF_BLOCKS):
        packed = before + between + STREAMS[1]
        assert unpacked_or_none(packed, in_parts(packed, ranges)) in (None, bz2.decompress(packed))


@pytest.mark.parametrize(
    "content", [b"B", b"BZh9", b"BZh9 is how it begins\n", EMPTY, EMPTY * 3, b"BZh0" + STREAMS[0][4:], BLOCK]
)
def test_other_bytes_are_not_splittable(content: bytes) -> None:
    for step in (1, 5, 1000):
        assert unpacked_or_none(content, step) is None


def test_endless_block_stops_the_search() -> None:
    """Where garbage follows, it could be that of a disk."""
    packed = STREAMS[0] + noise(11, 6_000_000)
    with pytest.raises(NotSplittable, match="without end"):
        unpack(packed, 50)


def test_resized_file_is_read_or_reported() -> None:
    packed = STREAMS[0] + STREAMS[1]
    for step in (10, 1000):
        assert unpack(packed + STREAMS[2], step, size=len(packed)) == SMALL[0] + SMALL[1]
        with pytest.raises(NotSplittable):
            unpack(STREAMS[0], step, size=len(packed))
        with pytest.raises(NotSplittable):
            unpack(b"", step, size=len(packed))


# A marker within a block: chance makes one in 35 TB of packed logs, or somebody does


class Crafted(NamedTuple):
    packed: bytes
    content: bytes


ALPHABET = b"abcdefghijklmn"


def crafted(hidden: bytes) -> Crafted:
    """Return a stream whose only block has certain bytes in its compressed data.

    All symbols of the block have codes of four bits, so any bytes will do in which no half is 15, the end of a
    block. What it unpacks to follows from them.
    """
    for seed in itertools.count():
        rng = random.Random(seed)
        around = [[rng.randrange(2, 15) for _ in range(60)] for _ in range(2)]
        symbols = [*around[0], *(half for byte in hidden for half in (byte >> 4, byte & 15)), *around[1]]
        content = _unsorted(_without_moves(symbols))
        # Four of a kind in a row would need a count behind them.
        if all(len(list(run)) < 4 for _, run in itertools.groupby(content)):
            break
    crc = _checksum(content)
    used = "".join("1" if value in ALPHABET else "0" for value in range(96, 112))
    table = f"{4:05b}" + "0" * (len(ALPHABET) + 2)
    # Fifty symbols a group would be enough; so many make the hidden bytes begin where a byte does, as headers do.
    groups = next(many for many in itertools.count(50) if not (80 + 25 + 32 + 18 + many + 2 * len(table)) % 8)
    bits = "".join(
        [
            f"{int.from_bytes(BLOCK):048b}{crc:032b}0{0:024b}{1 << 15 - 96 // 16:016b}{used}",
            f"{2:03b}{groups:015b}{'0' * groups}{table}{table}",
            *(f"{symbol:04b}" for symbol in [*symbols, 15]),
            f"{int.from_bytes(END):048b}{crc:032b}",
        ]
    )
    bits += "0" * (-len(bits) % 8)
    return Crafted(b"BZh9" + int(bits, 2).to_bytes(len(bits) // 8), content)


def _without_moves(symbols: list[int]) -> bytes:
    """Undo bzip2's run lengths and moves to the front."""
    recent = list(ALPHABET)
    found: list[int] = []
    for is_run, some in itertools.groupby(symbols, lambda symbol: symbol < 2):
        if is_run:
            found += recent[:1] * sum(digit + 1 << place for place, digit in enumerate(some))
            continue
        for symbol in some:
            recent.insert(0, recent.pop(symbol - 1))
            found.append(recent[0])
    return bytes(found)


def _unsorted(column: bytes) -> bytes:
    """Undo the Burrows-Wheeler transform, of which the first row is the original."""
    following = sorted(range(len(column)), key=lambda row: column[row])
    place = following[0]
    found = []
    for _ in column:
        found.append(column[place])
        place = following[place]
    return bytes(found)


def _checksum(content: bytes) -> int:
    crc = 0xFFFFFFFF
    for byte in content:
        crc ^= byte << 24
        for _ in range(8):
            crc = (crc << 1 ^ 0x04C11DB7 if crc >> 31 else crc << 1) & 0xFFFFFFFF
    return crc ^ 0xFFFFFFFF


def with_neighbours(packed: bytes) -> Iterator[bytes]:
    yield packed
    yield packed + STREAMS[0]
    yield STREAMS[0] + packed
    yield OF_BLOCKS + packed + OF_BLOCKS


@pytest.mark.parametrize(
    ("hidden", "told"),
    [
        (b"", False),
        (BLOCK, True),
        (b"BZh9" + BLOCK, True),
        # The end of one stream and the beginning of another, which is whole.
        (END + b"\x12\x34\x56\x78" + STREAMS[0][:10], True),
        # Nothing looks for the end of a stream but where another one begins.
        (END, False),
        (b"BZh9", False),
    ],
)
def test_marker_within_a_block_is_handled(hidden: bytes, told: bool) -> None:
    made = crafted(hidden)
    assert bz2.decompress(made.packed) == made.content
    assert hidden in made.packed
    for packed in with_neighbours(made.packed):
        for ranges in (1, 2, 5):
            found = unpacked_or_none(packed, in_parts(packed, ranges))
            assert found == (None if told else bz2.decompress(packed))


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=400), st.integers(1, 50))
@example(b"BZh9" + BLOCK + b"\0" * 40, 7)
def test_no_bytes_at_all_give_another_error(tail: bytes, step: int) -> None:
    makers: list[Callable[[bytes], bytes]] = [bytes, lambda some: b"BZh9" + BLOCK + some, STREAMS[0].__add__]
    for make in makers:
        packed = make(tail)
        if packed:
            found = unpacked_or_none(packed, step)
            assert found is None or found == bz2.decompress(packed)
