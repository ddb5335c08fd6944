"""Warnings about what was sent, each in the run that sends it."""

from support.ring_operator import RingOperator, record
from support.transfer_logs import Log


def _cut(one: Log) -> bytes:
    return one.text().removesuffix(one.end())


def _differing(one: Log) -> bytes:
    return one.text().removesuffix(one.end()) + one.end(one.total + 1)


def _forging(one: Log) -> bytes:
    return one._replace(id=one._replace(id=b"x").text()[:150]).text()


def test_faults_are_reported_by_the_run_that_sends_them(operator: RingOperator) -> None:
    path = operator.write_day(1)
    path.write_bytes(_cut(record(1)) + _differing(record(1, 2)) + _forging(record(1, 3)) + record(1, 4).text())
    done = operator.send("--quiet")
    assert (done.returncode, done.stdout) == (4, "")
    assert done.stderr.count("warning: ") == 2
    assert "of which the complete lines were counted: 1; records with another total" in done.stderr
    assert "in the client id, perhaps to forge some: 1" in done.stderr
    operator.write_day(2, record(2))
    again = operator.send("--quiet")
    assert (again.returncode, again.stderr) == (0, "")


def test_many_rejected_lines_are_reported_once(operator: RingOperator) -> None:
    path = operator.write_day(1, *(record(1, number) for number in range(1, 4)))
    path.write_bytes(path.read_bytes() + b"END CLIENT a [192.0.2.7] total TX bytes: 1\n" * 11)
    operator.write_day(2, record(2))
    done = operator.send("--quiet")
    assert done.returncode == 4
    assert f"{path}: 11 of 15 records were rejected" in done.stderr
    assert "192.0.2.7" not in done.stderr
    operator.write_day(3, record(3))
    again = operator.send("--quiet")
    assert (again.returncode, again.stderr) == (0, "")


def test_few_rejected_lines_are_in_the_summary_only(operator: RingOperator) -> None:
    path = operator.write_day(1, record(1))
    path.write_bytes(path.read_bytes() + b"END CLIENT a [192.0.2.7] total TX bytes: 1\n" * 10)
    done = operator.send()
    assert (done.returncode, done.stderr) == (0, "")
    assert "rejected: " in done.stdout


def test_other_key_is_reported(operator: RingOperator) -> None:
    operator.write_day(1, record(1))
    operator.write("plain.txt", record(5))
    operator.send()
    (operator.home / "other").write_text("another salt")
    operator.write_day(2, record(2))
    done = operator.send("--quiet", "--user-salt-file", "other")
    assert done.returncode == 4
    assert done.stderr.count("warning: ") == 1
    assert "under another key, and were left alone: 2." in done.stderr
    assert "--since" in done.stderr
