"""Make decisions about small groups again in the background, so that queries after a change need not wait."""

import datetime
import logging
import threading
import time

from eida_statistics.errors import EidaStatisticsError
from eida_stats_webservice.query.decisions import Decisions
from eida_stats_webservice.query.model import DataVersion
from eida_stats_webservice.query.usage import Usage
from eida_stats_webservice.web.hooks import Throttle

_CHECK_SECONDS = 2.0
# A decision that no query has used for so long is left to the next query that needs it.
_USED_SECONDS = 3600
# Renewals take at most a tenth of a core, even if closed months change all the time.
_SHARE_OF_CORE = 0.1

log = logging.getLogger(__name__)


class Renewal:
    """Makes the decisions that queries have used in the last hour again, after the data have changed.

    Args:
        usage: answers queries with the decisions.
        decisions: the decisions.
    """

    def __init__(self, usage: Usage, decisions: Decisions) -> None:
        self._usage = usage
        self._decisions = decisions
        self._seen: DataVersion | None = None

    def start(self) -> None:
        """Renew decisions in a thread, until the process ends."""
        # A daemon: it must not keep the process alive.
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        throttle = Throttle()
        taken = 0.0
        while True:
            time.sleep(max(_CHECK_SECONDS, taken / _SHARE_OF_CORE))
            # Of this thread alone: the database may keep it waiting.
            begun = time.thread_time()
            try:
                self.renew()
            except EidaStatisticsError:
                # The database may be away. Queries report that, and make the decisions that they need.
                pass
            except Exception:
                # A fault of the program: the log needs the traceback.
                if throttle.is_due():
                    log.exception("decisions about small groups were not renewed")
            taken = time.thread_time() - begun

    def renew(self) -> None:
        """Make outdated decisions again, if the data have not changed since the last call."""
        used = self._decisions.list_used(_USED_SECONDS)
        if not used:
            return
        today = datetime.datetime.now(tz=datetime.UTC).date()
        version = self._usage.find_version_of_decisions(today)
        if version != self._seen:
            # More changes may follow, since payloads often arrive one after another.
            self._seen = version
            return
        for one in used:
            if one.version != version:
                self._usage.make_decision(one, today)
