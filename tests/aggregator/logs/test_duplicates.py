"""Logs that are given twice in one run count once and are reported."""

import bz2
import gzip
import io
import json
import lzma
import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from eida_statistics import compression
from eida_statistics.errors import UnreadableLog
from eida_statistics.zstandard import zstd
from eida_stats_aggregator.fdsnws.request_log import is_request_log
from eida_stats_aggregator.logs import duplicates, sources
from eida_stats_aggregator.logs.duplicates import Duplicate
from eida_stats_aggregator.logs.sources import Log
from support.stubs import encode_log, line, run

LOG = encode_log(*(line(userID=number) for number in range(300)))
COMPRESSIONS = [bytes, bz2.compress, gzip.compress, lzma.compress, zstd.compress]


def separate(logs: list[Log]) -> tuple[list[Log], list[Duplicate]]:
    """Separate duplicates, and check that progress reaches the end."""
    told: list[int] = []
    outcome = duplicates.separate_duplicates(logs, progress=lambda size, _lines: told.append(size))
    assert sum(told) == 2 * sum(log.size for log in logs)
    return outcome


def split(*files: str | Path) -> tuple[list[str], list[tuple[str, str]]]:
    """Return the logs that remain, and which are the same as which; names without their folders."""
    distinct, repeated = separate(sources.find_logs([str(file) for file in files], io.BytesIO(LOG), is_request_log))
    same = [(one.file, one.same_as) for one in repeated]
    return [Path(log.name).name for log in distinct], [(Path(one).name, Path(other).name) for one, other in same]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.log").write_bytes(LOG)
    return tmp_path


def test_one_log_is_not_compared(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is read once, not a second time for this."""
    monkeypatch.setattr(compression, "read_chunks", None)
    assert split("a.log") == (["a.log"], [])


def test_same_path_twice_is_one_log(home: Path) -> None:
    assert split("a.log", "a.log", home / "a.log", "./a.log") == (["a.log"], [("a.log", "a.log")] * 3)


def test_copy_and_links_are_the_same_log(home: Path) -> None:
    (home / "copy.log").write_bytes(LOG)
    (home / "hard.log").hardlink_to(home / "a.log")
    (home / "soft.log").symlink_to("a.log")
    distinct, same = split("copy.log", "a.log", "hard.log", "soft.log")
    assert distinct == ["copy.log"]
    assert same == [(name, "copy.log") for name in ("a.log", "hard.log", "soft.log")]


@pytest.mark.parametrize("compress", COMPRESSIONS, ids=["plain", "bz2", "gz", "xz", "zst"])
def test_log_and_packed_copy_count_once(compress: Callable[[bytes], bytes], home: Path) -> None:
    (home / "packed.log").write_bytes(compress(LOG))
    half = len(LOG) // 2
    (home / "streams.log").write_bytes(compress(LOG[:half]) + compress(LOG[half:]))
    assert split("a.log", "packed.log", "streams.log") == (
        ["a.log"],
        [("packed.log", "a.log"), ("streams.log", "a.log")],
    )


def test_log_named_twice_by_folder_counts_once(home: Path) -> None:
    (home / "folder").mkdir()
    (home / "folder" / "b.log.gz").write_bytes(gzip.compress(LOG))
    assert split("folder/b.log.gz", ".") == (["b.log.gz"], [("a.log", "b.log.gz"), ("b.log.gz", "b.log.gz")])
    assert split("*.log", "**/*.gz") == (["a.log"], [("b.log.gz", "a.log")])


@pytest.mark.parametrize("difference", [b"x", b"", b"\n"])
@pytest.mark.parametrize("compress", COMPRESSIONS, ids=["plain", "bz2", "gz", "xz", "zst"])
def test_logs_with_equal_start_are_kept(compress: Callable[[bytes], bytes], difference: bytes, home: Path) -> None:
    """They are longer than the first comparison and than one chunk."""
    alike = LOG * (1 + (compression.CHUNK_BYTES + 10) // len(LOG))
    (home / "b.log").write_bytes(compress(alike + b"y"))
    (home / "c.log").write_bytes(compress(alike + difference))
    (home / "d.log").write_bytes(alike + b"y")
    assert split("b.log", "c.log", "d.log") == (["b.log", "c.log"], [("d.log", "b.log")])


@pytest.mark.parametrize("size", [0, 1, -1])
def test_logs_around_compared_size_differ(size: int, home: Path) -> None:
    alike = b"x" * ((1 << 16) + size)
    for name, content in (("b.log", alike), ("c.log", alike + b"y"), ("d.log", alike + b"z"), ("e.log", alike)):
        (home / name).write_bytes(content)
    assert split("b.log", "c.log", "d.log", "e.log") == (["b.log", "c.log", "d.log"], [("e.log", "b.log")])


def test_empty_logs_are_no_repeats(home: Path) -> None:
    for name, compress in zip("bcdef", COMPRESSIONS, strict=True):
        (home / name).write_bytes(compress(b""))
    assert split("a.log", *"bcdef", "b") == (["a.log", *"bcdef", "b"], [])


def test_standard_input_is_never_compared(home: Path) -> None:
    assert split("a.log", "-") == (["a.log", "standard input"], [])


@pytest.mark.parametrize("place", ["at its beginning", "at its end"])
def test_damaged_log_is_named(place: str, home: Path) -> None:
    whole = gzip.compress(LOG)
    (home / "b.log").write_bytes(whole[:12] if place == "at its beginning" else whole[:-4])
    with pytest.raises(UnreadableLog, match=r"b\.log: "):
        split("b.log", "a.log", "a.log")


def test_log_that_vanishes_is_named(home: Path) -> None:
    logs = [sources.describe_log(Path(name)) for name in ["a.log", "a.log"]]
    (home / "a.log").unlink()
    with pytest.raises(UnreadableLog, match=r"a\.log: No such file"):
        separate(logs)


def test_repeats_keep_the_order_of_what_was_given(home: Path) -> None:
    (home / "b.log").write_bytes(LOG[::-1])
    logs = [sources.describe_log(Path(name)) for name in ["b.log", "a.log", "b.log", "a.log", "b.log"]]
    distinct, repeated = separate(logs)
    assert [log.name for log in distinct] == ["b.log", "a.log"]
    assert repeated == [Duplicate("b.log", "b.log"), Duplicate("a.log", "a.log"), Duplicate("b.log", "b.log")]


# The command


def test_repeated_request_counts_once(home: Path) -> None:
    (home / "b.log.gz").write_bytes(gzip.compress(LOG))
    done = run("-o", "once", "a.log", "b.log.gz", "a.log", cwd=home)
    assert (done.returncode, done.stderr) == (0, "")
    assert "not counted again: b.log.gz has the same content as a.log" in done.stdout
    assert "not counted again: a.log has the same content as a.log" in done.stdout
    report = json.loads(run("-o", "once", "--json", "a.log", "b.log.gz", cwd=home).stdout)
    assert report["repeated_files"] == [{"file": "b.log.gz", "same_as": "a.log"}]
    assert (report["files"], report["counted"], report["requests"]) == (["a.log"], 300, 300)


def test_stdin_may_repeat_names(home: Path) -> None:
    report = json.loads(run("--json", "--dry-run", cwd=home, stdin=b"a.log\na.log\n").stdout)
    assert report["repeated_files"] == [{"file": "a.log", "same_as": "a.log"}]
    assert report["counted"] == 300


@pytest.mark.parametrize("jobs", ["1", "3"])
def test_pipe_is_read_once_to_its_end(jobs: str, home: Path) -> None:
    """Whoever writes into it would be ended by one who only looks at its beginning."""
    os.mkfifo(home / "pipe")
    (home / "b.log").write_bytes(gzip.compress(LOG))
    written: list[int] = []

    def write() -> None:
        with (home / "pipe").open("wb") as pipe:
            written.append(sum(pipe.write(LOG[start : start + 1000]) for start in range(0, len(LOG), 1000)))

    writer = threading.Thread(target=write, daemon=True)
    writer.start()
    done = run("--json", "--jobs", jobs, "a.log", "pipe", "b.log", cwd=home)
    writer.join()
    assert done.returncode == 4
    assert "300 repeated lines were counted once" in done.stderr
    report = json.loads(done.stdout)
    assert (report["counted"], report["repeated"], report["files"]) == (300, 300, ["a.log", "pipe"])
    assert report["repeated_files"] == [{"file": "b.log", "same_as": "a.log"}]
    assert written == [len(LOG)]
