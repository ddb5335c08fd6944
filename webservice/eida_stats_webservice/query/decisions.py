"""Keep which groups are small. This depends on closed months only, so it outlives the payloads of open ones."""

import datetime

from eida_stats_webservice.query.answer_cache import AnswerCache, FindAnswer
from eida_stats_webservice.query.repository import StatisticsRepository


class Decisions:
    """Keeps decisions about closed months until their data, nodes or networks change. Threads can share it."""

    def __init__(self) -> None:
        self._kept = AnswerCache()

    def __len__(self) -> int:
        """Return the number of decisions."""
        return len(self._kept)

    def at(self, statistics: StatisticsRepository, first_open: datetime.date) -> FindAnswer:
        """Return a function that finds or makes decisions.

        Args:
            statistics: the statistics of a snapshot.
            first_open: the first open month.
        """
        return self._kept.at(statistics.find_version_before(first_open))
