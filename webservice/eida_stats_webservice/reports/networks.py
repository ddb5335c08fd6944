"""The names and DOIs of networks, from a file or from the cache of the aggregator."""

from collections.abc import Callable
from pathlib import Path

from eida_statistics.errors import RegistryUnavailable
from eida_statistics.networks import NetworkDescription, NetworkRegistry, get_cache_path, read_registry

Describe = Callable[[str], NetworkDescription | None]


def make_describe(path: Path | None) -> Describe:
    """Return a function that describes a network by its extended code. It never causes a download.

    A file is read at once. Without a path and without a cache, networks have no names.

    Raises:
        RegistryUnavailable: if the file cannot be read.
        InvalidRegistry: if it is no registry; for the cache, by the function.
    """
    if path is not None:
        epochs = list(read_registry(path))
        return NetworkRegistry(lambda: epochs).describe
    registry = NetworkRegistry(lambda: read_registry(get_cache_path()))

    def describe(code: str) -> NetworkDescription | None:
        try:
            return registry.describe(code)
        except RegistryUnavailable:
            return None

    return describe
