"""An operator of a node with ringservers: transfer logs, an output directory, and the command `ringserverstats`."""

import gzip
import json
import re
import subprocess
from pathlib import Path
from typing import Any

import requests

from support.commands import run_command
from support.node_operator import Operator
from support.stubs import environment
from support.transfer_logs import Log, Stream

SALT = "some salt\n"


class RingOperator(Operator):
    """An operator of a node with ringservers."""

    def send(
        self, *arguments: str | Path, url: str = "", logs: Path | None = None, **env: str
    ) -> subprocess.CompletedProcess[str]:
        """Run the command without retries on a directory, by default that of all logs."""
        (self.home / "salt").write_text(SALT)
        options = ("-o", "out", "--send-to", url or self.url, "--retries", "0", "--user-salt-file", "salt")
        done = run_command(
            "ringserverstats",
            [*options, *arguments, logs or self.logs],
            folder=self.home,
            environment=environment(self.home, TOKEN=self._token, **env),
        )
        assert "Traceback" not in done.stderr, done.stderr
        return done

    def send_json(self, *arguments: str | Path, code: int = 0, **more: Any) -> Any:
        """Run the command, and return its summary."""
        done = self.send("--json", *arguments, **more)
        assert done.returncode == code, done.stderr
        return json.loads(done.stdout)

    def results(self, *arguments: str | Path, code: int = 0, **more: Any) -> dict[str, str]:
        """Run the command, and return the result of each day."""
        days = self.send_json(*arguments, code=code, **more)["days"]
        return {one["day"][5:]: re.sub(", payload [0-9]+", "", one["result"]) for one in days}

    def write(self, name: str, *records: Log) -> Path:
        """Write a log."""
        path = self.logs / name
        path.write_bytes(b"".join(record.text() for record in records))
        return path

    def write_day(self, day: int, *records: Log, server: str = "") -> Path:
        """Write the log of a day of November."""
        prefix = f"{server}-" if server else ""
        return self.write(f"{prefix}txlog-202011{day:02d}T0000-202011{day + 1:02d}T0000", *records)

    def list_payloads(self) -> list[dict[str, Any]]:
        """Return the payloads in force, without what differs between runs."""
        return [
            {"day": one["period"]["start"][8:], "source": one["source"], "rows": one["rows"]}
            for one in self.ask("payloads?kind=ringserver")["payloads"]
            if one["state"] == "in force"
        ]

    def retract_all(self) -> None:
        """Retract the payloads in force at the service."""
        headers = {"Authorization": f"Bearer {self._token}"}
        for one in self.ask("payloads?kind=ringserver")["payloads"]:
            url = f"{self.url}/payloads/{one['payload']}"
            requests.delete(url, headers=headers, timeout=60).raise_for_status()

    def read_file(self, name: str) -> Any:
        """Return an aggregate file."""
        return json.loads(gzip.decompress((self.home / "out" / name).read_bytes()))


def record(day: int, number: int = 1, direction: str = "TX") -> Log:
    """Return a record of a day in November, distinct by its number."""
    return Log(
        id=b"x" * 200,
        address=f"192.0.2.{number}",
        written=f"2020-11-{day:02d} 10:{number:02d}:00",
        connected=f"2020-11-{day:02d} 09:00:00",
        streams=(Stream("FR_SURF_00_HHZ/MSEED", 512 * number, number), Stream("soh-log", 7, 1)),
        direction=direction,
    )
