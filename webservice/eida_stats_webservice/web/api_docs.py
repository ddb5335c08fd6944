"""Describe the service: its version, OpenAPI and WADL documents, and a page to try requests."""

import html
from pathlib import Path

from flask import Blueprint, Response, redirect, request
from flask_swagger_ui import get_swaggerui_blueprint
from werkzeug.wrappers import Response as Redirection

from eida_statistics import __version__

OPENAPI = Path(__file__).with_name("openapi.yaml")
WADL = Path(__file__).with_name("application.wadl")
EXPLORER = "explorer"

# The page has relative links only, so that a proxy may serve it under another path.
_PAGE = {
    "app_name": "EIDA statistics",
    # The standalone layout has a bar to load other documents.
    "layout": "BaseLayout",
    "defaultModelsExpandDepth": -1,
    "displayRequestDuration": True,
    "tryItOutEnabled": True,
    # No other host checks the document, and none signs users in.
    "validatorUrl": None,
    "oauth2RedirectUrl": None,
}
# Swagger UI has scripts, styles and images in its page. It may connect to this host only.
_POLICY = (
    "default-src 'none'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


def create_blueprint() -> Blueprint:
    """Create the routes."""
    routes = Blueprint("description", __name__)
    openapi = OPENAPI.read_bytes()
    wadl = WADL.read_text(encoding="utf-8")

    @routes.get("/version")
    def version() -> Response:
        """Return the version of the software."""
        return Response(f"{__version__}\n", content_type="text/plain; charset=utf-8")

    @routes.get("/openapi.yaml", endpoint="as_openapi")
    def send_openapi() -> Response:
        """Return the OpenAPI document."""
        return Response(openapi, content_type="application/yaml")

    @routes.get("/application.wadl", endpoint="as_wadl")
    def send_wadl() -> Response:
        """Return the description of the queries in the form of FDSN services."""
        base = html.escape(request.base_url.removesuffix("application.wadl"))
        return Response(wadl.replace("{base}", base), content_type="application/xml; charset=utf-8")

    @routes.get(f"/{EXPLORER}")
    def explorer_without_slash() -> Redirection:
        """Redirect to the page. Without the slash, its relative links would be wrong."""
        # Flask would redirect to a URL with a scheme, which is wrong behind a proxy with TLS.
        return redirect(f"{EXPLORER}/")

    routes.register_blueprint(_create_explorer(), url_prefix=f"/{EXPLORER}")
    return routes


def _create_explorer() -> Blueprint:
    """Create the routes of the page and its files, which are in Swagger UI's package."""
    pages: Blueprint = get_swaggerui_blueprint(".", "../openapi.yaml", _PAGE, blueprint_name=EXPLORER)

    @pages.after_request
    def confine(response: Response) -> Response:
        """Restrict the page to this host."""
        response.headers["Content-Security-Policy"] = _POLICY
        response.headers["X-Content-Type-Options"] = "nosniff"
        return response

    return pages
