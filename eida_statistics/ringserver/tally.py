"""Add up the records of a day to its payload."""

import datetime
from collections.abc import Callable, Iterable, Mapping, Sequence
from operator import attrgetter

from eida_statistics import hll
from eida_statistics.payload import Period
from eida_statistics.ringserver.events import Direction, TransferRecord
from eida_statistics.ringserver.payload import KIND, DayPayload, DayRow, HourRow, PlaceRow, StatRow
from eida_statistics.ringserver.places import Place
from eida_statistics.ringserver.stream_id import OTHER, parse
from eida_statistics.ringserver.windows import Stay, spread
from eida_statistics.sketch_builder import SketchBuilder

# After how many streams large sets of clients are folded into registers.
_FOLD_EVERY = 250_000

# Direction, network, station, location, channel and country.
_StreamKey = tuple[Direction, str, str, str, str, str]

_get_key = attrgetter("key")


class _Sums(SketchBuilder):
    """Bytes, packets and stream lines, and the sketch of the clients."""

    __slots__ = ("bytes", "packets", "records")

    def __init__(self) -> None:
        super().__init__()
        self.bytes = 0
        self.packets = 0
        self.records = 0

    def add(self, size: int, packets: int, client: int) -> None:
        """Add what a client got. Nothing adds no client."""
        self.bytes += size
        self.packets += packets
        if size:
            self.hashes.add(client)

    def to_hex(self) -> str:
        """Return the sketch as payloads have it."""
        return hll.to_hex(self.to_bytes())


class _Network:
    """The hours of a network in a group. `bytes` and `packets` are those of the record that is being added."""

    __slots__ = ("bytes", "code", "hours", "packets")

    def __init__(self, code: str) -> None:
        self.code = code
        self.bytes = 0
        self.packets = 0
        self.hours: dict[int, _Sums] = {}


class _Stream(_Sums):
    """The sums of one stream id."""

    __slots__ = ("network",)

    def __init__(self, network: _Network) -> None:
        super().__init__()
        self.network = network


class _Group:
    """The streams, by their ids, and networks of one direction and country."""

    __slots__ = ("networks", "streams")

    def __init__(self) -> None:
        self.streams: dict[str, _Stream] = {}
        self.networks: dict[str, _Network] = {}


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
        self._extend = extend
        self._groups: dict[tuple[Direction, str], _Group] = {}
        self._places: dict[tuple[Direction, Place], _Sums] = {}
        self._unfolded = 0

    def add(self, record: TransferRecord, stay: Stay, client: int, place: Place) -> None:
        """Add a record.

        Args:
            record: a record of this day.
            stay: the time that it covers.
            client: the hash of the client.
            place: where the client is.

        Raises:
            RegistryUnavailable: if a network needs the registry, which cannot be loaded. The record is then added
                in part, so the tally is of no use any more.
            InvalidRegistry: if the registry is invalid. The same holds.
        """
        group = self._groups.get((record.direction, place.country))
        if group is None:
            group = self._groups[record.direction, place.country] = _Group()
        streams = group.streams
        touched: set[_Network] = set()
        last = None
        for stream_id, size, packets in zip(record.ids, record.sizes, record.packets, strict=True):
            stream = streams.get(stream_id)
            if stream is None:
                stream = self._open_stream(group, stream_id)
            stream.bytes += size
            stream.packets += packets
            stream.records += 1
            if size:
                stream.hashes.add(client)
            network = stream.network
            if network is not last:
                touched.add(network)
                last = network
            network.bytes += size
            network.packets += packets
        self._add_hours(touched, stay, client)
        self._add_place(record, client, place)
        self._unfolded += len(record.ids)
        if self._unfolded > _FOLD_EVERY:
            self._fold()

    def to_payload(self, source: str, generated_at: datetime.datetime, version: str) -> DayPayload:
        """Return the payload of all records that were added."""
        streams = self._merge_streams()
        return DayPayload(
            kind=KIND,
            source=source,
            period=Period(self._day, self._day),
            generated_at=f"{generated_at:%Y-%m-%d %H:%M:%S}",
            version=version,
            stats=self._make_stats(streams),
            days=self._make_days(streams),
            hours=self._make_hours(),
            places=self._make_places(),
        )

    def _open_stream(self, group: _Group, stream_id: str) -> _Stream:
        code = (parse(stream_id) or OTHER).network
        extended = self._extend(code, self._day) if code else code
        network = group.networks.get(extended)
        if network is None:
            network = group.networks[extended] = _Network(extended)
        stream = group.streams[stream_id] = _Stream(network)
        return stream

    def _add_hours(self, touched: Iterable[_Network], stay: Stay, client: int) -> None:
        """Spread the bytes and packets of the record over the hours of its networks."""
        networks = list(touched)
        amounts = [amount for network in networks for amount in (network.bytes, network.packets)]
        for network in networks:
            network.bytes = network.packets = 0
        for hour, parts in spread(stay, self._day, amounts):
            place = 0
            for network in networks:
                size, packets = parts[place], parts[place + 1]
                place += 2
                if size or packets:
                    sums = network.hours.get(hour)
                    if sums is None:
                        sums = network.hours[hour] = _Sums()
                    sums.add(size, packets, client)

    def _add_place(self, record: TransferRecord, client: int, place: Place) -> None:
        size, packets = sum(record.sizes), sum(record.packets)
        if size or packets:
            sums = self._places.get((record.direction, place))
            if sums is None:
                sums = self._places[record.direction, place] = _Sums()
            sums.add(size, packets, client)

    def _fold(self) -> None:
        """Bound the memory that sets of clients take."""
        self._unfolded = 0
        for sums in self._places.values():
            sums.fold()
        for group in self._groups.values():
            for stream in group.streams.values():
                stream.fold()
            for network in group.networks.values():
                for sums in network.hours.values():
                    sums.fold()

    def _merge_streams(self) -> dict[_StreamKey, _Sums]:
        """Return the sums by stream: several ids can be of one stream."""
        by_stream: dict[_StreamKey, list[_Stream]] = {}
        for (direction, country), group in self._groups.items():
            for stream_id, stream in group.streams.items():
                codes = parse(stream_id) or OTHER
                key = (direction, stream.network.code, codes.station, codes.location, codes.channel, country)
                by_stream.setdefault(key, []).append(stream)
        return {key: _add_up(streams) for key, streams in sorted(by_stream.items())}

    def _make_stats(self, streams: Mapping[_StreamKey, _Sums]) -> list[StatRow]:
        month = self._day.replace(day=1)
        return [
            StatRow(month, *key, sums.bytes, sums.packets, sums.records, sums.to_hex())
            for key, sums in streams.items()
        ]

    def _make_days(self, streams: Mapping[_StreamKey, _Sums]) -> list[DayRow]:
        by_network: dict[tuple[Direction, str, str], list[_Sums]] = {}
        for (direction, network, _, _, _, country), sums in streams.items():
            by_network.setdefault((direction, network, country), []).append(sums)
        added = {key: _add_up(listed) for key, listed in sorted(by_network.items())}
        return [
            DayRow(self._day, *key, sums.bytes, sums.packets, sums.records, sums.to_hex())
            for key, sums in added.items()
        ]

    def _make_hours(self) -> list[HourRow]:
        midnight = datetime.datetime.combine(self._day, datetime.time(), datetime.UTC)
        starts = [midnight.replace(hour=hour) for hour in range(24)]
        rows = [
            HourRow(starts[hour], direction, network.code, country, sums.bytes, sums.packets, sums.to_hex())
            for (direction, country), group in self._groups.items()
            for network in group.networks.values()
            for hour, sums in network.hours.items()
        ]
        return sorted(rows, key=_get_key)

    def _make_places(self) -> list[PlaceRow]:
        rows = [
            PlaceRow(self._day, direction, *place, sums.bytes, sums.packets, sums.to_hex())
            for (direction, place), sums in self._places.items()
        ]
        return sorted(rows, key=_get_key)


def _add_up(sums: Sequence[_Sums]) -> _Sums:
    """Return the sum of one or more sums."""
    if len(sums) == 1:
        return sums[0]
    total = _Sums()
    total.bytes = sum(one.bytes for one in sums)
    total.packets = sum(one.packets for one in sums)
    total.records = sum(one.records for one in sums)
    total.merge(*sums)
    return total
