"""GET and DELETE payloads: a node sees what it has sent, and takes back what was wrong."""

import msgspec
from flask import Blueprint, Response, request

from eida_stats_webservice.questions import only
from eida_stats_webservice.store import Store
from eida_stats_webservice.tokens import node_of
from eida_stats_webservice.turns import Turns


def blueprint(store: Store, changes: Turns, questions: Turns) -> Blueprint:
    """Make the routes.

    Args:
        store: what holds the payloads.
        changes: how many are retracted at once.
        questions: how many lists are made at once: that of a node that sends every day grows with the years.
    """
    routes = Blueprint("payloads", __name__)

    @routes.get("/payloads")
    def payloads() -> Response:
        """List what the node has sent, and what of it counts."""
        node = node_of(request, store)
        only(request.args.items(multi=True))
        with questions.turn():
            return _json({"payloads": [record.told() for record in store.list_payloads(node.name)]})

    @routes.delete("/payloads/<int:number>")
    def retract(number: int) -> Response:
        """Let one of them not count any more."""
        node = node_of(request, store)
        only(request.args.items(multi=True))
        with changes.turn():
            return _json(store.retract(number, node).told())

    return routes


def _json(found: object) -> Response:
    return Response(msgspec.json.encode(found) + b"\n", content_type="application/json")
