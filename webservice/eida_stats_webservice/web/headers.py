"""Headers of every answer: the number of its request in the log, and rules for browsers."""

import re
import uuid

from flask import Flask, Response, g, request
from werkzeug.exceptions import BadRequest, MethodNotAllowed

from eida_stats_webservice.web.bearer import HEADERS

REQUEST_ID = "X-Request-ID"
# In the environment of a request whose path there is; another one may be anything, also a token.
KNOWN_PATH = "eida_statistics.known_path"

_GIVEN = re.compile(r"[A-Za-z0-9-]{8,64}")
# No answer is a page but the explorer, which says itself what it may do.
_SECURITY = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
}


def register(app: Flask) -> None:
    """Put the headers on every answer of an application."""

    @app.before_request
    def number() -> None:
        """Take the number that a proxy gave, or make one."""
        given = request.headers.get(REQUEST_ID, "")
        g.request_id = given if _GIVEN.fullmatch(given) else str(uuid.uuid4())
        wrong_method = isinstance(request.routing_exception, MethodNotAllowed)
        request.environ[KNOWN_PATH] = request.url_rule is not None or wrong_method

    @app.after_request
    def add(response: Response) -> Response:
        for name, value in _SECURITY.items():
            response.headers.setdefault(name, value)
        response.headers[REQUEST_ID] = g.request_id
        if (node := g.get("token_node")) is not None:
            response.headers["Token-Node"] = node
        # An answer to the holder of a token is for nobody else.
        if any(name in request.headers for name in HEADERS) or request.method != "GET":
            response.headers.setdefault("Cache-Control", "no-store")
        return response


def require_host(app: Flask) -> None:
    """Refuse requests without a host, as HTTP/1.1 says; to be called when errors are answered and counted."""

    @app.before_request
    def check() -> None:
        if request.environ.get("SERVER_PROTOCOL") == "HTTP/1.1" and "HTTP_HOST" not in request.environ:
            raise BadRequest("HTTP/1.1 needs a Host header.")
