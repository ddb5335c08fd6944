"""Who fails with tokens again and again has to wait: else they could be tried out, or the log filled."""

from collections.abc import Iterable

from flask import Blueprint, Flask, Response, request
from flask_limiter import Limiter

_REFUSED = (401, 403)


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
    """Tell whence a request comes; behind a proxy, what it says.

    Without a proxy anybody may say so, too; but then they only make themselves somebody else, not anybody who does
    not say so.
    """
    forwarded = request.headers.get("X-Forwarded-For", "").rpartition(",")[2].strip()
    return f"forwarded {forwarded[:64]}" if forwarded else f"direct {request.remote_addr}"
