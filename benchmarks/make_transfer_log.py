"""Write transfer logs as a ringserver does: as text, in the old form that all programs read, or as JSON Lines.

The same seed makes the same log. Streams are of 40 networks. Long connections write a record in each window.
"""

import datetime
import random
from collections.abc import Iterator

import msgspec

FIRST_DAY = datetime.date(2020, 11, 2)
_NETWORKS = [f"{first}{second}" for first in "ABCD" for second in "ABCDEFGHIJ"]
_CLIENT_IDS = ("slinktool/4.2", "SeedLink Client", "scolv", "slink2dali:sysop:7967:Linux")
_MAX_PACKETS = 90
_PACKET_BYTES = 512


class Shape(msgspec.Struct, frozen=True):
    """The shape of a log.

    Attributes:
        lines: stream lines.
        streams_of_record: stream lines of each record.
        streams: different streams; a row of statistics is made of `lines / streams / days` of them.
        clients: different clients.
        days: days on which records are written.
    """

    lines: int
    streams_of_record: int
    streams: int = 2000
    clients: int = 500
    days: int = 1


class _Record(msgspec.Struct):
    host: str
    address: str
    client_id: str
    written: datetime.datetime
    connected: datetime.datetime
    streams: list[tuple[str, int, int]]

    @property
    def total(self) -> int:
        return sum(size for _, size, _ in self.streams)


def write_text(shape: Shape, seed: int = 1) -> Iterator[bytes]:
    """Yield the records of a log in the text format."""
    for record in _make_records(shape, seed):
        name = f"{record.host} [{record.address}]"
        lines = "".join(f"{stream}/MSEED {size} {packets}\n" for stream, size, packets in record.streams)
        yield (
            f"START CLIENT {name} (SeedLink|{record.client_id}) @ {record.written:%Y-%m-%d %H:%M:%S}"
            f" (connected {record.connected:%Y-%m-%d %H:%M:%S}) TX\n"
            f"{lines}END CLIENT {name} total TX bytes: {record.total}\n"
        ).encode()


def write_json(shape: Shape, seed: int = 1) -> Iterator[bytes]:
    """Yield the records of a log in JSON Lines."""
    for record in _make_records(shape, seed):
        line = {
            "log_time": f"{record.written:%Y-%m-%dT%H:%M:%SZ}",
            "log_start_time": f"{record.connected:%Y-%m-%dT%H:%M:%SZ}",
            "connect_time": f"{record.connected:%Y-%m-%dT%H:%M:%SZ}",
            "client": {"ip": record.address, "hostname": record.host, "user_agent": record.client_id},
            "transfer_protocol": {"name": "SeedLink", "version": "4.0"},
            "transfer_direction": "TX",
            "streams": [
                {"stream_id": f"{stream}/MSEED", "bytes": size, "packets": packets}
                for stream, size, packets in record.streams
            ],
            "transfer_bytes": record.total,
        }
        yield msgspec.json.encode(line) + b"\n"


def _make_records(shape: Shape, seed: int) -> Iterator[_Record]:
    chosen = random.Random(seed)
    ids = [
        f"{_NETWORKS[number % len(_NETWORKS)]}_S{number // 3:04d}_00_HH{'ZNE'[number % 3]}"
        for number in range(shape.streams)
    ]
    count = shape.lines // shape.streams_of_record
    midnight = datetime.datetime.combine(FIRST_DAY, datetime.time())
    for number in range(count):
        client = chosen.randrange(shape.clients)
        written = midnight + datetime.timedelta(seconds=number * 86400 * shape.days // count)
        first = chosen.randrange(shape.streams)
        streams = []
        for place in range(shape.streams_of_record):
            packets = chosen.randint(1, _MAX_PACKETS)
            stream = ids[(first + place) % shape.streams]
            streams.append((stream, packets * _PACKET_BYTES, packets))
        yield _Record(
            f"host{client}.example.org",
            f"10.{client >> 16}.{client >> 8 & 255}.{client & 255}",
            _CLIENT_IDS[client % len(_CLIENT_IDS)],
            written,
            written - datetime.timedelta(seconds=chosen.randint(0, 7200)),
            streams,
        )
