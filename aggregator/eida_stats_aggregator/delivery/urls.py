"""URLs of services, in a normal form."""

from urllib.parse import urlsplit

# To the first of them, payloads of that kind are sent; connections are no payloads.
_RESOURCES_BY_KIND = {
    "dataselect": ("/submit", "/dataselectstats"),
    "ringserver": ("/ringserver",),
    "connections": ("/connections",),
}
_RESOURCES = tuple(resource for resources in _RESOURCES_BY_KIND.values() for resource in resources)
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


def make_submission_url(url: str, kind: str = "dataselect") -> str:
    """Return the URL to which payloads of a kind go: the operator's, if it names a resource of that kind."""
    resources = _RESOURCES_BY_KIND[kind]
    split = urlsplit(url)
    path = split.path.rstrip("/")
    if path.endswith(resources):
        return split._replace(path=path).geturl()
    for resource in _RESOURCES:
        path = path.removesuffix(resource).rstrip("/")
    return split._replace(path=path + resources[0]).geturl()


def is_same_server(url: str, other: str) -> bool:
    """Return whether two base URLs have the same host and port."""
    return urlsplit(url)[:2] == urlsplit(other)[:2]
