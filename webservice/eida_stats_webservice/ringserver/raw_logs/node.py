"""The node of raw logs that come without a token."""

from contextlib import suppress

from eida_statistics.errors import ConfigurationError
from eida_stats_webservice.errors import DatabaseForbidden, NodeExists, UnknownNode
from eida_stats_webservice.registry.models import Node, is_node_name
from eida_stats_webservice.registry.repository import RegistryRepository

DEFAULT_NODE = "local"


def find_or_add_node(registry: RegistryRepository, name: str) -> Node:
    """Return a node. It is created if it is missing and the role of the connection may do so.

    Raises:
        ConfigurationError: if no node can have this name.
        UnknownNode: if it is missing and may not be created.
    """
    if not is_node_name(name):
        raise ConfigurationError("no node can have this name", hint="Use up to 64 characters, without commas.")
    with suppress(UnknownNode):
        return registry.find_node(name)
    try:
        # Another process may be faster.
        with suppress(NodeExists):
            registry.add_node(name, "")
    except DatabaseForbidden as error:
        raise UnknownNode(name, hint=f"Create it: eida_statsman nodes add {name} --contact ADDRESS") from error
    return registry.find_node(name)
