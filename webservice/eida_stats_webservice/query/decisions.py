"""Keep which groups are small. This depends on closed months only, so it outlives the payloads of open ones."""

import datetime

from eida_stats_webservice.query.answer_cache import AnswerCache, FindAnswer
from eida_stats_webservice.query.model import DataVersion
from eida_stats_webservice.query.repository import StatisticsRepository


class Decisions:
    """Keeps decisions about closed months until their data, nodes or networks change. Threads can share it."""

    def __init__(self) -> None:
        self._kept = AnswerCache()
        # A query of all payloads is worth it after a change only.
        self._latest: tuple[DataVersion, datetime.date, DataVersion] | None = None

    def __len__(self) -> int:
        """Return the number of decisions."""
        return len(self._kept)

    def at(self, statistics: StatisticsRepository, first_open: datetime.date) -> FindAnswer:
        """Return a function that finds or makes decisions.

        Args:
            statistics: the statistics of a snapshot.
            first_open: the first open month.
        """
        version = statistics.data_version()
        latest = self._latest
        if latest is None or latest[:2] != (version, first_open):
            latest = self._latest = version, first_open, statistics.find_version_before(first_open)
        return self._kept.at(latest[2])
