"""Put the parts of live connections together."""

from typing import NamedTuple

from flask import Blueprint
from prometheus_client.registry import Collector

from eida_stats_webservice.config import Config
from eida_stats_webservice.connections import door_routes, record_routes, routes
from eida_stats_webservice.connections.collector import Collector as RequestCollector
from eida_stats_webservice.connections.export import ConnectionExport
from eida_stats_webservice.connections.gauges import ConnectionGauges, RedisGauge
from eida_stats_webservice.connections.intake import ConnectionIntake
from eida_stats_webservice.connections.live_counts import open_live_counts
from eida_stats_webservice.connections.tables import ConnectionTables
from eida_stats_webservice.connections.view import ViewFactory
from eida_stats_webservice.database.base import Database
from eida_stats_webservice.registry.repository import RegistryRepository
from eida_stats_webservice.web.body import Budget
from eida_stats_webservice.web.concurrency import ConcurrencyLimit

# How many bodies of the largest size a process may hold at once.
_BODIES_AT_ONCE = 2


class ConnectionParts(NamedTuple):
    """The parts of live connections that the application needs.

    Attributes:
        routes: those below the prefix.
        at_root: those at the root, if the configuration wants them.
        views: creates views of spaces.
        tables: the tables.
        collectors: collect metrics.
    """

    routes: list[Blueprint]
    at_root: list[Blueprint]
    views: ViewFactory
    tables: ConnectionTables
    collectors: tuple[Collector, ...]


def create_parts(
    config: Config, database: Database, registry: RegistryRepository, query_limit: ConcurrencyLimit
) -> ConnectionParts:
    """Create the parts.

    Args:
        config: the configuration.
        database: the database.
        registry: the nodes and their tokens.
        query_limit: limits how many long queries run at once.
    """
    # Together with the other limits, these leave some threads free.
    storing = ConcurrencyLimit(at_once=12, waiting=4, wait_seconds=10)
    # Doors send single events, and those that wait share a transaction. So many may wait at once.
    counting = ConcurrencyLimit(at_once=32, waiting=4, wait_seconds=10)
    # Not that of payloads, so that payloads and records do not wait for each other.
    budget = Budget(_BODIES_AT_ONCE * record_routes.MAX_BYTES)
    tables = ConnectionTables(database)
    copy = open_live_counts(config.redis_url, database, tables)
    intake = ConnectionIntake(database, registry, tables, copy.publish)
    doors = door_routes.DoorIntake(database, tables, registry, RequestCollector(intake))
    views = ViewFactory(database, tables, registry, config.min_clients, copy)
    limits = record_routes.RecordLimits(storing=storing, reading=query_limit, budget=budget)
    export = ConnectionExport(database, tables)

    def create_door_routes(name: str, prefix: str) -> Blueprint:
        return door_routes.create_blueprint(name, doors, views, counting, budget, home=f"{prefix}/")

    return ConnectionParts(
        routes=[
            create_door_routes("doors", config.url_prefix),
            record_routes.create_blueprint(intake, export, views, registry, limits),
            routes.create_blueprint(views, query_limit),
        ],
        at_root=[create_door_routes("doors_at_root", "")] if config.counts_at_root and config.url_prefix else [],
        views=views,
        tables=tables,
        collectors=(ConnectionGauges(database, tables), RedisGauge(copy.is_up)),
    )
