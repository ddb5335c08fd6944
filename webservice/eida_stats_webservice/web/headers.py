"""Headers of every answer: the request ID in the log, and rules for browsers."""

import re
import uuid
from http.client import NOT_MODIFIED

from flask import Flask, Response, g, request
from werkzeug.exceptions import BadRequest, MethodNotAllowed

from eida_stats_webservice.web.bearer import HEADERS
from eida_stats_webservice.web.route_options import find_options

REQUEST_ID = "X-Request-ID"
# For the access log, in the WSGI environment: whether a route has the path, and whether the query may be logged.
# Any other path or query may contain a token.
KNOWN_PATH = "eida_statistics.known_path"
LOGGED_QUERY = "eida_statistics.logged_query"

_PROXY_ID = re.compile(r"[A-Za-z0-9-]{8,64}")
# Pages have a policy of their own.
_SECURITY = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
}


def register(app: Flask) -> None:
    """Add the headers to every answer of an application."""

    @app.before_request
    def identify() -> None:
        """Take the request ID from the proxy, or create one."""
        given = request.headers.get(REQUEST_ID, "")
        g.request_id = given if _PROXY_ID.fullmatch(given) else str(uuid.uuid4())
        wrong_method = isinstance(request.routing_exception, MethodNotAllowed)
        request.environ[KNOWN_PATH] = request.url_rule is not None or wrong_method
        request.environ[LOGGED_QUERY] = find_options().logs_query

    @app.after_request
    def add(response: Response) -> Response:
        # A browser gives the headers of a 304 to the page that it has already, which has a policy of its own.
        if response.status_code != NOT_MODIFIED:
            for name, value in _SECURITY.items():
                response.headers.setdefault(name, value)
        response.headers[REQUEST_ID] = g.request_id
        if (node := g.get("token_node")) is not None:
            response.headers["Token-Node"] = node
        # Caches must not keep answers to clients with tokens.
        if any(name in request.headers for name in HEADERS) or request.method != "GET":
            response.headers.setdefault("Cache-Control", "no-store")
        return response


def require_host(app: Flask) -> None:
    """Refuse HTTP/1.1 requests without a Host header. Call this after the hooks that answer and count errors."""

    @app.before_request
    def check() -> None:
        if request.environ.get("SERVER_PROTOCOL") == "HTTP/1.1" and "HTTP_HOST" not in request.environ:
            raise BadRequest("HTTP/1.1 needs a Host header.")
