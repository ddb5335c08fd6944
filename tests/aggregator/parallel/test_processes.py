"""Several processes and parts of any size have the result of one process that reads each log as a whole."""

import bz2
import contextlib
import datetime
import errno
import gzip
import itertools
import json
import lzma
import os
import random
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple
from unittest.mock import patch

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from eida_statistics import compression, user_agents
from eida_statistics.errors import RegistryUnavailable, UnreadableLog
from eida_statistics.networks import Epoch, NetworkRegistry
from eida_statistics.zstandard import zstd
from eida_stats_aggregator.errors import WorkerLost
from eida_stats_aggregator.fdsnws import log_lines, plain_lines, repeated_requests, request_log
from eida_stats_aggregator.fdsnws.aggregation import Aggregation
from eida_stats_aggregator.fdsnws.filters import RequestFilter
from eida_stats_aggregator.fdsnws.log_lines import Ignored, Rejected
from eida_stats_aggregator.fdsnws.request_log import Request
from eida_stats_aggregator.fdsnws.tally import SHOWN_REJECTS, Tally
from eida_stats_aggregator.logs import bzip2, lines, sources, splits
from eida_stats_aggregator.parallel import helpers, processes, tallying
from support.aggregates import make_payload
from support.dates import NOVEMBER_2020 as DAY
from support.processes import wait_for
from support.stubs import (
    Answer,
    Received,
    encode_log,
    environment,
    find_unused_url,
    line,
    make_log,
    run,
    serve_stub,
    trace,
)

FILE = f"{DAY}_{DAY}.json.gz"
AT = datetime.datetime(2020, 11, 3, tzinfo=datetime.UTC)
FILTER = RequestFilter(user_agents.load_classes(), DAY + datetime.timedelta(days=1))
EPOCHS = [
    Epoch("Z3", datetime.date(2005, 1, 1), datetime.date(2007, 12, 31)),
    Epoch("Z3", datetime.date(2015, 1, 1)),
    Epoch("9A", datetime.date(2019, 2, 1)),
]

Compress = Callable[[bytes], bytes]
COMPRESSIONS: dict[str, Compress] = {
    "plain": bytes,
    "bz2": bz2.compress,
    "gz": partial(gzip.compress, mtime=0),
    "xz": partial(lzma.compress, preset=0),
    "zst": zstd.compress,
}


class Outcome(NamedTuple):
    """The result of reading logs: the payload as it is sent, and the counts of lines."""

    payload: bytes
    counted: int
    ignored: int
    rejected: int
    repeated: int
    by_day: dict[datetime.date, int]
    rejects: list[tuple[str, int, str]]


def summarize(tally: Tally) -> Outcome:
    payload = make_payload(tally.aggregation, AT).to_json()
    rejects = [(one.file, one.line, one.reason) for one in tally.rejects]
    outcomes = tally.counted, tally.ignored, tally.rejected, tally.repeated
    assert sum(outcomes) == tally.lines
    return Outcome(payload, *outcomes, tally.requests_by_day, rejects)


def no_progress(more_bytes: int, more_lines: int) -> None:
    """Show nothing."""


def read(files: Iterable[Path], jobs: int, load: processes.Load = lambda: EPOCHS) -> Outcome:
    logs = [sources.describe_log(file) for file in files]
    return summarize(processes.read(logs, FILTER, load, jobs=jobs, progress=no_progress))


def one_by_one(logs: Sequence[tuple[str, bytes]]) -> Outcome:
    """Read lines as one would without parts and processes, and with all requests in memory."""
    aggregation = Aggregation(NetworkRegistry(lambda: EPOCHS))
    ignored = repeated = 0
    requests: dict[int, Request] = {}
    rejects: list[tuple[str, int, str]] = []
    for name, content in logs:
        lines = content.split(b"\n")
        for number, text in enumerate(lines if lines[-1] else lines[:-1], 1):
            for outcome in request_log.parse_line(text, FILTER.latest):
                match outcome:
                    case Request() as request:
                        other = requests.setdefault(request.key & ~1, request)
                        repeated += other is not request
                        requests[request.key & ~1] = min(other, request, key=_precedence)
                    case Ignored():
                        ignored += 1
                    case Rejected(reason):
                        rejects.append((name, number, reason))
    for request in requests.values():
        aggregation.add(request)
    payload = make_payload(aggregation, AT).to_json()
    by_day = Counter(request.day for request in requests.values())
    return Outcome(payload, len(requests), ignored, len(rejects), repeated, by_day, rejects[:SHOWN_REJECTS])


def _precedence(request: Request) -> tuple[bool, int]:
    return request.deliveries is not None, repeated_requests.rank(request)


@contextlib.contextmanager
def sizes(*, part: int, chunk: int, longest_line: int = 2000) -> Iterator[None]:
    """Make parts and chunks small, so that small logs are cut like large ones."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(splits, "_PLAIN_BYTES", part)
        patch.setattr(splits, "_BZIP2_BYTES", part)
        patch.setattr(compression, "CHUNK_BYTES", chunk)
        patch.setattr(lines, "MAX_LINE_BYTES", longest_line)
        patch.setattr(request_log, "MAX_LINE_BYTES", longest_line)
        patch.setattr(log_lines, "MAX_LINE_BYTES", longest_line)
        patch.setattr(plain_lines, "MAX_LINE_BYTES", longest_line)
        yield


def compress_streams(content: bytes, compress: Compress, cuts: Iterable[int]) -> bytes:
    """Compress a log in streams that are cut anywhere, also within a line."""
    places = [0, *sorted(cut % (len(content) + 1) for cut in cuts), len(content)]
    return b"".join(compress(content[start:end]) for start, end in itertools.pairwise(places))


requests = st.builds(
    line,
    created=st.sampled_from(["2020-10-31T00:00:00Z", "2020-10-31T00:00:00.1Z", "2020-10-31T00:00:00.02Z", None]),
    finished=st.sampled_from(["2020-10-31T23:59:59.9Z", "2020-11-02T00:00:00Z", "2020-11-03T01:00:00+02:00"]),
    status=st.sampled_from(["OK", "OK", "OK", "ERROR"]),
    userID=st.integers(0, 3) | st.integers(0, 400),
    userLocation=st.sampled_from([{}, {"country": "DE"}, {"country": "IT"}]),
    service=st.sampled_from(["fdsnws-dataselect"] * 5 + ["fdsnws-station"]),
    clientID=st.sampled_from(["ObsPy/1.2.2", "curl/7.65.3", "ümläut", "\ud800", "a\nb"]),
    trace=st.lists(
        st.builds(
            trace,
            net=st.sampled_from(["GE", "Z3", "9A", "ZZ"]),
            sta=st.sampled_from(["A1", "B2"]),
            size=st.integers(0, 10_000),
            start=st.sampled_from(["2006-02-03T00:00:00.0000Z", "2016-02-29T00:00:00.0000Z"]),
        ),
        max_size=2,
    ),
).map(json.dumps)
damaged_lines = st.lists(
    requests.map(str.encode)
    | requests.map(lambda text: text[:70].encode())
    | st.sampled_from([b"\0", b"\0" * 40, b"\x1e", b"\xef\xbb\xbf", b" ", b'{"', b"\xff"]),
    max_size=4,
).map(b"".join)
lines_of_any_kind = st.one_of(
    requests.map(str.encode),
    damaged_lines,
    requests.map(lambda text: text.encode() + b"\r"),
    requests.map(lambda text: text[:40].encode()),
    st.sampled_from([b"", b"\r", b" ", b"{}", b"[]", b"no JSON", b"\xff\xfe", b"{", b"\0" * 30]),
    # On both sides of the longest line; the last is long because of its spaces.
    st.integers(1990, 2010).map(lambda length: b"x" * length),
    st.integers(1, 9000).map(lambda length: b"\xff" * length),
    st.integers(1, 1600).map(lambda length: json.dumps(line()).encode() + b" " * length),
)
logs_of_lines = st.builds(
    lambda lines, ended: b"\n".join(lines) + (b"\n" if ended else b""),
    st.lists(lines_of_any_kind, max_size=25),
    st.booleans(),
)


# The laws


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    logs=st.lists(st.tuples(logs_of_lines, st.sampled_from([*COMPRESSIONS])), min_size=1, max_size=4),
    cuts=st.lists(st.integers(0, 50_000), max_size=5),
    jobs=st.sampled_from([1, 1, 1, 2, 3, 5]),
    part=st.sampled_from([1, 30, 100, 700, 5000, 1 << 17]),
    chunk=st.sampled_from([7, 100, 1 << 16]),
)
@example(logs=[(b"\n" * 9, "plain"), (b"{}\n", "bz2"), (b"", "plain")], cuts=[], jobs=5, part=1, chunk=7)
@example(logs=[(b"x" * 9000 + b"\n[]\n" + b"y" * 9000, "plain")], cuts=[], jobs=3, part=30, chunk=7)
def test_any_split_reads_the_same(
    logs: list[tuple[bytes, str]], cuts: list[int], jobs: int, part: int, chunk: int, tmp_path: Path
) -> None:
    files = [tmp_path / f"{number}.log" for number, _ in enumerate(logs)]
    for file, (content, packing) in zip(files, logs, strict=True):
        packed = packing != "plain"
        file.write_bytes(compress_streams(content, COMPRESSIONS[packing], cuts if packed else []))
    # A range of one byte is for small logs: each is a part.
    part = max(part, sum(file.stat().st_size for file in files) // 300)
    with sizes(part=part, chunk=chunk):
        expected = one_by_one([(str(file), content) for file, (content, _) in zip(files, logs, strict=True)])
        assert read(files, jobs) == expected


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_one_log_reads_the_same_with_any_split(compression: str, tmp_path: Path) -> None:
    entries = list(make_log.requests(3, DAY, 300, stations=20, clients=50, other_services=True))
    texts = encode_log(*entries).split(b"\n")
    rng = random.Random(3)
    for bad in (b"", b"no JSON", b"\xff", b"y" * 30_000, texts[0][:50]):
        texts.insert(rng.randrange(len(texts)), bad)
    content = b"\n".join(texts) + b"without a line break"
    log = tmp_path / "a.log"
    log.write_bytes(compress_streams(content, COMPRESSIONS[compression], range(7, len(content), 40_000)))
    epochs = [Epoch(one["fdsn_code"], *_days(one)) for one in make_log.registry()["networks"]]
    outcomes = []
    for part, chunk, jobs in ((1 << 22, 1 << 20, 1), (1 << 22, 1 << 20, 2), (9000, 1000, 3), (2500, 5000, 5)):
        with sizes(part=part, chunk=chunk, longest_line=25_000):
            outcomes.append(read([log], jobs, lambda: epochs))
    assert outcomes[1:] == outcomes[:1] * 3
    assert outcomes[0].rejected == len(outcomes[0].rejects) + 1 == 6
    assert {reason for _, _, reason in outcomes[0].rejects} >= {"empty", "not UTF-8"}


def _days(entry: dict[str, Any]) -> list[datetime.date | None]:
    return [day and datetime.date.fromisoformat(day) for day in (entry["start_date"], entry["end_date"])]


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    lines=st.lists(lines_of_any_kind, min_size=1, max_size=25),
    cuts=st.lists(st.integers(0, 25), max_size=4),
    order=st.randoms(use_true_random=False),
    jobs=st.sampled_from([1, 1, 2, 4]),
)
def test_split_day_counts_as_one_file(
    lines: list[bytes], cuts: list[int], order: random.Random, jobs: int, tmp_path: Path
) -> None:
    ended = [text + b"\n" for text in lines]
    places = [0, *sorted(min(cut, len(ended)) for cut in cuts), len(ended)]
    files = [tmp_path / f"{number}.log" for number in range(len(places) - 1)]
    for file, start, end in zip(files, places, places[1:], strict=False):
        compress = order.choice([*COMPRESSIONS.values()])
        file.write_bytes(compress(b"".join(ended[start:end])))
    order.shuffle(files)
    with sizes(part=300, chunk=100):
        several = read(files, jobs)
        expected = one_by_one([("", b"".join(ended))])
    assert several[:-1] == expected[:-1]
    assert sorted(reason for _, _, reason in several.rejects) == sorted(
        reason for _, _, reason in expected.rejects
    ) or (several.rejected > SHOWN_REJECTS)


@pytest.mark.parametrize("jobs", [1, 3])
def test_overlong_line_across_parts_is_one(jobs: int, tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    good, other = encode_log(line()), encode_log(line(userID=1))
    log.write_bytes(good + b"x" * 100_000 + b"\n" + other + b"\xff" * 100_000 + b"\n\n" + b"y" * 100_000)
    with sizes(part=3000, chunk=1000, longest_line=9999):
        found = read([log], jobs)
    too_long = "longer than 9999 bytes"
    name = str(log)
    assert found.rejects == [(name, 2, too_long), (name, 4, too_long), (name, 5, "empty"), (name, 6, too_long)]
    assert (found.counted, found.rejected) == (2, 4)


@pytest.mark.parametrize("jobs", [1, 2, 5])
def test_progress_sums_up_to_file_sizes(jobs: int, tmp_path: Path) -> None:
    files = [tmp_path / name for name in ("a.log", "b.log.bz2")]
    for file in files:
        make_log.write(file, make_log.requests(1, DAY, 200))
    told: list[tuple[int, int]] = []
    with sizes(part=5000, chunk=5000, longest_line=1 << 26):
        logs = [sources.describe_log(file) for file in files]
        processes.read(logs, FILTER, list, jobs=jobs, progress=lambda *more: told.append(more))
    assert sum(more for more, _ in told) == sum(file.stat().st_size for file in files)
    assert 400 <= sum(lines for _, lines in told) <= 400 + len(told)
    assert len(told) > 10


# Whole runs of the command


class Day(NamedTuple):
    """A folder with a day's log, packed and not, and the registry."""

    folder: Path
    lines: int


@pytest.fixture(scope="module")
def day(tmp_path_factory: pytest.TempPathFactory) -> Day:
    folder = tmp_path_factory.mktemp("day")
    entries = list(make_log.requests(1, DAY, 4000, stations=60, clients=200, other_services=True))
    content = encode_log(*entries[:2500]) + b"no JSON\n\n" + encode_log(*entries[2500:])
    for name, compress in COMPRESSIONS.items():
        (folder / f"a.log.{name}").write_bytes(compress(content))
    (folder / "first.log").write_bytes(gzip.compress(encode_log(*entries[:1000])))
    (folder / "second.log").write_bytes(bz2.compress(encode_log(*entries[1000:2500]) + b"no JSON\n\n"))
    (folder / "third.log").write_bytes(encode_log(*entries[2500:]))
    (folder / "networks.json").write_text(json.dumps(make_log.registry()))
    (folder / "small.log").write_bytes(encode_log(*entries[:100]))
    # More than one part each, or nothing is shared out.
    assert (folder / "a.log.plain").stat().st_size > splits._PLAIN_BYTES
    assert (folder / "a.log.bz2").stat().st_size > splits._BZIP2_BYTES
    return Day(folder, len(entries) + 2)


@pytest.mark.parametrize(
    "files",
    [
        ["a.log.plain"],
        ["a.log.bz2"],
        ["first.log", "second.log", "third.log"],
        ["third.log", "second.log", "first.log"],
    ],
    ids=" ".join,
)
def test_any_jobs_write_the_same_bytes(files: list[str], day: Day, tmp_path: Path) -> None:
    at = 1_600_000_000
    written = {}
    summaries = []
    for jobs in ("1", "2", "4"):
        options = ["--networks", "networks.json", "--jobs", jobs, "-o", tmp_path / jobs, "--json"]
        done = run(*options, *files, cwd=day.folder, SOURCE_DATE_EPOCH=f"{at}")
        assert (done.returncode, done.stderr) == (0, "")
        written[jobs] = (tmp_path / jobs / FILE).read_bytes()
        summaries.append(json.loads(done.stdout) | {"output": None})
    assert written["1"] == written["2"] == written["4"]
    assert int.from_bytes(written["1"][4:8], "little") == at  # the time in the header of gzip
    assert summaries[0] == summaries[1] == summaries[2]
    report = summaries[0]
    assert report["counted"] + report["ignored"] + report["rejected"] == day.lines
    assert [(one["file"], one["reason"]) for one in report["first_rejects"]] == [
        (files[0] if len(files) == 1 else "second.log", reason) for reason in ("not JSON", "empty")
    ]


def test_all_compressions_have_equal_content(day: Day, tmp_path: Path) -> None:
    written = set()
    for name in [*COMPRESSIONS, "several"]:
        files = [f"a.log.{name}"] if name in COMPRESSIONS else ["second.log", "third.log", "first.log"]
        options = ["--networks", "networks.json", "-o", tmp_path / name, "-q"]
        assert run(*options, *files, cwd=day.folder, SOURCE_DATE_EPOCH="1600000000").returncode == 0
        written.add((tmp_path / name / FILE).read_bytes())
    assert len(written) == 1


# A pipe can be read once


# The steps of tallying.read_part, in the first process and in the others.
DRIVER = """
import multiprocessing, os, pathlib, signal, sys, time
from eida_stats_aggregator import cli
from eida_stats_aggregator.logs import splits
from eida_stats_aggregator.parallel import processes, tallying
is_first = lambda: multiprocessing.parent_process() is None
real = tallying.read_part
def mark(name):
    pathlib.Path("marks", f"{{name}}-{{os.getpid()}}").touch()
def marked(name):
    return list(pathlib.Path("marks").glob(f"{{name}}-*"))
def until(there):
    while not there():
        time.sleep(0.005)
def read(log, part, tally):
{steps}
    return real(log, part, tally)
tallying.read_part = read
splits._PLAIN_BYTES = splits._BZIP2_BYTES = {size}
{setup}
if __name__ == "__main__":
    cli.main()
"""


@contextlib.contextmanager
def driven(
    steps: str, *arguments: str, cwd: Path, size: int = 100_000, setup: str = "", **env: str
) -> Iterator["subprocess.Popen[bytes]"]:
    """Start the command as the first of a group of processes, with steps to do before each part; end all of it."""
    (cwd / "marks").mkdir()
    code = DRIVER.format(steps=textwrap.indent(steps or "pass", "    "), setup=setup, size=size)
    with subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        cwd=cwd,
        env=environment(cwd, **env),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    ) as process:
        try:
            yield process
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


def list_group(leader: int) -> list[int]:
    """Return the processes of a group that live."""
    found = []
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError, ValueError):
            number = int(entry.name)
            state, _, group = (entry / "stat").read_text().rpartition(")")[2].split()[:3]
            if int(group) == leader and state != "Z":
                found.append(number)
    return found


def marks(home: Path, name: str) -> list[int]:
    return [int(path.name.rpartition("-")[2]) for path in (home / "marks").glob(f"{name}-*")]


def finish(process: "subprocess.Popen[bytes]", stdin: bytes = b"") -> tuple[int, str, str]:
    """Feed a process standard input and return how it ended, which must not take long."""
    out, errors = process.communicate(stdin, timeout=30)
    return process.returncode, out.decode(), errors.decode()


@pytest.fixture
def home(day: Day, tmp_path: Path) -> Path:
    for file in day.folder.iterdir():
        (tmp_path / file.name).symlink_to(file)
    return tmp_path


# Each process waits for all others to have a part as well.
ALL_READ = """
mark("read")
until(lambda: len(marked("read")) == {jobs})
"""
NETWORKS = ("--networks", "networks.json")
OPTIONS = (*NETWORKS, "-o", "out", "--json")


def sum_lines(report: dict[str, Any]) -> int:
    return sum(report[outcome] for outcome in ("counted", "ignored", "rejected", "repeated"))


def nothing_written(home: Path) -> bool:
    return not list((home / "out").glob("*"))


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_one_process_reads_where_a_pipe_is_read(jobs: str, day: Day, home: Path) -> None:
    """Repeated requests must be recognised while the pipe is read."""
    content = (home / "a.log.plain").read_bytes()
    with driven('mark("begun")', *OPTIONS, "--jobs", jobs, "-", "small.log", cwd=home) as process:
        code, out, errors = finish(process, content)
    assert code == 4
    assert "repeated lines were counted once" in errors
    assert len(marks(home, "begun")) == 1
    report = json.loads(out)
    assert report["repeated"] > 90
    assert sum_lines(report) == day.lines + 100


@pytest.mark.parametrize("jobs", ["1", "3"])
@pytest.mark.parametrize("pipe", ["-", "pipe"])
def test_pipe_is_not_read_again(jobs: str, pipe: str, day: Day, home: Path) -> None:
    """If a bzip2 log cannot be split, the other logs are read again; a pipe would be empty by then."""
    (home / "padded.log").write_bytes((home / "a.log.bz2").read_bytes() + bytes(512))
    content = (home / "small.log").read_bytes()
    os.mkfifo(home / "pipe")
    writer = threading.Thread(target=(home / "pipe").write_bytes, args=(content,), daemon=True)
    if pipe == "pipe":
        writer.start()
    done = run(*OPTIONS, "--jobs", jobs, pipe, "padded.log", cwd=home, stdin=content if pipe == "-" else None)
    assert done.returncode == 4
    assert "repeated lines were counted once" in done.stderr
    assert sum_lines(json.loads(done.stdout)) == day.lines + 100
    if pipe == "pipe":
        writer.join()


@pytest.mark.parametrize("jobs", ["1", "3"])
def test_padded_bzip2_is_read(jobs: str, day: Day, home: Path) -> None:
    (home / "padded.log").write_bytes((home / "a.log.bz2").read_bytes() + bytes(512))
    for files in (["padded.log"], ["small.log", "padded.log", "third.log"]):
        done = run(*OPTIONS, "--dry-run", "--jobs", jobs, *files, cwd=home)
        assert done.returncode == (4 if len(files) > 1 else 0)
        assert ("repeated lines were counted once" in done.stderr) is (len(files) > 1)
        report = json.loads(done.stdout)
        assert sum_lines(report) == day.lines + (100 + 1500 if len(files) > 1 else 0)
        assert report["first_rejects"] == [
            {"file": "padded.log", "line": 2501, "reason": "not JSON"},
            {"file": "padded.log", "line": 2502, "reason": "empty"},
        ]


# Faults of logs


def damaged(packed: bytes) -> bytes:
    middle = len(packed) // 2
    return packed[:middle] + bytes(byte ^ 0xFF for byte in packed[middle : middle + 20]) + packed[middle + 20 :]


@pytest.mark.parametrize("compression", ["bz2", "gz", "xz"])
def test_damaged_log_is_named_with_any_jobs(compression: str, home: Path) -> None:
    (home / "broken.log").write_bytes(damaged((home / f"a.log.{compression}").read_bytes()))
    seen = set()
    for jobs in ("1", "2", "4"):
        done = run(*OPTIONS, "--jobs", jobs, "a.log.plain", "broken.log", "third.log", cwd=home)
        assert done.returncode == 1
        seen.add(done.stderr)
        assert nothing_written(home)
    (error,) = seen
    assert error.startswith("eida_stats_aggregator: The log cannot be read, so nothing was written: broken.log: ")


@pytest.mark.parametrize("compression", ["bz2", "xz"])
@pytest.mark.parametrize("place", [1, 6, 60])
def test_damage_after_a_good_stream_is_found(compression: str, place: int, home: Path) -> None:
    """As in a log that was packed in parallel: the rest of it is not the whole day."""
    compress = COMPRESSIONS[compression]
    streams = [compress(encode_log(*(line(userID=user) for user in range(20)))) for _ in range(3)]
    second = bytearray(streams[1])
    second[place] ^= 1
    (home / "broken.log").write_bytes(streams[0] + second + streams[2])
    for jobs in ("1", "2"):
        done = run(*OPTIONS, "--jobs", jobs, "broken.log", cwd=home)
        assert done.returncode == 1
        assert "broken.log: " in done.stderr


@pytest.mark.parametrize("jobs", [1, 2, 5])
def test_first_damaged_log_is_named(jobs: int, tmp_path: Path) -> None:
    content = encode_log(*make_log.requests(1, DAY, 300))
    files = [tmp_path / name for name in ("good.log", "b.log", "c.log", "d.log", "e.log")]
    for file, compress in zip(files, [bytes, gzip.compress, bz2.compress, gzip.compress, bytes], strict=True):
        packed = compress(content)
        file.write_bytes(packed if compress is bytes else damaged(packed))
    for _ in range(3):
        with (
            sizes(part=10_000, chunk=10_000, longest_line=1 << 26),
            pytest.raises(UnreadableLog, match=r"b\.log: "),
        ):
            read(files, jobs, list)


@pytest.mark.parametrize("jobs", [1, 3])
def test_log_that_vanishes_is_named(jobs: int, tmp_path: Path) -> None:
    files = [tmp_path / "a.log", tmp_path / "b.log"]
    for file in files:
        file.write_bytes(encode_log(line()) * 100)
    logs = [sources.describe_log(file) for file in files]
    files[1].unlink()
    with sizes(part=3000, chunk=1000), pytest.raises(UnreadableLog, match=r"b\.log: No such file"):
        processes.read(logs, FILTER, list, jobs=jobs, progress=no_progress)


@pytest.mark.parametrize("jobs", [1, 3])
@pytest.mark.parametrize("compression", ["plain", "bz2", "gz"])
def test_log_that_becomes_shorter_is_named(compression: str, jobs: int, tmp_path: Path) -> None:
    """As one that is truncated and written again: the rest of it is not the whole day."""
    log = tmp_path / "a.log"
    log.write_bytes(compress_streams(encode_log(line()) * 200, COMPRESSIONS[compression], range(0, 100_000, 5000)))
    logs = [sources.describe_log(log)]
    os.truncate(log, log.stat().st_size - 20)
    with sizes(part=3000, chunk=1000), pytest.raises(UnreadableLog, match=r"a\.log: "):
        processes.read(logs, FILTER, list, jobs=jobs, progress=no_progress)


@pytest.mark.parametrize("jobs", [1, 3])
@pytest.mark.parametrize("compression", ["plain", "bz2"])
def test_disk_failure_is_an_unreadable_log(
    compression: str, jobs: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = tmp_path / "a.log"
    log.write_bytes(COMPRESSIONS[compression](encode_log(line()) * 100))
    logs = [sources.describe_log(log)]

    def fail(*_: object) -> bytes:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    for module in (splits, bzip2):
        monkeypatch.setattr(module, "os", SimpleNamespace(pread=fail))
    with sizes(part=3000, chunk=1000), pytest.raises(UnreadableLog, match=r"a\.log: Input/output error"):
        processes.read(logs, FILTER, list, jobs=jobs, progress=no_progress)


def test_growing_log_is_read_to_its_first_size(tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    for compress in (bytes, bz2.compress):
        log.write_bytes(compress(encode_log(*(line(userID=user) for user in range(100)))))
        logs = [sources.describe_log(log)]
        with log.open("ab") as file:
            file.write(compress(encode_log(line()) * 100))
        with sizes(part=3000, chunk=1000):
            tally = processes.read(logs, FILTER, list, jobs=2, progress=no_progress)
        assert tally.counted == 100


# The registry


OLD = trace(net="Z3", start="2016-01-01T00:00:00.0000Z")
TEMPORARY = encode_log(*(line(userID=user, trace=[OLD]) for user in range(900)))


def answer_slowly(answer: Answer) -> Callable[[Received], Answer]:
    def slowly(_: Received) -> Answer:
        time.sleep(0.3)
        return answer

    return slowly


@pytest.mark.parametrize("status", [200, 503])
@pytest.mark.parametrize("jobs", ["1", "4"])
def test_processes_fetch_registry_once(jobs: str, status: int, tmp_path: Path) -> None:
    """Also if it is not there: all processes end with the same error."""
    (tmp_path / "a.log").write_bytes(TEMPORARY)
    body = json.dumps(make_log.registry()).encode()
    with serve_stub(answer_slowly(Answer(status, body))) as stub:
        options = ("--json", "--jobs", jobs, "a.log")
        steps = ALL_READ.format(jobs=jobs)
        with driven(steps, *options, cwd=tmp_path, size=10_000, FDSN_NETWORKS_URL=stub.url) as process:
            code, out, errors = finish(process)
        assert len(stub.received) == 1
    assert len(marks(tmp_path, "read")) == int(jobs)
    if status == 200:
        assert (code, errors) == (0, "")
        assert json.loads(out)["unregistered_networks"] == {}
    else:
        assert code == 1
        assert errors.count("There is no registry of networks") == 1
        assert errors.count("--networks FILE") == 1


def test_registry_error_is_equal_for_any_jobs(home: Path) -> None:
    (home / "t.log").write_bytes(encode_log(line()) * 80 + TEMPORARY)
    (home / "broken.log").write_bytes(damaged((home / "a.log.gz").read_bytes()))
    url = find_unused_url()
    seen = set()
    for jobs in ("1", "2", "4"):
        files = ["t.log", "broken.log"]
        done = run("--jobs", jobs, "-o", "out", *files, cwd=home, FDSN_NETWORKS_URL=url)
        assert done.returncode == 1
        assert nothing_written(home)
        seen.add(done.stderr)
    (error,) = seen
    assert "There is no registry of networks" in error


@pytest.mark.parametrize("jobs", [1, 2, 5])
def test_line_between_parts_needs_registry(jobs: int, tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    log.write_bytes(encode_log(line(trace=[trace(net="Z3")])))

    def fail() -> Iterable[Epoch]:
        raise RegistryUnavailable("none here", hint="A hint")

    with sizes(part=50, chunk=50), pytest.raises(RegistryUnavailable, match="none here") as error:
        read([log], jobs, fail)
    assert error.value.hint == "A hint"


# Processes that are killed


HANG_IN_HELPERS = """
if is_first():
    until(lambda: len(marked("helping")) == {helpers})
else:
    mark("helping")
    time.sleep(60)
"""
HANG = """
mark("first" if is_first() else "helping")
time.sleep(60)
"""
MEMORY = "One of the processes that aggregate the logs was killed, so nothing was written"


@pytest.mark.parametrize("log", ["a.log.plain", "a.log.bz2"])
@pytest.mark.parametrize("jobs", [2, 3])
def test_killed_process_ends_the_run(log: str, jobs: int, home: Path) -> None:
    steps = HANG_IN_HELPERS.format(helpers=jobs - 1)
    with driven(steps, *OPTIONS, "--jobs", f"{jobs}", log, cwd=home, size=10_000) as process:
        wait_for(lambda: len(marks(home, "helping")) == jobs - 1)
        os.kill(marks(home, "helping")[0], signal.SIGKILL)
        begun = time.monotonic()
        code, out, errors = finish(process)
        assert time.monotonic() - begun < 10
        assert list_group(process.pid) == []
    assert code == 1
    assert errors.startswith(f"eida_stats_aggregator: {MEMORY}")
    assert json.loads(out)["errors"] == [errors.removeprefix("eida_stats_aggregator: ").rstrip()]
    assert "Traceback" not in errors
    assert nothing_written(home)


def test_process_killed_while_sending_ends_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The end of a message is missing then."""

    def half(work: object, connection: Connection) -> None:
        os.write(connection.fileno(), (1000).to_bytes(4, "big") + b"half")
        os.kill(os.getpid(), signal.SIGKILL)

    monkeypatch.setattr(helpers, "_run_helper", half)
    log = tmp_path / "a.log"
    log.write_bytes(encode_log(line()) * 100)
    with sizes(part=3000, chunk=1000), pytest.raises(WorkerLost, match="memory may have been short"):
        read([log], 2)


@pytest.mark.parametrize("after", [0, 3])
def test_killed_process_counts_nothing(after: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also if it has sent some parts, and the first process waits for it only at the end."""
    first = os.getpid()
    real = tallying.read_part
    numbers = itertools.count()

    def read_or_die(log: sources.Log, part: splits.Part, tally: Tally) -> tallying.PartRead:
        if os.getpid() == first:
            wait_for((tmp_path / "dying").exists)
        elif next(numbers) == after:
            (tmp_path / "dying").touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return real(log, part, tally)

    monkeypatch.setattr(tallying, "read_part", read_or_die)
    log = tmp_path / "a.log"
    log.write_bytes(encode_log(line()) * 200)
    with sizes(part=2000, chunk=1000), pytest.raises(WorkerLost):
        read([log], 3)


def test_ctrl_c_ends_all_processes(home: Path) -> None:
    with driven(HANG, *OPTIONS, "--jobs", "3", "a.log.plain", cwd=home) as process:
        wait_for(lambda: len(marks(home, "helping")) == 2 and marks(home, "first"))
        begun = time.monotonic()
        os.killpg(process.pid, signal.SIGINT)
        code, out, errors = finish(process)
        assert time.monotonic() - begun < 10
        assert list_group(process.pid) == []
    assert (code, out) == (1, "")
    assert (
        errors.strip() == "eida_stats_aggregator: interrupted; files that were not delivered wait for the next run"
    )
    assert nothing_written(home)


def test_new_process_never_sees_ctrl_c(home: Path) -> None:
    """Not even before a line of it has run; the first process ends it."""
    setup = "os.register_at_fork(after_in_child=lambda: os.kill(os.getpid(), signal.SIGINT))"
    with driven(ALL_READ.format(jobs=3), *OPTIONS, "--jobs", "3", "a.log.plain", cwd=home, setup=setup) as process:
        code, _, errors = finish(process)
    assert (code, errors) == (0, "")
    assert len(marks(home, "read")) == 3


# It can neither be ended by asking, nor does it see that nobody listens.
SEND_MUCH = """
if is_first():
    mark("first")
    time.sleep(60)
mark("helping")
result = real(log, part, tally)
return result._replace(head=bytes(1 << 20))
"""


@pytest.mark.parametrize("steps", [HANG, SEND_MUCH], ids=["it reads", "it sends"])
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_helpers_end_with_the_first_process(steps: str, how: signal.Signals, home: Path) -> None:
    with driven(steps, *OPTIONS, "--jobs", "3", "a.log.plain", cwd=home) as process:
        wait_for(lambda: len(marks(home, "helping")) == 2 and marks(home, "first"))
        # It takes a moment until the pipe is full.
        time.sleep(0.2)
        assert len(list_group(process.pid)) == 3
        os.kill(process.pid, how)
        process.wait(10)
        wait_for(lambda: list_group(process.pid) == [], seconds=10)
    assert nothing_written(home)


def test_two_unsplittable_logs_use_two_processes(tmp_path: Path) -> None:
    """The first one does not keep the last part for itself, if that is a whole log."""
    for name in ("a.log.gz", "b.log.gz"):
        (tmp_path / name).write_bytes(gzip.compress(b"{}\n" * 100))
    logs = [sources.describe_log(tmp_path / name) for name in ("a.log.gz", "b.log.gz")]
    readers: list[int] = []
    reading = tmp_path / "reading"
    reading.mkdir()
    real = tallying.read_part

    def read_beside_another(log: sources.Log, part: splits.Part, tally: Tally) -> tallying.PartRead:
        (reading / f"{os.getpid()}").touch()
        wait_for(lambda: len(list(reading.iterdir())) == 2)
        return real(log, part, tally)

    with patch.object(tallying, "read_part", side_effect=read_beside_another) as mine:
        request_filter = RequestFilter(user_agents.load_classes(), datetime.date.max)
        processes.read(logs, request_filter, list, jobs=2, progress=lambda _bytes, _lines: readers.append(1))

    assert (len(readers), mine.call_count) == (2, 1)


def test_only_unsplittable_log_is_read_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(splits, "_BZIP2_BYTES", 100)
    names = [tmp_path / name for name in ("a.bz2", "b.bz2", "empty.bz2")]
    content = b"".join(b'{"userID": %d}\n' % number for number in range(500))
    for path, packed in zip(
        names, (bz2.compress(content), bz2.compress(content[:900]) + bytes(20), bz2.compress(b"")), strict=True
    ):
        path.write_bytes(packed)
    logs = [sources.describe_log(path) for path in names]
    done: list[int] = []

    with patch.object(splits, "split", wraps=splits.split) as split:
        tally = processes.read(
            logs,
            RequestFilter(user_agents.load_classes(), datetime.date.max),
            list,
            jobs=1,
            progress=lambda size, _: done.append(size),
        )

    assert [call.kwargs["whole"] for call in split.call_args_list] == [(), {1}]
    assert sum(done) == sum(log.size for log in logs)
    assert tally.lines == 500 + len(content[:900].splitlines())
