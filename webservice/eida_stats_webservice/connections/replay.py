"""Store the records of a log again, in another database."""

from collections import defaultdict
from collections.abc import Iterable, Iterator

from eida_statistics.connections import MAX_RECORDS, Record
from eida_stats_webservice.connections.intake import ConnectionIntake
from eida_stats_webservice.connections.log import LogRecord
from eida_stats_webservice.errors import UnknownNode
from eida_stats_webservice.registry.repository import RegistryRepository


def store_log(intake: ConnectionIntake, registry: RegistryRepository, lines: Iterable[LogRecord]) -> int:
    """Store records, those of each node in their order, and return the number of events that are new.

    Raises:
        UnknownNode: if the database lacks a node.
        EidaStatisticsError: as `ConnectionIntake.store` does.
    """
    nodes = {}
    created = 0
    for name, records in _batch(lines):
        if name not in nodes:
            try:
                nodes[name] = registry.find_node(name)
            except UnknownNode as error:
                raise UnknownNode(name, hint="If it was renamed: --rename OLD=NEW.") from error
        created += intake.store(nodes[name], records, replays=True).created
    return created


def _batch(lines: Iterable[LogRecord]) -> Iterator[tuple[str, list[Record]]]:
    """Yield the records of each node in batches that can be stored at once."""
    waiting: dict[str, list[Record]] = defaultdict(list)
    for line in lines:
        records = waiting[line.node]
        records.append(line.record)
        if len(records) == MAX_RECORDS:
            yield line.node, records
            waiting[line.node] = []
    yield from ((node, records) for node, records in waiting.items() if records)
