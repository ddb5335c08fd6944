"""Decide which records follow from the status of a ringserver, since its log does not show all ends of sessions."""

import datetime
from collections import deque

from eida_statistics.connections import CloseAfter, Record, ServerStart, Snapshot
from eida_stats_aggregator.ringserver.follow_state import FollowState
from eida_stats_aggregator.ringserver.status import Status

# A restart takes less.
_PATIENCE = datetime.timedelta(minutes=2)
# A session that is missing in two lists has ended. Older lists add little once the centre can be reached again.
_KEPT_SNAPSHOTS = 2


class Confirmations:
    """The records that wait to be sent.

    Args:
        instance: the ringserver.
        close_after: after how many seconds sessions end that nothing confirms.
        state: the acknowledged progress.
    """

    def __init__(self, instance: str, close_after: int, state: FollowState) -> None:
        self._instance = instance
        self._close_after = close_after
        self._state = state
        self._starts: list[ServerStart] = []
        self._snapshots: deque[Snapshot] = deque(maxlen=_KEPT_SNAPSHOTS)
        self._rule: CloseAfter | None = None

    def note(self, status: Status) -> None:
        """Note the status of the ringserver."""
        state = self._state
        if not status.is_reachable:
            state.failed_since = state.failed_since or status.time
            if status.time - state.failed_since > _PATIENCE:
                self.note_unconfirmed(status.time)
            return
        start = status.server_start
        known = self._starts[-1].time if self._starts else state.server_start
        if start is not None and start != known:
            failed = state.failed_since
            # A request that failed after the start says nothing about the sessions before.
            failed = failed if failed is not None and failed < start else None
            self._starts.append(ServerStart(self._instance, start, failed))
        state.failed_since = None
        if status.sessions is not None:
            self._snapshots.append(Snapshot(self._instance, status.time, status.sessions))
        self._set_rule(status.time, None)

    def note_unconfirmed(self, now: datetime.datetime) -> None:
        """Note that nothing confirms sessions."""
        self._set_rule(now, self._close_after)

    def _set_rule(self, now: datetime.datetime, seconds: int | None) -> None:
        known = self._state.close_after if self._rule is None else self._rule.seconds
        if seconds != known:
            self._rule = CloseAfter(self._instance, now, seconds)

    def list_waiting(self) -> list[Record]:
        """Return the records that wait."""
        return [*self._starts, *self._snapshots, *([] if self._rule is None else [self._rule])]

    def acknowledge(self) -> None:
        """Note in the state that these records have arrived."""
        if self._starts:
            self._state.server_start = self._starts[-1].time
        if self._rule is not None:
            self._state.close_after = self._rule.seconds
        self._starts.clear()
        self._snapshots.clear()
        self._rule = None
