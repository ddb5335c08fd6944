"""Who fails with tokens again and again has to wait: else they could be tried out, or the log filled."""

from collections.abc import Iterable
from ipaddress import ip_address, ip_network

from flask import Blueprint, Flask, Response, request
from flask_limiter import Limiter

_REFUSED = (401, 403)
# This machine and private networks: RFC 1918, RFC 4193.
_NEAR = [
    ip_network(network)
    for network in ("127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "::1/128", "fc00::/7")
]


def register(app: Flask, per_minute: int, routes: Iterable[Blueprint]) -> None:
    """Limit how often an address may be refused on some routes; each process counts for itself, in memory.

    Args:
        app: the application.
        per_minute: how often; as often as it likes, if this is 0.
        routes: those that take tokens. They are registered afterwards.
    """
    if not per_minute:
        return
    limiter = Limiter(_address, app=app, storage_uri="memory://")
    for one in routes:
        limiter.limit(f"{per_minute} per minute", deduct_when=_is_refused, exempt_when=_is_public)(one)


def _is_public() -> bool:
    # Its 401 is of a network, not of a token.
    return request.endpoint == "dataselect.public"


def _is_refused(response: Response) -> bool:
    return response.status_code in _REFUSED


def _address() -> str:
    """Tell whence a request comes; where a proxy passes it on, what that says.

    A proxy is near. Who comes from afar and says so cannot choose who they are.
    """
    forwarded = request.headers.get("X-Forwarded-For", "").rpartition(",")[2].strip()
    if forwarded and _is_near(request.remote_addr):
        return f"forwarded {forwarded[:64]}"
    return f"direct {request.remote_addr}"


def _is_near(address: str | None) -> bool:
    # On a socket of the machine's own, none is told.
    if not address:
        return True
    told = ip_address(address.partition("%")[0])
    # Where IPv6 is listened on, IPv4 comes in its form.
    near = getattr(told, "ipv4_mapped", None) or told
    return any(near.version == network.version and near in network for network in _NEAR)
