"""Make reports from the database."""

import datetime
from collections.abc import Callable, Hashable, Iterable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from typing import Any, NamedTuple

import msgspec

from eida_statistics import __version__, hll
from eida_statistics.networks import NetworkDescription
from eida_statistics.payload import EARLIEST_DAY
from eida_stats_webservice.config import PrivacySettings
from eida_stats_webservice.errors import BadParameter
from eida_stats_webservice.payloads.kinds import Kind
from eida_stats_webservice.payloads.repository import PayloadRepository
from eida_stats_webservice.query.answer_cache import AnswerCache, FindAnswer, make_answer
from eida_stats_webservice.query.model import DataVersion, Statistic, StatisticsQuery
from eida_stats_webservice.query.repository import StatisticsRepository
from eida_stats_webservice.query.usage import Usage
from eida_stats_webservice.registry.models import NetworkRecord, Viewer
from eida_stats_webservice.registry.repository import RegistryRepository
from eida_stats_webservice.reports import answers, assembly, atlas
from eida_stats_webservice.reports.answers import Ask, Figures, PeriodAnswers
from eida_stats_webservice.reports.coverage import NodeCoverage, compute_coverage
from eida_stats_webservice.reports.kinds import KINDS, ReportKind
from eida_stats_webservice.reports.models import Lack, Report, Scope
from eida_stats_webservice.reports.networks import Describe
from eida_stats_webservice.reports.periods import Comparisons, MonthRange
from eida_stats_webservice.web.parameters import quote_value

# Pages are kept apart from answers. So many views of one report do not displace the answers for other reports.
_MAX_PAGES = 16
_MAX_PAGE_BYTES = 4 << 20


class ReportMaker:
    """Makes reports. All figures of one are of the same state of the database.

    Args:
        statistics: the statistics.
        registry: the nodes and networks.
        payloads: the payloads, from which the coverage is computed.
        settings: how small groups of clients are protected.
        describe: returns the name and DOI of a network.
        cache: keeps public answers and reports; by default, those of this object alone.
    """

    def __init__(
        self,
        statistics: StatisticsRepository,
        registry: RegistryRepository,
        payloads: PayloadRepository,
        settings: PrivacySettings,
        describe: Describe,
        cache: AnswerCache | None = None,
    ) -> None:
        self._statistics = statistics
        self._registry = registry
        self._payloads = payloads
        self.settings = settings
        self._describe = describe
        self._cache = AnswerCache() if cache is None else cache
        self._pages = AnswerCache(_MAX_PAGES, _MAX_PAGE_BYTES)

    @contextmanager
    def snapshot(self) -> Iterator["ReportMaker"]:
        """Yield a maker whose reports all are of the same state of the database."""
        with self._statistics.snapshot() as statistics:
            registry = self._registry.read_from(statistics.connection)
            yield ReportMaker(statistics, registry, self._payloads, self.settings, self._describe, self._cache)

    def savepoint(self) -> AbstractContextManager[None]:
        """Return a context in a snapshot. If a report fails in it, others can still be made."""
        return self._statistics.savepoint()

    def list_public_scopes(self, kind: Kind = Kind.DATASELECT) -> list[Scope]:
        """Return the federation, each node, and each network that is public at a node."""
        nodes = [name for name, _ in self._registry.list_policies()]
        networks = {network.name for network in self._registry.list_networks() if not network.restricted}
        return [
            Scope(kind),
            *(Scope(kind, node=(name,)) for name in nodes),
            *(Scope(kind, network=name) for name in sorted(networks)),
        ]

    def make(self, scope: Scope, period: MonthRange, comparisons: Comparisons, today: datetime.date) -> Report:
        """Return a report.

        Args:
            scope: the selection.
            period: the months.
            comparisons: earlier periods of the same length, by name.
            today: the present day in UTC.

        Raises:
            BadParameter: if there is no such node or network.
            RestrictedNetwork: if the network is restricted at all nodes, and the scope is public.
        """
        described = self.describe(scope.network)
        key = (scope, period, *comparisons.items(), today, described)
        # Answers that a token opens are not kept.
        with self._open(today, keeps_answers=not scope.restricted) as source:

            def make() -> Report:
                report = self._make(source, scope, period, comparisons)
                return report if described is None else _describe_report(report, described)

            return source.find_answer(key, Report, make)

    @contextmanager
    def _open(self, today: datetime.date, *, keeps_answers: bool) -> Iterator["_Source"]:
        """Yield one state of the database."""
        with self._statistics.snapshot() as statistics:
            version = statistics.data_version()
            find_answer = self._cache.at(version) if keeps_answers else make_answer
            registry = self._registry.read_from(statistics.connection)
            usage = Usage(statistics, registry, self.settings, find_answer)
            yield _Source(version, usage, registry, statistics.connection, find_answer, today)

    def find_page(self, version: DataVersion, key: Hashable, write: Callable[[], bytes]) -> bytes:
        """Return a written public report, from memory if it was written before.

        Args:
            version: the version of the data.
            key: all on which the text depends besides the data, such as its ETag.
            write: returns the text, of this version or a later one.
        """
        return self._pages.at(version)(key, bytes, write)

    def _make(self, source: "_Source", scope: Scope, period: MonthRange, comparisons: Comparisons) -> Report:
        """Return a report without the description of its network."""
        usage, today = source.usage, source.today
        viewer = Viewer(networks=frozenset([scope.network or ""])) if scope.restricted else None
        ask = _make_ask(usage, viewer, today, KINDS[scope.kind])
        if viewer is None:
            usage.check_public_names(answers.make_query(scope, period))
            self._check_countries(usage, scope, today)
        else:
            usage.resolve_names(answers.make_query(scope, period), viewer)
        # Where a network is restricted, it is not part of a public report.
        networks = [one for one in source.registry.list_networks() if scope.restricted or not one.restricted]
        nodes = _choose_nodes(source.registry, scope, networks)
        shows_all = scope.restricted or not self.settings.min_clients

        def ask_period(months: MonthRange) -> PeriodAnswers:
            coverage = self._find_coverage(source, scope.kind, months, nodes)
            return answers.ask_period(ask, scope, months, coverage, shows_all=shows_all)

        now = ask_period(period)
        earlier = [
            answers.ask_earlier(ask, scope, name, now, ask_period(months)) for name, months in comparisons.items()
        ]
        parts = answers.ask_parts(ask, scope, period)
        report = Report(
            software_version=__version__,
            revision=source.version.revision,
            changed_at=source.version.changed_at,
            as_of=today if period.days.end >= today else None,
            scope=scope,
            period=assembly.make_months_record(period),
            comparisons=tuple(map(assembly.make_comparison_record, earlier)),
            coverage=assembly.make_coverage(now.coverage),
            rows=assembly.make_rows(now, parts, earlier, _group_by_network(networks)),
        )
        if now.total is not None and any(now.total.sums.values()):
            return report
        lack, last_month = self._explain_lack(usage, scope, today) if viewer is None else ("period", None)
        return msgspec.structs.replace(report, no_statistics_in=lack, last_month=last_month)

    def _find_coverage(
        self, source: "_Source", kind: Kind, period: MonthRange, nodes: set[str]
    ) -> list[NodeCoverage]:
        def find_first_days() -> dict[str, datetime.date | None]:
            return self._payloads.find_first_days(source.connection, kind)

        def find() -> list[NodeCoverage]:
            received = self._payloads.list_received_days(source.connection, period.days, kind)
            first_days = source.find_answer(("first days", kind), dict[str, datetime.date | None], find_first_days)
            return compute_coverage(received, first_days, period.days, source.today)

        found = source.find_answer(("coverage", kind, period, source.today), list[NodeCoverage], find)
        return [one for one in found if one.node in nodes]

    def _check_countries(self, usage: Usage, scope: Scope, today: datetime.date) -> None:
        """Check that there are statistics of each country of the scope, in any period and of any kind.

        With MIN_CLIENTS, that would reveal where single clients are. Then the codes of the atlas are known.

        Raises:
            BadParameter: if there are none.
        """
        for country in scope.country:
            if self.settings.min_clients:
                is_known = country in atlas.read().names
            else:
                scopes = (Scope(kind, country=(country,)) for kind in KINDS)
                is_known = any(_find_last_month(usage, one, today) for one in scopes)
            if not is_known:
                raise BadParameter(
                    f"No statistics of country {quote_value(country)}",
                    hint="Use codes of ISO 3166, such as DE.",
                    parameter="country",
                )

    def list_countries(self, kind: Kind, today: datetime.date) -> list[str]:
        """Return the codes of the countries with statistics of a kind; with MIN_CLIENTS, those of the atlas."""
        if self.settings.min_clients:
            return list(atlas.read().names)
        query = answers.make_query(Scope(kind), _get_all_months(today), None, "country")
        with self._open(today, keeps_answers=True) as source:
            return [row.keys[-1] for row in source.usage.find_public(query, today)]

    def _explain_lack(self, usage: Usage, scope: Scope, today: datetime.date) -> tuple[Lack, str | None]:
        """Return where a scope without statistics in a period has none, and its last month with some.

        With MIN_CLIENTS, only a node has one: each further selection would be suppressed month by month.
        """
        is_hidden = bool(self.settings.min_clients and (scope.network is not None or scope.country))
        if not is_hidden and (last_month := _find_last_month(usage, scope, today)) is not None:
            return "period", last_month
        if _find_last_month(usage, Scope(scope.kind), today) is None:
            return "database", None
        return "period" if is_hidden else "selection", None

    def describe(self, network: str | None) -> NetworkDescription | None:
        """Return the description of the network of a report, if it has one."""
        return None if network is None else self._describe(network)


class _Source(NamedTuple):
    """The source of a report: one state of the database, and the present day in UTC."""

    version: DataVersion
    usage: Usage
    registry: RegistryRepository
    connection: Any
    find_answer: FindAnswer
    today: datetime.date


def _find_last_month(usage: Usage, scope: Scope, today: datetime.date) -> str | None:
    """Return the last month with public statistics of a scope, or None if there is none."""
    query = answers.make_query(scope, _get_all_months(today))
    return max((row.last_month for row in usage.find_public(query, today)), default=None)


def _get_all_months(today: datetime.date) -> MonthRange:
    """Return the months of which there can be statistics."""
    return MonthRange(EARLIEST_DAY, today.replace(day=1))


def _describe_report(report: Report, described: NetworkDescription) -> Report:
    """Return the report with the description of its network. An empty text is none."""
    name, doi, citation = (text or None for text in (described.name, described.doi, described.citation))
    return msgspec.structs.replace(report, name=name, doi=doi, citation=citation)


def _choose_nodes(registry: RegistryRepository, scope: Scope, networks: Iterable[NetworkRecord]) -> set[str]:
    """Return the nodes whose days count: those of the scope, or those of its network."""
    of_network = {network.node for network in networks if network.name == scope.network}
    every = of_network if scope.network is not None else {name for name, _ in registry.list_policies()}
    return every & set(scope.node) if scope.node else every


def _make_ask(usage: Usage, viewer: Viewer | None, today: datetime.date, kind: ReportKind) -> Ask:
    """Return a function that answers queries of a kind: of a viewer, or public ones."""
    numbers = [kind.cube.numbers.index(column) for column in kind.sums]

    def make_figures(row: Statistic) -> Figures:
        sums = {column: row.measures[number] or 0 for column, number in zip(kind.sums, numbers, strict=True)}
        is_exact = row.hll_clients is not None and hll.is_exact(row.hll_clients)
        return Figures(row.keys, sums, row.clients, is_exact)

    def ask(query: StatisticsQuery) -> list[Figures]:
        if viewer is None:
            return [make_figures(row) for row in usage.find_public_sums(query, today)]
        with closing(usage.find_restricted(query, viewer)) as rows:
            return [make_figures(row) for row in rows]

    return ask


def _group_by_network(networks: Iterable[NetworkRecord]) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for network in networks:
        found.setdefault(network.name, set()).add(network.node)
    return found
