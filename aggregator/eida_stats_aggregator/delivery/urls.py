"""URLs of services, in a normal form."""

from urllib.parse import urlsplit

_RESOURCES = ("/submit", "/dataselectstats")
_DEFAULT_PORTS = {"http": 80, "https": 443}


def find_base_url(url: str) -> str:
    """Return the URL of a service: without the name of a resource, slashes at the end and the default port."""
    split = urlsplit(url)
    host = (split.hostname or "").lower()
    host = f"[{host}]" if ":" in host else host
    port = f":{split.port}" if split.port and split.port != _DEFAULT_PORTS.get(split.scheme) else ""
    path = split.path.rstrip("/")
    for resource in _RESOURCES:
        path = path.removesuffix(resource).rstrip("/")
    return f"{split.scheme}://{host}{port}{path}"


def make_submission_url(url: str) -> str:
    """Return the URL to which payloads go: the operator's, if it names a resource."""
    split = urlsplit(url)
    path = split.path.rstrip("/")
    return split._replace(path=path if path.endswith(_RESOURCES) else f"{path}/submit").geturl()


def is_same_server(url: str, other: str) -> bool:
    """Return whether two base URLs have the same host and port."""
    return urlsplit(url)[:2] == urlsplit(other)[:2]
