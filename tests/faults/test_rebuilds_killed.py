"""kill -9 of `shards rebuild` and `shards ingest` in each step: the old shard is complete, or the new one."""

import datetime
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from support.crawls import ROOT, STARTED, describe_directory, describe_file, make_segment, write_crawl
from support.processes import read_position, wait_for
from support.shard_rows import read_rows
from support.stores import ON_POSTGRESQL, Store, open_store
from support.tables import select

COMMAND = Path(sys.executable).with_name("eida_statsman")
OLD, NEW = 20, 20_000


@pytest.fixture
def crawls(store: Store, tmp_path: Path) -> tuple[Path, Path]:
    """Ingest an old crawl into a new shard, and return it with a newer one."""
    store.registry.add_node("GFZ", "")
    store.shards.create("gfz", ROOT, "GFZ", open_paths=False)
    old = _write(tmp_path / "old.gz", OLD, STARTED)
    store.crawls.ingest("gfz", old)
    return old, _write(tmp_path / "new.gz", NEW, STARTED + datetime.timedelta(days=1))


def _write(file: Path, count: int, started: datetime.datetime) -> Path:
    first = datetime.datetime(2000, 1, 1, tzinfo=datetime.UTC)
    days = [first + datetime.timedelta(days=number) for number in range(count)]
    files = [
        describe_file(
            f"{ROOT}/{day:%Y.%j}", make_segment("GE.A..BHZ", f"{day:%Y-%m-%d}", f"{day:%Y-%m-%d}T23:59:59.99")
        )
        for day in days
    ]
    return write_crawl(
        file, [describe_directory(ROOT), *(line for lines in files for line in lines)], started=started
    )


@contextmanager
def _run(uri: str, *words: str | Path) -> Iterator[subprocess.Popen[bytes]]:
    environment = os.environ | {"DATABASE_URI": uri}
    process = subprocess.Popen([COMMAND, "shards", *words], env=environment, stdout=subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def _wait_until_half_read(process: int, file: Path, passes: int) -> None:
    """Wait until a process has read half of a file for the last time."""
    half = file.stat().st_size // 2
    for number in range(passes):
        if number:
            wait_for(lambda: read_position(process, file) < half)
        wait_for(lambda: read_position(process, file) >= half)


def _check(store: Store, old: Path, new: Path, files: int) -> None:
    """Check that the shard is complete, and that the next rebuild clears up."""
    ((count,),) = select(store, "SELECT count(*) FROM files")
    assert count == files
    assert [str(difference) for difference in store.catalogue_verification.verify()] == []
    reached = read_rows(store, "gfz", with_crawls=True)
    store.shard_rebuild.rebuild("gfz", [old if files == OLD else new])
    assert read_rows(store, "gfz", with_crawls=True) == reached
    if store.database.dialect == "postgresql":
        assert select(store, "SELECT nspname FROM pg_namespace WHERE nspname ~ '^gfz'") == [("gfz",)]


# An ingestion reads the paths first, and then the lines that have to be checked.
@pytest.mark.parametrize(("command", "passes"), [("ingest", 2), ("rebuild", 1)])
def test_killed_while_it_loads(
    store: Store, store_uri: str, crawls: tuple[Path, Path], command: str, passes: int
) -> None:
    with _run(store_uri, command, "gfz", crawls[1]) as process:
        _wait_until_half_read(process.pid, crawls[1], passes)
        if store.database.dialect == "postgresql":
            wait_for(lambda: _sees(store, "COPY staged"))
    _wait_for_end(store)
    _check(store, *crawls, OLD)


@ON_POSTGRESQL
@pytest.mark.parametrize("step", ["INSERT INTO metadata", "CREATE INDEX spi_time", "ANALYZE"])
def test_killed_while_it_builds(store: Store, store_uri: str, crawls: tuple[Path, Path], step: str) -> None:
    with _run(store_uri, "rebuild", "gfz", crawls[1]) as process:
        # A short step may pass unseen.
        wait_for(lambda: _sees(store, step) or process.poll() is not None)
    _wait_for_end(store)
    ((count,),) = select(store, "SELECT count(*) FROM files")
    _check(store, *crawls, OLD if count == OLD else NEW)


@ON_POSTGRESQL
def test_killed_while_it_swaps(store: Store, store_uri: str, crawls: tuple[Path, Path]) -> None:
    with store.database.snapshot() as connection:
        connection.cursor().execute("SELECT count(*) FROM timeline")
        with _run(store_uri, "rebuild", "gfz", crawls[1]):
            wait_for(lambda: _sees(store, "CREATE OR REPLACE VIEW"))
    _wait_for_end(store)
    _check(store, *crawls, OLD)


@ON_POSTGRESQL
def test_killed_while_it_drops(store: Store, store_uri: str, crawls: tuple[Path, Path]) -> None:
    other = open_store(store_uri)
    try:
        with other.database.snapshot() as connection:
            # Of the table itself, so that the views can be replaced.
            connection.cursor().execute("SELECT count(*) FROM gfz.timeline")
            with _run(store_uri, "rebuild", "gfz", crawls[1]):
                wait_for(lambda: _sees(store, "DROP SCHEMA IF EXISTS .gfz_old"))
                wait_for(lambda: select(store, "SELECT count(*) FROM files") == [(NEW,)])
    finally:
        other.close()
    _wait_for_end(store)
    _check(store, *crawls, NEW)


_OTHERS = "FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"


def _sees(store: Store, text: str) -> bool:
    return bool(select(store, f"SELECT 1 {_OTHERS} AND state = 'active' AND query ~ :text", text=text))


def _wait_for_end(store: Store) -> None:
    """Wait until the database has ended the session of the killed command."""
    if store.database.dialect == "postgresql":
        wait_for(lambda: select(store, f"SELECT 1 {_OTHERS} AND state <> 'idle'") == [])
