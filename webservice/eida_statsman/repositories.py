"""The repositories of a database, which commands work with."""

from eida_stats_webservice.database import Database
from eida_stats_webservice.dataselect.repository import PayloadRepository
from eida_stats_webservice.dataselect.transfer import Transfer
from eida_stats_webservice.dataselect.verification import Verification
from eida_stats_webservice.query.repository import StatisticsRepository
from eida_stats_webservice.registry.repository import RegistryRepository


class Repositories:
    """All repositories of a database."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.registry = RegistryRepository(database)
        self.payloads = PayloadRepository(database, self.registry)
        self.statistics = StatisticsRepository(database)
        self.verification = Verification(database, self.registry, self.payloads)
        self.transfer = Transfer(database, self.registry, self.payloads)
