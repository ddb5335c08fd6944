"""Select spans from the timelines of shards, one shard after the other."""

import heapq
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from eida_stats_webservice.archive.availability.errors import TooManyRows
from eida_stats_webservice.archive.availability.models import ALL, AvailabilityQuery, Selection, Span, Time, Window
from eida_stats_webservice.archive.availability.networks import select_networks, separate_epochs
from eida_stats_webservice.archive.availability.patterns import make_condition, write_empty
from eida_stats_webservice.archive.availability.rows import (
    TableRow,
    cut_to_lines,
    get_channel,
    make_spans,
)
from eida_stats_webservice.archive.models import Shard
from eida_stats_webservice.archive.reading import ShardReader
from eida_stats_webservice.archive.shards import ShardRepository
from eida_stats_webservice.database.base import Database
from eida_stats_webservice.registry.repository import RegistryRepository

MAX_ROWS = 2_500_000
"""The largest number of spans that a request may select."""

_BEGINNING = "0001-01-01T00:00:00.000000Z"
_END = "9999-12-31T23:59:59.999999Z"


class ShardPlan(NamedTuple):
    """What to read from a shard.

    Attributes:
        shard: the shard.
        networks: the extended codes of the networks of each selection.
        restricted: those of its networks that are restricted.
    """

    shard: Shard
    networks: tuple[tuple[str, ...], ...]
    restricted: frozenset[str]


@dataclass(frozen=True)
class Plan:
    """What to read. Equal plans of shards in this database have equal answers.

    Attributes:
        parts: the shards with selected networks.
        incomplete: the codes of the shards that could not be read.
    """

    parts: tuple[ShardPlan, ...]
    incomplete: tuple[str, ...]

    @property
    def version(self) -> str | None:
        """The state of the shards as a text; None if it is unknown, because another server has rows."""
        if self.incomplete or any(part.shard.foreign_server is not None for part in self.parts):
            return None
        state = [
            # A shard of the same code that was removed may have had the same generation.
            (
                part.shard.code,
                part.shard.generation,
                part.shard.refreshed_at,
                part.networks,
                sorted(part.restricted),
            )
            for part in self.parts
        ]
        return msgspec.json.encode(state).decode()


class AvailabilityRepository:
    """Selects spans of timelines.

    Args:
        database: the database.
        shards: the shards.
        registry: the policies of networks.
    """

    def __init__(self, database: Database, shards: ShardRepository, registry: RegistryRepository) -> None:
        self.database = database
        self._shards = shards
        self._registry = registry
        self._queries = database.load_queries(Path(__file__).parent)
        self._networks: dict[str, tuple[Shard, list[str]]] = {}

    def make_plan(self, reader: ShardReader, query: AvailabilityQuery) -> Plan:
        """Return what to read for a request.

        Raises:
            ShardUnavailable: if a shard cannot be read, unless the reader is to go on without it.
        """
        networks_by_shard = sorted(self._list_all_networks(reader), key=lambda found: found[0].code)
        restricted = self._make_policy(reader.connection)
        parts = []
        for shard, all_networks in networks_by_shard:
            hidden = frozenset(network for network in all_networks if restricted(shard.node, network))
            shown = all_networks if query.include_restricted else [one for one in all_networks if one not in hidden]
            selected = tuple(tuple(select_networks(shown, one.networks)) for one in query.selections)
            if any(selected):
                parts.append(ShardPlan(shard, selected, hidden if query.include_restricted else frozenset()))
        return Plan(tuple(parts), tuple(reader.incomplete))

    def read(self, reader: ShardReader, plan: Plan, query: AvailabilityQuery, stack: ExitStack) -> Iterator[Span]:
        """Return the spans of a request by channel, or its extents if no spans are joined.

        The stack closes the cursors, which have to end before the snapshot of the reader.

        Raises:
            ShardUnavailable: if a shard cannot be read, unless the reader is to go on without it.
            TooManyRows: if there are more than MAX_ROWS.
        """
        self._queries.prefer_indexes(reader.connection)
        parts = {part.shard.code: part for part in plan.parts}
        total = 0

        def read(connection: Any, shard: Shard) -> Iterator[Span]:
            nonlocal total
            streams = []
            for count, spans in self._select(connection, parts[shard.code], query, stack):
                total += count
                streams.append(spans)
            return _merge(streams)

        streams = [spans for _, spans in reader.read([part.shard for part in plan.parts], read)]
        if total > MAX_ROWS:
            raise TooManyRows(
                f"more than {MAX_ROWS:,} spans are selected", hint="Select fewer streams, or less time."
            )
        return _merge(streams)

    def _make_policy(self, connection: Any) -> Callable[[str, str], bool]:
        """Return a function of a node and a network that returns whether the network is restricted there."""
        registry = self._registry.read_from(connection)
        policies = dict(registry.list_policies())
        networks = {(network.node, network.name): network.restricted for network in registry.list_networks()}
        # The policy of a node is also that of networks that it has not registered.
        return lambda node, network: networks.get((node, network), policies[node])

    def _list_all_networks(self, reader: ShardReader) -> Iterator[tuple[Shard, list[str]]]:
        """Yield each shard with its networks. Other servers are only asked if their holdings were never copied."""
        unknown = []
        for shard in self._shards.list_all(reader.connection):
            if shard.foreign_server is not None and shard.refreshed_at is None:
                unknown.append(shard)
            else:
                yield shard, self._list_networks(reader.connection, shard)
        for shard, networks in reader.read(unknown, self._list_foreign_networks):
            yield shard, list(networks)

    def _list_foreign_networks(self, connection: Any, shard: Shard) -> list[str]:
        return [network for (network,) in self._queries.list_foreign_networks(connection, code=shard.code)]

    def _list_networks(self, connection: Any, shard: Shard) -> list[str]:
        """Return the networks of a shard, as far as this database knows. They are kept until the shard changes."""
        kept = self._networks.get(shard.code)
        if kept is None or kept[0] != shard:
            is_local = shard.foreign_server is None
            query = self._queries.list_networks if is_local else self._queries.list_held_networks
            kept = (shard, [network for (network,) in query(connection, code=shard.code)])
            self._networks[shard.code] = kept
        return kept[1]

    def _select(
        self, connection: Any, part: ShardPlan, query: AvailabilityQuery, stack: ExitStack
    ) -> Iterator[tuple[int, Iterator[Span]]]:
        """Yield the spans of a shard as some streams, each by channel, with their numbers."""
        if len(query.selections) > 1:
            yield from self._select_lines(connection, part, query, stack)
            return
        (selection,) = query.selections
        aggregates = query.is_extent and not query.joins_spans
        statement = (self._queries.select_extents if aggregates else self._queries.select_spans).sql
        for networks in separate_epochs(part.networks[0]):
            parameters = self._bind(part.shard, selection, networks, query)
            count, rows = self._begin(connection, statement, parameters, stack)
            yield count, make_spans(self._to_rows(rows), selection.window, part.restricted)

    def _select_lines(
        self, connection: Any, part: ShardPlan, query: AvailabilityQuery, stack: ExitStack
    ) -> Iterator[tuple[int, Iterator[Span]]]:
        statement = self._queries.select_spans_of_lines.sql
        windows = [selection.window for selection in query.selections]
        for epoch in separate_epochs({network for networks in part.networks for network in networks}):
            lines = [
                self._describe_line(number, selection, sorted(set(networks).intersection(epoch)))
                for number, (selection, networks) in enumerate(zip(query.selections, part.networks, strict=True))
            ]
            parameters = {
                "code": part.shard.code,
                "lines": msgspec.json.encode([line for line in lines if line["networks"]]).decode(),
                "quality_regex": self._find_quality(query),
                "most": MAX_ROWS + 1,
            }
            count, rows = self._begin(connection, statement, parameters, stack)
            # A window is cut to here, since a span may be in several.
            cut = cut_to_lines(self._to_rows(rows), windows)
            yield count, make_spans(cut, Window(), part.restricted)

    def _begin(
        self, connection: Any, statement: str, parameters: dict[str, Any], stack: ExitStack
    ) -> tuple[int, Iterator[tuple[Any, ...]]]:
        """Run a statement. Return the number of its rows, which each row has at its end, and the rows."""
        rows = self.database.stream(connection, statement, parameters)
        # Both databases yield from a cursor.
        stack.callback(rows.close)  # type: ignore[attr-defined]
        first = list(islice(rows, 1))
        return first[0][-1] if first else 0, chain(first, rows)

    def _bind(
        self, shard: Shard, selection: Selection, networks: Iterable[str], query: AvailabilityQuery
    ) -> dict[str, Any]:
        return {
            "code": shard.code,
            "networks": self.database.to_list(networks),
            **self._make_conditions(selection),
            "quality_regex": self._find_quality(query),
            "start": self._write_time(selection.window.start),
            "end": self._write_time(selection.window.end),
            "most": MAX_ROWS + 1,
            "is_foreign": shard.foreign_server is not None,
        }

    def _describe_line(self, number: int, selection: Selection, networks: list[str]) -> dict[str, Any]:
        return {
            "number": number,
            "networks": networks,
            **self._make_conditions(selection),
            "first": self._write_time(selection.window.start or _BEGINNING),
            "last": self._write_time(selection.window.end or _END),
        }

    def _make_conditions(self, selection: Selection) -> dict[str, str | None]:
        patterns = {
            "station": selection.stations,
            "location": write_empty(selection.locations),
            "channel": selection.channels,
        }
        return {
            f"{name}_{part}": value
            for name, some in patterns.items()
            for part, value in make_condition(self.database, some)._asdict().items()
        }

    def _find_quality(self, query: AvailabilityQuery) -> str | None:
        return None if set(ALL) & set(query.qualities) else self.database.to_regex(query.qualities)

    def _to_rows(self, rows: Iterable[tuple[Any, ...]]) -> Iterator[TableRow]:
        """Yield rows with times as answers have them."""
        read = _read_postgresql if self.database.dialect == "postgresql" else _read_sqlite
        for network, station, location, channel, quality, rate, start, end, updated, number, total in rows:
            changed = None if updated is None else read(updated)
            yield network, station, location, channel, quality, rate, read(start), read(end), changed, number, total

    def _write_time(self, time: Time | None) -> str | None:
        """Return a time as a parameter. SQLite compares it with the texts in its table."""
        return f"{time[:-1]}+00:00" if time is not None and self.database.dialect == "sqlite" else time


def _read_postgresql(text: str) -> Time:
    """Return a time that PostgreSQL writes like 2024-01-01 00:00:00.5+00."""
    return f"{text[:10]}T{text[11:19]}.{text[20:-3]:0<6}Z"


def _read_sqlite(text: str) -> Time:
    return f"{text[:26]}Z"


def _merge(streams: list[Iterator[Span]]) -> Iterator[Span]:
    """Return the spans of some streams by channel."""
    return streams[0] if len(streams) == 1 else heapq.merge(*streams, key=get_channel)
