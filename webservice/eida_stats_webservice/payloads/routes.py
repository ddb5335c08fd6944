"""GET and DELETE payloads: list the payloads of a node, and retract one."""

from flask import Blueprint, Response, request

from eida_stats_webservice.auth.node import authenticate_node
from eida_stats_webservice.payloads.parameters import parse_kind, parse_limit
from eida_stats_webservice.payloads.repository import PayloadRepository
from eida_stats_webservice.registry.repository import RegistryRepository
from eida_stats_webservice.web.body import check_connected
from eida_stats_webservice.web.concurrency import ConcurrencyLimit
from eida_stats_webservice.web.parameters import read_parameters, require_parameters
from eida_stats_webservice.web.responses import make_json
from eida_stats_webservice.web.route_options import RouteOptions, declare_options


def create_blueprint(
    payloads: PayloadRepository, registry: RegistryRepository, concurrency: ConcurrencyLimit
) -> Blueprint:
    """Create the routes. The list of a node grows with the years, so `concurrency` limits lists, too."""
    routes = Blueprint("payloads", __name__)
    declare_options(routes, RouteOptions(paths=("/payloads",), is_open_to_pages=False))

    @routes.get("/payloads", endpoint="payloads")
    def list_() -> Response:
        """List the payloads that the node has sent, and whether they are in force."""
        authenticate_node(request, registry)
        values = require_parameters(read_parameters(request), optional=("kind", "limit"))
        kind, limit = parse_kind(values.get("kind")), parse_limit(values.get("limit"))
        with concurrency.slot():
            # Again: the token may be revoked while the request waits.
            node = authenticate_node(request, registry).node
            found = payloads.list_payloads(node, kind=kind, limit=limit)
            return make_json({"payloads": [record.to_dict() for record in found]})

    @routes.delete("/payloads/<int:number>")
    def retract(number: int) -> Response:
        """Retract a payload: it is no longer in force."""
        sender = authenticate_node(request, registry)
        require_parameters(read_parameters(request))
        with concurrency.slot():
            check_connected(request)
            return make_json(payloads.retract(number, sender.node, arrival=sender.arrival).to_dict())

    return routes
