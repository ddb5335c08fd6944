"""Store raw logs in one transaction, each record once. They end in payloads of days.

New records of a day that has a payload are merged with it. The new payload supersedes the old one and contains it,
so only the difference is added to the sums, and the old body is deleted.
"""

import datetime
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from eida_statistics.payload import Period
from eida_statistics.ringserver.collection import Collection, Digests, Found, Settings, SourceDay
from eida_statistics.ringserver.events import TransferRecord
from eida_statistics.ringserver.payload import DayPayload, merge_payloads
from eida_statistics.ringserver.places import Place
from eida_statistics.ringserver.windows import SourceWindows, Stay, find_days, list_source_windows
from eida_stats_webservice.database.base import Database
from eida_stats_webservice.errors import OverlappingPayload
from eida_stats_webservice.payloads.identity import Identity
from eida_stats_webservice.payloads.overlaps import InForce, check_not_overtaken, list_overlaps
from eida_stats_webservice.payloads.records import PayloadRecords
from eida_stats_webservice.registry.models import Arrival, Node
from eida_stats_webservice.registry.repository import RegistryRepository
from eida_stats_webservice.ringserver.errors import EmptyReplacement, MixedDelivery, OtherKey
from eida_stats_webservice.ringserver.raw_logs.models import (
    DamagedDay,
    RawLog,
    RawReceipt,
    Rejected,
    RejectedPiece,
    Replacement,
    StoredDay,
)
from eida_stats_webservice.ringserver.raw_logs.tables import DayInForce, RawLogTables
from eida_stats_webservice.ringserver.raw_logs.writer import RecordWriter
from eida_stats_webservice.ringserver.repository import RingserverRepository

ORIGIN = "raw-logs"
_NAME_SERVERS = (
    "An empty source is the whole node: name every server (--server, in HTTP ?server=), or none. Retract the"
    " payloads of the whole node before its servers are stored by name."
)


class RawLogStore:
    """Stores raw logs of ringservers."""

    def __init__(self, database: Database, registry: RegistryRepository, ringserver: RingserverRepository) -> None:
        self._database = database
        self._registry = registry
        self._ringserver = ringserver
        self._records = PayloadRecords(database)

    def store(
        self,
        node: Node,
        logs: Sequence[RawLog],
        settings: Settings,
        *,
        replacement: Replacement | None = None,
        arrival: Arrival | None = None,
    ) -> RawReceipt:
        """Store the records of logs that are new, or all those of the days that they replace.

        Nobody can change the payloads of the node while logs are read.

        Raises:
            EmptyReplacement: if logs that replace days have no record and no window of a whole day, or a day
                would be replaced by a damaged log of which no record counts.
            MixedDelivery: if payloads of a source came as payloads.
            OtherKey: if records of a day were stored with another key.
            OverlappingPayload: if payloads of the whole node and of its servers would share a day.
            Overtaken: if it would undo what has changed after the request arrived.
            ForeignLog: if a log is another kind of file.
            UnreadableLog: if a log cannot be read or unpacked.
            RefusedByDatabase: if a sum does not fit.
        """
        with self._database.transaction(write=True) as connection:
            # Logs may be large.
            self._database.wait_without_limit(connection)
            revision = self._registry.begin_change(connection, node, arrival)
            windows = list_source_windows(((log.source, log.name) for log in logs), settings.now)
            change = _Change(self._ringserver, self._records, connection, node, settings, revision, arrival)
            if replacement is not None:
                change.find_replaced(windows, replacement)
            change.read(logs, windows)
            if replacement is not None:
                change.check_replacement()
            if change.write():
                self._registry.bump_revision(connection, node)
            return change.make_receipt()


class _Change:
    """One transaction that stores logs."""

    def __init__(
        self,
        ringserver: RingserverRepository,
        records: PayloadRecords,
        connection: Any,
        node: Node,
        settings: Settings,
        revision: int,
        arrival: Arrival | None,
    ) -> None:
        self._ringserver = ringserver
        self._tables: RawLogTables = ringserver.raw_logs
        self._records = records
        self._connection = connection
        self._node = node
        self._settings = settings
        self._revision = revision
        self._arrival = arrival
        self._writer = RecordWriter(self._tables, connection, node, settings)
        self._first_day = self._tables.read_first_day(connection)
        self._collection = Collection(settings, self._find_known, self._add, first_day=self._first_day)
        # The days with new records.
        self._grown: set[SourceDay] = set()
        self._quiet: list[SourceDay] = []
        # Their logs are damaged.
        self._doubtful: list[SourceDay] = []
        self._replaced: dict[SourceDay, DayInForce] = {}
        self._in_force: dict[SourceDay, InForce] = {}
        self._fingerprint = settings.key.compute_fingerprint()
        self._stored: list[StoredDay] = []
        self._retracted: list[int] = []

    def find_replaced(self, windows: Mapping[str, SourceWindows], replacement: Replacement) -> None:
        """Find the payloads of the days that the logs replace, and delete their records and events."""
        for source, of_source in windows.items():
            for known in self._tables.list_in_force(self._connection, self._node, source):
                stated = replacement.stated
                if known.day < self._first_day:
                    # Its records would be rejected, so its payload stays.
                    continue
                if of_source.covers(known.day) if stated is None else stated.contains(known.day):
                    check_not_overtaken({known.payload: known.revision}, self._arrival)
                    key = SourceDay(source, known.day)
                    self._replaced[key] = known
                    self._tables.delete_day(self._connection, self._node, key)

    def read(self, logs: Sequence[RawLog], windows: Mapping[str, SourceWindows]) -> None:
        """Read the logs, and write the events of new records."""
        for source in sorted({log.source for log in logs}):
            if self._tables.has_submissions(self._connection, self._node, source):
                raise MixedDelivery(
                    f"payloads of {_name_source(source)} came as payloads",
                    hint="Send its days with --send-to, or retract its payloads first. For another server, name it:"
                    " --server, in HTTP ?server=.",
                )
        for log in logs:
            window = None if log.name is None else log.name.window
            self._collection.read(log.title, log.source, window, log.chunks)
        self._writer.flush()
        for source, of_source in windows.items():
            busy, damaged = self._list_busy_days(source), self._collection.damaged[source]
            self._quiet += self._keep_days(source, of_source.list_quiet_days(busy, damaged))
            self._doubtful += self._keep_days(source, of_source.list_doubtful_days(busy, damaged))

    def check_replacement(self) -> None:
        """Check that the logs have records of days, or show that they were quiet. Others would only delete."""
        if self._replaced and not (self._grown or self._quiet):
            raise EmptyReplacement(hint="To delete payloads, retract them.")
        for key in sorted(self._replaced.keys() - self._grown):
            if key.day in find_days(self._collection.damaged[key.source]):
                raise EmptyReplacement(f"{key.day}: its log is damaged", hint="To delete its payload, retract it.")

    def write(self) -> bool:
        """Store the payloads of the days that are new or have grown, and return whether anything has changed."""
        if not self._replaced:
            self._ringserver.sums.merge(self._connection, self._node, self._enter_days())
        else:
            changed = {payload.period.start for payload in self._enter_days()}
            self._withdraw_replaced()
            changed |= {key.day for key in self._replaced}
            self._ringserver.rebuild_days(self._connection, self._node, changed)
        return bool(self._stored or self._retracted)

    def make_receipt(self) -> RawReceipt:
        """Return the receipt."""
        found: Found = self._collection.found
        rejections = [RejectedPiece(one.line, one.reason, one.log) for one in found.rejections]
        return RawReceipt(
            node=self._node.name,
            records=found.records,
            streams=found.streams,
            bytes=found.bytes,
            other=self._writer.other_bytes,
            rejected=Rejected(found.rejected, rejections),
            duplicates=found.repeated,
            ignored=found.ignored,
            cut=found.cut,
            differing=found.differing,
            forged=found.forged,
            unfinished=found.unfinished,
            payloads=self._stored,
            retracted=self._retracted,
            damaged=[DamagedDay(key.source, key.day) for key in self._doubtful],
        )

    def _find_known(self, key: SourceDay) -> Digests:
        """Return the records of a day that count, and check that more may be added."""
        self._check_sources(key)
        provisional = _identify_day(key)
        touched = self._ringserver.table.find_touched(self._connection, self._node, provisional)
        own = [other for other in touched if other.source == key.source]
        # A day that is in force already may be so beside others, if a sender of those wanted it.
        if touched and not own:
            raise OverlappingPayload(
                f"payload {touched[0].payload} of {_name_source(touched[0].source)} has {key.day}",
                list_overlaps(provisional, touched),
                choices=[_NAME_SERVERS],
            )
        if key in self._replaced:
            return {}
        if own:
            (self._in_force[key],) = own
        if self._arrival is not None:
            since = self._arrival.revision
            withdrawn = self._tables.find_withdrawn_since(self._connection, self._node, key, since)
            check_not_overtaken(withdrawn, self._arrival)
        digests, fingerprints = self._tables.read_digests(self._connection, self._node, key)
        if fingerprints - {self._fingerprint}:
            raise OtherKey(
                f"{key.day} of {_name_source(key.source)}",
                hint="With another key, all records look new. Use the key of before, or count these days again:"
                " --replace with --since and --until, in HTTP PUT.",
            )
        return digests

    def _check_sources(self, key: SourceDay) -> None:
        """Check that the same logs have no day of the whole node and of one of its servers."""
        for other in self._collection.list_days():
            if other.day == key.day and other.source != key.source and "" in (other.source, key.source):
                raise OverlappingPayload(
                    f"these logs have {key.day} of {_name_source(other.source)} and of {_name_source(key.source)}",
                    payloads=[],
                    choices=[_NAME_SERVERS],
                )

    def _add(self, key: SourceDay, record: TransferRecord, stay: Stay, place: Place) -> None:
        self._grown.add(key)
        self._writer.add(key, record, stay, place)

    def _keep_days(self, source: str, days: Iterable[datetime.date]) -> list[SourceDay]:
        """Return days of a source, without those before the first one: whether they were quiet is not known."""
        return [SourceDay(source, day) for day in days if day >= self._first_day]

    def _list_busy_days(self, source: str) -> set[datetime.date]:
        """Return the days of a source that have records or a payload that stays."""
        known = self._tables.list_in_force(self._connection, self._node, source)
        replaced = {key.day for key in self._replaced if key.source == source}
        collected = {key.day for key in self._collection.list_days() if key.source == source}
        return collected | {one.day for one in known} - replaced

    def _enter_days(self) -> Iterator[DayPayload]:
        """Store the payload of each day, and yield the payload of its new records."""
        for key in sorted(self._grown):
            records = self._collection.get_records(key)
            new = records.make_payload()
            self._enter(key, new)
            known, _ = self._tables.read_digests(self._connection, self._node, key)
            digests = {one: count for one, count in records.get_digests().items() if known.get(one) != count}
            self._tables.add_digests(self._connection, self._node, key, digests, self._fingerprint)
            yield new
        replaced = {one.payload for one in self._replaced.values()}
        for key in self._quiet:
            touched = self._ringserver.table.find_touched(self._connection, self._node, _identify_day(key))
            if not {other.payload for other in touched} - replaced:
                self._enter(key, self._collection.make_quiet_day(key).make_payload())

    def _enter(self, key: SourceDay, new: DayPayload) -> None:
        """Store the payload of a day in the place of the one in force, which it contains."""
        old = self._in_force.get(key)
        whole = new if old is None else merge_payloads([self._read(old.payload), new])
        description = self._ringserver.describe(whole)
        table = self._ringserver.table
        earlier = table.find(self._connection, self._node, description.identity.hash)
        if earlier is not None and earlier.in_force:
            # Records without streams.
            self._replaced.pop(key, None)
            return
        entry = table.enter(self._connection, self._node, description, earlier, self._revision, origin=ORIGIN)
        supersedes = old.payload if old is not None else None
        if old is not None:
            self._records.withdraw(self._connection, old.payload, entry.payload, self._revision)
            table.empty_body(self._connection, old.payload)
        elif (replaced := self._replaced.get(key)) is not None:
            supersedes = replaced.payload
            self._records.withdraw(self._connection, replaced.payload, entry.payload, self._revision)
        self._stored.append(StoredDay(entry.payload, key.source, key.day, supersedes))

    def _withdraw_replaced(self) -> None:
        """Retract the payloads of the days that are replaced by none."""
        superseded = {one.supersedes for one in self._stored}
        for known in self._replaced.values():
            if known.payload not in superseded:
                self._records.withdraw(self._connection, known.payload, None, self._revision)
                self._retracted.append(known.payload)

    def _read(self, number: int) -> DayPayload:
        return self._ringserver.read(self._connection, number)


def _identify_day(key: SourceDay) -> Identity:
    return Identity(hash="", content="", source=key.source, period=Period(key.day, key.day), days=frozenset())


def _name_source(source: str) -> str:
    return f"server {source}" if source else "the whole node"
