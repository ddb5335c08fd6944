"""Write the answers to queries."""

import datetime
from collections.abc import Callable, Generator, Iterable
from contextlib import closing
from itertools import chain, islice

from flask import Request, Response, request

from eida_stats_webservice.errors import NothingFound
from eida_stats_webservice.query.cube import Cube
from eida_stats_webservice.query.formats import choose_format, list_columns, list_values
from eida_stats_webservice.query.model import OutputOptions, Statistic
from eida_stats_webservice.web.concurrency import ConcurrencyLimit
from eida_stats_webservice.web.responses import add_validators, find_matching_etag, is_unmodified


def wants_text_errors(request: Request) -> bool:
    """Return whether a client reads CSV or text, where an error is a comment."""
    return request.args.get("format") not in ("json", "parquet")


def respond_conditionally(
    validators: tuple[str, datetime.datetime], check: Callable[[], None], write: Callable[[], Response]
) -> Response:
    """Return an answer with its validators, or 304 if the client has it already.

    Args:
        validators: the ETag, and the time of the last change.
        check: checks the names in the query.
        write: writes the answer.
    """
    etag, changed_at = validators
    if (known := find_matching_etag(request, etag)) is not None:
        return add_validators(Response(status=304), changed_at, known)
    # Unlike an ETag, a time does not prove that there was an answer: names are checked first.
    check()
    if is_unmodified(request, changed_at):
        return add_validators(Response(status=304), changed_at, etag)
    return add_validators(write(), changed_at, etag)


def respond(
    cube: Cube,
    concurrency: ConcurrencyLimit,
    rows: Generator[Statistic],
    options: OutputOptions,
    check: Callable[[], None] = lambda: None,
) -> Response:
    """Write an answer. Its query occupies a slot until all of it is sent, or the client disconnects."""

    def run() -> Generator[Statistic]:
        with closing(rows), concurrency.slot():
            check()
            yield from rows

    running = run()
    response = _write(cube, running, options)
    response.call_on_close(running.close)
    return response


def _write(cube: Cube, rows: Iterable[Statistic], options: OutputOptions) -> Response:
    """Write an answer. A small one is complete, and cannot fail any more, before its first byte is sent."""
    remaining = iter(rows)
    first = next(remaining, None)
    if first is None and options.nodata == 204:
        nothing = Response(status=204)
        del nothing.headers["Content-Type"]
        return nothing
    if first is None and options.nodata == 404:
        raise NothingFound
    parameters = request.query_string.decode("ascii", "replace")
    found = remaining if first is None else chain([first], remaining)
    written = choose_format(options)
    chunks = written.write(list_values(found, cube, options), list_columns(cube, options), parameters)
    begun = list(islice(chunks, 2))
    body = b"".join([*begun, *chunks]) if len(begun) < 2 or not begun[1] else chain(begun, chunks)
    return Response(body, content_type=written.content_type)
