"""GET connections/now, count and series: the counts of spaces, for everybody."""

import datetime
import hashlib
from collections.abc import Iterable, Sequence
from contextlib import nullcontext

import msgspec
from flask import Blueprint, Response, request

from eida_statistics import __version__
from eida_stats_webservice.connections.history import find_of_protocol, find_past, find_shown
from eida_stats_webservice.connections.models import Space
from eida_stats_webservice.connections.parameters import (
    parse_count_query,
    parse_period,
    parse_protocol,
    read_values,
)
from eida_stats_webservice.connections.present import find_present, find_present_by_name
from eida_stats_webservice.connections.rows import (
    COUNT_COLUMNS,
    PRESENT_COLUMNS,
    SERIES_COLUMNS,
    make_count_row,
    make_present_row,
    make_series_rows,
    write_values,
)
from eida_stats_webservice.connections.series import HOUR, Period, find_series, find_series_of_protocol
from eida_stats_webservice.connections.view import View, ViewFactory, find_space, set_cache
from eida_stats_webservice.errors import BadParameter
from eida_stats_webservice.query.formats import Column, Row
from eida_stats_webservice.query.model import OutputOptions
from eida_stats_webservice.query.responses import wants_text_errors, write_rows
from eida_stats_webservice.web.concurrency import ConcurrencyLimit
from eida_stats_webservice.web.parameters import read_parameters
from eida_stats_webservice.web.responses import find_matching_etag
from eida_stats_webservice.web.route_options import RouteOptions, declare_options


def create_blueprint(views: ViewFactory, concurrency: ConcurrencyLimit) -> Blueprint:
    """Create the routes.

    Args:
        views: creates views of spaces.
        concurrency: limits how many long queries run at once.
    """
    # Longer than other functions, because the routes are closures that share these parts.
    routes = Blueprint("connections", __name__)
    options = RouteOptions(paths=("/connections",), wants_text_errors=wants_text_errors, logs_query=True)
    declare_options(routes, options)

    @routes.get("/connections/now")
    def now() -> Response:
        """Return the present counts of one space, or of all."""
        values, options = read_values(read_parameters(request), optional=("space",))
        now = _get_now()
        with views.open(request) as view:
            if "space" in values:
                found = [find_present_by_name(view, values["space"], now)]
            else:
                found = find_present(view, view.list_spaces(), now)
            rows = [make_present_row(view, one) for one in found]
        # The time of a count that is complete passes without a change.
        times = [None if one.complete else one.as_of for one in found]
        return _answer(rows, PRESENT_COLUMNS, options, [rows_without_time(rows), times])

    @routes.get("/connections/count")
    def count() -> Response:
        """Return the count of a space at a time."""
        optional = ("time", "match", "mode", "protocol")
        values, options = read_values(read_parameters(request), "space", optional=optional)
        query = parse_count_query(values, _get_now())
        # All sessions of a ringserver are read for a protocol.
        turn = nullcontext() if query.protocol is None else concurrency.slot()
        with turn, views.open(request) as view:
            space = find_space(view, query.space)
            if query.protocol is not None:
                check_protocol(view, space)
                past = find_of_protocol(view, space, query.moment, query.protocol, nearest=query.nearest)
            elif query.live:
                past = find_shown(view, space, query.moment)
            else:
                past = find_past(view, space, query.moment, nearest=query.nearest)
            rows = [make_count_row(view, space, past)]
        return _answer(rows, COUNT_COLUMNS, options, rows)

    @routes.get("/connections/series")
    def series() -> Response:
        """Return how the count of a space has changed."""
        optional = ("end", "interval", "protocol")
        values, options = read_values(read_parameters(request), "space", "start", optional=optional)
        period, protocol = parse_period(values, _get_now()), parse_protocol(values)
        with concurrency.slot(), views.open(request) as view:
            space = find_space(view, values["space"])
            if protocol is not None:
                check_protocol(view, space)
                found = find_series_of_protocol(view, space, period, protocol)
            else:
                _check_archive(view, period)
                found = find_series(view, space, period)
            rows = list(make_series_rows(view, space, found))
        return _answer(rows, SERIES_COLUMNS, options, rows)

    return routes


def rows_without_time(rows: Iterable[Row]) -> list[Row]:
    """Return the rows of present counts without the time to which they belong."""
    place = [column.name for column in PRESENT_COLUMNS].index("as_of")
    return [[*row[:place], *row[place + 1 :]] for row in rows]


def check_protocol(view: View, space: Space) -> None:
    """Check that a space has sessions, which have protocols.

    Raises:
        BadParameter: if no ringserver counts it.
    """
    if not view.has_ringservers(space):
        raise BadParameter(f"{space.name} has no ringserver", hint="Leave out protocol.", parameter="protocol")


def _check_archive(view: View, period: Period) -> None:
    if period.interval < HOUR and view.counts.is_archived(period.start):
        raise BadParameter(
            "the events of this time are archived",
            hint=f"Use interval=1h or longer, or a start from {view.counts.first_kept:%Y-%m-%d} on.",
            parameter="interval",
        )


def _answer(rows: Sequence[Row], columns: tuple[Column, ...], options: OutputOptions, state: object) -> Response:
    """Return an answer. Equal states have equal ETags."""
    version = [__version__, request.query_string.decode("latin-1"), state]
    etag = hashlib.sha256(msgspec.json.encode(version)).hexdigest()[:32]
    if (known := find_matching_etag(request, etag)) is not None:
        response = Response(status=304)
        etag = known
    else:
        response = write_rows(write_values(rows, options.format), columns, options)
    # Two answers with one ETag may differ in the time of a count.
    response.set_etag(etag, weak=True)
    # A browser must not show a public answer to the holder of a token.
    response.vary.update(("Authorization", "Authentication"))
    return set_cache(response, request)


def _get_now() -> datetime.datetime:
    return datetime.datetime.now(tz=datetime.UTC)
