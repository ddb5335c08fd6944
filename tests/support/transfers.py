"""Transfers of a ringserver on one day, and a plain model of the payload of a day."""

import datetime
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from eida_statistics import hll
from eida_statistics.ringserver.events import Direction, TransferRecord
from eida_statistics.ringserver.payload import DayPayload
from eida_statistics.ringserver.places import Place
from eida_statistics.ringserver.stream_id import OTHER, parse
from eida_statistics.ringserver.tally import DayTally
from eida_statistics.ringserver.windows import Stay

DAY = datetime.date(2026, 11, 22)
MIDNIGHT = int(datetime.datetime(2026, 11, 22, tzinfo=datetime.UTC).timestamp())
GENERATED_AT = datetime.datetime(2026, 11, 23, 3, tzinfo=datetime.UTC)

# The id, bytes and packets.
Stream = tuple[str, int, int]


class Transfer(NamedTuple):
    """A record with what is found out about it; the time is in seconds of the day."""

    direction: Direction
    streams: Sequence[Stream]
    start: int
    end: int
    client: int
    place: Place

    @property
    def record(self) -> TransferRecord:
        return TransferRecord(
            direction=self.direction,
            address="192.0.2.7",
            protocol="SeedLink",
            client_id="slinktool",
            written_at=MIDNIGHT + self.end,
            connected_at=MIDNIGHT + self.start,
            starts_at=MIDNIGHT + self.start,
            ids=[stream[0] for stream in self.streams],
            sizes=[stream[1] for stream in self.streams],
            packets=[stream[2] for stream in self.streams],
            content=b"",
            line=1,
            length=1,
        )


def extend(code: str, day: datetime.date) -> str:
    """Extend the codes of temporary networks by the year of the day, as the registry does by the first year."""
    return f"{code}{day.year}" if code[0] in "XYZ" and len(code) == 2 else code


def make_payload(transfers: Iterable[Transfer], source: str = "") -> DayPayload:
    tally = DayTally(DAY, extend)
    for one in transfers:
        tally.add(one.record, Stay(MIDNIGHT + one.start, MIDNIGHT + one.end), one.client, one.place)
    return tally.to_payload(source, GENERATED_AT, "1.0")


class _Sums:
    def __init__(self) -> None:
        self.counts = [0, 0, 0]
        self.clients: set[int] = set()

    def add(self, size: int, packets: int, client: int) -> None:
        self.counts = [mine + more for mine, more in zip(self.counts, (size, packets, 1), strict=True)]
        self.clients |= {client} if size else set()


def model_lists(transfers: Iterable[Transfer]) -> dict[str, list[tuple[Any, ...]]]:
    """Return the rows that the payload must have, as tuples, computed stream by stream and hour by hour."""
    sums: dict[str, dict[tuple[Any, ...], _Sums]] = defaultdict(lambda: defaultdict(_Sums))
    for one in transfers:
        per_network: dict[str, list[int]] = defaultdict(lambda: [0, 0])
        for stream_id, size, packets in one.streams:
            codes = parse(stream_id) or OTHER
            network = extend(codes.network, DAY) if codes.network else ""
            key = (one.direction, network, *codes[1:], one.place.country)
            sums["stats"][DAY.replace(day=1), *key].add(size, packets, one.client)
            sums["days"][DAY, one.direction, network, one.place.country].add(size, packets, one.client)
            sums["places"][DAY, one.direction, *one.place].add(size, packets, one.client)
            per_network[network][0] += size
            per_network[network][1] += packets
        for network, amounts in per_network.items():
            for hour, (size, packets) in _spread(one.start, one.end, amounts):
                at = datetime.datetime(2026, 11, 22, hour, tzinfo=datetime.UTC)
                sums["hours"][at, one.direction, network, one.place.country].add(size, packets, one.client)
    return {name: list(_list_rows(name, sums[name])) for name in ("stats", "days", "hours", "places")}


def _list_rows(name: str, sums: dict[tuple[Any, ...], _Sums]) -> Iterable[tuple[Any, ...]]:
    for key, one in sorted(sums.items()):
        has_records = name in ("stats", "days")
        if has_records or any(one.counts[:2]):
            yield (*key, *one.counts[: 3 if has_records else 2], hll.to_hex(hll.encode(one.clients)))


def _spread(start: int, end: int, amounts: list[int]) -> Iterable[tuple[int, list[int]]]:
    """Yield the hours of the day with their parts: what was due at their end, less what was due before."""
    start, end = max(start, 0), min(end, 86400)
    if start == end:
        yield start // 3600, amounts
        return
    due = [[amount * min(max(hour * 3600 - start, 0), end - start) for amount in amounts] for hour in range(25)]
    for hour in range(24):
        yield hour, [b // (end - start) - a // (end - start) for a, b in zip(due[hour], due[hour + 1], strict=True)]
