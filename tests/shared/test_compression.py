"""The content of log files: each compression is recognised by its first bytes."""

import bz2
import gzip
import io
import lzma
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from eida_statistics import compression
from eida_statistics.errors import UnreadableLog
from eida_statistics.zstandard import zstd

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


def read(content: bytes) -> bytes:
    return b"".join(compression.read_chunks(io.BytesIO(content), "the log"))


@pytest.mark.parametrize("compress", [bytes, *COMPRESSIONS])
def test_content_decides_the_compression(compress: Compress, tmp_path: Path) -> None:
    path = tmp_path / "a.log.txt"
    path.write_bytes(compress(LOG))
    with path.open("rb") as raw:
        assert b"".join(compression.read_chunks(raw, "the log")) == LOG


@pytest.mark.parametrize("compress", COMPRESSIONS)
def test_consecutive_streams_are_one_log(compress: Compress) -> None:
    """Logs that were compressed in parts, or in parallel, are such."""
    assert read(compress(b'{"userID": 1}\n{"us') + compress(b'erID": 2}\n')) == LOG


@pytest.mark.parametrize("compress", COMPRESSIONS)
def test_empty_compressed_log_is_empty(compress: Compress) -> None:
    assert read(compress(b"")) == b""


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
    assert read(packed) == LOG
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


def test_chunks_are_not_kept() -> None:
    """Also that of a file which is a hundredth of its content."""
    log = bytes(5 * compression.CHUNK_BYTES)
    for compress in (bytes, bz2.compress, gzip.compress, lzma.compress, zstd.compress):
        sizes = [len(chunk) for chunk in compression.read_chunks(io.BytesIO(compress(log)), "the log")]
        assert sum(sizes) == len(log)
        assert max(sizes) <= compression.CHUNK_BYTES
