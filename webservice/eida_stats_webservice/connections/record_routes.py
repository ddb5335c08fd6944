"""POST connections: store the records that the follower of a ringserver sends."""

from flask import Blueprint, Response, request

from eida_statistics.connections import Record, decode_records
from eida_statistics.errors import InvalidRecords
from eida_stats_webservice.auth.node import authenticate_node
from eida_stats_webservice.connections.intake import ConnectionIntake
from eida_stats_webservice.errors import UnsupportedMediaType
from eida_stats_webservice.registry.repository import RegistryRepository
from eida_stats_webservice.web.body import Budget, check_connected, drain, read_unpacked
from eida_stats_webservice.web.concurrency import ConcurrencyLimit
from eida_stats_webservice.web.parameters import read_parameters, require_parameters
from eida_stats_webservice.web.responses import make_json
from eida_stats_webservice.web.route_options import RouteOptions, declare_options

MAX_BYTES = 16 << 20
"""The size of the largest body. The most records of a ringserver take a fifth of it."""
# Those of JSON Lines, and of clients that name none.
_TYPES = (
    *("", "application/json", "application/jsonl", "application/x-ndjson", "application/x-jsonlines"),
    *("application/gzip", "application/octet-stream", "application/x-www-form-urlencoded", "text/plain"),
)


def create_blueprint(
    intake: ConnectionIntake, registry: RegistryRepository, concurrency: ConcurrencyLimit, budget: Budget
) -> Blueprint:
    """Create the route.

    Args:
        intake: stores records.
        registry: the nodes and their tokens.
        concurrency: limits how many requests store records at once.
        budget: limits the bytes of bodies.
    """
    routes = Blueprint("records", __name__)
    declare_options(routes, RouteOptions(exact_paths=("/connections",), is_open_to_pages=False))

    @routes.post("/connections")
    def store() -> Response:
        """Store records."""
        sender = authenticate_node(request, registry)
        require_parameters(read_parameters(request))
        with concurrency.slot(), budget.share() as share:
            records = _decode(read_unpacked(request, MAX_BYTES, share))
            check_connected(request)
            created = intake.store(sender.node, records, sender.arrival).created if records else 0
        return make_json({"status": "OK", "created": created})

    @routes.after_request
    def finish(response: Response) -> Response:
        """Let a refused client finish sending, so that it reads the answer."""
        if response.status_code >= 400:
            drain(request, MAX_BYTES)
        return response

    return routes


def _decode(body: bytes | bytearray) -> list[Record]:
    try:
        return decode_records(body)
    except InvalidRecords as error:
        if request.mimetype in _TYPES:
            raise
        raise UnsupportedMediaType(request.mimetype, hint="Send JSON Lines: one record in each line.") from error
