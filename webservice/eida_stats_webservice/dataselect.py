"""GET dataselect/public and POST dataselect/restricted: statistics for anybody, and for those who may see more."""

import datetime
import hashlib
from collections.abc import Generator, Iterable
from contextlib import closing
from itertools import chain, islice

import msgspec
from flask import Blueprint, Request, Response, request
from werkzeug.http import http_date

from eida_statistics import __version__, hll
from eida_statistics.errors import BadParameter, ForbiddenNetwork, NothingFound, RestrictedNetwork
from eida_stats_webservice import bodies, privacy
from eida_stats_webservice.access import Access
from eida_stats_webservice.formats import columns_of, format_of
from eida_stats_webservice.questions import Form, parameters_of, question_of, told
from eida_stats_webservice.store import Store
from eida_stats_webservice.store.records import (
    OTHER,
    PUBLIC,
    NetworkRecord,
    Question,
    State,
    Statistic,
    Viewer,
    matches,
)
from eida_stats_webservice.turns import Turns

# As long as a change may still be followed by another one in the same second, which Last-Modified could not tell.
_UNSETTLED = datetime.timedelta(seconds=2)


def blueprint(store: Store, turns: Turns, access: Access, min_clients: int) -> Blueprint:
    """Make the routes.

    Args:
        store: what holds the statistics.
        turns: how many questions are answered at once.
        access: identifies clients.
        min_clients: public answers do not tell smaller groups of users apart.
    """
    routes = Blueprint("dataselect", __name__)

    @routes.get("/dataselect/public")
    def public() -> Response:
        """Answer what anybody may know."""
        question, form = question_of(parameters_of(request), _today(), restricted=False)
        state = store.state()
        etag = _etag(state, min_clients, question)
        if (known := _known(request, etag)) is not None:
            return _validated(Response(status=304), state, known)
        _check_names(store, question, PUBLIC, restricted=False)
        # Unlike the mark of an answer, a time does not tell that there was one.
        if _is_since(request, state):
            return _validated(Response(status=304), state, etag)
        small = min_clients if privacy.is_fine(question) else 0
        rows = _for_public(store, question, small, sketches=form.hllvalues)
        return _validated(answered(rows, form, public=True), state, etag)

    @routes.post("/dataselect/restricted")
    def restricted() -> Response:
        """Answer what the holder of a token may know."""
        # Without a token it does not matter what is asked.
        viewer = access.viewer_of(request)
        question, form = question_of(parameters_of(request), _today(), restricted=True)
        question = _check_names(store, question, viewer, restricted=True)
        rows = store.statistics(question, viewer, sketches=form.hllvalues)
        return answered(rows, form, public=False)

    def answered(rows: Generator[Statistic], form: Form, *, public: bool) -> Response:
        """Write an answer, whose turn ends when all of it is sent, or its reader goes away."""

        def in_turn() -> Generator[Statistic]:
            with closing(rows), turns.turn():
                bodies.check_connected(request)
                for row in rows:
                    yield _given_out(row, min_clients, public=public) if form.hllvalues else row

        found = in_turn()
        response = _answer(found, form)
        response.call_on_close(found.close)
        return response

    return routes


def _for_public(store: Store, question: Question, small: int, *, sketches: bool) -> Generator[Statistic]:
    """Yield what anybody may know, without groups of users that are smaller than `small`."""
    if not small:
        yield from store.statistics(question, PUBLIC, sketches=sketches)
        return
    broad, restricted, viewer = privacy.broadened(question), set(), PUBLIC
    if broad.tells("network"):
        # Asked for one by one, to become a row Other.
        restricted = {(network.node, network.name) for network in store.list_networks() if network.restricted}
        viewer = Viewer(networks=frozenset(network for _, network in restricted))
    with closing(store.statistics(broad, viewer, sketches=True)) as found:
        rows = privacy.merge_small(found, small, question, restricted)
        yield from privacy.arranged(privacy.without_nodes(rows) if question.merge_nodes else rows, question)


def _check_names(store: Store, question: Question, viewer: Viewer, *, restricted: bool) -> Question:
    """Refuse nodes and networks that there are not, and networks that nobody may show; resolve patterns."""
    if question.nodes:
        known = {name for name, _ in store.node_policies()}
        if unknown := [name for name in question.nodes if name not in known]:
            raise BadParameter(f"{told('node', ','.join(unknown))} is unknown", hint="See nodes.")
    if not question.names_streams and not restricted:
        return question
    networks = [
        network for network in store.list_networks() if not question.nodes or network.node in question.nodes
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
            told("network", ",".join(question.networks)), hint="Only operators of a node ask for several networks."
        )
    if finer and not question.networks:
        raise BadParameter(
            "network is missing", hint="Who operates no node names one network to see its stations and channels."
        )


def _check_network(name: str, found: list[NetworkRecord], viewer: Viewer, *, restricted: bool) -> None:
    if not name or "*" in name or "?" in name:
        return  # what failed as a whole is of no network
    if not found:
        raise BadParameter(f"{told('network', name)} is unknown there", hint="See networks.")
    if not any(network.seen_by(viewer) for network in found):
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


def _given_out(row: Statistic, min_clients: int, *, public: bool) -> Statistic:
    """Return a row without that in its sketch which the client may not know.

    A small sketch lists users one by one. A client that is not entitled to see all networks of the row gets it in
    dense form, which does not. The sketch is empty if the group of users is smaller than MIN_CLIENTS, or if the
    client may see none of the networks; that of a row Other is empty if MIN_CLIENTS is set. It is never missing:
    programs made for the deployed service fail at a row without one.
    """
    if row.hll_clients is not None and (public or not row.entitled):
        is_hidden = min_clients > 0 if row.network == OTHER else not row.seen or row.clients < min_clients
        row.hll_clients = hll.EMPTY if is_hidden else hll.dense(row.hll_clients)
    return row


def _etag(state: State, min_clients: int, question: Question) -> str:
    # A database that was restored may have come to the same revision in another way.
    revision = f"{state.revision} {state.changed_at.isoformat()}"
    # Without `end`, the same question is another one in the next month.
    asked = [request.query_string.decode("latin-1"), question.end.isoformat()]
    known = "\n".join([__version__, revision, str(min_clients), *asked])
    return hashlib.sha256(known.encode()).hexdigest()[:32]


def _known(asked: Request, etag: str) -> str | None:
    """Return the mark by which the client has the answer already, if it has."""
    given = asked.if_none_match
    # Packed, it has another one. That there is anything at all is no reason to send nothing.
    marks = [] if given.star_tag else [mark for mark in (etag, f"{etag}:gzip") if given.contains_weak(mark)]
    return next(iter(marks), None)


def _is_since(asked: Request, state: State) -> bool:
    """Return whether nothing has changed since the time that the client names."""
    if asked.if_none_match or asked.if_modified_since is None:
        return False
    return _changed_at(state) <= asked.if_modified_since


def _changed_at(state: State) -> datetime.datetime:
    """Return when answers last changed: without `end`, one is another one when a month begins."""
    first = datetime.datetime.combine(_today().replace(day=1), datetime.time(), tzinfo=datetime.UTC)
    return max(state.changed_at.replace(microsecond=0), first)


def _validated(response: Response, state: State, etag: str) -> Response:
    """Say by what a client can ask whether the answer is still the same."""
    response.set_etag(etag)
    changed = _changed_at(state)
    if datetime.datetime.now(tz=datetime.UTC) - changed < _UNSETTLED:
        changed -= datetime.timedelta(seconds=1)
    response.headers["Last-Modified"] = http_date(changed)
    response.headers["Cache-Control"] = "no-cache"
    return response


def _today() -> datetime.date:
    return datetime.datetime.now(tz=datetime.UTC).date()
