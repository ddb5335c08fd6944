"""The access log: one line of JSON for each request, without personal data."""

import datetime
import json
import logging
import sys
from http import HTTPStatus

from gunicorn.glogging import Logger
from gunicorn.http.wsgi import Response

from eida_stats_webservice.web.headers import KNOWN_PATH, LOGGED_QUERY, REQUEST_ID
from eida_stats_webservice.web.hooks import Throttle

_MAX_CHARACTERS = 200


class Log(Logger):  # type: ignore[misc] # gunicorn ships no types
    """Writes each request as a line of JSON.

    It omits the client's address and User-Agent, which are personal data. It also omits unknown paths and queries
    that were refused, because they may contain a secret.
    """

    def setup(self, cfg: object) -> None:
        """Open the logs."""
        super().setup(cfg)
        throttle = Throttle()

        def report(_record: logging.LogRecord) -> None:
            if throttle.is_due():
                self.error("the access log cannot be written: %s", sys.exception())

        for handler in self.access_log.handlers:
            # The default writes a traceback for each request.
            handler.handleError = report

    def access(
        self, resp: Response, _req: object, environ: dict[str, str], request_time: datetime.timedelta
    ) -> None:
        """Write the line of one request."""
        if not self.access_log_enabled:
            return
        status = int(str(resp.status).split(maxsplit=1)[0])
        headers = {name.lower(): value for name, value in resp.headers}
        logs_query = status < HTTPStatus.BAD_REQUEST and environ.get(LOGGED_QUERY)
        line = {
            "time": datetime.datetime.now(tz=datetime.UTC).isoformat(timespec="milliseconds"),
            "request": headers.get(REQUEST_ID.lower()),
            "method": environ.get("REQUEST_METHOD", "")[:_MAX_CHARACTERS],
            "path": environ.get("PATH_INFO", "")[:_MAX_CHARACTERS] if environ.get(KNOWN_PATH) else None,
            "query": environ.get("QUERY_STRING", "") if logs_query else None,
            "status": status,
            "bytes": resp.sent,
            "ms": round(request_time.total_seconds() * 1000),
        }
        self.access_log.info("%s", json.dumps(line))
