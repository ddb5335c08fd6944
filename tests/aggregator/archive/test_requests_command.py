"""The command `eida_archive requests`."""

import bz2
import csv
import datetime
import gzip
import itertools
import json
import os
import subprocess
from pathlib import Path

import pymseed
import pytest

from eida_statistics.archive.lines import CrawlLine
from eida_statistics.archive.records import MSEED, CrawlRecord, MseedRecord, encode_record
from eida_stats_aggregator.archive.request_rows import Row
from support import crawls
from support.commands import run_command
from support.held_crawls import FINISHED, Held, write_crawl
from support.stubs import REAL_LOG, REAL_REGISTRY, encode_log, line, trace

EIL = Held("GE.EIL..BHZ", "1990-01-01", "1999-12-31", "2000-01-01")
USERS = ("IRISDMC", "ObsPy", "1497164453", "userID")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_crawl(tmp_path / "crawl.tsv.gz", EIL)
    return tmp_path


def run(folder: Path, *words: str, stdin: bytes = b"") -> subprocess.CompletedProcess[str]:
    words = ("requests", "--catalogue", "crawl.tsv.gz", *words)
    environment = {**os.environ, "COLUMNS": "80"}
    return run_command("eida_archive", words, folder=folder, environment=environment, stdin=stdin)


def make_request(number: int, *traces: dict[str, object], **changes: object) -> dict[str, object]:
    return line(created=f"2020-09-18T00:00:00.{number:06}Z", trace=list(traces), **changes)


def write_log(folder: Path, *more: bytes) -> bytes:
    text = encode_log(
        make_request(1, trace(), trace(status="NODATA", size=0)),
        make_request(2, trace(status="NODATA", size=0, sta="APE"), trace(status="DENIED", size=0), status="NODATA"),
        make_request(3, trace(status="NODATA", size=0, start="2020-09-17T10:00:00Z", end="2020-09-18T00:00:00Z")),
        line(service="fdsnws-station"),
        line(without=("trace",), status="NODATA", created="2020-09-18T00:00:00.7Z"),
    )
    (folder / "requests.log").write_bytes(text + b"".join(more))
    return text


def test_tables(folder: Path) -> None:
    write_log(folder)
    done = run(folder, "requests.log")
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert max(map(len, lines)) <= 80
    text = " ".join(done.stdout.split())
    assert "less than a day 1 0 1 0 0 0 bytes" in text
    assert "more than 5 years 4 1 2 1 0 512 bytes" in text
    assert "all 5 1 3 1 0 512 bytes" in text
    assert "1997 4 1 2 1 0 512 bytes" in text
    assert "held 1 1 data are there and were not delivered" in text
    assert "GE.EIL.--.BHZ held 1 1 1 1997-08-09 1997-08-09" in text
    assert "GE.EIL.--.BHZ gap 1 0 1 2020-09-17 2020-09-18" in text
    assert "GE.APE.--.BHZ unknown 1 0 1 1997-08-09 1997-08-09" in text
    assert "5 traces of 4 requests" in text
    assert "Crawl from 2020-09-01 00:00 to 2020-09-01 06:00 UTC: 1 segments of 1 streams" in text
    assert "NEWER: requested after the crawl began, so that the data may have come since: 3" in text


def test_files_have_the_same_rows(folder: Path) -> None:
    write_log(folder)
    assert run(folder, "requests.log", "-o", "out.csv").stdout.endswith("written: out.csv\n")
    assert run(folder, "requests.log", "-q", "-o", "out.json").stdout == ""
    document = json.loads((folder / "out.json").read_text())
    with (folder / "out.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    as_text = [{k: "" if v is None else str(v) for k, v in row.items()} for row in document["rows"]]
    assert rows == as_text
    assert list(rows[0]) == [*Row.__struct_fields__]
    assert document["crawl"] == {"started": "2020-09-01T00:00:00Z", "finished": "2020-09-01T06:00:00Z"}
    assert document["lines"] == {"ignored": 1, "rejected": 0, "repeated": 0}
    assert (document["requests"], document["without_traces"]) == (4, 1)
    held = next(row for row in document["rows"] if row["name"] == "held")
    assert held == {
        **dict.fromkeys(Row.__struct_fields__),
        "section": "nodata",
        "name": "held",
        "network": "GE",
        "station": "EIL",
        "location": "",
        "channel": "BHZ",
        "traces": 1,
        "faults": 1,
        "after_crawl": 1,
        "start": "1997-08-09T00:00:00.000000Z",
        "end": "1997-08-09T01:00:00.000000Z",
    }
    content = (folder / "out.csv").read_text() + (folder / "out.json").read_text()
    assert not any(part in content for part in USERS)


def test_logs_are_read_as_by_aggregator(folder: Path) -> None:
    text = write_log(folder, b'{"half', b"\n")
    (folder / "copy.bz2").write_bytes(bz2.compress((folder / "requests.log").read_bytes()))
    # The same requests once more, and a new one.
    (folder / "more.gz").write_bytes(gzip.compress(text + encode_log(make_request(9, trace()))))
    done = run(folder, "requests.log", "copy.bz2", "more.gz", "-o", "out.json")
    assert done.returncode == 4
    assert "eida_archive: warning: 1 of 12 lines were rejected" in done.stderr
    assert "not counted again: copy.bz2 has the same content as requests.log" in done.stdout
    assert "rejected: requests.log:6: not JSON" in done.stdout
    document = json.loads((folder / "out.json").read_text())
    assert document["lines"] == {"ignored": 2, "rejected": 1, "repeated": 4}
    assert document["requests"] == 5


def test_log_on_standard_input(folder: Path) -> None:
    text = write_log(folder)
    assert "5 traces of 4 requests" in run(folder, "-", stdin=text).stdout


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "no request of fdsnws-dataselect in requests.log"),
        (encode_log(line(service="fdsnws-station")), "no request of fdsnws-dataselect in requests.log"),
        (bz2.compress(b"x" * 1000)[:-5], "The log cannot be read"),
    ],
)
def test_log_without_requests_is_refused(folder: Path, content: bytes, reason: str) -> None:
    (folder / "requests.log").write_bytes(content)
    done = run(folder, "requests.log", "-o", "out.csv")
    assert done.returncode == 1
    assert reason in done.stderr
    assert not (folder / "out.csv").exists()


def test_catalogue_that_was_cut_off_is_refused(folder: Path) -> None:
    write_log(folder)
    crawl = folder / "crawl.tsv.gz"
    crawl.write_bytes(crawl.read_bytes()[:-40])
    done = run(folder, "requests.log")
    assert done.returncode == 1
    assert "cut off" in done.stderr


def test_incomplete_catalogue_is_a_warning(folder: Path) -> None:
    write_log(folder)
    write_crawl(folder / "crawl.tsv.gz", EIL, last=CrawlRecord(finished=FINISHED, unreadable=["/GFZ/archive/x"]))
    done = run(folder, "requests.log")
    assert done.returncode == 4
    assert "could not read some files (0) or directories (1)" in done.stderr


@pytest.mark.parametrize(
    ("error", "code"), [("cannot be read: Permission denied", 4), ("no miniSEED record was found", 0)]
)
def test_only_unreadable_files_are_a_warning(folder: Path, error: str, code: int) -> None:
    write_log(folder)
    line = CrawlLine("/GFZ/archive/README", MSEED, encode_record(MseedRecord(error=error)))
    crawls.write_crawl(folder / "crawl.tsv.gz", [line])
    done = run(folder, "requests.log")
    assert done.returncode == code, done.stderr
    assert ("could not read some files (1) or directories (0)" in done.stderr) == bool(code)


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["-o", "out.txt"], "must end in .csv or .json"),
        (["-o", "no/out.csv"], "there is no directory no"),
        (["-"], "only once"),
    ],
)
def test_wrong_command_line(folder: Path, words: list[str], reason: str) -> None:
    done = run(folder, "-", *words)
    assert done.returncode == 2
    assert reason in done.stderr


def test_crawl_of_real_files(folder: Path) -> None:
    archive = folder / "archive/1997/GE/EIL/BHZ.D"
    archive.mkdir(parents=True)
    with pymseed.MS3TraceList() as samples:
        samples.add_data("FDSN:GE_EIL__B_H_Z", [*range(2000)], "i", 1.0, starttime_str="1997-08-09T00:10:00Z")
        samples.to_file(str(archive / "GE.EIL..BHZ.D.1997.221"), format_version=2)
    crawl = ("crawl", "archive", "--as", "/GFZ/archive", "-o", "crawl.tsv.gz")
    assert run_command("eida_archive", crawl, folder=folder, environment={**os.environ}).returncode == 0
    # In an hour, the file has been there for a while.
    now = datetime.datetime.now(tz=datetime.UTC) + datetime.timedelta(hours=1)
    hours = [f"1997-08-09T{hour:02}:00:00Z" for hour in range(3)]
    requested = [trace(status="NODATA", size=0, start=start, end=end) for start, end in itertools.pairwise(hours)]
    entry = line(created=f"{now:%Y-%m-%dT%H:%M:%S.%fZ}", finished=None, status="NODATA", trace=requested)
    (folder / "requests.log").write_bytes(encode_log(entry))
    done = run(folder, "requests.log", "-o", "out.json")
    assert (done.returncode, done.stderr) == (0, "")
    rows = json.loads((folder / "out.json").read_text())["rows"]
    found = [(row["name"], row["traces"], row["faults"], row["after_crawl"]) for row in rows[-2:]]
    assert found == [("held", 1, 1, 1), ("gap", 1, 0, 1)]


@pytest.mark.skipif(not REAL_LOG.exists(), reason="the data are not here")
def test_real_log(folder: Path) -> None:
    done = run(folder, str(REAL_LOG), "--networks", str(REAL_REGISTRY), "-o", "out.json")
    assert (done.returncode, done.stderr) == (0, "")
    document = json.loads((folder / "out.json").read_text())
    total, *rows = document["rows"]
    assert (total["traces"], total["nodata"], total["denied"]) == (641, 171, 63)
    assert {row["name"]: row["traces"] for row in rows if row["section"] == "age"}["older"] == 635
    assert sum(row["traces"] for row in rows if row["section"] == "nodata") == 171
    assert not any(part in json.dumps(document) for part in USERS)
