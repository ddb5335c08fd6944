"""Add up the records of a day to its payload."""

import datetime
from collections.abc import Callable, Iterable
from operator import attrgetter, itemgetter

import numpy as np

from eida_statistics.payload import Period
from eida_statistics.ringserver.events import Direction, TransferRecord
from eida_statistics.ringserver.payload import KIND, DayPayload, DayRow, HourRow, PlaceRow, StatRow
from eida_statistics.ringserver.places import Place
from eida_statistics.ringserver.stream_id import OTHER, parse
from eida_statistics.ringserver.sums import (
    HOURS_A_DAY,
    GroupSums,
    Numbers,
    Transfers,
    merge_parts,
    spread_over_hours,
)
from eida_statistics.ringserver.windows import Stay
from eida_statistics.rows import AnyRow

# After how many stream lines they are added up.
_AT_ONCE = 1 << 14
_SECONDS_A_DAY = 86400
_EPOCH = datetime.date(1970, 1, 1)

# Direction, network, station, location, channel and country.
_StreamKey = tuple[Direction, str, str, str, str, str]
# Direction, network and country.
_NetworkKey = tuple[Direction, str, str]


class _Waiting:
    """Records that are not added up yet.

    `records` has five numbers for each: of its streams, the client, the place, and the start and end of its time in
    seconds of the day. The other columns have an entry for each stream.
    """

    def __init__(self) -> None:
        self.records: list[int] = []
        self.streams: list[int] = []
        self.sizes: list[int] = []
        self.packets: list[int] = []


class DayTally:
    """The sums over the records of a day. Neither their order nor how they are split over tallies matters.

    A client counts for a stream, a network, an hour or a place if bytes were transferred. Hours get whole numbers,
    so a few bytes may leave some hours of a long stay without any; the client does not count in those.

    Args:
        day: the UTC day of all records.
        extend: returns the extended code of a network on a day; see `networks.NetworkRegistry.extend`.
    """

    def __init__(self, day: datetime.date, extend: Callable[[str, datetime.date], str]) -> None:
        self._day = day
        self._midnight = (day - _EPOCH).days * _SECONDS_A_DAY
        self._extend = extend
        # The numbers of streams by their ids, for each direction and country. Several ids can be of one stream.
        self._ids: dict[tuple[Direction, str], dict[str, int]] = {}
        # Each kind of group is numbered in the order in which it occurs.
        self._streams: dict[_StreamKey, int] = {}
        self._networks: dict[_NetworkKey, int] = {}
        self._places: dict[tuple[Direction, Place], int] = {}
        self._network_of_stream: list[int] = []
        self._by_stream = GroupSums()
        self._by_network = GroupSums()
        self._by_hour = GroupSums()
        self._by_place = GroupSums()
        self._waiting = _Waiting()

    def add(self, record: TransferRecord, stay: Stay, client: int, place: Place) -> None:
        """Add a record.

        Args:
            record: a record of this day, with at most 2^53-1 bytes for each stream.
            stay: the time that it covers.
            client: the hash of the client, see `hll.hash_client`.
            place: where the client is.

        Raises:
            RegistryUnavailable: if a network needs the registry, which cannot be loaded. The tally cannot be used
                any more.
            InvalidRegistry: if the registry is invalid. The same holds.
        """
        known = self._ids.setdefault((record.direction, place.country), {})
        try:
            streams = list(map(known.__getitem__, record.ids))
        except KeyError:
            for stream_id in record.ids:
                if stream_id not in known:
                    known[stream_id] = self._number_stream(record.direction, stream_id, place.country)
            streams = list(map(known.__getitem__, record.ids))
        waiting = self._waiting
        waiting.streams += streams
        waiting.sizes += record.sizes
        waiting.packets += record.packets
        number = self._places.setdefault((record.direction, place), len(self._places))
        start, end = stay.start - self._midnight, stay.end - self._midnight
        waiting.records += (len(streams), client, number, start, end)
        if len(waiting.streams) >= _AT_ONCE:
            self._add_up()

    def to_payload(self, source: str, generated_at: datetime.datetime, version: str) -> DayPayload:
        """Return the payload of all records that were added."""
        self._add_up()
        return DayPayload(
            kind=KIND,
            source=source,
            period=Period(self._day, self._day),
            generated_at=f"{generated_at:%Y-%m-%d %H:%M:%S}",
            version=version,
            stats=self._make_stats(),
            days=self._make_days(),
            hours=self._make_hours(),
            places=self._make_places(),
        )

    def _number_stream(self, direction: Direction, stream_id: str, country: str) -> int:
        code, station, location, channel = parse(stream_id) or OTHER
        network = self._extend(code, self._day) if code else code
        key = direction, network, station, location, channel, country
        number = self._streams.get(key)
        if number is None:
            number = self._streams[key] = len(self._streams)
            of_network = direction, network, country
            self._network_of_stream.append(self._networks.setdefault(of_network, len(self._networks)))
        return number

    def _add_up(self) -> None:
        """Add the waiting records to the sums."""
        waiting, self._waiting = self._waiting, _Waiting()
        if not waiting.records:
            return
        lengths, clients, places, starts, ends = _to_numbers(waiting.records).reshape(-1, 5).T
        records = np.repeat(np.arange(len(lengths)), lengths)
        streams, sizes, packets = map(_to_numbers, (waiting.streams, waiting.sizes, waiting.packets))
        by_stream = Transfers(streams, clients[records], sizes, packets)
        by_network = by_stream._replace(groups=_to_numbers(self._network_of_stream)[streams])
        by_place = by_stream._replace(groups=places[records])
        self._by_stream.add(by_stream, len(self._streams))
        self._by_network.add(by_network, len(self._networks))
        self._by_place.add(by_place, len(self._places))
        # All that a record transferred of a network is spread at once: rounding each stream would differ.
        parts, of_record = merge_parts(by_network, records)
        for by_hour in spread_over_hours(parts, starts[of_record], ends[of_record]):
            self._by_hour.add(by_hour, len(self._networks) * HOURS_A_DAY)

    def _make_stats(self) -> list[StatRow]:
        month, sums = self._day.replace(day=1), self._by_stream.list_sums()
        # There are many. To sort their keys is faster than to sort rows, whose keys are made for each.
        ordered = sorted(zip(self._streams, sums, strict=True), key=itemgetter(0))
        return [StatRow(month, *key, *one) for key, one in ordered]

    def _make_days(self) -> list[DayRow]:
        sums = self._by_network.list_sums()
        keys = ((self._day, *key) for key in self._networks)
        return _sort(DayRow(*key, *one) for key, one in zip(keys, sums, strict=True))

    def _make_hours(self) -> list[HourRow]:
        midnight = datetime.datetime.combine(self._day, datetime.time(), datetime.UTC)
        starts = [midnight.replace(hour=hour) for hour in range(HOURS_A_DAY)]
        keys = [(start, *key) for key in self._networks for start in starts]
        sums = self._by_hour.list_sums()
        return _sort(
            HourRow(*key, one.bytes, one.packets, one.clients)
            for key, one in zip(keys, sums, strict=True)
            if one.bytes or one.packets
        )

    def _make_places(self) -> list[PlaceRow]:
        return _sort(
            PlaceRow(self._day, direction, *place, one.bytes, one.packets, one.clients)
            for (direction, place), one in zip(self._places, self._by_place.list_sums(), strict=True)
            if one.bytes or one.packets
        )


def _sort(rows: Iterable[AnyRow]) -> list[AnyRow]:
    return sorted(rows, key=attrgetter("key"))


def _to_numbers(column: list[int]) -> Numbers:
    return np.array(column, dtype=np.int64)
