"""The text in which FDSN services report errors."""

import datetime
from http import HTTPStatus

from flask import Response, request

from eida_statistics.texts import printable

VERSION = "1.0.0"
"""The version of the service. Its first two numbers are those of the specification."""

_SPECIFICATION = "https://www.fdsn.org/webservices/fdsnws-availability-1.0.pdf"
_URL_CHARACTERS = 1000


def write_error(status: int, title: str, detail: str) -> Response:
    """Return an error in the text of FDSN services."""
    now = datetime.datetime.now(tz=datetime.UTC)
    lines = [
        f"Error {status}: {HTTPStatus(status).phrase}",
        f"{title}. {detail}".removesuffix(" "),
        f"Usage details are available from {_SPECIFICATION}",
        f"Request:\n{printable(request.url[:_URL_CHARACTERS])}",
        f"Request Submitted:\n{now:%Y-%m-%dT%H:%M:%S.%fZ}",
        f"Service version:\n{VERSION}",
    ]
    return Response("\n\n".join(lines) + "\n", status=status, content_type="text/plain; charset=utf-8")
