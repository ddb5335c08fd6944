"""Tokens of the EIDA authentication system over HTTP: rate limit, concurrency and expiry."""

import datetime
import io
import logging
import shutil
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from functools import partial
from pathlib import Path

import pytest
from flask import Flask
from werkzeug.test import TestResponse

from eida_stats_webservice import app as application
from eida_stats_webservice.auth.eas import Verifier
from eida_stats_webservice.config import Config
from support.dates import DAY
from support.packets import BOMB
from support.processes import wait_for
from support.service import PREFIX
from support.signer import Signer, note_starts, replace_gpg
from support.stores import open_store

FAILURES = 3
RESTRICTED = f"{PREFIX}/dataselect/restricted?start=2026-01&format=json"


@pytest.fixture(scope="module")
def signer() -> Iterator[Signer]:
    with Signer() as made:
        yield made


@pytest.fixture
def uri(sqlite_template: Path, tmp_path: Path) -> str:
    return f"sqlite:///{shutil.copy(sqlite_template, tmp_path)}"


@pytest.fixture
def create(uri: str, signer: Signer, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Flask]:
    def create(timeout: float = 60) -> Flask:
        monkeypatch.setattr(application, "Verifier", partial(Verifier, timeout=timeout))
        keys = {"eas_keyring": str(signer.keyring), "eas_fingerprints": signer.fingerprint}
        return application.create_app(Config(uri, max_failures_per_minute=FAILURES, **keys))

    return create


def post(app: Flask, token: bytes, address: str = "192.0.2.1") -> TestResponse:
    return app.test_client().post(RESTRICTED, data=token, environ_overrides={"REMOTE_ADDR": address})


def read_problem(answer: TestResponse) -> str:
    return str(answer.get_json()["type"]).rpartition(":")[2]


def create_network_token(uri: str, until: datetime.datetime) -> dict[str, str]:
    store = open_store(uri)
    token = store.registry.add_network_token("GE", until - DAY, until)[1]
    store.close()
    return {"Authorization": f"Bearer {token}"}


def now() -> datetime.datetime:
    return datetime.datetime.now(tz=datetime.UTC)


def test_address_without_failures_left_starts_no_gpg(
    create: Callable[..., Flask], uri: str, signer: Signer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    good, started = signer.token("/epos/a"), note_starts(tmp_path, monkeypatch)
    bad = good.replace(b"/epos/a", b"/epos/b")
    app = create()
    assert {post(app, good).status_code for _ in range(2 * FAILURES)} == {200}
    assert {post(app, bad).status_code for _ in range(FAILURES)} == {401}
    started.unlink()
    for token in (bad, good):
        limited = post(app, token)
        assert (limited.status_code, read_problem(limited)) == (429, "too-many-failures")
        assert int(limited.headers["Retry-After"]) > 0
    assert not started.exists()
    assert post(app, good, address="192.0.2.2").status_code == 200
    # Looking up a token in a header costs little.
    header = create_network_token(uri, now() + DAY)
    known = app.test_client().post(RESTRICTED, headers=header, environ_overrides={"REMOTE_ADDR": "192.0.2.1"})
    assert known.status_code == 200


def test_bomb_starts_no_gpg(create: Callable[..., Flask], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started = note_starts(tmp_path, monkeypatch)
    app = create()
    started.unlink()
    assert [post(app, BOMB).status_code for _ in range(FAILURES + 1)] == [401] * FAILURES + [429]
    assert not started.exists()


def test_timeouts_of_gpg_count_as_failures(
    create: Callable[..., Flask],
    signer: Signer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    replace_gpg(tmp_path / "bin", monkeypatch, 'case "$*" in *--decrypt*) sleep 60;; *) exec $GPG "$@";; esac')
    app, token = create(timeout=0.5), signer.token("/epos/a")
    answers = [post(app, token) for _ in range(FAILURES + 1)]
    assert [answer.status_code for answer in answers] == [503] * FAILURES + [429]
    assert read_problem(answers[0]) == "eas-unavailable"
    assert answers[0].get_json()["detail"] == "gpg took more than 0.5 s. Try again later."
    assert int(answers[0].headers["Retry-After"]) > 0
    assert_one_line_each(caplog, FAILURES, "gpg took more than 0.5 s")


def test_broken_gpg_is_no_failure_of_the_client(
    create: Callable[..., Flask],
    signer: Signer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    replace_gpg(tmp_path / "bin", monkeypatch, 'exec $GPG "$@"')
    app, token = create(), signer.token("/epos/a")
    (tmp_path / "bin/gpg").write_text("#!/bin/sh\necho 'one line\nand another' >&2; exit 3\n")
    answers = [post(app, token) for _ in range(FAILURES + 1)]
    assert {(answer.status_code, read_problem(answer)) for answer in answers} == {(503, "eas-unavailable")}
    assert "administrator" in answers[0].get_json()["detail"]
    assert_one_line_each(caplog, FAILURES + 1, "gpg does not work")


def assert_one_line_each(caplog: pytest.LogCaptureFixture, count: int, text: str) -> None:
    records = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert len(records) == count
    for record in records:
        assert text in record.getMessage()
        assert "\n" not in record.getMessage()
        assert record.exc_info is None


def test_busy_gpg_does_not_block_other_requests(
    create: Callable[..., Flask], signer: Signer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = f"touch {tmp_path}/started.$$; until [ -e {tmp_path}/go ]; do sleep 0.02; done"
    replace_gpg(tmp_path / "bin", monkeypatch, f'case "$*" in *--decrypt*) {script};; esac; exec $GPG "$@"')
    app, token = create(), signer.token("/epos/a")
    with ThreadPoolExecutor(8) as clients:
        try:
            sent = [clients.submit(post, app, token) for _ in range(8)]
            # Two run, four wait, and two are refused.
            ended = as_completed(sent)
            for answer in (next(ended).result(), next(ended).result()):
                assert (answer.status_code, read_problem(answer)) == (503, "busy")
                assert int(answer.headers["Retry-After"]) > 0
            wait_for(lambda: len(list(tmp_path.glob("started.*"))) == 2)
            for path in ("_health", "nodes", "dataselect/public?start=2026-01"):
                assert app.test_client().get(f"{PREFIX}/{path}").status_code == 200, path
            assert sum(not answer.done() for answer in sent) >= 2
            assert len(list(tmp_path.glob("started.*"))) == 2
        finally:
            (tmp_path / "go").touch()
    codes = [answer.result().status_code for answer in sent]
    # On a slow machine, waiting requests may have timed out by now.
    assert set(codes) == {200, 503}
    assert codes.count(200) >= 2


class Late(io.BytesIO):
    """A body that arrives only after some time."""

    def __init__(self, body: bytes, at: datetime.datetime) -> None:
        super().__init__(body)
        self._at = at

    def readinto(self, buffer: bytearray) -> int:
        while now() <= self._at:
            time.sleep(0.01)
        return super().readinto(buffer)


def test_token_expiring_with_its_body_is_refused(create: Callable[..., Flask], uri: str, signer: Signer) -> None:
    client = create().test_client()
    until = now() + datetime.timedelta(seconds=0.5)
    header, token = create_network_token(uri, until), signer.token("/epos/a", days=(until - now()) / DAY)
    # The signer's clock started a little later.
    later = until + datetime.timedelta(seconds=0.1)
    expired = client.post(RESTRICTED, input_stream=Late(token, later), content_length=len(token))
    assert (expired.status_code, read_problem(expired)) == (401, "invalid-eas-token")
    assert "it expired at" in expired.get_json()["detail"]
    expired = client.post(RESTRICTED, headers=header, input_stream=Late(b"x", later), content_length=1)
    assert (expired.status_code, read_problem(expired)) == (403, "expired-token")
