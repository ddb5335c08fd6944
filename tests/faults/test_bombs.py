"""What is small to send and large to take in, or the other way round: refused in little memory, and little log."""

import gzip
import json
import re
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from eida_stats_webservice.database import migrations
from support.payloads import row, wire
from support.service import Service, register_nodes

MEGABYTE = 1 << 20


@pytest.fixture
def token(tmp_path: Path) -> tuple[str, str]:
    uri = f"sqlite:///{tmp_path / 'statistics.db'}"
    migrations.apply(uri)
    return uri, register_nodes(uri, "GFZ")[0]


def packed(byte: bytes, size: int) -> bytes:
    packer = zlib.compressobj(9, wbits=31)
    piece = byte * MEGABYTE
    return b"".join([*(packer.compress(piece) for _ in range(size // MEGABYTE)), packer.flush()])


def nested(times: int) -> bytes:
    return b"[" * times + b"]" * times


BOMBS = {
    "1 GB of zeros": (lambda: packed(b"\0", 1 << 30), "gzip", 400),
    "1 GB of zeros, packed twice": (lambda: gzip.compress(packed(b"\0", 1 << 30)), "gzip", 400),
    "1 GB of blanks": (lambda: packed(b" ", 1 << 30), "gzip", 413),
    "a million nested lists": (lambda: nested(1_000_000), "identity", 400),
    "a million nested lists, packed": (lambda: gzip.compress(nested(1_000_000)), "gzip", 400),
    "a million nested lists as rows": (lambda: b'{"stats":' + nested(1_000_000) + b"}", "identity", 400),
    "a million nested objects": (lambda: b'{"a":' * 1_000_000 + b"1" + b"}" * 1_000_000, "identity", 400),
    "a number of ten million digits": (lambda: b'{"stats":' + b"9" * 10_000_000 + b"}", "identity", 422),
}


@pytest.mark.parametrize("bomb", BOMBS)
def test_a_bomb_is_refused_in_little_memory(
    token: tuple[str, str], tmp_path: Path, bomb: str, tell: Callable[[str], None]
) -> None:
    make, encoding, status = BOMBS[bomb]
    with Service(token[0], tmp_path, workers=1, threads=1) as service:
        service.post(b"{}", token[1])
        before = peak(service)
        answer = service.post(make(), token[1], **{"Content-Encoding": encoding})
        assert answer.status_code == status, answer.text[:300]
        grown = peak(service) - before
        assert grown < 50 * MEGABYTE
        assert len(service.log) < 10_000
    tell(f"{bomb}: {grown / MEGABYTE:.0f} MB")


def test_a_million_empty_rows_are_refused_in_memory_that_they_are_worth(
    token: tuple[str, str], tmp_path: Path, tell: Callable[[str], None]
) -> None:
    rows = b'{"stats":[' + b"{}," * 999_999 + b"{}]}"
    with Service(token[0], tmp_path, workers=1, threads=1) as service:
        before = peak(service)
        answer = service.post(rows, token[1])
        grown = peak(service) - before
    assert (answer.status_code, len(answer.json()["errors"])) == (422, 100)
    # Not a hundred bytes for each.
    assert grown < 100 * len(rows) // 3
    tell(f"a million empty rows: {grown / MEGABYTE:.0f} MB")


@pytest.mark.parametrize(
    ("beginning", "times"),
    [
        # Of what does not begin like JSON, only the beginning is held.
        pytest.param(b"", 0.2, id="200 MB of garbage"),
        # All else once.
        pytest.param(b'{"stats":[', 1.2, id="200 MB of garbage that begin like a payload"),
        pytest.param(b'{"stats":"' + b"A" * 199 * MEGABYTE + b'"', 1.2, id="one text of 200 MB"),
    ],
)
def test_a_large_body_of_garbage_is_refused_without_being_logged(
    token: tuple[str, str],
    tmp_path: Path,
    beginning: bytes,
    times: float,
    request: pytest.FixtureRequest,
    tell: Callable[[str], None],
) -> None:
    garbage = (beginning + bytes(range(256)) * 4096 * 200)[: 200 * MEGABYTE]
    with Service(token[0], tmp_path, workers=1, threads=1) as service:
        before = peak(service)
        assert service.post(garbage, token[1]).status_code == 400
        grown = peak(service) - before
        assert grown < times * len(garbage)
        assert len(service.log) < 10_000
        assert service.post(json.dumps(wire(row())).encode(), token[1]).status_code == 201
    tell(f"{request.node.callspec.id}: {grown / MEGABYTE:.0f} MB, {len(service.log):,} bytes of log")


def peak(service: Service) -> int:
    """Return the most memory that the worker has had, in bytes."""
    (worker,) = service.workers()
    status = Path(f"/proc/{worker}/status").read_text()
    return 1024 * int(re.findall(r"VmHWM:\s*(\d+) kB", status)[0])
