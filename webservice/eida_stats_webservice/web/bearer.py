"""The bearer token of a request."""

from flask import Request

# Deployed aggregators send it under both names.
HEADERS = ("Authorization", "Authentication")
_SCHEMES = ("bearer", "token")


def read_bearer_token(request: Request) -> str | None:
    """Return the bearer token of a request, or None if it has none."""
    for name in HEADERS:
        scheme, _, token = request.headers.get(name, "").strip().partition(" ")
        if scheme.lower() in _SCHEMES and token.strip():
            return token.strip()
    return None
