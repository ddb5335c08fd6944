"""The paths of the FDSN availability service: query, extent, version and application.wadl."""

import hashlib
import html
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from functools import partial
from itertools import chain, islice
from pathlib import Path

from flask import Blueprint, Response, after_this_request, request

from eida_statistics import __version__
from eida_stats_webservice.archive.availability.error_text import VERSION, write_error
from eida_stats_webservice.archive.availability.errors import NoAvailability
from eida_stats_webservice.archive.availability.formats import WRITTEN
from eida_stats_webservice.archive.availability.models import AvailabilityQuery, Span
from eida_stats_webservice.archive.availability.parameters import parse_body, parse_query
from eida_stats_webservice.archive.availability.repository import AvailabilityRepository, Plan
from eida_stats_webservice.archive.availability.rows import finish
from eida_stats_webservice.archive.reading import INCOMPLETE_HEADER, open_reader
from eida_stats_webservice.errors import BadParameter, UnreadableBody
from eida_stats_webservice.web.body import read_body
from eida_stats_webservice.web.concurrency import ConcurrencyLimit
from eida_stats_webservice.web.parameters import read_parameters, require_parameters
from eida_stats_webservice.web.responses import find_matching_etag
from eida_stats_webservice.web.route_options import RouteOptions, declare_options

_WADL = Path(__file__).with_name("application.wadl")
_MAX_BODY_BYTES = 1 << 20


def create_blueprint(prefix: str, availability: AvailabilityRepository, concurrency: ConcurrencyLimit) -> Blueprint:
    """Create the routes.

    Args:
        prefix: where the service is, such as /fdsnws/availability/1.
        availability: the timelines.
        concurrency: limits how many queries run at once.
    """
    # Longer than other functions, because each route is a closure.
    routes = Blueprint("availability", __name__, url_prefix=prefix)
    declare_options(routes, RouteOptions(paths=(prefix,), write_error=write_error, logs_query=True))
    wadl = _WADL.read_text(encoding="utf-8")

    @routes.get("/query", endpoint="query", defaults={"is_extent": False})
    @routes.get("/extent", endpoint="extent", defaults={"is_extent": True})
    def get(*, is_extent: bool) -> Response:
        """Return the spans or the extents that the parameters select."""
        query = parse_query(read_parameters(request), is_extent=is_extent)
        plan = _make_plan(availability, query)
        etag = _make_etag(plan)
        if etag is not None and (known := find_matching_etag(request, etag)) is not None:
            return _add_validators(Response(status=304), known)
        return _add_validators(_answer(availability, concurrency, query, plan), etag)

    @routes.post("/query", endpoint="query_by_lines", defaults={"is_extent": False})
    @routes.post("/extent", endpoint="extent_by_lines", defaults={"is_extent": True})
    def post(*, is_extent: bool) -> Response:
        """Return the spans or the extents that the lines of the body select."""
        query = _read_query(is_extent=is_extent)
        return _answer(availability, concurrency, query, _make_plan(availability, query))

    @routes.get("/version")
    def version() -> Response:
        """Return the version of the service."""
        require_parameters(read_parameters(request))
        return Response(f"{VERSION}\n", content_type="text/plain; charset=utf-8")

    @routes.get("/application.wadl", endpoint="wadl")
    def send_wadl() -> Response:
        """Return the description of the service."""
        base = html.escape(request.base_url.removesuffix("application.wadl"))
        return Response(wadl.replace("{base}", base), content_type="application/xml; charset=utf-8")

    return routes


def _read_query(*, is_extent: bool) -> AvailabilityQuery:
    """Parse the body of the request.

    Raises:
        BadParameter: naming the parameter or the line that is wrong.
        UnreadableBody: if it is not UTF-8.
    """
    if request.args:
        raise BadParameter(f"{next(iter(request.args))} is in the URL", hint="Write parameters into the body.")
    try:
        body = read_body(request, _MAX_BODY_BYTES).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UnreadableBody("it is not UTF-8") from error
    return parse_body(body, is_extent=is_extent)


def _make_plan(availability: AvailabilityRepository, query: AvailabilityQuery) -> Plan:
    with open_reader(availability.database, partial=query.partial) as reader:
        return availability.make_plan(reader, query)


def _make_etag(plan: Plan) -> str | None:
    """Return the ETag of an answer, or None if it may change without a change of the shards' generations."""
    if plan.version is None:
        return None
    parts = [__version__, request.path, request.query_string.decode("latin-1"), plan.version]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:32]


def _add_validators(response: Response, etag: str | None) -> Response:
    if etag is not None:
        # Two answers with one ETag may differ in the time at which a JSON document was created.
        response.set_etag(etag, weak=True)
    response.headers["Cache-Control"] = "no-cache"
    return response


def _answer(
    availability: AvailabilityRepository, concurrency: ConcurrencyLimit, query: AvailabilityQuery, plan: Plan
) -> Response:
    """Write an answer. Its query occupies a slot until all of it is sent, or the client disconnects."""
    with ExitStack() as stack:
        stack.enter_context(concurrency.slot())
        reader = stack.enter_context(open_reader(availability.database, partial=query.partial))
        rows = finish(availability.read(reader, plan, query, stack), query)
        response = _write(rows, query, [*plan.incomplete, *reader.incomplete])
        if response.is_streamed:
            response.call_on_close(stack.pop_all().close)
    return response


def _write(rows: Iterable[Span], query: AvailabilityQuery, incomplete: Sequence[str]) -> Response:
    """Write rows. A small answer is complete, and cannot fail any more, before its first byte is sent.

    Raises:
        NoAvailability: if there are none, and the request wants an error then.
    """
    remaining = iter(rows)
    first = list(islice(remaining, 1))
    # Also of an error: nothing was found in the other shards.
    after_this_request(partial(_add_incomplete, incomplete))
    if first:
        written = WRITTEN[query.format]
        members = {"incomplete": list(incomplete)} if incomplete else {}
        chunks = (text.encode() for text in written.write(chain(first, remaining), query, members))
        begun = list(islice(chunks, 3))
        body = chain(begun, chunks) if len(begun) == 3 else b"".join(begun)
        response = Response(body, content_type=written.content_type)
    elif query.nodata == NoAvailability.http_status:
        raise NoAvailability
    else:
        response = Response(status=204)
        del response.headers["Content-Type"]
    return response


def _add_incomplete(incomplete: Sequence[str], response: Response) -> Response:
    """Add the header that names the shards that could not be read."""
    if incomplete:
        response.headers[INCOMPLETE_HEADER] = ",".join(incomplete)
    return response
