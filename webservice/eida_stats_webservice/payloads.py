"""GET and DELETE payloads: list the payloads of a node, and retract one."""

import re

import msgspec
from flask import Blueprint, Response, request

from eida_statistics.errors import BadParameter
from eida_stats_webservice import bodies
from eida_stats_webservice.questions import only, parameters_of, told
from eida_stats_webservice.store import Store
from eida_stats_webservice.tokens import sender_of
from eida_stats_webservice.turns import Turns


def blueprint(store: Store, turns: Turns) -> Blueprint:
    """Create the routes.

    Args:
        store: holds the payloads.
        turns: how many are retracted, or listed, at once: the list of a node grows with the years.
    """
    routes = Blueprint("payloads", __name__)

    @routes.get("/payloads")
    def payloads() -> Response:
        """List the payloads that the node has sent, and whether they count."""
        sender_of(request, store)
        limit = _limit(only(parameters_of(request), optional=("limit",)).get("limit"))
        with turns.turn():
            # Again, since it may have waited: a token may be revoked meanwhile.
            found = store.list_payloads(sender_of(request, store).node, limit=limit)
            return _json({"payloads": [record.described() for record in found]})

    @routes.delete("/payloads/<int:number>")
    def retract(number: int) -> Response:
        """Retract a payload, so that it does not count any more."""
        sender = sender_of(request, store)
        only(parameters_of(request))
        with turns.turn():
            bodies.check_connected(request)
            return _json(store.retract(number, sender.node, arrival=sender.arrival).described())

    return routes


def _json(found: object) -> Response:
    return Response(msgspec.json.encode(found) + b"\n", content_type="application/json")


def _limit(value: str | None) -> int | None:
    if value is None:
        return None
    if not re.fullmatch(r"[1-9][0-9]{0,8}", value, re.ASCII):
        raise BadParameter(told("limit", value), hint="It is a number from 1 to 999999999.")
    return int(value)
