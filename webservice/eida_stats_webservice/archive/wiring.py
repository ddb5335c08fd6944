"""Put the parts of the catalogue together."""

from collections.abc import Callable
from typing import Any, NamedTuple

from flask import Blueprint

from eida_stats_webservice.archive import crawl_routes
from eida_stats_webservice.archive.crawls import CrawlRepository
from eida_stats_webservice.archive.paths import routes as path_routes
from eida_stats_webservice.archive.shards import ShardRepository
from eida_stats_webservice.config import Config
from eida_stats_webservice.database.base import Database
from eida_stats_webservice.registry.repository import RegistryRepository
from eida_stats_webservice.web.concurrency import ConcurrencyLimit


class ArchiveParts(NamedTuple):
    """The parts of the catalogue that the application needs.

    Attributes:
        routes: those that take tokens.
        has_rights: returns whether the role of a connection has the rights of the service.
    """

    routes: list[Blueprint]
    has_rights: Callable[[Any], bool]


def create_parts(
    config: Config, database: Database, registry: RegistryRepository, query_limit: ConcurrencyLimit
) -> ArchiveParts:
    """Create the parts.

    Args:
        config: the configuration.
        database: the database.
        registry: the nodes and their tokens.
        query_limit: limits how many long queries run at once.
    """
    shards = ShardRepository(database, registry)
    crawls = CrawlRepository(database)
    # Each is unpacked and checked, which takes seconds. With the other limits, this leaves some threads free.
    receiving = ConcurrencyLimit(at_once=2, waiting=2)
    limits = crawl_routes.CrawlLimits(receiving, config.max_crawl_bytes)
    return ArchiveParts(
        routes=[
            crawl_routes.create_blueprint(crawls, shards, registry, limits),
            path_routes.create_blueprint(database, shards, registry, query_limit),
        ],
        has_rights=crawls.has_rights,
    )
