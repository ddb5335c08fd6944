"""Tests of receiving the crawls of archives."""

import contextlib
import gzip
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from eida_stats_webservice.app import create_app
from eida_stats_webservice.archive.crawls import CrawlRepository
from eida_stats_webservice.config import Config
from support.node_client import make_node
from support.sent_crawls import make_crawl
from support.service import PREFIX
from support.stores import ON_ONE_STORE, ON_POSTGRESQL, Store

MAX_BYTES = 3 << 20
CRAWL = make_crawl()


@pytest.fixture
def token(store: Store) -> str:
    _, token = make_node(store, "GFZ")
    store.shards.create("gfz", "/GFZ/archive", "GFZ", open_paths=False)
    return token


@pytest.fixture
def client(service_uri: str) -> FlaskClient:
    return create_app(Config(service_uri, max_crawl_bytes=MAX_BYTES)).test_client()


def put(client: FlaskClient, token: str, body: bytes, shard: str = "gfz", **headers: str) -> TestResponse:
    sent = {"Authorization": f"Bearer {token}", "Content-Type": "application/gzip"} | {
        name.replace("_", "-"): value for name, value in headers.items()
    }
    return client.put(f"{PREFIX}/archive/{shard}/crawl", data=body, headers=sent)


def read_problem(answer: TestResponse) -> tuple[int, str]:
    return answer.status_code, answer.get_json()["type"].rpartition(":")[2]


def test_crawl_is_stored_once(client: FlaskClient, token: str, store: Store) -> None:
    answer = put(client, token, CRAWL)
    assert answer.status_code == 202
    stored = answer.get_json()
    assert (stored["status"], stored["shard"], stored["size"]) == ("stored", "gfz", len(CRAWL))
    assert (stored["started"], stored["ingested"]) == ("2026-11-22T02:00:00Z", None)
    assert answer.headers["Token-Node"] == "GFZ"
    again = put(client, token, CRAWL, Content_Encoding="gzip")
    assert (again.status_code, again.get_json()) == (200, stored | {"status": "unchanged"})
    crawls = CrawlRepository(store.database)
    (waiting,) = crawls.list_waiting(None, also_refused=False)
    assert waiting.sha256 == stored["sha256"]
    with store.database.transaction() as connection, crawls.open_file(connection, waiting) as file:
        assert file is not None
        assert file.read_bytes() == CRAWL


def test_ingested_crawl_is_recognised(client: FlaskClient, token: str, store: Store) -> None:
    assert put(client, token, CRAWL).status_code == 202
    ((_, result, _),) = store.received.ingest_all("gfz", may_shrink=False)
    assert result is not None
    again = put(client, token, CRAWL)
    assert again.status_code == 200
    assert again.get_json()["ingested"] is not None


def test_crawl_is_stored_once_by_many_requests(client: FlaskClient, token: str) -> None:
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: put(client.application.test_client(), token, CRAWL), range(4)))
    assert sorted(answer.status_code for answer in answers) == [200, 200, 200, 202]


@ON_POSTGRESQL
def test_shard_on_another_server_is_refused(client: FlaskClient, token: str, store: Store) -> None:
    with store.database.transaction(write=True) as connection:
        connection.cursor().execute("UPDATE shards SET foreign_server = 'elsewhere'")
    assert read_problem(put(client, token, CRAWL)) == (409, "foreign-shard")


def test_large_crawl_is_stored_in_pieces(client: FlaskClient, token: str, store: Store) -> None:
    large = make_crawl(noise_bytes=5 << 20)
    assert MAX_BYTES // 2 < len(large) < MAX_BYTES
    assert put(client, token, large).status_code == 202
    crawls = CrawlRepository(store.database)
    (waiting,) = crawls.list_waiting("gfz", also_refused=False)
    with store.database.transaction() as connection, crawls.open_file(connection, waiting) as file:
        assert file is not None
        assert file.read_bytes() == large


def test_older_crawl_is_refused_with_both_times(client: FlaskClient, token: str) -> None:
    assert put(client, token, make_crawl(started="2026-11-22T02:00:00.5Z")).status_code == 202
    answer = put(client, token, make_crawl(started="2026-11-22T02:00:00Z"))
    assert read_problem(answer) == (409, "older-crawl")
    assert answer.get_json()["started"] == "2026-11-22T02:00:00Z"
    assert answer.get_json()["last_started"] == "2026-11-22T02:00:00.500000Z"
    assert answer.get_json()["detail"].endswith("Crawl again, and send that one.")
    assert put(client, token, make_crawl(started="2026-11-23T02:00:00Z")).status_code == 202


def test_crawl_before_the_ingested_one_is_refused(client: FlaskClient, token: str, store: Store) -> None:
    with store.database.transaction(write=True) as connection:
        connection.cursor().execute("UPDATE shards SET crawled_at = '2026-11-24T00:00:00.000000+00:00'")
    assert read_problem(put(client, token, CRAWL)) == (409, "older-crawl")


def test_shard_of_another_node_is_refused(client: FlaskClient, token: str, store: Store) -> None:
    _, other = make_node(store, "ODC")
    assert read_problem(put(client, other, CRAWL)) == (403, "other-shard")
    unknown = put(client, token, CRAWL, shard="nothing")
    assert read_problem(unknown) == (404, "unknown-shard")
    assert "GFZ has gfz" in unknown.get_json()["detail"]


@ON_ONE_STORE
def test_token_is_needed(client: FlaskClient, token: str) -> None:
    assert token
    answer = client.put(f"{PREFIX}/archive/gfz/crawl", data=CRAWL)
    assert read_problem(answer) == (401, "missing-token")
    assert read_problem(put(client, "x" * 20, CRAWL)) == (403, "refused-token")


@ON_ONE_STORE
@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"", (422, "invalid-crawl")),
        (b"text", (415, "unsupported-media-type")),
        (CRAWL[:-1], (422, "invalid-crawl")),
        (gzip.compress(gzip.decompress(CRAWL)[:-30], mtime=0), (422, "invalid-crawl")),
        (make_crawl(root="/GFZ"), (422, "invalid-crawl")),
        (make_crawl(root="/GFZ/archives"), (422, "invalid-crawl")),
        (CRAWL + bytes(MAX_BYTES), (413, "too-large")),
    ],
)
def test_other_bodies_are_refused(
    client: FlaskClient, token: str, store: Store, body: bytes, expected: tuple[int, str]
) -> None:
    assert read_problem(put(client, token, body)) == expected
    assert CrawlRepository(store.database).list_waiting(None, also_refused=True) == []


@ON_ONE_STORE
def test_crawl_of_a_part_is_stored(client: FlaskClient, token: str) -> None:
    assert put(client, token, make_crawl(root="/GFZ/archive/2026")).status_code == 202


@ON_ONE_STORE
def test_other_encodings_and_parameters_are_refused(client: FlaskClient, token: str) -> None:
    answer = put(client, token, CRAWL, Content_Encoding="br")
    assert read_problem(answer) == (415, "unsupported-media-type")
    assert read_problem(put(client, token, CRAWL, shard="gfz/crawl?x=1&")) == (400, "bad-parameter")


@ON_ONE_STORE
def test_full_disk_is_named(
    client: FlaskClient, token: str, small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(small_disk))
    with (small_disk / "filler").open("wb", buffering=0) as filler, contextlib.suppress(OSError):
        while filler.write(bytes(1 << 16)):
            pass
    assert read_problem(put(client, token, CRAWL)) == (503, "disk-full")


@ON_ONE_STORE
def test_crawls_of_other_directories_may_be_older(client: FlaskClient, token: str) -> None:
    later = make_crawl(root="/GFZ/archive/2", started="2026-11-22T02:00:01Z")
    assert put(client, token, later).status_code == 202
    assert put(client, token, make_crawl(root="/GFZ/archive/1")).status_code == 202
    assert read_problem(put(client, token, make_crawl(root="/GFZ/archive/2/x"))) == (409, "older-crawl")
    assert read_problem(put(client, token, CRAWL)) == (409, "older-crawl")


@ON_ONE_STORE
def test_crawl_of_the_future_is_refused(client: FlaskClient, token: str) -> None:
    answer = put(client, token, make_crawl(started="2099-01-01T00:00:00Z"))
    assert read_problem(answer) == (422, "invalid-crawl")
    assert "Correct the clock" in answer.get_json()["detail"]
