"""Tests of crawls, as the operator runs them."""

import json
import os
import re
import socket
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eida_statistics.files import format_name
from support.archives import (
    REGISTRY,
    crawl,
    drop_access_times,
    make_mseed,
    read_crawl,
    read_ends,
    run_crawl,
    run_unprivileged,
    write,
    write_day,
)

ROOT = "/GFZ/archive"


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """Return an archive with two day files of two stations each."""
    root = tmp_path / "archive"
    for day in (60, 61):
        for station in ("APE", "EIL"):
            write_day(root, day, station)
    return root


def test_every_path_is_below_the_given_one(archive: Path) -> None:
    found = crawl(archive)
    day = f"{ROOT}/2015/GE/APE/LHZ.D/GE.APE..LHZ.D.2015.060"
    assert len(found) == 1 + 2 + 2 + 2 + 4
    assert all(path == ROOT or path.startswith(f"{ROOT}/") for path in found)
    assert found[ROOT]["posix"]["type"] == "directory"
    assert found[day]["mseed"]["segments"][0]["station"] == "APE"
    assert found[day]["mseed"]["bytes_unread"] == 0
    assert found[day]["mseed"]["damaged"] is False
    assert "misnamed" not in found[day]["mseed"]


def test_posix_records_are_those_of_the_file_system(archive: Path) -> None:
    file = next(path for path in archive.rglob("*") if path.is_file())
    file.chmod(0o640)
    os.utime(file, ns=(10**18, 1_234_567_890_123_456_789))
    status = file.stat()
    record = crawl(archive)[f"{ROOT}/{file.relative_to(archive)}"]["posix"]
    assert record == {
        "type": "file",
        "size": status.st_size,
        "mode": "-rw-r-----",
        "inode": status.st_ino,
        "uid": status.st_uid,
        "gid": status.st_gid,
        "atime": 10**9,
        "ctime": int(status.st_ctime),
        "mtime": 1_234_567_890,
        "dev": status.st_dev,
        "nlink": 1,
        "mtime_ns": 1_234_567_890_123_456_789,
    }


def test_first_and_last_line_describe_the_crawl(archive: Path) -> None:
    os.mkfifo(archive / "fifo")
    write(archive / "text", b"text")
    crawl(archive, "--owners", "--pattern", "*")
    first, last = read_ends(archive.parent / "crawl.tsv.gz")
    assert first["root"] == str(archive)
    assert first["options"] == {"owners": "yes", "pattern": "*"}
    assert first["started"] <= last["finished"]
    counts = {"directory": 7, "file": 5, "mseed": 5, "posix": 12, "skipped": 1}
    assert last["counts"] == counts
    assert (last["unreadable"], last["errors"]) == ([], 1)


@pytest.mark.parametrize("jobs", ["2", "3"])
def test_number_of_processes_changes_nothing(tmp_path: Path, jobs: str) -> None:
    for number in range(150):
        write(tmp_path / "archive" / f"{number % 7}" / f"{number}", b"x" * number)
    files = [tmp_path / "one.gz", tmp_path / "more.gz"]
    for file, number in zip(files, ("1", jobs), strict=True):
        assert run_crawl(tmp_path / "archive", file, "--jobs", number).returncode == 0
    one, more = map(read_crawl, files)
    assert list(one) == list(more)
    assert drop_access_times(one) == drop_access_times(more)


@pytest.mark.parametrize(
    ("name", "written"),
    [
        ("café".encode(), "café"),
        ("cafe\u0301".encode(), "cafe\u0301"),
        (b"caf\xe9", "caf\\xe9"),
        (b"a\nb", "a\nb"),
        (b"a\tb", "a\tb"),
        (b"a\\b", "a\\b"),
        (b"a\\x41", "a\\x41"),
        (b"\\xe9", "\\x5cxe9"),
        (b"\\x5cxe9", "\\x5cx5cxe9"),
        (b"\\\xe9\\x", "\\\\xe9\\x"),
        (b'"', '"'),
        (b"\r", "\r"),
        (b"-", "-"),
    ],
)
def test_names_come_back_as_they_are(tmp_path: Path, name: bytes, written: str) -> None:
    root = tmp_path / "archive"
    write(root / os.fsdecode(name) / os.fsdecode(name), make_mseed())
    found = crawl(root)
    record = found[f"{ROOT}/{written}/{written}"]
    assert len(record["mseed"]["segments"]) == 1
    assert record["posix"].get("name_bytes") == (None if name == written.encode() else name.hex())


@given(st.lists(st.sampled_from([b"\\", b"x", b"5c", b"e9", b"a", b"\xe9", "é".encode()])).map(b"".join))
def test_names_can_be_restored(name: bytes) -> None:
    written = format_name(name).encode()
    escapes = re.compile(rb"\\x(5c|[89a-f][0-9a-f])")
    assert escapes.sub(lambda match: bytes.fromhex(match[1].decode()), written) == name


def test_links_are_not_followed(archive: Path) -> None:
    (archive / "up").symlink_to("..")
    (archive / "broken").symlink_to(b"caf\xe9".decode("latin-1"))
    (archive / "loop").symlink_to("loop")
    found = crawl(archive)
    links = {path[len(ROOT) :]: one["posix"] for path, one in found.items() if one["posix"]["type"] == "link"}
    assert {name: (one["target"], one["intact"]) for name, one in links.items()} == {
        "/up": ("..", True),
        "/broken": ("café", False),
        "/loop": ("loop", False),
    }
    assert all("mseed" not in found[f"{ROOT}{name}"] for name in links)


def test_hard_links_share_their_inode(archive: Path) -> None:
    file = next(path for path in archive.rglob("*") if path.is_file())
    (archive / "other").hardlink_to(file)
    found = drop_access_times(crawl(archive))
    one, other = found[f"{ROOT}/other"], found[f"{ROOT}/{file.relative_to(archive)}"]
    assert one["posix"] == other["posix"]
    assert one["posix"]["nlink"] == 2
    assert one["mseed"]["segments"] == other["mseed"]["segments"]


def test_special_files_are_counted_and_not_opened(tmp_path: Path) -> None:
    root = tmp_path / "archive"
    root.mkdir()
    os.mkfifo(root / "fifo")  # opening it would wait
    with socket.socket(socket.AF_UNIX) as listening:
        here = Path.cwd()
        os.chdir(root)  # the names of sockets are short
        try:
            listening.bind("socket")
        finally:
            os.chdir(here)
    done = run_crawl(root, tmp_path / "crawl.gz")
    assert "2  skipped (FIFOs, sockets, devices)" in done.stdout
    assert list(read_crawl(tmp_path / "crawl.gz")) == [ROOT]


def test_content_decides_and_not_the_name(archive: Path) -> None:
    write(archive / "2015/GE/APE/LHZ.D/GE.APE..LHZ.D.2015.062", make_mseed("FDSN:GE_OTHER__L_H_Z"))
    found = crawl(archive)
    record = found[f"{ROOT}/2015/GE/APE/LHZ.D/GE.APE..LHZ.D.2015.062"]["mseed"]
    assert record["misnamed"] is True
    assert record["segments"][0]["station"] == "OTHER"


def test_pattern_limits_what_is_opened(archive: Path) -> None:
    found = crawl(archive, "--pattern", "GE.APE.*")
    assert sum("mseed" in one for one in found.values()) == 2
    assert sum(one["posix"]["type"] == "file" for one in found.values()) == 4


def test_more_types_are_added_on_request(archive: Path) -> None:
    write(archive / "text", b"text\n")
    records = crawl(archive, "--checksum", "md5", "--magic")[f"{ROOT}/text"]
    assert records["checksum"] == {"md5": "e1cbb0c3879af8347246f12c559a86b5"}
    assert records["magic"]["mime"] == "text/plain"
    assert "user" not in records["posix"]


def test_owners_are_added_on_request(archive: Path) -> None:
    record = crawl(archive, "--owners")[ROOT]["posix"]
    assert (record["user"], record["group"]) == (archive.owner(), archive.group())


def test_temporary_network_has_the_code_of_its_epoch(archive: Path) -> None:
    for year in ("2006", "2015", "2030"):
        write(archive / f"in{year}", make_mseed("FDSN:Z3_A__L_H_Z", f"{year}-03-01T00:00:00Z"))
    registry = write(archive.parent / "networks.json", json.dumps(REGISTRY).encode())
    found = crawl(archive, "--networks", registry)
    codes = [found[f"{ROOT}/in{year}"]["mseed"]["segments"][0]["network"] for year in ("2006", "2030")]
    assert codes == ["Z32005", "Z3"]
    assert found[f"{ROOT}/in2006"]["mseed"]["segments"][0]["sid"] == "FDSN:Z3_A__L_H_Z"


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_missing_registry_stops_the_crawl(archive: Path, jobs: str) -> None:
    write(archive / "temporary", make_mseed("FDSN:Z3_A__L_H_Z"))
    done = run_crawl(archive, archive.parent / "crawl.gz", "--jobs", jobs)
    assert done.returncode == 1
    assert "There is no registry of networks" in done.stderr
    assert "--networks FILE" in done.stderr
    assert not list(archive.parent.glob("crawl.gz*"))


def test_missing_registry_does_not_matter_without_need(archive: Path) -> None:
    assert crawl(archive)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "No such file or directory"),
        (b"text", "Not a directory"),
    ],
)
def test_bad_root_stops_the_crawl(tmp_path: Path, content: bytes | None, reason: str) -> None:
    if content is not None:
        write(tmp_path / "archive", content)
    done = run_crawl(tmp_path / "archive", tmp_path / "crawl.gz")
    assert done.returncode == 1
    assert done.stderr.startswith("eida_archive: The archive cannot be read, so nothing was written")
    assert reason in done.stderr
    assert not list(tmp_path.glob("crawl.gz*"))


def test_root_may_be_a_link(archive: Path) -> None:
    link = archive.parent / "link"
    link.symlink_to(archive)
    found = crawl(link)
    assert len(found) == 11
    assert found[ROOT]["posix"]["type"] == "directory"


def test_unreadable_paths_are_named(archive: Path) -> None:
    locked, file = archive / "2015/GE/EIL", archive / "2015/GE/APE/LHZ.D/GE.APE..LHZ.D.2015.060"
    locked.chmod(0)
    file.chmod(0)
    output = archive.parent / "crawl.gz"
    done = run_unprivileged(["crawl", archive, "--as", ROOT, "-o", output], archive.parent)
    locked.chmod(stat.S_IRWXU)
    assert done.returncode == 4, done.stderr
    assert done.stderr.splitlines() == [
        f"eida_archive: warning: cannot be read: {ROOT}/2015/GE/EIL: Permission denied",
        f"eida_archive: warning: cannot be read: {ROOT}/2015/GE/APE/LHZ.D/{file.name}: Permission denied",
    ]
    found = read_crawl(output)
    assert found[f"{ROOT}/2015/GE/EIL"]["posix"]["mode"] == "d---------"
    assert found[f"{ROOT}/2015/GE/APE/LHZ.D/{file.name}"]["mseed"] == {"error": "cannot be read: Permission denied"}
    _, last = read_ends(output)
    assert (last["unreadable"], last["errors"]) == ([f"{ROOT}/2015/GE/EIL"], 1)


def test_directory_that_cannot_be_searched_is_unreadable(archive: Path) -> None:
    """Its names can be listed, but nothing else is known of them."""
    locked = archive / "2015/GE/EIL/LHZ.D"
    locked.chmod(stat.S_IRUSR)
    output = archive.parent / "crawl.gz"
    done = run_unprivileged(["crawl", archive, "--as", ROOT, "-o", output, "--jobs", "2"], archive.parent)
    locked.chmod(stat.S_IRWXU)
    assert done.returncode == 4
    assert read_ends(output)[1]["unreadable"] == [f"{ROOT}/2015/GE/EIL/LHZ.D"]


def test_unreadable_root_stops_the_crawl(archive: Path) -> None:
    archive.chmod(0)
    done = run_unprivileged(["crawl", archive, "--as", ROOT, "-o", archive.parent / "crawl.gz"], archive.parent)
    archive.chmod(stat.S_IRWXU)
    assert done.returncode == 1
    assert "Permission denied" in done.stderr
    assert not list(archive.parent.glob("crawl.gz*"))


@pytest.mark.parametrize("path", ["archive", "/GFZ/../archive", ""])
def test_bad_path_is_refused(archive: Path, path: str) -> None:
    done = run_crawl(archive, archive.parent / "crawl.gz", path=path)
    assert done.returncode == 2
    assert "--as" in done.stderr
    assert ("Begin it with a slash." in done.stderr) == (not path.startswith("/"))


def test_path_is_normalised(archive: Path) -> None:
    assert list(crawl(archive, path="//GFZ/./archive/"))[0] == ROOT  # noqa: RUF015 - a view
    assert list(crawl(archive, path="/"))[:2] == ["/", "/2015"]


def test_unwritable_output_is_named(archive: Path) -> None:
    folder = archive.parent / "out"
    folder.mkdir(0o500)
    done = run_unprivileged(["crawl", archive, "--as", ROOT, "-o", folder / "crawl.gz"], archive.parent)
    assert done.returncode == 1
    assert f"{folder}/crawl.gz: Permission denied" in done.stderr


def test_missing_package_says_how_to_install_it(archive: Path) -> None:
    hidden = write(archive.parent / "pymseed.py", b"raise ModuleNotFoundError('gone', name='pymseed')")
    done = run_unprivileged(["crawl", archive, "--as", ROOT, "-o", "crawl.gz"], hidden.parent)
    assert done.returncode == 2
    assert "there is no package pymseed" in done.stderr
    assert "pip install '.[archive]'" in done.stderr


def test_summary_fits_a_terminal(archive: Path) -> None:
    for number in range(12):
        write(archive / f"text{number:02d}", b"text")
    write(archive / "empty", b"")
    write(archive / "cut", make_mseed()[:600])
    done = run_crawl(archive, archive.parent / "crawl.tsv.gz")
    assert [re.sub(r" {2,}", " ", line.strip()) for line in done.stdout.splitlines()][1:10] == [
        "18 opened",
        "5 segments",
        "7 directories",
        "1 empty files",
        "12 files without miniSEED",
        "1 files with bytes that belong to no record",
        f"without miniSEED: {ROOT}/text00: no miniSEED record was found",
        f"without miniSEED: {ROOT}/text01: no miniSEED record was found",
        f"without miniSEED: {ROOT}/text02: no miniSEED record was found",
    ]
    assert "without miniSEED: … and 2 more" in done.stdout
    # The last line has the path of the file, however long.
    assert max(map(len, done.stdout.splitlines()[:-1])) <= 80


def test_summary_as_json_has_the_figures(archive: Path) -> None:
    done = run_crawl(archive, archive.parent / "crawl.tsv.gz", "--json")
    summary = json.loads(done.stdout)
    assert (summary["files"], summary["opened"], summary["segments"], summary["directories"]) == (4, 4, 4, 7)
