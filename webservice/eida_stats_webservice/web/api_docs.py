"""The service's description of itself: its version, its interface for programs, and a page to try it."""

import html
from pathlib import Path

from flask import Blueprint, Response, redirect, request
from flask_swagger_ui import get_swaggerui_blueprint
from werkzeug.wrappers import Response as Redirection

from eida_statistics import __version__

OPENAPI = Path(__file__).with_name("openapi.yaml")
WADL = Path(__file__).with_name("application.wadl")
EXPLORER = "explorer"

# All links of the page are relative to it, so that a proxy may serve it under another path.
_PAGE = {
    "app_name": "EIDA statistics",
    # The one with a bar on top is for those who look at other documents, too.
    "layout": "BaseLayout",
    "defaultModelsExpandDepth": -1,
    "displayRequestDuration": True,
    "tryItOutEnabled": True,
    # Neither does another host see the document, nor is there a login by one.
    "validatorUrl": None,
    "oauth2RedirectUrl": None,
}
# Swagger UI has scripts, styles and images in its page; whatever it does, it asks this host and no other.
_POLICY = (
    "default-src 'none'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


def blueprint(prefix: str) -> Blueprint:
    """Create the routes.

    Args:
        prefix: the path below which the service is, without a slash at its end; empty if it is the whole host.
    """
    routes = Blueprint("description", __name__)
    openapi = OPENAPI.read_bytes()
    wadl = WADL.read_text(encoding="utf-8")

    @routes.get("/version")
    def version() -> Response:
        """Return the version of the software."""
        return Response(f"{__version__}\n", content_type="text/plain; charset=utf-8")

    @routes.get("/openapi.yaml")
    def as_openapi() -> Response:
        """Describe the whole interface."""
        return Response(openapi, content_type="application/yaml")

    @routes.get("/application.wadl")
    def as_wadl() -> Response:
        """Describe the questions as FDSN's services do."""
        base = html.escape(request.base_url.removesuffix("application.wadl"))
        return Response(wadl.replace("{base}", base), content_type="application/xml; charset=utf-8")

    @routes.get("/")
    def index() -> Redirection:
        """Lead to the page."""
        return redirect(f"{EXPLORER}/")

    # Flask would add the slash itself, but to a URL with a scheme, which is the wrong one behind a proxy with TLS.
    @routes.get(f"/{EXPLORER}")
    def explorer_without_slash() -> Redirection:
        """Add the slash, without which the page's links would lead elsewhere."""
        return redirect(f"{EXPLORER}/")

    if prefix:

        @routes.get("")
        def index_without_slash() -> Redirection:
            """Lead to the page from where the prefix ends."""
            return redirect(f"{prefix.rpartition('/')[2]}/{EXPLORER}/")

    routes.register_blueprint(_explorer(), url_prefix=f"/{EXPLORER}")
    return routes


def _explorer() -> Blueprint:
    """Create the page and its files, from Swagger UI's package."""
    pages: Blueprint = get_swaggerui_blueprint(".", "../openapi.yaml", _PAGE, blueprint_name=EXPLORER)

    @pages.after_request
    def confine(response: Response) -> Response:
        """Keep the page to this host."""
        response.headers["Content-Security-Policy"] = _POLICY
        response.headers["X-Content-Type-Options"] = "nosniff"
        return response

    return pages
