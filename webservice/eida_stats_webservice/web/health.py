"""GET _health: check that the database is reachable, writable and up to date."""

import threading
import time
from collections.abc import Callable

from flask import Blueprint, Response

from eida_statistics.errors import EidaStatisticsError
from eida_stats_webservice.errors import DatabaseTooSlow

ANSWER_SECONDS = 5


def create_blueprint(ping: Callable[[], None]) -> Blueprint:
    """Create the routes. `ping` has connections of its own, so that it need not wait for one."""
    routes = Blueprint("health", __name__)
    check = Check(ping)

    @routes.get("/_health")
    def health() -> Response:
        """Answer 200 if the database is reachable, writable and up to date, else the problem."""
        check()
        return Response("The service is running and its database is reachable.\n", content_type="text/plain")

    return routes


class Check:
    """Run a check that may hang, in a thread of its own, and wait for it for a limited time.

    A stopped server, or one behind a broken line, does not answer at all. The kernel gives up after a quarter of an
    hour.
    """

    def __init__(self, check: Callable[[], None]) -> None:
        self._check = check
        self._lock = threading.Lock()
        self._under_way: _Running | None = None

    def __call__(self) -> None:
        """Check, or wait for the end of a check that is under way.

        Raises:
            DatabaseTooSlow: if it does not end in time.
            EidaStatisticsError: the error of the check.
        """
        with self._lock:
            if self._under_way is None or self._under_way.over.is_set():
                self._under_way = _Running(self._check)
            running = self._under_way
        left = running.begun + ANSWER_SECONDS - time.monotonic()
        if not running.over.wait(max(left, 0)):
            raise DatabaseTooSlow(hint="It does not answer.")
        if running.error is not None:
            raise running.error


class _Running:
    def __init__(self, check: Callable[[], None]) -> None:
        self.begun = time.monotonic()
        self.over = threading.Event()
        # Replaced when the check has succeeded or failed.
        self.error: EidaStatisticsError | None = EidaStatisticsError()
        # A daemon: it must not keep the process alive.
        threading.Thread(target=self._run, args=(check,), daemon=True).start()

    def _run(self, check: Callable[[], None]) -> None:
        try:
            check()
            self.error = None
        except EidaStatisticsError as error:
            self.error = error
        finally:
            self.over.set()
