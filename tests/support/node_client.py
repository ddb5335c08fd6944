"""A node, and a client of the service with its token."""

import datetime
from contextlib import suppress
from typing import Any

from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from eida_stats_webservice.errors import NodeExists
from eida_stats_webservice.registry.models import Node
from support.dates import DAY
from support.service import PREFIX
from support.stores import Store


def make_node(store: Store, name: str) -> tuple[Node, str]:
    """Register a node if there is none of this name, and return it and a token of it."""
    now = datetime.datetime.now(tz=datetime.UTC)
    with suppress(NodeExists):
        store.registry.add_node(name, "operator@node.example")
    token = store.registry.add_token(name, now - DAY, now + 365 * DAY)[1]
    return store.registry.find_sender_of_token(token, now).node, token


class Client:
    """A client with the token of a node."""

    def __init__(self, client: FlaskClient, token: str) -> None:
        self._client = client
        self._headers = {"Authorization": f"Bearer {token}"}

    def send(self, method: str, path: str, body: Any = None) -> TestResponse:
        return self._client.open(f"{PREFIX}/{path}", method=method, json=body, headers=self._headers)
