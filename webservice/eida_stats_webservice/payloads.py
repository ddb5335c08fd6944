"""GET and DELETE payloads: a node sees what it has sent, and takes back what was wrong."""

import msgspec
from flask import Blueprint, Response, request

from eida_stats_webservice.questions import only
from eida_stats_webservice.store import Store
from eida_stats_webservice.tokens import node_of
from eida_stats_webservice.turns import Turns


def blueprint(store: Store, turns: Turns) -> Blueprint:
    """Make the routes.

    Args:
        store: what holds the payloads.
        turns: how many are retracted, or listed, at once: the list of a node grows with the years.
    """
    routes = Blueprint("payloads", __name__)

    @routes.get("/payloads")
    def payloads() -> Response:
        """List what the node has sent, and what of it counts."""
        node = node_of(request, store)
        only(request.args.items(multi=True))
        with turns.turn():
            return _json({"payloads": [record.told() for record in store.list_payloads(node.name)]})

    @routes.delete("/payloads/<int:number>")
    def retract(number: int) -> Response:
        """Let one of them not count any more."""
        node = node_of(request, store)
        only(request.args.items(multi=True))
        with turns.turn():
            return _json(store.retract(number, node).told())

    return routes


def _json(found: object) -> Response:
    return Response(msgspec.json.encode(found) + b"\n", content_type="application/json")
