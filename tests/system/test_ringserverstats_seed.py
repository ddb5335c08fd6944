"""The commands by which people know `ringserverstats` work as they were published."""

import os
import re
import shlex
import socket
import subprocess
import sys
import sysconfig
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from support.paths import ROOT
from support.processes import wait_for
from support.ringserver_days import list_differences
from support.stores import ON_ONE_STORE, open_store
from support.stubs import environment, find_unused_url
from support.tables import count, select
from support.transfer_logs import Log, Stream

SEED = ROOT.parent / "shared/seeds/001_7bf44eabf726f73c.txt"
STREAM = Stream("FDSN:GE_EIL__B_H_Z/MSEED")

pytestmark = pytest.mark.skipif(not SEED.exists(), reason="the published text is not here")


def find_command(pattern: str) -> str:
    """Return the line of the published text that has a command."""
    lines = (line.strip().removeprefix("$ ") for line in SEED.read_text().splitlines())
    (line,) = {line for line in lines if re.fullmatch(pattern, line)}
    return line


def make_environment(home: Path, uri: str) -> dict[str, str]:
    path = os.pathsep.join([sysconfig.get_path("scripts"), os.environ["PATH"]])
    return environment(home, DATABASE_URI=uri, no_proxy="127.0.0.1,localhost") | {"PATH": path}


def run(command: str, folder: Path, env: dict[str, str]) -> None:
    # As a shell does, for `<` and variables in front.
    done = subprocess.run(["sh", "-ec", command], cwd=folder, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def accepts(address: tuple[str, int]) -> bool:
    with socket.socket() as client:
        return client.connect_ex(address) == 0


@contextmanager
def serve(command: Sequence[str], folder: Path, env: dict[str, str], url: str) -> Iterator[None]:
    """Run a server, and end it with its children."""
    address = ("127.0.0.1", int(url.rpartition(":")[2]))
    with (
        Path(os.devnull).open("wb") as nothing,
        subprocess.Popen(command, cwd=folder, env=env, stdout=nothing, stderr=nothing) as server,
    ):
        try:
            wait_for(lambda: accepts(address))
            yield
        finally:
            server.terminate()


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "txlogs.log").write_bytes(Log(streams=(STREAM,)).text())
    return tmp_path


def test_published_commands_store_logs(home: Path, postgresql_database: str) -> None:
    uri = postgresql_database
    env = make_environment(home, uri)
    # Today's yoyo takes -m for a pattern of names.
    apply = re.sub("postgresql://[^ ]+ -m", lambda _: f"'{uri}'", find_command("yoyo apply .*"))
    run(apply, ROOT, env)
    run(find_command("ringserverstats txlogs.log"), home, env)
    url = find_unused_url()
    port = url.rpartition(":")[2]
    words = shlex.split(find_command("gunicorn .*").replace("0.0.0.0:8000", f"127.0.0.1:{port}"))
    wget = find_command("wget .*").replace("localhost:8000", f"127.0.0.1:{port}")
    with serve(words, ROOT / "ringserverstats", env, url):
        (home / "txlogs.log").write_bytes(Log(streams=(STREAM,), address="192.0.2.99").text())
        run(f"{wget} -O receipt.json", home, env)
        http = find_command("http .*").replace("localhost:8000", f"127.0.0.1:{port}")
        run(http, home, env)
    with closing(open_store(uri)) as store:
        assert count(store, "ringserver_events") == 2
        assert select(store, "SELECT sum(bytes) FROM ringserver_by_day") == [(2048,)]
        assert list_differences(store) == []


@ON_ONE_STORE
def test_published_development_server_runs(home: Path, store_uri: str) -> None:
    url = find_unused_url()
    port = url.rpartition(":")[2]
    env = make_environment(home, store_uri) | {"FLASK_RUN_PORT": port}
    assignments, words = [], shlex.split(find_command("FLASK_ENV.*"))
    while "=" in words[0]:
        assignments.append(words.pop(0).split("=", 1))
    with serve([sys.executable, "-m", *words], ROOT / "ringserverstats/webapp", env | dict(assignments), url):
        wget = find_command("wget .*").replace("localhost:8000", f"127.0.0.1:{port}")
        run(f"{wget}/?server=rs-a -O receipt.json", home, env)
    with closing(open_store(store_uri)) as store:
        assert [one.source for one in store.payloads.list_payloads("local")] == ["rs-a"]
