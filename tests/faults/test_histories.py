"""Weeks of several nodes: growing logs, strays, several servers, kills, corrections. All is counted once.

Each history is a random sequence of actions of operators, cron jobs and accidents at a node. A model knows
all requests. The service never counts more than those; at the end it counts all of them.
"""

import contextlib
import datetime
import json
import multiprocessing
import os
import random
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import requests

from eida_stats_webservice.database import migrations
from support.dates import OCTOBER as FIRST
from support.node_operator import entry, write_log
from support.postgresql import Cluster
from support.roles import grant_service
from support.service import Service, register_nodes
from support.stores import open_store
from support.stubs import find_unused_url

HISTORIES = 60
NODES_AT_ONCE = 3
STEPS = 10
JUST_AFTER_MIDNIGHT = datetime.time(0, 0, 0, 200_000)
LATE = datetime.time(23, 50)
KILLED_WITHIN_SECONDS = 0.15


class Place(NamedTuple):
    """The node and service of a history; plain values, since another process runs it."""

    number: int
    node: str
    token: str
    url: str
    directory: str


class Log:
    """The log of a day of a server; `requests` are those written so far, `later` those that follow."""

    def __init__(self, rng: random.Random, day: datetime.date, first: int) -> None:
        self.day = day
        self.requests = [entry(day, first + number) for number in range(rng.randint(2, 8))]
        if rng.random() < 0.4:
            stray = day + datetime.timedelta(days=1)
            self.requests.append(entry(stray, first + 90, JUST_AFTER_MIDNIGHT))
        if rng.random() < 0.3:
            unfinished = day - datetime.timedelta(days=1)
            self.requests.append(entry(unfinished, first + 91, LATE, without=("finished", "status")))
        if rng.random() < 0.1:
            self.requests = [entry(day, 1, status="ERROR", bytes=first)]
        self.later = [entry(day, first + 50 + number) for number in range(rng.choice([0, 0, 0, 3]))]


class Node:
    """A node of one or two servers, its operator, and the model of the right result."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.rng = random.Random(place.number)
        self.home = Path(place.directory)
        self.servers = ["a", "b"] if self.rng.random() < 0.4 else [""]
        self.logs: dict[tuple[str, datetime.date], Log] = {}
        self.days = dict.fromkeys(self.servers, 0)
        self.sent_together: set[str] = set()
        self.fresh = 0
        self.story: list[str] = []

    # Events

    def play(self) -> None:
        """Run the history, and check it after each step."""
        steps: list[Callable[[str], None]] = [
            *[self.day_passes] * 4, *[self.cron_runs] * 4, self.cron_is_killed, self.service_is_away,
            self.log_grows, self.log_grows, self.log_is_sent_alone, self.log_is_corrected,
            self.output_directory_is_lost, self.everything_is_sent_together, self.other_directory_is_used,
        ]  # fmt: skip
        for server in self.servers:
            self.day_passes(server)
        for _ in range(STEPS):
            self.rng.choice(steps)(self.rng.choice(self.servers))
            assert self.count_stored() <= self.count_written(), "counted twice"
        self.settle()
        assert self.count_stored() == self.count_written(), "lost, or counted twice"

    def settle(self) -> None:
        """Do as the messages say, until nothing is left to decide."""
        for server in self.servers:
            for log in [log for (of, _), log in self.logs.items() if of == server and log.later]:
                self.write(server, log)
            self.run(server, "--catch-up", "--since", "all", self.folder(server))
            self.run(server, "--catch-up", "--replace", self.folder(server))
            if server in self.sent_together:
                # Correct the whole period as it was sent.
                self.run(server, "--replace", self.folder(server))
            self.run(server, "--catch-up", self.folder(server))

    def day_passes(self, server: str) -> None:
        number = self.days[server]
        self.days[server] += 1
        if self.rng.random() < 0.1:
            return  # no request, so no log
        index = self.servers.index(server)
        log = Log(self.rng, FIRST + datetime.timedelta(days=number), 100_000 * index + 100 * (number + 1))
        self.logs[server, log.day] = log
        write_log(self.path(server, log.day), log.requests)
        self.story.append(f"{server or 'node'}: log of {log.day}, {len(log.requests)} requests")

    def cron_runs(self, server: str) -> None:
        self.run(server, "--catch-up", "--since", "all", self.folder(server))

    def cron_is_killed(self, server: str) -> None:
        self.run(server, "--catch-up", "--since", "all", self.folder(server), killed=True)

    def service_is_away(self, server: str) -> None:
        self.run(server, "--catch-up", "--since", "all", self.folder(server), url=find_unused_url())

    def log_grows(self, server: str) -> None:
        for log in self.choose_log(server):
            self.write(server, log)

    def log_is_sent_alone(self, server: str) -> None:
        for log in self.choose_log(server):
            self.run(server, self.path(server, log.day))

    def log_is_corrected(self, server: str) -> None:
        for log in self.choose_log(server):
            self.run(server, "--replace", self.path(server, log.day))

    def output_directory_is_lost(self, server: str) -> None:
        for path in (self.home / f"out{server}").glob("*"):
            path.unlink()

    def everything_is_sent_together(self, server: str) -> None:
        self.sent_together.add(server)
        self.run(server, self.folder(server))

    def other_directory_is_used(self, server: str) -> None:
        self.fresh += 1
        for log in self.choose_log(server):
            self.run(server, self.path(server, log.day), directory=f"other{self.fresh}")

    # Helpers

    def choose_log(self, server: str) -> list[Log]:
        logs = [log for (of, _), log in self.logs.items() if of == server]
        return [self.rng.choice(logs)] if logs else []

    def write(self, server: str, log: Log) -> None:
        log.requests += log.later
        log.later = []
        write_log(self.path(server, log.day), log.requests)
        self.story.append(f"{server or 'node'}: log of {log.day} has {len(log.requests)} requests now")

    def folder(self, server: str) -> Path:
        return self.home / f"logs{server}"

    def path(self, server: str, day: datetime.date) -> Path:
        return self.folder(server) / f"fdsnws-requests.log.{day}.bz2"

    def count_written(self) -> int:
        return sum(len(log.requests) for log in self.logs.values())

    def count_stored(self) -> int:
        parameters = {"start": "1990-01", "format": "json", "level": "node", "node": self.place.node}
        answer = requests.get(f"{self.place.url}/dataselect/public", params=parameters, timeout=60)
        return sum(row["nb_reqs"] for row in answer.json()["results"])

    def run(self, server: str, *arguments: str | Path, **how: Any) -> None:
        """Run the command in a child process, which has already imported it and may be killed."""
        options = [str(argument) for argument in arguments]
        source = ["--source", server] if server else []
        directory = self.home / (how.get("directory") or f"out{server}")
        url = how.get("url", self.place.url)
        words = ["--json", "-o", str(directory), "--send-to", url, "--retries", "0", *source, *options]
        child = os.fork()
        if child == 0:
            self.exec_command(words)
        if how.get("killed"):
            time.sleep(self.rng.uniform(0, KILLED_WITHIN_SECONDS))
            os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        self.story.append(f"exit {os.waitstatus_to_exitcode(status)}: {' '.join([*source, *options])}")
        assert how.get("killed") or os.waitstatus_to_exitcode(status) in (0, 1, 3, 4)

    def exec_command(self, words: list[str]) -> None:
        from eida_stats_aggregator import cli  # noqa: PLC0415 - once in the process from which this one is forked

        output = os.open(self.home / "output", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        for stream in (1, 2):
            os.dup2(output, stream)
        os.environ["TOKEN"] = self.place.token
        sys.argv = ["eida_stats_aggregator", *words]
        code = 1
        try:
            cli.main()
        except SystemExit as ended:
            code = int(ended.code or 0)
        finally:
            # The forked process must not go on as a worker of the pool.
            os._exit(code)


def play(place: Place) -> str | None:
    """Run a history in this process; return an error text if anything went wrong."""
    from eida_statistics import user_agents  # noqa: PLC0415 - for the children

    user_agents.load_classes(None)  # its patterns too, compiled
    node = Node(place)
    try:
        node.play()
    except Exception:  # noqa: BLE001 - it is shown with all that led to it
        story = "\n".join(node.story)
        output = (node.home / "output").read_text(errors="replace")[-2000:]
        return f"history {place.number}:\n{story}\n{output}\n{traceback.format_exc()}"
    return None


@pytest.fixture(params=["postgresql", "sqlite"])
def uri(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "sqlite":
        made = f"sqlite:///{tmp_path / 'statistics.db'}"
        migrations.apply(made)
        yield made
        return
    with Cluster() as cluster:
        made = cluster.create_database("statistics")
        migrations.apply(made)
        yield made


@pytest.mark.long
def test_everything_is_counted_once(uri: str, tmp_path: Path, record_figure: Callable[[str], None]) -> None:
    names = [f"N{number}" for number in range(HISTORIES)]
    tokens = register_nodes(uri, *names)
    begun = time.monotonic()
    service_uri = grant_service(uri) if uri.startswith("postgresql") else uri
    with (
        Service(service_uri, tmp_path, workers=2) as service,
        ProcessPoolExecutor(NODES_AT_ONCE, multiprocessing.get_context("spawn")) as nodes,
    ):
        places = []
        for number, (name, token) in enumerate(zip(names, tokens, strict=True)):
            directory = tmp_path / name
            directory.mkdir()
            places.append(Place(number, name, token, service.url, str(directory)))
        failures = [failure for failure in nodes.map(play, places) if failure is not None]
    assert not failures, f"{len(failures)} of {HISTORIES}:\n" + "\n\n".join(failures[:3])
    with contextlib.closing(open_store(uri)) as store:
        assert [difference for *_, here in store.verification.verify() for difference in here] == []
        states = [record.state for record in store.payloads.list_payloads()]
    kinds = json.dumps({state: states.count(state) for state in sorted(set(states))})
    name, seconds = uri.partition(":")[0], time.monotonic() - begun
    record_figure(f"{HISTORIES} histories of {STEPS} steps on {name}: {seconds:.0f} s, {kinds}")
