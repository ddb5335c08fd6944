"""Hundreds of clients that send or read a byte a second: behind nginx, others are answered at once."""

import re
import socket
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest
import requests

from support.nginx import run_nginx
from support.payloads import row, wire
from support.roles import grant_service
from support.service import PREFIX, Service, register_nodes

pytestmark = pytest.mark.alone

CLIENTS = 500
SECONDS = 15
# The longest that others may wait meanwhile.
ANSWERED_WITHIN_SECONDS = 2


def test_slow_clients_do_not_delay_others(uri: str, tmp_path: Path, record_figure: Callable[[str], None]) -> None:
    (token,) = register_nodes(uri, "GFZ")
    with (
        Service(grant_service(uri), tmp_path, workers=2) as service,
        run_nginx(service, tmp_path) as port,
        ExitStack() as left,
    ):
        slow = [left.enter_context(socket.create_connection(("127.0.0.1", port))) for _ in range(CLIENTS)]
        over = threading.Event()
        sending = threading.Thread(target=trickle, args=(slow, token, over))
        sending.start()
        url = f"http://127.0.0.1:{port}{PREFIX}"
        waited = []
        try:
            deadline = time.monotonic() + SECONDS
            while time.monotonic() < deadline:
                begun = time.monotonic()
                assert requests.get(f"{url}/dataselect/public?start=2026-10", timeout=60).status_code == 200
                assert requests.get(f"{url}/_health", timeout=60).status_code == 200
                header = {"Authorization": f"Bearer {token}"}
                sent = wire(row(bytes=len(waited)))
                assert requests.post(f"{url}/submit", json=sent, headers=header, timeout=60).status_code == 201
                waited.append(time.monotonic() - begun)
                time.sleep(0.2)
        finally:
            over.set()
            sending.join()
    assert len(waited) > SECONDS
    assert max(waited) < ANSWERED_WITHIN_SECONDS
    record_figure(f"beside {CLIENTS} slow clients: three requests in {max(waited) * 1000:.0f} ms at most")


def trickle(clients: list[socket.socket], token: str, over: threading.Event) -> None:
    """Send a byte a second on each connection: of a query, or of a payload with a valid token."""
    kind = "Content-Type: application/json\r\nContent-Length: 99999"
    head = f"Host: x\r\nAuthorization: Bearer {token}\r\n{kind}\r\n\r\n"
    texts = [
        f"GET {PREFIX}/dataselect/public?start=2026-10&node=" + "A" * 1000,
        f"POST {PREFIX}/submit HTTP/1.1\r\n{head}" + '{"stats":[' + " " * 1000,
    ]
    # At the start, half of them have sent everything but the body.
    for number, client in enumerate(clients):
        if number % 2:
            client.sendall(texts[1].partition("{")[0].encode())
    place = 0
    while not over.wait(1):
        for number, client in enumerate(clients):
            text = texts[number % 2] if number % 2 == 0 else texts[1].partition("\r\n\r\n")[2]
            client.sendall(text[place : place + 1].encode())
        place += 1


def test_nginx_passes_on_ids_hosts_and_bodies(uri: str, tmp_path: Path) -> None:
    (token,) = register_nodes(uri, "GFZ")
    with Service(grant_service(uri), tmp_path) as service, run_nginx(service, tmp_path) as port:
        url = f"http://127.0.0.1:{port}{PREFIX}"
        answer = requests.get(f"{url}/nodes", timeout=60)
        assert re.fullmatch(r"[0-9a-f]{32}", answer.headers["X-Request-ID"])
        assert answer.headers["Server"] == "nginx"
        wadl = requests.get(f"{url}/application.wadl", headers={"Host": "statistics.example"}, timeout=60).text
        assert f'base="http://statistics.example{PREFIX}/"' in wadl
        wrong = requests.post(
            f"{url}/submit", data=b" " * 3_000_000, headers={"Authorization": "Bearer x"}, timeout=60
        )
        assert wrong.status_code == 403
        header = {"Authorization": f"Bearer {token}"}
        assert requests.post(f"{url}/submit", json=wire(row()), headers=header, timeout=60).status_code == 201
    # The request id is in the service's log.
    assert answer.headers["X-Request-ID"] in service.log
