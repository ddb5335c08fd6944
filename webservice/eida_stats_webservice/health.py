"""GET _health: whether the database is reachable."""

from flask import Blueprint, Response

from eida_stats_webservice.store import Store


def blueprint(store: Store) -> Blueprint:
    """Make the routes."""
    routes = Blueprint("health", __name__)

    @routes.get("/_health")
    def health() -> Response:
        """Answer 200 if the database answers, and the problem if it does not."""
        store.ping()
        return Response("The service is running and its database is reachable.\n", content_type="text/plain")

    return routes
