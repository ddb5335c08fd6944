"""Weekly commands of operators: nothing is counted twice, and nothing is lost."""

import datetime
import itertools
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.dates import OCTOBER as FIRST
from support.node_operator import Operator, entries, entry, write_log
from support.postgresql import Cluster
from support.roles import grant_service
from support.service import Service, register_nodes
from support.stubs import find_unused_url

DAYS = [FIRST + datetime.timedelta(days=number) for number in range(6)]
D1, D2, D3, D4, D5, D6 = DAYS
AFTER_MIDNIGHT = datetime.time(0, 0, 0, 200_000)
LATE = datetime.time(23, 50)
_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def database(postgresql: Cluster, template: str) -> Iterator[str]:
    """Create the database of a centre. `test_overlaps.py` shows that SQLite decides alike."""
    yield postgresql.create_database("weekly_commands", template)
    postgresql.drop_database("weekly_commands")


@pytest.fixture(scope="module")
def service(database: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with Service(grant_service(database), tmp_path_factory.mktemp("log")) as running:
        yield running


@pytest.fixture
def operator(service: Service, database: str, tmp_path: Path) -> Operator:
    """Return an operator of a new node."""
    node = f"N{next(_numbers)}"
    (token,) = register_nodes(database, node)
    return Operator(tmp_path / "node", service.url, token, node)


def list_numbers(operator: Operator) -> list[int]:
    return [one["payload"] for one in operator.ask("payloads")["payloads"]]


def make_unfinished(day: datetime.date, number: int) -> dict[str, object]:
    return entry(day, number, LATE, without=("finished", "status"))


def test_correction_with_a_stray_keeps_the_next_day(operator: Operator, service: Service) -> None:
    incomplete = write_log(operator.home / "comp2.log", entries(D3, 12))
    following = write_log(operator.home / "day4.log", entries(D4, 24, 100))
    complete = write_log(operator.home / "comp3.log", entries(D3, 24), [entry(D4, 200, AFTER_MIDNIGHT)])
    assert operator.run(incomplete).returncode == 0
    assert operator.run(following).returncode == 0
    done = operator.run("--replace", complete)
    assert done.returncode == 0, done.stderr
    assert f"supersedes {list_numbers(operator)[0]}\n" in done.stdout
    assert operator.stored_requests() == 49


def test_unfinished_request_keeps_the_day_before(operator: Operator, service: Service) -> None:
    operator.run(write_log(operator.home / "d1.log", entries(D1, 20)))
    operator.run(write_log(operator.home / "d2s.log", entries(D2, 10, 100)))
    complete = write_log(operator.home / "d2.log", entries(D2, 19, 100), [make_unfinished(D1, 300)])
    refused = operator.run(complete)
    assert refused.returncode == 1
    assert "--replace" in refused.stderr
    assert operator.stored_requests() == 30
    assert operator.run("--replace", complete).returncode == 0
    assert operator.stored_requests() == 40


def test_fresh_directory_corrects_a_day_with_a_stray(operator: Operator, service: Service) -> None:
    operator.run(write_log(operator.home / "d1.log", entries(D1, 20)))
    complete = write_log(operator.home / "d2.log", entries(D2, 19, 100), [make_unfinished(D1, 300)])
    assert operator.run("--replace", complete, directory="fresh").returncode == 0
    assert operator.stored_requests() == 40
    # The service knows it by now, whatever this directory remembers.
    again = operator.run(complete, directory="even-fresher")
    assert again.returncode == 0
    assert "has these statistics already" in again.stdout
    assert operator.stored_requests() == 40


def test_growing_directory_is_refused(operator: Operator, service: Service) -> None:
    for number, day in enumerate(DAYS[:3]):
        write_log(operator.log(day, ".bz2"), entries(day, 10, 100 * number))
    assert operator.run(operator.logs).returncode == 0
    write_log(operator.log(D4, ".bz2"), entries(D4, 10, 400))
    before = sorted((operator.home / "out").iterdir())
    refused = operator.run("--quiet", operator.logs)
    assert refused.returncode == 1
    assert "--catch-up" in refused.stderr
    assert "2026-10-01_2026-10-03.json.gz" in refused.stderr
    assert sorted((operator.home / "out").iterdir()) == before
    assert operator.stored_requests() == 30
    # --catch-up sends the new day, and leaves the others.
    done = operator.run("--catch-up", operator.logs)
    assert done.returncode == 0, done.stderr
    assert operator.stored_requests() == 40


def test_shorter_log_from_another_directory_is_refused(operator: Operator, service: Service) -> None:
    operator.run(write_log(operator.log(D1), entries(D1, 20)))
    shorter = write_log(operator.home / "copy" / operator.log(D1).name, entries(D1, 12))
    refused = operator.run(shorter, directory="elsewhere")
    assert refused.returncode == 3
    assert "--replace" in refused.stderr
    assert operator.stored_requests() == 20


def test_equal_statistics_of_two_servers_both_count(operator: Operator, service: Service) -> None:
    for minute, server in enumerate(("a", "b")):
        failed = [entry(D1, 7, datetime.time(0, minute), status="ERROR")]
        log = write_log(operator.home / server / operator.log(D1).name, failed)
        done = operator.run("--suffix", server, log)
        assert done.returncode == 0, done.stderr
    assert operator.stored_requests() == 2


def test_replace_supersedes_a_part(operator: Operator, service: Service) -> None:
    """The part was sent from another directory, which this one does not know."""
    whole = write_log(operator.log(D1), entries(D1, 25))
    part = write_log(operator.home / "copy" / operator.log(D1).name, entries(D1, 12))
    assert operator.run(whole).returncode == 0
    beside = operator.run("--beside", part, directory="elsewhere")
    assert beside.returncode == 4
    whole_number, part_number = list_numbers(operator)
    assert f"counts beside payload {whole_number}" in beside.stderr
    assert operator.stored_requests() == 37
    done = operator.run("--replace", whole)
    assert done.returncode == 0, done.stderr
    assert f"supersedes {part_number}" in done.stdout
    assert operator.stored_requests() == 25


def test_catch_up_sends_a_late_log(operator: Operator, service: Service) -> None:
    write_log(operator.log(D1, ".bz2"), entries(D1, 10))
    assert operator.catch_up().returncode == 0
    # Yesterday's log is still missing.
    assert operator.catch_up().returncode == 0
    write_log(operator.log(D2, ".bz2"), entries(D2, 10, 100))
    write_log(operator.log(D3, ".bz2"), entries(D3, 10, 200))
    assert operator.catch_up().returncode == 0
    assert operator.stored_requests() == 30


def test_catch_up_retries_without_the_registry(operator: Operator, service: Service) -> None:
    temporary = [entry(D1, number, trace=None) for number in range(3)]
    for one in temporary:
        one["trace"] = [{"net": "Z3", "sta": "A", "loc": "", "cha": "BHZ", "status": "OK", "bytes": 1,
                         "start": "2016-01-01T00:00:00.0000Z"}]  # fmt: skip
    write_log(operator.log(D1, ".bz2"), temporary)
    write_log(operator.log(D2, ".bz2"), entries(D2, 10, 100))
    first = operator.catch_up(FDSN_NETWORKS_URL=find_unused_url())
    assert first.returncode == 0, first.stderr
    assert operator.stored_requests() == 10
    registry = {"networks": [{"fdsn_code": "Z3", "start_date": "2015-01-01", "end_date": "2020-01-01"}]}
    (operator.home / "networks.json").write_text(json.dumps(registry))
    assert operator.catch_up("--networks", operator.home / "networks.json").returncode == 0
    assert operator.stored_requests() == 13


def test_catch_up_retries_an_incomplete_log(operator: Operator, service: Service) -> None:
    packed = write_log(operator.log(D1, ".bz2"), entries(D1, 10)).read_bytes()
    operator.log(D1, ".bz2").write_bytes(packed[: len(packed) // 2])
    write_log(operator.log(D2, ".bz2"), entries(D2, 10, 100))
    assert operator.catch_up().returncode == 0
    assert operator.stored_requests() == 10
    operator.log(D1, ".bz2").write_bytes(packed)
    assert operator.catch_up().returncode == 0
    assert operator.stored_requests() == 20


def test_catch_up_sends_after_an_outage(operator: Operator, service: Service) -> None:
    write_log(operator.log(D1, ".bz2"), entries(D1, 10))
    assert operator.catch_up().returncode == 0
    service.stop()
    for number, day in enumerate((D2, D3, D4), 1):
        write_log(operator.log(day, ".bz2"), entries(day, 10, 100 * number))
        assert operator.catch_up().returncode == 3
    service.start()
    assert operator.catch_up().returncode == 0
    assert operator.stored_requests() == 40


def test_month_supersedes_its_days(operator: Operator, service: Service) -> None:
    for number, day in enumerate(DAYS):
        write_log(operator.log(day, ".bz2"), entries(day, 10, 100 * number))
    assert operator.catch_up().returncode == 0
    done = operator.run("--replace", operator.logs)
    assert done.returncode == 0, done.stderr
    assert f"supersedes {', '.join(map(str, list_numbers(operator)[:6]))}" in done.stdout
    assert operator.stored_requests() == 60
    # A day of it can only be corrected together with the others.
    write_log(operator.log(D2, ".bz2"), entries(D2, 11, 100))
    refused = operator.run("--replace", operator.log(D2, ".bz2"))
    assert refused.returncode == 3
    assert "run all logs of 2026-10-01 to 2026-10-06 with --replace" in refused.stderr
    assert operator.run("--replace", operator.logs).returncode == 0
    assert operator.stored_requests() == 61


def test_lost_output_directory_sends_nothing_twice(operator: Operator, service: Service) -> None:
    for number, day in enumerate(DAYS):
        write_log(operator.log(day, ".bz2"), entries(day, 10, 100 * number))
    assert operator.catch_up().returncode == 0
    for path in (operator.home / "out").iterdir():
        path.unlink()
    refused_without_since = operator.catch_up()
    assert refused_without_since.returncode == 1
    assert "--since all" in refused_without_since.stderr
    assert operator.catch_up("--since", "all").returncode == 0
    assert operator.catch_up().returncode == 0
    assert operator.stored_requests() == 60
