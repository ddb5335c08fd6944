"""POST and PUT submit: store a payload of a node, or replace others by it."""

import datetime

import msgspec
from flask import Blueprint, Response, g, request

from eida_statistics import wire
from eida_stats_webservice.auth.node import authenticate_node
from eida_stats_webservice.dataselect.repository import DataselectIntake
from eida_stats_webservice.payloads.models import Receipt
from eida_stats_webservice.payloads.parameters import parse_names, parse_overlap
from eida_stats_webservice.registry.models import Sender
from eida_stats_webservice.registry.repository import RegistryRepository
from eida_stats_webservice.web.body import Budget, Share, check_connected, drain, read_json
from eida_stats_webservice.web.concurrency import ConcurrencyLimit
from eida_stats_webservice.web.parameters import read_parameters, require_parameters
from eida_stats_webservice.web.responses import make_json
from eida_stats_webservice.web.route_options import RouteOptions, declare_options

_OPTIONS = RouteOptions(paths=("/submit", "/dataselectstats"), is_open_to_pages=False, counts_submissions=True)


def create_blueprint(
    intake: DataselectIntake,
    registry: RegistryRepository,
    concurrency: ConcurrencyLimit,
    budget: Budget,
    max_payload_bytes: int,
) -> Blueprint:
    """Create the routes.

    `concurrency` limits how many payloads are read and stored at once, `budget` the bytes of bodies that the
    process holds at once.
    """
    # Longer than other functions, because the routes are closures that share these parts.
    routes = Blueprint("submit", __name__)
    declare_options(routes, _OPTIONS)

    @routes.post("/submit")
    @routes.post("/dataselectstats", endpoint="dataselectstats")  # its name in deployed aggregators
    def submit() -> Response:
        """Store a payload."""
        sender = authenticate()
        values = require_parameters(read_parameters(request), optional=("overlap",))
        overlap = parse_overlap(values.get("overlap"))
        with concurrency.slot(), budget.share() as share:
            received = read_payload(share)
            receipt = intake.ingest(sender.node, received.payload, overlap=overlap, arrival=sender.arrival)
        # For the metrics, as is the outcome.
        g.stored_rows = receipt.rows
        return answer(receipt, received, 201)

    @routes.put("/submit")
    def replace() -> Response:
        """Store a payload in the place of others."""
        sender = authenticate()
        values = require_parameters(read_parameters(request), optional=("overlap", "replaces"))
        overlap, named = parse_overlap(values.get("overlap")), parse_names(values.get("replaces"))
        with concurrency.slot(), budget.share() as share:
            received = read_payload(share)
            receipt, changed = intake.replace(
                sender.node, received.payload, named, overlap=overlap, arrival=sender.arrival
            )
        g.stored_rows = receipt.rows if changed else 0
        g.outcome = "replaced" if changed else "unchanged"
        return answer(receipt, received, 201 if changed else 200)

    def authenticate() -> Sender:
        """Return the node and its revision. This request must not undo later changes of the node's payloads."""
        sender = authenticate_node(request, registry)
        g.token_valid_until = sender.token_valid_until.replace(microsecond=0)
        return sender

    def answer(receipt: Receipt, received: wire.Received, status: int) -> Response:
        receipt = msgspec.structs.replace(
            receipt, token_valid_until=g.token_valid_until, countries_changed=received.countries_changed
        )
        return make_json(receipt, status)

    def read_payload(share: Share) -> wire.Received:
        body = read_json(request, max_payload_bytes, share)
        received = wire.receive(body, today=datetime.datetime.now(tz=datetime.UTC).date())
        check_connected(request)
        # From here on, only the compressed form is in memory.
        share.shrink(len(received.payload.body))
        return received

    @routes.after_request
    def finish(response: Response) -> Response:
        """Let a refused client finish sending, so that it reads the answer; add the end of its token."""
        if response.status_code >= 400:
            drain(request, max_payload_bytes)
        if (end := g.get("token_valid_until")) is not None:
            response.headers["Token-Valid-Until"] = f"{end:%Y-%m-%dT%H:%M:%SZ}"
        return response

    return routes
