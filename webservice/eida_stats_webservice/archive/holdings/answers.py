"""Answer queries of holdings, each from one snapshot of the database."""

import datetime
from collections.abc import Generator, Iterable
from contextlib import closing
from typing import Any

import msgspec

from eida_stats_webservice.archive.holdings.models import HoldingsQuery, HoldingsRow, StreamCounts
from eida_stats_webservice.archive.holdings.repository import HoldingsRepository
from eida_stats_webservice.archive.holdings.rows import RowKeys, make_growth, make_rows, merge_nodes
from eida_stats_webservice.config import PrivacySettings
from eida_stats_webservice.dataselect.cube import DATASELECT
from eida_stats_webservice.query import closed_months
from eida_stats_webservice.query.decisions import Decisions
from eida_stats_webservice.query.model import Statistic, StatisticsQuery
from eida_stats_webservice.query.order import sort_and_limit
from eida_stats_webservice.query.repository import StatisticsRepository
from eida_stats_webservice.query.usage import Usage
from eida_stats_webservice.registry.models import PUBLIC, Viewer
from eida_stats_webservice.registry.repository import RegistryRepository


class HoldingsAnswers:
    """Answers queries of holdings with the rows that a client may see.

    Args:
        statistics: the statistics.
        registry: the nodes and networks.
        holdings: the rows that the nodes hold.
        settings: how small groups of clients are protected.
        decisions: keeps which groups are small.
    """

    def __init__(
        self,
        statistics: StatisticsRepository,
        registry: RegistryRepository,
        holdings: HoldingsRepository,
        settings: PrivacySettings,
        decisions: Decisions,
    ) -> None:
        self._statistics = statistics
        self._registry = registry
        self._holdings = holdings
        self._settings = settings
        self._decisions = decisions

    def answer(
        self, query: HoldingsQuery, today: datetime.date, viewer: Viewer | None = None
    ) -> Generator[HoldingsRow]:
        """Yield the rows of an answer, in its order.

        Args:
            query: the parameters of the request.
            today: the present day.
            viewer: the holder of a token; None for a public answer.
        """
        selection = query.selection
        with self._statistics.snapshot() as snapshot:
            connection = snapshot.connection
            registry = self._registry.read_from(connection)
            keys = RowKeys(selection, registry.list_networks(), dict(registry.list_policies()), viewer or PUBLIC)
            if query.is_growth:
                rows: Iterable[HoldingsRow] = make_growth(keys, self._holdings.read_growth(connection, query))
            else:
                usage = Usage(snapshot, registry, self._settings, decisions=self._decisions)
                is_suppressed = viewer is None and usage.suppresses(selection)
                states = self._holdings.list_states(connection, query, today)
                rows = make_rows(
                    keys,
                    states,
                    self._holdings.read_held(connection, query, states),
                    _read_served(usage, selection, today, viewer),
                    self._count_streams(connection, query, today, is_suppressed=is_suppressed),
                    is_suppressed=is_suppressed,
                )
            yield from sort_and_limit(merge_nodes(rows) if selection.merge_nodes else rows, selection)

    def _count_streams(
        self, connection: Any, query: HoldingsQuery, today: datetime.date, *, is_suppressed: bool
    ) -> Iterable[StreamCounts]:
        if not query.has_streams:
            return ()
        selection = query.selection
        if is_suppressed:
            # Bytes of open months are not shown either.
            first_open = closed_months.find_first_open_month(today, self._settings.closed_after_days)
            selection = closed_months.keep_closed_months(selection, first_open)
        return self._holdings.count_streams(connection, selection)


def _read_served(
    usage: Usage, query: StatisticsQuery, today: datetime.date, viewer: Viewer | None
) -> Generator[Statistic]:
    """Yield the rows of the answer of dataselect to a query, with nodes apart."""
    served = msgspec.structs.replace(
        query, cube=DATASELECT, details=frozenset(), merge_nodes=False, sort=None, limit=None
    )
    rows = (
        usage.answer_public(served, today, sketches=False)
        if viewer is None
        else usage.answer_restricted(served, viewer, today, sketches=False)
    )
    with closing(rows):
        yield from rows
