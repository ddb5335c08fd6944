"""Collect the records of transfer logs by source and day, each once.

A record is known by its digest and by how often that occurs in one file. So a file that was read before, grew, was
packed, renamed or joined with others counts nothing twice. Of equal records in two files, the larger number counts.
"""

import datetime
import os
import tempfile
import zlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from typing import IO, NamedTuple

import msgspec

from eida_statistics import __version__
from eida_statistics.ringserver.events import RX, TX, Direction, RecordState, Rejection, TransferRecord, Unfinished
from eida_statistics.ringserver.identity import DIGEST_SIZE, ClientKey
from eida_statistics.ringserver.payload import DayPayload, merge_payloads
from eida_statistics.ringserver.places import Place, Places
from eida_statistics.ringserver.reader import read_events
from eida_statistics.ringserver.tally import DayTally
from eida_statistics.ringserver.windows import HOUR, Grid, Stay, Window, find_day, find_stay

# A day waits in a file if none of so many records is of it, so the memory does not grow with the number of days.
# Around midnight, records of two days alternate.
_IDLE_RECORDS = 256
_REJECTIONS_LISTED = 5
# Clocks disagree.
_GRACE = HOUR
# The length of a byte order mark. Empty lines are shorter.
_MARK_BYTES = 3
# The level of zlib.
_FASTEST = 1
_DECODER = msgspec.json.Decoder(DayPayload)

Digests = Mapping[bytes, int]
"""How often records count, by their digests."""


class SourceDay(NamedTuple):
    """A source and a UTC day, for which a payload stands."""

    source: str
    day: datetime.date


class Settings(NamedTuple):
    """How records are read.

    Attributes:
        key: replaces addresses and records by hashes.
        extend: returns the extended code of a network on a day; see `networks.NetworkRegistry.extend`.
        now: the present time, in seconds since 1970. Records of later days are rejected.
        directions: those that count.
    """

    key: ClientKey
    places: Places
    grid: Grid
    extend: Callable[[str, datetime.date], str]
    now: int
    directions: frozenset[Direction] = frozenset({TX, RX})


class RejectedLine(NamedTuple):
    """A line of a log that does not count. The reason never quotes it."""

    log: str
    line: int
    reason: str


class Found(msgspec.Struct):
    """The numbers of records and of other pieces in logs.

    Attributes:
        records: those that count.
        streams: their stream lines.
        repeated: records that were counted before.
        ignored: records of a direction that does not count.
        cut: records without an end; their whole lines count.
        differing: records with another total than that of their lines, which count.
        forged: records whose client id contains parts of records.
        unfinished: logs that end within a record.
        rejected: pieces that do not count, and the first of them.
    """

    records: int = 0
    streams: int = 0
    bytes: int = 0
    repeated: int = 0
    ignored: int = 0
    cut: int = 0
    differing: int = 0
    forged: int = 0
    unfinished: int = 0
    rejected: int = 0
    rejections: list[RejectedLine] = []


class _Place(NamedTuple):
    offset: int
    size: int


class WaitingDays:
    """A temporary file for days that wait for more records. It has no name, and no address is in it."""

    def __init__(self) -> None:
        self._file: IO[bytes] | None = None

    def write(self, content: bytes) -> _Place:
        """Append bytes, and return where they are."""
        if self._file is None:
            # It is closed with the last day.
            self._file = tempfile.TemporaryFile()  # noqa: SIM115
        place = _Place(self._file.seek(0, os.SEEK_END), len(content))
        self._file.write(content)
        return place

    def read(self, place: _Place) -> bytes:
        """Return bytes that were appended."""
        if self._file is None:
            return b""
        self._file.seek(place.offset)
        return self._file.read(place.size)


class DayRecords:
    """The records of a source and day that count.

    Args:
        known: the records that were counted before, and do not count again.
    """

    def __init__(self, key: SourceDay, settings: Settings, known: Digests, waiting: "WaitingDays") -> None:
        self._key = key
        self._settings = settings
        self._waiting = waiting
        self._counted = dict(known)
        # Those of the file that is being read.
        self._in_file: dict[bytes, int] = {}
        self._file = 0
        self._tally: DayTally | None = None
        self._packed: _Place | None = None
        self._packed_digests: tuple[_Place, _Place] | None = None

    def take(self, content: bytes, file: int) -> bool:
        """Return whether a record counts that a file contains, and remember it.

        Args:
            content: the text that identifies the record.
            file: the number of the file.
        """
        self._unpack_digests()
        if file != self._file:
            self._file = file
            self._in_file.clear()
        digest = self._settings.key.compute_digest(content)
        here = self._in_file[digest] = self._in_file.get(digest, 0) + 1
        if here <= self._counted.get(digest, 0):
            return False
        self._counted[digest] = here
        return True

    def add(self, record: TransferRecord, stay: Stay) -> None:
        """Add a record to the sums."""
        if self._tally is None:
            self._tally = DayTally(self._key.day, self._settings.extend)
        client = self._settings.key.hash_client(record.address)
        self._tally.add(record, stay, client, self._settings.places.find(record.address))

    def get_digests(self) -> Digests:
        """Return the records that count, with those that were counted before."""
        self._unpack_digests()
        return self._counted

    def make_payload(self) -> DayPayload:
        """Return the payload of the records that count."""
        parts = [] if self._packed is None else [_DECODER.decode(zlib.decompress(self._waiting.read(self._packed)))]
        if self._tally is not None or not parts:
            tally = self._tally or DayTally(self._key.day, self._settings.extend)
            now = datetime.datetime.fromtimestamp(self._settings.now, datetime.UTC)
            parts.append(tally.to_payload(self._key.source, now, __version__))
        return merge_payloads(parts) if len(parts) > 1 else parts[0]

    def pack(self) -> None:
        """Take no memory until the next record is added."""
        if self._tally is not None:
            self._packed = self._waiting.write(zlib.compress(self.make_payload().to_json(), _FASTEST))
            self._tally = None
        if self._packed_digests is None:
            counted, in_file = map(pack_digests, (self._counted, self._in_file))
            self._packed_digests = self._waiting.write(counted), self._waiting.write(in_file)
            self._counted, self._in_file = {}, {}

    def _unpack_digests(self) -> None:
        if self._packed_digests is not None:
            counted, in_file = map(self._waiting.read, self._packed_digests)
            self._counted, self._in_file = unpack_digests(counted), unpack_digests(in_file)
            self._packed_digests = None


def pack_digests(digests: Digests) -> bytes:
    """Return digests as bytes, sorted, each as often as it counts."""
    return b"".join(sorted(Counter(digests).elements()))


def unpack_digests(packed: bytes) -> dict[bytes, int]:
    """Return the digests that `pack_digests` has packed."""
    return Counter(packed[start : start + DIGEST_SIZE] for start in range(0, len(packed), DIGEST_SIZE))


class Collection:
    """The records of logs, by source and day.

    Attributes:
        found: the numbers of records and of other pieces in the logs.
        damaged: the windows of logs, by source, that lack something: a part that was rejected, is not whole, or has
            NULs, as after a power cut. They do not prove that nothing happened.

    Args:
        settings: how records are read.
        find_known: returns the records of a source and day that were counted before.
        on_record: is called with each record that counts.
        first_day: records of earlier days are rejected, because the records that were counted before are not known.
    """

    def __init__(
        self,
        settings: Settings,
        find_known: Callable[[SourceDay], Digests] = lambda _: {},
        on_record: Callable[[SourceDay, TransferRecord, Stay, Place], None] | None = None,
        first_day: datetime.date = datetime.date.min,
    ) -> None:
        self.found = Found()
        self.damaged: defaultdict[str, set[Window]] = defaultdict(set)
        self._settings = settings
        self._find_known = find_known
        self._on_record = on_record
        self._first_day = first_day
        self._days: dict[SourceDay, DayRecords] = {}
        # The days that do not wait, with the number of the last record of each.
        self._open: dict[SourceDay, int] = {}
        self._waiting = WaitingDays()
        self._files = 0
        self._number = 0

    def read(self, name: str, source: str, window: Window | None, chunks: Iterable[bytes]) -> None:
        """Read a log.

        Args:
            name: the name of the log in messages.
            source: the server that wrote it.
            window: the one in its name.
            chunks: its content, not compressed.

        Raises:
            ForeignLog: if it is no transfer log.
            UnreadableLog: if it cannot be unpacked.
            RegistryUnavailable: if a network needs the registry, which cannot be loaded.
        """
        self._files += 1
        found = self.found
        before, has_gap = found.rejected + found.unfinished, False
        for event in read_events(chunks, name):
            if isinstance(event, TransferRecord):
                self._add(event, name, source, window)
            elif isinstance(event, Rejection):
                self._reject(name, event.line, event.reason)
            elif isinstance(event, Unfinished):
                found.unfinished += 1
            else:
                has_gap |= event.length > _MARK_BYTES
        if window is not None and (has_gap or found.rejected + found.unfinished > before):
            self.damaged[source].add(window)

    def list_days(self) -> list[SourceDay]:
        """Return the sources and days that have records, in their order."""
        return sorted(self._days)

    def get_records(self, key: SourceDay) -> DayRecords:
        """Return the records of a source and day."""
        return self._days[key]

    def make_quiet_day(self, key: SourceDay) -> DayRecords:
        """Return a day without records."""
        return DayRecords(key, self._settings, {}, self._waiting)

    def _add(self, record: TransferRecord, name: str, source: str, window: Window | None) -> None:
        settings, found = self._settings, self.found
        if record.direction not in settings.directions:
            found.ignored += 1
            return
        if max(record.written_at, record.connected_at) > settings.now + _GRACE:
            self._reject(name, record.line, "the time is in the future")
            return
        stay = find_stay(record, window, settings.grid)
        key = SourceDay(source, find_day(stay))
        if key.day < self._first_day:
            self._reject(
                name, record.line, f"the day is before {self._first_day}: records of it are not kept any more"
            )
            return
        day = self._open_day(key)
        if not day.take(record.content, self._files):
            found.repeated += 1
            return
        day.add(record, stay)
        if self._on_record is not None:
            self._on_record(key, record, stay, settings.places.find(record.address))
        found.records += 1
        found.streams += len(record.ids)
        found.bytes += record.total
        found.cut += record.state is RecordState.CUT
        found.differing += record.state is RecordState.DIFFERING
        found.forged += record.holds_forgery

    def _open_day(self, key: SourceDay) -> DayRecords:
        self._number += 1
        is_open = key in self._open
        self._open[key] = self._number
        if not is_open and key not in self._days:
            self._days[key] = DayRecords(key, self._settings, self._find_known(key), self._waiting)
        if len(self._open) > 1 and not self._number % _IDLE_RECORDS:
            self._pack_idle()
        return self._days[key]

    def _pack_idle(self) -> None:
        for key, last in list(self._open.items()):
            if self._number - last >= _IDLE_RECORDS:
                del self._open[key]
                self._days[key].pack()

    def _reject(self, name: str, line: int, reason: str) -> None:
        self.found.rejected += 1
        if len(self.found.rejections) < _REJECTIONS_LISTED:
            self.found.rejections.append(RejectedLine(name, line, reason))
