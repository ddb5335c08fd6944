"""Functions that run after a request may fail without changing the answer or filling the log."""

from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask, Response
from flask.sansio.scaffold import Scaffold

from eida_stats_webservice.app import create_app
from eida_stats_webservice.config import Config
from support.payloads import row, wire
from support.service import PREFIX, register_nodes
from support.stores import ON_ONE_STORE


@pytest.fixture
def broken_app(monkeypatch: pytest.MonkeyPatch, service_uri: str) -> Flask:
    """Create an application in which all after-request functions fail, those of extensions too."""
    register = Scaffold.after_request

    def register_broken(self: Scaffold, function: Callable[[Response], Response]) -> Any:
        def fail(response: Response) -> Response:
            function(response)
            raise ValueError("a fault")

        return register(self, fail)

    monkeypatch.setattr(Scaffold, "after_request", register_broken)
    return create_app(Config(service_uri))


@ON_ONE_STORE
def test_failed_hooks_change_no_answer(broken_app: Flask, store_uri: str, caplog: pytest.LogCaptureFixture) -> None:
    client = broken_app.test_client()
    (token,) = register_nodes(store_uri, "GFZ")
    headers = {"Authorization": f"Bearer {token}"}
    stored = client.post(f"{PREFIX}/submit", json=wire(row()), headers=headers)
    assert stored.status_code == 201
    reported = len(caplog.records)
    assert client.post(f"{PREFIX}/submit", json=wire(row()), headers=headers).status_code == 409
    assert client.put(f"{PREFIX}/submit", json=wire(row()), headers=headers).status_code == 200
    number = stored.get_json()["payload"]
    assert client.delete(f"{PREFIX}/payloads/{number}", headers=headers).status_code == 200
    assert client.get(f"{PREFIX}/nodes").status_code == 200
    assert client.get(f"{PREFIX}/nothing").status_code == 404
    # Each hook logs once a minute: submit's, those of all routes with tokens, and the application's.
    assert 5 <= reported <= len(caplog.records) <= reported + 3


def test_all_hooks_are_contained(tmp_path_factory: pytest.TempPathFactory) -> None:
    app = create_app(Config(f"sqlite:///{tmp_path_factory.mktemp('hooks')}/statistics.db"))
    hooks = [function for functions in app.after_request_funcs.values() for function in functions]
    assert len(hooks) > 5
    with app.test_request_context(f"{PREFIX}/nodes"):
        for hook in hooks:
            no_response: Any = object()
            assert hook(no_response) is no_response
