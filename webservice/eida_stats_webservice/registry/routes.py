"""Routes for nodes, networks and their restrictions, compatible with the deployed service."""

from flask import Blueprint, Response, request

from eida_stats_webservice.errors import BadParameter
from eida_stats_webservice.registry.models import NetworkRecord
from eida_stats_webservice.registry.repository import RegistryRepository
from eida_stats_webservice.web.parameters import quote_parameter, read_parameters, require_parameters
from eida_stats_webservice.web.responses import make_json


def create_blueprint(registry: RegistryRepository) -> Blueprint:
    """Create the routes."""
    # Longer than other functions, because each route is a closure.
    routes = Blueprint("policies", __name__)

    @routes.get("/nodes")
    def nodes() -> Response:
        """Return all nodes with their policies."""
        require_parameters(read_parameters(request))
        found = [
            {"name": name, "restriction_policy": _format_policy(policy)}
            for name, policy in registry.list_policies()
        ]
        return make_json({"nodes": found})

    @routes.get("/networks")
    def networks() -> Response:
        """Return all networks, once for each of their nodes."""
        require_parameters(read_parameters(request))
        found = [
            {
                "name": network.name,
                "node": network.node,
                "inverted_policy": _format_policy(network.inverted_policy),
                "restriction_policy": _format_policy(network.restricted),
                "restricted": _format_restriction(network.restricted),
            }
            for network in registry.list_networks()
        ]
        return make_json({"networks": found})

    @routes.get("/node_restriction_policy")
    def node_restriction_policy() -> Response:
        """Return whether the networks of a node are restricted, except those that invert the policy."""
        name = require_parameters(read_parameters(request), "node")["node"]
        policies = dict(registry.list_policies())
        if name not in policies:
            raise BadParameter(
                f"{quote_parameter('node', name)} is not a node (capitals matter)", hint="List them: GET …/nodes"
            )
        return make_json({"restriction_policy": _format_policy(policies[name])})

    @routes.get("/network_restriction_policy")
    def network_restriction_policy() -> Response:
        """Return whether a network inverts the policy of its node."""
        network = _find_network(registry)
        return make_json({"invert_policy": _format_policy(network.inverted_policy), "eas_group": network.eas_group})

    @routes.get("/_isRestricted")
    def is_restricted() -> Response:
        """Return whether a network is restricted at a node."""
        network = _find_network(registry)
        return make_json({"restricted": _format_restriction(network.restricted), "group": network.eas_group})

    return routes


def _find_network(registry: RegistryRepository) -> NetworkRecord:
    given = require_parameters(read_parameters(request), "node", "network")
    for network in registry.list_networks():
        if (network.node, network.name) == (given["node"], given["network"]):
            return network
    names = f"{quote_parameter('network', given['network'])} at {quote_parameter('node', given['node'])}"
    raise BadParameter(f"{names} does not exist (capitals matter)", hint="List them: GET …/networks")


def _format_policy(policy: bool) -> str:
    return "1" if policy else "0"


def _format_restriction(restricted: bool) -> str:
    return "yes" if restricted else "no"
