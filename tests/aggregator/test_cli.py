"""The aggregator's command from end to end, as a node's operator uses it, beside the deployed one."""

import bz2
import datetime
import gzip
import io
import json
import lzma
import os
import pty
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eida_statistics import networks
from eida_statistics.zstandard import zstd
from eida_stats_aggregator.fdsnws import request_log
from eida_stats_aggregator.fdsnws.aggregation import Aggregation
from support import issued, reference
from support.aggregates import make_payload
from support.dates import NOVEMBER_2020 as DAY
from support.stubs import (
    COMMAND,
    REAL_LOG,
    REAL_REGISTRY,
    Answer,
    Received,
    encode_log,
    environment,
    find_unused_url,
    line,
    make_log,
    problem,
    run,
    serve_answers,
    serve_corrections,
    serve_stub,
    submissions,
    trace,
)

TOKEN = issued.note("a-token-of-the-node")
FILE = "2020-09-18_2020-09-18.json.gz"
# of a person who must not be found in anything that is written
PERSON = {"userID": 77007700770077, "clientID": "Secret/1.0 (workstation)", "userEmail": "somebody@example.org"}


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "networks.json").write_text(json.dumps(make_log.registry()))
    (tmp_path / "a.log").write_bytes(encode_log(line()))
    return tmp_path


def aggregate_in(directory: Path) -> Any:
    (path,) = directory.glob("*.json.gz")
    return json.loads(gzip.decompress(path.read_bytes()))


def nothing_written(directory: Path) -> bool:
    return not list(directory.glob("**/*.json.gz*"))


# The numbers are those of the deployed aggregator


def compare(log: Path, registry: dict[str, Any], directory: Path) -> None:
    theirs = reference.aggregate(log, registry, directory / "theirs")
    (directory / "registry.json").write_text(json.dumps(registry))
    done = run("--json", "--networks", "registry.json", "-o", "ours", log, cwd=directory)
    assert (done.returncode, done.stderr) == (0, "")
    report = json.loads(done.stdout)
    assert (report["rejected"], report["ignored"], report["unregistered_networks"]) == (0, 0, {})
    ours = aggregate_in(directory / "ours")
    assert reference.index_rows(ours) == reference.index_rows(theirs)
    assert ours["days_coverage"] == theirs["days_coverage"]
    # null and empty countries are one row here, so the events may be divided by fewer rows
    assert ours["aggregation_score"] == round(report["counted"] / len(ours["stats"]))
    if len(ours["stats"]) == len(theirs["stats"]):
        assert ours["aggregation_score"] == theirs["aggregation_score"]
    names = [[*ours["stats"][0]], [*theirs["stats"][0]]]
    assert names[0] == names[1]
    assert [*ours] == [*theirs, "period"]
    assert sorted(path.name for path in (directory / "ours").glob("*.gz")) == sorted(
        path.name for path in (directory / "theirs").glob("*.gz")
    )


@pytest.mark.parametrize("suffix", ["", ".bz2"])
def test_generated_log_equals_deployed_rows(suffix: str, tmp_path: Path) -> None:
    log = tmp_path / f"fdsnws-requests.log{suffix}"
    make_log.write(log, make_log.requests(1, DAY, 700, stations=30, clients=100))
    compare(log, make_log.registry(), tmp_path)


@pytest.mark.skipif(not REAL_LOG.exists(), reason="the real log lies beside the checkout, and only where it may")
def test_real_log_equals_deployed_rows(tmp_path: Path) -> None:
    compare(REAL_LOG, json.loads(REAL_REGISTRY.read_text()), tmp_path)


def test_big_sketch_equals_deployed_sketch(tmp_path: Path) -> None:
    """One stream for each form of a sketch: explicit, sparse, full, and both sides of where they change."""
    log = tmp_path / "a.log"
    entries = [
        line(userID=user * 7919, trace=[trace(sta=f"S{clients}")])
        for clients in (1, 160, 161, 500, 600, 1500)
        for user in range(clients)
    ]
    log.write_bytes(encode_log(*entries))
    compare(log, {"networks": []}, tmp_path)


def test_months_of_log_equal_deployed_days(tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    times = [
        "2020-08-31T23:59:59.999999Z",
        "2020-09-01T00:00:00Z",
        "2020-12-31T12:00:00.1Z",
        "2021-01-01T00:00:00Z",
    ]
    log.write_bytes(encode_log(*(line(finished=time) for time in times)))
    compare(log, {"networks": []}, tmp_path)


REGISTRY = make_log.registry()
held = [
    ("GE", "1997-08-09"),
    ("CX", "2010-09-04"),
    ("Z3", "2006-02-03"),
    ("Z3", "2016-02-29"),
    ("9A", "2031-12-31"),
]
streams = st.builds(
    lambda epoch, **more: trace(net=epoch[0], start=f"{epoch[1]}T00:00:00.0000Z", **more),
    st.sampled_from([*held, ("ZE", "2014-08-01"), ("ZE", "2015-08-01"), ("Z32015", "2016-02-29")]),
    sta=st.sampled_from(["EIL", "PB01", "A1"]),
    loc=st.sampled_from(["", "00", "10"]),
    cha=st.sampled_from(["BHZ", "HHN"]),
    size=st.integers(0, 2**40),
    status=st.sampled_from(["OK", "OK", "OK", "NODATA", "DENIED", "ERROR"]),
)
valid_lines = st.builds(
    line,
    finished=st.datetimes(*map(datetime.datetime.fromisoformat, ("2020-08-30", "2020-10-02"))).map(
        lambda time: f"{time.isoformat()}Z"
    ),
    status=st.sampled_from(["OK", "OK", "OK", "ERROR", "NODATA", "DENIED"]),
    service=st.just("fdsnws-dataselect"),
    userLocation=st.sampled_from([{}, {"country": None}, {"country": ""}, *({"country": c} for c in ("DE", "A1"))]),
    userID=st.integers(0, 300) | st.integers(-(2**70), 2**70),
    clientID=st.text(),
    userEmail=st.none() | st.text(),
    trace=st.lists(streams, max_size=4),
    without=st.sampled_from([(), (), (), ("service",), ("clientID", "userEmail", "bytes", "created")]),
)


@pytest.fixture(scope="module")
def deployed() -> Iterator[reference.Driver]:
    with reference.driver(REGISTRY) as driver:
        yield driver


@settings(max_examples=60, deadline=None)
@given(log=st.lists(valid_lines, max_size=40))
def test_valid_log_equals_deployed_rows(
    log: list[dict[str, Any]], deployed: reference.Driver, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.getbasetemp() / "valid.log"
    path.write_bytes(encode_log(*log) or b"\n")
    theirs = deployed.aggregate(path)
    registry = tmp_path_factory.getbasetemp() / "valid.json"
    registry.write_text(json.dumps(REGISTRY))
    aggregation = Aggregation(networks.NetworkRegistry(lambda: networks.read_registry(registry)))
    for raw in encode_log(*log).splitlines():
        request = request_log.parse(raw)
        assert isinstance(request, request_log.Request)
        aggregation.add(request)
    ours = json.loads(make_payload(aggregation, datetime.datetime.now(datetime.UTC)).to_json())
    if theirs is None:
        assert ours["stats"] == []
        return
    assert reference.index_rows(ours) == reference.index_rows(theirs)
    assert ours["days_coverage"] == theirs["days_coverage"]
    assert ours["aggregation_score"] == round(len(log) / len(ours["stats"]))
    if len(ours["stats"]) == len(theirs["stats"]):
        assert ours["aggregation_score"] == theirs["aggregation_score"]


# Contents of logs


def test_no_line_ends_the_run(home: Path) -> None:
    log = [
        line(),
        line(status="ERROR"),
        line(without=("trace",), status="NODATA"),
        line(userLocation={}),
        line(without=("finished", "status")),
        line(clientID="\udcff"),
        line(trace=[trace(sta=f"S{number}") for number in range(12_000)]),
        line(service="fdsnws-station"),
        line(without=("userID",)),
        line(trace=[trace(size=-1)]),
        line(userID="1"),
        line(userID=True),
    ]
    raw = b"[]\n\xff\n\nno JSON\n" + encode_log(*log) + encode_log(line())[:100]
    (home / "a.log").write_bytes(raw)
    done = run("--json", "a.log", cwd=home)
    assert (done.returncode, done.stderr) == (0, "")
    report = json.loads(done.stdout)
    assert (report["counted"], report["ignored"], report["rejected"]) == (7, 1, 9)
    assert report["first_rejects"] == [
        {"file": "a.log", "line": number, "reason": reason}
        for number, reason in (
            (1, "not an object"),
            (2, "not UTF-8"),
            (3, "empty"),
            (4, "not JSON"),
            (13, "userID: missing"),
        )
    ]
    assert (report["requests"], report["unsuccessful_requests"]) == (3 + 3 + 12_000, 3)
    assert report["output"] == FILE
    assert (home / FILE).exists()


@pytest.mark.parametrize("content", [b"", b"no JSON\n", b"\x00" * 5000, b"{}\n[]\n"])
def test_log_without_request_is_an_error(content: bytes, home: Path) -> None:
    (home / "a.log").write_bytes(content)
    done = run("a.log", cwd=home)
    assert done.returncode == 1
    assert "no request in a.log" in done.stderr
    assert nothing_written(home)


def test_day_without_data_is_written_without_rows(home: Path) -> None:
    (home / "a.log").write_bytes(encode_log(line(trace=[trace(status="NODATA")])))
    done = run("a.log", cwd=home)
    assert (done.returncode, done.stderr) == (0, "")
    made = aggregate_in(home)
    assert (made["stats"], made["days_coverage"]) == ([], [])
    assert made["period"] == {"start": "2020-09-18", "end": "2020-09-18"}


def test_other_service_log_is_a_quiet_day_by_name(home: Path) -> None:
    entry = encode_log(line(service="fdsnws-station"))
    (home / "a.log").write_bytes(entry)
    (home / "a.log.2020-09-18").write_bytes(entry)
    done = run("a.log", cwd=home)
    assert done.returncode == 4
    assert "no request of this service" in done.stderr
    assert "Nothing to write" in done.stdout
    assert nothing_written(home)
    done = run("--quiet", "a.log.2020-09-18", cwd=home)
    assert (done.returncode, done.stdout) == (4, "")
    assert "no request of this service" in done.stderr
    assert aggregate_in(home)["stats"] == []


def test_several_files_make_one_aggregate(home: Path) -> None:
    entries = list(make_log.requests(2, DAY, 600))
    make_log.write(home / "whole.log", entries)
    make_log.write(home / "first.log.gz", entries[:250])
    make_log.write(home / "second.log.zst", entries[250:])
    run("--networks", "networks.json", "-o", "whole", "whole.log", cwd=home, SOURCE_DATE_EPOCH="1600000000")
    parts = ["second.log.zst", "first.log.gz"]
    run("--networks", "networks.json", "-o", "parts", *parts, cwd=home, SOURCE_DATE_EPOCH="1600000000")
    name = f"{DAY}_{DAY}.json.gz"
    assert (home / "whole" / name).read_bytes() == (home / "parts" / name).read_bytes()


_PEAK = """
from eida_stats_aggregator.cli import cli
code = cli.main(standalone_mode=False)
# Unlike the maximum of getrusage, it starts at zero in a new program.
(peak,) = (line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM:"))
print(code, peak)
"""


@pytest.mark.parametrize(
    ("repeated", "jobs"),
    [
        pytest.param(lambda log, times: log * times, "2", id="plain"),
        pytest.param(lambda log, times: gzip.compress(log * times, 1), "1", id="gz"),
        # as programs write it that pack in parallel
        pytest.param(lambda log, times: bz2.compress(log, 1) * times, "1", id="bz2"),
        pytest.param(lambda log, times: bz2.compress(log, 1) * times, "2", id="bz2 by two"),
    ],
)
def test_memory_does_not_grow_with_the_log(repeated: Callable[[bytes, int], bytes], jobs: str, home: Path) -> None:
    part = encode_log(*make_log.requests(4, DAY, 2000))

    def peak(times: int) -> int:
        (home / "a.log").write_bytes(repeated(part, times))
        options = ["--quiet", "--jobs", jobs, "--networks", "networks.json", "-o", f"{times}"]
        done = subprocess.run(
            [sys.executable, "-c", _PEAK, *options, "a.log"],
            cwd=home,
            env=environment(home),
            capture_output=True,
            check=True,
        )
        code, kibibytes = map(int, done.stdout.split())
        assert code == 4  # a warning: its lines are repeated
        return kibibytes * 1024

    assert len(part) * 10 > 3 * 7.5e6  # more than the bound, were it kept
    # To find repeated lines takes some memory in both. If processes wait for a core, the first one may have more of
    # their results at once. A log that is kept shows in each run.
    assert any(peak(15) - peak(5) < 7.5e6 for _ in range(3))


# Networks


def test_needed_registry_missing_stops_the_run(home: Path) -> None:
    (home / "a.log").write_bytes(encode_log(line(), line(trace=[trace(net="Z3")])))
    done = run("a.log", cwd=home, FDSN_NETWORKS_URL=find_unused_url())
    assert done.returncode == 1
    assert "There is no registry of networks" in done.stderr
    assert "--networks FILE" in done.stderr
    assert nothing_written(home)


def test_permanent_networks_need_no_registry(home: Path) -> None:
    assert run("a.log", cwd=home, FDSN_NETWORKS_URL=find_unused_url()).returncode == 0
    assert (home / FILE).exists()


def test_invalid_registry_stops_the_run(home: Path) -> None:
    (home / "networks.json").write_text("<html>")
    (home / "a.log").write_bytes(encode_log(line(trace=[trace(net="Z3")])))
    done = run("--networks", "networks.json", "a.log", cwd=home)
    assert done.returncode == 1
    assert "networks.json" in done.stderr
    assert nothing_written(home)


def test_registry_is_cached_for_next_run(home: Path) -> None:
    (home / "a.log").write_bytes(encode_log(line(trace=[trace(net="Z3", start="2016-01-01T00:00:00.0000Z")])))
    with serve_answers(Answer(200, json.dumps(make_log.registry()).encode())) as stub:
        for _ in range(2):
            assert run("a.log", cwd=home, FDSN_NETWORKS_URL=stub.url).returncode == 0
        assert len(stub.received) == 1
    assert aggregate_in(home)["stats"][0]["network"] == "Z32015"


def test_open_epoch_has_no_end(home: Path) -> None:
    open_end, unknown = trace(net="9A", start="2031-05-01T00:00:00.0000Z"), trace(net="Z3")
    (home / "a.log").write_bytes(encode_log(line(trace=[open_end, unknown])))
    done = run("--networks", "networks.json", "a.log", cwd=home)
    assert done.returncode == 0
    assert "unregistered network, kept under its short code: Z3 (1 deliveries)" in done.stdout
    assert [row["network"] for row in aggregate_in(home)["stats"]] == ["9A2019", "Z3"]
    again = run("--json", "--networks", "networks.json", "a.log", cwd=home)
    assert json.loads(again.stdout)["unregistered_networks"] == {"Z3": 1}


# Files and standard input

# The zstd command writes a checksum, too.
compress_zst = partial(zstd.compress, options={zstd.CompressionParameter.checksum_flag: 1})
COMPRESSIONS = [bytes, bz2.compress, gzip.compress, lzma.compress, compress_zst]


@pytest.mark.parametrize("compress", COMPRESSIONS, ids=["plain", "bz2", "gz", "xz", "zst"])
def test_log_is_read_under_any_name(compress: Callable[[bytes], bytes], home: Path) -> None:
    content = compress(encode_log(line()))
    (home / "misnamed.log.bz2").write_bytes(content)
    assert run("-o", "named", "misnamed.log.bz2", cwd=home).returncode == 0
    assert run("-o", "piped", cwd=home, stdin=content).returncode == 0
    rows = [aggregate_in(home / made)["stats"] for made in ("named", "piped")]
    assert rows[0] == rows[1] != []


def test_stdin_names_logs(home: Path) -> None:
    (home / "b c.log.bz2").write_bytes(bz2.compress(encode_log(line(finished="2020-09-19T00:00:00Z"))))
    done = run(cwd=home, stdin=b"a.log\nb c.log.bz2\n")
    assert done.returncode == 0
    assert (home / "2020-09-18_2020-09-19.json.gz").exists()


def test_hyphen_stands_for_standard_input(home: Path) -> None:
    done = run("--json", "a.log", "-", cwd=home, stdin=encode_log(line(userID=2)))
    assert json.loads(done.stdout)["counted"] == 2


def test_log_can_come_through_a_named_pipe(home: Path) -> None:
    os.mkfifo(home / "pipe")
    content = encode_log(*(line(userID=user) for user in range(5000)))
    writer = threading.Thread(target=(home / "pipe").write_bytes, args=(content,), daemon=True)
    writer.start()
    done = run("--json", "pipe", cwd=home)
    writer.join()
    assert json.loads(done.stdout)["counted"] == 5000


def test_file_name_that_is_no_text_is_shown(home: Path) -> None:
    name = "b\udcff.log"
    (home / name).write_bytes(b"no JSON\n" + encode_log(line()))
    assert "written" in run(name, cwd=home).stdout
    assert json.loads(run("--json", name, cwd=home).stdout)["counted"] == 1


@pytest.mark.parametrize("compress", COMPRESSIONS[1:], ids=["bz2", "gz", "xz", "zst"])
@pytest.mark.parametrize("fault", ["cut off", "damaged"])
@pytest.mark.parametrize("piped", [False, True])
def test_incomplete_log_stops_the_run(
    compress: Callable[[bytes], bytes], fault: str, piped: bool, home: Path
) -> None:
    broken = bytearray(compress(encode_log(*make_log.requests(5, DAY, 500))))
    if fault == "cut off":
        del broken[-20:]
    else:
        middle = len(broken) // 2
        broken[middle : middle + 50] = bytes(byte ^ 0xFF for byte in broken[middle : middle + 50])
    (home / "broken.log").write_bytes(broken)
    if piped:
        done = run("--networks", "networks.json", cwd=home, stdin=bytes(broken))
    else:
        done = run("--networks", "networks.json", "a.log", "broken.log", cwd=home)
    assert done.returncode == 1
    assert ("standard input: " if piped else "broken.log: ") in done.stderr
    assert "nothing was written" in done.stderr
    assert nothing_written(home)


def test_missing_log_stops_the_run(home: Path) -> None:
    done = run("a.log", "missing.log", cwd=home)
    assert done.returncode == 1
    assert "missing.log: No such file or directory" in done.stderr
    assert nothing_written(home)


@pytest.mark.parametrize("name", ["empty", "*.txt"])
def test_no_log_found_stops_the_run(name: str, home: Path) -> None:
    (home / "empty").mkdir()
    done = run("a.log", name, cwd=home)
    assert done.returncode == 1
    assert f"{name}: " in done.stderr
    assert nothing_written(home)


def test_overlong_file_name_stops_the_run(home: Path) -> None:
    done = run("a.log", "a" * 300, cwd=home)
    assert done.returncode == 1
    assert f"{'a' * 300}: File name too long" in done.stderr
    assert nothing_written(home)


def test_log_named_twice_counts_once(home: Path) -> None:
    (home / "b.log.gz").write_bytes(gzip.compress((home / "a.log").read_bytes()))
    done = run("a.log", "b.log.gz", cwd=home)
    assert (done.returncode, done.stderr) == (0, "")
    assert "not counted again: b.log.gz has the same content as a.log" in done.stdout
    report = json.loads(run("--json", "a.log", "b.log.gz", cwd=home).stdout)
    assert report["repeated_files"] == [{"file": "b.log.gz", "same_as": "a.log"}]
    assert (report["files"], report["counted"]) == (["a.log"], 1)


def test_no_log_at_all_is_an_error(home: Path) -> None:
    """As from a scheduler: standard input is empty."""
    done = run(cwd=home)
    assert done.returncode == 1
    assert "no log was named" in done.stderr


# Where it goes


def test_output_directory_is_created(home: Path) -> None:
    assert run("-o", "deep/er", "a.log", cwd=home).returncode == 0
    assert (home / "deep/er" / FILE).exists()
    assert run("a.log", "--output-directory", cwd=home).returncode == 0
    assert (home / FILE).exists()


def test_uncreatable_output_is_an_error(home: Path) -> None:
    done = run("-o", "a.log/x", "a.log", cwd=home)
    assert done.returncode == 1
    assert "cannot be written" in done.stderr


def test_same_log_again_is_one_file(home: Path) -> None:
    assert run("a.log", cwd=home).returncode == 0
    before = (home / FILE).read_bytes()
    assert run("a.log", cwd=home).returncode == 0
    assert (home / FILE).read_bytes() == before
    (home / "b.log").write_bytes(encode_log(line(userID=2)))
    refused = run("b.log", cwd=home)
    assert refused.returncode == 1
    assert "--source" in refused.stderr
    assert "--replace" in refused.stderr
    assert "Nothing to write" not in refused.stdout
    assert (home / FILE).read_bytes() == before
    assert run("--suffix", "b", "b.log", cwd=home).returncode == 0
    assert (home / "2020-09-18_2020-09-18_b.json.gz").exists()
    assert run("--replace", "b.log", cwd=home).returncode == 0
    assert (home / FILE).read_bytes() != before


def test_fixed_time_gives_equal_bytes(home: Path) -> None:
    for directory in ("one", "two"):
        run("-o", directory, "a.log", cwd=home, SOURCE_DATE_EPOCH="1600000000")
        time.sleep(0.01)
    assert (home / "one" / FILE).read_bytes() == (home / "two" / FILE).read_bytes()
    assert aggregate_in(home / "one")["generated_at"] == "2020-09-13 12:26:40"


# Output


def test_summary_lists_deliveries(home: Path) -> None:
    (home / "a.log").write_bytes(encode_log(line(), line(userID=2, status="ERROR"), line(service="x")) + b"{\n" * 7)
    done = run("a.log", cwd=home)
    told = " ".join(done.stdout.split())
    for figure in (
        "2 lines counted",
        "1 ignored",
        "7 rejected",
        "2 requests, 1 of them failed as a whole",
        "2 aggregates",
        "512 bytes delivered",
        "2 distinct clients",
        "1 day, 2020-09-18 (from the days of the requests)",
        "rejected: a.log:4: not JSON",
        "rejected: … and 2 more",
        f"written: {FILE}",
    ):
        assert figure in told
    assert done.stderr == ""


def test_summary_sorts_classes_by_size(home: Path) -> None:
    entries = [
        line(clientID="curl/7.68.0", trace=[trace(size=1), trace(size=2)]),
        line(clientID="Googlebot/2.1", trace=[trace(size=3_000_000)] * 1500),
        line(clientID="curl/7.68.0", finished="2020-09-17T12:00:00Z"),
        line(),
        line(clientID="[bold]ObsPy[/bold]"),
    ]
    (home / "a.log").write_bytes(encode_log(*entries))
    done = run(
        "a.log", "--since", "2020-09-18", "--exclude-class", "crawler", "--exclude-client", "^curl", cwd=home
    )
    assert (done.returncode, done.stderr) == (0, "")
    told = [" ".join(one.split()) for one in done.stdout.splitlines()]
    assert told[:5] == [
        "2 lines counted",
        "0 ignored (another service)",
        "0 rejected",
        "1 left out (other days)",
        "2 left out (excluded clients)",
    ]
    start = told.index("REQUESTS BYTES CLIENTS")
    assert told[start - 1 : start + 5] == [
        "",
        "REQUESTS BYTES CLIENTS",
        "1,500 4.5 GB crawler (left out)",
        "2 1.0 kB scientific",
        "2 3 bytes library",
        "",
    ]
    assert told[start + 5 :] == [f"written: {FILE}"]


def test_summary_omits_empty_exclusions(home: Path) -> None:
    done = run("a.log", cwd=home)
    assert "left out" not in done.stdout
    assert "not counted again" not in done.stdout
    assert "would be" not in done.stdout


def test_dry_run_changes_nothing(home: Path) -> None:
    before = sorted(home.iterdir())
    done = run("--dry-run", "--send-to", find_unused_url(), "-o", "out", "a.log", cwd=home, TOKEN=TOKEN)
    assert (done.returncode, done.stderr) == (0, "")
    assert f"would be written: out/{FILE}" in done.stdout
    assert f"would be sent: out/{FILE} to http://127.0.0.1:" in done.stdout
    assert sorted(home.iterdir()) == before


def test_quiet_prints_nothing_but_errors(home: Path) -> None:
    done = run("--quiet", "a.log", cwd=home)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    done = run("--quiet", "missing.log", cwd=home)
    assert (done.returncode, done.stdout) == (1, "")
    assert "missing.log" in done.stderr


def test_failed_run_prints_json(home: Path) -> None:
    report = json.loads(run("--json", "a.log", cwd=home).stdout)
    expected = {"files": ["a.log"], "counted": 1, "requests": 1, "aggregates": 1, "bytes": 512, "clients": 1}
    assert {key: report[key] for key in expected} == expected
    assert report["days"] == ["2020-09-18"]
    assert report["errors"] == report["repeated_files"] == []
    assert report["client_classes"] == {"scientific": {"requests": 1, "bytes": 512}}
    assert (report["on_other_days"], report["excluded"], report["excluded_clients"]) == (0, 0, None)
    assert (report["dry_run"], report["output"], report["sent"], report["queued"]) == (False, FILE, [], [])
    options = ["--exclude-class", "monitor", "--exclude-client", "^ObsPy/1", "--until", "2020-09-20", "--dry-run"]
    left_out = json.loads(run("--json", *options, "a.log", cwd=home).stdout)
    assert (left_out["excluded"], left_out["dry_run"], left_out["output"]) == (1, True, None)
    assert left_out["excluded_clients"] == {"client_classes": ["monitor"], "client_patterns": ["^ObsPy/1"]}
    assert left_out["client_classes"] == report["client_classes"]
    failed = run("--json", "missing.log", cwd=home)
    assert failed.returncode == 1
    (error,) = json.loads(failed.stdout)["errors"]
    assert "missing.log" in error


def test_progress_is_shown_on_a_terminal_only(home: Path) -> None:
    def shown(*options: str) -> bytes:
        ours, theirs = pty.openpty()
        with open(ours, "rb", buffering=0) as screen:  # noqa: PTH123 - a descriptor
            env = environment(home, TERM="xterm")
            subprocess.run(
                [COMMAND, *options, "a.log"],
                cwd=home,
                env=env,
                stderr=theirs,
                check=True,
                stdout=subprocess.DEVNULL,
            )
            os.close(theirs)
            seen = io.BytesIO()
            try:
                while chunk := screen.read(1024):
                    seen.write(chunk)
            except OSError:  # how Linux says that the other end is closed
                pass
        return seen.getvalue()

    assert b"reading" in shown()
    assert b"reading" not in shown("--quiet")


def test_version_is_printed(home: Path) -> None:
    done = run("--version", cwd=home)
    assert done.returncode == 0
    assert done.stdout.strip().count(".") == 2


@pytest.mark.parametrize(
    "arguments",
    [
        ["--unknown"],
        ["--send-to", "http://127.0.0.1:1"],  # no token
        ["--send-to", "127.0.0.1:1", "--token", "t"],
        ["--send-to", "http://127.0.0.1:1", "--token", "two words"],
        ["--send-to", "http://127.0.0.1:1", "--token", "line\nbreak"],
        ["--send-to", "http://127.0.0.1:1", "--token-file", "missing"],
        ["--networks", "missing.json", "a.log"],
        ["--suffix", "../x", "a.log"],
        ["-o", "a.log", "a.log"],
        ["--retries", "-1", "a.log"],
        ["--replaces", "17", "a.log"],  # at no service
        ["--replaces", "17,", "--send-to", "http://127.0.0.1:1", "--token", "t", "a.log"],
        ["--replaces", "x", "--send-to", "http://127.0.0.1:1", "--token", "t", "a.log"],
    ],
    ids=" ".join,
)
def test_usage_error_exits_with_2(arguments: list[str], home: Path) -> None:
    done = run(*arguments, cwd=home)
    assert done.returncode == 2
    assert done.stderr.startswith("Usage:")
    assert nothing_written(home)


def test_too_many_exclusions_are_refused(home: Path) -> None:
    """A service would refuse the file, and it would wait for ever."""

    def leaving_out(number: int) -> subprocess.CompletedProcess[str]:
        names = [f"^no-such-client-{number}$" for number in range(number)]
        options = [word for name in [*names, names[0]] for word in ("--exclude-client", name)]
        return run("--json", *options, "a.log", cwd=home)

    refused = leaving_out(101)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "--exclude-client" in refused.stderr
    assert nothing_written(home)
    assert leaving_out(100).returncode == 0
    assert len(aggregate_in(home)["excluded"]["client_patterns"]) == 100


def test_nothing_personal_is_shown_or_kept(home: Path) -> None:
    person = line(**PERSON)
    text = json.dumps(person)
    broken = [
        {**person, "userID": f"{PERSON['userID']}"},
        {**person, "userID": float(PERSON["userID"]) + 0.5},
        {**person, "finished": PERSON["clientID"]},
        {**person, "trace": [trace(sta=PERSON["userEmail"], net=PERSON["clientID"])]},
        {**person, "userLocation": {"country": PERSON["userEmail"]}},
        {**person, "trace": PERSON["userEmail"]},
    ]
    # only the first few are listed, so each gets a run of its own
    logs = [encode_log(entry) for entry in broken]
    logs += [text[:-10].encode(), text.encode() + b"}", text.replace("{", "\xff").encode("latin-1")]
    for number, log in enumerate(logs):
        (home / "a.log").write_bytes(encode_log(person, {**person, "status": "ERROR"}) + log)
        for options in ([], ["--json"]):
            done = run(*options, "--suffix", f"{number}", "a.log", cwd=home)
            assert done.returncode in (0, 4)
            assert "rejected" in done.stdout
            (home / "told").write_text(done.stdout + done.stderr)
            kept = [path for path in home.iterdir() if path.is_file() and path.name != "a.log"]
            for secret in ("77007700770077", "Secret/1.0", "workstation", "somebody@example.org"):
                for path in kept:
                    content = path.read_bytes()
                    assert secret.encode() not in (gzip.decompress(content) if path.suffix == ".gz" else content)


# Delivery


def send(url: str, *arguments: str, cwd: Path, **env: str) -> subprocess.CompletedProcess[str]:
    env = {"TOKEN": TOKEN, **env}
    done = run("--send-to", url, "--retries", "0", *arguments, cwd=cwd, **env)
    assert TOKEN not in done.stdout + done.stderr
    for path in cwd.glob("**/*"):
        assert not path.is_file() or path.name == "token" or TOKEN.encode() not in path.read_bytes()
    return done


def test_log_is_aggregated_and_sent(home: Path) -> None:
    with serve_answers(Answer(201)) as stub:
        done = send(stub.url, "a.log", cwd=home)
        assert done.returncode == 0
        assert f"sent: {FILE} to {stub.url}/submit: 201 Created" in done.stdout
        (request,) = stub.received
        assert request.body == (home / FILE).read_bytes()
        # the same log again is known to be delivered
        assert send(stub.url, "a.log", cwd=home).returncode == 0
        assert len(stub.received) == 1


@pytest.mark.parametrize(
    "how", ["environment", "option", "file", "file with a byte order mark", "file in the environment"]
)
def test_token_has_three_sources(how: str, home: Path) -> None:
    (home / "token").write_text(f"{TOKEN}\n")
    (home / "marked").write_text(f"{TOKEN}\n", encoding="utf-8-sig")
    with serve_answers(Answer(201)) as stub:
        arguments, env = {
            "environment": ([], {"TOKEN": TOKEN}),
            "option": (["--token", TOKEN], {"TOKEN": "another"}),
            "file": (["--token-file", "token"], {}),
            "file with a byte order mark": (["--token-file", "marked"], {}),
            "file in the environment": ([], {"TOKEN_FILE": "token"}),
        }[how]
        assert run("--send-to", stub.url, *arguments, "a.log", cwd=home, **env).returncode == 0
        assert stub.received[0].headers["authorization"] == f"Bearer {TOKEN}"


def test_queue_is_sent_without_a_log(home: Path) -> None:
    url = find_unused_url()
    done = send(url, "a.log", cwd=home)
    assert done.returncode == 3
    assert "waits for the next run" in done.stderr
    assert f"waits for the next run: {FILE}" in done.stdout
    port = int(url.rpartition(":")[2])
    bodies: list[bytes] = []

    def take(request: Received) -> Answer:
        bodies.append(request.body)
        return Answer(201)

    with serve_stub(take, port=port) as stub:
        assert stub.url == url
        done = send(url, cwd=home)
        assert (done.returncode, done.stderr) == (0, "")
        assert bodies == [(home / FILE).read_bytes()]
        assert send(url, cwd=home).returncode == 0
        assert len(bodies) == 1


def test_queued_week_is_sent_with_next_log(home: Path) -> None:
    # A day that the service fails with does not keep it from the next one.
    with serve_answers(*[Answer(503)] * 6, Answer(201)) as stub:
        for day in (15, 16, 17):
            (home / "a.log").write_bytes(encode_log(line(finished=f"2020-09-{day}T12:00:00Z")))
            assert send(stub.url, "a.log", cwd=home).returncode == 3
        (home / "a.log").write_bytes(encode_log(line()))
        assert send(stub.url, "a.log", cwd=home).returncode == 0
        days = [json.loads(gzip.decompress(one.body))["days_coverage"] for one in stub.received[6:]]
    assert days == [["2020-09-15"], ["2020-09-16"], ["2020-09-17"], ["2020-09-18"]]


def test_queue_is_sent_after_a_bad_log(home: Path) -> None:
    with serve_answers(Answer(503), Answer(201)) as stub:
        assert send(stub.url, "a.log", cwd=home).returncode == 3
        assert send(stub.url, "missing.log", cwd=home).returncode == 1
        assert len(stub.received) == 2


def test_other_queue_gets_no_token(home: Path) -> None:
    with serve_answers(Answer(503)) as first, serve_answers(Answer(201)) as second:
        assert send(first.url, "a.log", cwd=home).returncode == 3
        done = send(second.url, cwd=home)
        assert second.received == []
        assert done.returncode == 3
        assert first.url in done.stderr
        assert "--requeue" in done.stderr
        # unless the operator says that the service has moved
        assert send(second.url, "--requeue", cwd=home).returncode == 0
        assert len(second.received) == 1
        assert send(second.url, cwd=home).returncode == 0


def test_unsent_file_is_not_sent_later(home: Path) -> None:
    assert run("a.log", cwd=home).returncode == 0
    with serve_answers(Answer(201)) as stub:
        assert send(stub.url, cwd=home).returncode == 0
        assert stub.received == []


def test_refused_file_lets_others_pass(home: Path) -> None:
    (home / "b.log").write_bytes(encode_log(line(finished="2020-09-19T00:00:00Z")))
    with serve_answers(
        Answer(503), problem(422, "invalid-payload", "The payload has bad fields"), Answer(201)
    ) as stub:
        assert send(stub.url, "a.log", cwd=home).returncode == 3
        done = send(stub.url, "--json", "b.log", cwd=home)
        assert done.returncode == 3
        assert "The payload has bad fields" in done.stderr
        assert len(stub.received) == 3
    report = json.loads(done.stdout)
    assert report["queued"] == [FILE]
    assert len(report["sent"]) == 1


def test_refused_token_stops_the_queue(home: Path) -> None:
    with serve_answers(Answer(503), problem(403, "refused-token")) as stub:
        send(stub.url, "a.log", cwd=home)
        (home / "a.log").write_bytes(encode_log(line(finished="2020-09-19T00:00:00Z")))
        done = send(stub.url, "a.log", cwd=home)
        assert done.returncode == 3
        assert "Check the token" in done.stderr
        assert len(stub.received) == 2


def test_correction_is_put(home: Path) -> None:
    with serve_corrections(Answer(201)) as stub:
        assert send(stub.url, "a.log", cwd=home).returncode == 0
        (home / "a.log").write_bytes(encode_log(line(userID=2)))
        refused = send(stub.url, "a.log", cwd=home)
        assert refused.returncode == 1
        assert "--replace" in refused.stderr
        assert len(stub.received) == 1
        done = send(stub.url, "--replace", "a.log", cwd=home)
        assert (done.returncode, done.stderr) == (0, "")
        assert [request.method for request in submissions(stub)] == ["POST", "PUT"]
        assert submissions(stub)[1].body == (home / FILE).read_bytes()
        assert submissions(stub)[1].path == "/submit"
        # It is delivered now.
        assert send(stub.url, "a.log", cwd=home).returncode == 0
        assert len(submissions(stub)) == 2


def test_delivered_file_is_sent_again_with_replace_only(home: Path) -> None:
    with serve_corrections(Answer(201)) as stub:
        assert send(stub.url, "a.log", cwd=home).returncode == 0
        for options in ([], ["--dry-run"]):
            done = send(stub.url, *options, "a.log", cwd=home)
            assert (done.returncode, done.stderr) == (0, "")
            text = f"delivered before, and not sent again without --replace: {FILE} to {stub.url} at 20"
            assert text in done.stdout
            assert "sent: " not in done.stdout
        assert json.loads(send(stub.url, "--json", "a.log", cwd=home).stdout)["sent_before"].startswith(FILE)
        assert len(stub.received) == 1
        assert "would be sent" in send(stub.url, "--dry-run", "--replace", "a.log", cwd=home).stdout
        done = send(stub.url, "--replace", "a.log", cwd=home)
        assert (done.returncode, done.stderr) == (0, "")
        assert "delivered before" not in done.stdout
        first, second = submissions(stub)
        assert (first.method, second.method, second.body) == ("POST", "PUT", first.body)


def test_held_file_waits_for_a_decision(home: Path) -> None:
    with serve_corrections(problem(409, "overlapping-payload"), Answer(503), Answer(201)) as stub:
        held = send(stub.url, "--source", "b", "a.log", cwd=home)
        assert held.returncode == 3
        assert "waits for your decision" in held.stderr
        assert "waits for your decision: 2020-09-18_2020-09-18_b.json.gz" in held.stdout
        # Until then it is not tried again.
        assert send(stub.url, cwd=home).returncode == 0
        named = ("--source", "b", "--replaces", "17,5", "--replaces", "17")
        assert send(stub.url, *named, "a.log", cwd=home).returncode == 3
        done = send(stub.url, cwd=home)
        assert (done.returncode, done.stderr) == (0, "")
        assert [request.path for request in submissions(stub)] == ["/submit", *["/submit?replaces=5%2C17"] * 2]


def test_file_counts_beside_others_on_request(home: Path) -> None:
    receipt = {"payload": 8, "overlaps": [{"payload": 7, "days": ["2020-09-18"]}]}
    with serve_corrections(problem(409, "overlapping-payload"), Answer(201, json.dumps(receipt).encode())) as stub:
        assert send(stub.url, "a.log", cwd=home).returncode == 3
        done = send(stub.url, "--beside", "--quiet", "a.log", cwd=home)
        assert (done.returncode, done.stdout) == (4, "")
        assert f"warning: {FILE} counts beside payload 7 for 2020-09-18" in done.stderr
        assert [request.path for request in submissions(stub)] == ["/submit", "/submit?overlap=accept"]


@pytest.mark.parametrize("option", ["--replace", "--replaces=17", "--beside"])
def test_decision_is_about_the_file_of_a_log(option: str, home: Path) -> None:
    done = send(find_unused_url(), option, cwd=home)
    assert done.returncode == 1
    assert option.partition("=")[0] in done.stderr


def test_token_that_ends_soon_is_named(home: Path) -> None:
    soon = datetime.datetime.now(tz=datetime.UTC) + datetime.timedelta(days=29)
    for end, code in ((soon, 4), (soon + datetime.timedelta(days=3), 0)):
        with serve_answers(Answer(201, headers={"Token-Valid-Until": end.isoformat()})) as stub:
            done = send(stub.url, "--quiet", "a.log", cwd=home)
            assert done.returncode == code
            assert (f"the token is valid until {end:%Y-%m-%d}" in done.stderr) is (code == 4)


def test_correction_waits_for_a_service_that_corrects(home: Path) -> None:
    with serve_corrections(Answer(200, b"ingested"), version=Answer(404)) as stub:
        assert send(stub.url, "a.log", cwd=home).returncode == 0
        for user in (2, 3):
            # As long as it waits, it can be corrected once more.
            (home / "a.log").write_bytes(encode_log(line(userID=user)))
            done = send(stub.url, "--replace", "a.log", cwd=home)
            assert done.returncode == 3
            assert "This service cannot take a correction, which waits" in done.stderr
            assert f"waits for the next run: {FILE}" in done.stdout
        # It holds up no other file.
        (home / "b.log").write_bytes(encode_log(line(finished="2020-09-19T00:00:00Z")))
        done = send(stub.url, "--json", "b.log", cwd=home)
        assert done.returncode == 3
        report = json.loads(done.stdout)
        assert (report["queued"], len(report["sent"])) == ([FILE], 1)
        assert [request.method for request in submissions(stub)] == ["POST", "POST"]
        port = int(stub.url.rpartition(":")[2])

    def take(request: Received) -> Answer:
        return Answer(200, b"0.9.0") if request.path == "/version" else Answer(201)

    with serve_stub(take, port=port) as stub:
        assert send(stub.url, cwd=home).returncode == 0
        (request,) = submissions(stub)
        assert (request.method, request.body) == ("PUT", (home / FILE).read_bytes())


def test_duplicate_at_the_deployed_service_is_delivered(home: Path) -> None:
    answer = Answer(400, b"This statistic already exists on the server. Refusing to merge")
    with serve_answers(answer) as stub:
        for _ in range(2):
            done = send(stub.url, "a.log", cwd=home)
            assert (done.returncode, done.stderr) == (0, "")
        assert len(stub.received) == 1


def test_killed_write_is_reported(home: Path) -> None:
    with serve_answers(Answer(503), Answer(201)) as stub:
        send(stub.url, "a.log", cwd=home)
        (home / FILE).unlink()
        done = send(stub.url, cwd=home)
        assert f"{FILE} was not written to its end" in done.stderr
        assert done.returncode == 3
        assert len(stub.received) == 1
        assert send(stub.url, "a.log", cwd=home).returncode == 0
        assert len(stub.received) == 2


def test_two_runs_at_once_send_once(home: Path) -> None:
    def slow(_: Received) -> Answer:
        time.sleep(0.5)
        return Answer(201)

    with serve_stub(slow) as stub:
        runs = [
            subprocess.Popen(
                [COMMAND, "--quiet", "--send-to", stub.url, "a.log"], cwd=home, env=environment(home, TOKEN=TOKEN)
            )
            for _ in range(2)
        ]
        assert [one.wait(60) for one in runs] == [0, 0]
        assert len(stub.received) == 1


def test_payload_equals_deployed_payload(home: Path) -> None:
    """The two bodies differ in the order of rows, the case of digits, and the compression."""
    with serve_answers(Answer(201)) as stub, reference.registry_service(REGISTRY) as proxy:
        send(stub.url, "a.log", cwd=home)
        subprocess.run(
            [reference.python().with_name("eida_stats_aggregator"), "-o", home, "--send-to", stub.url, "a.log"],
            cwd=home,
            env={**reference.environment(proxy), "TOKEN": TOKEN, "no_proxy": "127.0.0.1"},
            check=True,
            capture_output=True,
        )
        ours, theirs = stub.received
    assert ours.headers["authentication"] == theirs.headers["authentication"]
    assert reference.index_rows(json.loads(gzip.decompress(ours.body))) == reference.index_rows(
        json.loads(theirs.body)
    )


def test_standard_input_is_never_quoted(home: Path) -> None:
    """Also where it begins so that it could be taken for a list of names."""
    person = b'{"userEmail": "somebody@example.org", "userID": "somebody"}\n'
    for log in (b"\n" + person, b"A" * 9000 + b'"}\n' + person, person):
        done = subprocess.run(
            [COMMAND], input=log, cwd=home, env=environment(home), capture_output=True, check=False
        )
        assert done.returncode == 1
        assert b"somebody" not in done.stdout + done.stderr


def test_correction_after_a_lost_answer(home: Path) -> None:
    (home / "corrected.log").write_bytes(encode_log(line(bytes=1), line(userID=3)))
    with serve_corrections(Answer(0), Answer(0), Answer(200)) as stub:
        assert send(stub.url, "a.log", cwd=home).returncode == 3
        refused = send(stub.url, "corrected.log", "--dry-run", cwd=home)
        assert refused.returncode == 1
        assert "was sent to" in refused.stderr
        # A correction replaces what has arrived, whichever that is.
        assert send(stub.url, "--replace", "corrected.log", cwd=home).returncode == 3
        done = send(stub.url, "--replace", "a.log", cwd=home)
        assert (done.returncode, done.stderr) == (0, "")
        assert [request.method for request in submissions(stub)] == ["POST", "PUT", "PUT"]
        first, _, last = (json.loads(gzip.decompress(request.body))["stats"] for request in submissions(stub))
        assert first == last


@pytest.mark.parametrize(
    "url", ["http://", "ftp://example.org", "http://a b/", "http://[::1", "http://x:99999/", "http://me:secret@x/"]
)
def test_bad_url_is_a_usage_error(url: str, home: Path) -> None:
    done = send(url, "a.log", cwd=home)
    assert done.returncode == 2
    assert "secret" not in done.stderr
    assert not list(home.glob("*.json.gz*"))


def test_errors_show_without_the_summary(home: Path) -> None:
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [COMMAND, "missing.log"],
            cwd=home,
            env=environment(home),
            stdout=full,
            stderr=subprocess.PIPE,
            check=False,
        )
    assert done.returncode == 1
    assert b"missing.log" in done.stderr
    assert b"Traceback" not in done.stderr


def test_json_summary_is_always_printed(home: Path) -> None:
    done = run("--json", "-o", "a.log/under-a-file", "a.log", cwd=home)
    assert done.returncode == 1
    assert "a.log" in json.loads(done.stdout)["errors"][0]


def test_standard_input_is_read_once(home: Path) -> None:
    assert run("-", "-", cwd=home).returncode == 2
