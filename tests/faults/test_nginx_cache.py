"""nginx keeps present counts for two seconds, but nothing that belongs to a token."""

import datetime
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
import requests

from eida_statistics.connections import Record, encode_records
from support.nginx import run_nginx
from support.node_client import make_node
from support.roles import grant_service
from support.sensors import add_doors, connect, pass_door
from support.service import PREFIX, Service
from support.stores import open_store

BEGIN = datetime.datetime(2024, 3, 1, tzinfo=datetime.UTC)
PATHS = [
    *(f"{PREFIX}/connections/{name}" for name in ("now?format=json", "count?space=House", "live")),
    *(f"{PREFIX}/count?space=House", "/count?space=House", "/?space=House"),
]
HEADERS = ("Authorization", "Authentication")
# A busy machine may take longer than two seconds between two requests.
ATTEMPTS = 20


class Site:
    """The service behind nginx, with a door and a ringserver of one node."""

    def __init__(self, root: str, token: str) -> None:
        self.token = token
        self._root = root
        self._session = requests.Session()

    def get(self, path: str, **headers: str) -> requests.Response:
        return self._session.get(f"{self._root}{path}", headers=headers, timeout=60)

    def send(self, *records: Record) -> None:
        headers = {"Authorization": f"Bearer {self.token}"}
        url = f"{self._root}{PREFIX}/connections"
        requests.post(url, data=encode_records(list(records)), headers=headers, timeout=60).raise_for_status()


@pytest.fixture
def site(uri: str, tmp_path: Path) -> Iterator[Site]:
    with closing(open_store(uri)) as store:
        token = make_node(store, "GFZ")[1]
        add_doors(store, "GFZ", {"House": None}, {"front": [("House", 1)]})
    with Service(grant_service(uri), tmp_path) as service, run_nginx(service, tmp_path) as port:
        found = Site(f"http://127.0.0.1:{port}", token)
        found.send(connect(1, BEGIN), pass_door("front", BEGIN))
        yield found


def test_answers_are_kept_for_two_seconds(site: Site) -> None:
    for path in PATHS:
        # The service names each of its answers by an id.
        ids = [site.get(path).headers["X-Request-ID"] for _ in range(ATTEMPTS)]
        assert len(set(ids)) < ATTEMPTS, path
    known = site.get(PATHS[0])
    site.send(pass_door("front", BEGIN + datetime.timedelta(seconds=1)))
    while site.get(PATHS[0]).json() == known.json():
        pass
    again = site.get(PATHS[0], **{"If-None-Match": site.get(PATHS[0]).headers["ETag"]})
    assert (again.status_code, again.content) == (304, b"")


@pytest.mark.parametrize("header", HEADERS)
def test_tokens_and_cache_are_apart(site: Site, header: str) -> None:
    for path in PATHS:
        own = {header: f"Bearer {site.token}"}
        # The first answer to this path would be stored.
        answers = [site.get(path, **own), site.get(path), *(site.get(path, **own) for _ in range(3))]
        assert [answer.status_code for answer in answers] == [200] * 5, path
        assert len({answer.headers["X-Request-ID"] for answer in answers}) == len(answers), path
        assert [answer.headers["Cache-Control"] for answer in answers] == [
            "private, no-store",
            "public, max-age=2",
            *["private, no-store"] * 3,
        ]
        assert site.get(path, **{header: "0"}).status_code in (401, 403), path
    public, own_answer = site.get(PATHS[0]), site.get(PATHS[0], **own)
    assert "GFZ/ring" not in public.text
    assert "GFZ/ring" in own_answer.text


def test_other_paths_of_the_root_are_not_those_of_the_service(site: Site) -> None:
    assert site.get("/").headers["Content-Type"].startswith("text/html")
    assert site.get("/?space=House").json() == {"status": "OK", "count": 1}
    sent = requests.post(
        f"{site._root}/send",
        json={"timestamp": "2024-03-01T00:00:09Z", "direction": "1", "dpu_id": "front"},
        headers={"Authorization": f"Bearer {site.token}"},
        timeout=60,
    )
    assert sent.json() == {"status": "OK"}
