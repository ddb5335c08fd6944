"""Copy a database into an empty one: another of this service, or one of the service deployed before."""

import datetime
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from eida_stats_webservice.database.base import Database, format_now, format_time, parse_time, select_rows
from eida_stats_webservice.dataselect.legacy_import import LegacyDatabase
from eida_stats_webservice.dataselect.repository import DataselectRepository
from eida_stats_webservice.errors import BadRows, DatabaseNotEmpty
from eida_stats_webservice.payloads.bodies import PayloadBodies
from eida_stats_webservice.registry.models import Node
from eida_stats_webservice.registry.repository import RegistryRepository

_CORRECT_ROWS = "Correct or delete them, there or in a copy, and run the import again. Or use --skip-bad."


class Transfer:
    """Copies nodes, tokens, networks and payloads into an empty database."""

    def __init__(self, database: Database, registry: RegistryRepository, dataselect: DataselectRepository) -> None:
        self._database = database
        self._registry = registry
        self._dataselect = dataselect
        self._bodies = PayloadBodies(database)
        self._queries = database.load_queries(Path(__file__).parent, "transfer")

    def copy_from(self, source: "Transfer") -> int:
        """Copy all of another database but the sums, and return how many payloads there are.

        Raises:
            DatabaseNotEmpty: if there are nodes in this one.
        """
        with source._database.snapshot() as there, self._database.transaction(write=True) as here:
            source._database.wait_without_limit(there)
            self._begin(here)
            for insert, export in (
                (self._queries.insert_node_with_id, source._queries.export_nodes),
                (self._queries.insert_token_with_id, source._queries.export_tokens),
                (self._queries.insert_network, source._queries.export_networks),
            ):
                for row in source._select(there, export):
                    insert(here, **row)
            superseded = {}
            for row in source._select(there, source._queries.export_payloads):
                superseded[row["id"]] = row.pop("superseded_by")
                # One at a time: they are large.
                body = b"".join(source._bodies.read_pieces(there, row["id"]))
                self._queries.insert_payload_with_id(here, **row, body=body)
            days = source._select(there, source._queries.export_payload_days)
            self._queries.insert_payload_days(here, list(days))
            # A payload that superseded another one came later.
            for number, by in superseded.items():
                self._queries.set_superseded_by(here, id=number, superseded_by=by)
            self._finish(here)
        return len(superseded)

    def import_legacy(
        self, source: LegacyDatabase, *, skip_bad: bool = False
    ) -> Iterator[tuple[str, datetime.date, int, int]]:
        """Import a database of the service that was deployed before, in one transaction.

        Its statistics become one payload for each month of each node, so that they can be verified, rebuilt and
        corrected like others. Afterwards, the lists of bad rows and tokens of the source are complete.

        Yields:
            The node, the month, the number of its rows, and how many had another country. Nothing is committed
            before all have been taken.

        Raises:
            DatabaseNotEmpty: if there are nodes in this database.
            NotTakenOver: if something in the other one cannot be imported.
        """
        with self._database.transaction(write=True) as connection:
            self._begin(connection)
            names = {}
            for row in source.read_nodes():
                names[row["id"]] = row["name"]
                times = {"changed_at": format_now(), "created_at": format_time(row.pop("created_at"))}
                self._queries.insert_node_with_id(connection, **row, revision=0, **times)
            for number, row in enumerate(source.read_tokens(), 1):
                self._queries.insert_token_with_id(
                    connection, id=number, network=None, revoked_at=None, **_make_portable(row)
                )
            for row in source.read_networks():
                self._queries.insert_network(connection, created_at=format_now(), **row)
            self._queries.restart_numbers(connection)
            for number, month, payload, changed in source.read_months():
                node = Node(number, names[number])
                revision = self._registry.lock(connection, node) + 1
                new = self._dataselect.describe(payload)
                self._dataselect.table.enter(connection, node, new, None, revision, origin="import")
                self._dataselect.merge(connection, node, payload)
                self._registry.bump_revision(connection, node)
                yield node.name, month, len(payload.stats), changed
            self._finish(connection)
            if source.bad_rows and not skip_bad:
                raise BadRows(f"{len(source.bad_rows):,} of them", hint=_CORRECT_ROWS)

    def _begin(self, connection: Any) -> None:
        """Check that the database is empty."""
        self._database.wait_without_limit(connection)
        if present := len(self._registry.list_ids(connection)):
            raise DatabaseNotEmpty(
                f"it has {present} nodes",
                hint="Make a new database. If a copy was interrupted while it built the statistics,"
                " eida_statsman payloads replay goes on with that.",
            )

    def _finish(self, connection: Any) -> None:
        self._queries.restart_numbers(connection)
        self._registry.bump_registry_revision(connection)

    def _select(self, connection: Any, query: Any) -> Iterator[dict[str, Any]]:
        """Yield the rows of a query in the form in which both databases take them."""
        return map(_make_portable, select_rows(connection, query))


def _make_portable(row: dict[str, Any]) -> dict[str, Any]:
    return {column: _make_value_portable(value) for column, value in row.items()}


def _make_value_portable(value: Any) -> Any:
    """Return a value in the form in which both databases take it."""
    if isinstance(value, datetime.datetime):
        return format_time(parse_time(value))
    if isinstance(value, datetime.date):
        return value.isoformat()
    return bytes(value) if isinstance(value, memoryview) else value
