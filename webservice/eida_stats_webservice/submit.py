"""POST submit: a node's payload is taken in, once."""

import datetime

import msgspec
from flask import Blueprint, Response, request

from eida_statistics import wire
from eida_stats_webservice import bodies
from eida_stats_webservice.store import Store
from eida_stats_webservice.tokens import node_of


def blueprint(store: Store, max_payload_bytes: int) -> Blueprint:
    """Make the routes."""
    routes = Blueprint("submit", __name__)

    @routes.post("/submit")
    @routes.post("/dataselectstats", endpoint="dataselectstats")  # its name in deployed aggregators
    def submit() -> Response:
        """Take in a payload, or say why not."""
        node = node_of(request, store)
        body = bodies.read_json(request, max_payload_bytes)
        payload = wire.decode(body, today=datetime.datetime.now(tz=datetime.UTC).date())
        receipt = store.ingest(node, payload)
        return Response(msgspec.json.encode(receipt) + b"\n", status=201, content_type="application/json")

    @routes.after_request
    def finish(response: Response) -> Response:
        """Let a client that is refused finish sending, so that it reads why."""
        if response.status_code >= 400:
            bodies.drain(request, max_payload_bytes)
        return response

    return routes
