"""The decoder of 7-Zip: what it refuses, where it is used, and that the result is the same without it."""

import bz2
import datetime
import gzip
import multiprocessing
import random
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from eida_statistics import user_agents
from eida_stats_aggregator import read_ahead
from eida_stats_aggregator.fdsnws.filters import RequestFilter
from eida_stats_aggregator.logs import bzip2, head_start, seven_zip, sources, splits
from eida_stats_aggregator.logs.bzip2 import NotSplittable
from eida_stats_aggregator.logs.seven_zip import Decoder, NotDecoded
from eida_stats_aggregator.logs.sources import Log
from eida_stats_aggregator.read_ahead import Task
from eida_stats_aggregator.reader import Reader
from eida_stats_aggregator.stamps import read_stamps
from support.stubs import encode_log, line

DAY = datetime.date(2020, 10, 31)
TEXT = bytes(random.Random(1).choices(b'{}": ,abc\n', k=1_250_000))
# 13 blocks, none of which is small.
PACKED = bz2.compress(TEXT, 1)


@pytest.fixture(autouse=True)
def not_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seven_zip, "_loaded", [])


@pytest.fixture
def decode() -> Decoder:
    seven_zip.load()
    found = seven_zip.get_decoder()
    if found is None:
        pytest.skip("7-Zip has no wheel for this platform")
    return found


@pytest.fixture
def installed(decode: Decoder, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have a decoder that can be loaded, and is not."""
    monkeypatch.setattr(seven_zip, "_loaded", [])


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """Have a decoder that notes the content of the streams that it gets."""
    contents: list[bytes] = []

    def decode_and_note(stream: bytes) -> bytes:
        contents.append(bz2.decompress(stream))
        return contents[-1]

    monkeypatch.setattr(seven_zip, "_loaded", [decode_and_note])
    return contents


def write(path: Path, content: bytes) -> Log:
    path.write_bytes(content)
    return sources.describe_log(path)


def make_reader(jobs: int) -> Reader:
    return Reader(RequestFilter(user_agents.load_classes(), DAY), list, jobs)


# The decoder


def test_stream_is_decoded(decode: Decoder) -> None:
    for content in (TEXT, TEXT[:1], bytes(3_000_000)):
        assert decode(bz2.compress(content)) == content


@pytest.mark.parametrize(
    "damage",
    [
        lambda packed: packed[:-1],
        lambda packed: packed[: len(packed) // 2],
        lambda packed: packed[:-1] + bytes([packed[-1] ^ 0x80]),
        lambda packed: packed[:12] + bytes([packed[12] ^ 1]) + packed[13:],
        lambda packed: packed[:5000] + bytes([packed[5000] ^ 1]) + packed[5001:],
        lambda packed: packed + b"\0",
        lambda packed: packed + packed[:40],
        lambda packed: packed[1:],
        lambda _: b"",
        lambda _: b"no stream",
    ],
)
def test_damaged_stream_is_refused(damage: Callable[[bytes], bytes], decode: Decoder) -> None:
    with pytest.raises(NotDecoded):
        decode(damage(PACKED))


def decode_as_loaded(stream: bytes) -> bytes:
    decode = seven_zip.get_decoder()
    assert decode is not None
    return decode(stream)


@pytest.mark.usefixtures("decode")
def test_forked_processes_have_the_decoder() -> None:
    with multiprocessing.get_context("fork").Pool(3) as pool:
        assert pool.map(decode_as_loaded, [PACKED] * 6) == [TEXT] * 6


@pytest.mark.parametrize(
    "package", ["raise ImportError", "raise OSError", "1 / 0", "", "platform_lib7zip_name = 1"]
)
def test_unusable_package_is_no_fault(package: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "pybit7z.py").write_text(package)
    # So it is restored at the end, whether it was imported before or not.
    monkeypatch.setitem(sys.modules, "pybit7z", sys)
    del sys.modules["pybit7z"]
    monkeypatch.syspath_prepend(tmp_path)
    seven_zip.load()
    assert seven_zip.get_decoder() is None


@pytest.mark.usefixtures("installed")
def test_missing_library_is_no_fault(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("pybit7z.default_lib7zip", lambda: str(tmp_path / "lib7zip.so"))
    seven_zip.load()
    assert seven_zip.get_decoder() is None


@pytest.mark.parametrize("fault", [RuntimeError, MemoryError])
@pytest.mark.usefixtures("installed")
def test_short_memory_is_reported_as_not_decoded(fault: type[Exception], monkeypatch: pytest.MonkeyPatch) -> None:
    class Extractor:
        def __init__(self, *_: object) -> None:
            pass

        def extract(self, *_: object) -> bytes:
            raise fault

    monkeypatch.setattr("pybit7z.BitMemExtractor", Extractor)
    seven_zip.load()
    with pytest.raises(NotDecoded):
        decode_as_loaded(PACKED)


# Where it is used


@pytest.mark.parametrize("part_bytes", [150_000, 10_000_000])
def test_neighbouring_blocks_are_decoded_together(
    part_bytes: int, decoded: list[bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(splits, "_BZIP2_BYTES", part_bytes)
    # A small block is left to libbz2, and ends what is decoded together.
    log = write(tmp_path / "a.log.bz2", PACKED + bz2.compress(b"small\n") + PACKED)
    parts = splits.split([log], whole=())
    assert b"".join(chunk for part in parts for chunk in splits.read(log, part)) == TEXT + b"small\n" + TEXT
    assert b"".join(decoded) == TEXT + TEXT
    assert max(map(len, decoded)) <= 4 * 100_000
    assert part_bytes < len(PACKED) or len(decoded) == 2 * 4


def test_decoder_that_fails_makes_the_log_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: bytes) -> bytes:
        raise NotDecoded

    monkeypatch.setattr(seven_zip, "_loaded", [fail])
    log = write(tmp_path / "a.log.bz2", PACKED)
    with pytest.raises(NotSplittable, match="a damaged block"):
        list(splits.read(log, splits.split([log], whole=())[0]))


def test_head_start_does_not_use_it(decoded: list[bytes], tmp_path: Path) -> None:
    """It would keep the imports waiting."""
    log = write(tmp_path / "a.log.bz2", PACKED)
    with head_start.begin(log) as begun:
        pass
    first, *others = splits.split([begun], whole=())
    head = b"".join(splits.read(begun, first))
    assert decoded == []
    rest = b"".join(chunk for part in others for chunk in splits.read(begun, part))
    assert head + rest == TEXT
    assert b"".join(decoded) == rest


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize(("name", "jobs"), [("a.log.bz2", 1), ("a.log.bz2", 3), ("a.log.gz", 1)])
def test_reader_loads_it_for_much_bzip2(
    name: str, jobs: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = encode_log(*(line(userID=number) for number in range(300)))
    packed = bz2.compress(content) if name.endswith("bz2") else gzip.compress(content)
    for least, is_loaded in ((len(packed) + 1, False), (len(packed), name.endswith("bz2"))):
        monkeypatch.setattr(seven_zip, "_loaded", [])
        monkeypatch.setattr(splits, "_WORTH_7ZIP_BYTES", least)
        tally, *_ = make_reader(jobs).read([write(tmp_path / name, packed)])
        assert tally.counted == 300
        assert (seven_zip.get_decoder() is not None) == is_loaded


@pytest.mark.usefixtures("installed")
def test_days_that_are_read_ahead_share_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(splits, "_WORTH_7ZIP_BYTES", 2000)
    path = tmp_path / "fdsnws-requests.log.2020-10-31.bz2"
    path.write_bytes(bz2.compress(encode_log(line())))
    with read_ahead.read_ahead([Task(DAY, [path], 1000), Task(DAY, [path], 1000)], make_reader(2)) as ahead:
        assert ahead.take(DAY, read_stamps([path])) is not None
        assert seven_zip.get_decoder() is not None


@pytest.mark.parametrize("jobs", [1, 3])
def test_tally_is_the_same_without_it(jobs: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(splits, "_BZIP2_BYTES", 5000)
    monkeypatch.setattr(bzip2, "_MIN_BITS_AT_ONCE", 0)
    content = encode_log(*(line(userID=number, bytes=number) for number in range(9000)))
    log = write(tmp_path / "a.log.bz2", bz2.compress(content, 1))
    tallies = []
    for least in (0, log.size + 1):
        monkeypatch.setattr(seven_zip, "_loaded", [])
        monkeypatch.setattr(splits, "_WORTH_7ZIP_BYTES", least)
        tally, *_ = make_reader(jobs).read([log])
        rows = tally.aggregation.sort_rows()
        tallies.append((tally.counted, [rows.make_piece(number) for number in range(len(rows))]))
    assert tallies[0] == tallies[1]
    assert tallies[0][0] == 9000
