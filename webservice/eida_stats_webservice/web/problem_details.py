"""Errors as RFC 9457 problem details: a plain sentence for the client, the cause for the log."""

import html
import logging
from http.client import NOT_IMPLEMENTED

import msgspec
from flask import Flask, Response, g, request
from werkzeug.exceptions import HTTPException, MethodNotAllowed, RequestEntityTooLarge

from eida_statistics.errors import PROBLEM_PREFIX, EidaStatisticsError
from eida_stats_webservice.errors import TooLarge
from eida_stats_webservice.web.route_options import find_options_for_errors, find_wrong_method_hint

MEDIA_TYPE = "application/problem+json"
# The dashboard of the federation looks for "Time-out" in an answer, and then advises its user to ask for less.
_HTML_OF_FAULT = "<p>Time-out or fault: the service cannot answer this now. Ask for less, or try again later.</p>"

log = logging.getLogger(__name__)


def register(app: Flask) -> None:
    """Answer every error of the application with problem details."""
    app.register_error_handler(EidaStatisticsError, make_response)
    app.register_error_handler(RequestEntityTooLarge, _answer_too_large)
    app.register_error_handler(MethodNotAllowed, _answer_wrong_method)
    app.register_error_handler(HTTPException, _answer_http_error)
    app.register_error_handler(Exception, _answer_unexpected)


def make_response(error: EidaStatisticsError) -> Response:
    """Return the answer to a request that failed, and log the error if the service is at fault."""
    detail = note_problem(error)
    response = _make_problem(error.http_status, error.problem, error.title, detail, error.members)
    response.headers.update(error.headers)
    return response


def note_problem(error: EidaStatisticsError) -> str:
    """Return what a client may know of an error. Log it if the service is at fault, and count it in the metrics."""
    g.outcome = error.problem
    if error.http_status >= 500:
        _log_fault(error)
        if not error.is_reason_public:
            return f"The administrator finds the cause in the service's log, at request {g.request_id}."
    return ". ".join(filter(None, [error.subject, error.hint]))


def _log_fault(error: EidaStatisticsError) -> None:
    if error.is_reason_public:
        log.warning("request %s: %s: %s", g.request_id, error.title, _describe_cause(error))
    else:
        log.error("request %s: %s", g.request_id, error, exc_info=error if error.logs_traceback else None)


def _describe_cause(error: EidaStatisticsError) -> str:
    return str(error.__cause__ or error.subject or error.hint).strip().partition("\n")[0]


def _answer_too_large(_error: RequestEntityTooLarge) -> Response:
    return make_response(TooLarge(f"more than {request.max_content_length:,} bytes"))


def _answer_wrong_method(error: MethodNotAllowed) -> Response:
    response = _make_problem(405, None, error.name, find_wrong_method_hint() or error.description or "")
    if error.valid_methods is not None:
        response.headers["Allow"] = ", ".join(error.valid_methods)
    return response


def _answer_http_error(error: HTTPException) -> Response:
    return _make_problem(error.code or 500, None, error.name, error.description or "")


def _answer_unexpected(error: Exception) -> Response:
    log.error("request %s: unexpected error", g.request_id, exc_info=error)
    return make_response(EidaStatisticsError())


def _make_problem(
    status: int, problem: str | None, title: str, detail: str, members: dict[str, object] | None = None
) -> Response:
    # For the metrics.
    g.outcome = problem or "refused"
    options = find_options_for_errors()
    if options.write_error is not None:
        return options.write_error(status, title, detail)
    body = {
        "type": "about:blank" if problem is None else PROBLEM_PREFIX + problem,
        "title": title,
        "status": status,
        **({"detail": detail} if detail else {}),
        **(members or {}),
        **({"token_valid_until": end} if (end := g.get("token_valid_until")) is not None else {}),
    }
    if options.wants_text_errors(request):
        return Response(format_comment(body), status=status, content_type="text/plain; charset=utf-8")
    return Response(_format_json(status, title, body), status=status, content_type=MEDIA_TYPE)


def _format_json(status: int, title: str, body: dict[str, object]) -> bytes:
    """Return problem details as JSON, with a paragraph of fixed text as its first member.

    The dashboard of the federation shows the first HTML paragraph of an answer. The other members may quote the
    client, so their `<` is escaped.
    """
    # A feature that is not implemented does not get better with time.
    is_fault = status >= 500 and status != NOT_IMPLEMENTED
    paragraph = _HTML_OF_FAULT if is_fault else f"<p>{html.escape(title)}</p>"
    members = msgspec.json.encode(body).replace(b"<", rb"\u003c")
    return b'{"html":' + msgspec.json.encode(paragraph) + b"," + members[1:] + b"\n"


def format_comment(body: dict[str, object]) -> str:
    """Return problem details as lines of comment, for readers of CSV and text."""
    return "".join(f"# {name}: {' '.join(str(value).split())}\n" for name, value in body.items())
