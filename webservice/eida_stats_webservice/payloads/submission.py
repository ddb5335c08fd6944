"""The routes by which nodes submit payloads of one kind: POST stores one, PUT replaces others by it."""

import datetime
from collections.abc import Callable, Sequence
from typing import Generic, NamedTuple, TypeVar

import msgspec
from flask import Blueprint, Response, g, request

from eida_statistics.errors import EidaStatisticsError, NotJSON
from eida_stats_webservice.auth.node import authenticate_node
from eida_stats_webservice.errors import UnsupportedMediaType
from eida_stats_webservice.payloads.intake import PayloadIntake
from eida_stats_webservice.payloads.models import Receipt
from eida_stats_webservice.payloads.parameters import parse_names, parse_overlap
from eida_stats_webservice.registry.models import Sender
from eida_stats_webservice.registry.repository import RegistryRepository
from eida_stats_webservice.web.body import EMPTY, Budget, Share, check_connected, drain, read_json
from eida_stats_webservice.web.concurrency import ConcurrencyLimit
from eida_stats_webservice.web.parameters import read_parameters, require_parameters
from eida_stats_webservice.web.responses import make_json
from eida_stats_webservice.web.route_options import RouteOptions, declare_options

_Payload = TypeVar("_Payload")


class Received(NamedTuple, Generic[_Payload]):
    """A payload that was read and checked.

    Attributes:
        held_bytes: how much of the budget it takes until it is stored.
        countries_changed: the number of its rows whose country is not as it was sent.
    """

    payload: _Payload
    held_bytes: int
    countries_changed: int = 0


class SubmissionForm(NamedTuple, Generic[_Payload]):
    """How payloads of one kind are submitted.

    Attributes:
        name: the name of the blueprint.
        paths: POST takes payloads at each of them, PUT at the first one.
        receive: reads and checks the JSON of a payload. Its second argument is the UTC day.
        hint: what to send instead of a body that is not JSON.
        parameters: those of other bodies.
        intercept: reads the body, and returns the JSON of a payload, or the answer to another body. Its arguments
            are the sender and the share of the body.
        refusal: the error for other bodies, if there is no function that intercepts them.
    """

    name: str
    paths: Sequence[str]
    receive: Callable[[bytearray, datetime.date], Received[_Payload]]
    hint: str = ""
    parameters: Sequence[str] = ()
    intercept: Callable[[Sender, Share], bytearray | Response] | None = None
    refusal: type[EidaStatisticsError] | None = None


class SubmissionLimits(NamedTuple):
    """The limits of submissions in a process.

    Attributes:
        concurrency: limits how many payloads are read and stored at once.
        budget: limits the bytes of bodies that are held at once.
        max_payload_bytes: the size of the largest body.
    """

    concurrency: ConcurrencyLimit
    budget: Budget
    max_payload_bytes: int


def create_blueprint(
    form: SubmissionForm[_Payload],
    intake: PayloadIntake[_Payload],
    registry: RegistryRepository,
    limits: SubmissionLimits,
) -> Blueprint:
    """Create the routes."""
    # Longer than other functions, because the routes are closures that share these parts.
    routes = Blueprint(form.name, __name__)
    declare_options(
        routes, RouteOptions(exact_paths=tuple(form.paths), is_open_to_pages=False, counts_submissions=True)
    )
    path, *aliases = form.paths
    reader = _Reader(form, limits.max_payload_bytes)

    @routes.post(path)
    def submit() -> Response:
        """Store a payload."""
        sender = authenticate()
        values = reader.read_values("overlap")
        overlap = parse_overlap(values.get("overlap"))
        with limits.concurrency.slot(), limits.budget.share() as share:
            received = reader.read(sender, share, "overlap")
            if isinstance(received, Response):
                return received
            receipt = intake.ingest(sender.node, received.payload, overlap=overlap, arrival=sender.arrival)
        # For the metrics, as is the outcome.
        g.stored_rows = receipt.rows
        return answer(receipt, received, 201)

    for alias in aliases:
        routes.post(alias, endpoint=alias.strip("/"))(submit)

    @routes.put(path)
    def replace() -> Response:
        """Store a payload in the place of others."""
        sender = authenticate()
        values = reader.read_values("overlap", "replaces")
        overlap, named = parse_overlap(values.get("overlap")), parse_names(values.get("replaces"))
        with limits.concurrency.slot(), limits.budget.share() as share:
            received = reader.read(sender, share, "overlap", "replaces")
            if isinstance(received, Response):
                return received
            receipt, changed = intake.replace(
                sender.node, received.payload, named, overlap=overlap, arrival=sender.arrival
            )
        g.stored_rows = receipt.rows if changed else 0
        g.outcome = "replaced" if changed else "unchanged"
        return answer(receipt, received, 201 if changed else 200)

    def authenticate() -> Sender:
        """Return the node and its revision. This request must not undo later changes of the node's payloads."""
        sender = authenticate_node(request, registry)
        g.token_valid_until = sender.token_valid_until.replace(microsecond=0)
        return sender

    def answer(receipt: Receipt, received: Received[_Payload], status: int) -> Response:
        receipt = msgspec.structs.replace(
            receipt, token_valid_until=g.token_valid_until, countries_changed=received.countries_changed
        )
        return make_json(receipt, status)

    @routes.after_request
    def finish(response: Response) -> Response:
        """Let a refused client finish sending, so that it reads the answer; add the end of its token."""
        if response.status_code >= 400:
            drain(request, limits.max_payload_bytes)
        if (end := g.get("token_valid_until")) is not None:
            response.headers["Token-Valid-Until"] = f"{end:%Y-%m-%dT%H:%M:%SZ}"
        return response

    return routes


class _Reader(Generic[_Payload]):
    """Reads the parameters and the body of the present request."""

    def __init__(self, form: SubmissionForm[_Payload], max_bytes: int) -> None:
        self._form = form
        self._max_bytes = max_bytes

    def read_values(self, *names: str) -> dict[str, str]:
        """Return the parameters: those of payloads, or those of other bodies."""
        return require_parameters(read_parameters(request), optional=(*names, *self._form.parameters))

    def read(self, sender: Sender, share: Share, *names: str) -> Received[_Payload] | Response:
        """Return the payload, or the answer to another body. `names` are the parameters of payloads."""
        form = self._form
        try:
            if form.intercept is None:
                body = read_json(request, self._max_bytes, share)
            else:
                found = form.intercept(sender, share)
                if isinstance(found, Response):
                    return found
                body = found
                require_parameters(read_parameters(request), optional=names)
            received = form.receive(body, datetime.datetime.now(tz=datetime.UTC).date())
        except (NotJSON, UnsupportedMediaType) as error:
            is_other = isinstance(error, NotJSON) or "Content-Encoding" not in request.headers
            if form.refusal is not None and error.subject != EMPTY and is_other:
                raise form.refusal("the body is no payload", hint=form.hint) from error
            if isinstance(error, NotJSON):
                raise NotJSON(error.subject, hint=form.hint) from error
            raise
        check_connected(request)
        share.shrink(received.held_bytes)
        return received
