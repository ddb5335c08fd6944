"""The limit on bytes of bodies that a process holds at once."""

import gzip
import json
import socket
import time
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from eida_stats_webservice.errors import Busy
from eida_stats_webservice.web.body import Budget, Share
from support.payloads import row, wire
from support.service import Service, register_nodes

LIMIT = 4 << 20
SIZE = LIMIT - (LIMIT >> 3)
TRIES = 100


def test_full_budget_raises_busy() -> None:
    budget = Budget(10)
    with budget.share() as one, budget.share() as other:
        one.grow(4)
        other.grow(6)
        with pytest.raises(Busy):
            one.grow(1)
        other.shrink(5)
        other.shrink(7)
        one.grow(1)
    # All of it is free again, after an error too.
    with pytest.raises(Busy), budget.share() as share:
        overfill(share)
    with budget.share() as share:
        share.grow(10)


def overfill(share: Share) -> None:
    share.grow(10)
    share.grow(1)


def make_body(station: str) -> bytes:
    """Return a payload of one row that has almost the largest size."""
    document = json.dumps(wire(row(station=station)))
    return (document[:-1] + " " * (SIZE - len(document)) + "}").encode()


def begin(service: Service, token: str, content: bytes, encoding: str) -> socket.socket:
    """Send a request without its last byte."""
    url = urlsplit(service.url)
    head = (
        f"POST {url.path}/submit HTTP/1.1\r\nHost: {url.netloc}\r\nAuthorization: Bearer {token}\r\n"
        f"Content-Encoding: {encoding}\r\nContent-Length: {len(content)}\r\nConnection: close\r\n\r\n"
    )
    connection = socket.create_connection((url.hostname, url.port), timeout=60)
    connection.sendall(head.encode() + content[:-1])
    return connection


def wait_until_read(connection: socket.socket) -> None:
    """Wait until the service has read everything from its socket, and waits for the last byte."""
    client = f":{connection.getsockname()[1]:04X}"
    while True:
        for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
            _, _, remote, _, queues, *_ = line.split()
            if remote.endswith(client) and int(queues.partition(":")[2], 16) == 0:
                return
        time.sleep(0.02)


def finish(connection: socket.socket, content: bytes) -> bytes:
    """Send the last byte and return the status line."""
    with connection:
        connection.sendall(content[-1:])
        with connection.makefile("rb") as answer:
            return answer.readline()


@pytest.mark.parametrize("encoding", ["identity", "gzip"])
def test_third_large_body_is_refused_as_busy(sqlite_uri: str, tmp_path: Path, encoding: str) -> None:
    token = register_nodes(sqlite_uri, "GFZ")[0]
    first, second = make_body("A"), make_body("B")
    if encoding == "gzip":
        # Stored blocks can be unpacked up to the last byte that has arrived.
        first, second = gzip.compress(first, 0), gzip.compress(second, 0)
    third = make_body("C")
    with Service(sqlite_uri, tmp_path, workers=1, MAX_PAYLOAD_BYTES=str(LIMIT)) as service:
        connections = [begin(service, token, content, encoding) for content in (first, second)]
        for connection in connections:
            wait_until_read(connection)
        busy = service.post(third, token)
        assert busy.status_code == 503, busy.text
        assert busy.json()["type"].endswith("busy")
        assert int(busy.headers["Retry-After"]) > 0
        # Small bodies are stored meanwhile.
        assert service.post(json.dumps(wire(row(station="D"))).encode(), token).status_code == 201
        for connection, content in zip(connections, (first, second), strict=True):
            assert finish(connection, content).split()[1] == b"201"
        # Clients that disconnect free their share as well.
        for content in (first, second):
            begin(service, token, content, encoding).close()
        answers = (service.post(third, token) for _ in range(TRIES))
        assert next(answer for answer in answers if answer.status_code != 503).status_code == 201
