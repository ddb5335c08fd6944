"""The access log: a line of JSON for each request, without anything personal."""

import datetime
import json
import logging
import sys
from http import HTTPStatus

from gunicorn.glogging import Logger
from gunicorn.http.wsgi import Response

from eida_stats_webservice.web.headers import KNOWN_PATH, REQUEST_ID
from eida_stats_webservice.web.hooks import Throttle

_MOST_TOLD = 200


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
