"""Keep decisions about small groups of clients.

They depend on closed months, nodes and networks only, so they outlive payloads that have only open months.
"""

import datetime

from eida_stats_webservice.query.answer_cache import AnswerCache, FindAnswer
from eida_stats_webservice.query.repository import StatisticsRepository


class Decisions:
    """Keeps decisions until closed months, nodes or networks change. Threads can share it."""

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
