"""Answer queries: check the names in them, suppress small groups of clients, disclose sketches."""

import datetime
from collections.abc import Callable, Collection, Generator, Iterable, Iterator
from contextlib import closing, contextmanager
from functools import partial

import msgspec

from eida_stats_webservice.config import PrivacySettings
from eida_stats_webservice.errors import BadParameter, ForbiddenNetwork, RestrictedNetwork
from eida_stats_webservice.query import closed_months, sketch_disclosure, suppression
from eida_stats_webservice.query.answer_cache import FindAnswer, make_answer
from eida_stats_webservice.query.cube import ALL, Cube
from eida_stats_webservice.query.decisions import Decisions, FindDecision, Used
from eida_stats_webservice.query.model import DataVersion, Key, Statistic, StatisticsQuery, matches
from eida_stats_webservice.query.order import sort_and_limit
from eida_stats_webservice.query.repository import StatisticsRepository
from eida_stats_webservice.query.sketch_disclosure import Disclosure
from eida_stats_webservice.query.suppression import Cells, SuppressedKeys
from eida_stats_webservice.query.unions import roll_up
from eida_stats_webservice.registry.models import PUBLIC, NetworkRecord, Viewer
from eida_stats_webservice.registry.repository import RegistryRepository
from eida_stats_webservice.web.parameters import quote_parameter, quote_value

_FORBIDDEN_HINT = "Its operator, or the operator of its node, decides who may see it."


class Usage:
    """Answers queries with the rows that a client may see.

    Args:
        statistics: the statistics.
        registry: the nodes and networks.
        settings: how small groups of clients are protected.
        find_answer: finds or makes public answers; by default, none is kept. An answer that is kept must be of the
            same version as all others, so statistics and registry have to be those of one snapshot then.
        decisions: keeps which groups are small. Without them, a query with filters reads all rows without them.
    """

    def __init__(
        self,
        statistics: StatisticsRepository,
        registry: RegistryRepository,
        settings: PrivacySettings,
        find_answer: FindAnswer = make_answer,
        decisions: Decisions | None = None,
    ) -> None:
        self._statistics = statistics
        self._registry = registry
        self._settings = settings
        self._find_answer = find_answer
        self._decisions = decisions
        # Only while it answers from a snapshot.
        self._find_decision: FindDecision | None = None

    def check_kept(self, query: StatisticsQuery) -> None:
        """Check that the sums of all days of a query are kept.

        Raises:
            BadParameter: if the first ones are not. An answer without them would look like one without data.
        """
        first_day = self._statistics.find_first_day(query)
        if first_day is not None and query.grain is not None and query.start < first_day:
            raise BadParameter(
                f"{query.grain.name}s before {first_day} are not kept",
                hint=f"Use start={first_day} or later, or a longer unit of time than {query.grain.name}s.",
                parameter="start",
            )

    def check_public_names(self, query: StatisticsQuery, *others: Cube) -> None:
        """Check that the nodes and networks of a public query exist and are public.

        Args:
            query: the query.
            others: further cubes of which the answer consists.

        Raises:
            BadParameter: if there is no such node or network.
            RestrictedNetwork: if a network is restricted at all nodes of the query.
        """
        self._check_nodes(query)
        if query.selects_streams:
            paths = " or ".join(f"…/{cube.name}/restricted" for cube in (query.cube, *others))
            hint = f"If you may see it, send your token: POST {paths}"
            self._find_networks(query, PUBLIC, self._list_networks(query), partial(RestrictedNetwork, hint=hint))

    def resolve_names(self, query: StatisticsQuery, viewer: Viewer) -> StatisticsQuery:
        """Return a restricted query with the codes of networks in the place of patterns.

        Raises:
            BadParameter: if there is no such node or network, or the client must name one network.
            ForbiddenNetwork: if the client may not see a network.
        """
        self._check_nodes(query)
        networks = self._list_networks(query)
        if not any(network.node_eas_group in viewer.groups for network in networks):
            _check_one_network(query)
        if "network" not in query.filtered:
            return query
        names = self._find_networks(query, viewer, networks, partial(ForbiddenNetwork, hint=_FORBIDDEN_HINT))
        # No network has the name *.
        return msgspec.structs.replace(query, filters={**query.filters, "network": tuple(sorted(names)) or (ALL,)})

    def answer_public(
        self, query: StatisticsQuery, today: datetime.date, *, sketches: bool
    ) -> Generator[Statistic]:
        """Return the rows of a public answer, without small groups of clients if MIN_CLIENTS is set."""
        rows = self._find_public(query, today, sketches=sketches, policies=sketches)
        first_open = self._find_first_open_month(today)
        return self._disclose(rows, query, first_open, is_public=True) if sketches else rows

    def find_public(self, query: StatisticsQuery, today: datetime.date) -> list[Statistic]:
        """Return the rows of a public answer with all sketches, which must not leave the service."""

        def find() -> list[Statistic]:
            return list(self.stream_public(query, today))

        # Suppression keeps the cells, of which the answers to many queries consist.
        return find() if self.suppresses(query) else self._find_answer(query.identity, list[Statistic], find)

    def stream_public(self, query: StatisticsQuery, today: datetime.date) -> Generator[Statistic]:
        """Return the rows of `find_public` one by one."""
        return self._find_public(query, today, sketches=True, policies=False)

    def find_public_sums(self, query: StatisticsQuery, today: datetime.date) -> list[Statistic]:
        """Return what `find_public` does.

        Answers that divide at most by node and month all come from the same one, which is kept.
        """
        is_sum = query.level in (None, "node") and query.details <= {"month", "year"}
        finest = msgspec.structs.replace(query, level="node", details=frozenset({"month"}))
        if not is_sum or query == finest or self.suppresses(query):
            return self.find_public(query, today)
        return roll_up(self.find_public(finest, today), query)

    def find_restricted(self, query: StatisticsQuery, viewer: Viewer) -> Generator[Statistic]:
        """Return the rows that a viewer may see with all sketches, which must not leave the service."""
        return self._statistics.query(query, viewer, sketches=True)

    def _find_public(
        self, query: StatisticsQuery, today: datetime.date, *, sketches: bool, policies: bool
    ) -> Generator[Statistic]:
        if self.suppresses(query):
            first_open = self._find_first_open_month(today)
            return self._suppress(query, first_open, policies=policies)
        return self._statistics.query(query, PUBLIC, sketches=sketches, policies=policies)

    def answer_restricted(
        self, query: StatisticsQuery, viewer: Viewer, today: datetime.date, *, sketches: bool
    ) -> Generator[Statistic]:
        """Return the rows of an answer to the holder of a token."""
        rows = self._statistics.query(query, viewer, sketches=sketches, policies=sketches)
        first_open = self._find_first_open_month(today)
        return self._disclose(rows, query, first_open, is_public=False) if sketches else rows

    def suppresses(self, query: StatisticsQuery) -> bool:
        """Return whether a public answer lacks small groups of clients and open months."""
        return self._settings.min_clients > 0 and suppression.divides_clients(query)

    def find_version_of_decisions(self, today: datetime.date) -> DataVersion:
        """Return the version of the data on which decisions depend."""
        return self._statistics.find_version_before(self._find_first_open_month(today))

    def make_decision(self, used: Used, today: datetime.date) -> None:
        """Make a decision about the present state of the database, unless it is kept."""
        with self._open_snapshot(self._find_first_open_month(today), by_query=False) as source:
            if source._find_decision is not None:
                source._find_decision(used.key, used.kind, used.make)

    def _suppress(
        self, query: StatisticsQuery, first_open: datetime.date, *, policies: bool
    ) -> Generator[Statistic]:
        """Yield the rows of closed months, and all of the open months in rows Other."""
        total = suppression.make_total(query)
        with self._open_snapshot(first_open) as source:
            cells = source._find_cells(query, first_open, policies=policies)
            total_cells = None if total is None else source._find_cells(total, first_open, policies=False)
            open_totals = source._find_open_totals(query, first_open)
        rows = suppression.merge_small(cells, query, open_totals, total_cells)
        yield from sort_and_limit(suppression.unite_nodes(rows) if query.merge_nodes else rows, query)

    @contextmanager
    def _open_snapshot(self, first_open: datetime.date, *, by_query: bool = True) -> Iterator["Usage"]:
        """Yield the same for one state of the database, with the decisions about it, if any are kept."""
        with self._statistics.snapshot() as statistics:
            registry = self._registry.read_from(statistics.connection)
            source = Usage(statistics, registry, self._settings, self._find_answer)
            if self._decisions is not None:
                version = statistics.find_version_before(first_open)
                source._find_decision = self._decisions.at(version, source, by_query=by_query)
            try:
                yield source
            finally:
                # It refers to the source, which would stay in memory until garbage is collected.
                source._find_decision = None

    def _find_first_open_month(self, today: datetime.date) -> datetime.date:
        return closed_months.find_first_open_month(today, self._settings.closed_after_days)

    def _find_cells(self, query: StatisticsQuery, first_open: datetime.date, *, policies: bool) -> Cells:
        """Return the cells of closed months which the filters of a query select, or all of them.

        All of them decide which ones are suppressed.
        """
        closed = closed_months.keep_closed_months(query, first_open)
        unfiltered = suppression.without_filters(closed)
        if self._find_decision is None or not closed.filtered:
            key = unfiltered.identity, self._settings.min_clients, policies
            return self._find_answer(key, Cells, lambda: self._decide(unfiltered, policies=policies))
        keys = self._find_suppressed_cells(unfiltered)
        filtered = msgspec.structs.replace(unfiltered, filters=closed.filters)
        rows = self._statistics.query_cells(filtered, policies=policies)
        restricted = self._list_restricted(unfiltered)
        return suppression.select_cells(rows, keys.select_suppressed(_get_networks(closed)), restricted)

    def _decide(
        self, query: StatisticsQuery, *, policies: bool = False, sketches_below: int | None = None
    ) -> Cells:
        """Return the cells of a query without filters, and which of them are suppressed."""
        rows = self._statistics.query_cells(query, policies=policies, sketches_below=sketches_below)
        return suppression.find_cells(rows, self._settings.min_clients, query, self._list_restricted(query))

    def _find_suppressed_cells(self, query: StatisticsQuery) -> SuppressedKeys:
        """Return the keys of the suppressed cells of a query without filters, as kept or by a new decision."""

        def make(source: Usage) -> SuppressedKeys:
            return source._decide(query, sketches_below=source._settings.min_clients).list_suppressed()

        if self._find_decision is None:
            return make(self)
        return self._find_decision(query.identity, SuppressedKeys, make)

    def _find_open_totals(self, query: StatisticsQuery, first_open: datetime.date) -> list[Statistic]:
        totals = closed_months.make_open_totals(query, first_open)
        return [] if totals.end < totals.start else list(self._statistics.query(totals, PUBLIC, sketches=True))

    def _disclose(
        self, rows: Generator[Statistic], query: StatisticsQuery, first_open: datetime.date, *, is_public: bool
    ) -> Generator[Statistic]:
        """Yield rows with the sketches that the client may have."""
        closed = closed_months.keep_closed_months(query, first_open)
        finest = sketch_disclosure.make_finest(closed)
        suppressed: Collection[Key] = ()
        first_cell_day = None
        if self._settings.min_clients:
            with self._open_snapshot(first_open) as source:
                suppressed = source._find_suppressed_keys(closed, is_public=is_public)
                first_cell_day = source._statistics.find_first_day(finest)
        disclosure = Disclosure(
            min_clients=self._settings.min_clients,
            min_sketch_clients=self._settings.min_sketch_clients,
            first_open_month=first_open,
            start=finest.start,
            suppressed=suppressed,
            first_cell_day=first_cell_day,
            is_public=is_public,
        )
        with closing(rows):
            for row in rows:
                yield sketch_disclosure.disclose(row, disclosure)

    def _find_suppressed_keys(self, closed: StatisticsQuery, *, is_public: bool) -> set[Key]:
        """Return the keys of the rows in which a cell is suppressed.

        The query is about closed months. Open ones are recognised without their cells, and so are networks that the
        holder of a token may not see.
        """
        if self._find_decision is None or not is_public:
            return self._decide_about_rows(closed, is_public=is_public)
        # Many queries name different networks or countries, so one decision about all cells serves them. Other
        # queries are few, and most need no costly search. Cells of hours are too many to keep.
        is_shared = closed.filtered and not sketch_disclosure.make_finest(closed).is_daily

        def make(source: Usage) -> set[Key]:
            if is_shared:
                return source._select_suppressed_keys(closed)
            return source._decide_about_rows(closed, is_public=True)

        return self._find_decision(("sketches", closed.identity), set[Key], make)

    def _select_suppressed_keys(self, closed: StatisticsQuery) -> set[Key]:
        """Return the keys of the rows in which a cell is suppressed, by the decision about all cells."""
        finest = self._find_finest(closed)
        withheld = self._find_suppressed_cells(finest).select_withheld(_get_networks(closed))
        return sketch_disclosure.list_answer_keys(withheld, closed, self._list_restricted(finest))

    def _decide_about_rows(self, closed: StatisticsQuery, *, is_public: bool) -> set[Key]:
        """Return the keys of the rows in which a cell is suppressed, by a decision for this query alone."""
        finest = self._find_finest(closed)
        minimum = self._settings.min_clients
        cells = self._statistics.query_cells(finest, sketches_below=minimum)
        restricted = self._list_restricted(finest) if is_public else ()
        return sketch_disclosure.find_suppressed_keys(cells, minimum, closed, restricted)

    def _find_finest(self, closed: StatisticsQuery) -> StatisticsQuery:
        """Return the query for the cells of which the rows of another one consist, as far as cells are kept."""
        finest = sketch_disclosure.make_finest(closed)
        first_day = self._statistics.find_first_day(finest)
        if first_day is not None:
            # Earlier cells count no more, whether they are deleted yet or not.
            finest = msgspec.structs.replace(finest, start=max(finest.start, first_day))
        return finest

    def _list_restricted(self, query: StatisticsQuery) -> set[tuple[str, str]]:
        """Return the restricted networks, if the query divides by networks."""
        if not query.divides_by("network"):
            return set()
        return {(network.node, network.name) for network in self._registry.list_networks() if network.restricted}

    def _check_nodes(self, query: StatisticsQuery) -> None:
        if "node" not in query.filtered:
            return
        known = {name for name, _ in self._registry.list_policies()}
        if unknown := [name for name in query.filters["node"] if name not in known]:
            raise BadParameter(
                f"No node {quote_value(','.join(unknown))} (capitals matter)",
                hint="List them: GET …/nodes",
                parameter="node",
            )

    def _list_networks(self, query: StatisticsQuery) -> list[NetworkRecord]:
        """Return the networks at the nodes of a query."""
        nodes = query.filters.get("node")
        return [network for network in self._registry.list_networks() if not nodes or network.node in nodes]

    def _find_networks(
        self,
        query: StatisticsQuery,
        viewer: Viewer,
        networks: Iterable[NetworkRecord],
        refuse: Callable[[str], RestrictedNetwork | ForbiddenNetwork],
    ) -> set[str]:
        """Return the codes of the networks that a query names, and check that the client may see them."""
        patterns = query.filters.get("network", ())
        names = {""} & set(patterns)
        for pattern in patterns:
            found = [network for network in networks if matches(network.name, pattern)]
            _check_network(pattern, found, viewer, refuse)
            names |= {network.name for network in found}
        return names


def _get_networks(query: StatisticsQuery) -> Collection[str]:
    """Return the networks that a query names."""
    return query.filters.get("network", ())


def _check_one_network(query: StatisticsQuery) -> None:
    """Check that a query of a client that operates no node is about one network."""
    networks = query.filters.get("network", ())
    streams = [level.name for level in query.cube.levels if not level.is_public]
    divides_streams = any(name in query.filtered or query.divides_by(name) for name in streams)
    if len(networks) > 1 or any("*" in name or "?" in name for name in networks):
        raise BadParameter(
            quote_parameter("network", ",".join(networks)),
            hint="Name one network, without * or ?. Only operators of a node can ask for several networks.",
        )
    if divides_streams and not networks:
        raise BadParameter(
            "network is missing",
            hint="Name one network to see its stations and channels. Only operators of a node need not.",
        )


def _check_network(
    name: str,
    found: list[NetworkRecord],
    viewer: Viewer,
    refuse: Callable[[str], RestrictedNetwork | ForbiddenNetwork],
) -> None:
    # Requests that failed belong to no network. A pattern may match none.
    if not name or "*" in name or "?" in name:
        return
    if not found:
        raise BadParameter(
            f"No network {quote_value(name)} (capitals matter)",
            hint="List them: GET …/networks",
            parameter="network",
        )
    if not any(network.is_visible_to(viewer) for network in found):
        raise refuse(name)
