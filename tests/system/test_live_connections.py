"""The follower of a ringserver and the service: from the lines of an access log to counts."""

import datetime
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from eida_statistics.connections import ServerStart, encode_records
from support.access_logs import CONNECT, DISCONNECT, REAL_ACCESS, write_log
from support.service import PREFIX, Service, register_nodes
from support.stubs import environment

COMMAND = Path(sys.executable).with_name("ringserverstats_follow")


class Operator:
    """An operator of node `GFZ` with a directory of access logs, and the token of another node."""

    def __init__(self, home: Path, service: Service, token: str, foreign: str) -> None:
        self.home = home
        self.service = service
        self.token = token
        self.foreign = foreign
        self.logs = home / "logs"
        self.logs.mkdir()
        (home / "key").write_text("salt\n")

    def follow_once(self, instance: str = "main") -> str:
        """Send what is new, and return the summary."""
        done = self.run(instance, self.token)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def run(self, instance: str, token: str) -> subprocess.CompletedProcess[str]:
        words = [
            *(COMMAND, self.logs, "--instance", instance, "--send-to", self.service.url, "--key-file", "key"),
            *("--state", f"{instance}.json", "--once"),
        ]
        variables = environment(self.home, TOKEN=token)
        return subprocess.run(words, cwd=self.home, env=variables, capture_output=True, text=True, check=False)

    def count(self, moment: str | None = None, space: str = "GFZ") -> object:
        root = self.service.url.removesuffix(PREFIX)
        parameters = {"space": space} | ({} if moment is None else {"timestamp": moment})
        return requests.get(f"{root}/count", params=parameters, timeout=30).json()["count"]


@pytest.fixture
def operator(tmp_path: Path, store_uri: str, service_uri: str) -> Iterator[Operator]:
    tokens = register_nodes(store_uri, "GFZ", "ODC")
    with Service(service_uri, tmp_path, workers=1) as service:
        yield Operator(tmp_path, service, *tokens)


def test_grown_and_packed_logs_count_once(operator: Operator) -> None:
    path = write_log(operator.logs, CONNECT, CONNECT)
    assert "2 new events" in operator.follow_once()
    assert operator.count() == 2
    with path.open("ab") as log:
        log.write(DISCONNECT.text())
    done = operator.run("main", operator.foreign)
    assert "it is that of node ODC, and the logs were sent for node GFZ" in done.stderr
    assert (done.returncode, operator.count(space="ODC")) == (2, None)
    operator.follow_once()
    assert operator.count() == 1
    # Without its state, it sends everything again.
    (operator.home / "main.json").unlink()
    assert "0 new events" in operator.follow_once()
    assert operator.count() == 1


def test_two_servers_with_the_same_client_have_two_sessions(operator: Operator) -> None:
    write_log(operator.logs, CONNECT, DISCONNECT)
    operator.follow_once("one")
    operator.follow_once("two")
    assert operator.count("2026-11-22T02:03:11Z") == 2
    assert operator.count() == 0


@pytest.mark.skipif(not REAL_ACCESS.exists(), reason="the real logs are not here")
def test_counts_of_real_logs(operator: Operator) -> None:
    for path in REAL_ACCESS.iterdir():
        (operator.logs / path.name).write_bytes(path.read_bytes())
    assert "177 new events" in operator.follow_once()
    # The events nearest to these moments are those before them.
    moments = [f"2026-11-22T02:{time}Z" for time in ("03:33", "05:30", "07:30", "07:50")]
    assert [operator.count(moment) for moment in moments[:3]] == [21, 0, 5]
    start = datetime.datetime(2026, 11, 22, 2, 7, 50, tzinfo=datetime.UTC)
    answer = requests.post(
        f"{operator.service.url}/connections",
        data=encode_records([ServerStart("main", start)]),
        headers={"Authorization": f"Bearer {operator.token}"},
        timeout=30,
    )
    assert answer.json() == {"status": "OK", "created": 0}
    assert [operator.count(moment) for moment in moments] == [21, 0, 5, 0]
    # The end of the logs.
    assert operator.count() == 0
