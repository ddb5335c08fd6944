"""Errors as RFC 9457 problem details: a plain sentence for the client, the cause for the log."""

import html
import logging

import msgspec
from flask import Flask, Response, g, request
from werkzeug.exceptions import HTTPException, RequestEntityTooLarge

from eida_statistics.errors import PROBLEM_PREFIX, EidaStatisticsError
from eida_stats_webservice.errors import (
    Busy,
    DatabaseForbidden,
    DatabaseNotReady,
    DatabaseTooSlow,
    DatabaseUnavailable,
    EasTooSlow,
    EasUnavailable,
    MissingToken,
    TooLarge,
)

MEDIA_TYPE = "application/problem+json"
# After how many seconds the same request may succeed.
RETRY_AFTER_SECONDS = {429: 60, 503: 30}
# Statistics are asked for as text, unless it says so; an error is then comment, as programs expect.
_OF_TEXT = "/dataselect/"
_PROBLEMS_FOR = ("json", "parquet")
# Clients can do something about these, and the log need not grow much when there is much to do.
_OF_LOAD = (Busy, DatabaseTooSlow, EasTooSlow)
# The sentence names the cause, and each of many requests fails for it: a traceback would only fill the log.
_WITHOUT_TRACEBACK = (DatabaseUnavailable, DatabaseNotReady, DatabaseForbidden, EasUnavailable)
# The dashboard of the federation looks for this word in an answer, and then asks its user to try less.
_HTML_OF_FAULT = "<p>Time-out or fault: the service cannot answer this now. Ask for less, or try again later.</p>"

log = logging.getLogger(__name__)


def register(app: Flask) -> None:
    """Answer every error of the application with problem details."""
    app.register_error_handler(EidaStatisticsError, make_response)
    app.register_error_handler(RequestEntityTooLarge, _answer_too_large)
    app.register_error_handler(HTTPException, _answer_http_error)
    app.register_error_handler(Exception, _answer_unexpected)


def make_response(error: EidaStatisticsError) -> Response:
    """Return the answer to a request that failed, and log it if the service is at fault."""
    detail = ". ".join(filter(None, [error.subject, error.hint]))
    if isinstance(error, _OF_LOAD):
        log.warning("request %s: %s: %s", g.request_id, error.title, _describe_cause(error))
    elif error.http_status >= 500:
        cause = None if isinstance(error, _WITHOUT_TRACEBACK) else error
        log.error("request %s: %s", g.request_id, error, exc_info=cause)
        detail = f"The administrator finds the cause in the service's log, at request {g.request_id}."
    response = _make_problem(error.http_status, error.problem, error.title, detail, error.members)
    if isinstance(error, MissingToken):
        response.headers["WWW-Authenticate"] = "Bearer"
    if error.http_status in RETRY_AFTER_SECONDS:
        response.headers["Retry-After"] = str(RETRY_AFTER_SECONDS[error.http_status])
    return response


def _describe_cause(error: EidaStatisticsError) -> str:
    """Return the cause of an error, on one line."""
    return str(error.__cause__ or error.subject or error.hint).strip().partition("\n")[0]


def _answer_too_large(_error: RequestEntityTooLarge) -> Response:
    return make_response(TooLarge(f"more than {request.max_content_length:,} bytes"))


def _answer_http_error(error: HTTPException) -> Response:
    status = error.code or 500
    detail = error.description or ""
    if status == 405 and request.path.endswith("/dataselect/restricted"):
        detail = "POST your token here."
    response = _make_problem(status, None, error.name, detail)
    if (allowed := getattr(error, "valid_methods", None)) is not None:
        response.headers["Allow"] = ", ".join(allowed)
    return response


def _answer_unexpected(error: Exception) -> Response:
    log.error("request %s: unforeseen error", g.request_id, exc_info=error)
    return make_response(EidaStatisticsError())


def _make_problem(
    status: int, problem: str | None, title: str, detail: str, members: dict[str, object] | None = None
) -> Response:
    # For the metrics.
    g.outcome = problem or "refused"
    body = {
        "type": "about:blank" if problem is None else PROBLEM_PREFIX + problem,
        "title": title,
        "status": status,
        **({"detail": detail} if detail else {}),
        **(members or {}),
        **({"token_valid_until": end} if (end := g.get("token_valid_until")) is not None else {}),
    }
    if _OF_TEXT in request.path and request.args.get("format") not in _PROBLEMS_FOR:
        return Response(as_comment(body), status=status, content_type="text/plain; charset=utf-8")
    return Response(_to_json(status, title, body), status=status, content_type=MEDIA_TYPE)


def _to_json(status: int, title: str, body: dict[str, object]) -> bytes:
    """Return problem details as JSON, with a paragraph of fixed text as its first member.

    The dashboard of the federation shows the first paragraph of HTML that it finds in an answer. So no other member
    may have one: they may quote what a client has sent.
    """
    paragraph = _HTML_OF_FAULT if status >= 500 else f"<p>{html.escape(title)}</p>"
    members = msgspec.json.encode(body).replace(b"<", rb"\u003c")
    return b'{"html":' + msgspec.json.encode(paragraph) + b"," + members[1:] + b"\n"


def as_comment(body: dict[str, object]) -> str:
    """Return problem details as lines of comment, for readers of CSV and text."""
    return "".join(f"# {name}: {' '.join(str(value).split())}\n" for name, value in body.items())
