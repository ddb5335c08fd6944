"""Which logs are meant: files, directories, patterns, a log on standard input, or names there."""

import bz2
import gzip
import io
import json
import lzma
import os
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from eida_statistics.compression import CHUNK_BYTES, zstd
from eida_statistics.errors import UnreadableLog
from eida_stats_aggregator.delivery.aggregate import make_aggregate
from eida_stats_aggregator.delivery.outbox import Outbox
from eida_stats_aggregator.delivery.state import Terms
from eida_stats_aggregator.fdsnws.request_log import is_request_log
from eida_stats_aggregator.logs.sources import find_logs
from support.payloads import payload, row
from support.stubs import encode_log, line, make_log, run, trace

LOG = encode_log(line(userEmail="somebody@example.org")) * 3


def on_stdin(content: bytes) -> list[bytes | str]:
    """Return the bytes of the log on standard input, or the names."""
    logs = find_logs([], io.BytesIO(content), is_request_log)
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
def test_log_is_read_from_its_beginning(content: bytes) -> None:
    assert on_stdin(content) == [content]


def test_empty_input_is_no_log() -> None:
    assert on_stdin(b"") == on_stdin(b"\n \n") == []
    assert find_logs([], None, is_request_log) == []


def test_stdin_names_may_be_any_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("a.log", "b c.log", "d\udcff.log"):
        Path(name).write_bytes(LOG)
    assert on_stdin(b"\na.log\n\n  b c.log \r\nd\xff.log") == ["a.log", "b c.log", "d\udcff.log"]


@pytest.mark.parametrize("second", [b'{"userEmail": "somebody@example.org"}', b"somebody@example.org\x00"])
def test_bad_name_is_not_quoted(second: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The input may be about a person."""
    monkeypatch.chdir(tmp_path)
    Path("a.log").write_bytes(LOG)
    with pytest.raises(UnreadableLog, match="standard input, line 2") as refusal:
        on_stdin(b"a.log\n" + second + b"\n")
    assert "somebody" not in str(refusal.value)


def test_mark_before_names_is_skipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a.log").write_bytes(LOG)
    for content in (b"\xef\xbb\xbfa.log\n", b"\xef\xbb\xbf\r\n\na.log\n"):
        assert on_stdin(content) == ["a.log"]


def test_file_that_is_not_there_is_named() -> None:
    with pytest.raises(UnreadableLog, match=r"missing\.log: No such file"):
        find_logs(["missing.log"], None, is_request_log)
    with pytest.raises(UnreadableLog, match=r"missing\.log: No such file"):
        on_stdin(b"missing.log\n")


def test_standard_input_can_stand_among_files(tmp_path: Path) -> None:
    file = tmp_path / "a.log"
    file.write_bytes(LOG)
    assert [(log.name, log.size) for log in find_logs([str(file), "-"], io.BytesIO(LOG), is_request_log)] == [
        (str(file), len(LOG)),
        ("standard input", 0),
    ]


def find_names(*files: str) -> list[str]:
    return [log.name for log in find_logs(files, None, is_request_log)]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current directory, and empty."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_log_has_size_and_compression(folder: Path) -> None:
    for name, compress, magic in (
        ("a.log", bytes, None),
        ("b.log", bz2.compress, b"BZh"),
        ("c.log", gzip.compress, b"\x1f\x8b"),
        ("d.log", lzma.compress, b"\xfd7zXZ\x00"),
        ("e.log", zstd.compress, b"\x28\xb5\x2f\xfd"),
    ):
        Path(name).write_bytes(compress(LOG))
        (log,) = find_logs([name], None, is_request_log)
        assert (log.name, log.size, log.magic) == (name, len(compress(LOG)), magic)
        with log.open() as raw:
            assert raw.read() == compress(LOG)
    Path("empty.log").touch()
    (empty,) = find_logs(["empty.log"], None, is_request_log)
    assert (empty.size, empty.magic) == (0, None)


def test_named_pipe_is_opened_once(folder: Path) -> None:
    """To close it would end what writes into it."""
    os.mkfifo("pipe")
    (log,) = find_logs(["pipe"], None, is_request_log)
    assert (log.name, log.size) == ("pipe", 0)


@pytest.mark.parametrize("name", ["a" * 300, "a/" * 3000 + "a", "missing/a.log", "a.log/b"])
def test_impossible_file_name_is_an_error(name: str, folder: Path) -> None:
    Path("a.log").write_bytes(LOG)
    with pytest.raises(UnreadableLog, match=f"{name}: (File name too long|No such file|Not a directory)"):
        find_logs([name], None, is_request_log)


# Directories


def test_logs_of_folders_come_last(folder: Path) -> None:
    for name in ("10/b.log", "10/a.log", "9/x/deep.log", "9/x/y/deeper.log", "z.log", "a.log", "B.log"):
        path = folder / "logs" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(LOG)
    expected = ["B.log", "a.log", "z.log", "10/a.log", "10/b.log", "9/x/deep.log", "9/x/y/deeper.log"]
    assert find_names("logs") == find_names("logs/") == [f"logs/{name}" for name in expected]
    os.chdir("logs")
    assert find_names(".") == expected
    assert find_names(str(folder / "logs")) == [str(folder / "logs" / name) for name in expected]


@pytest.mark.parametrize("compress", [bytes, bz2.compress, gzip.compress, lzma.compress, zstd.compress])
@pytest.mark.parametrize(
    "content",
    [
        encode_log(line()),
        encode_log(line()).rstrip(b"\n"),
        # of another service, of which all requests are ignored
        encode_log(line(service="fdsnws-station")),
        # rotated within a line, or begun by a program that was interrupted
        b'"userID": 1}\n' + encode_log(line()),
        b"no JSON\n\n" * 9 + encode_log(line()),
        # a line that is longer than one chunk
        encode_log(line(trace=[trace(sta=f"S{number}") for number in range(12_000)])),
    ],
    ids=["a line", "no line break", "another service", "cut", "late", "long"],
)
def test_request_log_is_found_by_content(content: bytes, compress: Callable[[bytes], bytes], folder: Path) -> None:
    Path("17").write_bytes(compress(content))
    assert find_names(".") == ["17"]


def test_other_files_are_skipped(folder: Path) -> None:
    Path("request.log").write_bytes(LOG)
    Path("seedlink.log").write_text("2020/09/18 00:00:00 [info/log] loading plugins\n" * 100)
    Path("seedlink.log.bz2").write_bytes(bz2.compress(b"2020/09/18 00:00:00 [info/log] hello\n"))
    Path("networks.json").write_text(json.dumps(make_log.registry(), indent=2))
    Path("short.json").write_text(json.dumps(make_log.registry()))
    Path("pages.json").write_text('[{"userID": 1}]\n{"userID": null}\n{}\n')
    Path("binary").write_bytes(bytes(range(256)) * 1000)
    Path("zeros").write_bytes(bytes(3 * CHUNK_BYTES))
    Path("empty").touch()
    Path("empty.bz2").write_bytes(bz2.compress(b""))
    Path(".hidden.log").write_bytes(LOG)
    Path(".cache").mkdir()
    Path(".cache/a.log").write_bytes(LOG)
    os.mkfifo("pipe")
    Path("gone").symlink_to("nowhere")
    Path("round").symlink_to("round")
    # Cut off, and of a name that is not that of a request log.
    Path("archive.tar.bz2").write_bytes(bz2.compress(LOG)[:-5])
    assert find_names(".") == ["request.log"]


def test_aggregates_are_no_logs(folder: Path) -> None:
    Path("request.log").write_bytes(LOG)
    outbox = Outbox(folder)
    with outbox.lock(warn=print):
        many = [row(station=f"S{number}") for number in range(10_000)]
        for day, rows in (("2026-10-14", [row()]), ("2026-10-15", many)):
            made = payload(*rows, days_coverage=[day], period={"start": day, "end": day})
            outbox.put(make_aggregate(made), "http://127.0.0.1", Terms())
    assert len(list(folder.glob("*.delivery"))) == 2
    assert find_names(".") == ["request.log"]


@pytest.mark.parametrize("compress", [bz2.compress, gzip.compress, lzma.compress, zstd.compress])
def test_damaged_request_log_is_not_skipped(compress: Callable[[bytes], bytes], folder: Path) -> None:
    """Its error shows when it is read."""
    Path("a.log").write_bytes(LOG)
    whole = compress(LOG)
    Path("fdsnws-requests.log.2020-09-18").write_bytes(whole[:-9])
    Path("fdsnws-requests.log.2020-09-19").write_bytes(whole[:8] + bytes(byte ^ 0xFF for byte in whole[8:]))
    assert find_names(".") == ["a.log", "fdsnws-requests.log.2020-09-18", "fdsnws-requests.log.2020-09-19"]


@pytest.mark.parametrize("content", [None, b"hello\n"])
def test_directory_without_logs_is_an_error(content: bytes | None, folder: Path) -> None:
    Path("logs/2020").mkdir(parents=True)
    Path("a.log").write_bytes(LOG)
    if content is not None:
        Path("logs/2020/other.log").write_bytes(content)
    with pytest.raises(UnreadableLog, match=": logs: no log of this kind in it"):
        find_logs(["a.log", "logs"], None, is_request_log)


@pytest.mark.parametrize("refused", ["scandir", "stat"])
def test_unreadable_directory_is_reported(refused: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If its folder was skipped, nobody would notice that a day is missing in the statistics."""
    Path("logs/private").mkdir(parents=True)
    for name in ("logs/a.log", "logs/private/b.log"):
        Path(name).write_bytes(LOG)
    allowed = getattr(os, refused)

    def refusing(path: object, *more: object, **options: object) -> object:
        if "private" in str(path) and (refused == "scandir" or "b.log" in str(path)):
            raise PermissionError(13, "Permission denied", str(path))
        return allowed(path, *more, **options)

    monkeypatch.setattr(os, refused, refusing)
    with pytest.raises(UnreadableLog, match=r"logs/private.*: Permission denied"):
        find_logs(["logs"], None, is_request_log)


@pytest.mark.parametrize(
    "content",
    [
        b"\xef\xbb\xbf" + encode_log(line()),
        bytes(2 * CHUNK_BYTES) + encode_log(line()),
        b"\x1e" + encode_log(line()),
        encode_log(line())[:99] + encode_log(line()),
        b"\x5f\x2a\x4d\x18\x01\0\0\0x" + zstd.compress(encode_log(line())),
        gzip.compress(b"\xef\xbb\xbf" + encode_log(line())),
    ],
    ids=["mark", "NUL bytes", "separator", "torn", "skippable frame", "packed mark"],
)
def test_damaged_request_log_is_found(content: bytes, folder: Path) -> None:
    Path("a.log").write_bytes(content)
    assert find_names(".") == ["a.log"]
    done = run("--json", "--dry-run", ".", cwd=folder)
    assert json.loads(done.stdout)["counted"] == 1
    assert json.loads(run("--json", "--dry-run", cwd=folder, stdin=content).stdout)["counted"] == 1


@pytest.mark.parametrize("compress", [bytes, bz2.compress, gzip.compress, zstd.compress])
def test_tar_archive_is_refused(compress: Callable[[bytes], bytes], folder: Path) -> None:
    with tarfile.open("other.tar", "w") as archive:
        Path("a.log").write_bytes(LOG)
        archive.add("a.log")
    content = compress(Path("other.tar").read_bytes())
    Path("other.tar").unlink()
    assert find_names(".") == ["a.log"]
    Path("requests.tar").write_bytes(content)
    for jobs, names, stdin in (("1", ["requests.tar"], None), ("2", ["."], None), ("1", ["-"], content)):
        done = run("--jobs", jobs, *names, cwd=folder, stdin=stdin)
        assert done.returncode == 1
        assert "a tar archive" in done.stderr
        assert "Unpack it with tar" in done.stderr
    # of another name, it is passed over like other files
    Path("requests.tar").rename("other.tar")
    assert find_names(".") == ["a.log"]


# Patterns


def test_pattern_means_matching_files(folder: Path) -> None:
    Path("2020/11").mkdir(parents=True)
    for name in ("b1.log", "a2.log", "a1.log", "a1.txt", ".a3.log", "2020/x.log", "2020/11/x.log"):
        Path(name).write_bytes(LOG)
    assert find_names("a*.log") == ["a1.log", "a2.log"]
    assert find_names("?1.log") == find_names("[ab]1.log") == ["a1.log", "b1.log"]
    assert find_names("2020/*.log") == ["2020/x.log"]
    assert find_names("**/x.log") == ["2020/11/x.log", "2020/x.log"]
    assert find_names("**/*1.log") == ["a1.log", "b1.log"]
    assert find_names(f"{folder}/b*.log") == [f"{folder}/b1.log"]
    # the order is that of the command line
    assert find_names("b*.log", "a2.log", "a1*") == ["b1.log", "a2.log", "a1.log", "a1.txt"]


def test_pattern_may_fit_directories(folder: Path) -> None:
    for name in ("2019/a.log", "2020/b.log", "2020/11/c.log", "2020/notes.txt", "other/d.log"):
        path = Path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(LOG if path.suffix == ".log" else b"hello\n")
    assert find_names("20*") == ["2019/a.log", "2020/b.log", "2020/11/c.log"]


@pytest.mark.parametrize("pattern", ["*.log", "[ab].txt", "logs/**/a.log", "?"])
def test_pattern_without_match_is_an_error(pattern: str, folder: Path) -> None:
    Path("a.txt.gz").write_bytes(LOG)
    with pytest.raises(UnreadableLog) as refusal:
        find_logs([pattern], None, is_request_log)
    assert f": {pattern}: no file has such a name" in str(refusal.value)


@pytest.mark.parametrize("name", ["a[1].log", "a*.log", "what?", "[", "**"])
def test_file_name_may_look_like_a_pattern(name: str, folder: Path) -> None:
    for there in (name, "a1.log", "a2.log", "whats"):
        Path(there).write_bytes(LOG)
    assert find_names(name) == [name]
    # also among others that a pattern fits
    assert find_names("*") == sorted([name, "a1.log", "a2.log", "whats"])


def test_broken_link_is_an_error(folder: Path) -> None:
    Path("a*").symlink_to("nowhere")
    with pytest.raises(UnreadableLog, match=r"a\*: No such file"):
        find_logs(["a*"], None, is_request_log)


def test_stdin_may_name_directories(folder: Path) -> None:
    Path("logs").mkdir()
    for name in ("a1.log", "a2.log", "logs/b.log"):
        Path(name).write_bytes(LOG)
    assert on_stdin(b"logs\na*.log\n") == ["logs/b.log", "a1.log", "a2.log"]
    assert on_stdin(b"a[2].log\n./logs/\n") == ["a2.log", "logs/b.log"]
    with pytest.raises(UnreadableLog, match=r": b\*: no file has such a name"):
        on_stdin(b"logs\nb*\n")
    Path("empty").mkdir()
    with pytest.raises(UnreadableLog, match=": empty: no log of this kind in it"):
        on_stdin(b"empty\n")
