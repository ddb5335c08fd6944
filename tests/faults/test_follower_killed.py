"""`ringserverstats_follow` and the workers of the service are killed while a log grows: each event counts once."""

import contextlib
import datetime
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import requests

from support.access_logs import Line
from support.service import PREFIX, Service, register_nodes
from support.stores import ON_POSTGRESQL, open_store
from support.stubs import environment
from support.tables import count

# KILLS=100 takes some minutes.
KILLS = int(os.environ.get("KILLS", "8"))
COMMAND = Path(sys.executable).with_name("ringserverstats_follow")
BEGIN = datetime.datetime(2026, 11, 22, 2, tzinfo=datetime.UTC)


class GrowingLog:
    """Writes the lines of clients that come and go, until it is stopped. Some lines are equal, and some are cut."""

    def __init__(self, path: Path, chosen: random.Random) -> None:
        self._path = path
        self._random = chosen
        self._present: list[Line] = []
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._write)
        self.lines = 0
        self.seconds = 0

    @property
    def present(self) -> int:
        """The number of clients that are connected."""
        return len(self._present)

    def __enter__(self) -> "GrowingLog":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._thread.join()

    def _write(self) -> None:
        with self._path.open("ab", buffering=0) as file:
            while not self._stopped.wait(0.01):
                text = b"".join(self._make_line().text() for _ in range(self._random.randrange(1, 9)))
                # A reader may see a part of a line.
                cut = self._random.randrange(len(text))
                file.write(text[:cut])
                file.write(text[cut:])

    def _make_line(self) -> Line:
        self.lines += 1
        self.seconds += self._random.randrange(2)
        now = f"{BEGIN + datetime.timedelta(seconds=self.seconds):%Y-%m-%dT%H:%M:%SZ}"
        if self._present and self._random.random() < 0.45:
            line = self._present.pop(self._random.randrange(len(self._present)))
            return line._replace(event="disconnect", time=now, protocol="SeedLink")
        line = Line(time=now, connected=now, address=f"192.0.2.{self._random.randrange(4)}")
        self._present.append(line)
        return line


@ON_POSTGRESQL
def test_killed_follower_loses_and_repeats_nothing(
    tmp_path: Path, store_uri: str, service_uri: str, record_figure: Callable[[str], None]
) -> None:
    seed = random.SystemRandom().randrange(1_000_000)
    print(f"seed {seed}")
    chosen = random.Random(seed)
    (token,) = register_nodes(store_uri, "GFZ")
    logs = tmp_path / "logs"
    logs.mkdir()
    (tmp_path / "key").write_text("salt\n")
    log = GrowingLog(logs / "accesslog-20261122T0200-20261123T0200.jsonl", chosen)
    with Service(service_uri, tmp_path) as service:
        words = [
            *(COMMAND, logs, "--instance", "main", "--send-to", service.url, "--key-file", "key"),
            *("--state", "state.json", "--every", "0.1s"),
        ]
        variables = environment(tmp_path, TOKEN=token)
        with log:
            for number in range(KILLS):
                with subprocess.Popen(words, cwd=tmp_path, env=variables) as process:
                    time.sleep(chosen.uniform(0.3, 1.5))
                    if number % 2:
                        with contextlib.suppress(ProcessLookupError):
                            os.kill(chosen.choice(service.workers()), signal.SIGKILL)
                        time.sleep(chosen.uniform(0, 0.3))
                    assert process.poll() is None
                    process.kill()
        done = subprocess.run(
            [*words, "--once"], cwd=tmp_path, env=variables, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        root = service.url.removesuffix(PREFIX)
        assert requests.get(f"{root}/?space=GFZ", timeout=30).json() == {"status": "OK", "count": log.present}
    with contextlib.closing(open_store(store_uri)) as store:
        assert count(store, "sensor_events") == log.lines
    record_figure(f"a follower was killed {KILLS} times while a log grew by {log.lines:,} lines")
