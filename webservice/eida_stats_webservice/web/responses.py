"""Answers as JSON, and conditional requests (RFC 9110): ETag, If-None-Match, Last-Modified, If-Modified-Since.

werkzeug's own conditional responses answer 304 to `If-None-Match: *`, and know no ETag of a compressed answer.
"""

import datetime

import msgspec
from flask import Request, Response
from werkzeug.http import http_date

# Last-Modified has whole seconds. Shortly after a change, another one may follow within the same second.
_UNSETTLED = datetime.timedelta(seconds=2)


def make_json(document: object, status: int = 200) -> Response:
    """Return a JSON document as an answer."""
    return Response(msgspec.json.encode(document) + b"\n", status=status, content_type="application/json")


def find_matching_etag(request: Request, etag: str) -> str | None:
    """Return the ETag by which the client has the answer already, if it has.

    A compressed answer has another ETag than the same answer uncompressed. `*` does not count: it says that the
    client has any answer, not which.
    """
    given = request.if_none_match
    etags = [] if given.star_tag else [one for one in (etag, f"{etag}:gzip") if given.contains_weak(one)]
    return next(iter(etags), None)


def is_unmodified(request: Request, changed_at: datetime.datetime) -> bool:
    """Return whether nothing has changed since the time that the client names, and it names no ETag."""
    if request.if_none_match or request.if_modified_since is None:
        return False
    return changed_at <= request.if_modified_since


def add_validators(response: Response, changed_at: datetime.datetime, etag: str) -> Response:
    """Add ETag and Last-Modified, by which a client can ask whether the answer has changed."""
    response.set_etag(etag)
    if datetime.datetime.now(tz=datetime.UTC) - changed_at < _UNSETTLED:
        changed_at -= datetime.timedelta(seconds=1)
    response.headers["Last-Modified"] = http_date(changed_at)
    response.headers["Cache-Control"] = "no-cache"
    return response
