"""Put the parts of the catalogue together."""

from collections.abc import Callable
from typing import Any, NamedTuple

from flask import Blueprint

from eida_stats_webservice.archive import crawl_routes
from eida_stats_webservice.archive.availability import routes as availability_routes
from eida_stats_webservice.archive.availability.repository import AvailabilityRepository
from eida_stats_webservice.archive.crawls import CrawlRepository
from eida_stats_webservice.archive.holdings import routes as holdings_routes
from eida_stats_webservice.archive.holdings.repository import HoldingsRepository
from eida_stats_webservice.archive.paths import routes as path_routes
from eida_stats_webservice.archive.shards import ShardRepository
from eida_stats_webservice.auth.authenticator import Authenticator
from eida_stats_webservice.config import Config
from eida_stats_webservice.database.base import Database
from eida_stats_webservice.query.decisions import Decisions
from eida_stats_webservice.query.repository import StatisticsRepository
from eida_stats_webservice.registry.repository import RegistryRepository
from eida_stats_webservice.web.concurrency import ConcurrencyLimit


class ArchiveParts(NamedTuple):
    """The parts of the catalogue that the application needs.

    Attributes:
        routes: those below the prefix, which take tokens.
        at_root: those at the root of the server.
        rights: functions that return whether the role of a connection has rights of the service.
    """

    routes: list[Blueprint]
    at_root: list[Blueprint]
    rights: list[Callable[[Any], bool]]


def create_archive(
    config: Config,
    database: Database,
    registry: RegistryRepository,
    statistics: StatisticsRepository,
    authenticator: Authenticator,
    query_limit: ConcurrencyLimit,
    decisions: Decisions,
) -> ArchiveParts:
    """Create the parts.

    Args:
        config: the configuration.
        database: the database.
        registry: the nodes and their tokens.
        statistics: the statistics, which holdings are shown next to.
        authenticator: identifies the clients of restricted holdings.
        query_limit: limits how many long queries run at once.
        decisions: keeps which groups are small.
    """
    shards = ShardRepository(database, registry)
    crawls = CrawlRepository(database)
    holdings = HoldingsRepository(database)
    timelines = AvailabilityRepository(database, shards, registry)
    # Each is unpacked and checked, which takes seconds. With the other limits, this leaves some threads free.
    receiving = ConcurrencyLimit(at_once=2, waiting=10)
    limits = crawl_routes.CrawlLimits(receiving, config.max_crawl_bytes)
    prefix = config.availability_prefix
    return ArchiveParts(
        routes=[
            crawl_routes.create_blueprint(crawls, shards, registry, limits),
            path_routes.create_blueprint(database, shards, registry, query_limit),
            holdings_routes.create_blueprint(
                statistics, registry, holdings, query_limit, authenticator, config.privacy, decisions
            ),
        ],
        at_root=[availability_routes.create_blueprint(prefix, timelines, query_limit)] if prefix else [],
        rights=[crawls.has_rights, holdings.has_rights],
    )
