"""The workers of gunicorn, and their access log."""

import contextlib
import datetime
import json
import logging
import socket
import sys
from http import HTTPStatus

from gunicorn.glogging import Logger
from gunicorn.http.errors import LimitRequestLine
from gunicorn.http.wsgi import Response
from gunicorn.workers.gthread import ThreadWorker

from eida_statistics.errors import PROBLEM_PREFIX, BadParameter
from eida_stats_webservice.serving import limit_request_line
from eida_stats_webservice.web.headers import KNOWN_PATH, REQUEST_ID
from eida_stats_webservice.web.hooks import Throttle
from eida_stats_webservice.web.problem_details import as_comment

_MOST_TOLD = 200
_LINGER_SECONDS = 1
_LINGER_READS = 16
_CHUNK_BYTES = 1 << 16


class Log(Logger):  # type: ignore[misc] # gunicorn ships no types
    """Writes each request as a line of JSON.

    The address of the client is personal and not written, nor the User-Agent, which may have one. Unknown paths and
    queries that were refused are not written either: they may contain a secret.
    """

    def setup(self, cfg: object) -> None:
        """Open the logs; see the base class."""
        super().setup(cfg)
        throttle = Throttle()

        def report(_record: logging.LogRecord) -> None:
            if throttle.is_due():
                self.error("the access log cannot be written: %s", sys.exception())

        for handler in self.access_log.handlers:
            # Its own writes a traceback for each request.
            handler.handleError = report

    def access(
        self, resp: Response, _req: object, environ: dict[str, str], request_time: datetime.timedelta
    ) -> None:
        """Write the line of one request; see the base class."""
        if not self.access_log_enabled:
            return
        status = int(str(resp.status).split(maxsplit=1)[0])
        headers = {name.lower(): value for name, value in resp.headers}
        understood = status < HTTPStatus.BAD_REQUEST and "/dataselect/" in environ.get("PATH_INFO", "")
        line = {
            "time": datetime.datetime.now(tz=datetime.UTC).isoformat(timespec="milliseconds"),
            "request": headers.get(REQUEST_ID.lower()),
            "method": environ.get("REQUEST_METHOD", "")[:_MOST_TOLD],
            "path": environ.get("PATH_INFO", "")[:_MOST_TOLD] if environ.get(KNOWN_PATH) else None,
            "query": environ.get("QUERY_STRING", "") if understood else None,
            "status": status,
            "bytes": resp.sent,
            "ms": round(request_time.total_seconds() * 1000),
        }
        self.access_log.info("%s", json.dumps(line))


class Worker(ThreadWorker):  # type: ignore[misc] # gunicorn ships no types
    """A worker with threads that answers a URL that is too long as it answers other questions it does not take."""

    def handle_error(self, req: object, client: socket.socket, addr: object, exc: Exception) -> None:
        """Answer what cannot be read; see the base class, which answers with a web page."""
        if not isinstance(exc, LimitRequestLine):
            super().handle_error(req, client, addr, exc)
            return
        error = BadParameter(f"the URL has more than {limit_request_line - len('GET  HTTP/1.1')} characters")
        problem = {"type": PROBLEM_PREFIX + error.problem, "title": error.title, "status": error.http_status}
        body = as_comment(problem | {"detail": error.subject}).encode()
        head = [
            f"HTTP/1.1 {error.http_status} {HTTPStatus(error.http_status).phrase}",
            "Content-Type: text/plain; charset=utf-8",
            # Pages of other sites may read this, too.
            "Access-Control-Allow-Origin: *",
            f"Content-Length: {len(body)}",
            "Connection: close",
        ]
        self.log.warning("Invalid request: the request line is too long")
        with contextlib.suppress(OSError):
            client.sendall("\r\n".join([*head, "", ""]).encode() + body)
            client.shutdown(socket.SHUT_WR)
            # A connection that is closed before all was read is reset, and the answer may be lost with it.
            client.settimeout(_LINGER_SECONDS)
            for _ in range(_LINGER_READS):
                if not client.recv(_CHUNK_BYTES):
                    break
