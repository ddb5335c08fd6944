"""Storing transfer logs in a database with the command `ringserverstats`."""

import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from eida_stats_webservice.config import default_database_uri
from support.commands import run_command
from support.raw_logs import list_secrets
from support.ringserver_days import list_differences
from support.roles import grant_service
from support.stores import ON_ONE_STORE, ON_POSTGRESQL, Store
from support.stubs import environment, find_unused_url
from support.tables import count, select
from support.transfer_logs import REAL_TEXT, Log, Stream, read_files

REGISTRY = REAL_TEXT.parents[1] / "fdsn-networks.json"
NEEDS_REAL_LOGS = pytest.mark.skipif(not REAL_TEXT.exists(), reason="the real logs are not here")


class Home:
    """The home of an operator, who has no registry of networks."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def run(self, *words: str | Path, stdin: bytes | None = None, **env: str) -> subprocess.CompletedProcess[str]:
        done = run_command(
            "ringserverstats", words, folder=self.folder, environment=environment(self.folder, **env), stdin=stdin
        )
        assert "Traceback" not in done.stderr, done.stderr
        return done

    def run_json(self, *words: str | Path, stdin: bytes | None = None, **env: str) -> Any:
        done = self.run("--json", *words, stdin=stdin, **env)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)["stored"]


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


def test_stored_logs_are_in_force(store: Store, store_uri: str, home: Home) -> None:
    # "FR" needs the registry of networks.
    (home.folder / "networks.json").write_text('{"networks": [{"fdsn_code": "FR", "start_date": "1994-01-01"}]}')
    log = home.folder / "txlogs.log"
    log.write_bytes(Log().text())
    options = ("--networks", "networks.json")
    stored = home.run_json(*options, "--dburi", store_uri, log)
    assert (stored["node"], stored["records"], stored["bytes"]) == ("local", 1, 1024)
    assert (home.folder / ".local/share/eida-statistics/ringserver-key").exists()
    again = home.run(*options, "txlogs.log", DATABASE_URI=store_uri)
    assert (again.returncode, again.stderr) == (0, "")
    assert "0 new records" in again.stdout
    assert "stored before: 1" in again.stdout
    other = home.run_json(*options, "--server", "rs-b", "--node", "GFZ", stdin=Log().text(), DATABASE_URI=store_uri)
    assert [(one["payload"], one["source"]) for one in other["payloads"]] == [(2, "rs-b")]
    salt = home.folder / "salt"
    salt.write_text("other\n")
    refused = home.run(*options, "--user-salt-file", salt, log, DATABASE_URI=store_uri)
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "--replace" in refused.stderr
    replaced = home.run_json(
        *(*options, "--user-salt-file", salt, "--replace", "--since", "2026-11-22", "--until", "2026-11-22"),
        log,
        DATABASE_URI=store_uri,
    )
    assert [one["supersedes"] for one in replaced["payloads"]] == [1]
    assert list_differences(store) == []
    shown = "".join(one.stdout + one.stderr for one in (again, refused))
    assert [secret for secret in list_secrets([Log().text()]) if secret.decode() in shown] == []


@NEEDS_REAL_LOGS
@ON_ONE_STORE
def test_embedded_store_is_the_default(home: Home, store_uri: str, store: Store) -> None:
    store.close()
    environment_ = environment(home.folder)
    data = Path(environment_.get("XDG_DATA_HOME", home.folder / ".local/share")) / "eida-statistics"
    data.mkdir(parents=True)
    shutil.copy(store_uri.removeprefix("sqlite:///"), data / Path(default_database_uri()).name)
    logs = home.folder / "logs"
    for folder in (REAL_TEXT, REAL_TEXT.parent / "access-4.5.3"):
        shutil.copytree(folder, logs, dirs_exist_ok=True)
    # The beginning of the first line is missing.
    whole = b"".join(read_files(REAL_TEXT).values())
    cut = home.run("--rx", "--networks", REGISTRY, "--dburi", store_uri, stdin=whole[20:])
    assert (cut.returncode, "96 new records" in cut.stdout) == (0, True), cut.stderr
    done = home.run("--rx", "--networks", REGISTRY, logs)
    assert done.returncode in (0, 4), done.stderr
    assert "97 new records with 574 stream lines" in done.stdout
    assert "Other files that were skipped" in done.stdout
    printed = done.stdout + done.stderr + cut.stdout + cut.stderr
    assert [one for one in list_secrets(read_files(REAL_TEXT).values()) if one.decode("latin-1") in printed] == []


@ON_ONE_STORE
def test_unusable_databases_and_files_are_named(home: Home, store_uri: str) -> None:
    log = home.folder / "txlogs.log"
    log.write_bytes(Log().text())
    port = find_unused_url().rpartition(":")[2].partition("/")[0]
    uri = f"postgresql://user:hush-hush@127.0.0.1:{port}/statistics"
    gone = home.run(log, DATABASE_URI=uri)
    assert (gone.returncode, gone.stdout) == (3, "")
    assert "hush-hush" not in gone.stderr
    missing = home.run(log, DATABASE_URI="sqlite:////nowhere/statistics.db")
    assert (missing.returncode, "db migrate" in missing.stderr) == (1, True)
    named = home.run(log, "--dburi", "sqlite:////nowhere/statistics.db")
    assert (named.returncode, "DATABASE_URI" in named.stderr) == (1, True)
    assert home.run(log, "--dburi", "mysql://x").returncode == 2
    to_service = ["--send-to", find_unused_url(), "--token", "none"]
    for words in (
        *(["--dry-run"], ["--requeue"], ["--node", "Other"], ["--since", "2026-11-01"]),
        *([*to_service, "--node", "local"], [*to_service, "--dburi", store_uri]),
    ):
        assert home.run(*words, log, DATABASE_URI=store_uri).returncode == 2
    for content in (b"<html>\n<body>\n</body>\n", b"\x7fELF\x01\x02\x03\n" * 30, b"hello\n", b"hello"):
        log.write_bytes(content)
        refused = home.run(log, DATABASE_URI=store_uri)
        assert (refused.returncode, refused.stdout) == (1, "")


@ON_ONE_STORE
def test_prefix_that_is_no_source_is_named(home: Home, store: Store, store_uri: str) -> None:
    window = "txlog-20261121T0000-20261122T0000"
    for prefix in ("rs_b", "é", "a b", "x" * 65):
        (home.folder / f"{prefix}-{window}").write_bytes(Log().text())
        refused = home.run(home.folder / f"{prefix}-{window}", DATABASE_URI=store_uri)
        assert (refused.returncode, "--server NAME" in refused.stderr) == (2, True)
    named = home.run_json("--server", "rs-b", home.folder / f"rs_b-{window}", DATABASE_URI=store_uri)
    assert {one["source"] for one in named["payloads"]} == {"rs-b"}
    assert list_differences(store) == []


@ON_ONE_STORE
def test_damaged_log_of_a_quiet_day_is_named(home: Home, store: Store, store_uri: str) -> None:
    (home.folder / "rs-b-txlog-20201121T0000-20201122T0000").write_bytes(b"\0" * 400)
    for _ in range(2):
        done = home.run("--dburi", store_uri, "--quiet", "rs-b-txlog-20201121T0000-20201122T0000")
        assert (done.returncode, "2020-11-21 of rs-b was not stored: its log is damaged" in done.stderr) == (
            4,
            True,
        )
    assert select(store, "SELECT count(*) FROM payloads") == [(0,)]


@ON_POSTGRESQL
def test_role_without_rights_names_the_command(home: Home, store: Store, store_uri: str) -> None:
    log = home.folder / "txlogs.log"
    log.write_bytes(Log(streams=()).text())
    uri = grant_service(store_uri)
    refused = home.run("--dburi", uri, log)
    assert (refused.returncode, "nodes add local" in refused.stderr) == (1, True)
    store.registry.add_node("local", "")
    assert home.run_json("--dburi", uri, log)["records"] == 1
    assert select(store, "SELECT count(*) FROM payloads") == [(1,)]


@ON_ONE_STORE
def test_interrupted_run_stores_nothing(store: Store, store_uri: str, home: Home) -> None:
    words = [Path(sys.executable).with_name("ringserverstats"), "--dburi", store_uri]
    with subprocess.Popen(
        words, cwd=home.folder, env=environment(home.folder), stdin=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdin is not None
        # More than a pipe holds, so the command is reading.
        process.stdin.write(Log(streams=(Stream("GE_APE_00_HHZ/MSEED"),) * 20_000).text())
        process.stdin.flush()
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate()
    assert process.returncode == 1
    assert errors.decode().endswith("interrupted; the next run sends or stores what is missing\n")
    assert count(store, "payloads") == 0
