"""A private PostgreSQL for tests, benchmarks and the demo. No other server on the machine is touched."""

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
from typing import Self
from urllib.parse import quote, urlencode

import psycopg2
from psycopg2 import sql

from support.processes import list_children

OLDEST_VERSION = 15
SUPERUSER = "postgres"

_BINARIES = Path("/usr/lib/postgresql")
_EXTENSIONS = Path("/usr/share/postgresql")
# The server's system account, which its Debian packages create.
_SYSTEM_USER = "postgres"
_READY_WITHIN_SECONDS = 60.0
_STOPPED_WITHIN_SECONDS = 60.0
_LOOPBACK = "127.0.0.1"
# Connections go through the private directory, so the socket's "port" need not be free.
_SOCKET_PORT = 5432

# Safe while the machine itself stays up: the kernel has all data that a killed server had committed.
_FAST = {"fsync": "off", "full_page_writes": "off", "max_wal_size": "128MB"}
# Copying a database on disk takes several times as long, even without waiting for the disk.
_MEMORY = Path("/dev/shm")
_MEMORY_BYTES = 2 << 30


class PostgreSQLMissing(RuntimeError):
    """No PostgreSQL server with the hll extension is installed."""


class PostgreSQLFailed(RuntimeError):
    """The private PostgreSQL server failed."""


def find_binaries() -> Path:
    """Return the folder of the newest server with the hll extension, as install_postgresql.sh chooses it.

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
    """A PostgreSQL cluster in a temporary directory, which is removed when the context is left.

    It listens on a unix socket in that directory. Only this user and the server's can enter it, so connections
    need no password. Everybody on the machine can reach a loopback port, so that needs one.

    Args:
        durable: flush to disk as a production server does, for tests that kill it and for honest benchmarks.
        tcp: listen on a free port of 127.0.0.1 as well, and use it in URIs.
    """

    def __init__(self, *, durable: bool = False, tcp: bool = False) -> None:
        self._binaries = find_binaries()
        self._durable = durable
        self._password = secrets.token_hex(16)
        self._process: subprocess.Popen[bytes] | None = None
        # Not in $TMPDIR: a socket's path is limited to 107 bytes, and the server's user must reach it.
        self._temporary = tempfile.TemporaryDirectory(
            prefix="eida-postgresql-", dir="/tmp" if durable or not _is_room_in_memory() else _MEMORY
        )
        self.directory = Path(self._temporary.name)
        self._port = _free_port() if tcp else _SOCKET_PORT
        self._tcp = tcp
        # The server refuses to run as root. Other users cannot switch to another account.
        self._system_user = _SYSTEM_USER if os.geteuid() == 0 else None

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self._temporary.cleanup()
            raise
        return self

    def __exit__(self, *_: object) -> None:
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
        """The server's log since it last started."""
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
        """Shut the server down, ending open connections, and wait for it. The data stay for another start."""
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
        """Kill the server and all its processes, as a crash of the machine does."""
        process = self._running()
        if process.poll() is None:
            # A backend that outlives its postmaster could still commit. A stopped postmaster starts no new one.
            process.send_signal(signal.SIGSTOP)
            backends = list_children(process.pid)
            process.kill()
            for child in backends:
                try:
                    os.kill(child, signal.SIGKILL)
                except ProcessLookupError:
                    continue
        process.wait()
        self._process = None

    @contextmanager
    def suspend(self) -> Iterator[None]:
        """Stop all processes of the server while the context lasts: it does not even refuse connections."""
        pids = [self.pid, *list_children(self.pid)]
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
        # The URI names the port, since libpq would otherwise take it from the environment.
        place = urlencode({"host": str(self.directory), "port": self._port}, safe="/")
        return f"postgresql://{SUPERUSER}@/{quote(name, safe='')}?{place}"

    def create_database(self, name: str, template: str | None = None) -> str:
        """Create a database and return its URI. Nobody may be connected to its template."""
        # The default strategy writes all data twice, since it uses the log.
        self._administer("CREATE DATABASE {} TEMPLATE {} STRATEGY FILE_COPY", name, template or "template1")
        return self.uri(name)

    def drop_database(self, name: str) -> None:
        """Drop a database, even if clients are connected to it."""
        self._administer("DROP DATABASE {} WITH (FORCE)", name)

    def psql(self, name: str, script: str) -> str:
        """Run a script of SQL and of psql's own commands such as `\\copy`, and return the plain output.

        Raises:
            PostgreSQLFailed: with psql's error message, at the first error.
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
        # Without a locale, since machines have different ones.
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
            # The test of rights starts the service more often than a hundred times.
            "max_connections": "200",
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
                # A Ctrl-C is for the tests, which need the server while they clean up.
                start_new_session=True,
            )

    def _wait_until_ready(self, deadline: float) -> None:
        while not self._answers():
            if time.monotonic() > deadline:
                raise PostgreSQLFailed(f"It does not answer:\n{self.log[-2000:]}")
            if self._running().poll() is not None:
                # After a crash the data stay locked until the old server's last process has ended.
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
    # PGDATA, PGOPTIONS, PGSERVICE and others point to a server of the user, not to this one.
    return {key: value for key, value in os.environ.items() if not key.startswith("PG")} | {"LC_ALL": "C"}


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((_LOOPBACK, 0))
        return int(probe.getsockname()[1])
