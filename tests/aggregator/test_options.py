"""The command's options: days, clients, directories, jobs, dry runs."""

import contextlib
import datetime
import gzip
import io
import json
import os
import pty
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from eida_statistics import user_agents
from support.stubs import (
    COMMAND,
    Answer,
    encode_log,
    environment,
    find_unused_url,
    line,
    make_log,
    run,
    serve_answers,
    trace,
)

TOKEN = "a-token-of-the-node"
FILE = "2020-09-18_2020-09-18.json.gz"
CURL = line(clientID="curl/7.65.3", userID=1, trace=[trace(sta="CURL", size=1)])
WGET = line(clientID="Wget/1.20.3 (linux-gnu)", userID=2, trace=[trace(sta="WGET", size=10)])
OBSPY = line(clientID="ObsPy/1.2.2 (Linux)", userID=3, trace=[trace(sta="OBSPY", size=100)])
MEASURE = line(clientID="IRISDMC DataCenterMeasure/2019.136 Perl/5.018004", userID=4, status="ERROR")
NAMELESS = line(without=("clientID",), userID=5, trace=[trace(sta="NONE", size=1000)])


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "a.log").write_bytes(encode_log(CURL, WGET, OBSPY, MEASURE, NAMELESS))
    days = [
        line(finished=f"2020-09-{day}T{time}Z") for day in (16, 17, 18, 19) for time in ("00:00:00", "23:59:59.9")
    ]
    (tmp_path / "days.log").write_bytes(encode_log(*days))
    return tmp_path


def aggregate(home: Path, *arguments: str | Path, stdin: bytes | None = None) -> dict[str, Any]:
    """Return the summary of a run that must be done, without any complaint."""
    done = run("--json", *arguments, cwd=home, stdin=stdin)
    assert (done.returncode, done.stderr) == (0, "")
    report: dict[str, Any] = json.loads(done.stdout)
    return report


def aggregate_in(directory: Path) -> Any:
    (path,) = directory.glob("*.json.gz")
    return json.loads(gzip.decompress(path.read_bytes()))


def stations_in(directory: Path) -> set[str]:
    return {row["station"] for row in aggregate_in(directory)["stats"]}


def refused(home: Path, *arguments: str) -> str:
    """Return the error of a wrong command line, and check that nothing was done."""
    before = sorted(home.iterdir())
    done = run("-o", "out", *arguments, cwd=home)
    assert (done.returncode, done.stdout) == (2, "")
    assert sorted(home.iterdir()) == before
    return " ".join(done.stderr.replace("│", " ").split())


# Days


@pytest.mark.parametrize(
    ("options", "days"),
    [
        ([], [16, 17, 18, 19]),
        (["--since", "2020-09-17"], [17, 18, 19]),
        (["--until", "2020-09-17"], [16, 17]),
        (["--since", "2020-09-17", "--until", "2020-09-18"], [17, 18]),
        (["--since", "2020-09-18", "--until", "2020-09-18"], [18]),
        (["--since", "1990-01-01", "--until", "9999-12-31"], [16, 17, 18, 19]),
    ],
)
def test_days_from_and_until_are_both_taken(options: list[str], days: list[int], home: Path) -> None:
    report = aggregate(home, "-o", "out", *options, "days.log")
    assert report["days"] == [f"2020-09-{day}" for day in days] == aggregate_in(home / "out")["days_coverage"]
    assert (report["counted"], report["on_other_days"]) == (2 * len(days), 8 - 2 * len(days))
    assert report["output"] == f"out/2020-09-{days[0]}_2020-09-{days[-1]}.json.gz"
    assert report["requests"] == 2 * len(days)


def test_day_is_that_of_universal_time(home: Path) -> None:
    times = ["2020-09-18T01:30:00+02:00", "2020-09-17T23:30:00-01:00", "2020-09-18T01:30:00"]
    (home / "zones.log").write_bytes(encode_log(*(line(finished=time) for time in times)))
    assert aggregate(home, "--dry-run", "--since", "2020-09-18", "zones.log")["counted"] == 2
    assert aggregate(home, "--dry-run", "--until", "2020-09-17", "zones.log")["counted"] == 1


def test_exclusions_do_not_depend_on_parts(home: Path) -> None:
    """The rows are those of a log which has nothing else."""
    kept = encode_log(*(line(finished="2020-09-17T12:00:00Z", userID=user) for user in range(50)))
    before, after = (
        encode_log(*(line(finished="2020-09-16T12:00:00Z", userID=user) for user in users))
        for users in (range(50, 100), range(100, 150))
    )
    (home / "both.log").write_bytes(before + kept + after)
    (home / "kept.log").write_bytes(kept)
    aggregate(home, "-o", "both", "--since", "2020-09-17", "both.log")
    aggregate(home, "-o", "kept", "kept.log")
    assert aggregate_in(home / "both")["stats"] == aggregate_in(home / "kept")["stats"]


def test_other_days_are_shown(home: Path) -> None:
    done = run("--since", "2020-09-18", "days.log", cwd=home)
    assert "4 left out (other days)" in " ".join(done.stdout.split())
    assert "left out" not in run("-o", "all", "days.log", cwd=home).stdout


def test_all_excluded_writes_nothing(home: Path) -> None:
    for options in (["--since", "2021-01-01"], ["--until", "2020-09-15"], ["--exclude-client", "ObsPy"]):
        done = run("-o", "out", *options, "days.log", cwd=home)
        assert (done.returncode, done.stderr) == (0, "")
        assert "Nothing to write" in done.stdout
        assert "8 left out" in " ".join(done.stdout.split())
        assert not list(home.glob("out/*.gz*"))


def test_bad_lines_are_rejected_for_any_day(home: Path) -> None:
    (home / "b.log").write_bytes(b"no JSON\n" + encode_log(line()))
    report = aggregate(home, "--since", "2021-01-01", "b.log")
    assert (report["counted"], report["on_other_days"], report["rejected"]) == (0, 1, 1)
    (home / "c.log").write_bytes(b"no JSON\n")
    assert run("--since", "2021-01-01", "c.log", cwd=home).returncode == 1


@pytest.mark.parametrize("option", ["--since", "--until"])
@pytest.mark.parametrize("day", ["yesterday", "2020-13-01", "2020-02-30", "18.09.2020", "2020-09-18T00:00:00", ""])
def test_bad_day_is_refused(option: str, day: str, home: Path) -> None:
    error = refused(home, option, day, "days.log")
    assert option in error
    assert f"'{day}'" in error


def test_since_after_until_is_refused(home: Path) -> None:
    error = refused(home, "--since", "2020-09-18", "--until", "2020-09-17", "days.log")
    assert "--since" in error
    assert "--until" in error


# Clients


def test_no_exclusions_by_default(home: Path) -> None:
    report = aggregate(home, "a.log")
    assert (report["counted"], report["excluded"], report["excluded_clients"]) == (5, 0, None)
    assert "excluded" not in aggregate_in(home)
    assert report["client_classes"] == {
        "library": {"requests": 2, "bytes": 11},
        "other": {"requests": 1, "bytes": 1000},
        "scientific": {"requests": 1, "bytes": 100},
        "monitor": {"requests": 1, "bytes": 0},
    }


ALL = {"CURL", "WGET", "OBSPY", "NONE", ""}


@pytest.mark.parametrize(
    ("classes", "patterns", "left_out"),
    [
        (["library"], [], {"CURL", "WGET"}),
        (["monitor", "other"], [], {"", "NONE"}),
        (["other", "other"], [], {"NONE"}),
        (["browser"], [], set()),
        ([], ["^cURL/"], {"CURL"}),
        ([], [r"linux\b", "e{2,}|c.rl"], {"WGET", "OBSPY", "CURL"}),
        ([], ["nobody"], set()),
        (["monitor"], ["obspy"], {"", "OBSPY"}),
    ],
)
def test_payload_names_excluded_clients(
    classes: list[str], patterns: list[str], left_out: set[str], home: Path
) -> None:
    options = [f"--exclude-class={name}" for name in classes] + [f"--exclude-client={one}" for one in patterns]
    report = aggregate(home, "-o", "out", *options, "a.log")
    assert stations_in(home / "out") == ALL - left_out
    assert (report["counted"], report["excluded"]) == (5 - len(left_out), len(left_out))
    said = {"client_classes": sorted(set(classes)), "client_patterns": sorted(patterns)}
    assert aggregate_in(home / "out")["excluded"] == said == report["excluded_clients"]
    # The classes include excluded clients.
    assert sum(figures["requests"] for figures in report["client_classes"].values()) == 5
    assert sum(figures["bytes"] for figures in report["client_classes"].values()) == 1111


def test_excluded_clients_are_shown(home: Path) -> None:
    done = run("--exclude-class", "library", "a.log", cwd=home)
    shown = " ".join(done.stdout.split())
    assert "2 left out (excluded clients)" in shown
    assert "2 11 bytes library (left out)" in shown
    assert "scientific (left out)" not in shown


def test_exclusions_are_decoded(home: Path) -> None:
    """A pattern may have any characters."""
    (home / "token").write_text(TOKEN)
    pattern = 'ümläut "quoted" \\\\ <html>'
    with serve_answers(Answer(201)) as stub:
        aggregate(home, "--send-to", stub.url, "--token-file", "token", "--exclude-client", pattern, "a.log")
        (request,) = stub.received
    assert json.loads(gzip.decompress(request.body))["excluded"]["client_patterns"] == [pattern]


def test_unknown_class_lists_the_classes(home: Path) -> None:
    error = refused(home, "--exclude-class", "robots", "--exclude-class", "monitor", "a.log")
    assert "robots" in error
    assert ", ".join(user_agents.load_classes().names) in error
    error = refused(home, "--exclude-class", "b", "--exclude-class", "a", "a.log")
    assert "a, b" in error


@pytest.mark.parametrize("pattern", ["(", "*", "[a", "", ".*", "x" * 1001, "\udcff"])
def test_bad_pattern_is_refused(pattern: str, home: Path) -> None:
    assert "--exclude-client" in refused(home, "--exclude-client", "good", "--exclude-client", pattern, "a.log")


def test_own_table_of_classes_comes_first(home: Path) -> None:
    (home / "classes.toml").write_text(
        """
        [[class]]
        name = "teaching"
        patterns = ['^curl/7']
        [[class]]
        name = "scientific"
        patterns = ['^wget']
        """
    )
    report = aggregate(
        home, "--client-classes", "classes.toml", "--exclude-class", "teaching", "-o", "out", "a.log"
    )
    assert report["client_classes"]["teaching"] == {"requests": 1, "bytes": 1}
    assert report["client_classes"]["scientific"] == {"requests": 2, "bytes": 110}
    assert "library" not in report["client_classes"]
    assert "CURL" not in stations_in(home / "out")
    assert "teaching" in refused(home, "--client-classes", "classes.toml", "--exclude-class", "x", "a.log")
    refused(home, "--exclude-class", "teaching", "a.log")


def test_broken_class_table_stops_the_run(home: Path) -> None:
    (home / "classes.toml").write_text("[[class]]\nname = 'x'\npatterns = ['(']\n")
    error = refused(home, "--client-classes", "classes.toml", "a.log")
    assert "classes.toml: class x, pattern '('" in error
    assert "Traceback" not in error
    assert "missing.toml" in refused(home, "--client-classes", "missing.toml", "a.log")


# How many processes


@pytest.mark.parametrize("jobs", ["0", "-1", "two", "1.5", ""])
def test_bad_number_of_jobs_is_refused(jobs: str, home: Path) -> None:
    assert "--jobs" in refused(home, "--jobs", jobs, "a.log")


@pytest.mark.parametrize("options", [["-j", "1"], ["--jobs", "2"], ["-j100"]])
def test_more_jobs_than_parts_are_fine(options: list[str], home: Path) -> None:
    assert aggregate(home, *options, "a.log", "days.log")["counted"] == 13


# Dry runs


def read_contents(directory: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() if path.is_file() else b"" for path in directory.glob("**/*")}


def test_dry_run_writes_nothing(home: Path) -> None:
    before = read_contents(home)
    done = run("--dry-run", "-o", "deep/out", "a.log", cwd=home)
    assert (done.returncode, done.stderr) == (0, "")
    assert f"would be written: deep/out/{FILE}" in done.stdout
    dry = aggregate(home, "--dry-run", "-o", "deep/out", "a.log")
    assert read_contents(home) == before
    wet = aggregate(home, "-o", "deep/out", "a.log")
    assert (dry["dry_run"], wet["dry_run"]) == (True, False)
    assert dry | {"dry_run": False} == wet


def test_dry_run_sends_nothing(home: Path) -> None:
    (home / "token").write_text(TOKEN)
    with serve_answers(Answer(503), Answer(201)) as stub:
        to = ("--send-to", stub.url, "--token-file", "token", "--retries", "0")
        assert run(*to, "a.log", cwd=home).returncode == 3
        before = read_contents(home)
        chosen = ("--since", "2020-09-19", "days.log")
        done = run("--dry-run", *to, *chosen, cwd=home)
        assert (done.returncode, done.stderr) == (0, "")
        assert f"would be sent: {FILE} to {stub.url}" in done.stdout
        assert f"would be sent: 2020-09-19_2020-09-19.json.gz to {stub.url}" in done.stdout
        dry = aggregate(home, "--dry-run", *to, *chosen)
        # The queue is sent without a log, too.
        alone = aggregate(home, "--dry-run", *to)
        assert (alone["output"], alone["sent"]) == (None, [f"{FILE} to {stub.url}"])
        assert len(stub.received) == 1
        assert read_contents(home) == before
        wet = aggregate(home, *to, *chosen)
        assert len(stub.received) == 3
    assert [f"{one}/submit: 201 Created" for one in dry["sent"]] == wet["sent"]


def test_dry_run_skips_delivered_files(home: Path) -> None:
    (home / "token").write_text(TOKEN)
    with serve_answers(Answer(201)) as stub:
        to = ("--send-to", stub.url, "--token-file", "token")
        assert len(aggregate(home, *to, "a.log")["sent"]) == 1
        assert aggregate(home, "--dry-run", *to, "a.log")["sent"] == []
        assert aggregate(home, *to, "a.log")["sent"] == []


def test_dry_run_lists_requeued_files(home: Path) -> None:
    (home / "token").write_text(TOKEN)
    to = ("--token-file", "token", "--retries", "0", "--send-to")
    assert run(*to, find_unused_url(), "a.log", cwd=home).returncode == 3
    with serve_answers(Answer(201)) as stub:
        dry = aggregate(home, "--dry-run", "--requeue", *to, stub.url)
        assert stub.received == []
        wet = aggregate(home, "--requeue", *to, stub.url)
    assert dry["sent"] == [f"{FILE} to {stub.url}"]
    assert wet["sent"] == [f"{FILE} to {stub.url}/submit: 201 Created"]


def test_dry_run_needs_no_writable_directory(home: Path) -> None:
    with serve_answers(Answer(201)) as stub:
        done = run("--dry-run", "--send-to", stub.url, "--token", TOKEN, "-o", "/proc/none", "a.log", cwd=home)
        assert stub.received == []
    assert done.returncode == 0


@pytest.mark.parametrize("conflict", ["other content", "delivered", "answer lost"])
def test_dry_run_reports_conflicts(conflict: str, home: Path) -> None:
    (home / "token").write_text(TOKEN)
    (home / "b.log").write_bytes(encode_log(CURL))
    with serve_answers(Answer(0 if conflict == "answer lost" else 201), Answer(503)) as stub:
        to = (
            ()
            if conflict == "other content"
            else ("--send-to", stub.url, "--token-file", "token", "--retries", "0")
        )
        run(*to, "a.log", cwd=home)
        if conflict == "delivered":
            (home / FILE).unlink()
        options = [*to, "b.log"]
        before = read_contents(home)
        dry = run("--dry-run", *options, cwd=home)
        assert read_contents(home) == before
        wet = run(*options, cwd=home)
    assert dry.returncode == wet.returncode == 1
    # The real run may add messages about deliveries.
    assert dry.stderr in wet.stderr
    assert {
        "other content": "exists and has other",
        "delivered": "was sent to",
        "answer lost": "was sent to",
    }[conflict] in dry.stderr
    assert "would be written" not in dry.stdout


def test_dry_run_fails_on_unreadable_log(home: Path) -> None:
    for options in (["missing.log"], [], ["--since", "x", "a.log"], ["--networks", "missing", "a.log"]):
        dry, wet = (run(*more, "-o", "out", *options, cwd=home) for more in (["--dry-run"], []))
        assert (dry.returncode, dry.stderr) == (wet.returncode, wet.stderr)
        assert dry.returncode != 0


# Directories, patterns, names


@pytest.fixture
def tree(home: Path) -> Path:
    """A folder as it may be found on a server: logs and other things."""
    folder = home / "logs"
    (folder / "2020" / "old").mkdir(parents=True)
    (folder / ".hidden").mkdir()
    for place, user in (
        ("a.log", 1),
        ("b.log.gz", 2),
        ("2020/c.log", 3),
        ("2020/old/d.log", 4),
        (".hidden/e.log", 5),
    ):
        content = encode_log(line(userID=user))
        (folder / place).write_bytes(gzip.compress(content) if place.endswith("gz") else content)
    (folder / ".f.log").write_bytes(encode_log(line(userID=6)))
    (folder / "seiscomp.log").write_text("2020/09/18 00:00:00 [info/fdsnws] ready\n" * 100)
    (folder / "empty.log").touch()
    (folder / "picture.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(range(256)))
    (folder / "gone.log").symlink_to("nowhere")
    os.mkfifo(folder / "pipe")
    return home


def test_directory_means_all_logs_below_it(tree: Path) -> None:
    report = aggregate(tree, "-o", "out", "logs")
    assert report["files"] == ["logs/a.log", "logs/b.log.gz", "logs/2020/c.log", "logs/2020/old/d.log"]
    assert (report["counted"], report["rejected"]) == (4, 0)


@pytest.mark.parametrize(
    ("pattern", "files"),
    [
        ("logs/?.log", ["logs/a.log"]),
        ("logs/[ab].*", ["logs/a.log", "logs/b.log.gz"]),
        ("logs/2020/**/*.log", ["logs/2020/c.log", "logs/2020/old/d.log"]),
        ("logs/20*", ["logs/2020/c.log", "logs/2020/old/d.log"]),
    ],
)
def test_pattern_expands_as_in_the_shell(pattern: str, files: list[str], tree: Path) -> None:
    assert aggregate(tree, pattern)["files"] == files


@pytest.mark.parametrize("name", ["logs/*.xz", "logs/.hidden/x*", "empty"])
def test_name_without_log_is_an_error(name: str, tree: Path) -> None:
    (tree / "empty").mkdir()
    (tree / "empty" / "notes.txt").write_text("nothing\n")
    done = run("-o", "out", "a.log", name, cwd=tree)
    assert done.returncode == 1
    assert f"{name}: " in done.stderr
    assert not list(tree.glob("out/*"))


# Progress


def on_a_terminal(home: Path, *arguments: str) -> str:
    """Return what the command shows where standard error is a terminal, and nothing else is."""
    ours, theirs = pty.openpty()
    with open(ours, "rb", buffering=0) as screen:  # noqa: PTH123 - a descriptor
        env = environment(home, TERM="xterm", COLUMNS="120")
        with subprocess.Popen(
            [COMMAND, *arguments],
            cwd=home,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=theirs,
        ) as process:
            os.close(theirs)
            seen = io.BytesIO()
            # How Linux says that the other end is closed.
            with contextlib.suppress(OSError):
                while chunk := screen.read(1024):
                    seen.write(chunk)
        assert process.returncode == 0
    # Without what moves the cursor and chooses colours.
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", seen.getvalue().decode())


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a log of several parts, and one that can only be read as a whole."""
    folder = tmp_path_factory.mktemp("large")
    contents = [encode_log(*make_log.requests(seed, datetime.date(2020, 9, 18), 500)) for seed in range(43)]
    (folder / "large.log").write_bytes(b"".join(contents[3:]))
    (folder / "large.log.gz").write_bytes(gzip.compress(b"".join(contents[:3]) + b"\n", 1))
    (folder / "networks.json").write_text(json.dumps(make_log.registry()))
    return folder


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_terminal_shows_progress_and_rate(jobs: str, large: Path) -> None:
    shown = on_a_terminal(
        large, "--dry-run", "--networks", "networks.json", "-j", jobs, "large.log", "large.log.gz"
    )
    assert "reading" in shown
    assert re.search(r"[1-9][\d,]* requests/s", shown)
    assert re.search(r" [1-9]\d?% [\d,]+ requests/s 0:00:\d\d", shown)
    assert "100%" in shown
    percentages = [int(share) for share in re.findall(r"reading \W+(\d+)%", shown)]
    assert percentages == sorted(percentages)
    assert len(set(percentages)) > 2
    assert "Traceback" not in shown


def test_quiet_shows_nothing_on_a_terminal(large: Path) -> None:
    assert on_a_terminal(large, "--dry-run", "--quiet", "--networks", "networks.json", "large.log") == ""


def test_without_a_terminal_no_progress_is_shown(large: Path) -> None:
    for options in ([], ["--quiet"], ["--json"]):
        done = run("--dry-run", *options, "--networks", "networks.json", "large.log", cwd=large)
        assert (done.returncode, done.stderr) == (0, "")


def test_skipped_files_are_reported(tree: Path) -> None:
    (tree / "logs/scmaster.log").write_text("2020/09/18 00:00:00 [info/Application] started\n")
    assert "logs/scmaster.log" in aggregate(tree, "logs")["passed_over"]
    assert re.search(r"skipped \(not a request log\): logs/\S+ and \d+ more", run("logs", cwd=tree).stdout)


def test_pattern_must_not_name_a_person(home: Path) -> None:
    """It is written into what is sent."""
    assert "--exclude-client" in refused(home, "--exclude-client", "somebody@example", "a.log")


def test_jobs_are_not_those_of_a_cluster(home: Path) -> None:
    assert "--jobs is for this machine" in refused(home, "--jobs", "2", "--dask", "127.0.0.1:1", "a.log")


@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-"])
def test_closed_output_is_no_error(closed: str, home: Path) -> None:
    done = subprocess.run(
        ["sh", "-c", f'exec "$0" --quiet a.log {closed}', COMMAND], cwd=home, env=environment(home), check=False
    )
    assert done.returncode == 0
    assert (home / FILE).exists()
