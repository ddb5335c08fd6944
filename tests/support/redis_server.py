"""A private Redis on a unix socket, unpacked from the distribution's package if the machine lacks it."""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Self

import redis

from support.paths import ROOT
from support.processes import wait_for

_UNPACKED = ROOT / ".venv" / "redis"


class RedisServer:
    """Run a Redis that keeps nothing on disk. It has the same URL when it is started again."""

    def __init__(self) -> None:
        # The path of a socket is limited to 107 bytes.
        self._temporary = tempfile.TemporaryDirectory(prefix="eida-redis-", dir="/tmp")
        self._socket = Path(self._temporary.name) / "socket"
        self.url = f"unix://{self._socket}"
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        self._temporary.cleanup()

    @property
    def pid(self) -> int:
        """The process id of the server."""
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Start it, and wait until it answers."""
        installed = shutil.which("redis-server")
        libraries = ":".join(map(str, _UNPACKED.glob("usr/lib/*")))
        self._process = subprocess.Popen(
            [
                installed or _UNPACKED / "usr" / "bin" / "redis-server",
                *("--port", "0", "--unixsocket", self._socket, "--unixsocketperm", "700"),
                *("--save", "", "--appendonly", "no", "--dir", self._temporary.name, "--logfile", "log"),
            ],
            env={"PATH": os.environ["PATH"], "LD_LIBRARY_PATH": "" if installed else libraries},
            start_new_session=True,
        )
        wait_for(self._answers)

    def kill(self) -> None:
        """Kill it, with all that it holds."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def connect(self) -> "redis.Redis":
        """Return a client of the tests."""
        return redis.Redis.from_url(self.url, decode_responses=True)

    def _answers(self) -> bool:
        try:
            with self.connect() as client:
                return bool(client.ping())
        except redis.ConnectionError:
            return False
