"""POST and PUT submit: a node's payload is taken in, once, beside what there is or in its place."""

import datetime
import re

import msgspec
from flask import Blueprint, Response, g, request

from eida_statistics import wire
from eida_statistics.errors import BadParameter
from eida_statistics.payload import Payload
from eida_stats_webservice import bodies, metrics
from eida_stats_webservice.questions import only, told
from eida_stats_webservice.store import Store
from eida_stats_webservice.store.records import Receipt
from eida_stats_webservice.tokens import node_of
from eida_stats_webservice.turns import Turns

_HASH_CHARACTERS = 32


def blueprint(store: Store, turns: Turns, max_payload_bytes: int) -> Blueprint:
    """Make the routes.

    Args:
        store: what takes payloads in.
        turns: how many are read and stored at once.
        max_payload_bytes: how large one may be.
    """
    routes = Blueprint("submit", __name__)

    @routes.post("/submit")
    @routes.post("/dataselectstats", endpoint="dataselectstats")  # its name in deployed aggregators
    def submit() -> Response:
        """Take in a payload, or say why not."""
        node = node_of(request, store)
        given = only(request.args.items(multi=True), optional=("overlap",))
        if given.get("overlap", "accept") not in {"accept", "refuse"}:
            raise BadParameter(told("overlap", given["overlap"]), hint="It is accept or refuse.")
        with turns.turn():
            receipt = store.ingest(node, payload_of_request(), refuse_overlap=given.get("overlap") == "refuse")
        metrics.count_rows(receipt.rows)
        return _answer(receipt, 201)

    @routes.put("/submit")
    def replace() -> Response:
        """Take in a payload in the place of others, or say why not."""
        node = node_of(request, store)
        named = _named(only(request.args.items(multi=True), optional=("replaces",)).get("replaces"))
        with turns.turn():
            receipt, changed = store.replace(node, payload_of_request(), named)
        metrics.count_rows(receipt.rows if changed else 0)
        g.outcome = "replaced" if changed else "unchanged"
        return _answer(receipt, 201 if changed else 200)

    def payload_of_request() -> Payload:
        body = bodies.read_json(request, max_payload_bytes)
        return wire.decode(body, today=datetime.datetime.now(tz=datetime.UTC).date())

    @routes.after_request
    def finish(response: Response) -> Response:
        """Let a client that is refused finish sending, so that it reads why."""
        if response.status_code >= 400:
            bodies.drain(request, max_payload_bytes)
        return response

    return routes


def _answer(receipt: Receipt, status: int) -> Response:
    return Response(msgspec.json.encode(receipt) + b"\n", status=status, content_type="application/json")


def _named(value: str | None) -> list[int | str]:
    if value is None:
        return []
    names = value.split(",")
    if not all(re.fullmatch(r"[0-9]{1,31}|[0-9a-f]{32}", name, re.ASCII) for name in names):
        hint = "It has numbers or hashes of payloads, with commas. See payloads."
        raise BadParameter(told("replaces", value), hint=hint)
    return [name if len(name) == _HASH_CHARACTERS else int(name) for name in names]
