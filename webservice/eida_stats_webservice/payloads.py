"""GET and DELETE payloads: a node sees what it has sent, and takes back what was wrong."""

import msgspec
from flask import Blueprint, Response, request

from eida_stats_webservice.questions import only
from eida_stats_webservice.store import Store
from eida_stats_webservice.store.records import PayloadRecord
from eida_stats_webservice.tokens import node_of


def blueprint(store: Store) -> Blueprint:
    """Make the routes."""
    routes = Blueprint("payloads", __name__)

    @routes.get("/payloads")
    def payloads() -> Response:
        """List what the node has sent, and what of it counts."""
        node = node_of(request, store)
        only(request.args.items(multi=True))
        return _json({"payloads": [as_told(record) for record in store.list_payloads(node.name)]})

    @routes.delete("/payloads/<int:number>")
    def retract(number: int) -> Response:
        """Let one of them not count any more."""
        node = node_of(request, store)
        only(request.args.items(multi=True))
        return _json(as_told(store.retract(number, node)))

    return routes


def as_told(record: PayloadRecord) -> dict[str, object]:
    """Give what is told of a payload: its fields, and its state in a word."""
    return msgspec.structs.asdict(record) | {"state": record.state}


def _json(found: object) -> Response:
    return Response(msgspec.json.encode(found) + b"\n", content_type="application/json")
