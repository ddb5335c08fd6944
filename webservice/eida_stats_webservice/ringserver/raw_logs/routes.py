"""POST and PUT raw logs: at the path of payloads, and at the root of the web application `ringserverstats`."""

import ipaddress
from collections.abc import Callable

from flask import Blueprint, Request, Response, g, request

from eida_stats_webservice.auth.node import authenticate_node
from eida_stats_webservice.payloads.submission import SubmissionLimits
from eida_stats_webservice.registry.models import Arrival, Node, Sender
from eida_stats_webservice.registry.repository import RegistryRepository
from eida_stats_webservice.ringserver.raw_logs.receiver import RawLogReceiver, parse_parameters
from eida_stats_webservice.web.bearer import HEADERS
from eida_stats_webservice.web.body import Share, check_connected, drain, read_any
from eida_stats_webservice.web.responses import make_json
from eida_stats_webservice.web.route_options import RouteOptions, declare_options

# A proxy adds them; a browser sends the others, and a page of another site may be open in it.
_FORWARDED = ("Forwarded", "X-Forwarded-For", "X-Real-IP", "Origin", "Sec-Fetch-Site")


def make_interceptor(receiver: RawLogReceiver, max_bytes: int) -> Callable[[Sender, Share], bytearray | Response]:
    """Return a function that stores the raw log in the body of the present request, and returns the answer.

    If the body is a payload, it returns its JSON.
    """

    def read_or_store(sender: Sender, share: Share) -> bytearray | Response:
        body = read_any(request, max_bytes, share)
        payload = receiver.find_payload(body)
        if payload is not None:
            share.grow(max(0, len(payload) - len(body)))
            return payload
        check_connected(request)
        return _store(receiver, sender.node, body, sender.arrival)

    return read_or_store


def create_blueprint(
    receiver: RawLogReceiver,
    registry: RegistryRepository,
    limits: SubmissionLimits,
    find_local: Callable[[], Node],
    *,
    trusted: str,
) -> Blueprint:
    """Create the route at `/`, which takes nothing but raw logs.

    Args:
        receiver: stores them.
        registry: knows the tokens of nodes.
        limits: limits how many logs are read and stored at once.
        find_local: returns the node of requests without a token.
        trusted: requests that need no token: `any`, those from `loopback`, or none.
    """
    routes = Blueprint("raw_logs", __name__)
    declare_options(routes, RouteOptions(exact_paths=("/",), is_open_to_pages=False, counts_submissions=True))

    @routes.route("/", methods=["POST", "PUT"])
    def take() -> Response:
        """Store a raw log."""
        has_token = any(name in request.headers for name in HEADERS)
        is_trusted = trusted == "any" or (trusted == "loopback" and _is_local(request))
        if has_token or not is_trusted:
            sender = authenticate_node(request, registry)
            node, arrival = sender.node, sender.arrival
        else:
            node, arrival = find_local(), None
        with limits.concurrency.slot(), limits.budget.share() as share:
            body = read_any(request, limits.max_payload_bytes, share)
            check_connected(request)
            return _store(receiver, node, body, arrival)

    @routes.after_request
    def finish(response: Response) -> Response:
        """Let a refused client finish sending, so that it reads the answer."""
        if response.status_code >= 400:
            drain(request, limits.max_payload_bytes)
        return response

    return routes


def _store(receiver: RawLogReceiver, node: Node, body: bytearray, arrival: Arrival | None) -> Response:
    receipt = receiver.receive(node, body, parse_parameters(request), arrival)
    g.stored_rows = receipt.streams
    g.outcome = "stored" if receipt.payloads else "unchanged"
    return make_json(receipt, 201 if receipt.payloads else 200)


def _is_local(asked: Request) -> bool:
    """Return whether a program on this machine has sent a request, and no proxy or web page."""
    try:
        is_loopback = ipaddress.ip_address(asked.remote_addr or "").is_loopback
    except ValueError:
        return False
    return is_loopback and not any(name in asked.headers for name in _FORWARDED)
