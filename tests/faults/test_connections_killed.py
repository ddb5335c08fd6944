"""kill -9 of the service, its database and its Redis while doors send and clients count: no answer is wrong."""

import contextlib
import datetime
import itertools
import os
import random
import signal
import threading
import time
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import pytest
import requests

from eida_statistics.connections import Connect, Count, Disconnect, Record, encode_records
from eida_statistics.errors import EidaStatisticsError
from eida_stats_webservice.connections.intake import ConnectionIntake
from eida_stats_webservice.connections.tables import ConnectionTables
from eida_stats_webservice.database import migrations
from eida_stats_webservice.registry.models import Node
from support.doors import install_door
from support.node_client import make_node
from support.postgresql import Cluster
from support.processes import wait_for
from support.redis_server import RedisServer
from support.roles import grant_service
from support.service import PREFIX, Service
from support.stores import Store, open_store
from support.tables import select

DOORS = "AB"
NODES = ("R1", "R2")
"""Each has a ringserver."""
SPACES = (*DOORS, *NODES)
LOG_FILE = "2020-02-20T00:00:00Z-0123456789abcdef"
HALL = "hall"
"""The space that contains those of the doors."""
READERS = 4
TARGETS = (
    *("flush", "worker", "flush", "redis", "worker", "postgresql", "flush", "hang"),
    *("worker", "redis", "postgresql", "flush", "master", "flush", "redis"),
)
PAUSE_SECONDS = (0.2, 1)
WITHIN_SECONDS = 120
OLDEST_SECONDS = 2
START = datetime.datetime(2020, 2, 20, tzinfo=datetime.UTC)


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    with Cluster(durable=True) as running:
        yield running


class Step(NamedTuple):
    """A count, from when its event was first sent, and until when it may have been the current one."""

    count: int | None
    begun: float
    ended: float


class Answer(NamedTuple):
    """A count that the service returned, and when the request was sent and answered."""

    space: str
    count: int | None
    sent: float
    received: float


class Sender(ABC):
    """Sends the events of one sensor: to the service, or past it and past Redis, as commands do.

    Attributes:
        space: a public space that only this sensor changes.
        installed: the space of the sensor.
        logged: its node, and its name in the log.
        steps: the counts of the space.
    """

    def __init__(self, name: str, service: Service, intake: ConnectionIntake, node: Node, token: str) -> None:
        self.space = self.installed = name
        self.logged = (node.name, name)
        self.steps = [Step(None, 0, float("inf"))]
        self.events = 0
        self.failures = 0
        self._service = service
        self._intake = intake
        self._node = node
        self._token = token

    def send_until(self, done: threading.Event) -> None:
        """Send one event after the other, each until it is stored, and some twice."""
        rng = random.Random(self.space)
        count = 0
        while not done.is_set():
            self.events += 1
            moment = START + datetime.timedelta(seconds=self.events)
            direction, record = self.make_record(moment, rng.choice((1, 1, 1, -1)))
            begun = time.monotonic()
            for _ in range(2 if rng.random() < 0.05 else 1):
                self._store(record, passes_by=rng.random() < 0.2)
            count += direction
            self.steps[-1] = self.steps[-1]._replace(ended=time.monotonic())
            self.steps.append(Step(count, begun, float("inf")))
            time.sleep(rng.uniform(0, 0.05))

    @abstractmethod
    def make_record(self, moment: datetime.datetime, direction: int) -> tuple[int, Record]:
        """Return a record that changes the count by 1, in this direction if that is possible."""

    @abstractmethod
    def post(self, record: Record) -> requests.Response:
        """Send a record to the service."""

    def _store(self, record: Record, *, passes_by: bool) -> None:
        deadline = time.monotonic() + WITHIN_SECONDS
        while not (self._store_directly(record) if passes_by else self._send(record)):
            assert time.monotonic() < deadline
            self.failures += 1
            time.sleep(0.05)

    def _store_directly(self, record: Record) -> bool:
        try:
            self._intake.store(self._node, [record])
        except EidaStatisticsError:
            return False
        return True

    def _send(self, record: Record) -> bool:
        try:
            answer = self.post(record)
        except requests.RequestException:
            return False
        assert answer.status_code in (200, 503), answer.text
        return answer.ok

    def measure_age(self, answer: Answer) -> float:
        """Return for how long a count was no longer the current one when it was requested.

        It is infinite for a count that was not current at any time before the answer.
        """
        ages = (
            max(0, answer.sent - step.ended)
            for step in self.steps
            if step.count == answer.count and step.begun <= answer.received
        )
        return min(ages, default=float("inf"))


class Door(Sender):
    """A door, which needs no token."""

    def make_record(self, moment: datetime.datetime, direction: int) -> tuple[int, Record]:
        return direction, Count(self.space, moment, 1 if direction > 0 else -1)

    def post(self, record: Record) -> requests.Response:
        assert isinstance(record, Count)
        event = {"timestamp": f"{record.time:%FT%TZ}", "direction": str(record.direction), "dpu_id": self.space}
        return requests.post(f"{find_root(self._service)}/send", json=event, timeout=WITHIN_SECONDS)


class Ringserver(Sender):
    """The only ringserver of its node, whose space has its count."""

    def __init__(self, name: str, service: Service, intake: ConnectionIntake, node: Node, token: str) -> None:
        super().__init__(name, service, intake, node, token)
        self.installed = f"{name}/main"
        self.logged = (name, "main")
        self._open: list[Connect] = []

    def make_record(self, moment: datetime.datetime, direction: int) -> tuple[int, Record]:
        if direction < 0 and self._open:
            begun = self._open.pop(0)
            place = (begun.instance, begun.source, self.events)
            return -1, Disconnect(*place, moment, begun.time, begun.session, begun.port)
        begun = Connect("main", LOG_FILE, self.events, moment, f"{self.events:016x}", 18000)
        self._open.append(begun)
        return 1, begun

    def post(self, record: Record) -> requests.Response:
        headers = {"Authorization": f"Bearer {self._token}"}
        return requests.post(
            f"{self._service.url}/connections",
            data=encode_records([record]),
            headers=headers,
            timeout=WITHIN_SECONDS,
        )


def find_root(service: Service) -> str:
    return service.url.removesuffix(PREFIX)


def read_until(done: threading.Event, service: Service, number: int) -> list[Answer]:
    """Request counts, and return the answers."""
    paths = itertools.cycle((f"{find_root(service)}/count", f"{find_root(service)}/", f"{service.url}/count"))
    spaces = itertools.cycle(SPACES[number:] + SPACES[:number])
    found = []
    while not done.is_set():
        space = next(spaces)
        sent = time.monotonic()
        with contextlib.suppress(requests.RequestException):
            answer = requests.get(next(paths), params={"space": space}, timeout=WITHIN_SECONDS)
            assert answer.status_code in (200, 503), answer.text
            if answer.ok:
                found.append(Answer(space, answer.json()["count"], sent, time.monotonic()))
        time.sleep(0.01)
    return found


def strike(cluster: Cluster, service: Service, redis: RedisServer) -> int:
    """Kill one target after the other, and restart it. Return how often keys were found in Redis."""
    rng = random.Random(18)
    hits = 0
    for target in TARGETS:
        time.sleep(rng.uniform(*PAUSE_SECONDS))
        if target == "worker":
            with contextlib.suppress(IndexError, ProcessLookupError):
                os.kill(rng.choice(service.workers()), signal.SIGKILL)
        elif target == "master":
            service.kill_master()
            service.start()
        elif target == "postgresql":
            cluster.kill()
            cluster.start()
        elif target == "hang":
            os.kill(redis.pid, signal.SIGSTOP)
            time.sleep(rng.uniform(*PAUSE_SECONDS))
            os.kill(redis.pid, signal.SIGCONT)
        else:
            with redis.connect() as keys:
                hits += keys.info("stats")["keyspace_hits"]
                keys.config_resetstat()
                keys.flushall()
            if target == "redis":
                redis.kill()
                time.sleep(rng.uniform(0, 0.5))
                redis.start()
    return hits


@pytest.mark.long
def test_counts_are_right_despite_kills(
    cluster: Cluster, tmp_path: Path, record_figure: Callable[[str], None]
) -> None:
    uri = cluster.create_database("statistics")
    migrations.apply(uri)
    done = threading.Event()
    with closing(open_store(uri)) as store, RedisServer() as redis:
        intake = ConnectionIntake(store.database, store.registry, ConnectionTables(store.database))
        with (
            Service(grant_service(uri), tmp_path, REDIS_URL=redis.url) as service,
            ThreadPoolExecutor(len(SPACES) + READERS) as threads,
        ):
            house = install_doors(store)
            senders: dict[str, Sender] = {name: Door(name, service, intake, *house) for name in DOORS}
            senders |= {name: Ringserver(name, service, intake, *make_node(store, name)) for name in NODES}
            sending = [threads.submit(sender.send_until, done) for sender in senders.values()]
            reading = [threads.submit(read_until, done, service, number) for number in range(READERS)]
            try:
                hits = strike(cluster, service, redis)
            finally:
                done.set()
            for one in sending:
                one.result()
            answers = list(itertools.chain.from_iterable(one.result() for one in reading))
            counts = {space: int(sender.steps[-1].count or 0) for space, sender in senders.items()}
            wait_for(lambda: all(ask(service, space) == count for space, count in counts.items()))
            assert ask(service, HALL) == sum(counts[space] for space in DOORS)
        check_stored(store, senders.values())
    ages = [senders[answer.space].measure_age(answer) for answer in answers]
    assert [answer for answer, age in zip(answers, ages, strict=True) if age == float("inf")] == []
    # The keys have expired by then, so this does not depend on the speed of the machine.
    assert max(ages) <= OLDEST_SECONDS
    assert hits > 0
    record_figure(
        f"{sum(sender.events for sender in senders.values())} events of doors and ringservers,"
        f" struck {dict(Counter(TARGETS))},"
        f" {sum(sender.failures for sender in senders.values())} attempts that failed: {len(answers)} counts,"
        f" none wrong, {sum(age > 0 for age in ages)} of them old, by {max(ages):.2f} s at most"
    )


def install_doors(store: Store) -> tuple[Node, str]:
    """Install a door for each space in the hall, and return their node and its token."""
    node, token = make_node(store, "N")
    tables = ConnectionTables(store.database)
    with store.database.transaction(write=True) as connection:
        hall = tables.add_space(connection, HALL, None, node)
        for name in DOORS:
            tables.add_space(connection, name, hall, node)
    for name in DOORS:
        install_door(store, node, name, [(name, 1)])
    return node, token


def ask(service: Service, space: str) -> int:
    answer = requests.get(f"{find_root(service)}/count", params={"space": space}, timeout=WITHIN_SECONDS)
    return int(answer.json()["count"])


def check_stored(store: Store, senders: Collection[Sender]) -> None:
    """Check that each event is stored once, and that the sums are those of the events."""
    stored = select(
        store,
        "SELECT spaces.name, count(*), sum(direction), (SELECT sum(entries - exits) FROM space_days"
        " WHERE space_days.space_id = spaces.id) FROM sensor_events JOIN installations USING (sensor_id)"
        " JOIN spaces ON spaces.id = installations.space_id GROUP BY spaces.id",
    )
    found = {space: tuple(map(int, sums)) for space, *sums in stored}
    counts = {sender: sender.steps[-1].count for sender in senders}
    assert found == {sender.installed: (sender.events, count, count) for sender, count in counts.items()}
    # The log has all records, repeated or not.
    logged = select(
        store,
        "SELECT name, sensor, count(DISTINCT recorded) FROM sensor_log JOIN nodes ON nodes.id = node_id"
        " GROUP BY name, sensor",
    )
    assert set(logged) == {(*sender.logged, sender.events) for sender in senders}
