"""Functions that run after a request; if one fails, the answer goes out unchanged."""

import logging
import threading
import time
from functools import wraps

from flask import Flask, Response
from flask.typing import AfterRequestCallable

_QUIET_SECONDS = 60

log = logging.getLogger(__name__)


class Throttle:
    """Limits what is logged about one fault to once a minute; each process counts for itself."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._quiet_until = -float("inf")

    def is_due(self) -> bool:
        """Return whether the fault is to be logged now."""
        now = time.monotonic()
        with self._lock:
            if now < self._quiet_until:
                return False
            self._quiet_until = now + _QUIET_SECONDS
            return True


def contain_failures(app: Flask) -> None:
    """Keep answers unchanged if an after-request function fails.

    Flask would answer 500, even if the payload of the request was stored. Call this after all functions are
    registered, including those of blueprints and extensions.
    """
    for functions in app.after_request_funcs.values():
        functions[:] = map(_contain, functions)


def _contain(function: AfterRequestCallable[Response]) -> AfterRequestCallable[Response]:
    """Return a function that does the same, and returns the response unchanged if that fails."""
    throttle = Throttle()
    name = getattr(function, "__qualname__", repr(type(function)))

    @wraps(function)
    def contained(response: Response) -> Response:
        try:
            return function(response)  # type: ignore[return-value] # none of them is a coroutine
        except OSError as error:
            if throttle.is_due():
                log.warning("%s failed after a request, which was answered all the same: %s", name, error)
        except Exception:
            # A fault of the program: the log needs the traceback.
            if throttle.is_due():
                log.exception("%s failed after a request, which was answered all the same", name)
        return response

    return contained
