"""Follow a ringserver without an end: its logs at each pass, its status every 30 seconds."""

import datetime
import time
from collections.abc import Callable

from eida_statistics.ringserver.identity import ClientKey
from eida_stats_aggregator.errors import RecordsNotSent, RecordsRefused
from eida_stats_aggregator.ringserver.confirmations import Confirmations
from eida_stats_aggregator.ringserver.follow_state import FollowState, StateFile
from eida_stats_aggregator.ringserver.follower import Complaints, Follower
from eida_stats_aggregator.ringserver.status import read_status

STATUS_SECONDS = 30
_LONGEST_WAIT_SECONDS = 60
_UNSEEN = "Ends of sessions that the log does not show are not seen."


class StatusWatch:
    """Requests the status of a ringserver.

    Args:
        url: that of the ringserver, None for no requests.
        key: replaces addresses by hashes.
        confirmations: receives the status.
        state: the acknowledged progress.
        file: keeps the state.
        complaints: prints errors.
    """

    def __init__(
        self,
        url: str | None,
        key: ClientKey,
        confirmations: Confirmations,
        state: FollowState,
        file: StateFile,
        complaints: Complaints,
    ) -> None:
        self._url = url
        self._key = key
        self._confirmations = confirmations
        self._state = state
        self._file = file
        self._complaints = complaints

    def check(self) -> None:
        """Request the status.

        Raises:
            UnusableState: if the time of a failure cannot be kept.
        """
        if self._url is None:
            self._confirmations.note_unconfirmed(datetime.datetime.now(datetime.UTC))
            return
        failed_since = self._state.failed_since
        status = read_status(self._url, self._key)
        self._confirmations.note(status)
        if self._state.failed_since != failed_since:
            self._file.save(self._state)
        if status.failures:
            self._complaints.set("status", f"the status is not complete: {'; '.join(status.failures)}\n{_UNSEEN}")
        else:
            self._complaints.clear("status", f"the status of {self._url} is complete again")


def follow(
    follower: Follower, watch: StatusWatch, complaints: Complaints, every: float, after_pass: Callable[[], None]
) -> None:
    """Make one pass after the other. While the service does not answer, the pauses grow.

    Raises:
        RecordsRefused: if the service refuses records.
        ForeignToken: if the token is that of another node than before.
        UnusableState: if the state cannot be written.
    """
    next_status = next_pass = 0.0
    failures = 0
    while True:
        if time.monotonic() >= next_status:
            next_status = time.monotonic() + STATUS_SECONDS
            watch.check()
        if time.monotonic() >= next_pass:
            try:
                follower.run_pass()
            except RecordsRefused:
                raise
            except RecordsNotSent as error:
                complaints.set("service", f"{error}\nTrying again.")
                next_pass = time.monotonic() + min(every * 2**failures, _LONGEST_WAIT_SECONDS)
                failures = min(failures + 1, 16)
            else:
                complaints.clear("service", "the service takes records again")
                failures = 0
                after_pass()
        time.sleep(every)
