"""Bodies that unpack to much or nest deeply are refused with little memory and little log."""

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


def pack(byte: bytes, size: int) -> bytes:
    packer = zlib.compressobj(9, wbits=31)
    piece = byte * MEGABYTE
    return b"".join([*(packer.compress(piece) for _ in range(size // MEGABYTE)), packer.flush()])


def nest(times: int) -> bytes:
    return b"[" * times + b"]" * times


BOMBS = {
    "1 GB of zeros": (lambda: pack(b"\0", 1 << 30), "gzip", 400),
    "1 GB of zeros, packed twice": (lambda: gzip.compress(pack(b"\0", 1 << 30)), "gzip", 400),
    "1 GB of blanks": (lambda: pack(b" ", 1 << 30), "gzip", 413),
    "a million nested lists": (lambda: nest(1_000_000), "identity", 400),
    "a million nested lists, packed": (lambda: gzip.compress(nest(1_000_000)), "gzip", 400),
    "a million nested lists as rows": (lambda: b'{"stats":' + nest(1_000_000) + b"}", "identity", 400),
    "a million nested objects": (lambda: b'{"a":' * 1_000_000 + b"1" + b"}" * 1_000_000, "identity", 400),
    "a number of ten million digits": (lambda: b'{"stats":' + b"9" * 10_000_000 + b"}", "identity", 422),
}


@pytest.mark.parametrize("bomb", BOMBS)
def test_bomb_is_refused_in_little_memory(
    token: tuple[str, str], tmp_path: Path, bomb: str, record_figure: Callable[[str], None]
) -> None:
    make, encoding, status = BOMBS[bomb]
    with Service(token[0], tmp_path, workers=1, threads=1) as service:
        service.post(b"{}", token[1])
        before = read_peak_memory(service)
        answer = service.post(make(), token[1], **{"Content-Encoding": encoding})
        assert answer.status_code == status, answer.text[:300]
        grown = read_peak_memory(service) - before
        assert grown < 50 * MEGABYTE
        assert len(service.log) < 10_000
    record_figure(f"{bomb}: {grown / MEGABYTE:.0f} MB")


def test_million_empty_rows_need_little_memory(
    token: tuple[str, str], tmp_path: Path, record_figure: Callable[[str], None]
) -> None:
    rows = b'{"stats":[' + b"{}," * 999_999 + b"{}]}"
    with Service(token[0], tmp_path, workers=1, threads=1) as service:
        before = read_peak_memory(service)
        answer = service.post(rows, token[1])
        grown = read_peak_memory(service) - before
    assert (answer.status_code, len(answer.json()["errors"])) == (422, 100)
    # Less than a hundred bytes for each.
    assert grown < 100 * len(rows) // 3
    record_figure(f"a million empty rows: {grown / MEGABYTE:.0f} MB")


@pytest.mark.parametrize(
    ("beginning", "times"),
    [
        # If the body does not begin like JSON, only its beginning is held.
        pytest.param(b"", 0.2, id="200 MB of garbage"),
        # Otherwise it is held once.
        pytest.param(b'{"stats":[', 1.2, id="200 MB of garbage that begin like a payload"),
        pytest.param(b'{"stats":"' + b"A" * 199 * MEGABYTE + b'"', 1.2, id="one text of 200 MB"),
    ],
)
def test_large_garbage_is_refused_and_not_logged(
    token: tuple[str, str],
    tmp_path: Path,
    beginning: bytes,
    times: float,
    request: pytest.FixtureRequest,
    record_figure: Callable[[str], None],
) -> None:
    garbage = (beginning + bytes(range(256)) * 4096 * 200)[: 200 * MEGABYTE]
    with Service(token[0], tmp_path, workers=1, threads=1) as service:
        before = read_peak_memory(service)
        assert service.post(garbage, token[1]).status_code == 400
        grown = read_peak_memory(service) - before
        assert grown < times * len(garbage)
        assert len(service.log) < 10_000
        assert service.post(json.dumps(wire(row())).encode(), token[1]).status_code == 201
    record_figure(f"{request.node.callspec.id}: {grown / MEGABYTE:.0f} MB, {len(service.log):,} bytes of log")


def read_peak_memory(service: Service) -> int:
    """Return the peak memory of the worker, in bytes."""
    (worker,) = service.workers()
    status = Path(f"/proc/{worker}/status").read_text()
    return 1024 * int(re.findall(r"VmHWM:\s*(\d+) kB", status)[0])
