"""The beginning of a log is unpacked ahead: once, and as it is read otherwise."""

import bz2
import errno
import gzip
import io
import lzma
import multiprocessing
import os
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from eida_stats_aggregator.logs import bzip2, head_start, sources, splits
from eida_stats_aggregator.logs.sources import Log
from support.stubs import encode_log, line

TEXT = encode_log(*(line(userID=number) for number in range(3000)))
DIVISIBLE: dict[str, Callable[[bytes], bytes]] = {"plain": bytes, "bz2": bz2.compress}
WHOLE: dict[str, Callable[[bytes], bytes]] = {"gz": gzip.compress, "xz": lzma.compress}


@pytest.fixture(params=DIVISIBLE)
def log(request: pytest.FixtureRequest, tmp_path: Path) -> Log:
    path = tmp_path / "a.log"
    path.write_bytes(DIVISIBLE[request.param](TEXT))
    return sources.describe_log(path)


def read_all(log: Log) -> bytes:
    return b"".join(chunk for part in splits.split([log], whole=()) for chunk in splits.read(log, part))


@pytest.mark.parametrize("most", [0, 1, 100])
def test_log_is_read_as_it_is_otherwise(log: Log, most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(splits, "_PLAIN_BYTES", 1 << 18)
    monkeypatch.setattr(splits, "_BZIP2_BYTES", 1 << 12)
    monkeypatch.setattr(head_start, "_MAX_CHUNKS", most)
    with head_start.begin(log) as begun:
        assert begun.head_start is not None
        begun.head_start._thread.join()
    assert read_all(begun) == TEXT
    # Not from memory, which has been emptied.
    assert read_all(begun) == TEXT


def test_thread_ends_with_the_context(log: Log) -> None:
    before = threading.active_count()
    for _ in range(20):
        with head_start.begin(log):
            pass
        assert threading.active_count() == before
    with pytest.raises(ZeroDivisionError), head_start.begin(log):
        raise ZeroDivisionError
    assert threading.active_count() == before


def test_other_parts_are_not_taken_from_it(log: Log) -> None:
    """A log that is read as a whole after all, for instance."""
    with head_start.begin(log) as begun:
        pass
    (part,) = splits.split([log], whole=())
    assert begun.head_start is not None
    assert begun.head_start.take(part._replace(whole=not part.whole)) is None
    assert begun.head_start.take(part._replace(end=part.end + 1)) is None
    assert begun.head_start.take(part) is not None
    assert begun.head_start.take(part) is None


def test_fault_is_that_of_the_part(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    packed = bytearray(bz2.compress(TEXT))
    packed[len(packed) // 2] ^= 0xFF
    path.write_bytes(packed)
    log = sources.describe_log(path)
    with head_start.begin(log) as begun:
        pass
    with pytest.raises(bzip2.NotSplittable, match="a damaged block"):
        read_all(begun)


def test_log_that_cannot_be_opened_is_left_to_its_reader(log: Log) -> None:
    def fail() -> io.BytesIO:
        raise OSError(errno.EACCES, os.strerror(errno.EACCES))

    with head_start.begin(replace(log, open=fail)) as begun:
        pass
    with pytest.raises(PermissionError):
        read_all(begun)


@pytest.mark.parametrize("pack", [*DIVISIBLE.values(), *WHOLE.values()])
def test_log_is_the_same_in_each_process(pack: Callable[[bytes], bytes], tmp_path: Path) -> None:
    """Forked processes share the place in an open file, so none may go on with that of another."""
    path = tmp_path / "a.log"
    path.write_bytes(pack(TEXT * 20))
    fork = multiprocessing.get_context("fork")
    with head_start.begin(sources.describe_log(path)) as begun:
        pass
    for _ in range(2):
        process = fork.Process(target=read_all, args=(begun,))
        process.start()
        process.join()
        assert process.exitcode == 0
    assert read_all(begun) == TEXT * 20


def test_machine_may_allow_no_thread(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    with head_start.begin(log) as begun:
        assert begun is log


@pytest.mark.parametrize("pack", WHOLE.values())
def test_log_that_cannot_be_divided_is_not_read_ahead(pack: Callable[[bytes], bytes], tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    path.write_bytes(pack(TEXT))
    for log in (sources.describe_log(path), Log("-", 0, lambda: io.BytesIO(TEXT))):
        with head_start.begin(log) as begun:
            assert begun is log
