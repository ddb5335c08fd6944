"""POST connections stores the records that a follower sends; GET connections/log and sessions return them."""

import datetime
from itertools import chain
from typing import NamedTuple

from flask import Blueprint, Request, Response, request

from eida_statistics.connections import Record, decode_records
from eida_statistics.errors import InvalidRecords
from eida_stats_webservice.auth.node import authenticate_node
from eida_stats_webservice.connections.export import ConnectionExport
from eida_stats_webservice.connections.intake import ConnectionIntake
from eida_stats_webservice.connections.parameters import parse_protocol, parse_window, read_values
from eida_stats_webservice.connections.rows import SESSION_COLUMNS
from eida_stats_webservice.connections.view import ViewFactory, find_space, set_cache
from eida_stats_webservice.errors import UnsupportedMediaType
from eida_stats_webservice.query.responses import run_in_slot, wants_text_errors, write_rows
from eida_stats_webservice.registry.models import Sender
from eida_stats_webservice.registry.repository import RegistryRepository
from eida_stats_webservice.web.body import Budget, check_connected, drain, read_unpacked
from eida_stats_webservice.web.concurrency import ConcurrencyLimit
from eida_stats_webservice.web.parameters import read_parameters, require_parameters
from eida_stats_webservice.web.responses import make_json
from eida_stats_webservice.web.route_options import RouteOptions, declare_options

MAX_BYTES = 16 << 20
"""The size of the largest body. The most records of a ringserver take a fifth of it."""
LINES_TYPE = "application/x-ndjson"
# Those of JSON Lines, and of clients that name none.
_TYPES = (
    *("", "application/json", "application/jsonl", LINES_TYPE, "application/x-jsonlines"),
    *("application/gzip", "application/octet-stream", "application/x-www-form-urlencoded", "text/plain"),
)


class RecordLimits(NamedTuple):
    """The limits of a process.

    Attributes:
        storing: how many requests store records at once.
        reading: how many long queries run at once.
        budget: the bytes of bodies that are held at once.
    """

    storing: ConcurrencyLimit
    reading: ConcurrencyLimit
    budget: Budget


def create_blueprint(
    intake: ConnectionIntake,
    export: ConnectionExport,
    views: ViewFactory,
    registry: RegistryRepository,
    limits: RecordLimits,
) -> Blueprint:
    """Create the routes.

    Args:
        intake: stores records.
        export: reads the records of a node.
        views: creates views of spaces.
        registry: the nodes and their tokens.
        limits: the limits of the process.
    """
    # Longer than other functions, because the routes are closures that share these parts.
    routes = Blueprint("records", __name__)
    declare_options(
        routes,
        RouteOptions(
            exact_paths=("/connections", "/connections/log", "/connections/sessions"),
            is_open_to_pages=False,
            wants_text_errors=_wants_text_errors,
            logs_query=True,
        ),
    )

    @routes.post("/connections")
    def store() -> Response:
        """Store records."""
        sender = authenticate()
        require_parameters(read_parameters(request))
        with limits.storing.slot(), limits.budget.share() as share:
            records = _decode(read_unpacked(request, MAX_BYTES, share))
            check_connected(request)
            created = intake.store(sender.node, records, sender.arrival).created if records else 0
        return make_json({"status": "OK", "created": created})

    @routes.get("/connections/log")
    def log() -> Response:
        """Return the records of the node in a window, in the order of arrival."""
        node = authenticate().node
        values = require_parameters(read_parameters(request), "start", optional=("end",))
        start, end = parse_window(values, _get_now())
        # The token may be revoked while the request waits.
        lines = run_in_slot(limits.reading, export.list_log(node, start, end), authenticate)
        # The first lines show whether the database answers.
        response = Response(chain([next(lines)], lines), content_type=LINES_TYPE)
        response.call_on_close(lines.close)
        return set_cache(response, request)

    @routes.get("/connections/sessions")
    def sessions() -> Response:
        """Return the sessions of the node that overlap a window."""
        node = authenticate().node
        values, options = read_values(read_parameters(request), "start", optional=("end", "space", "protocol"))
        start, end = parse_window(values, _get_now())
        protocol = parse_protocol(values)
        with views.open(request) as view:
            tree = view.counts.tree
            spaces = tree.list_below(find_space(view, values["space"])) if "space" in values else [*tree]
        found = export.list_sessions(node, spaces, start, end, protocol)
        rows = run_in_slot(limits.reading, found, authenticate)
        response = write_rows(rows, SESSION_COLUMNS, options)
        response.call_on_close(rows.close)
        return set_cache(response, request)

    def authenticate() -> Sender:
        return authenticate_node(request, registry)

    @routes.after_request
    def finish(response: Response) -> Response:
        """Let a refused client finish sending, so that it reads the answer."""
        if response.status_code >= 400:
            drain(request, MAX_BYTES)
        return response

    return routes


def _wants_text_errors(request: Request) -> bool:
    return request.path.endswith("/sessions") and wants_text_errors(request)


def _get_now() -> datetime.datetime:
    return datetime.datetime.now(tz=datetime.UTC)


def _decode(body: bytes | bytearray) -> list[Record]:
    try:
        return decode_records(body)
    except InvalidRecords as error:
        if request.mimetype in _TYPES:
            raise
        raise UnsupportedMediaType(request.mimetype, hint="Send JSON Lines: one record in each line.") from error
