"""Store transfer logs in a database of the node's own. It needs the packages of the web service."""

import datetime
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass

from eida_statistics.ringserver.collection import Settings, SourceDay
from eida_stats_aggregator.errors import NothingToAggregate
from eida_stats_aggregator.notices import Notice
from eida_stats_aggregator.ringserver.advice import DAMAGED_DAY, name_day
from eida_stats_aggregator.ringserver.faults import RecordFaults, make_rejection_notices
from eida_stats_aggregator.ringserver.logs import TransferLog, count_received, find_transfer_logs, read_log
from eida_stats_aggregator.ringserver.store_summary import StoreSummary
from eida_stats_aggregator.run import Outcome, collect_errors
from eida_stats_webservice import config
from eida_stats_webservice.database import open_database
from eida_stats_webservice.errors import DatabaseNotReady, DatabaseUnavailable
from eida_stats_webservice.registry.repository import RegistryRepository
from eida_stats_webservice.ringserver.raw_logs.models import Days, RawLog, RawReceipt, Replacement
from eida_stats_webservice.ringserver.raw_logs.node import find_or_add_node
from eida_stats_webservice.ringserver.raw_logs.store import RawLogStore
from eida_stats_webservice.ringserver.repository import RingserverRepository

# The same as for a delivery that waits: a later run stores the same records.
_LATER = 3


@dataclass(frozen=True)
class Options:
    """The options of a run that stores.

    Attributes:
        database_uri: the URI of the database, None for that of the configuration.
        node: the name of the node of these servers.
        server: the source of all logs, None for that in the name of each file.
        replaces: whether days are replaced that the logs cover completely, or that `since` and `until` state.
    """

    files: Sequence[str]
    settings: Settings
    node: str
    database_uri: str | None = None
    server: str | None = None
    takes_rx: bool = False
    since: datetime.date | None = None
    until: datetime.date | None = None
    replaces: bool = False


def run(options: Options) -> tuple[StoreSummary, Outcome]:
    """Store the logs in one transaction, and return the summary and the outcome."""
    outcome, summary = Outcome([], []), StoreSummary()
    with collect_errors(outcome.failures), _explain_migration(options):
        skipped: list[str] = []
        logs = find_transfer_logs(
            options.files,
            options.settings.grid,
            options.server,
            takes_rx=options.takes_rx,
            skipped=skipped,
        )
        if not logs:
            raise NothingToAggregate("no log was named", hint="Name transfer logs, or the directory of them.")
        summary.files, summary.skipped_rx = len(logs), count_received(skipped, options.settings.grid)
        summary.skipped = len(skipped) - summary.skipped_rx
        uri = options.database_uri or config.read().database_uri
        with closing(open_database(uri, "--dburi" if options.database_uri else "DATABASE_URI")) as database:
            registry = RegistryRepository(database)
            node = find_or_add_node(registry, options.node)
            store = RawLogStore(database, registry, RingserverRepository(database))
            summary.stored = store.store(
                node, [_to_raw_log(log) for log in logs], options.settings, replacement=_get_replacement(options)
            )
        outcome.notices += _make_notices(summary.stored)
    return summary, outcome


def _make_notices(stored: RawReceipt) -> list[Notice]:
    """Return the warnings about the records that were stored, and about days that have none.

    Earlier records were reported when they were stored.
    """
    rejected = stored.rejected
    names = list(dict.fromkeys(one.log for one in rejected.first))
    pieces = stored.records + stored.duplicates + stored.ignored + rejected.number
    faults = RecordFaults(stored.cut, stored.differing, stored.forged)
    damaged = [name_day(SourceDay(one.source, one.day)) for one in stored.damaged]
    return [
        *(Notice(f"day:{day}", f"{day} was not stored: {DAMAGED_DAY}") for day in damaged),
        *make_rejection_notices(names, rejected.number, pieces),
        *faults.make_notices(),
    ]


@contextmanager
def _explain_migration(options: Options) -> Iterator[None]:
    """Add to the error about a missing schema how to migrate the database of --dburi."""
    try:
        yield
    except DatabaseNotReady as error:
        if options.database_uri is not None:
            error.hint += " It takes the URI from DATABASE_URI."
        raise


def get_exit_code(outcome: Outcome) -> int:
    """Return the exit code of a run: 3 if the database cannot be reached or is busy."""
    if any(isinstance(failure, DatabaseUnavailable) for failure in outcome.failures):
        return _LATER
    return outcome.exit_code()


def _to_raw_log(log: TransferLog) -> RawLog:
    def read() -> Iterator[bytes]:
        # A log is opened when it is read.
        yield from read_log(log.log)

    return RawLog(log.log.name, log.source, log.name, read())


def _get_replacement(options: Options) -> Replacement | None:
    if not options.replaces:
        return None
    has_days = options.since is not None and options.until is not None
    return Replacement(Days(options.since, options.until) if has_days else None)
