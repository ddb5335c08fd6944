"""The real commands and the deployed aggregator against the real server, on both stores."""

import contextlib
import csv
import datetime
import gzip
import http.client
import io
import itertools
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import pytest

from eida_statistics import hll
from support import reference
from support.postgresql import Cluster
from support.service import Service, differences, fetch_rows, lock_nodes, read_contents, register_nodes
from support.stores import ON_ONE_STORE, open_store
from support.stubs import encode_log, environment, line, make_log, run

NODE = "DEMO"
REQUESTS = 4000
# The deployed aggregator is slow.
FEW_REQUESTS = 700
REFUSED_BYTES = 30 * 1024 * 1024

Found = dict[tuple[str, str], tuple[int, ...]]


class Made(NamedTuple):
    """A log and the registry of its networks."""

    log: Path
    registry: Path


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return make_files(tmp_path_factory.mktemp("made"), REQUESTS)


def make_files(directory: Path, requests: int) -> Made:
    made = Made(directory / "fdsnws-requests.log.2020-11-02.bz2", directory / "networks.json")
    make_log.write(made.log, make_log.requests(5, datetime.date(2020, 11, 2), requests, stations=60))
    made.registry.write_text(json.dumps(make_log.registry()))
    return made


@pytest.fixture
def service(service_uri: str, tmp_path: Path) -> Iterator[Service]:
    with Service(service_uri, tmp_path) as running:
        yield running


def test_sent_statistics_can_be_queried(store_uri: str, service: Service, made: Made, tmp_path: Path) -> None:
    run_statsman(store_uri, tmp_path, "nodes", "add", NODE, "--contact", "operator@node.example")
    token = run_statsman(store_uri, tmp_path, "tokens", "add", NODE).stdout.strip()
    sent = run_aggregator(tmp_path, service, token, made)
    assert sent.returncode == 0, sent.stderr
    rows = read_aggregates(tmp_path)
    assert len(rows) > 100
    expected = add_up(rows)
    assert query(service, "network") == expected
    everything = query(service, "node")
    assert everything == add_up(rows, by_network=False)
    # It covers a temporary network, failed requests, and more clients than are counted exactly.
    assert {"GE", "Z32015", ""} <= {network for _, network in expected}
    assert everything[NODE, "*"][-1] > hll.EXPLICIT_MAX
    (listed,) = json.loads(run_statsman(store_uri, tmp_path, "nodes", "list", "--json").stdout)
    assert (listed["name"], listed["payloads"]) == (NODE, 1)


def test_repeated_log_is_counted_once(store_uri: str, service: Service, made: Made, tmp_path: Path) -> None:
    (token,) = register_nodes(store_uri, NODE)
    assert run_aggregator(tmp_path, service, token, made).returncode == 0
    once = read_contents(store_uri)

    # The receipt says that it was sent.
    again = run_aggregator(tmp_path, service, token, made)
    assert (again.returncode, json.loads(again.stdout)["sent"]) == (0, [])

    # Without the receipt, the service reports a duplicate.
    (receipt,) = tmp_path.glob("*.delivery")
    receipt.unlink()
    third = run_aggregator(tmp_path, service, token, made)
    assert third.returncode == 0, third.stderr
    (said,) = json.loads(third.stdout)["sent"]
    assert "409" in said
    assert "the service has these statistics already" in said
    assert list_queued(tmp_path) == []

    assert read_contents(store_uri) == once
    assert query(service, "network") == add_up(read_aggregates(tmp_path))


@ON_ONE_STORE
def test_file_waits_for_the_right_token(store_uri: str, service: Service, made: Made, tmp_path: Path) -> None:
    (token,) = register_nodes(store_uri, NODE)
    refused = run_aggregator(tmp_path, service, "no-such-token", made)
    assert refused.returncode == 3
    assert "unknown, revoked or not yet valid" in refused.stderr
    assert list_queued(tmp_path) == [service.url]
    assert count_payloads(store_uri) == 0

    sent = run_aggregator(tmp_path, service, token)
    assert sent.returncode == 0, sent.stderr
    assert len(json.loads(sent.stdout)["sent"]) == 1
    assert list_queued(tmp_path) == []
    assert query(service, "network") == add_up(read_aggregates(tmp_path))


@ON_ONE_STORE
def test_next_run_sends_after_an_outage(store_uri: str, service: Service, made: Made, tmp_path: Path) -> None:
    (token,) = register_nodes(store_uri, NODE)
    service.stop()
    down = run_aggregator(tmp_path, service, token, made)
    assert down.returncode == 3
    assert "connection refused" in down.stderr
    assert list_queued(tmp_path) == [service.url]

    service.start()
    later = run_aggregator(tmp_path, service, token)
    assert later.returncode == 0, later.stderr
    assert len(json.loads(later.stdout)["sent"]) == 1
    assert list_queued(tmp_path) == []
    assert query(service, "network") == add_up(read_aggregates(tmp_path))


def test_correction_replaces_the_payload(store_uri: str, service: Service, made: Made, tmp_path: Path) -> None:
    (token,) = register_nodes(store_uri, NODE)
    assert run_aggregator(tmp_path, service, token, made, "--exclude-class", "crawler").returncode == 0
    once = query(service, "network")

    for excluded in ("scientific", "crawler"):
        corrected = run_aggregator(tmp_path, service, token, made, "--replace", "--exclude-class", excluded)
        assert corrected.returncode == 0, corrected.stderr
        assert (len(json.loads(corrected.stdout)["sent"]), list_queued(tmp_path)) == (1, [])
        assert query(service, "network") == add_up(read_aggregates(tmp_path))

    assert query(service, "network") == once
    assert count_payloads(store_uri) == 2


@ON_ONE_STORE
def test_correction_leaves_other_servers_unchanged(
    store_uri: str, service: Service, made: Made, tmp_path: Path
) -> None:
    (token,) = register_nodes(store_uri, NODE)
    servers = {"a": "crawler", "b": "scientific"}
    for server, excluded in servers.items():
        sent = run_aggregator(
            tmp_path, service, token, made, "--suffix", server, "--beside", "--exclude-class", excluded
        )
        assert sent.returncode == 0, sent.stderr
    corrected = run_aggregator(
        tmp_path, service, token, made, "--suffix", "a", "--replace", "--exclude-class", "library"
    )
    assert (corrected.returncode, list_queued(tmp_path)) == (0, []), corrected.stderr
    assert list_states(store_uri) == ["superseded", "in force", "in force"]
    (said,) = json.loads(corrected.stdout)["sent"]
    first, _, third = list_numbers(store_uri)
    assert said.endswith(f": 201 CREATED, payload {third} of DEMO, supersedes {first}")
    assert query(service, "network") == add_up(read_aggregates(tmp_path, 2))


@ON_ONE_STORE
def test_replace_restores_a_retracted_payload(store_uri: str, service: Service, made: Made, tmp_path: Path) -> None:
    (token,) = register_nodes(store_uri, NODE)
    for server, excluded in {"a": "crawler", "b": "scientific"}.items():
        run_aggregator(tmp_path, service, token, made, "--suffix", server, "--beside", "--exclude-class", excluded)
    run_again = ("--suffix", "a", "--exclude-class", "crawler")
    run_statsman(store_uri, tmp_path, "payloads", "retract", str(list_numbers(store_uri)[0]))

    from_csv = run_aggregator(tmp_path, service, token, made, *run_again)
    assert (from_csv.returncode, json.loads(from_csv.stdout)["sent"]) == (0, [])
    assert "201 CREATED" in json.loads(from_csv.stdout)["sent_before"]
    assert list_states(store_uri) == ["retracted", "in force"]

    for answer in ("201 CREATED", "200 OK"):
        again = run_aggregator(tmp_path, service, token, made, *run_again, "--replace")
        assert (again.returncode, list_queued(tmp_path)) == (0, []), again.stderr
        assert answer in json.loads(again.stdout)["sent"][0]
        assert list_states(store_uri) == ["in force", "in force"]
    assert query(service, "network") == add_up(read_aggregates(tmp_path, 2))


@ON_ONE_STORE
def test_correction_after_a_retraction_counts(store_uri: str, service: Service, made: Made, tmp_path: Path) -> None:
    (token,) = register_nodes(store_uri, NODE)
    assert run_aggregator(tmp_path, service, token, made, "--exclude-class", "scientific").returncode == 0
    run_statsman(store_uri, tmp_path, "payloads", "retract", str(list_numbers(store_uri)[0]))
    corrected = run_aggregator(tmp_path, service, token, made, "--replace")
    assert (corrected.returncode, list_queued(tmp_path)) == (0, []), corrected.stderr
    assert list_states(store_uri) == ["retracted", "in force"]
    assert query(service, "network") == add_up(read_aggregates(tmp_path))


@ON_ONE_STORE
@pytest.mark.parametrize("choice", ["beside", "replaced"])
def test_source_next_to_whole_node_needs_a_decision(
    choice: str, store_uri: str, service: Service, made: Made, tmp_path: Path
) -> None:
    (token,) = register_nodes(store_uri, NODE)
    (one := tmp_path / "one").mkdir()
    (other := tmp_path / "other").mkdir()
    assert run_aggregator(one, service, token, made, "--exclude-class", "crawler").returncode == 0
    (first,) = list_numbers(store_uri)

    second_server = (other, service, token, made, "--source", "s2", "--exclude-class", "library")
    for options in ([], ["--replace"]):
        refused = run_aggregator(*second_server, *options)
        assert refused.returncode == 3
        assert f"the service has payload {first} for 2020-11-02" in refused.stderr
        assert "An empty source is the whole node" in refused.stderr
        assert (list_states(store_uri), list_queued(other)) == (["in force"], [])

    if choice == "replaced":
        chosen = run_aggregator(*second_server, "--replaces", str(first))
        expected, counted, code = ["superseded", "in force"], read_aggregates(other), 0
    else:
        chosen = run_aggregator(*second_server, "--beside")
        expected, counted, code = ["in force", "in force"], [*read_aggregates(one), *read_aggregates(other)], 4
    assert (chosen.returncode, list_queued(other)) == (code, []), chosen.stderr
    (said,) = json.loads(chosen.stdout)["sent"]
    assert (f"supersedes {first}" in said) is (choice == "replaced")
    assert (f"counts beside payload {first}" in said) is (choice == "beside")
    assert list_states(store_uri) == expected
    assert query(service, "network") == add_up(counted)


@ON_ONE_STORE
def test_replace_without_a_predecessor_is_stored(
    store_uri: str, service: Service, made: Made, tmp_path: Path
) -> None:
    (token,) = register_nodes(store_uri, NODE)
    sent = run_aggregator(tmp_path, service, token, made, "--suffix", "s2", "--replace")
    assert (sent.returncode, list_states(store_uri)) == (0, ["in force"]), sent.stderr


@ON_ONE_STORE
def test_replace_without_receipts_names_predecessor(
    store_uri: str, service: Service, made: Made, tmp_path: Path
) -> None:
    (token,) = register_nodes(store_uri, NODE)
    run_aggregator(tmp_path, service, token, made, "--exclude-class", "scientific")
    (first,) = list_numbers(store_uri)
    for file in tmp_path.glob("20*"):
        file.unlink()
    corrected = run_aggregator(tmp_path, service, token, made, "--replace")
    assert json.loads(corrected.stdout)["sent"][0].endswith(f", supersedes {first}")
    assert list_states(store_uri) == ["superseded", "in force"]


@ON_ONE_STORE
@pytest.mark.parametrize(("suffix", "restored"), [("", "nothing"), ("b", "an older state")])
def test_correction_after_a_restored_backup_counts(
    suffix: str, restored: str, store_uri: str, service: Service, made: Made, tmp_path: Path
) -> None:
    (token,) = register_nodes(store_uri, NODE)
    server = ("--suffix", suffix, "--replace", "--exclude-class")
    run_aggregator(tmp_path, service, token, made, *server, "crawler")
    run_aggregator(tmp_path, service, token, made, *server, "scientific")
    first, second = list_numbers(store_uri)
    lost = (first, second) if restored == "nothing" else (second,)
    with lock_nodes(store_uri) as connection, contextlib.closing(connection.cursor()) as cursor:
        cursor.execute(f"UPDATE payloads SET withdrawn_at = NULL, superseded_by = NULL WHERE id = {first}")
        for number in lost:
            cursor.execute(f"DELETE FROM payload_days WHERE payload_id = {number}")
            cursor.execute(f"DELETE FROM payloads WHERE id = {number}")
    run_statsman(store_uri, tmp_path, "payloads", "replay")

    corrected = run_aggregator(tmp_path, service, token, made, *server, "library")
    assert (corrected.returncode, list_queued(tmp_path)) == (0, []), corrected.stderr
    (said,) = json.loads(corrected.stdout)["sent"]
    assert (f"supersedes {first}" in said) is (restored != "nothing")
    assert list_states(store_uri)[-1] == "in force"
    assert query(service, "network") == add_up(read_aggregates(tmp_path))
    # From now on the centre knows it again.
    again = run_aggregator(tmp_path, service, token, made, *server, "monitor")
    assert (again.returncode, again.stderr) == (0, "")
    assert query(service, "network") == add_up(read_aggregates(tmp_path))


@ON_ONE_STORE
def test_month_is_corrected_as_a_whole(store_uri: str, service: Service, made: Made, tmp_path: Path) -> None:
    (token,) = register_nodes(store_uri, NODE)
    (earlier := tmp_path / "earlier").mkdir()
    days = [f"2020-11-{day:02}" for day in range(1, 31)]
    for number, folder in enumerate((earlier, tmp_path)):
        lines = [line(finished=f"{day}T12:00:00Z", userID=number) for day in days]
        (folder / "month.log").write_bytes(encode_log(*lines))
    assert run_aggregator(earlier, service, token, Made(earlier / "month.log", made.registry)).returncode == 0
    (month,) = list_numbers(store_uri)

    refused = run_aggregator(tmp_path, service, token, made, "--replace")
    assert refused.returncode == 3
    assert f"payload {month} for 2020-11-01 to 2020-11-30" in refused.stderr
    assert "run all logs of 2020-11-01 to 2020-11-30 with --replace" in refused.stderr

    whole = ("--replace", "--since", days[0], "--until", days[-1])
    unclear = run_aggregator(tmp_path, service, token, Made(tmp_path / "month.log", made.registry), "--replace")
    assert unclear.returncode == 1
    assert "--since DAY --until DAY" in unclear.stderr
    corrected = run_aggregator(tmp_path, service, token, Made(tmp_path / "month.log", made.registry), *whole)
    assert corrected.returncode == 0, corrected.stderr
    # The queued day is part of the month.
    assert run_aggregator(tmp_path, service, token).returncode == 0
    assert f"supersedes {month}" in json.loads(corrected.stdout)["sent"][0]
    assert list_states(store_uri) == ["superseded", "in force"]
    (tmp_path / "2020-11-02_2020-11-02.json.gz").unlink()
    assert query(service, "network") == add_up(read_aggregates(tmp_path))


@ON_ONE_STORE
def test_unknown_payload_in_replaces_is_reported(
    store_uri: str, service: Service, made: Made, tmp_path: Path
) -> None:
    (token,) = register_nodes(store_uri, NODE)
    run_aggregator(tmp_path, service, token, made, "--exclude-class", "crawler")
    corrected = (tmp_path, service, token, made, "--exclude-class", "library")
    refused = run_aggregator(*corrected, "--replaces", "987654")
    assert refused.returncode == 3
    assert "There is no such payload: 987654" in refused.stderr
    done = run_aggregator(*corrected, "--replace")
    assert (done.returncode, list_queued(tmp_path)) == (0, []), done.stderr
    assert list_states(store_uri) == ["superseded", "in force"]


@ON_ONE_STORE
def test_deployed_aggregator_sends_the_same_payload(store_uri: str, service: Service, tmp_path: Path) -> None:
    made = make_files(tmp_path, FEW_REQUESTS)
    (token,) = register_nodes(store_uri, NODE)
    (deployed_folder := tmp_path / "theirs").mkdir()
    (own_folder := tmp_path / "ours").mkdir()
    said = run_deployed_aggregator(deployed_folder, service, token, made)
    assert json.loads(said)["node"] == NODE
    once = read_contents(store_uri)
    assert count_payloads(store_uri) == 1
    assert query(service, "network") == add_up(read_aggregates(deployed_folder))

    sent = run_aggregator(own_folder, service, token, made)
    assert sent.returncode == 0, sent.stderr
    assert "409" in json.loads(sent.stdout)["sent"][0]
    assert differences(once, read_contents(store_uri)) == []


@ON_ONE_STORE
@pytest.mark.parametrize("chunked", [False, True], ids=["declared", "chunked"])
def test_large_body_with_bad_token_is_answered(service: Service, *, chunked: bool) -> None:
    where = urlsplit(f"{service.url}/submit")
    headers = {"Content-Type": "application/json", "Authorization": "Bearer no-such-token"}
    # A connection that is reset may deliver the answer by chance.
    for _ in range(3):
        # Unlike requests, this client reads the answer only after sending everything.
        with contextlib.closing(http.client.HTTPConnection(where.netloc, timeout=60)) as connection:
            connection.request(
                "POST", where.path, make_large_body(chunked=chunked), headers, encode_chunked=chunked
            )
            answer = connection.getresponse()
            assert answer.status == 403
            assert json.loads(answer.read())["type"].endswith(":refused-token")


@ON_ONE_STORE
@pytest.mark.parametrize("chunked", [False, True], ids=["declared", "chunked"])
def test_too_large_body_is_answered(store_uri: str, service_uri: str, tmp_path: Path, *, chunked: bool) -> None:
    (token,) = register_nodes(store_uri, NODE)
    with Service(service_uri, tmp_path, MAX_PAYLOAD_BYTES=str(1024 * 1024)) as service:
        for _ in range(3):
            answer = service.post(make_large_body(chunked=chunked), token)
            assert answer.status_code == 413, answer.text
            assert answer.json()["type"].endswith(":too-large")
        assert service.get("_health").ok
    assert count_payloads(store_uri) == 0


def test_tokens_are_in_no_log_output_or_file(
    store_uri: str, service: Service, made: Made, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    run_statsman(store_uri, tmp_path, "nodes", "add", NODE, "--contact", "operator@node.example")
    added = run_statsman(store_uri, tmp_path, "tokens", "add", NODE)
    token = added.stdout.strip()
    wrong = "w" + token[1:-1] + "w"
    outputs = [added.stderr]
    for run_with in (wrong, token):
        ran = run_aggregator(tmp_path, service, run_with, made)
        outputs += [ran.stdout, ran.stderr]
    (receipt,) = tmp_path.glob("*.delivery")
    outputs.append(receipt.read_text())
    receipt.unlink()
    for options in ([], ["--quiet"]):
        ran = run(
            *list_options(service), *options, made.log, "--networks", made.registry, cwd=tmp_path, TOKEN=token
        )
        assert ran.returncode == 0, ran.stderr
        outputs += [ran.stdout, ran.stderr]
    for body, headers in (
        (b"{", {}),
        (b"{}", {}),
        (b"{}", {"Content-Encoding": "gzip"}),
        (b"{}", {"Content-Type": "text/plain"}),
        (b"{}", {"Authorization": f"Basic {token}"}),
        (b"{}", {"Authorization": "", "Authentication": f"Bearer {wrong}"}),
    ):
        answer = service.post(body, token, **headers)
        assert 400 <= answer.status_code < 500
        outputs += [answer.text, str(answer.headers)]
    for command in (
        ("tokens", "list"),
        ("tokens", "list", "--json"),
        ("nodes", "list", "--json"),
        ("db", "status"),
    ):
        ran = run_statsman(store_uri, tmp_path, *command)
        outputs += [ran.stdout, ran.stderr]
    service.stop()
    outputs.append(service.log)
    if store_uri.startswith("postgresql"):
        cluster: Cluster = request.getfixturevalue("postgresql")
        with lock_nodes(store_uri) as connection:
            outputs.append(str(fetch_rows(connection, "SELECT * FROM tokens")))
        outputs.append(cluster.log)
    else:
        outputs += [file.read_bytes().decode("latin-1") for file in tmp_path.glob("statistics.db*")]
    outputs += [gzip.decompress(file.read_bytes()).decode() for file in tmp_path.glob("*.json.gz")]
    outputs += [file.read_bytes().decode("latin-1") for file in tmp_path.iterdir() if file.is_file()]
    # Both tokens share the middle, so not even a part of them may appear.
    assert [output for output in outputs if token[1:-1] in output] == []


def run_statsman(store_uri: str, directory: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run the administrator's command."""
    return subprocess.run(
        [Path(sys.executable).with_name("eida_statsman"), *words],
        env=environment(directory, DATABASE_URI=store_uri),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )


def list_options(service: Service) -> list[str]:
    # Other tests cover retries.
    return ["-o", ".", "--send-to", f"{service.url}/submit", "--retries", "0"]


def run_aggregator(
    directory: Path, service: Service, token: str, made: Made | None = None, *options: str
) -> subprocess.CompletedProcess[str]:
    """Run the node's command with JSON output, on a log or on the queued files."""
    log: list[str | Path] = [made.log, "--networks", made.registry] if made else []
    return run(*list_options(service), "--json", *log, *options, cwd=directory, TOKEN=token)


def run_deployed_aggregator(directory: Path, service: Service, token: str, made: Made) -> str:
    """Run the deployed command with the service's old address, and return the answer that it logs."""
    with reference.registry_service(make_log.registry()) as proxy:
        ran = subprocess.run(
            [
                reference.python().with_name("eida_stats_aggregator"),
                *("-o", directory, "--send-to", f"{service.url}/dataselectstats", made.log),
            ],
            # Without an exception it would send the statistics to the registry's proxy.
            env={**reference.environment(proxy), "no_proxy": "127.0.0.1", "TOKEN": token},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=300,
            check=True,
        )
    (answer,) = (line for line in ran.stderr.splitlines() if line.startswith("INFO {"))
    return answer.removeprefix("INFO ")


def list_queued(directory: Path) -> list[str]:
    """Return the URLs to which files of a directory must still be sent."""
    return [
        url
        for beside in directory.glob("*.delivery")
        for url, record in json.loads(beside.read_bytes())["records"].items()
        if record["state"] in ("pending", "unknown")
    ]


def read_aggregates(directory: Path, files: int = 1) -> list[dict[str, Any]]:
    """Return the rows of the aggregate files in a directory."""
    written = list(directory.glob("*.json.gz"))
    assert len(written) == files
    return [row for path in written for row in json.loads(gzip.decompress(path.read_bytes()))["stats"]]


def add_up(rows: list[dict[str, Any]], *, by_network: bool = True) -> Found:
    """Return the sums of bytes, requests, successful requests and clients by node and network."""
    network = (lambda row: row["network"]) if by_network else (lambda _: "*")
    sums = {}
    for name, group in itertools.groupby(sorted(rows, key=network), key=network):
        members = list(group)
        counts = (sum(row[name] for row in members) for name in ("bytes", "nb_requests", "nb_successful_requests"))
        sketch = hll.merge(hll.from_hex(row["clients"]) for row in members)
        sums[NODE, name] = (*counts, hll.cardinality(sketch))
    return sums


def query(service: Service, level: str) -> Found:
    """Query all statistics as CSV and as JSON, and check that both are equal."""
    as_csv, as_json = (
        service.get("dataselect/public", start="1990-01", level=level, format=name) for name in ("csv", "json")
    )
    assert (as_csv.status_code, as_json.status_code) == (200, 200)
    lines = [line for line in as_csv.text.splitlines() if not line.startswith("#")]
    fields = ("bytes", "nb_reqs", "nb_successful_reqs", "clients")
    from_csv, other = (
        {(row["node"], row["network"]): tuple(int(row[field]) for field in fields) for row in rows}
        for rows in (csv.DictReader(io.StringIO("\n".join(lines))), as_json.json()["results"])
    )
    assert from_csv == other
    return from_csv


def list_states(store_uri: str) -> list[str]:
    """Return the states of the payloads, and check the statistics."""
    with contextlib.closing(open_store(store_uri)) as store:
        assert [difference for *_, found in store.verification.verify() for difference in found] == []
        return [record.state for record in store.payloads.list_payloads()]


def list_numbers(store_uri: str) -> list[int]:
    """Return the numbers of the payloads."""
    with contextlib.closing(open_store(store_uri)) as store:
        return [record.payload for record in store.payloads.list_payloads()]


def count_payloads(store_uri: str) -> int:
    """Count the payloads in a database."""
    with lock_nodes(store_uri) as connection:
        ((count,),) = fetch_rows(connection, "SELECT count(*) FROM payloads")
    return int(count)


def make_large_body(*, chunked: bool) -> bytes | Iterator[bytes]:
    """Return a body with its length declared or in chunks. It begins like a payload."""
    chunk = b"{" * (1024 * 1024)
    if chunked:
        return itertools.repeat(chunk, REFUSED_BYTES // len(chunk))
    return chunk * (REFUSED_BYTES // len(chunk))
