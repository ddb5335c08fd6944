"""Tests of crawls that continue a previous one."""

import gzip
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from eida_statistics.archive.crawl_file import find_parts
from eida_stats_aggregator.archive import crawler, describe
from eida_stats_aggregator.archive.crawler import Options
from eida_stats_aggregator.archive.describe import Findings, Wanted
from support.archives import (
    REGISTRY,
    Records,
    drop_access_times,
    make_mseed,
    read_crawl,
    run_crawl,
    write,
    write_day,
)
from support.processes import wait_for

ROOT = "/GFZ/archive"


def crawl(root: Path, output: Path, since: Path | None = None, *, jobs: int = 1, **wanted: object) -> Findings:
    options = Options(root, ROOT, output, Wanted(**wanted), list, jobs, since)  # type: ignore[arg-type]
    return crawler.crawl(options, lambda _bytes, _paths: None).findings


def read(file: Path) -> dict[str, Records]:
    return drop_access_times(read_crawl(file))


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    root = tmp_path / "archive"
    for day in range(60, 64):
        write_day(root, day)
    write(root / "text", b"text")
    return root


def test_unchanged_files_are_not_opened(archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    crawl(archive, tmp_path / "1.gz")

    def refuse(*_: object) -> None:
        raise AssertionError

    monkeypatch.setattr(describe, "read_content", refuse)
    findings = crawl(archive, tmp_path / "2.gz", tmp_path / "1.gz")
    assert (findings.copied, findings.segments, findings.other) == (5, 4, 1)
    assert read(tmp_path / "2.gz") == read(tmp_path / "1.gz")


def test_size_of_batches_changes_nothing(archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    crawl(archive, tmp_path / "1.gz", jobs=2)
    monkeypatch.setattr(crawler, "_BATCH_BYTES", 1)
    crawl(archive, tmp_path / "2.gz", jobs=2)
    assert read(tmp_path / "2.gz") == read(tmp_path / "1.gz")


def _touch(file: Path) -> None:
    status = file.stat()
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns + 1))


def _keep_times(file: Path) -> None:
    """Change the content, and nothing else but the time of the change."""
    status = file.stat()
    wait_for(lambda: _next_second(file, int(status.st_ctime)))
    file.write_bytes(make_mseed("FDSN:GE_NEW__L_H_Z"))
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))


def _next_second(file: Path, second: int) -> bool:
    os.utime(file)
    return int(file.stat().st_ctime) > second


@pytest.mark.parametrize("change", [_touch, _keep_times])
def test_changed_file_is_read_again(archive: Path, tmp_path: Path, change: Callable[[Path], None]) -> None:
    crawl(archive, tmp_path / "1.gz")
    change(next(path for path in archive.rglob("*.060")))
    findings = crawl(archive, tmp_path / "2.gz", tmp_path / "1.gz")
    crawl(archive, tmp_path / "full.gz")
    assert findings.copied == 4
    assert read(tmp_path / "2.gz") == read(tmp_path / "full.gz")


def test_output_may_be_the_previous_crawl(archive: Path, tmp_path: Path) -> None:
    file = tmp_path / "crawl.gz"
    crawl(archive, file)
    before = read(file)
    assert crawl(archive, file, file).copied == 5
    assert read(file) == before
    assert find_parts(file) == []


def test_other_wishes_are_met(archive: Path, tmp_path: Path) -> None:
    """Only the previous crawl's own types of metadata can be copied."""
    crawl(archive, tmp_path / "1.gz", pattern="*.06[01]")
    findings = crawl(archive, tmp_path / "2.gz", tmp_path / "1.gz", has_checksums=True, has_owners=True)
    crawl(archive, tmp_path / "full.gz", has_checksums=True, has_owners=True)
    assert findings.copied == 2
    assert read(tmp_path / "2.gz") == read(tmp_path / "full.gz")
    crawl(archive, tmp_path / "less.gz", tmp_path / "2.gz", pattern="*.060")
    crawl(archive, tmp_path / "full.gz", pattern="*.060")
    assert read(tmp_path / "less.gz") == read(tmp_path / "full.gz")


def test_other_layout_reads_all_files_again(archive: Path, tmp_path: Path) -> None:
    crawl(archive, tmp_path / "1.gz")
    done = run_crawl(archive, tmp_path / "2.gz", "--since", tmp_path / "1.gz", "--layout", "sdsbynet")
    assert f"all files were read again: {tmp_path}/1.gz was made with another --layout" in done.stdout
    assert sum(one.get("mseed", {}).get("misnamed", False) for one in read(tmp_path / "2.gz").values()) == 4


def test_other_version_reads_all_files_again(
    archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    crawl(archive, tmp_path / "1.gz")
    monkeypatch.setattr(crawler, "__version__", "99")
    assert crawl(archive, tmp_path / "2.gz", tmp_path / "1.gz").copied == 0


def test_file_that_could_not_be_read_is_read_again(archive: Path, tmp_path: Path) -> None:
    crawl(archive, tmp_path / "1.gz")
    content = gzip.decompress((tmp_path / "1.gz").read_bytes())
    failed = content.replace(b"no miniSEED record was found", b"cannot be read: Input/output error")
    assert failed != content
    (tmp_path / "1.gz").write_bytes(gzip.compress(failed))
    findings = crawl(archive, tmp_path / "2.gz", tmp_path / "1.gz")
    assert findings.copied == 4
    assert read(tmp_path / "2.gz")[f"{ROOT}/text"]["mseed"] == {"error": "no miniSEED record was found"}


def test_registry_is_consulted_again(archive: Path, tmp_path: Path) -> None:
    write(archive / "temporary", make_mseed("FDSN:Z3_A__L_H_Z"))
    registry = write(tmp_path / "networks.json", json.dumps(REGISTRY).encode())
    assert run_crawl(archive, tmp_path / "1.gz", "--networks", registry).returncode == 0
    changed = json.dumps(REGISTRY).replace("2015-01-01", "2014-01-01")
    write(registry, changed.encode())
    done = run_crawl(archive, tmp_path / "2.gz", "--networks", registry, "--since", tmp_path / "1.gz", "--json")
    assert json.loads(done.stdout)["copied"] == 6
    assert read(tmp_path / "2.gz")[f"{ROOT}/temporary"]["mseed"]["segments"][0]["network"] == "Z32014"
    assert run_crawl(archive, tmp_path / "3.gz", "--since", tmp_path / "1.gz").returncode == 1


def test_crawl_of_another_archive_is_refused(archive: Path, tmp_path: Path) -> None:
    crawl(archive, tmp_path / "1.gz")
    done = run_crawl(archive, tmp_path / "2.gz", "--since", tmp_path / "1.gz", path="/NOA/archive")
    assert done.returncode == 2
    assert f"1.gz is the crawl of {ROOT}, not of /NOA/archive" in done.stderr
    assert not (tmp_path / "2.gz").exists()


# With ids, since a gzip has the time at which it is made, and test processes would not agree on the names of tests.
@pytest.mark.parametrize(
    "content",
    [b"", b"text", gzip.compress(b""), gzip.compress(b"text\n")],
    ids=["nothing", "text", "empty gzip", "gzip of text"],
)
def test_other_file_is_no_previous_crawl(archive: Path, tmp_path: Path, content: bytes) -> None:
    file = write(tmp_path / "1.gz", content)
    done = run_crawl(archive, tmp_path / "2.gz", "--since", file)
    assert done.returncode == 1
    assert str(file) in done.stderr


@pytest.mark.parametrize("share", [0.3, 0.9])
def test_crawl_that_was_cut_off_is_continued(archive: Path, tmp_path: Path, share: float) -> None:
    for number in range(300):
        write(archive / f"{number % 3}" / f"{number}", b"x")
    crawl(archive, tmp_path / "1.gz")
    content = (tmp_path / "1.gz").read_bytes()
    cut = write(tmp_path / "cut.gz", content[: int(len(content) * share)])
    findings = crawl(archive, tmp_path / "2.gz", cut)
    assert 0 < findings.copied < 305
    assert read(tmp_path / "2.gz") == read(tmp_path / "1.gz")


_SLOW = """
import sys, time
from eida_stats_aggregator.archive import cli, describe
read = describe.read_content
def read_slowly(*arguments):
    time.sleep(0.01)
    return read(*arguments)
describe.read_content = read_slowly
cli.main()
"""


@pytest.mark.parametrize("sent", [signal.SIGKILL, signal.SIGINT])
@pytest.mark.parametrize("jobs", ["1", "2"])
def test_killed_crawl_is_continued(tmp_path: Path, jobs: str, sent: signal.Signals) -> None:
    root, output = tmp_path / "archive", tmp_path / "crawl.tsv.gz"
    for day in range(1, 201):
        write_day(root, day, samples=20)
    write(output, b"the one before")
    words = ["crawl", root, "--as", ROOT, "-o", output, "--jobs", jobs]
    with subprocess.Popen([sys.executable, "-c", _SLOW, *map(str, words)], stderr=subprocess.PIPE) as process:
        wait_for(lambda: [part for part in find_parts(output) if part.stat().st_size > 3000])
        process.send_signal(sent)
        errors = process.communicate()[1].decode()
    (part,) = find_parts(output)
    assert output.read_bytes() == b"the one before"
    if sent == signal.SIGINT:
        assert process.returncode == 1
        assert errors == (
            "eida_archive: The crawl was stopped before its end: interrupted\n"
            f"Continue it with --since {part}, or remove that file.\n"
        )
    done = run_crawl(root, output, "--since", part)
    assert done.returncode == 0
    assert f"left by a crawl that was killed, or still runs: {part}" in done.stdout
    copied = int(next(line.split()[0] for line in done.stdout.splitlines() if "unchanged" in line))
    assert 0 < copied < 200
    crawl(root, tmp_path / "full.gz")
    assert read(output) == read(tmp_path / "full.gz")


def test_killed_process_ends_the_crawl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def die(*_: object) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    monkeypatch.setattr(describe, "read_content", die)
    write_day(tmp_path / "archive")
    with pytest.raises(crawler.CrawlerLost, match=r"Use fewer --jobs. Continue it with --since .*1.gz.1.part"):
        crawl(tmp_path / "archive", tmp_path / "1.gz", jobs=2)


# Names that sort in unusual ways, beside and below each other.
_NAMES = st.sampled_from([b"a", b"a.b", b"a-", b"b", b"caf\xe9", "é".encode(), b"x\ny", b"\\xe9", b"\xe9"])
_PATHS = st.lists(_NAMES.map(os.fsdecode), min_size=1, max_size=3)
_CONTENTS = st.sampled_from(
    [
        b"",
        b"text",
        make_mseed(samples=20),
        make_mseed("FDSN:GE_EIL__L_H_Z", samples=20, version=3),
        make_mseed(samples=20) + b"noise",
    ]
)
_Changes = list[tuple[list[str], bytes | str]]
_CHANGES = st.lists(st.tuples(_PATHS, st.one_of(_CONTENTS, st.sampled_from(["remove", "link", "directory"]))))


def _apply(root: Path, changes: _Changes) -> None:
    """Change an archive. Whatever is in the way is removed."""
    for names, action in changes:
        folder = root
        for name in names[:-1]:
            folder /= name
            if folder.is_symlink() or not folder.is_dir():
                folder.unlink(missing_ok=True)
                folder.mkdir()
        path = folder / names[-1]
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        elif not isinstance(action, bytes) or path.is_symlink():
            path.unlink(missing_ok=True)
        if action == "link":
            path.symlink_to("..")
        elif action == "directory":
            path.mkdir()
        elif isinstance(action, bytes):
            path.write_bytes(action)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(_CHANGES, _CHANGES, st.sampled_from([None, "sds"]), st.booleans())
@example([(["a", "a"], b"text"), (["a.b"], b"text")], [(["a"], b"text")], None, False)
@example([(["\\xe9"], b"text"), ([os.fsdecode(b"\xe9")], make_mseed(samples=20))], [], None, True)
def test_since_gives_the_full_crawl(
    tmp_path: Path,
    before: _Changes,
    after: _Changes,
    layout: str | None,
    has_checksums: bool,
) -> None:
    root = tmp_path / "archive"
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir()
    _apply(root, before)
    crawl(root, tmp_path / "1.gz")
    _apply(root, after)
    wanted = {"layout": layout, "has_checksums": has_checksums}
    crawl(root, tmp_path / "2.gz", tmp_path / "1.gz", **wanted)
    crawl(root, tmp_path / "full.gz", **wanted)
    assert _list_lines(tmp_path / "2.gz") == _list_lines(tmp_path / "full.gz")


def _list_lines(file: Path) -> list[tuple[str, str, dict[str, object]]]:
    """Return all lines between the first and the last, without access times."""
    lines = []
    for line in gzip.decompress(file.read_bytes()).splitlines()[1:-1]:
        path, md_type, content = line.decode().split("\t")
        record = json.loads(content.replace("\\\\", "\\"))
        record.pop("atime", None)
        lines.append((path, md_type, record))
    return lines
