"""Commands of a user who has no account, as with `docker run --user` and on OpenShift."""

import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

_USER = 4_000_000
# The environment of the tests may be in the home directory of root.
_MAY_READ = ("--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search")

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can run programs as another user")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    os.chown(tmp_path, _USER, _USER)
    return tmp_path


def run(package: str, words: list[str | Path], folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run the command of a package with nothing but these variables in its environment."""
    program = f"from {package} import main; main()"
    command = ["setpriv", f"--reuid={_USER}", f"--regid={_USER}", "--clear-groups", *_MAY_READ]
    return subprocess.run(
        [*command, sys.executable, "-c", program, *map(str, words)],
        cwd=folder,
        env={"PATH": os.environ["PATH"], **variables},
        capture_output=True,
        text=True,
        check=False,
    )


def test_database_is_made(folder: Path) -> None:
    done = run("eida_statsman", ["db", "migrate"], folder, HOME=str(folder))
    assert (done.returncode, done.stderr) == (0, "")
    assert "applied 0001" in done.stdout
    uri = f"sqlite:///{folder / 'other.db'}"
    assert run("eida_statsman", ["db", "migrate"], folder, HOME=str(folder), DATABASE_URI=uri).returncode == 0


def test_count_has_the_number_of_the_user(folder: Path) -> None:
    for words in (["db", "migrate"], ["spaces", "add", "A"], ["spaces", "recount", "A", "20"]):
        done = run("eida_statsman", list(words), folder, HOME=str(folder))
        assert (done.returncode, done.stderr) == (0, ""), words
    (database,) = folder.rglob("statistics.db")
    with closing(sqlite3.connect(database)) as connection:
        assert connection.execute("SELECT author FROM recounts").fetchall() == [(str(_USER),)]


@pytest.mark.parametrize(
    ("package", "words"),
    [
        ("eida_statsman", ["db", "migrate"]),
        ("eida_stats_aggregator.ringserver.cli", [Path(__file__)]),
    ],
)
def test_missing_home_directory_is_named(folder: Path, package: str, words: list[str | Path]) -> None:
    done = run(package, words, folder)
    assert done.returncode == 2
    assert "HOME" in done.stderr
    assert "Traceback" not in done.stderr
    assert list(folder.iterdir()) == []
