"""Log files to lines: each compression is recognised by content."""

import bz2
import gzip
import io
import lzma
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eida_stats_aggregator.errors import UnreadableLog
from eida_stats_aggregator.logs import compression, lines, records
from eida_stats_aggregator.logs.compression import zstd
from eida_stats_aggregator.logs.lines import LineSplitter, read_lines

Compress = Callable[[bytes], bytes]

WITH_CHECKSUM = {zstd.CompressionParameter.checksum_flag: 1}
COMPRESSIONS = [
    pytest.param(bz2.compress, id="bz2"),
    pytest.param(gzip.compress, id="gz"),
    pytest.param(lzma.compress, id="xz"),
    # as the zstd command does; without it, damage may go unseen
    pytest.param(lambda log: zstd.compress(log, options=WITH_CHECKSUM), id="zst"),
]
LOG = b'{"userID": 1}\n{"userID": 2}\n'


def read(content: bytes) -> list[bytes]:
    return list(read_lines(io.BytesIO(content), "the log"))


@pytest.mark.parametrize("compress", [bytes, *COMPRESSIONS])
def test_content_decides_the_compression(compress: Compress, tmp_path: Path) -> None:
    path = tmp_path / "a.log.txt"
    path.write_bytes(compress(LOG))
    with path.open("rb") as raw:
        assert list(read_lines(raw, "the log")) == [b'{"userID": 1}', b'{"userID": 2}']


@pytest.mark.parametrize("compress", COMPRESSIONS)
def test_consecutive_streams_are_one_log(compress: Compress) -> None:
    """Logs that were compressed in parts, or in parallel, are such."""
    assert read(compress(b'{"userID": 1}\n{"us') + compress(b'erID": 2}\n')) == LOG.splitlines()


@pytest.mark.parametrize("compress", COMPRESSIONS)
def test_empty_compressed_log_has_no_line(compress: Compress) -> None:
    assert read(compress(b"")) == []


@pytest.mark.parametrize("compress", COMPRESSIONS)
def test_truncated_log_is_an_error(compress: Compress) -> None:
    whole = compress(b"".join(b"%d\n" % number for number in range(100_000)))
    with pytest.raises(UnreadableLog, match="the log"):
        read(whole[: len(whole) // 2])


@pytest.mark.parametrize("compress", COMPRESSIONS)
def test_damaged_log_is_an_error(compress: Compress) -> None:
    whole = bytearray(compress(b"".join(b"%d\n" % number for number in range(100_000))))
    for place in range(len(whole) // 2, len(whole) // 2 + 50):
        whole[place] ^= 0xFF
    with pytest.raises(UnreadableLog, match="the log"):
        read(bytes(whole))


def skippable(number: int, content: bytes = b"1234") -> bytes:
    """Make a frame that zstd passes over."""
    return bytes([0x50 + number]) + b"\x2a\x4d\x18" + len(content).to_bytes(4, "little") + content


@pytest.mark.parametrize("number", range(16))
def test_zstd_may_begin_with_a_skippable_frame(number: int) -> None:
    """As pzstd writes it, before each frame."""
    packed = b"".join(skippable(number) + zstd.compress(text) for text in (LOG[:20], LOG[20:])) + skippable(0)
    assert read(packed) == LOG.splitlines()
    with pytest.raises(UnreadableLog, match="the log"):
        read(packed[:-3])


def make_tar(log: bytes) -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as archive:
        member = tarfile.TarInfo("fdsnws-requests.log")
        member.size = len(log)
        archive.addfile(member, io.BytesIO(log))
    return made.getvalue()


@pytest.mark.parametrize("compress", [bytes, *COMPRESSIONS])
def test_tar_archive_is_refused(compress: Compress) -> None:
    with pytest.raises(UnreadableLog, match="the log: a tar archive") as refusal:
        read(compress(make_tar(LOG)))
    assert refusal.value.hint == "Unpack it with tar, and name the logs that were in it."


@pytest.mark.parametrize("chunk", [1, 2, 3, 7, 1000])
def test_nul_bytes_fill_no_memory(chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "MAX_LINE_BYTES", 30)
    log = b"a" + bytes(900) + b"b\n" + bytes(900) + b"next" + bytes(900)
    cutter = LineSplitter()
    ended = [line for at in range(0, len(log), chunk) for line in cutter.feed(log[at : at + chunk])]
    assert [records.squeeze(line) for line in ended] == [b"a\0b"]
    assert records.squeeze(cutter.rest) == b"\0next\0"
    assert len(cutter.rest) <= 1 + 4 + chunk


@settings(deadline=None)
@given(st.lists(st.binary(max_size=20).map(lambda text: text.replace(b"\n", b"")), max_size=20), st.booleans())
def test_lines_end_at_line_breaks(given_lines: list[bytes], ended: bool) -> None:
    log = b"\n".join([b"{", *given_lines]) + (b"\n" if ended else b"")
    expected = log.split(b"\n")
    if not expected[-1]:
        expected.pop()
    assert read(log) == expected


@settings(deadline=None)
@given(st.lists(st.binary(max_size=8).map(lambda text: text.replace(b"x", b"\n"))))
def test_line_comes_with_its_last_chunk(chunks: list[bytes]) -> None:
    cutter = LineSplitter()
    seen = b""
    for chunk in chunks:
        *before, _ = seen.split(b"\n")
        seen += chunk
        *ended, rest = seen.split(b"\n")
        assert cutter.feed(chunk) == ended[len(before) :]
        assert cutter.rest == rest


@pytest.mark.parametrize("chunk", [1, 2, 3, 7])
def test_chunks_do_not_show_in_the_lines(chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compression, "CHUNK_BYTES", chunk)
    assert read(b"a\n\nbcd\nefghijklm\n\nn") == [b"a", b"", b"bcd", b"efghijklm", b"", b"n"]


def test_endless_line_keeps_one_byte_too_many(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(compression, "CHUNK_BYTES", 4)
    monkeypatch.setattr(lines, "MAX_LINE_BYTES", 10)
    assert read(b"a" * 1000 + b"\nnext\n") == [b"a" * 11, b"next"]


@pytest.mark.parametrize("chunk", [1, 3, 10, 11, 12, 1000])
def test_endless_line_needs_little_memory(chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "MAX_LINE_BYTES", 10)
    log = b"a" * 10 + b"\n" + b"b" * 11 + b"\n" + b"c" * 500 + b"\nnext\n" + b"d" * 500
    cutter = LineSplitter()
    ended = [line for at in range(0, len(log), chunk) for line in cutter.feed(log[at : at + chunk])]
    assert [line[:11] for line in ended] == [b"a" * 10, b"b" * 11, b"c" * 11, b"next"]
    assert cutter.rest == b"d" * 11
    assert max(map(len, ended)) <= max(chunk, 11)


def test_chunks_are_not_kept() -> None:
    """Also that of a file which is a hundredth of its content."""
    log = bytes(5 * compression.CHUNK_BYTES)
    for compress in (bytes, bz2.compress, gzip.compress, lzma.compress, zstd.compress):
        sizes = [len(chunk) for chunk in compression.read_chunks(io.BytesIO(compress(log)), "the log")]
        assert sum(sizes) == len(log)
        assert max(sizes) <= compression.CHUNK_BYTES
