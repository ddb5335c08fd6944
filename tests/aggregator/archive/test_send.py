"""Tests of `eida_archive send`, to scripted servers and to the service."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from support import issued
from support.commands import run_command
from support.node_client import make_node
from support.sent_crawls import make_crawl
from support.service import Service
from support.stores import ON_ONE_STORE, Store
from support.stubs import Answer, environment, find_unused_url, problem, serve_answers

TOKEN = issued.note("token-of-the-node")
STORED = Answer(202, b'{"status":"stored","shard":"gfz"}')
HTML = Answer(404, b"<html>nginx</html>")


@pytest.fixture
def crawl(tmp_path: Path) -> Path:
    file = tmp_path / "crawl.tsv.gz"
    file.write_bytes(make_crawl(noise_bytes=1 << 20))
    return file


def send(
    crawl: Path, url: str, *options: str, retries: int = 0, **settings: str
) -> subprocess.CompletedProcess[str]:
    words = ["send", crawl, "--to", url, "--shard", "gfz", "--retries", str(retries), *options]
    variables = environment(crawl.parent, **{"TOKEN": TOKEN, **settings})
    done = run_command("eida_archive", words, folder=crawl.parent, environment=variables)
    assert "Traceback" not in done.stderr, done.stderr
    return done


def test_whole_file_is_sent_by_put(crawl: Path) -> None:
    with serve_answers(STORED) as stub:
        done = send(crawl, f"{stub.url}/statistics/submit/")
    (request,) = stub.received
    assert (request.method, request.path) == ("PUT", "/statistics/archive/gfz/crawl")
    assert request.body == crawl.read_bytes()
    assert request.headers["authorization"] == f"Bearer {TOKEN}"
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{crawl} to {stub.url}/statistics/archive/gfz/crawl: sent\n"


def test_retry_sends_the_whole_file_again(crawl: Path) -> None:
    with serve_answers(Answer(503, headers={"Retry-After": "0"}), Answer(0), STORED) as stub:
        assert send(crawl, stub.url, "-q", retries=2).returncode == 0
    assert [request.body == crawl.read_bytes() for request in stub.received] == [True] * 3


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (problem(404, "unknown-shard"), ["refused", "A title: A detail", "Check --shard"]),
        (problem(403, "other-shard"), ["refused", "Check --shard and the token"]),
        (problem(403, "refused-token"), ["could not be sent", "Check the token"]),
        (problem(409, "older-crawl"), ["refused", "A title: A detail"]),
        (problem(409, "foreign-shard"), ["refused", "A detail"]),
        (Answer(413, b"<html>nginx</html>"), ["refused", "413 Request Entity Too Large", "Copy the file"]),
        (HTML, ["could not be sent", "Check it"]),
        (Answer(200, b"<html>"), ["could not be sent", "Check it"]),
        (Answer(405), ["does not pass crawls"]),
        (Answer(500), ["could not be sent", "Run it again"]),
        (
            Answer(301, headers={"Location": "https://new.example/x/archive/gfz/crawl"}),
            ["Use --to https://new.example/x,"],
        ),
    ],
    ids=lambda value: str(value.status) if isinstance(value, Answer) else "",
)
def test_refusal_has_a_hint(crawl: Path, answer: Answer, words: list[str]) -> None:
    with serve_answers(answer) as stub:
        done = send(crawl, stub.url)
    assert done.returncode == 3
    assert done.stderr.startswith("eida_archive: ")
    assert [word for word in words if word not in done.stderr] == [], done.stderr


def test_silent_server_is_named(crawl: Path) -> None:
    done = send(crawl, find_unused_url())
    assert (done.returncode, "connection refused" in done.stderr) == (3, True)


def test_refused_ingestion_is_a_warning(crawl: Path) -> None:
    answer = Answer(200, b'{"status":"unchanged","shard":"gfz","refused":"21 % would go"}')
    with serve_answers(answer) as stub:
        done = send(crawl, stub.url)
    assert done.returncode == 4
    assert "the service has it already" in done.stdout
    assert "warning: the service has not ingested this crawl: 21 % would go" in done.stderr


@pytest.mark.parametrize("content", [make_crawl()[:-5], b"", b"text"])
def test_incomplete_crawl_is_not_sent(crawl: Path, content: bytes) -> None:
    crawl.write_bytes(content)
    with serve_answers(STORED) as stub:
        done = send(crawl, stub.url)
    assert (done.returncode, stub.received) == (1, [])
    assert str(crawl) in done.stderr
    assert "Crawl again" in done.stderr


def test_interrupted_command_has_no_queue(crawl: Path) -> None:
    fifo = crawl.parent / "token"
    os.mkfifo(fifo)
    main = "from eida_stats_aggregator.archive.cli import main; main()"
    words = ["send", crawl, "--to", "https://example.org", "--shard", "gfz", "--token-file", fifo]
    process = subprocess.Popen(
        [sys.executable, "-c", main, *words], env=environment(crawl.parent), stderr=subprocess.PIPE, text=True
    )
    with fifo.open("w"):  # it has opened the file, and waits for the token
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors.strip()) == (1, "eida_archive: interrupted; run it again")


def test_command_line_is_checked(crawl: Path) -> None:
    assert "--to" in send(crawl, "ftp://example.org").stderr
    assert "--to needs a token" in send(crawl, "http://example.org", TOKEN="").stderr
    assert send(crawl.parent / "missing", "http://example.org").returncode == 2


@pytest.mark.parametrize("code", ["Gfz", "a b", "gfz/crawl", "", "pg_x", "gfz_tmp", "x" * 51])
def test_wrong_code_is_not_sent(crawl: Path, code: str) -> None:
    with serve_answers(STORED) as stub:
        done = send(crawl, stub.url, "--shard", code)
    assert (done.returncode, stub.received) == (2, [])
    assert f"code {code}" in done.stderr or f"code {code!r}" in done.stderr
    assert "Use at most 50" in done.stderr or "another code" in done.stderr


@ON_ONE_STORE
def test_service_stores_a_crawl_once(crawl: Path, store: Store, service_uri: str, tmp_path: Path) -> None:
    _, token = make_node(store, "GFZ")
    store.shards.create("gfz", "/GFZ/archive", "GFZ", open_paths=False)
    (tmp_path / "token").write_text(token)
    with Service(service_uri, tmp_path, workers=1) as service:
        first = send(crawl, service.url, "--token-file", "token", TOKEN="")
        again = send(crawl, service.url, "--token-file", "token", TOKEN="")
    assert (first.returncode, again.returncode) == (0, 0), first.stderr + again.stderr
    assert first.stdout.endswith(": sent\n")
    assert again.stdout.endswith(": the service has it already\n")
