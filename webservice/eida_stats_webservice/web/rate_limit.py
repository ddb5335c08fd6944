"""Rate-limit clients that keep sending bad tokens, to stop token guessing, log flooding and needless work."""

from collections.abc import Callable, Iterable
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

from flask import Blueprint, Flask, Response, request
from flask_limiter import Limiter
from limits import parse

from eida_statistics.errors import EidaStatisticsError
from eida_stats_webservice.errors import TooManyFailures
from eida_stats_webservice.web import problem_details

_HINT = "Wait a minute, and look whether the token is right."
_IPV4 = 4
_IPV6_USER_BITS = 64
# This machine and private networks: RFC 1918, RFC 4193.
_NEAR = [
    ip_network(network)
    for network in ("127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "::1/128", "fc00::/7")
]


Answer = Callable[[EidaStatisticsError], Response]


class FailureLimit:
    """Limits how many requests a minute from an address may fail for their tokens; 0 is no limit.

    Each process counts for itself, in memory.
    """

    def __init__(self, app: Flask, per_minute: int) -> None:
        self._limit = parse(f"{per_minute} per minute") if per_minute else None
        self._counts = Limiter(_find_address, app=app, storage_uri="memory://").limiter

    def apply_to(self, routes: Iterable[Blueprint], answer: Answer = problem_details.make_response) -> None:
        """Count the failed attempts on some routes, and answer 429 to those beyond the limit.

        Only failures are refused: a good token is not affected by the failures of others behind the same address.
        The routes must not have been registered yet.

        Args:
            routes: the routes.
            answer: makes the answer to an error.
        """
        for one in routes:
            one.register_error_handler(EidaStatisticsError, lambda error: answer(self._count(error)))

    def check(self) -> None:
        """Check that the address of the present request has failures left, before a token costs much to verify.

        Raises:
            TooManyFailures: if it has none.
        """
        if self._limit is not None and not self._counts.test(self._limit, _find_address()):
            raise TooManyFailures(hint=_HINT)

    def _count(self, error: EidaStatisticsError) -> EidaStatisticsError:
        """Return the error to answer: this one, or that there are too many."""
        if (
            error.is_failed_attempt
            and self._limit is not None
            and not self._counts.hit(self._limit, _find_address())
        ):
            return TooManyFailures(hint=_HINT)
        return error


def _find_address() -> str:
    """Return the address of a client. Behind a proxy it is the address that the proxy names.

    Only a proxy on this machine or in a private network is believed: others could choose any address.
    """
    forwarded = request.headers.get("X-Forwarded-For", "").rpartition(",")[2].strip()
    if forwarded and _is_near(request.remote_addr):
        return f"forwarded {_group_address(forwarded[:64])}"
    return f"direct {_group_address(request.remote_addr or '')}"


def _group_address(address: str) -> str:
    """Return the address, or for IPv6 the network of addresses that one user has."""
    parsed = _parse_address(address)
    if parsed is None or parsed.version == _IPV4:
        return str(parsed or address)
    return str(ip_network((parsed, _IPV6_USER_BITS), strict=False))


def _is_near(address: str | None) -> bool:
    # A Unix socket has no address.
    if not address:
        return True
    parsed = _parse_address(address)
    return parsed is not None and any(parsed.version == near.version and parsed in near for near in _NEAR)


def _parse_address(address: str) -> IPv4Address | IPv6Address | None:
    try:
        parsed = ip_address(address.partition("%")[0])
    except ValueError:
        return None
    # A server that listens on IPv6 sees IPv4 addresses in IPv6 form.
    return getattr(parsed, "ipv4_mapped", None) or parsed
