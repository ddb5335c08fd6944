"""Who fails with tokens again and again has to wait: else they could be tried out, or the log filled."""

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

from flask import Blueprint, Flask, Response, request
from flask_limiter import Limiter
from limits import parse

from eida_stats_webservice.problems import too_many_failures

_REFUSED = (401, 403)
_IPV4 = 4
_IPV6_USER_BITS = 64
# This machine and private networks: RFC 1918, RFC 4193.
_NEAR = [
    ip_network(network)
    for network in ("127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "::1/128", "fc00::/7")
]


def register(app: Flask, per_minute: int, routes: Iterable[Blueprint]) -> None:
    """Limit how often an address may be refused on some routes; each process counts for itself, in memory.

    Only who is refused is told to wait: what others send from the same address keeps nobody who has a good token.

    Args:
        app: the application.
        per_minute: how often; as often as it likes, if this is 0.
        routes: those that take tokens. They are registered afterwards.
    """
    if not per_minute:
        return
    limit = parse(f"{per_minute} per minute")
    limiter = Limiter(_address, app=app, storage_uri="memory://").limiter

    def count(response: Response) -> Response:
        # The 401 of a public question is of a network, not of a token.
        refused = response.status_code in _REFUSED and request.endpoint != "dataselect.public"
        return too_many_failures() if refused and not limiter.hit(limit, _address()) else response

    for one in routes:
        one.after_request(count)


def _address() -> str:
    """Return the address of a client; where a proxy passes its request on, that which the proxy names.

    A proxy is near. Who comes from afar and says so cannot choose who they are.
    """
    forwarded = request.headers.get("X-Forwarded-For", "").rpartition(",")[2].strip()
    if forwarded and _is_near(request.remote_addr):
        return f"forwarded {_whole(forwarded[:64])}"
    return f"direct {_whole(request.remote_addr or '')}"


def _whole(address: str) -> str:
    """Return what is one user's: of IPv6 it is a network of addresses."""
    told = _read(address)
    if told is None or told.version == _IPV4:
        return str(told or address)
    return str(ip_network((told, _IPV6_USER_BITS), strict=False))


def _is_near(address: str | None) -> bool:
    # On a socket of the machine's own, none is told.
    if not address:
        return True
    told = _read(address)
    return told is not None and any(told.version == near.version and told in near for near in _NEAR)


def _read(address: str) -> IPv4Address | IPv6Address | None:
    try:
        told = ip_address(address.partition("%")[0])
    except ValueError:
        return None
    # Where IPv6 is listened on, IPv4 comes in its form.
    return getattr(told, "ipv4_mapped", None) or told
