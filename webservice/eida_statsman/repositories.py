"""The repositories of a database, which commands work with."""

from eida_stats_webservice.archive.crawls import CrawlRepository
from eida_stats_webservice.archive.holdings.refresh import HoldingsRefresh
from eida_stats_webservice.archive.ingestion import CrawlIngestion
from eida_stats_webservice.archive.polygons import PolygonRepository
from eida_stats_webservice.archive.rebuild import ShardRebuild
from eida_stats_webservice.archive.received import ReceivedIngestion
from eida_stats_webservice.archive.shards import ShardRepository
from eida_stats_webservice.archive.stations import StationRepository
from eida_stats_webservice.archive.verification import CatalogueVerification
from eida_stats_webservice.connections.archive import ConnectionArchive
from eida_stats_webservice.connections.archive_deletion import ArchiveDeletion
from eida_stats_webservice.connections.intake import ConnectionIntake
from eida_stats_webservice.connections.live_counts import open_live_counts
from eida_stats_webservice.connections.log import ConnectionLog
from eida_stats_webservice.connections.reconciliation import Reconciliation
from eida_stats_webservice.connections.sensor_administration import SensorAdministration
from eida_stats_webservice.connections.space_administration import SpaceAdministration
from eida_stats_webservice.connections.tables import ConnectionTables
from eida_stats_webservice.connections.verification import ConnectionVerification
from eida_stats_webservice.database import Database
from eida_stats_webservice.dataselect.repository import DataselectIntake, DataselectRepository
from eida_stats_webservice.dataselect.transfer import Transfer
from eida_stats_webservice.dataselect.verification import DataselectVerification
from eida_stats_webservice.payloads.intake import PayloadIntake
from eida_stats_webservice.payloads.repository import PayloadRepository
from eida_stats_webservice.payloads.verification import Verification
from eida_stats_webservice.query.repository import StatisticsRepository
from eida_stats_webservice.registry.models import Node
from eida_stats_webservice.registry.repository import RegistryRepository
from eida_stats_webservice.ringserver.pruning import RingserverPruning
from eida_stats_webservice.ringserver.raw_logs.store import RawLogStore
from eida_stats_webservice.ringserver.repository import RingserverIntake, RingserverRepository
from eida_stats_webservice.ringserver.verification import RingserverVerification


class Repositories:
    """All repositories of a database.

    Args:
        database: the database.
        redis_url: where the current counts are copied to, if anywhere.
    """

    def __init__(self, database: Database, redis_url: str = "") -> None:
        self.database = database
        self.registry = RegistryRepository(database)
        self.dataselect_sums = DataselectRepository(database)
        self.dataselect: DataselectIntake = PayloadIntake(database, self.registry, self.dataselect_sums)
        self.ringserver_sums = RingserverRepository(database)
        self.ringserver: RingserverIntake = PayloadIntake(database, self.registry, self.ringserver_sums)
        self.raw_logs = RawLogStore(database, self.registry, self.ringserver_sums)
        self.pruning = RingserverPruning(database, self.registry)
        self.payloads = PayloadRepository(database, self.registry, [self.dataselect_sums, self.ringserver_sums])
        self.statistics = StatisticsRepository(database)
        self.verification = Verification(
            database,
            self.registry,
            [
                DataselectVerification(database, self.dataselect_sums),
                RingserverVerification(database, self.ringserver_sums),
            ],
        )
        self.connections = ConnectionTables(database)
        self.live = open_live_counts(redis_url, database, self.connections)
        self.intake = ConnectionIntake(database, self.registry, self.connections, self.live.publish)
        self.reconciliation = Reconciliation(database, self.registry, self.connections)
        self.connection_log = ConnectionLog(database)
        self.connection_verification = ConnectionVerification(database, self.connections)
        self.archive = ConnectionArchive(database, self.registry, self.connections, self.reconciliation)
        self.archive_deletion = ArchiveDeletion(database, self.registry, self.connections)
        self.spaces = SpaceAdministration(database, self.registry, self.connections)
        self.sensors = SensorAdministration(database, self.registry, self.connections)
        self.shards = ShardRepository(database, self.registry)
        self.holdings = HoldingsRefresh(database)
        self.crawls = CrawlIngestion(database, self.shards)
        self.polygons = PolygonRepository(database, self.shards)
        self.stations = StationRepository(database, self.shards)
        self.received_crawls = CrawlRepository(database)
        self.received = ReceivedIngestion(database, self.shards, self.received_crawls, self.crawls)
        self.catalogue_verification = CatalogueVerification(database, self.shards)
        self.shard_rebuild = ShardRebuild(database, self.shards)
        self.transfer = Transfer(database, self.registry, self.dataselect_sums)

    def list_nodes(self) -> list[Node]:
        """Return the ids and names of all nodes, by name."""
        with self.database.transaction() as connection:
            return self.registry.list_ids(connection)
