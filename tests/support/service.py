"""The real service as a process on a loopback port, payloads for it, and access to its stored data."""

import contextlib
import datetime
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator
from functools import lru_cache
from itertools import chain, islice
from pathlib import Path
from typing import Any, Self

import numpy as np
import requests

from eida_statistics import hll
from eida_stats_webservice.database.uri import parse_sqlite_path
from eida_stats_webservice.server import gunicorn_config
from support import issued
from support.postgresql import SUPERUSER
from support.processes import list_children
from support.stores import open_store

PREFIX = "/eidaws/statistics/1"
STATISTICS = "dataselect_stats"
COUNTS = ("bytes", "nb_reqs", "nb_successful_reqs", "nb_failedrequests")

_LOOPBACK = "127.0.0.1"
_COMMAND = Path(sys.executable).with_name("eida_statsman")
_READY_WITHIN_SECONDS = 60.0
_STOPPED_WITHIN_SECONDS = 45.0
_ANSWERED_WITHIN_SECONDS = 120.0

# Columns that differ between equal databases: times, the order of arrival, and values that are made on demand.
_INCIDENTAL = ("id", "created_at", "updated_at", "changed_at")
_INCIDENTAL_OF_PAYLOADS = (*_INCIDENTAL, "revision", "packed_rows")

Table = dict[tuple[Any, ...], tuple[Any, ...]]
Contents = dict[str, Table]


class ServiceFailed(RuntimeError):
    """The service failed."""


class Service:
    """Run `eida_statsman serve` on its own port, which it keeps when it is stopped and started again.

    It logs to `service.log` in the directory.

    Args:
        database_uri: a migrated database; in PostgreSQL, as the role of the service.
        directory: its home as well.
        workers: number of processes.
        threads: number in each process.
        healthy: at the start, wait until it is healthy; else until it answers.
        settings: more environment variables, such as MAX_PAYLOAD_BYTES.
    """

    def __init__(
        self,
        database_uri: str,
        directory: Path,
        *,
        workers: int = 2,
        threads: int = gunicorn_config.threads,
        healthy: bool = True,
        **settings: str,
    ) -> None:
        if f"//{SUPERUSER}@" in database_uri:
            raise ServiceFailed("It is to be tested with the rights that it is given.")
        self._healthy = healthy
        self.log_file = directory / "service.log"
        self._environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(directory),
            "DATABASE_URI": database_uri,
            **settings,
        }
        self._workers = workers
        self._sizes = ["--workers", str(workers), "--threads", str(threads)]
        self._process: subprocess.Popen[bytes] | None = None
        # Bound, but not listening: nobody else gets this port, and connections fail while the service is down.
        self._reserved = socket.socket()
        self._reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._reserved.bind((_LOOPBACK, 0))
        self._address = f"{_LOOPBACK}:{self._reserved.getsockname()[1]}"
        self.url = f"http://{self._address}{PREFIX}"

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self._reserved.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self.stop()
        finally:
            self._reserved.close()
        if leaked := issued.find_secrets(self.log):
            raise ServiceFailed(f"secrets that begin like these are in its log: {leaked}")

    @property
    def pid(self) -> int:
        """The process id of gunicorn's master, the parent of the workers."""
        if self._process is None:
            raise ServiceFailed("It does not run.")
        return self._process.pid

    @property
    def log(self) -> str:
        """The service's log, of all its runs."""
        return self.log_file.read_text(encoding="utf-8", errors="replace")

    def workers(self) -> list[int]:
        """Return the process ids of the current workers."""
        return list_children(self.pid)

    def start(self) -> None:
        """Start it, and wait until it is healthy or at least answers.

        Raises:
            ServiceFailed: with the end of its log.
        """
        if self._process is not None:
            raise ServiceFailed("It runs already.")
        with self.log_file.open("ab") as log:
            self._process = subprocess.Popen(
                [_COMMAND, "serve", "--bind", self._address, *self._sizes],
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                # A Ctrl-C is for the tests, which stop the service while they clean up.
                start_new_session=True,
            )
        try:
            self._wait_until_ready(self._process, time.monotonic() + _READY_WITHIN_SECONDS, healthy=self._healthy)
        except BaseException:
            self._kill(self._process)
            raise

    def stop(self) -> None:
        """Stop it as a supervisor does, and wait for it. It keeps its port."""
        process = self._process
        if process is None:
            return
        process.terminate()
        try:
            self._wait_until_ended(process, time.monotonic() + _STOPPED_WITHIN_SECONDS)
        except BaseException:
            self._kill(process)
            raise
        self._process = None

    def post(self, body: bytes | Iterable[bytes], token: str, **headers: str) -> requests.Response:
        """Send a payload on a new connection."""
        with requests.Session() as session:
            # Ignore a developer's proxy or netrc file.
            session.trust_env = False
            session.headers.update({"Content-Type": "application/json", "Authorization": f"Bearer {token}"})
            return session.post(f"{self.url}/submit", data=body, headers=headers, timeout=_ANSWERED_WITHIN_SECONDS)

    def get(self, path: str, **parameters: str) -> requests.Response:
        """Request a path below the prefix."""
        with requests.Session() as session:
            session.trust_env = False
            return session.get(f"{self.url}/{path}", params=parameters, timeout=_ANSWERED_WITHIN_SECONDS)

    def kill_master(self) -> None:
        """Kill gunicorn's master, which cannot end its workers then. They notice it themselves."""
        if self._process is None:
            raise ServiceFailed("It does not run.")
        self._process.kill()
        self._process.wait()
        self._process = None

    def _wait_until_ready(self, process: subprocess.Popen[bytes], deadline: float, *, healthy: bool) -> None:
        # Wait for all workers, since a test may remember their ids.
        while not (self._answers(healthy=healthy) and len(self.workers()) == self._workers):
            if process.poll() is not None:
                raise ServiceFailed(f"It does not start:\n{self.log[-2000:]}")
            if time.monotonic() > deadline:
                raise ServiceFailed(f"It does not answer:\n{self.log[-2000:]}")
            time.sleep(0.05)

    def _wait_until_ended(self, process: subprocess.Popen[bytes], deadline: float) -> None:
        while not _has_ended(process):
            if time.monotonic() > deadline:
                raise ServiceFailed(f"It does not stop:\n{self.log[-2000:]}")
            # A worker that is just starting misses the signal, which its master passes on only once.
            self._signal_workers(signal.SIGTERM)

    def _answers(self, *, healthy: bool) -> bool:
        try:
            return self.get("_health").ok or not healthy
        except requests.RequestException:
            return False

    def _kill(self, process: subprocess.Popen[bytes]) -> None:
        if process.poll() is None:
            # A stopped master starts no new workers while the current ones are killed.
            process.send_signal(signal.SIGSTOP)
            self._signal_workers(signal.SIGKILL)
            process.kill()
        process.wait()
        self._process = None

    def _signal_workers(self, number: signal.Signals) -> None:
        for worker in self.workers():
            with contextlib.suppress(ProcessLookupError):
                os.kill(worker, number)


def register_nodes(database_uri: str, *nodes: str) -> list[str]:
    """Register nodes and return a token of each."""
    now = datetime.datetime.now(tz=datetime.UTC)
    with contextlib.closing(open_store(database_uri)) as store:
        for node in nodes:
            store.registry.add_node(node, "operator@node.example")
        return [store.registry.add_token(node, now, now + datetime.timedelta(days=365))[1] for node in nodes]


class PayloadMaker:
    """Payloads over the same keys, and so over the same rows of the database, with other values each time."""

    def __init__(self, seed: int, rows: int, months: tuple[str, ...] = ("2021-03",)) -> None:
        self._rng = random.Random(seed)
        self._keys = [
            {
                "month": f"{months[number % len(months)]}-01",
                "network": f"N{number % 7}",
                "station": f"S{number // 24}",
                "location": ("", "00", "--")[number % 3],
                "channel": ("BHE", "BHN", "BHZ", "HHZ")[number // 3 % 4],
                "country": ("", "DE", "CH", "A1")[number // 5 % 4],
            }
            for number in range(rows)
        ]
        numbers = np.random.default_rng(seed)
        # Of all encodings, but mostly small, as real ones are.
        sizes = [1] * 300 + [2, 3, 5, 20, 100] * 20 + [155, 200, 500, 3000]
        self._sketches = [hll.to_hex(hll.encode(numbers.integers(-(2**31), 2**31 - 1, size))) for size in sizes]

    def make(self, *days: str, networks: Iterable[str] = ()) -> dict[str, Any]:
        """Return a payload in the wire format that covers these days; each of `networks` gets a row."""
        extra = [{**self._keys[0], "network": network} for network in networks]
        return {
            "generated_at": "2021-04-01 00:00:00",
            "version": "1.0.0",
            "days_coverage": list(days),
            "aggregation_score": 3,
            "stats": [self._row(key) for key in chain(self._keys, extra)],
        }

    def shuffle_rows(self, payload: dict[str, Any]) -> dict[str, Any]:
        """Return the same statistics with the rows in another order."""
        return {**payload, "stats": self._rng.sample(payload["stats"], len(payload["stats"]))}

    def _row(self, key: dict[str, str]) -> dict[str, Any]:
        successful, failed = self._rng.randint(1, 50), self._rng.randint(0, 5)
        return {
            **key,
            "bytes": self._rng.randrange(2**40),
            "nb_requests": successful + failed,
            "nb_successful_requests": successful,
            "nb_unsuccessful_requests": failed,
            "clients": self._rng.choice(self._sketches),
        }


@contextlib.contextmanager
def lock_nodes(database_uri: str) -> Iterator[Any]:
    """Lock all nodes, and yield a connection that sees the end of transactions whose clients are gone.

    Ingesting waits until the context is left.
    """
    with (
        contextlib.closing(open_store(database_uri)) as store,
        store.database.transaction(write=True) as connection,
    ):
        for (node,) in fetch_rows(connection, "SELECT id FROM nodes ORDER BY id"):
            store.registry._queries.lock_node(connection, node_id=node)
        yield connection


def fetch_rows(connection: Any, query: str) -> list[tuple[Any, ...]]:
    """Return the rows of a query, in either store."""
    with contextlib.closing(connection.cursor()) as cursor:
        cursor.execute(query)
        return list(cursor.fetchall())


def read_contents(database_uri: str) -> Contents:
    """Return all nodes and statistics of a database: for each table, its rows by their keys.

    The values of a row are its counts, sketch and body, in this order; all other columns are its key. Names and
    hashes replace the numbers of nodes and payloads, registers replace sketches, and times of arrival are left
    out, so that two databases can be compared.
    """
    with lock_nodes(database_uri) as connection:
        names = {
            "node_id": dict(fetch_rows(connection, "SELECT id, name FROM nodes")),
            "payload_id": dict(fetch_rows(connection, "SELECT id, hash FROM payloads")),
        }
        return {table: _table(connection, table, names) for table in _tables(connection, database_uri)}


def compute_statistics(payloads: dict[str, list[dict[str, Any]]]) -> Table:
    """Compute the `dataselect_stats` of a database that counted each of these payloads once, given by node."""
    groups = defaultdict(list)
    for node, sent in payloads.items():
        for row in chain.from_iterable(payload["stats"] for payload in sent):
            key = {name: row[name] for name in ("network", "station", "location", "channel", "country")}
            values = (
                row["bytes"],
                row["nb_requests"],
                row["nb_successful_requests"],
                row["nb_unsuccessful_requests"],
            )
            groups[_key({**key, "node_id": node, "date": row["month"]})].append(
                (*values, _registers(row["clients"]))
            )
    return _add_up(groups)


def compute_roll_ups(found: Contents) -> Contents:
    """Compute the roll-ups that belong to the statistics of a database."""
    rolled_up = {}
    for table, rows in found.items():
        if table.startswith(f"{STATISTICS}_by_"):
            columns = {name for key in rows for name, _ in key}
            groups = defaultdict(list)
            for key, values in found[STATISTICS].items():
                groups[tuple(pair for pair in key if pair[0] in columns)].append(values)
            rolled_up[table] = _add_up(groups)
    return rolled_up


def differences(one: Contents, other: Contents) -> list[str]:
    """Return the first rows in which two databases differ, in short form."""
    return [
        f"{table} {key}: {_describe(rows.get(key))} and {_describe(other[table].get(key))}"
        for table, rows in one.items()
        for key in islice((key for key in {**rows, **other[table]} if rows.get(key) != other[table].get(key)), 3)
    ]


def _has_ended(process: subprocess.Popen[bytes]) -> bool:
    try:
        process.wait(0.5)
    except subprocess.TimeoutExpired:
        return False
    return True


def _tables(connection: Any, database_uri: str) -> list[str]:
    query = (
        "SELECT tablename FROM pg_tables WHERE schemaname = 'public'"
        if parse_sqlite_path(database_uri) is None
        else "SELECT name FROM sqlite_master WHERE type = 'table'"
    )
    # Tokens differ always; the tables of yoyo and SQLite are not ours.
    return sorted(
        name
        for (name,) in fetch_rows(connection, query)
        if name != "tokens" and "yoyo" not in name and not name.startswith("sqlite")
    )


def _table(connection: Any, table: str, names: dict[str, dict[int, str]]) -> Table:
    with contextlib.closing(connection.cursor()) as cursor:
        cursor.execute(f"SELECT * FROM {table}")
        columns = [column[0] for column in cursor.description]
        fetched = [dict(zip(columns, row, strict=True)) for row in cursor.fetchall()]
    rows = {}
    incidental = _INCIDENTAL_OF_PAYLOADS if table == "payloads" else _INCIDENTAL
    for row in fetched:
        values: list[int | bytes] = [int(row.pop(column)) for column in COUNTS if column in row]
        if "clients" in row:
            values.append(_registers(row.pop("clients")))
        if "body" in row:
            values.append(bytes(row.pop("body")))
        named = {
            column: names[column][value] if column in names and value is not None else value
            for column, value in row.items()
        }
        rows[_key({column: value for column, value in named.items() if column not in incidental})] = tuple(values)
    assert len(rows) == len(fetched), f"{table} has a row twice"
    return rows


def _key(row: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(sorted((column, str(value)) for column, value in row.items()))


@lru_cache(maxsize=4096)
def _registers(sketch: str | bytes) -> bytes:
    # PostgreSQL returns sketches as text.
    sketch = hll.from_hex(sketch) if isinstance(sketch, str) else sketch
    hll.check(sketch)
    return hll.decode_registers(sketch).tobytes()


def _add_up(groups: dict[tuple[Any, ...], list[tuple[Any, ...]]]) -> Table:
    return {
        key: (
            *(sum(values[place] for values in group) for place in range(len(COUNTS))),
            np.max([np.frombuffer(values[-1], dtype=np.uint8) for values in group], axis=0).tobytes(),
        )
        for key, group in groups.items()
    }


def _describe(values: tuple[Any, ...] | None) -> str:
    if values is None:
        return "no row"
    return str(tuple(f"{sum(value)} in sum" if isinstance(value, bytes) else value for value in values))
