"""The command with --dask on a real scheduler and workers: equal results, or a clear error."""

import asyncio
import bz2
import contextlib
import datetime
import gzip
import itertools
import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple, Self

import pytest
from distributed import Client

from eida_stats_aggregator.errors import ClusterUnavailable, WorkerLost
from support.processes import wait_for
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

DAYS = [datetime.date(2020, 10, 25) + datetime.timedelta(number) for number in range(15)]
REQUESTS = 300
LOG = "fdsnws-requests.log"
# The kinds of logs, in turn.
PACKED = ("", ".bz2", ".gz")
READY_WITHIN_SECONDS = 60.0
AT = {"SOURCE_DATE_EPOCH": "1700000000"}
# of a person who must not be found in any log
PERSON = {"userID": 77007700770077, "clientID": "Secret/1.0 (workstation)", "userEmail": "somebody@example.org"}

# Loaded by workers: reading takes long enough to be interrupted, and an error can be made that nobody foresees.
PRELOAD = """
import time
from eida_stats_aggregator.parallel import tallying

def wrapped(read):
    def slowly(log, part, tally):
        if "slow" in log.name:
            time.sleep(1 if "slowest" in log.name else 0.1)
        if "unforeseen" in log.name:
            raise ValueError(log.open().read())
        return read(log, part, tally)
    return slowly

tallying.read_part = wrapped(tallying.read_part)
"""


class State(NamedTuple):
    """The tallies and tasks of the workers, by their names."""

    held: dict[str, int]
    assigned: dict[str, int]


class Cluster:
    """A scheduler and workers on loopback ports; their output goes to files in a directory.

    A task is given up when the second worker ends that had it.
    """

    def __init__(self, directory: Path, preload: str = "") -> None:
        self.directory = directory
        self._names = (f"worker-{number}" for number in itertools.count(1))
        self.workers: dict[str, subprocess.Popen[bytes]] = {}
        (directory / "preload.py").write_text(PRELOAD)
        (directory / "scheduler.py").write_text(preload)
        self.scheduler = self._start(
            "dask_scheduler",
            "scheduler",
            "--port=0",
            f"--scheduler-file={self._file}",
            "--preload=scheduler.py",
            # If these tests are killed themselves; workers follow.
            "--idle-timeout=5m",
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill(*self.workers)
        self.scheduler.kill()
        self.scheduler.wait()

    @property
    def _file(self) -> Path:
        return self.directory / "scheduler.json"

    @property
    def address(self) -> str:
        # It is not written at once.
        wait_for(lambda: self._file.exists() and self._file.read_text().endswith("}"), seconds=READY_WITHIN_SECONDS)
        return str(json.loads(self._file.read_text())["address"])

    @property
    def said(self) -> str:
        """Return the output of the scheduler and all workers."""
        return "".join(path.read_text() for path in sorted(self.directory.glob("*.out")))

    def has(self, *threads: int) -> None:
        """Have as many workers as threads are given for them; those that are missing are started."""
        for number in threads[len(self.workers) :]:
            name = next(self._names)
            self.workers[name] = self._start(
                "dask_worker",
                name,
                f"--scheduler-file={self._file}",
                f"--name={name}",
                f"--nthreads={number}",
                "--no-nanny",
                "--memory-limit=0",
                f"--local-directory={self.directory / name}",
                "--preload=preload.py",
            )
        self.wait(lambda state: set(state.held) == set(self.workers))

    def wait(self, reached: Callable[[State], object]) -> State:
        """Wait until a state is reached, and give it."""
        return asyncio.run(self._wait(reached))

    def signal(self, number: int) -> None:
        for process in self.workers.values():
            process.send_signal(number)

    def kill(self, *names: str) -> None:
        for name in names:
            worker = self.workers.pop(name)
            worker.kill()
            worker.wait()

    def kill_one(self) -> None:
        """Kill a worker that holds tallies and has tasks; it is stopped before, so that it still does."""

        def busy(state: State) -> list[str]:
            return [name for name in self.workers if state.held.get(name) and state.assigned.get(name)]

        while True:
            name = busy(self.wait(busy))[0]
            self.workers[name].send_signal(signal.SIGSTOP)
            # Earlier messages must have arrived.
            time.sleep(0.05)
            if name in busy(self.wait(lambda _: True)):
                break
            self.workers[name].send_signal(signal.SIGCONT)
        self.kill(name)

    def _start(self, module: str, name: str, *arguments: str) -> subprocess.Popen[bytes]:
        with (self.directory / f"{name}.out").open("wb") as output:
            return subprocess.Popen(
                [
                    *(sys.executable, "-m", f"distributed.cli.{module}", "--host=127.0.0.1"),
                    *("--no-dashboard", "--dashboard-address=127.0.0.1:0", *arguments),
                ],
                cwd=self.directory,
                env=environment(self.directory, DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES="1"),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    async def _wait(self, reached: Callable[[State], object]) -> State:
        async with (
            asyncio.timeout(READY_WITHIN_SECONDS),
            Client(self.address, asynchronous=True, set_as_default=False) as client,
        ):
            while not reached(state := await _state(client)):
                await asyncio.sleep(0.01)
            return state


async def _state(client: Client) -> State:
    identity = await client.scheduler.identity(n_workers=-1)
    names = {address: worker["name"] for address, worker in identity["workers"].items()}
    held = await client.has_what()
    assigned = await client.processing()
    return State(
        {names[address]: _tallies(keys) for address, keys in held.items() if address in names},
        {names[address]: len(keys) for address, keys in assigned.items() if address in names},
    )


def _tallies(keys: Collection[str]) -> int:
    return sum(key.startswith(("_read_one", "_merge")) for key in keys)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with Cluster(tmp_path_factory.mktemp("cluster")) as running:
        yield running


@pytest.fixture
def workers(cluster: Cluster) -> Cluster:
    """Two workers; one reads two logs at once."""
    cluster.has(1, 2)
    return cluster


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Logs of some days in two months, and the registry of their networks."""
    home = tmp_path_factory.mktemp("made")
    (home / "networks.json").write_text(json.dumps(make_log.registry()))
    for number, day in enumerate(DAYS):
        entries = make_log.requests(number, day, REQUESTS, stations=40, clients=80, other_services=True)
        make_log.write(home / f"{LOG}.{day}{PACKED[number % 3]}", entries)
        if not PACKED[number % 3]:
            with (home / f"{LOG}.{day}").open("ab") as log:
                log.write(b"not a request\n" + encode_log(line(**PERSON, finished="soon")))
    return home


@pytest.fixture
def home(made: Path, tmp_path: Path) -> Path:
    """The same, under names that make workers slow, in a directory that a test may change."""
    (tmp_path / "networks.json").symlink_to(made / "networks.json")
    (tmp_path / "slow").mkdir()
    for path in made.glob(f"{LOG}.*"):
        (tmp_path / "slow" / path.name).symlink_to(path)
    return tmp_path


def files_in(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.glob("**/*.json.gz")}


def without_dask(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return run("--networks", "networks.json", "-o", "out", *arguments, cwd=home, **AT)


@contextlib.contextmanager
def running(home: Path, cluster: Cluster, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """Run the command on a cluster, in the background."""
    with subprocess.Popen(
        [COMMAND, "--dask", cluster.address, "--networks", "networks.json", "-o", "out", *arguments],
        cwd=home,
        env=environment(home, **AT),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def title(error: type[ClusterUnavailable | WorkerLost]) -> str:
    return f"eida_stats_aggregator: {error().title}: "


# The same as without


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param([f"{LOG}.{day}*" for day in DAYS], id="many logs"),
        pytest.param([f"{LOG}.{DAYS[0]}"], id="one log"),
        pytest.param(
            [
                *("--exclude-class", "monitor", "--exclude-client", "^curl/", "."),
                *("--since", str(DAYS[2]), "--until", str(DAYS[9])),
            ],
            id="some clients and days of a folder",
        ),
    ],
)
def test_cluster_run_equals_plain_run(arguments: list[str], workers: Cluster, made: Path, tmp_path: Path) -> None:
    # Relative to another directory than that of the workers.
    told = {}
    for way in ("plain", "dask"):
        there = ["--dask", workers.address] if way == "dask" else []
        told[way] = run(
            *there, "--networks", "networks.json", "--json", "-o", tmp_path / "out", *arguments, cwd=made, **AT
        )
        (tmp_path / "out").rename(tmp_path / way)
    assert (told["dask"].stderr, told["dask"].returncode) == ("", 0)
    assert told["dask"].stdout == told["plain"].stdout
    assert json.loads(told["plain"].stdout)["rejected"] > 0
    assert files_in(tmp_path / "dask") == files_in(tmp_path / "plain") != {}


def test_cluster_counts_repeats_once(workers: Cluster, tmp_path: Path) -> None:
    def request(number: int, **more: object) -> dict[str, object]:
        return line(userID=number, created=f"2020-09-17T23:59:59.{number + 1:06d}Z", **more)

    first = [request(number) for number in range(60)]
    # Two records that differ are read a third time.
    second = [request(number, status="ERROR") for number in range(20)] + [request(30, trace=[trace(sta="B")])]
    (tmp_path / "a.log").write_bytes(encode_log(*first))
    (tmp_path / "b.log.bz2").write_bytes(bz2.compress(encode_log(*second, *first[50:], *second)))
    (tmp_path / "c.log").write_bytes(encode_log(*first[:5]))
    reports = []
    for there in ([], ["--dask", workers.address]):
        told = run(*there, "--json", "--dry-run", ".", cwd=tmp_path, **AT)
        assert told.returncode == 4
        assert "57 repeated lines were counted once" in told.stderr
        reports.append(json.loads(told.stdout) | {"files": None})
    assert reports[0] == reports[1]
    assert (reports[0]["counted"], reports[0]["repeated"]) == (60, 21 + 10 + 21 + 5)
    assert reports[0]["unsuccessful_requests"] == 20


def test_stdin_may_list_logs(workers: Cluster, made: Path, tmp_path: Path) -> None:
    names = f"{LOG}.{DAYS[1]}.bz2\n{LOG}.{DAYS[2]}.gz\n".encode()
    told = run(
        "--dask", workers.address, "--networks", "networks.json", "-o", tmp_path, cwd=made, stdin=names, **AT
    )
    assert (told.returncode, told.stderr) == (0, "")
    assert list(files_in(tmp_path)) == [f"{DAYS[1]}_{DAYS[2]}.json.gz"]


def test_missing_registry_matters_if_needed(workers: Cluster, tmp_path: Path) -> None:
    (tmp_path / "a.log").write_bytes(encode_log(line(), line(userID=1)))
    (tmp_path / "b.log").write_bytes(encode_log(line(userID=2, trace=[trace(net="Z3")])))
    nowhere = {"FDSN_NETWORKS_URL": find_unused_url()}
    needless = run("--dask", workers.address, "-q", "-o", "out", "a.log", cwd=tmp_path, **nowhere)
    assert (needless.returncode, needless.stderr) == (0, "")
    told = run("--dask", workers.address, "-q", "-o", "none", "a.log", "b.log", cwd=tmp_path, **nowhere)
    plain = run("-q", "-o", "none", "a.log", "b.log", cwd=tmp_path, **nowhere)
    assert (told.returncode, told.stderr) == (plain.returncode, plain.stderr)
    assert "There is no registry of networks" in told.stderr
    assert files_in(tmp_path / "none") == {}


# Workers that end


def test_logs_of_killed_worker_are_read_again(workers: Cluster, home: Path) -> None:
    plain = without_dask(home, "--json", "slow")
    expected = files_in(home / "out")
    (home / "out").rename(home / "plain")
    with running(home, workers, "--json", "slow") as process:
        workers.kill_one()
        told, complaints = process.communicate()
    assert (process.returncode, complaints) == (0, "")
    assert told == plain.stdout
    assert files_in(home / "out") == expected
    assert "lose already computed task" in workers.said


def test_repeatedly_lost_workers_are_an_error(workers: Cluster, home: Path) -> None:
    with running(home, workers, "slow") as process:
        while process.poll() is None:
            workers.has(1, 1)
            workers.wait(lambda state: process.poll() is not None or any(state.assigned.values()))
            workers.kill(*workers.workers)
        told, complaints = process.communicate()
    assert (process.returncode, told) == (1, "")
    assert complaints.startswith(f"{title(WorkerLost)}slow/")
    assert "memory" in complaints
    assert files_in(home) == {}


def test_log_missing_at_worker_is_named(workers: Cluster, home: Path) -> None:
    gone = Path("slow", f"{LOG}.{DAYS[5]}.gz")
    workers.signal(signal.SIGSTOP)
    with running(home, workers, "slow") as process:
        workers.wait(lambda state: any(state.assigned.values()) or process.poll() is not None)
        (home / gone).unlink()
        workers.signal(signal.SIGCONT)
        told, complaints = process.communicate()
    assert (process.returncode, told) == (1, "")
    assert f"{gone}: No such file or directory" in complaints
    assert "under the same path" in complaints
    assert files_in(home) == {}


def test_interrupt_clears_the_cluster(workers: Cluster, home: Path) -> None:
    with running(home, workers, "slow") as process:
        workers.wait(lambda state: any(state.assigned.values()) and any(state.held.values()))
        process.send_signal(signal.SIGINT)
        told, complaints = process.communicate()
    assert (process.returncode, told) == (1, "")
    assert "interrupted" in complaints
    workers.wait(lambda state: not any(state.assigned.values()) and not any(state.held.values()))
    assert files_in(home) == {}


# Logs that cannot be read


def test_cluster_names_first_damaged_log(workers: Cluster, home: Path) -> None:
    # Longer than the first lines that the command itself reads, so that a worker finds the damage.
    lines = b"".join(path.read_bytes() for path in sorted(home.glob("slow/*.2???-??-??"))) * 2
    first, second = home / "slow" / "a-slowest-request.gz", home / "slow" / "b-request.gz"
    for log in (first, second):
        log.write_bytes(gzip.compress(log.name.encode() + b"\n" + lines)[:-20])
    plain = without_dask(home, "slow")
    with running(home, workers, "slow") as process:
        told, complaints = process.communicate()
    assert (process.returncode, told, complaints) == (1, plain.stdout, plain.stderr)
    assert first.name in complaints
    assert second.name in workers.said
    assert files_in(home) == {}


def test_cluster_output_quotes_no_line(workers: Cluster, tmp_path: Path) -> None:
    lines = encode_log(line(**PERSON), line(**PERSON, finished="soon"))
    (tmp_path / "a.log").write_bytes(lines)
    (tmp_path / "damaged.log.gz").write_bytes(gzip.compress(lines)[:-4])
    (tmp_path / "damaged.log.bz2").write_bytes(bz2.compress(lines)[:-4])
    (tmp_path / "unforeseen.log").write_bytes(lines)
    nowhere = {"FDSN_NETWORKS_URL": find_unused_url()}
    complaints = ""
    for log in ("a.log", "damaged.log.gz", "damaged.log.bz2", "unforeseen.log"):
        complaints += run("--dask", workers.address, "-o", "out", log, cwd=tmp_path, **nowhere).stderr
    assert f"{title(ClusterUnavailable)}unforeseen.log: ValueError\n" in complaints
    assert "Compute Failed" in workers.said
    for text in map(str, PERSON.values()):
        assert text not in complaints
        assert text not in workers.said


# No cluster


def test_lost_scheduler_is_an_error(home: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    with Cluster(tmp_path_factory.mktemp("ending")) as ending:
        ending.has(1)
        with running(home, ending, "slow") as process:
            ending.wait(lambda state: any(state.held.values()))
            ending.scheduler.kill()
            told, complaints = process.communicate(timeout=20)
    assert (process.returncode, told) == (1, "")
    assert (
        complaints
        == f"{title(ClusterUnavailable)}{ending.address}: the connection was lost\nNothing was written.\n"
    )
    assert files_in(home) == {}


def test_workers_without_aggregator_are_an_error(home: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    missing = "import sys\nsys.modules['eida_stats_aggregator'] = None\n"
    with Cluster(tmp_path_factory.mktemp("other"), missing) as other, running(home, other, "slow") as process:
        told, complaints = process.communicate(timeout=20)
    assert (process.returncode, told) == (1, "")
    assert complaints.startswith(title(ClusterUnavailable))
    assert "need this version of eida-statistics" in complaints


def test_workers_of_another_version_are_an_error(workers: Cluster, made: Path, tmp_path: Path) -> None:
    newer = (
        "from eida_stats_aggregator import cli\n"
        "from eida_stats_aggregator.parallel import dask_cluster\ndask_cluster.__version__ = '1000.0'\ncli.main()\n"
    )
    told = subprocess.run(
        [sys.executable, "-c", newer, "--dask", workers.address, "-o", tmp_path, f"{LOG}.{DAYS[0]}"],
        cwd=made,
        env=environment(tmp_path, FDSN_NETWORKS_URL=find_unused_url()),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (told.returncode, told.stdout) == (1, "")
    assert told.stderr.startswith(title(ClusterUnavailable))
    assert "and not 1000.0" in told.stderr
    assert files_in(tmp_path) == {}


def test_wrong_scheduler_address_is_an_error(made: Path, tmp_path: Path) -> None:
    with serve_answers(Answer()) as web, ThreadPoolExecutor(8) as pool:
        addresses = {
            "": "missing port number",
            "localhost": "missing port number",
            "http://localhost:8786": "unknown address scheme",
            "tls://localhost:8786": "TLS",
            find_unused_url().removeprefix("http://"): "Timed out trying to connect",
            web.url.replace("http", "tcp"): "no Dask scheduler answers",
        }
        begun = time.monotonic()
        answers = pool.map(
            lambda address: run(
                "--dask", address, "--networks", "networks.json", "-o", tmp_path, f"{LOG}.{DAYS[0]}", cwd=made
            ),
            addresses,
        )
        for (address, reason), told in zip(addresses.items(), answers, strict=True):
            assert (told.returncode, told.stdout) == (1, "")
            assert told.stderr.startswith(f"{title(ClusterUnavailable)}{address}: {reason}")
    assert time.monotonic() - begun < 30
    assert files_in(tmp_path) == {}


def test_cluster_refuses_standard_input(tmp_path: Path) -> None:
    told = run("--dask", "localhost:8786", cwd=tmp_path, stdin=encode_log(line()))
    assert told.returncode == 2
    assert "--dask cannot be used here: it reads files" in told.stderr


def test_missing_dask_says_how_to_install(tmp_path: Path) -> None:
    (tmp_path / "distributed.py").write_text("raise ModuleNotFoundError('No module named distributed')")
    (tmp_path / "a.log").write_bytes(encode_log(line()))
    # A new interpreter, which does not find the package.
    told, other = (
        subprocess.run(
            [COMMAND, *arguments, "a.log"],
            cwd=tmp_path,
            env=environment(tmp_path, PYTHONPATH=str(tmp_path)),
            capture_output=True,
            text=True,
            check=False,
        )
        for arguments in (("--dask", "localhost:8786"), ("-q", "-o", "out"))
    )
    assert (told.returncode, told.stdout) == (2, "")
    assert "pip install '.[dask]'" in told.stderr
    assert other.returncode == 0
