"""GET dataselect/public and POST dataselect/restricted: statistics for anybody, and for those who may see more."""

import datetime
import hashlib
from collections.abc import Callable, Generator, Iterable
from contextlib import closing
from itertools import chain, islice

import msgspec
from flask import Blueprint, Request, Response, request
from werkzeug.http import http_date

from eida_statistics import __version__
from eida_stats_webservice.auth.authenticator import Authenticator
from eida_stats_webservice.config import PrivacySettings
from eida_stats_webservice.errors import BadParameter, ForbiddenNetwork, NothingFound, RestrictedNetwork
from eida_stats_webservice.query import closed_months, sketch_disclosure, suppression
from eida_stats_webservice.query.formats import columns_of, format_of
from eida_stats_webservice.query.model import DataVersion, Form, Question, Statistic, matches
from eida_stats_webservice.query.parameters import question_of
from eida_stats_webservice.query.repository import StatisticsRepository
from eida_stats_webservice.query.sketch_disclosure import Disclosure
from eida_stats_webservice.registry.models import PUBLIC, NetworkRecord, Viewer
from eida_stats_webservice.registry.repository import RegistryRepository
from eida_stats_webservice.web.concurrency import Turns
from eida_stats_webservice.web.parameters import quote_parameter, read_parameters

# Last-Modified has whole seconds. Shortly after a change, another one may follow within the same second.
_UNSETTLED = datetime.timedelta(seconds=2)


def blueprint(
    statistics: StatisticsRepository,
    registry: RegistryRepository,
    turns: Turns,
    authenticator: Authenticator,
    settings: PrivacySettings,
) -> Blueprint:
    """Create the routes.

    Args:
        statistics: the statistics.
        registry: the nodes and networks.
        turns: how many questions are answered at once.
        authenticator: identifies clients.
        settings: how small groups of clients are protected.
    """
    routes = Blueprint("dataselect", __name__)

    @routes.get("/dataselect/public")
    def public() -> Response:
        """Return public statistics."""
        # One day for the whole request, which may last past midnight.
        today = _today()
        question, form = question_of(read_parameters(request), today, restricted=False)
        state = statistics.data_version()
        closed = _last_closed_month(question, settings, today)
        changed_at = _changed_at(state, today, closed, settings.closed_after_days)
        etag = _etag(state, settings, question, closed)
        if (known := _known(request, etag)) is not None:
            return _validated(Response(status=304), changed_at, known)
        _check_names(registry, question, PUBLIC, restricted=False)
        # Unlike an ETag, a time does not prove that there was an answer: names are checked first.
        if _is_since(request, changed_at):
            return _validated(Response(status=304), changed_at, etag)
        first_open = closed_months.first_open_month(today, settings.closed_after_days)
        rows = _public_rows(
            statistics, registry, question, settings.min_clients, first_open, sketches=form.hllvalues
        )
        if form.hllvalues:
            rows = _disclosed(rows, statistics, registry, question, settings, first_open, is_public=True)
        return _validated(answered(rows, form), changed_at, etag)

    @routes.post("/dataselect/restricted")
    def restricted() -> Response:
        """Return the statistics that the holder of a token may see."""
        # First the token: without one, no parameter matters.
        viewer = authenticator.authenticate(request)
        today = _today()
        question, form = question_of(read_parameters(request), today, restricted=True)
        question = _check_names(registry, question, viewer, restricted=True)
        rows = statistics.query(question, viewer, sketches=form.hllvalues)
        if form.hllvalues:
            first_open = closed_months.first_open_month(today, settings.closed_after_days)
            rows = _disclosed(rows, statistics, registry, question, settings, first_open, is_public=False)
        # It may wait for its turn, and the token may be revoked meanwhile.
        return answered(rows, form, lambda: authenticator.check_token(request))

    def answered(rows: Generator[Statistic], form: Form, check: Callable[[], None] = lambda: None) -> Response:
        """Write an answer, whose turn ends when all of it is sent, or its reader goes away."""

        def in_turn() -> Generator[Statistic]:
            with closing(rows), turns.turn():
                check()
                yield from rows

        found = in_turn()
        response = _answer(found, form)
        response.call_on_close(found.close)
        return response

    return routes


def _public_rows(
    statistics: StatisticsRepository,
    registry: RegistryRepository,
    question: Question,
    min_clients: int,
    first_open: datetime.date,
    *,
    sketches: bool,
) -> Generator[Statistic]:
    """Return the rows of a public answer, without small groups of clients if MIN_CLIENTS is set."""
    if min_clients and suppression.is_fine(question):
        return _fine_rows(statistics, registry, question, min_clients, first_open)
    return statistics.query(question, PUBLIC, sketches=sketches)


def _fine_rows(
    statistics: StatisticsRepository,
    registry: RegistryRepository,
    question: Question,
    min_clients: int,
    first_open: datetime.date,
) -> Generator[Statistic]:
    """Yield the rows of a fine question, of closed months, with all of the open months in rows Other."""
    broad = suppression.broadened(closed_months.closed_part(question, first_open))
    restricted = _restricted_networks(registry) if broad.tells("network") else set()
    open_totals = statistics.query(closed_months.open_totals(question, first_open), PUBLIC, sketches=True)
    with closing(statistics.query(broad, _viewer_of(restricted), sketches=True)) as found, closing(open_totals):
        rows = suppression.merge_small(found, min_clients, question, restricted, open_totals)
        yield from suppression.arranged(suppression.without_nodes(rows) if question.merge_nodes else rows, question)


def _disclosed(
    rows: Generator[Statistic],
    statistics: StatisticsRepository,
    registry: RegistryRepository,
    question: Question,
    settings: PrivacySettings,
    first_open: datetime.date,
    *,
    is_public: bool,
) -> Generator[Statistic]:
    """Yield rows with the sketches that the client may have."""
    closed = closed_months.closed_part(question, first_open)
    disclosure = Disclosure(
        min_clients=settings.min_clients,
        min_sketch_clients=settings.min_sketch_clients,
        first_open_month=first_open,
        suppressed=_suppressed(statistics, registry, closed, settings.min_clients, is_public)
        if settings.min_clients
        else (),
        is_public=is_public,
    )
    with closing(rows):
        for row in rows:
            yield sketch_disclosure.disclose(row, disclosure)


def _suppressed(
    statistics: StatisticsRepository,
    registry: RegistryRepository,
    closed: Question,
    min_clients: int,
    is_public: bool,
) -> set[suppression.Key]:
    """Return the keys of the rows in which something is suppressed, for a question about closed months.

    Open months are recognised without them, and so are networks that are hidden from the holder of a token.
    """
    restricted = _restricted_networks(registry)
    finest = statistics.query(sketch_disclosure.finest(closed), _viewer_of(restricted), sketches=True)
    with closing(finest):
        return sketch_disclosure.suppressed_keys(finest, min_clients, closed, restricted if is_public else ())


def _restricted_networks(registry: RegistryRepository) -> set[tuple[str, str]]:
    return {(network.node, network.name) for network in registry.list_networks() if network.restricted}


def _viewer_of(networks: Iterable[tuple[str, str]]) -> Viewer:
    """Return a viewer who sees restricted networks one by one, for the decision what becomes a row Other."""
    return Viewer(networks=frozenset(network for _, network in networks))


def _check_names(registry: RegistryRepository, question: Question, viewer: Viewer, *, restricted: bool) -> Question:
    """Refuse nodes and networks that there are not, and networks that nobody may show; resolve patterns."""
    if question.nodes:
        known = {name for name, _ in registry.list_policies()}
        if unknown := [name for name in question.nodes if name not in known]:
            raise BadParameter(f"{quote_parameter('node', ','.join(unknown))} is unknown", hint="See nodes.")
    if not question.names_streams and not restricted:
        return question
    networks = [
        network for network in registry.list_networks() if not question.nodes or network.node in question.nodes
    ]
    if restricted and not _is_operator(networks, viewer):
        _check_one_network(question)
    if not question.networks:
        return question
    chosen = {name: [network for network in networks if matches(network.name, name)] for name in question.networks}
    for name, found in chosen.items():
        _check_network(name, found, viewer, restricted=restricted)
    names = {network.name for found in chosen.values() for network in found} | ({""} & set(question.networks))
    return msgspec.structs.replace(question, networks=tuple(sorted(names)) or ("*",))


def _is_operator(networks: Iterable[NetworkRecord], viewer: Viewer) -> bool:
    return any(network.node_eas_group in viewer.groups for network in networks)


def _check_one_network(question: Question) -> None:
    finer = question.stations or question.locations or question.channels or question.tells("station")
    if len(question.networks) > 1 or any("*" in name or "?" in name for name in question.networks):
        raise BadParameter(
            quote_parameter("network", ",".join(question.networks)),
            hint="Only operators of a node ask for several networks.",
        )
    if finer and not question.networks:
        raise BadParameter(
            "network is missing",
            hint="Name one network to see its stations and channels. Only operators of a node need not.",
        )


def _check_network(name: str, found: list[NetworkRecord], viewer: Viewer, *, restricted: bool) -> None:
    if not name or "*" in name or "?" in name:
        return  # requests that failed belong to no network
    if not found:
        raise BadParameter(f"{quote_parameter('network', name)} is unknown there", hint="See networks.")
    if not any(network.is_visible_to(viewer) for network in found):
        if restricted:
            raise ForbiddenNetwork(name, hint="Its operator, or that of its node, says who may.")
        raise RestrictedNetwork(name, hint="Those who may see it ask dataselect/restricted, with their token.")


def _answer(rows: Iterable[Statistic], form: Form) -> Response:
    """Write an answer; a small one is complete, and has not failed, before its first byte is sent."""
    remaining = iter(rows)
    first = next(remaining, None)
    if first is None and form.nodata == 204:
        nothing = Response(status=204)
        del nothing.headers["Content-Type"]
        return nothing
    if first is None and form.nodata == 404:
        raise NothingFound
    asked = request.query_string.decode("ascii", "replace")
    found = remaining if first is None else chain([first], remaining)
    written = format_of(form)
    chunks = written.write(found, columns_of(form), asked)
    begun = list(islice(chunks, 2))
    body = b"".join([*begun, *chunks]) if len(begun) < 2 or not begun[1] else chain(begun, chunks)
    return Response(body, content_type=written.content_type)


def _last_closed_month(question: Question, settings: PrivacySettings, today: datetime.date) -> datetime.date | None:
    """Return the last closed month of the question, if that matters to its answer."""
    if not settings.min_clients:
        return None
    first_open = closed_months.first_open_month(today, settings.closed_after_days)
    return closed_months.last_closed_month(question, first_open)


def _etag(state: DataVersion, settings: PrivacySettings, question: Question, closed: datetime.date | None) -> str:
    # A database that was restored may have come to the same revision in another way.
    revision = f"{state.revision} {state.changed_at.isoformat()}"
    # Without `end`, the same question is another one in the next month.
    asked = [request.query_string.decode("latin-1"), question.end.isoformat()]
    protected = [str(settings), f"closed until {closed}"] if settings.min_clients else []
    known = "\n".join([__version__, revision, *asked, *protected])
    return hashlib.sha256(known.encode()).hexdigest()[:32]


def _known(asked: Request, etag: str) -> str | None:
    """Return the mark by which the client has the answer already, if it has."""
    given = asked.if_none_match
    # Packed, it has another one. That there is anything at all is no reason to send nothing.
    marks = [] if given.star_tag else [mark for mark in (etag, f"{etag}:gzip") if given.contains_weak(mark)]
    return next(iter(marks), None)


def _is_since(asked: Request, changed_at: datetime.datetime) -> bool:
    """Return whether nothing has changed since the time that the client names."""
    if asked.if_none_match or asked.if_modified_since is None:
        return False
    return changed_at <= asked.if_modified_since


def _changed_at(
    state: DataVersion, today: datetime.date, closed: datetime.date | None, closed_after_days: int
) -> datetime.datetime:
    """Return when the answer last changed.

    Without `end` it changes when a month begins; with MIN_CLIENTS, also when one of its months becomes closed.
    """
    first = datetime.datetime.combine(today.replace(day=1), datetime.time(), tzinfo=datetime.UTC)
    changes = [state.changed_at.replace(microsecond=0), first]
    if closed is not None:
        changes.append(closed_months.closing_time(closed, closed_after_days))
    return max(changes)


def _validated(response: Response, changed: datetime.datetime, etag: str) -> Response:
    """Add the validators by which a client can ask whether the answer is still the same."""
    response.set_etag(etag)
    if datetime.datetime.now(tz=datetime.UTC) - changed < _UNSETTLED:
        changed -= datetime.timedelta(seconds=1)
    response.headers["Last-Modified"] = http_date(changed)
    response.headers["Cache-Control"] = "no-cache"
    return response


def _today() -> datetime.date:
    return datetime.datetime.now(tz=datetime.UTC).date()
