"""The workers of gunicorn."""

import contextlib
import socket
from http import HTTPStatus

from gunicorn.http.errors import LimitRequestLine
from gunicorn.workers.gthread import ThreadWorker

from eida_statistics.errors import PROBLEM_PREFIX
from eida_stats_webservice.errors import BadParameter
from eida_stats_webservice.server.gunicorn_config import limit_request_line
from eida_stats_webservice.web.problem_details import format_comment

_LINGER_SECONDS = 1
_LINGER_READS = 16
_CHUNK_BYTES = 1 << 16


class Worker(ThreadWorker):  # type: ignore[misc] # gunicorn ships no types
    """A worker with threads that answers a URL that is too long like other errors of queries.

    gunicorn refuses the request line before Flask sees it, with HTML that pages of other sites may not read.
    """

    def handle_error(self, req: object, client: socket.socket, addr: object, exc: Exception) -> None:
        """Answer a malformed request. The base class sends a web page."""
        if not isinstance(exc, LimitRequestLine):
            super().handle_error(req, client, addr, exc)
            return
        error = BadParameter(f"the URL has more than {limit_request_line - len('GET  HTTP/1.1')} characters")
        problem = {"type": PROBLEM_PREFIX + error.problem, "title": error.title, "status": error.http_status}
        body = format_comment(problem | {"detail": error.subject}).encode()
        head = [
            f"HTTP/1.1 {error.http_status} {HTTPStatus(error.http_status).phrase}",
            "Content-Type: text/plain; charset=utf-8",
            # Web pages of other sites may read this, too.
            "Access-Control-Allow-Origin: *",
            f"Content-Length: {len(body)}",
            "Connection: close",
        ]
        self.log.warning("Invalid request: the request line is too long")
        with contextlib.suppress(OSError):
            client.sendall("\r\n".join([*head, "", ""]).encode() + body)
            client.shutdown(socket.SHUT_WR)
            # Closing with unread data resets the connection, and the client may lose the answer. gunicorn 27 drains
            # the data itself, but 25.2, the oldest version that is allowed, does not.
            client.settimeout(_LINGER_SECONDS)
            for _ in range(_LINGER_READS):
                if not client.recv(_CHUNK_BYTES):
                    break
