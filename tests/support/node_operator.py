"""An operator of a node: logs, an output directory, and the weekly commands."""

import bz2
import datetime
import json
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import requests

from support.stubs import encode_log, line, run


def entry(day: datetime.date, number: int, at: datetime.time | None = None, **more: Any) -> dict[str, Any]:
    """Return a request that is distinct by its number; by default requests are spread over the day."""
    time = datetime.datetime.combine(day, at or datetime.time(0, 1)) + datetime.timedelta(
        seconds=0 if at else number % 80_000, microseconds=number % 1_000_000
    )
    stamp = f"{time:%Y-%m-%dT%H:%M:%S.%f}Z"
    return line(**{"created": stamp, "finished": stamp, "userID": number, **more})


def entries(day: datetime.date, count: int, first: int = 0) -> list[dict[str, Any]]:
    """Return requests of a day."""
    return [entry(day, first + number) for number in range(count)]


def write_log(path: Path, *parts: Iterable[dict[str, Any]]) -> Path:
    """Write a log, compressed if its name ends in .bz2."""
    content = b"".join(encode_log(*part) for part in parts)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(bz2.compress(content) if path.suffix == ".bz2" else content)
    return path


class Operator:
    """An operator with the token of a node and an output directory."""

    def __init__(self, home: Path, url: str, token: str, node: str = "GFZ") -> None:
        self.home = home
        self.node = node
        self.url = url
        self._token = token
        self.logs = home / "logs"
        self.logs.mkdir(parents=True, exist_ok=True)

    def run(self, *arguments: str | Path, directory: str = "out", **env: str) -> subprocess.CompletedProcess[str]:
        """Run the aggregator without retries."""
        options = ("-o", directory, "--send-to", self.url, "--retries", "0")
        return run(*options, *arguments, cwd=self.home, TOKEN=self._token, **env)

    def catch_up(self, *arguments: str | Path, **env: str) -> subprocess.CompletedProcess[str]:
        """Run the command line for cron."""
        return self.run("--catch-up", "--quiet", *arguments, self.logs, **env)

    def catch_up_json(self, *arguments: str | Path) -> Any:
        """Run the command line for cron and return its summary."""
        return json.loads(self.run("--catch-up", "--json", *arguments, self.logs).stdout)

    def ask(self, path: str) -> Any:
        """Send a query of the node and return the answer."""
        headers = {"Authorization": f"Bearer {self._token}"}
        return requests.get(f"{self.url}/{path}", headers=headers, timeout=60).json()

    def stored_requests(self) -> int:
        """Return the number of requests of the node that the service counts."""
        query = f"dataselect/public?start=1990-01&format=json&level=node&node={self.node}"
        return sum(row["nb_reqs"] for row in self.ask(query)["results"])

    def log(self, day: datetime.date, suffix: str = "") -> Path:
        """Return the path of the log of a day."""
        return self.logs / f"fdsnws-requests.log.{day}{suffix}"
