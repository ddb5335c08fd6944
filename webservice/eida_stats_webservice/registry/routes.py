"""GET nodes, networks and their restrictions, in the form of the deployed service."""

import msgspec
from flask import Blueprint, Response, request

from eida_stats_webservice.errors import BadParameter
from eida_stats_webservice.registry.models import NetworkRecord
from eida_stats_webservice.registry.repository import RegistryRepository
from eida_stats_webservice.web.parameters import quote_parameter, read_parameters, require_parameters


def blueprint(registry: RegistryRepository) -> Blueprint:
    """Create the routes."""
    routes = Blueprint("policies", __name__)

    @routes.get("/nodes")
    def nodes() -> Response:
        """List the nodes."""
        require_parameters(read_parameters(request))
        found = [{"name": name, "restriction_policy": _digit(policy)} for name, policy in registry.node_policies()]
        return _json({"nodes": found})

    @routes.get("/networks")
    def networks() -> Response:
        """List the networks, once for each of their nodes."""
        require_parameters(read_parameters(request))
        found = [
            {
                "name": network.name,
                "node": network.node,
                "inverted_policy": _digit(network.inverted_policy),
                "restriction_policy": _digit(network.restricted),
                "restricted": _yes(network.restricted),
            }
            for network in registry.list_networks()
        ]
        return _json({"networks": found})

    @routes.get("/node_restriction_policy")
    def node_restriction_policy() -> Response:
        """Return whether the networks of a node are restricted, unless they invert that."""
        name = require_parameters(read_parameters(request), "node")["node"]
        policies = dict(registry.node_policies())
        if name not in policies:
            raise BadParameter(f"{quote_parameter('node', name)} is unknown", hint="See nodes.")
        return _json({"restriction_policy": _digit(policies[name])})

    @routes.get("/network_restriction_policy")
    def network_restriction_policy() -> Response:
        """Return whether a network inverts the policy of its node."""
        network = _find_network(registry)
        return _json({"invert_policy": _digit(network.inverted_policy), "eas_group": network.eas_group})

    @routes.get("/_isRestricted")
    def is_restricted() -> Response:
        """Return whether a network is restricted at a node."""
        network = _find_network(registry)
        return _json({"restricted": _yes(network.restricted), "group": network.eas_group})

    return routes


def _find_network(registry: RegistryRepository) -> NetworkRecord:
    given = require_parameters(read_parameters(request), "node", "network")
    for network in registry.list_networks():
        if (network.node, network.name) == (given["node"], given["network"]):
            return network
    names = f"{quote_parameter('network', given['network'])} at {quote_parameter('node', given['node'])}"
    raise BadParameter(f"{names} is unknown", hint="See networks.")


def _digit(policy: bool) -> str:
    return "1" if policy else "0"


def _yes(restricted: bool) -> str:
    return "yes" if restricted else "no"


def _json(found: object) -> Response:
    return Response(msgspec.json.encode(found) + b"\n", content_type="application/json")
