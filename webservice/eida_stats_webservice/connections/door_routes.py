"""The interface of doors: POST send, GET /?space=NAME and GET count, at the root and below the prefix."""

import datetime

from flask import Blueprint, Request, Response, request

from eida_statistics.connections import Count
from eida_statistics.errors import EidaStatisticsError
from eida_stats_webservice.auth.node import authenticate_node
from eida_stats_webservice.connections.collector import Collector
from eida_stats_webservice.connections.doors import parse_counts
from eida_stats_webservice.connections.errors import UnusableSensor
from eida_stats_webservice.connections.models import Space
from eida_stats_webservice.connections.sums import find_hour
from eida_stats_webservice.connections.tables import ConnectionTables
from eida_stats_webservice.connections.view import View, ViewFactory, has_token, set_cache
from eida_stats_webservice.database.base import Database
from eida_stats_webservice.errors import MissingToken
from eida_stats_webservice.registry.models import Arrival, Node
from eida_stats_webservice.registry.repository import RegistryRepository
from eida_stats_webservice.web.body import Budget, drain, read_unpacked
from eida_stats_webservice.web.concurrency import ConcurrencyLimit
from eida_stats_webservice.web.moments import parse_moment
from eida_stats_webservice.web.parameters import read_parameters, require_parameters
from eida_stats_webservice.web.problem_details import make_response
from eida_stats_webservice.web.responses import make_json
from eida_stats_webservice.web.route_options import RouteOptions, declare_options

MAX_BYTES = 4 << 20
"""The size of the largest body: a list of the most events."""
_ADD_OPEN = (
    "Send Authorization: Bearer TOKEN. A sensor that needs none is added by: eida_statsman sensors add --open."
)


class DoorIntake:
    """Stores the events of doors, for the node of the token, or for that of open sensors."""

    def __init__(
        self, database: Database, tables: ConnectionTables, registry: RegistryRepository, collector: Collector
    ) -> None:
        self._database = database
        self._tables = tables
        self._registry = registry
        self._collector = collector

    def store(self, asked: Request, counts: list[Count]) -> None:
        """Store events.

        Raises:
            MissingToken: if a sensor needs a token.
            UnusableSensor: if the sensors of a list belong to several nodes.
        """
        if not counts:
            return
        arrival: Arrival | None = None
        if has_token(asked):
            sender = authenticate_node(asked, self._registry)
            node, arrival = sender.node, sender.arrival
        else:
            node = self._find_node_of_open({count.sensor for count in counts})
        self._collector.store(node, counts, arrival)

    def _find_node_of_open(self, names: set[str]) -> Node:
        """Return the node of some sensors that need no token."""
        with self._database.transaction() as connection:
            found = self._tables.find_sensors(connection, None, names)
            nodes = {sensor.node_id for sensor in found.values()}
            if found.keys() != names or not all(sensor.open for sensor in found.values()):
                raise MissingToken(hint=_ADD_OPEN)
            if len(nodes) > 1:
                raise UnusableSensor("the sensors belong to several nodes", hint="Send a list for each node.")
            return next(node for node in self._registry.list_ids(connection) if node.id in nodes)


def create_blueprint(
    name: str,
    intake: DoorIntake,
    views: ViewFactory,
    concurrency: ConcurrencyLimit,
    budget: Budget,
    home: str,
) -> Blueprint:
    """Create the routes.

    Args:
        name: the name of the blueprint; it is registered at the root and below the prefix.
        intake: stores events.
        views: creates views of spaces.
        concurrency: limits how many requests store events at once.
        budget: limits the bytes of bodies.
        home: the path that counts a space if its query names one: `/`, with the prefix.
    """
    # Longer than other functions, because the routes are closures that share these parts.
    routes = Blueprint(name, __name__)
    declare_options(routes, RouteOptions(exact_paths=("/send",), logs_query=True))

    @routes.post("/send")
    def send() -> Response:
        """Store the events of doors."""
        require_parameters(read_parameters(request))
        with concurrency.slot(), budget.share() as share:
            body = read_unpacked(request, MAX_BYTES, share)
            intake.store(request, parse_counts(body, datetime.datetime.now(tz=datetime.UTC)))
        return make_json({"status": "OK"})

    @routes.get("/count")
    def count() -> Response:
        """Return the count of a space at a time."""
        values = require_parameters(read_parameters(request), "space", optional=("timestamp",))
        text = values.get("timestamp")
        moment = None if text is None else parse_moment(text, "timestamp")
        return answer("ok", values["space"], moment)

    @routes.before_app_request
    def count_at_home() -> Response | None:
        """Answer `/?space=NAME`, which has the path of a page."""
        if request.method not in ("GET", "HEAD") or request.path != home or "space" not in request.args:
            return None
        try:
            values = require_parameters(read_parameters(request), "space")
            return answer("OK", values["space"], None)
        except EidaStatisticsError as error:
            # The errors of this path are pages otherwise.
            return make_response(error)

    def answer(status: str, space_name: str, moment: datetime.datetime | None) -> Response:
        if moment is None:
            return respond(status, views.count_now(request, space_name))
        with views.open(request) as view:
            space = view.find(space_name)
            found = None if space is None else _count(view, space, moment)
            shown = None if space is None or found is None else view.show(space, found)
        return respond(status, shown)

    def respond(status: str, shown: int | None) -> Response:
        return set_cache(make_json({"status": status, "count": shown}), request)

    @routes.after_request
    def finish(response: Response) -> Response:
        """Let a refused client finish sending, so that it reads the answer."""
        if response.status_code >= 400:
            drain(request, MAX_BYTES)
        return response

    return routes


def _count(view: View, space: Space, moment: datetime.datetime) -> int | None:
    """Return the count after the event nearest to a moment; None if there is no event."""
    counts = view.counts
    if not counts.is_known(space):
        return None
    if counts.is_archived(moment):
        return counts.count_before(space, find_hour(moment))
    nearest = counts.find_nearest(space, moment)
    return counts.count(space) if nearest is None else counts.count(space, nearest)
