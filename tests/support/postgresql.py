"""A private PostgreSQL for tests, benchmarks and the demo: no server that happens to be there is touched."""

import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import quote, urlencode

import psycopg2
from psycopg2 import sql

from support.processes import children

OLDEST_VERSION = 15
SUPERUSER = "postgres"

_BINARIES = Path("/usr/lib/postgresql")
_EXTENSIONS = Path("/usr/share/postgresql")
# The server's system account, which its Debian packages create.
_SYSTEM_USER = "postgres"
_READY_WITHIN_SECONDS = 60.0
_STOPPED_WITHIN_SECONDS = 60.0
_LOOPBACK = "127.0.0.1"
# Nothing connects to the socket's "port" but through its private directory, so it needs not be free.
_SOCKET_PORT = 5432

# Safe while the machine itself stays up: what a killed server had committed is with the kernel by then.
_FAST = {"fsync": "off", "full_page_writes": "off", "max_wal_size": "128MB"}
# A disk's file system takes several times as long to copy a database, even if nothing waits for the disk.
_MEMORY = Path("/dev/shm")
_MEMORY_BYTES = 2 << 30


class PostgreSQLMissing(RuntimeError):
    """There is no PostgreSQL server with its hll extension on this machine."""


class PostgreSQLFailed(RuntimeError):
    """The private PostgreSQL server did not do as it was told."""


def find_binaries() -> Path:
    """Return the folder of the newest server that has the hll extension, as install_postgresql.sh chooses it.

    Raises:
        PostgreSQLMissing: if there is none.
    """
    versions = [
        int(initdb.parts[-3]) for initdb in _BINARIES.glob("[0-9]*/bin/initdb") if initdb.parts[-3].isdigit()
    ]
    usable = [
        version
        for version in versions
        if version >= OLDEST_VERSION and (_EXTENSIONS / str(version) / "extension" / "hll.control").is_file()
    ]
    if not usable:
        raise PostgreSQLMissing(
            f"There is no PostgreSQL {OLDEST_VERSION} or newer with the hll extension: "
            "run `make test`, or tests/install_postgresql.sh."
        )
    return _BINARIES / str(max(usable)) / "bin"


class Cluster:
    """A PostgreSQL cluster in a temporary directory of its own, which goes when the context is left.

    It listens on a unix socket in that directory, which only this user and the server's enter, so connections
    there need no password. A loopback port is open to everybody on the machine, so there is a password on it.

    Args:
        durable: flush to disk as a production server does, for tests that kill it and for honest benchmarks.
        tcp: listen on a free port of 127.0.0.1 too, and give URIs with that.
    """

    def __init__(self, *, durable: bool = False, tcp: bool = False) -> None:
        self._binaries = find_binaries()
        self._durable = durable
        self._password = secrets.token_hex(16)
        self._process: subprocess.Popen[bytes] | None = None
        # Not in $TMPDIR: a socket's path has at most 107 bytes, and the server's user must get there.
        self._temporary = tempfile.TemporaryDirectory(
            prefix="eida-postgresql-", dir="/tmp" if durable or not _is_room_in_memory() else _MEMORY
        )
        self.directory = Path(self._temporary.name)
        self._port = _free_port() if tcp else _SOCKET_PORT
        self._tcp = tcp
        # The server refuses to run as root. Another user than root cannot become anybody else.
        self._system_user = _SYSTEM_USER if os.geteuid() == 0 else None

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self._temporary.cleanup()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            self.stop()
        finally:
            self._temporary.cleanup()

    @property
    def pid(self) -> int:
        """The postmaster's process id."""
        return self._running().pid

    @property
    def log(self) -> str:
        """What the server has said since it was last started."""
        return (self.directory / "log").read_text(encoding="utf-8", errors="replace")

    def start(self) -> None:
        """Start the server, on a new cluster the first time, and wait until it answers.

        Raises:
            PostgreSQLFailed: with the end of the server's log.
        """
        if self._process is not None:
            raise PostgreSQLFailed("It runs already.")
        if not (self.directory / "data").exists():
            self._initialise()
        self._process = self._spawn_server()
        try:
            self._wait_until_ready(time.monotonic() + _READY_WITHIN_SECONDS)
        except BaseException:
            self.kill()
            raise

    def stop(self) -> None:
        """Shut the server down, ending open connections, and wait for it; the data stay for another start."""
        if self._process is None:
            return
        self._process.send_signal(signal.SIGINT)  # "fast": a "smart" shutdown would wait for every client
        try:
            self._process.wait(_STOPPED_WITHIN_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()
            raise PostgreSQLFailed(f"It had to be killed:\n{self.log[-2000:]}") from None
        self._process = None

    def kill(self) -> None:
        """End the server and all its processes without any warning, as a crash of the machine does."""
        process = self._running()
        if process.poll() is None:
            # A backend that outlives its postmaster could still commit; stopped, the postmaster makes no new one.
            process.send_signal(signal.SIGSTOP)
            backends = children(process.pid)
            process.kill()
            for child in backends:
                try:
                    os.kill(child, signal.SIGKILL)
                except ProcessLookupError:
                    continue
        process.wait()
        self._process = None

    @contextmanager
    def hanging(self) -> Iterator[None]:
        """Let the server do nothing, not even refuse, as long as the context lasts."""
        pids = [self.pid, *children(self.pid)]
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            for pid in pids:
                os.kill(pid, signal.SIGCONT)

    def uri(self, name: str) -> str:
        """Return the URI of a database, in the form that psycopg2, psql and yoyo all understand."""
        if self._tcp:
            return f"postgresql://{SUPERUSER}:{self._password}@{_LOOPBACK}:{self._port}/{quote(name, safe='')}"
        # The port is named because libpq would else take it from the environment.
        place = urlencode({"host": str(self.directory), "port": self._port}, safe="/")
        return f"postgresql://{SUPERUSER}@/{quote(name, safe='')}?{place}"

    def create_database(self, name: str, template: str | None = None) -> str:
        """Create a database and give its URI; nobody may be connected to the template that it is a copy of."""
        # The default strategy, by the log, writes all of it twice.
        self._administer("CREATE DATABASE {} TEMPLATE {} STRATEGY FILE_COPY", name, template or "template1")
        return self.uri(name)

    def drop_database(self, name: str) -> None:
        """Drop a database, whoever is still connected to it."""
        self._administer("DROP DATABASE {} WITH (FORCE)", name)

    def psql(self, name: str, script: str) -> str:
        r"""Run a script, of SQL and of psql's own commands such as `\copy`, and give what it printed, bare.

        Raises:
            PostgreSQLFailed: with psql's complaint, at the first error.
        """
        options = ["--no-psqlrc", "--quiet", "--no-align", "--tuples-only", "--set=ON_ERROR_STOP=1"]
        ran = subprocess.run(
            [str(self._binaries / "psql"), *options, f"--dbname={self.uri(name)}"],
            input=script,
            env=_environment(),
            capture_output=True,
            text=True,
            check=False,
        )
        if ran.returncode:
            raise PostgreSQLFailed(ran.stderr)
        return ran.stdout

    def _initialise(self) -> None:
        if self._system_user:
            shutil.chown(self.directory, self._system_user, self._system_user)
        password = self.directory / "password"
        password.write_text(self._password, encoding="ascii")
        if self._system_user:
            shutil.chown(password, self._system_user, self._system_user)
        options = ["--auth-local=trust", "--auth-host=scram-sha-256", f"--pwfile={password}"]
        if not self._durable:
            options.append("--no-sync")
        # Without a locale, since which ones there are differs between machines.
        made = self._spawn(
            "initdb", "--pgdata=data", f"--username={SUPERUSER}", "--encoding=UTF8", "--no-locale", *options
        )
        failed = made.wait()
        password.unlink()
        if failed:
            raise PostgreSQLFailed(f"initdb failed:\n{self.log[-2000:]}")

    def _spawn_server(self) -> subprocess.Popen[bytes]:
        settings = {
            "listen_addresses": _LOOPBACK if self._tcp else "",
            "port": str(self._port),
            "unix_socket_directories": str(self.directory),
            **({} if self._durable else _FAST),
        }
        return self._spawn("postgres", "-D", "data", *(f"--{key}={value}" for key, value in settings.items()))

    def _spawn(self, program: str, *arguments: str) -> subprocess.Popen[bytes]:
        with (self.directory / "log").open("wb") as log:
            return subprocess.Popen(
                [self._binaries / program, *arguments],
                cwd=self.directory,
                env=_environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                user=self._system_user,
                group=self._system_user,
                extra_groups=[] if self._system_user else None,
                # A Ctrl-C is for the tests, which still need the server while they clean up.
                start_new_session=True,
            )

    def _wait_until_ready(self, deadline: float) -> None:
        while not self._answers():
            if time.monotonic() > deadline:
                raise PostgreSQLFailed(f"It does not answer:\n{self.log[-2000:]}")
            if self._running().poll() is not None:
                # After a crash the data stay locked until the last of the old server's processes is gone.
                if "is still in use" not in self.log:
                    raise PostgreSQLFailed(f"It does not start:\n{self.log[-2000:]}")
                self._process = self._spawn_server()
            time.sleep(0.02)

    def _answers(self) -> bool:
        try:
            psycopg2.connect(self.uri("postgres")).close()
        except psycopg2.OperationalError:
            return False
        return True

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise PostgreSQLFailed("It does not run.")
        return self._process

    def _administer(self, statement: str, *names: str) -> None:
        with closing(psycopg2.connect(self.uri("postgres"))) as connection:
            connection.autocommit = True  # neither statement runs inside a transaction
            with connection.cursor() as cursor:
                cursor.execute(sql.SQL(statement).format(*map(sql.Identifier, names)))


def _is_room_in_memory() -> bool:
    return os.access(_MEMORY, os.W_OK) and shutil.disk_usage(_MEMORY).free >= _MEMORY_BYTES


def _environment() -> dict[str, str]:
    # PGDATA, PGOPTIONS, PGSERVICE and their like mean a server of the user's, not this one.
    return {key: value for key, value in os.environ.items() if not key.startswith("PG")} | {"LC_ALL": "C"}


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((_LOOPBACK, 0))
        return int(probe.getsockname()[1])
