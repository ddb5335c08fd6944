"""The job that a queue runs in place of the command `eida_statsman connections reconcile`."""

from contextlib import closing

from eida_stats_webservice import config as configuration
from eida_stats_webservice.connections.reconciliation import Reconciliation
from eida_stats_webservice.connections.tables import ConnectionTables
from eida_stats_webservice.database import open_database
from eida_stats_webservice.registry.repository import RegistryRepository


def reconcile() -> None:
    """Reconcile the counts of all nodes, in the database of the configuration."""
    with closing(open_database(configuration.read().database_uri)) as database:
        Reconciliation(database, RegistryRepository(database), ConnectionTables(database)).reconcile()
