"""The names and DOIs of networks, from a file or from the cache of the aggregator."""

from collections.abc import Callable
from pathlib import Path

from eida_statistics.errors import RegistryUnavailable
from eida_statistics.networks import NetworkDescription, NetworkRegistry, get_cache_path, read_registry

Describe = Callable[[str], NetworkDescription | None]


def make_describe(path: Path | None) -> Describe:
    """Return a function that describes a network by its extended code. It never causes a download.

    Without a path and without a cache, networks have no names.

    Raises:
        RegistryUnavailable: by the function, if the file cannot be read.
        InvalidRegistry: by the function, if it is no registry.
    """
    registry = NetworkRegistry(lambda: read_registry(path or get_cache_path()))

    def describe(code: str) -> NetworkDescription | None:
        try:
            return registry.describe(code)
        except RegistryUnavailable:
            if path is not None:
                raise
            return None

    return describe
