"""Which logs are meant: files, a log on standard input, or names of files there."""

import bz2
import gzip
import io
import lzma
from pathlib import Path

import pytest

from eida_statistics.errors import UnreadableLog
from eida_stats_aggregator.inputs import logs_of
from eida_stats_aggregator.logfiles import zstd

LOG = b'{"service": "fdsnws-dataselect", "userEmail": "somebody@example.org", "userID": 1}\n' * 3


def on_stdin(content: bytes) -> list[bytes | str]:
    """What standard input comes to: the log's bytes, or names."""
    logs = logs_of([], io.BytesIO(content))
    return [log.open().read() if log.name == "standard input" else log.name for log in logs]


@pytest.mark.parametrize(
    "content",
    [
        LOG,
        b"\n\n" + LOG,
        bz2.compress(LOG),
        gzip.compress(LOG),
        lzma.compress(LOG),
        zstd.compress(LOG),
        # the first line of a rotated log may be the end of a longer one
        b'"status": "OK", "userID": 1}\n' + LOG,
        b'"sta": "' + b"A" * 300_000 + b'"}\n' + LOG,
        b"A" * 5000,
        b"\x00\x01\n",
    ],
)
def test_a_log_is_read_from_its_beginning(content: bytes) -> None:
    assert on_stdin(content) == [content]


def test_nothing_is_no_log() -> None:
    assert on_stdin(b"") == on_stdin(b"\n \n") == []
    assert logs_of([], None) == []


def test_names_stand_one_a_line_and_need_not_be_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("a.log", "b c.log", "d\udcff.log"):
        Path(name).write_bytes(LOG)
    assert on_stdin(b"\na.log\n\n  b c.log \r\nd\xff.log") == ["a.log", "b c.log", "d\udcff.log"]


@pytest.mark.parametrize("second", [b'{"userEmail": "somebody@example.org"}', b"somebody@example.org\x00"])
def test_what_is_no_name_is_not_repeated(second: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What comes in may be about a person."""
    monkeypatch.chdir(tmp_path)
    Path("a.log").write_bytes(LOG)
    with pytest.raises(UnreadableLog, match="standard input, line 2") as refusal:
        on_stdin(b"a.log\n" + second + b"\n")
    assert "somebody" not in str(refusal.value)


def test_a_file_that_is_not_there_is_named() -> None:
    with pytest.raises(UnreadableLog, match=r"missing\.log: No such file"):
        logs_of(["missing.log"], None)
    with pytest.raises(UnreadableLog, match=r"missing\.log: No such file"):
        on_stdin(b"missing.log\n")


def test_standard_input_can_stand_among_files(tmp_path: Path) -> None:
    file = tmp_path / "a.log"
    file.write_bytes(LOG)
    assert [(log.name, log.size) for log in logs_of([str(file), "-"], io.BytesIO(LOG))] == [
        (str(file), len(LOG)),
        ("standard input", 0),
    ]
